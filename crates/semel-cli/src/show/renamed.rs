//! Which step a task may have been of, and what the file must say then.

use std::io::Write;

use semel::words::task::TaskName;

use crate::file::PipelineFile;

/// Writes it. `pipeline` and `step` are the names under which something is kept.
pub(crate) fn write(
    out: &mut impl Write,
    file: &PipelineFile,
    task: &TaskName,
    pipeline: &str,
    step: &str,
) -> std::io::Result<()> {
    let mut lines = Vec::new();
    if pipeline == file.pipeline.name {
        writeln!(out, "  `{step}` did the same, or began it, and is no longer in the file.")?;
    } else {
        writeln!(
            out,
            "  `{step}` of the pipeline `{pipeline}` did the same, or began it, and that"
        )?;
        writeln!(out, "  pipeline is no longer here.")?;
        if !file.pipeline.was.iter().any(|was| was == pipeline) {
            lines.push(("at the top of the file".to_owned(), pipeline));
        }
    }
    let known = file.pipeline.step_named(&task.step).map(|id| file.pipeline.step(id));
    let has_that_name =
        step == task.step || known.is_some_and(|known| known.was.iter().any(|was| was == step));
    if !has_that_name {
        lines.push((format!("in [step.{}]", task.step), step));
    }
    writeln!(out, "\n  if only the name is another, say so in {}", file.name)?;
    for (place, was) in lines {
        let line = format!("was = {was:?}");
        writeln!(out, "    {line:<25} {place}")?;
    }
    Ok(())
}
