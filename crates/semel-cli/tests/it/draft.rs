//! `semel init --from` drafts a pipeline file from a script: the others read it, a run of
//! it leaves what the script leaves, and what it was made from is never run or changed.

use semel_testkit::Scratch;

use crate::scratch;

/// A script as people have them.
const ROWS: &str = r#"#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"
SUFFIX=${1:-rows}
[ -e lock ] && { echo locked; exit 0; }; touch lock; trap 'rm -f lock' EXIT

mkdir -p clean report
for f in raw/*.csv; do
  tail -n +2 "$f" | sort > "clean/$(basename "$f" .csv).txt"
done
cat clean/*.txt > all.txt
total() { cut -d, -f2 "$1" | paste -sd+ - | bc; }
COUNT=$(wc -l < all.txt)
{ echo "$COUNT rows"; awk -F, '{ n += $2 } END { print n }' all.txt; } > "report/$SUFFIX.txt"
sort -r all.txt > reversed.tmp
mv reversed.tmp reversed.txt
echo "$SUFFIX: $(head -1 "report/$SUFFIX.txt")" >> outbox.txt
echo "all is done"
"#;

/// A folder with rows, and the script.
fn rows() -> Scratch {
    let scratch = scratch();
    for day in 1..=3 {
        scratch.file(
            format!("raw/{day}.csv"),
            format!("day,flights\n{day},{}\n0{day},7\n", day * 100),
        );
    }
    scratch.file("rows.sh", ROWS);
    scratch
}

#[test]
fn a_draft_leaves_what_the_script_leaves_and_is_boring_then() {
    let by_script = rows();
    by_script.sh("bash rows.sh > /dev/null");
    let drafted = rows();
    let before = drafted.contents();
    let said = drafted.semel("init --from rows.sh").exits(0);
    insta::assert_snapshot!("rows_said", said.shown());
    insta::assert_snapshot!("rows_draft", drafted.text("semel.toml"));
    let mut after = drafted.contents();
    after.remove(std::path::Path::new("semel.toml"));
    assert_eq!(after, before, "the script is read, not run");
    insta::assert_snapshot!("rows_lint", drafted.semel("lint").exits(0).shown());
    drafted.semel("plan").exits(0).says("would run");
    drafted.semel("run").exits(0);
    let mut made = drafted.contents();
    made.remove(std::path::Path::new("semel.toml"));
    assert_eq!(made, by_script.contents());
    drafted.semel("run --expect-noop").exits(0);
    let once = drafted.snapshot();
    drafted.semel("run").exits(0).says("nothing to do");
    assert_eq!(drafted.snapshot(), once);
    // Another value is another task, with its own message.
    drafted.semel("run -p suffix=more").exits(0);
    by_script.sh("bash rows.sh more > /dev/null");
    assert_eq!(drafted.text("outbox.txt"), by_script.text("outbox.txt"));
}

#[test]
fn what_changed_is_done_again_and_nothing_else() {
    let rows = rows();
    rows.semel("init --from rows.sh").exits(0);
    rows.semel("run").exits(0);
    rows.file("raw/2.csv", "day,flights\n2,201\n");
    rows.semel("run").exits(0).says("clean done: 1 of 3").says("outbox skip");
    assert_eq!(rows.text("all.txt"), "01,7\n1,100\n2,201\n03,7\n3,300\n");
    assert_eq!(rows.text("outbox.txt"), "rows: 6 rows\n", "nobody is told twice");
}

#[test]
fn what_is_left_is_named_with_its_lines() {
    let scratch = scratch();
    scratch.file(
        "job.sh",
        "REL=$1\n./build.sh \"$REL\" &\nwait\nfor f in \"$@\"; do\n  ./up.sh \"$f\"\ndone\n./notify.sh \"$REL\"\n",
    );
    insta::assert_snapshot!("left", scratch.semel("init --from job.sh").exits(0).shown());
    scratch.semel("lint").exits(0).says("once-blind");
    scratch.semel("plan").exits(2).says("-p rel=VALUE");
    scratch.semel("plan -p rel=1.42").exits(0).says("notify");
}

/// A draft without steps must not look as if all were well.
#[test]
fn a_draft_without_steps_fails_until_it_is_finished() {
    let scratch = scratch();
    scratch.file("job.sh", "./a.sh &\n").semel("init --from job.sh").exits(0).says("0 steps");
    scratch.semel("run").exits(1).says("are not written yet");
}

#[test]
fn an_existing_file_is_never_touched() {
    let rows = rows();
    rows.file("semel.toml", "name = 'mine'");
    let before = rows.snapshot();
    let said = rows.semel("init --from rows.sh").exits(2).shown();
    insta::assert_snapshot!("is_there", said);
    assert!(!rows.has(".semel"));
    assert_eq!(rows.snapshot(), before);
    rows.sh("ln -s nowhere dangling.toml");
    rows.semel("init --from rows.sh -f dangling.toml").exits(2).says("is there already");
    rows.semel("init --from rows.sh -f other.toml").exits(0).says("semel lint -f other.toml");
    assert_eq!(rows.text("semel.toml"), "name = 'mine'");
    assert!(rows.text("other.toml").contains("[step.clean]"));
}

#[test]
fn what_is_no_script_is_refused_and_nothing_is_made() {
    let scratch = scratch();
    scratch
        .file("empty.sh", "\n \n")
        .file("comments.sh", "#!/bin/sh\n# nothing\n")
        .file("job.py", "#!/usr/bin/env python3\nprint('x')\n")
        .file("latin.sh", b"echo \xe4\n")
        .file("binary", b"\x7fELF\0\0")
        .file("folder/x", "");
    let mut said = String::new();
    for name in ["absent.sh", "folder", "empty.sh", "comments.sh", "job.py", "latin.sh", "binary"] {
        let before = scratch.snapshot();
        said += &scratch.semel_words(["init", "--from", name]).exits(2).shown();
        said += "\n\n";
        assert!(!scratch.has(".semel") && !scratch.has("semel.toml"), "{name}");
        assert_eq!(scratch.snapshot(), before);
    }
    insta::assert_snapshot!("no_script", said);
    scratch.semel("init --bare --from empty.sh").exits(2).says("cannot be used with");
}
