//! What a run tells beside its tasks: what it found of the memory and of dead runs, and
//! that it could not begin.

use super::mend::Mended;
use super::{Anew, CannotBegin, Preparation, Setting};
use crate::deed::Trouble;
use crate::deed::hook::{self, Occasion};
use crate::deed::memory::Found;
use crate::deed::recover::Recovered;
use crate::ground::world::process::Stop;
use crate::words::event::Event;

/// Says what was found of the memory, where that is not as it was left.
pub(super) fn tell_of_memory(
    found: Option<Found>,
    damage: Option<&str>,
    anew: &Anew,
    once: &[&str],
    network: Option<&str>,
    tell: &mut dyn FnMut(&Event<'_>),
) {
    if let Anew::Made(Mended { why, rebuilt }) = anew {
        let (backup, lines) = (rebuilt.backup, rebuilt.lines);
        tell(&Event::Mended { why, aside: rebuilt.aside.as_deref(), backup, lines, once });
    }
    match (found, damage) {
        (Some(Found { backup, lines, .. }), Some(why)) => {
            tell(&Event::Mended { why, aside: None, backup, lines, once });
        }
        (Some(Found { lines, is_incomplete, is_new: true, backup }), None) => {
            let is_whole = !is_incomplete;
            tell(&Event::NewMemory { once, is_whole, backup, lines, network });
        }
        (Some(Found { lines, is_incomplete: true, is_new: false, .. }), None) => {
            tell(&Event::OldMemory { once, lines });
        }
        // It was known to be at work when it died.
        (Some(Found { is_incomplete: false, is_new: false, .. }) | None, _) => {}
    }
}

impl Preparation<'_> {
    /// Tells what was finished and cleaned up of dead runs.
    pub(super) fn tell_of_dead(&self, cleaned: &[Recovered], tell: &mut dyn FnMut(&Event<'_>)) {
        for dead in cleaned {
            let (number, attempts) = (dead.number.unwrap_or(0), dead.attempts);
            for task in &dead.finished {
                tell(&Event::Finished { number, task });
            }
            if attempts > 0 || dead.finished.is_empty() {
                tell(&Event::CleanedUp { number, attempts });
            }
            for text in &dead.complaints {
                tell(&Event::Warning { text });
            }
            for (path, aside) in &dead.made_room {
                let aside = aside.strip_prefix(self.setting.disk.root()).unwrap_or(aside).display();
                let path = path.display();
                let text = format!("what was in the place of {path} is kept as {aside}");
                tell(&Event::Warning { text: &text });
            }
        }
    }

    /// Tells `[on-failure]` of a run that could not begin.
    pub(super) fn tell_of_failure(&self, error: &CannotBegin, report: &mut dyn FnMut(&Event<'_>)) {
        let Setting { pipeline, params, disk, .. } = *self.setting;
        let (why, status) = match error {
            CannotBegin::Trouble(Trouble::Input(fault)) => (fault.title.clone(), 1),
            CannotBegin::Trouble(Trouble::Broken(why)) | CannotBegin::Broken(why) => {
                (why.clone(), 5)
            }
            CannotBegin::Manifest { error, .. } => (format!("the manifest: {error}"), 5),
            // Whoever typed this is there to read it, or at work already.
            _ => return,
        };
        let (Some(hook), Ok(stop)) = (&pipeline.on_failure, Stop::new()) else {
            return;
        };
        let summary = serde_json::json!({
            "pipeline": pipeline.name, "instance": self.instance().as_str(), "run": null,
            "exit": status, "error": why, "steps": [],
        });
        let occasion = Occasion {
            folder: disk.root(),
            params,
            run_id: self.run_id,
            summary: &summary.to_string(),
            mask: &self.mask(),
            hook: "on-failure",
            pipeline: &pipeline.name,
            calls: None,
        };
        if let Err(why) = hook::run(hook, &occasion, &stop) {
            report(&Event::HookFailed { hook: "on-failure", why: &why });
        }
    }
}
