//! Scripts: each is one transaction, and one that would break it is not begun.

use super::{Engine, On, on, on_each, side_by_side};
use super::{MariaDb, Postgres, Sqlite};

const T: &str = "create table t (id integer, a varchar(100));";

/// A step with statements, and a value for them.
fn step(sql: &str) -> String {
    format!("[params]\nname = \"it's; drop table t -- \\\\\"\n[step.fill]\nsql = '''{sql}'''\n")
}

fn of(on: &On, sql: &str) {
    let text = step(sql).replace("[params]", &format!("[db]\nmain = '{}'\n[params]", on.url()));
    on.at.pipeline(&text);
}

#[test]
fn a_value_stays_a_value_whatever_is_in_it() {
    on_each(|on| {
        on.sql(T);
        of(
            on,
            "insert into t values (1, {{ params.name }}); update t set id = 2 where a = {{ params.name }}",
        );
        on.semel("run").exits(0);
        assert_eq!(on.sql("select id, a from t"), ["2 it's; drop table t -- \\"]);
        assert_eq!(on.receipts(), [" 2"], "two rows were changed");
        on.loads_nothing_again();
    });
}

#[test]
fn a_value_is_part_of_what_is_done() {
    on_each(|on| {
        on.sql(T);
        of(on, "delete from t; insert into t values (1, {{ params.name }})");
        on.semel("run").exits(0);
        on.semel("run -p name=b").exits(0);
        assert_eq!(on.sql("select a from t"), ["b"]);
        on.semel("run -p name=b --expect-noop").exits(0);
    });
}

#[test]
fn items_are_values_too() {
    on_each(|on| {
        on.sql(T);
        on.pipeline("[step.fill]\neach = { csv = 'l.csv' }\nsql = \"insert into t values ({{ item.id }}, {{ item.a }})\"");
        on.file("l.csv", "id,a\n1,o'clock\n2,\"{{ x }} $1 ?\"\n").semel("run -j 1").exits(0);
        assert_eq!(on.sql("select * from t order by id"), ["1 o'clock", "2 {{ x }} $1 ?"]);
        on.loads_nothing_again();
    });
}

#[test]
fn a_placeholder_in_quotes_is_an_error_of_the_file() {
    let said = on_each(|on| {
        of(on, "insert into t values (1, '{{ params.name }}')");
        on.shown(&on.semel("run").exits(2))
    });
    insta::assert_snapshot!("placeholder_in_quotes", said[0]);
    assert!(said.iter().all(|text| *text == said[0]));
}

#[test]
fn several_statements_are_one_transaction() {
    on_each(|on| {
        on.sql(T);
        on.sql("insert into t values (7, 'there')");
        of(on, "delete from t;\ninsert into t values (1, 'x');\ninsert into nowhere values (2)");
        let ran = on.semel("run").exits(1).says("line 3");
        assert_eq!(on.sql("select id, a from t"), ["7 there"], "{ran:?}");
        assert_eq!(on.sql("select count(*) from semel_stamp"), ["0"]);
    });
}

#[test]
fn what_the_database_says_no_to_is_told_with_its_line() {
    let said = on_each(|on| {
        on.sql("create table t (id integer primary key, a varchar(5) not null);");
        of(on, "insert into t values (1, 'x');\n\ninsert into t values (1, 'x')");
        let twice = on.semel("run").exits(1);
        of(on, "insert into t values (1, null)");
        let null = on.semel("run").exits(1);
        of(on, "insert into t vales (1, 'x')");
        let wrong = on.semel("run").exits(1);
        [twice, null, wrong].map(|ran| failed_line(&on.shown(&ran))).join("\n")
    });
    insta::assert_snapshot!("sql_says_no", side_by_side(&said));
}

/// The line of a failure that people read last.
fn failed_line(shown: &str) -> String {
    let of_end = |line: &&str| {
        line.starts_with("failed ") || line.starts_with("broken ") || line.starts_with("refused ")
    };
    shown.lines().find(of_end).unwrap_or(shown).to_owned()
}

#[test]
fn a_file_of_statements_counts_with_what_is_in_it() {
    on_each(|on| {
        on.sql(T);
        on.file("fill.sql", "-- fill it\ninsert into t values (1, 'a;b'); /* ; */\n");
        on.pipeline("[step.fill]\nsql = { file = 'fill.sql' }");
        on.semel("run").exits(0);
        on.loads_nothing_again();
        on.file("fill.sql", "insert into t values (2, 'x')").semel("run").exits(0);
        assert_eq!(on.sql("select id from t order by id"), ["1", "2"]);
        on.at.remove("fill.sql").semel("run").exits(1).says("fill.sql");
    });
}

#[test]
fn placeholders_in_a_file_are_refused() {
    let said = on_each(|on| {
        on.sql(T);
        on.file("fill.sql", "insert into t\nvalues ({{ params.x }}, 'a')");
        on.pipeline("[step.fill]\nsql = { file = 'fill.sql' }");
        let ran = on.semel("run").exits(1);
        assert_eq!(on.sql("select id from t"), [""; 0]);
        failed_line(&on.shown(&ran))
    });
    insta::assert_snapshot!("placeholder_in_file", side_by_side(&said));
}

#[test]
fn what_ends_a_transaction_is_an_error_of_the_file() {
    let engine = Sqlite;
    let on = On::new(engine);
    let shown = |sql: &str| {
        of(&on, sql);
        let ran = on.semel("run").exits(2);
        assert!(!on.at.has(".semel") && !on.at.has("test.db"), "nothing was begun");
        on.shown(&ran)
    };
    insta::assert_snapshot!(
        "commit_in_a_script",
        shown("insert into t values (1, 'x');\ncommit;\ninsert into t values (2, 'y')")
    );
    insta::assert_snapshot!("attach_in_a_script", shown("attach 'other.db' as other"));
}

#[test]
fn whatever_would_break_a_transaction_is_refused_before_it_begins() {
    let cases: [(Engine, &[&str]); 3] = [
        (
            Sqlite,
            &[
                "COMMIT",
                "begin",
                "end transaction",
                "rollback",
                "vacuum",
                "pragma journal_mode = wal",
                "/* x */ commit",
            ],
        ),
        (
            Postgres,
            &[
                "commit",
                "ROLLBACK",
                "begin",
                "start transaction",
                "vacuum t",
                "create index concurrently i on t (id)",
                "create database x",
                "alter system set x = 1",
                "create unlogged table u (x int)",
                "copy t from stdin",
                "copy t from program 'rm'",
                "prepare transaction 'x'",
                "abort",
                "end",
            ],
        ),
        (
            MariaDb,
            &[
                "commit",
                "start transaction",
                "lock tables t write",
                "set autocommit = 1",
                "call p()",
                "load data infile 'x' into table t",
                "xa start 'x'",
                "create table u (x int); insert into u values (1)",
                "use mysql",
            ],
        ),
    ];
    for (engine, scripts) in cases {
        on(&[engine], |on| {
            for sql in scripts {
                of(on, &format!("insert into t values (1, 'x'); {sql}"));
                let ran = on.semel("plan").exits(2);
                assert!(ran.stderr.contains("semel.toml:"), "{sql}: {ran:?}");
            }
            // The same in a file, which is read when its turn comes.
            on.sql(T);
            on.pipeline("[step.fill]\neach = 'sql/*.sql'\nsame = 'name+content'\nsql = { file = '{{ item }}' }");
            for (at, sql) in scripts.iter().enumerate() {
                on.file(&format!("sql/{at}.sql"), format!("insert into t values (1, 'x'); {sql}"));
            }
            let ran = on.semel("run -j 1").exits(1);
            assert_eq!(on.sql("select id from t"), [""; 0]);
            assert!(
                ran.stderr.contains(&format!("{} failed", scripts.len())),
                "all of them failed: {ran:?}"
            );
        });
    }
}

#[test]
fn a_procedure_that_commits_inside_does_nothing() {
    on(&[Postgres], |on| {
        on.sql(T);
        on.sql("create procedure p() language plpgsql as $$ begin insert into t values (1, 'x'); commit; insert into t values (2, 'y'); end $$;");
        of(on, "insert into t values (0, 'w'); call p()");
        on.semel("run").exits(1).says("invalid transaction termination");
        assert_eq!(on.sql("select id from t"), [""; 0]);
        on.sql("create or replace procedure p() language plpgsql as $$ begin insert into t values (1, 'x'); end $$;");
        on.semel("run").exits(0);
        assert_eq!(on.sql("select id from t order by id"), ["0", "1"]);
        on.loads_nothing_again();
    });
}

#[test]
fn tables_are_changed_and_filled_in_one_script_where_the_database_can() {
    on(&[Sqlite, Postgres], |on| {
        of(
            on,
            "create table t (id integer, a varchar(9)); insert into t values (1, 'x'); insert into nowhere values (1)",
        );
        on.semel("run").exits(1);
        let tables = on.sql(match on.engine {
            Sqlite => "select name from sqlite_master where name = 't'",
            _ => "select relname from pg_class where relname = 't'",
        });
        assert_eq!(tables, [""; 0], "the table is gone again");
        of(on, "create table t (id integer, a varchar(9)); insert into t values (1, 'x')");
        on.semel("run").exits(0);
        assert_eq!(on.sql("select id from t"), ["1"]);
        on.loads_nothing_again();
    });
}

#[test]
fn mariadb_changes_tables_statement_by_statement_behind_a_marker() {
    on(&[MariaDb], |on| {
        of(on, "create table t (id integer);\ncreate table u (id integer)");
        on.semel("run").exits(0);
        on.loads_nothing_again();
        assert_eq!(on.sql("select whole from semel_stamp"), ["1"]);
        // The second is there: the first was done all the same.
        of(on, "create table v (id integer);\ncreate table u (id integer)");
        let ran = on.semel("run").exits(1);
        assert_eq!(on.sql("show tables like 'v'"), ["v"]);
        assert_eq!(on.sql("select whole from semel_stamp"), ["0"]);
        insta::assert_snapshot!("half_a_script", on.shown(&ran));
        of(
            on,
            "create table if not exists v (id integer);\ncreate table if not exists u (id integer)",
        );
        on.semel("run").exits(0);
        assert_eq!(on.sql("select whole from semel_stamp"), ["1"]);
        on.loads_nothing_again();
    });
}

#[test]
fn bodies_of_functions_and_triggers_are_one_statement() {
    on_each(|on| {
        on.sql(T);
        let made = match on.engine {
            Sqlite => {
                "create trigger b after insert on t begin update t set a = 'x;y' where id = new.id; end; insert into t values (1, 'a')"
            }
            Postgres => {
                "create function f() returns trigger language plpgsql as $$ begin new.a := 'x;y'; return new; end $$; create trigger b before insert on t for each row execute function f(); insert into t values (1, 'a')"
            }
            MariaDb => {
                "create trigger b before insert on t for each row begin set new.a = 'x;y'; end"
            }
        };
        of(on, made);
        on.semel("run").exits(0);
        if on.engine == MariaDb {
            on.sql("insert into t values (1, 'a')");
        }
        assert_eq!(on.sql("select a from t"), ["x;y"]);
        on.loads_nothing_again();
    });
}

#[test]
fn once_is_once_although_its_text_changes() {
    on_each(|on| {
        on.sql(T);
        of(on, "insert into t values (1, 'a')");
        let pipeline = on.at.text("semel.toml");
        on.file("semel.toml", format!("{pipeline}once = true\n")).semel("run").exits(0);
        let changed = pipeline.replace("(1, 'a')", "(2, 'b')");
        on.file("semel.toml", format!("{changed}once = true\n")).semel("run").exits(0);
        assert_eq!(on.sql("select id from t"), ["1"]);
        // Without memory the stamp tells.
        on.at.remove(".semel").semel("run").exits(0).says("adopt");
        assert_eq!(on.sql("select id from t"), ["1"]);
    });
}

#[test]
fn a_once_script_that_failed_did_nothing_and_is_done_again() {
    on_each(|on| {
        on.sql(T);
        of(on, "insert into t values (1, 'a'); insert into later values (1)");
        let pipeline = on.at.text("semel.toml");
        on.file("semel.toml", format!("{pipeline}once = true\n")).semel("run").exits(1);
        on.sql("create table later (x integer)");
        on.semel("run").exits(0);
        assert_eq!(on.sql("select id from t"), ["1"]);
        on.loads_nothing_again();
    });
}
