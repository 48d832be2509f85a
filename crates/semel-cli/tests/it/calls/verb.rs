//! `semel calls`: what was sent is shown, and what is unknown is settled by a human.

use semel::deed::lease::{Holder, Lease};
use semel::ground::home::Home;
use semel::ground::manifest::calls::{Calls, Permit, Which};
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::words::call::{
    Answered, Asked, BodyOf, CallState, Ended, Money, PROXY, PermitFor, Scope,
};
use semel::words::digest::Digest;
use semel::words::task::TaskName;
use semel_testkit::{Ran, Scratch};
use serde_json::Value;

use crate::scratch;

const ORDERS: &str = "https://api.example.com/v1/orders";

fn body_of(body: &[u8]) -> BodyOf {
    BodyOf { digest: Digest::of(body), bytes: body.len() as u64, is_kept: true }
}

fn json_head() -> Vec<(String, Vec<u8>)> {
    vec![("content-type".to_owned(), b"application/json".to_vec())]
}

/// The journal of a folder.
struct Journal {
    folder: Scratch,
    store: SqliteManifest,
}

impl Journal {
    fn new() -> Self {
        let folder = scratch();
        folder.semel("init --bare").exits(0);
        let store = SqliteManifest::open(&folder.path().join(".semel/manifest.db")).unwrap();
        Self { folder, store }
    }

    fn semel(&self, words: &[&str]) -> Ran {
        self.folder.semel_words(words)
    }

    /// A call is sent, by this sender.
    fn sends(&mut self, (pipeline, task): (&str, &str), url: &str, body: &str, by: &str) -> i64 {
        let scope = Scope {
            pipeline: pipeline.to_owned(),
            task: Some(TaskName::parse(task)),
            params: String::new(),
        };
        let permit = PermitFor {
            scope,
            identity: Digest::of(format!("{url}\n{body}").as_bytes()),
            rest: None,
            asked: Asked {
                method: "POST".to_owned(),
                url: url.to_owned(),
                account: "acct-17".to_owned(),
                head: json_head(),
                body: body_of(body.as_bytes()),
                is_read: false,
            },
            body: Some(body.as_bytes().to_vec()),
            sender: by.to_owned(),
            attempt: "one".to_owned(),
            key: "0193-key".to_owned(),
            key_window: None,
            price: Some(Money::parse("0.01 USD").unwrap()),
            budgets: Vec::new(),
        };
        match self.store.open(&permit, 1, None).unwrap() {
            Permit::Given(given) => given.id,
            other => panic!("{other:?}"),
        }
    }

    fn ends(&mut self, id: i64, state: CallState, reason: Option<&str>, answer: Option<&[u8]>) {
        let answered = answer.map(|body| Answered {
            status: 201,
            head: json_head(),
            body: body_of(body),
            trailers: Vec::new(),
        });
        let ended = Ended {
            id,
            send: 1,
            state,
            reason: reason.map(str::to_owned),
            answered,
            body: answer.map(<[u8]>::to_vec),
            price: None,
            budgets: Vec::new(),
        };
        self.store.end(&ended).unwrap();
    }

    fn state(&self, id: i64) -> CallState {
        let which = Which { ids: vec![id], ..Which::default() };
        self.store.calls(&which).unwrap()[0].state
    }

    /// Calls in every state: 1 complete, 2 unknown, 3 rejected, 4 in flight of a process
    /// that is dead, 5 in flight of one that lives.
    fn with_all_states() -> (Self, Lease) {
        let mut journal = Self::new();
        let pay = (PROXY, "pay");
        let one = journal.sends(pay, ORDERS, r#"{"order":1}"#, "dead");
        journal.ends(one, CallState::Complete, None, Some(br#"{"id":"ord_1"}"#));
        let two = journal.sends(pay, ORDERS, r#"{"order":2}"#, "dead");
        journal.ends(two, CallState::Unknown, Some("the connection was reset"), None);
        let three = journal.sends(pay, ORDERS, r#"{"order":3}"#, "dead");
        journal.ends(three, CallState::Rejected, Some("the server said 429"), None);
        journal.sends(("shop", "mail:anna"), "http://127.0.0.1:8025/send", "hello", "dead");
        journal.sends(("shop", "mail:bert"), "http://127.0.0.1:8025/send", "hi", "alive");
        let home = Home::in_folder(journal.folder.path());
        let holder = Holder {
            host: "here".to_owned(),
            user: "us".to_owned(),
            pid: std::process::id(),
            command: "semel proxy".to_owned(),
            since: jiff::Timestamp::now(),
        };
        let lease = Lease::take(&home.sender_lock("alive"), &holder).unwrap();
        (journal, lease)
    }
}

/// What was shown, without lengths of time.
fn shown(ran: &Ran) -> String {
    let text = ran.shown();
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split("[time]").map(str::trim_end).collect();
        match words.len() {
            1 => line.to_owned(),
            _ => words.join(" [time]"),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(ran: &Ran) -> Vec<i64> {
    lines(ran).iter().map(|call| call["call"].as_i64().unwrap()).collect()
}

#[test]
fn where_nothing_was_sent_there_is_nothing_to_show() {
    let journal = Journal::new();
    journal.semel(&["calls", "list"]).exits(0).says("no calls are kept here");
    let ran = journal.semel(&["calls", "list", "--json"]).exits(0);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("", ""));
    assert_eq!(journal.semel(&["calls", "export"]).exits(0).stdout, "");
    let ran = journal.semel(&["calls", "redo", "--unknown", "--because", "asked"]).exits(0);
    ran.says("no call is unknown; nothing was settled");
    let nowhere = scratch();
    nowhere.semel("calls list").exits(5).says("semel init --bare");
}

#[test]
fn the_list_shows_where_every_call_stands() {
    let (journal, _alive) = Journal::with_all_states();
    insta::assert_snapshot!("list", shown(&journal.semel(&["calls", "list"]).exits(0)));
    assert_eq!(journal.state(4), CallState::InFlight, "who looks changes nothing");
    for (words, wanted) in [
        (&["--unknown"][..], &[2, 4][..]),
        (&["--state", "in-flight"], &[5]),
        (&["--state", "complete"], &[1]),
        (&["--match", "POST api.example.com/v1/*"], &[1, 2, 3]),
        (&["--match", "GET api.example.com/v1/*"], &[]),
        (&["--match", "* 127.0.0.1:8025", "--unknown"], &[4]),
        (&["--task", "mail"], &[4, 5]),
        (&["--task", "mail:a*"], &[4]),
        (&["--task", "pay", "-n", "2"], &[2, 3]),
    ] {
        let ran = journal.semel(&[&["calls", "list", "--json"], words].concat()).exits(0);
        assert_eq!(ids(&ran), wanted, "{words:?}");
    }
    let two = journal.semel(&["calls", "list", "-n", "2"]).exits(0);
    two.says("5 calls: 1 in flight, 1 complete, 1 rejected, 2 unknown")
        .says("the last 2 are shown; -n N shows more");
    journal.semel(&["calls", "list", "--task", "nobody"]).exits(0).says("no such calls");
}

#[test]
fn a_call_is_shown_with_all_that_is_known_of_it() {
    let (mut journal, _alive) = Journal::with_all_states();
    insta::assert_snapshot!("show", shown(&journal.semel(&["calls", "show", "1"]).exits(0)));
    insta::assert_snapshot!(
        "show_unknown",
        shown(&journal.semel(&["calls", "show", "4"]).exits(0))
    );
    let ran = journal.semel(&["calls", "show", "1", "--body"]).exits(0);
    assert_eq!(ran.stdout, r#"{"id":"ord_1"}"#);
    let ran = journal.semel(&["calls", "show", "1", "--request-body"]).exits(0);
    assert_eq!(ran.stdout, r#"{"order":1}"#);
    journal.semel(&["calls", "show", "2", "--body"]).exits(2).says("call 2 is unknown");
    journal.semel(&["calls", "show", "99"]).exits(2).says("there is no call 99");
    // What is no text, and what is long.
    let picture = journal.sends((PROXY, "pay"), ORDERS, "picture", "dead");
    journal.ends(picture, CallState::Complete, None, Some(&[0x89, b'P', 0xff]));
    journal.semel(&["calls", "show", "6"]).exits(0).says("3 bytes that are no text; sha256 ");
    let long = journal.sends((PROXY, "pay"), ORDERS, "long", "dead");
    journal.ends(long, CallState::Complete, None, Some("ö".repeat(5000).as_bytes()));
    let ran = journal.semel(&["calls", "show", "7"]).exits(0);
    ran.says("..").says("of 9.8 KiB; --body or --request-body prints all");
}

#[test]
fn what_happened_gets_an_answer_and_is_not_sent_again() {
    let (journal, _alive) = Journal::with_all_states();
    let ran = journal.semel(&["calls", "done", "2", "--because", "it is in their console"]);
    insta::assert_snapshot!("done", shown(&ran.exits(0)));
    let ran = journal.semel(&["calls", "show", "2", "--body"]).exits(0);
    assert_eq!(ran.stdout, "{}");
    // A process that was killed has nothing in flight any more.
    journal.folder.file("sent.xml", "<sent/>");
    let words = ["calls", "done", "--unknown", "--task", "mail", "--because", "in the outbox"];
    let answer = ["--status", "202", "--answer", "sent.xml", "--content-type", "text/xml"];
    let ran = journal.semel(&[&words[..], &answer].concat()).exits(0);
    ran.says("call 4: it happened; who asks again gets 202").says("semel run");
    assert_eq!(journal.semel(&["calls", "show", "4", "--body"]).exits(0).stdout, "<sent/>");
    let ran = journal.semel(&["calls", "show", "4"]).exits(0);
    ran.says("complete").says("content-type: text/xml").says("in the outbox");
    // It is settled for good.
    let ran = journal.semel(&["calls", "redo", "4", "--because", "oh"]).exits(2);
    ran.says("call 4 is complete; only what is unknown can be settled");
}

#[test]
fn what_did_not_happen_may_be_sent_once_more() {
    let (journal, _alive) = Journal::with_all_states();
    let ran = journal.semel(&["calls", "redo", "2", "4", "--because", "not in their console"]);
    insta::assert_snapshot!("redo", shown(&ran.exits(0)));
    let which = Which { states: vec![CallState::Unknown], ..Which::default() };
    let calls = journal.store.calls(&which).unwrap();
    assert_eq!(
        calls.iter().map(|call| (call.id, call.allowed)).collect::<Vec<_>>(),
        [(2, 1), (4, 1)]
    );
    journal.semel(&["calls", "show", "2"]).exits(0).says("it may be sent once more");
}

#[test]
fn all_that_are_named_are_settled_or_none_is() {
    let (journal, _alive) = Journal::with_all_states();
    for (words, says) in [
        (&["done", "2", "1", "--because", "x"][..], "call 1 is complete"),
        (&["done", "2", "3", "--because", "x"], "call 3 is rejected"),
        (&["redo", "2", "5", "--because", "x"], "call 5 is in flight, and semel waits"),
        (&["redo", "2", "77", "--because", "x"], "there is no call 77"),
        (&["redo", "2", "--because", " "], "--because wants a reason"),
        (&["redo", "2"], "--because"),
        (&["done", "--because", "x"], "required"),
        (&["done", "2", "--unknown", "--because", "x"], "cannot be used with"),
        (&["done", "2", "--match", "* a.com", "--because", "x"], "cannot be used with"),
        (&["done", "2", "--status", "99", "--because", "x"], "99"),
        (&["done", "2", "--answer", "nowhere", "--because", "x"], "nowhere cannot be read"),
        (&["done", "2", "--content-type", "a/b\nc", "--because", "x"], "wants a media type"),
        (&["list", "--match", "api.example.com"], "wants a method and a URL"),
        (&["list", "--unknown", "--state", "complete"], "cannot be used with"),
        (&["list", "-p", "a=b"], "`-p` says nothing of calls"),
        (&["list", "-f", "nowhere.toml"], "nowhere.toml cannot be read"),
    ] {
        journal.semel(&[&["calls"], words].concat()).exits(2).says(says);
    }
    assert_eq!(journal.state(2), CallState::Unknown);
    assert_eq!(journal.store.said(2).unwrap(), []);
}

#[test]
fn an_export_has_all_with_their_bodies() {
    let (mut journal, _alive) = Journal::with_all_states();
    let picture = journal.sends((PROXY, "pay"), ORDERS, "picture", "dead");
    journal.ends(picture, CallState::Complete, None, Some(&[0x89, b'P', 0xff]));
    journal.semel(&["calls", "done", "2", "--because", "seen"]).exits(0);
    let all = lines(&journal.semel(&["calls", "export"]).exits(0));
    assert_eq!(all.len(), 6);
    assert_eq!(all[0]["request"]["body"]["text"], r#"{"order":1}"#);
    assert_eq!(all[0]["answer"]["status"], 201);
    assert_eq!(all[0]["answer"]["body"]["text"], r#"{"id":"ord_1"}"#);
    assert_eq!(all[0]["proxy"], "pay");
    assert_eq!(all[1]["said"][0]["because"], "seen");
    assert_eq!(all[3]["task"], "mail:anna");
    assert_eq!(all[3]["answer"], Value::Null);
    assert_eq!(all[5]["answer"]["body"]["base64"], "iVD/");
    let some = journal.semel(&["calls", "export", "--match", "* 127.0.0.1", "--task", "mail:b*"]);
    assert_eq!(ids(&some.exits(0)), [5]);
}

/// A body that is too large for the manifest is a file; one that is gone is said to be.
#[test]
fn a_large_body_is_read_from_its_file() {
    let mut journal = Journal::new();
    let id = journal.sends((PROXY, "pay"), ORDERS, "{}", "dead");
    let body = b"a large one";
    let answered =
        Answered { status: 200, head: Vec::new(), body: body_of(body), trailers: Vec::new() };
    let ended = Ended {
        id,
        send: 1,
        state: CallState::Complete,
        reason: None,
        answered: Some(answered),
        body: None,
        price: None,
        budgets: Vec::new(),
    };
    journal.store.end(&ended).unwrap();
    let file = format!(".semel/bodies/{}", Digest::of(body));
    journal.semel(&["calls", "show", "1", "--body"]).exits(5).says("cannot be read");
    journal.folder.file(&file, body);
    assert_eq!(journal.semel(&["calls", "show", "1", "--body"]).exits(0).stdout, "a large one");
    journal.store.end_bodies(&[id]).unwrap();
    journal.semel(&["calls", "show", "1", "--body"]).exits(2).says("is not kept");
    journal.semel(&["calls", "show", "1"]).exits(0).says("11 bytes, not kept; sha256 ");
}
