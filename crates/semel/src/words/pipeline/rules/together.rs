//! Keys that contradict one another, or that mean nothing without another.

use std::collections::BTreeSet;

use super::databases::loads;
use super::{Faults, counting_texts, items_are_files, items_of};
use crate::words::digest::Digest;
use crate::words::pipeline::draft::{
    CheckDraft, CommandDraft, EachSourceDraft, OutDraft, StepDraft,
};
use crate::words::pipeline::value::Written;
use crate::words::pipeline::{Digested, Fault, InPlace, Items, Span};
use crate::words::template::Name;

impl<'a> Faults<'a> {
    /// A `once` step must be able to tell whether it was done, this time.
    pub(super) fn once_can_be_kept(&mut self, step: &'a StepDraft) {
        if !step.once {
            if let Some(exits) = &step.safe_exits {
                self.say(
                    Fault::new("`safe-exits` without `once`", &exits.span, "has no meaning here")
                        .help("an ordinary step is run again after any failure"),
                );
            }
            return;
        }
        if let Some(check) = &step.check
            && check.sql.is_none()
            && check.equals.is_none()
            && check.command.is_some()
            && !check.answers_for_all()
        {
            self.say(
                Fault::new(
                    "a `once` step wants a definite no",
                    &check.span,
                    "an exit status may mean anything",
                )
                .help("say what the command must print:  check = { run = '…', equals = \"t\" }"),
            );
        }
        let contradicts = |span: &Span, what: &str, label: &str| {
            Fault::new(format!("`once` with `{what}`"), span, label).also(&step.once_span, "once")
        };
        if let Some(age) = &step.max_age {
            let label = "would do it again when its time is over";
            self.say(
                contradicts(&age.span, "max-age", label)
                    .help("a parameter in `per` makes each day or release a task of its own"),
            );
        }
        if let Some(place) = &step.in_place
            && place.what != InPlace::No
        {
            let label = "is put back after a failure, so it is safe to repeat";
            self.say(contradicts(&place.span, "in-place", label).help("take `once` away"));
        }
        if let Some(cleanup) = &step.cleanup {
            let label = "undoes it after a failure, so it is safe to repeat";
            self.say(contradicts(&cleanup.span, "cleanup", label).help("take `once` away"));
        }
        let per: BTreeSet<_> = self.per_of(step).iter().map(|name| name.what.as_str()).collect();
        let mut told = BTreeSet::new();
        for text in counting_texts(step) {
            for hole in text.template.placeholders() {
                let Name::Param(name) = &hole.name else {
                    continue;
                };
                let is_known = self.pipeline.params.iter().any(|param| param.name == *name);
                if !is_known || per.contains(name.as_str()) || !told.insert(name.clone()) {
                    continue;
                }
                let title = format!("`{}` is done once for all values of `{name}`", step.name);
                let label = "but says this value: it would refuse when the value changes";
                self.say(
                    Fault::new(title, &text.place(&hole.range), label)
                        .also(&step.once_span, "once")
                        .help(format!("add  per = [\"{name}\"]  and each value has its own once")),
                );
            }
        }
    }

    /// Keys that mean nothing without another. Of a step that could not be read
    /// whole, the other may only be misspelt.
    pub(super) fn keys_go_together(&mut self, step: &'a StepDraft) {
        if !step.is_whole {
            return;
        }
        self.expectations_have_outputs(step);
        self.what_needs_items(step);
        self.what_needs_files(step);
        self.what_needs_outputs(step);
        if let Some(check) = &step.check {
            self.check_asks_one_thing(step, check);
        }
        if step.actions.is_empty() && step.check.is_some() {
            self.a_check_alone_makes_nothing(step);
        }
        self.prelude_has_a_shell(step);
        self.works_on_a_database(step);
        self.makes_a_call(step);
        self.calls_are_of_a_command(step);
        for secret in &step.secret_env {
            let is_set = step.env.iter().any(|(name, _)| *name == secret.what);
            if is_set || step.env_counts.contains(&secret.what) {
                let title = format!("`{}` is a secret, and counts", secret.what);
                let other = if is_set { "env" } else { "env-counts" };
                self.say(
                    Fault::new(title, &secret.span, "never counts")
                        .help(format!("take it out of `{other}`, or out of `secret-env`")),
                );
            }
        }
    }

    fn expectations_have_outputs(&mut self, step: &'a StepDraft) {
        let Some(expect) = &step.expect else { return };
        let has_input = !step.inputs.is_empty()
            || items_are_files(&self.steps, step)
            || loads(step).any(|load| load.file.is_some());
        let is_load = loads(step).next().is_some();
        if is_load && expect.bytes.is_some() {
            let title = "`bytes` of rows";
            self.say(Fault::new(title, &expect.span, "of what is loaded there are `rows`"));
        } else if step.outs.is_empty() && !is_load {
            self.without("expect", &expect.span, "out", "there is no output to look at");
        } else if expect.same_rows_as_in && !has_input {
            let title = "`same-rows-as = \"in\"` without inputs";
            self.say(
                Fault::new(title, &expect.span, "there is nothing to count")
                    .help("give the step files: `each` or `in`"),
            );
        }
        let rows = match (expect.rows, expect.same_rows_as_in) {
            (None, false) => return,
            (Some(_), _) => "rows",
            (None, true) => "same-rows-as",
        };
        let is_folder = |out: &&OutDraft| out.path.template.text.ends_with('/');
        if let Some(out) = step.outs.iter().find(is_folder) {
            self.say(
                Fault::new(format!("`{rows}` of a folder"), &expect.span, "counts rows of files")
                    .also(&out.path.span, "a folder")
                    .help("of a folder there are `bytes`; a check can look into it"),
            );
        }
    }

    fn without(&mut self, key: &str, span: &Span, other: &str, label: &str) {
        self.say(Fault::new(format!("`{key}` without `{other}`"), span, label));
    }

    fn what_needs_items(&mut self, step: &'a StepDraft) {
        if step.each.is_none() {
            if let Some(most) = &step.max_failures {
                self.without("max-failures", &most.span, "each", "there is one task only");
            }
            if let Some(ordered) = step.ordered.as_ref().filter(|ordered| ordered.what) {
                self.without("ordered", &ordered.span, "each", "there is one task only");
            }
        }
        if let (Some(ordered), Some(jobs)) = (&step.ordered, &step.jobs)
            && ordered.what
            && jobs.what.get() > 1
        {
            self.say(
                Fault::new("`ordered` with `jobs`", &jobs.span, "several at a time")
                    .also(&ordered.span, "one after the other"),
            );
        }
        let Some(each) = &step.each else { return };
        let names_rows = items_of(&self.steps, step) == Items::Rows
            && !matches!(
                each.sources.first().map(|source| &source.what),
                Some(EachSourceDraft::ItemsOf(_))
            );
        if let Some(name) = &each.name
            && !names_rows
            && !each.sources.is_empty()
        {
            self.say(
                Fault::new("`name` without rows", &name.span, "names the rows of a list")
                    .help("it belongs to `csv` and `json`"),
            );
        }
        for source in &each.sources {
            if let EachSourceDraft::ItemsOf(other) = &source.what
                && let Some(source) = self.steps.get(other.what.as_str())
                && source.is_whole
                && source.each.is_none()
            {
                let title = format!("step `{}` has no items", other.what);
                self.say(
                    Fault::new(title, &other.span, "there is nothing to take")
                        .help(format!("to come after it:  after = [\"{}\"]", other.what)),
                );
            }
        }
    }

    fn what_needs_files(&mut self, step: &'a StepDraft) {
        // Of a list with two sources nobody knows what its items are.
        if step.each.as_ref().is_some_and(|each| each.sources.len() != 1) {
            return;
        }
        let has_file_items = items_are_files(&self.steps, step);
        if let Some(same) = &step.same
            && !has_file_items
        {
            self.say(
                Fault::new("`same` without files", &same.span, "concerns items that are files")
                    .help("a value is itself: two equal ones in a list are an error"),
            );
        }
        if let Some(digest) = &step.digest
            && digest.what == Digested::Stat
            && !has_file_items
            && step.inputs.is_empty()
        {
            self.say(
                Fault::new("`digest` without files", &digest.span, "the step reads none")
                    .help("it says what the files of `each` and `in` count by"),
            );
        }
    }

    fn what_needs_outputs(&mut self, step: &'a StepDraft) {
        let in_place = step.in_place.as_ref().filter(|place| place.what != InPlace::No);
        if step.outs.is_empty() {
            if let Some(place) = in_place {
                self.without("in-place", &place.span, "out", "there is nothing to put back");
            }
            if let Some(deterministic) = step.deterministic.as_ref().filter(|yes| !yes.what) {
                let label = "there is no output that could be altered";
                self.without("deterministic = false", &deterministic.span, "out", label);
            }
        }
        if let Some(place) = in_place
            && place.what == InPlace::WithoutBackup
            && step.cleanup.is_none()
        {
            self.say(
                Fault::new(
                    "`in-place` without backup, and without `cleanup`",
                    &place.span,
                    "nothing would undo what was half done",
                )
                .help("add  cleanup = '…'  or keep what was there:  in-place = true"),
            );
        }
    }

    fn check_asks_one_thing(&mut self, step: &'a StepDraft, check: &'a CheckDraft) {
        let asks_file = check.file.is_some() || check.sha256.is_some();
        if let Some(db) = check.db.as_ref().filter(|_| check.sql.is_none()) {
            self.without("db", &db.span, "sql", "nothing is asked of it");
        }
        if let Some(sql) = &check.sql {
            self.check_asks_a_database(check, sql);
            return;
        }
        match (&check.command, asks_file) {
            (None, false) => self.say(
                Fault::new("a check without a command", &check.span, "say what to `run`")
                    .help("or what to ask a database:  check = { sql = \"…\", db = \"…\" }")
                .help("or which file must have which digest:  check = { file = \"…\", sha256 = \"…\" }"),
            ),
            (Some(_), true) => self.say(Fault::new(
                "a check that asks two things",
                &check.span,
                "a command and a file",
            )),
            (None, true) => self.file_has_a_digest(check),
            (Some(_), false) => {}
        }
        if let Some(equals) = check.equals.as_ref().filter(|_| check.command.is_none() && asks_file)
        {
            self.without("equals", &equals.span, "run", "nothing is printed");
        }
        let Some(all) = check.all.as_ref().filter(|all| all.what) else {
            return;
        };
        if step.each.is_none() {
            self.without("all", &all.span, "each", "there is one task only");
        } else if check.command.is_none() {
            self.without("all", &all.span, "run", "only a command can answer for all items");
        } else if let Some(equals) = &check.equals {
            self.say(
                Fault::new("`all` with `equals`", &equals.span, "it prints items, not one text")
                    .also(&all.span, "it answers for all"),
            );
        }
    }

    fn check_asks_a_database(&mut self, check: &'a CheckDraft, sql: &'a Written) {
        if check.command.is_some() || check.file.is_some() || check.sha256.is_some() {
            let other = if check.command.is_some() { "a command" } else { "a file" };
            let label = format!("a query and {other}");
            self.say(Fault::new("a check that asks two things", &check.span, label));
        }
        if let Some(equals) = &check.equals {
            self.without("equals", &equals.span, "run", "the query itself says what holds");
        }
        if let Some(all) = check.all.as_ref().filter(|all| all.what) {
            self.without("all", &all.span, "run", "only a command can answer for all items");
        }
        self.is_good_sql(sql, check.db.as_ref(), true);
    }

    fn file_has_a_digest(&mut self, check: &'a CheckDraft) {
        let is_digest = |text: &str| Digest::from_hex(text).is_some();
        match (&check.file, &check.sha256) {
            (Some(_), Some(sha256)) => {
                if sha256.template.as_plain().is_some_and(|text| !is_digest(text)) {
                    self.say(Fault::new(
                        "not a SHA-256",
                        &sha256.span,
                        "wants 64 hexadecimal digits",
                    ));
                }
            }
            (Some(file), None) => self.say(
                Fault::new(
                    "a file without a digest",
                    &file.span,
                    "that it is there proves nothing",
                )
                .help("add  sha256 = \"…\"  or ask a command:  check = 'test -e …'"),
            ),
            (None, Some(sha256)) => {
                self.without("sha256", &sha256.span, "file", "say whose digest it is");
            }
            (None, None) => {}
        }
    }

    /// A step that is a check alone does nothing that could be undone, retried or
    /// looked at.
    fn a_check_alone_makes_nothing(&mut self, step: &'a StepDraft) {
        let mut say = |what: &str, span: &Span| {
            let title = format!("`{what}` in a step that is a check alone");
            self.say(
                Fault::new(title, span, "it has no command").help("give it a command:  run = '…'"),
            );
        };
        if let Some(out) = step.outs.first() {
            say("out", &out.path.span);
        }
        if step.once {
            say("once", &step.once_span);
        }
        if let Some(cleanup) = &step.cleanup {
            say("cleanup", &cleanup.span);
        }
        if let Some(age) = &step.max_age {
            say("max-age", &age.span);
        }
        if let Some(place) = &step.in_place {
            say("in-place", &place.span);
        }
        let mut belongs_to_check = |what: &str, span: &Span| {
            let title = format!("`{what}` in a step that is a check alone");
            self.say(
                Fault::new(title, span, "it has no command")
                    .help(format!("put it into the check:  check = {{ run = '…', {what} = … }}")),
            );
        };
        if let Some(retry) = &step.retry {
            belongs_to_check("retry", &retry.span);
        }
        if let Some(timeout) = &step.timeout {
            belongs_to_check("timeout", &timeout.span);
        }
    }

    fn prelude_has_a_shell(&mut self, step: &'a StepDraft) {
        let is_shell = |command: &CommandDraft| matches!(command, CommandDraft::Shell(_));
        let has_shell = step
            .actions
            .iter()
            .filter_map(|action| action.what.command())
            .chain(step.check.iter().filter_map(|check| check.command.as_ref()))
            .any(is_shell);
        if let Some(prelude) = step.prelude.as_ref().filter(|_| !has_shell) {
            self.say(
                Fault::new("`prelude` without a shell", &prelude.span, "goes before a text")
                    .help("a list of words is started without a shell; write `run` as a text"),
            );
        }
    }
}
