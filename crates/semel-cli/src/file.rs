//! The pipeline file: found, read, and its faults shown.

use std::io::Write;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, Title};
use semel::thought::lint::{self, Warning};
use semel::words::pipeline::{Fault, Pipeline};

/// The name of a pipeline file.
pub(crate) const NAME: &str = "semel.toml";

/// A pipeline file that was read.
#[derive(Debug)]
pub(crate) struct PipelineFile {
    /// Where it is, as people call it.
    pub(crate) path: PathBuf,
    /// The folder it lies in.
    pub(crate) folder: PathBuf,
    /// Its name in that folder.
    pub(crate) name: String,
    /// What it says.
    pub(crate) text: String,
    /// What that means.
    pub(crate) pipeline: Pipeline,
}

/// Why there is no pipeline to work with.
#[derive(Debug)]
pub(crate) enum NoPipeline {
    /// There is no file.
    Absent(PathBuf),
    /// It cannot be read.
    Unreadable(PathBuf, String),
    /// It has faults.
    Faulty { path: PathBuf, text: String, faults: Vec<Fault> },
}

/// Finds and reads the pipeline file.
pub(crate) fn read(named: Option<&Path>) -> Result<PipelineFile, NoPipeline> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => find()?,
    };
    let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => NoPipeline::Absent(path.clone()),
        _ => NoPipeline::Unreadable(path.clone(), error.to_string()),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        NoPipeline::Unreadable(path.clone(), format!("it is not UTF-8: {error}"))
    })?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new(".")).to_owned();
    match Pipeline::read(&text) {
        Ok(pipeline) => Ok(PipelineFile {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            path,
            folder,
            text,
            pipeline,
        }),
        Err(faults) => Err(NoPipeline::Faulty { path, text, faults }),
    }
}

/// The file here, or in the nearest folder above.
fn find() -> Result<PathBuf, NoPipeline> {
    let here = std::env::current_dir()
        .map_err(|error| NoPipeline::Unreadable(PathBuf::from("."), error.to_string()))?;
    if Path::new(NAME).is_file() {
        return Ok(PathBuf::from(NAME));
    }
    let above =
        here.ancestors().skip(1).map(|folder| folder.join(NAME)).find(|path| path.is_file());
    above.ok_or(NoPipeline::Absent(PathBuf::from(NAME)))
}

/// Shows faults of a file, all at once.
pub(crate) fn show(
    out: &mut impl Write,
    path: &Path,
    text: &str,
    faults: &[Fault],
    styled: bool,
) -> std::io::Result<()> {
    let name = path.display().to_string();
    let count = faults.len();
    writeln!(out, "{name}: {count} {}\n", if count == 1 { "error" } else { "errors" })?;
    for fault in faults {
        show_one(out, &name, text, Level::ERROR.primary_title(&fault.title), fault, styled)?;
    }
    Ok(())
}

/// Shows what a warning is about, under its level and its name.
pub(crate) fn show_warning(
    out: &mut impl Write,
    path: &Path,
    text: &str,
    warning: &Warning,
    styled: bool,
) -> std::io::Result<()> {
    let level = match warning.level {
        lint::Level::Warning => Level::WARNING,
        lint::Level::Note => Level::NOTE,
    };
    let title = level.primary_title(&warning.fault.title).id(warning.kind.name);
    show_one(out, &path.display().to_string(), text, title, &warning.fault, styled)
}

fn show_one(
    out: &mut impl Write,
    name: &str,
    text: &str,
    title: Title<'_>,
    fault: &Fault,
    styled: bool,
) -> std::io::Result<()> {
    let span = fault.span.start.min(text.len())..fault.span.end.min(text.len());
    let mut snippet = Snippet::source(text)
        .path(name)
        .annotation(AnnotationKind::Primary.span(span).label(&fault.label));
    for (span, label) in &fault.also {
        snippet = snippet.annotation(AnnotationKind::Context.span(span.clone()).label(label));
    }
    let mut group = title.element(snippet);
    for help in &fault.help {
        group = group.element(Level::HELP.message(help));
    }
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    writeln!(out, "{}\n", renderer.render(&[group]))
}
