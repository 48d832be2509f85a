//! What is known of well-known programs. Of all others nothing is.

use crate::words::shell::Simple;

/// What of the outside world a command reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::thought) enum Outside {
    Network,
    Database,
    Clock,
}

impl Outside {
    pub(super) const fn says(self) -> &'static str {
        match self {
            Self::Network => "asks the outside world",
            Self::Database => "asks a database",
            Self::Clock => "reads the clock",
        }
    }
}

/// What of the outside world a command reads, if it is known to.
pub(in crate::thought) fn outside(simple: &Simple) -> Option<Outside> {
    let says = |words: &[&str]| simple.plain().any(|word| words.contains(&word));
    match simple.name() {
        "curl" | "wget" | "http" | "https" | "aws" | "gsutil" | "gcloud" | "az" | "rclone"
        | "rsync" | "scp" | "sftp" | "ftp" | "lftp" | "ssh" | "dig" | "ping" | "apt"
        | "apt-get" | "dnf" | "yum" | "kubectl" | "gh" => Some(Outside::Network),
        "git" if says(&["clone", "pull", "fetch", "ls-remote"]) => Some(Outside::Network),
        "docker" | "podman" if says(&["pull"]) => Some(Outside::Network),
        name if is_client(name) => Some(Outside::Database),
        "pg_dump" | "mysqldump" | "mongodump" | "redis-cli" | "bq" => Some(Outside::Database),
        "date" if !simple.has_option(&["-d", "-r", "-f", "--date", "--reference", "--file"]) => {
            Some(Outside::Clock)
        }
        _ => None,
    }
}

/// Clients that answer a query.
pub(in crate::thought) fn is_client(name: &str) -> bool {
    matches!(name, "psql" | "mysql" | "mariadb" | "sqlite3")
}

/// Whether a command sends something that somebody may get twice.
pub(in crate::thought) fn sends(simple: &Simple) -> bool {
    let any = |wanted: &dyn Fn(&str) -> bool| simple.plain().any(wanted);
    match simple.name() {
        "curl" => {
            let method = |word: &str| {
                let method = word.trim_start_matches("-X").trim_start_matches("--request=");
                matches!(method, "POST" | "PUT" | "PATCH" | "DELETE")
            };
            let data = |word: &str| {
                word == "-d"
                    || word == "-F"
                    || word == "--json"
                    || word.starts_with("--data")
                    || word.starts_with("--form")
            };
            (any(&method) || any(&data)) && !simple.has_option(&["-G", "--get"])
        }
        "wget" => any(&|word| word.starts_with("--post-") || word.starts_with("--body-")),
        "mail" | "mailx" | "mutt" | "sendmail" | "msmtp" => true,
        "aws" => any(&|word| {
            matches!(word, "publish" | "send-email" | "send-message" | "send-raw-email")
        }),
        _ => false,
    }
}

/// Whether a command does the same for everybody who calls it so: nothing that it
/// reads can change.
pub(in crate::thought) fn is_constant(simple: &Simple) -> bool {
    if simple.redirections.iter().any(|one| one.operator == "<") {
        return false;
    }
    match simple.name() {
        "echo" | "printf" | "true" | ":" | "seq" | "mkdir" | "touch" | "set" | "cd" | "export"
        | "umask" | "}" | "for" | "done" | "fi" | "case" | "esac" | "trap" | "sleep" | "exit"
        | "return" | "break" | "continue" | "local" | "declare" | "readonly" | "unset"
        | "shift" | "wait" | "." | "source" => true,
        "" => simple.words.is_empty() || simple.command().is_empty(),
        // Filters, where a pipe or a here-document is all that they read.
        "cat" | "tee" => simple.arguments().is_empty() || simple.reads_pipe,
        "sort" | "tr" | "head" | "tail" | "wc" | "base64" | "gzip" | "shuf" => simple.reads_pipe,
        _ => false,
    }
}

/// Whether doing it twice is as good as doing it once.
pub(in crate::thought) fn is_harmless(simple: &Simple) -> bool {
    let says = |words: &[&str]| simple.plain().any(|word| words.contains(&word));
    if sends(simple) {
        return false;
    }
    match simple.name() {
        "test" | "[" | "[[" | "grep" | "egrep" | "fgrep" | "zgrep" | "diff" | "cmp" | "comm"
        | "wc" | "cat" | "head" | "tail" | "sort" | "uniq" | "cut" | "tr" | "awk" | "gawk"
        | "jq" | "ls" | "stat" | "file" | "sha256sum" | "md5sum" | "which" | "type" | "read"
        | "date" | "basename" | "dirname" | "pg_isready" | "xmllint" => true,
        "sed" => !simple.has_option(&["-i", "--in-place"]),
        "rm" | "chmod" | "chown" | "ln" | "rsync" | "rclone" | "ping" | "dig"
        | "ansible-playbook" | "apt" | "apt-get" | "dnf" | "yum" | "curl" | "wget" => true,
        "git" => says(&["pull", "fetch", "ls-remote", "status", "diff"]),
        "aws" => says(&["s3"]) && says(&["cp", "sync", "ls"]),
        "gsutil" => says(&["cp", "rsync", "ls"]),
        "docker" | "podman" => says(&["pull"]),
        "kubectl" => says(&["apply", "get", "rollout", "wait"]),
        "helm" => says(&["upgrade"]),
        "terraform" => says(&["apply", "plan", "init", "validate"]),
        "systemctl" => says(&["start", "stop", "enable", "is-active", "daemon-reload"]),
        "pip" | "pip3" | "npm" => says(&["install", "ci"]),
        _ => is_constant(simple),
    }
}

/// Programs that are built, or that read their sources from where they are
/// called; what to name for each.
pub(super) fn sources(simple: &Simple) -> Option<&'static str> {
    let says = |words: &[&str]| words.contains(&simple.verb());
    match simple.name() {
        "make" | "gmake" => Some("\"Makefile\", \"src/**\""),
        "cargo" if says(&["run", "build", "test", "bench", "install"]) => {
            Some("\"Cargo.*\", \"src/**\"")
        }
        "go" if says(&["run", "build", "test", "generate"]) => Some("\"go.*\", \"**/*.go\""),
        "npm" | "pnpm" | "yarn" if says(&["run", "test", "start", "build"]) => {
            Some("\"package*.json\", \"src/**\"")
        }
        "just" => Some("\"justfile\", \"src/**\""),
        "dbt" => Some("\"dbt_project.yml\", \"models/**\""),
        "mvn" => Some("\"pom.xml\", \"src/**\""),
        "gradle" | "gradlew" => Some("\"build.gradle*\", \"src/**\""),
        "docker" | "podman" if says(&["build"]) => Some("\"Dockerfile\", \"src/**\""),
        _ => None,
    }
}
