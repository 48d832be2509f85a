//! One contract for all stores of the manifest. A store passes it, or it is none.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use semel::Timestamp;
use semel::ground::manifest::{Acceptance, Attempts, Entry, Loss, Manifest, Resolution, Verb};
use semel::words::digest::Digest;
use semel::words::fingerprint::{ENCODING, Fingerprint};
use semel::words::once::{Doer, Line, Says, Tried};
use semel::words::receipt::{
    Attempt, AttemptEnd, Ending, Failure, FileRecord, FileRole, LogRange, Origin, Receipt,
};
use semel::words::run::{By, Counts, NewRun, RunStep};
use semel::words::task::{Instance, TaskName};

const PIPELINE: &str = "test";

/// The numbers of all attempts of a run.
const ALL: RangeInclusive<u64> = 1..=1000;

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
    what_a_human_accepted_is_known_by_its_attempts(&mut *store, run);
    a_word_is_acted_on_once(&mut *store, run);
    runs_and_their_steps_are_kept(&mut *store, run);
    what_was_made_is_known_by_path_and_content(&*store);
    the_files_of_all_receipts_come_one_by_one(&*store, run);
    a_query_changes_nothing(&*store);
    another_connection_sees_the_same(&*store, run);
    let mut store = store.again().expect("opened");
    what_was_done_once_is_known_without_its_step(&mut *store, run);
    i6_lines_of_the_log_are_taken_over_once(&mut *store, run);
    i6_after_a_loss_of_lines_nothing_is_believed_undone(&mut *store, run);
    an_incomplete_memory_is_accepted(&mut *store);
    a_copy_is_the_same(&*store);
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
        once: false,
    }
}

fn attempt(task: TaskName, run: i64, number: u64) -> Attempt {
    Attempt {
        task,
        run,
        number,
        tries: 1,
        fingerprint: fingerprint("a"),
        began: at(0),
        once: false,
    }
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
    Entry::Complete { receipt: Box::new(receipt), attempt: None, said: None, ends: None }
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
        task: None,
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
    assert_eq!(store.open_attempts_of(run, ALL).expect("asked"), [1]);
    assert!(store.accepted_attempts_of(run, ALL).expect("asked").is_empty());
    let end = AttemptEnd { ending: Ending::Done, ..failed() };
    write(
        store,
        Entry::Complete {
            receipt: Box::new(receipt(name, run, "sent")),
            attempt: Some((began, end)),
            said: None,
            ends: None,
        },
    );
    assert!(
        store.memory_of(PIPELINE, "send", &Instance::default()).expect("asked").open.is_empty()
    );
    assert!(store.open_attempts_of(run, ALL).expect("asked").is_empty());
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
    store.close_dead_run(run, ALL, &[(4, LogRange { at: 20, bytes: 3 })], &[]).expect("noted");
    let open = store.memory_of(PIPELINE, "pay", &Instance::default()).expect("asked").open;
    assert_eq!((open[0].number, open[0].ending.as_deref()), (4, Some("interrupted")));
    assert_eq!(store.open_attempts_of(run, ALL).expect("asked"), [2, 3, 4]);
}

fn what_a_human_accepted_is_known_by_its_attempts(store: &mut dyn Manifest, run: i64) {
    let name = task("pay", Some("17"));
    let said = |verb| Resolution {
        task: name.clone(),
        verb,
        without_outputs: false,
        because: "seen".to_owned(),
        by: by(),
        at: at(2),
    };
    let accepted = |store: &dyn Manifest| store.accepted_attempts_of(run, ALL).expect("asked");
    assert!(accepted(store).is_empty());
    store.settle(PIPELINE, &[said(Verb::Redo), said(Verb::Done)]).expect("kept");
    assert_eq!(accepted(store), [2, 3, 4]);
    store.settle(PIPELINE, &[said(Verb::Redo)]).expect("kept");
    assert!(accepted(store).is_empty(), "the last word counts");
    let said = store.memory_of(PIPELINE, "pay", &Instance::default()).expect("asked").said;
    write(store, Entry::Begin { attempt: attempt(name, run, 6), said: Some(said[0].id) });
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
            ends: None,
        },
    );
    assert!(store.memory_of(PIPELINE, "pay", &Instance::default()).expect("asked").said.is_empty());
    // None of the task works, now that it has a receipt: their ends could not be written.
    let tried = store.attempts(PIPELINE, Attempts::OfTask(&task("pay", None))).expect("asked");
    assert!(tried.iter().all(|attempt| attempt.ending.is_some() && !attempt.open), "{tried:?}");
}

fn runs_and_their_steps_are_kept(store: &mut dyn Manifest, run: i64) {
    let step = |reached| RunStep {
        step: "load".to_owned(),
        instance: Instance::default(),
        counts: Counts { total: 3, ran: reached, failed: 3 - reached, ..Counts::default() },
        rows: Some(848),
        seconds: 1.5,
        note: "why not".to_owned(),
        place: 2,
    };
    assert_eq!(store.last_total(PIPELINE, "load", &Instance::default()).expect("asked"), None);
    let begun = attempt(task("load", Some("18")), run, 18);
    write(store, Entry::Begin { attempt: begun, said: None });
    store.end_run(run, at(9), 1, &[step(2)]).expect("ended");
    let tried = store.attempts(PIPELINE, Attempts::OfRun(run)).expect("asked");
    assert!(tried.iter().all(|attempt| attempt.ending.is_some()), "none outlives its run");
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

fn once(name: TaskName, run: i64, what: &str) -> Receipt {
    Receipt { once: true, ..receipt(name, run, what) }
}

fn what_was_done_once_is_known_without_its_step(store: &mut dyn Manifest, run: i64) {
    write(store, complete(once(task("gone", Some("1")), run, "gone")));
    let begun = Attempt { once: true, ..attempt(task("begun", None), run, 60) };
    write(store, Entry::Begin { attempt: begun.clone(), said: None });
    let undone = Attempt { number: 61, task: task("undone", None), ..begun };
    write(store, Entry::End { attempt: undone, end: failed(), said: None });
    let gone = store.once_but(PIPELINE, &["here"]).expect("asked");
    let named: Vec<_> = gone.iter().map(|gone| (&*gone.step, &*gone.item, gone.what)).collect();
    let what = |text: &str| fingerprint(text).what;
    assert_eq!(named, [("begun", "", what("a")), ("gone", "1", what("gone"))]);
    assert_eq!(store.once_but(PIPELINE, &["begun", "gone"]).expect("asked"), []);
    assert_eq!(store.once_but("other", &[]).expect("asked"), []);
    let file = "semel.toml".to_owned();
    assert_eq!(store.pipelines().expect("asked"), [(PIPELINE.to_owned(), file)]);
    assert!(!store.is_unended("run-1").expect("asked"), "it has an end by now");
    assert!(!store.is_unended("run-9").expect("asked"), "it is not known");
}

fn line(seq: u64, seconds: i64, says: Says) -> Line {
    Line {
        v: semel::words::once::VERSION,
        manifest: "other".to_owned(),
        seq,
        at: at(seconds),
        pipeline: PIPELINE.to_owned(),
        step: "wire".to_owned(),
        instance: String::new(),
        item: "7".to_owned(),
        says,
    }
}

fn i6_lines_of_the_log_are_taken_over_once(store: &mut dyn Manifest, run: i64) {
    let name = task("wire", Some("7"));
    let doer = Doer {
        run: "run-of-another".to_owned(),
        number: run,
        file: "semel.toml".to_owned(),
        host: "db7".to_owned(),
        user: "etl".to_owned(),
        pid: 1,
    };
    let begun = Attempt { once: true, ..attempt(name.clone(), run, 1) };
    let settled = Says::Settled {
        verb: "redo".to_owned(),
        without_outputs: false,
        because: "not there".to_owned(),
        host: "db7".to_owned(),
        user: "etl".to_owned(),
        pid: 1,
    };
    let begin = line(3, 20, Says::Intent(Tried::of(&begun, &doer, false)));
    let said = line(4, 21, settled);
    for _ in 0..2 {
        store.replay(&[begin.clone(), said.clone()], Loss::Perhaps).expect("taken over");
        let memory = store.memory_of(PIPELINE, "wire", &Instance::default()).expect("asked");
        assert_eq!((memory.open.len(), memory.said.len(), memory.receipts.len()), (1, 1, 0));
        assert_ne!(memory.open[0].run, run, "its number belongs to another run here");
        assert_eq!(memory.open[0].run_id, "run-of-another");
    }
    assert_eq!(store.known_lines().expect("asked").get("other"), Some(&4));
    assert!(store.identity().expect("asked").whole_since.is_some());
    let again = Attempt { number: 2, ..begun };
    let done = once(name.clone(), run, "wired");
    let lines = [
        line(5, 22, Says::end(&again, &failed(), &doer, true)),
        line(6, 23, Says::receipt(&done, &doer, false)),
    ];
    store.replay(&lines, Loss::None).expect("taken over");
    let memory = store.memory_of(PIPELINE, "wire", &Instance::default()).expect("asked");
    assert_eq!((memory.open.len(), memory.said.len(), memory.receipts.len()), (0, 0, 1));
    let kept = store.receipt(PIPELINE, &name).expect("asked").expect("there");
    assert_eq!((&kept.files, kept.once, kept.at), (&done.files, true, at(23)));
    // What is known later of a task stays, whatever an older line says.
    store.replay(&[begin], Loss::None).expect("taken over");
    store.note_line("other", 2).expect("noted");
    assert_eq!(store.known_lines().expect("asked").get("other"), Some(&6));
    let memory = store.memory_of(PIPELINE, "wire", &Instance::default()).expect("asked");
    assert!(memory.open.is_empty());
    let entry = complete(once(name, run, "wired again"));
    store.write_logged(PIPELINE, &entry, ("mine", 9)).expect("written");
    assert_eq!(store.known_lines().expect("asked").get("mine"), Some(&9));
}

fn i6_after_a_loss_of_lines_nothing_is_believed_undone(store: &mut dyn Manifest, run: i64) {
    let name = task("lost", None);
    let failed_once = Attempt { once: true, ..attempt(name.clone(), run, 70) };
    write(store, Entry::End { attempt: failed_once, end: failed(), said: None });
    let said = |verb| Resolution {
        task: name.clone(),
        verb,
        without_outputs: false,
        because: "looked".to_owned(),
        by: by(),
        at: at(30),
    };
    for (verb, counts) in [(Verb::Redo, 0), (Verb::Done, 1)] {
        store.settle(PIPELINE, &[said(verb)]).expect("kept");
        store.replay(&[], Loss::Lines).expect("noted");
        let memory = store.memory_of(PIPELINE, "lost", &Instance::default()).expect("asked");
        assert_eq!((memory.said.len(), memory.open[0].provably_undone), (counts, false));
    }
}

fn an_incomplete_memory_is_accepted(store: &mut dyn Manifest) {
    store.replay(&[], Loss::Perhaps).expect("noted");
    assert!(store.identity().expect("asked").whole_since.is_some());
    let word = Acceptance { because: "looked".to_owned(), by: by(), at: Timestamp::now() };
    store.accept(&word).expect("kept");
    assert_eq!(store.identity().expect("asked").whole_since, None);
    let kept = store.query("select because from resolution where verb = 'accept'").expect("asked");
    assert_eq!(kept.rows, [[Some("looked".to_owned())]]);
}

fn a_copy_is_the_same(store: &dyn Manifest) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("copy.db");
    store.copy_to(&path).expect("copied");
    let copy = semel::ground::manifest::sqlite::SqliteManifest::open(&path).expect("it opens");
    assert_eq!(copy.identity().expect("asked"), store.identity().expect("asked"));
    assert_eq!(copy.known_lines().expect("asked"), store.known_lines().expect("asked"));
}
