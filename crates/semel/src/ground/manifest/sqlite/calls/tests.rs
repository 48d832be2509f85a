use std::time::Duration;

use super::*;
use crate::ground::manifest::sqlite::Birth;
use crate::ground::world::disk::RealDisk;
use crate::words::task::{Instance, TaskName};

struct Store {
    store: SqliteManifest,
    _folder: tempfile::TempDir,
}

fn store() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::at(folder.path()).unwrap();
    let path = folder.path().join("manifest.db");
    SqliteManifest::draft(&disk, &path, &Birth::default()).unwrap();
    Store { store: SqliteManifest::open(&path).unwrap(), _folder: folder }
}

fn wanted() -> PermitFor {
    let body = BodyOf { digest: Digest::of(b"body"), bytes: 4, is_kept: true };
    PermitFor {
        scope: Scope {
            pipeline: "pay".to_owned(),
            task: Some(TaskName::new("pay", &Instance::default(), Some("17"))),
            params: String::new(),
        },
        identity: Digest::of(b"order 17"),
        rest: None,
        asked: Asked {
            method: "POST".to_owned(),
            url: "https://api.example.com/charge".to_owned(),
            account: "user alice".to_owned(),
            head: vec![("content-type".to_owned(), b"text/plain; \xff".to_vec())],
            body,
            is_read: false,
        },
        body: Some(b"body".to_vec()),
        sender: "we".to_owned(),
        attempt: "run/1".to_owned(),
        key: "key-1".to_owned(),
        key_window: Some(Duration::from_secs(3600)),
        price: Some(Money::parse("0.30 EUR").unwrap()),
        budgets: vec![Reserve {
            name: "POST api.example.com/charge".to_owned(),
            period: "2026-11-29".to_owned(),
            calls: Some(3),
            money: Some(Money::parse("0.50 EUR").unwrap()),
        }],
    }
}

fn given(permit: Permit) -> Permitted {
    match permit {
        Permit::Given(permitted) => permitted,
        other => panic!("{other:?}"),
    }
}

fn ended(permitted: &Permitted, state: CallState) -> Ended {
    let answered = (state == CallState::Complete).then(|| Answered {
        status: 200,
        head: vec![("content-type".to_owned(), b"application/json".to_vec())],
        body: BodyOf { digest: Digest::of(b"{}"), bytes: 2, is_kept: true },
        trailers: Vec::new(),
    });
    Ended {
        id: permitted.id,
        send: permitted.send,
        state,
        reason: (state != CallState::Complete).then(|| "reset".to_owned()),
        body: answered.as_ref().map(|_| b"{}".to_vec()),
        answered,
        price: None,
        budgets: wanted().budgets,
    }
}

fn only(store: &SqliteManifest) -> CallRecord {
    let mut calls = store.calls(&Which::default()).unwrap();
    assert_eq!(calls.len(), 1);
    calls.remove(0)
}

#[test]
fn i14_one_permit_is_given_for_a_call_however_many_ask() {
    let Store { mut store, _folder } = store();
    let permitted = given(store.open(&wanted(), 1, None).unwrap());
    assert_eq!(
        store.open(&PermitFor { budgets: Vec::new(), ..wanted() }, 1, None).unwrap(),
        Permit::Late
    );
    store.end(&ended(&permitted, CallState::Unknown)).unwrap();
    let seen = only(&store);
    given(store.send_again(&seen, &wanted(), false, None).unwrap());
    // Whoever saw the same is late.
    assert_eq!(store.send_again(&seen, &wanted(), false, None).unwrap(), Permit::Late);
}

#[test]
fn i14_no_permit_is_given_under_a_lease_that_was_taken_over() {
    let Store { mut store, _folder } = store();
    let token = Token { scope: "pay\n".to_owned(), token: 1 };
    let refused = store.open(&wanted(), 1, Some(&token));
    assert!(matches!(refused, Err(ManifestError::Fenced { .. })), "{refused:?}");
    assert_eq!(store.calls(&Which::default()).unwrap(), []);
    assert_eq!(store.spent(&wanted().budgets[0].name, "2026-11-29").unwrap().0, 0);
}

#[test]
fn i12_a_late_answer_is_proof_and_a_complete_call_stays_so() {
    let Store { mut store, _folder } = store();
    let first = given(store.open(&wanted(), 1, None).unwrap());
    assert_eq!(store.lose("we", "killed").unwrap(), 1);
    assert_eq!(only(&store).state, CallState::Unknown);
    let second = given(store.send_again(&only(&store), &wanted(), false, None).unwrap());
    // The zombie's answer comes while its successor is at work.
    assert_eq!(store.end(&ended(&first, CallState::Complete)).unwrap(), CallState::Complete);
    assert_eq!(store.end(&ended(&second, CallState::Unknown)).unwrap(), CallState::Complete);
    let call = only(&store);
    assert_eq!(call.answered.unwrap().status, 200);
    assert_eq!(store.body(&Digest::of(b"{}")).unwrap(), Some(b"{}".to_vec()));
    assert_eq!(call.asked.head, wanted().asked.head, "each byte comes back");
}

#[test]
fn i12_that_a_resend_was_rejected_says_nothing_of_the_first_send() {
    let Store { mut store, _folder } = store();
    let first = given(store.open(&wanted(), 1, None).unwrap());
    store.end(&ended(&first, CallState::Unknown)).unwrap();
    let second = given(store.send_again(&only(&store), &wanted(), false, None).unwrap());
    assert_eq!(store.end(&ended(&second, CallState::Rejected)).unwrap(), CallState::Unknown);
}

#[test]
fn a_budget_is_reserved_kept_while_unknown_and_given_back_when_rejected() {
    let Store { mut store, _folder } = store();
    let spent = |store: &SqliteManifest| {
        let (calls, money) = store.spent(&wanted().budgets[0].name, "2026-11-29").unwrap();
        (calls, money.first().map_or(0, |money| money.nanos))
    };
    let first = given(store.open(&wanted(), 1, None).unwrap());
    store.end(&ended(&first, CallState::Unknown)).unwrap();
    assert_eq!(spent(&store), (1, 300_000_000));
    // A second one would be too much; the same one again, with its key, is the same purchase.
    assert!(matches!(store.open(&wanted(), 2, None).unwrap(), Permit::OverBudget { .. }));
    let again = given(store.send_again(&only(&store), &wanted(), false, None).unwrap());
    assert_eq!(again.key, "key-1");
    assert_eq!(spent(&store), (1, 300_000_000));
    store.end(&ended(&again, CallState::Complete)).unwrap();
    let other = PermitFor {
        identity: Digest::of(b"order 18"),
        price: Some(Money::parse("0.10 EUR").unwrap()),
        ..wanted()
    };
    let other = given(store.open(&other, 1, None).unwrap());
    store.end(&ended(&other, CallState::Rejected)).unwrap();
    assert_eq!(spent(&store), (1, 300_000_000));
}

#[test]
fn reads_retire_with_their_task_and_rules_apply_to_what_is_recorded() {
    let Store { mut store, _folder } = store();
    let mut read = wanted();
    read.asked.is_read = true;
    let first = given(store.open(&read, 1, None).unwrap());
    store.end(&ended(&first, CallState::Complete)).unwrap();
    store.retire_reads(&read.scope).unwrap();
    assert!(only(&store).is_retired);
    let new = Digest::of(b"by its key");
    store.rekey(first.id, &new, None).unwrap();
    assert_eq!(store.equal(&read.scope, &new).unwrap().len(), 1);
    assert_eq!(store.equal(&read.scope, &read.identity).unwrap(), []);
}
