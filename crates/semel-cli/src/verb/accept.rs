//! `semel manifest accept`: a human who looked says that an incomplete memory is whole.

use std::io::Write;

use jiff::Timestamp;
use semel::deed::hold::holder_of;
use semel::deed::{memory, once};
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::manifest::{Acceptance, Manifest, ManifestError};

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{next, when_here};

pub(crate) fn accept(place: &Place, options: &args::Accept, typed: &str) -> Result<Exit, Failed> {
    if options.because.trim().is_empty() {
        return Err(Failed::Usage("--because wants a reason; it is kept".to_owned()));
    }
    let path = place.home.manifest();
    if !path.exists() {
        return Err(Failed::Manifest(path, ManifestError::Absent));
    }
    let no_manifest = |error| Failed::Manifest(path.clone(), error);
    let access = memory::Access::share(&place.home, &holder_of(&place.setting(typed)));
    let access = access.map_err(|error| Failed::lease(error, place))?;
    let mut manifest = SqliteManifest::open(&path).map_err(no_manifest)?;
    access.fence(&mut manifest).map_err(no_manifest)?;
    // What the log can still tell is known before it is accepted that nothing is missing.
    memory::catch_up(&place.disk, &place.home, &mut manifest).map_err(no_manifest)?;
    let whole_since = manifest.identity().map_err(no_manifest)?.whole_since;
    let mut out = anstream::stderr().lock();
    let done = Styles::for_stderr().state("done");
    let Some(since) = whole_since else {
        writeln!(out, "{done}  the memory is whole already; nothing was changed")?;
        return Ok(Exit::DONE);
    };
    let word =
        Acceptance { because: options.because.clone(), by: place.by.clone(), at: Timestamp::now() };
    let name = &place.file.pipeline.name;
    once::accept(&place.disk, &place.home, &mut manifest, name, &word).map_err(no_manifest)?;
    writeln!(out, "{done}  the memory is whole: what it does not know did not happen\n")?;
    writeln!(out, "  before   it knew all since {} only", when_here(since))?;
    writeln!(out, "  now      the next run does `once` tasks of which it knows nothing")?;
    writeln!(out, "\n  next")?;
    let plan = format!("semel plan{}", place.again);
    writeln!(out, "{}", next(&plan, "what a run would do"))?;
    writeln!(out, "    semel run{}", place.again)?;
    Ok(Exit::DONE)
}
