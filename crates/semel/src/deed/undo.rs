//! Undoing: after an attempt that did not end well, what was there before a
//! command wrote in place is put back, then the user's own `cleanup` is run.

use std::path::PathBuf;
use std::time::Duration;

use crate::deed::act::{Acted, Job, Workshop};
use crate::deed::capture::{self, Question};
use crate::deed::command;
use crate::deed::stage::Place;
use crate::words::receipt::Failure;

/// How long a cleanup may take, where the step has no `timeout`.
const LIMIT: Duration = Duration::from_secs(300);

/// How much of what it prints is looked at.
const MOST: usize = 1 << 16;

/// Undoes what an attempt left half done.
pub(crate) struct Undo<'a> {
    /// Where the attempt took place.
    pub(crate) workshop: &'a Workshop<'a>,
    /// Of what it was an attempt.
    pub(crate) job: &'a Job<'a>,
}

impl Undo<'_> {
    /// Undoes an attempt that did not end well, and says how it ended then: one
    /// that was undone provably left nothing.
    pub(crate) fn after(&self, place: &Place, acted: Acted) -> Acted {
        let was_undone = matches!(acted, Acted::Failed { provably_undone: true, .. });
        let undone = self.put_back(place).and_then(|has_put_back| {
            // One that never began left nothing to clean up.
            if was_undone {
                return Ok(true);
            }
            let is_clean = self.clean_up(&place.paths)?;
            Ok(has_put_back || is_clean)
        });
        match (undone, acted) {
            (Ok(undone), Acted::Failed { failure, provably_undone }) => {
                Acted::Failed { failure, provably_undone: provably_undone || undone }
            }
            (Ok(undone), Acted::Stopped { .. }) => Acted::Stopped { provably_undone: undone },
            (Ok(_), acted) => acted,
            (Err(more), Acted::Failed { failure, .. }) => {
                Acted::Failed { failure: and_then(&failure, &more), provably_undone: false }
            }
            (Err(failure), _) => Acted::Failed { failure, provably_undone: false },
        }
    }

    /// Undoes an attempt whose outputs could not be published, or whose check does
    /// not hold.
    pub(crate) fn after_publishing(&self, place: &Place, failure: Failure) -> Failure {
        match self.after(place, Acted::Failed { failure, provably_undone: false }) {
            Acted::Failed { failure, .. } => failure,
            _ => Failure::Broken("it was undone, and then was not".to_owned()),
        }
    }

    fn put_back(&self, place: &Place) -> Result<bool, Failure> {
        let put_back = self.workshop.staging.put_back(place);
        put_back.map_err(|error| {
            Failure::Broken(format!("what was there before cannot be put back: {error}"))
        })?;
        Ok(!place.kept.is_empty() && self.job.view.step.cleanup.is_none())
    }

    /// Runs the cleanup of the step, if it has one, and says whether it has.
    ///
    /// # Errors
    /// If the cleanup failed.
    pub(crate) fn clean_up(&self, outs: &[PathBuf]) -> Result<bool, Failure> {
        let Job { view, task, sight, .. } = self.job;
        let Some(cleanup) = &view.step.cleanup else {
            return Ok(false);
        };
        let inputs = view.input_paths(&sight.own_inputs);
        let bindings = view.bindings(self.workshop.site, task, &inputs, outs);
        let name = task.name(&view.step.name, &view.instance).to_string();
        let question = Question {
            words: &command::words(cleanup, &bindings),
            folder: &view.folder,
            env: &command::env(view.step, &bindings, &name),
            input: None,
            limit: view.step.timeout.unwrap_or(LIMIT),
            most: MOST,
        };
        let answer = capture::ask(&question, self.workshop.stop_undoing);
        let failed = |why: String| {
            let why = view.mask.text(&why).into_owned();
            Err(Failure::BadEffect(format!("its cleanup failed: {why}")))
        };
        match answer {
            Ok(answer) if answer.status == 0 => Ok(true),
            Ok(answer) => failed(answer.why_not()),
            Err(why) => failed(why),
        }
    }
}

fn and_then(first: &Failure, then: &Failure) -> Failure {
    let text = format!("{first}; and then: {then}");
    if first.is_broken() || then.is_broken() {
        Failure::Broken(text)
    } else {
        Failure::BadEffect(text)
    }
}
