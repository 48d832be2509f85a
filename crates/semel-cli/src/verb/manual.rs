//! `semel completions` and `semel manual`: what a shell and `man` need to know of
//! semel, from the very words that it understands.

use std::io::Write;
use std::path::Path;

use crate::args;
use crate::exit::Exit;
use crate::help;
use crate::show::fail::Failed;

pub(crate) fn completions(options: &args::Completions) -> Result<Exit, Failed> {
    let mut script = Vec::new();
    let shell = match options.shell {
        args::Shell::Bash => clap_complete::Shell::Bash,
        args::Shell::Zsh => clap_complete::Shell::Zsh,
        args::Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, &mut help::command(), "semel", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::DONE)
}

pub(crate) fn manual(options: &args::Manual) -> Result<Exit, Failed> {
    let mut out = std::io::stdout().lock();
    if options.markdown {
        write!(out, "{}", help::reference())?;
        return Ok(Exit::DONE);
    }
    let Some(folder) = &options.folder else {
        out.write_all(&page(help::command())?)?;
        return Ok(Exit::DONE);
    };
    let cannot = |doing: &str, path: &Path, error: std::io::Error| {
        Failed::Broken(format!("cannot {doing} {}: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| cannot("make", folder, error))?;
    clap_mangen::generate_to(help::command(), folder)
        .map_err(|error| cannot("write to", folder, error))?;
    writeln!(out, "done  the man pages are in {}", folder.display())?;
    Ok(Exit::DONE)
}

/// A man page of a command.
fn page(command: clap::Command) -> Result<Vec<u8>, Failed> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    Ok(text)
}
