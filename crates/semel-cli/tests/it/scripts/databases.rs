//! A step of a script that asks a database whether its effect is there.

use super::with_manifest;
use rusqlite::Connection;

/// A folder with a manifest and a database that has an empty table.
fn with_table() -> semel_testkit::Scratch {
    let scratch = with_manifest();
    Connection::open(scratch.path().join("x.db"))
        .unwrap()
        .execute_batch("create table t (a)")
        .unwrap();
    scratch
}

fn words<'a>(query: &'a str, db: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["step", "load", "--check-sql", query, "--db", db];
    words.extend(more);
    words.extend(["--", "bash", "-c", "echo x >> trace"]);
    words
}

#[test]
fn a_database_says_whether_it_is_done() {
    let scratch = with_table();
    let query = "select count(*) = 2 from t";
    scratch
        .semel_words(words(query, "sqlite:x.db", &[]))
        .exits(101)
        .says("its check does not hold");
    let db = Connection::open(scratch.path().join("x.db")).unwrap();
    db.execute_batch("insert into t values (1), (2)").unwrap();
    scratch.semel_words(words(query, "sqlite:x.db", &["-v"])).exits(0);
    scratch.semel_words(words(query, "sqlite:x.db", &["-v"])).exits(0).says("check holds");
    db.execute_batch("delete from t").unwrap();
    scratch.semel_words(words(query, "sqlite:x.db", &[])).exits(101);
}

/// F18: an error is not a no, so that nothing is done on one.
#[test]
fn an_error_of_the_database_does_nothing() {
    let scratch = with_table();
    let cases = [
        ("select count(*) from nowhere", "sqlite:x.db", "no such table"),
        ("selec", "sqlite:x.db", "syntax error"),
        ("select 'maybe'", "sqlite:x.db", "neither true nor false"),
        ("select 1", "oracle:x", "oracle"),
        ("select 1; select 2", "sqlite:x.db", "several statements"),
    ];
    for (query, db, said) in cases {
        scratch.semel_words(words(query, db, &[])).exits(105).says(said);
    }
    assert!(!scratch.has("trace"));
}

#[test]
fn a_password_is_not_said_on_a_command_line() {
    let scratch = with_manifest();
    let ran = scratch.semel_words(words("select 1", "postgres://u:hunter2@h/d", &[])).exits(105);
    assert!(!format!("{ran:?}").replace("postgres://u:hunter2@h/d", "").contains("hunter2"));
}

#[test]
fn a_relative_file_is_that_of_the_folder_in_which_it_is_said() {
    let scratch = with_manifest();
    scratch.sh("mkdir sub");
    let db = Connection::open(scratch.path().join("sub/x.db")).unwrap();
    db.execute_batch("create table t (a); insert into t values (1)").unwrap();
    let mut command = scratch.command(words("select a from t", "sqlite:x.db", &["-v"]));
    command.current_dir(scratch.path().join("sub"));
    scratch.ran(command).exits(0).says("check held already");
    assert!(!scratch.has("x.db"));
}

#[test]
fn what_does_not_go_together_is_said() {
    let scratch = with_table();
    let both = words("select 1", "sqlite:x.db", &["--check", "true"]);
    scratch.semel_words(both).exits(102);
    scratch.semel_words(["step", "a", "--check-sql", "select 1", "--", "true"]).exits(102);
    scratch.semel_words(["step", "a", "--db", "sqlite:x.db", "--", "true"]).exits(102);
    // A query says a definite no, so that what is done once may rest on it.
    let once = words("select count(*) > 0 from t", "sqlite:x.db", &["--once"]);
    scratch.semel_words(once).exits(101);
}
