//! x
use crate::{args, exit::Exit, place::Place, show::fail::Failed};
pub(crate) fn done(_: Place, _: &args::Settle) -> Result<Exit, Failed> { Ok(Exit::DONE) }
pub(crate) fn redo(_: Place, _: &args::Settle) -> Result<Exit, Failed> { Ok(Exit::DONE) }
