//! Waiting for a moment: for a condition, or for a command to come to a gate.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long something may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something holds.
///
/// # Panics
/// If it does not hold within a minute.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// A gate at which a command waits until a test lets it pass.
///
/// In a command, [`Gate::wait`] is the text to write where it is to wait.
#[derive(Debug)]
pub struct Gate {
    arrived: PathBuf,
    passes: PathBuf,
}

impl Gate {
    /// Makes a gate in a folder.
    ///
    /// # Panics
    /// If the fifos cannot be made.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let gate = Self {
            arrived: folder.join(format!("{name}.arrived")),
            passes: folder.join(format!("{name}.passes")),
        };
        for fifo in [&gate.arrived, &gate.passes] {
            let made = Command::new("mkfifo").arg(fifo).status().expect("mkfifo runs");
            assert!(made.success(), "mkfifo {}", fifo.display());
        }
        gate
    }

    /// The shell text of a command that tells that it is here, and waits.
    #[must_use]
    pub fn wait(&self) -> String {
        format!(
            "echo here > '{}'; read -r go < '{}'",
            self.arrived.display(),
            self.passes.display()
        )
    }

    /// Waits until a command is at the gate.
    ///
    /// # Panics
    /// If the fifo cannot be read.
    pub fn until_arrived(&self) {
        let mut text = String::new();
        let mut fifo =
            OpenOptions::new().read(true).open(&self.arrived).expect("the fifo is there");
        fifo.read_to_string(&mut text).expect("it can be read");
    }

    /// Lets the command that is at the gate pass.
    ///
    /// # Panics
    /// If the fifo cannot be written.
    pub fn open(&self) {
        let mut fifo =
            OpenOptions::new().write(true).open(&self.passes).expect("the fifo is there");
        fifo.write_all(b"go\n").expect("it can be written");
    }
}
