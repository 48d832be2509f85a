//! The fingerprint: all that determines a task's result, in two parts.
//!
//! *What* is done: the item, the inputs, what the needed steps left, the
//! parameters and variables. *How* it is done: the text of the action as it was
//! written, its shell, and the programs it names.
//!
//! Invariant: equality is decided part by part, in the encoding of the receipt,
//! so that a new semel never makes work. Content is the key, not the name: what
//! goes in here is bytes' digests, never a file's times. `docs/format.md` is
//! the law of the layout.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::words::digest::{Digest, Fields};
use crate::words::pipeline::{ActionKind, Command, SqlText, Step};
use crate::words::task::Row;
use crate::words::template::ItemPart;
use crate::words::verdict::Likeness;

/// The version of the encoding that this semel writes.
pub const ENCODING: i64 = 1;

/// The digests of both parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// What is done.
    pub what: Digest,
    /// How it is done.
    pub how: Digest,
}

impl Fingerprint {
    /// How another fingerprint compares with this one.
    #[must_use]
    pub fn likeness(&self, other: &Self) -> Likeness {
        if self.what != other.what {
            Likeness::OtherWhat
        } else if self.how != other.how {
            Likeness::OtherHow
        } else {
            Likeness::Same
        }
    }
}

/// The fields of *what* that all tasks of a step share.
///
/// Names and values are texts; bytes that are not UTF-8 are percent-encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Given {
    /// The parameters that the action, `env` or `check` name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The variables of `env`, as they are written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The variables of `env-counts`; `None` where one is not set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_counts: BTreeMap<String, Option<String>>,
    /// The text of `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// For each step in `needs`, the digest of what its tasks left.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: BTreeMap<String, String>,
    /// `stat` where files that are read do not count by their bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Given {
    /// The fields as the beginning of *what*.
    #[must_use]
    pub fn fields(&self) -> Fields {
        let mut fields = Fields::new("what");
        for (name, value) in &self.params {
            put_named(&mut fields, "param", name, value.as_bytes());
        }
        for (name, value) in &self.env {
            put_named(&mut fields, "env", name, value.as_bytes());
        }
        for (name, value) in &self.env_counts {
            match value {
                Some(value) => put_named(&mut fields, "env-counts", name, value.as_bytes()),
                None => put_named(&mut fields, "env-unset", name, b""),
            }
        }
        if let Some(version) = &self.version {
            fields.put("version", version.as_bytes());
        }
        for (step, left) in &self.needs {
            put_named(&mut fields, "needs", step, left.as_bytes());
        }
        if let Some(digest) = &self.digest {
            fields.put("digest", digest.as_bytes());
        }
        fields
    }

    /// As it is stored.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and maps of texts are JSON")
    }
}

/// A named thing is two fields: which one, and its value.
fn put_named(fields: &mut Fields, tag: &str, name: &str, value: &[u8]) {
    fields.put(tag, name.as_bytes());
    fields.put("is", value);
}

/// The item, as it counts.
#[derive(Clone, Copy, Debug)]
pub enum ItemCounts<'a> {
    /// The step has no items.
    None,
    /// A file counts by its content.
    File(Digest),
    /// A value is itself.
    Value(&'a [u8]),
    /// A row is its values, by the names of their columns.
    Row(&'a Row),
}

/// Adds an input to the fields of *what*: its key, its path and its content.
pub fn put_input(fields: &mut Fields, key: &str, path: &[u8], content: Digest) {
    fields.put("in", key.as_bytes());
    fields.put("name", path);
    fields.put("is", content.as_bytes());
}

/// The digest of *what*: the shared fields with the inputs, the item, and those
/// parts of its path that count.
///
/// ```
/// use semel::words::digest::Digest;
/// use semel::words::fingerprint::{Given, ItemCounts, what};
/// let fields = Given::default().fields();
/// let day = ItemCounts::File(Digest::of(b"a,b\n1,2\n"));
/// // Its name does not count, unless a part of it is used.
/// assert_eq!(what(fields.clone(), day, []), what(fields, day, []));
/// ```
pub fn what<'a>(
    mut fields: Fields,
    item: ItemCounts<'_>,
    parts: impl IntoIterator<Item = (ItemPart, &'a [u8])>,
) -> Digest {
    match item {
        ItemCounts::None => {}
        ItemCounts::File(digest) => fields.put("item", digest.as_bytes()),
        ItemCounts::Value(value) => fields.put("value", value),
        ItemCounts::Row(row) => {
            let mut values: Vec<_> = row.0.iter().collect();
            values.sort();
            for (column, value) in values {
                put_named(&mut fields, "column", column, value.as_bytes());
            }
        }
    }
    for (part, value) in parts {
        put_named(&mut fields, "part", part.field().unwrap_or("item"), value);
    }
    fields.digest()
}

/// The fields of *how*.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct How {
    /// The words of the command as they are written; a shell's text is one.
    pub run: Vec<String>,
    /// The shell and its options; empty without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// The programs that are files of the pipeline's folder, with the digests
    /// of their bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, String>,
    /// The line before the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prelude: Option<String>,
    /// The folder in which it runs, as it is written, if that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// The functions of a script that it calls, as they are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<String>,
    /// The statements for a database, or the file that they stand in, as it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// How a file is copied into a table, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<String>,
    /// What an HTTP call says, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
}

impl How {
    /// How a step does what it does. One that is a check alone does nothing.
    #[must_use]
    pub fn of(step: &Step, programs: BTreeMap<String, String>) -> Self {
        let command = step.command();
        let run = command.iter().flat_map(|command| command.templates());
        let run = run.map(|text| text.text.clone()).collect();
        let (shell, prelude) = match command {
            Some(Command::Shell { shell, prelude, .. }) => (shell.clone(), prelude.clone()),
            Some(Command::Words(_)) | None => (Vec::new(), None),
        };
        let dir = step.dir.as_ref().map(|dir| dir.text.clone());
        let functions = step.script.as_ref().map(|script| script.functions.clone());
        let functions = functions.filter(|text| !text.is_empty());
        let (mut sql, mut load, mut http) = (None, None, None);
        match step.action.as_ref().map(|action| &action.kind) {
            Some(ActionKind::Sql(action)) => {
                let (SqlText::Inline(text) | SqlText::File(text)) = &action.text;
                sql = Some(text.text.clone());
            }
            Some(ActionKind::Load(action)) => load = Some(action.to_string()),
            Some(ActionKind::Http(action)) => http = Some(action.to_string()),
            Some(ActionKind::Command(_)) | None => {}
        }
        Self { run, shell, programs, prelude, dir, functions, sql, load, http }
    }

    /// The digest of all fields.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut fields = Fields::new("how");
        for word in &self.run {
            fields.put("run", word.as_bytes());
        }
        for word in &self.shell {
            fields.put("shell", word.as_bytes());
        }
        for (path, digest) in &self.programs {
            put_named(&mut fields, "program", path, digest.as_bytes());
        }
        if let Some(prelude) = &self.prelude {
            fields.put("prelude", prelude.as_bytes());
        }
        if let Some(dir) = &self.dir {
            fields.put("dir", dir.as_bytes());
        }
        if let Some(functions) = &self.functions {
            fields.put("functions", functions.as_bytes());
        }
        if let Some(sql) = &self.sql {
            fields.put("sql", sql.as_bytes());
        }
        if let Some(load) = &self.load {
            fields.put("load", load.as_bytes());
        }
        if let Some(http) = &self.http {
            fields.put("http", http.as_bytes());
        }
        fields.digest()
    }

    /// As it is stored. Of the command of a script, whose words the shell has filled in,
    /// only digests are, and the words as they are `written`, where that is known.
    #[must_use]
    pub fn to_json(&self, of_script: Option<&str>) -> String {
        let Some(written) = of_script else {
            return serde_json::to_string(self).expect("texts and maps of texts are JSON");
        };
        let mut words = Fields::new("words");
        self.run.iter().for_each(|word| words.put("run", word.as_bytes()));
        let short = |digest: Digest| digest.short();
        let functions = self.functions.as_ref().map(|text| short(Digest::of(text.as_bytes())));
        let run = vec![written.to_owned(), format!("({})", short(words.digest()))];
        Self { run, functions, ..self.clone() }.to_json(None)
    }
}

/// The digest of what a task left: its outputs by their roles. `None` without
/// outputs.
#[must_use]
pub fn effect<'a>(outputs: impl IntoIterator<Item = (&'a str, Digest)>) -> Option<Digest> {
    let mut outputs = outputs.into_iter().peekable();
    outputs.peek()?;
    let mut fields = Fields::new("effect");
    for (role, digest) in outputs {
        put_named(&mut fields, "out", role, digest.as_bytes());
    }
    Some(fields.digest())
}

/// Gathers what the tasks of a needed step left, in the order of their names.
#[derive(Clone)]
pub struct Left(Fields);

impl Default for Left {
    fn default() -> Self {
        Self(Fields::new("left"))
    }
}

impl Left {
    /// Adds a task: what it left, or its fingerprint where it leaves nothing to
    /// look at.
    pub fn add(&mut self, item: &str, effect: Option<Digest>, fingerprint: &Fingerprint) {
        self.0.put("task", item.as_bytes());
        match effect {
            Some(effect) => self.0.put("effect", effect.as_bytes()),
            None => {
                self.0.put("what", fingerprint.what.as_bytes());
                self.0.put("how", fingerprint.how.as_bytes());
            }
        }
    }

    /// The digest of all of it.
    #[must_use]
    pub fn digest(self) -> Digest {
        self.0.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unset_variable_is_not_an_empty_one() {
        let given = |value: Option<&str>| Given {
            env_counts: BTreeMap::from([("LANG".to_owned(), value.map(str::to_owned))]),
            ..Given::default()
        };
        let digest = |value| given(value).fields().digest();
        assert_ne!(digest(None), digest(Some("")));
        assert_ne!(digest(Some("C")), digest(Some("de")));
    }

    #[test]
    fn a_parameter_is_not_a_variable_of_the_same_name() {
        let named = BTreeMap::from([("x".to_owned(), "1".to_owned())]);
        let param = Given { params: named.clone(), ..Given::default() };
        let env = Given { env: named, ..Given::default() };
        assert_ne!(param.fields().digest(), env.fields().digest());
    }

    #[test]
    fn what_is_stored_comes_back() {
        let given = Given {
            env_counts: BTreeMap::from([("A".to_owned(), None)]),
            version: Some("2".to_owned()),
            ..Given::default()
        };
        let read: Given = serde_json::from_str(&given.to_json()).expect("it is JSON");
        assert_eq!(read, given);
    }

    #[test]
    fn a_changed_word_is_another_how() {
        let how = |run: &[&str]| How {
            run: run.iter().map(|word| (*word).to_owned()).collect(),
            shell: vec![],
            programs: BTreeMap::new(),
            prelude: None,
            dir: None,
            functions: None,
            sql: None,
            load: None,
            http: None,
        };
        assert_ne!(how(&["a", "b"]).digest(), how(&["a b"]).digest());
    }

    /// The encoding is law: a change here would make every receipt look old.
    #[test]
    fn the_encoding_is_what_it_was() {
        let given = Given {
            params: BTreeMap::from([("month".to_owned(), "2013-01".to_owned())]),
            env: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
            env_counts: BTreeMap::from([
                ("C".to_owned(), None),
                ("D".to_owned(), Some("e".to_owned())),
            ]),
            version: Some("2".to_owned()),
            needs: BTreeMap::from([("load".to_owned(), "ff".to_owned())]),
            digest: None,
        };
        let item = ItemCounts::File(Digest::of(b"x"));
        let mut fields = given.fields();
        put_input(&mut fields, "rates", b"r.csv", Digest::of(b"y"));
        let what = what(fields, item, [(ItemPart::Stem, &b"17"[..])]);
        let how = How {
            run: vec!["cat {{ item }}".to_owned()],
            shell: vec!["sh".to_owned(), "-c".to_owned()],
            programs: BTreeMap::from([("a.py".to_owned(), "00".to_owned())]),
            prelude: None,
            dir: None,
            functions: None,
            sql: None,
            load: None,
            http: None,
        };
        let effect = effect([("", Digest::of(b"z"))]).expect("it has an output");
        let mut left = Left::default();
        left.add("17", Some(effect), &Fingerprint { what, how: how.digest() });
        left.add("18", None, &Fingerprint { what, how: how.digest() });
        let digests = [what, how.digest(), effect, left.digest()].map(|digest| digest.short());
        assert_eq!(digests, ["1395391b", "b37329bb", "72a8e2eb", "51ce1c5c"]);
    }
}
