//! Checks that ask a database: what is a yes, what is a no, and what is neither.

use super::{FLIGHTS, On, ROWS, TAGGED, on_each, side_by_side};
use super::{MariaDb, Postgres, Sqlite};

fn check(on: &On, sql: &str) {
    on.pipeline(&format!(
        "[step.fill]\ncheck = {{ sql = \"{sql}\" }}\nrun = 'echo filled >> trace'\n"
    ));
}

#[test]
fn yes_and_no_as_each_database_says_them() {
    on_each(|on| {
        on.sql("create table t (x integer, a varchar(9));");
        on.sql("insert into t values (1, 't')");
        let mut yes = vec![
            "select 1",
            "select 't'",
            "select a from t",
            "select count(*) from t",
            "select 'yes'",
            "select 0.5",
            "select x, 'nonsense' from t",
        ];
        let mut no = vec![
            "select 0",
            "select null",
            "select 1 from t where x = 2",
            "select 'f'",
            "select ''",
            "select count(*) from t where x = 2",
        ];
        yes.push("select x = 1 from t");
        yes.push("select exists (select 1 from t)");
        no.push("select x = 2 from t");
        no.push("select x = null from t");
        if on.engine == Postgres {
            yes.push("select true");
            no.push("select false");
        }
        for sql in yes {
            check(on, sql);
            let ran = on.semel("run").exits(0);
            assert!(!on.at.has("trace"), "{sql} says yes: {ran:?}");
            on.at.remove(".semel");
        }
        for sql in no {
            check(on, sql);
            on.semel("run").exits(1).says("its check does not hold");
            assert_eq!(on.at.text("trace"), "filled\n", "{sql} says no");
            on.at.remove("trace").remove(".semel");
        }
    });
}

#[test]
fn an_error_is_neither_yes_nor_no() {
    let said = on_each(|on| {
        let told = [
            "select 1 from nowhere",
            "select wrong",
            "selct 1",
            "select 'perhaps'",
            "select 1; select 2",
        ]
        .map(|sql| {
            check(on, sql);
            let ran = on.at.semel("run");
            assert!(!on.at.has("trace"), "{sql}: {ran:?}");
            assert!(
                ran.status == 5 || sql == "select 1; select 2" && ran.status == 2,
                "{sql}: {ran:?}"
            );
            let shown = on.shown(&ran);
            let line =
                shown.lines().find(|line| line.starts_with("broken") || line.starts_with("error"));
            line.map_or(shown.clone(), str::to_owned)
        });
        told.join("\n")
    });
    insta::assert_snapshot!("check_cannot_tell", side_by_side(&said));
}

#[test]
fn a_check_that_holds_is_adopted_without_a_load() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.sql("insert into flights values ('a', 1, null)");
        on.file("clean/a.csv", "day,number\na,1\n").pipeline(&format!(
            "{TAGGED}check = {{ sql = 'select 1 from flights where day = {{{{ item.stem }}}}' }}"
        ));
        on.semel("run").exits(0).says("adopt");
        assert_eq!(on.sql(ROWS), ["a 1"]);
        on.loads_nothing_again();
        on.file("clean/b.csv", "day,number\nb,2\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1", "b 2"]);
        on.loads_nothing_again();
    });
}

#[test]
fn what_its_check_does_not_hold_for_is_not_committed() {
    let said = on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/a.csv", "day,number\na,1\nb,2\n")
            .pipeline(&format!("{TAGGED}check = {{ sql = 'select count(*) = 3 from flights' }}"));
        let ran = on.semel("run").exits(1);
        assert_eq!(on.sql(ROWS), [""; 0]);
        assert_eq!(on.sql("select count(*) from semel_stamp"), ["0"]);
        on.file("clean/a.csv", "day,number\na,1\nb,2\nc,3\n").semel("run").exits(0);
        on.loads_nothing_again();
        on.shown(&ran)
    });
    insta::assert_snapshot!("check_within", side_by_side(&said));
}

#[test]
fn a_check_that_says_no_later_has_it_done_again() {
    on_each(|on| {
        on.sql("create table t (x integer);");
        on.pipeline("[step.fill]\ncheck = { sql = 'select count(*) = 1 from t' }\nsql = 'insert into t values (1)'\n");
        on.semel("run").exits(0);
        on.loads_nothing_again();
        on.sql("delete from t");
        on.semel("run").exits(0);
        assert_eq!(on.sql("select x from t"), ["1"]);
        on.loads_nothing_again();
    });
}

#[test]
fn a_check_may_make_its_own_table_and_does_not_write() {
    on_each(|on| {
        // The step makes the table that its check asks for, by a question that can be answered.
        let asked = match on.engine {
            Sqlite => "select count(*) from sqlite_master where name = 't'",
            Postgres => "select to_regclass('t') is not null",
            MariaDb => {
                "select count(*) from information_schema.tables where table_schema = database() and table_name = 't'"
            }
        };
        on.pipeline(&format!(
            "[step.schema]\ncheck = {{ sql = \"{asked}\" }}\nsql = 'create table t (x integer)'\n"
        ));
        on.semel("run").exits(0);
        on.loads_nothing_again();
        on.sql("drop table t");
        on.semel("run").exits(0);
        assert_eq!(on.sql("select count(*) from t"), ["0"]);
        check(on, "insert into t values (1)");
        let ran = on.semel("run");
        assert_ne!(ran.status, 0, "{ran:?}");
        assert_eq!(on.sql("select count(*) from t"), ["0"], "a question changes nothing: {ran:?}");
    });
}
