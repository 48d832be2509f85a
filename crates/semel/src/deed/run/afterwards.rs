//! What accompanies the end of a run, and what an earlier run owes.

use super::Signals;
use crate::deed::Site;
use crate::deed::hook::{self, Ledger, Occasion};
use crate::deed::script::Ended;
use crate::ground::world::process::Stop;
use crate::thought::bind::Params;
use crate::thought::report::Report;
use crate::words::event::Event;
use crate::words::pipeline::Hook;

/// The hooks of a run.
pub(super) struct Afterwards<'a> {
    pub(super) site: &'a Site<'a>,
    pub(super) ledger: &'a Ledger<'a>,
    pub(super) signals: &'a Signals,
    /// Whether only some of the pipeline is asked for: that is no success of all.
    pub(super) is_in_part: bool,
}

impl Afterwards<'_> {
    /// Runs the `[finally]` that a killed run owes.
    pub(super) fn pay_debt(&self, tell: &mut dyn FnMut(&Event<'_>)) {
        let debt = match self.ledger.debt() {
            Ok(None) => return,
            Ok(Some(debt)) => debt,
            Err(error) => {
                let text = format!("whether an earlier run owes its `[finally]`: {error}");
                return tell(&Event::Warning { text: &text });
            }
        };
        let site = self.site;
        if let Some(hook) = &site.pipeline.finally {
            let params = Params::from_values(debt.params);
            let summary = serde_json::json!({
                "pipeline": site.pipeline.name, "run": debt.run, "exit": null, "steps": [],
                "error": "the run was killed",
            });
            match self.run(("finally", hook), &params, &debt.run_id, &summary.to_string()) {
                Ok(()) => tell(&Event::PaidDebt { number: debt.run }),
                Err(why) => {
                    let why = format!("{why}; it was owed by run {}", debt.run);
                    tell(&Event::HookFailed { hook: "finally", why: &why });
                }
            }
        }
        if let Err(error) = self.ledger.settle() {
            tell(&Event::Warning { text: &error });
        }
    }

    /// Runs what accompanies the end of this run, and gives those that failed.
    pub(super) fn accompany(
        &self,
        report: &Report,
        number: Option<i64>,
    ) -> Vec<(&'static str, String)> {
        let site = self.site;
        let mut failed = Vec::new();
        let status = report.status();
        let summary = report.summary(&site.pipeline.name, number);
        let summary = site.mask_all().text(&summary.to_string()).into_owned();
        let mut accompany = |name: &'static str, hook: Option<&Hook>| {
            if let Some(hook) = hook
                && let Err(why) = self.run((name, hook), site.params, site.run_id, &summary)
            {
                failed.push((name, why));
            }
        };
        if status != 0 {
            accompany("on-failure", site.pipeline.on_failure.as_ref());
        } else if report.has_begun() && !self.is_in_part {
            accompany("on-success", site.pipeline.on_success.as_ref());
        }
        if self.ledger.is_owing() {
            accompany("finally", site.pipeline.finally.as_ref());
            if let Err(error) = self.ledger.settle() {
                failed.push(("finally", error));
            }
        }
        failed
    }

    /// Runs what accompanies the end of a script that did not reach its state.
    pub(super) fn accompany_script(
        &self,
        ended: &Ended,
        number: Option<i64>,
    ) -> Vec<(&'static str, String)> {
        let (site, status) = (self.site, ended.run_status());
        let Some(hook) = site.pipeline.on_failure.as_ref().filter(|_| status != Some(0)) else {
            return Vec::new();
        };
        let steps: Vec<_> = ended.steps().into_iter().map(|step| serde_json::json!({
            "step": step.step, "instance": step.instance.as_str(), "total": step.counts.total,
            "reached": step.counts.reached(), "note": step.note,
        })).collect();
        let error = ended.status.is_none().then_some("the script was killed");
        let summary = serde_json::json!({
            "pipeline": site.pipeline.name, "run": number, "exit": status, "steps": steps,
            "error": error,
        });
        let ran = self.run(("on-failure", hook), site.params, site.run_id, &summary.to_string());
        ran.err().map(|why| ("on-failure", why)).into_iter().collect()
    }

    /// Runs a hook; a signal meanwhile ends it.
    fn run(
        &self,
        (name, hook): (&'static str, &Hook),
        params: &Params,
        run_id: &str,
        summary: &str,
    ) -> Result<(), String> {
        let stop = Stop::new().map_err(|error| error.to_string())?;
        let occasion = Occasion {
            folder: self.site.disk.root(),
            params,
            run_id,
            summary,
            mask: &self.site.mask_all(),
            hook: name,
            pipeline: &self.site.pipeline.name,
            calls: self.site.calls,
        };
        let (over, is_over) = crossbeam_channel::bounded::<()>(0);
        std::thread::scope(|scope| {
            let stop = &stop;
            scope.spawn(move || {
                loop {
                    crossbeam_channel::select! {
                        // Its other end is dropped when the hook ended.
                        recv(is_over) -> _ => return,
                        recv(self.signals.0) -> signal => match signal {
                            // If it cannot be told, it ends at its own limit.
                            Ok(_) => drop(stop.pull()),
                            Err(_) => return,
                        },
                    }
                }
            });
            let done = hook::run(hook, &occasion, stop);
            drop(over);
            done
        })
    }
}
