//! Deeds: what touches the world.

pub mod act;
mod aside;
pub mod at_work;
pub mod calls;
mod capture;
pub mod check;
pub mod command;
pub mod databases;
mod displace;
mod explain;
pub mod former;
pub mod gc;
pub mod hold;
mod hook;
mod inputs;
pub mod journal;
pub mod lease;
pub mod list;
pub mod log;
pub mod look;
pub mod memory;
pub mod network;
pub mod now;
pub mod once;
pub mod params;
pub mod prune;
pub mod publish;
pub mod rebuild;
pub mod record;
pub mod recover;
pub mod rows;
pub mod run;
pub mod script;
pub mod stage;
pub mod step;
pub mod transaction;
pub mod transfer;
mod trees;
mod undo;
pub mod verify;
pub mod view;
mod ways;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use self::journal::AllUnsettled;
use crate::deed::at_work::AtWork;
use crate::deed::databases::Databases;
use crate::ground::digests::{self, Content, Digests};
use crate::ground::home::Home;
use crate::ground::manifest::{Manifest, ManifestError, ManifestResult};
use crate::ground::world::disk::{Disk, DiskError, DiskResult, Meta};
use crate::thought::bind::Params;
use crate::thought::mask::Mask;
use crate::words::pipeline::{Digested, Durability, Fault, Pipeline, Step, StepId};
use crate::words::receipt::Failure;
use crate::words::task::Item;

/// The items that commands printed, by their steps: each is asked once a run.
pub type Asked = Mutex<HashMap<String, Vec<Item>>>;

/// Where a run works: its pipeline and the world around it.
pub struct Site<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// The values of its parameters.
    pub params: &'a Params,
    /// The disk, seen from the pipeline's folder.
    pub disk: &'a dyn Disk,
    /// The digests of files.
    pub digests: &'a Digests,
    /// Semel's own folder.
    pub home: &'a Home,
    /// The run's unique id.
    pub run_id: &'a str,
    /// Semel's own environment.
    pub env: &'a BTreeMap<String, Vec<u8>>,
    /// The outputs of steps without items: none of them is a program.
    pub outputs: &'a HashSet<PathBuf>,
    /// The lists that commands made.
    pub asked: &'a Asked,
    /// Steps whose changed commands do not matter, this time.
    pub kept: &'a [StepId],
    /// Whether nothing was ever lost from the memory.
    pub memory_is_whole: bool,
    /// Publications of dead runs whose checks are still to be asked.
    pub unsettled: &'a AllUnsettled,
    /// Attempts that outlived their runs.
    pub orphans: &'a [AtWork],
    /// Whether the lease of the folder is still ours, where it has one.
    pub fence: Option<&'a network::Pulse>,
    /// The lock files of the leases under which it works.
    pub leases: &'a [PathBuf],
    /// The standard streams of the script whose task it is.
    pub stdio: Option<command::Stdio<'a>>,
    /// Its databases.
    pub databases: Databases<'a>,
    /// A connection to the manifest for those who look; `None` where there is
    /// no manifest yet.
    pub manifest: Option<&'a Mutex<Box<dyn Manifest>>>,
}

/// What masks the secrets of all steps of a pipeline; `env` holds their values.
#[must_use]
pub fn mask_all(pipeline: &Pipeline, env: &BTreeMap<String, Vec<u8>>) -> Mask {
    let names = pipeline.steps.iter().flat_map(|step| &step.secret_env);
    Mask::of(names.filter_map(|(name, _)| env.get(name).cloned()))
}

impl Site<'_> {
    /// Whether something may be started or published.
    ///
    /// # Errors
    /// Why not: the lease of the folder is lost.
    pub fn may_go_on(&self) -> Result<(), String> {
        let verified = self.fence.map_or(Ok(()), network::Pulse::verify);
        verified.map_err(|why| format!("the lease of the folder is lost: {why}"))
    }

    /// Asks the manifest; where there is none, the answer is that of an empty
    /// one.
    pub(crate) fn ask_manifest<T: Default>(
        &self,
        ask: impl FnOnce(&dyn Manifest) -> ManifestResult<T>,
    ) -> ManifestResult<T> {
        match self.manifest {
            Some(manifest) => ask(&**manifest.lock().expect("nobody panics while asking")),
            None => Ok(T::default()),
        }
    }

    /// What of a file or folder that a step reads counts.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn input_content(
        &self,
        step: &Step,
        path: &Path,
        meta: &Meta,
        hint: &mut usize,
    ) -> DiskResult<Content> {
        match step.digest {
            Digested::Content => self.digests.content(self.disk, path, meta, hint),
            Digested::Stat => digests::stat_content(self.disk, path, meta),
        }
    }

    /// Whether what a step does must outlive a power cut.
    #[must_use]
    pub fn syncs(&self, step: &Step) -> bool {
        step.once || self.pipeline.durability == Durability::Power
    }

    /// What masks the secrets of a step.
    #[must_use]
    pub fn mask(&self, step: &Step) -> Mask {
        let values = step.secret_env.iter().filter_map(|(name, _)| self.env.get(name).cloned());
        Mask::of(values)
    }

    /// What masks the secrets of all steps.
    #[must_use]
    pub fn mask_all(&self) -> Mask {
        mask_all(self.pipeline, self.env)
    }

    /// The variables of semel's environment that a step lists in `env-counts`;
    /// those that are not set are not there.
    #[must_use]
    pub fn environment(&self, step: &Step) -> BTreeMap<String, Vec<u8>> {
        let listed = step.env_counts.iter();
        listed.filter_map(|name| Some((name.clone(), self.env.get(name)?.clone()))).collect()
    }
}

/// Why something cannot be begun.
#[derive(Debug)]
pub enum Trouble {
    /// The pipeline file contradicts itself, now that the lists are known.
    File(Fault),
    /// What the pipeline reads is not as it must be.
    Input(Fault),
    /// Something that semel relies on does not work.
    Broken(String),
}

impl Trouble {
    /// What is wrong, in a line, for those who have no place in the file to show.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::File(fault) | Self::Input(fault) => &fault.title,
            Self::Broken(why) => why,
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::File(fault) | Trouble::Input(fault) => Self::BadInput(fault.title),
            Trouble::Broken(why) => Self::Broken(why),
        }
    }
}

impl From<DiskError> for Trouble {
    fn from(error: DiskError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<ManifestError> for Trouble {
    fn from(error: ManifestError) -> Self {
        Self::Broken(format!("the manifest: {error}"))
    }
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        Trouble::from(error).into()
    }
}
