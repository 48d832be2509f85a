//! `semel manifest …`: ask the manifest in SQL, write it out, take it in, end what is
//! old in it, make it anew.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};

use jiff::Timestamp;
use semel::deed::gc::{Ended, Old, gc as end_what_is_old};
use semel::deed::hold::holder_of;
use semel::deed::lease::{self, LeaseError};
use semel::deed::memory::Access;
use semel::deed::rebuild;
use semel::deed::transfer::{CannotImport, import as take_in};
use semel::ground::manifest::ManifestError;
use semel::ground::manifest::sqlite::{Conflict, ImportError, Imported, SqliteManifest};
use serde_json::{Map, Value, json};

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::busy::Busy;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{bytes, count, in_home, next, visible, when_here};
use semel::words::thousands;

/// How many conflicts, or paths, are named.
const MOST: usize = 50;

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

pub(crate) fn rebuild(place: &Place, typed: &str) -> Result<Exit, Failed> {
    let home = &place.home;
    let no_manifest = |error| Failed::Manifest(home.manifest(), error);
    if !home.exists() {
        return Err(no_manifest(ManifestError::Absent));
    }
    let access = Access::alone(home, &holder_of(&place.setting(typed)));
    let Some(access) = access.map_err(|error| Failed::lease(error, place))? else {
        let mut holders = home.lease_locks().into_iter();
        let holder = holders.find_map(|lock| lease::holder(&lock).ok().flatten());
        return Err(Failed::Busy(Busy::see(&place.home, &place.file.pipeline.name, holder)));
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
pub(crate) fn export(place: &Place) -> Result<Exit, Failed> {
    let path = place.home.manifest();
    let no_manifest = |error| Failed::Manifest(path.clone(), error);
    let manifest = SqliteManifest::read(&path).map_err(no_manifest)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let exported = manifest
        .export(Timestamp::now(), &mut |line| writeln!(out, "{line}"))
        .map_err(no_manifest)?;
    exported?;
    out.flush()?;
    Ok(Exit::DONE)
}

pub(crate) fn import(place: &Place, options: &args::Import, typed: &str) -> Result<Exit, Failed> {
    let named = options.from.display().to_string();
    let is_standard_input = named == "-";
    let mut lines: Box<dyn BufRead> = if is_standard_input {
        Box::new(std::io::stdin().lock())
    } else {
        match File::open(&options.from) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(error) => return Err(Failed::Usage(format!("{named} cannot be read: {error}"))),
        }
    };
    let from = if is_standard_input { "standard input" } else { &named };
    let (header, imported) = match take_in(&place.setting(typed), &mut lines) {
        Ok(done) => done,
        Err(CannotImport::Lease(LeaseError::Busy(holder))) => {
            return Err(Failed::Busy(Busy::see(&place.home, &place.file.pipeline.name, holder)));
        }
        Err(CannotImport::Lease(error)) => return Err(Failed::Broken(error.to_string())),
        Err(CannotImport::Import(ImportError::Manifest(error))) => {
            return Err(Failed::Manifest(place.home.manifest(), error));
        }
        Err(CannotImport::Import(ImportError::Conflicts(conflicts))) => {
            return Ok(write_conflicts(from, &conflicts)?);
        }
        Err(CannotImport::Import(error)) => {
            return Err(Failed::Usage(format!("{from} cannot be imported: {error}")));
        }
    };
    let mut out = anstream::stderr().lock();
    let done = Styles::for_stderr().state("done");
    let id = visible(&header.manifest.id);
    writeln!(out, "{done}  imported from {from}, of manifest {id} at {}", header.at)?;
    write_imported(&mut out, &imported, &place.again)?;
    Ok(Exit::DONE)
}

fn write_imported(out: &mut impl Write, imported: &Imported, again: &str) -> std::io::Result<()> {
    let Imported { was_empty, runs, renumbered, receipts, same, attempts, words, unsaid } =
        *imported;
    let mut parts = vec![
        count(receipts, "receipt"),
        count(runs, "run"),
        count(attempts, "attempt"),
        format!("{} of humans", count(words, "word")),
    ];
    if was_empty {
        parts.push("the manifest was empty: all is as it was".to_owned());
    }
    writeln!(out, "\n  new      {}", parts.join(", "))?;
    if same > 0 {
        writeln!(out, "  same     {} that were here already", count(same, "receipt"))?;
    }
    if renumbered > 0 {
        writeln!(
            out,
            "  renamed  {} that got another number here; their logs stayed there",
            count(renumbered, "run")
        )?;
    }
    if unsaid > 0 {
        writeln!(
            out,
            "  left     {} of done or redo that no run had acted on: say them here",
            count(unsaid, "word")
        )?;
    }
    if runs + receipts + attempts + words == 0 {
        return writeln!(out, "\nnothing was new");
    }
    writeln!(out, "  unknown  what happened between the export and now: a `once` task")?;
    writeln!(out, "           without a receipt refuses until it is settled")?;
    writeln!(out, "\n  next\n{}", next(&format!("semel plan{again}"), "what a run would do"))
}

/// Nothing was imported: some tasks have another receipt.
fn write_conflicts(from: &str, conflicts: &[Conflict]) -> std::io::Result<Exit> {
    let mut out = anstream::stderr().lock();
    let many = count(conflicts.len() as u64, "task");
    let refused = Styles::for_stderr().state("refused");
    writeln!(out, "{refused}  {from}: {many} with another receipt here\n")?;
    for Conflict { pipeline, task, here, there } in conflicts.iter().take(MOST) {
        let task = visible(&task.to_string());
        writeln!(out, "  {task}  of {pipeline}")?;
        writeln!(out, "      here   {}, run {}", here.0, here.1)?;
        writeln!(out, "      there  {}, run {}", there.0, there.1)?;
    }
    if conflicts.len() > MOST {
        writeln!(out, "  and {} more", thousands((conflicts.len() - MOST) as u64))?;
    }
    writeln!(out, "\n  they say different things of one task; semel does not choose")?;
    writeln!(out, "  import it into an empty folder to look at it")?;
    let exit = Exit::REFUSED;
    writeln!(out, "\nnothing was imported; exit {}", exit.0)?;
    Ok(exit)
}

pub(crate) fn gc(place: Place, options: &args::Gc, typed: &str) -> Result<Exit, Failed> {
    let ended = match end_what_is_old(&place.setting(typed), options.keep, options.yes) {
        Ok(ended) => ended,
        Err(error) => return Err(Failed::to_begin(error, place.file)),
    };
    let mut out = anstream::stdout().lock();
    if options.json {
        writeln!(out, "{}", gc_json(&ended, options.yes))?;
        return Ok(Exit::DONE);
    }
    let styles = Styles::for_stdout();
    let keep = args::as_typed(options.keep);
    writeln!(out, "semel manifest gc  {}  keeps {keep}\n", place.heading(styles))?;
    let aged = &ended.aged;
    let row = |out: &mut dyn Write, what: &str, many: u64, note: &str| {
        let line = format!("  {what:<10} {:>9}  {note}", thousands(many));
        writeln!(out, "{}", line.trim_end())
    };
    row(&mut out, "runs", aged.runs, "")?;
    row(&mut out, "attempts", aged.attempts, "")?;
    row(&mut out, "receipts", aged.receipts, "of tasks that are gone for so long")?;
    let size = |all: &[Old]| bytes(all.iter().map(|old| old.bytes).sum());
    row(&mut out, "logs", ended.logs.len() as u64, &size(&ended.logs))?;
    let moved: u64 = ended.displaced.iter().map(|old| old.files).sum();
    row(&mut out, "displaced", moved, &size(&ended.displaced))?;
    if ended.bodies > 0 {
        row(&mut out, "answers", ended.bodies, "of calls: not sent again, and not replayed")?;
    }
    row(&mut out, "digests", ended.digests, "of files that are gone")?;
    if !ended.displaced.is_empty() {
        let verb = if options.yes { "ended" } else { "somebody's bytes; look before you end them" };
        writeln!(out, "\n  displaced  {verb}")?;
        for old in ended.displaced.iter().take(MOST) {
            let files = count(old.files, "file");
            writeln!(out, "    {}  {files}, {}", in_home(&old.path).display(), bytes(old.bytes))?;
        }
    }
    if aged.waiting > 0 || ended.tombstones > 0 || !ended.unjudged.is_empty() {
        writeln!(out, "\n  stays")?;
    }
    if aged.waiting > 0 {
        let many = count(aged.waiting, "receipt");
        writeln!(out, "    {many} of tasks that are gone, not yet seen so for so long")?;
    }
    if ended.tombstones > 0 {
        let many = count(ended.tombstones, "task");
        writeln!(out, "    {many} that are gone and were, or may have been, done once: for ever")?;
    }
    for (step, why) in &ended.unjudged {
        writeln!(out, "    {step}: all of it; {why}")?;
    }
    for complaint in &ended.complaints {
        writeln!(out, "\n  {}  {complaint}", styles.state("broken"))?;
    }
    if options.yes {
        writeln!(out, "\nthat was ended")?;
    } else {
        let command = format!("semel manifest gc --keep {keep} --yes{}", place.again);
        writeln!(out, "\n  next\n    {command}\n\nnothing was ended")?;
    }
    Ok(Exit::DONE)
}

fn gc_json(ended: &Ended, yes: bool) -> Value {
    let old = |all: &[Old]| -> Vec<Value> {
        all.iter()
            .map(|old| json!({ "path": in_home(&old.path).to_string_lossy(), "bytes": old.bytes, "files": old.files }))
            .collect()
    };
    let unjudged: Vec<_> =
        ended.unjudged.iter().map(|(step, why)| json!({ "step": step, "why": why })).collect();
    json!({
        "ended": yes, "runs": ended.aged.runs, "attempts": ended.aged.attempts,
        "receipts": ended.aged.receipts, "waiting": ended.aged.waiting, "tombstones": ended.tombstones,
        "logs": old(&ended.logs), "displaced": old(&ended.displaced), "digests": ended.digests,
        "answers": ended.bodies,
        "not-judged": unjudged, "complaints": ended.complaints,
    })
}
