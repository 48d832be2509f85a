//! `max-failures` and `ordered`: when no further item begins.

use super::{lines, pipeline};

const MANY: &str = "[step.a]\neach = { lines = 'l' }\nmax-failures = 2\nrun = 'echo {{ item }} >> trace; case {{ item }} in b*) exit 1;; esac'";

#[test]
fn after_so_many_failures_no_further_item_begins() {
    let scratch = pipeline(MANY);
    scratch.file("l", "1\nb1\n2\nb2\n3\nb3\n4\n").semel("run -j 1").exits(1);
    assert_eq!(lines(&scratch, "trace"), ["1", "b1", "2", "b2"]);
    scratch.semel("status").exits(1);
    // What it counts is of this run; what failed in the last one stands first.
    scratch.semel("run -j 1").exits(1);
    assert_eq!(lines(&scratch, "trace")[4..], ["b1", "b2"]);
}

#[test]
fn after_the_first_failure_nothing_begins_with_fail_fast() {
    let scratch =
        pipeline("[step.a]\neach = { lines = 'l' }\nrun = 'echo {{ item }} >> trace; exit 1'");
    scratch.file("l", "1\n2\n3\n4\n").semel("run -j 1 --fail-fast").exits(1);
    assert_eq!(lines(&scratch, "trace"), ["1"]);
}

#[test]
fn fewer_failures_hold_nothing_up() {
    let scratch = pipeline(MANY);
    scratch.file("l", "1\nb1\n2\n3\n").semel("run -j 1").exits(1);
    assert_eq!(lines(&scratch, "trace"), ["1", "b1", "2", "3"]);
}

#[test]
fn with_many_at_a_time_few_more_than_allowed_begin() {
    let scratch = pipeline(MANY);
    let items: Vec<_> = (0..200).map(|at| format!("b{at:03}")).collect();
    scratch.file("l", items.join("\n")).semel("run -j 4").exits(1);
    let begun = lines(&scratch, "trace").len();
    assert!((2..=5).contains(&begun), "{begun} began");
}

#[test]
fn retries_are_no_further_failures() {
    let scratch = pipeline(
        "[step.a]\neach = { lines = 'l' }\nmax-failures = 1\nretry = { times = 2, wait = '1ms' }\nrun = 'echo {{ item }} >> trace; [ $(grep -c {{ item }} trace) = 3 ]'",
    );
    scratch.file("l", "1\n2\n").semel("run -j 1").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 6);
}

#[test]
fn another_step_goes_on() {
    let scratch = pipeline(&format!("{MANY}\n[step.z]\nrun = 'echo z >> trace'"));
    scratch.file("l", "b1\nb2\nb3\n").semel("run -j 1").exits(1);
    assert!(lines(&scratch, "trace").contains(&"z".to_owned()));
}

/// A step may have a limit of its own at a time.
#[test]
fn with_one_at_a_time_of_a_step_none_begins_after_the_failure() {
    let scratch = pipeline(
        "[step.a]\neach = { lines = 'l' }\njobs = 1\nmax-failures = 1\nrun = 'echo {{ item }} >> trace; exit 1'",
    );
    scratch.file("l", "1\n2\n3\n4\n").semel("run -j 4").exits(1);
    assert_eq!(lines(&scratch, "trace"), ["1"]);
}

const ROLL: &str = "[step.upload]\neach = { lines = 'servers' }\nmax-failures = 1\nrun = 'echo upload {{ item }} >> trace'\n[step.restart]\neach = { items-of = 'upload' }\nmax-failures = 1\nrun = 'echo restart {{ item }} >> trace'\n[step.smoke]\neach = { items-of = 'restart' }\nmax-failures = 1\nrun = 'echo smoke {{ item }} >> trace; [ ! -e bad.{{ item }} ]'\n";

#[test]
fn a_rolling_deploy_ends_at_the_first_server_that_fails() {
    let scratch = pipeline(ROLL);
    scratch.file("servers", "s1\ns2\ns3\ns4\n").file("bad.s2", "");
    scratch.semel("run -j 1").exits(1);
    assert_eq!(
        lines(&scratch, "trace"),
        ["upload s1", "restart s1", "smoke s1", "upload s2", "restart s2", "smoke s2"]
    );
}

/// The next run finishes what was begun before it touches another server.
#[test]
fn a_rolling_deploy_goes_on_where_it_stood() {
    let scratch = pipeline(ROLL);
    scratch.file("servers", "s1\ns2\ns3\ns4\n").file("bad.s2", "");
    scratch.semel("run -j 1").exits(1);
    for _ in 0..8 {
        scratch.file("trace", "");
        scratch.semel("run -j 1").exits(1);
        assert_eq!(
            lines(&scratch, "trace"),
            ["smoke s2"],
            "it fails still: nothing else is touched"
        );
    }
    scratch.file("trace", "").remove("bad.s2").semel("run -j 1").exits(0);
    assert_eq!(
        lines(&scratch, "trace"),
        ["smoke s2", "upload s3", "restart s3", "smoke s3", "upload s4", "restart s4", "smoke s4"]
    );
}

/// Also where the steps of the servers wait for others when the run begins.
#[test]
fn a_rolling_deploy_after_other_steps_goes_on_where_it_stood() {
    let text =
        ROLL.replace("each = { items-of", "in = { outputs-of = 'fetch' }\neach = { items-of");
    let scratch =
        pipeline(&format!("[step.fetch]\nout = 'app'\nrun = 'echo > {{{{ out }}}}'\n{text}"));
    let servers: Vec<_> = (1..=100).map(|at| format!("s{at}")).collect();
    scratch.file("servers", servers.join("\n")).file("bad.s2", "");
    scratch.semel("run -j 1").exits(1);
    assert_eq!(lines(&scratch, "trace").len(), 6);
    for _ in 0..4 {
        scratch.file("trace", "").semel("run -j 1").exits(1);
        assert_eq!(lines(&scratch, "trace"), ["smoke s2"]);
    }
}

#[test]
fn a_rolling_deploy_with_jobs_ends_soon_after_the_first_failure() {
    let scratch = pipeline(ROLL);
    let servers: Vec<_> = (1..=60).map(|at| format!("s{at}")).collect();
    scratch.file("servers", servers.join("\n")).file("bad.s2", "");
    scratch.semel("run -j 4").exits(1);
    let told = lines(&scratch, "trace");
    let begun = told.iter().filter(|line| line.starts_with("upload")).count();
    assert!(begun <= 12, "{begun} servers were begun: {told:?}");
    let failed = told.iter().position(|line| line == "smoke s2").unwrap();
    let after: Vec<_> =
        told[failed + 1..].iter().filter(|line| line.starts_with("upload")).collect();
    assert!(after.len() <= 3, "{after:?} after the failure");
}

/// Of a long list so many wait to be begun that nothing more is looked at ahead: what
/// finishes an item is looked at all the same.
#[test]
fn a_rolling_deploy_to_many_servers_ends_at_the_first_that_fails() {
    let scratch = pipeline(ROLL);
    let servers: Vec<_> = (1..=300).map(|at| format!("s{at}")).collect();
    scratch.file("servers", servers.join("\n")).file("bad.s2", "");
    scratch.semel("run -j 1").exits(1);
    assert_eq!(
        lines(&scratch, "trace"),
        ["upload s1", "restart s1", "smoke s1", "upload s2", "restart s2", "smoke s2"]
    );
}

#[test]
fn only_the_last_step_says_how_many() {
    // Only `smoke` has a limit: its failures hold off what is before it, too,
    // for the sake of the servers that are still whole.
    let text = ROLL.replacen("max-failures = 1\n", "", 2);
    let scratch = pipeline(&text);
    scratch.file("servers", "s1\ns2\ns3\n").file("bad.s2", "");
    scratch.semel("run -j 1").exits(1);
    let told = lines(&scratch, "trace");
    assert!(!told.contains(&"smoke s3".to_owned()));
    assert!(
        !told.contains(&"upload s3".to_owned()),
        "a server is begun that is never smoked: {told:?}"
    );
}

const MIGRATIONS: &str =
    "[step.m]\neach = 'm/*.sql'\nordered = true\nrun = 'cat {{ item }} >> trace'";

#[test]
fn f35_migrations_go_in_the_order_of_their_names() {
    let scratch = pipeline(MIGRATIONS);
    for at in [3, 1, 10, 2] {
        scratch.file(format!("m/{at:02}.sql"), format!("{at}\n"));
    }
    scratch.semel("run -j 8").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["1", "2", "3", "10"]);
    scratch.semel("run --expect-noop").exits(0);
    scratch.file("m/11.sql", "11\n").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace")[4..], ["11"]);
}

#[test]
fn f35_a_list_in_another_order_goes_in_the_order_of_names() {
    let scratch = pipeline(
        "[step.m]\neach = { files-from = 'l' }\nordered = true\nrun = 'cat {{ item }} >> trace'",
    );
    scratch.file("c", "c\n").file("a", "a\n").file("b", "b\n").file("l", "c\na\nb\n");
    scratch.semel("run -j 4").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["a", "b", "c"]);
    let scratch = pipeline(
        "[step.m]\neach = { lines = 'l' }\nordered = true\nrun = 'echo {{ item }} >> trace'",
    );
    scratch.file("l", "v2\nv10\nv1\n").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["v1", "v10", "v2"]);
}

#[test]
fn f35_it_stops_at_the_first_that_fails() {
    let scratch =
        pipeline(&MIGRATIONS.replace("cat {{ item }}", "test -s {{ item }}; cat {{ item }}"));
    scratch.file("m/1.sql", "1\n").file("m/2.sql", "").file("m/3.sql", "3\n");
    scratch.semel("run -j 4").exits(1).says("m:m/2.sql").says("blocked");
    assert_eq!(lines(&scratch, "trace"), ["1"]);
    scratch.file("m/2.sql", "2\n").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["1", "2", "3"]);
}

#[test]
fn f35_none_overtakes_one_that_is_tried_again() {
    let scratch = pipeline(
        "[step.m]\neach = { lines = 'l' }\nordered = true\nretry = { times = 2, wait = '1ms' }\nrun = 'echo {{ item }} >> trace; [ $(grep -c {{ item }} trace) = 3 ]'",
    );
    scratch.file("l", "1\n2\n").semel("run -j 4").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["1", "1", "1", "2", "2", "2"]);
}

#[test]
fn f35_one_that_was_altered_is_made_anew_before_those_after_it() {
    let scratch = pipeline(
        "[step.m]\neach = { lines = 'l' }\nordered = true\nout = 'o/{{ item }}'\nrun = 'echo {{ item }} > {{ out }}; echo {{ item }} >> trace'",
    );
    scratch.file("l", "1\n2\n3\n").semel("run -j 4").exits(0);
    scratch.remove("o/1").remove("o/3").semel("run -j 4").exits(0);
    assert_eq!(lines(&scratch, "trace")[3..], ["1", "3"]);
}

#[test]
fn f35_two_equal_migrations_are_two() {
    let scratch = pipeline(MIGRATIONS);
    scratch.file("m/1.sql", "same\n").file("m/2.sql", "same\n").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 2);
}

#[test]
fn f35_an_applied_migration_that_was_edited_refuses() {
    let scratch = pipeline(&format!("{MIGRATIONS}\nonce = true"));
    scratch.file("m/1.sql", "1\n").file("m/2.sql", "2\n").semel("run").exits(0);
    scratch.file("m/1.sql", "one\n").file("m/3.sql", "3\n");
    scratch.semel("run").exits(3).says("m:m/1.sql").says("semel done m:m/1.sql");
    assert_eq!(lines(&scratch, "trace"), ["1", "2"], "none after it");
    scratch.semel_words(["done", "m:m/1.sql", "--because", "a comment only"]).exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["1", "2", "3"]);
}

#[test]
fn f35_a_new_migration_that_sorts_before_an_applied_one_refuses() {
    let scratch = pipeline(&format!("{MIGRATIONS}\nonce = true"));
    scratch.file("m/2.sql", "2\n").semel("run").exits(0);
    scratch.file("m/1.sql", "1\n").file("m/3.sql", "3\n");
    let ran = scratch.semel("run").exits(3).says("m:m/1.sql");
    assert_eq!(lines(&scratch, "trace"), ["2"], "{ran:?}");
    insta::assert_snapshot!("late_migration", ran.shown());
    scratch.semel("plan").exits(0).says("refuse");
    // Renamed to where it belongs, all is well.
    scratch.rename("m/1.sql", "m/4.sql").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["2", "3", "1"]);
    // Or a human says so.
    scratch.file("m/0.sql", "0\n").semel("run").exits(3);
    scratch.semel_words(["redo", "m:m/0.sql", "--because", "it is independent"]).exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").last().unwrap(), "0");
}

#[test]
fn f35_one_migration_is_asked_for_with_those_before_it() {
    let scratch = pipeline(MIGRATIONS);
    for at in 1..=3 {
        scratch.file(format!("m/{at}.sql"), format!("{at}\n"));
    }
    scratch.semel("run m:m/2.sql").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["1", "2"]);
}

#[test]
fn f35_a_migration_that_was_killed_refuses_and_none_follows() {
    let scratch = crate::scratch();
    let gate = semel_testkit::Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.m]\neach = 'm/*.sql'\nordered = true\nonce = true\nrun = '''cat {{{{ item }}}} >> trace; [ {{{{ item.stem }}}} != 2 ] || [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    for at in 1..=3 {
        scratch.file(format!("m/{at}.sql"), format!("{at}\n"));
    }
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "").semel("run").exits(3).says("semel redo m:m/2.sql");
    assert_eq!(lines(&scratch, "trace"), ["1", "2"]);
    scratch.semel_words(["done", "m:m/2.sql", "--because", "the table is there"]).exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["1", "2", "3"]);
}

#[test]
fn f35_an_ordered_chain_keeps_its_order() {
    let scratch = pipeline(
        "[step.a]\neach = { lines = 'l' }\nordered = true\nrun = 'echo a {{ item }} >> trace'\n[step.b]\neach = { items-of = 'a' }\nordered = true\nrun = 'echo b {{ item }} >> trace'",
    );
    scratch.file("l", "3\n1\n2\n").semel("run -j 4").exits(0);
    let told = lines(&scratch, "trace");
    let of = |step: &str| -> Vec<_> {
        told.iter().filter_map(|line| line.strip_prefix(step).map(str::to_owned)).collect()
    };
    assert_eq!(
        (of("a "), of("b ")),
        (vec!["1".into(), "2".into(), "3".into()], vec!["1".into(), "2".into(), "3".into()])
    );
}

/// Only the second step goes in order: each of its items still comes after the same
/// item of the first, and with one job nothing waits for ever.
#[test]
fn f35_an_ordered_step_behind_one_that_is_not() {
    for jobs in ["1", "4"] {
        let scratch = pipeline(
            "[step.a]\neach = { lines = 'l' }\nrun = 'echo a {{ item }} >> trace'\n[step.b]\neach = { items-of = 'a' }\nordered = true\nrun = 'echo b {{ item }} >> trace'",
        );
        scratch.file("l", "3\n1\n2\n").semel_words(["run", "-j", jobs]).exits(0);
        let told = lines(&scratch, "trace");
        let of_b: Vec<_> = told.iter().filter(|line| line.starts_with('b')).collect();
        assert_eq!(of_b, ["b 1", "b 2", "b 3"]);
        for item in 1..=3 {
            let at = |step| told.iter().position(|line| *line == format!("{step} {item}"));
            assert!(at("a") < at("b"), "{told:?}");
        }
        scratch.file("l", "3\n4\n1\n2\n").semel("plan b:2").exits(0).says("nothing would run");
    }
}

/// To settle one migration says nothing of those before it.
#[test]
fn f35_settling_one_of_an_ordered_step_settles_no_other() {
    let text = "[step.m]\neach = { lines = 'l' }\nordered = true\nonce = true\nrun = 'echo {{ item }} >> trace; [ -e good ] || [ {{ item }} != 3 ]'";
    let scratch = pipeline(text);
    scratch.file("l", "1\n2\n3\n4\n").semel("run").exits(1);
    scratch.semel_words(["redo", "m:3", "--because", "mended"]).exits(0).says("m:3");
    scratch.file("good", "").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["1", "2", "3", "3", "4"]);
    let scratch = pipeline(text);
    scratch.file("l", "1\n2\n3\n4\n5\n").semel("run").exits(1);
    scratch.semel_words(["done", "m:5", "--because", "by hand"]).exits(0);
    scratch.file("good", "").semel("run").exits(3).says("m:3");
    assert_eq!(lines(&scratch, "trace"), ["1", "2", "3"]);
}
