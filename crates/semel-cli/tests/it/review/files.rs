//! Files: of other hands, of several outputs, and that change while a command runs.
//! F10, F12, F13, F24.

use semel_testkit::Gate;

use crate::effects::one_output;
use crate::{days, ran, scratch, trace};

#[test]
fn f10_a_check_that_does_not_hold_after_the_command_puts_the_old_output_back() {
    let scratch = scratch();
    scratch.file("in", "good").pipeline(
        "[step.make]\nin = 'in'\nout = 'out'\nrun = 'cp {{ in }} {{ out }}'\ncheck = { run = 'cat {{ out }}', equals = 'good' }",
    );
    scratch.semel("run").exits(0);
    scratch
        .file("in", "bad")
        .semel("run")
        .exits(1)
        .says("it ended well, but its check does not hold");
    assert_eq!(scratch.text("out"), "good");
    scratch.file("in", "good").semel("run --expect-noop").exits(0);
}

#[test]
fn f10_what_a_user_put_there_is_back_where_it_was_when_the_check_does_not_hold() {
    let scratch = scratch();
    let step = |out: &str, run: &str| {
        format!("[step.a]\nout = '{out}'\ncheck = 'test -e good'\nrun = '{run}'")
    };
    scratch.file("out", "mine").pipeline(&step("out", "echo made > {{ out }}"));
    scratch.semel("run").exits(1);
    assert_eq!(scratch.text("out"), "mine");
    scratch.file("site/CNAME", "mine").pipeline(&step("site/", "echo made > {{ out }}/page"));
    scratch.semel("run").exits(1);
    assert_eq!(
        (scratch.list("site"), scratch.text("site/CNAME")),
        (vec!["CNAME".to_owned()], "mine".into())
    );
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
}

#[test]
fn f10_of_several_outputs_all_are_put_back() {
    let scratch = scratch();
    scratch.file("n", "1").pipeline(
        "[step.a]\nin = 'n'\nout = ['a', 'b', 'new/c']\ncheck = 'cmp -s a good && cmp -s new/c good'\nrun = 'for o in {{ out }}; do cp {{ in }} $o; done'",
    );
    scratch.file("good", "1").semel("run").exits(0);
    scratch.file("n", "2").sh("rm new/c").semel("run").exits(1);
    assert_eq!((&*scratch.text("a"), &*scratch.text("b")), ("1", "1"));
    assert!(!scratch.has("new/c"));
    scratch.file("good", "2").semel("run").exits(0);
    assert_eq!((&*scratch.text("a"), &*scratch.text("new/c")), ("2", "2"));
}

#[test]
fn f12_what_was_mended_by_hand_at_night_is_kept() {
    let days = days();
    days.semel("run").exits(0);
    days.file("clean/2.csv", "mended by hand\n");
    days.semel("run").exits(0).says("1 repaired").says(".semel/displaced/2/clean/2.csv");
    assert_eq!(days.text("clean/2.csv"), "2,200\n");
    assert_eq!(days.text(".semel/displaced/2/clean/2.csv"), "mended by hand\n");
}

#[test]
fn f12_what_was_there_before_the_first_run_is_kept() {
    let scratch = one_output("echo made > {{ out }}");
    scratch.file("out.csv", "precious");
    scratch.semel("run").exits(0).says("not made by semel");
    assert_eq!(scratch.text("out.csv"), "made\n");
    assert_eq!(scratch.text(".semel/displaced/1/out.csv"), "precious");
    // A new memory gives no run the number of one of which something is left.
    scratch.file("out.csv", "again").sh("rm .semel/manifest.db*");
    scratch.semel("run").exits(0).says("run 2");
    assert_eq!(scratch.text(".semel/displaced/1/out.csv"), "precious");
    assert_eq!(scratch.text(".semel/displaced/2/out.csv"), "again");
}

#[test]
fn f12_a_users_file_in_a_folder_that_is_an_output_is_not_lost() {
    let scratch = scratch();
    scratch.pipeline("[step.site]\nout = 'site/'\nrun = 'echo 1 > {{ out }}/page'");
    scratch.semel("run").exits(0);
    scratch.file("site/CNAME", "example.com").semel("run").exits(0).says("1 repaired");
    assert_eq!(scratch.list("site"), ["page"]);
    assert_eq!(scratch.text(".semel/displaced/2/site/CNAME"), "example.com");
}

/// It comes into being while the command runs: between the look and the rename.
#[test]
fn f12_what_a_user_puts_there_while_the_command_runs_is_kept() {
    for first in ["true", "echo older > out"] {
        let scratch = scratch();
        let gate = Gate::new(scratch.path(), "gate");
        scratch.sh(first).pipeline(&format!(
            "[step.a]\nout = 'out'\nrun = '''{}; echo made > {{{{ out }}}}'''",
            gate.wait()
        ));
        let running = scratch.start("run");
        gate.until_arrived();
        scratch.sh("rm -f out").file("out", "precious");
        gate.open();
        running.end().exits(0).says(".semel/displaced/1/out");
        assert_eq!(
            (&*scratch.text("out"), &*scratch.text(".semel/displaced/1/out")),
            ("made\n", "precious")
        );
    }
}

#[test]
fn f12_mended_by_hand_while_the_input_changed_too_it_is_kept() {
    let scratch = scratch();
    scratch
        .file("in", "1")
        .pipeline("[step.a]\nin = 'in'\nout = 'out'\nrun = 'cp {{ in }} {{ out }}'");
    scratch.semel("run").exits(0);
    scratch
        .file("in", "2")
        .file("out", "mine")
        .semel("run")
        .exits(0)
        .says(".semel/displaced/2/out");
    assert_eq!((&*scratch.text("out"), &*scratch.text(".semel/displaced/2/out")), ("2", "mine"));
    // Appended to, which keeps the stamp on it.
    scratch.file("in", "3").sh("echo mine >> out").semel("run").exits(0);
    assert_eq!(scratch.text(".semel/displaced/3/out"), "2mine\n");
    // A failure displaces nothing.
    scratch.file("out", "mine").file("in", "4");
    scratch.pipeline("[step.a]\nin = 'in'\nout = 'out'\nrun = 'cp {{ in }} {{ out }}; exit 1'");
    scratch.semel("run").exits(1);
    assert_eq!(scratch.text("out"), "mine");
    assert!(!scratch.has(".semel/displaced/4/out"));
}

#[test]
fn f12_a_users_file_deep_in_a_folder_and_one_changed_there_are_kept() {
    for world in [
        "mkdir -p site/a/mine; echo x > site/a/mine/x",
        "echo x >> site/a/page",
        "ln -s /etc site/a/link",
        "mkdir site/empty",
        "chmod -w site/a/page; rm -f site/b",
    ] {
        let scratch = scratch();
        scratch.pipeline("[step.site]\nout = 'site/'\nrun = 'mkdir {{ out }}/a; echo 1 > {{ out }}/a/page; echo 2 > {{ out }}/b'");
        scratch.semel("run").exits(0);
        scratch.sh(&format!("{world}; cp -a site expected"));
        scratch.semel("run").exits(0).says("1 repaired").says(".semel/displaced/2/site");
        assert_eq!(scratch.list("site"), ["a", "b"], "{world}");
        assert_eq!(scratch.list("site/a"), ["page"], "{world}");
        scratch.sh("diff -r --no-dereference expected .semel/displaced/2/site");
    }
}

/// `mv` is what people write; the file they moved is the only one there is.
#[test]
fn f12_what_a_command_moved_into_its_output_is_not_destroyed() {
    for (out, run) in [
        ("done/{{ item.name }}", "mv {{ item }} {{ out }}; exit 1"),
        ("done/{{ item.name }}", "mv {{ item }} {{ out }}"),
        ("done/{{ item.stem }}/", "mv {{ item }} {{ out }}/; exit 1"),
    ] {
        let scratch = scratch();
        scratch
            .file("raw/1", "precious")
            .pipeline(&format!("[step.a]\neach = 'raw/*'\nout = '{out}'\nrun = '{run}'"));
        scratch.semel("run");
        scratch.semel("run");
        scratch.sh("grep -rq precious raw done .semel/displaced 2> /dev/null");
    }
}

#[test]
fn f12_mended_by_hand_on_another_file_system_it_is_kept_too() {
    let scratch = scratch();
    let other = tempfile::Builder::new().prefix("semel-test-").tempdir_in("/dev/shm").unwrap();
    let out = other.path().join("out");
    scratch.pipeline(&format!(
        "[step.a]\nout = '{}'\nrun = 'echo made > {{{{ out }}}}'",
        out.display()
    ));
    scratch.semel("run").exits(0);
    std::fs::write(&out, "mine").unwrap();
    scratch.semel("run").exits(0).says("is kept as");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "made\n");
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn f12_whatever_the_reason_to_write_over_it_what_is_not_ours_is_kept() {
    let step = |run: &str| {
        format!(
            "[step.a]\neach = 'raw/*'\nout = 'out/{{{{ item.name }}}}'\nrun = 'cp {{{{ item }}}} {{{{ out }}}}; {run}'"
        )
    };
    // What is done before, and then: a run.
    for (reason, first, word, then, last) in [
        ("fresh", "true", "plan", "true", "run --fresh"),
        ("redo", "true", "redo a:raw/1 --because x", "true", "run"),
        ("a failure", "printf B > raw/1; touch fails", "run", "rm fails", "run"),
        ("a lost memory", "rm .semel/manifest.db*", "plan", "true", "run"),
        ("another input", "printf C > raw/1", "plan", "true", "run"),
        ("another command", "sed -i 's/cp/cp -f/' semel.toml", "plan", "true", "run"),
    ] {
        let scratch = scratch();
        scratch.file("raw/1", "A").pipeline(&step("[ ! -e fails ]")).semel("run").exits(0);
        scratch.file("out/1", "mine").sh(first).semel(word);
        scratch.sh(then).semel(last).exits(0).says("was not made by semel");
        assert_ne!(scratch.text("out/1"), "mine", "{reason}");
        scratch.sh("grep -rqx mine .semel/displaced");
        scratch.semel("run --expect-noop").exits(0);
    }
    // A copy of what was made for an equal file takes no more than that.
    let scratch = scratch();
    scratch.file("raw/1", "A").pipeline(&step("true")).semel("run").exits(0);
    scratch.file("raw/2", "A").file("out/2", "mine");
    scratch.semel("run").exits(0).says("1 reused").says(".semel/displaced/2/out/2");
    assert_eq!(scratch.text(".semel/displaced/2/out/2"), "mine");
}

/// Two steps that write one file would undo each other's work at every run.
#[test]
fn f12_one_file_under_two_names_is_written_by_one_step_only() {
    for other in ["link/x", "WHOLE/real/x"] {
        let scratch = scratch();
        let folder = scratch.path().canonicalize().unwrap();
        let other = other.replace("WHOLE", &folder.to_string_lossy());
        scratch.sh("mkdir real; ln -s real link").pipeline(&format!(
            "[step.a]\nout = 'real/x'\nrun = 'echo a > {{{{ out }}}}'\n[step.b]\nout = '{other}'\nrun = 'echo b > {{{{ out }}}}'"
        ));
        scratch.semel("run").exits(2);
        assert!(!scratch.has("real/x"), "{other}");
    }
}

#[test]
fn f12_the_pipeline_file_is_no_output() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nout = 'semel.toml'\nrun = 'echo x > {{ out }}'");
    let before = scratch.text("semel.toml");
    scratch.semel("run").exits(2);
    assert_eq!(scratch.text("semel.toml"), before);
}

#[test]
fn f13_an_input_that_changes_under_the_command_voids_the_attempt() {
    let scratch = scratch();
    // The first attempt changes its own input, as an upload that still grows.
    scratch.file("in", "early").pipeline(
        "[step.copy]\nin = 'in'\nout = 'out'\nrun = 'cp {{ in }} {{ out }}; echo copy >> trace; [ -e late ] || { touch late; echo late > {{ in }}; }'",
    );
    scratch.semel("run").exits(0).says("changed while it ran; again");
    assert_eq!((scratch.text("out").as_str(), trace(&scratch)), ("late\n", ran(&[("copy", 2)])));
    assert_eq!(scratch.query("select ending from attempt order by number"), ["void", "done"]);
}

#[test]
fn f13_an_input_that_always_changes_fails_and_nothing_is_published() {
    let scratch = scratch();
    scratch.file("in", "0").pipeline(
        "[step.copy]\nin = 'in'\nout = 'out'\nrun = 'cp {{ in }} {{ out }}; echo x >> {{ in }}'",
    );
    scratch.semel("run").exits(1).says("its input `in` changes whenever it runs");
    assert!(!scratch.has("out"));
}

/// An upload that was there early, was replaced, and is back in the end.
#[test]
fn f13_an_input_that_was_another_in_between_voids_the_attempt() {
    let scratch = scratch();
    scratch.file("in", "A").pipeline(
        "[step.copy]\nin = 'in'\nout = 'out'\nrun = '[ -e once ] || printf B > new; [ -e once ] || mv new in; cp {{ in }} {{ out }}; touch once; printf A > new; mv new in'",
    );
    scratch.semel("run");
    assert!(!scratch.has("out") || scratch.text("out") == "A", "{}", scratch.text("out"));
}

#[test]
fn f13_every_kind_of_input_is_looked_at_again() {
    for (step, change) in [
        ("each = 'raw/*'", "printf 2 > raw/1"),
        ("in = 'raw/*'", "printf 2 > raw/1"),
        ("in = 'raw'", "touch raw/new"),
        ("in = 'raw/1'", "rm raw/1; mkdir raw/1"),
        ("in = 'raw/1'", "mv raw/1 t; cp t raw/1; printf 2 >> raw/1"),
        ("", "echo >> work.sh"),
    ] {
        let scratch = scratch();
        let out = if step.starts_with("each") { "out/{{ item.name }}" } else { "out" };
        scratch.file("raw/1", "1").file("work.sh", "cp semel.toml $1\n").pipeline(&format!(
            "[step.a]\n{step}\nout = '{out}'\nrun = 'bash work.sh {{{{ out }}}}; echo a >> trace; [ -e changed ] || {{ touch changed; {change}; }}'"
        ));
        let told = scratch.semel("run").says("changed while it ran; again");
        assert_eq!(told.status, 0, "{change}: {told:?}");
        assert_eq!(trace(&scratch), ran(&[("a", 2)]), "{change}");
        scratch.semel("run --expect-noop").exits(0);
    }
}

/// Somebody takes it away in the middle, or before the end.
#[test]
fn f13_an_input_that_is_removed_while_the_command_runs_fails_it() {
    let scratch = scratch();
    scratch
        .file("in", "1")
        .pipeline("[step.a]\nin = 'in'\nout = 'out'\nrun = 'cp {{ in }} {{ out }}; rm {{ in }}'");
    scratch.semel("run").exits(1).says("`in`");
    assert!(!scratch.has("out"));
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
}

#[test]
fn f24_a_folder_is_published_whole_and_replaced_whole() {
    let scratch = scratch();
    scratch.file("n", "1").pipeline(
        "[step.site]\nin = 'n'\nout = 'site/'\nrun = 'cp {{ in }} {{ out }}/page; cp {{ in }} {{ out }}/page-$(cat {{ in }})'",
    );
    scratch.semel("run").exits(0);
    assert_eq!(scratch.list("site"), ["page", "page-1"]);
    scratch.semel("run --expect-noop").exits(0);
    scratch.file("n", "2").semel("run").exits(0);
    assert_eq!(scratch.list("site"), ["page", "page-2"], "nothing of the old one is left");
    assert!(!scratch.has(".semel/displaced"), "the old one was semel's own");
}

#[test]
fn f24_staged_outputs_keep_their_names_and_are_absolute() {
    let scratch = one_output("cd /; case {{ out }} in /*/out.csv) echo good > {{ out }};; esac");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("out.csv"), "good\n");
}

/// Killed after the new folder took the place of the old one.
#[test]
fn f24_a_folder_that_took_its_place_is_not_exchanged_back() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.file("n", "1").file("open", "").pipeline(&format!(
        "[step.site]\nin = 'n'\nout = 'site/'\nrun = 'cp {{{{ in }}}} {{{{ out }}}}/page; echo site >> trace'\ncheck = '''[ -e open ] || [ $(cat site/page) = 1 ] || {{ {}; }}; test -e site/page'''",
        gate.wait()
    ));
    scratch.semel("run").exits(0);
    scratch.file("n", "2").remove("open");
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    assert_eq!(scratch.text("site/page"), "2");
    trace(&scratch);
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!((&*scratch.text("site/page"), trace(&scratch)), ("2", ran(&[])), "adopted");
    scratch.semel("run --expect-noop").exits(0);
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    assert!(!scratch.has(".semel/displaced/2"), "the old one was semel's own");
}

#[test]
fn f24_of_several_outputs_in_place_without_a_receipt_all_are_adopted_or_none() {
    for lost in [false, true] {
        let scratch = scratch();
        let gate = Gate::new(scratch.path(), "gate");
        scratch.pipeline(&format!(
            "[step.a]\nout = ['a', 'b']\nrun = 'for o in {{{{ out }}}}; do echo whole > $o; done; echo a >> trace'\ncheck = '''[ -e open ] || [ ! -e b ] || {{ {}; }}; test -e a'''",
            gate.wait()
        ));
        let running = scratch.start("run");
        gate.until_arrived();
        running.kill();
        trace(&scratch);
        scratch.file("open", "");
        if lost {
            scratch.remove("b");
        }
        scratch.semel("run").exits(0);
        assert_eq!(trace(&scratch).len(), usize::from(lost));
        assert_eq!((&*scratch.text("a"), &*scratch.text("b")), ("whole\n", "whole\n"));
        scratch.semel("run --expect-noop").exits(0);
    }
}

#[test]
fn f24_two_outputs_that_changed_places_do_not_prove_each_other() {
    for forgets in [false, true] {
        let scratch = scratch();
        scratch.pipeline(
            "[step.a]\nout = { good = 'good', bad = 'bad' }\nrun = 'echo 1 > {{ out.good }}; echo 2 > {{ out.bad }}; echo a >> trace'",
        );
        scratch.semel("run").exits(0);
        trace(&scratch);
        scratch.sh("mv good t; mv bad good; mv t bad");
        if forgets {
            // Only the stamps can tell.
            scratch.sh("rm .semel/manifest.db*");
        }
        scratch.semel("run").exits(0);
        assert_eq!(trace(&scratch), ran(&[("a", 1)]));
        assert_eq!((&*scratch.text("good"), &*scratch.text("bad")), ("1\n", "2\n"));
    }
}

/// A clean-up job, or a script gone wild, removes what is being written.
#[test]
fn f24_staging_that_somebody_removed_fails_and_the_old_output_stays() {
    let scratch = scratch();
    let step = |more: &str| {
        format!("[step.a]\nin = 'n'\nout = 'out'\nrun = 'cp {{{{ in }}}} {{{{ out }}}}; {more}'")
    };
    scratch.file("n", "1").pipeline(&step("true")).semel("run").exits(0);
    scratch.file("n", "2").pipeline(&step("rm -rf .semel/staging")).semel("run").exits(1);
    assert_eq!(scratch.text("out"), "1");
    scratch.pipeline(&step("true")).semel("run").exits(0);
    assert_eq!(scratch.text("out"), "2");
}

#[test]
fn f24_an_output_made_by_a_hard_link_does_not_change_with_its_input() {
    let scratch = scratch();
    scratch
        .file("in", "whole")
        .pipeline("[step.a]\nin = 'in'\nout = 'out'\nrun = 'ln {{ in }} {{ out }}'");
    scratch.semel("run").exits(0);
    scratch.sh("printf half > in");
    assert_eq!(scratch.text("out"), "whole");
}

#[test]
fn f24_if_one_of_several_outputs_cannot_take_its_place_all_stay_as_they_were() {
    let scratch = scratch();
    let step = |more: &str| {
        format!(
            "[step.a]\nin = 'n'\nout = ['a', 'b']\nrun = 'for o in {{{{ out }}}}; do cp {{{{ in }}}} $o; done; {more}'"
        )
    };
    scratch.file("n", "1").pipeline(&step("true")).semel("run").exits(0);
    scratch.file("n", "2").pipeline(&step("rm b; mkdir b; echo mine > b/mine"));
    scratch.semel("run").exits(1).says("its output `b` is a folder");
    assert_eq!((&*scratch.text("a"), &*scratch.text("b/mine")), ("1", "mine\n"));
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    scratch.pipeline(&step("true")).sh("rm -r b").semel("run").exits(0);
    assert_eq!((&*scratch.text("a"), &*scratch.text("b")), ("2", "2"));
}
