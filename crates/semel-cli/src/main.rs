//! The semel command.

mod args;
mod exit;
mod file;
mod help;
mod keeper;
mod place;
mod show;
mod verb;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = keeper::serve() {
        return code;
    }
    keeper::appoint();
    let arguments = match args::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    verb::perform(&arguments).into()
}
