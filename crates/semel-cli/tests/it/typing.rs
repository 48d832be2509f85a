//! What helps people type: the help in its groups, man pages, completions.

use std::process::Command;

use crate::scratch;

/// The verbs that `--help` shows, with their groups.
fn verbs() -> Vec<(String, String)> {
    let help = scratch().semel("--help").exits(0).stdout;
    let (_, groups) = help.split_once("[OPTIONS]\n\n").unwrap();
    let (groups, _) = groups.split_once("\n\nOptions:").unwrap();
    let mut group = String::new();
    let mut verbs = Vec::new();
    for line in groups.lines() {
        match line.strip_prefix("  ") {
            None => line.clone_into(&mut group),
            Some(verb) => {
                let name = verb.split_whitespace().next().unwrap();
                verbs.push((group.clone(), name.to_owned()));
            }
        }
    }
    verbs
}

#[test]
fn help_shows_the_verbs_that_are_there_in_their_groups() {
    let verbs = verbs();
    for (group, verb) in
        [("every day", "run"), ("settle", "redo"), ("trust", "verify"), ("care", "prune")]
    {
        assert!(verbs.contains(&(group.to_owned(), verb.to_owned())), "{verb}: {verbs:?}");
    }
    for (_, verb) in &verbs {
        scratch().semel(&format!("{verb} --help")).exits(0).says("Usage: semel ");
    }
}

#[test]
fn every_verb_has_a_man_page() {
    let scratch = scratch();
    scratch.semel("manual man").exits(0).says("the man pages are in man");
    let pages = scratch.list("man");
    for (_, verb) in verbs() {
        assert!(pages.contains(&format!("semel-{verb}.1")), "{verb}: {pages:?}");
    }
    assert!(scratch.text("man/semel-prune.1").contains("semel prune \\-\\-yes"));
    assert_eq!(
        scratch
            .semel("manual")
            .exits(0)
            .stdout
            .lines()
            .filter(|line| line.starts_with(".TH"))
            .count(),
        1
    );
    scratch.file("taken", "").semel("manual taken").exits(5).says("cannot make taken");
}

#[test]
fn completions_know_the_verbs_and_are_understood_by_their_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let scratch = scratch();
        let script = scratch.semel(&format!("completions {shell}")).exits(0).stdout;
        for (_, verb) in verbs() {
            assert!(script.contains(&verb), "{shell} does not know {verb}");
        }
        scratch.file("script", script);
        let syntax = Command::new(shell).arg("-n").arg(scratch.path().join("script")).status();
        match syntax {
            Ok(status) => assert!(status.success(), "{shell} does not understand it"),
            Err(error) => eprintln!("SKIPPED for {shell}: {error}"),
        }
    }
    scratch().semel("completions tcsh").exits(2).says("possible values: bash, zsh, fish");
}

#[test]
fn bash_completes_a_verb() {
    let scratch = scratch();
    let script = scratch.semel("completions bash").exits(0).stdout;
    scratch.file("script", script);
    let asked = "source ./script; COMP_WORDS=(semel ver); COMP_CWORD=1; _semel semel ver semel; echo ${COMPREPLY[*]}";
    let output =
        Command::new("bash").args(["-c", asked]).current_dir(scratch.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "verify\n", "{output:?}");
}
