//! Names of files in commands: those that come into outputs though they do not
//! count, and those of other steps' outputs.

use super::script::{Script, is_out};
use super::{Linter, PRINTS_NAMES, STALE_READ, Subject};
use crate::words::pipeline::{Fault, InputSource, Out, Same, Step, StepId};
use crate::words::shell::{Simple, Word};
use crate::words::template::{ItemPart, Name};

impl Linter<'_> {
    /// A command that puts the name of its item into its output, while items
    /// count by their content.
    pub(super) fn prints_names(&mut self, subject: Subject<'_, '_>) {
        let Subject { id, step, action } = subject;
        let name_counts = step.same == Some(Same::NameAndContent)
            || step.counting_names().any(|name| {
                matches!(name, Name::Item(ItemPart::Name | ItemPart::Stem | ItemPart::Path))
            });
        if step.outs.is_empty() || !step.has_file_items() || name_counts {
            return;
        }
        let found = action.simples.iter().find_map(|simple| {
            let cure = (simple.depth == 0 && action.reaches_output(simple))
                .then(|| prints_name(action, simple))??;
            Some((simple, cure))
        });
        if let Some((simple, cure)) = found {
            let span = self.place(action, &Script::name_range(simple), &step.span);
            let title = format!("`{}` puts names into its output", step.name);
            let fault = Fault::new(title, &span, "says the name of the item")
                .help("two files of equal content would share one output, with one name");
            let fault = if cure.is_empty() { fault } else { fault.help(format!("write  {cure}")) };
            let fault = fault.help("or add  same = \"name+content\"  and the name counts");
            self.warn(&PRINTS_NAMES, id, fault);
        }
    }

    /// A command that names what another step makes, which does not count for it;
    /// whether there is one.
    pub(super) fn stale_read(&mut self, subject: Subject<'_, '_>) -> bool {
        let Subject { id, step, action } = subject;
        if step.dir.is_some() {
            return false;
        }
        for (other_id, other) in self.pipeline.ids() {
            if other_id == id || self.counts_for(id, other_id) {
                continue;
            }
            let is_ordered = self.comes_after(id, other_id);
            // What is done once is only ordered.
            if step.once && is_ordered {
                continue;
            }
            let Some(word) = other.outs.iter().find_map(|out| reads(action, step, out)) else {
                continue;
            };
            let span = self.place(action, &word.range, &step.span);
            let (title, label) = if is_ordered {
                let title = format!("`{}` reads what `{}` makes, uncounted", step.name, other.name);
                (title, "skipped when this comes out different")
            } else {
                let title = format!("`{}` reads what `{}` makes, unordered", step.name, other.name);
                (title, "may not be made yet")
            };
            let line = if step.once {
                format!("add  needs = [\"{}\"]", other.name)
            } else {
                format!("add  in = {{ outputs-of = \"{}\" }}", other.name)
            };
            let fault = Fault::new(title, &span, label).help(line);
            self.warn(&STALE_READ, id, fault);
            return true;
        }
        false
    }

    /// Whether what a step makes counts for another, straight or through steps
    /// between them.
    fn counts_for(&self, id: StepId, source: StepId) -> bool {
        self.leads(id, source, &|step| {
            let listed = step.each.as_ref().and_then(|each| each.source.chain());
            let gathered = step.inputs.iter().filter_map(|input| match input.source {
                InputSource::OutputsOf(step) => Some(step),
                InputSource::Files(_) => None,
            });
            let needs = step.needs.iter().copied().filter(|_| !step.once);
            listed.into_iter().chain(gathered).chain(needs).collect()
        })
    }

    fn comes_after(&self, id: StepId, source: StepId) -> bool {
        self.leads(id, source, &|step| step.upstream().collect())
    }

    /// Whether edges lead from a step up to another.
    fn leads(&self, id: StepId, to: StepId, edges: &dyn Fn(&Step) -> Vec<StepId>) -> bool {
        let mut open = vec![id];
        let mut seen = vec![false; self.pipeline.steps.len()];
        while let Some(at) = open.pop() {
            for next in edges(self.pipeline.step(at)) {
                if next == to {
                    return true;
                }
                if !std::mem::replace(&mut seen[next.0], true) {
                    open.push(next);
                }
            }
        }
        false
    }
}

/// What to write instead of a command that prints the name of the item, if it is
/// one; empty where only the name's counting helps.
fn prints_name(action: &Script<'_>, simple: &Simple) -> Option<&'static str> {
    let is_item = |name: &Name| matches!(name, Name::Item(ItemPart::Whole));
    let names_item = simple.arguments().iter().any(|word| action.names(word, is_item));
    if !names_item {
        return None;
    }
    match simple.name() {
        "wc" => Some("wc … < {{ item }}"),
        "sha256sum" | "sha1sum" | "sha512sum" | "md5sum" | "b2sum" | "cksum" | "shasum" => {
            Some("… < {{ item }}")
        }
        "grep" | "egrep" | "fgrep" | "zgrep"
            if !simple.has_option(&["-h", "--no-filename"])
                && (simple.has_option(&["-H", "--with-filename"])
                    || reads_more(action, simple)) =>
        {
            Some("grep -h …")
        }
        "awk" | "gawk" | "mawk" if simple.plain().any(|word| word.contains("FILENAME")) => Some(""),
        "gzip" | "pigz" if !simple.has_option(&["-n", "--no-name", "-d", "--decompress", "-l"]) => {
            Some("gzip -n …")
        }
        "file" if !simple.has_option(&["-b", "--brief"]) => Some("file -b …"),
        "du" | "zip" | "basename" => Some(""),
        "tar" if creates(simple) => Some(""),
        "echo" | "printf" => Some(""),
        _ => None,
    }
}

/// Whether a command reads other files behind its item.
fn reads_more(action: &Script<'_>, simple: &Simple) -> bool {
    let is_item = |word: &Word| action.names(word, |name| matches!(name, Name::Item(_)));
    let behind = simple.arguments().iter().skip_while(|word| !is_item(word)).skip(1);
    let is_option = |word: &Word| word.text.as_deref().is_some_and(|text| text.starts_with('-'));
    behind.into_iter().any(|word| !is_option(word) && !action.names(word, is_out))
}

/// Whether a `tar` makes an archive.
fn creates(simple: &Simple) -> bool {
    let first = simple.arguments().first().and_then(|word| word.text.as_deref()).unwrap_or("");
    let letters = if first.starts_with("--") { "" } else { first };
    letters.contains('c') || simple.has_option(&["--create"])
}

/// The word by which a command reads an output of another step.
fn reads<'s>(action: &'s Script<'_>, step: &Step, out: &Out) -> Option<&'s Word> {
    let path = out.path.text.trim_end_matches('/');
    // Of a path with placeholders: the folder, and how its names end.
    let last = out.path.placeholders().last();
    let tail = last.map_or("", |hole| &out.path.text[hole.range.end..]).trim_end_matches('/');
    let folder = match last {
        None => out.folder.then(|| format!("{path}/")),
        Some(_) => out.path.head().rfind('/').map(|slash| out.path.head()[..=slash].to_owned()),
    };
    let is_it = |text: &str| {
        let text = text.strip_prefix("./").unwrap_or(text);
        (last.is_none() && text == path)
            || folder.as_ref().is_some_and(|folder| {
                text.len() > folder.len() && text.starts_with(folder) && text.ends_with(tail)
            })
    };
    // What it declares as its own, it does not read from others.
    if step.inputs.iter().any(|input| matches!(&input.source, InputSource::Files(files) if is_it(&files.text) || files.text == path)) {
        return None;
    }
    action.simples.iter().filter(|simple| !writes_only(simple)).find_map(|simple| {
        let read = simple.redirections.iter().filter(|one| one.operator == "<");
        let read = read.map(|one| &one.operand);
        simple.arguments().iter().chain(read).find(|word| word.text.as_deref().is_some_and(is_it))
    })
}

/// Whether the arguments of a command are not read.
fn writes_only(simple: &Simple) -> bool {
    matches!(
        simple.name(),
        "mkdir" | "rm" | "touch" | "echo" | "printf" | "test" | "[" | "[[" | "tee" | "cd" | "rmdir"
    )
}
