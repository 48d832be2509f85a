//! Calls that a step or the end of a run makes, and what may stand beside them.

use super::Faults;
use crate::words::pipeline::Fault;
use crate::words::pipeline::draft::{ActDraft, HttpDraft, StepDraft};

/// Headers whose values are secrets.
const SECRET: [&str; 5] = ["api-key", "authorization", "cookie", "x-api-key", "x-auth-token"];

impl<'a> Faults<'a> {
    pub(super) fn makes_a_call(&mut self, step: &'a StepDraft) {
        for action in &step.actions {
            let ActDraft::Http(http) = &action.what else { continue };
            self.nothing_of_a_command(step, "http");
            self.call_is_whole(http);
            self.credentials_are_elsewhere(http);
            if let Some(file) = http.file().filter(|file| file.template.is_glob()) {
                self.say(
                    Fault::new("a pattern in `file`", &file.span, "it names one file")
                        .help("fan out over many with `each`: each is sent by a task of its own"),
                );
            }
        }
    }

    /// `calls` is for what a command does.
    pub(super) fn calls_are_of_a_command(&mut self, step: &'a StepDraft) {
        let Some(calls) = &step.calls else { return };
        let what = match step.actions.first().map(|action| &action.what) {
            Some(ActDraft::Command(_)) => return,
            Some(ActDraft::Sql(_)) => "`calls` with `sql`",
            Some(ActDraft::Load(_)) => "`calls` with `load`",
            Some(ActDraft::Http(_)) => "`calls` with `http`",
            None => "`calls` in a step that is a check alone",
        };
        let fault = Fault::new(what, &calls.span, "there is no command");
        let is_http = matches!(step.actions.first(), Some(action) if matches!(action.what, ActDraft::Http(_)));
        self.say(match is_http {
            true => fault.help("its call goes through the call journal anyway: take `calls` away"),
            false => fault,
        });
    }

    /// It has one URL, and one body at most.
    pub(super) fn call_is_whole(&mut self, http: &'a HttpDraft) {
        match http.urls.as_slice() {
            [] => self.say(
                Fault::new("a call to nowhere", &http.span, "has no URL")
                    .help("say how it asks, and where:  post = \"https://…\""),
            ),
            [_] => {}
            [(_, first), (_, second), ..] => self.say(
                Fault::new("a call with two URLs", &second.span, "a second one")
                    .also(&first.span, "the first one")
                    .help("make two steps of it"),
            ),
        }
        if let [first, second, ..] = http.bodies.as_slice() {
            self.say(
                Fault::new("a call that sends two things", &second.span, "the second one")
                    .also(&first.span, "the first one"),
            );
        }
    }

    /// What is written in the file is kept in the manifest.
    fn credentials_are_elsewhere(&mut self, http: &'a HttpDraft) {
        for (name, value) in &http.headers {
            let is_secret = SECRET.contains(&name.as_str());
            if is_secret && value.template.is_plain() && !value.template.text.is_empty() {
                let title = format!("a secret in the file: `{name}`");
                self.say(
                    Fault::new(title, &value.span, "would be kept in the manifest, and shown")
                        .help("put it into a variable, and name that:")
                        .help("secret-env = [\"TOKEN\"]  and  \"Bearer {{ env.TOKEN }}\""),
                );
            }
        }
    }
}
