//! What would break the transaction that a script is.
//!
//! Invariant: a statement that ends the transaction it stands in, or does what none takes
//! back, is found by its first words before anything is sent.

use super::{SqlFault, Statement};
use crate::words::database::Engine;

/// What a script is to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atomicity {
    /// It is done whole or not at all.
    Whole,
    /// It changes the shape of tables in a database that commits at each such statement:
    /// half of it can be done.
    Piecemeal,
}

/// What a script is to a transaction.
///
/// # Errors
/// If a statement of it ends the transaction that it stands in, cannot stand in one, or
/// does what no transaction takes back.
pub fn is_atomic(engine: Engine, statements: &[Statement]) -> Result<Atomicity, SqlFault> {
    let Some(first) = statements.first() else {
        return Err(SqlFault::new("a script without statements", 0..1, "nothing would be done"));
    };
    for statement in statements {
        if let Some((label, help)) = breaks(engine, &statement.words) {
            let title = format!("`{}` would break the transaction", statement.head());
            let mut fault = SqlFault::new(title, statement.range.clone(), label);
            fault.help.extend(help.map(str::to_owned));
            return Err(fault);
        }
    }
    if engine != Engine::MySql {
        return Ok(Atomicity::Whole);
    }
    let commits = |statement: &&Statement| commits_implicitly(&statement.words);
    let Some(piecemeal) = statements.iter().find(commits) else {
        return Ok(Atomicity::Whole);
    };
    match statements.iter().find(|statement| !commits(statement)) {
        None => Ok(Atomicity::Piecemeal),
        Some(data) => {
            let other = if std::ptr::eq(piecemeal, first) { data } else { piecemeal };
            Err(SqlFault::new(
                format!("`{}` commits what stands before it", piecemeal.head()),
                other.range.clone(),
                "MySQL and MariaDB commit at each statement that changes the shape of tables",
            )
            .help("make two steps: one that changes tables, and one for the data"))
        }
    }
}

/// Why a statement of these words breaks the transaction that it stands in, and the cure.
fn breaks(engine: Engine, words: &[String]) -> Option<(&'static str, Option<&'static str>)> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let has = |word: &str| words.contains(&word);
    let its_own = Some("semel begins and commits: take it out");
    match words.as_slice() {
        ["COMMIT" | "ABORT", ..] | ["END"] | ["END", "TRANSACTION" | "WORK", ..] => {
            return Some(("would end it half way", its_own));
        }
        ["ROLLBACK", rest @ ..] if !rest.contains(&"TO") => {
            return Some(("would take back what came before it", its_own));
        }
        ["BEGIN", ..] | ["START", "TRANSACTION", ..] => {
            return Some(("a script is one transaction anyway", its_own));
        }
        ["PREPARE", "TRANSACTION", ..] | ["XA", ..] => {
            return Some(("would leave it open for somebody else to end", None));
        }
        ["VACUUM", ..] => return Some(("cannot stand in a transaction", OUTSIDE)),
        _ => {}
    }
    let why = match engine {
        Engine::Postgres => match words.as_slice() {
            ["CREATE" | "DROP", "DATABASE" | "TABLESPACE" | "SUBSCRIPTION", ..]
            | ["ALTER", "SYSTEM" | "TABLESPACE", ..] => "cannot stand in a transaction",
            ["CREATE" | "DROP" | "REINDEX" | "REFRESH" | "ALTER", ..] if has("CONCURRENTLY") => {
                "cannot stand in a transaction"
            }
            ["REINDEX", "DATABASE" | "SYSTEM" | "SCHEMA", ..] | ["CLUSTER"] => {
                "cannot stand in a transaction"
            }
            ["CREATE" | "ALTER", ..] if has("UNLOGGED") => {
                "an unlogged table is emptied by a crash, and the stamp would stay"
            }
            ["COPY", ..] if has("PROGRAM") => "a program's deeds are not taken back",
            ["COPY", ..] if has("STDIN") || has("STDOUT") => {
                "has nobody to talk to; a step with `load` copies a file"
            }
            ["SET", ..] if has("SYNCHRONOUS_COMMIT") => {
                "what is committed would not outlive a crash of the server"
            }
            _ => return None,
        },
        Engine::Sqlite => match words.as_slice() {
            ["ATTACH" | "DETACH", ..] => "a transaction over two files is not whole after a crash",
            ["PRAGMA", rest @ ..] if !rest.first().is_some_and(|name| HARMLESS.contains(name)) => {
                "is no part of a transaction"
            }
            _ => return None,
        },
        Engine::MySql => match words.as_slice() {
            ["LOCK" | "UNLOCK", "TABLES" | "TABLE", ..] => "commits what stands before it",
            ["SET", ..] if has("AUTOCOMMIT") || has("PASSWORD") || has("GLOBAL") => {
                "is no part of a transaction"
            }
            ["LOAD", ..] => "a step with `load` copies a file, and counts what arrives",
            ["USE", ..] => "the stamp lies in the database that `[db]` names",
            ["CALL", ..] => "a procedure may commit, and nobody would see it",
            _ => return None,
        },
    };
    Some((why, OUTSIDE))
}

const OUTSIDE: Option<&str> =
    Some("a command can do it:  run = '…'  with a `check` that sees whether it is done");

/// Pragmas that are kept with a transaction, or change nothing.
const HARMLESS: [&str; 8] = [
    "USER_VERSION",
    "APPLICATION_ID",
    "DEFER_FOREIGN_KEYS",
    "FOREIGN_KEY_CHECK",
    "INTEGRITY_CHECK",
    "QUICK_CHECK",
    "TABLE_INFO",
    "TABLE_LIST",
];

/// Whether MySQL and MariaDB commit before and after a statement of these words.
fn commits_implicitly(words: &[String]) -> bool {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["CREATE" | "DROP", "TEMPORARY", ..] => false,
        [
            "CREATE" | "DROP" | "ALTER" | "TRUNCATE" | "RENAME" | "GRANT" | "REVOKE" | "ANALYZE"
            | "OPTIMIZE" | "REPAIR" | "CHECK" | "CACHE" | "FLUSH" | "RESET" | "INSTALL"
            | "UNINSTALL" | "PURGE",
            ..,
        ] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::sql::read;
    use crate::words::template::Template;

    #[test]
    fn what_would_break_a_transaction_is_refused() {
        use Engine::{MySql, Postgres, Sqlite};
        let refused = [
            (Postgres, "insert into t values (1); commit; insert into t values (2)"),
            (Postgres, "begin; select 1"),
            (Postgres, "rollback"),
            (Postgres, "end"),
            (Postgres, "vacuum t"),
            (Postgres, "create index concurrently i on t (a)"),
            (Postgres, "create unlogged table t (a int)"),
            (Postgres, "copy t to program 'mail'"),
            (Postgres, "copy t from stdin"),
            (Postgres, "set local synchronous_commit = off"),
            (Sqlite, "attach 'x.db' as x"),
            (Sqlite, "pragma journal_mode = off"),
            (Sqlite, "commit"),
            (MySql, "lock tables t write"),
            (MySql, "set autocommit = 1"),
            (MySql, "start transaction"),
            (MySql, "create table t (a int); insert into t values (1)"),
            (MySql, "call p()"),
        ];
        for (engine, script) in refused {
            let template = Template::parse(script).expect("a good template");
            let statements = read(engine, &template).expect("good statements");
            assert!(is_atomic(engine, &statements).is_err(), "{script}");
        }
        let fine = [
            (Postgres, "savepoint a; insert into t values (1); rollback to a", Atomicity::Whole),
            (
                Postgres,
                "create table t (a int, \"commit\" int); comment on table t is 'commit'",
                Atomicity::Whole,
            ),
            (Sqlite, "pragma user_version = 3; create table t (a)", Atomicity::Whole),
            (MySql, "create table t (a int); create index i on t (a)", Atomicity::Piecemeal),
            (
                MySql,
                "create temporary table x (a int); insert into t select * from x",
                Atomicity::Whole,
            ),
        ];
        for (engine, script, wanted) in fine {
            let template = Template::parse(script).expect("a good template");
            let statements = read(engine, &template).expect("good statements");
            assert_eq!(is_atomic(engine, &statements), Ok(wanted), "{script}");
        }
    }
}
