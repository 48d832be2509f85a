//! A plain client of a paid provider: what scripts do today. It posts one request an
//! order, and sends it again where the SDKs would: after an error of the connection, a
//! time-out, 408, 409, 429 and from 500 on, twice unless told otherwise.
//!
//! ```text
//! plain_client URL --orders 1-200 [--threads 8] [--retries 2] [--timeout MS] [--pause MS]
//!              [--longest-pause MS] [--key order | fresh] [--body TEXT] [--header 'Name: value']…
//! ```
//!
//! It goes through the proxy of `http_proxy` or `HTTP_PROXY`, `https_proxy` or
//! `HTTPS_PROXY`, with the name and password in it, and trusts `SSL_CERT_FILE` alone. It
//! prints a line for each order, and exits with 0 only if each got a 2xx.
//!
//! It is a binary of this crate. The tests of others become it themselves: a test named
//! `plain_client`, at the root of its binary, calls [`become_client`], and [`command`]
//! starts that.
//!
//! ```text
//! #[test]
//! fn plain_client() {
//!     semel_testkit::plain_client::become_client();
//! }
//!
//! plain_client::command().args([&url, "--orders", "1-200"]).status()
//! ```

mod options;
mod send;

use std::io::{Read as _, Write as _};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use options::{Key, Options};
use send::{Answer, Caller};

/// The words by which a test binary is told to become the client: the harness runs one
/// test, and what comes behind the last of them is ours.
const WORDS: [&str; 5] = ["plain_client", "--exact", "--nocapture", "--test-threads=1", "--"];

/// The command that becomes the client; what it is to do is added as arguments.
///
/// # Panics
/// If the test does not know its own binary.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its own binary"));
    command.args(WORDS);
    command
}

/// The words of [`command`], for a pipeline file or a script: the path is quoted for a
/// shell.
///
/// # Panics
/// If the test does not know its own binary, or its path is no text.
#[must_use]
pub fn words() -> String {
    let own = std::env::current_exe().expect("a test knows its own binary");
    format!("'{}' {}", own.to_str().expect("its path is a text"), WORDS.join(" "))
}

/// Becomes the client, in a process that [`command`] has started; does nothing in another.
pub fn become_client() {
    let mut words = std::env::args().skip_while(|word| word != "--").skip(1).peekable();
    if words.peek().is_some() {
        std::process::exit(i32::from(!run(words)));
    }
}

/// What the binary does: reads its arguments, and sends.
pub fn main() -> ExitCode {
    if run(std::env::args().skip(1)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Sends one request an order. Whether each got a 2xx.
fn run(words: impl Iterator<Item = String>) -> bool {
    let options = match Options::read(words) {
        Ok(options) => options,
        Err(fault) => {
            say(&fault);
            return false;
        }
    };
    let caller = match Caller::new(&options) {
        Ok(caller) => caller,
        Err(fault) => {
            say(&fault);
            return false;
        }
    };
    let (orders, all_well) = (Mutex::new(options.orders.iter()), AtomicBool::new(true));
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let next = orders.lock().unwrap().next();
                    let Some(order) = next else { return };
                    if !pay(&options, &caller, order) {
                        all_well.store(false, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    all_well.into_inner()
}

/// Sends the request of an order, as often as it takes or as is allowed. Whether it got
/// a 2xx.
fn pay(options: &Options, caller: &Caller, order: &str) -> bool {
    let key = match options.key {
        Key::None => None,
        Key::Order => Some(format!("order-{order}")),
        Key::Fresh => Some(fresh_key()),
    };
    let mut pause = options.pause;
    for request in 1..=options.retries + 1 {
        let answered = caller.send(order, key.as_deref());
        let said = match &answered {
            Ok(answer) => answer.status.to_string(),
            Err(error) => error.to_string(),
        };
        if let Ok(Answer { status: 200..=299, .. }) = answered {
            say(&format!("order {order}: {said} after {request}"));
            return true;
        }
        if request > options.retries || !is_retried(answered.as_ref().ok()) {
            say(&format!("order {order}: failed after {request}: {said}"));
            return false;
        }
        std::thread::sleep(answered.ok().and_then(|answer| answer.retry_after).map_or(
            pause,
            // It is no longer than a test can wait.
            |after| after.min(options.longest_pause),
        ));
        pause = (pause * 2).min(options.longest_pause);
    }
    false
}

/// Whether the SDKs would send again what was answered so, or not at all.
fn is_retried(answer: Option<&Answer>) -> bool {
    let Some(answer) = answer else { return true };
    answer.should_retry.unwrap_or(matches!(answer.status, 408 | 409 | 429 | 500..))
}

/// A key that no other call has.
fn fresh_key() -> String {
    let mut bytes = [0; 16];
    let mut random = std::fs::File::open("/dev/urandom").expect("there is chance");
    random.read_exact(&mut bytes).expect("it does not end");
    format!("stainless-retry-{:032x}", u128::from_ne_bytes(bytes))
}

/// Prints a line, whole: threads do not mix theirs. Whoever has read enough hinders nobody.
fn say(line: &str) {
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}

/// What it does if it is not told.
impl Default for Options {
    fn default() -> Self {
        Self {
            url: String::new(),
            orders: Vec::new(),
            threads: 8,
            retries: 2,
            timeout: Duration::from_secs(600),
            pause: Duration::from_millis(5),
            longest_pause: Duration::from_millis(100),
            key: Key::None,
            body: r#"{"order": "{order}", "amount": 3}"#.to_owned(),
            headers: Vec::new(),
        }
    }
}
