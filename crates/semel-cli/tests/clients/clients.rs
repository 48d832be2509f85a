//! The clients: how each is started, what brings it to the proxy, and what it does alone.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use semel_testkit::provider::Act;

use crate::scene::Alone;

/// One of them.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    /// Its file in `programs`.
    program: &'static str,
    /// What runs it; the last is what has its version.
    needs: &'static [&'static str],
    /// The package whose version counts, if it is not a program of the system.
    pub(crate) package: Option<&'static str>,
    /// The path of the URL that it wants.
    pub(crate) path: String,
    /// What brings it to the proxy, for people.
    pub(crate) brought: &'static str,
    /// Which versions of HTTP it offers in TLS.
    pub(crate) http: &'static str,
    /// Whether it writes the names of headers small in HTTP/1.1, too.
    pub(crate) writes_small: bool,
    /// How it loses its answer.
    pub(crate) loses: Act,
    /// What it does then, alone.
    pub(crate) alone: Alone,
}

/// What the variables of the proxy are called in the page.
const ASKED: &str = "variables";
const PYTHON: &[&str] = &["python"];
const NODE: &[&str] = &["node-packages", "node"];

/// All of them, in the order of the page.
pub(crate) fn all() -> &'static [Client] {
    static ALL: OnceLock<Vec<Client>> = OnceLock::new();
    ALL.get_or_init(|| {
        let client = |name, program, needs| Client {
            name,
            program,
            needs,
            package: None,
            path: "/charge".to_owned(),
            brought: ASKED,
            http: "1.1",
            writes_small: false,
            loses: Act::SucceedThenReset,
            alone: Alone::Fails,
        };
        let python = |name, program, package| Client { package, ..client(name, program, PYTHON) };
        let node = |name, program, package| Client { package, ..client(name, program, NODE) };
        vec![
            Client { http: "2", ..client("curl", "curl.sh", &["curl"]) },
            Client {
                brought: "variables, `WGETRC`",
                alone: Alone::PaysTwice,
                ..client("wget", "wget.sh", &["wget"])
            },
            python("Python urllib", "python-urllib.py", None),
            Client {
                brought: "hook",
                ..python("Python http.client", "python-http-client.py", None)
            },
            Client { brought: "hook", ..python("urllib3", "python-urllib3.py", Some("urllib3")) },
            python("requests", "python-requests.py", Some("requests")),
            python("httpx", "python-httpx.py", Some("httpx")),
            Client {
                brought: "hook",
                ..python("httpx, own transport", "python-httpx-transport.py", Some("httpx"))
            },
            Client { brought: "hook", ..python("aiohttp", "python-aiohttp.py", Some("aiohttp")) },
            Client {
                path: "/v1".to_owned(),
                alone: Alone::PaysTwice,
                ..python("OpenAI (Python)", "python-openai.py", Some("openai"))
            },
            Client {
                path: "/v1".to_owned(),
                loses: Act::CutStream,
                ..python("OpenAI (Python), streamed", "python-openai-stream.py", Some("openai"))
            },
            Client {
                path: String::new(),
                alone: Alone::PaysTwice,
                ..python("Anthropic (Python)", "python-anthropic.py", Some("anthropic"))
            },
            Client {
                path: String::new(),
                brought: "variables, hook",
                ..python("Stripe (Python)", "python-stripe.py", Some("stripe"))
            },
            Client {
                path: String::new(),
                alone: Alone::PaysTwice,
                ..python("boto3", "python-boto3.py", Some("boto3"))
            },
            Client {
                brought: "hook",
                writes_small: true,
                ..node("Node fetch", "node-fetch.cjs", None)
            },
            Client { brought: "hook", ..node("Node https", "node-https.cjs", None) },
            Client { ..node("axios", "node-axios.cjs", Some("axios")) },
            Client {
                path: "/v1".to_owned(),
                brought: "hook",
                writes_small: true,
                alone: Alone::PaysTwice,
                ..node("OpenAI (Node)", "node-openai.cjs", Some("openai"))
            },
            Client {
                path: String::new(),
                brought: "hook",
                alone: Alone::TriesAgainWithKey,
                ..node("Stripe (Node)", "node-stripe.cjs", Some("stripe"))
            },
            Client {
                brought: "`JAVA_TOOL_OPTIONS`",
                http: "2",
                ..client("Java HttpClient", "JavaHttpClient.java", &["java"])
            },
            Client {
                path: "/repository.git".to_owned(),
                brought: "variables, `GIT_CONFIG_*`",
                http: "2",
                ..client("git", "git.sh", &["git-http-backend", "git"])
            },
        ]
    })
}

/// The client of this name.
pub(crate) fn client(name: &str) -> &'static Client {
    let found = all().iter().find(|client| client.name == name);
    found.unwrap_or_else(|| panic!("there is no client {name}"))
}

/// The file of a program, or of what their packages are pinned in.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/programs").join(name)
}

/// What of the clients is on this machine.
fn machine() -> &'static HashMap<String, OsString> {
    static MACHINE: OnceLock<HashMap<String, OsString>> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/clients");
        let where_they_are = Command::new(script).arg("--where").output().unwrap();
        let lines = String::from_utf8(where_they_are.stdout).unwrap();
        let pairs = lines.lines().filter_map(|line| line.split_once(' '));
        pairs.map(|(name, path)| (name.to_owned(), path.into())).collect()
    })
}

/// Says something that a test's harness does not swallow, but once.
fn say(text: &str) {
    #![allow(clippy::explicit_write, reason = "the harness swallows what eprintln says")]
    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut said = SAID.lock().unwrap();
    if !said.iter().any(|one| one == text) {
        writeln!(std::io::stderr(), "{text}").unwrap();
        said.push(text.to_owned());
    }
}

/// How a client is started, but for its URL and its order.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    pub(crate) words: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, OsString)>,
}

impl Client {
    /// A program that it needs.
    pub(crate) fn needed(&self, name: &str) -> &'static OsString {
        &machine()[name]
    }

    /// How it is started; none where it is not there, which is said.
    pub(crate) fn command(&self) -> Option<Started> {
        let machine = machine();
        let missing = self.needs.iter().find(|need| !machine.contains_key(**need));
        if let Some(missing) = missing {
            say(&format!("skipped: {}: no {missing} here (scripts/clients gets it)", self.name));
            return None;
        }
        let runner = *self.needs.last().unwrap();
        let mut words: Vec<OsString> = match runner {
            "python" | "node" => vec![machine[runner].clone()],
            // It is there for a moment only.
            "java" => vec![machine[runner].clone(), "-XX:TieredStopAtLevel=1".into()],
            _ => vec!["sh".into()],
        };
        words.push(program(self.program).into());
        let mut env: Vec<(_, OsString)> =
            SECRETS.iter().map(|(name, value)| (*name, value.into())).collect();
        if runner == "node" {
            env.push(("NODE_PATH", machine["node-packages"].clone()));
        }
        Some(Started { words, env })
    }

    /// The version here: of the package, as it is pinned, or of the program.
    pub(crate) fn version(&self) -> String {
        if let Some(package) = self.package {
            let pins = match self.program.starts_with("node") {
                true => std::fs::read_to_string(program("package.json")).unwrap().replace('"', ""),
                false => std::fs::read_to_string(program("requirements.txt")).unwrap(),
            };
            let pin = pins.lines().find_map(|line| {
                let rest = line.trim().strip_prefix(package)?;
                rest.strip_prefix("==").or_else(|| rest.strip_prefix(": "))
            });
            return pin.unwrap().trim_end_matches(',').to_owned();
        }
        let runner = *self.needs.last().unwrap();
        let said = Command::new(&machine()[runner]).arg("--version").output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let is_number = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_digit());
        let version =
            said.split_whitespace().map(|word| word.trim_start_matches('v')).find(is_number);
        version.unwrap().to_owned()
    }
}

/// What clients prove who they are with: nothing of it is to be found later.
pub(crate) const SECRETS: [(&str, &str); 5] = [
    ("OPENAI_API_KEY", "sk-clients-7d1f0a5e93"),
    ("ANTHROPIC_API_KEY", "sk-ant-clients-41b8c60d2e"),
    ("STRIPE_API_KEY", "sk_test_clients_e3f19a7b55"),
    ("AWS_ACCESS_KEY_ID", "AKIACLIENTSTEST"),
    ("AWS_SECRET_ACCESS_KEY", "aws-clients-90c2d7e814"),
];
