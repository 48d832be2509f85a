//! Verify: every effect is read anew and held against its receipt.
//!
//! No digest that is remembered is believed. Receipts come first: they are verified
//! though the list of their step cannot be had. Of a task that is gone only what is
//! still there is looked at, since nobody wants it back.
//!
//! Invariant: *I5* nothing is changed. A run may be at work meanwhile: what is not as
//! a receipt says counts only if the receipt is still the same.

pub mod rows;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::deed::check::Earlier;
use crate::deed::lease::{self, Holder};
use crate::deed::now::{Belief, Listed, now};
use crate::deed::run::{CannotBegin, NoSuchTarget, Setting, find_step, site_for_looking};
use crate::deed::view::{Before, Hold, Manner, Seen, StepView};
use crate::deed::{self, Site, check, former};
use crate::ground::digests;
use crate::ground::home::Home;
use crate::ground::manifest::{Manifest, StepMemory};
use crate::ground::world::disk::{DiskError, Kind};
use crate::ground::world::machine::threads;
use crate::ground::world::process::Stop;
use crate::words::pipeline::{InputSource, Pipeline, Probe, StepId};
use crate::words::receipt::{FileRecord, FileRole};
use crate::words::task::{Task, TaskName, TaskPattern};
use crate::words::template::{Name, Template};

/// How often a receipt that was replaced meanwhile is followed.
const MOST_FOLLOWED: u32 = 5;

/// What reading an output anew showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is what the receipt says.
    Same,
    /// It is not there.
    Missing,
    /// It is something else: its size, or what it is instead.
    Altered(Altered),
    /// It cannot be read; why.
    CannotTell(String),
}

/// What is in the place of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Altered {
    /// Other bytes, so many.
    Bytes(u64),
    /// A thing of another kind.
    Kind(&'static str),
}

impl Finding {
    /// The word for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Missing => "missing",
            Self::Altered(_) => "altered",
            Self::CannotTell(_) => "cannot tell",
        }
    }
}

/// An output that was read anew.
#[derive(Clone, Debug)]
pub struct Output {
    /// The task whose receipt speaks of it.
    pub task: TaskName,
    /// The pipeline and task that the receipt is kept under, if that is a former name.
    kept_as: Option<(String, TaskName)>,
    /// The run that wrote that receipt.
    pub run: i64,
    /// When.
    pub at: Timestamp,
    /// Whether the task is unsafe to repeat.
    pub once: bool,
    /// Whether the task is gone: no run would make the output again.
    pub gone: bool,
    /// The output as the receipt has it.
    pub file: FileRecord,
    /// What it is now.
    pub finding: Finding,
    /// Whether a run would not see that it is altered: it looks as it did when its
    /// digest was remembered.
    pub is_hidden: bool,
}

/// A state check that was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The task.
    pub task: TaskName,
    /// The run that wrote its receipt.
    pub run: i64,
    /// Whether the task is unsafe to repeat.
    pub once: bool,
    /// Whether the check holds, or why it cannot tell.
    pub answer: Result<bool, String>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verified {
    /// The outputs, in the order of the file and of the items' names.
    pub outputs: Vec<Output>,
    /// The checks, likewise.
    pub checks: Vec<Asked>,
    /// Rows, likewise.
    pub rows: Vec<rows::Counted>,
    /// Present tasks without a receipt: nothing is known of them.
    pub without_receipt: usize,
    /// Outputs of gone tasks that are gone too.
    pub gone: usize,
    /// Steps whose lists are not known, and why; their receipts were verified all
    /// the same.
    pub unlisted: Vec<(String, String)>,
    /// Who was at work on the pipeline meanwhile.
    pub holder: Option<Box<Holder>>,
}

/// Reads every output anew, and asks every check, of the receipts of this instance;
/// with targets, of those that are named.
///
/// # Errors
/// If the file contradicts itself, a target is not there, or the manifest cannot be
/// asked.
pub fn verify(
    setting: &Setting<'_>,
    manifest: &dyn Manifest,
    targets: &[TaskPattern],
) -> Result<Verified, CannotBegin> {
    let home = Home::in_folder(setting.disk.root());
    let (digests, outputs) = (digests::Digests::empty(), HashSet::new());
    let asked = deed::Asked::default();
    let site = site_for_looking(setting, &home, &digests, &outputs, &asked);
    let lean = without_needless_inputs(setting.pipeline);
    let lean = Setting { pipeline: &lean, ..*setting };
    let lean = site_for_looking(&lean, &home, &digests, &outputs, &asked);
    let listed = now(&site, Belief::AsTheyAre)?;
    let no_manifest = |error| CannotBegin::Manifest { path: home.manifest(), error };
    let mut verified = Verified::default();
    let (known, former) = (HashMap::new(), HashMap::new());
    let mut subjects = Subjects { site: &site, listed: &listed, targets, known, former };
    subjects.find(manifest, &mut verified).map_err(no_manifest)?;
    let outs = subjects.outputs(manifest, &mut verified).map_err(no_manifest)?;
    let checks = subjects.checks(&lean);
    let to_count = subjects.rows(manifest).map_err(no_manifest)?;
    subjects.are_all_there(&outs)?;
    let stop = Stop::new()
        .map_err(|error| CannotBegin::Broken(format!("no descriptor is left: {error}")))?;
    verified.checks = in_parallel(checks, |subject| ask(&lean, subject, &stop));
    verified.rows = rows::count_all(&site, to_count, &stop);
    verified.outputs = in_parallel(outs, |output: Output| read(&site, output));
    subjects.follow(manifest, &mut verified.outputs).map_err(no_manifest)?;
    let remembered = digests::Digests::at(home.digests(), true);
    for output in &mut verified.outputs {
        output.is_hidden = is_hidden(&site, &remembered, output);
    }
    let lock =
        home.lock(&setting.pipeline.name, setting.params.instance(&setting.pipeline.per).as_str());
    verified.holder = lease::holder(&lock).ok().flatten();
    Ok(verified)
}

/// What is to be verified.
struct Subjects<'a> {
    site: &'a Site<'a>,
    listed: &'a [Listed],
    targets: &'a [TaskPattern],
    /// The tasks with a receipt: which run wrote it.
    known: HashMap<TaskName, Known>,
    /// Of receipts under a former name, the pipeline and task that they are kept
    /// under: whose they are now.
    former: HashMap<(String, TaskName), TaskName>,
}

#[derive(Clone, Copy)]
struct Known {
    run: i64,
    id: StepId,
    /// The place among the present tasks; `None` if it is gone, or nobody knows.
    at: Option<usize>,
}

/// A check to be asked, of a task; or why it cannot be.
struct ToAsk<'a> {
    view: Arc<Result<StepView<'a>, String>>,
    task: &'a Task,
    name: TaskName,
    run: i64,
    once: bool,
}

impl<'a> Subjects<'a> {
    fn is_wanted(&self, task: &TaskName) -> bool {
        self.targets.is_empty()
            || self.targets.iter().any(|target| {
                target.step == task.step
                    && target.instance.as_ref().is_none_or(|named| *named == task.instance)
                    && target.takes_item(task.item.as_deref())
            })
    }

    /// Finds the receipts of the steps of the file.
    fn find(
        &mut self,
        manifest: &dyn Manifest,
        verified: &mut Verified,
    ) -> Result<(), crate::ground::manifest::ManifestError> {
        let pipeline = self.site.pipeline;
        for (id, step) in pipeline.ids() {
            let instance = self.site.params.instance(&step.per);
            let why = match &self.listed[id.0] {
                Listed::Tasks(_) => None,
                Listed::After(maker) => Some(format!("known after {}", pipeline.step(*maker).name)),
                Listed::Unknown(trouble) => Some(trouble.title().to_owned()),
            };
            let wanted = self.targets.is_empty()
                || self.targets.iter().any(|target| target.step == step.name);
            verified.unlisted.extend(why.filter(|_| wanted).map(|why| (step.name.clone(), why)));
            let tasks = self.listed[id.0].tasks().map_or(&[][..], |step| &step.tasks);
            let places: HashMap<_, _> =
                tasks.iter().enumerate().map(|(at, task)| (task.item_name(), at)).collect();
            let memory = former::memory_of(manifest, pipeline, step, &instance)?;
            for receipt in memory.receipts {
                let item = Some(&*receipt.item).filter(|item| !item.is_empty());
                let task = TaskName::new(&step.name, &instance, item);
                if self.is_wanted(&task) {
                    let at = places.get(&*receipt.item).copied();
                    if let Some(former) = &receipt.former {
                        let kept = TaskName::new(&former.step, &instance, item);
                        self.former.insert((former.pipeline.clone(), kept), task.clone());
                    }
                    self.known.insert(task, Known { run: receipt.run, id, at });
                }
            }
            let names = tasks.iter().map(|task| task.name(&step.name, &instance));
            verified.without_receipt +=
                names.filter(|name| self.is_wanted(name) && !self.known.contains_key(name)).count();
        }
        Ok(())
    }

    /// The outputs that receipts speak of. Of gone tasks, only those that are there
    /// and no present task makes.
    fn outputs(
        &self,
        manifest: &dyn Manifest,
        verified: &mut Verified,
    ) -> Result<Vec<Output>, crate::ground::manifest::ManifestError> {
        let present = self.listed.iter().filter_map(Listed::tasks).flat_map(|step| &step.tasks);
        let made: HashSet<_> = present.flat_map(|task| &*task.outs).collect();
        let mut found = Vec::new();
        manifest.files(FileRole::Out, &mut |kept| {
            let place = (kept.pipeline, kept.task);
            let (task, kept_as) = match self.former.get(&place) {
                Some(task) => (task.clone(), Some(place)),
                None if place.0 == self.site.pipeline.name => (place.1, None),
                None => return,
            };
            let (id, gone) = match self.known.get(&task) {
                Some(known) => {
                    (known.id, known.at.is_none() && self.listed[known.id.0].tasks().is_some())
                }
                None if self.is_of_gone_step(&task) => (StepId(usize::MAX), true),
                None => return,
            };
            if gone && made.contains(&kept.file.path) {
                return;
            }
            if gone && matches!(self.site.disk.look_at_link(&kept.file.path), Ok(None)) {
                verified.gone += 1;
                return;
            }
            found.push((
                id,
                Output {
                    once: self.site.pipeline.steps.get(id.0).is_some_and(|step| step.once),
                    task,
                    kept_as,
                    run: kept.run,
                    at: kept.at,
                    gone,
                    file: kept.file,
                    finding: Finding::Same,
                    is_hidden: false,
                },
            ));
        })?;
        // The order within a step stays.
        found.sort_by_key(|(id, _)| *id);
        Ok(found.into_iter().map(|(_, output)| output).collect())
    }

    /// Whether a task is of a step that the file no longer has, in this instance.
    fn is_of_gone_step(&self, task: &TaskName) -> bool {
        let pipeline = self.site.pipeline;
        self.targets.is_empty()
            && pipeline.step_named(&task.step).is_none()
            && !pipeline.steps.iter().any(|step| step.was.contains(&task.step))
            && (task.instance.is_only()
                || task.instance == self.site.params.instance(&pipeline.per))
    }

    /// The checks of present tasks with a receipt.
    fn checks(&self, site: &Site<'a>) -> Vec<ToAsk<'a>> {
        let mut checks = Vec::new();
        for (id, step) in site.pipeline.ids() {
            let (Some(_), Some(tasks)) = (&step.check, self.listed[id.0].tasks()) else {
                continue;
            };
            let named = tasks.tasks.iter().filter_map(|task| {
                let name = task.name(&step.name, &tasks.instance);
                Some((task, self.known.get(&name)?.run, name))
            });
            let named: Vec<_> = named.collect();
            if named.is_empty() {
                continue;
            }
            let view = Arc::new(self.view(site, id));
            checks.extend(named.into_iter().map(|(task, run, name)| {
                let view = Arc::clone(&view);
                ToAsk { view, task, name, run, once: step.once }
            }));
        }
        checks
    }

    /// What asking the check of a step needs.
    fn view(&self, site: &Site<'a>, id: StepId) -> Result<StepView<'a>, String> {
        let mut before = Before::default();
        for input in &site.pipeline.step(id).inputs {
            if let InputSource::OutputsOf(gathered) = input.source {
                let tasks =
                    self.listed[gathered.0].tasks().into_iter().flat_map(|step| &step.tasks);
                let mut seen = Vec::new();
                for path in tasks.flat_map(|task| &*task.outs) {
                    let meta = site.disk.look(path).map_err(|error| error.to_string())?;
                    // What is not there is told of by itself.
                    let Some(meta) = meta else { continue };
                    let content = site.digests.content(site.disk, path, &meta, &mut 0);
                    let content = content.map_err(|error| error.to_string())?;
                    seen.push((path.clone(), Seen { meta, content }));
                }
                before.outputs.insert(gathered, seen);
            }
        }
        let (memory, hold) = (Arc::new(StepMemory::default()), Arc::new(Hold::Ours));
        let stop = Stop::new().map_err(|error| error.to_string())?;
        StepView::prepare(site, id, &before, memory, hold, Manner::default(), &stop)
            .map_err(|trouble| trouble.title().to_owned())
    }

    /// Each target names something.
    fn are_all_there(&self, outs: &[Output]) -> Result<(), CannotBegin> {
        for target in self.targets {
            let id = find_step(self.site.pipeline, target).map_err(CannotBegin::Target)?;
            let step = self.site.pipeline.step(id);
            let present = self.site.params.instance(&step.per);
            if target.instance.as_ref().is_some_and(|named| *named != present) {
                return Err(CannotBegin::Target(NoSuchTarget::Instance {
                    typed: target.to_string(),
                    present: present.to_string(),
                }));
            }
            let tasks = self.listed[id.0].tasks().map_or(&[][..], |step| &step.tasks);
            let mut names = tasks.iter().map(|task| task.name(&step.name, &present));
            let is_there = target.item.is_none()
                || outs.iter().map(|out| &out.task).chain(self.known.keys()).any(|task| {
                    task.step == target.step && target.takes_item(task.item.as_deref())
                })
                || names.clone().any(|name| target.takes_item(name.item.as_deref()));
            if !is_there {
                return Err(CannotBegin::Target(NoSuchTarget::Task {
                    typed: target.to_string(),
                    example: names.next().map(|name| name.to_string()),
                }));
            }
        }
        Ok(())
    }

    /// Where something is not as the receipt said, a run may have written another
    /// receipt meanwhile: that one is asked.
    fn follow(
        &self,
        manifest: &dyn Manifest,
        outputs: &mut [Output],
    ) -> Result<(), crate::ground::manifest::ManifestError> {
        let pipeline = &self.site.pipeline.name;
        for output in outputs.iter_mut().filter(|output| output.finding != Finding::Same) {
            for _ in 0..MOST_FOLLOWED {
                let (pipeline, task) = match &output.kept_as {
                    Some((pipeline, task)) => (pipeline, task),
                    None => (pipeline, &output.task),
                };
                let Some(receipt) = manifest.receipt(pipeline, task)? else { break };
                let Some(file) = receipt.outs().find(|out| out.path == output.file.path) else {
                    break;
                };
                if *file == output.file && receipt.run == output.run {
                    break;
                }
                output.file = file.clone();
                (output.run, output.at) = (receipt.run, receipt.at);
                output.finding = finding(self.site, &output.file);
                if output.finding == Finding::Same {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn ask(site: &Site<'_>, subject: ToAsk<'_>, stop: &Stop) -> Asked {
    let ToAsk { view, task, name, run, once } = subject;
    let answer = view.as_ref().as_ref().map_err(Clone::clone).and_then(|view| {
        let own_inputs =
            view.own_inputs(site, task).map_err(|trouble| trouble.title().to_owned())?;
        let outs = &task.outs;
        let asked = check::Asked { view, task, own_inputs: &own_inputs, outs };
        check::ask(site, &asked, Earlier::Believed { since: None }, stop)
    });
    Asked { task: name, run, once, answer }
}

/// The pipeline without the inputs of steps whose check does not name them: that such
/// an input is gone is no reason not to ask.
fn without_needless_inputs(pipeline: &Pipeline) -> Pipeline {
    let mut pipeline = pipeline.clone();
    for step in &mut pipeline.steps {
        let templates: Vec<&Template> = match step.check.as_ref().map(|check| &check.probe) {
            Some(Probe::Command { command, equals }) => {
                command.templates().iter().chain(equals).collect()
            }
            Some(Probe::All(command)) => command.templates().iter().collect(),
            Some(Probe::Sql { query, .. }) => vec![query],
            Some(Probe::File { path, sha256 }) => vec![path, sha256],
            None => Vec::new(),
        };
        let templates = templates.into_iter().chain(step.env.iter().map(|(_, value)| value));
        let mut holes = templates.flat_map(Template::placeholders);
        if !holes.any(|hole| matches!(hole.name, Name::In(_))) {
            step.inputs.clear();
        }
    }
    pipeline
}

fn read(site: &Site<'_>, mut output: Output) -> Output {
    output.finding = finding(site, &output.file);
    output
}

/// Reads a file or folder, and holds it against a record.
fn finding(site: &Site<'_>, file: &FileRecord) -> Finding {
    let looked = site.disk.look(&file.path).and_then(|meta| match meta.map(|meta| meta.kind) {
        None => Ok(Finding::Missing),
        Some(Kind::File) => digests::read(site.disk, &file.path, None).map(|now| hold(file, &now)),
        Some(Kind::Folder) => {
            digests::read_folder(site.disk, &file.path).map(|now| hold(file, &now))
        }
        Some(Kind::Link | Kind::Other) => {
            Ok(Finding::Altered(Altered::Kind("neither a file nor a folder")))
        }
    });
    looked.unwrap_or_else(|error: DiskError| {
        // It was removed while it was read.
        if error.is_absence() { Finding::Missing } else { Finding::CannotTell(error.to_string()) }
    })
}

/// Whether a run, which believes remembered digests, takes what is altered for what
/// it was.
fn is_hidden(site: &Site<'_>, remembered: &digests::Digests, output: &Output) -> bool {
    let Finding::Altered(_) = output.finding else { return false };
    let path = &output.file.path;
    match site.disk.look(path) {
        Ok(Some(meta)) => remembered
            .content(site.disk, path, &meta, &mut 0)
            .is_ok_and(|content| content.digest == output.file.digest),
        _ => false,
    }
}

fn hold(file: &FileRecord, now: &digests::Content) -> Finding {
    if now.digest == file.digest {
        Finding::Same
    } else {
        Finding::Altered(Altered::Bytes(now.bytes))
    }
}

/// Does all the work, with as many threads as there are processors; the results are
/// in the order of the work.
fn in_parallel<T: Send, R: Send>(work: Vec<T>, does: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = threads().min(work.len());
    let next = AtomicUsize::new(0);
    let work: Vec<Mutex<Option<T>>> = work.into_iter().map(|one| Mutex::new(Some(one))).collect();
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let hired: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(one) = work.get(at) else { return done };
                        let one = one.lock().expect("nobody panics while holding it").take();
                        done.push((at, does(one.expect("each is taken once"))));
                    }
                })
            })
            .collect();
        let done = hired.into_iter().map(|thread| thread.join().expect("reading does not panic"));
        done.flatten().collect()
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
