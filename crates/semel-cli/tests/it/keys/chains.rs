//! `items-of`: the items of another step, each after its own task there.

use super::{lines, pipeline};

const SERVERS: &str = "[step.upload]\neach = { lines = 'servers' }\nrun = 'echo upload {{ item }} >> trace; [ ! -e bad.{{ item }} ]'\n[step.restart]\neach = { items-of = 'upload' }\nrun = 'echo restart {{ item }} >> trace'\n[step.smoke]\neach = { items-of = 'restart' }\nrun = 'echo smoke {{ item }} >> trace'\n";

#[test]
fn an_item_goes_through_all_steps_before_the_next_begins() {
    let scratch = pipeline(SERVERS);
    scratch.file("servers", "c\na\nb\n").semel("run -j 1").exits(0);
    let order: Vec<_> = lines(&scratch, "trace")
        .chunks(3)
        .map(|chunk| {
            let of: Vec<_> = chunk.iter().map(|line| line.split_once(' ').unwrap()).collect();
            assert_eq!([of[0].0, of[1].0, of[2].0], ["upload", "restart", "smoke"]);
            assert!(of.iter().all(|(_, item)| *item == of[0].1), "{of:?}");
            of[0].1.to_owned()
        })
        .collect();
    assert_eq!(order, ["c", "a", "b"], "in the order of the list");
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn an_item_that_fails_blocks_only_its_own() {
    let scratch = pipeline(SERVERS);
    scratch.file("servers", "a\nb\nc\n").file("bad.b", "");
    scratch.semel("run -j 1").exits(1).says("blocked").says("restart:b");
    let told = lines(&scratch, "trace");
    assert_eq!(
        told,
        ["upload a", "restart a", "smoke a", "upload b", "upload c", "restart c", "smoke c"]
    );
    scratch.remove("bad.b").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace")[7..], ["upload b", "restart b", "smoke b"]);
}

#[test]
fn it_only_orders() {
    let scratch = pipeline(SERVERS);
    scratch.file("servers", "a\nb\n").semel("run").exits(0);
    let text = SERVERS.replace("echo upload", "echo  upload");
    scratch.pipeline(&text).semel("run -j 1").exits(0);
    assert_eq!(lines(&scratch, "trace")[6..], ["upload a", "upload b"]);
}

#[test]
fn files_are_passed_on_as_files() {
    let scratch = pipeline(
        "[step.a]\neach = 'x/*'\nout = 'a/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}; echo a {{ item }} >> trace'\n[step.b]\neach = { items-of = 'a' }\nout = 'b/{{ item.stem }}.b'\nrun = 'cp {{ item }} {{ out }}; echo b {{ item }} >> trace'",
    );
    scratch.file("x/1.csv", "1").file("x/2.csv", "2").semel("run").exits(0);
    assert_eq!(scratch.text("b/1.b"), "1");
    scratch.semel("run --expect-noop").exits(0);
    scratch.file("x/1.csv", "one").semel("run -j 1").exits(0);
    assert_eq!(scratch.text("b/1.b"), "one");
    assert_eq!(lines(&scratch, "trace")[4..], ["a x/1.csv", "b x/1.csv"]);
}

#[test]
fn rows_are_passed_on_as_rows() {
    let scratch = pipeline(
        "[step.a]\neach = { csv = 'l.csv', name = 'host' }\nrun = 'echo a {{ item.host }} >> trace'\n[step.b]\neach = { items-of = 'a' }\nrun = 'echo b {{ item.port }} >> trace'",
    );
    scratch.file("l.csv", "host,port\nx,1\ny,2\n").semel("run -j 1").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["a x", "b 1", "a y", "b 2"]);
    scratch.file("l.csv", "host,port\nx,1\ny,3\n").semel("run -j 1").exits(0);
    assert_eq!(lines(&scratch, "trace")[4..], ["a y", "b 3"], "a row is all its values");
    scratch.file("l.csv", "host\nx\ny\n").semel("run").exits(1).says("port");
}

#[test]
fn values_of_json_and_commands_are_passed_on() {
    let scratch = pipeline(
        "[step.a]\neach = { json = 'l.json' }\nrun = 'echo a {{ item }} >> trace'\n[step.b]\neach = { items-of = 'a' }\nrun = 'echo b {{ item }} >> trace'\n[step.c]\neach = { command = 'echo asked >> asked; echo 7' }\nrun = 'echo c {{ item }} >> trace'\n[step.d]\neach = { items-of = 'c' }\nrun = 'echo d {{ item }} >> trace'",
    );
    scratch.file("l.json", "[5, 6]").semel("run -j 1").exits(0);
    let mut told = lines(&scratch, "trace");
    told.sort();
    assert_eq!(told, ["a 5", "a 6", "b 5", "b 6", "c 7", "d 7"]);
    assert_eq!(lines(&scratch, "asked").len(), 1);
}

#[test]
fn a_made_list_is_passed_on() {
    let scratch = pipeline(&format!(
        "[step.list]\nout = 'servers'\nrun = 'printf \"a\\nb\\n\" > {{{{ out }}}}'\n{SERVERS}"
    ));
    scratch.semel("run -j 1").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 6);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn one_item_is_asked_for_with_what_is_before_it() {
    let scratch = pipeline(SERVERS);
    scratch.file("servers", "a\nb\n").semel("run smoke:b").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["upload b", "restart b", "smoke b"]);
}

#[test]
fn an_empty_list_is_empty_all_along() {
    let scratch = pipeline(&SERVERS.replace("'servers' }", "'servers', empty = 'ok' }"));
    scratch.file("servers", "").semel("run").exits(0);
    assert!(!scratch.has("trace"));
}

#[test]
fn a_list_that_lost_most_is_told_once() {
    let scratch = pipeline(SERVERS);
    scratch.file("servers", "a\nb\nc\n").semel("run").exits(0);
    scratch.file("servers", "a\n").semel("run").exits(1).says("1, where there were 3");
    scratch.pipeline(&SERVERS.replace("'servers' }", "'servers', shrink = 'ok' }"));
    scratch.semel("run").exits(0);
}

#[test]
fn the_chain_is_planned() {
    let scratch = pipeline(SERVERS);
    scratch.file("servers", "a\nb\n").semel("plan").exits(0).says("6 of 6 tasks would run");
    scratch.semel("run").exits(0);
    scratch.semel("plan").exits(0).says("nothing");
}

#[test]
fn with_many_at_a_time_each_item_keeps_its_order() {
    let scratch = pipeline(SERVERS);
    let servers: Vec<_> = (0..12).map(|at| format!("s{at}")).collect();
    scratch.file("servers", servers.join("\n")).semel("run -j 4").exits(0);
    let told = lines(&scratch, "trace");
    assert_eq!(told.len(), 36);
    for server in servers {
        let own: Vec<_> =
            told.iter().filter_map(|line| line.strip_suffix(&format!(" {server}"))).collect();
        assert_eq!(own, ["upload", "restart", "smoke"]);
    }
}
