//! Bad input gets a diagnostic with its place and the next command to type, the
//! documented exit status, and changes nothing: not even a `.semel/`.

use std::io::Read as _;
use std::process::Command;

use semel_testkit::Scratch;

use crate::{days, scratch};

/// Runs a pipeline that cannot work; what is said, and that nothing was made.
fn refused(scratch: &Scratch, status: i32) -> String {
    let before = scratch.snapshot();
    let ran = scratch.semel("run").exits(status);
    assert!(!scratch.has(".semel"), "{ran:?}");
    assert_eq!(scratch.snapshot(), before);
    ran.shown()
}

fn refused_pipeline(text: &str, status: i32) -> String {
    let scratch = scratch();
    scratch.pipeline(text);
    refused(&scratch, status)
}

#[test]
fn all_faults_of_a_file_at_once_each_underlined() {
    let scratch = scratch();
    scratch.file(
        "semel.toml",
        r#"nam  = "nightly"
jobs = "many"

[params]
month = "2013-02"

[step.fetch]
run     = 'curl -fsSo {{ out }} https://example.com/rates.csv'
timeout = "soon"

[step.load]
each = "clean/*.csv"
run  = '''psql -c "\copy orders from '{{ item }}' csv header"'''
same = "contents"
need = ["fetch"]

[step.announce]
after = ["laod"]
once  = true
run   = "notify loaded {{ params.month }} {{ params.yaer }}"
"#,
    );
    insta::assert_snapshot!("faults", refused(&scratch, 2));
}

#[test]
fn broken_toml() {
    insta::assert_snapshot!(
        "broken_toml",
        refused_pipeline("[step.a\nrun = 'x'\n[step.b]\nrun = 'unclosed\n", 2)
    );
}

#[test]
fn a_circle_of_steps_is_spelled_out() {
    let text = "[step.a]\nneeds = ['c']\nrun = 'x'\n\n[step.b]\nafter = ['a']\nrun = 'x'\n\n[step.c]\nneeds = ['b']\nrun = 'x'\n";
    insta::assert_snapshot!("circle", refused_pipeline(text, 2));
}

#[test]
fn two_tasks_with_one_output() {
    let scratch = scratch();
    scratch.file("a/1.csv", "").file("b/1.csv", "").pipeline(
        "[step.copy]\neach = '*/*.csv'\nout  = 'out/{{ item.name }}'\nrun  = 'cp {{ item }} {{ out }}'\n",
    );
    insta::assert_snapshot!("two_outputs", refused(&scratch, 2));
}

#[test]
fn an_output_within_another() {
    let text = "[step.site]\nout = 'site/'\nrun = 'x {{ out }}'\n\n[step.map]\nout = 'site/map.xml'\nrun = 'x {{ out }}'\n";
    insta::assert_snapshot!("output_within", refused_pipeline(text, 2));
}

#[test]
fn items_that_match_an_output() {
    let scratch = scratch();
    scratch.file("data/1.csv", "").pipeline(
        "[step.clean]\neach = 'data/*.csv'\nout  = 'data/{{ item.stem }}.clean.csv'\nrun  = 'cp {{ item }} {{ out }}'\n",
    );
    insta::assert_snapshot!("own_outputs", refused(&scratch, 2));
    scratch.pipeline(
        "[step.make]\nout = 'data/made.csv'\nrun = 'x {{ out }}'\n\n[step.load]\neach = 'data/*.csv'\nsame = 'content'\nrun  = 'x {{ item }}'\n",
    );
    insta::assert_snapshot!("others_outputs", refused(&scratch, 2));
}

#[test]
fn a_missing_input() {
    let text = "[step.copy]\nin  = 'raw.csv'\nout = 'out.csv'\nrun = 'cp {{ in }} {{ out }}'\n";
    insta::assert_snapshot!("missing_input", refused_pipeline(text, 1));
    let text =
        "[step.copy]\nin  = 'raw/*.csv'\nout = 'out.csv'\nrun = 'cat {{ in }} > {{ out }}'\n";
    insta::assert_snapshot!("missing_inputs", refused_pipeline(text, 1));
}

#[test]
fn a_link_to_nowhere() {
    let scratch = scratch();
    scratch.sh("mkdir raw; ln -s nowhere raw/1.csv").pipeline(
        "[step.copy]\neach = 'raw/*.csv'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'\n",
    );
    insta::assert_snapshot!("link_to_nowhere", refused(&scratch, 1));
}

#[test]
fn an_empty_list_of_items() {
    let text = "[step.copy]\neach = 'raw/*.csv'\nout  = 'out/{{ item.name }}'\nrun  = 'cp {{ item }} {{ out }}'\n";
    insta::assert_snapshot!("no_items", refused_pipeline(text, 1));
    let scratch = scratch();
    scratch.pipeline(&text.replace("'raw/*.csv'", "{ files = 'raw/*.csv', empty = 'ok' }"));
    scratch.semel("run").exits(0);
}

#[test]
fn a_list_that_lost_most_of_its_items() {
    let days = days();
    days.semel("run").exits(0);
    days.sh("rm raw/[1-3].csv");
    let before = days.snapshot();
    let ran = days.semel("run").exits(1);
    insta::assert_snapshot!("shrunk", ran.shown());
    assert_eq!(days.snapshot(), before);
    assert_eq!(days.query("select count(*) from run"), ["1"], "it was not even begun");
    days.sh("sed -i 's/^each = \"raw.*/each = { files = \"raw\\/*.csv\", shrink = \"ok\" }/' semel.toml");
    days.semel("run").exits(0);
    // Half of them may go unsaid.
    days.file("raw/1.csv", "day,flights\n1,1\n").semel("run").exits(0);
}

#[test]
fn an_output_that_is_a_folder() {
    let scratch = scratch();
    scratch
        .file("out.csv/kept", "x")
        .pipeline("[step.make]\nout = 'out.csv'\nrun = 'echo x > {{ out }}'\n");
    insta::assert_snapshot!("output_is_folder", refused(&scratch, 1));
}

#[test]
fn an_output_that_became_a_folder_fails_its_task_only() {
    let days = days();
    days.semel("run").exits(0);
    days.sh("rm clean/2.csv; mkdir clean/2.csv; echo kept > clean/2.csv/x");
    days.file("raw/1.csv", "day,flights\n1,1\n");
    days.semel("run").exits(1).says("its output `clean/2.csv` is a folder");
    assert_eq!(days.text("clean/2.csv/x"), "kept\n");
    assert_eq!(days.text("clean/1.csv"), "1,1\n", "what does not depend on it went on");
}

#[test]
fn a_list_with_a_value_twice() {
    let scratch = scratch();
    scratch
        .file("hosts", "a\nb\na\n")
        .pipeline("[step.visit]\neach = { lines = 'hosts' }\nrun = 'ping {{ item }}'\n");
    insta::assert_snapshot!("value_twice", refused(&scratch, 1));
}

#[test]
fn no_pipeline_file() {
    let scratch = scratch();
    insta::assert_snapshot!("no_file", refused(&scratch, 2));
    insta::assert_snapshot!("no_named_file", scratch.semel("run -f other.toml").exits(2).shown());
}

#[test]
fn wrong_words_on_the_command_line() {
    let days = days();
    insta::assert_snapshot!("wrong_parameter", days.semel("run -p mnoth=3").exits(2).shown());
    days.semel("run --qiet").exits(2).says("--quiet");
    days.semel("rnu").exits(2);
    days.semel("run -p x").exits(2).says("NAME=VALUE");
    assert!(!days.has(".semel"));
}

#[test]
fn a_manifest_of_a_newer_semel() {
    let days = days();
    days.semel("run").exits(0);
    let db = rusqlite::Connection::open(days.path().join(".semel/manifest.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let before = days.snapshot();
    for verb in ["run", "plan", "status", "log", "why report"] {
        let ran = days.semel(verb).exits(5);
        assert!(ran.stderr.contains("written by a newer semel"), "{verb}: {ran:?}");
    }
    insta::assert_snapshot!("newer_manifest", days.semel("run").exits(5).shown());
    assert_eq!(days.snapshot(), before);
}

#[test]
fn a_manifest_that_is_something_else() {
    let days = days();
    days.file(".semel/manifest.db", "not a database at all, but long enough to be taken for one");
    // Whatever it is, it is kept; and what is done once may have been done.
    days.semel("run").exits(3).says("set aside as .semel/manifest.db.damaged-").says("tell");
    days.sh("grep -q 'not a database at all' .semel/manifest.db.damaged-*");
    assert!(!days.has("outbox"));
}

#[test]
fn a_manifest_that_is_a_database_of_somebody_else() {
    let days = days();
    days.semel("init --bare").exits(0);
    days.sh("rm .semel/manifest.db*");
    let db = rusqlite::Connection::open(days.path().join(".semel/manifest.db")).unwrap();
    db.execute_batch("create table theirs (x)").unwrap();
    drop(db);
    insta::assert_snapshot!("foreign_manifest", days.semel("run").exits(5).shown());
}

#[test]
fn an_unreadable_input() {
    let scratch = scratch();
    scratch.file("raw/1.csv", "x").file("raw/2.csv", "x").pipeline(
        "[step.copy]\neach = 'raw/*.csv'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'\n",
    );
    scratch.sh("chmod 000 raw/2.csv; chmod 777 .");
    let ran = scratch.ran(scratch.command_of_nobody(["run"])).exits(1);
    assert!(ran.stderr.contains("cannot read `raw/2.csv`: Permission denied"), "{ran:?}");
    assert!(!scratch.has(".semel"));
}

#[test]
fn reading_verbs_where_semel_may_only_be_read() {
    let days = days();
    days.semel("run").exits(0);
    days.file("raw/1.csv", "day,flights\n1,1\n");
    days.sh("chmod -R a+rX . ; chmod a-w . .semel .semel/*");
    for (words, status, says) in [
        (&["status"][..], 0, "last good run   1"),
        (&["plan"], 0, "its input changed"),
        (&["why", "clean:raw/1.csv"], 0, "its input changed"),
        (&["log"], 0, ""),
        (&["manifest", "query", "select count(*) as n from receipt"], 0, "12"),
        (&["run"], 5, "broken"),
    ] {
        days.ran(days.command_of_nobody(words)).exits(status).says(says);
    }
    days.sh("chmod u+w . .semel .semel/*");
}

/// A scratch folder on a file system of this size; `None` where none can be had.
#[allow(clippy::print_stderr, reason = "what was skipped is told")]
pub(super) fn small_disk(size: &str) -> Option<(tempfile::TempDir, Mounted)> {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
        .arg(folder.path())
        .output()
        .is_ok_and(|mount| mount.status.success());
    if !mounted {
        eprintln!("skipped: no file system can be mounted here");
        return None;
    }
    let mounted = Mounted(folder.path().to_owned());
    Some((folder, mounted))
}

/// A file system that goes with the test.
pub(super) struct Mounted(std::path::PathBuf);

impl Mounted {
    /// Gives it another size.
    pub(super) fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(status.unwrap().success(), "{size}");
    }

    /// How much of it is used, in KiB.
    fn used_kib(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize / 1024
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn no_space_for_a_first_run_leaves_nothing() {
    let Some((folder, _mounted)) = small_disk("16k") else {
        return;
    };
    std::fs::write(
        folder.path().join("semel.toml"),
        "name = 'a'\n[step.a]\nout = 'a'\nrun = 'echo a > {{ out }}'",
    )
    .unwrap();
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_semel"))
            .arg("run")
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let ran = run();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(5), "{said}");
    assert!(said.contains("broken"), "{said}");
    assert!(!folder.path().join(".semel").exists(), "{said}");
}

/// However much room there is: a manifest is made whole or not at all, and the one
/// that is there is never set aside for half a one.
#[test]
fn no_space_for_a_manifest_leaves_no_half_one() {
    for room in (40..=280).step_by(20) {
        let Some((folder, mounted)) = small_disk(&format!("{room}k")) else {
            return;
        };
        std::fs::write(
            folder.path().join("semel.toml"),
            "name = 'a'\n[step.a]\nout = 'a'\nrun = 'echo a > {{ out }}'",
        )
        .unwrap();
        let semel = |words: &str| {
            let semel = Command::new(env!("CARGO_BIN_EXE_semel"))
                .args(words.split_whitespace())
                .current_dir(folder.path())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&semel.stderr).into_owned();
            assert!(!said.contains("malformed"), "{room}k, {words}: {said}");
            (semel.status.code(), said)
        };
        semel("run");
        mounted.resize("20m");
        assert_eq!(semel("run").0, Some(0), "{room}k");
        let filler = std::fs::File::create(folder.path().join("filler")).unwrap();
        mounted.resize("600k");
        let used = mounted.used_kib();
        filler.set_len(0).unwrap();
        std::io::copy(
            &mut std::io::repeat(0).take((600_u64).saturating_sub(used + room) * 1024),
            &mut &filler,
        )
        .unwrap();
        semel("manifest rebuild");
        mounted.resize("20m");
        let (status, said) = semel("run");
        assert_eq!(status, Some(0), "{room}k: {said}");
    }
}

#[test]
fn no_space_for_an_output_keeps_the_old_one_and_the_next_run_goes_on() {
    let Some((folder, _mounted)) = small_disk("1m") else {
        return;
    };
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_semel"))
            .arg("run")
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    file(
        "semel.toml",
        "name = 'a'\n[step.a]\nin = 'n'\nout = 'a'\nrun = 'head -c $(cat {{ in }}) /dev/zero > {{ out }}'",
    );
    file("n", "1000");
    assert!(run().status.success());
    file("n", "2000000");
    let ran = run();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(matches!(ran.status.code(), Some(1 | 5)), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(std::fs::metadata(folder.path().join("a")).unwrap().len(), 1000, "{said}");
    file("n", "2000");
    let ran = run();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(std::fs::metadata(folder.path().join("a")).unwrap().len(), 2000);
}

#[test]
fn a_command_line_that_is_too_long_says_so() {
    let scratch = scratch();
    scratch.sh("mkdir in; for i in $(seq 3000); do : > in/a-name-that-is-quite-long-so-that-many-of-them-do-not-fit-on-one-command-line-$i; done");
    scratch.pipeline("[step.all]\nin = 'in/*'\nout = 'out'\nrun = 'ls {{ in }} > {{ out }}'");
    scratch.semel("run").exits(1).says("its command line is too long for the system");
}

#[test]
fn an_output_that_climbs_out_of_its_folder() {
    for (out, item) in
        [("w/{{ item }}", "../../x"), ("{{ item }}", "../x"), ("a/../b/{{ item }}", "x")]
    {
        let scratch = scratch();
        scratch.file("list", item).pipeline(&format!(
            "[step.a]\neach = {{ lines = 'list' }}\nout = '{out}'\nrun = 'echo x > {{{{ out }}}}'"
        ));
        assert!(refused(&scratch, 2).contains("climbs with `..`"), "{out}");
    }
}

#[test]
fn a_folder_as_input_that_holds_the_output() {
    let scratch = scratch();
    scratch
        .file("d/b", "1")
        .pipeline("[step.a]\nin = 'd'\nout = 'd/a'\nrun = 'cat {{ in }}/* > {{ out }}'");
    assert!(refused(&scratch, 2).contains("a pattern that takes an output: `d/a`"));
}
