//! Bad input: what is wrong, and where, in words; nothing of it is loaded.

use super::{APPENDED, FLIGHTS, On, TAGGED, on, on_each, side_by_side};
use super::{MariaDb, Postgres};

/// Loads one file, which fails; gives the line that people read last.
fn fails(on: &On, steps: &str, status: i32) -> String {
    let ran = on.pipeline(steps).semel("run").exits(status);
    let of_end =
        |line: &&str| ["failed ", "broken ", "refused "].iter().any(|word| line.starts_with(word));
    let shown = on.shown(&ran);
    shown.lines().find(of_end).unwrap_or(&shown).to_owned()
}

#[test]
fn what_cannot_be_read_is_told_with_its_line() {
    let files: [(&str, &[u8]); 11] = [
        ("long.csv", b"day,number\na,1\nb,2,3\n"),
        ("short.csv", b"day,number\na,1\n\nb\n"),
        ("open.csv", b"day,number\na,1\n\"b,2\nc,3\n"),
        ("quote.csv", b"day,number\n\"a\"b,1\n"),
        ("empty.csv", b""),
        ("twice.csv", b"day,day\na,b\n"),
        ("bytes.csv", b"day,number\na\xff,1\n"),
        ("open.jsonl", b"{\"day\":\"a\",\"number\":1}\n{\"day\":\"b\",\"num"),
        ("list.jsonl", b"[1]\n"),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00\x00"),
        ("plain.csv.gz", b"day,number\na,1\n"),
    ];
    let said = on_each(|on| {
        on.sql(FLIGHTS);
        let mut said = Vec::new();
        for (name, bytes) in files {
            on.file(name, bytes);
            let steps = format!("[step.load]\nload = {{ into = 'flights', file = '{name}' }}\n");
            said.push(fails(on, &steps, 1));
        }
        assert_eq!(on.sql("select count(*) from flights"), ["0"]);
        said.join("\n")
    });
    assert!(said.iter().all(|text| *text == said[0]), "the file is at fault, whatever reads it");
    insta::assert_snapshot!("unreadable", said[0]);
}

#[test]
fn a_value_that_does_not_fit_is_told_with_line_column_and_value() {
    let said = on_each(|on| {
        let into = "create table t (id integer primary key, day date, price numeric(6,2), a varchar(3) not null);";
        on.sql(into);
        let records = [
            "2,2013-01-01,1.50,b\nmany,2013-01-01,1,c",
            "2,2013-02-31,1.50,b",
            "2,2013-01-01,cheap,b",
            "2,2013-01-01,1.50,",
            "1,2013-01-01,1.50,b",
            "99999999999999999999,2013-01-01,1.50,b",
        ];
        let mut said = Vec::new();
        for record in records {
            on.file("t.csv", format!("id,day,price,a\n1,2013-01-01,1,\"a\n\"\n{record}\n"));
            let ran =
                on.pipeline("[step.load]\nload = { into = 't', file = 't.csv' }\n").semel("run");
            // SQLite takes any text for a date.
            if ran.status == 0 {
                said.push(format!("{record:?} fits"));
                on.sql("delete from t");
                on.at.remove(".semel");
                on.sql("drop table semel_stamp");
                continue;
            }
            let line = fails(on, "[step.load]\nload = { into = 't', file = 't.csv' }\n", 1);
            said.push(line);
            assert_eq!(on.sql("select count(*) from t"), ["0"]);
        }
        said.join("\n")
    });
    insta::assert_snapshot!("does_not_fit", side_by_side(&said));
}

#[test]
fn a_table_or_a_column_that_is_not_there_is_told_with_its_like() {
    let said = on_each(|on| {
        on.sql(FLIGHTS);
        on.sql("create table planes (x integer);");
        on.file("clean/1.csv", "day,number\na,1\n");
        let mut said = vec![
            fails(on, &APPENDED.replace("flights", "flight"), 1),
            fails(on, &APPENDED.replace("flights", "zzz"), 1),
            fails(on, &APPENDED.replace("flights", "no.flights"), 1),
            fails(on, &TAGGED.replace("'source'", "'sorce'"), 1),
            fails(on, &APPENDED.replace("flights'", "flights', columns = { dai = 'day' }"), 1),
            fails(on, &APPENDED.replace("flights'", "flights', columns = ['dai']"), 1),
            fails(on, &APPENDED.replace("flights'", "flights', columns = { day = 'date' }"), 1),
        ];
        on.file("clean/1.csv", "day,numbr\na,1\n");
        said.push(fails(on, APPENDED, 1));
        on.file("clean/1.csv", "day,number,source\na,1,x\n");
        said.push(fails(on, TAGGED, 1));
        assert_eq!(on.sql("select count(*) from flights"), ["0"]);
        said.join("\n")
    });
    insta::assert_snapshot!("not_there", side_by_side(&said));
}

#[test]
fn what_is_not_kept_with_a_transaction_is_refused() {
    let said = on(&[Postgres, MariaDb], |on| {
        on.sql(match on.engine {
            Postgres => "create unlogged table flights (day text, number integer)",
            _ => "create table flights (day text, number integer) engine = MyISAM",
        });
        on.file("clean/1.csv", "day,number\na,1\n");
        let said = fails(on, APPENDED, 1);
        assert_eq!(on.sql("select count(*) from flights"), ["0"]);
        said
    });
    insta::assert_snapshot!("not_atomic", said.join("\n"));
}

#[test]
fn a_view_is_no_table_to_load_into() {
    on_each(|on| {
        on.sql("create table t (x integer); create view v as select count(*) as x from t;");
        on.file("clean/1.csv", "x\n1\n");
        let ran = on.pipeline(&APPENDED.replace("flights", "v")).semel("run");
        assert_ne!(ran.status, 0, "{ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
        assert_eq!(on.sql("select count(*) from t"), ["0"]);
    });
}

#[test]
fn a_server_that_is_down_is_broken_and_tried_again_as_often_as_is_said() {
    let said = on(&[Postgres, MariaDb], |on| {
        // Nobody listens on the port of nobody.
        let url = match on.engine {
            Postgres => "postgres://semel@127.0.0.1:1/x",
            _ => "mysql://semel@127.0.0.1:1/x",
        };
        on.file("clean/1.csv", "day,number\na,1\n");
        on.at.pipeline(&format!(
            "[db]\nmain = '{url}'\n{APPENDED}retry = {{ times = 2, wait = '1ms' }}\nafter = ['other']\n[step.other]\nrun = 'echo other >> trace'\n"
        ));
        let ran = on.semel("run").exits(5);
        let plan = on.semel("plan").exits(5);
        format!("{}\n---\n{}", on.shown(&ran), on.shown(&plan))
    });
    insta::assert_snapshot!("server_down", said.join("\n===\n"));
}

#[test]
fn a_url_that_is_wrong_is_told_without_what_stands_in_it() {
    let on = super::On::new(super::Sqlite);
    let mut said = Vec::new();
    on.file("clean/1.csv", "day\na\n");
    for url in [
        "oracle://u:geheim@h/d",
        "u:geheim@h/d",
        "postgres://u@h:port/d",
        "sqlite:",
        "sqlite::memory:",
    ] {
        on.at.pipeline(&format!("[db]\nmain = '{url}'\n{APPENDED}"));
        let ran = on.semel("run").keeps_silent_of("geheim");
        said.push(format!(
            "{} exits {}\n{}",
            url.replace("geheim", "[...]"),
            ran.status,
            on.shown(&ran)
        ));
    }
    insta::assert_snapshot!("wrong_urls", said.join("\n"));
}

#[test]
fn which_database_is_said_in_the_file() {
    let shown = |text: &str| {
        let on = super::On::new(super::Sqlite);
        on.file("clean/1.csv", "day\na\n").at.pipeline(text);
        let ran = on.semel("run").exits(2);
        on.shown(&ran)
    };
    let steps = APPENDED;
    let said = [
        shown(steps),
        shown(&format!("[db]\na = 'sqlite:a.db'\nb = 'sqlite:b.db'\n{steps}")),
        shown(&format!(
            "[db]\nmain = 'sqlite:a.db'\n{}",
            steps.replace("load = {", "load = { db = 'mian',")
        )),
        shown("[db]\nmain = 'sqlite:a.db'\n[step.load]\nload = { into = 'flights' }\n"),
        shown("[db]\nmain = 'sqlite:a.db'\n[step.load]\nload = { file = 'clean/1.csv' }\n"),
        shown("[db]\nmain = 'sqlite:a.db'\n[step.fill]\nsql = {}\n"),
    ];
    insta::assert_snapshot!("which_database", said.join("\n"));
}
