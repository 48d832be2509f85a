//! Figures, times and names as people read them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use semel::words::clock;
use semel::words::event::Event;
use semel::words::task::Instance;
use semel::words::thousands;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::place::Place;

/// How wide lines are.
pub(crate) const WIDTH: usize = 80;

/// A command to type next and what it does: beside it, or below where the command is
/// long, so that nobody copies the one with the other.
pub(crate) fn next(command: &str, about: &str) -> String {
    const COLUMN: usize = 26;
    let command_width = command.width();
    if command_width + 2 <= COLUMN {
        format!("    {command}{:gap$}{about}", "", gap = COLUMN - command_width)
    } else {
        format!("    {command}\n    {:COLUMN$}{about}", "")
    }
}

/// `4.1 KiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// A path in semel's own folder, from that folder on.
pub(crate) fn in_home(path: &Path) -> PathBuf {
    let inside = path.components().skip_while(|part| part.as_os_str() != semel::ground::home::NAME);
    inside.collect()
}

/// What is said of an event that concerns the run and none of its tasks, wherever a
/// run is shown; nothing of others.
pub(crate) fn notice(place: &Place, event: &Event<'_>) -> Vec<String> {
    match event {
        Event::NewMemory { .. } | Event::OldMemory { .. } | Event::Mended { .. } => memory(event),
        Event::CommandChanged { step, tasks, usual, .. } => {
            command_changed(place, &step.name, *tasks, *usual).into()
        }
        event => notice_of(event),
    }
}

/// As [`notice`], of what is the same wherever it is.
pub(crate) fn notice_of(event: &Event<'_>) -> Vec<String> {
    match event {
        Event::Waits { who, since } => {
            vec![format!("waiting for {who}; at work since {}", when_here(*since))]
        }
        Event::LeaseLost { why } => vec![format!("lost: {why}")],
        Event::Warning { text } => vec![format!("warning: {text}")],
        Event::PaidDebt { number } => {
            vec![format!("the [finally] that run {number} owed was run")]
        }
        Event::HookFailed { hook, why } => vec![format!("{hook} failed: {why}")],
        _ => Vec::new(),
    }
}

/// What is said of a memory that is new, made anew, or older than what has happened.
pub(crate) fn memory(event: &Event<'_>) -> Vec<String> {
    const REFUSE: &str = "once steps that refuse where nothing is known of a task";
    let (mut said, then, once) = match *event {
        Event::NewMemory { once, is_whole: true, lines, .. } => {
            let mut said = vec!["new memory: no manifest was here".to_owned()];
            said.extend(taken_over(lines));
            (said, "once steps that will be done as if never before", once)
        }
        Event::NewMemory { once, is_whole: false, backup, lines, .. } => {
            let mut said = vec!["new memory, though there are signs of an older one".to_owned()];
            let backup = backup.map(|made| format!("made of the backup of {}", when_here(made)));
            let knows_something = backup.is_some() || lines > 0;
            said.extend(backup);
            said.extend(taken_over(lines));
            let then = match knows_something {
                true => REFUSE,
                false => "once steps that may have been done, and refuse",
            };
            (said, then, once)
        }
        Event::OldMemory { once, lines } => {
            let first = "old memory: more was done since than this manifest knows";
            let mut said = vec![first.to_owned()];
            said.extend(taken_over(lines));
            (said, REFUSE, once)
        }
        Event::Mended { why, aside, backup, lines, once } => {
            (mended(why, aside, backup, lines), REFUSE, once)
        }
        _ => return Vec::new(),
    };
    if let Event::NewMemory { network: Some(network), .. } = event {
        said.insert(1, on_network(network));
    }
    if !once.is_empty() {
        said.push(format!("{then}: {}", once.join(", ")));
    }
    said
}

/// What is said of a memory that other machines may see, too.
pub(crate) fn on_network(name: &str) -> String {
    format!(".semel lies on {name}: one semel at a time works here")
}

fn taken_over(lines: usize) -> Option<String> {
    let many = count(lines as u64, "line");
    (lines > 0).then(|| format!("{many} of .semel/once.log taken over: begun, done, or settled"))
}

/// What is said of a manifest that was damaged; `aside` is where it is now.
fn mended(why: &str, aside: Option<&Path>, backup: Option<Timestamp>, lines: usize) -> Vec<String> {
    let backup = backup.map(|made| format!("its backup of {}", when_here(made)));
    let log = format!("{} of .semel/once.log", count(lines as u64, "line"));
    let of = [backup, (lines > 0).then_some(log)].into_iter().flatten().collect::<Vec<_>>();
    let of =
        if of.is_empty() { "nothing: no backup, no once.log".to_owned() } else { of.join(", ") };
    match aside {
        Some(aside) => vec![
            format!("the manifest was damaged: {why}"),
            format!("set aside as {}", in_home(aside).display()),
            format!("a new one was made of {of}; it may not know all"),
        ],
        None => vec![
            format!("the manifest is damaged: {why}"),
            format!("a run sets it aside, and makes a new one of {of}"),
            "this shows what it will find then".to_owned(),
        ],
    }
}

/// Whether an event tells that the memory is incomplete: that is said in any case.
pub(crate) const fn is_incomplete(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::OldMemory { .. } | Event::Mended { .. } | Event::NewMemory { is_whole: false, .. }
    )
}

/// What is said of done tasks whose command changed, before they are done again.
fn command_changed(
    place: &Place,
    step: &str,
    tasks: usize,
    usual: Option<Duration>,
) -> [String; 2] {
    let jobs = place.jobs().clamp(1, tasks.max(1));
    let about = usual.map(|usual| usual.mul_f64(tasks as f64 / jobs as f64));
    let about = about.map(|time| format!(", about {}", clock(time))).unwrap_or_default();
    let many = count(tasks as u64, "done task");
    [
        format!("{step}: its command changed; {many} to be done again{about}"),
        format!("if that does not matter:  semel run{} --keep {step}", place.again),
    ]
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", thousands(number))
}

/// `today 02:15:00`, `yesterday 02:15`, `Wed 14:02`, `15 May 14:02`.
pub(crate) fn when(time: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let (time, now) = (time.to_zoned_datetime(zone.clone()), now.to_zoned_datetime(zone.clone()));
    let days = (now.date() - time.date()).get_days();
    let format = match days {
        0 => "today %H:%M:%S",
        1 => "yesterday %H:%M",
        2..=6 => "%a %H:%M",
        _ if time.year() == now.year() => "%-d %b %H:%M",
        _ => "%-d %b %Y",
    };
    time.strftime(format).to_string()
}

/// As [`when`], now and here.
pub(crate) fn when_here(time: Timestamp) -> String {
    when(time, Timestamp::now(), &TimeZone::system())
}

/// `47 minutes`, `31 hours`, `3 days`.
pub(crate) fn length(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().unsigned_abs();
    match seconds {
        0..=119 => count(seconds, "second"),
        120..=7199 => count(seconds / 60, "minute"),
        7200..=172_799 => count(seconds / 3600, "hour"),
        _ => count(seconds / 86_400, "day"),
    }
}

/// `47 minutes ago`; of a time that a clock which lied wrote, that it is to come.
pub(crate) fn ago(time: Timestamp, now: Timestamp) -> String {
    if now.duration_since(time).as_secs() < -1 {
        return format!("{} in the future", length(time, now));
    }
    format!("{} ago", length(time, now))
}

/// `month 2013-02  region eu`, of the parameters that `per` names.
pub(crate) fn instance(per: &[String], instance: &Instance) -> String {
    let values = instance.as_str().split(',');
    let named: Vec<_> =
        per.iter().zip(values).map(|(name, value)| format!("{name} {value}")).collect();
    named.join("  ")
}

/// The name of a pipeline with its instance, as headings have them; `name` may be
/// styled.
pub(crate) fn named(name: &str, per: &[String], of: &Instance) -> String {
    let values = instance(per, of);
    let gap = if values.is_empty() { "" } else { "  " };
    format!("{name}{gap}{values}")
}

/// A text of exactly this width: padded, or without its middle.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let text = shorten(text, width);
    let pad = width.saturating_sub(text.width());
    text + &" ".repeat(pad)
}

/// A text that is no wider; it loses its middle.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    let text = visible(text);
    if text.width() <= width {
        return text;
    }
    let half = width.saturating_sub(2) / 2;
    let head = take_width(text.chars(), width.saturating_sub(2) - half);
    let tail: String = take_width(text.chars().rev(), half).chars().rev().collect();
    format!("{head}..{tail}")
}

fn take_width(chars: impl Iterator<Item = char>, width: usize) -> String {
    let mut left = width;
    chars
        .take_while(|c| {
            let wide = c.width().unwrap_or(0);
            let fits = wide <= left;
            left = left.saturating_sub(wide);
            fits
        })
        .collect()
}

/// A text without control characters.
pub(crate) fn visible(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_grouped() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(24_951), "24,951");
        assert_eq!(thousands(1_000_000), "1,000,000");
        assert_eq!(bytes(78_475), "76.6 KiB");
        assert_eq!(bytes(25), "25 bytes");
        assert_eq!((count(1, "task"), count(0, "task")), ("1 task".into(), "0 tasks".into()));
    }

    #[test]
    fn times_are_told_as_people_tell_them() {
        let zone = TimeZone::UTC;
        let time = |text: &str| -> Timestamp { text.parse().expect("a time") };
        let now = time("2026-11-23T10:00:00Z");
        let told = |text: &str| when(time(text), now, &zone);
        assert_eq!(told("2026-11-23T02:15:00Z"), "today 02:15:00");
        assert_eq!(told("2026-11-22T23:59:00Z"), "yesterday 23:59");
        assert_eq!(told("2026-11-18T14:02:00Z"), "Wed 14:02");
        assert_eq!(told("2026-05-15T14:02:00Z"), "15 May 14:02");
        assert_eq!(told("2025-05-15T14:02:00Z"), "15 May 2025");
        assert_eq!(ago(time("2026-11-23T09:13:00Z"), now), "47 minutes ago");
        assert_eq!(ago(time("2026-11-25T10:00:00Z"), now), "2 days in the future");
    }

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(shorten("clean:raw/2013-02-17.csv", 16), "clean:r..-17.csv");
        assert_eq!(fit("ab", 4), "ab  ");
        assert_eq!(shorten("a\nb", 9), "a?b");
        assert_eq!(shorten("日本語日本語", 8), "日..語");
    }
}
