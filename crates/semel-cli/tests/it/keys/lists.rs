//! `each`: where the items of a step come from, and what is said of a bad list.

use semel_testkit::Scratch;

use super::{lines, pipeline};

/// A step that notes each item.
fn noting(each: &str) -> Scratch {
    let same = if each.contains("files") { "same = 'name+content'\n" } else { "" };
    pipeline(&format!(
        "[step.a]\neach = {{ {each} }}\n{same}run = 'printf \"<%s>\\n\" {{{{ item }}}} >> trace'"
    ))
}

fn noted(scratch: &Scratch) -> Vec<String> {
    let mut noted = lines(scratch, "trace");
    noted.sort();
    noted
}

const CSV: &str = "[step.a]\neach = { csv = 'hosts.csv', name = 'host' }\nout = 'out/{{ item.host }}.txt'\nenv = { PORT = '{{ item.port }}' }\nrun = 'echo {{ item.note }} $PORT > {{ out }}; echo {{ item.host }} >> trace'";

#[test]
fn the_files_that_a_file_names() {
    let scratch = noting("files-from = 'list'");
    scratch.file("x/1", "1").file("x/ 2", "2").file("list", "x/1\r\n\n./x/ 2\n");
    scratch.semel("run").exits(0);
    assert_eq!(noted(&scratch), ["<x/ 2>", "<x/1>"]);
    scratch.semel("run --expect-noop").exits(0);
    // A content that changed runs again, whatever the list says.
    scratch.file("x/1", "one").semel("run").exits(0);
    assert_eq!(noted(&scratch), ["<x/ 2>", "<x/1>", "<x/1>"]);
}

#[test]
fn a_named_file_that_is_not_there_is_told() {
    let scratch = noting("files-from = 'list'");
    scratch.file("x", "").file("list", "x\nnowhere\n");
    scratch.semel("run").exits(1).says("nowhere");
    scratch.remove("list").semel("run").exits(1).says("list");
    scratch
        .file("list", "x\n./x\n")
        .semel("run")
        .exits(1)
        .says("comes twice: in line 1 and in line 2");
    let path = scratch.path().join("x");
    scratch.file("list", format!("x\n{}\n", path.display()));
    scratch.semel("run").exits(1).says("comes twice");
}

#[test]
fn a_folder_in_a_list_of_files_counts_by_all_that_is_in_it() {
    let scratch = noting("files-from = 'list'");
    scratch.sh("mkdir x; echo 1 > x/1").file("list", "x/\n").semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
    scratch.file("x/1", "one").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["<x>", "<x>"]);
}

#[test]
fn a_list_that_is_a_folder_is_told() {
    for each in ["files-from", "lines", "csv", "json"] {
        let scratch = noting(&format!("{each} = 'folder'"));
        scratch.sh("mkdir folder");
        scratch.semel("run").exits(1).says("a list that is not a file: `folder`");
        assert!(!scratch.has(".semel"), "{each}");
    }
}

#[test]
fn a_list_that_is_not_there_is_told_before_anything_is_made() {
    for each in ["files-from", "lines", "csv", "json"] {
        let scratch = noting(&format!("{each} = 'nowhere'"));
        scratch.semel("run").exits(1).says("nowhere").says("semel.toml:3");
        scratch.semel("plan").says("nowhere");
        assert!(!scratch.has(".semel"), "{each}");
    }
}

#[test]
fn each_list_says_when_it_is_empty_and_takes_the_word_that_it_may_be() {
    for (each, text, says) in [
        ("files = 'none/*'", "", "matches no file"),
        ("files-from = 'list'", "\n \n", "has no lines"),
        ("lines = 'list'", "", "has no lines"),
        ("csv = 'list'", "a,b\n", "has no rows"),
        ("csv = 'list'", "", "has no rows"),
        ("json = 'list'", "[]", "has no elements"),
        ("command = 'cat list'", "", "prints no lines"),
    ] {
        let scratch = noting(each);
        scratch.file("list", text);
        scratch.semel("run").exits(1).says(says).says("empty = \"ok\"");
        assert!(!scratch.has(".semel"));
        let scratch = noting(&format!("{each}, empty = 'ok'"));
        scratch.file("list", text).semel("run").exits(0);
        assert!(!scratch.has("trace"));
        scratch.semel("run --expect-noop").exits(0);
    }
}

#[test]
fn each_list_that_lost_most_of_its_items_is_suspicious() {
    for (each, many, few) in [
        ("files = 'x/*'", "mkdir x; for i in 1 2 3; do echo $i > x/$i; done", "rm x/1 x/2"),
        ("files-from = 'list'", "touch 1 2 3; seq 3 > list", "seq 1 > list"),
        ("lines = 'list'", "seq 3 > list", "seq 1 > list"),
        ("csv = 'list'", "(echo a; seq 3) > list", "(echo a; seq 1) > list"),
        ("json = 'list'", "echo [1,2,3] > list", "echo [1] > list"),
        ("command = 'cat list'", "seq 3 > list", "seq 1 > list"),
    ] {
        let scratch = noting(each);
        scratch.sh(many).semel("run").exits(0);
        scratch.sh(few).semel("run").exits(1).says("1, where there were 3").says("shrink = \"ok\"");
        scratch.semel("plan").says("1, where there were 3");
        let text = scratch.text("semel.toml").replace("name = \"test\"\n", "");
        scratch.pipeline(&text.replacen(
            &format!("{{ {each}"),
            &format!("{{ {each}, shrink = 'ok'"),
            1,
        ));
        scratch.semel("run").exits(0);
        assert_eq!(noted(&scratch).len(), 3, "{each}");
    }
}

#[test]
fn two_equal_values_are_told_with_both_places() {
    for (each, text, says) in [
        ("lines = 'list'", "a\nb\n\na\n", "`a` comes twice: in line 1 and in line 4"),
        ("csv = 'list'", "x,y\n1,2\n3,4\n1,2\n", "comes twice: in row 1 and in row 3"),
        ("csv = 'list', name = 'x'", "x,y\n1,2\n1,3\n", "`1` comes twice: in row 1 and in row 2"),
        ("json = 'list'", "[\"a\", \"b\", \"a\"]", "comes twice: in element 1 and in element 3"),
        ("json = 'list'", "[1, \"1\"]", "comes twice: in element 1 and in element 2"),
        ("command = 'cat list'", "a\na\n", "comes twice: in line 1 and in line 2"),
    ] {
        let scratch = noting(each);
        scratch.file("list", text).semel("run").exits(1).says(says);
        assert!(!scratch.has(".semel"));
    }
}

#[test]
fn rows_with_a_header_quotes_and_a_mark_of_order() {
    let scratch = pipeline(CSV);
    scratch.file(
        "hosts.csv",
        "\u{feff}host,port,note\r\na,1,\"one, two\"\r\n\"b\",2,\"said \"\"hi\"\"\"\r\n\"c x\",3,\"a\nb\"\n",
    );
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("out/a.txt"), "one, two 1\n");
    assert_eq!(scratch.text("out/b.txt"), "said \"hi\" 2\n");
    assert_eq!(scratch.text("out/c x.txt"), "a\nb 3\n");
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn a_changed_column_is_a_changed_input_where_rows_have_names() {
    let scratch = pipeline(CSV);
    scratch.file("hosts.csv", "host,port,note\na,1,x\nb,2,y\n");
    scratch.semel("run").exits(0);
    scratch.file("hosts.csv", "host,port,note\nb,2,y\na,9,x\n");
    scratch.semel("why a:a").exits(0).says("port");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("out/a.txt"), "x 9\n");
    assert_eq!(noted(&scratch), ["a", "a", "b"]);
    // The order of columns and rows counts nothing.
    scratch.file("hosts.csv", "note,host,port\nx,a,9\ny,b,2\n");
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn rows_without_a_name_are_all_their_values() {
    let scratch = pipeline(
        "[step.a]\neach = { csv = 'l.csv' }\nrun = 'echo {{ item }} {{ item.b }} >> trace'",
    );
    scratch.file("l.csv", "a,b\n1,x\n2,y\n").semel("run").exits(0);
    assert_eq!(noted(&scratch), ["1,x x", "2,y y"]);
    assert_eq!(scratch.query("select item from receipt order by 1"), ["1%2Cx", "2%2Cy"]);
    scratch.file("l.csv", "a,b\n1,z\n2,y\n").semel("run").exits(0);
    assert_eq!(noted(&scratch), ["1,x x", "1,z z", "2,y y"]);
}

#[test]
fn rows_whose_joined_values_are_equal_are_not_the_same() {
    let scratch = noting("csv = 'list'");
    scratch.file("list", "a,b\n\"1,2\",3\n1,\"2,3\"\n");
    let ran = scratch.semel("run");
    // Two rows are two; if their names are equal, it must at least be said.
    assert!(ran.status == 0 || ran.stderr.contains("name = "), "{ran:?}");
}

#[test]
fn a_column_that_is_not_there_is_told_with_its_place() {
    let scratch = pipeline(CSV);
    scratch.file("hosts.csv", "host,prt,note\na,1,x\n");
    insta::assert_snapshot!("missing_column", scratch.semel("run").exits(1).shown());
    assert!(!scratch.has(".semel"));
    scratch.file("hosts.csv", "hst,port,note\na,1,x\n");
    insta::assert_snapshot!("missing_name", scratch.semel("run").exits(1).shown());
    let scratch =
        pipeline("[step.a]\neach = { csv = 'l' }\nin = 'in/{{ item.file }}'\nrun = 'cat {{ in }}'");
    scratch.file("l", "fil\nx\n").semel("run").exits(1).says("{{ item.file }}");
    let scratch =
        pipeline("[step.a]\neach = { csv = 'l' }\nrun = 'true'\ncheck = 'test {{ item.file }}'");
    scratch.file("l", "fil\nx\n").semel("run").exits(1).says("{{ item.file }}");
}

#[test]
fn a_ragged_row_and_two_columns_of_one_name_are_told() {
    let scratch = pipeline(CSV);
    scratch.file("hosts.csv", "host,port,note\na,1,x\nb,2\n");
    insta::assert_snapshot!("ragged", scratch.semel("run").exits(1).shown());
    scratch.file("hosts.csv", "host,port,port,note\na,1,2,x\n");
    scratch.semel("run").exits(1).says("two columns `port`");
    scratch.file("hosts.csv", b"host,port,note\na,1,\xff\n");
    scratch.semel("run").exits(1).says("`hosts.csv` is not CSV");
    scratch.file("hosts.csv", "host,port,note\n,1,x\n");
    scratch.semel("run").exits(1).says("an item without a name").says("row 1");
}

/// It would swallow the rows after it: two tasks, where there are three.
#[test]
fn a_quote_that_is_never_closed_is_told_with_its_line() {
    let scratch = noting("csv = 't.csv', name = 'k'");
    scratch.file("t.csv", "k,v\na,1\nb,\"2\nc,3\n");
    scratch.semel("run").exits(1).says("a quote of line 3 is never closed").says("semel.toml:3");
    scratch.file("t.csv", "k,v\n\"a\nb\",1\nc,\"say \"\"hi\"\"\n");
    scratch.semel("run").exits(1).says("a quote of line 4 is never closed");
    assert!(!scratch.has(".semel"));
    // Only at its beginning does it quote a value.
    scratch.file("t.csv", "k,v\na,6\"\nb,2\n").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 2);
}

#[test]
fn a_row_that_climbs_out_of_the_folder_is_told() {
    let scratch = pipeline(CSV);
    scratch.file("hosts.csv", "host,port,note\n../../evil,1,x\n");
    let ran = scratch.semel("run");
    assert_ne!(ran.status, 0, "an output outside: {ran:?}");
    assert!(!scratch.path().parent().unwrap().join("evil.txt").exists());
}

#[test]
fn elements_of_a_json_list() {
    let scratch = noting("json = 'l.json'");
    scratch.file("l.json", "[\"a\", 1, 2.50, true, \"x y\"]").semel("run").exits(0);
    assert_eq!(noted(&scratch), ["<1>", "<2.50>", "<a>", "<true>", "<x y>"]);
    let scratch = pipeline(
        "[step.a]\neach = { json = 'l.json', name = 'id' }\nout = 'out/{{ item.id }}'\nrun = 'echo {{ item.v }} > {{ out }}; echo {{ item.id }} >> trace'",
    );
    scratch.file("l.json", "[{\"id\": 1, \"v\": \"x\"}, {\"v\": null, \"id\": \"two\"}]");
    scratch.semel("run").exits(0);
    assert_eq!((&*scratch.text("out/1"), &*scratch.text("out/two")), ("x\n", "\n"));
    scratch.file("l.json", "[{\"id\": 1, \"v\": \"y\"}, {\"id\": \"two\", \"v\": null}]");
    scratch.semel("run").exits(0);
    assert_eq!(noted(&scratch), ["1", "1", "two"]);
    assert_eq!(scratch.text("out/1"), "y\n");
}

#[test]
fn a_number_of_a_json_list_is_the_text_that_it_is() {
    let scratch = noting("json = 'l.json'");
    scratch.file("l.json", "[12345678901234567890123, 1e2, -0.10, 1E999]");
    scratch.semel("run").exits(0);
    assert_eq!(noted(&scratch), ["<-0.10>", "<12345678901234567890123>", "<1E999>", "<1e2>"]);
    let scratch = pipeline(
        "[step.a]\neach = { json = 'l.json', name = 'id' }\nrun = 'echo {{ item.v }} >> trace'",
    );
    scratch.file("l.json", "[{\"id\": 10000000000000000000001, \"v\": 1.0}]");
    scratch.semel("run a:10000000000000000000001").exits(0);
    assert_eq!(noted(&scratch), ["1.0"]);
}

/// Which of them is meant nobody knows.
#[test]
fn a_key_that_comes_twice_in_an_element_is_told() {
    let scratch = noting("json = 'l.json', name = 'id'");
    scratch.file("l.json", "[{\"id\": 1}, {\"id\": 2, \"v\": 1, \"i\\u0064\": 3}]");
    scratch
        .semel("run")
        .exits(1)
        .says("element 2 of `l.json` has the key `id` twice")
        .says("semel.toml:3");
    assert!(!scratch.has(".semel"));
}

#[test]
fn the_order_of_keys_names_no_element() {
    let scratch = noting("json = 'l.json'");
    scratch.file("l.json", "[{\"a\": 1, \"b\": 2}]").semel("run").exits(0);
    scratch.file("l.json", "[{\"b\": 2, \"a\": 1}]").semel("run --expect-noop").exits(0);
    assert_eq!(noted(&scratch), ["<1,2>"]);
}

#[test]
fn json_that_is_no_list_of_values_is_told() {
    for (text, says) in [
        ("{\"a\": 1}", "not a list"),
        ("[1, 2", "not a list in JSON"),
        ("[[1]]", "element 1 of `l.json`"),
        ("[1, {\"a\": {\"b\": 1}}]", "element 2 of `l.json` has no plain value `a`"),
        ("[{\"a\": [1]}]", "has no plain value `a`"),
        ("[\"\"]", "an item without a name"),
        ("[\"a\", null]", "element 2 of `l.json`"),
        ("[\"a\\u0000b\"]", "NUL"),
        ("[1, \"\\ud800\"]", "element 2 of `l.json` cannot be read"),
        ("", "not a list in JSON"),
    ] {
        let scratch = noting("json = 'l.json'");
        scratch.file("l.json", text);
        let ran = scratch.semel("run").exits(1).says(says);
        assert!(!scratch.has(".semel"), "{text}: {ran:?}");
    }
    // Some elements may have a key, others not: the step names one that is missing.
    let scratch = pipeline("[step.a]\neach = { json = 'l' }\nrun = 'echo {{ item.v }}'");
    scratch.file("l", "[{\"v\": 1}, {\"w\": 2}]").semel("run").exits(1).says("{{ item.v }}");
    scratch.file("l", "[1]").semel("run").exits(1).says("plain value");
}

#[test]
fn a_list_command_is_asked_once_a_run_and_by_plan() {
    let scratch = noting("command = 'echo asked >> asked; cat list'");
    scratch.file("list", "a b\nc\r\n");
    scratch.semel("plan").exits(0);
    assert_eq!(lines(&scratch, "asked").len(), 1);
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "asked").len(), 2);
    assert_eq!(noted(&scratch), ["<a b>", "<c>"]);
    scratch.semel("run --expect-noop").exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "asked").len(), 4);
    scratch.semel("status");
    scratch.semel("history").exits(0);
    assert_eq!(lines(&scratch, "asked").len(), 4);
}

#[test]
fn a_list_command_that_fails_is_told() {
    let scratch = noting("command = 'echo a; echo \"no database\" >&2; exit 3'");
    scratch.semel("run").exits(1).says("exit status 3: no database").says("semel.toml:3");
    // A plan is made, or it cannot be: what a step would come to is the run's to say.
    scratch.semel("plan").exits(5).says("no database");
    assert!(!scratch.has("trace"));
}

/// A pipe whose first part dies must not pass for a short list.
#[test]
fn a_list_command_that_fails_in_its_middle_is_told() {
    let scratch = noting("command = 'false | echo a'");
    scratch.semel("run").exits(1);
    assert!(!scratch.has("trace"));
}

#[test]
fn a_list_that_another_step_makes_is_read_when_it_is_there() {
    for (each, make) in [
        ("files-from = 'list'", "touch f1 f2; printf \"f1\\nf2\\n\""),
        ("lines = 'list'", "printf \"a\\nb\\n\""),
        ("csv = 'list'", "printf \"h\\na\\nb\\n\""),
        ("json = 'list'", "echo \"[1, 2]\""),
    ] {
        let same = if each.starts_with("files") { "same = 'name+content'\n" } else { "" };
        let scratch = pipeline(&format!(
            "[step.a]\neach = {{ {each} }}\n{same}run = 'echo {{{{ item }}}} >> trace'\n[step.make]\nout = 'list'\nrun = '{make} > {{{{ out }}}}'\n[step.end]\nneeds = ['a']\nrun = 'echo end >> trace'"
        ));
        scratch.semel("plan").exits(0);
        assert!(!scratch.has("list"), "{each}");
        scratch.semel("run").exits(0);
        assert_eq!(lines(&scratch, "trace").len(), 3, "{each}");
        assert_eq!(lines(&scratch, "trace")[2], "end");
        scratch.semel("run --expect-noop").exits(0);
        scratch.semel("plan").exits(0).says("nothing would run");
    }
}

/// A list that a command makes is that of what the steps before it left.
#[test]
fn a_list_command_is_asked_after_the_steps_that_come_before() {
    let scratch = pipeline(
        "[step.make]\nin = 'in'\nout = 'list'\nrun = 'cp {{ in }} {{ out }}'\n[step.a]\nneeds = ['make']\neach = { command = 'cat list' }\nrun = 'echo {{ item }} >> trace'",
    );
    scratch.file("list", "old\n").file("in", "new\n").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["new"]);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn a_made_list_that_cannot_be_read_blocks_what_comes_after() {
    let scratch = pipeline(
        "[step.make]\nout = 'list'\nrun = 'echo \"[\" > {{ out }}'\n[step.a]\neach = { json = 'list' }\nrun = 'echo {{ item }} >> trace'\n[step.end]\nneeds = ['a']\nrun = 'echo end >> trace'\n[step.other]\nrun = 'echo other >> trace'",
    );
    scratch.semel("run").exits(1).says("`list` is not a list in JSON").says("blocked");
    assert_eq!(lines(&scratch, "trace"), ["other"]);
}

#[test]
fn hidden_files_and_what_editors_leave_are_no_items() {
    let scratch = noting("files = 'x/*'");
    scratch.sh("mkdir x; echo 1 > x/a; echo 2 > x/.a.swp; echo 3 > x/.hidden; echo 4 > 'x/a~'");
    scratch.semel("run").exits(0);
    let noted = noted(&scratch);
    assert!(!noted.iter().any(|name| name.contains("/.")), "{noted:?}");
    assert!(noted.contains(&"<x/a>".to_owned()));
    // Named outright, a hidden file is wanted.
    let scratch = noting("files = 'x/.*'");
    scratch.sh("mkdir x; echo 1 > x/a; echo 3 > x/.hidden");
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["<x/.hidden>"]);
}

#[test]
fn a_named_hidden_file_in_a_list_is_taken() {
    let scratch = noting("files-from = 'list'");
    scratch.file(".env", "x").file("list", ".env\n").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["<.env>"]);
}
