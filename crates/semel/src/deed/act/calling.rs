//! An attempt whose calls are guarded, or that is a call itself.

use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use super::{Acted, Job, Ran, Telling, Workshop, failed};
use crate::deed::calls::{Asked, Guarded, Guards, ask, scope_of};
use crate::deed::log::Spool;
use crate::deed::stage::Place;
use crate::ground::world::contain::{Gateway, Refused};
use crate::ground::world::process::{Running, Stop};
use crate::thought::mask::MaskStream;
use crate::words::call::{Calls, Scope};
use crate::words::pipeline::Http;
use crate::words::receipt::{Failure, LogRange};

/// What guards the calls of a command.
pub(super) struct Guard<'a> {
    guards: &'a Guards<'a>,
    guarded: Guarded<'a>,
    scope: Scope,
    gateway: Option<Gateway>,
    words: Vec<OsString>,
}

impl<'a> Guard<'a> {
    /// Begins, if the calls of the step are guarded.
    pub(super) fn begin(
        workshop: &'a Workshop<'_>,
        job: &Job<'_>,
        words: &[OsString],
    ) -> Result<Option<Self>, Failure> {
        let step = job.view.step;
        if step.calls == Calls::Free {
            return Ok(None);
        }
        let (guards, scope) = (workshop.site.calls()?, scope(workshop, job));
        let guarded = guards.guard(scope.clone(), job.number).map_err(Failure::Broken)?;
        let is_contained = step.calls == Calls::Contained;
        let gateway = is_contained.then(|| Gateway::open(&guards.home.calls())).transpose();
        let gateway = gateway.map_err(|error| {
            Failure::Broken(format!("the command cannot be contained: {error}"))
        })?;
        Ok(Some(Self { guards, guarded, scope, gateway, words: words.to_vec() }))
    }

    /// The words that start the command, and the variables that it needs.
    pub(super) fn bring(&self, env: &mut Vec<(OsString, OsString)>) -> Vec<OsString> {
        // What the step sets itself comes last, and counts.
        let mut all = self.guarded.env().to_vec();
        all.append(env);
        *env = all;
        match &self.gateway {
            Some(gateway) => {
                gateway.words(Path::new("/proc/self/exe"), &self.guarded.ports(), &self.words)
            }
            None => self.words.clone(),
        }
    }

    /// The command was started: lets it into its network, if it is to have one.
    pub(super) fn has_started(&self, running: &Running, stop: &Stop) -> Result<(), Failure> {
        let Some(gateway) = &self.gateway else {
            return Ok(());
        };
        let served = gateway
            .admit(running, stop)
            .and_then(|listeners| self.guarded.serve_inside(listeners).map_err(Refused::Failed));
        served.map_err(|refused| match refused {
            Refused::NotStarted(error) => Failure::NotStarted(error.to_string()),
            refused => Failure::Broken(format!("the command cannot be contained: {refused}")),
        })
    }

    /// The command has ended: waits for what is in flight, and says how the attempt ended.
    pub(super) fn end(self, stop: &Stop, ended_badly: Option<Acted>) -> Option<Acted> {
        settle(self.guards, self.guarded, &self.scope, stop, ended_badly)
    }
}

fn scope(workshop: &Workshop<'_>, job: &Job<'_>) -> Scope {
    let (site, view) = (workshop.site, job.view);
    let task = job.task.name(&view.step.name, &view.instance);
    scope_of(&site.pipeline.name, view.step, task, site.params)
}

/// The call of a step is the same one until the task has its receipt: it is made again only
/// where the task is to be done again.
fn since_receipt(workshop: &Workshop<'_>, job: &Job<'_>) -> Result<Scope, Failure> {
    let site = workshop.site;
    let mut scope = scope(workshop, job);
    let name = job.task.name(&job.view.step.name, &job.view.instance);
    let receipt = site.ask_manifest(|manifest| manifest.receipt(&site.pipeline.name, &name))?;
    if let Some(receipt) = receipt {
        scope.params.push_str(&format!(" after run {}", receipt.run));
    }
    Ok(scope)
}

/// A task with a call that is unknown is not done, whatever its command says.
fn settle(
    guards: &Guards<'_>,
    guarded: Guarded<'_>,
    scope: &Scope,
    stop: &Stop,
    ended_badly: Option<Acted>,
) -> Option<Acted> {
    let tally = guarded.end(stop);
    let ended = match (&tally.broken, tally.refusal()) {
        (Some(why), _) => Some(failed(Failure::Broken(why.clone()), false)),
        (None, Some(why)) => Some(failed(Failure::Calls(why), false)),
        (None, None) => ended_badly,
    };
    let completed = ended.is_none().then_some(scope);
    match guards.came_to(tally, completed) {
        Err(why) if ended.is_none() => Some(failed(Failure::Broken(why), false)),
        _ => ended,
    }
}

/// Makes the call of a step, and keeps what it answers as if a command had printed it.
pub(super) fn call(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    http: &Http,
    place: &Place,
    telling: &mut Telling<'_>,
) -> Ran {
    let stop = workshop.stop_undoing;
    let (site, view) = (workshop.site, job.view);
    let began = Instant::now();
    let scope = match since_receipt(workshop, job) {
        Ok(scope) => scope,
        Err(failure) => return Ran::not_started(failure),
    };
    let guards = match site.calls() {
        Ok(guards) => guards,
        Err(failure) => return Ran::not_started(failure),
    };
    let guarded = match guards.guard(scope.clone(), job.number) {
        Ok(guarded) => guarded,
        Err(why) => return Ran::not_started(Failure::Broken(why)),
    };
    let inputs = view.input_paths(&job.sight.own_inputs);
    let bindings = view.bindings(site, job.task, &inputs, &place.paths);
    let folder = site.disk.root();
    let asked = ask(http, &bindings, &guarded, None, folder, view.step.timeout, stop);
    // Whether it may be made again is for the journal to say, and that does: it needs no leave
    // of the step's.
    let (ended_badly, text) = match asked {
        Ok(Asked::Done(text)) => (None, text),
        Ok(Asked::Failed(why, text)) => {
            let what = format!("{} {}: {why}", http.method.name(), http.url.text);
            (Some(failed(Failure::BadEffect(what), true)), text)
        }
        Ok(Asked::Stopped) => (Some(Acted::Stopped { provably_undone: true }), String::new()),
        Err(why) => (Some(failed(Failure::BadInput(why), true)), String::new()),
    };
    let took = began.elapsed();
    (telling.ended)();
    let mut spool = Spool::new(&site.home.staging_of(site.run_id), job.number);
    let mut stream = MaskStream::new(&view.mask);
    let mut log_error = None;
    for bytes in [stream.take(text.as_bytes()).to_vec(), stream.end()] {
        if let Err(error) = spool.take(&bytes) {
            log_error = Some(error.to_string());
        }
        (telling.printed)(&bytes);
    }
    let tail = spool.tail().to_vec();
    let log = spool.end(workshop.log).unwrap_or_else(|error| {
        log_error = Some(error.to_string());
        LogRange::default()
    });
    let ended_badly = match settle(guards, guarded, &scope, stop, ended_badly) {
        Some(Acted::Failed { failure: failure @ Failure::Calls(_), .. }) => {
            Some(failed(failure, true))
        }
        ended => ended,
    };
    Ran { ended_badly, log, tail, log_error, took }
}
