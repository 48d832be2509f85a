//! The exit statuses, one table. `docs/reference/exit.md` is generated from it.

use std::process::ExitCode;

/// An exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) i32);

impl Exit {
    /// Every step reached its desired state.
    pub(crate) const DONE: Self = Self(0);
    /// A step failed.
    pub(crate) const FAILED: Self = Self(1);
    /// Wrong usage, or a pipeline file that does not parse.
    pub(crate) const USAGE: Self = Self(2);
    /// A human must settle something.
    pub(crate) const REFUSED: Self = Self(3);
    /// Somebody else holds the lease.
    pub(crate) const BUSY: Self = Self(4);
    /// Something semel itself relies on is broken or out of reach.
    pub(crate) const BROKEN: Self = Self(5);
}

impl Exit {
    /// As a verb that stands before a command says it: the command has statuses of its own.
    pub(crate) const fn of_prefix(self) -> Self {
        match self.0 {
            2..=5 => Self(100 + self.0),
            1 => Self(101),
            status => Self(status),
        }
    }
}

impl Exit {
    /// As a script ends that says all is well though it is not.
    pub(crate) const fn of_script(self) -> Self {
        match self.0 {
            1 => Self(1),
            _ => self.of_prefix(),
        }
    }
}

impl Exit {
    /// What became of a run that ended so, in a word.
    pub(crate) const fn word(self) -> &'static str {
        match self.0 {
            0 => "done",
            1 => "failed",
            3 => "refused",
            4 => "busy",
            5 => "broken",
            6 => "not boring",
            _ => "stopped",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(u8::try_from(exit.0).unwrap_or(u8::MAX))
    }
}

/// What each exit status means, in the order in which the first that applies is
/// given.
pub(crate) const MEANINGS: [(&str, &str); 8] = [
    ("128+n", "ended by signal n, everything cleaned up"),
    ("5", "something semel itself relies on is broken or out of reach (manifest, disk, a check)"),
    ("3", "refused: a human must settle something (`semel done`, `semel redo`)"),
    ("1", "a step failed"),
    ("4", "busy: somebody else holds the lease"),
    ("6", "`--expect-noop` found that the run would not be boring"),
    ("2", "wrong usage, or a pipeline file that does not parse"),
    ("0", "every step reached its desired state"),
];
