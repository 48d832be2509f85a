//! The view on a step: what looking at all its tasks has in common. It is
//! prepared once all that the step waits for is known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::deed::check::AllAnswered;
use crate::deed::lease::Lease;
use crate::deed::rows::Rows;
use crate::deed::{Site, Trouble, command, lease, list};
use crate::ground::digests::Content;
use crate::ground::manifest::{OpenAttempt, Remembered, Said, StepMemory};
use crate::ground::world::disk::{DiskError, Kind, Meta};
use crate::ground::world::process::Stop;
use crate::thought::bind::Bindings;
use crate::thought::mask::Mask;
use crate::words::digest::{Digest, Fields};
use crate::words::fingerprint::{Fingerprint, Given, How, put_input};
use crate::words::path::{bytes_of, normal, show};
use crate::words::pipeline::{
    ActionKind, Command, Digested, Fault, InputSource, Same, SqlText, Step, StepId,
};
use crate::words::shell;
use crate::words::task::{Instance, Task, decode, encode};
use crate::words::template::{ItemPart, Name};
use crate::words::verdict::{Memory, Nature};

/// A file or folder, as it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// How it looked.
    pub meta: Meta,
    /// What was in it.
    pub content: Content,
}

/// A file or folder that is read, as it was seen.
#[derive(Clone, Debug)]
pub struct Input {
    /// The key by which the pipeline names it.
    pub key: Option<String>,
    /// Its path.
    pub path: PathBuf,
    /// As it was seen.
    pub seen: Seen,
}

/// What looking at all tasks of a step has in common.
pub struct StepView<'a> {
    /// The step's place.
    pub id: StepId,
    /// The step.
    pub step: &'a Step,
    /// Its instance.
    pub instance: Instance,
    /// The shared fields of *what*, as JSON.
    pub given: String,
    /// The fields of *how*, as JSON.
    pub how: String,
    /// The digest of *how*.
    pub how_digest: Digest,
    /// Whether that is known: what a script says of a command, it says when it runs.
    pub knows_how: bool,
    /// The programs that the action names.
    pub programs: Vec<Input>,
    /// The inputs, where they are the same for all tasks.
    pub inputs: Vec<Input>,
    /// Whether inputs are named by the item.
    pub inputs_by_item: bool,
    /// The folder in which its commands run.
    pub folder: PathBuf,
    /// Masks its secrets.
    pub mask: Mask,
    /// Variables of the environment that may be named.
    pub env: BTreeMap<String, Vec<u8>>,
    /// The roles of the outputs.
    pub roles: Vec<String>,
    /// What is remembered.
    pub memory: Arc<StepMemory>,
    /// Whether nothing was ever lost from it.
    pub memory_is_whole: bool,
    /// Whether the step is ours to act on.
    pub hold: Arc<Hold>,
    /// Whether everything is to be done afresh.
    pub fresh: bool,
    /// Whether every check is asked, however lately it held.
    pub asks_anew: bool,
    /// The shared fields of *what*, and the shared inputs.
    pub(super) fields: Fields,
    /// The parts of an item's path that count.
    pub(super) parts: Vec<ItemPart>,
    /// Runs of other processes that are at work.
    alive: HashSet<String>,
    /// Items at which a command that outlived its run is at work.
    at_work: HashSet<String>,
    /// When receipts were written and checks held, where their age matters.
    pub ages: Ages,
    /// What a check that answers for all items said.
    pub(super) all_answered: Mutex<Option<AllAnswered>>,
    /// The last of its items that was done, where they go in order.
    last_done: Option<Vec<u8>>,
    /// What is known of its rows, where it makes some.
    pub rows: Option<Rows>,
    /// Receipts by what they did, for those who look for a twin.
    twins: OnceLock<HashMap<Digest, Vec<usize>>>,
}

/// Whether a step is ours to act on. Runs of several instances of a pipeline
/// share the steps that have other instances; such a step has a lease of its own.
#[derive(Debug)]
pub enum Hold {
    /// The run's own lease covers it.
    Ours,
    /// Its own lease is held, until it is settled.
    Held(Mutex<Option<Lease>>),
    /// Another run is at work on it.
    Others,
}

impl Hold {
    /// Whether we may act.
    #[must_use]
    pub const fn may_act(&self) -> bool {
        !matches!(self, Self::Others)
    }

    /// Lets go of a lease of its own.
    pub fn let_go(&self) {
        if let Self::Held(lease) = self {
            lease.lock().expect("nobody panics while holding it").take();
        }
    }
}

/// What a step's view needs to know of the steps before it.
#[derive(Default)]
pub struct Before {
    /// For each step in `needs`, the digest of what its tasks left.
    pub needs: BTreeMap<String, Digest>,
    /// For each step whose outputs are gathered, these outputs.
    pub outputs: HashMap<StepId, Vec<(PathBuf, Seen)>>,
}

/// How a step is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Whether ordinary steps are done afresh.
    pub fresh: bool,
    /// Whether no remembered answer of a check is believed.
    pub rehash: bool,
    /// Whether items without a receipt are left unread: `plan` costs no reading.
    pub reads_no_new_items: bool,
    /// The step whose verdicts are explained.
    pub explains: Option<StepId>,
}

impl<'a> StepView<'a> {
    /// Prepares to look at the tasks of a step, once all it waits for is known.
    ///
    /// # Errors
    /// If an input or a program cannot be read, or the manifest cannot be asked.
    pub fn prepare(
        site: &Site<'a>,
        id: StepId,
        before: &Before,
        memory: Arc<StepMemory>,
        hold: Arc<Hold>,
        manner: Manner,
        stop: &Stop,
    ) -> Result<Self, Trouble> {
        let step = site.pipeline.step(id);
        let env = site.environment(step);
        let given = given(site, step, &env, before);
        let programs = programs(site, step)?;
        let digests = programs.iter().map(|program| {
            (program.path.to_string_lossy().into_owned(), program.seen.content.digest.to_string())
        });
        let how = How::of(step, digests.collect());
        let inputs_by_item = step.inputs.iter().any(|input| {
            matches!(&input.source, InputSource::Files(pattern)
                if pattern.names_item())
        });
        let inputs = if inputs_by_item { Vec::new() } else { inputs(site, step, before, None)? };
        let mut fields = given.fields();
        put_inputs(&mut fields, &inputs);
        let unended = memory.open.iter().filter(|attempt| attempt.ending.is_none());
        let others = unended.map(|attempt| &attempt.run_id).filter(|id| *id != site.run_id);
        let alive = others
            .filter(|id| lease::is_held(&site.home.run_lock(id)).unwrap_or(true))
            .cloned()
            .collect();
        let instance = site.params.instance(&step.per);
        let rows = Rows::of(site, step, &instance, stop)?;
        let at_work = site.orphans.iter().filter(|orphan| {
            let task = &orphan.task;
            orphan.pipeline == site.pipeline.name
                && task.step == step.name
                && task.instance == instance
        });
        let at_work = at_work.map(|orphan| orphan.task.item.clone().unwrap_or_default()).collect();
        Ok(Self {
            id,
            step,
            instance,
            given: given.to_json(),
            how_digest: how.digest(),
            knows_how: step.action.is_some() || step.written.is_none(),
            how: how.to_json(step.written.as_deref()),
            programs,
            inputs,
            inputs_by_item,
            folder: command::folder(site, step),
            mask: site.mask(step),
            ages: ages(site, step)?,
            all_answered: Mutex::default(),
            last_done: last_done(step, &memory),
            env,
            roles: (0..step.outs.len()).map(|at| step.role(at)).collect(),
            memory,
            memory_is_whole: site.memory_is_whole,
            hold,
            fresh: manner.fresh && !step.once,
            asks_anew: manner.rehash,
            fields,
            parts: parts(step),
            alive,
            at_work,
            rows,
            twins: OnceLock::new(),
        })
    }

    /// What placeholders stand for in a command of a task.
    #[must_use]
    pub fn bindings<'b>(
        &'b self,
        site: &'b Site<'_>,
        task: &'b Task,
        inputs: &'b [(Option<&'b str>, &'b Path)],
        outs: &'b [PathBuf],
    ) -> Bindings<'b> {
        Bindings {
            item: task.item.as_deref(),
            row: task.row.as_deref(),
            inputs,
            outs,
            env: &self.env,
            run_id: site.run_id,
            for_command: true,
            root: self.step.runs_elsewhere().then(|| site.disk.root()),
            ..Bindings::of(site.params, Some(self.step))
        }
    }

    /// The paths of a task's inputs with their keys, for placeholders.
    #[must_use]
    pub fn input_paths<'b>(&'b self, own_inputs: &'b [Input]) -> Vec<(Option<&'b str>, &'b Path)> {
        let all = self.inputs.iter().chain(own_inputs);
        all.map(|input| (input.key.as_deref(), input.path.as_path())).collect()
    }

    /// The inputs that a task's item names.
    ///
    /// # Errors
    /// If one is not there or cannot be read.
    pub fn own_inputs(&self, site: &Site<'_>, task: &Task) -> Result<Vec<Input>, Trouble> {
        if !self.inputs_by_item {
            return Ok(Vec::new());
        }
        inputs(site, self.step, &Before::default(), Some(task))
    }

    /// The receipt of an item, if there is one.
    #[must_use]
    pub fn receipt(&self, item: &str, hint: &mut usize) -> Option<&Remembered> {
        let receipts = &self.memory.receipts;
        let at = match receipts.get(*hint) {
            Some(next) if &*next.item == item => *hint,
            _ => receipts.binary_search_by(|known| (*known.item).cmp(item)).ok()?,
        };
        *hint = at + 1;
        receipts.get(at)
    }

    /// The attempt at an item since its receipt, if there is one.
    #[must_use]
    pub fn open_attempt(&self, item: &str) -> Option<&OpenAttempt> {
        let open = &self.memory.open;
        let at = open.binary_search_by(|known| known.item.as_str().cmp(item)).ok()?;
        open.get(at)
    }

    /// What a human said of an item, and no run has acted on.
    #[must_use]
    pub fn said(&self, item: &str) -> Option<&Said> {
        let said = &self.memory.said;
        let at = said.binary_search_by(|known| known.item.as_str().cmp(item)).ok()?;
        said.get(at)
    }

    /// Receipts of tasks that did this.
    pub fn twins(&self, what: &Digest) -> impl Iterator<Item = &Remembered> {
        let twins = self.twins.get_or_init(|| {
            let mut twins: HashMap<_, Vec<_>> = HashMap::new();
            for (at, receipt) in self.memory.receipts.iter().enumerate() {
                twins.entry(receipt.fingerprint.what).or_default().push(at);
            }
            twins
        });
        twins.get(what).into_iter().flatten().map(|at| &self.memory.receipts[*at])
    }

    /// Whether the step may be repeated.
    #[must_use]
    pub const fn nature(&self) -> Nature {
        if self.step.once { Nature::Once } else { Nature::Ordinary }
    }

    /// Whether an item comes before one that is done already, though they go in
    /// order.
    #[must_use]
    pub fn comes_too_late(&self, item: Option<&[u8]>) -> bool {
        match (&self.last_done, item) {
            (Some(last), Some(item)) => item < last.as_slice(),
            _ => false,
        }
    }

    /// Whether the receipt of an item is older than the step allows. Of one that
    /// is not remembered the age is not known; it counts as old.
    #[must_use]
    pub fn is_too_old(&self, item: &str) -> bool {
        let Some(limit) = self.step.max_age else {
            return false;
        };
        self.ages.receipts.get(item).is_none_or(|at| is_older(*at, limit))
    }

    /// Whether the check of a task held so lately that it is believed still.
    #[must_use]
    pub fn held_lately(
        &self,
        item: &str,
        present: &Fingerprint,
        receipt: Option<&Remembered>,
    ) -> bool {
        let Some(limit) = self.step.check.as_ref().and_then(|check| check.max_age) else {
            return false;
        };
        if self.asks_anew {
            return false;
        }
        // It held when the receipt was written.
        let since = receipt
            .filter(|receipt| receipt.fingerprint.what == present.what)
            .and_then(|_| self.ages.receipts.get(item));
        let answer = self.ages.answers.get(item).filter(|(of, _)| of.what == present.what);
        let times = since.into_iter().chain(answer.map(|(_, at)| at));
        times.max().is_some_and(|at| !is_older(*at, limit))
    }

    /// Whether a command that outlived its run is at work on an item.
    #[must_use]
    pub fn is_at_work(&self, item: &str) -> bool {
        self.at_work.contains(item)
    }

    /// What memory says of a task, held against its present fingerprint.
    #[must_use]
    pub fn remembers(
        &self,
        item: &str,
        receipt: Option<&Remembered>,
        open: Option<&OpenAttempt>,
        present: &Fingerprint,
    ) -> Memory {
        if self.is_at_work(item) {
            return Memory::Running;
        }
        match (open, receipt) {
            (Some(attempt), _) => match attempt.ending.as_deref() {
                None if self.alive.contains(&attempt.run_id) => Memory::Running,
                None | Some("interrupted") => Memory::Interrupted,
                Some(_) => Memory::Failed,
            },
            (None, Some(receipt)) => Memory::Complete(present.likeness(&receipt.fingerprint)),
            (None, None) => Memory::None,
        }
    }
}

/// When receipts were written and checks held, by items. Where the age of
/// neither matters, nothing is known.
#[derive(Debug, Default)]
pub struct Ages {
    /// When receipts were written.
    pub receipts: HashMap<String, Timestamp>,
    /// When the check of a task was asked last and held, and for which
    /// fingerprint.
    pub answers: HashMap<String, (Fingerprint, Timestamp)>,
}

fn ages(site: &Site<'_>, step: &Step) -> Result<Ages, Trouble> {
    let believes = step.check.as_ref().is_some_and(|check| check.max_age.is_some());
    let (name, instance) = (&site.pipeline.name, site.params.instance(&step.per));
    let mut ages = Ages::default();
    if step.max_age.is_some() || believes {
        let times =
            site.ask_manifest(|manifest| manifest.receipt_times(name, &step.name, &instance))?;
        ages.receipts = times.into_iter().collect();
    }
    if believes {
        let answers =
            site.ask_manifest(|manifest| manifest.answers(name, &step.name, &instance))?;
        ages.answers = answers
            .into_iter()
            .map(|answer| (answer.item, (answer.fingerprint, answer.at)))
            .collect();
    }
    Ok(ages)
}

/// Of a step that goes in the order of names, the last item that was done.
fn last_done(step: &Step, memory: &StepMemory) -> Option<Vec<u8>> {
    if !step.ordered {
        return None;
    }
    memory.receipts.iter().filter_map(|receipt| decode(&receipt.item)).max()
}

/// Adds inputs to the fields of *what*.
pub(super) fn put_inputs(fields: &mut Fields, inputs: &[Input]) {
    for input in inputs {
        let key = input.key.as_deref().unwrap_or_default();
        put_input(fields, key, bytes_of(&input.path), input.seen.content.digest);
    }
}

/// The fields of *what* that all tasks of a step share.
fn given(site: &Site<'_>, step: &Step, env: &BTreeMap<String, Vec<u8>>, before: &Before) -> Given {
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => encode(bytes).into_owned(),
    };
    let params = step.counting_names().filter_map(|name| match name {
        Name::Param(name) => Some((name.clone(), site.params.get(name).to_owned())),
        _ => None,
    });
    Given {
        params: params.collect(),
        env: step.env.iter().map(|(name, value)| (name.clone(), value.text.clone())).collect(),
        env_counts: step
            .env_counts
            .iter()
            .map(|name| (name.clone(), env.get(name).map(|value| text(value))))
            .collect(),
        version: step.version.clone(),
        // What is done once is only ordered by what it needs.
        needs: before
            .needs
            .iter()
            .filter(|_| !step.once)
            .map(|(step, digest)| (step.clone(), digest.to_string()))
            .collect(),
        digest: (step.digest == Digested::Stat).then(|| "stat".to_owned()),
    }
}

/// The parts of an item's path that decide what a task does.
fn parts(step: &Step) -> Vec<ItemPart> {
    if !step.has_file_items() {
        return Vec::new();
    }
    let mut named: Vec<_> = step
        .counting_names()
        .filter_map(|name| match name {
            Name::Item(part) if *part != ItemPart::Whole => Some(*part),
            _ => None,
        })
        .collect();
    if step.same == Some(Same::NameAndContent) {
        named.push(ItemPart::Path);
    }
    ItemPart::ALL.iter().map(|(_, part)| *part).filter(|part| named.contains(part)).collect()
}

/// Whether a time is longer ago than a limit. One that lies in the future by more
/// than that was written by a clock that is not to be believed.
#[must_use]
pub fn is_older(at: Timestamp, limit: Duration) -> bool {
    Timestamp::now().duration_since(at).unsigned_abs() > limit
}

/// Files that the command names as its programs, where they lie in the
/// pipeline's folder. Outputs and databases are none.
pub(super) fn programs(site: &Site<'_>, step: &Step) -> Result<Vec<Input>, Trouble> {
    let named = match step.command() {
        None => scripts_of(site, step),
        Some(Command::Shell { text, .. }) => {
            let holes: Vec<_> = text.placeholders().map(|hole| hole.range.clone()).collect();
            shell::read(&text.text, &holes).programs
        }
        Some(Command::Words(words)) => {
            let words: Vec<_> = words.iter().map(|word| word.as_plain()).collect();
            let functions = step.script.iter().map(|script| &*script.functions);
            let called = functions.flat_map(|text| shell::read(text, &[]).programs);
            shell::programs_of(&words).into_iter().chain(called).collect()
        }
    };
    let mut programs = Vec::new();
    let dir = command::folder(site, step);
    for name in named {
        // What is named is named from where the command runs.
        let path = match step.runs_elsewhere() {
            true => normal(bytes_of(&dir.join(&name))),
            false => normal(name.as_bytes()),
        };
        let inside = path.strip_prefix(site.disk.root()).unwrap_or(&path);
        let leaves =
            inside.is_absolute() || inside.components().any(|part| part == Component::ParentDir);
        let is_database = inside
            .extension()
            .is_some_and(|ending| ["db", "sqlite", "sqlite3"].iter().any(|known| ending == *known));
        if leaves || is_database || site.outputs.contains(inside) {
            continue;
        }
        let Some(meta) = site.disk.look(inside)?.filter(|meta| meta.kind == Kind::File) else {
            continue;
        };
        let content = site.digests.content(site.disk, inside, &meta, &mut 0)?;
        programs.push(Input { key: None, path: inside.to_owned(), seen: Seen { meta, content } });
    }
    Ok(programs)
}

/// The file that the statements of a step stand in, where it is the same for all items.
fn scripts_of(site: &Site<'_>, step: &Step) -> Vec<String> {
    let Some(ActionKind::Sql(sql)) = step.action.as_ref().map(|action| &action.kind) else {
        return Vec::new();
    };
    match &sql.text {
        SqlText::File(file) if !file.names_item() => {
            let path = file.render(&Bindings::of(site.params, Some(step)));
            vec![String::from_utf8_lossy(&path).into_owned()]
        }
        SqlText::File(_) | SqlText::Inline(_) => Vec::new(),
    }
}

/// The files of `in`, in the order of the file.
fn inputs(
    site: &Site<'_>,
    step: &Step,
    before: &Before,
    task: Option<&Task>,
) -> Result<Vec<Input>, Trouble> {
    let mut inputs = Vec::new();
    let mut hint = 0;
    for input in &step.inputs {
        let named = |path: PathBuf, seen| Input { key: input.key.clone(), path, seen };
        let pattern = match &input.source {
            InputSource::OutputsOf(step) => {
                let outputs = before.outputs.get(step).into_iter().flatten();
                inputs.extend(outputs.map(|(path, seen)| named(path.clone(), *seen)));
                continue;
            }
            InputSource::Files(pattern) => pattern,
        };
        let wrong =
            |title: String, label: &str| Trouble::Input(Fault::new(title, &input.span, label));
        let unreadable = |error: DiskError| wrong(error.to_string(), "wants to read it");
        let files = list::files(site, step, pattern, task, &input.span)?;
        if files.is_empty() {
            return Err(list::none_match(site, step, pattern, task, &input.span));
        }
        for path in files {
            let Some(meta) = site.disk.look(&path).map_err(unreadable)? else {
                let title = format!("an input that is not there: {}", show(&path));
                return Err(wrong(title, "is it a link to nowhere?"));
            };
            let content = site.input_content(step, &path, &meta, &mut hint).map_err(unreadable)?;
            inputs.push(named(path, Seen { meta, content }));
        }
    }
    Ok(inputs)
}
