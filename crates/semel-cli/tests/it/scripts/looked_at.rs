//! What the other verbs say of scripts.

use super::{put, run, with};

const TWO: &str =
    "step one --in in.txt --out 1.txt -- cp '{{ in }}' '{{ out }}'\nstep two --item x -- true\n";

#[test]
fn status_why_log_and_history_know_them() {
    let scratch = with(TWO);
    scratch.file("in.txt", "in\n");
    scratch.semel("status").exits(2);
    run(&scratch).exits(0);
    let status = scratch.semel("status").exits(0).says("nightly  run 1 done");
    let (one, two) = (status.stdout.find("one "), status.stdout.find("two "));
    assert!(one < two, "in the order of the script: {status:?}");
    scratch.semel("why one").exits(0).says("one  skip: unchanged").says("in in.txt");
    scratch.file("in.txt", "other\n");
    scratch.semel("why one").exits(0).says("run: its input changed").says("bash ./nightly.sh");
    scratch.semel("why two:x").exits(0).says("two:x  skip");
    scratch.semel("history").exits(0).says("done");
    scratch.semel("history two:x").exits(0).says("two:x");
    scratch.semel("log 1").exits(0);
    scratch.semel("verify").exits(0);
    scratch.semel("status -f nightly.sh --json").exits(0).says("\"pipeline\":\"nightly\"");
    scratch.semel("status -f nightly").exits(0);
    scratch.semel("status one").exits(0).says("1 of 1 task done");
}

#[test]
fn a_script_is_not_run_by_semel() {
    let scratch = with(TWO);
    scratch.file("in.txt", "in\n");
    run(&scratch).exits(0);
    scratch.semel("run").exits(2).says("nightly is a script").says("bash ./nightly.sh");
    scratch.semel("plan -f nightly.sh").exits(2).says("nightly is a script");
}

#[test]
fn a_monitor_hears_of_a_script_that_was_not_run() {
    let scratch = with("step a -- true\n");
    run(&scratch).exits(0);
    let quiet = scratch.semel("status -q --max-age 26h").exits(0);
    assert!(quiet.stdout.is_empty() && quiet.stderr.is_empty());
    scratch.semel("status -q --max-age 0s").exits(1).says("limit 0.0 s; exit 1");
    put(&scratch, "step a -- true\nstep b -- false\n");
    run(&scratch).exits(1);
    scratch.semel("status -q").exits(1).says("nightly: run 2 failed");
}

#[test]
fn several_share_a_manifest_and_a_pipeline_file_lies_beside_them() {
    let scratch = with("step a -- true\n");
    scratch
        .file("weekly.sh", "eval \"$(semel script weekly || echo exit 105)\"\nstep b -- false\n");
    scratch.file("semel.toml", "name = 'file'\n[step.c]\nout = 'c'\nrun = 'echo c > {{ out }}'\n");
    run(&scratch).exits(0);
    scratch.ran(scratch.script("bash", "weekly.sh")).exits(1);
    scratch.semel("run").exits(0);
    let all = scratch.semel("status").exits(1);
    for line in ["file  run 3 done", "nightly  run 1 done", "weekly  run 2 failed"] {
        assert!(all.stdout.contains(line), "{line}: {all:?}");
    }
    scratch.semel("status -f nightly").exits(0);
    scratch.semel("why b").exits(0).says("b  run");
    scratch.semel("log b").exits(0).says("failed: exit status 1");
    scratch.semel("why c").exits(0).says("c  skip");
    scratch.remove("semel.toml");
    scratch.semel("history").exits(2).says("several are known here").says("-f ");
}

#[test]
fn a_pipeline_file_of_the_same_name_is_told_at_once() {
    let scratch = with("step a -- true\n");
    run(&scratch).exits(0);
    scratch.file("semel.toml", "name = 'nightly'\n[step.a]\nrun = 'true'\n");
    run(&scratch).exits(102).says("semel.toml is named `nightly`, too");
    scratch.semel("run").exits(2).says("are both named `nightly`");
}

#[test]
fn what_is_exported_of_a_script_is_known_where_it_is_imported() {
    let scratch = with(TWO);
    scratch.file("in.txt", "in\n");
    run(&scratch).exits(0);
    scratch.sh("true");
    let exported = scratch.semel("manifest export -f nightly").exits(0).stdout;
    let other = with("step other -- true\n");
    run(&other).exits(0);
    other.file("export.jsonl", exported);
    other.semel("manifest import -f nightly export.jsonl").exits(0);
    other.semel("why two:x").exits(0).says("two:x  skip");
    other.semel("status -f nightly").says("other").says("two ");
}
