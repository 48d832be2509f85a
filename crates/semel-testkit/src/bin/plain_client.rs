//! A plain client of a paid provider, as a command: see `semel_testkit::plain_client`.

use std::process::ExitCode;

fn main() -> ExitCode {
    semel_testkit::plain_client::main()
}
