//! A wrong value of any key, and keys that contradict one another: an error with
//! its place and its cure, exit status 2, and nothing is changed.

use std::fmt::Write as _;

use super::pipeline;

/// What stands before the lines of a case.
const AROUND: &str = "[params]\nmonth = '01'\n[step.made]\nout = 'm'\nrun = 'x {{ out }}'\n[step.rows]\neach = { csv = 'r.csv' }\nrun = 'x {{ item.a }}'\n";

/// Runs a pipeline that is in error. What is wrong with that, if anything.
fn complaint(text: &str, says: &str) -> Option<String> {
    let scratch = pipeline(text);
    scratch.sh("mkdir x; echo 1 > x/1; echo a > r.csv; echo 1 >> r.csv; touch list");
    let before = scratch.snapshot();
    let mut wrong = String::new();
    for verb in ["run", "plan"] {
        let ran = scratch.semel(verb);
        if ran.status != 2 {
            let _ = writeln!(wrong, "`{verb}` exits {}", ran.status);
        }
        if !ran.stderr.contains("semel.toml:") {
            let _ = writeln!(wrong, "`{verb}` names no place");
        }
        if !ran.stderr.contains(says) {
            let _ = writeln!(wrong, "`{verb}` does not say {says:?}: {}", ran.stderr);
        }
        if ran.stderr.contains("panicked") {
            let _ = writeln!(wrong, "`{verb}` panics");
        }
    }
    if scratch.has(".semel") || scratch.snapshot() != before {
        wrong.push_str("something was changed\n");
    }
    (!wrong.is_empty()).then(|| format!("of\n{text}\n{wrong}"))
}

/// Holds every case against what must be said of it; all complaints at once.
#[track_caller]
pub(super) fn each(cases: &[(&str, &str)], whole: impl Fn(&str) -> String + Sync) {
    let found: Vec<_> = std::thread::scope(|scope| {
        let whole = &whole;
        let parts = cases.chunks(cases.len().div_ceil(4).max(1));
        let threads: Vec<_> = parts
            .map(|part| {
                scope.spawn(move || {
                    part.iter()
                        .filter_map(|(lines, says)| complaint(&whole(lines), says))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(found.is_empty(), "{} of {} cases:\n{}", found.len(), cases.len(), found.join("\n"));
}

fn step(lines: &str) -> String {
    format!("{AROUND}[step.tested]\n{lines}\n")
}

#[test]
fn a_wrong_value_of_each_key_of_the_file() {
    let cases = [
        ("about = 3", "`about` wants"),
        ("about = ''", "`about` is empty"),
        ("params = 3", "`params` wants"),
        ("params = { p = [1] }", "`p` wants"),
        ("params = { 'a b' = 1 }", "cannot be a name"),
        ("params = { p = {} }", "parameter `p` has no value"),
        ("params = { p = { required = false } }", "parameter `p` has no value"),
        ("params = { p = { required = 'yes' } }", "`required` wants"),
        ("params = { p = { required = true, value = 1 } }", "parameter `p` has two sources"),
        ("params = { p = { command = 'x', value = 1 } }", "parameter `p` has two sources"),
        ("params = { p = { command = 3 } }", "`command` wants"),
        ("params = { p = { command = '' } }", "`command` is empty"),
        ("params = { p = { command = [] } }", "a command without words"),
        ("params = { p = { vale = 1 } }", "did you mean `value`?"),
        ("params = { p = { value = [] } }", "`value` wants"),
        ("params = { p = { command = 'x {{ params.q }}' } }", "{{ params.q }}"),
        ("params = { p = { command = 'x {{ item }}' } }", "{{ item }}"),
        ("params = { p = { command = 'x {{ run.id }}' } }", "{{ run.id }}"),
        ("params = { p = { value = 1, about = 3 } }", "`about` wants"),
        ("per = 3", "`per` wants"),
        ("per = ['nope']", "there is no parameter `nope`"),
        ("per = ['']", "empty"),
        ("jobs = 0", "`jobs` wants"),
        ("jobs = -1", "`jobs` wants"),
        ("jobs = 1.5", "`jobs` wants"),
        ("order = 'files'", "an unknown word"),
        ("order = true", "`order` wants"),
        ("timeout = 'soon'", "`timeout` wants"),
        ("timeout = '0s'", "`timeout`"),
        ("timeout = 30", "`timeout` wants"),
        ("timeout = '-3s'", "`timeout` wants"),
        ("timeout = '99999999999999999999d'", "`timeout` wants"),
        ("durability = 'none'", "an unknown word"),
        ("durability = false", "`durability` wants"),
        ("shell = 'fish -c'", "not a shell"),
        ("shell = []", "shell"),
        ("shell = ''", "shell"),
        ("shell = 3", "`shell` wants"),
        ("shell = 'bash \"'", "shell"),
        ("prelude = 3", "`prelude` wants"),
        ("prelude = ''", "`prelude` is empty"),
        ("prelude = \"a\\nb\"", "a prelude of several lines"),
        ("prelude = 'x {{ params.p }}'", "a prelude is a line as it is"),
        ("finally = 'x'", "`finally` wants"),
        ("finally = {}", "does nothing"),
        ("finally = { run = '' }", "`run` is empty"),
        ("finally = { run = 3 }", "`run` wants"),
        ("finally = { run = 'x {{ item }}' }", "{{ item }}"),
        ("finally = { run = 'x {{ out }}' }", "{{ out }}"),
        ("finally = { run = 'x {{ params.nope }}' }", "nope"),
        ("finally = { run = 'x \"{{ run.id }}\"' }", "a placeholder inside quotes"),
        ("finally = { run = 'x', timeout = 'soon' }", "`timeout` wants"),
        ("finally = { run = 'x', timeout = '0s' }", "`timeout`"),
        ("finally = { rum = 'x' }", "did you mean `run`?"),
        ("on-failure = { timeout = '3s' }", "does nothing"),
        ("on-success = []", "`on-success` wants"),
        ("on-sucess = { run = 'x' }", "did you mean `on-success`?"),
        ("onfailure = { run = 'x' }", "did you mean `on-failure`?"),
        ("step = 3", "`step` wants"),
        ("name = 'twice'", "duplicate key"),
    ];
    each(&cases, |lines| {
        let rest = if lines.starts_with("step") { "" } else { "[step.a]\nrun = 'x'\n" };
        format!("{lines}\n{rest}")
    });
}

#[test]
fn a_wrong_value_of_each_key_of_a_step() {
    let cases = [
        ("run = 3", "`run` wants"),
        ("run = { a = 1 }", "`run` wants"),
        ("run = [1]", "wants"),
        ("run = ['']\nabout = ''", "empty"),
        ("run = 'x'\nabout = []", "`about` wants"),
        ("run = 'x'\nin = 3", "`in` wants"),
        ("run = 'x'\nin = ''", "empty"),
        ("run = 'x'\nin = { outputs-of = 'nope' }", "there is no step `nope`"),
        ("run = 'x'\nin = ['a', 3]", "wants"),
        ("run = 'x'\ndigest = 'md5'\nin = 'x/1'", "an unknown word"),
        ("run = 'x'\ndigest = true\nin = 'x/1'", "`digest` wants"),
        ("run = 'x'\ndigest = 'stat'", "`digest` without files"),
        ("run = 'x'\nout = 3", "`out` wants"),
        ("run = 'x'\nout = ['']", "empty"),
        ("run = 'x {{ out }}'\nout = []", "out"),
        ("run = 'x'\nin-place = 'yes'\nout = 'o'", "an unknown word"),
        ("run = 'x'\nin-place = 3\nout = 'o'", "`in-place` wants"),
        ("run = 'x'\nin-place = true", "`in-place` without `out`"),
        ("run = 'x'\nin-place = 'no-backup'\nout = 'o'", "without `cleanup`"),
        ("run = 'x'\nneeds = 3", "`needs` wants"),
        ("run = 'x'\nneeds = ['mode']", "did you mean `made`?"),
        ("run = 'x'\nafter = ['tested']", "waits for itself"),
        ("run = 'x'\nonce = 'true'", "`once` wants"),
        ("run = 'x'\nonce = true\nsafe-exits = 256", "`safe-exits` wants"),
        ("run = 'x'\nonce = true\nsafe-exits = 'x'", "`safe-exits` wants"),
        ("run = 'x {{ out }}'\nout = 'o'\nexpect = { rows = -1 }", "`rows` wants"),
        ("run = 'x {{ out }}'\nout = 'o'\nexpect = { row = 1 }", "did you mean `rows`?"),
        ("run = 'x {{ out }}'\nout = 'o'\nexpect = { bytes = '> x' }", "`bytes` wants"),
        ("run = 'x {{ out }}'\nout = 'o'\nexpect = { same-rows-as = 'out' }", "an unknown word"),
        ("run = 'x {{ out }}'\nout = 'd/'\nexpect = { rows = 1 }", "`rows` of a folder"),
        (
            "run = 'x {{ out }}'\nin = 'x/1'\nout = ['o', 'd/']\nexpect = { same-rows-as = 'in' }",
            "`same-rows-as` of a folder",
        ),
        ("run = 'x'\nversion = []", "`version` wants"),
        ("run = 'x'\nmax-age = 'soon'", "`max-age` wants"),
        ("run = 'x'\nmax-age = 0", "`max-age` wants"),
        ("run = 'x'\nmax-age = ''", "`max-age`"),
        ("run = 'x'\nmax-age = '1h'\nonce = true", "`once` with `max-age`"),
        ("run = 'x'\ndeterministic = 'no'", "`deterministic` wants"),
        ("run = 'x'\ndeterministic = false", "`deterministic = false` without `out`"),
        ("run = 'x'\neach = 'x/*'\nsame = true", "`same` wants"),
        ("run = 'x'\nper = ['nope']", "there is no parameter `nope`"),
        ("run = 'x'\nenv = ['A']", "`env` wants"),
        ("run = 'x'\nenv = { A = 3 }", "`A` wants"),
        ("run = 'x'\nenv-counts = ['A=B']", "cannot be a variable"),
        ("run = 'x'\nsecret-env = ['A=B']", "cannot be a variable"),
        ("run = 'x'\nsecret-env = 3", "`secret-env` wants"),
        ("run = 'x'\nsecret-env = ['']", "empty"),
        ("run = 'x'\nsecret-env = ['A']\nenv-counts = ['A']", "is a secret, and counts"),
        ("run = 'x {{ env.A }}'\nsecret-env = ['A']", "env.A"),
        ("run = 'x'\nretry = -1", "`retry` wants"),
        ("run = 'x'\nretry = 'x'", "`retry` wants"),
        ("run = 'x'\nretry = { tims = 1 }", "did you mean `times`?"),
        ("run = 'x'\nretry = { times = 1, wait = 'x' }", "`wait` wants"),
        ("run = 'x'\ntimeout = 3", "`timeout` wants"),
        ("run = 'x'\ntimeout = '0s'", "`timeout`"),
        ("run = 'x'\ncleanup = 3", "`cleanup` wants"),
        ("run = 'x'\ncleanup = ''", "`cleanup` is empty"),
        ("run = 'x'\ncleanup = 'rm {{ item }}'", "{{ item }}"),
        ("run = 'x'\ncleanup = 'rm {{ out }}'", "{{ out }}"),
        ("run = 'x'\ncleanup = 'rm \"{{ run.id }}\"'", "inside quotes"),
        ("run = 'x'\ncleanup = 'y'\nonce = true", "`once` with `cleanup`"),
        ("run = 'x'\nout = 'o'\nin-place = true\nonce = true", "`once` with `in-place`"),
        ("run = 'x'\njobs = 0", "`jobs` wants"),
        ("run = 'x'\neach = { lines = 'list' }\nmax-failures = 0", "`max-failures` wants"),
        ("run = 'x'\neach = { lines = 'list' }\nmax-failures = 'x'", "`max-failures` wants"),
        ("run = 'x'\nmax-failures = 1", "`max-failures` without `each`"),
        ("run = 'x'\nordered = true", "`ordered` without `each`"),
        ("run = 'x'\neach = { lines = 'list' }\nordered = 'x'", "`ordered` wants"),
        ("run = 'x'\neach = { lines = 'list' }\nordered = true\njobs = 2", "`ordered` with `jobs`"),
        ("run = 'x'\ndir = 3", "`dir` wants"),
        ("run = 'x'\ndir = ''", "`dir` is empty"),
        ("run = 'x'\ndir = '{{ run.id }}'", "{{ run.id }}"),
        ("run = 'x'\ndir = '{{ out }}'", "{{ out }}"),
        ("run = 'x'\nshell = 'python3 -c'", "not a shell"),
        ("run = 'x'\nprelude = \"a\\nb\"", "a prelude of several lines"),
        ("run = ['x']\nprelude = 'y'", "`prelude` without a shell"),
        ("run = 'x'\nwas = 3", "was"),
        ("run = 'x {{ in.list }}'", "{{ in.list }}"),
        ("run = 'x {{ in.lst }}'\nin = 'x/1'", "in.lst"),
    ];
    each(&cases, step);
}

#[test]
fn a_wrong_list() {
    let cases = [
        ("each = 3", "`each` wants"),
        ("each = []", "`each` wants"),
        ("each = ''", "empty"),
        ("each = {}", "`each` names no items"),
        ("each = { empty = 'ok' }", "`each` names no items"),
        ("each = { lines = 'a', csv = 'b' }", "`each` has two sources"),
        ("each = { lines = 'list', empty = 'yes' }", "an unknown word"),
        ("each = { lines = 'list', shrink = true }", "`shrink` wants"),
        ("each = { lines = 'list', name = 'a' }", "`name` without rows"),
        ("each = { csv = 'r.csv', name = '' }", "empty"),
        ("each = { csv = 'r.csv', name = 3 }", "`name` wants"),
        ("each = { csv = '' }", "empty"),
        ("each = { json = 3 }", "`json` wants"),
        ("each = { command = 3 }", "`command` wants"),
        ("each = { command = '' }", "`command` is empty"),
        ("each = { command = 'x {{ item }}' }", "{{ item }}"),
        ("each = { command = 'x {{ in }}' }", "{{ in }}"),
        ("each = { command = 'x \"{{ params.month }}\"' }", "inside quotes"),
        ("each = { files-from = ['a'] }", "`files-from` wants"),
        ("each = { file-from = 'a' }", "did you mean `files-from`?"),
        ("each = { item-of = 'made' }", "did you mean `items-of`?"),
        ("each = { items-of = 'made' }", "step `made` has no items"),
        ("each = { items-of = 'nope' }", "there is no step `nope`"),
        ("each = { items-of = 'tested' }", "waits for itself"),
        ("each = { outputs-of = 'rows' }", "step `rows` has no outputs"),
        ("each = { items-of = 'rows', name = 'a' }", "`name` without rows"),
        ("each = { items-of = 'rows' }\nsame = 'content'", "`same` without files"),
        ("each = { csv = 'list' }\nsame = 'content'", "`same` without files"),
        ("each = { csv = '{{ item }}' }", "{{ item }}"),
        ("each = { files-from = 'list' }", "two files of equal content"),
        ("each = { lines = 'list' }\nin = 'x/{{ item.a }}'", "item.a"),
    ];
    each(&cases, |lines| step(&format!("run = 'x'\n{lines}")));
    let cases = [
        ("each = { lines = 'list' }\nrun = 'x {{ item.port }}'", "item.port"),
        ("each = { command = 'x' }\nrun = 'x {{ item.port }}'", "item.port"),
        ("each = 'x/*'\nout = 'o/{{ item.port }}'\nrun = 'x {{ out }}'", "item.port"),
        (
            "each = { csv = 'r.csv' }\nout = 'o'\nrun = 'x {{ out }}'",
            "every item would write the same output",
        ),
    ];
    each(&cases, step);
}

#[test]
fn a_wrong_check() {
    let cases = [
        ("check = 3", "`check` wants"),
        ("check = ''", "empty"),
        ("check = {}", "a check without a command"),
        ("check = { run = 'x', eqals = 'y' }", "did you mean `equals`?"),
        ("check = { run = 'x', equals = 3 }", "`equals` wants"),
        ("check = { equals = 't' }", "a check without a command"),
        ("check = { run = 'x', file = 'y' }", "a check that asks two things"),
        ("check = { file = 'y' }", "a file without a digest"),
        ("check = { file = 'y', sha256 = 'abc' }", "not a SHA-256"),
        ("check = { sha256 = 'abc' }", "`sha256` without `file`"),
        ("check = { run = 'x', within = 3 }", "`within` wants"),
        ("check = { run = 'x', within = 'soon' }", "`within` wants"),
        ("check = { run = 'x', timeout = '0s' }", "`timeout`"),
        ("check = { run = 'x', retry = 'x' }", "`retry` wants"),
        ("check = { run = 'x', max-age = 'x' }", "`max-age` wants"),
        ("check = { run = 'x', all = true }", "`all` without `each`"),
        ("check = { run = 'x', all = 'yes' }", "`all` wants"),
        (
            "each = { lines = 'list' }\ncheck = { run = 'x', equals = 'y', all = true }",
            "`all` with `equals`",
        ),
        ("each = { lines = 'list' }\ncheck = { run = 'x {{ item }}', all = true }", "{{ item }}"),
        (
            "each = { lines = 'list' }\ncheck = { file = 'x', sha256 = '73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac', all = true }",
            "`all` without `run`",
        ),
        ("once = true\ncheck = 'x'", "a definite no"),
        ("once = true\ncheck = { run = 'x' }", "a definite no"),
    ];
    each(&cases, |lines| step(&format!("run = 'x'\n{lines}")));
    let cases = [
        ("check = 'x'\nout = 'o'", "`out` in a step that is a check alone"),
        (
            "check = { run = 'x', equals = 't' }\nonce = true",
            "`once` in a step that is a check alone",
        ),
        ("check = 'x'\ncleanup = 'y'", "`cleanup` in a step that is a check alone"),
        ("check = 'x'\nmax-age = '1h'", "`max-age` in a step that is a check alone"),
        ("check = 'x'\nin-place = true\nout = 'o'", "`in-place` in a step that is a check alone"),
    ];
    each(&cases, step);
}

/// What means nothing beside something else, though each key is right by itself.
#[test]
fn keys_that_do_nothing_beside_others() {
    let cases = [
        // Nothing is tried again where there is no command; `check` has its own.
        ("check = 'x'\nretry = 3", "`retry` in a step that is a check alone"),
        ("check = 'x'\ntimeout = '3s'", "`timeout` in a step that is a check alone"),
        ("check = 'x'\nsafe-exits = 3", "safe-exits"),
        // The first pause is already longer than the longest.
        ("run = 'x'\nretry = { times = 3, up-to = '1s', wait = '5s' }", "up-to"),
        ("run = 'x'\nretry = { wait = '1s' }", "times"),
        // Nothing is expected.
        ("run = 'x {{ out }}'\nout = 'o'\nexpect = {}", "expect"),
    ];
    each(&cases, step);
}

/// The messages themselves.
#[test]
fn what_is_said_of_wrong_keys() {
    let scratch = pipeline(
        "order = 'files'\ntimeout = '0s'\nprelude = 'x {{ item }}'\n[params]\nmonth = { required = true, value = '01' }\nday = {}\n[step.deploy]\neach = { items-of = 'fetch', name = 'host' }\nordered = true\njobs = 4\nsecret-env = ['TOKEN']\nrun = 'curl -H {{ env.TOKEN }} {{ item }}'\n[step.fetch]\nmax-age = 'daily'\nrun = 'x'\n[on-failure]\ntimeout = '3s'\n",
    );
    insta::assert_snapshot!("file", scratch.semel("run").exits(2).shown());
    let scratch = pipeline(
        "[step.pay]\nonce = true\nmax-age = '1d'\ncleanup = 'undo'\nin-place = true\nout = 'ledger'\nrun = 'pay'\n[step.big]\nin-place = 'no-backup'\nout = 'big.db'\nrun = 'x'\n[step.gate]\ncheck = { file = 'flag' }\nout = 'o'\n[step.all]\neach = { lines = 'l' }\ncheck = { run = 'ls', all = true, equals = 't' }\nrun = 'x'\n[step.few]\nmax-failures = 2\nrun = 'x'\n[step.stat]\ndigest = 'stat'\ndeterministic = false\nrun = 'x'\n",
    );
    insta::assert_snapshot!("together", scratch.semel("run").exits(2).shown());
    let scratch = pipeline(
        "[step.a]\neach = { csv = 'l.csv', json = 'l.json' }\nrun = 'x'\n[step.b]\neach = { lines = 'l', name = 'x' }\nprelude = 'module load x'\nrun = ['x', '{{ item.port }}']\n[step.c]\neach = { items-of = 'd' }\nrun = 'x'\n[step.d]\nrun = 'x {{ in.list }}'\n",
    );
    insta::assert_snapshot!("lists", scratch.semel("run").exits(2).shown());
}
