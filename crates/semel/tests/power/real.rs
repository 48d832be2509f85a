//! Real file systems, whose power is cut after the k-th change.

use std::path::{Path, PathBuf};

use semel::ground::world::disk::RealDisk;
use semel::ground::world::fault::{self, FaultyDisk};
use semel_testkit::library::is_somewhere;
use semel_testkit::power::{Cut, Kind, Medium};
use semel_testkit::recorded::Tree;

use crate::simulated::tries_all;
use crate::stories::Story;
use crate::world::{World, run_on, try_run_on};

/// Cuts the power of real file systems after changes of a run, each time another one;
/// what semel still tries then fails.
pub(crate) fn explore_for_real(name: &str, story: Story) {
    let world = World::of(story);
    let disk =
        FaultyDisk::new(RealDisk::at(&world.folder()).unwrap(), Box::new(|_, _, _, _| Ok(())));
    assert_eq!(run_on(&disk), 0);
    let (changes, end, told) = (disk.changes(), world.contents(), world.told());
    std::thread::scope(|scope| {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            let end = &end;
            scope.spawn(move || {
                let mut medium = match Medium::new(kind) {
                    Ok(medium) => medium,
                    Err(why) => {
                        eprintln!("skipped: {name} on {kind}: {why}");
                        return;
                    }
                };
                let step = if tries_all() { 1 } else { 20 };
                let mut cuts = 0;
                for at in (1 + place as u64..=changes).step_by(step) {
                    let cut = Cut::ALL[usize::try_from(at / step as u64 % 2).unwrap()];
                    let what = format!("{name} on {kind}: {cut:?} after change {at} of {changes}");
                    cut_for_real(&what, &mut medium, story, (at, cut), end, told);
                    cuts += 1;
                }
                eprintln!("{name} on {kind}: {cuts} power cuts, 0 violations");
            });
        }
    });
}

fn cut_for_real(
    what: &str,
    medium: &mut Medium,
    story: Story,
    (at, cut): (u64, Cut),
    end: &Tree,
    told: usize,
) {
    let outside = tempfile::tempdir().unwrap();
    let world = World::on(medium.path(), &outside.path().join("outbox"), story);
    medium.sync();
    let mount = medium.path().to_owned();
    let hook = move |number, moment, _: &'static str, _: &Path| {
        if (number, moment) == (at, fault::Moment::After) {
            assert!(Medium::cutter(&mount, cut).status().unwrap().success());
        }
        Ok(())
    };
    let disk = FaultyDisk::new(RealDisk::at(&world.folder()).unwrap(), Box::new(hook));
    // Whatever it says: what was done by then counts.
    let _ = try_run_on(&disk);
    drop(disk);
    medium.come_back();
    let found = world.contents();
    for path in receipts_in(&world.folder()) {
        assert_eq!(found.get(&path), end.get(&path), "I1: {what}: {}", path.display());
    }
    for bytes in story.precious {
        assert!(is_somewhere(&world.folder(), bytes), "I8: {what}");
    }
    assert_eq!(world.goes_on(), 0, "{what}: the next run");
    assert_eq!(world.told(), told, "I6: {what}");
    assert_eq!(&world.contents(), end, "{what}: the end is another");
    for bytes in story.precious {
        assert!(is_somewhere(&world.folder(), bytes), "I8: {what}: at last");
    }
}

/// The outputs that have a receipt; a copy of the manifest is asked.
fn receipts_in(folder: &Path) -> Vec<PathBuf> {
    let copy = tempfile::tempdir().unwrap();
    for name in ["manifest.db", "manifest.db-wal"] {
        let _ = std::fs::copy(folder.join(".semel").join(name), copy.path().join(name));
    }
    if !copy.path().join("manifest.db").exists() {
        return Vec::new();
    }
    let db = rusqlite::Connection::open(copy.path().join("manifest.db")).unwrap();
    let mut statement = db.prepare("select path from file where role = 'out'").unwrap();
    let paths = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    paths.map(|path| PathBuf::from(path.unwrap())).collect()
}
