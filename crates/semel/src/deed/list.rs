//! Lists: the items that a step fans out over, and the files of its inputs.

mod read;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::deed::{Site, Trouble};
use crate::ground::glob::{GlobError, Matcher, glob};
use crate::ground::world::disk::DiskError;
use crate::thought::bind::Bindings;
use crate::words::path::{bytes_of, normal, show, within};
use crate::words::pipeline::{
    Command, Each, EachSource, Fault, InputSource, Items, Pipeline, Span, Step,
};
use crate::words::task::{Item, Task};
use crate::words::template::{Name, Template};

/// The items of a step whose list is not made of another step's tasks.
///
/// # Errors
/// If the list cannot be had, is empty though it must not be, or names an item
/// twice.
pub fn items(site: &Site<'_>, step: &Step, each: &Each) -> Result<Vec<Item>, Trouble> {
    let items = match &each.source {
        EachSource::Files(pattern) => {
            let files = files(site, step, pattern, None, &each.span)?;
            files.into_iter().map(|path| Item::plain(bytes_of(&path))).collect()
        }
        EachSource::FilesFrom(path) => read::files_from(site, step, path, &each.span)?,
        EachSource::Lines(path) => read::lines(site, step, path, &each.span)?,
        EachSource::Csv(path) => read::csv(site, step, path, each)?,
        EachSource::Json(path) => read::json(site, step, path, each)?,
        EachSource::Command(command) => read::command(site, step, command, &each.span)?,
        EachSource::Said(items) => items.clone(),
        EachSource::OutputsOf(_) | EachSource::ItemsOf(_) => return Ok(Vec::new()),
    };
    if items.is_empty() && !each.may_be_empty {
        let title = format!("step `{}` has no items", step.name);
        return Err(Trouble::Input(
            Fault::new(title, &each.span, nothing_found(each))
                .help("if that can be right:  each = { …, empty = \"ok\" }"),
        ));
    }
    if each.items == Items::Rows {
        columns_are_there(step, each, &items)?;
        columns_are_passed_on(site.pipeline, step, &items)?;
    }
    Ok(items)
}

/// Every column is there that a step names which takes these items from another.
fn columns_are_passed_on(pipeline: &Pipeline, from: &Step, items: &[Item]) -> Result<(), Trouble> {
    for (_, step) in pipeline.ids() {
        let Some(each) = &step.each else { continue };
        if matches!(each.source, EachSource::ItemsOf(of) if pipeline.step(of).name == from.name) {
            columns_are_there(step, each, items)?;
            columns_are_passed_on(pipeline, step, items)?;
        }
    }
    Ok(())
}

const fn nothing_found(each: &Each) -> &'static str {
    match each.source {
        EachSource::Files(_) => "matches no file",
        EachSource::FilesFrom(_) | EachSource::Lines(_) => "has no lines",
        EachSource::Csv(_) => "has no rows",
        EachSource::Json(_) => "has no elements",
        EachSource::Command(_) => "prints no lines",
        EachSource::OutputsOf(_) => "has no outputs",
        EachSource::ItemsOf(_) | EachSource::Said(_) => "has no items",
    }
}

/// Every column that the step names is there, in every row.
fn columns_are_there(step: &Step, each: &Each, items: &[Item]) -> Result<(), Trouble> {
    let outs = step.outs.iter().map(|out| &out.path);
    let inputs = step.inputs.iter().filter_map(|input| match &input.source {
        InputSource::Files(pattern) => Some(pattern),
        InputSource::OutputsOf(_) => None,
    });
    let cleanup = step.cleanup.iter().flat_map(Command::templates);
    let texts = step.counting_templates().chain(outs).chain(inputs).chain(cleanup);
    let columns = texts.flat_map(Template::placeholders).filter_map(|hole| match &hole.name {
        Name::Column(column) => Some(column.as_str()),
        Name::Item(part) => part.field(),
        _ => None,
    });
    for column in columns {
        let lacks = |item: &&Item| item.row.as_ref().is_none_or(|row| row.get(column).is_none());
        let Some(item) = items.iter().find(lacks) else {
            continue;
        };
        let name = String::from_utf8_lossy(&item.name).into_owned();
        let title = format!("an item without `{column}`: `{name}`");
        let fault = Fault::new(title, &each.span, format!("the step says {{{{ item.{column} }}}}"));
        let known = item.row.iter().flat_map(|row| row.0.iter().map(|(name, _)| &**name));
        let known: Vec<_> = known.collect();
        return Err(Trouble::Input(match crate::words::nearest(column, known.iter().copied()) {
            Some(near) => fault.help(format!("did you mean {{{{ item.{near} }}}}?")),
            None if known.is_empty() => fault.help("it is a plain value; write {{ item }}"),
            None => fault.help(format!("it has {}", known.join(", "))),
        }));
    }
    Ok(())
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
    task: Option<&Task>,
    span: &Span,
) -> Result<Vec<PathBuf>, Trouble> {
    let paths = paths(site, step, template, task, span)?;
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
    task: Option<&Task>,
    span: &Span,
) -> Result<Vec<PathBuf>, Trouble> {
    let env = site.environment(step);
    let bindings = bindings(site, step, task, &env);
    if !template.is_glob() {
        return Ok(vec![within(site.disk.root(), normal(&template.render(&bindings)))]);
    }
    glob(site.disk, &glob_within(site, template.render_glob(&bindings))).map_err(
        |error| match error {
            GlobError::Disk(error) => unreadable(&error, span),
            GlobError::Pattern(_) => {
                Trouble::File(Fault::new("a pattern that cannot be read", span, error.to_string()))
            }
        },
    )
}

/// What a pattern of `each` or `in` takes; nothing if it cannot be read.
pub(crate) fn matcher(site: &Site<'_>, step: &Step, template: &Template) -> Option<Matcher> {
    let env = site.environment(step);
    let bindings = bindings(site, step, None, &env);
    Matcher::new(&glob_within(site, template.render_glob(&bindings))).ok()
}

/// The path that a template without values of a task stands for.
pub fn plain_path(site: &Site<'_>, step: &Step, template: &Template) -> PathBuf {
    let env = site.environment(step);
    let bindings = bindings(site, step, None, &env);
    within(site.disk.root(), normal(&template.render(&bindings)))
}

/// A pattern as it is written from the pipeline's folder.
fn glob_within(site: &Site<'_>, pattern: Vec<u8>) -> Vec<u8> {
    let root = bytes_of(site.disk.root());
    let inside = pattern.strip_prefix(root).and_then(|rest| rest.strip_prefix(b"/"));
    inside.map(<[u8]>::to_vec).unwrap_or(pattern)
}

/// What is said of a pattern of `in` that matches nothing.
pub(crate) fn none_match(
    site: &Site<'_>,
    step: &Step,
    template: &Template,
    task: Option<&Task>,
    span: &Span,
) -> Trouble {
    let env = site.environment(step);
    let pattern = template.render(&bindings(site, step, task, &env));
    let title = format!("an input that is not there: nothing matches {}", show(&normal(&pattern)));
    Trouble::Input(Fault::new(title, span, "matches no file"))
}

/// What a template of a list or an input may name.
fn bindings<'a>(
    site: &Site<'a>,
    step: &'a Step,
    task: Option<&'a Task>,
    env: &'a BTreeMap<String, Vec<u8>>,
) -> Bindings<'a> {
    Bindings {
        item: task.and_then(|task| task.item.as_deref()),
        row: task.and_then(|task| task.row.as_deref()),
        env,
        ..Bindings::of(site.params, Some(step))
    }
}

fn missing(path: &Path, span: &Span) -> Trouble {
    let title = format!("an input that is not there: {}", show(path));
    let fault = Fault::new(title, span, "names a file that does not exist");
    let is_home = path.starts_with("~");
    Trouble::Input(if is_home { fault.help("`~` is not filled in: write the path") } else { fault })
}

fn unreadable(error: &DiskError, span: &Span) -> Trouble {
    Trouble::Input(Fault::new(error.to_string(), span, "wants to read it"))
}
