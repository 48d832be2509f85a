//! What a pipeline file says, before names are resolved and rules are asked.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use super::value::{Placed, Written};
use super::{Body, Digested, Durability, Expect, Http, InPlace, Json, Method, Retry, Same, Span};
use crate::words::call::{Calls, Rule};
use crate::words::rows::{Format, Packing};

/// What the file says.
#[derive(Default)]
pub(super) struct PipelineDraft {
    pub(super) name: Option<Placed<String>>,
    pub(super) about: Option<String>,
    pub(super) per: Vec<Placed<String>>,
    pub(super) params: Vec<ParamDraft>,
    pub(super) jobs: Option<NonZeroUsize>,
    pub(super) by_file: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) durability: Durability,
    pub(super) shell: Option<Vec<String>>,
    pub(super) prelude: Option<Placed<String>>,
    pub(super) databases: Vec<DatabaseDraft>,
    pub(super) steps: Vec<StepDraft>,
    pub(super) calls: Vec<CallDraft>,
    pub(super) finally: Option<HookDraft>,
    pub(super) on_failure: Option<HookDraft>,
    pub(super) on_success: Option<HookDraft>,
    pub(super) was: Vec<Placed<String>>,
    pub(super) refuses_fresh_memory: bool,
}

/// A database that the file gives a name.
pub(super) struct DatabaseDraft {
    pub(super) name: String,
    pub(super) url: Written,
}

/// A parameter, and where its value comes from: one of the three, if the file is
/// right.
#[derive(Default)]
pub(super) struct ParamDraft {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) about: Option<String>,
    pub(super) value: Option<String>,
    pub(super) required: bool,
    pub(super) command: Option<CommandDraft>,
}

/// What the file says of the calls that match a pattern.
pub(super) struct CallDraft {
    /// The rule, for all calls where it does not say for which.
    pub(super) rule: Rule,
    /// The keys that it has, and where their values stand.
    pub(super) said: Vec<(String, Span)>,
    /// Whether all of it could be read.
    pub(super) is_whole: bool,
    pub(super) span: Span,
}

impl CallDraft {
    /// Where it says a key; all of it where it does not.
    pub(super) fn place(&self, key: &str) -> &Span {
        self.said.iter().find(|(said, _)| said == key).map_or(&self.span, |(_, span)| span)
    }

    pub(super) fn says(&self, key: &str) -> bool {
        self.said.iter().any(|(said, _)| said == key)
    }
}

/// What accompanies the end of a run: one of the two, if the file is right.
#[derive(Default)]
pub(super) struct HookDraft {
    pub(super) command: Option<CommandDraft>,
    pub(super) http: Option<HttpDraft>,
    pub(super) timeout: Option<Duration>,
    pub(super) span: Span,
}

/// What the file says of a step.
#[derive(Default)]
pub(super) struct StepDraft {
    pub(super) name: String,
    pub(super) span: Span,
    /// Whether all of it could be read; if not, what is missing may only be
    /// what was misspelt.
    pub(super) is_whole: bool,
    pub(super) about: Option<String>,
    pub(super) per: Option<Vec<Placed<String>>>,
    pub(super) each: Option<EachDraft>,
    pub(super) inputs: Vec<InputDraft>,
    pub(super) digest: Option<Placed<Digested>>,
    pub(super) outs: Vec<OutDraft>,
    pub(super) in_place: Option<Placed<InPlace>>,
    pub(super) actions: Vec<Placed<ActDraft>>,
    pub(super) calls: Option<Placed<Calls>>,
    pub(super) cleanup: Option<Placed<CommandDraft>>,
    pub(super) dir: Option<Written>,
    pub(super) shell: Option<Vec<String>>,
    pub(super) prelude: Option<Placed<String>>,
    pub(super) needs: Vec<Placed<String>>,
    pub(super) after: Vec<Placed<String>>,
    pub(super) check: Option<CheckDraft>,
    pub(super) once: bool,
    pub(super) once_span: Span,
    pub(super) safe_exits: Option<Placed<Vec<i32>>>,
    pub(super) expect: Option<Expect>,
    pub(super) version: Option<String>,
    pub(super) max_age: Option<Placed<Duration>>,
    pub(super) deterministic: Option<Placed<bool>>,
    pub(super) same: Option<Placed<Same>>,
    pub(super) env: Vec<(String, Written)>,
    pub(super) env_counts: Vec<String>,
    pub(super) secret_env: Vec<Placed<String>>,
    pub(super) retry: Option<Placed<Retry>>,
    pub(super) timeout: Option<Placed<Duration>>,
    pub(super) jobs: Option<Placed<NonZeroUsize>>,
    pub(super) max_failures: Option<Placed<NonZeroU64>>,
    pub(super) ordered: Option<Placed<bool>>,
    pub(super) was: Vec<Placed<String>>,
}

#[derive(Default)]
pub(super) struct EachDraft {
    pub(super) sources: Vec<Placed<EachSourceDraft>>,
    pub(super) name: Option<Placed<String>>,
    pub(super) span: Span,
    pub(super) may_be_empty: bool,
    pub(super) may_shrink: bool,
}

pub(super) enum EachSourceDraft {
    Files(Written),
    FilesFrom(Written),
    Lines(Written),
    Csv(Written),
    Json(Written),
    Command(CommandDraft),
    OutputsOf(Placed<String>),
    ItemsOf(Placed<String>),
}

impl EachSourceDraft {
    /// The path or pattern that it names.
    pub(super) const fn path(&self) -> Option<&Written> {
        match self {
            Self::Files(path)
            | Self::FilesFrom(path)
            | Self::Lines(path)
            | Self::Csv(path)
            | Self::Json(path) => Some(path),
            Self::Command(_) | Self::OutputsOf(_) | Self::ItemsOf(_) => None,
        }
    }

    /// The step that it takes its items from.
    pub(super) const fn step(&self) -> Option<&Placed<String>> {
        match self {
            Self::OutputsOf(step) | Self::ItemsOf(step) => Some(step),
            _ => None,
        }
    }
}

pub(super) struct InputDraft {
    pub(super) key: Option<String>,
    pub(super) source: InputSourceDraft,
    pub(super) span: Span,
}

pub(super) enum InputSourceDraft {
    Files(Written),
    OutputsOf(Placed<String>),
}

pub(super) struct OutDraft {
    pub(super) key: Option<String>,
    pub(super) path: Written,
}

pub(super) enum ActDraft {
    Command(CommandDraft),
    Sql(SqlDraft),
    Load(LoadDraft),
    Http(HttpDraft),
}

impl ActDraft {
    pub(super) const fn command(&self) -> Option<&CommandDraft> {
        match self {
            Self::Command(command) => Some(command),
            Self::Sql(_) | Self::Load(_) | Self::Http(_) => None,
        }
    }

    /// The database that it names.
    pub(super) const fn db(&self) -> Option<&Placed<String>> {
        match self {
            Self::Command(_) | Self::Http(_) => None,
            Self::Sql(sql) => sql.db.as_ref(),
            Self::Load(load) => load.db.as_ref(),
        }
    }

    /// All texts whose values decide what it does.
    pub(super) fn texts(&self) -> impl Iterator<Item = &Written> {
        let (command, others) = match self {
            Self::Command(command) => (command.texts(), Vec::new()),
            Self::Sql(sql) => (&[][..], sql.text.iter().chain(&sql.file).collect()),
            Self::Load(load) => {
                let texts = load.into.iter().chain(&load.file).chain(&load.replace_where);
                (&[][..], texts.collect())
            }
            Self::Http(http) => (&[][..], http.texts()),
        };
        command.iter().chain(others)
    }
}

/// A script for a database.
#[derive(Default)]
pub(super) struct SqlDraft {
    pub(super) span: Span,
    pub(super) text: Option<Written>,
    pub(super) file: Option<Written>,
    pub(super) db: Option<Placed<String>>,
}

/// A file that is copied into a table.
#[derive(Default)]
pub(super) struct LoadDraft {
    pub(super) span: Span,
    pub(super) into: Option<Written>,
    pub(super) db: Option<Placed<String>>,
    pub(super) file: Option<Written>,
    pub(super) format: Option<Format>,
    pub(super) packing: Option<Packing>,
    pub(super) columns: Vec<(String, String)>,
    pub(super) replaces_all: Option<Placed<bool>>,
    pub(super) tag: Option<Placed<String>>,
    pub(super) replace_where: Option<Written>,
}

/// An HTTP call: one URL, and one body or none, if the file is right.
#[derive(Default)]
pub(super) struct HttpDraft {
    pub(super) span: Span,
    pub(super) urls: Vec<(Method, Written)>,
    pub(super) headers: Vec<(String, Written)>,
    pub(super) bodies: Vec<Placed<BodyDraft>>,
    pub(super) status: Vec<u16>,
    pub(super) timeout: Option<Duration>,
}

pub(super) enum BodyDraft {
    Json(Json<Written>),
    Form(Vec<(String, Written)>),
    Text(Written),
    File(Written),
}

impl HttpDraft {
    /// All texts whose values decide what it sends.
    pub(super) fn texts(&self) -> Vec<&Written> {
        let bodies = self.bodies.iter().flat_map(|body| match &body.what {
            BodyDraft::Json(json) => json.texts(),
            BodyDraft::Form(fields) => fields.iter().map(|(_, value)| value).collect(),
            BodyDraft::Text(text) | BodyDraft::File(text) => vec![text],
        });
        let urls = self.urls.iter().map(|(_, url)| url);
        urls.chain(self.headers.iter().map(|(_, value)| value)).chain(bodies).collect()
    }

    /// Turns it, which is without faults, into a call.
    pub(super) fn resolve(self) -> Http {
        let named = |texts: Vec<(String, Written)>| {
            texts.into_iter().map(|(name, text)| (name, text.template)).collect()
        };
        let (method, url) = self.urls.into_iter().next().expect("the rules want a URL");
        Http {
            method,
            url: url.template,
            headers: named(self.headers),
            body: match self.bodies.into_iter().next().map(|body| body.what) {
                None => Body::None,
                Some(BodyDraft::Json(json)) => Body::Json(json.map(&|text: Written| text.template)),
                Some(BodyDraft::Form(fields)) => Body::Form(named(fields)),
                Some(BodyDraft::Text(text)) => Body::Text(text.template),
                Some(BodyDraft::File(path)) => Body::File(path.template),
            },
            status: self.status,
            timeout: self.timeout,
        }
    }

    /// The file that it sends.
    pub(super) fn file(&self) -> Option<&Written> {
        self.bodies.iter().find_map(|body| match &body.what {
            BodyDraft::File(file) => Some(file),
            _ => None,
        })
    }
}

pub(super) enum CommandDraft {
    Shell(Written),
    Words(Vec<Written>),
}

impl CommandDraft {
    pub(super) fn texts(&self) -> &[Written] {
        match self {
            Self::Shell(text) => std::slice::from_ref(text),
            Self::Words(words) => words,
        }
    }
}

#[derive(Default)]
pub(super) struct CheckDraft {
    pub(super) command: Option<CommandDraft>,
    pub(super) equals: Option<Written>,
    pub(super) all: Option<Placed<bool>>,
    pub(super) file: Option<Written>,
    pub(super) sha256: Option<Written>,
    pub(super) sql: Option<Written>,
    pub(super) db: Option<Placed<String>>,
    pub(super) within: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) retry: Option<Retry>,
    pub(super) max_age: Option<Duration>,
    pub(super) span: Span,
}

impl CheckDraft {
    /// All texts whose values decide what it asks.
    pub(super) fn texts(&self) -> impl Iterator<Item = &Written> {
        let command = self.command.iter().flat_map(CommandDraft::texts);
        command.chain(&self.equals).chain(&self.file).chain(&self.sha256).chain(&self.sql)
    }

    /// Whether it answers for every item in one call.
    pub(super) fn answers_for_all(&self) -> bool {
        self.all.as_ref().is_some_and(|all| all.what)
    }
}
