//! `semel init`: make `.semel/`, and a starter file where none is.

use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use semel::deed::lease::{Holder, LeaseError};
use semel::deed::memory::{self, Access, CannotMake};
use semel::ground::home::Home;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::world::disk::{Disk, RealDisk};
use semel::ground::world::file_system::FileSystem;
use semel::words::event::Event;
use semel::words::run::By;

use crate::args::{self, Common};
use crate::exit::Exit;
use crate::file;
use crate::place::{Place, file_again, whoever_we_are};
use crate::show::busy::Busy;
use crate::show::fail::Failed;
use crate::show::text;

/// What a starter file says. It runs as it is.
const STARTER: &str = r#"# A pipeline: steps that are safe to run again. `semel run` runs it.
name = "NAME"

[step.hello]
out = "hello.txt"
run = 'echo "hello" > {{ out }}'

# One task for each file, made again only when the file's content changes:
#
# [step.clean]
# each = "raw/*.csv"
# out  = "clean/{{ item.stem }}.csv"
# run  = 'sort {{ item }} > {{ out }}'
"#;

pub(crate) fn init(common: &Common, options: &args::Init, typed: &str) -> Result<Exit, Failed> {
    let path = common.file.as_deref().unwrap_or(Path::new(file::NAME));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    let mut out = anstream::stderr().lock();
    let failed = |doing: &str, path: &Path, error: std::io::Error| {
        Failed::Broken(format!("cannot {doing} `{}`: {error}", path.display()))
    };
    if !options.bare && !path.exists() {
        let absolute =
            std::path::absolute(folder).map_err(|error| failed("find", folder, error))?;
        let name: String = absolute
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            .collect();
        let name = if name.is_empty() { "pipeline".to_owned() } else { name };
        std::fs::write(path, STARTER.replace("NAME", &name))
            .map_err(|error| failed("write", path, error))?;
        writeln!(out, "done  made {}", path.display())?;
    }
    let disk = RealDisk::at(folder).map_err(|error| Failed::Broken(error.to_string()))?;
    let home = Home::in_folder(disk.root());
    let no_manifest = |error| Failed::Manifest(home.manifest(), error);
    let By { host, user, pid } = whoever_we_are();
    let since = Timestamp::now();
    let holder = Holder { host, user, pid, command: typed.to_owned(), since };
    let busy = |error| match error {
        LeaseError::Busy(holder) => {
            let folder = disk.root().display().to_string();
            Failed::Busy(Busy::see(&home, &folder, holder))
        }
        error @ LeaseError::Io { .. } => Failed::Broken(error.to_string()),
    };
    let made = memory::make(&disk, &home, "init", &holder).map_err(|error| match error {
        CannotMake::Lease(error) => busy(error),
        CannotMake::Manifest(error) => no_manifest(error),
    })?;
    // One that is there already must be one that we can use.
    let _access = Access::share(&home, &holder).map_err(busy)?;
    SqliteManifest::open(&home.manifest()).map_err(no_manifest)?;
    let network = FileSystem::network_name(home.path());
    let shown = folder.join(semel::ground::home::NAME);
    if let Some(made) = made {
        writeln!(out, "done  made {}", shown.display())?;
        if made.is_incomplete {
            let (is_whole, lines) = (false, made.lines);
            let (backup, network) = (made.backup, network.as_deref());
            let made = Event::NewMemory { once: &[], is_whole, backup, lines, network };
            for line in text::memory(&made) {
                writeln!(out, "      {line}")?;
            }
        } else if let Some(network) = network {
            writeln!(out, "      {}", text::on_network(&network))?;
        }
    } else {
        writeln!(out, "done  {} was there already", shown.display())?;
    }
    // What is secret in a value is known by the file only; one that cannot be read, or
    // has no such parameter, says no value.
    let again = Place::find(common).map_or_else(|_| file_again(common), |place| place.again);
    writeln!(out, "\n  next")?;
    writeln!(out, "{}", text::next(&format!("semel plan{again}"), "what a run would do"))?;
    writeln!(out, "{}", text::next(&format!("semel run{again}"), "do it"))?;
    Ok(Exit::DONE)
}
