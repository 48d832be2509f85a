//! Looking: what is remembered and what is true of a task, and the verdict.
//!
//! Invariant: looking changes nothing. A file is asked about once, its bytes are
//! read only where it does not look as it did, stamps are read only where there
//! is no receipt of the present fingerprint, and a check is asked only where its
//! answer counts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use crate::deed::explain::{Found, explain};
use crate::deed::lease::Lease;
use crate::deed::{Site, Trouble, check, command, lease, list, stage};
use crate::ground::digests::Content;
use crate::ground::manifest::{OpenAttempt, Remembered, Said, StepMemory, Verb};
use crate::ground::world::disk::{DiskError, Kind, Meta};
use crate::ground::world::process::Stop;
use crate::thought::bind::Bindings;
use crate::thought::decide::{Case, check_matters, decide};
use crate::words::digest::{Digest, Fields};
use crate::words::evidence::Evidence;
use crate::words::fingerprint::{self, Fingerprint, Given, How, ItemCounts};
use crate::words::path::{bytes_of, normal, show};
use crate::words::pipeline::{Command, Fault, InputSource, Same, Step, StepId};
use crate::words::receipt::{Failure, Receipt};
use crate::words::shell;
use crate::words::stamp::Stamp;
use crate::words::task::{Instance, Task, TaskName, decode, encode};
use crate::words::template::{ItemPart, Name};
use crate::words::verdict::{Memory, Nature, Outputs, Reason, Ruling, Twin, Verdict, Word};

/// A file or folder, as it was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The key by which the pipeline names it.
    pub key: Option<String>,
    /// Its path.
    pub path: PathBuf,
    /// How it looked.
    pub meta: Meta,
    /// What was in it.
    pub content: Content,
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
    /// The programs that the action names.
    pub programs: Vec<Seen>,
    /// The inputs, where they are the same for all tasks.
    pub inputs: Vec<Seen>,
    /// Variables of the environment that may be named.
    pub env: BTreeMap<String, Vec<u8>>,
    /// What is remembered.
    pub memory: Arc<StepMemory>,
    /// The shared fields of *what*, and the shared inputs.
    fields: Fields,
    /// Whether inputs are named by the item.
    inputs_by_item: bool,
    /// The parts of an item's path that count.
    parts: Vec<ItemPart>,
    memory_is_whole: bool,
    /// Whether the step is ours to act on.
    pub hold: Arc<Hold>,
    /// Whether everything is to be done afresh.
    fresh: bool,
    /// Runs of other processes that are at work.
    alive: HashSet<String>,
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
    pub outputs: HashMap<StepId, Vec<Seen>>,
}

/// How a step is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Whether ordinary steps are done afresh.
    pub fresh: bool,
    /// Whether items without a receipt are left unread: `plan` costs no reading.
    pub reads_no_new_items: bool,
    /// The step whose verdicts are explained.
    pub explains: Option<StepId>,
}

/// What looking at a task gave.
pub struct Looked {
    /// What is done with it, and why.
    pub verdict: Verdict,
    /// Its fingerprint; `None` where its item was left unread.
    pub fingerprint: Option<Fingerprint>,
    /// What its outputs are, all present.
    pub effect: Option<Digest>,
    /// Its outputs, all present.
    pub outs: Vec<Seen>,
    /// All that acting on it needs; `None` if there is nothing to do.
    pub sight: Option<Box<Sight>>,
    /// What the verdict rests on, where that is asked for.
    pub evidence: Option<Box<Evidence>>,
}

/// What was seen of a task that is to be acted on.
pub struct Sight {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its item, if that is a file.
    pub item: Option<Seen>,
    /// Inputs that its item names.
    pub own_inputs: Vec<Seen>,
    /// Its outputs as they were found.
    pub outs: Vec<Option<Seen>>,
    /// Whether the outputs are what its receipt says, so that they are semel's
    /// own.
    pub outs_are_own: bool,
    /// The receipt of the task whose outputs serve this one.
    pub twin: Option<Receipt>,
    /// What a human said of it.
    pub said: Option<Said>,
    /// Where a refused attempt left its outputs.
    pub kept: Option<Vec<PathBuf>>,
}

/// Where the last look found things, to find the next ones sooner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    receipts: usize,
    items: usize,
    outs: usize,
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
    ) -> Result<Self, Trouble> {
        let step = site.pipeline.step(id);
        let env = site.environment(step);
        let given = given(site, step, &env, before);
        let programs = programs(site, step)?;
        let digests = programs.iter().map(|seen| {
            (seen.path.to_string_lossy().into_owned(), seen.content.digest.to_string())
        });
        let how = How::of(&step.action.command, digests.collect());
        let inputs_by_item = step.inputs.iter().any(|input| {
            matches!(&input.source, InputSource::Files(pattern)
                if pattern.placeholders().any(|hole| matches!(hole.name, Name::Item(_))))
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
        Ok(Self {
            id,
            step,
            instance: site.params.instance(&step.per),
            given: given.to_json(),
            how_digest: how.digest(),
            how: how.to_json(),
            programs,
            inputs,
            env,
            memory,
            fields,
            inputs_by_item,
            parts: parts(step),
            memory_is_whole: true,
            hold,
            fresh: manner.fresh && !step.once,
            alive,
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
            params: site.params,
            item: task.item.as_deref(),
            inputs,
            outs,
            env: &self.env,
            run_id: site.run_id,
            step: self.step,
            for_command: true,
        }
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

    fn said(&self, item: &str) -> Option<&Said> {
        let said = &self.memory.said;
        let at = said.binary_search_by(|known| known.item.as_str().cmp(item)).ok()?;
        said.get(at)
    }

    fn nature(&self) -> Nature {
        if self.step.once { Nature::Once } else { Nature::Ordinary }
    }

    fn remembers(&self, receipt: Option<&Remembered>, open: Option<&OpenAttempt>, present: &Fingerprint) -> Memory {
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

/// Looks at a task and gives the verdict on it.
///
/// `made` is its item as another task of this run, or the look at it, left it.
/// `tried` says that this run made an attempt already, and whether that provably
/// did nothing.
///
/// # Errors
/// If what it reads is not there, or something cannot be told.
pub fn look(
    site: &Site<'_>,
    view: &StepView<'_>,
    task: &Task,
    made: Option<&Seen>,
    tried: Option<bool>,
    manner: Manner,
    stop: &Stop,
    hints: &mut Hints,
) -> Result<Looked, Failure> {
    let name = task.item_name();
    let receipt = view.receipt(&name, &mut hints.receipts);
    // What a human said was acted on by the attempt that this run made.
    let said = view.said(&name).filter(|_| tried.is_none());
    let open = view.open_attempt(&name);
    let leaves_unread = manner.reads_no_new_items && receipt.is_none() && open.is_none() && said.is_none();
    let item = match item(site, view, task, made, leaves_unread, hints)? {
        Item::Unread => return Ok(unread()),
        Item::Seen(seen) => Some(seen),
        Item::None => None,
    };
    let own_inputs = own_inputs(site, view, task)?;
    let fingerprint = Fingerprint {
        what: what(view, task, item.as_ref(), &own_inputs),
        how: view.how_digest,
    };
    let mut case = Case::new(view.nature(), view.remembers(receipt, open, &fingerprint), Outputs::None);
    case.memory_is_whole = view.memory_is_whole;
    case.same_content = view.step.same == Some(Same::Content);
    case.provably_undone = open.is_some_and(|attempt| attempt.provably_undone);
    case.word = match said.map(|said| said.verb) {
        Some(Verb::Done) => Some(Word::Done),
        Some(Verb::Redo) => Some(Word::Redo),
        None => view.fresh.then_some(Word::Fresh),
    };
    if let Some(provably_undone) = tried {
        case.memory = Memory::Failed;
        case.provably_undone = provably_undone;
    }
    let outs = outs(site, view, task, hints)?;
    let held = hold(site, view, &fingerprint, receipt, &outs)?;
    case.outputs = held.outputs;
    let kept = kept_outputs(site, view, task, open)?;
    case.outputs_accepted = held.outputs != Outputs::Missing
        || kept.is_some()
        || said.is_some_and(|said| said.without_outputs);
    let twin = find_twin(site, view, &case, &fingerprint, &name)?;
    if let Some((_, presence)) = &twin {
        case.twin = *presence;
    }
    if let Some(check) = &view.step.check
        && check_matters(&case)
    {
        let inputs = input_paths(view, &own_inputs);
        let bindings = view.bindings(site, task, &inputs, &task.outs);
        let whole_name = task.name(&view.step.name, &view.instance).to_string();
        let env = command::env(view.step, &bindings, &whole_name);
        let answer = check::ask(site, check, &bindings, &env, stop);
        case.check = Some(answer.map_err(|why| Failure::Broken(format!("its check cannot tell: {why}")))?);
    }
    let verdict = decide(&case);
    let evidence = match manner.explains {
        Some(id) if id == view.id => {
            let found = Found {
                view,
                task,
                item: item.as_ref(),
                own_inputs: &own_inputs,
                outs: &outs,
                case: &case,
                verdict,
                twin: twin.as_ref().map(|(receipt, _)| receipt),
            };
            Some(Box::new(explain(site, &found)?))
        }
        _ => None,
    };
    let acts = matches!(verdict.ruling, Ruling::Run | Ruling::Reuse | Ruling::Adopt);
    let present: Option<Vec<Seen>> = outs.iter().cloned().collect();
    let sight = acts.then(|| {
        Box::new(Sight {
            fingerprint,
            item,
            own_inputs,
            outs,
            outs_are_own: held.are_own,
            twin: twin.map(|(receipt, _)| receipt),
            said: said.cloned(),
            kept,
        })
    });
    Ok(Looked {
        verdict,
        fingerprint: Some(fingerprint),
        effect: held.effect,
        outs: present.unwrap_or_default(),
        sight,
        evidence,
    })
}

fn unread() -> Looked {
    Looked {
        verdict: Verdict {
            ruling: Ruling::Run,
            reason: Reason::New,
        },
        fingerprint: None,
        effect: None,
        outs: Vec::new(),
        sight: None,
        evidence: None,
    }
}

enum Item {
    None,
    Unread,
    Seen(Seen),
}

/// Looks at the item of a task, if it is a file.
fn item(
    site: &Site<'_>,
    view: &StepView<'_>,
    task: &Task,
    made: Option<&Seen>,
    leaves_unread: bool,
    hints: &mut Hints,
) -> Result<Item, Failure> {
    let gives_files = view.step.each.as_ref().is_some_and(|each| each.source.gives_files());
    let Some(item) = task.item.as_deref().filter(|_| gives_files) else {
        return Ok(Item::None);
    };
    if let Some(made) = made {
        return Ok(Item::Seen(made.clone()));
    }
    let path = Path::new(OsStr::from_bytes(item));
    let meta = site.disk.look(path).map_err(|error| bad_input(&error))?;
    let Some(meta) = meta else {
        return Err(Failure::BadInput(format!("its input {} is not there", show(path))));
    };
    if leaves_unread {
        let known = site.digests.remembered(path, &meta.stat, &mut hints.items);
        if meta.kind != Kind::File || known.is_none() {
            return Ok(Item::Unread);
        }
    }
    let content = site.digests.content(site.disk, path, &meta, &mut hints.items);
    Ok(Item::Seen(Seen {
        key: None,
        path: path.to_owned(),
        meta,
        content: content.map_err(|error| bad_input(&error))?,
    }))
}

fn bad_input(error: &DiskError) -> Failure {
    Failure::BadInput(error.to_string())
}

fn own_inputs(site: &Site<'_>, view: &StepView<'_>, task: &Task) -> Result<Vec<Seen>, Failure> {
    if !view.inputs_by_item {
        return Ok(Vec::new());
    }
    Ok(inputs(site, view.step, &Before::default(), task.item.as_deref())?)
}

fn what(view: &StepView<'_>, task: &Task, item: Option<&Seen>, own_inputs: &[Seen]) -> Digest {
    let mut fields = view.fields.clone();
    put_inputs(&mut fields, own_inputs);
    let raw = task.item.as_deref().unwrap_or_default();
    let counts = match (item, &task.item) {
        (Some(seen), _) => ItemCounts::File(seen.content.digest),
        (None, Some(value)) => ItemCounts::Value(value),
        (None, None) => ItemCounts::None,
    };
    let parts = view.parts.iter().map(|part| (*part, part.of(raw)));
    fingerprint::what(fields, counts, parts)
}

fn put_inputs(fields: &mut Fields, inputs: &[Seen]) {
    for seen in inputs {
        let key = seen.key.as_deref().unwrap_or_default();
        fingerprint::put_input(fields, key, bytes_of(&seen.path), seen.content.digest);
    }
}

/// The outputs as they are; `None` where one is not there.
fn outs(site: &Site<'_>, view: &StepView<'_>, task: &Task, hints: &mut Hints) -> Result<Vec<Option<Seen>>, Failure> {
    let outs = view.step.outs.iter().zip(&*task.outs);
    let look = outs.map(|(out, path)| {
        let broken = |error: DiskError| Failure::Broken(error.to_string());
        let Some(meta) = site.disk.look(path).map_err(broken)? else {
            return Ok(None);
        };
        if let Some(why) = wrong_kind(out.folder, meta.kind) {
            return Err(Failure::BadEffect(format!("its output {} {why}", show(path))));
        }
        let content = site.digests.content(site.disk, path, &meta, &mut hints.outs).map_err(broken)?;
        Ok(Some(Seen {
            key: out.key.clone(),
            path: path.clone(),
            meta,
            content,
        }))
    });
    look.collect()
}

/// Why a thing cannot be the output that was declared.
#[must_use]
pub fn wrong_kind(wants_folder: bool, kind: Kind) -> Option<&'static str> {
    match (wants_folder, kind) {
        (false, Kind::File) | (true, Kind::Folder) => None,
        (false, Kind::Folder) => Some("is a folder; a path that ends in `/` declares one"),
        (true, Kind::File) => Some("is a file; a path without `/` at its end declares one"),
        (_, Kind::Link) => Some("is a symbolic link"),
        (_, Kind::Other) => Some("is neither a file nor a folder"),
    }
}

/// The role of an output in stamps and effects: its key, or its place among
/// several; empty if it is the only one.
#[must_use]
pub fn role(step: &Step, at: usize) -> String {
    match &step.outs[at].key {
        Some(key) => key.clone(),
        None if step.outs.len() == 1 => String::new(),
        None => (at + 1).to_string(),
    }
}

/// Outputs held against receipt and stamps.
struct Held {
    outputs: Outputs,
    effect: Option<Digest>,
    /// Whether they are what the task's receipt says.
    are_own: bool,
}

fn hold(
    site: &Site<'_>,
    view: &StepView<'_>,
    present: &Fingerprint,
    receipt: Option<&Remembered>,
    outs: &[Option<Seen>],
) -> Result<Held, Failure> {
    let missing = |outputs| Held {
        outputs,
        effect: None,
        are_own: false,
    };
    if outs.is_empty() {
        return Ok(missing(Outputs::None));
    }
    let Some(outs) = outs.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else {
        return Ok(missing(Outputs::Missing));
    };
    let roles: Vec<_> = (0..outs.len()).map(|at| role(view.step, at)).collect();
    let effect = fingerprint::effect(roles.iter().map(String::as_str).zip(outs.iter().map(|seen| seen.content.digest)));
    let are_own = receipt.is_some_and(|receipt| receipt.effect == effect);
    let is_this = receipt.is_some_and(|receipt| {
        let known = &receipt.fingerprint;
        known.what == present.what && (view.step.once || known.how == present.how)
    });
    let outputs = match (is_this, are_own) {
        (true, true) => Outputs::Proven,
        // What is there is semel's own, but not what this version made.
        (true, false) if explained(site, &outs)? => Outputs::Missing,
        (true, false) => Outputs::Altered,
        (false, _) if proven_by_stamps(site, view, present, &roles, &outs)? => Outputs::Proven,
        (false, true) => Outputs::Older,
        (false, false) if explained(site, &outs)? => Outputs::Older,
        (false, false) => Outputs::Altered,
    };
    Ok(Held {
        outputs,
        effect,
        are_own,
    })
}

fn stamp_of(site: &Site<'_>, path: &Path) -> Result<Option<Stamp>, Failure> {
    let kept = site.disk.stamp(path).map_err(|error| Failure::Broken(error.to_string()))?;
    Ok(kept.as_deref().and_then(Stamp::from_bytes))
}

fn proven_by_stamps(
    site: &Site<'_>,
    view: &StepView<'_>,
    present: &Fingerprint,
    roles: &[String],
    outs: &[&Seen],
) -> Result<bool, Failure> {
    for (role, seen) in roles.iter().zip(outs) {
        let stamp = stamp_of(site, &seen.path)?;
        if !stamp.is_some_and(|stamp| stamp.proves(present, role, seen.content.digest, view.step.once)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn explained(site: &Site<'_>, outs: &[&Seen]) -> Result<bool, Failure> {
    for seen in outs {
        if !is_own(site, &seen.path, seen.content.digest)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether bytes at a path were made by semel: their stamp says so, or a receipt
/// does.
///
/// # Errors
/// If the stamp cannot be read, or the manifest cannot be asked.
pub fn is_own(site: &Site<'_>, path: &Path, digest: Digest) -> Result<bool, Failure> {
    if stamp_of(site, path)?.is_some_and(|stamp| stamp.explains(digest)) {
        return Ok(true);
    }
    let made = site.ask_manifest(|manifest| manifest.made(path, &digest));
    made.map_err(|error| Failure::Broken(format!("the manifest: {error}")))
}

/// Where a refused attempt of a `once` task left its outputs, all of them.
fn kept_outputs(
    site: &Site<'_>,
    view: &StepView<'_>,
    task: &Task,
    open: Option<&OpenAttempt>,
) -> Result<Option<Vec<PathBuf>>, Failure> {
    let Some(attempt) = open.filter(|_| view.step.once && !view.step.outs.is_empty()) else {
        return Ok(None);
    };
    stage::kept_outputs(site.disk, site.home, view.step, task, &attempt.run_id, attempt.number)
        .map_err(|error| Failure::Broken(error.to_string()))
}

/// Another task that did the same, if a twin can change the verdict.
fn find_twin(
    site: &Site<'_>,
    view: &StepView<'_>,
    case: &Case,
    present: &Fingerprint,
    own_name: &str,
) -> Result<Option<(Receipt, Twin)>, Failure> {
    let has_files = view.step.each.as_ref().is_some_and(|each| each.source.gives_files());
    if !has_files || case.memory != Memory::None || case.outputs == Outputs::Proven {
        return Ok(None);
    }
    let twins = view.twins.get_or_init(|| {
        let mut twins: HashMap<_, Vec<_>> = HashMap::new();
        for (at, receipt) in view.memory.receipts.iter().enumerate() {
            twins.entry(receipt.fingerprint.what).or_default().push(at);
        }
        twins
    });
    for at in twins.get(&present.what).into_iter().flatten() {
        let known = &view.memory.receipts[*at];
        if (known.fingerprint.how != present.how && !view.step.once) || &*known.item == own_name {
            continue;
        }
        let name = TaskName::new(&view.step.name, &view.instance, Some(&known.item));
        let receipt = site.ask_manifest(|manifest| manifest.receipt(&site.pipeline.name, &name));
        let receipt = receipt.map_err(|error| Failure::Broken(format!("the manifest: {error}")))?;
        if let Some(receipt) = receipt
            && outputs_are_intact(site, &receipt)
        {
            let is_present = decode(&known.item)
                .is_some_and(|item| matches!(site.disk.look(Path::new(OsStr::from_bytes(&item))), Ok(Some(_))));
            return Ok(Some((receipt, if is_present { Twin::Present } else { Twin::Gone })));
        }
    }
    Ok(None)
}

fn outputs_are_intact(site: &Site<'_>, receipt: &Receipt) -> bool {
    receipt.outs().all(|out| match site.disk.look(&out.path) {
        Ok(Some(meta)) => site
            .digests
            .content(site.disk, &out.path, &meta, &mut 0)
            .is_ok_and(|content| content.digest == out.digest),
        _ => false,
    })
}

/// The paths of a task's inputs with their keys, for placeholders.
#[must_use]
pub fn input_paths<'b>(view: &'b StepView<'_>, own_inputs: &'b [Seen]) -> Vec<(Option<&'b str>, &'b Path)> {
    let all = view.inputs.iter().chain(own_inputs);
    all.map(|seen| (seen.key.as_deref(), seen.path.as_path())).collect()
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
        env_counts: step.env_counts.iter().map(|name| (name.clone(), env.get(name).map(|value| text(value)))).collect(),
        version: step.version.clone(),
        // What is done once is only ordered by what it needs.
        needs: before
            .needs
            .iter()
            .filter(|_| !step.once)
            .map(|(step, digest)| (step.clone(), digest.to_string()))
            .collect(),
    }
}

/// The parts of an item's path that decide what a task does.
fn parts(step: &Step) -> Vec<ItemPart> {
    if !step.each.as_ref().is_some_and(|each| each.source.gives_files()) {
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

/// Files that the command names as its programs, where they lie in the
/// pipeline's folder. Outputs and databases are none.
fn programs(site: &Site<'_>, step: &Step) -> Result<Vec<Seen>, Trouble> {
    let named = match &step.action.command {
        Command::Shell { text, .. } => {
            let holes: Vec<_> = text.placeholders().map(|hole| hole.range.clone()).collect();
            shell::read(&text.text, &holes).programs
        }
        Command::Words(words) => {
            let words: Vec<_> = words.iter().map(|word| word.as_plain()).collect();
            shell::programs_of(&words)
        }
    };
    let mut programs = Vec::new();
    for name in named {
        let path = normal(name.as_bytes());
        let inside = path.strip_prefix(site.disk.root()).unwrap_or(&path);
        let leaves = inside.is_absolute() || inside.components().any(|part| part == Component::ParentDir);
        let is_database = inside.extension().is_some_and(|ending| {
            ["db", "sqlite", "sqlite3"].iter().any(|known| ending == *known)
        });
        if leaves || is_database || site.outputs.contains(inside) {
            continue;
        }
        let Some(meta) = site.disk.look(inside)?.filter(|meta| meta.kind == Kind::File) else {
            continue;
        };
        programs.push(Seen {
            key: None,
            path: inside.to_owned(),
            meta,
            content: site.digests.content(site.disk, inside, &meta, &mut 0)?,
        });
    }
    Ok(programs)
}

/// The files of `in`, in the order of the file.
fn inputs(site: &Site<'_>, step: &Step, before: &Before, item: Option<&[u8]>) -> Result<Vec<Seen>, Trouble> {
    let mut inputs = Vec::new();
    let mut hint = 0;
    for input in &step.inputs {
        let pattern = match &input.source {
            InputSource::OutputsOf(step) => {
                let outputs = before.outputs.get(step).into_iter().flatten();
                inputs.extend(outputs.map(|seen| Seen {
                    key: input.key.clone(),
                    ..seen.clone()
                }));
                continue;
            }
            InputSource::Files(pattern) => pattern,
        };
        let files = list::files(site, step, pattern, item, &input.span)?;
        if files.is_empty() {
            let title = format!("an input that is not there: nothing matches `{}`", pattern.text);
            let fault = Fault::new(title, &input.span, "matches no file");
            return Err(Trouble::Input(fault));
        }
        for path in files {
            let unreadable = |error: DiskError| {
                Trouble::Input(Fault::new(error.to_string(), &input.span, "wants to read it"))
            };
            let Some(meta) = site.disk.look(&path).map_err(unreadable)? else {
                let title = format!("an input that is not there: {}", show(&path));
                let fault = Fault::new(title, &input.span, "is it a link to nowhere?");
                return Err(Trouble::Input(fault));
            };
            let content = site.digests.content(site.disk, &path, &meta, &mut hint).map_err(unreadable)?;
            inputs.push(Seen {
                key: input.key.clone(),
                path,
                meta,
                content,
            });
        }
    }
    Ok(inputs)
}
