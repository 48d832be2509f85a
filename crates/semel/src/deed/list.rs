//! Lists: the items that a step fans out over, and the files of its inputs.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::deed::{Site, Trouble};
use crate::ground::glob::{GlobError, Matcher, glob};
use crate::ground::world::disk::{DiskError, Kind};
use crate::thought::bind::Bindings;
use crate::words::path::{bytes_of, normal, show};
use crate::words::pipeline::{Each, EachSource, Fault, Span, Step};
use crate::words::template::Template;

/// An item: the bytes of a path or a value.
pub type Item = Box<[u8]>;

/// The items of a step whose list is not another step's outputs.
///
/// # Errors
/// If the list cannot be had, is empty though it must not be, or names a value
/// twice.
pub fn items(site: &Site<'_>, step: &Step, each: &Each) -> Result<Vec<Item>, Trouble> {
    let items: Vec<Item> = match &each.source {
        EachSource::Files(pattern) => {
            let files = files(site, step, pattern, None, &each.span)?;
            files.into_iter().map(|path| bytes_of(&path).into()).collect()
        }
        EachSource::Lines(path) => lines(site, step, path, &each.span)?,
        EachSource::OutputsOf(_) => Vec::new(),
    };
    if items.is_empty() && !each.may_be_empty && !matches!(each.source, EachSource::OutputsOf(_)) {
        let title = format!("step `{}` has no items", step.name);
        return Err(Trouble::Input(
            Fault::new(title, &each.span, nothing_found(each))
                .help("if that can be right:  each = { …, empty = \"ok\" }"),
        ));
    }
    Ok(items)
}

fn nothing_found(each: &Each) -> &'static str {
    match each.source {
        EachSource::Files(_) => "matches no file",
        EachSource::Lines(_) => "has no lines",
        EachSource::OutputsOf(_) => "has no outputs",
    }
}

/// Whether a list is suspiciously short beside that of the last complete run.
///
/// # Errors
/// If it lost more than half of its items, and may not.
pub fn check_length(
    step: &Step,
    each: &Each,
    now: usize,
    last: Option<u64>,
) -> Result<(), Trouble> {
    let Some(last) = last else { return Ok(()) };
    if each.may_shrink || (now == 0 && each.may_be_empty) || (now as u64) * 2 >= last {
        return Ok(());
    }
    let title =
        format!("step `{}` lost most of its items: {now}, where there were {last}", step.name);
    Err(Trouble::Input(
        Fault::new(title, &each.span, "is something not mounted, or not yet there?")
            .help("if that can be right:  each = { …, shrink = \"ok\" }"),
    ))
}

/// The files that a template of `each` or `in` stands for: those that match it,
/// where it is a pattern, else the one that it names.
///
/// # Errors
/// If the pattern cannot be read, a folder may not be listed, or a named file
/// is not there.
pub fn files(
    site: &Site<'_>,
    step: &Step,
    template: &Template,
    item: Option<&[u8]>,
    span: &Span,
) -> Result<Vec<PathBuf>, Trouble> {
    let paths = paths(site, step, template, item, span)?;
    match paths.as_slice() {
        [path] if !template.is_glob() => match site.disk.look(path) {
            Ok(Some(_)) => Ok(paths),
            Ok(None) => Err(missing(path, span)),
            Err(error) => Err(unreadable(&error, span)),
        },
        _ => Ok(paths),
    }
}

/// As [`files`]; a path that is named need not be there.
///
/// # Errors
/// If the pattern cannot be read, or a folder may not be listed.
pub fn paths(
    site: &Site<'_>,
    step: &Step,
    template: &Template,
    item: Option<&[u8]>,
    span: &Span,
) -> Result<Vec<PathBuf>, Trouble> {
    let env = site.environment(step);
    let bindings = bindings(site, step, item, &env);
    if !template.is_glob() {
        return Ok(vec![normal(&template.render(&bindings))]);
    }
    glob(site.disk, &template.render_glob(&bindings)).map_err(|error| match error {
        GlobError::Disk(error) => unreadable(&error, span),
        GlobError::Pattern(_) => {
            Trouble::File(Fault::new("a pattern that cannot be read", span, error.to_string()))
        }
    })
}

/// What a pattern of `each` or `in` takes; nothing if it cannot be read.
pub(crate) fn matcher(site: &Site<'_>, step: &Step, template: &Template) -> Option<Matcher> {
    let env = site.environment(step);
    let bindings = bindings(site, step, None, &env);
    Matcher::new(&template.render_glob(&bindings)).ok()
}

/// The path that a template without values of a task stands for.
pub fn plain_path(site: &Site<'_>, step: &Step, template: &Template) -> PathBuf {
    let env = site.environment(step);
    normal(&template.render(&bindings(site, step, None, &env)))
}

fn bindings<'a>(
    site: &'a Site<'_>,
    step: &'a Step,
    item: Option<&'a [u8]>,
    env: &'a BTreeMap<String, Vec<u8>>,
) -> Bindings<'a> {
    Bindings {
        params: site.params,
        item,
        inputs: &[],
        outs: &[],
        env,
        run_id: "",
        step,
        for_command: false,
    }
}

fn missing(path: &Path, span: &Span) -> Trouble {
    let title = format!("an input that is not there: {}", show(path));
    Trouble::Input(Fault::new(title, span, "names a file that does not exist"))
}

fn unreadable(error: &DiskError, span: &Span) -> Trouble {
    Trouble::Input(Fault::new(error.to_string(), span, "wants to read it"))
}

/// The lines of a file, but blank ones; each is an item of its own.
fn lines(site: &Site<'_>, step: &Step, path: &Template, span: &Span) -> Result<Vec<Item>, Trouble> {
    let path = plain_path(site, step, path);
    let meta = site.disk.look(&path).map_err(|error| unreadable(&error, span))?;
    let Some(meta) = meta else {
        return Err(missing(&path, span));
    };
    if meta.kind != Kind::File {
        let title = format!("a list that is not a file: {}", show(&path));
        return Err(Trouble::Input(Fault::new(
            title,
            span,
            "wants a file with a line for each item",
        )));
    }
    let mut text = Vec::new();
    let mut file = site.disk.open(&path).map_err(|error| unreadable(&error, span))?;
    file.read_to_end(&mut text).map_err(|source| {
        let (doing, path) = ("read", path.clone());
        unreadable(&DiskError { doing, path, source }, span)
    })?;
    let mut seen: HashMap<&[u8], usize> = HashMap::new();
    let mut items = Vec::new();
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            continue;
        }
        let wrong = |title: String, help: &str| {
            let label = format!("line {} of {}", at + 1, show(&path));
            Trouble::Input(Fault::new(title, span, label).help(help))
        };
        if line.contains(&0) {
            return Err(wrong("an item with a NUL byte".to_owned(), "no command can be given one"));
        }
        if let Some(first) = seen.insert(line, at) {
            let value = String::from_utf8_lossy(line);
            let title =
                format!("`{value}` comes twice: in line {} and in line {}", first + 1, at + 1);
            return Err(wrong(
                title,
                "each line is a piece of work of its own; two equal ones would be one",
            ));
        }
        items.push(Item::from(line));
    }
    Ok(items)
}
