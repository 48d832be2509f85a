//! From text to [`Pipeline`]: the document, the drafts, the rules, the names.

use std::collections::HashMap;

use toml::Spanned;
use toml::de::DeTable;

use super::draft::{
    ActDraft, CheckDraft, CommandDraft, EachDraft, EachSourceDraft, HookDraft, InputSourceDraft,
    ParamDraft, PipelineDraft, StepDraft,
};
use super::value::{Placed, Table};
use super::{
    Action, ActionKind, CHECK_TIMEOUT, Check, Command, DEFAULT_SHELL, Database, Digested, Each,
    EachSource, Fault, HOOK_TIMEOUT, Hook, HookDoes, InPlace, Input, InputSource, Items, Load, Out,
    Param, ParamValue, Pipeline, Probe, Same, Sql, SqlText, Step, StepId, keys, rules,
};
use crate::words::call::{Calls, Rule};

pub(super) fn pipeline(text: &str) -> Result<Pipeline, Vec<Fault>> {
    let document = document(text)?;
    let mut draft = PipelineDraft::default();
    let read = keys::read(&Table::new(document.get_ref(), text), &mut draft);
    let mut faults = read.err().unwrap_or_default();
    faults.extend(rules::faults(&draft, faults.is_empty()));
    if !faults.is_empty() {
        faults.sort_by_key(|fault| fault.span.start);
        return Err(faults);
    }
    let by_file = draft.by_file;
    let pipeline = resolve(draft);
    match rules::cycle(&pipeline, by_file) {
        Some(fault) => Err(vec![fault]),
        None => Ok(pipeline),
    }
}

pub(super) fn calls(text: &str) -> Result<Vec<Rule>, Vec<Fault>> {
    let document = document(text)?;
    let mut draft = PipelineDraft::default();
    let read = keys::read_calls(&Table::new(document.get_ref(), text), &mut draft);
    let mut faults = read.err().unwrap_or_default();
    faults.extend(rules::faults_of_calls(&draft.calls));
    faults.sort_by_key(|fault| fault.span.start);
    match faults.is_empty() {
        true => Ok(draft.calls.into_iter().map(|call| call.rule).collect()),
        false => Err(faults),
    }
}

fn document(text: &str) -> Result<Spanned<DeTable<'_>>, Vec<Fault>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    match errors.is_empty() {
        true => Ok(document),
        false => Err(errors.iter().map(|error| not_toml(error, text)).collect()),
    }
}

fn not_toml(error: &toml::de::Error, text: &str) -> Fault {
    let span = error.span().unwrap_or(text.len()..text.len());
    Fault::new("this is not TOML", &span, error.message().to_owned())
}

/// The shell that texts are given to, and the line before them.
#[derive(Clone)]
struct Shell {
    words: Vec<String>,
    prelude: Option<String>,
}

impl Shell {
    fn command(&self, draft: CommandDraft) -> Command {
        match draft {
            CommandDraft::Shell(text) => Command::Shell {
                shell: self.words.clone(),
                prelude: self.prelude.clone(),
                text: text.template,
            },
            CommandDraft::Words(words) => {
                Command::Words(words.into_iter().map(|word| word.template).collect())
            }
        }
    }

    fn hook(&self, draft: HookDraft) -> Hook {
        Hook {
            does: match draft.http {
                Some(http) => HookDoes::Call(http.resolve()),
                None => HookDoes::Run(
                    self.command(draft.command.expect("the rules want a command or a call")),
                ),
            },
            timeout: draft.timeout.unwrap_or(HOOK_TIMEOUT),
            span: draft.span,
        }
    }

    fn param(&self, draft: ParamDraft) -> Param {
        let value = match (draft.value, draft.command) {
            (Some(value), _) => ParamValue::Given(value),
            (None, Some(command)) => ParamValue::Command(self.command(command)),
            (None, None) => ParamValue::Required,
        };
        Param { name: draft.name, about: draft.about, value, span: draft.span }
    }
}

/// Turns a draft without faults into a pipeline: every name stands for
/// something now.
fn resolve(draft: PipelineDraft) -> Pipeline {
    let places: HashMap<_, _> =
        draft.steps.iter().enumerate().map(|(at, step)| (step.name.clone(), StepId(at))).collect();
    let shell = Shell {
        words: draft.shell.unwrap_or_else(|| DEFAULT_SHELL.map(str::to_owned).to_vec()),
        prelude: draft.prelude.map(|line| line.what),
    };
    // The rules want it said where there are several.
    let only = draft.databases.first().map(|db| db.name.clone()).unwrap_or_default();
    let databases = draft.databases.into_iter().map(|database| Database {
        name: database.name,
        span: database.url.span,
        url: database.url.template,
    });
    let per: Vec<_> = draft.per.into_iter().map(|name| name.what).collect();
    let mut steps: Vec<_> = draft
        .steps
        .into_iter()
        .map(|step| resolve_step(step, &places, &per, &shell, &only))
        .collect();
    if draft.by_file {
        for (above, step) in steps.iter_mut().skip(1).enumerate() {
            step.after.push(StepId(above));
        }
    }
    settle_items(&mut steps);
    Pipeline {
        name: draft.name.map(|name| name.what).unwrap_or_default(),
        about: draft.about,
        params: draft.params.into_iter().map(|param| shell.param(param)).collect(),
        per,
        jobs: draft.jobs,
        timeout: draft.timeout,
        durability: draft.durability,
        databases: databases.collect(),
        steps,
        calls: draft.calls.into_iter().map(|call| call.rule).collect(),
        finally: draft.finally.map(|hook| shell.hook(hook)),
        on_failure: draft.on_failure.map(|hook| shell.hook(hook)),
        on_success: draft.on_success.map(|hook| shell.hook(hook)),
        was: draft.was.into_iter().map(|name| name.what).collect(),
        refuses_fresh_memory: draft.refuses_fresh_memory,
    }
}

/// Finds out what the items of steps are that take those of others. There may be
/// a circle, which is told later.
fn settle_items(steps: &mut [Step]) {
    for _ in 0..steps.len() {
        let known: Vec<_> =
            steps.iter().map(|step| step.each.as_ref().map(|each| each.items)).collect();
        for step in steps.iter_mut() {
            if let Some(each) = &mut step.each
                && let EachSource::ItemsOf(other) = each.source
                && let Some(items) = known[other.0]
            {
                each.items = items;
            }
        }
    }
}

fn resolve_step(
    draft: StepDraft,
    places: &HashMap<String, StepId>,
    per: &[String],
    shell: &Shell,
    only_db: &str,
) -> Step {
    let step_id = |name: &Placed<String>| {
        *places.get(&name.what).expect("the rules found every step that is named")
    };
    let shell = Shell {
        words: draft.shell.unwrap_or_else(|| shell.words.clone()),
        prelude: draft.prelude.map(|line| line.what).or_else(|| shell.prelude.clone()),
    };
    let named = draft.actions.first().and_then(|action| named_file(&action.what));
    let inputs = draft.inputs.into_iter().map(|input| Input {
        key: input.key,
        source: match input.source {
            InputSourceDraft::Files(pattern) => InputSource::Files(pattern.template),
            InputSourceDraft::OutputsOf(step) => InputSource::OutputsOf(step_id(&step)),
        },
        span: input.span,
    });
    let outs = draft.outs.into_iter().map(|out| Out {
        key: out.key,
        folder: out.path.template.text.ends_with('/'),
        span: out.path.span,
        path: out.path.template,
    });
    let action = draft.actions.into_iter().next().map(|action| Action {
        kind: resolve_act(action.what, &shell, only_db),
        span: action.span,
    });
    let ordered = draft.ordered.is_some_and(|ordered| ordered.what);
    let same = draft.same.map(|same| same.what);
    let is_migrations = is_migrations(action.as_ref(), ordered);
    let default_same = match action.as_ref().map(|action| &action.kind) {
        // Two migrations of equal text are two.
        _ if ordered => Some(Same::NameAndContent),
        // Rows that are there need not be there twice.
        Some(ActionKind::Load(_)) => Some(Same::Content),
        _ => None,
    };
    Step {
        name: draft.name,
        span: draft.span,
        about: draft.about,
        per: draft
            .per
            .map_or_else(|| per.to_vec(), |per| per.into_iter().map(|name| name.what).collect()),
        each: draft.each.map(|each| resolve_each(each, &shell, &step_id)),
        inputs: inputs.chain(named).collect(),
        digest: draft.digest.map_or(Digested::Content, |digest| digest.what),
        outs: outs.collect(),
        in_place: draft.in_place.map_or(InPlace::No, |place| place.what),
        action,
        calls: draft.calls.map_or(Calls::Free, |calls| calls.what),
        cleanup: draft.cleanup.map(|cleanup| shell.command(cleanup.what)),
        dir: draft.dir.map(|dir| dir.template),
        needs: draft.needs.iter().map(&step_id).collect(),
        after: draft.after.iter().map(&step_id).collect(),
        check: draft.check.map(|check| resolve_check(check, &shell, only_db)),
        once: draft.once || is_migrations,
        safe_exits: draft.safe_exits.map(|exits| exits.what).unwrap_or_default(),
        expect: draft.expect,
        version: draft.version,
        max_age: draft.max_age.map(|age| age.what),
        deterministic: draft.deterministic.is_none_or(|yes| yes.what),
        same: same.or(default_same),
        env: draft.env.into_iter().map(|(name, value)| (name, value.template)).collect(),
        env_counts: draft.env_counts,
        secret_env: draft.secret_env.into_iter().map(|name| (name.what, name.span)).collect(),
        retry: draft.retry.map(|retry| retry.what).unwrap_or_default(),
        timeout: draft.timeout.map(|timeout| timeout.what),
        jobs: draft.jobs.map(|jobs| jobs.what),
        max_failures: draft.max_failures.map(|most| most.what),
        ordered,
        was: draft.was.into_iter().map(|name| name.what).collect(),
        runs_in: None,
        script: None,
        written: None,
    }
}

fn resolve_each(
    draft: EachDraft,
    shell: &Shell,
    step_id: &dyn Fn(&Placed<String>) -> StepId,
) -> Each {
    let source = draft.sources.into_iter().next().expect("the rules want one source").what;
    let (source, items) = match source {
        EachSourceDraft::Files(text) => (EachSource::Files(text.template), Items::Files),
        EachSourceDraft::FilesFrom(text) => (EachSource::FilesFrom(text.template), Items::Files),
        EachSourceDraft::Lines(text) => (EachSource::Lines(text.template), Items::Values),
        EachSourceDraft::Csv(text) => (EachSource::Csv(text.template), Items::Rows),
        EachSourceDraft::Json(text) => (EachSource::Json(text.template), Items::Rows),
        EachSourceDraft::Command(command) => {
            (EachSource::Command(shell.command(command)), Items::Values)
        }
        EachSourceDraft::OutputsOf(step) => (EachSource::OutputsOf(step_id(&step)), Items::Files),
        EachSourceDraft::ItemsOf(step) => (EachSource::ItemsOf(step_id(&step)), Items::Values),
    };
    Each {
        source,
        items,
        name: draft.name.map(|name| name.what),
        span: draft.span,
        may_be_empty: draft.may_be_empty,
        may_shrink: draft.may_shrink,
    }
}

/// Migrations are done once each, in order: one that was done and is edited, or that
/// comes too late, is refused.
fn is_migrations(action: Option<&Action>, ordered: bool) -> bool {
    let Some(ActionKind::Sql(sql)) = action.map(|action| &action.kind) else {
        return false;
    };
    ordered && matches!(&sql.text, SqlText::File(file) if file.names_item())
}

/// The file that a load or a call names: an input, if it is not the item.
fn named_file(action: &ActDraft) -> Option<Input> {
    let file = match action {
        ActDraft::Load(load) => load.file.as_ref()?,
        ActDraft::Http(http) => http.file()?,
        ActDraft::Command(_) | ActDraft::Sql(_) => return None,
    };
    let is_item = file.template.text.trim_start_matches(['{', ' ']).trim_end_matches(['}', ' ']);
    let input = Input {
        key: None,
        source: InputSource::Files(file.template.clone()),
        span: file.span.clone(),
    };
    (is_item != "item").then_some(input)
}

fn resolve_act(draft: ActDraft, shell: &Shell, only_db: &str) -> ActionKind {
    let db = |db: Option<Placed<String>>| db.map_or_else(|| only_db.to_owned(), |db| db.what);
    match draft {
        ActDraft::Command(command) => ActionKind::Command(shell.command(command)),
        ActDraft::Sql(sql) => ActionKind::Sql(Sql {
            db: db(sql.db),
            text: match (sql.text, sql.file) {
                (Some(text), _) => SqlText::Inline(text.template),
                (None, file) => {
                    SqlText::File(file.expect("the rules want a text or a file").template)
                }
            },
        }),
        ActDraft::Load(load) => ActionKind::Load(Load {
            db: db(load.db),
            into: load.into.expect("the rules want a table").template,
            file: load.file.map(|file| file.template),
            format: load.format,
            packing: load.packing,
            columns: load.columns,
            replaces_all: load.replaces_all.is_some_and(|all| all.what),
            tag: load.tag.map(|tag| tag.what),
            replace_where: load.replace_where.map(|text| text.template),
        }),
        ActDraft::Http(http) => ActionKind::Http(http.resolve()),
    }
}

fn resolve_check(draft: CheckDraft, shell: &Shell, only_db: &str) -> Check {
    let answers_for_all = draft.answers_for_all();
    let probe = match (draft.sql, draft.command, draft.file, draft.sha256) {
        (Some(query), ..) => Probe::Sql {
            db: draft.db.map_or_else(|| only_db.to_owned(), |db| db.what),
            query: query.template,
        },
        (None, None, Some(file), Some(sha256)) => {
            Probe::File { path: file.template, sha256: sha256.template }
        }
        (None, command, ..) => {
            let command = shell.command(command.expect("the rules want a command or a file"));
            match answers_for_all {
                true => Probe::All(command),
                false => Probe::Command { command, equals: draft.equals.map(|text| text.template) },
            }
        }
    };
    Check {
        probe,
        within: draft.within.unwrap_or_default(),
        timeout: draft.timeout.unwrap_or(CHECK_TIMEOUT),
        retry: draft.retry.unwrap_or_default(),
        max_age: draft.max_age,
        span: draft.span,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::words::pipeline::{Bound, Relation, Same};
    use crate::words::template::Template;

    /// The faults of a file: their titles, and what they underline.
    fn faults(text: &str) -> Vec<(String, String)> {
        let faults = pipeline(text).expect_err("the file has faults");
        faults.into_iter().map(|fault| (fault.title, text[fault.span].to_owned())).collect()
    }

    /// The only fault of a step with these lines.
    fn fault_of(lines: &str) -> (String, String) {
        let text = format!(
            "name = 'test'\n[params]\nmonth = '01'\n[step.other]\nrun = 'true'\n[step.made]\nout = 'm'\nrun = 'x {{{{ out }}}}'\n[step.tested]\n{lines}\n"
        );
        let faults = faults(&text);
        assert_eq!(faults.len(), 1, "one fault is wanted of\n{lines}\n{faults:?}");
        faults.into_iter().next().expect("there is one")
    }

    #[test]
    fn every_key_is_read() {
        let text = r#"
name  = "nightly"
per   = ["month"]
jobs  = 4
shell = "dash -e -c"

[params]
month = "2013-01"
limit = 3

[step.clean]
each       = "raw/{{ params.month }}-*.csv"
in         = { rates = "rates/*.csv" }
out        = { good = "clean/{{ item.stem }}.csv", bad = "bad/{{ item.stem }}.csv" }
run        = 'python3 clean.py {{ item }} {{ in.rates }} {{ out.good }} {{ out.bad }}'
version    = 2
env        = { LIMIT = "{{ params.limit }}" }
env-counts = "LANG"
expect     = { rows = ">= 1", bytes = "< 1_000", same-rows-as = "in" }
retry      = { times = 2, wait = "10ms", up-to = "1s" }
timeout    = "1m30s"
jobs       = 2

[step.send]
each  = { outputs-of = "clean", empty = "ok", shrink = "ok" }
same  = "name+content"
run   = ["send", "{{ item }}", "--month", "{{ params.month }}"]
check = { run = "sent", equals = "t" }
once  = true
safe-exits = [75]

[step.report]
in    = [{ outputs-of = "clean" }, "head.txt"]
needs = "send"
after = ["hosts"]
out   = "report-{{ params.month }}/"
run   = "cat {{ in }} > {{ out }}/all.txt"

[step.hosts]
each = { lines = "hosts.txt" }
per  = []
run  = "ping {{ item }}"
"#;
        let pipeline = pipeline(text).expect("a good file");
        assert_eq!(pipeline.name, "nightly");
        assert!(matches!(&pipeline.params[1].value, ParamValue::Given(value) if value == "3"));
        let [clean, send, report, hosts] = &pipeline.steps[..] else {
            panic!("four steps");
        };
        assert_eq!(clean.outs[1].key.as_deref(), Some("bad"));
        assert!(report.outs[0].folder && !clean.outs[0].folder);
        assert_eq!(clean.version.as_deref(), Some("2"));
        assert_eq!(clean.timeout, Some(Duration::from_secs(90)));
        assert_eq!((clean.retry.times, clean.retry.wait), (2, Duration::from_millis(10)));
        let expect = clean.expect.as_ref().expect("it expects something");
        let bound = Bound { relation: Relation::LessThan, number: 1000 };
        assert_eq!((expect.bytes, expect.same_rows_as_in), (Some(bound), true));
        assert!(matches!(clean.command(),
                Some(Command::Shell { shell, .. }) if shell[0] == "dash"));
        assert!(matches!(
            send.each.as_ref().map(|each| &each.source),
            Some(EachSource::OutputsOf(StepId(0)))
        ));
        assert_eq!(
            (send.same, send.once, &send.safe_exits[..]),
            (Some(Same::NameAndContent), true, &[75][..])
        );
        assert_eq!(report.upstream().collect::<Vec<_>>(), [StepId(0), StepId(1), StepId(3)]);
        assert_eq!((report.per.len(), hosts.per.len()), (1, 0));
        assert!(matches!(&hosts.each.as_ref().expect("it fans out").source,
            EachSource::Lines(path) if *path == Template::plain("hosts.txt")));
    }

    #[test]
    fn what_is_not_toml_is_shown_where_it_is() {
        let (title, at) = &faults("name = 'a'\nstep.x = = 3\n")[0];
        assert_eq!((title.as_str(), at.as_str()), ("this is not TOML", "="));
    }

    #[test]
    fn all_faults_are_reported_at_once_in_their_order() {
        let text = "nam = 'a'\njobs = 'many'\n[step.one]\nneeds = ['tow']\nrum = 'x'\n[step.two]\nrun = 'echo \"{{ item }}\"'\n";
        let titles: Vec<_> = faults(text).into_iter().map(|(title, _)| title).collect();
        assert_eq!(
            titles,
            [
                "`nam` is not a key of a pipeline",
                "`jobs` wants a whole number from 1 to 100000",
                "there is no step `tow`",
                "`rum` is not a key of a step",
                "a placeholder without a value",
                "a placeholder inside quotes",
            ]
        );
    }

    #[test]
    fn each_rule_names_what_contradicts_it() {
        let cases = [
            ("run = ''", "`run` is empty", "''"),
            (
                "out = 'x'\nrun = 'cp {{ out }} {{ itm }}'",
                "a placeholder that says nothing",
                "{{ itm }}",
            ),
            ("run = 'cp {{ item }}'", "a placeholder without a value", "{{ item }}"),
            ("run = 'cp {{ in }}'", "a placeholder without a value", "{{ in }}"),
            ("run = 'cp {{ out.a }}'", "a placeholder without a value", "{{ out.a }}"),
            ("run = 'cp {{ env.A }}'", "a placeholder without a value", "{{ env.A }}"),
            ("run = 'cp {{ params.yaer }}'", "there is no parameter `yaer`", "{{ params.yaer }}"),
            (
                "run = 'x'\neach = { lines = 'l{{ item }}' }",
                "a placeholder without a value",
                "{{ item }}",
            ),
            (
                "run = 'x {{ item.stem }}'\neach = { lines = 'l' }",
                "a placeholder without a value",
                "{{ item.stem }}",
            ),
            (
                "run = '''\n  x '{{ params.month }}' '''",
                "a placeholder inside quotes",
                "{{ params.month }}",
            ),
            (
                "run = \"\\tx '{{ params.month }}'\"",
                "a placeholder inside quotes",
                "\"\\tx '{{ params.month }}'\"",
            ),
            (
                "run = 'x # {{ params.month }}'",
                "a placeholder inside a comment",
                "{{ params.month }}",
            ),
            ("version = 1", "step `tested` does nothing", "tested"),
            ("run = 'x'\nneeds = ['tested']", "step `tested` waits for itself", "'tested'"),
            ("run = 'x'\nin = { outputs-of = 'other' }", "step `other` has no outputs", "'other'"),
            ("run = 'x'\neach = {}", "`each` names no items", "{}"),
            (
                "run = 'x'\neach = { lines = 'a', outputs-of = 'made' }\nsame = 'content'",
                "`each` has two sources",
                "'made'",
            ),
            (
                "run = 'x'\neach = '*.csv'",
                "two files of equal content: what are they to `tested`?",
                "'*.csv'",
            ),
            ("run = 'x'\nsame = 'content'", "`same` without files", "'content'"),
            ("run = 'x'\nsame = 'contents'", "an unknown word", "'contents'"),
            ("run = 'x'\nout = 'o'", "an output that the command does not know of", "'o'"),
            (
                "run = 'x {{ out }}'\nout = 'o'\neach = 'i/*'",
                "every item would write the same output",
                "'o'",
            ),
            (
                "run = 'x {{ out }}'\nout = 'o'\nper = ['month']",
                "every instance would write the same output",
                "'o'",
            ),
            ("run = 'x {{ out }}'\nout = ['o', 'o']", "the same output twice", "'o'"),
            ("run = 'x'\nexpect = { rows = 1 }", "`expect` without `out`", "{ rows = 1 }"),
            (
                "run = 'x {{ out }}'\nout = 'o'\nexpect = { rows = 'few' }",
                "`rows` wants a condition such as \">= 1\"",
                "'few'",
            ),
            (
                "run = 'x {{ out }}'\nout = 'o'\nexpect = { same-rows-as = 'in' }",
                "`same-rows-as = \"in\"` without inputs",
                "{ same-rows-as = 'in' }",
            ),
            ("run = 'x'\nsafe-exits = 3", "`safe-exits` without `once`", "3"),
            (
                "run = 'x'\nonce = true\nsafe-exits = 0",
                "`safe-exits` wants exit statuses from 1 to 255",
                "0",
            ),
            ("run = 'x'\nonce = true\ncheck = 'y'", "a `once` step wants a definite no", "'y'"),
            (
                "run = 'x {{ params.month }}'\nonce = true",
                "`tested` is done once for all values of `month`",
                "{{ params.month }}",
            ),
            (
                "run = 'x'\ncheck = { equals = 't' }",
                "a check without a command",
                "{ equals = 't' }",
            ),
            (
                "run = 'x'\ntimeout = 'soon'",
                "`timeout` wants a length of time such as \"90s\", \"1m30s\" or \"24h\"",
                "'soon'",
            ),
            ("run = 'x'\nper = ['mont']", "there is no parameter `mont`", "'mont'"),
            ("run = []", "a command without words", "[]"),
            ("run = 'x'\nenv = { 'A=B' = '' }", "`A=B` cannot be a variable", "'A=B'"),
            ("run = 'x'\nonce = 'yes'", "`once` wants `true` or `false`", "'yes'"),
        ];
        for (lines, title, at) in cases {
            assert_eq!(fault_of(lines), (title.to_owned(), at.to_owned()), "of\n{lines}");
        }
    }

    #[test]
    fn a_misspelt_table_of_inputs_is_taken_for_keys() {
        let (title, at) = fault_of("run = 'cat {{ in }}'\nin = [{ outputs-off = 'made' }]");
        assert_eq!(
            (title.as_str(), at.as_str()),
            ("`outputs-off` is not a key of an input", "outputs-off")
        );
    }

    #[test]
    fn a_circle_is_spelled_out() {
        let text = "name = 'a'\n[step.a]\nrun = 'x'\nneeds = ['b']\n[step.b]\nrun = 'x'\nafter = ['c']\n[step.c]\nrun = 'x'\nneeds = ['a']\n[step.d]\nrun = 'x'\nneeds = ['a']\n";
        let faults = pipeline(text).expect_err("a circle");
        assert_eq!(faults[0].label, "`a` waits for `b` waits for `c` waits for `a`");
    }

    #[test]
    fn a_file_without_name_or_steps() {
        let titles: Vec<_> = faults("jobs = 1").into_iter().map(|(title, _)| title).collect();
        assert_eq!(titles, ["a pipeline without a name", "a pipeline without steps"]);
    }

    #[test]
    fn a_shell_that_quotes_otherwise_is_refused() {
        let text = "name = 'a'\nshell = 'fish -c'\n[step.a]\nrun = 'x'";
        assert_eq!(faults(text)[0].0, "not a shell that semel can quote for");
    }

    proptest::proptest! {
        /// No text makes the reader panic, and every fault stands in the text.
        #[test]
        fn any_text_is_read_or_refused(
            text in "(name = 'a'\n|\\[step\\.[ab]\\]\n|run = |needs = |out = |each = |'\\{\\{ ?(item|out|in)\\.?[a-z]? ?\\}\\}'|\\[|\\]|'[ab]'|\n|\"|\\{|\\}|=|ü){0,24}",
        ) {
            if let Err(faults) = pipeline(&text) {
                for fault in faults {
                    proptest::prop_assert!(text.get(fault.span.clone()).is_some(), "{fault:?}");
                }
            }
        }
    }
}
