//! The semel command.

mod args;
mod exit;
mod file;
mod help;
mod place;
mod show;
mod verb;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match args::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    verb::perform(&arguments).into()
}
