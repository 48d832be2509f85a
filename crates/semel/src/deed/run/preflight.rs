//! A first run looks before it leaps: what can be seen to go wrong is said
//! before a `.semel/` is made.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use super::selection::Wanted;
use crate::deed::look::wrong_kind;
use crate::deed::{Site, Trouble, list};
use crate::thought::mask::SHORTEST;
use crate::thought::plan::StepTasks;
use crate::words::path::show;
use crate::words::pipeline::{EachSource, Fault, InputSource, Span, Step};
use crate::words::task::Task;

/// Looks at the inputs and outputs of the steps that wait for nothing.
pub(super) fn check(
    site: &Site<'_>,
    tasks: &[OnceLock<StepTasks>],
    wanted: &[Wanted],
) -> Result<(), Trouble> {
    for (id, step) in site.pipeline.ids() {
        let Some(tasks) = tasks[id.0].get() else {
            continue;
        };
        if wanted[id.0].is_none() {
            continue;
        }
        if step.upstream().next().is_none() {
            inputs(site, step)?;
        }
        for (at, task) in tasks.tasks.iter().enumerate() {
            if wanted[id.0].takes(at) {
                item(site, step, task)?;
                outputs(site, step, task)?;
            }
        }
    }
    Ok(())
}

/// The secrets of the steps that are asked for are set, and can be masked.
pub(super) fn secrets(site: &Site<'_>, wanted: &[Wanted]) -> Result<(), Trouble> {
    for (_, step) in site.pipeline.ids().filter(|(id, _)| !wanted[id.0].is_none()) {
        for (name, span) in &step.secret_env {
            let wrong = |title: String, help: &str| {
                let label = format!("step `{}` wants it", step.name);
                Err(Trouble::Input(Fault::new(title, span, label).help(help)))
            };
            match site.env.get(name) {
                None => {
                    let help = "set it where semel is started; its value is never shown or kept";
                    return wrong(format!("the secret `{name}` is not set"), help);
                }
                Some(value) if value.trim_ascii().len() < SHORTEST => {
                    let title = format!("the secret `{name}` is too short to be masked");
                    let help = format!("wants {SHORTEST} bytes or more");
                    return wrong(title, &help);
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// The inputs that are the same for all tasks are there and can be read.
fn inputs(site: &Site<'_>, step: &Step) -> Result<(), Trouble> {
    for input in &step.inputs {
        let InputSource::Files(pattern) = &input.source else {
            continue;
        };
        if pattern.names_item() {
            continue;
        }
        let files = list::files(site, step, pattern, None, &input.span)?;
        if files.is_empty() {
            return Err(list::none_match(site, step, pattern, None, &input.span));
        }
        files.iter().try_for_each(|path| readable(site, path, &input.span))?;
    }
    Ok(())
}

fn item(site: &Site<'_>, step: &Step, task: &Task) -> Result<(), Trouble> {
    match (&step.each, &task.item) {
        (Some(each), Some(item)) if matches!(each.source, EachSource::Files(_)) => {
            readable(site, Path::new(OsStr::from_bytes(item)), &each.span)
        }
        _ => Ok(()),
    }
}

fn readable(site: &Site<'_>, path: &Path, span: &Span) -> Result<(), Trouble> {
    let unreadable = |why: String| Trouble::Input(Fault::new(why, span, "wants to read it"));
    let access = rustix::fs::accessat(
        rustix::fs::CWD,
        site.disk.root().join(path),
        rustix::fs::Access::READ_OK,
        rustix::fs::AtFlags::EACCESS,
    );
    match access {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::NOENT) => {
            Err(unreadable(format!("an input that is not there: {}", show(path))))
        }
        Err(errno) => Err(unreadable(format!("cannot read {}: {errno}", show(path)))),
    }
}

fn outputs(site: &Site<'_>, step: &Step, task: &Task) -> Result<(), Trouble> {
    for (out, path) in step.outs.iter().zip(&*task.outs) {
        let wrong = site.disk.look(path)?.and_then(|meta| wrong_kind(out.folder, meta.kind));
        if let Some(why) = wrong {
            let title = format!("an output that cannot be written: {} {why}", show(path));
            return Err(Trouble::Input(Fault::new(title, &out.span, "declared here")));
        }
    }
    Ok(())
}
