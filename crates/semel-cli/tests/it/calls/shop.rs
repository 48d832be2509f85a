//! What the stories of calls share: a folder, a provider in it, and clients under
//! `semel proxy`.

use std::process::Command;

use semel_testkit::plain_client;
use semel_testkit::provider::Provider;
use semel_testkit::{Ran, Running, Scratch};
use serde_json::Value;

use crate::scratch;

/// A folder, and a provider.
pub(super) struct Shop {
    pub(super) folder: Scratch,
    pub(super) provider: Provider,
}

impl Shop {
    pub(super) fn new() -> Self {
        Self::at(Provider::new())
    }

    pub(super) fn at(provider: Provider) -> Self {
        Self::inside(scratch(), provider)
    }

    /// In a folder that is given.
    pub(super) fn inside(folder: Scratch, provider: Provider) -> Self {
        folder.semel("init --bare").exits(0);
        folder.file("ca.pem", Provider::ca_pem());
        Self { folder, provider }
    }

    /// With a rule, in the pipeline file.
    pub(super) fn rule(self, text: &str) -> Self {
        self.folder.pipeline(&format!("[[call]]\nmatch = 'POST */charge'\n{text}\n"));
        self
    }

    pub(super) fn charge(&self) -> String {
        self.provider.url("/charge")
    }

    /// A command under `semel proxy --name pay`.
    pub(super) fn guarded(&self, options: &[&str], command: &Command) -> Command {
        let mut semel =
            self.folder.command([&["proxy", "--name", "pay"], options, &["--"]].concat());
        semel.arg(command.get_program()).args(command.get_args());
        semel.env("SSL_CERT_FILE", self.folder.path().join("ca.pem"));
        semel
    }

    pub(super) fn proxy(&self, options: &[&str], command: &Command) -> Ran {
        self.folder.ran(self.guarded(options, command))
    }

    /// The plain client, with these words.
    pub(super) fn client(&self, words: &str) -> Command {
        let mut command = plain_client::command();
        command.arg(self.charge()).args(words.split(' '));
        command.args(["--pause", "1", "--longest-pause", "5"]);
        command
    }

    pub(super) fn pays(&self, words: &str) -> Ran {
        self.proxy(&[], &self.client(words))
    }

    /// A script of bash, under the proxy. `$URL` is where charges are made; `curl` is told to
    /// show the status behind the answer.
    pub(super) fn sh(&self, options: &[&str], script: &str) -> Ran {
        self.folder.ran(self.sh_command(options, script))
    }

    pub(super) fn sh_command(&self, options: &[&str], script: &str) -> Command {
        let mut bash = Command::new("bash");
        bash.args(["-euc", &format!("{CURL}\n{script}")]);
        let mut command = self.guarded(options, &bash);
        command.env("URL", self.charge());
        command
    }

    pub(super) fn started(&self, options: &[&str], script: &str) -> Running {
        self.folder.started(self.sh_command(options, script))
    }

    /// The calls, as they are listed.
    pub(super) fn calls(&self) -> Vec<Value> {
        let ran = self.folder.semel("calls list --json -n 1000").exits(0);
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The states of all calls, in their order.
    pub(super) fn states(&self) -> Vec<String> {
        let state = |call: &Value| call["state"].as_str().unwrap().to_owned();
        self.calls().iter().map(state).collect()
    }

    /// Why each call stands where it stands.
    pub(super) fn reason(&self) -> String {
        self.calls().iter().map(|call| format!("{}\n", call["reason"])).collect()
    }

    /// How many requests came that would charge.
    pub(super) fn seen(&self) -> usize {
        self.provider
            .look(|state| state.requests().iter().filter(|request| request.method != "GET").count())
    }
}

/// What scripts say to pay for an order, and to ask for something. They print the status.
const CURL: &str = r#"
status() { curl -s -o "${OUT:-/dev/null}" -w '%{http_code} ' "$@" || true; }
pay() { order=$1; shift; status -H 'content-type: application/json' -d "{\"order\":\"$order\"}" "$@" "$URL"; }
"#;
