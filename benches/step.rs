//! Times commands that take a millisecond: each is started ROUNDS times, in turns, so that
//! a machine which changes its pace changes it for all.
//!
//!     step ROUNDS [NAME command line]…
//!
//! A command line is split at blanks; `{n}` in it is the number of the round. Printed are the least and the median, in
//! milliseconds, and the median beside that of the first.

use std::process::{Command, Stdio};
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().and_then(|n| n.parse().ok()).expect("ROUNDS");
    let arguments: Vec<_> = arguments.collect();
    let commands: Vec<(&String, Vec<&str>)> =
        arguments.chunks_exact(2).map(|pair| (&pair[0], pair[1].split(' ').collect())).collect();
    let mut times = vec![Vec::with_capacity(rounds); commands.len()];
    // The first round is not counted: it reads from the disk.
    for round in 0..=rounds {
        for ((name, words), times) in commands.iter().zip(&mut times) {
            let mut command = Command::new(words[0]);
            command.args(words[1..].iter().map(|word| word.replace("{n}", &round.to_string())));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let began = Instant::now();
            let status = command.status().unwrap_or_else(|error| panic!("{name}: {error}"));
            let took = began.elapsed().as_secs_f64() * 1000.0;
            assert!(status.success(), "{name}: {status}");
            if round > 0 {
                times.push(took);
            }
        }
    }
    let mut first = None;
    for ((name, _), times) in commands.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let median = times[rounds / 2];
        let first = *first.get_or_insert(median);
        println!("{name:<34} {:>6.2} {median:>7.2} {:>6.2}", times[0], median / first);
    }
}
