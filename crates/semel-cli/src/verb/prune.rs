//! `semel prune`: outputs that nobody makes any more are shown; with `--yes` they
//! are moved aside.

use std::io::Write;

use semel::deed::prune::{
    Bytes, Leftover, Pruned, Staying, Unjudged, leftovers, prune as move_them,
};
use semel::ground::manifest::ManifestError;
use serde_json::json;

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{bytes, count, in_home, next, visible};

pub(crate) fn prune(place: Place, options: &args::Prune, typed: &str) -> Result<Exit, Failed> {
    let Some(manifest) = place.manifest()? else {
        return Err(Failed::Manifest(place.home.manifest(), ManifestError::Absent));
    };
    let setting = place.setting(typed);
    let styles = Styles::for_stdout();
    if options.yes {
        let pruned = match move_them(&setting, &*manifest) {
            Ok(pruned) => pruned,
            Err(error) => return Err(Failed::to_begin(error, place.file)),
        };
        let mut out = anstream::stdout().lock();
        if options.json {
            return Ok(write_pruned_json(&mut out, &pruned)?);
        }
        return Ok(write_pruned(&mut out, &place, &pruned, styles)?);
    }
    let found = match leftovers(&setting, &*manifest) {
        Ok(found) => found,
        Err(error) => return Err(Failed::to_begin(error, place.file)),
    };
    let mut out = anstream::stdout().lock();
    if options.json {
        for leftover in &found.movable {
            writeln!(out, "{}", leftover_json(leftover, "would move"))?;
        }
        write_rest_json(&mut out, &found.staying, &found.unjudged)?;
        return Ok(Exit::DONE);
    }
    writeln!(out, "semel prune  {}\n", place.heading(styles))?;
    for leftover in &found.movable {
        write_leftover(&mut out, leftover, None)?;
    }
    write_rest(&mut out, &found.staying, &found.unjudged)?;
    if found.movable.is_empty() {
        write_nothing(&mut out, &found.staying, &found.unjudged)?;
        return Ok(Exit::DONE);
    }
    let size: u64 = found.movable.iter().map(|leftover| leftover.size).sum();
    let many = count(found.movable.len() as u64, "output");
    writeln!(
        out,
        "\n  next\n{}",
        next(&format!("semel prune --yes{}", place.again), "moves them to .semel/displaced/")
    )?;
    writeln!(out, "\n{many} that no task makes any more, {}; nothing was moved", bytes(size))?;
    Ok(Exit::DONE)
}

fn write_leftover(
    out: &mut impl Write,
    leftover: &Leftover,
    to: Option<&str>,
) -> std::io::Result<()> {
    let path = visible(&leftover.path.to_string_lossy());
    let edited = match leftover.bytes {
        Bytes::Own => "",
        Bytes::Edited => "; edited by other hands",
        Bytes::EditedFolder => "; other hands put something in it, or changed it",
    };
    writeln!(out, "  {path}  {}{edited}", bytes(leftover.size))?;
    let task = visible(&leftover.task.to_string());
    writeln!(out, "      made by {task} in run {}; {}", leftover.run, leftover.why)?;
    match to {
        Some(to) => writeln!(out, "      now {to}"),
        None => Ok(()),
    }
}

/// What stays, and what is not judged.
fn write_rest(
    out: &mut impl Write,
    staying: &[Staying],
    unjudged: &[Unjudged],
) -> std::io::Result<()> {
    if !staying.is_empty() {
        writeln!(out, "\n  stays where it is")?;
    }
    for one in staying {
        let path = visible(&one.path.to_string_lossy());
        writeln!(out, "    {path}  {}", visible(&one.because))?;
    }
    if !unjudged.is_empty() {
        writeln!(out, "\n  not judged")?;
    }
    for one in unjudged {
        writeln!(out, "    {}  its tasks are known after {}", one.step, one.after)?;
    }
    if !staying.is_empty() || !unjudged.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

fn write_nothing(
    out: &mut impl Write,
    staying: &[Staying],
    unjudged: &[Unjudged],
) -> std::io::Result<()> {
    let is_all = staying.is_empty() && unjudged.is_empty();
    let why = if is_all { ": every output is one that a task makes now" } else { "" };
    writeln!(out, "nothing to prune{why}")
}

fn write_pruned(
    out: &mut impl Write,
    place: &Place,
    pruned: &Pruned,
    styles: Styles,
) -> std::io::Result<Exit> {
    writeln!(out, "semel prune  {}\n", place.heading(styles))?;
    for (leftover, to) in &pruned.moved {
        write_leftover(out, leftover, Some(&in_home(to).to_string_lossy()))?;
    }
    for (leftover, why) in &pruned.failed {
        let path = visible(&leftover.path.to_string_lossy());
        writeln!(out, "  {}  {path}: {}", styles.state("broken"), visible(why))?;
    }
    write_rest(out, &pruned.staying, &pruned.unjudged)?;
    let many = count(pruned.moved.len() as u64, "output");
    if pruned.failed.is_empty() {
        if pruned.moved.is_empty() {
            write_nothing(out, &pruned.staying, &pruned.unjudged)?;
        } else {
            writeln!(out, "\n{many} moved aside; nothing was destroyed")?;
        }
        return Ok(Exit::DONE);
    }
    let failed = pruned.failed.len();
    let exit = Exit::BROKEN;
    writeln!(out, "\n{many} moved aside, {failed} could not be; exit {}", exit.0)?;
    Ok(exit)
}

fn leftover_json(leftover: &Leftover, what: &str) -> serde_json::Value {
    json!({
        "prune": what, "path": leftover.path.to_string_lossy(), "task": leftover.task.to_string(),
        "run": leftover.run, "bytes": leftover.size, "why": leftover.why.to_string(),
        "edited": leftover.bytes != Bytes::Own,
    })
}

fn write_rest_json(
    out: &mut impl Write,
    staying: &[Staying],
    unjudged: &[Unjudged],
) -> std::io::Result<()> {
    for one in staying {
        let path = one.path.to_string_lossy();
        let task = one.task.to_string();
        let line = json!({ "prune": "stays", "path": path, "task": task, "why": one.because });
        writeln!(out, "{line}")?;
    }
    for one in unjudged {
        let line = json!({ "prune": "not judged", "step": one.step, "after": one.after });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn write_pruned_json(out: &mut impl Write, pruned: &Pruned) -> std::io::Result<Exit> {
    for (leftover, to) in &pruned.moved {
        let mut line = leftover_json(leftover, "moved");
        line["to"] = json!(in_home(to).to_string_lossy());
        writeln!(out, "{line}")?;
    }
    for (leftover, why) in &pruned.failed {
        let mut line = leftover_json(leftover, "broken");
        line["error"] = json!(why);
        writeln!(out, "{line}")?;
    }
    write_rest_json(out, &pruned.staying, &pruned.unjudged)?;
    Ok(if pruned.failed.is_empty() { Exit::DONE } else { Exit::BROKEN })
}
