//! Surroundings: the variables and files that bring every common client to the proxy, on top
//! of what the user had set.
//!
//! Invariant: no file here holds a secret of semel's; the secret of a task is in the
//! environment of its command, and nowhere else.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::ground::http::authority::{Authority, java_trust_store};
use crate::ground::http::trust::Trust;

/// What Python loads at its start.
const PYTHON: &str = include_str!("hooks/sitecustomize.py");

/// What Node loads before a program.
const NODE: &str = include_str!("hooks/semel-node.cjs");

/// The variables by which clients are told of a proxy.
const PROXIES: [&str; 7] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "grpc_proxy",
];

/// The variables by which clients are told whom to trust, in one file with all.
const BUNDLES: [&str; 14] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "HTTPLIB2_CA_CERTS",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "NIX_SSL_CERT_FILE",
    "HEX_CACERTS_PATH",
    "DENO_CERT",
    "npm_config_cafile",
];

/// The ports of a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// Where all come who say a secret.
    pub(super) main: u16,
    /// Where clients come that can say none.
    pub(super) without_secret: u16,
}

/// The files, in the folder of this process.
pub(super) struct Surroundings {
    folder: PathBuf,
}

impl Surroundings {
    /// Writes them.
    pub(super) fn write(
        folder: &Path,
        authority: &Authority,
        trust: &Trust,
        env: &BTreeMap<OsString, OsString>,
    ) -> io::Result<Self> {
        // Commands run in folders of their own.
        let folder = std::path::absolute(folder)?;
        let new = Self { folder };
        for name in ["python", "certificates"] {
            std::fs::create_dir(new.folder.join(name))?;
        }
        let (bundle, _) = authority.bundle(trust);
        new.put("ca.pem", authority.ca_pem().as_bytes())?;
        new.put("bundle.pem", bundle.as_bytes())?;
        new.put("trust.jks", &java_trust_store(&bundle)?)?;
        new.put("wgetrc", &new.wgetrc(env))?;
        new.put("node.cjs", NODE.as_bytes())?;
        new.put("python/sitecustomize.py", PYTHON.as_bytes())?;
        Ok(new)
    }

    /// Where they are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn put(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.folder.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content)
    }

    fn path(&self, name: &str) -> OsString {
        self.folder.join(name).into_os_string()
    }

    /// What the user says to wget, and whom it trusts.
    fn wgetrc(&self, env: &BTreeMap<OsString, OsString>) -> Vec<u8> {
        let own = env.get(OsStr::new("WGETRC")).map(PathBuf::from);
        let own = own.or_else(|| Some(PathBuf::from(env.get(OsStr::new("HOME"))?).join(".wgetrc")));
        let mut text = own.and_then(|own| std::fs::read(own).ok()).unwrap_or_default();
        text.extend_from_slice(b"\nca_certificate = ");
        text.extend_from_slice(self.path("bundle.pem").as_encoded_bytes());
        text.extend_from_slice(b"\nuse_proxy = on\n");
        text
    }

    /// The variables for a task; `env` is what the user has.
    pub(super) fn variables(
        &self,
        env: &BTreeMap<OsString, OsString>,
        name: &str,
        secret: &str,
        ports: Ports,
    ) -> Vec<(OsString, OsString)> {
        let url = OsString::from(format!("http://{name}:{secret}@127.0.0.1:{}", ports.main));
        let mut all: Vec<(OsString, OsString)> = Vec::new();
        let mut set = |name: &str, value: OsString| all.push((name.into(), value));
        for name in PROXIES {
            set(name, url.clone());
        }
        // Which hosts go past the user's own proxy is for us to know, who go there.
        for name in ["NO_PROXY", "no_proxy"] {
            set(name, OsString::new());
        }
        for name in BUNDLES {
            set(name, self.path("bundle.pem"));
        }
        set("SSL_CERT_DIR", self.path("certificates"));
        set("NODE_EXTRA_CA_CERTS", self.path("ca.pem"));
        set("WGETRC", self.path("wgetrc"));
        set("SEMEL_PROXY", url);
        set("SEMEL_CA", self.path("ca.pem"));
        set("SEMEL_CA_BUNDLE", self.path("bundle.pem"));
        let before =
            |name: &str| env.get(OsStr::new(name)).filter(|value| !value.is_empty()).cloned();
        let mut node = before("NODE_OPTIONS").unwrap_or_default();
        if !node.is_empty() {
            node.push(" ");
        }
        node.push("--require ");
        node.push(quoted(&self.path("node.cjs")));
        set("NODE_OPTIONS", node);
        // Node's own way, half of which our hook is for.
        set("NODE_USE_ENV_PROXY", OsString::new());
        let mut python = self.path("python");
        if let Some(before) = before("PYTHONPATH") {
            python.push(":");
            python.push(before);
        }
        set("PYTHONPATH", python);
        let mut java = before("JAVA_TOOL_OPTIONS").unwrap_or_default();
        for scheme in ["http", "https"] {
            java.push(format!(
                " -D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort={}",
                ports.without_secret
            ));
        }
        java.push(" -Dhttp.nonProxyHosts= -Djavax.net.ssl.trustStorePassword=changeit ");
        let mut store = OsString::from("-Djavax.net.ssl.trustStore=");
        store.push(self.path("trust.jks"));
        java.push(quoted(&store));
        set("JAVA_TOOL_OPTIONS", java);
        all
    }
}

/// A word of a list of options, where it may have blanks.
fn quoted(word: &OsStr) -> OsString {
    if !word.as_encoded_bytes().contains(&b' ') {
        return word.to_owned();
    }
    let mut quoted = OsString::from("\"");
    quoted.push(word);
    quoted.push("\"");
    quoted
}
