//! What the server tells of its tables.

use super::feed::Fit;
use crate::ground::database::{Column, DbError, DbResult, ErrorKind, Row, Table};
use crate::words::database::Engine;

/// The tables of the database that is connected to.
pub(super) const ALL: &str = "select table_name from information_schema.tables \
     where table_schema = database() and table_type in ('BASE TABLE', 'SYSTEM VERSIONED') \
     order by table_name";

/// A table to ask about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct About {
    database: Option<String>,
    name: String,
}

impl About {
    /// Of a name as it stands in a statement, qualified or not, each part quoted or not;
    /// `None` if it cannot stand there.
    pub(super) fn of(name: &str) -> Option<Self> {
        let (first, rest) = part(name)?;
        match rest.strip_prefix('.') {
            None => rest.is_empty().then_some(Self { database: None, name: first }),
            Some(rest) => {
                let (second, rest) = part(rest)?;
                rest.is_empty().then_some(Self { database: Some(first), name: second })
            }
        }
    }

    /// The statement that asks for its kind, its engine and when it was made. The time is
    /// counted in seconds, since a date would be another in another time zone.
    pub(super) fn table(&self) -> String {
        format!(
            "select t.table_type, t.engine, unix_timestamp(t.create_time), e.transactions \
             from information_schema.tables t \
             left join information_schema.engines e on e.engine = t.engine \
             where {}",
            self.condition("t.")
        )
    }

    /// The statement that asks for its columns.
    pub(super) fn columns(&self) -> String {
        format!(
            "select column_name, column_type, extra, is_nullable, data_type \
             from information_schema.columns where {} order by ordinal_position",
            self.condition("")
        )
    }

    fn condition(&self, of: &str) -> String {
        let database = match &self.database {
            Some(database) => Engine::MySql.literal(database),
            None => "database()".to_owned(),
        };
        let name = Engine::MySql.literal(&self.name);
        format!("{of}table_schema = {database} and {of}table_name = {name}")
    }
}

/// The first part of a qualified name, and what comes after it.
fn part(name: &str) -> Option<(String, &str)> {
    let quote = name.chars().next()?;
    if !matches!(quote, '`' | '"') {
        let end = name.find('.').unwrap_or(name.len());
        return (end > 0).then(|| (name[..end].to_owned(), &name[end..]));
    }
    let mut text = String::new();
    let mut rest = &name[1..];
    loop {
        let end = rest.find(quote)?;
        text.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(quote) {
            // A quote that is doubled is one of the name.
            Some(after) => {
                text.push(quote);
                rest = after;
            }
            None => return (!text.is_empty()).then_some((text, rest)),
        }
    }
}

/// A table, as the two statements told of it.
pub(super) fn read(found: &Row, columns: Vec<Row>) -> Table {
    let text = |place: usize| found.get(place).and_then(Option::as_deref).unwrap_or_default();
    let (kind, engine, transactions) = (text(0), text(1), text(3));
    let not_atomic = match kind {
        "BASE TABLE" | "SYSTEM VERSIONED" if engine.eq_ignore_ascii_case("InnoDB") => None,
        "BASE TABLE" | "SYSTEM VERSIONED" if transactions == "YES" => {
            Some(format!("its engine is {engine}, and only InnoDB is known to keep all together"))
        }
        "BASE TABLE" | "SYSTEM VERSIONED" => {
            Some(format!("its engine is {engine}, which has no transactions"))
        }
        "VIEW" | "SYSTEM VIEW" => Some("it is a view".to_owned()),
        kind => Some(format!("it is a {}", kind.to_lowercase())),
    };
    let columns = columns.into_iter().map(|row| {
        let [name, of, extra] = first_three(row);
        Column { name, of, is_generated: is_generated(&extra) }
    });
    Table { columns: columns.collect(), identity: text(2).to_owned(), not_atomic }
}

fn first_three(row: Row) -> [String; 3] {
    let mut texts = row.into_iter().map(Option::unwrap_or_default);
    std::array::from_fn(|_| texts.next().unwrap_or_default())
}

/// Whether a column is computed. `DEFAULT_GENERATED` is something else: a default that is
/// an expression.
fn is_generated(extra: &str) -> bool {
    ["VIRTUAL", "STORED", "PERSISTENT"].iter().any(|way| extra.to_uppercase().contains(way))
}

/// What a column takes, by what was told of all of them.
pub(super) fn fit(name: &str, columns: &[Row]) -> DbResult<Fit> {
    let found = columns.iter().find(|row| {
        // Names of columns have no case.
        row[0].as_ref().is_some_and(|known| known.to_lowercase() == name.to_lowercase())
    });
    let Some(found) = found else {
        let text = format!("there is no column {name}");
        return Err(DbError::new(ErrorKind::NotThere, text));
    };
    let text = |place: usize| found[place].as_deref().unwrap_or_default().to_lowercase();
    let (of, extra, nullable, data_type) = (text(1), text(2), text(3), text(4));
    let is_bits = data_type == "bit";
    Ok(Fit {
        name: name.to_owned(),
        is_boolean: is_bits || of.starts_with("tinyint(1)"),
        is_whole: is_bits
            || matches!(
                data_type.as_str(),
                "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint"
            ),
        is_bits,
        second_digits: matches!(data_type.as_str(), "datetime" | "timestamp" | "time")
            .then(|| second_digits(&of)),
        words: matches!(data_type.as_str(), "enum" | "set")
            .then(|| words(found[1].as_deref().unwrap_or_default())),
        makes_null_now: data_type == "timestamp" && nullable == "no",
        counts: extra.contains("auto_increment"),
    })
}

/// How many digits after the second a type has: the 3 of `datetime(3)`.
fn second_digits(of: &str) -> usize {
    let digits = of.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    digits.and_then(|(digits, _)| digits.parse().ok()).unwrap_or_default()
}

/// The words of a type that are numbers: `1` and `2` of `enum('1','2','many')`. No quote
/// is in them.
fn words(of: &str) -> Vec<String> {
    let inner = of.split_once('(').map_or("", |(_, rest)| rest).trim_end_matches(')');
    inner.split(',').map(|word| word.trim_matches('\'').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(database: Option<&str>, name: &str) -> Option<About> {
        Some(About { database: database.map(str::to_owned), name: name.to_owned() })
    }

    #[test]
    fn a_name_is_read_as_the_server_would() {
        assert_eq!(About::of("flights"), about(None, "flights"));
        assert_eq!(About::of("air.flights"), about(Some("air"), "flights"));
        assert_eq!(About::of("`air`.`fli``ghts.x`"), about(Some("air"), "fli`ghts.x"));
        assert_eq!(About::of("air.`flights`"), about(Some("air"), "flights"));
        for wrong in ["", ".", "a.", ".a", "a.b.c", "`a", "``", "`a`b"] {
            assert_eq!(About::of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_type_is_taken_apart() {
        assert_eq!(second_digits("datetime(3)"), 3);
        assert_eq!(second_digits("time"), 0);
        assert_eq!(words("enum('1','20','a')"), ["1", "20", "a"]);
    }

    #[test]
    fn a_default_that_is_an_expression_can_be_written_to() {
        assert!(is_generated("STORED GENERATED"));
        assert!(is_generated("VIRTUAL GENERATED INVISIBLE"));
        assert!(!is_generated("DEFAULT_GENERATED on update CURRENT_TIMESTAMP"));
        assert!(!is_generated("auto_increment"));
    }
}
