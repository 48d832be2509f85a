//! Commands: from what the file says to the words that are started.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::deed::Site;
use crate::thought::bind::Bindings;
use crate::words::path::path_of;
use crate::words::pipeline::{Command, ScriptState, Step};

/// The standard streams of a script, for its commands.
#[derive(Clone, Copy, Debug)]
pub struct Stdio<'a> {
    /// Standard input; without it, nothing.
    pub input: Option<BorrowedFd<'a>>,
    /// Standard output. What a command prints there is the script's, and passes through
    /// no other hands; unless standard error goes to the same file: then both are read
    /// and passed on together, in their order.
    pub output: Option<BorrowedFd<'a>>,
}

/// The program and arguments of a command, its placeholders filled in.
#[must_use]
pub fn words(command: &Command, bindings: &Bindings<'_>) -> Vec<OsString> {
    match command {
        Command::Shell { shell, prelude, text } => {
            let mut whole = Vec::new();
            if let Some(prelude) = prelude {
                whole.extend_from_slice(prelude.as_bytes());
                whole.push(b'\n');
            }
            whole.extend(text.render_shell(bindings));
            shell.iter().map(OsString::from).chain([OsString::from_vec(whole)]).collect()
        }
        Command::Words(words) => words
            .iter()
            .flat_map(|word| word.render_arguments(bindings))
            .map(OsString::from_vec)
            .collect(),
    }
}

/// The same in a shell that has the functions and variables of the script that says
/// the command, and stops at the first failure, whatever that script does.
#[must_use]
pub fn words_in_script(words: Vec<OsString>, script: &ScriptState) -> Vec<OsString> {
    // What may not be made anew (`BASHPID`, what is read-only) is as it is here.
    const RUN: &str = r#". "$0" 2> /dev/null; set -euo pipefail; "$@""#;
    let shell = ["bash", "-c", RUN].map(OsString::from).into_iter();
    shell.chain([script.state.clone().into_os_string()]).chain(words).collect()
}

/// What a command does, as people would type it.
#[must_use]
pub fn as_typed(command: &Command, bindings: &Bindings<'_>) -> String {
    match command {
        Command::Shell { text, .. } => {
            String::from_utf8_lossy(&text.render_shell(bindings)).trim().to_owned()
        }
        Command::Words(_) => {
            let words = words(command, bindings);
            let texts: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            crate::words::shell::quote_words(texts.iter().map(AsRef::as_ref))
        }
    }
}

/// The folder in which the commands of a step run.
#[must_use]
pub fn folder(site: &Site<'_>, step: &Step) -> PathBuf {
    if let Some(folder) = &step.runs_in {
        return folder.clone();
    }
    let root = site.disk.root();
    let Some(dir) = &step.dir else {
        return root.to_owned();
    };
    let env = site.environment(step);
    let bindings = Bindings { env: &env, ..Bindings::of(site.params, Some(step)) };
    root.join(path_of(dir.render(&bindings)))
}

/// The variables that a step sets for its command.
#[must_use]
pub fn env(step: &Step, bindings: &Bindings<'_>, task: &str) -> Vec<(OsString, OsString)> {
    let set = step
        .env
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from_vec(value.render(bindings))));
    // So that a command can say for whom it works.
    let told = [("SEMEL_RUN", bindings.run_id), ("SEMEL_TASK", task)];
    let told = told.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    told.into_iter().chain(set).collect()
}
