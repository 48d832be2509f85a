//! Memory and rows held against each other: whichever is lost, no row comes twice and
//! none is missing.

use super::{APPENDED, FLIGHTS, MariaDb, On, Postgres, ROWS, TAGGED, on, on_each};

/// Three files, loaded.
fn loaded(on: &On, steps: &str) {
    on.sql(FLIGHTS);
    for day in ["a", "b", "c"] {
        on.file(&format!("clean/{day}.csv"), format!("day,number\n{day},1\n{day},2\n"));
    }
    on.pipeline(steps).semel("run").exits(0);
    all_are_there(on);
}

fn all_are_there(on: &On) {
    assert_eq!(on.sql(ROWS), ["a 1", "a 2", "b 1", "b 2", "c 1", "c 2"]);
}

#[test]
fn a_lost_memory_is_made_of_stamps_and_no_row_comes_twice() {
    for steps in [TAGGED, APPENDED] {
        on_each(|on| {
            loaded(on, steps);
            on.at.remove(".semel").semel("run").exits(0).says("adopt");
            all_are_there(on);
            on.loads_nothing_again();
            let mut receipts = on.receipts();
            receipts.dedup();
            assert_eq!(receipts, ["flights 2"]);
        });
    }
}

#[test]
fn without_memory_a_file_that_changed_meanwhile_replaces_its_rows() {
    on_each(|on| {
        loaded(on, TAGGED);
        on.at.remove(".semel");
        on.file("clean/b.csv", "day,number\nb,9\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1", "a 2", "b 9", "c 1", "c 2"]);
        on.loads_nothing_again();
    });
}

#[test]
fn a_table_that_was_dropped_and_made_anew_is_filled_again() {
    for steps in [TAGGED, APPENDED] {
        on_each(|on| {
            loaded(on, steps);
            on.sql("drop table flights");
            on.sql(FLIGHTS);
            on.semel("run").exits(0);
            all_are_there(on);
            on.loads_nothing_again();
        });
    }
}

#[test]
fn a_table_that_was_dropped_is_missed_and_made_by_its_step() {
    on_each(|on| {
        let there = match on.engine {
            super::Sqlite => "select count(*) from sqlite_master where name = 'flights'",
            super::Postgres => "select to_regclass('flights') is not null",
            super::MariaDb => {
                "select count(*) from information_schema.tables where table_schema = database() and table_name = 'flights'"
            }
        };
        let steps = format!(
            "[step.schema]\ncheck = {{ sql = \"{there}\" }}\nsql = '{FLIGHTS}'\n{TAGGED}needs = ['schema']\n"
        );
        on.file("clean/a.csv", "day,number\na,1\n").pipeline(&steps).semel("run").exits(0);
        on.loads_nothing_again();
        on.sql("drop table flights");
        on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        on.loads_nothing_again();
    });
}

#[test]
fn a_table_that_was_dropped_is_told_where_nothing_makes_it() {
    on_each(|on| {
        loaded(on, TAGGED);
        on.sql("drop table flights");
        on.semel("run").exits(1).says("there is no table `flights`");
        on.sql(FLIGHTS);
        on.semel("run").exits(0);
        all_are_there(on);
    });
}

#[test]
fn a_table_that_was_emptied_is_filled_again() {
    for steps in [TAGGED, APPENDED] {
        on_each(|on| {
            loaded(on, steps);
            on.sql("delete from flights");
            on.semel("run").exits(0);
            all_are_there(on);
            on.loads_nothing_again();
        });
    }
}

#[test]
fn a_table_that_was_emptied_is_filled_again_though_the_first_run_ends_early() {
    // Once the first rows are there the table is no longer empty.
    on_each(|on| {
        loaded(on, APPENDED);
        on.sql("delete from flights");
        on.file("clean/b.csv", "day,number\nb,1\nb,2,3\n");
        on.pipeline(&format!("{APPENDED}max-failures = 1\n"));
        on.semel("run -j 1").exits(1);
        assert_eq!(on.sql(ROWS), ["a 1", "a 2"], "the first was loaded, the last not tried");
        on.file("clean/b.csv", "day,number\nb,1\nb,2\n").semel("run").exits(0);
        all_are_there(on);
        on.loads_nothing_again();
    });
}

#[test]
fn stamps_that_were_dropped_are_written_again_with_their_rows() {
    on_each(|on| {
        loaded(on, TAGGED);
        on.sql("drop table semel_stamp");
        on.semel("run").exits(0);
        all_are_there(on);
        on.loads_nothing_again();
        assert_eq!(on.sql("select count(*) from semel_stamp"), ["3"]);
    });
}

#[test]
fn stamps_that_were_dropped_cannot_tell_whose_rows_are_there() {
    let said = on_each(|on| {
        loaded(on, APPENDED);
        on.sql("drop table semel_stamp");
        // One by one: of several that fail, nobody knows which is told first.
        let refused = ["a", "b", "c"].map(|day| {
            let ran = on.semel(&format!("run load:clean/{day}.csv")).exits(3);
            on.shown(&ran).replace(", [time]", "")
        });
        all_are_there(on);
        for day in ["a", "b", "c"] {
            on.semel(&format!("done load:clean/{day}.csv --because counted")).exits(0);
        }
        on.semel("run").exits(0);
        all_are_there(on);
        on.loads_nothing_again();
        assert_eq!(on.sql("select count(*) from semel_stamp"), ["3"]);
        refused.join("\n===\n")
    });
    assert!(said.iter().all(|text| *text == said[0]), "{said:?}");
    insta::assert_snapshot!("stamps_dropped", said[0]);
}

#[test]
fn one_stamp_that_was_deleted_is_written_again() {
    on_each(|on| {
        loaded(on, TAGGED);
        on.sql("delete from semel_stamp where item = 'clean/b.csv'");
        on.semel("run").exits(0);
        all_are_there(on);
        on.loads_nothing_again();
    });
}

#[test]
fn rows_from_before_semel_are_accepted_with_a_word() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.sql("insert into flights values ('a', 1, null), ('b', 2, null)");
        on.file("clean/a.csv", "day,number\na,1\n").file("clean/b.csv", "day,number\nb,2\n");
        on.file("clean/c.csv", "day,number\nc,3\n");
        on.pipeline(&format!("{TAGGED}[step.first]\nrun = 'true'\n"));
        on.semel("run first").exits(0);
        for day in ["a", "b"] {
            on.semel(&format!("done load:clean/{day}.csv --because before")).exits(0);
        }
        on.semel("run").exits(0);
        on.pipeline(TAGGED);
        assert_eq!(on.sql(ROWS), ["a 1", "b 2", "c 3"]);
        on.loads_nothing_again();
        assert_eq!(on.sql("select count(*) from semel_stamp"), ["3"]);
        on.at.remove(".semel").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1", "b 2", "c 3"]);
        on.loads_nothing_again();
    });
}

#[test]
fn rows_from_before_semel_that_a_condition_finds_are_counted_and_replaced() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.sql("insert into flights values ('a', 1, null), ('a', 2, null), ('b', 3, null)");
        on.file("clean/a.csv", "day,number\na,1\na,2\n");
        on.pipeline("[step.load]\neach = 'clean/*.csv'\nload = { into = 'flights', replace-where = 'day = {{ item.stem }}' }");
        on.semel("run").exits(3).says("2 rows already that this task did not load");
        on.semel("done load:clean/a.csv --because before").exits(0);
        on.semel("run").exits(0);
        on.file("clean/a.csv", "day,number\na,7\n").semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 7", "b 3"]);
        on.loads_nothing_again();
    });
}

#[test]
fn what_may_not_make_the_table_of_stamps_is_told_what_to_ask_for() {
    let said = on(&[Postgres, MariaDb], |on| {
        on.sql(FLIGHTS);
        let user = format!("u{}", on.database.trim_start_matches("semel"));
        let url = on.url().replace("//semel@", &format!("//{user}@"));
        on.sql(&match on.engine {
            Postgres => format!(
                "create user {user}; grant select, insert, delete on flights to {user};"
            ),
            _ => format!(
                "create user {user}@'127.0.0.1'; grant select, insert, delete on {}.flights to {user}@'127.0.0.1';",
                on.database
            ),
        });
        on.file("clean/a.csv", "day,number\na,1\n");
        on.at.pipeline(&format!("[db]\nmain = '{url}'\n{TAGGED}"));
        let ran = on.semel("run").exits(5);
        assert_eq!(on.sql(ROWS), [""; 0]);
        // Somebody types what it says.
        let line = ran.stderr.lines().find(|line| line.contains("make it type")).unwrap();
        on.sql(line.split_once("make it type").unwrap().1);
        for table in ["semel_stamp", "semel_fence"] {
            grant(on, table, &user);
        }
        on.semel("run").exits(0);
        on.loads_nothing_again();
        on.shown(&ran).replace(&user, "[user]")
    });
    insta::assert_snapshot!("no_create", said.join("\n===\n"));
}

fn grant(on: &On, table: &str, user: &str) {
    on.sql(&match on.engine {
        Postgres => format!("grant select, insert, update, delete on {table} to {user}"),
        _ => format!(
            "grant select, insert, update, delete on {}.{table} to {user}@'127.0.0.1'",
            on.database
        ),
    });
}

#[test]
fn a_run_that_is_killed_while_it_loads_leaves_whole_files_only() {
    on_each(|on| {
        on.sql(FLIGHTS);
        for day in 0..6 {
            let mut text = String::from("day,number\n");
            for number in 0..3_000 {
                text.push_str(&format!("{day},{number}\n"));
            }
            on.file(&format!("clean/{day}.csv"), text);
        }
        on.pipeline(APPENDED);
        let mut running = on.at.start("run -j 1");
        semel_testkit::eventually("some rows are there", || {
            running.has_ended() || on.sql("select count(*) from flights") != ["0"]
        });
        running.kill();
        let parts = on.sql("select count(*) from flights group by day");
        assert!(parts.iter().all(|count| count == "3000"), "{parts:?}");
        on.semel("run").exits(0);
        assert_eq!(on.sql("select count(*), count(distinct day) from flights"), ["18000 6"]);
        on.loads_nothing_again();
    });
}

#[test]
fn reading_verbs_change_nothing_in_the_database() {
    on_each(|on| {
        on.sql(FLIGHTS);
        on.file("clean/a.csv", "day,number\na,1\n").pipeline(TAGGED);
        on.semel("plan").exits(0);
        on.semel("status");
        on.semel("why load:clean/a.csv");
        let tables = match on.engine {
            super::Sqlite => "select name from sqlite_master where name like 'semel%'",
            super::Postgres => "select relname from pg_class where relname like 'semel%'",
            super::MariaDb => "show tables like 'semel%'",
        };
        assert_eq!(on.sql(tables), [""; 0]);
        on.semel("run").exits(0);
        on.semel("plan").exits(0);
        on.sql("delete from flights");
        on.semel("plan").exits(0);
        on.semel("verify");
        assert_eq!(on.sql(ROWS), [""; 0]);
        assert_eq!(on.sql("select count(*) from semel_stamp"), ["1"]);
    });
}
