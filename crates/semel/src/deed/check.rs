//! State checks: a probe of the real world is asked.
//!
//! Invariant: *cannot tell* is never *missing*. A check that errors, is killed,
//! or takes too long gives no answer.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::deed::capture::{self, Answer, Question};
use crate::deed::databases::{self, Purpose};
use crate::deed::view::{Input, StepView};
use crate::deed::{Site, command};
use crate::ground::database::{DbError, DbResult, ErrorKind, Session};
use crate::ground::world::disk::Kind;
use crate::ground::world::process::Stop;
use crate::thought::bind::Bindings;
use crate::thought::retry;
use crate::words::path::{path_of, show};
use crate::words::pipeline::{Check, Command, Probe};
use crate::words::receipt::Failure;
use crate::words::sql::{self, SqlFault};
use crate::words::task::Task;
use crate::words::template::Template;

/// How much of what a check of one task prints is looked at.
const MOST: usize = 1 << 20;

/// How much of what a check of all items prints is looked at.
const MOST_OF_ALL: usize = 1 << 28;

/// The pause before a check that does not hold yet is asked again, at first …
const SHORT_PAUSE: Duration = Duration::from_millis(50);

/// … and at last.
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// For which task a check is asked.
pub struct Asked<'a> {
    /// The step, which has a check.
    pub view: &'a StepView<'a>,
    /// The task.
    pub task: &'a Task,
    /// The inputs that its item names.
    pub own_inputs: &'a [Input],
    /// Where its outputs are.
    pub outs: &'a [PathBuf],
}

/// What is believed of an answer that was given for all items earlier in this run.
#[derive(Clone, Copy, Debug)]
pub enum Earlier {
    /// Nothing: the task was tried since.
    Void,
    /// That an item is missing; and that it is there, unless something that comes before
    /// acted later than it was given.
    Believed {
        /// When that acted last.
        since: Option<Instant>,
    },
}

/// What a check says.
enum Told {
    Holds,
    /// It does not; and what is to be said of that, if anything.
    Not(String),
}

/// The items that a check names, or why it cannot tell.
type Items = Result<HashSet<Vec<u8>>, String>;

/// What a check said of all items.
pub struct AllAnswered {
    /// When it was asked.
    at: Instant,
    items: Items,
}

/// Asks a check whether it holds.
///
/// # Errors
/// Why it cannot tell, in words.
pub fn ask(
    site: &Site<'_>,
    asked: &Asked<'_>,
    earlier: Earlier,
    stop: &Stop,
) -> Result<bool, String> {
    told(site, asked, earlier, stop).map(|told| matches!(told, Told::Holds))
}

fn told(site: &Site<'_>, asked: &Asked<'_>, earlier: Earlier, stop: &Stop) -> Result<Told, String> {
    let Some(check) = &asked.view.step.check else {
        return Err("there is none".to_owned());
    };
    let answer = match &check.probe {
        Probe::All(command) => ask_all(site, asked, check, command, earlier, stop)
            .map(|is_named| if is_named { Told::Holds } else { Told::Not(String::new()) }),
        _ => with_retries(check, stop, || ask_one(site, asked, check, stop)),
    };
    answer.map_err(|why| asked.view.mask.text(&why).into_owned())
}

/// Asks a check after the action, until it holds, for as long as it may take.
///
/// # Errors
/// That it does not hold, or cannot tell.
pub fn ask_until_it_holds(site: &Site<'_>, asked: &Asked<'_>, stop: &Stop) -> Result<(), Failure> {
    let within = asked.view.step.check.as_ref().map_or(Duration::ZERO, |check| check.within);
    let began = Instant::now();
    let mut pause = SHORT_PAUSE;
    loop {
        let answer = told(site, asked, Earlier::Void, stop);
        let left = within.saturating_sub(began.elapsed());
        // Not to be able to tell yet is as good as a no, while there is time.
        let is_last = left.is_zero() || stop.is_pulled();
        match answer {
            Ok(Told::Holds) => return Ok(()),
            Ok(Told::Not(why)) if is_last => {
                let mut text = "its check does not hold".to_owned();
                if asked.view.step.action.is_some() {
                    text.insert_str(0, "it ended well, but ");
                }
                if !why.is_empty() {
                    text.push_str(": ");
                    text.push_str(&asked.view.mask.text(&why));
                }
                return Err(Failure::BadEffect(text));
            }
            Err(why) if is_last => {
                return Err(Failure::Broken(format!("its check cannot tell: {why}")));
            }
            _ => {}
        }
        stop.wait(pause.min(left));
        pause = (pause * 2).min(LONG_PAUSE);
    }
}

/// Asks again, as often as the file says, where there is no answer.
fn with_retries<T>(
    check: &Check,
    stop: &Stop,
    mut ask: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let mut tries = 0;
    loop {
        tries += 1;
        let answer = ask();
        let pause = match &answer {
            Ok(_) => None,
            Err(_) if stop.is_pulled() => None,
            Err(_) => retry::pause(&check.retry, tries, 1.0),
        };
        match pause {
            None => return answer,
            Some(pause) => stop.wait(pause),
        }
    }
}

fn ask_one(site: &Site<'_>, asked: &Asked<'_>, check: &Check, stop: &Stop) -> Result<Told, String> {
    let Asked { view, task, own_inputs, outs } = *asked;
    let inputs = view.input_paths(own_inputs);
    let bindings = view.bindings(site, task, &inputs, outs);
    match &check.probe {
        Probe::Command { command, equals } => {
            let name = task.name(&view.step.name, &view.instance).to_string();
            let answer = run(asked.view, check, command, &bindings, &name, MOST, stop)?;
            match (answer.status, equals) {
                (0, None) => Ok(Told::Holds),
                (1, None) => Ok(Told::Not(answer.last_line())),
                (0, Some(wanted)) => {
                    let wanted = wanted.render(&bindings);
                    let said = answer.when_well()?;
                    let (said, wanted) = (said.trim_ascii_end(), wanted.trim_ascii_end());
                    Ok(match said == wanted {
                        true => Told::Holds,
                        false => Told::Not(format!("it printed `{}`", start_of(said))),
                    })
                }
                _ => Err(answer.why_not()),
            }
        }
        Probe::File { path, sha256 } => {
            // The path is not given to a command.
            let bindings = Bindings { for_command: false, ..bindings };
            let path = path_of(path.render(&bindings));
            let wanted = sha256.render(&bindings);
            match site.disk.look(&path).map_err(|error| error.to_string())? {
                None => Ok(Told::Not(format!("{} is not there", show(&path)))),
                Some(meta) if meta.kind != Kind::File => Err(format!("{} is no file", show(&path))),
                Some(meta) => {
                    let content = site.digests.content(site.disk, &path, &meta, &mut 0);
                    let digest = content.map_err(|error| error.to_string())?.digest.to_string();
                    Ok(match wanted.trim_ascii().eq_ignore_ascii_case(digest.as_bytes()) {
                        true => Told::Holds,
                        false => Told::Not(format!("{} has the SHA-256 {digest}", show(&path))),
                    })
                }
            }
        }
        Probe::Sql { db, query: text } => {
            let bindings = Bindings { for_command: false, ..bindings };
            let watch = databases::watch(stop, Some(check.timeout));
            let session = watch.and_then(|watch| site.databases.session(db, Purpose::Look, watch));
            let mut session = session.map_err(|error| error.to_string())?;
            let holds =
                query(&mut *session, text, &bindings).map_err(|error| match error.kind {
                    ErrorKind::NotThere => format!(
                        "{error}; that is an error and no \"no\": the catalogue tells what is there"
                    ),
                    _ => error.text,
                })?;
            holds.map(|holds| if holds { Told::Holds } else { Told::Not(String::new()) })
        }
        Probe::All(_) => Err("it answers for all items".to_owned()),
    }
}

/// Asks a database whether a query holds: its first row and column is there and true.
/// The inner error is that its answer is neither yes nor no.
///
/// # Errors
/// If the database cannot be asked, or does not understand it.
pub(in crate::deed) fn query(
    session: &mut dyn Session,
    query: &Template,
    bindings: &Bindings<'_>,
) -> DbResult<Result<bool, String>> {
    let not_a_query = |fault: SqlFault| {
        DbError::new(ErrorKind::Other, format!("{}: {}", fault.title, fault.label))
    };
    let statements = sql::read(session.address().engine, query).map_err(not_a_query)?;
    let statement = sql::one_query(&statements).map_err(not_a_query)?;
    let values = query.values(bindings);
    let values = statement.parameters.iter().map(|at| {
        let value = values.get(*at).map(|value| std::str::from_utf8(value));
        value.transpose().map_err(|_| {
            DbError::new(ErrorKind::Other, "a value that is not UTF-8 cannot be a parameter")
        })
    });
    let values = values.collect::<DbResult<Vec<_>>>()?;
    let rows = session.query(&statement.text, &values)?;
    let Some(answer) = rows.first().and_then(|row| row.first()) else {
        return Ok(Ok(false));
    };
    Ok(is_true(answer.as_deref()))
}

/// Whether a value is true, as SQL has it: NULL is not, and of numbers only 0 is not.
fn is_true(value: Option<&str>) -> Result<bool, String> {
    let Some(value) = value else { return Ok(false) };
    match value.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" => Ok(true),
        "" | "f" | "false" | "n" | "no" | "off" => Ok(false),
        other => match other.parse::<f64>() {
            Ok(number) => Ok(number != 0.0),
            Err(_) => Err(format!(
                "its query answered `{}`, which is neither true nor false",
                start_of(value.as_bytes())
            )),
        },
    }
}

/// Asks for all items of a step in one call: once, as long as nothing comes between.
fn ask_all(
    site: &Site<'_>,
    asked: &Asked<'_>,
    check: &Check,
    command: &Command,
    earlier: Earlier,
    stop: &Stop,
) -> Result<bool, String> {
    let Asked { view, task, .. } = *asked;
    let item = task.item.as_deref().unwrap_or_default();
    can_be_a_line(item)?;
    let ask = || {
        with_retries(check, stop, || {
            let bindings = Bindings {
                env: &view.env,
                run_id: site.run_id,
                for_command: true,
                ..Bindings::of(site.params, Some(view.step))
            };
            let name = &view.step.name;
            let answer = run(view, check, command, &bindings, name, MOST_OF_ALL, stop)?;
            let lines = answer.when_well()?;
            let lines = lines.split(|&byte| byte == b'\n');
            let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec());
            Ok(lines.collect::<HashSet<_>>())
        })
    };
    let Earlier::Believed { since } = earlier else {
        return Ok(ask()?.contains(item));
    };
    let names = |items: &Items| match items {
        Ok(items) => Ok(items.contains(item)),
        Err(why) => Err(why.clone()),
    };
    let mut answered = view.all_answered.lock().expect("nobody panics while asking");
    if let Some(answer) = &*answered {
        let is_outdated = since.is_some_and(|since| answer.at < since);
        let said = names(&answer.items);
        if said == Ok(false) || !is_outdated {
            return said;
        }
    }
    let at = Instant::now();
    let answer = answered.insert(AllAnswered { at, items: ask() });
    names(&answer.items)
}

/// An item that no line of the answer can name would never hold: what was done would
/// be done again.
fn can_be_a_line(item: &[u8]) -> Result<(), String> {
    let what = if item.contains(&b'\n') {
        "a newline in its name"
    } else if item.ends_with(b"\r") {
        "a carriage return at the end of its name"
    } else {
        return Ok(());
    };
    Err(format!("no line that it prints can be this item: it has {what}"))
}

/// What was printed, as far as it fits into a message.
fn start_of(said: &[u8]) -> String {
    const MOST: usize = 60;
    let text = String::from_utf8_lossy(said);
    let line = text.lines().next().unwrap_or_default();
    let is_all = line.len() == text.len() && line.chars().count() <= MOST;
    let start: String = line.chars().take(MOST).collect();
    if is_all { start } else { start + "…" }
}

/// The words of a check; that of a script may call the script's functions.
fn words(view: &StepView<'_>, command: &Command, bindings: &Bindings<'_>) -> Vec<OsString> {
    match (command, &view.step.script) {
        (Command::Shell { text, .. }, Some(script)) => {
            let text = OsString::from_vec(text.render_shell(bindings));
            command::words_in_script(vec!["eval".into(), text], script)
        }
        _ => command::words(command, bindings),
    }
}

fn run(
    view: &StepView<'_>,
    check: &Check,
    command: &Command,
    bindings: &Bindings<'_>,
    task: &str,
    most: usize,
    stop: &Stop,
) -> Result<Answer, String> {
    let question = Question {
        words: &words(view, command, bindings),
        folder: &view.folder,
        env: &command::env(view.step, bindings, task),
        input: None,
        limit: check.timeout,
        most,
    };
    capture::ask(&question, stop)
}
