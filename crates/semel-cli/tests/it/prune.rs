//! `semel prune`: outputs that nobody makes any more go aside, whole.

use semel_testkit::{Scratch, eventually, kill_tree};

use crate::{days, scratch};

/// Where the only prune put things.
fn aside(scratch: &Scratch) -> String {
    let pruned: Vec<_> = scratch
        .list(".semel/displaced")
        .into_iter()
        .filter(|name| name.starts_with("prune-"))
        .collect();
    assert_eq!(pruned.len(), 1, "{pruned:?}");
    format!(".semel/displaced/{}", pruned[0])
}

/// The days, of which the fifth is gone.
fn four_days() -> Scratch {
    let days = days();
    days.semel("run").exits(0);
    days.remove("raw/5.csv").semel("run").exits(0);
    days
}

fn shown(ran: &semel_testkit::Ran) -> String {
    let mut text = String::new();
    for line in ran.shown().lines() {
        match line.split_once(".semel/displaced/prune-") {
            Some((before, after)) => {
                let rest = after.split_once('/').map_or("", |(_, rest)| rest);
                text += &format!("{before}.semel/displaced/prune-[at]/{rest}\n");
            }
            None => text += &format!("{line}\n"),
        }
    }
    text
}

#[test]
fn it_shows_and_with_yes_it_moves() {
    let days = four_days();
    let before = days.snapshot();
    insta::assert_snapshot!("prune", shown(&days.semel("prune").exits(0)));
    assert_eq!(days.snapshot(), before, "nothing was moved");
    days.file("clean/5.csv", "mended by hand\n");
    insta::assert_snapshot!("prune_yes", shown(&days.semel("prune --yes").exits(0)));
    let aside = aside(&days);
    assert_eq!(days.text(format!("{aside}/clean/5.csv")), "mended by hand\n");
    assert_eq!(days.text(format!("{aside}/sum/5.txt")), "500\n");
    assert!(!days.has("clean/5.csv") && !days.has("sum/5.txt"));
    days.semel("prune").exits(0).says("nothing to prune");
    days.semel("run --expect-noop").exits(0);
    days.semel("verify").exits(0);
    assert_eq!(days.text("outbox"), "told\n");
}

#[test]
fn an_item_that_comes_back_is_made_again() {
    let days = four_days();
    days.semel("prune --yes").exits(0);
    days.file("raw/5.csv", "day,flights\n5,500\n").semel("run").exits(0);
    assert_eq!(days.text("sum/5.txt"), "500\n");
    days.semel("prune").exits(0).says("nothing to prune");
}

#[test]
fn a_step_that_is_gone_and_an_out_that_changed() {
    let scratch = scratch();
    scratch.file("in/1", "x").pipeline(
        "[step.old]\nout = 'old.txt'\nrun = 'echo old > {{ out }}'\n\
         [step.copy]\neach = 'in/*'\nout = 'copies/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'",
    );
    scratch.semel("run").exits(0);
    scratch.pipeline(
        "[step.copy]\neach = 'in/*'\nout = 'others/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'",
    );
    let ran = scratch.semel("prune").exits(0).says("its step is gone from the file");
    ran.says("its step now says another `out`");
    scratch.semel("prune --yes").exits(0).says("2 outputs moved aside");
    let aside = aside(&scratch);
    assert_eq!(scratch.text(format!("{aside}/old.txt")), "old\n");
    assert_eq!(scratch.text(format!("{aside}/copies/1")), "x");
    scratch.semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn a_folder_goes_whole_with_what_a_user_put_in_it() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.site]\nout = 'site/'\nrun = 'echo x > {{ out }}/index.html'\n[step.b]\nrun = 'true'",
    );
    scratch.semel("run").exits(0);
    scratch.file("site/CNAME", "example.com\n").pipeline("[step.b]\nrun = 'true'");
    scratch.semel("prune").exits(0).says("site  2 bytes; other hands put something in it");
    scratch.semel("prune --yes").exits(0).says("other hands put something in it");
    let aside = aside(&scratch);
    assert_eq!(scratch.text(format!("{aside}/site/CNAME")), "example.com\n");
    assert_eq!(scratch.text(format!("{aside}/site/index.html")), "x\n");
    assert!(!scratch.has("site"));
}

/// A source that is not mounted is no reason to take its results away (F19).
#[test]
fn it_refuses_where_a_run_would() {
    let days = days();
    days.semel("run").exits(0);
    days.rename("raw", "unmounted").sh("mkdir raw");
    let before = days.snapshot();
    for verb in ["prune", "prune --yes"] {
        days.semel(verb).exits(1).says("step `clean` has no items");
    }
    days.sh("cp unmounted/1.csv unmounted/2.csv raw");
    let before_two = days.snapshot();
    for verb in ["prune", "prune --yes"] {
        days.semel(verb)
            .exits(1)
            .says("step `clean` lost most of its items: 2, where there were 5");
    }
    assert_eq!(days.snapshot(), before_two);
    days.sh("rm -r raw");
    days.semel("prune --yes").exits(1);
    days.sh("mkdir raw");
    assert_eq!(days.snapshot(), before);
    assert!(!days.has(".semel/displaced"));
}

/// Where no run was complete yet, what has receipts stands for the list.
#[test]
fn it_refuses_though_no_run_was_complete() {
    let days = days();
    days.sh("sed -i 's/{{ in }} > {{ out }}/{{ in }} > {{ out }}; false/' semel.toml");
    days.semel("run").exits(1);
    days.sh("rm raw/[1-4].csv");
    days.semel("prune --yes").exits(1).says("lost most of its items: 1, where there were 5");
    assert_eq!(days.list("clean").len(), 5);
}

#[test]
fn what_others_make_or_read_stays() {
    let scratch = scratch();
    scratch
        .pipeline(
            "[step.fetch]\nout = 'raw/a.csv'\nrun = 'echo a > {{ out }}'\n\
             [step.tool]\nout = 'tool.sh'\nrun = 'echo true > {{ out }}'\n\
             [step.config]\nout = 'config.txt'\nrun = 'echo c > {{ out }}'\n\
             [step.shared]\nout = 'shared.txt'\nrun = 'echo s > {{ out }}'\n\
             [step.tree]\nout = 'tree/'\nrun = 'echo t > {{ out }}/leaf'",
        )
        .semel("run")
        .exits(0);
    // Now these are what another step reads, runs, or makes by another name.
    let renamed = scratch.path().join("shared.txt");
    scratch.pipeline(&format!(
        "[step.clean]\neach = 'raw/*.csv'\nin = 'config.txt'\nout = 'clean/{{{{ item.name }}}}'\nrun = 'bash tool.sh; cp {{{{ item }}}} {{{{ out }}}}'\n\
         [step.shared2]\nout = '{}'\nrun = 'echo s > {{{{ out }}}}'\n\
         [step.leaf]\nout = 'tree/leaf'\nrun = 'echo t > {{{{ out }}}}'",
        renamed.display()
    ));
    let before = scratch.snapshot();
    let ran = scratch.semel("prune").exits(0);
    ran.clone().says("raw/a.csv  step `clean` reads it").says("config.txt  step `clean` reads it");
    ran.clone().says("tool.sh  step `clean` runs it").says("tree  `tree/leaf` lies in it");
    ran.says("nothing to prune").keeps_silent_of("shared.txt");
    scratch.semel("prune --yes").exits(0);
    assert_eq!(scratch.snapshot(), before);
}

#[test]
fn the_pipeline_itself_is_never_moved() {
    let scratch = scratch();
    let around = scratch.path().canonicalize().unwrap();
    scratch.file(
        "pipe/semel.toml",
        format!(
            "name = 'test'\n[step.b]\nrun = 'true'\n[step.a]\nout = 'x.toml'\nrun = 'echo > {{{{ out }}}}'\n[step.c]\nout = '{}/y/'\nrun = 'echo > {{{{ out }}}}/y'",
            around.display()
        ),
    );
    scratch.semel("run -f pipe/semel.toml").exits(0);
    // As if an earlier version had made these.
    let db = rusqlite::Connection::open(scratch.path().join("pipe/.semel/manifest.db")).unwrap();
    db.execute("update file set path = 'semel.toml' where path = 'x.toml'", []).unwrap();
    let around = around.to_str().unwrap();
    db.execute("update file set path = ? where path like '%/y'", [around]).unwrap();
    drop(db);
    scratch.file("pipe/semel.toml", "name = 'test'\n[step.b]\nrun = 'true'\n");
    let ran = scratch.semel("prune --yes -f pipe/semel.toml").exits(0);
    ran.clone().says("semel.toml  it is the pipeline file").says("nothing to prune");
    ran.says("lies in it, and it is semel's own folder");
    assert!(scratch.has("pipe/semel.toml"));
}

#[test]
fn another_pipeline_of_the_folder_keeps_what_is_its_own() {
    let scratch = scratch();
    scratch
        .pipeline("[step.a]\nout = 'a.txt'\nrun = 'echo a > {{ out }}'\n[step.b]\nrun = 'true'")
        .file(
            "other.toml",
            "name = 'other'\n[step.x]\nin = 'a.txt'\nout = 'x.txt'\nrun = 'cp {{ in }} {{ out }}'",
        );
    scratch.semel("run").exits(0);
    scratch.semel("run -f other.toml").exits(0);
    scratch.pipeline("[step.b]\nrun = 'true'");
    scratch.semel("prune --yes").exits(0).says("a.txt  `x` of pipeline `other` read it");
    assert!(scratch.has("a.txt") && scratch.has("x.txt"));
}

#[test]
fn what_was_made_once_stays() {
    let scratch = scratch();
    scratch.file("in/1", "1").file("in/2", "2").file("in/3", "3").pipeline(
        "[step.pay]\neach = 'in/*'\nonce = true\nout = 'paid/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}; echo {{ item }} >> trace'",
    );
    scratch.semel("run").exits(0);
    scratch.remove("in/3");
    scratch.semel("prune --yes").exits(0).says("paid/3  it was made once");
    assert!(scratch.has("paid/3"));
}

#[test]
fn a_list_that_is_not_made_yet_is_not_judged() {
    let scratch = scratch();
    scratch.file("names", "a\nb\nc\n").pipeline(
        "[step.list]\nin = 'names'\nout = 'list'\nrun = 'cp {{ in }} {{ out }}'\n\
         [step.make]\neach = { lines = 'list' }\nout = 'made/{{ item }}'\nrun = 'echo {{ item }} > {{ out }}'\n\
         [step.next]\neach = { outputs-of = 'make' }\nout = 'next/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'",
    );
    scratch.semel("run").exits(0);
    scratch.remove("list");
    let ran = scratch.semel("prune").exits(0).says("make  its tasks are known after list");
    ran.says("next  its tasks are known after make");
    // A list that somebody wrote is not the list.
    scratch.file("list", "a\nb\n");
    scratch.semel("prune --yes").exits(0).says("make  its tasks are known after list");
    assert!(scratch.has("made/c"));
    scratch.file("names", "a\nb\n").semel("run").exits(0);
    scratch.semel("prune --yes").exits(0).says("2 outputs moved aside");
    assert_eq!(scratch.list("made"), ["a", "b"]);
}

#[test]
fn what_a_step_may_make_or_read_whose_list_is_not_there_stays() {
    let scratch = scratch();
    scratch
        .file("names", "a\nb\n")
        .pipeline(
            "[step.old]\nout = { one = 'made/x', two = 'config', three = 'side/a' }\n\
             run = 'echo 1 > {{ out.one }}; echo 2 > {{ out.two }}; echo 3 > {{ out.three }}'",
        )
        .semel("run")
        .exits(0);
    let list = "[step.list]\nin = 'names'\nout = 'list'\nrun = 'cp {{ in }} {{ out }}'\n";
    scratch.pipeline(&format!(
        "{list}[step.make]\neach = {{ lines = 'list' }}\nin = 'config'\nout = 'made/{{{{ item }}}}'\nrun = 'cp {{{{ in }}}} {{{{ out }}}}'\n\
         [step.use]\neach = {{ lines = 'list' }}\nin = 'side/{{{{ item }}}}'\nout = 'used/{{{{ item }}}}'\nrun = 'cp {{{{ in }}}} {{{{ out }}}}'"
    ));
    let ran = scratch.semel("prune --yes").exits(0).says("config  step `make` reads it");
    ran.clone().says("made/x  step `make` may make it: its list is not there yet");
    ran.says("side/a  step `use` may read it");
    assert!(scratch.has("made/x") && scratch.has("config") && scratch.has("side/a"));
}

#[test]
fn only_this_instance_is_judged() {
    let scratch = scratch();
    for month in ["01", "02"] {
        scratch.file(format!("raw/{month}-a"), month).file(format!("raw/{month}-b"), month);
        scratch.file(format!("raw/{month}-c"), month);
    }
    scratch.pipeline(
        "per = ['month']\n[params]\nmonth = '01'\n[step.copy]\neach = 'raw/{{ params.month }}-*'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'",
    );
    scratch.semel("run").exits(0);
    scratch.semel("run -p month=02").exits(0);
    scratch.remove("raw/01-c").remove("raw/02-c");
    scratch.semel("prune").exits(0).says("month 01").says("out/01-c").keeps_silent_of("out/02-c");
    scratch.semel("prune --yes -p month=02").exits(0).says("out/02-c");
    assert!(scratch.has("out/01-c") && !scratch.has("out/02-c"));
}

/// Without `per` another value of a parameter is another list, not a shorter one.
#[test]
fn what_was_made_with_another_parameter_stays() {
    let scratch = scratch();
    scratch.file("raw/01-a", "1").file("raw/02-a", "2").pipeline(
        "[params]\nmonth = '01'\n[step.copy]\neach = 'raw/{{ params.month }}-*'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'",
    );
    scratch.semel("run").exits(0);
    scratch.semel("run -p month=02").exits(0);
    scratch.semel("prune --yes").exits(0).says("out/02-a  it was made with month = 02");
    assert!(scratch.has("out/02-a"));
    scratch.semel("manifest gc --keep 0s --yes").exits(0);
    assert_eq!(scratch.query("select count(*) from receipt"), ["2"], "nor is its receipt ended");
}

/// With another file of the same name all steps would seem to be gone.
#[test]
fn two_files_of_one_name_are_an_error_here_too() {
    let days = days();
    days.semel("run").exits(0);
    days.file("other.toml", "name = 'test'\n[step.b]\nrun = 'true'");
    for verb in ["prune", "prune --yes", "manifest gc --yes"] {
        days.semel(&format!("{verb} -f other.toml")).exits(2).says("are both named `test`");
    }
    assert_eq!(days.list("clean").len(), 5);
}

#[test]
fn it_is_busy_while_a_run_is_at_work() {
    let scratch = scratch();
    let gate = semel_testkit::Gate::new(scratch.path(), "gate");
    scratch.pipeline("[step.a]\nout = 'a.txt'\nrun = 'echo a > {{ out }}'\n[step.b]\nrun = 'true'");
    scratch.semel("run").exits(0);
    scratch.pipeline(&format!("[step.b]\nrun = '''{}'''", gate.wait()));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("prune --yes").exits(4).says("test is at work already");
    assert!(scratch.has("a.txt"));
    scratch.semel("prune").exits(0).says("a.txt");
    gate.open();
    running.end().exits(0);
    scratch.semel("prune --yes").exits(0);
    assert!(!scratch.has("a.txt"));
}

/// Killed in any moment: each output is where it was or where it goes, and the next
/// prune moves the rest.
#[test]
fn i8_killed_in_the_middle_nothing_is_lost() {
    let reference: Vec<_> = (0..40).map(|at| format!("{at:02}")).collect();
    for round in [1, 7, 20, 39] {
        let scratch = scratch();
        for name in &reference {
            scratch.file(format!("in/{name}"), name);
        }
        scratch.pipeline(
            "[step.copy]\neach = 'in/*'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'\n[step.b]\nrun = 'true'",
        );
        scratch.semel("run").exits(0);
        scratch.pipeline("[step.b]\nrun = 'true'");
        let running = scratch.start("prune --yes");
        eventually("some were moved", || scratch.list("out").len() <= 40 - round);
        kill_tree(running.pid());
        let _ = running.end();
        let left = scratch.list("out");
        scratch.semel("prune --yes").exits(0);
        assert_eq!(scratch.list("out"), [""; 0]);
        let mut found = Vec::new();
        for pruned in scratch.list(".semel/displaced") {
            let folder = format!(".semel/displaced/{pruned}/out");
            if scratch.has(&folder) {
                for name in scratch.list(&folder) {
                    assert_eq!(scratch.text(format!("{folder}/{name}")), name);
                    found.push(name);
                }
            }
        }
        found.sort();
        assert_eq!(found, reference, "killed when {} were left", left.len());
        scratch.semel("run").exits(0);
        scratch.semel("run --expect-noop").exits(0);
    }
}

#[test]
fn an_output_on_another_file_system_is_copied_before_it_is_removed() {
    use std::os::unix::fs::MetadataExt as _;
    let scratch = scratch();
    let device = |path: &std::path::Path| path.metadata().map(|meta| meta.dev()).ok();
    let other = std::path::Path::new("/dev/shm");
    if device(other).is_none() || device(other) == device(scratch.path()) {
        eprintln!("SKIPPED: /dev/shm is no other file system here");
        return;
    }
    let folder = tempfile::tempdir_in(other).unwrap();
    let out = folder.path().join("tree");
    scratch.pipeline(&format!(
        "[step.tree]\nout = '{}/'\nrun = 'echo x > {{{{ out }}}}/leaf; ln -s leaf {{{{ out }}}}/link'\n[step.b]\nrun = 'true'",
        out.display()
    ));
    scratch.semel("run").exits(0);
    scratch.pipeline("[step.b]\nrun = 'true'");
    scratch.semel("prune --yes").exits(0).says("1 output moved aside");
    assert!(!out.exists());
    let inside = out.strip_prefix("/").unwrap();
    let moved = scratch.path().join(aside(&scratch)).join(inside);
    assert_eq!(std::fs::read_to_string(moved.join("leaf")).unwrap(), "x\n");
    assert_eq!(std::fs::read_link(moved.join("link")).unwrap(), std::path::Path::new("leaf"));
}

#[test]
fn items_of_every_source_are_judged() {
    let scratch = scratch();
    scratch
        .file("rows", "id,name\n1,x\n2,y\n3,z\n")
        .file("names", "a\nb\nc\n")
        .file("in/a", "a")
        .file("in/b", "b")
        .file("in/c", "c")
        .pipeline(
            "[step.rows]\neach = { csv = 'rows', name = 'id' }\nout = 'rows.d/{{ item.name }}'\nrun = 'echo {{ item.id }} > {{ out }}'\n\
             [step.asked]\neach = { command = 'cat names' }\nout = 'asked/{{ item }}'\nrun = 'echo {{ item }} > {{ out }}'\n\
             [step.first]\neach = 'in/*'\nout = 'first/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'\n\
             [step.second]\neach = { items-of = 'first' }\nout = 'second/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'",
        );
    scratch.semel("run").exits(0);
    scratch.file("rows", "id,name\n1,x\n3,z\n").file("names", "a\nc\n").remove("in/b");
    scratch.semel("prune --yes").exits(0).says("4 outputs moved aside");
    let aside = aside(&scratch);
    for moved in ["rows.d/y", "asked/b", "first/b", "second/b"] {
        assert!(scratch.has(format!("{aside}/{moved}")) && !scratch.has(moved), "{moved}");
    }
    scratch.semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
    // A list that cannot be had is no empty list.
    scratch.remove("names").semel("prune --yes").exits(1);
}
