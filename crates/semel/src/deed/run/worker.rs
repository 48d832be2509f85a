//! What the engine's threads do: prepare to look at a step, look at tasks, act
//! on a task. Each job ends in a message to the dispatcher; an act that succeeds
//! goes on to the recorder.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use jiff::Timestamp;

use super::turns::Turns;
use crate::deed::act::{self, Acted, Attempted, Job, Workshop};
use crate::deed::hook::{Debt, Ledger};
use crate::deed::lease::{Holder, Lease, LeaseError};
use crate::deed::look::{Hints, Known, Looked, Sight, look};
use crate::deed::publish::{Published, make_durable, publish};
use crate::deed::record::{Completion, Orders, Particulars};
use crate::deed::view::{Before, Hold, Manner, Seen, StepView};
use crate::deed::{Site, Trouble, check, command, former, list};
use crate::ground::manifest::StepMemory;
use crate::ground::world::process::Stop;
use crate::thought::bind::Bindings;
use crate::thought::plan::{self, StepTasks};
use crate::words::digest::Digest;
use crate::words::event::Made;
use crate::words::fingerprint::{Fingerprint, effect};
use crate::words::pipeline::{InPlace, Probe, StepId};
use crate::words::receipt::{Attempt, AttemptEnd, Ending, Failure, Origin};
use crate::words::verdict::{Reason, Ruling, Verdict};

/// What the dispatcher asks for.
pub(super) enum Order<'a> {
    /// Prepare to look at a step.
    Prepare {
        step: StepId,
        before: Before,
        memory: StepMemory,
        /// Whether its list of items is still to be read.
        lists: bool,
    },
    /// Prepare once more, since an input changed, then look at a task.
    PrepareAgain { step: StepId, before: Before, task: usize, made: Vec<Seen> },
    /// Look at some tasks of a step.
    Look {
        step: StepId,
        tasks: Range<usize>,
        /// The items, where other tasks made them.
        made: Vec<Seen>,
        /// That this run tried already, and whether it provably did nothing.
        tried: Option<bool>,
        /// A task of this run that did the same.
        leader: Option<usize>,
    },
    /// Act on a task, as it was seen.
    Act {
        step: StepId,
        task: usize,
        view: Arc<StepView<'a>>,
        sight: Box<Sight>,
        verdict: Verdict,
        number: u64,
        tries: u32,
        /// Its turn among those whose commands begin in order.
        turn: Option<u64>,
        /// Whether its inputs were found written anew before.
        takes_rewritten: bool,
    },
}

/// What the dispatcher is told.
pub(super) enum Message<'a> {
    Prepared {
        step: StepId,
        result: Result<Option<Changed>, Trouble>,
    },
    Looked {
        step: StepId,
        first: usize,
        view: Arc<StepView<'a>>,
        looked: Vec<Result<Looked, Failure>>,
    },
    Began {
        step: StepId,
        task: usize,
        tries: u32,
    },
    Printed {
        step: StepId,
        task: usize,
        bytes: Vec<u8>,
    },
    /// An act came to its end; what became of it is another message.
    Acted {
        step: StepId,
    },
    /// An attempt did not succeed.
    Failed(Box<FailedAct>),
    /// A receipt was written, or could not be.
    Recorded {
        done: Box<Done>,
        error: Option<String>,
    },
    /// Something is not as it should be.
    Complaint(String),
}

/// Tasks that were done by another version of the command.
pub(super) struct Changed {
    pub(super) tasks: usize,
    /// How long one takes on average.
    pub(super) usual: Option<Duration>,
}

/// An attempt that did not succeed.
pub(super) struct FailedAct {
    pub(super) step: StepId,
    pub(super) task: usize,
    pub(super) tries: u32,
    pub(super) why: WhyNot,
    pub(super) tail: Vec<u8>,
    pub(super) command: String,
    /// Where outputs would have been, and where what semel did not make is kept.
    pub(super) kept: Vec<(PathBuf, PathBuf)>,
}

/// Why an attempt did not succeed.
pub(super) enum WhyNot {
    Failed {
        failure: Failure,
        provably_undone: bool,
    },
    Void(PathBuf),
    /// What was to be copied is no longer what it was.
    TwinChanged,
    Stopped,
}

/// A task that reached its state.
pub(super) struct Done {
    pub(super) step: StepId,
    pub(super) task: usize,
    pub(super) ruling: Ruling,
    pub(super) reason: Reason,
    pub(super) made: Made,
    pub(super) left: Left,
    pub(super) displaced: Vec<(PathBuf, PathBuf)>,
}

/// What a task left, for those that come after it.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) fingerprint: Fingerprint,
    pub(super) effect: Option<Digest>,
    pub(super) outs: Vec<Seen>,
}

/// What all threads share.
pub(super) struct Shop<'s, 'a> {
    pub(super) site: &'s Site<'a>,
    /// Where to act; `None` where nothing is done.
    pub(super) workshop: Option<Workshop<'s>>,
    /// How each step is looked at; another way once an input of it changed.
    pub(super) views: &'s [RwLock<Option<Arc<StepView<'a>>>>],
    pub(super) tasks: &'s [OnceLock<StepTasks>],
    pub(super) manner: Manner,
    pub(super) run: i64,
    /// In which order commands begin.
    pub(super) turns: Turns,
    /// Ends commands of ordinary steps.
    pub(super) stop: &'s Stop,
    /// Ends commands of `once` steps, and checks.
    pub(super) stop_all: &'s Stop,
    /// As many commands run at a time as there are permits.
    pub(super) permits: (Sender<()>, Receiver<()>),
    /// Whether what commands print is passed on as it comes.
    pub(super) passes_on: bool,
    /// Who we are, where we act.
    pub(super) holder: Option<Holder>,
    /// What the run owes from its first task on, and where that is noted.
    pub(super) debt: Option<(&'s Ledger<'s>, Debt)>,
}

impl<'a> Shop<'_, 'a> {
    /// How a step is looked at, once it was prepared.
    pub(super) fn known_view(&self, step: StepId) -> Option<Arc<StepView<'a>>> {
        self.views[step.0].read().expect("nobody panics while holding it").clone()
    }

    pub(super) fn view(&self, step: StepId) -> Arc<StepView<'a>> {
        self.known_view(step).expect("a step is prepared before its tasks are looked at")
    }

    pub(super) fn tasks(&self, step: StepId) -> &StepTasks {
        self.tasks[step.0].get().expect("a step's tasks are known before they are looked at")
    }

    /// Works until no more orders come.
    pub(super) fn work(
        &self,
        orders: &Receiver<Order<'a>>,
        messages: &Sender<Message<'a>>,
        recorder: &Orders<Box<Done>>,
    ) {
        for order in orders {
            let message = match order {
                Order::Prepare { step, before, memory, lists } => Some(Message::Prepared {
                    step,
                    result: self.prepare(step, &before, memory, lists),
                }),
                Order::PrepareAgain { step, before, task, made } => {
                    Some(self.look_anew(step, &before, task, &made))
                }
                Order::Look { step, tasks, made, tried, leader } => {
                    Some(self.look(step, tasks, &made, tried, leader))
                }
                Order::Act {
                    step,
                    task,
                    view,
                    sight,
                    verdict,
                    number,
                    tries,
                    turn,
                    takes_rewritten,
                } => {
                    let act = Act {
                        shop: self,
                        step,
                        task,
                        view: &view,
                        sight: &sight,
                        verdict,
                        number,
                        tries,
                        turn,
                        takes_rewritten,
                        messages,
                        recorder,
                    };
                    // A failure is told before there is room for another.
                    if let Some(failed) = act.act() {
                        let _ = messages.send(Message::Failed(Box::new(failed)));
                    }
                    Some(Message::Acted { step })
                }
            };
            if let Some(message) = message {
                // The dispatcher listens until all threads have ended.
                let _ = messages.send(message);
            }
        }
    }

    fn prepare(
        &self,
        step: StepId,
        before: &Before,
        memory: StepMemory,
        lists: bool,
    ) -> Result<Option<Changed>, Trouble> {
        let site = self.site;
        if lists {
            let definition = site.pipeline.step(step);
            let each = definition.each.as_ref().expect("only a step with items has a list");
            let items = list::items(site, definition, each)?;
            let tasks = plan::tasks(definition, Some(items), site.params, site.disk.root())
                .map_err(Trouble::File)?;
            // The dispatcher asks for each list once.
            let _ = self.tasks[step.0].set(tasks);
        }
        let (hold, memory) = self.hold(step, memory)?;
        let view =
            StepView::prepare(site, step, before, Arc::new(memory), Arc::new(hold), self.manner)?;
        let changed = self.changed(step, &view)?;
        self.set_view(step, view);
        Ok(changed)
    }

    /// Whether the command of a step changed since present tasks were done, where
    /// they will be done again for it.
    fn changed(&self, id: StepId, view: &StepView<'_>) -> Result<Option<Changed>, Trouble> {
        let site = self.site;
        if view.step.once || view.fresh || self.workshop.is_none() || site.kept.contains(&id) {
            return Ok(None);
        }
        let receipts = view.memory.receipts.iter();
        let others: HashSet<_> = receipts
            .filter(|receipt| receipt.fingerprint.how != view.how_digest)
            .map(|receipt| &*receipt.item)
            .collect();
        // Where the list is not known yet, nothing is known of what is present.
        let tasks = self.tasks[id.0].get().filter(|_| !others.is_empty());
        let present = tasks.iter().flat_map(|step| &step.tasks);
        let tasks = present.filter(|task| others.contains(&*task.item_name())).count();
        if tasks == 0 {
            return Ok(None);
        }
        let usual = site.ask_manifest(|manifest| {
            manifest.usual_seconds(&site.pipeline.name, &view.step.name)
        })?;
        Ok(Some(Changed {
            tasks,
            usual: usual.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
        }))
    }

    fn set_view(&self, step: StepId, view: StepView<'a>) {
        *self.views[step.0].write().expect("nobody panics while holding it") = Some(Arc::new(view));
    }

    /// Reads the inputs of a step once more, and looks at a task.
    fn look_anew(&self, step: StepId, before: &Before, task: usize, made: &[Seen]) -> Message<'a> {
        let old = self.view(step);
        let (memory, hold) = (Arc::clone(&old.memory), Arc::clone(&old.hold));
        match StepView::prepare(self.site, step, before, memory, hold, self.manner) {
            Ok(view) => {
                self.set_view(step, view);
                self.look(step, task..task + 1, made, None, None)
            }
            Err(trouble) => {
                Message::Looked { step, first: task, view: old, looked: vec![Err(trouble.into())] }
            }
        }
    }

    /// Takes the lease of a step that runs of several instances share. What is
    /// remembered of it is read under that lease.
    fn hold(&self, id: StepId, memory: StepMemory) -> Result<(Hold, StepMemory), Trouble> {
        let site = self.site;
        let step = site.pipeline.step(id);
        let Some(holder) = self.holder.as_ref().filter(|_| step.per != site.pipeline.per) else {
            return Ok((Hold::Ours, memory));
        };
        let instance = site.params.instance(&step.per);
        let lock = site.home.step_lock(&site.pipeline.name, &step.name, instance.as_str());
        let hold = match Lease::take(&lock, holder) {
            Ok(lease) => Hold::Held(Mutex::new(Some(lease))),
            Err(LeaseError::Busy(_)) => Hold::Others,
            Err(error) => return Err(Trouble::Broken(error.to_string())),
        };
        let gone = memory.gone;
        let memory = site
            .ask_manifest(|manifest| former::memory_of(manifest, site.pipeline, step, &instance))?;
        Ok((hold, StepMemory { gone, ..memory }))
    }

    fn look(
        &self,
        step: StepId,
        range: Range<usize>,
        made: &[Seen],
        tried: Option<bool>,
        leader: Option<usize>,
    ) -> Message<'a> {
        let (view, tasks) = (self.view(step), self.tasks(step));
        let leader = leader.map(|at| tasks.tasks[at].item_name());
        let leader = leader.as_deref();
        let mut hints = Hints::default();
        let first = range.start;
        let looked = range.map(|at| {
            let known = Known { made: made.get(at - first), tried, leader };
            look(self.site, &view, &tasks.tasks[at], known, self.manner, self.stop, &mut hints)
        });
        let looked = looked.collect();
        Message::Looked { step, first, view, looked }
    }
}

/// One act on a task.
struct Act<'s, 'a> {
    shop: &'s Shop<'s, 'a>,
    step: StepId,
    task: usize,
    view: &'s StepView<'a>,
    sight: &'s Sight,
    verdict: Verdict,
    number: u64,
    tries: u32,
    turn: Option<u64>,
    takes_rewritten: bool,
    messages: &'s Sender<Message<'a>>,
    recorder: &'s Orders<Box<Done>>,
}

impl Act<'_, '_> {
    /// Acts; what succeeds goes to the recorder, what does not comes back.
    fn act(&self) -> Option<FailedAct> {
        match self.verdict.ruling {
            Ruling::Adopt => self.adopt(),
            Ruling::Reuse => self.reuse(),
            _ if self.view.step.action.is_none() => self.ask(),
            _ => self.run(),
        }
    }

    fn job(&self) -> Job<'_> {
        Job {
            view: self.view,
            task: &self.shop.tasks(self.step).tasks[self.task],
            sight: self.sight,
            number: self.number,
            takes_rewritten: self.takes_rewritten,
        }
    }

    fn workshop(&self) -> &Workshop<'_> {
        self.shop.workshop.as_ref().expect("acts are ordered only where acting is allowed")
    }

    fn particulars<'p>(&'p self, job: &Job<'p>) -> Particulars<'p> {
        let inputs = job.sight.item.iter().chain(&job.view.inputs).chain(&job.sight.own_inputs);
        Particulars {
            view: job.view,
            task: job.task,
            fingerprint: self.sight.fingerprint,
            inputs: inputs.collect(),
            run: self.shop.run,
            said: self.said(),
            ends: self.sight.open,
        }
    }

    fn said(&self) -> Option<i64> {
        self.sight.said.as_ref().map(|said| said.id)
    }

    fn adopt(&self) -> Option<FailedAct> {
        let job = self.job();
        let settled = self.verdict.reason == Reason::SaidDone;
        if settled && let Some(kept) = &self.sight.kept {
            let staged = act::take_kept(self.workshop(), &job, kept);
            return self.publish(&job, staged, Origin::Settled, None, Vec::new());
        }
        let origin = if settled { Origin::Settled } else { Origin::Adopted };
        let unsynced = match make_durable(self.shop.site, &job) {
            Ok(unsynced) => unsynced,
            Err(failure) => {
                let why = WhyNot::Failed { failure, provably_undone: false };
                return Some(self.failed(why, Vec::new()));
            }
        };
        let outs: Vec<_> = self.sight.outs.iter().flatten().copied().collect();
        let particulars = self.particulars(&job);
        let completion = Completion::found(&particulars, &self.sight.outs, origin, unsynced);
        self.record(completion, outs, Made::default(), Vec::new());
        None
    }

    fn reuse(&self) -> Option<FailedAct> {
        let job = self.job();
        if job.view.step.outs.is_empty() {
            let particulars = self.particulars(&job);
            let completion = Completion::found(&particulars, &[], Origin::Reused, Vec::new());
            self.record(completion, Vec::new(), self.made(&[], None), Vec::new());
            return None;
        }
        match act::copy_twin(self.workshop(), &job) {
            Ok(Some(staged)) => self.publish(&job, Ok(staged), Origin::Reused, None, Vec::new()),
            Ok(None) => Some(self.failed(WhyNot::TwinChanged, Vec::new())),
            Err(failure) => self.publish(&job, Err(failure), Origin::Reused, None, Vec::new()),
        }
    }

    /// A step that is a check alone does nothing but ask.
    fn ask(&self) -> Option<FailedAct> {
        let job = self.job();
        let asked = check::Asked {
            view: job.view,
            task: job.task,
            own_inputs: &self.sight.own_inputs,
            outs: &[],
        };
        let (at, tries) = (self.task, self.tries);
        let _ = self.messages.send(Message::Began { step: self.step, task: at, tries });
        let began = Instant::now();
        let failure = match check::ask_until_it_holds(self.shop.site, &asked, self.shop.stop_all) {
            Ok(true) => {
                let particulars = self.particulars(&job);
                let completion = Completion::found(&particulars, &[], Origin::Adopted, Vec::new());
                self.record(
                    completion,
                    Vec::new(),
                    self.made(&[], Some(began.elapsed())),
                    Vec::new(),
                );
                return None;
            }
            Ok(false) => Failure::BadEffect("its check does not hold".to_owned()),
            Err(why) => Failure::Broken(format!("its check cannot tell: {why}")),
        };
        let why = WhyNot::Failed { failure, provably_undone: true };
        Some(self.failed(why, Vec::new()))
    }

    fn run(&self) -> Option<FailedAct> {
        let job = self.job();
        let step = job.view.step;
        let began = Attempt {
            task: job.task.name(&step.name, &job.view.instance),
            run: self.shop.run,
            number: self.number,
            tries: self.tries,
            fingerprint: self.sight.fingerprint,
            began: Timestamp::now(),
            once: step.once,
        };
        // What must be undone after a crash must be known to have begun.
        let is_announced = step.once || step.cleanup.is_some() || step.in_place != InPlace::No;
        let mut intend = || {
            if is_announced {
                let intended = self.recorder.intend(began.clone(), self.said());
                return intended.map_err(Failure::Broken);
            }
            self.recorder.begin(began.clone(), self.said());
            Ok(())
        };
        let stop = if step.once { self.shop.stop_all } else { self.shop.stop };
        let permit = match self.turn {
            Some(turn) => self.shop.turns.in_turn(turn, || self.shop.permits.1.recv()),
            None => self.shop.permits.1.recv(),
        };
        if stop.is_pulled() {
            // Whoever waits for it must hear of the end too.
            self.give_back(&mut permit.ok());
            return Some(self.failed(WhyNot::Stopped, Vec::new()));
        }
        if let Some((ledger, debt)) = &self.shop.debt
            && let Err(error) = ledger.owe(debt)
        {
            self.give_back(&mut permit.ok());
            let failure = Failure::Broken(format!("that `[finally]` is owed: {error}"));
            return Some(
                self.failed(WhyNot::Failed { failure, provably_undone: true }, Vec::new()),
            );
        }
        let (at, tries) = (self.task, self.tries);
        let _ = self.messages.send(Message::Began { step: self.step, task: at, tries });
        let mut printed = |bytes: &[u8]| {
            if self.shop.passes_on {
                let bytes = bytes.to_vec();
                let _ = self.messages.send(Message::Printed { step: self.step, task: at, bytes });
            }
        };
        // The permit is for the command only; publishing is our own time.
        let mut give_back = permit.ok();
        let mut telling = act::Telling {
            intend: &mut intend,
            printed: &mut printed,
            ended: &mut || self.give_back(&mut give_back),
        };
        let attempted = act::attempt(self.workshop(), &job, stop, self.shop.stop_all, &mut telling);
        self.give_back(&mut give_back);
        let Attempted { acted, log, tail, log_error, kept } = attempted;
        if let Some(error) = log_error {
            let text = format!("what {} printed could not be kept: {error}", began.task);
            let _ = self.messages.send(Message::Complaint(text));
        }
        let end = |ending, provably_undone| AttemptEnd {
            ending,
            provably_undone,
            ended: Timestamp::now(),
            log,
        };
        let (why, ended) = match acted {
            Acted::Staged(staged) => {
                let done = end(Ending::Done, false);
                return self.publish(&job, Ok(staged), Origin::Ran, Some((began, done)), tail);
            }
            Acted::Failed { failure, provably_undone } => {
                let ended = end(Ending::Failed(failure.clone()), provably_undone);
                let why = WhyNot::Failed { failure, provably_undone };
                (why, ended)
            }
            Acted::Void(input) => (WhyNot::Void(input), end(Ending::Void, false)),
            Acted::Stopped { provably_undone } => {
                (WhyNot::Stopped, end(Ending::Interrupted, provably_undone))
            }
        };
        self.recorder.end(began, ended, self.said());
        Some(FailedAct { kept, ..self.failed(why, tail) })
    }

    fn give_back(&self, permit: &mut Option<()>) {
        if permit.take().is_some() {
            let _ = self.shop.permits.0.send(());
        }
    }

    /// Publishes what was staged, and orders its receipt.
    fn publish(
        &self,
        job: &Job<'_>,
        staged: Result<act::Staged, Failure>,
        origin: Origin,
        attempt: Option<(Attempt, AttemptEnd)>,
        tail: Vec<u8>,
    ) -> Option<FailedAct> {
        let stop = self.shop.stop_all;
        let published = staged.and_then(|staged| publish(self.workshop(), job, staged, stop));
        match published {
            Ok(published) => {
                let made = self.made(&published.files, Some(published.took));
                let Published { outs, displaced, .. } = &published;
                let (outs, displaced) = (outs.clone(), displaced.clone());
                let completion =
                    Completion::published(&self.particulars(job), published, origin, attempt);
                self.record(completion, outs, made, displaced);
                None
            }
            Err(failure) => {
                if let Some((began, end)) = attempt {
                    let ending = Ending::Failed(failure.clone());
                    self.recorder.end(began, AttemptEnd { ending, ..end }, self.said());
                }
                let why = WhyNot::Failed { failure, provably_undone: false };
                Some(self.failed(why, tail))
            }
        }
    }

    fn made(&self, files: &[crate::words::receipt::FileRecord], took: Option<Duration>) -> Made {
        let rows: Vec<_> = files.iter().filter_map(|file| file.rows).collect();
        Made {
            took: took.unwrap_or_default(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            rows: (!rows.is_empty()).then(|| rows.iter().sum()),
            from: self.sight.twin.as_ref().map(|twin| twin.task.to_string()),
            why: Some(self.verdict.reason),
        }
    }

    fn record(
        &self,
        completion: Completion,
        outs: Vec<Seen>,
        made: Made,
        displaced: Vec<(PathBuf, PathBuf)>,
    ) {
        let roles = self.view.roles.iter().map(String::as_str);
        let digests = outs.iter().map(|seen| seen.content.digest);
        let done = Done {
            step: self.step,
            task: self.task,
            ruling: self.verdict.ruling,
            reason: self.verdict.reason,
            made,
            left: Left {
                fingerprint: self.sight.fingerprint,
                effect: effect(roles.zip(digests)),
                outs,
            },
            displaced,
        };
        self.recorder.complete(Box::new(done), completion);
    }

    /// The command as people would type it; of a check alone, what is asked.
    fn typed(&self, bindings: &Bindings<'_>) -> String {
        let step = self.view.step;
        let asked = step.check.as_ref().and_then(|check| match &check.probe {
            Probe::Command { command, .. } | Probe::All(command) => Some(command),
            Probe::File { .. } => None,
        });
        let command = step.action.as_ref().map(|action| &action.command).or(asked);
        let typed = command.map(|command| command::as_typed(command, bindings));
        self.view.mask.text(&typed.unwrap_or_default()).into_owned()
    }

    fn failed(&self, why: WhyNot, tail: Vec<u8>) -> FailedAct {
        let job = self.job();
        let inputs = job.view.input_paths(&self.sight.own_inputs);
        // People know the output by where it will be, not by where it is staged.
        let bindings = Bindings {
            input_list: Some(Path::new("in.list")),
            root: None,
            ..job.view.bindings(self.shop.site, job.task, &inputs, &job.task.outs)
        };
        FailedAct {
            step: self.step,
            task: self.task,
            tries: self.tries,
            why,
            tail,
            command: self.typed(&bindings),
            kept: Vec::new(),
        }
    }
}
