//! What helps people type: `--help`, the man pages, the completions and the
//! reference of commands, all from what `args` says.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use crate::args::Arguments;
use crate::exit;

/// The verbs in their groups. One that is not there yet is not shown.
pub(crate) const GROUPS: [(&str, &[&str]); 5] = [
    ("every day", &["run", "plan", "status", "why", "log", "history"]),
    ("settle", &["done", "redo"]),
    ("in scripts", &["step", "write", "lock", "script", "proxy"]),
    ("trust", &["lint", "prove", "verify"]),
    ("care", &["init", "prune", "manifest", "calls", "ui", "completions", "manual"]),
];

/// The whole command, as it is read and as it is helped with.
pub(crate) fn command() -> Command {
    let command = Arguments::command();
    let groups = groups(&command);
    let statuses: Vec<_> =
        exit::MEANINGS.iter().map(|(status, meaning)| format!("  {status:<6} {meaning}")).collect();
    command
        .override_usage("semel [VERB] [OPTIONS]")
        .help_template("{about}\n\nUsage: {usage}\n\n{before-help}Options:\n{options}{after-help}")
        .before_help(groups)
        .after_help(format!("Exit status, the first that applies:\n{}", statuses.join("\n")))
}

/// The verbs as `--help` shows them.
fn groups(command: &Command) -> String {
    let verbs = || GROUPS.iter().flat_map(|(_, verbs)| *verbs);
    let is_there = |verb: &&&str| command.find_subcommand(verb).is_some();
    let width = verbs().filter(is_there).map(|verb| verb.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (group, verbs) in GROUPS {
        let known = verbs.iter().filter_map(|verb| command.find_subcommand(verb));
        let shown: Vec<_> = known
            .map(|verb| format!("  {:width$}  {}", verb.get_name(), lowered(&about(verb))))
            .collect();
        if !shown.is_empty() {
            lines.push(group.to_owned());
            lines.extend(shown);
        }
    }
    lines.join("\n")
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// A sentence in the middle of a line.
fn lowered(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// All verbs with their options, in Markdown.
pub(crate) fn reference() -> String {
    let mut command = command();
    command.build();
    let mut page = String::new();
    page += "Every verb understands these:\n\n";
    page += &rows(command.get_arguments().filter(|arg| arg.get_id() != "version"));
    for (group, verbs) in GROUPS {
        let known: Vec<_> = verbs.iter().filter_map(|verb| command.find_subcommand(verb)).collect();
        if known.is_empty() {
            continue;
        }
        let _ = writeln!(page, "\n## {group}");
        for verb in known {
            let nested: Vec<_> =
                verb.get_subcommands().filter(|verb| !verb.is_hide_set()).collect();
            if nested.is_empty() {
                page += &verb_of(verb, verb.get_name());
            }
            for inner in nested {
                page += &verb_of(inner, &format!("{} {}", verb.get_name(), inner.get_name()));
            }
        }
    }
    page
}

fn verb_of(verb: &Command, name: &str) -> String {
    let mut page = format!("\n### semel {name}\n\n{}.\n", about(verb));
    let usage = verb.clone().render_usage().to_string();
    let _ = write!(page, "\n```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
    let own = rows(verb.get_arguments().filter(|arg| !arg.is_global_set()));
    if !own.is_empty() {
        let _ = write!(page, "\n{own}");
    }
    if let Some(examples) = verb.get_after_help() {
        let text = examples.to_string();
        let (_, lines) = text.split_once('\n').unwrap_or(("", &text));
        let lines: Vec<_> =
            lines.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
        let _ = write!(page, "\n```text\n{}\n```\n", lines.join("\n"));
    }
    page
}

/// A table of arguments and options; empty if there is none to show.
fn rows<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let shown = arguments.filter(|arg| !arg.is_hide_set() && arg.get_id() != "help");
    let rows: Vec<_> = shown
        .map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let help = help.replace('|', "\\|");
            let values: Vec<_> = if arg.is_hide_possible_values_set() {
                Vec::new()
            } else {
                arg.get_possible_values()
                    .iter()
                    .filter(|value| !matches!(value.get_name(), "true" | "false"))
                    .map(|value| format!("`{}`", value.get_name()))
                    .collect()
            };
            let values =
                if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
            let defaults: Vec<_> = arg
                .get_default_values()
                .iter()
                .filter(|_| arg.get_action().takes_values())
                .map(|value| format!(" [default: {}]", value.to_string_lossy()))
                .collect();
            let defaults = defaults.concat();
            format!("| `{}` | {help}{values}{defaults} |\n", spelled(arg).replace('|', "\\|"))
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("| option | meaning |\n|---|---|\n{}", rows.concat())
}

/// `-f, --file <FILE>`.
fn spelled(arg: &Arg) -> String {
    let value = || {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" ")
    };
    if arg.is_positional() {
        return arg.to_string();
    }
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("-{short}")));
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    let names = names.join(", ");
    if arg.get_action().takes_values() { format!("{names} {}", value()) } else { names }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_is_in_a_group_and_shows_an_example() {
        let command = command();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = verb.get_name();
            assert!(
                GROUPS.iter().any(|(_, verbs)| verbs.contains(&name)),
                "`{name}` is in no group of --help"
            );
            let nested: Vec<_> = verb.get_subcommands().collect();
            let all = if nested.is_empty() { vec![verb] } else { nested };
            for one in all {
                let example = one.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    example.starts_with("Example")
                        && example
                            .lines()
                            .any(|line| line.starts_with("  ") && line.contains("semel ")),
                    "`{name} {}` shows no example in its --help",
                    one.get_name()
                );
                for line in example.lines() {
                    assert!(line.chars().count() <= 80, "{line}");
                }
            }
        }
    }
}
