//! The dispatcher: it alone knows how far every task is, and it alone decides
//! what is done next. All others work on orders and report in messages.
//!
//! Task by task, without barriers: what is chained to one task begins when that
//! task has reached its state. Deeper steps come first, so that an item that was
//! begun is finished before another begins.
//!
//! Invariant: a task is ordered to act at most once at a time, and nothing is
//! ordered that waits for something which has not reached its state.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select};

use super::Mode;
use super::roots::Root;
use super::selection::Wanted;
use super::state::StepState;
use super::worker::{Done, Left, Message, Order, Shop, WhyNot};
use crate::deed::record::Orders;
use crate::ground::manifest::StepMemory;
use crate::thought::plan;
use crate::words::event::{Event, Outcome, TaskRef};
use crate::words::fingerprint::Fingerprint;
use crate::words::pipeline::{EachSource, InputSource, Pipeline, StepId};
use crate::words::receipt::Failure;
use crate::words::verdict::Ruling;

/// The most tasks of one order to look.
const CHUNK: usize = 1024;

/// How far apart the signals may come that end all processes at once.
const AT_ONCE: Duration = Duration::from_millis(100);

/// What a failed attempt left, in case it is the last.
pub(super) struct LastFailure {
    pub(super) failure: Failure,
    pub(super) provably_undone: bool,
    pub(super) tries: u32,
    pub(super) tail: Vec<u8>,
    pub(super) command: String,
}

/// A new task that is acted on, and those that would do the same.
pub(super) struct Leader {
    pub(super) task: usize,
    pub(super) followers: Vec<usize>,
}

/// A step by its place in the queues: deeper ones first.
type Turn = (Reverse<usize>, StepId);

/// What the engine is given.
pub(super) struct Given<'r, 's> {
    pub(super) shop: &'r Shop<'r, 's>,
    pub(super) mode: Mode,
    pub(super) fails_fast: bool,
    /// How long the run may take.
    pub(super) limit: Option<Duration>,
    /// When the run began, lists and all.
    pub(super) began: Instant,
    /// How many threads look.
    pub(super) lookers: usize,
    /// How many acts are under way at most, publishing included, but not the
    /// wait for the receipt.
    pub(super) most_acts: usize,
    /// How many items are in progress at most.
    pub(super) most_roots: usize,
    /// The number of the first attempt.
    pub(super) first_number: u64,
    pub(super) report: &'r mut dyn FnMut(&Event<'_>),
    pub(super) recorder: Option<Orders<Box<Done>>>,
    pub(super) look_orders: Sender<Order<'s>>,
    pub(super) act_orders: Sender<Order<'s>>,
    /// Starts one more thread that acts.
    pub(super) hire: &'r mut dyn FnMut(),
    /// The steps with their depths, those before coming first.
    pub(super) order: &'r [(StepId, usize)],
    /// Steps whose list is another's output.
    pub(super) lists: &'r BTreeMap<StepId, StepId>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) memories: Vec<StepMemory>,
    /// How many tasks each step had in the last complete run.
    pub(super) last_totals: &'r [Option<u64>],
}

/// The dispatcher.
pub(super) struct Engine<'r, 's> {
    pub(super) pipeline: &'s Pipeline,
    pub(super) shop: &'r Shop<'r, 's>,
    pub(super) mode: Mode,
    pub(super) fails_fast: bool,
    /// How long the run may take, and when that is over.
    deadline: Option<(Duration, Instant)>,
    lookers: usize,
    most_acts: usize,
    report: &'r mut dyn FnMut(&Event<'_>),
    /// The recorder works until we are gone.
    pub(super) recorder: Option<Orders<Box<Done>>>,
    look_orders: Sender<Order<'s>>,
    act_orders: Sender<Order<'s>>,
    hire: &'r mut dyn FnMut(),
    hired: usize,
    pub(super) lists: &'r BTreeMap<StepId, StepId>,
    pub(super) last_totals: &'r [Option<u64>],
    pub(super) steps: Vec<StepState<'s>>,
    pub(super) can_look: BTreeSet<Turn>,
    pub(super) can_act: BTreeSet<Turn>,
    /// Orders that were given and not answered.
    pub(super) in_flight: usize,
    looking: usize,
    acting: usize,
    pub(super) waiting_to_act: usize,
    /// Items in progress.
    pub(super) roots: HashSet<Root>,
    pub(super) most_roots: usize,
    /// When a failed task is looked at again.
    pub(super) timers: BinaryHeap<Reverse<(Instant, StepId, usize)>>,
    pub(super) failures: HashMap<(StepId, usize), LastFailure>,
    pub(super) voids: HashMap<(StepId, usize), u32>,
    /// Of new tasks with one fingerprint, the one that is acted on; the others
    /// follow it.
    pub(super) leaders: HashMap<(StepId, Fingerprint), Leader>,
    /// The leaders that are followed, and by whom: tasks of these fingerprints. It
    /// is more than one where an input of the leader changed.
    pub(super) followed: HashMap<(StepId, usize), Vec<Fingerprint>>,
    /// Tasks that were looked at again, after the one that they follow.
    pub(super) came_after: HashSet<(StepId, usize)>,
    /// Tasks that were settled and are not in their state.
    pub(super) unreached: HashSet<(StepId, usize)>,
    /// Tasks that came to an end, to be noted one after the other.
    pub(super) settling: VecDeque<(StepId, usize, Outcome, Option<Left>)>,
    /// Whether somebody else has the lease.
    is_lost: bool,
    /// The reasons of what was complained of.
    complaints: HashSet<String>,
    next_number: u64,
    next_turn: u64,
    /// Nothing new is begun.
    pub(super) is_stopping: bool,
    pub(super) signals: u32,
}

/// The steps that must be settled, all of each, before a step begins.
fn waits_for(
    pipeline: &Pipeline,
    id: StepId,
    lists: &BTreeMap<StepId, StepId>,
) -> BTreeSet<StepId> {
    let step = pipeline.step(id);
    let gathered = step.inputs.iter().filter_map(|input| match input.source {
        InputSource::OutputsOf(gathered) => Some(gathered),
        InputSource::Files(_) => None,
    });
    let named = step.needs.iter().chain(&step.after).copied();
    named.chain(gathered).chain(lists.get(&id).copied()).collect()
}

/// All steps that come before a step, where those before it are known.
fn upstream_of(
    pipeline: &Pipeline,
    id: StepId,
    lists: &BTreeMap<StepId, StepId>,
    upstream: &[BTreeSet<StepId>],
) -> BTreeSet<StepId> {
    let chain = pipeline.step(id).each.as_ref().and_then(|each| each.source.chain());
    let direct = waits_for(pipeline, id, lists).into_iter().chain(chain);
    direct.flat_map(|before| upstream[before.0].iter().copied().chain([before])).collect()
}

/// Whether it tells that a command was ended by what ends all processes at once, as a
/// terminal, a service manager or a cluster does: then we are meant, too.
fn is_of_a_signal(message: &Message<'_>) -> bool {
    use rustix::process::Signal;
    let Message::Failed(failed) = message else {
        return false;
    };
    let ends_all = [Signal::HUP, Signal::INT, Signal::TERM].map(Signal::as_raw);
    matches!(&failed.why, WhyNot::Failed { failure: Failure::Signal(signal), .. }
        if ends_all.contains(signal))
}

impl<'r, 's> Engine<'r, 's> {
    pub(super) fn new(given: Given<'r, 's>) -> Self {
        let pipeline = given.shop.site.pipeline;
        let looks_on = given.mode != Mode::Act;
        let mut steps: Vec<_> = given
            .wanted
            .into_iter()
            .zip(given.memories)
            .map(|(wanted, memory)| StepState::new(wanted, memory, looks_on))
            .collect();
        let mut upstream = vec![BTreeSet::new(); steps.len()];
        for (id, depth) in given.order {
            steps[id.0].depth = *depth;
            upstream[id.0] = upstream_of(pipeline, *id, given.lists, &upstream);
            if pipeline.step(*id).check.is_some() {
                steps[id.0].upstream = upstream[id.0].iter().copied().collect();
            }
            if steps[id.0].wanted.is_none() {
                continue;
            }
            let waits_for = waits_for(pipeline, *id, given.lists);
            steps[id.0].barrier = waits_for.len();
            for before in waits_for {
                steps[before.0].waiters.push(*id);
                steps[before.0].is_read = true;
            }
            let step = pipeline.step(*id);
            let Some(each) = &step.each else { continue };
            if let Some(chain) = each.source.chain() {
                steps[id.0].chain = Some(chain);
                steps[id.0].width = plan::chain_width(pipeline, step);
                steps[chain.0].chained.push(*id);
                steps[chain.0].is_read |= matches!(each.source, EachSource::OutputsOf(_));
            }
        }
        Self {
            pipeline,
            shop: given.shop,
            mode: given.mode,
            fails_fast: given.fails_fast,
            deadline: given.limit.map(|limit| (limit, given.began + limit)),
            lookers: given.lookers,
            most_acts: given.most_acts,
            report: given.report,
            recorder: given.recorder,
            look_orders: given.look_orders,
            act_orders: given.act_orders,
            hire: given.hire,
            hired: 0,
            lists: given.lists,
            last_totals: given.last_totals,
            steps,
            can_look: BTreeSet::new(),
            can_act: BTreeSet::new(),
            in_flight: 0,
            looking: 0,
            acting: 0,
            waiting_to_act: 0,
            roots: HashSet::new(),
            most_roots: given.most_roots,
            timers: BinaryHeap::new(),
            failures: HashMap::new(),
            voids: HashMap::new(),
            leaders: HashMap::new(),
            followed: HashMap::new(),
            came_after: HashSet::new(),
            unreached: HashSet::new(),
            settling: VecDeque::new(),
            is_lost: false,
            complaints: HashSet::new(),
            next_number: given.first_number,
            next_turn: 0,
            is_stopping: false,
            signals: 0,
        }
    }

    /// Works until all that was asked for is settled, or nothing more can be.
    pub(super) fn work(mut self, messages: &Receiver<Message<'s>>, signals: &Receiver<i32>) {
        self.begin();
        let mut signals = signals.clone();
        while !self.is_done() {
            let due = self
                .timers
                .peek()
                .map(|Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
            let left = self.deadline.map(|(_, at)| at.saturating_duration_since(Instant::now()));
            let pause = due.into_iter().chain(left).min().unwrap_or(Duration::from_secs(3600));
            select! {
                recv(messages) -> message => match message {
                    Ok(message) => self.hear(message, &signals),
                    Err(_) => return,
                },
                recv(signals) -> signal => match signal {
                    Ok(signal) => self.stop(signal),
                    // Nobody sends any: what is always ready would keep us awake.
                    Err(_) => signals = never(),
                },
                default(pause) => {}
            }
            while let Ok(message) = messages.try_recv() {
                self.hear(message, &signals);
            }
            self.go_on();
        }
    }

    fn begin(&mut self) {
        let ids: Vec<_> = self.pipeline.ids().map(|(id, _)| id).collect();
        for id in &ids {
            if !self.steps[id.0].wanted.is_none() && self.shop.tasks[id.0].get().is_some() {
                self.listed(*id);
            }
        }
        let unfinished = self.unfinished(&ids);
        for id in &ids {
            self.open_if_due(*id);
        }
        for (id, task) in unfinished {
            self.in_progress(id, task);
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        self.end_in_time();
        self.wake();
        self.settle_all();
        self.order_looks();
        self.order_acts();
    }

    fn is_done(&self) -> bool {
        let all_settled = || self.steps.iter().all(|step| step.wanted.is_none() || step.is_settled);
        self.in_flight == 0 && (self.is_stopping || all_settled())
    }

    pub(super) fn tell(&mut self, event: &Event<'_>) {
        (self.report)(event);
    }

    pub(super) fn task_ref(&self, id: StepId, task: usize) -> TaskRef<'r> {
        let tasks = self.shop.tasks(id);
        TaskRef {
            id,
            step: self.pipeline.step(id),
            instance: &tasks.instance,
            task: &tasks.tasks[task],
            at: task,
        }
    }

    /// Takes a message; where it tells of a signal that may be meant for all, that comes
    /// first.
    fn hear(&mut self, message: Message<'s>, signals: &Receiver<i32>) {
        if !self.is_stopping
            && is_of_a_signal(&message)
            && let Ok(signal) = signals.recv_timeout(AT_ONCE)
        {
            self.stop(signal);
        }
        self.take(message);
    }

    fn take(&mut self, message: Message<'s>) {
        match message {
            Message::Prepared { step, result } => {
                self.in_flight -= 1;
                self.prepared(step, result);
            }
            Message::Looked { step, first, view, looked } => {
                self.in_flight -= 1;
                self.looking -= 1;
                for (at, looked) in looked.into_iter().enumerate() {
                    self.decided(step, first + at, &view, looked);
                }
            }
            Message::Began { step, task, tries } => {
                let task = self.task_ref(step, task);
                self.tell(&Event::Attempt { task, tries });
            }
            Message::Printed { step, task, bytes } => {
                let task = self.task_ref(step, task);
                let bytes = &bytes;
                self.tell(&Event::Printed { task, bytes });
            }
            Message::Acted { step } => {
                self.acting -= 1;
                self.steps[step.0].acting -= 1;
            }
            Message::Failed(failed) => {
                self.in_flight -= 1;
                self.steps[failed.step.0].acted_at = Some(Instant::now());
                self.failed_act(*failed);
            }
            Message::Recorded { done, error } => {
                self.in_flight -= 1;
                if done.ruling != Ruling::Adopt {
                    self.steps[done.step.0].acted_at = Some(Instant::now());
                }
                self.recorded(*done, error);
            }
            Message::Lost(why) => self.lose(&why),
            Message::Complaint { text, reason } => {
                if self.complaints.insert(reason) {
                    self.tell(&Event::Warning { text: &text });
                }
            }
        }
    }

    /// A signal: the first begins nothing new and ends ordinary commands, those of
    /// `once` steps may finish; the second ends all.
    fn stop(&mut self, signal: i32) {
        self.signals += 1;
        self.is_stopping = true;
        let at_once = self.signals > 1 || signal != rustix::process::Signal::INT.as_raw();
        self.tell(&Event::Stopping { signal, at_once });
        let mut pulled = self.shop.stop.pull();
        if at_once {
            pulled = pulled.and(self.shop.stop_all.pull());
        }
        if self.signals > 1 {
            pulled = pulled.and(self.shop.stop_undoing.pull());
        }
        self.pulled(pulled);
    }

    /// Somebody else has the lease: nothing new is begun, and ordinary commands end.
    /// Those of `once` steps may finish: what they did is evidence, whoever keeps it.
    fn lose(&mut self, why: &str) {
        // Several may find out.
        if std::mem::replace(&mut self.is_lost, true) {
            return;
        }
        self.is_stopping = true;
        self.tell(&Event::LeaseLost { why });
        self.pulled(self.shop.stop.pull());
    }

    /// Ends the run when its time is over: nothing new is begun, and ordinary
    /// commands end. Those of `once` steps may finish, as they have their own
    /// limits: to end them would leave a question.
    fn end_in_time(&mut self) {
        let Some((limit, _)) = self.deadline.filter(|(_, at)| *at <= Instant::now()) else {
            return;
        };
        self.deadline = None;
        self.is_stopping = true;
        self.tell(&Event::TimedOut { limit });
        self.pulled(self.shop.stop.pull());
    }

    /// Tells if a switch that ends commands could not be pulled.
    fn pulled(&mut self, pulled: std::io::Result<()>) {
        if let Err(error) = pulled {
            let text = format!("commands cannot be told to end: {error}");
            self.tell(&Event::Warning { text: &text });
        }
    }

    /// Looks again at tasks whose pause is over.
    fn wake(&mut self) {
        while let Some(Reverse((at, id, task))) = self.timers.peek().copied() {
            if at > Instant::now() || self.is_stopping {
                return;
            }
            self.timers.pop();
            let tried = self.failures.get(&(id, task)).map(|last| last.provably_undone);
            self.look_again(id, task, tried);
        }
    }

    /// Orders one more look at a task.
    pub(super) fn look_again(&mut self, id: StepId, task: usize, tried: Option<bool>) {
        self.look_after(id, task, tried, None);
    }

    /// Orders one more look at a task, after another one that did the same.
    pub(super) fn look_after(
        &mut self,
        id: StepId,
        task: usize,
        tried: Option<bool>,
        leader: Option<usize>,
    ) {
        self.looking += 1;
        self.order_look(Order::Look {
            step: id,
            made: self.made_items(id, task..task + 1),
            tasks: task..task + 1,
            tried,
            leader,
            changed: self.changed_upstream(id),
        });
    }

    /// Orders one more look at a task whose inputs changed.
    pub(super) fn look_anew(&mut self, id: StepId, task: usize) {
        self.looking += 1;
        self.order_look(Order::PrepareAgain {
            step: id,
            before: self.before(id),
            task,
            made: self.made_items(id, task..task + 1),
            changed: self.changed_upstream(id),
        });
    }

    /// When something that comes before a step acted last, if that may make an answer of
    /// its check wrong.
    fn changed_upstream(&self, id: StepId) -> Option<Instant> {
        self.steps[id.0].upstream.iter().filter_map(|before| self.steps[before.0].acted_at).max()
    }

    pub(super) fn order_look(&mut self, order: Order<'s>) {
        self.in_flight += 1;
        // The threads listen until the last of us who give orders is gone.
        let _ = self.look_orders.send(order);
    }

    /// Keeps those who look busy, but not far ahead of those who act. What is deeper
    /// than all that waits to be acted on is not ahead: it finishes an item.
    fn order_looks(&mut self) {
        let is_ahead = self.waiting_to_act > 4 * self.most_acts + 64;
        while !self.is_stopping && self.looking < 3 * self.lookers {
            let Some(turn) = self.can_look.first().copied() else {
                return;
            };
            let (depth, id) = turn;
            if is_ahead && self.can_act.first().is_some_and(|(waiting, _)| *waiting <= depth) {
                return;
            }
            let state = &mut self.steps[id.0];
            let share = state.ready_total() / (4 * self.lookers);
            let Some(tasks) = state.take_ready(share.clamp(1, CHUNK)) else {
                self.can_look.remove(&turn);
                continue;
            };
            self.looking += 1;
            self.order_look(Order::Look {
                step: id,
                made: self.made_items(id, tasks.clone()),
                tasks,
                tried: None,
                leader: None,
                changed: self.changed_upstream(id),
            });
        }
    }

    /// The next task to be acted on: of the deepest step that may have more tasks
    /// at a time, the first in its list.
    fn next_to_act(&self) -> Option<(StepId, usize)> {
        let first = |may_act: &dyn Fn(StepId, usize) -> bool| {
            self.can_act.iter().find_map(|(_, id)| {
                let state = &self.steps[id.0];
                let limit = self.pipeline.step(*id).jobs;
                if limit.is_some_and(|limit| state.acting >= limit.get()) {
                    return None;
                }
                let task = state.to_act.keys().find(|task| may_act(*id, **task))?;
                Some((*id, *task))
            })
        };
        let next = first(&|id, task| self.may_progress(id, task));
        // Items in progress may all wait for one that has not begun: for a twin, or for
        // its turn.
        next.or_else(|| if self.in_flight == 0 { first(&|_, _| true) } else { None })
    }

    /// Keeps those who act busy.
    fn order_acts(&mut self) {
        while !self.is_stopping && self.acting < self.most_acts {
            let Some((id, task)) = self.next_to_act() else {
                return;
            };
            let state = &mut self.steps[id.0];
            let next = state.to_act.remove(&task).expect("it was found there");
            if state.to_act.is_empty() {
                self.can_act.remove(&(Reverse(state.depth), id));
            }
            self.in_progress(id, task);
            self.waiting_to_act -= 1;
            self.acting += 1;
            self.in_flight += 1;
            self.steps[id.0].acting += 1;
            if self.hired < self.acting {
                (self.hire)();
                self.hired += 1;
            }
            // Only commands wait for a permit, and begin in order.
            let runs =
                next.verdict.ruling == Ruling::Run && self.pipeline.step(id).action.is_some();
            let turn = runs.then_some(self.next_turn);
            self.next_turn += u64::from(runs);
            let _ = self.act_orders.send(Order::Act {
                step: id,
                task,
                view: next.view,
                sight: next.sight,
                verdict: next.verdict,
                number: self.next_number,
                tries: next.tries,
                turn,
                takes_rewritten: self.voids.contains_key(&(id, task)),
            });
            self.next_number += 1;
        }
    }
}
