//! Scripts, killed with all that they started, their keeper among it, before and after
//! every change of the disk that any of these processes makes; run again, and held
//! against a run that nobody interrupted.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use semel_testkit::tracer::{Blow, Moment, Plan, Point, trace};
use semel_testkit::{Ran, Scratch};

use semel_testkit::sweep::one_of;

/// A function, a loop, an output and a file that is in the way, and a payment.
const SCRIPT: &str = r#"set -euo pipefail
eval "$(semel script nightly || echo exit 105)"
sum() { awk '{ s += $1 } END { print s }' "$1" > "$2"; }
step fetch --out raw.txt -- bash -c 'seq 5 > "$1"' _ '{{ out }}'
step sum --in raw.txt --out sum.txt -- sum raw.txt '{{ out }}'
for part in a b; do
  step part --item "$part" --out "parts/$part" -- bash -c 'echo "$2" > "$1"' _ '{{ out }}' "$part"
done
step pay --once -- bash -c 'echo paid >> ledger'
step tell --in sum.txt --stdout told.txt -- cat sum.txt
"#;

fn prepared() -> Scratch {
    let scratch = Scratch::new(env!("CARGO_BIN_EXE_semel"));
    scratch.semel("init --bare").exits(0);
    scratch.file("nightly.sh", SCRIPT).file("told.txt", "precious\n");
    scratch
}

fn run(scratch: &Scratch) -> Ran {
    scratch.ran(scratch.script("bash", "nightly.sh"))
}

/// Goes on as somebody would who looks at the ledger where it is refused.
fn goes_on(scratch: &Scratch, reference: &Scratch) -> Result<(), String> {
    let mut story = Vec::new();
    let mut ran = run(scratch);
    story.push(format!("{ran:?}"));
    if ran.status == 103 {
        let is_paid = scratch.has("ledger") && scratch.text("ledger") == "paid\n";
        let verb = if is_paid { "done" } else { "redo" };
        scratch.semel_words([verb, "pay", "-f", "nightly", "--because", "so it says"]).exits(0);
        ran = run(scratch);
        story.push(format!("{ran:?}"));
    }
    let wrong = |what: &str| Err(format!("{what}\n{}", story.join("\n")));
    if ran.status != 0 {
        return wrong("it does not go on");
    }
    if scratch.contents() != reference.contents() {
        let found: Vec<PathBuf> = scratch.contents().into_keys().collect();
        return wrong(&format!(
            "it is another folder: {found:?}, ledger {:?}",
            scratch.text("ledger")
        ));
    }
    let again = run(scratch);
    if !again.stderr.contains("nothing to do, 6 of 6") {
        return wrong(&format!("the next run is not boring: {again:?}"));
    }
    let left = scratch.list(".semel/staging");
    if !left.is_empty() {
        return wrong(&format!("this is left: {left:?}"));
    }
    if !semel_testkit::library::is_somewhere(scratch.path(), b"precious\n") {
        return wrong("what semel did not make is lost");
    }
    match scratch.semel("status").status {
        0 => Ok(()),
        status => wrong(&format!("status says {status}")),
    }
}

fn sweep(what: &str, moment: Moment, usually: usize) {
    let reference = prepared();
    run(&reference).exits(0);
    let is_point = |point: &Point| point.changes;
    let of = |scratch: &Scratch, blow| {
        trace(&scratch.script("bash", "nightly.sh"), &Plan { is_point: &is_point, blow })
    };
    let quiet = match of(&prepared(), None) {
        Ok(traced) => traced,
        Err(why) => return why.tell(what),
    };
    assert_eq!(quiet.status, 0, "{quiet:?}");
    let one_of = one_of(usually);
    let total = quiet.points.len();
    let (next, violations) = (AtomicUsize::new(1 + what.len() % one_of), Mutex::new(Vec::new()));
    let struck = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(one_of, Ordering::SeqCst);
                    if at > total {
                        return;
                    }
                    let scratch = prepared();
                    let traced = of(&scratch, Some((at, Blow::Kill(moment)))).unwrap();
                    struck.fetch_add(usize::from(traced.was_struck), Ordering::SeqCst);
                    if let Err(error) = goes_on(&scratch, &reference) {
                        let point =
                            traced.points.last().map_or_else(String::new, ToString::to_string);
                        violations.lock().unwrap().push(format!("{at}: {point}\n{error}"));
                    }
                }
            });
        }
    });
    let (struck, violations) = (struck.into_inner(), violations.into_inner().unwrap());
    println!("a script, {what}: points {total}, tried: {struck}, violations: {}", violations.len());
    assert!(violations.is_empty(), "{}", violations.join("\n----\n"));
    assert!(struck > 0, "nothing was tried");
}

#[test]
fn killed_before_a_change() {
    sweep("killed before", Moment::Before, 11);
}

#[test]
fn killed_after_a_change() {
    sweep("killed after", Moment::After, 17);
}
