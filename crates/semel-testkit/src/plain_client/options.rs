//! What the client is told on its command line.

use std::str::FromStr;
use std::time::Duration;

/// What the client is told.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) url: String,
    pub(super) orders: Vec<String>,
    pub(super) threads: usize,
    pub(super) retries: u32,
    pub(super) timeout: Duration,
    pub(super) pause: Duration,
    /// It is not waited longer than that, whatever a `Retry-After` says.
    pub(super) longest_pause: Duration,
    pub(super) key: Key,
    /// `{order}` stands for the order.
    pub(super) body: String,
    pub(super) headers: Vec<String>,
}

/// The idempotency key of a call, the same for all its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// There is none.
    None,
    /// That of the order: the next run has the same.
    Order,
    /// One drawn by lot, as SDKs do: the next run has another.
    Fresh,
}

impl Options {
    pub(super) fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                options.url = word;
                continue;
            }
            let value = words.next().ok_or(format!("{word} wants a value"))?;
            match &*word {
                "--orders" => options.orders = orders(&value)?,
                "--threads" => options.threads = number(&value)?,
                "--retries" => options.retries = number(&value)?,
                "--timeout" => options.timeout = Duration::from_millis(number(&value)?),
                "--pause" => options.pause = Duration::from_millis(number(&value)?),
                "--longest-pause" => options.longest_pause = Duration::from_millis(number(&value)?),
                "--key" if value == "order" => options.key = Key::Order,
                "--key" if value == "fresh" => options.key = Key::Fresh,
                "--body" => options.body = value,
                "--header" => options.headers.push(value),
                _ => return Err(format!("nobody knows {word} {value}")),
            }
        }
        if options.url.is_empty() || options.orders.is_empty() {
            return Err("plain_client URL --orders 1-200".to_owned());
        }
        Ok(options)
    }
}

/// Orders, and ranges of them: `1-200,17`.
fn orders(text: &str) -> Result<Vec<String>, String> {
    let mut orders = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last): (u32, u32) = (number(first)?, number(last)?);
                orders.extend((first..=last).map(|order| order.to_string()));
            }
            None => orders.push(part.to_owned()),
        }
    }
    Ok(orders)
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}
