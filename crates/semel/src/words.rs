//! Words: plain data, and nothing that touches the world.

pub mod call;
pub mod database;
pub mod digest;
pub mod event;
pub mod evidence;
pub mod fingerprint;
pub mod guard;
pub mod journal;
pub mod once;
pub mod path;
pub mod pipeline;
pub mod receipt;
pub mod row_stamp;
pub mod rows;
pub mod run;
pub mod shell;
pub mod sql;
pub mod stamp;
pub mod task;
pub mod template;
pub mod verdict;

/// The known word that was probably meant.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (typed.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(typed, word), word))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// A number as people read it: `24,951`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time as people read it: `0:47`, `1:02:03`; under ten seconds
/// with a decimal: `1.2 s`.
#[must_use]
pub fn clock(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 10 {
        return format!("{:.1} s", time.as_secs_f64());
    }
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Reads a length of time as people write it: `90s`, `1m30s`, `26h`, `2d`. A day
/// has 24 hours.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(semel::words::duration("1m30s"), Some(Duration::from_secs(90)));
/// assert_eq!(semel::words::duration("soon"), None);
/// ```
#[must_use]
pub fn duration(text: &str) -> Option<std::time::Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
    duration.try_into().ok()
}
