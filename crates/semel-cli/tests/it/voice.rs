//! How semel speaks: what it says beside the mock-ups that were drawn before
//! anything was built. The snapshots are for the eye: the mock-up first, then what
//! is printed today. Where the truth makes a better line, the better line is
//! written.
//!
//! The mock-ups stand in `voice/`.

use semel_testkit::{Gate, Ran, Scratch, kill_tree};

use crate::scratch;

/// A night with flights: 28 days are cleaned, loaded, reported and told of.
fn nightly() -> Scratch {
    let scratch = scratch();
    for day in 1..=28 {
        let rows: String = (0..day).map(|row| format!("{row},{}\n", row * day)).collect();
        scratch.file(format!("raw/2013-02-{day:02}.csv"), format!("dep,delay\n{rows}"));
    }
    scratch.file("clean.sh", "# cleans a day\ngrep -v broken \"$1\" > \"$2\"\n");
    scratch.file("semel.toml", NIGHTLY);
    scratch
}

const NIGHTLY: &str = r#"name = "nightly-flights"
per  = ["month"]

[params]
month = "2013-02"

[step.schema]
per   = []
check = 'test -e flight.table'
run   = 'touch flight.table'

[step.clean]
each = "raw/{{ params.month }}-*.csv"
out  = "clean/{{ item.stem }}.csv"
run  = 'sh clean.sh {{ item }} {{ out }}'

[step.load]
after = ["schema"]
each  = { outputs-of = "clean" }
out   = "flight/{{ item.stem }}.csv"
run   = 'cp {{ item }} {{ out }}'

[step.report]
needs = ["load"]
out   = "report-{{ params.month }}.json"
run   = 'cat flight/{{ params.month }}-*.csv | wc -l > {{ out }}'

[step.announce]
needs = ["report"]
once  = true
run   = 'echo loaded {{ params.month }} >> outbox'
"#;

/// The mock-up of this name beside what was said.
fn beside(name: &str, said: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/voice");
    let drawn = std::fs::read_to_string(format!("{folder}/{name}.txt")).unwrap();
    let both = format!("{drawn}\n======== semel says\n\n{said}");
    insta::assert_snapshot!(format!("voice_{name}"), both);
}

fn said(ran: &Ran) -> String {
    ran.shown()
}

#[test]
fn a_run_that_finishes() {
    let scratch = nightly();
    beside("finished", &said(&scratch.semel_on_terminal("run").exits(0)));
    beside("nothing_to_do", &said(&scratch.semel_on_terminal("run").exits(0)));
    beside("why_of_a_skip", &said(&scratch.semel("why report").exits(0)));
}

#[test]
fn the_same_in_a_log() {
    beside("log", &said(&nightly().semel("run").exits(0)));
}

#[test]
fn a_run_after_a_crash() {
    let scratch = nightly();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.file(
        "clean.sh",
        format!(
            "[ $1 != raw/2013-02-20.csv ] || [ -e open ] || {{ {}; }}\ncp $1 $2\n",
            gate.wait()
        ),
    );
    let running = scratch.start("run -j 1");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "");
    beside("after_a_crash", &said(&scratch.semel_on_terminal("run").exits(0)));
}

#[test]
fn a_failed_step() {
    let scratch = nightly();
    scratch.semel("run").exits(0);
    scratch.file("raw/2013-02-17.csv", "dep,delay\n25:10,3\n").file(
        "clean.sh",
        "# cleans a day\nset -e\nif grep -n 25:10 \"$1\" >&2; then exit 1; fi\ncp \"$1\" \"$2\"\n",
    );
    beside("plan_after_a_change_of_code", &said(&scratch.semel("plan").exits(0)));
    beside("failure", &said(&scratch.semel_on_terminal("run").exits(1)));
    beside("status", &said(&scratch.semel("status").exits(1)));
    beside("monitor", &said(&scratch.semel("status --max-age 26h -q").exits(1)));
    beside("history", &said(&scratch.semel("history").exits(0)));
}

#[test]
fn a_plan_after_some_files_changed() {
    let scratch = nightly();
    scratch.semel("run").exits(0);
    scratch
        .file("raw/2013-02-17.csv", "dep,delay\n1,2\n3,4\n")
        .file("raw/2013-02-29.csv", "dep,delay\n5,6\n");
    beside("plan", &said(&scratch.semel("plan").exits(0)));
    beside("why", &said(&scratch.semel("why clean:raw/2013-02-17.csv").exits(0)));
}

#[test]
fn a_step_that_may_have_been_done() {
    let scratch = nightly();
    let gate = Gate::new(scratch.path(), "gate");
    let waits = NIGHTLY.replace(
        "'echo loaded {{ params.month }} >> outbox'",
        &format!("'''{}; echo loaded {{{{ params.month }}}} >> outbox'''", gate.wait()),
    );
    scratch.file("semel.toml", waits);
    let running = scratch.start("run");
    gate.until_arrived();
    beside("busy", &said(&scratch.semel("run").exits(4)));
    kill_tree(running.pid());
    let _ = running.end();
    beside("refusal", &said(&scratch.semel_on_terminal("run").exits(3)));
}

#[test]
fn faults_of_the_file() {
    let scratch = nightly();
    let faulty = NIGHTLY
        .replace("cp {{ item }} {{ out }}", "sh -c \"cp {{ item }} $0\" {{ out }}")
        .replace("per  = [\"month\"]\n", "");
    scratch.file("semel.toml", faulty);
    beside("faults", &said(&scratch.semel("run").exits(2)));
}
