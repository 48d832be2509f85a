//! A run: one invocation, from the lists of items to the last receipt.
//!
//! In order: the lists, so that a pipeline which cannot work changes nothing,
//! not even a `.semel/`; the lease; what killed runs left; memory; the engine;
//! the end, noted. Looking only (`plan`) is the same without the deeds.

mod acting;
mod afterwards;
mod cannot_begin;
mod crew;
mod engine;
mod looking;
mod mend;
mod part;
mod paths;
mod preflight;
mod prepare;
mod roots;
mod selection;
mod state;
mod steps;
mod tasks;
mod telling;
mod transacting;
mod turns;
mod waiting;
mod worker;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use jiff::Timestamp;

use self::afterwards::Afterwards;
pub use self::cannot_begin::CannotBegin;
use self::crew::Crew;
pub use self::looking::tasks_named;
pub(in crate::deed) use self::looking::{only_file, site_for_looking};
use self::mend::{Mended, Which};
pub use self::part::{Part, TaskPart};
pub(in crate::deed) use self::paths::plain_outputs;
use self::prepare::Prepared;
pub(in crate::deed) use self::selection::find_step;
pub use self::selection::{NoSuchTarget, step_named};
use self::telling::tell_of_memory;
use self::waiting::Waiting;
use crate::deed::at_work::{self, AtWork};
use crate::deed::calls::{Guards, NewCalls, Tally};
use crate::deed::databases::Databases;
use crate::deed::hold::holder_of;
use crate::deed::hook::{Debt, Ledger};
use crate::deed::lease::Holder;
use crate::deed::memory::{self, Access, CannotMake, Found};
use crate::deed::recover::{RecoverError, Recovery, pending};
use crate::deed::{Asked, Site, mask_all, rebuild};
use crate::ground::digests::Digests;
use crate::ground::home::Home;
use crate::ground::manifest::calls::Token;
use crate::ground::manifest::sqlite::SqliteManifest;
use crate::ground::manifest::{Manifest, ManifestError};
use crate::ground::world::disk::Disk;
use crate::ground::world::file_system::FileSystem;
use crate::ground::world::machine::threads;
use crate::thought::bind::Params;
use crate::thought::mask::Mask;
use crate::thought::report::Report;
use crate::words::event::Event;
use crate::words::once::Doer;
use crate::words::pipeline::{Pipeline, Step, StepId};
use crate::words::run::{By, NewRun, Worker};
use crate::words::task::{Instance, TaskPattern};

/// What a run is about.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// The name of its file, in the folder that the disk is seen from.
    pub file: &'a str,
    /// The values of its parameters.
    pub params: &'a Params,
    /// The disk, seen from the pipeline's folder.
    pub disk: &'a dyn Disk,
    /// Semel's own environment.
    pub env: &'a BTreeMap<String, Vec<u8>>,
    /// What was typed.
    pub command: &'a str,
    /// Who runs it, and where.
    pub by: &'a By,
}

/// How far a run goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything is brought to its desired state.
    #[default]
    Act,
    /// Nothing is started; what is found done is adopted.
    ExpectNoop,
    /// Nothing is changed.
    Plan,
}

/// How a run is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How far it goes.
    pub mode: Mode,
    /// The steps and tasks that are asked for; none means all.
    pub targets: Vec<TaskPattern>,
    /// How many commands at a time.
    pub jobs: Option<NonZeroUsize>,
    /// Whether nothing new is begun after the first failure.
    pub fails_fast: bool,
    /// Whether ordinary steps are done afresh.
    pub fresh: bool,
    /// Whether no remembered digest and no remembered answer of a check is believed.
    pub rehash: bool,
    /// Whether what commands print is reported as it comes.
    pub passes_on: bool,
    /// The step whose verdicts are explained.
    pub explains: Option<StepId>,
    /// Steps whose changed commands do not matter, this time.
    pub keeps: Vec<StepId>,
    /// Whether only tasks whose last attempt did not succeed are asked for.
    pub only_failed: bool,
    /// How long it waits for others who are at work; without it, not at all.
    pub wait: Option<Duration>,
    /// How new calls are taken.
    pub new_calls: NewCalls,
}

/// A run that came to its end.
#[derive(Debug)]
pub struct Ended {
    /// What it did.
    pub report: Report,
    /// Its number, where it was noted.
    pub number: Option<i64>,
    /// Commands of earlier runs that are still at work.
    pub orphans: Vec<AtWork>,
    /// How long it took, lists and all.
    pub took: Duration,
    /// What its calls came to, where it made some.
    pub calls: Option<Tally>,
}

/// The way by which signals reach a run.
#[derive(Clone, Debug)]
pub struct Signals(Receiver<i32>);

/// Tells a run of signals.
#[derive(Clone, Debug)]
pub struct SignalSender(Sender<i32>);

impl Signals {
    /// Waits for a signal; `None` if none can come any more.
    #[must_use]
    pub fn wait(&self) -> Option<i32> {
        self.0.recv().ok()
    }
}

impl SignalSender {
    /// Tells of a signal, by its number.
    pub fn send(&self, signal: i32) {
        // A run that is over needs no telling.
        let _ = self.0.send(signal);
    }
}

/// Makes the way by which signals reach a run.
#[must_use]
pub fn signals() -> (SignalSender, Signals) {
    let (sender, receiver) = unbounded();
    (SignalSender(sender), Signals(receiver))
}

/// Brings a pipeline, or what of it is asked for, to its desired state; or looks
/// how far it is from there. Everything that becomes true is reported.
///
/// # Errors
/// Why it could not begin; then nothing was changed.
pub fn run(
    setting: &Setting<'_>,
    options: &Options,
    signals: &Signals,
    report: &mut dyn FnMut(&Event<'_>),
) -> Result<Ended, CannotBegin> {
    run_part(setting, options, Part::Whole, signals, report)
}

/// As [`run`], for as much of a run as this process does.
///
/// # Errors
/// Why it could not begin; then nothing was changed.
pub fn run_part(
    setting: &Setting<'_>,
    options: &Options,
    part: Part<'_>,
    signals: &Signals,
    report: &mut dyn FnMut(&Event<'_>),
) -> Result<Ended, CannotBegin> {
    let home = Home::in_folder(setting.disk.root());
    let worker = part.worker();
    let digests = Digests::at(home.digests(), !options.rehash);
    let had_memory = home.manifest().exists();
    // Nothing is there to adopt into, and nothing may be made.
    let looks_only = options.mode == Mode::ExpectNoop && !had_memory;
    let mode = if looks_only { Mode::Plan } else { options.mode };
    let asked = Asked::default();
    let (home, run_id, began) = (&home, &*worker.name(), Instant::now());
    let mut which = Which::at(&home.manifest());
    let first = Preparation {
        setting,
        options,
        part,
        mode,
        home,
        worker: &worker,
        run_id,
        began,
        asked: &asked,
    };
    let run = |anew: Anew, report: &mut dyn FnMut(&Event<'_>)| {
        let made = if !had_memory && mode == Mode::Act {
            first.make_memory(signals, report)?
        } else {
            None
        };
        std::thread::scope(|scope| {
            if had_memory {
                scope.spawn(|| digests.warm());
            }
            first.run(&digests, made, &anew, signals, report)
        })
    };
    let mut has_begun = false;
    let mut heard = |event: &Event<'_>| {
        has_begun = true;
        report(event);
    };
    let mut ended = run(Anew::No, &mut heard);
    for again in [false, true] {
        let (Some(why), false) = (mend::damage(&ended), options.mode == Mode::ExpectNoop) else {
            break;
        };
        if has_begun {
            memory::doubt(home, why);
            break;
        }
        let mut heard = |event: &Event<'_>| {
            has_begun = true;
            report(event);
        };
        ended = if mode == Mode::Act {
            first.mend(why, which, again).and_then(|mended| {
                which = Which::at(&home.manifest());
                run(mended.map_or(Anew::No, Anew::Made), &mut heard)
            })
        } else {
            run(Anew::Rehearsed(why.to_owned()), &mut heard)
        };
    }
    if let (Err(error), Mode::Act) = (&ended, mode) {
        first.tell_of_failure(error, report);
    }
    ended
}

/// Whether the manifest was made anew, since it was damaged.
enum Anew {
    No,
    /// It was.
    Made(Mended),
    /// It would be, for this reason; only a copy was.
    Rehearsed(String),
}

struct Preparation<'a> {
    setting: &'a Setting<'a>,
    options: &'a Options,
    part: Part<'a>,
    mode: Mode,
    home: &'a Home,
    worker: &'a Worker,
    /// The worker's name: that of the run, unless several work on it.
    run_id: &'a str,
    /// When the run began.
    began: Instant,
    /// Lists of commands, which are asked once though they are looked at twice.
    asked: &'a Asked,
}

impl Preparation<'_> {
    /// Makes a memory where there was none, and says what it is made of. Before
    /// that, all that can be seen to go wrong is said.
    ///
    /// What is known of the pipeline is worked out once more afterwards: only
    /// under the lease is it certain that nobody else was faster.
    fn make_memory(
        &self,
        signals: &Signals,
        report: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Option<Found>, CannotBegin> {
        let Setting { pipeline, params, disk, .. } = *self.setting;
        let (digests, outputs) = (Digests::empty(), plain_outputs(pipeline, params, disk.root()));
        let site = site_for_looking(self.setting, self.home, &digests, &outputs, self.asked);
        let prepared = self.prepare(&site, None)?;
        preflight::check(&site, &prepared.tasks, &prepared.wanted)?;
        let once = self.once_steps();
        if pipeline.refuses_fresh_memory && !once.is_empty() {
            return Err(CannotBegin::NoMemory(once.into_iter().map(str::to_owned).collect()));
        }
        let holder = self.holder();
        let mut waiting = Waiting::new(self.options.wait, signals, &self.setting.by.host);
        let make = || match memory::make(disk, self.home, self.run_id, &holder) {
            Err(CannotMake::Lease(error)) => Err(error),
            Err(CannotMake::Manifest(error)) => Ok(Err(error)),
            Ok(made) => Ok(Ok(made)),
        };
        waiting.lease(make, report)?.map_err(|error| self.no_manifest(error))
    }

    fn run(
        &self,
        digests: &Digests,
        made: Option<Found>,
        anew: &Anew,
        signals: &Signals,
        report: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Ended, CannotBegin> {
        let Setting { pipeline, params, disk, env, .. } = *self.setting;
        let outputs = plain_outputs(pipeline, params, disk.root());
        // The lease comes before anything is read of the memory.
        let mut held = None;
        let mut recovery = Recovery::default();
        let by = self.setting.by;
        let mut waiting = Waiting::new(self.options.wait, signals, &by.host);
        let mut found = made;
        let mut damage = None;
        let mut manifest: Option<Box<dyn Manifest>> = None;
        if self.mode == Mode::Plan {
            recovery.orphans = at_work::orphans(self.home)?;
            let read = match anew {
                Anew::Rehearsed(why) => memory::read_anew(disk, self.home, why.clone()).map(Some),
                _ => memory::read(disk, self.home),
            };
            if let Some(read) = read.map_err(|error| self.no_manifest(error))? {
                (found, damage) = (read.found, read.damage);
                recovery.unsettled = pending(disk, self.home, &read.manifest, &pipeline.name)
                    .map_err(|error| self.not_recovered(error))?;
                manifest = Some(Box::new(read.manifest));
            }
        } else {
            let no_manifest = |error| self.no_manifest(error);
            // Where nobody is at work on it, what is left beside it tells of a death.
            let holder = self.holder();
            let was_left = || !SqliteManifest::was_closed(&self.home.manifest());
            let is_shared = FileSystem::is_network(self.home.path());
            let died = !is_shared && was_left() && Access::alone(self.home, &holder)?.is_some();
            let access = waiting.lease(|| Access::share(self.home, &holder), report)?;
            // Of a folder that is ours alone nobody else uses the manifest.
            let died = died || is_shared && was_left();
            held = Some((self.take_lease(&mut waiting, report)?, access));
            let access = held.as_ref().map(|(_, access)| access);
            let mut opened: Box<dyn Manifest> = Box::new(self.open_manifest(died, access)?);
            if made.is_none() {
                found = memory::catch_up(disk, self.home, &mut *opened).map_err(no_manifest)?;
            }
            if self.mode == Mode::Act {
                recovery = self.recover(&mut *opened, &mut waiting, report)?;
            }
            manifest = Some(opened);
        }
        if let Some(manifest) = &manifest {
            only_file(self.setting, &**manifest)?;
        }
        let identity = manifest.as_ref().map(|manifest| manifest.identity()).transpose();
        let identity = identity.map_err(|error| self.no_manifest(error))?;
        let memory_is_whole = identity.is_none_or(|identity| identity.whole_since.is_none());
        let asked = match &manifest {
            Some(manifest) => {
                Some(Mutex::new(manifest.again().map_err(|error| self.no_manifest(error))?))
            }
            None => None,
        };
        let calls = Guards {
            home: self.home,
            folder: disk.root().to_owned(),
            env,
            rules: &pipeline.calls,
            holder: self.holder(),
            access: held.as_ref().map(|(_, access)| access),
            run_id: self.run_id,
            new_calls: self.options.new_calls,
            memory_is_whole,
            token: OnceLock::new(),
            opened: OnceLock::new(),
            tally: Mutex::default(),
        };
        let site = Site {
            pipeline,
            params,
            disk,
            digests,
            home: self.home,
            run_id: self.run_id,
            env,
            outputs: &outputs,
            asked: self.asked,
            kept: &self.options.keeps,
            memory_is_whole,
            unsettled: &recovery.unsettled,
            orphans: &recovery.orphans,
            fence: held.as_ref().and_then(|(_, access)| access.pulse()).map(|pulse| &**pulse),
            databases: Databases::new(pipeline, params, env, disk.root().to_owned()),
            calls: Some(&calls),
            stdio: self.part.task().map(|part| part.stdio),
            leases: &self.leases(),
            manifest: asked.as_ref(),
        };
        let (memories, prepared) = std::thread::scope(|scope| {
            let loading = scope.spawn(|| self.load_memories(&site));
            let prepared = self.prepare(&site, manifest.as_deref());
            let memories = loading.join().expect("loading does not panic");
            Ok::<_, CannotBegin>((memories?, prepared?))
        })?;
        let mut fold = Report::new();
        let mut tell = |event: &Event<'_>| {
            fold.take(event, Instant::now());
            report(event);
        };
        let number = match (&mut manifest, self.mode) {
            (Some(manifest), Mode::Act | Mode::ExpectNoop) => {
                Some(self.begin(&mut **manifest, &mut tell)?)
            }
            _ => {
                let (run, number) = (&self.new_run(), 0);
                tell(&Event::Began { run, number });
                None
            }
        };
        if let (Some(number), Some(manifest)) = (number, &manifest)
            && let Ok((scope, token)) = manifest.token_of(number)
        {
            // Nobody else sets it.
            let _ = calls.token.set(Token { scope, token });
        }
        let once = self.once_steps();
        let network = FileSystem::network_name(self.home.path());
        tell_of_memory(found, damage.as_deref(), anew, &once, network.as_deref(), &mut tell);
        self.tell_of_dead(&recovery.cleaned, &mut tell);
        let ledger = Ledger::at(disk, self.home.owed(&pipeline.name, self.instance().as_str()));
        let after =
            Afterwards { site: &site, ledger: &ledger, signals, is_in_part: self.is_in_part() };
        if self.mode == Mode::Act {
            after.pay_debt(&mut tell);
        }
        let crew = Crew { preparation: self, site: &site, ledger: &ledger, number, signals };
        let mut script = None;
        match self.part {
            Part::Script(hold) => script = Some(crew.hold(hold)?),
            Part::Whole | Part::Task(_) => {
                crew.work(prepared, memories, &mut manifest, &mut tell)?;
            }
        }
        if let Some(manifest) = manifest.as_mut().filter(|_| self.mode == Mode::Act)
            && !recovery.unsettled.is_empty()
        {
            // What was waiting for its check is settled now, and what is left of it goes.
            match self.recover_once(&mut **manifest) {
                Ok(after) => self.tell_of_dead(&after.cleaned, &mut tell),
                Err(error) => tell(&Event::Warning { text: &error.to_string() }),
            }
        }
        digests.settle(disk, threads());
        // Where only one may write, those who only look do not.
        let may_write = match self.mode {
            Mode::Plan => !FileSystem::is_network(self.home.path()),
            Mode::Act | Mode::ExpectNoop => site.may_go_on().is_ok(),
        };
        if may_write
            && self.home.exists()
            && let Err(error) = digests.save(&self.home.digests())
            && self.mode == Mode::Act
        {
            let text = format!("the memory of digests cannot be written: {error}");
            tell(&Event::Warning { text: &text });
        }
        // What is owed then is run by whoever has the folder now.
        if self.mode == Mode::Act && site.may_go_on().is_ok() {
            let failed = match &script {
                Some((ended, _)) => after.accompany_script(ended, number),
                None => after.accompany(&fold, number),
            };
            for (hook, why) in failed {
                report(&Event::HookFailed { hook, why: &why });
            }
        }
        if let (Some(number), Some(manifest)) = (number, &mut manifest) {
            // A line that could not be written to the manifest then is ours as long as
            // the run has no end.
            if !once.is_empty()
                && let Err(error) = memory::catch_up(disk, self.home, &mut **manifest)
            {
                fold.is_broken = true;
                let text = memory::complaint(self.home, &error);
                report(&Event::Warning { text: &text });
            }
            let steps: Vec<_> =
                fold.steps.iter().map(crate::thought::report::StepReport::record).collect();
            let ended = match &script {
                _ if self.worker.place > 0 => Ok(()),
                Some((ended, _)) => ended.record(&mut **manifest, number),
                None => manifest.end_run(number, Timestamp::now(), fold.status(), &steps),
            };
            if let Err(error) = ended {
                fold.is_broken = true;
                let text = memory::complaint(self.home, &error);
                report(&Event::Warning { text: &text });
            }
        }
        if let Some((_, staging)) = script {
            staging.end()?;
        }
        let summed = calls.sum();
        // A task that was done already made no calls that a rule could be for.
        let is_guarded = |name: &str| {
            let step = pipeline.steps.iter().find(|step| step.name == name);
            step.is_some_and(Step::makes_calls)
        };
        let has_seen_all = matches!(self.part, Part::Whole)
            && fold.status() == 0
            && fold
                .steps
                .iter()
                .all(|step| step.counts.ran == step.counts.total || !is_guarded(&step.name));
        if let Some((_, idle)) = summed.as_ref().filter(|_| has_seen_all) {
            for rule in idle {
                let text = format!("no call matches the rule `{rule}`");
                report(&Event::Warning { text: &text });
            }
        }
        // Who closes the manifest last packs it, and whoever wrote it has less to sync.
        drop(asked);
        // Others may go on while a copy is made.
        let _access = held.map(|(_lease, access)| access);
        let totals = fold.totals();
        let did_something =
            totals.ran + totals.adopted + totals.reused > 0 || matches!(self.part, Part::Script(_));
        if let Some(manifest) = manifest.filter(|_| did_something && self.mode == Mode::Act)
            && let Err(error) = rebuild::back_up(disk, self.home, &*manifest)
        {
            let text = format!("the manifest cannot be backed up: {error}");
            report(&Event::Warning { text: &text });
        }
        let calls = summed.map(|(tally, _)| tally);
        let took = self.began.elapsed();
        Ok(Ended { report: fold, number, orphans: recovery.orphans, took, calls })
    }

    fn no_manifest(&self, error: ManifestError) -> CannotBegin {
        CannotBegin::Manifest { path: self.home.manifest(), error }
    }

    fn not_recovered(&self, error: RecoverError) -> CannotBegin {
        match error {
            RecoverError::Manifest(error) => self.no_manifest(error),
            error => error.into(),
        }
    }

    fn once_steps(&self) -> Vec<&str> {
        let steps = self.setting.pipeline.steps.iter();
        steps.filter(|step| step.once).map(|step| step.name.as_str()).collect()
    }

    fn holder(&self) -> Holder {
        holder_of(self.setting)
    }

    /// What masks the secrets of all steps.
    fn mask(&self) -> Mask {
        mask_all(self.setting.pipeline, self.setting.env)
    }

    /// What the run owes once its first task begins.
    fn debt(&self, number: Option<i64>) -> Debt {
        let params = self.setting.params.iter();
        Debt {
            run: number.unwrap_or(0),
            run_id: self.run_id.to_owned(),
            params: params.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    fn doer(&self, number: i64) -> Doer {
        let by = self.setting.by;
        Doer {
            run: self.worker.run_id.clone(),
            number,
            file: self.setting.file.to_owned(),
            host: by.host.clone(),
            user: by.user.clone(),
            pid: by.pid,
        }
    }

    fn instance(&self) -> Instance {
        self.setting.params.instance(&self.setting.pipeline.per)
    }

    /// Whether only some steps or tasks are asked for.
    fn is_in_part(&self) -> bool {
        !self.options.targets.is_empty() || self.options.only_failed
    }

    fn new_run(&self) -> NewRun {
        let params: BTreeMap<_, _> = self.setting.params.iter().collect();
        let mask = self.mask();
        NewRun {
            id: self.worker.run_id.clone(),
            pipeline: self.setting.pipeline.name.clone(),
            file: self.setting.file.to_owned(),
            instance: self.instance(),
            params: mask.text(&serde_json::to_string(&params).unwrap_or_default()).into_owned(),
            command: mask.text(self.setting.command).into_owned(),
            selected: self.is_in_part(),
            task: self.part.task().map(|part| part.task.clone()),
            by: self.setting.by.clone(),
            began: Timestamp::now(),
        }
    }

    fn begin(
        &self,
        manifest: &mut dyn Manifest,
        tell: &mut dyn FnMut(&Event<'_>),
    ) -> Result<i64, CannotBegin> {
        let run = self.new_run();
        let no_manifest = |error| self.no_manifest(error);
        let number = match self.worker.place {
            0 => manifest.begin_run(&run),
            _ => manifest.join_run(&self.worker.run_id),
        };
        let number = number.map_err(no_manifest)?;
        if let Some(part) = self.part.task() {
            // What is done outlives a power cut, or is done again; this is said again then.
            manifest.sync_commits(false).map_err(no_manifest)?;
            let (name, says) = (&self.setting.pipeline.name, part.guard.to_json());
            manifest.keep_guard(name, part.task, &says, number).map_err(no_manifest)?;
            manifest.sync_commits(true).map_err(no_manifest)?;
        }
        tell(&Event::Began { run: &run, number });
        Ok(number)
    }
}
