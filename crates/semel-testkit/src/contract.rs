//! One contract for all stores of the manifest. A store passes it, or it is none.

use std::path::PathBuf;
use std::time::Duration;

use semel::Timestamp;
use semel::ground::manifest::{Attempts, Entry, Manifest, Resolution, Verb};
use semel::words::digest::Digest;
use semel::words::fingerprint::{ENCODING, Fingerprint};
use semel::words::receipt::{
    Attempt, AttemptEnd, Ending, Failure, FileRecord, FileRole, LogRange, Origin, Receipt,
};
use semel::words::run::{By, Counts, NewRun, RunStep};
use semel::words::task::{Instance, TaskName};

const PIPELINE: &str = "test";

/// Puts a new, empty store through the contract.
///
/// # Panics
/// Where the store breaks it.
pub fn keep(mut store: Box<dyn Manifest>) {
    a_new_store_remembers_nothing(&*store);
    let run = begin_run(&mut *store);
    receipts_come_back_whole(&mut *store, run);
    i2_one_faulty_receipt_leaves_its_neighbours_alone(&mut *store, run);
    a_receipt_closes_what_was_open(&mut *store, run);
    the_last_open_attempt_counts(&mut *store, run);
    a_word_is_acted_on_once(&mut *store, run);
    runs_and_their_steps_are_kept(&mut *store, run);
    what_was_made_is_known_by_path_and_content(&*store);
    the_files_of_all_receipts_come_one_by_one(&*store, run);
    a_query_changes_nothing(&*store);
    another_connection_sees_the_same(&*store, run);
}

fn the_files_of_all_receipts_come_one_by_one(store: &dyn Manifest, run: i64) {
    for role in [FileRole::In, FileRole::Out] {
        let mut kept = Vec::new();
        store.files(role, &mut |file| kept.push(file)).expect("they can be read");
        assert!(!kept.is_empty());
        for file in &kept {
            assert_eq!((&*file.pipeline, file.file.role, file.run), (PIPELINE, role, run));
            let receipt =
                store.receipt(PIPELINE, &file.task).expect("a look").expect("it is there");
            assert!(receipt.files.contains(&file.file) && receipt.at == file.at);
        }
        assert!(kept.is_sorted_by_key(|file| file.task.clone()), "in the order of the tasks");
    }
}

fn task(step: &str, item: Option<&str>) -> TaskName {
    TaskName::new(step, &Instance::default(), item)
}

fn by() -> By {
    By { host: "db7".to_owned(), user: "etl".to_owned(), pid: 4121 }
}

fn fingerprint(what: &str) -> Fingerprint {
    Fingerprint { what: Digest::of(what.as_bytes()), how: Digest::of(b"how") }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn receipt(task: TaskName, run: i64, what: &str) -> Receipt {
    let out = FileRecord {
        role: FileRole::Out,
        name: String::new(),
        path: PathBuf::from("out/ä b.csv"),
        bytes: 78_475,
        rows: Some(848),
        digest: Digest::of(what.as_bytes()),

        by_stat: false,
    };
    let input = FileRecord {
        role: FileRole::In,
        name: "rates".to_owned(),
        path: semel::words::path::path_of(b"in/\xff".to_vec()),
        rows: None,
        ..out.clone()
    };
    Receipt {
        task,
        fingerprint: fingerprint(what),
        encoding: ENCODING,
        given: "{\"version\":\"1\"}".to_owned(),
        how: "{\"run\":[\"x\"]}".to_owned(),
        effect: Some(Digest::of(b"effect")),
        origin: Origin::Ran,
        at: at(0),
        run,
        took: Duration::from_millis(1500),
        files: vec![input, out],
    }
}

fn attempt(task: TaskName, run: i64, number: u64) -> Attempt {
    Attempt { task, run, number, tries: 1, fingerprint: fingerprint("a"), began: at(0) }
}

fn failed() -> AttemptEnd {
    AttemptEnd {
        ending: Ending::Failed(Failure::Exit(3)),
        provably_undone: true,
        ended: at(1),
        log: LogRange { at: 7, bytes: 9 },
    }
}

fn write(store: &mut dyn Manifest, entry: Entry) {
    let results = store.write(PIPELINE, &[entry]);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

fn complete(receipt: Receipt) -> Entry {
    Entry::Complete { receipt: Box::new(receipt), attempt: None, said: None }
}

fn a_new_store_remembers_nothing(store: &dyn Manifest) {
    let memory = store.memory_of(PIPELINE, "load", &Instance::default()).expect("asked");
    assert!(memory.receipts.is_empty() && memory.open.is_empty() && memory.said.is_empty());
    assert_eq!(store.receipt(PIPELINE, &task("load", None)).expect("asked"), None);
    assert!(store.runs(PIPELINE, None, 10).expect("asked").is_empty());
    assert!(!store.identity().expect("asked").id.is_empty());
}

fn begin_run(store: &mut dyn Manifest) -> i64 {
    let run = NewRun {
        id: "run-1".to_owned(),
        pipeline: PIPELINE.to_owned(),
        file: "semel.toml".to_owned(),
        instance: Instance::of(["2013-02"]),
        params: "{}".to_owned(),
        command: "semel run".to_owned(),
        selected: false,
        by: by(),
        began: at(0),
    };
    let number = store.begin_run(&run).expect("begun");
    assert_eq!(store.run_number("run-1").expect("asked"), Some(number));
    assert_eq!(store.run_number("run-2").expect("asked"), None);
    let kept = store.runs(PIPELINE, None, 10).expect("asked");
    assert_eq!((kept[0].number, &kept[0].new, kept[0].ended), (number, &run, None));
    number
}

fn receipts_come_back_whole(store: &mut dyn Manifest, run: i64) {
    for item in ["b", "a"] {
        write(store, complete(receipt(task("load", Some(item)), run, item)));
    }
    let kept = store.receipt(PIPELINE, &task("load", Some("a"))).expect("asked").expect("there");
    assert_eq!(kept, receipt(task("load", Some("a")), run, "a"));
    let memory = store.memory_of(PIPELINE, "load", &Instance::default()).expect("asked");
    let items: Vec<_> = memory.receipts.iter().map(|receipt| &*receipt.item).collect();
    assert_eq!(items, ["a", "b"], "they are ordered by item");
    assert_eq!(memory.receipts[0].fingerprint, fingerprint("a"));
    let other = store.memory_of("other", "load", &Instance::default()).expect("asked");
    assert!(other.receipts.is_empty(), "another pipeline's are its own");
    // A newer receipt takes the place of the older, files and all.
    let mut newer = receipt(task("load", Some("a")), run, "c");
    newer.files.truncate(1);
    write(store, complete(newer.clone()));
    assert_eq!(store.receipt(PIPELINE, &newer.task).expect("asked"), Some(newer));
}

fn i2_one_faulty_receipt_leaves_its_neighbours_alone(store: &mut dyn Manifest, run: i64) {
    let entry = |item, change: fn(&mut Receipt)| {
        let mut receipt = receipt(task("neighbours", Some(item)), run, item);
        change(&mut receipt);
        complete(receipt)
    };
    // A file twice in one role: no store can keep that.
    let faulty = |receipt: &mut Receipt| receipt.files.push(receipt.files[0].clone());
    let entries = [entry("a", |_| {}), entry("b", faulty), entry("c", |_| {})];
    let results: Vec<_> =
        store.write(PIPELINE, &entries).iter().map(std::result::Result::is_ok).collect();
    assert_eq!(results, [true, false, true]);
    let memory = store.memory_of(PIPELINE, "neighbours", &Instance::default()).expect("it reads");
    let items: Vec<_> = memory.receipts.iter().map(|receipt| &*receipt.item).collect();
    assert_eq!(items, ["a", "c"]);
}

fn a_receipt_closes_what_was_open(store: &mut dyn Manifest, run: i64) {
    let name = task("send", None);
    let began = attempt(name.clone(), run, 1);
    write(store, Entry::Begin { attempt: began.clone(), said: None });
    let open = store.memory_of(PIPELINE, "send", &Instance::default()).expect("asked").open;
    assert_eq!((open.len(), open[0].ending.as_deref(), &*open[0].run_id), (1, None, "run-1"));
    assert_eq!(store.open_attempts_of(run).expect("asked"), [1]);
    let end = AttemptEnd { ending: Ending::Done, ..failed() };
    write(
        store,
        Entry::Complete {
            receipt: Box::new(receipt(name, run, "sent")),
            attempt: Some((began, end)),
            said: None,
        },
    );
    assert!(
        store.memory_of(PIPELINE, "send", &Instance::default()).expect("asked").open.is_empty()
    );
    assert!(store.open_attempts_of(run).expect("asked").is_empty());
}

fn the_last_open_attempt_counts(store: &mut dyn Manifest, run: i64) {
    let name = task("pay", Some("17"));
    for number in [2, 3] {
        write(
            store,
            Entry::End { attempt: attempt(name.clone(), run, number), end: failed(), said: None },
        );
    }
    let open = store.memory_of(PIPELINE, "pay", &Instance::default()).expect("asked").open;
    assert_eq!((open.len(), open[0].number, open[0].provably_undone), (1, 3, true));
    assert_eq!(open[0].reason.as_deref(), Some("exit status 3"));
    let of_step = store.attempts(PIPELINE, Attempts::OfTask(&task("pay", None))).expect("asked");
    assert_eq!(of_step.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((of_step[0].log, of_step[0].open), (LogRange { at: 7, bytes: 9 }, true));
    assert_eq!(store.attempts(PIPELINE, Attempts::OfRun(run)).expect("asked").len(), 3);
    assert_eq!(store.attempts(PIPELINE, Attempts::Failed).expect("asked").len(), 2);
    // A run that was killed: what it had begun was interrupted.
    write(store, Entry::Begin { attempt: attempt(name, run, 4), said: None });
    store.close_dead_run(run, &[(4, LogRange { at: 20, bytes: 3 })]).expect("noted");
    let open = store.memory_of(PIPELINE, "pay", &Instance::default()).expect("asked").open;
    assert_eq!((open[0].number, open[0].ending.as_deref()), (4, Some("interrupted")));
}

fn a_word_is_acted_on_once(store: &mut dyn Manifest, run: i64) {
    let name = task("pay", Some("17"));
    let said = |verb| Resolution {
        task: name.clone(),
        verb,
        without_outputs: verb == Verb::Done,
        because: "seen in the channel".to_owned(),
        by: by(),
        at: at(2),
    };
    store.settle(PIPELINE, &[said(Verb::Done), said(Verb::Redo)]).expect("kept");
    let kept = store.memory_of(PIPELINE, "pay", &Instance::default()).expect("asked").said;
    assert_eq!((kept.len(), kept[0].verb), (1, Verb::Redo), "the last word counts");
    let id = kept[0].id;
    write(store, Entry::Begin { attempt: attempt(name.clone(), run, 5), said: Some(id) });
    let left = store.memory_of(PIPELINE, "pay", &Instance::default()).expect("asked").said;
    assert!(left.is_empty(), "it took the place of the one before");
    store.settle(PIPELINE, &[said(Verb::Done)]).expect("kept");
    let kept = store.memory_of(PIPELINE, "pay", &Instance::default()).expect("asked").said;
    write(
        store,
        Entry::Complete {
            receipt: Box::new(receipt(name, run, "paid")),
            attempt: None,
            said: Some(kept[0].id),
        },
    );
    assert!(store.memory_of(PIPELINE, "pay", &Instance::default()).expect("asked").said.is_empty());
}

fn runs_and_their_steps_are_kept(store: &mut dyn Manifest, run: i64) {
    let step = |reached| RunStep {
        step: "load".to_owned(),
        instance: Instance::default(),
        counts: Counts { total: 3, ran: reached, failed: 3 - reached, ..Counts::default() },
        rows: Some(848),
        seconds: 1.5,
        note: "why not".to_owned(),
    };
    assert_eq!(store.last_total(PIPELINE, "load", &Instance::default()).expect("asked"), None);
    store.end_run(run, at(9), 1, &[step(2)]).expect("ended");
    assert_eq!(
        store.last_total(PIPELINE, "load", &Instance::default()).expect("asked"),
        None,
        "it was not complete"
    );
    store.end_run(run, at(9), 0, &[step(3)]).expect("ended");
    assert_eq!(store.last_total(PIPELINE, "load", &Instance::default()).expect("asked"), Some(3));
    assert_eq!(store.run_steps(run).expect("asked"), [step(3)]);
    let last = store.last_run_step(PIPELINE, "load", &Instance::default()).expect("asked");
    assert_eq!(last, Some((run, step(3))));
    let month = Instance::of(["2013-02"]);
    let ended = store.runs(PIPELINE, Some(&month), 1).expect("asked");
    assert_eq!((ended[0].status, ended[0].ended), (Some(0), Some(at(9))));
    assert!(store.runs(PIPELINE, Some(&Instance::default()), 1).expect("asked").is_empty());
    assert_eq!(store.usual_seconds(PIPELINE, "load").expect("asked"), Some(1.5));
    assert_eq!(
        store.last_receipt(PIPELINE, "load", &Instance::default()).expect("asked"),
        Some(at(0))
    );
}

fn what_was_made_is_known_by_path_and_content(store: &dyn Manifest) {
    let path = PathBuf::from("out/ä b.csv");
    assert!(store.made(&path, &Digest::of(b"b")).expect("asked"));
    assert!(!store.made(&path, &Digest::of(b"other")).expect("asked"));
    assert!(
        !store
            .made(&semel::words::path::path_of(b"in/\xff".to_vec()), &Digest::of(b"b"))
            .expect("asked"),
        "it was read"
    );
}

fn a_query_changes_nothing(store: &dyn Manifest) {
    let answer = store
        .query("select step, count(*) as tasks from receipt group by step order by step")
        .expect("answered");
    assert_eq!(answer.columns, ["step", "tasks"]);
    assert_eq!(answer.rows[0], [Some("load".to_owned()), Some("2".to_owned())]);
    for sql in ["delete from receipt", "drop table receipt", "select from"] {
        store.query(sql).expect_err(sql);
    }
    assert!(store.receipt(PIPELINE, &task("load", Some("a"))).expect("asked").is_some());
}

fn another_connection_sees_the_same(store: &dyn Manifest, run: i64) {
    let mut other = store.again().expect("opened");
    assert_eq!(other.identity().expect("asked"), store.identity().expect("asked"));
    write(&mut *other, complete(receipt(task("late", None), run, "late")));
    assert!(store.receipt(PIPELINE, &task("late", None)).expect("asked").is_some());
}
