//! What placeholders stand for, in one task.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::words::path::bytes_of;
use crate::words::pipeline::{ParamValue, Pipeline, Step};
use crate::words::task::{Instance, Row};
use crate::words::template::{ItemPart, Name, Value, Values};

/// The values of the parameters in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, String>);

/// What is wrong with the parameters of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The pipeline has no such parameter.
    #[error("there is no parameter `{name}`")]
    Unknown {
        /// Its name.
        name: String,
        /// What was probably meant.
        near: Option<String>,
        /// Those that it has.
        known: Vec<String>,
    },
    /// A parameter has no value unless one is given, and none is.
    #[error("parameter `{name}` has no value")]
    Missing {
        /// Its name.
        name: String,
        /// What it is for.
        about: Option<String>,
    },
}

impl Params {
    /// The pipeline's parameters, with other values for some. `asked` are the
    /// values that commands gave.
    ///
    /// # Errors
    /// If a value is given for a parameter that the pipeline does not have, or
    /// none for one that wants it.
    pub fn of(
        pipeline: &Pipeline,
        given: &[(String, String)],
        asked: &BTreeMap<String, String>,
    ) -> Result<Self, ParamsError> {
        let named = |name: &str| pipeline.params.iter().find(|param| param.name == name);
        if let Some((name, _)) = given.iter().find(|(name, _)| named(name).is_none()) {
            let known = || pipeline.params.iter().map(|param| param.name.as_str());
            return Err(ParamsError::Unknown {
                name: name.clone(),
                near: crate::words::nearest(name, known()).map(str::to_owned),
                known: known().map(str::to_owned).collect(),
            });
        }
        let values = pipeline.params.iter().map(|param| {
            let given = given.iter().rev().find(|(name, _)| *name == param.name);
            let value = match (&param.value, given) {
                (_, Some((_, value))) => Some(value),
                (ParamValue::Given(value), None) => Some(value),
                (ParamValue::Command(_), None) => asked.get(&param.name),
                (ParamValue::Required, None) => None,
            };
            match value {
                Some(value) => Ok((param.name.clone(), value.clone())),
                None => Err(ParamsError::Missing {
                    name: param.name.clone(),
                    about: param.about.clone(),
                }),
            }
        });
        Ok(Self(values.collect::<Result<_, _>>()?))
    }

    /// The parameters as far as they are known without asking; the others are
    /// empty, and named.
    ///
    /// # Errors
    /// If a value is given for a parameter that the pipeline does not have.
    pub fn as_far_as_known(
        pipeline: &Pipeline,
        given: &[(String, String)],
    ) -> Result<(Self, Vec<String>), ParamsError> {
        let is_given = |name: &str| given.iter().any(|(known, _)| known == name);
        let unknown = pipeline
            .params
            .iter()
            .filter(|param| !matches!(param.value, ParamValue::Given(_)) && !is_given(&param.name));
        let unknown: Vec<_> = unknown.map(|param| param.name.clone()).collect();
        let empty = unknown.iter().map(|name| (name.clone(), String::new()));
        let all: Vec<_> = given.iter().cloned().chain(empty).collect();
        Ok((Self::of(pipeline, &all, &BTreeMap::new())?, unknown))
    }

    /// Parameters of these values.
    #[must_use]
    pub fn from_values(values: BTreeMap<String, String>) -> Self {
        Self(values)
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
    /// The named values of the item, if it is a row.
    pub row: Option<&'a Row>,
    /// The files of `in`, with their keys.
    pub inputs: &'a [(Option<&'a str>, &'a Path)],
    /// A file that names all of `in`, one a line.
    pub input_list: Option<&'a Path>,
    /// Where the outputs are to be written, in the order of `out`.
    pub outs: &'a [PathBuf],
    /// The variables that the step lists.
    pub env: &'a BTreeMap<String, Vec<u8>>,
    /// The run's unique id.
    pub run_id: &'a str,
    /// The step.
    pub step: Option<&'a Step>,
    /// Whether the values go to a command: then a path that begins with a dash
    /// is written so that it cannot be taken for an option.
    pub for_command: bool,
    /// Where relative paths begin, for a command that runs in another folder.
    pub root: Option<&'a Path>,
}

/// No variables.
static NO_ENV: BTreeMap<String, Vec<u8>> = BTreeMap::new();

impl<'a> Bindings<'a> {
    /// What has a value though no task is known.
    #[must_use]
    pub const fn of(params: &'a Params, step: Option<&'a Step>) -> Self {
        Self {
            params,
            item: None,
            row: None,
            inputs: &[],
            input_list: None,
            outs: &[],
            env: &NO_ENV,
            run_id: "",
            step,
            for_command: false,
            root: None,
        }
    }

    fn path(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        match self.root {
            Some(root) if self.for_command && !path.starts_with(b"/") => {
                Cow::Owned([bytes_of(root), b"/", path].concat())
            }
            _ if self.for_command && path.starts_with(b"-") => Cow::Owned([b"./", path].concat()),
            _ => Cow::Borrowed(path),
        }
    }

    fn column(&self, column: &str) -> Value<'_> {
        Value::text(self.row.and_then(|row| row.get(column)).unwrap_or_default())
    }
}

impl Values for Bindings<'_> {
    fn value(&self, name: &Name) -> Value<'_> {
        match name {
            Name::Column(column) => self.column(column),
            Name::Item(part) => {
                if let (Some(_), Some(column)) = (self.row, part.field()) {
                    return self.column(column);
                }
                let text = self.item.map_or(&b""[..], |item| part.of(item));
                let is_path = matches!(part, ItemPart::Whole | ItemPart::Path | ItemPart::Dir)
                    && self.step.is_some_and(Step::has_file_items);
                Value::One(if is_path { self.path(text) } else { Cow::Borrowed(text) })
            }
            Name::In(Some(key)) if key == "list" => {
                let list = self.input_list.map(bytes_of).unwrap_or_default();
                Value::One(self.path(list))
            }
            Name::In(key) => {
                let wanted = self
                    .inputs
                    .iter()
                    .filter(|(known, _)| key.is_none() || *known == key.as_deref());
                Value::Many(wanted.map(|(_, path)| self.path(bytes_of(path))).collect())
            }
            Name::Out(key) => {
                let outs = self.step.into_iter().flat_map(|step| &step.outs).zip(self.outs);
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
