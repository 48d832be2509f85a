//! `semel lint` names what looks unsafe, with its place and the line to write; it
//! looks at the file only.

use serde_json::Value;

use crate::{days, scratch};

/// A file in which much looks unsafe.
const UNSAFE: &str = r#"durability = "process"

[params]
db-password = "hunter2"

[step.fetch]
out = "rates.csv"
run = 'curl -fsSo {{ out }} https://example.com/rates.csv'

[step.count]
each = "raw/*.csv"
out  = "counts/{{ item.stem }}.txt"
run  = '''
wc -l {{ item }} > {{ out }}
echo {{ item.name }} >> counted.txt
'''

[step.first]
each = "raw/*.csv.gz"
out  = "first/{{ item.stem }}"
run  = 'zcat {{ item }} | head -1 > {{ out }}'

[step.load]
needs = ["count"]
run   = 'psql -f load.sql'
check = '''psql -Atc "select count(*) > 0 from t" | grep -x t'''

[step.report]
after = ["load", "fetch"]
out   = "report.txt"
run   = 'python3 report.py rates.csv > {{ out }}'

[step.tell]
needs = ["report"]
run   = 'curl -fsS https://chat.example.com/hook -d "$(cat report.txt)"'

[step.pay]
once  = true
retry = 3
run   = './pay.sh'
"#;

#[test]
fn each_place_is_shown_with_the_line_to_write() {
    let scratch = scratch();
    scratch.pipeline(UNSAFE);
    insta::assert_snapshot!("unsafe", scratch.semel("lint").exits(0).shown());
}

#[test]
fn it_runs_nothing_and_writes_nothing() {
    let scratch = scratch();
    scratch.pipeline(
        "params.p = { command = 'touch asked; echo x' }\n[step.a]\neach = { command = 'touch listed; echo x' }\nrun = 'echo {{ params.p }} {{ item }} > ran'\ncheck = 'touch checked'",
    );
    let before = scratch.snapshot();
    scratch.semel("lint").exits(0).says("warning[unseen-output]");
    assert_eq!(scratch.snapshot(), before);
    assert!(!scratch.has(".semel"));
}

#[test]
fn a_memory_is_left_as_it_is() {
    let scratch = days();
    scratch.semel("run").exits(0);
    let all = "select 'run', count(*) from run union all select 'attempt', count(*) from attempt union all select 'receipt', count(*) from receipt";
    let (before, files) = (scratch.query(all), scratch.snapshot());
    scratch.semel("lint").exits(0).says("appends to `trace`");
    assert_eq!((scratch.query(all), scratch.snapshot()), (before, files));
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn only_the_steps_that_are_named() {
    let scratch = scratch();
    scratch.pipeline(UNSAFE);
    scratch
        .semel("lint fetch pay")
        .exits(0)
        .says("2 warnings in 2 steps")
        .says("warning[never-again]")
        .says("warning[retry-once]")
        .keeps_silent_of("durability")
        .keeps_silent_of("db-password");
    scratch.semel("lint fetsh").exits(2).says("there is no step `fetsh`").says("`fetch`");
}

#[test]
fn faults_are_shown_as_everywhere() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nrun = 'curl \"{{ out }}\" > x'\nneed = 'b'\n");
    let told = scratch.semel("lint").exits(2);
    assert_eq!(told.stderr, scratch.semel("run").exits(2).stderr);
    told.keeps_silent_of("warning[");
    scratch.remove("semel.toml");
    scratch.semel("lint").exits(2).says("there is no pipeline file");
}

#[test]
fn as_json_each_has_its_name_and_its_place() {
    let scratch = scratch();
    scratch.pipeline(UNSAFE);
    let ran = scratch.semel("lint --json").exits(0);
    let lines: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (ended, found) = lines.split_last().unwrap();
    assert_eq!(ended["event"], "linted");
    assert_eq!(
        ended["warnings"].as_u64().unwrap() + ended["notes"].as_u64().unwrap(),
        found.len() as u64
    );
    assert_eq!(ended["exit"], 0);
    let fetch = found.iter().find(|one| one["step"] == "fetch").unwrap();
    assert_eq!((&fetch["name"], &fetch["level"]), (&"never-again".into(), &"warning".into()));
    assert_eq!((&fetch["line"], &fetch["column"]), (&9.into(), &8.into()));
    assert_eq!(fetch["text"], "curl");
    let secret = found.iter().find(|one| one["name"] == "kept-secret").unwrap();
    assert_eq!(secret["step"], Value::Null);
    assert!(found.iter().all(|one| one["line"].as_u64().unwrap() > 0), "{found:?}");
}

#[test]
fn only_lint_speaks_of_it() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nrun = 'echo x >> all.txt'\n");
    scratch.semel("lint").exits(0).says("warning[appends]");
    scratch.semel("plan").exits(0).keeps_silent_of("appends").keeps_silent_of("warning");
    scratch.semel("run").exits(0).keeps_silent_of("appends").keeps_silent_of("warning");
    scratch.semel("status").exits(0).keeps_silent_of("warning");
}

#[test]
fn a_starter_file_looks_safe() {
    let scratch = scratch();
    scratch.semel("init").exits(0);
    insta::assert_snapshot!(scratch.semel("lint").exits(0).shown(), @"semel.toml: nothing looks unsafe in 1 step; exit 0");
}

/// A lint that cries wolf is not listened to.
#[test]
fn no_example_is_warned_of() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut looked_at = 0;
    for example in std::fs::read_dir(examples).unwrap().flatten() {
        let file = example.path().join("semel.toml");
        let ran = scratch().semel(&format!("lint --json -f {}", file.display())).exits(0);
        let ended: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(ended["warnings"], 0, "{ran:?}");
        looked_at += 1;
    }
    assert!(looked_at > 0);
}
