//! SQL, as far as semel must understand it: where statements end, where parameters
//! stand, and which statements would break a transaction.
//!
//! Invariant: a placeholder is a parameter of a statement or a fault, and never a part
//! of a text; a statement that is not understood is left to the database, but one that
//! ends the transaction it stands in is never let through.

mod atomic;

use std::ops::Range;

pub use self::atomic::{Atomicity, is_atomic};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::words::database::Engine;
use crate::words::template::{Filter, Template};

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text, with a parameter in the place of each placeholder.
    pub text: String,
    /// Which placeholder of the script each parameter is.
    pub parameters: Vec<usize>,
    /// Where it stands in the script.
    pub range: Range<usize>,
    /// Its words, those of its own texts and names left out, in upper case.
    words: Vec<String>,
}

/// What is wrong with a script, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlFault {
    /// What.
    pub title: String,
    /// The bytes of the script that are at fault.
    pub range: Range<usize>,
    /// What is to be said of them.
    pub label: String,
    /// The cure.
    pub help: Vec<String>,
}

impl SqlFault {
    fn new(title: impl Into<String>, range: Range<usize>, label: impl Into<String>) -> Self {
        Self { title: title.into(), range, label: label.into(), help: Vec::new() }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

/// The statements of a script.
///
/// ```
/// use semel::words::database::Engine;
/// use semel::words::sql::read;
/// use semel::words::template::Template;
/// let script = Template::parse("delete from t where day = {{ params.day }}; select 1").unwrap();
/// let statements = read(Engine::Postgres, &script).unwrap();
/// assert_eq!(statements[0].text, "delete from t where day = $1");
/// assert_eq!(statements.len(), 2);
/// ```
///
/// # Errors
/// If a text or a comment is not closed, or a placeholder stands where no parameter
/// can.
pub fn read(engine: Engine, script: &Template) -> Result<Vec<Statement>, SqlFault> {
    let spelled = Spelled::of(engine, script)?;
    let dialect: &dyn Dialect = match engine {
        Engine::Postgres => &PostgreSqlDialect {},
        Engine::Sqlite => &SQLiteDialect {},
        Engine::MySql => &MySqlDialect {},
    };
    let tokens = Tokenizer::new(dialect, &spelled.text).tokenize_with_location();
    let tokens = tokens.map_err(|error| {
        let at = spelled.lines.offset(&spelled.text, error.location);
        let at = spelled.in_script(at);
        SqlFault::new(format!("this is not SQL: {}", error.message), at..at + 1, "from here on")
    })?;
    let mut statements = Vec::new();
    let mut current: Vec<&TokenWithSpan> = Vec::new();
    let mut nesting = Nesting::default();
    for token in &tokens {
        if token.token == Token::SemiColon && nesting.is_closed() {
            spelled.finish(engine, &current, &mut statements)?;
            current.clear();
            nesting = Nesting::default();
            continue;
        }
        nesting.take(&token.token);
        current.push(token);
    }
    spelled.finish(engine, &current, &mut statements)?;
    let bound: usize = statements.iter().map(|statement| statement.parameters.len()).sum();
    if bound < spelled.holes.len() {
        let is_bound = |at: usize| statements.iter().any(|known| known.parameters.contains(&at));
        let lost = (0..spelled.holes.len()).find(|at| !is_bound(*at)).unwrap_or_default();
        let range = spelled.holes[lost].1.clone();
        return Err(SqlFault::new(
            "a placeholder inside quotes",
            range,
            "its value is bound as a parameter, and quotes would make a text of it",
        )
        .help("take the quotes away; to put texts together:  'day ' || {{ params.day }}"));
    }
    Ok(statements)
}

/// The script with parameters in the places of its placeholders.
struct Spelled {
    text: String,
    /// Where each parameter stands in the text, and its placeholder in the script.
    holes: Vec<(Range<usize>, Range<usize>)>,
    lines: Lines,
}

impl Spelled {
    fn of(engine: Engine, script: &Template) -> Result<Self, SqlFault> {
        if let Some(hole) = script.placeholders().find(|hole| hole.filters.contains(&Filter::Raw)) {
            return Err(SqlFault::new(
                "`raw` in SQL",
                hole.range.clone(),
                "values are bound as parameters, and never pasted",
            ));
        }
        let (text, holes) = script.spell(|at| engine.parameter(at + 1));
        let lines = Lines::of(&text);
        let ranges = script.placeholders().map(|hole| hole.range.clone());
        Ok(Self { holes: holes.into_iter().zip(ranges).collect(), text, lines })
    }

    /// Where a place in the text is in the script.
    fn in_script(&self, at: usize) -> usize {
        let mut shift = 0_isize;
        for (here, there) in &self.holes {
            if at < here.end {
                break;
            }
            shift = there.end.cast_signed() - here.end.cast_signed();
        }
        at.saturating_add_signed(shift)
    }

    fn range(&self, token: &TokenWithSpan) -> Range<usize> {
        let start = self.lines.offset(&self.text, token.span.start);
        start..self.lines.offset(&self.text, token.span.end).max(start)
    }

    /// Makes a statement of its tokens, if it is not empty.
    fn finish(
        &self,
        engine: Engine,
        tokens: &[&TokenWithSpan],
        statements: &mut Vec<Statement>,
    ) -> Result<(), SqlFault> {
        let mut said =
            tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        let Some(first) = said.next() else { return Ok(()) };
        let last = said.next_back().unwrap_or(first);
        let (start, end) = (self.range(first).start, self.range(last).end);
        let place = self.in_script(start)..self.in_script(end);
        if first.token == Token::Backslash {
            return Err(SqlFault::new("a command of `psql`", place, "is for psql, and no SQL")
                .help("`\\copy … from` is what `load` does; `\\i` is a step of its own"));
        }
        let mut text = String::with_capacity(end - start);
        let (mut at, mut parameters) = (start, Vec::new());
        for token in tokens {
            let Token::Placeholder(name) = &token.token else { continue };
            let range = self.range(token);
            let hole = self.holes.iter().position(|(here, _)| here.start == range.start);
            let Some(hole) = hole else {
                let place = self.in_script(range.start)..self.in_script(range.end);
                return Err(SqlFault::new(
                    format!("`{name}` has no value"),
                    place,
                    "a parameter that nobody gives",
                )
                .help("write a placeholder:  {{ params.NAME }}"));
            };
            parameters.push(hole);
            text.push_str(&self.text[at..range.start]);
            text.push_str(&engine.parameter(parameters.len()));
            at = self.holes[hole].0.end;
        }
        text.push_str(&self.text[at..end]);
        let words = tokens.iter().filter_map(|token| match &token.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
            _ => None,
        });
        statements.push(Statement { text, parameters, range: place, words: words.collect() });
        Ok(())
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        Self([0].into_iter().chain(ends).collect())
    }

    fn offset(&self, text: &str, place: Location) -> usize {
        let line = usize::try_from(place.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(start) = self.0.get(line) else { return text.len() };
        let column = usize::try_from(place.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let rest = &text[*start..];
        rest.char_indices().nth(column).map_or(text.len(), |(at, _)| start + at)
    }
}

/// How deep in the body of a function, a procedure or a trigger: a semicolon in there
/// ends no statement.
#[derive(Default)]
struct Nesting {
    words: Vec<String>,
    depth: usize,
    /// Whether the last word was `END`, so that a word behind it belongs to it.
    has_ended: bool,
}

impl Nesting {
    fn is_closed(&self) -> bool {
        self.depth == 0
    }

    fn take(&mut self, token: &Token) {
        let Token::Word(word) = token else { return };
        if word.quote_style.is_some() {
            return;
        }
        let word = word.value.to_uppercase();
        let opens = matches!(word.as_str(), "BEGIN" | "CASE");
        if !self.makes_a_body() {
            if self.words.len() < 8 {
                self.words.push(word);
            }
            return;
        }
        let belongs_to_end = std::mem::take(&mut self.has_ended);
        if opens && !belongs_to_end {
            self.depth += 1;
        } else if word == "END" {
            self.has_ended = true;
            self.depth = self.depth.saturating_sub(1);
        } else if matches!(word.as_str(), "IF" | "LOOP" | "WHILE" | "REPEAT") && belongs_to_end {
            // `END IF` closes what was not counted as open.
            self.depth += 1;
        }
    }

    fn makes_a_body(&self) -> bool {
        let first = self.words.first().map(String::as_str);
        let makes = ["TRIGGER", "FUNCTION", "PROCEDURE", "EVENT"];
        first == Some("CREATE") && self.words.iter().any(|word| makes.contains(&word.as_str()))
    }
}

/// The only statement of a query.
///
/// # Errors
/// If there are more, or none.
pub fn one_query(statements: &[Statement]) -> Result<&Statement, SqlFault> {
    match statements {
        [only] => Ok(only),
        [] => Err(SqlFault::new("a query without a statement", 0..1, "nothing would be asked")),
        [_, second, ..] => Err(SqlFault::new(
            "a query of several statements",
            second.range.clone(),
            "a second one",
        )),
    }
}

impl Statement {
    /// Its first words.
    #[must_use]
    pub fn head(&self) -> String {
        self.words.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(engine: Engine, script: &str) -> Vec<String> {
        let script = Template::parse(script).expect("a good template");
        let statements = read(engine, &script).expect("good statements");
        statements.into_iter().map(|statement| statement.text).collect()
    }

    fn fault(engine: Engine, script: &str) -> (String, String) {
        let template = Template::parse(script).expect("a good template");
        let fault = read(engine, &template)
            .and_then(|statements| is_atomic(engine, &statements))
            .expect_err("a fault");
        (fault.title, script[fault.range].to_owned())
    }

    #[test]
    fn statements_end_where_the_database_ends_them() {
        use Engine::{MySql, Postgres, Sqlite};
        let cases: [(Engine, &str, &[&str]); 7] = [
            (
                Postgres,
                "select ';'; -- ;\n select $a$ ; $a$ ;",
                &["select ';'", "select $a$ ; $a$"],
            ),
            (Postgres, "/* a; /* b; */ */ select E'\\';'; ;", &["select E'\\';'"]),
            (
                Postgres,
                "create function f() returns int begin atomic select 1; select case when true then 2 end; end; select 3",
                &[
                    "create function f() returns int begin atomic select 1; select case when true then 2 end; end",
                    "select 3",
                ],
            ),
            (
                Sqlite,
                "create trigger t after insert on a begin update a set b = case when 1 then 2 end; end; select 1",
                &[
                    "create trigger t after insert on a begin update a set b = case when 1 then 2 end; end",
                    "select 1",
                ],
            ),
            (MySql, "select `a;b`; # ;\nselect \"x\\\";\"", &["select `a;b`", "select \"x\\\";\""]),
            (
                MySql,
                "create procedure p() begin if 1 then select 1; end if; end; select 2",
                &["create procedure p() begin if 1 then select 1; end if; end", "select 2"],
            ),
            (Sqlite, "  ", &[]),
        ];
        for (engine, script, wanted) in cases {
            assert_eq!(texts(engine, script), wanted, "{script}");
        }
    }

    #[test]
    fn placeholders_are_parameters_of_their_statement() {
        let script = "insert into t values ({{ params.a }}, {{ params.b }}); delete from u where a = {{ params.a }}";
        let numbered = ["insert into t values ($1, $2)", "delete from u where a = $1"];
        assert_eq!(texts(Engine::Postgres, script), numbered);
        let plain = ["insert into t values (?, ?)", "delete from u where a = ?"];
        assert_eq!(texts(Engine::MySql, script), plain);
        let template = Template::parse(script).expect("a good template");
        let statements = read(Engine::Sqlite, &template).expect("good statements");
        assert_eq!(statements[1].parameters, [2]);
        let second = &script[statements[1].range.clone()];
        assert_eq!(second, "delete from u where a = {{ params.a }}");
    }

    #[test]
    fn a_placeholder_that_cannot_be_a_parameter_is_a_fault() {
        for engine in [Engine::Postgres, Engine::Sqlite, Engine::MySql] {
            for script in ["select '{{ item }}'", "select 1 -- {{ item }}", "select 'a {{ item }}'"]
            {
                let (title, at) = fault(engine, script);
                assert_eq!(
                    (title.as_str(), at.as_str()),
                    ("a placeholder inside quotes", "{{ item }}"),
                    "{script}"
                );
            }
            let (title, _) = fault(engine, "select {{ item | raw }}");
            assert_eq!(title, "`raw` in SQL");
        }
        assert_eq!(fault(Engine::Postgres, "select $1").0, "`$1` has no value");
        assert_eq!(fault(Engine::MySql, "select ?").0, "`?` has no value");
        assert!(fault(Engine::Postgres, "select 'a").0.starts_with("this is not SQL"));
        assert_eq!(fault(Engine::Postgres, "\\copy t from 'x'").0, "a command of `psql`");
    }
}
