//! What a script says of a task, made into a pipeline with that task: paths as they are
//! called from the root, and of the shell's functions what the command needs.
//!
//! Invariant: what is there is no pattern. A file's name is taken as it is, whatever
//! characters stand in it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::deed::script;
use crate::ground::world::disk::Disk;
use crate::words::guard::{Commands, Guard, GuardFault, Named, from_root};
use crate::words::pipeline::{Pipeline, ScriptState};
use crate::words::task::{Instance, TaskName, encode};

/// What a script says of a task, in its own words: paths as they are called from where
/// it is.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// What is said, but for paths.
    pub guard: Guard,
    /// What it reads.
    pub inputs: Vec<String>,
    /// What it writes.
    pub outs: Vec<Named>,
    /// The commands.
    pub commands: Commands,
    /// A file with what its functions need, where the command is one.
    pub state: Option<PathBuf>,
}

impl Said {
    /// The pipeline with this task, the task's name, and what is kept of it. `root` is
    /// the folder with the manifest.
    ///
    /// # Errors
    /// What contradicts itself.
    pub fn pipeline(
        mut self,
        disk: &dyn Disk,
        script: &str,
    ) -> Result<(Pipeline, TaskName, Guard), GuardFault> {
        let (root, folder) = (disk.root(), self.commands.folder.clone());
        let mut guard = self.guard;
        guard.inputs = self.inputs.iter().map(|typed| input(root, &folder, typed)).collect();
        // An item that is a file counts with its bytes, too.
        let item = guard.item.as_deref().filter(|item| folder.join(item).is_file());
        let is_new = |item: &&str| {
            !guard.inputs.iter().any(|input| input.path == literal(&from_root(root, &folder, item)))
        };
        let item = item.filter(is_new).map(|item| input(root, &folder, item));
        guard.inputs.extend(item);
        guard.outs = self
            .outs
            .iter()
            .map(|out| Named { path: from_root(root, &folder, &out.path), key: out.key.clone() })
            .collect();
        guard.checked = self.commands.check.is_some() || self.commands.check_sql.is_some();
        if let Some((_, url)) = &mut self.commands.check_sql
            && let Some(path) = url.strip_prefix("sqlite:")
        {
            *url = format!("sqlite:{}", from_root(root, &folder, path));
        }
        if let Some(path) = self.state {
            let functions = functions(&path, self.commands.words.first());
            let functions = functions.map_err(|error| GuardFault {
                title: format!("what its function needs cannot be read: {error}"),
                help: Vec::new(),
            })?;
            self.commands.script = Some(ScriptState { functions, state: path });
        }
        let pipeline = guard.pipeline(script, &self.commands)?;
        let instance = Instance::of(guard.per.iter().map(|(_, value)| value.as_str()));
        let item = guard.item.as_deref().map(|item| encode(item.as_bytes()));
        let task = TaskName::new(&guard.step, &instance, item.as_deref());
        Ok((pipeline, task, guard))
    }
}

/// A path or pattern as it is called from the root. One that names what is there is no
/// pattern, whatever stands in it.
fn input(root: &Path, folder: &Path, typed: &str) -> Named {
    let named = if folder.join(typed).exists() {
        Named { key: None, path: typed.to_owned() }
    } else {
        Named::parse(typed)
    };
    let path = from_root(root, folder, &named.path);
    let path = if folder.join(&named.path).exists() { literal(&path) } else { path };
    Named { key: named.key, path }
}

/// A pattern that matches this path and no other.
fn literal(path: &str) -> String {
    let special = |c: char| matches!(c, '*' | '?' | '[' | '{' | '\\');
    if !path.contains(special) {
        return path.to_owned();
    }
    path.chars().map(|c| if special(c) { format!("[{c}]") } else { c.to_string() }).collect()
}

/// The text of a function, and of those that it calls; empty if it is none.
fn functions(state: &Path, called: Option<&String>) -> std::io::Result<String> {
    let text = script::read_state(state)?;
    let all = functions_in(&text);
    let mut wanted: Vec<&str> = called.map(String::as_str).into_iter().collect();
    let mut found = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        let Some(text) = all.get(name).filter(|_| !found.contains_key(name)) else {
            continue;
        };
        found.insert(name, *text);
        let is_of_name = |c: char| c.is_alphanumeric() || "_-.:@%+".contains(c);
        let words = text.split(|c: char| !is_of_name(c)).collect::<HashSet<_>>();
        wanted.extend(words.into_iter().filter(|word| all.contains_key(word)));
    }
    Ok(found.into_values().collect())
}

/// The functions that `declare -f` printed, by their names. Each begins with its name and
/// `() `, and goes as far as the next: a here-document in it may look like its end.
fn functions_in(text: &str) -> BTreeMap<&str, &str> {
    let mut functions = BTreeMap::new();
    let mut open: Option<(&str, usize)> = None;
    let (mut at, mut before) = (0, None);
    for line in text.split_inclusive('\n') {
        if line == "{ \n"
            && let Some((name, from)) = before
        {
            if let Some((name, from_earlier)) = open {
                functions.insert(name, &text[from_earlier..from]);
            }
            open = Some((name, from));
        }
        before = line.strip_suffix(" () \n").map(|name| (name, at));
        at += line.len();
    }
    if let Some((name, from)) = open {
        functions.insert(name, &text[from..]);
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_counts_with_those_that_it_calls() {
        let text = "declare -- x=\"1\"\nclean () \n{ \n    strip \"$1\" | sort\n}\nother () \n{ \n    cat <<EOF\n}\nEOF\n\n}\nstrip () \n{ \n    tr -d ' '\n}\n";
        let all = functions_in(text);
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), ["clean", "other", "strip"]);
        assert!(all["other"].ends_with("EOF\n\n}\n"));
        let folder = tempfile::tempdir().expect("a scratch folder");
        let state = folder.path().join("state");
        std::fs::write(&state, text).expect("written");
        let called = functions(&state, Some(&"clean".to_owned())).expect("read");
        assert!(called.contains("sort") && called.contains("tr -d") && !called.contains("cat"));
        assert_eq!(functions(&state, Some(&"ls".to_owned())).expect("read"), "");
    }

    #[test]
    fn what_is_there_is_no_pattern() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        std::fs::write(folder.path().join("a[1]*.csv"), "").expect("written");
        std::fs::write(folder.path().join("k=v"), "").expect("written");
        let input = |typed| input(folder.path(), folder.path(), typed);
        assert_eq!(input("a[1]*.csv").path, "a[[]1][*].csv");
        assert_eq!(input("*.csv").path, "*.csv");
        assert_eq!(input("k=v"), Named { key: None, path: "k=v".to_owned() });
        assert_eq!(input("k=w"), Named { key: Some("k".to_owned()), path: "w".to_owned() });
    }
}
