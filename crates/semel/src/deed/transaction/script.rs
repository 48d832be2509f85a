//! A script for a database.

use std::io::Read as _;
use std::path::Path;

use super::{Ended, Transaction};
use crate::ground::database::{DbError, DbResult, Session};
use crate::words::database::Engine;
use crate::words::path::{path_of, show};
use crate::words::pipeline::{Sql, SqlText};
use crate::words::receipt::Failure;
use crate::words::sql::{self, Atomicity, SqlFault, Statement};
use crate::words::template::Template;

/// The statements of a script, with the values of their parameters.
pub(super) struct Script {
    statements: Vec<Statement>,
    values: Vec<String>,
    pub(super) atomicity: Atomicity,
    /// Where the statements stand, to name the place of one that is wrong.
    text: String,
    named: String,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// If it cannot be read, or would break a transaction.
    pub(super) fn of(
        transaction: &Transaction<'_>,
        engine: Engine,
        action: &Sql,
    ) -> Result<Self, Ended> {
        let bindings = transaction.bindings();
        let (template, named) = match &action.text {
            SqlText::Inline(template) => (template.clone(), "its SQL".to_owned()),
            SqlText::File(path) => {
                let path = path_of(path.render(&bindings));
                let text = String::from_utf8(read(transaction, &path)?)
                    .map_err(|_| Failure::BadInput(format!("{} is not UTF-8", show(&path))))?;
                if let Some(at) = text.find("{{") {
                    let line = line_of(&text, at);
                    let what = format!(
                        "{} has `{{{{` on line {line}: placeholders are filled in where SQL stands in the pipeline file",
                        show(&path)
                    );
                    return Err(Failure::BadInput(what).into());
                }
                (Template::plain(&text), show(&path))
            }
        };
        let values = template.values(&bindings).into_iter().map(|value| {
            String::from_utf8(value).map_err(|_| {
                Ended::from(Failure::BadInput(
                    "a value that is not UTF-8 cannot be a parameter".to_owned(),
                ))
            })
        });
        let values = values.collect::<Result<_, _>>()?;
        let wrong = |fault: SqlFault| {
            let line = line_of(&template.text, fault.range.start);
            let help = fault.help.first().map(|help| format!("; {help}")).unwrap_or_default();
            let what = format!("{named}, line {line}: {}: {}{help}", fault.title, fault.label);
            Failure::Sql(what)
        };
        let statements = sql::read(engine, &template).map_err(&wrong)?;
        let atomicity = sql::is_atomic(engine, &statements).map_err(&wrong)?;
        Ok(Self { statements, values, atomicity, text: template.text, named })
    }

    /// Sends the statements, in order; gives how many rows they changed.
    pub(super) fn run(&self, session: &mut dyn Session) -> DbResult<u64> {
        let mut changed = 0;
        for statement in &self.statements {
            let values =
                statement.parameters.iter().map(|at| self.values.get(*at).map(String::as_str));
            let values: Vec<_> = values.collect();
            changed += session.execute(&statement.text, &values).map_err(|error| {
                let line = line_of(&self.text, statement.range.start);
                DbError { text: format!("{}, line {line}: {error}", self.named), ..error }
            })?;
        }
        Ok(changed)
    }
}

fn read(transaction: &Transaction<'_>, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut file =
        transaction.site().disk.open(path).map_err(|error| Failure::BadInput(error.to_string()))?;
    match file.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::BadInput(format!("{}: {error}", show(path)))),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    memchr::memchr_iter(b'\n', before).count() + 1
}
