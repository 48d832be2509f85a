//! A provider that loses one answer, and a folder in which a client is run, with semel or
//! alone.

use std::ffi::OsString;
use std::process::{Command, Output};

use semel_testkit::provider::{Act, Certificate, Provider};
use semel_testkit::{Ran, Scratch};

use crate::clients::{Client, SECRETS, Started};

/// The order, as the provider knows it.
pub(crate) const ORDER: &str = "17";

/// The same, so that it is found in a sentence.
const SAID: &str = "order-17";

/// What a client does when its answer is lost, and nothing stands between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alone {
    /// It fails; whoever runs it again pays again.
    Fails,
    /// It tries again by itself, and is charged twice.
    PaysTwice,
    /// It tries again by itself, with an idempotency key of its own.
    TriesAgainWithKey,
}

/// What a client is run in.
pub(crate) struct Scene {
    pub(crate) provider: Provider,
    pub(crate) scratch: Scratch,
    /// The folder above, with a name that wants to be quoted.
    _above: tempfile::TempDir,
}

impl Scene {
    /// The first answer is lost in this way.
    pub(crate) fn new(loses: Act) -> Self {
        let provider = Provider::builder()
            .tls(Certificate::Good)
            .honours_keys(true)
            .plan(move |seen| if seen.time == 1 { loses.clone() } else { Act::Ok })
            .start();
        Self::of(provider)
    }

    /// Of a provider that is another.
    pub(crate) fn of(provider: Provider) -> Self {
        let above = tempfile::Builder::new().prefix("it's a \"folder\" ").tempdir().unwrap();
        let scratch = Scratch::inside(above.path(), env!("CARGO_BIN_EXE_semel"));
        scratch.file("ca.pem", Provider::ca_pem());
        // What leads clients round semel, if it can.
        scratch.file(".wgetrc", "use_proxy = off\nhttps_proxy = http://127.0.0.1:9\n");
        scratch.file(".gitconfig", "[http]\n\tproxy = http://127.0.0.1:9\n");
        scratch.semel("init --bare").exits(0);
        Self { provider, scratch, _above: above }
    }

    /// Runs it through semel.
    pub(crate) fn guarded(&self, started: &Started, path: &str) -> Ran {
        let words = ["proxy", "--"].map(OsString::from).into_iter().chain(started.words.clone());
        let mut command = self.scratch.command(words);
        command.arg(self.provider.url(path)).arg(SAID).envs(started.env.clone());
        command.env("SSL_CERT_FILE", self.scratch.path().join("ca.pem"));
        // Who is not behind the user's proxy is guarded, too.
        command.env("NO_PROXY", "localhost");
        self.scratch.ran(command)
    }

    /// How many requests that cost were sent to the provider.
    pub(crate) fn sent(&self) -> usize {
        self.provider.requests().iter().filter(|request| request.method == "POST").count()
    }

    /// From now on a rule says that the provider honours keys.
    pub(crate) fn may_resend(&self) {
        self.may_resend_after("");
    }

    /// The same, with more in the rule.
    pub(crate) fn may_resend_after(&self, more: &str) {
        let rule = "[[call]]\nmatch = \"POST localhost/**\"\nunknown = \"resend\"\n";
        self.scratch.pipeline(&format!("{rule}key-window = \"24h\"\n{more}"));
    }

    /// A human settles all that is unknown.
    pub(crate) fn settle(&self, verb: &str) {
        self.scratch.semel(&format!("calls {verb} --unknown --because seen")).exits(0);
    }

    /// Nothing that a client proved itself with is in what semel keeps.
    pub(crate) fn no_secret_is_left(&self) {
        let mut open = vec![self.scratch.path().join(".semel")];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                if entry.path().is_dir() {
                    open.push(entry.path());
                    continue;
                }
                let content = std::fs::read(entry.path()).unwrap();
                for (name, secret) in
                    SECRETS.iter().filter(|(name, _)| *name != "AWS_ACCESS_KEY_ID")
                {
                    let is_there =
                        content.windows(secret.len()).any(|part| part == secret.as_bytes());
                    assert!(!is_there, "{name} is in {}", entry.path().display());
                }
            }
        }
    }

    /// In which version of HTTP its requests came to semel. In 2 all names are small, and
    /// semel hands on how they were written.
    pub(crate) fn http_of(&self, client: &Client) -> &'static str {
        let requests = self.provider.requests();
        let mut names = requests.iter().flat_map(|request| &request.headers);
        let is_old = names.any(|(name, _)| name.contains(|letter: char| letter.is_uppercase()));
        assert_eq!(is_old, client.http == "1.1" && !client.writes_small, "{requests:?}");
        client.http
    }
}

/// Runs it without semel, before a provider that loses its first answer.
pub(crate) fn alone(client: &Client, started: &Started) -> Alone {
    let loses = client.loses.clone();
    let provider = Provider::builder()
        .plan(move |seen| if seen.time == 1 { loses.clone() } else { Act::Ok })
        .start();
    let output = run_alone(client, started, &provider);
    let keys: Vec<_> = provider
        .requests()
        .iter()
        .map(|request| request.header("idempotency-key").map(str::to_owned))
        .collect();
    match (output.status.success(), provider.charges(ORDER)) {
        (false, 1) => Alone::Fails,
        (true, 2) if keys[0].is_some() && keys[0] == keys[1] => Alone::TriesAgainWithKey,
        (true, 2) => Alone::PaysTwice,
        other => panic!("{other:?}: {output:?}"),
    }
}

/// Runs it without semel.
pub(crate) fn run_alone(client: &Client, started: &Started, provider: &Provider) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(&started.words[0]);
    command.args(&started.words[1..]).arg(provider.url(&client.path)).arg(SAID);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", home.path());
    command.envs(started.env.clone()).current_dir(home.path()).output().unwrap()
}
