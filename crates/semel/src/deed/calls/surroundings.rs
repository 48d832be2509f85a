//! Surroundings: the variables and files that bring every common client to the proxy, on top
//! of what the user had set.
//!
//! Invariant: no file here holds a secret of semel's; the secret of a task is in the
//! environment of its command, and nowhere else.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::ground::http::authority::{Authority, java_trust_store};
use crate::ground::http::trust::{BUNDLES, Trust};

/// What Python loads at its start.
const PYTHON: &str = include_str!("hooks/sitecustomize.py");

/// What Node loads before a program.
const NODE: &str = include_str!("hooks/semel-node.cjs");

/// The variables by which clients are told of a proxy. Those of one client alone win over
/// what its own file of settings says.
const PROXIES: [&str; 12] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "grpc_proxy",
    "PIP_PROXY",
    "CARGO_HTTP_PROXY",
    "npm_config_proxy",
    "npm_config_https_proxy",
    "SEMEL_PROXY",
];

/// The variables by which clients are told who is not behind a proxy.
const NO_PROXIES: [&str; 3] = ["NO_PROXY", "no_proxy", "npm_config_noproxy"];

/// The variables by which clients are told whom to trust, in one file with all, beside those
/// by which a user says so ([`BUNDLES`]).
const MORE_BUNDLES: [&str; 3] = ["npm_config_cafile", "PERL_LWP_SSL_CA_FILE", "SEMEL_CA_BUNDLE"];

/// Where wget's settings of the whole machine are.
const WGETRC_OF_ALL: [&str; 3] =
    ["/etc/wgetrc", "/usr/local/etc/wgetrc", "/opt/homebrew/etc/wgetrc"];

/// What says in wget's settings by which way to go; they win over the environment.
const WAYS_OF_WGET: [&str; 8] = [
    "useproxy",
    "httpproxy",
    "httpsproxy",
    "noproxy",
    "proxyuser",
    "proxypassword",
    "proxypasswd",
    "cacertificate",
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
    /// Where Python's hook is, if no path of Python's could name that folder.
    elsewhere: Option<tempfile::TempDir>,
    /// Whether the machine has settings of wget that we read for it.
    has_wgetrc_of_all: bool,
    /// Whether the user has more for Node to trust.
    has_more_for_node: bool,
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
        let python = folder.join("python");
        let elsewhere = if python.as_os_str().as_encoded_bytes().contains(&b':') {
            Some(tempfile::Builder::new().prefix("semel-python-").tempdir()?)
        } else {
            std::fs::create_dir(&python)?;
            None
        };
        std::fs::create_dir(folder.join("certificates"))?;
        let value = |name: &str| env.get(OsStr::new(name)).filter(|value| !value.is_empty());
        let in_home = || Some(PathBuf::from(value("HOME")?).join(".wgetrc"));
        let wgetrc = text_of(value("WGETRC").map(PathBuf::from).or_else(in_home));
        let of_all = value("SYSTEM_WGETRC").map(PathBuf::from);
        let of_all =
            of_all.or_else(|| WGETRC_OF_ALL.iter().map(PathBuf::from).find(|path| path.is_file()));
        let of_all = text_of(of_all);
        let more_for_node = text_of(value("NODE_EXTRA_CA_CERTS").map(PathBuf::from));
        let new = Self {
            folder,
            elsewhere,
            has_wgetrc_of_all: !of_all.is_empty(),
            has_more_for_node: !more_for_node.is_empty(),
        };
        // What of the user's cannot be read is told by whoever makes our own calls with it.
        let (bundle, _) = authority.bundle(trust);
        let ca = authority.ca_pem().as_bytes();
        new.put("ca.pem", ca)?;
        new.put("bundle.pem", bundle.as_bytes())?;
        new.put("trust.jks", &java_trust_store(&bundle)?)?;
        if new.has_wgetrc_of_all {
            new.put("wgetrc-of-all", &without_ways(&of_all))?;
        }
        if new.has_more_for_node {
            new.put("node.pem", &[more_for_node.as_slice(), b"\n", ca].concat())?;
        }
        let mut wgetrc = without_ways(&wgetrc);
        wgetrc.extend_from_slice(b"ca_certificate = ");
        wgetrc.extend_from_slice(new.path("bundle.pem").as_encoded_bytes());
        wgetrc.push(b'\n');
        new.put("wgetrc", &wgetrc)?;
        new.put("node.cjs", NODE.as_bytes())?;
        put(&new.python().join("sitecustomize.py"), PYTHON.as_bytes())?;
        Ok(new)
    }

    /// Where they are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn put(&self, name: &str, content: &[u8]) -> io::Result<()> {
        put(&self.folder.join(name), content)
    }

    fn path(&self, name: &str) -> OsString {
        self.folder.join(name).into_os_string()
    }

    /// The folder of Python's hook.
    fn python(&self) -> PathBuf {
        match &self.elsewhere {
            Some(folder) => folder.path().to_owned(),
            None => self.folder.join("python"),
        }
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
        let before = |name: &str| env.get(OsStr::new(name)).filter(|value| !value.is_empty());
        let mut all: Vec<(OsString, OsString)> = Vec::new();
        let mut set = |name: &str, value: OsString| all.push((name.into(), value));
        for name in PROXIES {
            set(name, url.clone());
        }
        // Which hosts go past the user's own proxy is for us to know, who go there.
        for name in NO_PROXIES {
            set(name, OsString::new());
        }
        for name in BUNDLES.iter().chain(&MORE_BUNDLES) {
            set(name, self.path("bundle.pem"));
        }
        set("SSL_CERT_DIR", self.path("certificates"));
        set("SEMEL_CA", self.path("ca.pem"));
        set("WGETRC", self.path("wgetrc"));
        if self.has_wgetrc_of_all {
            set("SYSTEM_WGETRC", self.path("wgetrc-of-all"));
        }
        // Perl's reads the proxy only then.
        set("PERL_LWP_ENV_PROXY", "1".into());
        // It would ask without the secret first, each time.
        set("GIT_HTTP_PROXY_AUTHMETHOD", "basic".into());
        for (name, value) in git_settings(env, &url) {
            set(&name, value);
        }
        set("NODE_EXTRA_CA_CERTS", {
            self.path(if self.has_more_for_node { "node.pem" } else { "ca.pem" })
        });
        let mut node = before("NODE_OPTIONS").cloned().unwrap_or_default();
        if !node.is_empty() {
            node.push(" ");
        }
        node.push("--require ");
        node.push(quoted_for_node(&self.path("node.cjs")));
        set("NODE_OPTIONS", node);
        // Node's own way, half of which our hook is for.
        set("NODE_USE_ENV_PROXY", OsString::new());
        let mut python = self.python().into_os_string();
        // Nothing behind a colon would be the folder where the command runs.
        if let Some(before) = before("PYTHONPATH") {
            python.push(":");
            python.push(before);
        }
        set("PYTHONPATH", python);
        let mut java = before("JAVA_TOOL_OPTIONS").cloned().unwrap_or_default();
        for scheme in ["http", "https"] {
            java.push(format!(
                " -D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort={}",
                ports.without_secret
            ));
        }
        // Without a word Java goes past the proxy to what is on this machine.
        java.push(" -Dhttp.nonProxyHosts= -Djavax.net.ssl.trustStoreType=JKS");
        java.push(" -Djavax.net.ssl.trustStorePassword=changeit ");
        let mut store = OsString::from("-Djavax.net.ssl.trustStore=");
        store.push(self.path("trust.jks"));
        java.push(quoted_for_java(&store));
        set("JAVA_TOOL_OPTIONS", java);
        all
    }
}

fn put(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)
}

/// What is in a file of the user's; nothing, if it cannot be read: then its client could not
/// either.
fn text_of(path: Option<PathBuf>) -> Vec<u8> {
    path.and_then(|path| std::fs::read(path).ok()).unwrap_or_default()
}

/// Settings of wget without those that lead it another way.
fn without_ways(settings: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(settings.len() + 1);
    for line in settings.split_inclusive(|byte| *byte == b'\n') {
        // In a name neither case counts, nor `-` and `_`.
        let name = line.split(|byte| *byte == b'=').next().unwrap_or_default().iter();
        let name = name.filter(|byte| !b"-_".contains(byte) && !byte.is_ascii_whitespace());
        let name: Vec<_> = name.map(u8::to_ascii_lowercase).collect();
        if !WAYS_OF_WGET.iter().any(|way| way.as_bytes() == name) {
            kept.extend_from_slice(line);
        }
    }
    if kept.last().is_some_and(|byte| *byte != b'\n') {
        kept.push(b'\n');
    }
    kept
}

/// One more setting of git, beside those that the user has said in this way. A proxy that
/// git's files name wins over the environment, and this wins over the files.
fn git_settings(env: &BTreeMap<OsString, OsString>, proxy: &OsStr) -> Vec<(String, OsString)> {
    let before = match env.get(OsStr::new("GIT_CONFIG_COUNT")) {
        Some(count) if !count.is_empty() => count.to_str().and_then(|count| count.parse().ok()),
        _ => Some(0u32),
    };
    // What is no number git itself refuses.
    let Some(before) = before else { return Vec::new() };
    vec![
        ("GIT_CONFIG_COUNT".to_owned(), (before.saturating_add(1)).to_string().into()),
        (format!("GIT_CONFIG_KEY_{before}"), "http.proxy".into()),
        (format!("GIT_CONFIG_VALUE_{before}"), proxy.to_owned()),
    ]
}

/// A word of `NODE_OPTIONS`.
fn quoted_for_node(word: &OsStr) -> OsString {
    let mut quoted = vec![b'"'];
    for byte in word.as_encoded_bytes() {
        if b"\\\"".contains(byte) {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}

/// A word of `JAVA_TOOL_OPTIONS`, in which nothing escapes: a quote stands in quotes of the
/// other kind.
fn quoted_for_java(word: &OsStr) -> OsString {
    let mut quoted = vec![b'"'];
    for byte in word.as_encoded_bytes() {
        match byte {
            b'"' => quoted.extend_from_slice(b"\"'\"'\""),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports { main: 1111, without_secret: 2222 };

    /// What a user has, and what comes of it.
    struct Scene {
        scratch: tempfile::TempDir,
        env: BTreeMap<OsString, OsString>,
    }

    impl Scene {
        fn new() -> Self {
            Self { scratch: tempfile::tempdir().unwrap(), env: BTreeMap::new() }
        }

        fn has(mut self, name: &str, value: &str) -> Self {
            self.env.insert(name.into(), value.into());
            self
        }

        fn file(&self, name: &str, text: &str) -> String {
            let path = self.scratch.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.into_os_string().into_string().unwrap()
        }

        /// The files, in a folder of this name, and the variables.
        fn made(&self, name: &str) -> (Surroundings, BTreeMap<String, String>) {
            let folder = self.scratch.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            let trust = Trust { is_instead_of_system: true, ..Trust::default() };
            let authority = Authority::new().unwrap();
            let made = Surroundings::write(&folder, &authority, &trust, &self.env).unwrap();
            let set = made.variables(&self.env, "task1", "5ec2e7", PORTS);
            let text = |value: OsString| value.into_string().unwrap();
            let set = set.into_iter().map(|(name, value)| (text(name), text(value)));
            (made, set.collect())
        }
    }

    const PROXY: &str = "http://task1:5ec2e7@127.0.0.1:1111";

    #[test]
    fn the_files_are_the_users_alone_and_hold_no_secret() {
        use std::os::unix::fs::PermissionsExt as _;
        let scene = Scene::new();
        let (made, _) = scene.made("calls");
        let mut open = vec![made.folder().to_owned()];
        let mut files = 0;
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                if entry.path().is_dir() {
                    open.push(entry.path());
                    continue;
                }
                files += 1;
                assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
                let content = std::fs::read(entry.path()).unwrap();
                assert!(!content.windows(6).any(|part| part == b"5ec2e7"), "{entry:?}");
            }
        }
        assert!(files >= 6, "{files}");
    }

    #[test]
    fn what_the_user_says_to_wget_stays_but_for_its_way() {
        let scene = Scene::new();
        let (own, of_all) = (
            scene.file(
                "own",
                "tries = 3\nHTTPS-Proxy = http://elsewhere/\nuse_proxy=off\nquiet = on",
            ),
            scene.file("all", "# http_proxy = none\nhttp_proxy = http://elsewhere/\n"),
        );
        let scene = scene.has("WGETRC", &own).has("SYSTEM_WGETRC", &of_all);
        let (made, set) = scene.made("calls");
        let bundle = made.folder().join("bundle.pem");
        assert_eq!(
            std::fs::read_to_string(&set["WGETRC"]).unwrap(),
            format!("tries = 3\nquiet = on\nca_certificate = {}\n", bundle.display())
        );
        assert_eq!(
            std::fs::read_to_string(&set["SYSTEM_WGETRC"]).unwrap(),
            "# http_proxy = none\n"
        );
    }

    #[test]
    fn settings_of_git_are_added_to_the_users() {
        let (_, set) = Scene::new().made("calls");
        assert_eq!(set["GIT_CONFIG_COUNT"], "1");
        assert_eq!((set["GIT_CONFIG_KEY_0"].as_str(), set["GIT_CONFIG_VALUE_0"].as_str()), {
            ("http.proxy", PROXY)
        });
        let (_, set) = Scene::new().has("GIT_CONFIG_COUNT", "2").made("calls");
        assert_eq!((set["GIT_CONFIG_COUNT"].as_str(), set["GIT_CONFIG_KEY_2"].as_str()), {
            ("3", "http.proxy")
        });
        assert!(!set.contains_key("GIT_CONFIG_KEY_0"));
        let (_, set) = Scene::new().has("GIT_CONFIG_COUNT", "many").made("calls");
        assert!(!set.contains_key("GIT_CONFIG_COUNT"));
    }

    #[test]
    fn what_the_user_wants_node_to_trust_it_trusts_still() {
        let scene = Scene::new();
        let more = scene.file("more.pem", "the user's");
        let scene = scene.has("NODE_EXTRA_CA_CERTS", &more);
        let (made, set) = scene.made("calls");
        let text = std::fs::read_to_string(&set["NODE_EXTRA_CA_CERTS"]).unwrap();
        let ca = std::fs::read_to_string(made.folder().join("ca.pem")).unwrap();
        assert_eq!(text, format!("the user's\n{ca}"));
    }

    #[test]
    fn folders_may_have_any_name() {
        let scene = Scene::new()
            .has("NODE_OPTIONS", "--no-warnings")
            .has("PYTHONPATH", "lib")
            .has("JAVA_TOOL_OPTIONS", "-Xmx64m");
        let (made, set) = scene.made("a \"b\" c\\d");
        let folder = made.folder().parent().unwrap().to_str().unwrap();
        assert_eq!(set["NODE_OPTIONS"], {
            format!(r#"--no-warnings --require "{folder}/a \"b\" c\\d/node.cjs""#)
        });
        let store = format!(r#""-Djavax.net.ssl.trustStore={folder}/a "'"'"b"'"'" c\d/trust.jks""#);
        let java = &set["JAVA_TOOL_OPTIONS"];
        assert!(java.starts_with("-Xmx64m -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=2222 "));
        assert!(java.ends_with(&store), "{java}\n{store}");
        assert!(!java.contains("5ec2e7"));
        // Python's path cannot name a folder with a colon.
        let (made, set) = scene.made("a:b");
        let (hook, users) = set["PYTHONPATH"].split_once(':').unwrap();
        assert_eq!(users, "lib");
        assert!(Path::new(hook).join("sitecustomize.py").is_file());
        drop(made);
        assert!(!Path::new(hook).exists());
    }
}
