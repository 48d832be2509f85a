//! Why a run could not begin.

use std::path::PathBuf;

use super::NoSuchTarget;
use crate::deed::Trouble;
use crate::deed::lease::{Holder, LeaseError};
use crate::deed::recover::RecoverError;
use crate::ground::manifest::ManifestError;
use crate::ground::world::disk::DiskError;

/// Why a run could not begin.
#[derive(Debug)]
pub enum CannotBegin {
    /// The pipeline's file or its inputs are not as they must be.
    Trouble(Trouble),
    /// What was asked for is not there.
    Target(NoSuchTarget),
    /// Somebody else is at work on it.
    Busy(Option<Box<Holder>>),
    /// A signal came while it waited for somebody else.
    Stopped(i32),
    /// Another file of the folder has the same name for its pipeline, or one that
    /// this had before.
    TwoFiles {
        /// The other file.
        other: String,
        /// The name.
        name: String,
    },
    /// There is no memory, and the file says that a run may not make one: these are
    /// its `once` steps.
    NoMemory(Vec<String>),
    /// The manifest cannot be used.
    Manifest {
        /// Where it is.
        path: PathBuf,
        /// Why.
        error: ManifestError,
    },
    /// Something else that semel relies on does not work.
    Broken(String),
}

impl From<Trouble> for CannotBegin {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<DiskError> for CannotBegin {
    fn from(error: DiskError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<LeaseError> for CannotBegin {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Busy(holder) => Self::Busy(holder),
            LeaseError::Io { .. } => Self::Broken(error.to_string()),
        }
    }
}

impl From<RecoverError> for CannotBegin {
    fn from(error: RecoverError) -> Self {
        Self::Broken(format!("what a killed run left cannot be cleaned up: {error}"))
    }
}
