//! The crew of a run: the threads that look, act and record, and the engine that
//! gives them their orders.

use std::num::NonZeroUsize;
use std::sync::RwLock;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, unbounded};

use super::engine::{Engine, Given};
use super::turns::Turns;
use super::worker::{Message, Shop};
use super::{CannotBegin, Mode, Preparation, Prepared, Signals};
use crate::deed::Site;
use crate::deed::act::Workshop;
use crate::deed::hook::Ledger;
use crate::deed::log::RunLog;
use crate::deed::once::OnceWriter;
use crate::deed::record::{self, Recorded, Recorder};
use crate::deed::script::{self, Ended};
use crate::deed::stage::Staging;
use crate::deed::view::Manner;
use crate::ground::manifest::{Manifest, StepMemory};
use crate::ground::world::machine::threads;
use crate::ground::world::process::Stop;
use crate::words::event::Event;

/// How often the lease of a folder on a network file system is looked at.
const GLANCE: Duration = Duration::from_secs(1);

/// Who works on a run.
#[derive(Clone, Copy)]
pub(super) struct Crew<'a> {
    pub(super) preparation: &'a Preparation<'a>,
    pub(super) site: &'a Site<'a>,
    pub(super) ledger: &'a Ledger<'a>,
    /// The run's number, where it is noted.
    pub(super) number: Option<i64>,
    pub(super) signals: &'a Signals,
}

impl<'a> Crew<'a> {
    /// Holds the run of a script while that lives. What is left of its staging is to be
    /// ended when the run has its record.
    pub(super) fn hold(
        &self,
        hold: &(dyn Fn(i64, &str) -> Option<i32> + Sync),
    ) -> Result<(Ended, Staging<'a>), CannotBegin> {
        let Crew { preparation, site, number, .. } = *self;
        let Preparation { home, run_id, .. } = *preparation;
        let number = number.unwrap_or(0);
        let failed = |error: std::io::Error| {
            CannotBegin::Broken(format!("the folder of the run cannot be used: {error}"))
        };
        let name = &site.pipeline.name;
        let holder = preparation.holder();
        let staging = Staging::begin(site.disk, home, run_id, number, name, &holder)?;
        script::make_room(home, run_id).map_err(failed)?;
        let status = hold(number, run_id);
        let held = script::wait_for_steps(home, run_id, status.is_none()).map_err(failed)?;
        let notes = script::notes(site.disk, &home.staging_of(run_id))?;
        Ok((Ended { status, notes, _held: held.into() }, staging))
    }

    /// Sets up the threads, and lets the engine work.
    pub(super) fn work(
        &self,
        prepared: Prepared,
        memories: Vec<StepMemory>,
        manifest: &mut Option<Box<dyn Manifest>>,
        tell: &mut dyn FnMut(&Event<'_>),
    ) -> Result<(), CannotBegin> {
        let Crew { preparation, site, ledger, number, .. } = *self;
        let no_descriptor =
            |error: std::io::Error| CannotBegin::Broken(format!("no descriptor is left: {error}"));
        let new_stop = || Stop::new().map_err(no_descriptor);
        let (stop, stop_all, stop_undoing) = (new_stop()?, new_stop()?, new_stop()?);
        let staging = match number {
            Some(_) => Some(Staging::begin(
                site.disk,
                preparation.home,
                preparation.run_id,
                number.unwrap_or(0),
                &site.pipeline.name,
                &preparation.holder(),
            )?),
            None => None,
        };
        let log = RunLog::at(preparation.home.log(number.unwrap_or(0)));
        let jobs = preparation.options.jobs.or(preparation.setting.pipeline.jobs);
        let jobs = jobs.map_or_else(threads, NonZeroUsize::get);
        let permits = unbounded();
        for _ in 0..jobs {
            permits.0.send(()).expect("we hold the other end");
        }
        let views: Vec<_> = site.pipeline.steps.iter().map(|_| RwLock::new(None)).collect();
        let displaced = preparation.home.displaced(number.unwrap_or(0));
        let shop = Shop {
            site,
            workshop: staging.as_ref().map(|staging| Workshop {
                site,
                staging,
                log: &log,
                displaced: &displaced,
                stop_undoing: &stop_undoing,
            }),
            views: &views,
            tasks: &prepared.tasks,
            manner: Manner {
                fresh: preparation.options.fresh,
                rehash: preparation.options.rehash,
                reads_no_new_items: preparation.mode == Mode::Plan
                    && preparation.options.explains.is_none(),
                explains: preparation.options.explains,
            },
            run: number.unwrap_or(0),
            turns: Turns::default(),
            stop: &stop,
            stop_all: &stop_all,
            stop_undoing: &stop_undoing,
            permits,
            passes_on: preparation.options.passes_on,
            by: preparation.doer(number.unwrap_or(0)),
            // A task that is alone in its process has a lease of its own.
            holder: staging
                .is_some()
                .then(|| preparation.holder())
                .filter(|_| preparation.part.task().is_none()),
            patience: preparation.options.wait,
            debt: site.pipeline.finally.as_ref().map(|_| (ledger, preparation.debt(number))),
        };
        let (messages_in, messages) = unbounded();
        let (look_orders, look_inbox) = unbounded();
        let (act_orders, act_inbox) = unbounded();
        let (recorder, recorder_inbox) = record::orders();
        // One after the other, in the order of the list, means to look so too.
        let lookers = if jobs == 1 { 1 } else { threads() };
        // Where a failure keeps others from beginning, none is handed out ahead.
        let stops_early = preparation.options.fails_fast
            || site.pipeline.steps.iter().any(|step| step.max_failures.is_some());
        let pipeline = &*site.pipeline.name;
        let once = match (&*manifest, number) {
            (Some(manifest), Some(number)) => {
                let doer = preparation.doer(number);
                let once = OnceWriter::new(site.disk, preparation.home, &**manifest, doer);
                Some(once.map_err(|error| preparation.no_manifest(error))?)
            }
            _ => None,
        };
        std::thread::scope(|scope| {
            if let (Some(manifest), Some(staging), Some(once)) = (manifest, &staging, once) {
                let (done, complaints, losses) =
                    (messages_in.clone(), messages_in.clone(), messages_in.clone());
                scope.spawn(move || {
                    let mut report = |Recorded { task, error }| {
                        let _ = done.send(Message::Recorded { done: task, error });
                    };
                    let mut complain = |text| {
                        let reason = String::clone(&text);
                        let _ = complaints.send(Message::Complaint { text, reason });
                    };
                    let mut lost = |why| {
                        let _ = losses.send(Message::Lost(why));
                    };
                    let recorder = Recorder {
                        pipeline,
                        manifest: &mut **manifest,
                        durability: site.pipeline.durability,
                        // One after the other means to wait for each receipt.
                        patience: if jobs == 1 { Duration::ZERO } else { record::PATIENCE },
                        disk: site.disk,
                        staging,
                        once,
                        report: &mut report,
                        complain: &mut complain,
                        lost: Some(&mut lost),
                    };
                    recorder.work(&recorder_inbox);
                });
            }
            let (over, until_over) = bounded::<()>(0);
            if let Some(pulse) = site.fence {
                let losses = messages_in.clone();
                scope.spawn(move || {
                    while until_over.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
                        if let Err(why) = pulse.verify() {
                            let _ = losses.send(Message::Lost(why));
                            return;
                        }
                    }
                });
            }
            let hire = |orders: &Receiver<_>| {
                let (shop, orders, messages, recorder) =
                    (&shop, orders.clone(), messages_in.clone(), recorder.clone());
                scope.spawn(move || shop.work(&orders, &messages, &recorder));
            };
            for _ in 0..lookers {
                hire(&look_inbox);
            }
            let mut hire_actor = || hire(&act_inbox);
            let engine = Engine::new(Given {
                shop: &shop,
                mode: preparation.mode,
                fails_fast: preparation.options.fails_fast,
                limit: preparation.setting.pipeline.timeout,
                began: preparation.began,
                lookers,
                // Commands are limited by permits; publishing overlaps with them.
                most_acts: if stops_early { jobs } else { jobs + jobs.min(8) + 1 },
                // An item waits for receipts between its steps; others go on then.
                most_roots: if stops_early || jobs == 1 { jobs } else { 4 * jobs + 8 },
                first_number: *preparation.worker.attempts().start(),
                report: tell,
                recorder: Some(recorder.clone()),
                look_orders,
                act_orders,
                hire: &mut hire_actor,
                order: &prepared.order,
                lists: &prepared.lists,
                wanted: prepared.wanted,
                memories,
                last_totals: &prepared.last_totals,
            });
            engine.work(&messages, &self.signals.0);
            drop((recorder, over));
        });
        match staging {
            Some(staging) => staging.end().map_err(CannotBegin::from),
            None => Ok(()),
        }
    }
}
