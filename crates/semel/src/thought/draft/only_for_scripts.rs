//! What a script needs and a pipeline does not: locks, flags, talk, usage.

use std::collections::BTreeSet;

use super::scene::Scene;
use super::statement::Statement;
use crate::thought::lint::known::is_harmless;
use crate::words::shell::{Simple, Word};

/// Files that are there only so that others see them: made empty, or holding a process's
/// number, and asked for by their being there.
pub(super) fn flags(all: &[Statement]) -> BTreeSet<String> {
    let simples =
        || all.iter().flat_map(|one| one.reading.simples.iter().map(move |simple| (one, simple)));
    let mut made: BTreeSet<String> = BTreeSet::new();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut trapped: BTreeSet<String> = BTreeSet::new();
    for (statement, simple) in simples() {
        let raw = |word: &Word| bare(statement, word);
        match simple.name() {
            "touch" => made.extend(simple.arguments().iter().map(raw)),
            "test" | "[" | "[[" => {
                let words: Vec<_> = simple.arguments().iter().map(raw).collect();
                let pairs =
                    words.windows(2).filter(|pair| matches!(pair[0].as_str(), "-e" | "-f" | "-s"));
                asked.extend(pairs.map(|pair| pair[1].clone()));
            }
            "trap" => {
                let code = simple.arguments().first().map(raw).unwrap_or_default();
                let words = code.split_whitespace().map(|word| word.trim_matches(['"', '\'', ';']));
                if code.trim_start().starts_with("rm ") {
                    trapped.extend(
                        words
                            .filter(|word| !word.starts_with('-') && *word != "rm")
                            .map(str::to_owned),
                    );
                }
            }
            "echo" if simple.plain().count() == 0 => {
                let is_number =
                    simple.arguments().iter().any(|word| statement.raw(&word.range).contains("$$"));
                let to = simple.redirections.iter().filter(|one| is_number && one.is_of_output());
                made.extend(to.map(|one| raw(&one.operand)));
            }
            ":" | "" => {
                let to = simple.redirections.iter().filter(|one| one.is_of_output());
                made.extend(to.map(|one| raw(&one.operand)));
            }
            _ => {}
        }
    }
    made.into_iter().filter(|file| asked.contains(file) || trapped.contains(file)).collect()
}

/// A word without its quotes.
fn bare(statement: &Statement, word: &Word) -> String {
    word.text.clone().unwrap_or_else(|| statement.raw(&word.range).replace(['"', '\''], ""))
}

/// Whether a statement takes, asks for or lets go of a lock, and does nothing else.
pub(super) fn is_lock(statement: &Statement, scene: &Scene) -> bool {
    let simples = &statement.reading.simples;
    let alone = statement.alone();
    if let Some(simple) = alone
        && statement.head(simple) == "exec"
        && simple.words.len() <= 2
        && simple.redirections.iter().any(|one| names_lock(statement, &one.operand, scene))
    {
        return true;
    }
    let is_flock = |simple: &&Simple| {
        let last = simple.arguments().last().and_then(|word| word.text.as_deref());
        simple.name() == "flock"
            && last.is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()))
    };
    let others_give_up = |is_it: &dyn Fn(&&Simple) -> bool| {
        simples.iter().all(|simple| is_it(&simple) || gives_up(statement, simple) || asks(simple))
    };
    if simples.iter().any(|simple| is_flock(&simple)) {
        return others_give_up(&is_flock);
    }
    let handles = |simple: &&Simple| {
        let is_handle = matches!(
            simple.name(),
            "touch"
                | "rm"
                | "rmdir"
                | "mkdir"
                | "echo"
                | "trap"
                | "lockfile"
                | "cat"
                | "kill"
                | "ps"
        );
        (is_handle || simple.command().is_empty())
            && (names(statement, simple, scene) || matches!(simple.name(), "kill" | "ps"))
    };
    let is_named = simples.iter().any(|simple| names(statement, simple, scene));
    is_named && others_give_up(&handles)
}

/// Files that end like a lock, and list what a program is made of.
const LISTS: [&str; 8] = [
    "cargo.lock",
    "composer.lock",
    "flake.lock",
    "gemfile.lock",
    "pipfile.lock",
    "poetry.lock",
    "uv.lock",
    "yarn.lock",
];

/// The flag that a statement asks for or sets beside its work.
pub(super) fn flag(statement: &Statement, scene: &Scene) -> Option<String> {
    let handles = |simple: &&Simple| matches!(simple.name(), "touch" | "test" | "[" | "[[");
    let simples = statement.reading.simples.iter().filter(handles);
    let mut named = simples.flat_map(Simple::arguments).map(|word| bare(statement, word));
    named.find(|word| scene.flags.contains(word))
}

/// Whether a command names a lock or a flag.
fn names(statement: &Statement, simple: &Simple, scene: &Scene) -> bool {
    let operands = simple.redirections.iter().map(|one| &one.operand);
    let is_talk = matches!(simple.name(), "echo" | "printf");
    let arguments = simple.arguments().iter().filter(|_| !is_talk);
    arguments.chain(operands).any(|word| names_lock(statement, word, scene))
}

fn names_lock(statement: &Statement, word: &Word, scene: &Scene) -> bool {
    let raw = bare(statement, word);
    let known = scene.read(statement.raw(&word.range)).map(|known| known.template());
    let text = known.unwrap_or_else(|| raw.clone());
    let code = |text: &str| {
        text.split_whitespace()
            .map(|word| word.trim_matches(['"', '\'', ';']).to_owned())
            .collect::<Vec<_>>()
    };
    let is_lock = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
        let last = name.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("");
        let is_list = LISTS.contains(&name.as_str());
        matches!(last, "lock" | "lck" | "lockfile" | "lockdir" | "pid" | "pidfile") && !is_list
    };
    code(&text).iter().chain(&code(&raw)).any(|word| is_lock(word) || scene.flags.contains(word))
}

/// Whether a command only asks whether something is so.
fn asks(simple: &Simple) -> bool {
    matches!(simple.name(), "test" | "[" | "[[" | "fi" | "}" | "true" | ":")
}

/// Whether a command is how a script gives up: it says why, and ends.
pub(super) fn gives_up(statement: &Statement, simple: &Simple) -> bool {
    let is_shown = simple
        .redirections
        .iter()
        .all(|one| one.operator == ">&" || one.operand.text.as_deref() == Some("/dev/null"));
    is_shown
        && matches!(
            statement.head(simple),
            "exit" | "return" | "echo" | "printf" | "logger" | "date" | "}" | "fi"
        )
        || (statement.head(simple) == "cat"
            && simple
                .redirections
                .iter()
                .all(|one| one.operator.starts_with("<<") || one.operator == ">&"))
}

/// Whether a statement only says where the script stands.
pub(super) fn is_talk(statement: &Statement, scene: &Scene) -> bool {
    let simples = &statement.reading.simples;
    let is_own = |simple: &Simple| {
        let function = scene.functions.get(simple.name());
        function.filter(|function| super::sets_outside(function).is_empty()).is_some_and(
            |function| {
                function.reading.simples.iter().all(|inner| {
                    matches!(inner.name(), "echo" | "printf" | "date" | "}" | "local" | "")
                        && inner.redirections.iter().all(|one| one.operator == ">&")
                        && !inner.writes_pipe
                        || inner.words.first().and_then(|word| word.text.as_deref())
                            == Some(simple.name())
                })
            },
        )
    };
    let says = |simple: &Simple| {
        if is_own(simple) {
            return simple.redirections.is_empty() && !simple.writes_pipe;
        }
        let is_talk = matches!(simple.name(), "echo" | "printf" | "date" | "true" | ":" | "logger");
        let is_document = simple.name() == "cat"
            && simple.redirections.iter().any(|one| one.operator.starts_with("<<"));
        let stays = simple.redirections.iter().all(|one| {
            !one.is_of_output()
                || one.operator == ">&"
                || one.operand.text.as_deref().is_some_and(|to| to.starts_with("/dev/"))
        });
        (is_talk || is_document) && stays && !simple.writes_pipe
    };
    let only_asks = |simple: &Simple| {
        is_harmless(simple)
            && !matches!(
                simple.name(),
                "rm" | "chmod" | "chown" | "ln" | "curl" | "wget" | "touch" | "mkdir"
            )
            && !simple.redirections.iter().any(crate::words::shell::Redirection::is_of_output)
    };
    !simples.is_empty()
        && simples
            .iter()
            .all(|simple| if simple.depth == 0 { says(simple) } else { only_asks(simple) })
        && statement
            .reading
            .joints
            .iter()
            .all(|joint| matches!(joint.text.as_str(), "&&" | ";" | "\n" | "#" | "(("))
}

/// Whether a statement only asks how the script was called, and ends it.
pub(super) fn is_usage(statement: &Statement) -> bool {
    let simples = &statement.reading.simples;
    let counts = statement.uses(&["#"])
        || (statement.uses(&["1", "2", "3"])
            && simples.iter().any(|simple| asks(simple) && simple.has_option(&["-z"])));
    let ends = simples.iter().any(|simple| {
        statement.head(simple) == "exit"
            && simple.words.get(1).map(|word| statement.raw(&word.range)) != Some("0")
    });
    let is_arithmetic = statement.text.contains("((");
    let only_asks = |simple: &Simple| {
        asks(simple) || gives_up(statement, simple) || simple.name() == "basename"
    };
    counts && ends && !is_arithmetic && simples.iter().all(only_asks)
}
