//! A yardstick: asks the file system about every file of some folders, with as
//! many threads as there are processors, and does nothing else.
//!
//!     rustc -O -o stat benches/stat.rs && ./stat raw out

use std::path::PathBuf;

fn main() {
    let files: Vec<PathBuf> = std::env::args_os()
        .skip(1)
        .flat_map(|folder| std::fs::read_dir(folder).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = files.len().div_ceil(threads).max(1);
    let bytes: u64 = std::thread::scope(|scope| {
        let ask = |files: &[PathBuf]| -> u64 {
            files.iter().map(|file| std::fs::metadata(file).expect("a file").len()).sum()
        };
        let asking: Vec<_> =
            files.chunks(share).map(|files| scope.spawn(move || ask(files))).collect();
        asking.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    println!("{} files, {bytes} bytes", files.len());
}
