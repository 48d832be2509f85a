//! What is peculiar to SQLite: a database is a file.

use super::{APPENDED, FLIGHTS, On, ROWS, Sqlite, TAGGED};

fn scratch(steps: &str) -> On {
    let on = On::new(Sqlite);
    on.at.pipeline(&format!("[db]\nmain = 'sqlite:test.db'\n{steps}"));
    on
}

#[test]
fn a_relative_path_begins_in_the_folder_of_the_pipeline() {
    let on = scratch(TAGGED);
    on.sql(FLIGHTS);
    on.file("clean/1.csv", "day,number\na,1\n").file("elsewhere/x", "");
    let mut command = on.at.command(["run", "--file", "../semel.toml"]);
    command.current_dir(on.at.path().join("elsewhere"));
    on.at.ran(command).exits(0);
    assert_eq!(on.sql(ROWS), ["a 1"]);
    assert!(!on.at.has("elsewhere/test.db"));
    // The same file by another name is the same.
    let absolute = on.at.path().join("test.db");
    on.at.pipeline(&format!("[db]\nmain = 'sqlite:{}'\n{TAGGED}", absolute.display()));
    on.loads_nothing_again();
}

#[test]
fn only_a_run_makes_the_file() {
    let on = scratch(&format!("[step.schema]\nsql = '{FLIGHTS}'\n{TAGGED}needs = ['schema']\n"));
    on.file("clean/1.csv", "day,number\na,1\n");
    for verb in ["plan", "status", "why load:clean/1.csv", "check"] {
        on.semel(verb).keeps_silent_of("panicked");
        assert!(!on.at.has("test.db"), "`{verb}` made it");
    }
    on.semel("run").exits(0);
    assert_eq!(on.sql(ROWS), ["a 1"]);
    on.loads_nothing_again();
    // It is gone: all is done again.
    on.at.remove("test.db").semel("plan").exits(0);
    assert!(!on.at.has("test.db"));
    on.semel("run").exits(0);
    assert_eq!(on.sql(ROWS), ["a 1"]);
    on.loads_nothing_again();
}

#[test]
fn a_text_in_a_column_of_numbers_is_refused() {
    let on = scratch(APPENDED);
    on.sql("create table flights (day text, number integer);");
    on.file("clean/1.csv", "day,number\na,1\n\"b\n\",\"2\"\nc,many\n");
    let ran = on.semel("run").exits(1).says("line 5").says("number").says("many");
    assert_eq!(on.sql("select count(*) from flights"), ["0"]);
    insta::assert_snapshot!("text_for_a_number", on.shown(&ran));
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let on = scratch(APPENDED);
    on.file("clean/1.csv", "day,number\na,1\n");
    on.at.pipeline(&format!("[db]\nmain = 'sqlite:no/where/test.db'\n{APPENDED}"));
    let ran = on.semel("run").exits(5);
    insta::assert_snapshot!("no_folder", on.shown(&ran));
    on.file("text.db", "this is no database, but a text that is long enough to be one, or so it seems to those who only count its bytes");
    on.at.pipeline(&format!("[db]\nmain = 'sqlite:text.db'\n{APPENDED}"));
    let ran = on.semel("run");
    assert_ne!(ran.status, 0);
    insta::assert_snapshot!("no_database", format!("exit {}\n{}", ran.status, on.shown(&ran)));
}

#[test]
fn a_file_that_may_not_be_written_is_told() {
    let on = scratch(APPENDED);
    on.sql(FLIGHTS);
    on.file("clean/1.csv", "day,number\na,1\n");
    on.at.sh("chmod 777 .; chmod 444 test.db");
    let ran = on.at.ran(on.at.command_of_nobody(["run"]));
    assert_ne!(ran.status, 0, "{ran:?}");
    insta::assert_snapshot!("read_only_file", format!("exit {}\n{}", ran.status, on.shown(&ran)));
}

#[test]
fn a_log_of_writes_beside_the_file_changes_nothing() {
    let on = scratch(TAGGED);
    on.sql(FLIGHTS);
    let db = rusqlite::Connection::open(&on.database).unwrap();
    let _: String = db.query_row("pragma journal_mode = wal", [], |row| row.get(0)).unwrap();
    for day in 1..=5 {
        on.file(&format!("clean/{day}.csv"), format!("day,number\na,{day}\n"));
    }
    on.semel("run").exits(0);
    assert_eq!(on.sql(ROWS).len(), 5);
    on.loads_nothing_again();
}

#[test]
fn many_loads_at_once_wait_for_one_another() {
    let on = scratch(TAGGED);
    on.sql(FLIGHTS);
    for day in 0..40 {
        on.file(&format!("clean/{day}.csv"), format!("day,number\na,{day}\n"));
    }
    on.semel("run -j 8").exits(0);
    assert_eq!(on.sql("select count(*) from flights"), ["40"]);
    on.loads_nothing_again();
}
