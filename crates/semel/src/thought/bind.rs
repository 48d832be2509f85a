//! What placeholders stand for, in one task.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::words::path::bytes_of;
use crate::words::pipeline::{Pipeline, Step};
use crate::words::task::Instance;
use crate::words::template::{ItemPart, Name, Value, Values};

/// The values of the parameters in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, String>);

/// A parameter that the pipeline does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no parameter `{name}`")]
pub struct NoSuchParam {
    /// Its name.
    pub name: String,
    /// What was probably meant.
    pub near: Option<String>,
    /// Those that it has.
    pub known: Vec<String>,
}

impl Params {
    /// The pipeline's parameters, with other values for some.
    ///
    /// # Errors
    /// If a value is given for a parameter that the pipeline does not have.
    pub fn of(pipeline: &Pipeline, given: &[(String, String)]) -> Result<Self, NoSuchParam> {
        let mut values: BTreeMap<_, _> =
            pipeline.params.iter().map(|param| (param.name.clone(), param.value.clone())).collect();
        for (name, value) in given {
            let known = values.get_mut(name).ok_or_else(|| NoSuchParam {
                name: name.clone(),
                near: crate::words::nearest(
                    name,
                    pipeline.params.iter().map(|param| param.name.as_str()),
                )
                .map(str::to_owned),
                known: pipeline.params.iter().map(|param| param.name.clone()).collect(),
            })?;
            value.clone_into(known);
        }
        Ok(Self(values))
    }

    /// The value of a parameter that the pipeline has.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The instance that the values of these parameters make.
    #[must_use]
    pub fn instance(&self, per: &[String]) -> Instance {
        Instance::of(per.iter().map(|name| self.get(name)))
    }
}

/// What placeholders stand for.
#[derive(Clone, Copy)]
pub struct Bindings<'a> {
    /// The parameters.
    pub params: &'a Params,
    /// The item, as its list names it.
    pub item: Option<&'a [u8]>,
    /// The files of `in`, with their keys.
    pub inputs: &'a [(Option<&'a str>, &'a Path)],
    /// Where the outputs are to be written, in the order of `out`.
    pub outs: &'a [PathBuf],
    /// The variables that the step lists.
    pub env: &'a BTreeMap<String, Vec<u8>>,
    /// The run's unique id.
    pub run_id: &'a str,
    /// The step.
    pub step: &'a Step,
    /// Whether the values go to a command: then a path that begins with a dash
    /// is written so that it cannot be taken for an option.
    pub for_command: bool,
}

impl Values for Bindings<'_> {
    fn value(&self, name: &Name) -> Value<'_> {
        match name {
            Name::Item(part) => {
                let text = self.item.map_or(&b""[..], |item| part.of(item));
                let is_path = matches!(part, ItemPart::Whole | ItemPart::Path | ItemPart::Dir)
                    && self.step.has_file_items();
                Value::One(if is_path { self.path(text) } else { Cow::Borrowed(text) })
            }
            Name::In(key) => {
                let wanted = self
                    .inputs
                    .iter()
                    .filter(|(known, _)| key.is_none() || *known == key.as_deref());
                Value::Many(wanted.map(|(_, path)| self.path(bytes_of(path))).collect())
            }
            Name::Out(key) => {
                let outs = self.step.outs.iter().zip(self.outs);
                let wanted = outs.filter(|(out, _)| key.is_none() || out.key == *key);
                let mut paths: Vec<_> = wanted.map(|(_, path)| self.path(bytes_of(path))).collect();
                if paths.len() == 1 { Value::One(paths.remove(0)) } else { Value::Many(paths) }
            }
            Name::Param(name) => Value::text(self.params.get(name)),
            Name::Env(name) => Value::bytes(self.env.get(name).map_or(b"", Vec::as_slice)),
            Name::RunId => Value::text(self.run_id),
        }
    }
}

impl<'a> Bindings<'a> {
    fn path(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        if self.for_command && path.starts_with(b"-") {
            Cow::Owned([b"./", path].concat())
        } else {
            Cow::Borrowed(path)
        }
    }
}
