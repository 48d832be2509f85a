//! A call that fails, once or from then on: a clear error and a status that says so,
//! or no harm at all; the old outputs are there; the next run is clean.

use semel_testkit::Scratch;
use semel_testkit::tracer::call::Action;
use semel_testkit::tracer::{Blow, Plan, Point, Traced, trace};

use crate::scene::Scene;
use crate::sweep::{Sweep, all_held};

/// What a disk may say.
struct Fault {
    name: &'static str,
    errno: i32,
    /// To which calls.
    of: fn(&Point) -> bool,
    /// Whether it can be so from then on. An interruption is none that lasts.
    may_last: bool,
    /// The system's words for it.
    told: &'static str,
}

/// SQLite keeps the system's words to itself, and has its own.
const SQLITE: [&str; 4] = [
    "disk I/O error",
    "database or disk is full",
    "unable to open database file",
    "attempt to write a readonly database",
];

const FAULTS: [Fault; 6] = [
    Fault {
        name: "ENOSPC",
        errno: 28,
        of: |point| match point.action {
            Action::Open => point.changes,
            Action::Remove | Action::Looks => false,
            _ => true,
        },
        may_last: true,
        told: "No space left on device",
    },
    Fault { name: "EIO", errno: 5, of: |_| true, may_last: true, told: "Input/output error" },
    Fault {
        name: "EINTR",
        errno: 4,
        of: |point| {
            matches!(
                point.action,
                Action::Open | Action::Write | Action::Copy | Action::Size | Action::Sync
            )
        },
        may_last: false,
        told: "Interrupted system call",
    },
    Fault {
        name: "EROFS",
        errno: 30,
        of: |point| !matches!(point.action, Action::Write | Action::Sync),
        may_last: true,
        told: "Read-only file system",
    },
    Fault {
        name: "EMFILE",
        errno: 24,
        of: |point| point.action == Action::Open,
        may_last: true,
        told: "Too many open files",
    },
    Fault {
        name: "EACCES",
        errno: 13,
        of: |point| {
            matches!(
                point.action,
                Action::Open
                    | Action::Rename
                    | Action::Remove
                    | Action::Folder
                    | Action::Link
                    | Action::Attribute
            )
        },
        may_last: true,
        told: "Permission denied",
    },
];

fn failing(scene: &Scene, one_of: usize) {
    let kinds = FAULTS.iter().flat_map(|fault| [(fault, false), (fault, true)]);
    all_held(kinds.filter(|(fault, lasts)| !lasts || fault.may_last).map(|(fault, lasts)| {
        let what = format!("{} {}", fault.name, if lasts { "from then on" } else { "once" });
        let must = |folder: &Scratch, traced: &Traced| is_clear(scene, fault, folder, traced);
        let (is_point, blow) = (&fault.of, Blow::Fail { errno: fault.errno, lasts });
        Sweep { what: &what, scene, is_point, of_commands: false, blow, one_of, must: &must }.go()
    }));
}

/// It says what is wrong, and its exit status tells the truth.
fn is_clear(scene: &Scene, fault: &Fault, folder: &Scratch, traced: &Traced) -> Result<(), String> {
    let said = format!("{}{}", traced.stdout, traced.stderr);
    if said.contains("panicked") {
        return Err("it panicked".to_owned());
    }
    match traced.status {
        0 => scene.keeps_its_word(folder),
        1 | 3 | 5 if said.contains(fault.told) => Ok(()),
        1 | 3 | 5 if SQLITE.iter().any(|words| said.contains(words)) => Ok(()),
        1 | 3 | 5 => Err("it does not say why".to_owned()),
        _ => Err("that is no exit status for it".to_owned()),
    }
}

#[test]
fn a_small_first_run() {
    failing(&Scene::small(), 31);
}

#[test]
fn a_first_run() {
    failing(&Scene::first(), 101);
}

#[test]
fn a_run_that_repairs() {
    failing(&Scene::repair(), 101);
}

#[test]
fn a_run_with_nothing_to_do() {
    failing(&Scene::nothing(), 41);
}

#[test]
fn what_a_human_settles() {
    failing(&Scene::done(), 29);
}

/// A disk that becomes full takes a part of what is written.
#[test]
fn a_write_that_is_cut_short_goes_on() {
    for scene in [Scene::small(), Scene::repair()] {
        let must = |folder: &Scratch, traced: &Traced| match traced.status {
            0 => scene.keeps_its_word(folder),
            _ => Err("there was no need to fail".to_owned()),
        };
        // SQLite lengthens this one byte by byte, and of one byte there is no part.
        let is_whole = |point: &Point| point.path.to_string_lossy().ends_with("-shm");
        let is_point = &|point: &Point| point.action == Action::Write && !is_whole(point);
        let (what, blow) = ("cut short", Blow::Shorten);
        all_held(
            [Sweep {
                what,
                scene: &scene,
                is_point,
                of_commands: false,
                blow,
                one_of: 23,
                must: &must,
            }
            .go()]
            .into_iter(),
        );
    }
}

/// Its number would be given once more, and its tasks would be another's.
#[test]
fn a_run_that_cannot_be_noted_does_not_begin() {
    let scene = Scene::nothing();
    let fault = &FAULTS[1];
    all_held([false, true].into_iter().map(|lasts| {
        let must = |folder: &Scratch, traced: &Traced| is_clear(&scene, fault, folder, traced);
        Sweep {
            what: if lasts { "the manifest EIO from then on" } else { "the manifest EIO once" },
            scene: &scene,
            is_point: &|point| point.path.ends_with(".semel/manifest.db-wal"),
            of_commands: false,
            blow: Blow::Fail { errno: fault.errno, lasts },
            one_of: 1,
            must: &must,
        }
        .go()
    }));
}

/// What is the same for every task is told once.
#[test]
fn a_full_disk_is_told_once() {
    let scratch = Scratch::new(env!("CARGO_BIN_EXE_semel"));
    for item in 1..=5 {
        scratch.file(format!("raw/{item}"), "");
    }
    scratch.pipeline("[step.talk]\neach = 'raw/*'\nout = 'out/{{ item.name }}'\nrun = 'echo words | tee {{ out }}'");
    let plan = Plan {
        is_point: &|point| {
            point.own && point.path.parent().is_some_and(|folder| folder.ends_with(".semel/log"))
        },
        blow: Some((1, Blow::Fail { errno: FAULTS[0].errno, lasts: true })),
    };
    let traced = match trace(&scratch.command(["run", "-j", "1"]), &plan) {
        Ok(traced) => traced,
        Err(why) => return why.tell("a full disk is told once"),
    };
    assert_eq!(traced.status, 0, "what was made is there: {traced:?}");
    let warnings: Vec<_> = traced.stderr.lines().filter(|line| line.contains("warning:")).collect();
    assert_eq!(warnings.len(), 1, "{}", traced.stderr);
    assert!(warnings[0].contains("could not be kept: No space left on device"), "{warnings:?}");
}

#[test]
fn what_is_pruned() {
    failing(&Scene::prune(), 53);
}

#[test]
fn what_is_ended() {
    failing(&Scene::gc(), 53);
}

#[test]
fn a_manifest_that_is_rebuilt() {
    failing(&Scene::rebuild(), 53);
}
