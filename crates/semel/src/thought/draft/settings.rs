//! Lines of a script that do nothing themselves, but say how those after them are run:
//! variables, options, folders, what is read before.

use super::known::Known;
use super::scene::{Value, assignment};
use super::statement::Statement;
use super::{Drafter, Part, only_for_scripts};

impl Drafter {
    /// A line that says how those after it are run; whether it is one.
    pub(super) fn setting(&mut self, statement: &Statement, is_last: bool) -> bool {
        let outer: Vec<_> = statement.outer().collect();
        let Some(first) = outer.first() else { return false };
        let words: Vec<_> = first.words.iter().map(|word| statement.raw(&word.range)).collect();
        let head = words.first().copied().unwrap_or("");
        let is_alone = statement.alone().is_some();
        if head == "cd"
            && outer.iter().skip(1).all(|simple| only_for_scripts::gives_up(statement, simple))
        {
            self.changes_folder(statement, &words[1..]);
            return true;
        }
        if !is_alone {
            return false;
        }
        let is_bare = first.redirections.is_empty();
        match head {
            "set" if is_bare && words.len() > 1 => self.sets_options(statement, &words[1..]),
            "source" | "." if is_bare => self.sources(statement),
            "module" | "shopt" | "umask" | "ulimit" if is_bare => {
                self.scene.may_match_nothing |=
                    words.contains(&"nullglob") && words.contains(&"-s");
                self.before_commands(statement);
            }
            "trap" => self.left(statement, "semel has `[finally]` and `[on-failure]` for this"),
            "exec" if words.len() == 1 => {
                self.dropped(statement, "semel keeps what commands print: `semel log`");
            }
            "exit" if is_last => {
                self.dropped(statement, "the end: semel's exit status says how it went");
            }
            "sleep" if is_bare => {
                self.dropped(
                    statement,
                    "waits: a `check` with `within` waits until something is there",
                );
            }
            "export" | "declare" | "readonly" | "typeset" if is_bare && words.len() > 1 => {
                let is_exported = head == "export" || words.contains(&"-x");
                let set: Vec<_> =
                    words[1..].iter().filter(|word| !word.starts_with('-')).copied().collect();
                let odd = words[1..]
                    .iter()
                    .any(|word| word.starts_with('-') && !matches!(*word, "-x" | "-r" | "-g"));
                if odd {
                    self.left(statement, "declares what a step cannot be given");
                    return true;
                }
                self.assigns(statement, &set, is_exported);
            }
            _ if is_bare
                && !words.is_empty()
                && words.iter().all(|word| assignment(word).is_some()) =>
            {
                self.assigns(statement, &words, false);
            }
            _ => return false,
        }
        true
    }

    fn assigns(&mut self, statement: &Statement, words: &[&str], is_exported: bool) {
        let told: Vec<_> =
            words.iter().map(|word| self.scene.assign(statement, word, is_exported)).collect();
        if let Some(why) = told.into_iter().find_map(Result::err) {
            self.parts.push(Part::Left(statement.lines, why, statement.text.clone()));
        }
        let is_secret = |word: &&str| {
            let name = word.split('=').next().unwrap_or("");
            matches!(self.scene.vars.get(name).map(|var| &var.value), Some(Value::Secret))
        };
        if words.iter().any(is_secret) {
            let lines = statement.lines;
            let why =
                "a secret: set it where semel is started; the steps that use it say `secret-env`";
            self.parts.push(Part::Left(lines, why.to_owned(), "(not shown)".to_owned()));
        }
    }

    fn sets_options(&mut self, statement: &Statement, words: &[&str]) {
        let stops =
            |word: &&str| word.starts_with('-') && !word.starts_with("--") && word.contains('e');
        self.scene.stops_at_errors |= words.iter().any(|word| stops(word) || *word == "errexit");
        let is_known = |word: &&str| {
            matches!(
                *word,
                "pipefail"
                    | "errexit"
                    | "nounset"
                    | "xtrace"
                    | "verbose"
                    | "errtrace"
                    | "+x"
                    | "+v"
            ) || word.strip_prefix('-').is_some_and(|flags| {
                !flags.is_empty() && flags.chars().all(|c| "euoxvE".contains(c))
            })
        };
        if words.iter().all(is_known) {
            return self.dropped(statement, "semel's shell stops at errors by itself");
        }
        if words.contains(&"+e") || words.contains(&"errexit") {
            self.scene.stops_at_errors = false;
            return self.left(
                statement,
                "from here on failures do not matter to it: say `|| true` where that is so",
            );
        }
        if words.first() == Some(&"--") || words.iter().any(|word| !word.starts_with(['-', '+'])) {
            return self.left(statement, "sets the arguments of the script");
        }
        self.before_commands(statement);
    }

    fn sources(&mut self, statement: &Statement) {
        if statement.variables().next().is_some()
            || statement.text.contains(['`', '\n'])
            || statement.text.contains("{{")
        {
            return self
                .left(statement, "reads a file that only the shell knows: say it in `prelude`");
        }
        self.before_commands(statement);
    }

    /// A line that stands before all commands after it.
    fn before_commands(&mut self, statement: &Statement) {
        if statement.variables().any(|one| self.scene.vars.contains_key(&one.name)) {
            return self.left(statement, "needs variables of the script: say it in the steps");
        }
        self.scene.has_sourced |= matches!(
            statement.outer().next().map(|simple| statement.head(simple)),
            Some("source" | ".")
        );
        let is_first = self.steps().is_empty() && self.scene.front.is_empty();
        let is_plain = statement.variables().next().is_none()
            && !statement.text.contains('\n')
            && !statement.text.contains("{{");
        if statement.variables().any(|one| one.name.starts_with(|c: char| !c.is_ascii_alphabetic()))
        {
            self.left(statement, "needs what only the whole script has");
        } else if is_first && is_plain {
            self.scene.prelude.push(statement.text.clone());
        } else {
            self.scene.front.push(statement.text.clone());
        }
    }

    fn changes_folder(&mut self, statement: &Statement, words: &[&str]) {
        let is_its_own = words.len() == 1 && {
            let word = words[0].trim_matches('"');
            (word.contains("$0") || word.contains("${0") || word.contains("BASH_SOURCE"))
                && !word.contains("/..")
        };
        let here = self.scene.dir.clone();
        if is_its_own && here.is_none() {
            return self.dropped(statement, "commands run in the folder of this file");
        }
        let is_relative = words
            .iter()
            .all(|word| self.scene.read(word).is_some_and(|to| !to.template().starts_with('/')));
        if self.steps().is_empty() && here.is_none() && !is_relative {
            let why = "commands run in the folder of this file: let it lie there, or say `dir`";
            return self.left(statement, why);
        }
        let to = match words {
            ["-"] => match self.former.pop() {
                Some(former) => former,
                None => return self.loses_itself(statement),
            },
            [".."] => match here.as_ref().and_then(|dir| dir.plain()).map(str::to_owned) {
                Some(dir) if !dir.starts_with('/') => {
                    dir.rsplit_once('/').map(|(above, _)| Known::text(above))
                }
                _ => return self.loses_itself(statement),
            },
            [word] => {
                match self.scene.read(word).filter(|to| !to.has_glob() && !to.template().is_empty())
                {
                    Some(to) if to.template().split('/').any(|part| part == "..") => {
                        return self.loses_itself(statement);
                    }
                    Some(to) if to.template().starts_with('/') => {
                        if self.steps().is_empty() && here.is_none() {
                            let why = "commands run in the folder of this file: let it lie there, or say `dir`";
                            return self.left(statement, why);
                        }
                        Some(to)
                    }
                    Some(to) => Some(match here.clone() {
                        None => Known::text("").joined(to),
                        Some(dir) => dir.joined(Known::text("/")).joined(to),
                    }),
                    None => return self.loses_itself(statement),
                }
            }
            _ => return self.loses_itself(statement),
        };
        self.former.push(here);
        self.scene.dir = to;
        self.dropped(statement, "the steps after it say their `dir`");
    }

    fn loses_itself(&mut self, statement: &Statement) {
        self.lost_at = Some(statement.lines.0);
        self.left(statement, "goes to a folder that only the shell knows");
    }
}
