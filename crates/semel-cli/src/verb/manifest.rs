//! `semel manifest query`: ask the manifest in SQL. Nothing can be changed by it.
//! `semel manifest rebuild`: set it aside, and make a new one.

use std::io::Write;

use semel::deed::lease;
use semel::deed::memory::Access;
use semel::deed::rebuild;
use semel::ground::manifest::ManifestError;
use serde_json::{Map, Value};

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{count, in_home, visible, when_here};

pub(crate) fn query(place: &Place, options: &args::Query) -> Result<Exit, Failed> {
    let Some(manifest) = place.manifest()? else {
        return Err(Failed::Manifest(place.home.manifest(), ManifestError::Absent));
    };
    let answer = manifest.query(&options.sql).map_err(|error| match error {
        ManifestError::Query(why) => Failed::Usage(why),
        error => Failed::Manifest(place.home.manifest(), error),
    })?;
    let mut out = std::io::stdout().lock();
    if options.json {
        for row in answer.rows {
            let values = row.into_iter().map(|value| value.map_or(Value::Null, Value::String));
            let object: Map<_, _> = answer.columns.iter().cloned().zip(values).collect();
            writeln!(out, "{}", Value::Object(object))?;
        }
        return Ok(Exit::DONE);
    }
    // Tab-separated, with a header: what cut, awk and column understand.
    writeln!(out, "{}", answer.columns.join("\t"))?;
    for row in answer.rows {
        let values: Vec<_> =
            row.iter().map(|value| visible(value.as_deref().unwrap_or_default())).collect();
        writeln!(out, "{}", values.join("\t"))?;
    }
    Ok(Exit::DONE)
}

pub(crate) fn rebuild(place: &Place) -> Result<Exit, Failed> {
    let home = &place.home;
    let no_manifest = |error| Failed::Manifest(home.manifest(), error);
    if !home.exists() {
        return Err(no_manifest(ManifestError::Absent));
    }
    let Some(access) = Access::alone(home).map_err(no_manifest)? else {
        let mut holders = home.lease_locks().into_iter();
        let holder = holders.find_map(|lock| lease::holder(&lock).ok().flatten());
        return Err(Failed::Busy(place.file.pipeline.name.clone(), holder));
    };
    let rebuilt = rebuild::rebuild(&place.disk, home, &access).map_err(no_manifest)?;
    drop(access);
    let mut out = anstream::stderr().lock();
    let styles = Styles::for_stderr();
    writeln!(out, "{}  made a new manifest\n", styles.state("done"))?;
    match (&rebuilt.backup, &rebuilt.bad_backup) {
        (Some(made), _) => writeln!(out, "  of       the backup of {}", when_here(*made))?,
        (None, Some(why)) => writeln!(out, "  of       no backup: {why}")?,
        (None, None) => writeln!(out, "  of       no backup: there is none")?,
    }
    let lines = count(rebuilt.lines as u64, "line");
    match rebuilt.unreadable {
        0 => writeln!(out, "           once.log, {lines}")?,
        torn => writeln!(
            out,
            "           once.log, {lines}; {} cannot be read",
            count(torn as u64, "more line")
        )?,
    }
    if let Some(aside) = &rebuilt.aside {
        writeln!(out, "  aside    the one that was here, as")?;
        writeln!(out, "           {}", in_home(aside).display())?;
    }
    writeln!(out, "  unknown  what else was done since; `once` steps refuse where nothing is")?;
    writeln!(out, "           known of a task. Outputs that carry a stamp are adopted")?;
    writeln!(out, "\n  next\n    semel plan{0}\n    semel run{0}", place.again)?;
    Ok(Exit::DONE)
}
