//! What was chosen and gives something up; and secrets that are kept.

use super::script::Script;
use super::{
    APPENDS_ROWS, CHECK_NAMES_NO_ITEM, DIGEST_STAT, DURABILITY, KEPT_SECRET, Level, Linter,
    NO_BACKUP, ONCE_BLIND, RETRY_ONCE,
};
use crate::words::pipeline::{
    ActionKind, Digested, Durability, Fault, InPlace, Param, ParamValue, Probe, Step, StepId,
};
use crate::words::template::Name;

impl Linter<'_> {
    pub(super) fn durability(&mut self) {
        if self.pipeline.durability == Durability::Process {
            let span = self.places.value(&["durability"]).unwrap_or_default();
            let title = "a power cut may cost what was done last";
            let fault = Fault::new(title, &span, "syncs are left out")
                .help("what was done last is done again then; never what is done once");
            self.say(&DURABILITY, Level::Note, None, fault);
        }
    }

    /// What a step chose.
    pub(super) fn chosen(&mut self, id: StepId, step: &Step) {
        if step.digest == Digested::Stat {
            let title = format!("`{}` does not look at the content of its files", step.name);
            let fault = Fault::new(title, &self.value_of(step, "digest"), "size, time and inode")
                .help("a change that keeps size and time is not seen; a copy counts as new");
            self.note(&DIGEST_STAT, id, fault);
        }
        if step.in_place == InPlace::WithoutBackup {
            let title = format!("a failure of `{}` costs the last good output", step.name);
            let span = self.value_of(step, "in-place");
            let fault = Fault::new(title, &span, "nothing is kept aside")
                .help("only `cleanup` undoes what was half done");
            self.note(&NO_BACKUP, id, fault);
        }
        if let Some(ActionKind::Load(load)) = step.action.as_ref().map(|action| &action.kind)
            && !load.replaces_all
            && load.tag.is_none()
            && load.replace_where.is_none()
        {
            let title = format!("`{}` cannot replace what it loaded", step.name);
            let label = "a new version of a file is refused";
            let fault = Fault::new(title, &self.value_of(step, "load"), label)
                .help("add  tag = \"source\"  and a column of that name: semel fills it")
                .help("or  replace-where = \"…\"  which finds the rows of one item");
            self.note(&APPENDS_ROWS, id, fault);
        }
        if let Some(Probe::Sql { query, .. }) = step.check.as_ref().map(|check| &check.probe)
            && step.each.is_some()
            && step.action.is_some()
            && !query.names_item()
        {
            let title = format!("the check of `{}` is the same for every item", step.name);
            let label = "once it holds, a new item is never done";
            let fault = Fault::new(title, &self.value_of(step, "check"), label)
                .help("name the item in the query:  … where day = {{ item.stem }}")
                .help("or take it away: a load needs no check, its stamp tells");
            self.warn(&CHECK_NAMES_NO_ITEM, id, fault);
        }
        // What was done to a database its stamp tells, and of a call the call journal.
        let is_told = step.database().is_some() || step.http().is_some();
        if !step.once || step.check.is_some() || is_told {
            return;
        }
        if step.retry.times > 0 && step.safe_exits.is_empty() {
            let title = format!("`{}` is tried again only where it did not happen", step.name);
            let span = self.value_of(step, "retry");
            let fault = Fault::new(title, &span, "nothing here can prove that")
                .help("add  safe-exits = [75]  if that status says that nothing was done")
                .help("add  check = { run = '…', equals = \"…\" }  and semel looks for itself");
            self.warn(&RETRY_ONCE, id, fault);
            return;
        }
        let title = format!("nobody can ask whether `{}` was done", step.name);
        let label = "cut short, it waits for a human";
        let fault = Fault::new(title, &self.value_of(step, "once"), label)
            .help("add  check = { run = '…', equals = \"…\" }  and semel looks for itself");
        self.note(&ONCE_BLIND, id, fault);
    }

    pub(super) fn secret_param(&mut self, param: &Param) {
        let is_empty = matches!(&param.value, ParamValue::Given(value) if value.is_empty());
        if is_secret(&param.name) && !is_empty {
            let title = format!("parameter `{}` looks like a secret, and is kept", param.name);
            let span = self.places.key(&["params", &param.name]).unwrap_or(param.span.clone());
            let fault = Fault::new(title, &span, "kept in the manifest, and shown")
                .help("name the variable in the steps that use it:  secret-env = [\"…\"]");
            self.say(&KEPT_SECRET, Level::Warning, None, fault);
        }
    }

    pub(super) fn secret_variables(&mut self, id: StepId, step: &Step) {
        let is_told = |name: &Name| matches!(name, Name::Param(param) if is_secret(param));
        for (name, value) in &step.env {
            if is_secret(name)
                && !value.text.is_empty()
                && !value.placeholders().any(|hole| is_told(&hole.name))
            {
                let span = self.places.key(&["step", &step.name, "env", name]);
                self.kept_variable(id, step, name, span);
            }
        }
        for name in step.env_counts.iter().filter(|name| is_secret(name)) {
            let span = self.places.element(&["step", &step.name, "env-counts"], name);
            self.kept_variable(id, step, name, span);
        }
    }

    /// A secret that stands in a command, and so is kept with its text.
    pub(super) fn secret_words(&mut self, id: StepId, step: &Step, script: &Script<'_>) {
        let found = script.simples.iter().flat_map(|simple| &simple.words).find(|word| {
            word.text.as_deref().is_some_and(|text| has_password(text) || sets_secret(text))
        });
        if let Some(word) = found {
            let span = self.place(script, &word.range, &step.span);
            let title = format!("a command of `{}` has a secret in it", step.name);
            let fault = Fault::new(title, &span, "kept in the manifest, and shown")
                .help("set a variable outside, and write  secret-env = [\"…\"]");
            self.warn(&KEPT_SECRET, id, fault);
        }
    }

    fn kept_variable(
        &mut self,
        id: StepId,
        step: &Step,
        name: &str,
        span: Option<crate::words::pipeline::Span>,
    ) {
        let title = format!("`{name}` looks like a secret, and is kept");
        let span = span.unwrap_or_else(|| step.span.clone());
        let label = "kept in the manifest, and shown";
        let fault = Fault::new(title, &span, label)
            .help(format!("set it outside, and write  secret-env = [\"{name}\"]"));
        self.warn(&KEPT_SECRET, id, fault);
    }
}

/// Whether a word is a URL with a password: `postgres://me:secret@db/x`.
pub(in crate::thought) fn has_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let host = rest.split(['/', '?']).next().unwrap_or("");
    host.rsplit_once('@')
        .and_then(|(user, _)| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty())
}

/// Whether a word sets a variable that looks like a secret.
fn sets_secret(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, value)| {
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name && is_secret(name) && !value.is_empty()
    })
}

/// Whether a name is that of a secret: `API_TOKEN`, not `MAX_TOKENS`, and not the
/// `TOKEN_FILE` that holds one.
pub(in crate::thought) fn is_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    let parts: Vec<_> = name.split(['_', '-']).collect();
    match parts.as_slice() {
        [.., "MYSQL", "PWD"] => true,
        [
            ..,
            "TOKEN" | "PASSWORD" | "PASSWD" | "PASSPHRASE" | "SECRET" | "APIKEY" | "PGPASSWORD",
        ] => true,
        [.., kind, "KEY"] => matches!(
            *kind,
            "API" | "ACCESS" | "SECRET" | "PRIVATE" | "SIGNING" | "ENCRYPTION" | "AUTH"
        ),
        _ => false,
    }
}
