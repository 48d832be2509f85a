//! What people see. Semel talks on standard error; standard output is for what
//! was asked for.

pub(crate) mod board;
pub(crate) mod busy;
pub(crate) mod calls;
pub(crate) mod fail;
pub(crate) mod guard;
pub(crate) mod json;
pub(crate) mod patient;
pub(crate) mod plain;
pub(crate) mod renamed;
pub(crate) mod style;
pub(crate) mod summary;
pub(crate) mod terminal;
pub(crate) mod text;
