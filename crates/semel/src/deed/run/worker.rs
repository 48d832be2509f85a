//! What the engine's threads do: prepare to look at a step, look at tasks, act
//! on a task. Each job ends in a message to the dispatcher; an act that succeeds
//! goes on to the recorder.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::acting::Act;
use super::turns::Turns;
use super::waiting::BETWEEN;
use crate::deed::act::Workshop;
use crate::deed::hook::{Debt, Ledger};
use crate::deed::lease::{DYING, Holder, Lease, LeaseError};
use crate::deed::look::{Hints, Known, Looked, Sight, look};
use crate::deed::record::Orders;
use crate::deed::view::{Before, Hold, Manner, Seen, StepView};
use crate::deed::{Site, Trouble, former, list};
use crate::ground::manifest::StepMemory;
use crate::ground::world::process::Stop;
use crate::thought::plan::{self, StepTasks};
use crate::words::digest::Digest;
use crate::words::event::Made;
use crate::words::fingerprint::Fingerprint;
use crate::words::once::Doer;
use crate::words::pipeline::StepId;
use crate::words::receipt::Failure;
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
    PrepareAgain {
        step: StepId,
        before: Before,
        task: usize,
        made: Vec<Seen>,
        /// When something that comes before the step acted last.
        changed: Option<Instant>,
    },
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
        /// When something that comes before the step acted last.
        changed: Option<Instant>,
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
    /// The lease of the run was taken over.
    Lost(String),
    /// Something is not as it should be.
    Complaint {
        text: String,
        /// Of those with one reason only the first is told: a full disk says the same of
        /// every task.
        reason: String,
    },
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
    /// Ends what undoes what was half done.
    pub(super) stop_undoing: &'s Stop,
    /// As many commands run at a time as there are permits.
    pub(super) permits: (Sender<()>, Receiver<()>),
    /// Whether what commands print is passed on as it comes.
    pub(super) passes_on: bool,
    /// The run, as it is named in what outlives it.
    pub(super) by: Doer,
    /// Who we are, where we act.
    pub(super) holder: Option<Holder>,
    /// How long it waits for others who are at work.
    pub(super) patience: Option<Duration>,
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
                    result: self.prepare(step, &before, memory, lists, messages),
                }),
                Order::PrepareAgain { step, before, task, made, changed } => {
                    Some(self.look_anew(step, &before, task, &made, changed))
                }
                Order::Look { step, tasks, made, tried, leader, changed } => {
                    let known = Known { made: None, tried, leader: None, changed };
                    Some(self.look(step, tasks, &made, leader, known))
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
        messages: &Sender<Message<'a>>,
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
        let (hold, memory) = self.hold(step, memory, messages)?;
        let view = StepView::prepare(
            site,
            step,
            before,
            Arc::new(memory),
            Arc::new(hold),
            self.manner,
            self.stop,
        )?;
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
    fn look_anew(
        &self,
        step: StepId,
        before: &Before,
        task: usize,
        made: &[Seen],
        changed: Option<Instant>,
    ) -> Message<'a> {
        let old = self.view(step);
        let (memory, hold) = (Arc::clone(&old.memory), Arc::clone(&old.hold));
        match StepView::prepare(self.site, step, before, memory, hold, self.manner, self.stop) {
            Ok(view) => {
                self.set_view(step, view);
                let known = Known { changed, ..Known::default() };
                self.look(step, task..task + 1, made, None, known)
            }
            Err(trouble) => {
                Message::Looked { step, first: task, view: old, looked: vec![Err(trouble.into())] }
            }
        }
    }

    /// Takes the lease of a step that runs of several instances share, waiting for those
    /// who have it as long as the run may. What is remembered of it is read under that
    /// lease.
    fn hold(
        &self,
        id: StepId,
        memory: StepMemory,
        messages: &Sender<Message<'a>>,
    ) -> Result<(Hold, StepMemory), Trouble> {
        let site = self.site;
        let step = site.pipeline.step(id);
        let Some(holder) = self.holder.as_ref().filter(|_| step.per != site.pipeline.per) else {
            return Ok((Hold::Ours, memory));
        };
        let instance = site.params.instance(&step.per);
        let lock = site.home.step_lock(&site.pipeline.name, &step.name, instance.as_str());
        let began = Instant::now();
        let hold = loop {
            let other = match Lease::take(&lock, holder) {
                Ok(lease) => break Hold::Held(Mutex::new(Some(lease))),
                Err(LeaseError::Busy(other)) => other,
                Err(error) => return Err(Trouble::Broken(error.to_string())),
            };
            let is_dying = other.as_ref().is_some_and(|other| other.is_dying(&holder.host));
            let patience = self.patience.unwrap_or_default().max(if is_dying {
                DYING
            } else {
                Duration::ZERO
            });
            if began.elapsed() >= patience || self.stop.is_pulled() {
                break Hold::Others;
            }
            if let (Some(other), false) = (other, is_dying) {
                let text = format!("{} waits for {other}", step.name);
                let _ = messages.send(Message::Complaint { reason: text.clone(), text });
            }
            self.stop.wait(BETWEEN);
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
        leader: Option<usize>,
        known: Known<'_>,
    ) -> Message<'a> {
        let (view, tasks) = (self.view(step), self.tasks(step));
        let leader = leader.map(|at| tasks.tasks[at].item_name());
        let leader = leader.as_deref();
        let mut hints = Hints::default();
        let first = range.start;
        let looked = range.map(|at| {
            let known = Known { made: made.get(at - first), leader, ..known };
            look(self.site, &view, &tasks.tasks[at], known, self.manner, self.stop, &mut hints)
        });
        let looked = looked.collect();
        Message::Looked { step, first, view, looked }
    }
}
