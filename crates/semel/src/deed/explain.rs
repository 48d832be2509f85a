//! Explaining: gathers the evidence behind a verdict, for `semel why`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::Value;

use crate::deed::transaction::rows_of;
use crate::deed::view::{Input, Seen, StepView};
use crate::deed::{Site, calls};
use crate::ground::manifest::calls::SumOf;
use crate::thought::decide::Case;
use crate::words::call::Sums;
use crate::words::digest::Digest;
use crate::words::evidence::{Cue, Evidence, Part};
use crate::words::receipt::{Failure, FileRecord, Receipt};
use crate::words::task::Task;
use crate::words::verdict::{Memory, Verdict};

/// What a look at a task found, to be explained.
pub(crate) struct Found<'a> {
    pub(crate) view: &'a StepView<'a>,
    pub(crate) task: &'a Task,
    pub(crate) item: Option<&'a Seen>,
    pub(crate) own_inputs: &'a [Input],
    pub(crate) outs: &'a [Option<Seen>],
    pub(crate) case: &'a Case,
    pub(crate) verdict: Verdict,
    pub(crate) twin: Option<&'a Receipt>,
}

/// Gathers the evidence.
pub(crate) fn explain(site: &Site<'_>, found: &Found<'_>) -> Result<Evidence, Failure> {
    let view = found.view;
    let mut name = found.task.name(&view.step.name, &view.instance);
    let known = view.receipt(&found.task.item_name(), &mut 0);
    let mut pipeline = &site.pipeline.name;
    if let Some(former) = known.and_then(|known| known.former.as_deref()) {
        pipeline = &former.pipeline;
        name.step.clone_from(&former.step);
    }
    let receipt = site.ask_manifest(|manifest| manifest.receipt(pipeline, &name))?;
    let mut cues = Vec::new();
    item_cues(found, receipt.as_ref(), &mut cues);
    input_cues(found, receipt.as_ref(), &mut cues);
    json_cues(Part::What, &view.given, receipt.as_ref().map(|receipt| &receipt.given), &mut cues);
    let how = receipt.as_ref().map(|receipt| &receipt.how);
    match (view.knows_how, how) {
        (false, Some(how)) => json_cues(Part::How, how, Some(how), &mut cues),
        _ => json_cues(Part::How, &view.how, how, &mut cues),
    }
    output_cues(found, receipt.as_ref(), &mut cues);
    rows_cue(found, receipt.as_ref(), &mut cues);
    if let Some(answer) = found.case.check {
        cues.push(Cue {
            part: Part::Truth,
            name: "check".to_owned(),
            recorded: receipt.as_ref().map(|_| "holds".to_owned()),
            now: Some(if answer { "holds" } else { "does not hold" }.to_owned()),
        });
    }
    let mut not_seen = Vec::new();
    if !view.knows_how {
        not_seen.push("its command, and its check if it has one: the script says them".to_owned());
    }
    if view.step.check.is_some() && found.case.check.is_none() {
        not_seen.push("its check: the answer could not change the verdict".to_owned());
    }
    if view.step.outs.is_empty() && view.step.check.is_none() && view.rows.is_none() {
        not_seen.push("its effect: the step shows nothing to look at".to_owned());
    }
    let open = view.open_attempt(&found.task.item_name());
    let own = found.task.name(&view.step.name, &view.instance);
    let sums = |task: Option<&_>, is_meant: &dyn Fn(&SumOf) -> bool| {
        site.ask_manifest(|manifest| {
            let calls = manifest.call_journal();
            calls::sums(site.home, calls, &site.pipeline.name, task, is_meant)
        })
    };
    let calls = sums(Some(&own), &|_| true)?;
    let shared_calls = match view.step.makes_calls() {
        true => sums(None, &|of| of.step.is_empty())?,
        false => Sums::default(),
    };
    Ok(Evidence {
        calls,
        shared_calls,
        verdict: found.verdict,
        receipt: receipt.map(|receipt| (receipt.run, receipt.at)),
        cues,
        memory: found.case.memory(),
        truth: found.case.truth(),
        not_seen,
        attempt: open.map(|attempt| {
            let ending = match (&attempt.ending, &attempt.reason) {
                (Some(ending), Some(reason)) => format!("{ending}: {reason}"),
                (Some(ending), None) => ending.clone(),
                (None, _) if found.case.memory == Memory::Running => "at work".to_owned(),
                (None, _) => "interrupted".to_owned(),
            };
            (attempt.run, attempt.began, ending)
        }),
        twin: found.twin.map(|twin| twin.task.to_string()),
    })
}

fn content(digest: Digest, bytes: u64) -> String {
    format!("{}  {bytes} bytes", digest.short())
}

fn recorded(file: &FileRecord) -> String {
    content(file.digest, file.bytes)
}

/// The item: a file by its content, a value as it is; and the parts of its path
/// that count.
fn item_cues(found: &Found<'_>, receipt: Option<&Receipt>, cues: &mut Vec<Cue>) {
    let Some(raw) = found.task.item.as_deref() else {
        return;
    };
    let path = Path::new(std::ffi::OsStr::from_bytes(raw));
    if let Some(item) = found.item {
        let was = receipt.and_then(|receipt| {
            receipt.ins().find(|file| file.name.is_empty() && file.path == path)
        });
        cues.push(Cue {
            part: Part::What,
            name: "item".to_owned(),
            recorded: was.map(recorded),
            now: Some(content(item.content.digest, item.content.bytes)),
        });
    }
}

/// The inputs beside the item, by their keys and paths.
fn input_cues(found: &Found<'_>, receipt: Option<&Receipt>, cues: &mut Vec<Cue>) {
    let item = found.item.map(|_| {
        Path::new(std::ffi::OsStr::from_bytes(found.task.item.as_deref().unwrap_or_default()))
    });
    let name = |key: &str, path: &Path| {
        let key = if key.is_empty() { "in".to_owned() } else { format!("in.{key}") };
        format!("{key} {}", path.display())
    };
    let mut now = BTreeMap::new();
    for Input { key, path, seen } in found.view.inputs.iter().chain(found.own_inputs) {
        let key = key.as_deref().unwrap_or_default();
        now.insert(name(key, path), content(seen.content.digest, seen.content.bytes));
    }
    let was: BTreeMap<_, _> = receipt
        .into_iter()
        .flat_map(Receipt::ins)
        .filter(|file| Some(file.path.as_path()) != item || !file.name.is_empty())
        .map(|file| (name(&file.name, &file.path), recorded(file)))
        .collect();
    push_all(Part::What, &was, &now, cues);
}

/// The fields of a part that is kept as JSON.
fn json_cues(part: Part, now: &str, was: Option<&String>, cues: &mut Vec<Cue>) {
    let now = flat(now);
    let was = was.map(|was| flat(was)).unwrap_or_default();
    push_all(part, &was, &now, cues);
}

fn push_all(
    part: Part,
    was: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    cues: &mut Vec<Cue>,
) {
    let names: BTreeSet<_> = was.keys().chain(now.keys()).collect();
    cues.extend(names.into_iter().map(|name| Cue {
        part,
        name: name.clone(),
        recorded: was.get(name).cloned(),
        now: now.get(name).cloned(),
    }));
}

/// The fields of a JSON object as names and texts: `param month`, `program x.py`.
fn flat(json: &str) -> BTreeMap<String, String> {
    let Ok(Value::Object(object)) = serde_json::from_str(json) else {
        return BTreeMap::new();
    };
    let mut fields = BTreeMap::new();
    for (field, value) in object {
        match value {
            Value::Object(named) => {
                let field = field
                    .strip_suffix('s')
                    .filter(|_| field != "needs" && field != "env-counts")
                    .unwrap_or(&field);
                fields.extend(
                    named
                        .into_iter()
                        .map(|(name, value)| (format!("{field} {name}"), text(field, value))),
                );
            }
            // What is no command has no words.
            Value::Array(words) if words.is_empty() => {}
            Value::Array(words) => {
                let words: Vec<_> = words.into_iter().map(|word| text(&field, word)).collect();
                fields.insert(field, words.join(" "));
            }
            value => {
                let value = text(&field, value);
                fields.insert(field, value);
            }
        }
    }
    fields
}

fn text(field: &str, value: Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        // Of a digest eight digits are enough to see whether it is the same.
        Value::String(digest) if matches!(field, "needs" | "program") => {
            digest.chars().take(8).collect()
        }
        Value::String(text) => text,
        value => value.to_string(),
    }
}

/// The rows, by their table.
fn rows_cue(found: &Found<'_>, receipt: Option<&Receipt>, cues: &mut Vec<Cue>) {
    let Some(rows) = &found.view.rows else { return };
    let counted = |rows: Option<u64>, digest: Digest| match rows {
        Some(rows) => format!("{}  {}", digest.short(), rows_of(rows)),
        None => digest.short(),
    };
    let item = found.task.item_name();
    let own = rows.of_item(Some(&*item).filter(|item| !item.is_empty()));
    let now = own.filter(|known| !known.is_void).map(|known| known.stamp);
    let was = receipt.and_then(|receipt| receipt.rows().next());
    let table = now.as_ref().map(|stamp| stamp.table.clone()).or(was.map(|was| was.name.clone()));
    let name = match table.filter(|table| !table.is_empty()) {
        Some(table) => format!("rows {table}"),
        None => "stamp".to_owned(),
    };
    cues.push(Cue {
        part: Part::Truth,
        name,
        recorded: was.map(|was| counted(was.rows, was.digest)),
        now: now.map(|stamp| counted(stamp.rows, stamp.digest())),
    });
}

/// The outputs, by their paths.
fn output_cues(found: &Found<'_>, receipt: Option<&Receipt>, cues: &mut Vec<Cue>) {
    let mut now = BTreeMap::new();
    for (path, seen) in found.task.outs.iter().zip(found.outs) {
        if let Some(seen) = seen {
            now.insert(
                format!("out {}", path.display()),
                content(seen.content.digest, seen.content.bytes),
            );
        }
    }
    let was: BTreeMap<_, _> = receipt
        .into_iter()
        .flat_map(Receipt::outs)
        .map(|file| (format!("out {}", file.path.display()), recorded(file)))
        .collect();
    for path in &*found.task.outs {
        let name = format!("out {}", path.display());
        cues.push(Cue {
            part: Part::Truth,
            recorded: was.get(&name).cloned(),
            now: now.get(&name).cloned(),
            name,
        });
    }
}
