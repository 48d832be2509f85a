//! What the power is cut of: pipelines, and what there is before they are run.

use std::path::Path;

use semel::deed::prune::prune;
use semel::ground::home::Home;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::world::disk::{Disk, RealDisk};
use semel_testkit::library::put_file;

use crate::world::{run_on, with_setting};

/// Files, a folder, several outputs, somebody's file in the way, a chain, a gathering,
/// and what is done once. What is told is counted outside.
pub(crate) const PIPELINE: &str = r#"
name = "power"
jobs = 1

[step.clean]
each = "raw/*"
out  = "clean/deep/{{ item.name }}"
run  = 'sort {{ item }} > {{ out }}'

[step.split]
each = { outputs-of = "clean" }
out  = { head = "split/{{ item.name }}.head", rest = "split/{{ item.name }}.rest/" }
run  = 'head -n 1 {{ item }} > {{ out.head }}; mkdir {{ out.rest }}/a; tail -n +2 {{ item }} > {{ out.rest }}/a/lines'

[step.report]
in  = { outputs-of = "clean" }
out = "report"
run = 'cat {{ in }} > {{ out }}'

[step.tell]
needs = ["report", "split"]
once  = true
run   = 'echo told >> ../outbox'
"#;

/// A command that writes in place, and fails once.
const IN_PLACE: &str = r#"
name = "power"
jobs = 1

[step.add]
in       = "in"
in-place = true
out      = ["ledger", "folder/", "new/deep/file"]
retry    = { times = 1, wait = "1ms" }
run      = 'cat in >> ledger; cat in >> folder/log; rm -f folder/old; cat in >> new/deep/file; [ -e ../tried ] || { touch ../tried; exit 1; }'
"#;

/// What is done once, and nothing else.
const PAY: &str = r#"
name = "power"
[finally]
run = 'echo finally >> ../outbox'

[step.tell]
once = true
run  = 'echo told >> ../outbox'
"#;

/// A check that never holds: what was published is taken back.
const CHECKED: &str = r#"
name = "power"
jobs = 1

[step.report]
in    = "raw/1"
out   = ["report", "clean/deep/2"]
check = "false"
run   = 'cat {{ in }} | tee {{ out }}'
"#;

/// A command that moves its input away: it gets it back.
const MOVED: &str = r#"
name = "power"
jobs = 1

[step.move]
each = "raw/*"
out  = "moved/{{ item.name }}"
run  = 'mv {{ item }} {{ out }}'
"#;

/// What is in the folder, and outside, before the run in which the power is cut.
#[derive(Clone, Copy)]
pub(crate) struct Story {
    pub(crate) pipeline: &'static str,
    pub(crate) prepare: fn(&Path),
    /// What is done then, and how it ends.
    pub(crate) act: fn(&dyn Disk) -> i32,
    pub(crate) status: i32,
    /// Bytes that must be somewhere, whatever happens.
    pub(crate) precious: &'static [&'static [u8]],
    /// What is published: each is as it was, or as it will be.
    pub(crate) outputs: &'static [&'static str],
    /// Files of semel's own that are there whole or not at all.
    pub(crate) whole: &'static [&'static str],
    /// Whether receipts outlive a power cut.
    pub(crate) is_durable: bool,
    /// Whether commands move away what is precious.
    pub(crate) moves: bool,
}

pub(crate) const FIRST: Story = Story {
    pipeline: PIPELINE,
    prepare: first,
    act: run_on,
    status: 0,
    precious: &[b"precious"],
    outputs: &["clean/deep/1", "clean/deep/2", "split/1.head", "split/2.rest", "report"],
    whole: &[],
    is_durable: true,
    moves: false,
};

pub(crate) const LATER: Story = Story {
    prepare: later,
    precious: &[b"precious", b"mended"],
    outputs: &["clean/deep/1", "clean/deep/2", "split/1.head", "split/2.rest", "report"],
    whole: &[".semel/manifest.backup.db"],
    ..FIRST
};

pub(crate) const ADDED: Story = Story {
    pipeline: IN_PLACE,
    prepare: to_be_added_to,
    precious: &[b"precious\n", b"old\n"],
    outputs: &[],
    ..FIRST
};

pub(crate) const FORGOTTEN: Story = Story { prepare: forgotten, ..FIRST };

pub(crate) const PAID: Story =
    Story { pipeline: PAY, prepare: |_| {}, precious: &[], outputs: &[], ..FIRST };

pub(crate) const TAKEN_BACK: Story = Story {
    pipeline: CHECKED,
    prepare: mended,
    status: 1,
    outputs: &[],
    precious: &[b"precious", b"mended"],
    ..FIRST
};

pub(crate) const GIVEN_BACK: Story = Story {
    pipeline: MOVED,
    status: 1,
    precious: &[b"b\na\n", b"d\nc\n"],
    moves: true,
    outputs: &[],
    ..FIRST
};

pub(crate) const PRUNED: Story = Story {
    prepare: left_over,
    act: prune_on,
    precious: &[b"mended", b"a\n", b"precious"],
    outputs: &[],
    ..FIRST
};

pub(crate) const LOOSE: Story = Story { pipeline: "loose", is_durable: false, ..FIRST };

fn prune_on(disk: &dyn Disk) -> i32 {
    with_setting(disk, |setting| {
        let manifest = SqliteManifest::read(&Home::in_folder(disk.root()).manifest()).unwrap();
        let pruned = prune(setting, &manifest).unwrap();
        assert!(pruned.failed.is_empty() && !pruned.moved.is_empty());
        0
    })
}

/// A folder before its first run.
fn first(folder: &Path) {
    put_file(folder, "raw/1", "b\na\n");
    put_file(folder, "raw/2", "d\nc\n");
    // What somebody else put there must not be lost.
    put_file(folder, "report", "precious");
}

/// A folder after a good run, with an input that changed since, an output that was
/// mended by hand, and one that is gone; and it is long since the manifest was copied.
fn later(folder: &Path) {
    first(folder);
    assert_eq!(run_on(&RealDisk::at(folder).unwrap()), 0);
    put_file(folder, "raw/1", "b\na\nz\n");
    put_file(folder, "clean/deep/2", "mended");
    std::fs::remove_dir_all(folder.join("split/2.rest")).unwrap();
    let db = rusqlite::Connection::open(folder.join(".semel/manifest.db")).unwrap();
    db.execute("update memory set born = '2020-01-01T00:00:00Z'", []).unwrap();
}

/// A folder with what somebody else made in the places of outputs.
fn mended(folder: &Path) {
    first(folder);
    put_file(folder, "clean/deep/2", "mended");
}

/// A folder with outputs of an item that is gone, one of them mended by hand.
fn left_over(folder: &Path) {
    first(folder);
    assert_eq!(run_on(&RealDisk::at(folder).unwrap()), 0);
    put_file(folder, "clean/deep/1", "mended");
    std::fs::remove_file(folder.join("raw/1")).unwrap();
}

/// A folder in which what is written in place stands already.
fn to_be_added_to(folder: &Path) {
    put_file(folder, "in", "2\n");
    put_file(folder, "ledger", "precious\n");
    put_file(folder, "folder/log", "1\n");
    put_file(folder, "folder/old", "old\n");
}

/// A folder whose manifest was removed.
fn forgotten(folder: &Path) {
    first(folder);
    assert_eq!(run_on(&RealDisk::at(folder).unwrap()), 0);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!(".semel/manifest.db{end}")));
    }
}
