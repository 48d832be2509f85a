//! Looking: what is remembered and what is true of a task, and the verdict.
//!
//! Invariant: looking changes nothing. A file is asked about once, its bytes are
//! read only where it does not look as it did, stamps are read only where there
//! is no receipt of the present fingerprint, and a check is asked only where its
//! answer counts.

mod rows;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::deed::check::Earlier;
use crate::deed::explain::{self, explain};
use crate::deed::journal::Unsettled;
use crate::deed::rows::SeenRows;
use crate::deed::view::{Input, Manner, Seen, StepView, put_inputs};
use crate::deed::{Site, check, former, stage};
use crate::ground::manifest::{Gone, OpenAttempt, Remembered, Said, Verb};
use crate::ground::world::disk::{DiskError, Kind};
use crate::ground::world::process::Stop;
use crate::thought::decide::{Case, check_matters, decide};
use crate::words::digest::Digest;
use crate::words::evidence::Evidence;
use crate::words::fingerprint::{self, Fingerprint, ItemCounts};
use crate::words::path::show;
use crate::words::pipeline::{Digested, Same};
use crate::words::receipt::{Failure, Receipt};
use crate::words::stamp::Stamp;
use crate::words::task::{Task, TaskName, decode};
use crate::words::verdict::{Memory, Outputs, Reason, Ruling, Twin, Verdict, Word};

/// What looking at a task gave.
pub struct Looked {
    /// What is done with it, and why.
    pub verdict: Verdict,
    /// Its fingerprint; `None` where its item was left unread.
    pub fingerprint: Option<Fingerprint>,
    /// What its outputs are, all present.
    pub effect: Option<Digest>,
    /// Its outputs, in the order of `out`; empty unless all are present.
    pub outs: Vec<Seen>,
    /// All that acting on it needs; `None` if there is nothing to do.
    pub sight: Option<Box<Sight>>,
    /// What the verdict rests on, where that is asked for.
    pub evidence: Option<Box<Evidence>>,
    /// Whether its check was asked, and held.
    pub held: bool,
    /// What is gone from the file and may be this task under another name, where the
    /// verdict rests on that.
    pub renamed: Option<Gone>,
}

/// What was seen of a task that is to be acted on.
pub struct Sight {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its item, if that is a file.
    pub item: Option<Input>,
    /// Inputs that its item names.
    pub own_inputs: Vec<Input>,
    /// Its outputs as they were found.
    pub outs: Vec<Option<Seen>>,
    /// Whether the outputs are what its receipt says, so that they are semel's
    /// own.
    pub outs_are_own: bool,
    /// The receipt of the task whose outputs serve this one.
    pub twin: Option<Box<Receipt>>,
    /// What a human said of it.
    pub said: Option<Said>,
    /// Where a refused attempt left its outputs.
    pub kept: Option<Vec<PathBuf>>,
    /// Whether an attempt before this run may have left something half done.
    pub owes_cleanup: bool,
    /// The attempt since its receipt, by run and number.
    pub open: Option<(i64, u64)>,
    /// What a dead run published of it, where its check was still to be asked.
    pub unsettled: Option<Unsettled>,
    /// Whether that proves what is to be done now.
    pub is_finished: bool,
    /// What was seen of its rows.
    pub rows: SeenRows,
}

/// What is known of a task beside memory and truth.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Its item, as another task of this run, or the look at it, left it.
    pub made: Option<&'a Seen>,
    /// That this run made an attempt already, and whether that provably did
    /// nothing.
    pub tried: Option<bool>,
    /// The item of a task of this run that did the same.
    pub leader: Option<&'a str>,
    /// When something that comes before its step acted last in this run: what a check
    /// said earlier is not believed.
    pub changed: Option<Instant>,
}

/// Where the last look found things, to find the next ones sooner.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    receipts: usize,
    items: usize,
    outs: usize,
}

/// Looks at a task and gives the verdict on it.
///
/// # Errors
/// If what it reads is not there, or something cannot be told.
pub fn look(
    site: &Site<'_>,
    view: &StepView<'_>,
    task: &Task,
    known: Known<'_>,
    manner: Manner,
    stop: &Stop,
    hints: &mut Hints,
) -> Result<Looked, Failure> {
    let name = task.item_name();
    let receipt = view.receipt(&name, &mut hints.receipts);
    // What a human said was acted on by the attempt that this run made.
    let said = view.said(&name).filter(|_| known.tried.is_none());
    let open = view.open_attempt(&name);
    let comes_too_late = view.comes_too_late(task.item.as_deref());
    // A new one is run; unless it is unsafe to repeat and may not be new, or comes too
    // late: then its content matters.
    let memory = &view.memory;
    let may_be_done = view.step.once
        && !(view.memory_is_whole && memory.gone.is_empty() && memory.receipts.is_empty());
    let leaves_unread = manner.reads_no_new_items
        && receipt.is_none()
        && open.is_none()
        && said.is_none()
        && !may_be_done
        && !comes_too_late
        && !view.is_at_work(&name);
    let item = match item(site, view, task, known.made, leaves_unread, hints)? {
        Item::Unread => return Ok(unread()),
        Item::Seen(seen) => Some(seen),
        Item::None => None,
    };
    let own_inputs = view.own_inputs(site, task)?;
    let before = open.map(|open| open.fingerprint).or(receipt.map(|known| known.fingerprint));
    let how = match before.filter(|_| !view.knows_how) {
        Some(before) => before.how,
        None => view.how_digest,
    };
    let fingerprint = Fingerprint { what: what(view, task, item.as_ref(), &own_inputs), how };
    let mut case =
        Case::new(view.nature(), view.remembers(&name, receipt, open, &fingerprint), Outputs::None);
    case.keeps = site.kept.contains(&view.id);
    case.too_old = view.is_too_old(&name);
    case.deterministic = view.step.deterministic;
    case.comes_too_late = comes_too_late;
    case.memory_is_whole = view.memory_is_whole;
    case.same_content = view.step.same == Some(Same::Content);
    case.provably_undone = open.is_some_and(|attempt| attempt.provably_undone);
    case.word = match said.map(|said| said.verb) {
        Some(Verb::Done) => Some(Word::Done),
        Some(Verb::Redo) => Some(Word::Redo),
        None => view.fresh.then_some(Word::Fresh),
    };
    if let Some(provably_undone) = known.tried {
        case.memory = Memory::Failed;
        case.provably_undone = provably_undone;
    }
    let outs = outs(site, view, task, hints)?;
    let unsettled = unsettled(site, view, task, known);
    let mut held = match &view.rows {
        Some(rows) => rows::hold(view, rows, &name, &fingerprint, receipt, case.keeps),
        None => hold_against(site, view, task, &fingerprint, receipt, &outs, case.keeps)?,
    };
    // Rows are there with their stamp, or were never there.
    case.provably_undone |=
        view.rows.as_ref().is_some_and(|rows| rows.of_item(rows::item_of(&name)).is_none());
    let is_finished = unsettled.is_some_and(|unsettled| {
        let present = outs.iter().flatten().map(|seen| seen.content.digest);
        unsettled.is_of(task)
            && unsettled.proves(&fingerprint, present, view.step.once || case.keeps)
    });
    if let Some(unsettled) = unsettled.filter(|_| is_finished) {
        // That they are as before is no sign of an older one.
        let effect = unsettled.effect();
        held = Held { outputs: Outputs::Proven, is_as_before: false, effect, ..held };
    }
    case.outputs = match held.outputs {
        // They prove what was done before the attempt that did not succeed.
        Outputs::Proven
            if held.is_as_before
                && (known.tried.is_some()
                    || open.is_some_and(|attempt| is_same_work(view, attempt, &fingerprint))) =>
        {
            Outputs::Older
        }
        outputs => outputs,
    };
    let kept = kept_outputs(site, view, task, open)?;
    case.outputs_accepted = view.rows.is_some()
        || held.outputs != Outputs::Missing
        || kept.is_some()
        || said.is_some_and(|said| said.without_outputs);
    let twin = match find_twin(site, view, &case, &fingerprint, &name, known.leader)? {
        Found::None => None,
        Found::Lost => {
            case.twin_is_lost = true;
            None
        }
        Found::Whole(receipt, presence) => {
            case.twin = presence;
            Some(receipt)
        }
    };
    let gone = match case.memory {
        Memory::None => former::maybe(view, &name, &fingerprint.what),
        _ => None,
    };
    case.may_be_renamed = gone.is_some();
    let mut held_now = false;
    if view.step.check.is_some() && check_matters(&case) {
        let believed = known.tried.is_none()
            && known.changed.is_none()
            && view.held_lately(&name, &fingerprint, receipt);
        let answer = if believed {
            Ok(true)
        } else {
            let asked = check::Asked { view, task, own_inputs: &own_inputs, outs: &task.outs };
            // What was answered before this run did something may have changed.
            let earlier = match known.tried {
                Some(_) => Earlier::Void,
                None => Earlier::Believed { since: known.changed },
            };
            check::ask(site, &asked, earlier, stop)
        };
        held_now = !believed && answer == Ok(true);
        case.check =
            Some(answer.map_err(|why| Failure::Broken(format!("its check cannot tell: {why}")))?);
    }
    let verdict = decide(&case);
    let evidence = match manner.explains {
        Some(id) if id == view.id => {
            let found = explain::Found {
                view,
                task,
                item: item.as_ref(),
                own_inputs: &own_inputs,
                outs: &outs,
                case: &case,
                verdict,
                twin: twin.as_deref(),
            };
            Some(Box::new(explain(site, &found)?))
        }
        _ => None,
    };
    let present: Option<Vec<Seen>> = outs.iter().copied().collect();
    let acts = matches!(verdict.ruling, Ruling::Run | Ruling::Reuse | Ruling::Adopt);
    let sight = acts.then(|| {
        Box::new(Sight {
            fingerprint,
            item: item.map(|seen| item_input(task, seen)),
            own_inputs,
            outs,
            outs_are_own: held.are_own,
            twin,
            said: said.cloned(),
            kept,
            owes_cleanup: open.is_some_and(|attempt| !attempt.provably_undone)
                && known.tried.is_none(),
            open: open.map(|attempt| (attempt.run, attempt.number)),
            unsettled: unsettled.cloned(),
            is_finished,
            rows: rows::seen(site, view, &name, receipt),
        })
    });
    Ok(Looked {
        verdict,
        fingerprint: Some(fingerprint),
        effect: held.effect,
        outs: present.unwrap_or_default(),
        sight,
        evidence,
        held: held_now,
        renamed: gone.filter(|_| verdict.reason == Reason::MayBeRenamed),
    })
}

/// What a dead run published of a task, where its check is still to be asked. What
/// this run tried itself is another matter.
fn unsettled<'s>(
    site: &Site<'s>,
    view: &StepView<'_>,
    task: &Task,
    known: Known<'_>,
) -> Option<&'s Unsettled> {
    if site.unsettled.is_empty() {
        return None;
    }
    let unsettled = site.unsettled.get(&task.name(&view.step.name, &view.instance))?;
    // An attempt of this run took it back, or could not.
    let is_open = known.tried.is_none() || unsettled.is_journalled(site.disk);
    is_open.then_some(unsettled)
}

/// Whether an attempt was made at what is to be done now.
fn is_same_work(view: &StepView<'_>, attempt: &OpenAttempt, present: &Fingerprint) -> bool {
    let tried = &attempt.fingerprint;
    tried.what == present.what && (view.step.once || tried.how == present.how)
}

/// A new task whose item is left unread.
fn unread() -> Looked {
    Looked {
        verdict: Verdict { ruling: Ruling::Run, reason: Reason::New },
        fingerprint: None,
        effect: None,
        outs: Vec::new(),
        sight: None,
        evidence: None,
        held: false,
        renamed: None,
    }
}

enum Item {
    None,
    Unread,
    Seen(Seen),
}

/// The path of an item that is a file.
fn item_path(item: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(item))
}

fn item_input(task: &Task, seen: Seen) -> Input {
    Input { key: None, path: item_path(task.item.as_deref().unwrap_or_default()).to_owned(), seen }
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
    let Some(item) = task.item.as_deref().filter(|_| view.step.has_file_items()) else {
        return Ok(Item::None);
    };
    if let Some(made) = made {
        return Ok(Item::Seen(*made));
    }
    let bad_input = |error: DiskError| Failure::BadInput(error.to_string());
    let path = item_path(item);
    let Some(meta) = site.disk.look(path).map_err(bad_input)? else {
        return Err(Failure::BadInput(format!("its input {} is not there", show(path))));
    };
    if leaves_unread && view.step.digest == Digested::Content {
        let known = site.digests.remembered(path, &meta.stat, &mut hints.items);
        if meta.kind != Kind::File || known.is_none() {
            return Ok(Item::Unread);
        }
    }
    let content =
        site.input_content(view.step, path, &meta, &mut hints.items).map_err(bad_input)?;
    Ok(Item::Seen(Seen { meta, content }))
}

fn what(view: &StepView<'_>, task: &Task, item: Option<&Seen>, own_inputs: &[Input]) -> Digest {
    let mut fields = view.fields.clone();
    put_inputs(&mut fields, own_inputs);
    let counts = match (item, &task.row, &task.item) {
        (Some(seen), ..) => ItemCounts::File(seen.content.digest),
        (None, Some(row), _) => ItemCounts::Row(row),
        (None, None, Some(value)) => ItemCounts::Value(value),
        (None, None, None) => ItemCounts::None,
    };
    let raw = task.item.as_deref().unwrap_or_default();
    let parts = view.parts.iter().map(|part| (*part, part.of(raw)));
    fingerprint::what(fields, counts, parts)
}

/// The outputs as they are; `None` where one is not there.
fn outs(
    site: &Site<'_>,
    view: &StepView<'_>,
    task: &Task,
    hints: &mut Hints,
) -> Result<Vec<Option<Seen>>, Failure> {
    let broken = |error: DiskError| Failure::Broken(error.to_string());
    let outs = view.step.outs.iter().zip(&*task.outs);
    let look = outs.map(|(out, path)| {
        let Some(meta) = site.disk.look(path).map_err(broken)? else {
            return Ok(None);
        };
        if let Some(why) = wrong_kind(out.folder, meta.kind) {
            return Err(Failure::BadEffect(format!("its output {} {why}", show(path))));
        }
        let content =
            site.digests.content(site.disk, path, &meta, &mut hints.outs).map_err(broken)?;
        Ok(Some(Seen { meta, content }))
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

/// Outputs held against receipt and stamps.
struct Held {
    outputs: Outputs,
    effect: Option<Digest>,
    /// Whether they are what the task's receipt says.
    are_own: bool,
    /// Whether they are, and that receipt is of this very work.
    is_as_before: bool,
}

fn hold_against(
    site: &Site<'_>,
    view: &StepView<'_>,
    task: &Task,
    present: &Fingerprint,
    receipt: Option<&Remembered>,
    outs: &[Option<Seen>],
    keeps: bool,
) -> Result<Held, Failure> {
    let nothing = |outputs| Held { outputs, effect: None, are_own: false, is_as_before: false };
    if outs.is_empty() {
        return Ok(nothing(Outputs::None));
    }
    let is_this = receipt.is_some_and(|receipt| {
        let known = &receipt.fingerprint;
        known.what == present.what && (view.step.once || keeps || known.how == present.how)
    });
    if is_this && receipt.is_some_and(|receipt| receipt.effect.is_none()) {
        // A human said that it is done without them.
        return Ok(nothing(Outputs::None));
    }
    if outs.iter().any(Option::is_none) {
        return Ok(nothing(Outputs::Missing));
    }
    let digests = || outs.iter().flatten().map(|seen| seen.content.digest);
    let effect = fingerprint::effect(view.roles.iter().map(String::as_str).zip(digests()));
    let are_own = receipt.is_some_and(|receipt| receipt.effect == effect);
    let paths = || task.outs.iter().zip(digests());
    let outputs = match (is_this, are_own) {
        (true, true) => Outputs::Proven,
        // What is there is semel's own, but not what this version made.
        (true, false) if all_own(site, paths())? => Outputs::Missing,
        (true, false) => Outputs::Altered,
        (false, _) if proven_by_stamps(site, view, present, paths())? => Outputs::Proven,
        (false, true) => Outputs::Older,
        (false, false) if all_own(site, paths())? => Outputs::Older,
        (false, false) => Outputs::Altered,
    };
    Ok(Held { outputs, effect, are_own, is_as_before: is_this && are_own })
}

fn stamp_of(site: &Site<'_>, path: &Path) -> Result<Option<Stamp>, Failure> {
    let kept = site.disk.stamp(path).map_err(|error| Failure::Broken(error.to_string()))?;
    Ok(kept.as_deref().and_then(Stamp::from_bytes))
}

fn proven_by_stamps<'p>(
    site: &Site<'_>,
    view: &StepView<'_>,
    present: &Fingerprint,
    outs: impl Iterator<Item = (&'p PathBuf, Digest)>,
) -> Result<bool, Failure> {
    for (role, (path, digest)) in view.roles.iter().zip(outs) {
        let stamp = stamp_of(site, path)?;
        if !stamp.is_some_and(|stamp| stamp.proves(present, role, digest, view.step.once)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn all_own<'p>(
    site: &Site<'_>,
    outs: impl Iterator<Item = (&'p PathBuf, Digest)>,
) -> Result<bool, Failure> {
    for (path, digest) in outs {
        if !is_own(site, path, digest)? {
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
    let published = site.unsettled.values().flat_map(|unsettled| &unsettled.journal.outputs);
    if published.into_iter().any(|output| output.path == path && output.digest == digest) {
        return Ok(true);
    }
    Ok(site.ask_manifest(|manifest| manifest.made(path, &digest))?)
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

/// Another task that did the same.
enum Found {
    None,
    /// What it made is gone or altered.
    Lost,
    /// Its receipt, and whether its item is still there.
    Whole(Box<Receipt>, Twin),
}

/// Another task that did the same, if a twin can change the verdict.
fn find_twin(
    site: &Site<'_>,
    view: &StepView<'_>,
    case: &Case,
    present: &Fingerprint,
    own_name: &str,
    leader: Option<&str>,
) -> Result<Found, Failure> {
    if !view.step.has_file_items() || case.memory != Memory::None || case.outputs == Outputs::Proven
    {
        return Ok(Found::None);
    }
    let did_it = |known: &Fingerprint| {
        known.what == present.what && (known.how == present.how || view.step.once)
    };
    // A receipt of this run is not too old.
    let is_fit = |item: &str| Some(item) == leader || !view.is_too_old(item);
    let remembered = view.twins(&present.what).filter(|known| did_it(&known.fingerprint));

    let mut found = Found::None;
    let leader = leader.into_iter().map(|item| (item, None));
    let remembered = remembered.map(|known| (&*known.item, known.former.as_deref()));
    let others = leader.chain(remembered).filter(|(item, _)| *item != own_name);
    for (item, former) in others.filter(|(item, _)| is_fit(item)) {
        let (pipeline, step) = former.map_or((&*site.pipeline.name, &*view.step.name), |former| {
            (&*former.pipeline, &*former.step)
        });
        let name = TaskName::new(step, &view.instance, Some(item));
        let receipt = site.ask_manifest(|manifest| manifest.receipt(pipeline, &name))?;
        let Some(receipt) = receipt.filter(|receipt| did_it(&receipt.fingerprint)) else {
            continue;
        };
        if outputs_are_intact(site, &receipt) && rows::are_there(view, &receipt) {
            let item = decode(item).unwrap_or_default();
            let is_present = matches!(site.disk.look(item_path(&item)), Ok(Some(_)));
            let twin = if is_present { Twin::Present } else { Twin::Gone };
            return Ok(Found::Whole(Box::new(receipt), twin));
        }
        if view.rows.is_none() {
            found = Found::Lost;
        }
    }
    Ok(found)
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
