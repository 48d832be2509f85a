//! `semel write` and `semel lock`.

use semel_testkit::Gate;

use super::with_manifest;

#[test]
fn i7_what_is_written_is_there_whole_or_as_it_was() {
    let scratch = crate::scratch();
    scratch.semel_words(["write", "out/r.txt", "--", "echo", "one"]).exits(0);
    assert_eq!(scratch.text("out/r.txt"), "one\n");
    scratch.sh("chmod 640 out/r.txt");
    let half = scratch.semel_words(["write", "out/r.txt", "--", "bash", "-c", "echo half; exit 5"]);
    half.exits(5).says("out/r.txt stays as it was");
    assert_eq!(scratch.text("out/r.txt"), "one\n");
    scratch.semel_words(["write", "out/r.txt", "--", "echo", "two"]).exits(0);
    assert_eq!(scratch.text("out/r.txt"), "two\n");
    scratch.sh("[ $(stat -c %a out/r.txt) = 640 ]");
    assert_eq!(scratch.list("out"), ["r.txt"]);
    // Through a link it is what that leads to.
    scratch.sh("ln -s out/r.txt link");
    scratch.semel_words(["write", "link", "--", "echo", "three"]).exits(0);
    assert_eq!(scratch.text("out/r.txt"), "three\n");
    scratch.semel_words(["write", "new", "--", "nosuchprogram"]).exits(127);
    assert!(!scratch.has("new"));
    scratch.semel_words(["write", "out", "--", "true"]).exits(102).says("is no file");
}

#[test]
fn from_a_pipe_it_refuses() {
    let scratch = crate::scratch();
    let pipe = |line: &str| {
        let mut command = scratch.script("bash", "-c");
        command.arg(line);
        scratch.ran(command)
    };
    pipe("echo data | semel write f")
        .exits(102)
        .says("cannot be told from a crash")
        .says("semel write f -- COMMAND");
    pipe("echo data | semel write f -- cat").exits(102).says("< /dev/null");
    pipe("semel write f < /dev/null").exits(102).says("it has no command");
    pipe("echo data | semel write f -- echo x < /dev/null").exits(0);
    // As cron starts commands: a pipe in which nothing comes.
    pipe(": | { read -r x || true; semel write f -- echo cron; }").exits(0);
    assert_eq!(scratch.text("f"), "cron\n");
}

#[test]
fn a_writer_that_is_killed_leaves_the_old_file_and_its_draft_is_removed() {
    let scratch = crate::scratch();
    scratch.file("f", "old\n");
    let gate = Gate::new(scratch.path(), "gate");
    let act = format!("echo half; {}", gate.wait());
    let running = scratch.started(scratch.command(["write", "f", "--", "bash", "-c", &act]));
    gate.until_arrived();
    running.kill();
    assert_eq!(scratch.text("f"), "old\n");
    scratch.semel_words(["write", "f", "--", "echo", "new"]).exits(0);
    assert_eq!(scratch.text("f"), "new\n");
    assert!(!scratch.list(".").iter().any(|name| name.starts_with(".semel-write")));
}

#[test]
fn i4_a_lock_is_held_by_one() {
    let scratch = with_manifest();
    let gate = Gate::new(scratch.path(), "gate");
    let act = format!("echo first >> trace; {}", gate.wait());
    let first = scratch.started(scratch.command(["lock", "db main", "--", "bash", "-c", &act]));
    gate.until_arrived();
    scratch
        .semel_words(["lock", "db main", "--", "true"])
        .exits(104)
        .says("busy  db main is held already")
        .says("semel lock 'db main' --wait 30m -- ...");
    scratch.semel_words(["lock", "other", "--", "true"]).exits(0);
    let second = scratch.started(scratch.command([
        "lock",
        "db main",
        "--wait",
        "--",
        "bash",
        "-c",
        "echo second >> trace",
    ]));
    gate.open();
    assert_eq!((first.end().status, second.end().status), (0, 0));
    assert_eq!(scratch.text("trace"), "first\nsecond\n");
    scratch.semel_words(["lock", "x", "--", "bash", "-c", "exit 9"]).exits(9);
    scratch.semel_words(["lock", "x", "--", "nosuchprogram"]).exits(127);
    scratch.semel_words(["lock", "x"]).exits(102);
    crate::scratch()
        .semel_words(["lock", "x", "--", "true"])
        .exits(105)
        .says("there is no manifest");
}

#[test]
fn a_lock_is_free_when_its_holder_was_killed_but_not_while_its_command_lives() {
    let scratch = with_manifest();
    let gate = Gate::new(scratch.path(), "gate");
    let held = || scratch.started(scratch.command(["lock", "x", "--", "bash", "-c", &gate.wait()]));
    let running = held();
    gate.until_arrived();
    running.kill();
    scratch.semel_words(["lock", "x", "--", "true"]).exits(0);
    let running = held();
    gate.until_arrived();
    running.kill_without_commands();
    scratch.semel_words(["lock", "x", "--", "true"]).exits(104);
    gate.open();
    scratch.semel_words(["lock", "x", "--wait", "1m", "--", "true"]).exits(0);
    // What a command leaves behind holds nothing.
    scratch
        .semel_words([
            "lock",
            "x",
            "--",
            "bash",
            "-c",
            "sleep 600 > /dev/null 2>&1 & echo $! > pid",
        ])
        .exits(0);
    scratch.semel_words(["lock", "x", "--", "true"]).exits(0);
    scratch.sh("kill $(cat pid)");
}

#[test]
fn what_is_for_pipeline_files_is_refused_in_scripts() {
    let scratch = with_manifest();
    for verb in ["step a", "write a.txt", "lock a"] {
        for option in ["-f x.toml", "-p day=mon"] {
            scratch.semel(&format!("{verb} {option} -- touch made")).exits(102).says("--per");
        }
    }
    assert!(!scratch.has("made"));
}
