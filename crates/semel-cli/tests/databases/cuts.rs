//! The connection is cut at every message of a run, before it arrives and after.

use std::collections::BTreeSet;
use std::sync::Mutex;

use semel_testkit::cut::Moment;
use semel_testkit::servers::{mariadb, postgres};
use semel_testkit::sweep::one_of;

use crate::scene::{Database, Files, Server, Tally, proxy, scratch};

const FILES: Files = Files { files: 1, rows: 200 };

/// How many messages a run has, and which of them commit something.
fn undisturbed<S: Server>(server: &S) -> (u64, Vec<u64>) {
    let database = Database::Served(server, server.create_database());
    database.make_tables();
    let (proxy, scratch) = (proxy(server, None), scratch());
    put(&scratch, &database, proxy.port());
    scratch.semel("run -j 1").exits(0);
    let (messages, commits) = (proxy.messages(), proxy.asked(S::COMMIT));
    FILES.are_done(&scratch, &database).unwrap();
    assert_eq!(commits.len(), 2, "one of the load, one of the script");
    (messages, commits)
}

fn put<S: Server>(scratch: &semel_testkit::Scratch, database: &Database<'_, S>, port: u16) {
    let Database::Served(server, name) = database else { panic!("it has a server") };
    FILES.put(scratch, &server.url_at(port, name));
}

/// Cuts at a moment, and runs it again if it says that it was cut. Gives the status of
/// the first run, and whether all is as it must be.
fn cut<S: Server>(database: &Database<'_, S>, moment: Moment) -> (i32, Result<(), String>) {
    let Database::Served(server, _) = database else { panic!("it has a server") };
    database.make_tables();
    let (proxy, scratch) = (proxy(*server, Some(moment)), scratch());
    put(&scratch, database, proxy.port());
    let first = scratch.semel("run -j 1");
    let held = match first.status {
        0 => Ok(()),
        5 if proxy.was_cut() => match scratch.semel("run -j 1") {
            again if again.status == 0 => Ok(()),
            again => Err(format!("it does not go on: {again:?}")),
        },
        _ => Err("it neither settled it nor said that it was broken".to_owned()),
    };
    let held = held.and_then(|()| FILES.are_done(&scratch, database));
    (first.status, held.map_err(|error| format!("{moment:?}: {error}\nat first: {first:?}")))
}

fn cut_at_every_message<S: Server>(server: &S, usually: usize) {
    let (messages, commits) = undisturbed(server);
    let one_of = u64::try_from(one_of(usually)).unwrap();
    let near_commit = |number: &u64| commits.iter().any(|at| number.abs_diff(*at) <= 1);
    let numbers = (1..=messages).filter(|number| number % one_of == 0 || near_commit(number));
    let moments = numbers.flat_map(|number| [Moment::Before(number), Moment::After(number)]);
    let moments = Mutex::new(moments.collect::<Vec<_>>());
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let database = Database::Served(server, server.create_database());
                loop {
                    let Some(moment) = moments.lock().unwrap().pop() else { return };
                    let (status, held) = cut(&database, moment);
                    tally.lock().unwrap().take(status, held);
                }
            });
        }
    });
    let what = format!("{}, cut at one of {messages} messages", S::NAME);
    tally.into_inner().unwrap().tell(&what);
}

#[test]
fn i11_postgres_the_connection_is_cut_at_every_message() {
    cut_at_every_message(postgres(), 13);
}

#[test]
fn i11_mariadb_the_connection_is_cut_at_every_message() {
    cut_at_every_message(mariadb(), 29);
}

/// The server has committed, and nobody hears of it: it is settled within the run, by the
/// stamp, and not by doing it again.
fn nobody_answers<S: Server>(server: &S) {
    let (_, commits) = undisturbed(server);
    let database = Database::Served(server, server.create_database());
    for commit in BTreeSet::from_iter(commits) {
        // The answer does not arrive.
        let (status, held) = cut(&database, Moment::Before(commit + 1));
        held.unwrap();
        assert_eq!(status, 0, "{}: it is settled within the run", S::NAME);
    }
}

#[test]
fn i11_a_commit_that_nobody_answered_is_settled_by_its_stamp() {
    nobody_answers(postgres());
    nobody_answers(mariadb());
}
