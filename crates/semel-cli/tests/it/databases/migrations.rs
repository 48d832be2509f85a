//! Migrations: once each, in order, and never edited behind one's back.

use super::{MariaDb, Postgres, Sqlite};
use super::{On, on, on_each, side_by_side};

const MIGRATIONS: &str =
    "[step.migrate]\neach = 'migrations/*.sql'\nordered = true\nsql = { file = '{{ item }}' }\n";

fn started(on: &On) {
    on.file("migrations/001.sql", "create table t (x integer)");
    on.file("migrations/002.sql", "insert into t values (1)");
    on.file("migrations/003.sql", "insert into t select x + 1 from t");
    on.pipeline(MIGRATIONS).semel("run").exits(0);
    assert_eq!(on.sql("select x from t order by x"), ["1", "2"]);
}

#[test]
fn they_are_applied_once_in_order_and_new_ones_after_them() {
    on_each(|on| {
        started(on);
        on.loads_nothing_again();
        on.file("migrations/004.sql", "insert into t select x + 2 from t");
        on.semel("run").exits(0);
        assert_eq!(on.sql("select x from t order by x"), ["1", "2", "3", "4"]);
        on.loads_nothing_again();
        // Their stamps outlive the memory.
        on.at.remove(".semel").semel("run").exits(0).says("adopt");
        assert_eq!(on.sql("select count(*) from t"), ["4"]);
        on.loads_nothing_again();
    });
}

#[test]
fn two_of_equal_text_are_two() {
    on_each(|on| {
        started(on);
        on.file("migrations/004.sql", on.at.text("migrations/002.sql")).semel("run").exits(0);
        assert_eq!(on.sql("select x from t order by x"), ["1", "1", "2"]);
        on.loads_nothing_again();
    });
}

#[test]
fn one_that_was_applied_and_is_edited_is_refused() {
    let said = on_each(|on| {
        started(on);
        on.file("migrations/002.sql", "insert into t values (7)");
        on.file("migrations/004.sql", "insert into t values (4)");
        let ran = on.semel("run").exits(3);
        assert_eq!(on.sql("select x from t order by x"), ["1", "2"], "nothing behind it, either");
        on.semel("done migrate:migrations/002.sql --because comment").exits(0);
        on.semel("run").exits(0);
        assert_eq!(on.sql("select x from t order by x"), ["1", "2", "4"]);
        on.loads_nothing_again();
        on.at.remove(".semel").semel("run").exits(0);
        assert_eq!(on.sql("select x from t order by x"), ["1", "2", "4"]);
        on.shown(&ran)
    });
    assert!(said.iter().all(|text| *text == said[0]));
    insta::assert_snapshot!("migration_edited", said[0]);
}

#[test]
fn one_that_comes_late_is_refused() {
    let said = on_each(|on| {
        started(on);
        on.file("migrations/0025.sql", "insert into t values (25)");
        let ran = on.semel("run").exits(3);
        assert_eq!(on.sql("select x from t order by x"), ["1", "2"]);
        on.semel("redo migrate:migrations/0025.sql --because harmless").exits(0);
        on.semel("run").exits(0);
        assert_eq!(on.sql("select x from t order by x"), ["1", "2", "25"]);
        on.loads_nothing_again();
        on.shown(&ran)
    });
    assert!(said.iter().all(|text| *text == said[0]));
    insta::assert_snapshot!("migration_late", said[0]);
}

#[test]
fn one_that_fails_leaves_nothing_of_it_and_stops_those_behind_it() {
    let said = on(&[Sqlite, Postgres], |on| {
        started(on);
        on.file(
            "migrations/004.sql",
            "create table u (x integer);\ninsert into u values (1);\ninsert into v values (1)",
        );
        on.file("migrations/005.sql", "insert into t values (5)");
        let ran = on.semel("run").exits(1);
        assert_eq!(on.sql("select x from t order by x"), ["1", "2"]);
        let there = match on.engine {
            Sqlite => "select name from sqlite_master where name = 'u'",
            _ => "select relname from pg_class where relname = 'u'",
        };
        assert_eq!(on.sql(there), [""; 0]);
        on.file("migrations/004.sql", "create table v (x integer)").semel("run").exits(0);
        assert_eq!(on.sql("select x from t order by x"), ["1", "2", "5"]);
        on.loads_nothing_again();
        on.shown(&ran)
    });
    insta::assert_snapshot!("migration_failed", side_by_side(&said));
}

#[test]
fn one_that_fails_half_way_where_tables_are_changed_one_by_one_is_asked_about() {
    let said = on(&[MariaDb], |on| {
        started(on);
        on.file("migrations/004.sql", "create table u (x integer);\ncreate table t (x integer)");
        on.file("migrations/005.sql", "insert into t values (5)");
        let ran = on.semel("run").exits(1);
        assert_eq!(on.sql("show tables like 'u'"), ["u"]);
        on.semel("run").exits(3).says("may have been done already");
        assert_eq!(on.sql("select count(*) from t"), ["2"], "nothing behind it");
        on.semel("done migrate:migrations/004.sql --because mended").exits(0);
        on.semel("run").exits(0);
        assert_eq!(on.sql("select count(*) from t"), ["3"]);
        on.loads_nothing_again();
        on.at.remove(".semel").semel("run").exits(0);
        assert_eq!(on.sql("select count(*) from t"), ["3"]);
        on.shown(&ran)
    });
    insta::assert_snapshot!("migration_half_done", said[0]);
}
