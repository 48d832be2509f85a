//! Whoever holds a lock is waited for as long as `timeout` says, and named where the
//! database knows who it is.

use std::io::Write as _;
use std::process::{Child, Stdio};

use semel_testkit::servers::{mariadb, postgres};

use super::{APPENDED, FLIGHTS, MariaDb, On, Postgres, ROWS, Sqlite, on, on_each};

/// Somebody else, in the middle of a transaction.
struct Holder {
    client: Option<Child>,
    file: Option<rusqlite::Connection>,
}

impl Holder {
    fn of(on: &On, statements: &str) -> Self {
        let mut client = match on.engine {
            Sqlite => {
                let file = rusqlite::Connection::open(&on.database).unwrap();
                file.execute_batch("begin immediate").unwrap();
                file.execute_batch(statements).unwrap();
                return Self { client: None, file: Some(file) };
            }
            Postgres => postgres().client(postgres().port(), &on.database),
            MariaDb => mariadb().client(mariadb().port(), &on.database),
        };
        client.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut client = client.spawn().unwrap();
        let marker = "select 'it holds';";
        let stdin = client.stdin.as_mut().unwrap();
        let extra = if on.engine == MariaDb { "\n" } else { "" };
        writeln!(stdin, "begin;\n{statements};\n{marker}{extra}").unwrap();
        stdin.flush().unwrap();
        Self { client: Some(client), file: None }
    }

    fn lets_go(mut self) {
        if let Some(mut client) = self.client.take() {
            drop(client.stdin.take());
            client.wait().unwrap();
        }
        drop(self.file.take());
    }
}

/// Whether somebody else has a lock on `flights`, or on the file.
fn is_held(on: &On) -> bool {
    match on.engine {
        Sqlite => true,
        Postgres => {
            on.sql("select count(*) > 0 from pg_locks l join pg_class c on c.oid = l.relation where c.relname = 'flights' and l.mode like '%Exclusive%' and l.granted")
                == ["t"]
        }
        MariaDb => {
            on.sql("select count(*) > 0 from information_schema.innodb_trx where trx_rows_locked > 0 or trx_tables_locked > 0")
                == ["1"]
        }
    }
}

#[test]
fn a_lock_is_waited_for_as_long_as_timeout_says() {
    let said = on_each(|on| {
        on.sql(FLIGHTS);
        on.sql("insert into flights values ('theirs', 0, null)");
        on.pipeline("[step.fix]\nsql = 'update flights set number = 1'\ntimeout = '400ms'\n");
        let holder = Holder::of(on, "update flights set number = 7");
        semel_testkit::eventually("somebody holds it", || is_held(on));
        let ran = on.semel("run");
        holder.lets_go();
        assert_eq!(ran.status, if on.engine == Sqlite { ran.status } else { 1 }, "{ran:?}");
        assert_ne!(ran.status, 0);
        assert_eq!(on.sql(ROWS), ["theirs 0"], "{ran:?}");
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["theirs 1"]);
        on.shown(&ran)
    });
    let masked: Vec<_> = said.iter().map(|text| numbers_masked(text)).collect();
    insta::assert_snapshot!("locked", super::side_by_side(&masked));
}

/// Numbers of processes and sessions of a server.
fn numbers_masked(text: &str) -> String {
    let mut masked = String::new();
    for word in text.split_inclusive(' ') {
        let core = word.trim_end_matches([' ', ',', ':', ')', '\n']);
        let is_number = core.len() > 2 && core.chars().all(|c| c.is_ascii_digit());
        masked.push_str(&if is_number { word.replace(core, "[number]") } else { word.to_owned() });
    }
    masked
}

#[test]
fn a_lock_that_is_let_go_in_time_is_no_matter() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n");
        let lock = match on.engine {
            Sqlite => "insert into flights values ('x', 0, null)",
            Postgres => "lock table flights in access exclusive mode",
            MariaDb => "insert into flights values ('x', 0, null)",
        };
        on.pipeline(APPENDED).semel("plan").exits(0);
        let holder = Holder::of(on, lock);
        semel_testkit::eventually("somebody holds it", || is_held(on));
        let mut running = on.at.start("run");
        if on.engine == Postgres {
            semel_testkit::eventually("semel waits", || {
                running.has_ended()
                    || on.sql("select count(*) from pg_locks where not granted") != ["0"]
            });
        }
        holder.lets_go();
        running.end().exits(0);
        assert_eq!(on.sql("select number from flights where day = 'a'"), ["1"]);
    });
}

#[test]
fn two_that_wait_for_each_other_are_settled_and_both_done() {
    // Each script changes both rows, in another order.
    on(&[Postgres, MariaDb], |on| {
        on.sql("create table t (id integer primary key, x integer); insert into t values (1, 0), (2, 0);");
        let sleep = match on.engine {
            Postgres => "select pg_sleep(0.3)",
            _ => "select sleep(0.3)",
        };
        let script = |first: u8, then: u8| {
            format!(
                "update t set x = x + 1 where id = {first}; {sleep}; update t set x = x + 1 where id = {then}"
            )
        };
        on.pipeline(&format!(
            "[step.a]\nsql = '{}'\n[step.b]\nsql = '{}'\n",
            script(1, 2),
            script(2, 1)
        ));
        on.semel("run -j 2").exits(0);
        assert_eq!(on.sql("select x from t order by id"), ["2", "2"]);
        on.loads_nothing_again();
    });
}
