//! Who is killed, and when.

use semel_testkit::provider::State;
use semel_testkit::sweep::Seeded;
use semel_testkit::{Running, commands_of, kill_without_commands, stop_tree};

use rustix::process::{Pid, Signal, kill_process};

/// One of some things, drawn by lot.
pub(crate) fn pick<T: Copy>(seeded: &mut Seeded, of: &[T]) -> T {
    let last = of.len() - 1;
    // The fraction may be 1.
    of[((seeded.fraction() * of.len() as f64) as usize).min(last)]
}

/// A moment, as the provider sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// So many requests have come.
    Seen(usize),
    /// So many are charged, and hang.
    Hanging(usize),
    /// So many are charged, and will be answered.
    AtGate(usize),
    /// So many were answered.
    Answered(u64),
}

impl Moment {
    pub(crate) fn draw(seeded: &mut Seeded) -> Self {
        let many = pick(seeded, &[1, 2, 3, 4, 5, 6, 8, 10]);
        let few = pick(seeded, &[1, 1, 2]);
        match pick(seeded, &[0, 1, 2, 3]) {
            0 => Self::Seen(many),
            1 => Self::Hanging(few),
            2 => Self::AtGate(few),
            _ => Self::Answered(many as u64),
        }
    }

    pub(crate) fn has_come(self, state: &State) -> bool {
        match self {
            Self::Seen(requests) => state.requests().len() >= requests,
            Self::Hanging(requests) => state.hanging().len() >= requests,
            Self::AtGate(requests) => state.at_gate().len() >= requests,
            Self::Answered(answers) => state.answered() >= answers,
        }
    }
}

/// What happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blow {
    /// Semel is killed; its keeper ends the client.
    Semel,
    /// Semel and its keeper are killed; the client lives on, and tries again.
    AllButClient,
    /// The client is killed.
    Client,
    /// All are killed.
    Tree,
    /// Somebody presses Ctrl-C.
    Interrupt,
}

impl Blow {
    pub(crate) fn draw(seeded: &mut Seeded) -> Self {
        let of = [Self::Semel, Self::AllButClient, Self::Client, Self::Tree, Self::Interrupt];
        pick(seeded, &of)
    }

    pub(crate) fn fall_on(self, running: &Running) {
        match self {
            Self::Semel => running.signal(Signal::KILL),
            Self::AllButClient => kill_without_commands(running.pid()),
            Self::Client => commands_of(running.pid()).into_iter().for_each(kill),
            Self::Tree => stop_tree(running.pid()).into_iter().for_each(kill),
            Self::Interrupt => running.signal(Signal::INT),
        }
    }
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a number");
    // It may be gone already, which is as good.
    let _ = kill_process(pid, Signal::KILL);
}
