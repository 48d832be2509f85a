//! What works on a database: which one, and what may stand beside it.

use super::{Faults, items_are_files};
use crate::words::database::Engine;
use crate::words::nearest;
use crate::words::pipeline::draft::{ActDraft, LoadDraft, StepDraft};
use crate::words::pipeline::value::{Placed, Written};
use crate::words::pipeline::{Fault, Span};
use crate::words::sql;
use crate::words::template::Name;

/// What a step loads.
pub(super) fn loads(step: &StepDraft) -> impl Iterator<Item = &LoadDraft> {
    step.actions.iter().filter_map(|action| match &action.what {
        ActDraft::Load(load) => Some(load),
        _ => None,
    })
}

impl<'a> Faults<'a> {
    /// The URLs of databases name parameters, and nothing of a step.
    pub(super) fn databases_are_named(&mut self) {
        let pipeline = self.pipeline;
        for database in &pipeline.databases {
            for hole in database.url.template.placeholders() {
                let span = database.url.place(&hole.range);
                match &hole.name {
                    Name::Param(name) => self.parameter_exists(name, &span),
                    _ => self.say(
                        Fault::new("a placeholder without a value", &span, "has no value in `db`")
                            .help("a parameter can ask:  [params] db = { command = '…' }"),
                    ),
                }
            }
        }
    }

    pub(super) fn works_on_a_database(&mut self, step: &'a StepDraft) {
        for action in &step.actions {
            let (key, span) = match &action.what {
                ActDraft::Command(_) | ActDraft::Http(_) => continue,
                ActDraft::Sql(sql) => ("sql", &sql.span),
                ActDraft::Load(load) => ("load", &load.span),
            };
            self.database_exists(action.what.db(), span);
            self.nothing_of_a_command(step, key);
            match &action.what {
                ActDraft::Sql(sql) => match (&sql.text, &sql.file) {
                    (None, None) => self.say(
                        Fault::new("`sql` says nothing", &sql.span, "has no statements")
                            .help("say `text`, or the `file` that they stand in"),
                    ),
                    (Some(text), Some(file)) => self.say(
                        Fault::new("`sql` has a text and a file", &file.span, "the file")
                            .also(&text.span, "the text"),
                    ),
                    (Some(text), None) => self.is_good_sql(text, sql.db.as_ref(), false),
                    (None, Some(_)) => {}
                },
                ActDraft::Load(load) => self.load_is_whole(step, load),
                ActDraft::Command(_) | ActDraft::Http(_) => {}
            }
        }
    }

    /// The database that is meant is in the file; of several one is named.
    fn database_exists(&mut self, db: Option<&Placed<String>>, span: &Span) {
        let names = || self.pipeline.databases.iter().map(|database| database.name.as_str());
        let fault = match db {
            Some(db) if names().any(|name| name == db.what) => return,
            Some(db) => {
                let title = format!("there is no database `{}`", db.what);
                match nearest(&db.what, names()) {
                    Some(near) => Fault::new(title, &db.span, format!("did you mean `{near}`?")),
                    None => Fault::new(title, &db.span, "unknown")
                        .help(format!("name it:  [db]  {} = \"sqlite:…\"", db.what)),
                }
            }
            None => match names().count() {
                1 => return,
                0 => Fault::new("there is no database", span, "which one?")
                    .help("name it:  [db]  main = \"sqlite:flights.db\""),
                _ => Fault::new("there are several databases", span, "which one?").help(format!(
                    "say  db = \"…\"  with one of {}",
                    names().collect::<Vec<_>>().join(", ")
                )),
            },
        };
        self.say(fault);
    }

    /// What belongs to a command means nothing to a database or to a call.
    pub(super) fn nothing_of_a_command(&mut self, step: &'a StepDraft, key: &str) {
        let is_call = key == "http";
        let mut say = |what: &str, span: &Span, label: &str| {
            self.say(Fault::new(format!("`{what}` with `{key}`"), span, label));
        };
        if let Some(out) = step.outs.first() {
            let label = if is_call { "it leaves no file" } else { "it leaves rows, and no file" };
            say("out", &out.path.span, label);
        }
        if let Some(cleanup) = &step.cleanup {
            let label = match is_call {
                true => "nothing of it is half done here",
                false => "what is half done takes the database back itself",
            };
            say("cleanup", &cleanup.span, label);
        }
        if let Some(exits) = &step.safe_exits {
            say("safe-exits", &exits.span, "there is no command");
        }
        if let Some(dir) = &step.dir {
            say("dir", &dir.span, "there is no command");
        }
    }

    fn load_is_whole(&mut self, step: &'a StepDraft, load: &'a LoadDraft) {
        if load.into.is_none() {
            self.say(
                Fault::new("`load` without a table", &load.span, "into which?")
                    .help("add  into = \"…\""),
            );
        }
        if load.file.is_none() && !items_are_files(&self.steps, step) {
            self.say(
                Fault::new("`load` without a file", &load.span, "there is nothing to load")
                    .help("fan out over files with `each`, or say  file = \"…\""),
            );
        }
        if let Some(file) = load.file.as_ref().filter(|file| file.template.is_glob()) {
            self.say(
                Fault::new("a pattern in `file`", &file.span, "it names one file")
                    .help("fan out over many with `each`: each is loaded by a task of its own"),
            );
        }
        let all = load.replaces_all.as_ref().filter(|all| all.what);
        if let Some(all) = all {
            if step.each.is_some() {
                self.say(
                    Fault::new(
                        "`mode = \"replace\"` with `each`",
                        &all.span,
                        "the last item would win",
                    )
                    .help("with  tag = \"COLUMN\"  each item replaces its own rows"),
                );
            }
            let others = [
                ("tag", load.tag.as_ref().map(|tag| &tag.span)),
                ("replace-where", load.replace_where.as_ref().map(|text| &text.span)),
            ];
            for (key, span) in others {
                if let Some(span) = span {
                    let title = format!("`{key}` with `mode = \"replace\"`");
                    self.say(
                        Fault::new(title, span, "finds some rows again")
                            .also(&all.span, "replaces all"),
                    );
                }
            }
        }
        if let (Some(tag), Some(text)) = (&load.tag, &load.replace_where) {
            self.say(
                Fault::new("`replace-where` with `tag`", &text.span, "one way to find them again")
                    .also(&tag.span, "another one"),
            );
        }
        if let Some(tag) = &load.tag
            && load.columns.iter().any(|(column, _)| *column == tag.what)
        {
            let title = format!("`{}` is filled twice", tag.what);
            self.say(Fault::new(title, &tag.span, "with the task's name, and from the file"));
        }
    }

    /// What can be seen in the text of statements, where the engine is known.
    pub(super) fn is_good_sql(
        &mut self,
        text: &'a Written,
        db: Option<&Placed<String>>,
        is_query: bool,
    ) {
        if is_query {
            self.database_exists(db, &text.span);
        }
        let databases = &self.pipeline.databases;
        let database = match db {
            Some(db) => databases.iter().find(|database| database.name == db.what),
            None => databases.first(),
        };
        let Some(engine) =
            database.and_then(|database| Engine::of_url(&database.url.template.text))
        else {
            return;
        };
        let read = sql::read(engine, &text.template).and_then(|statements| {
            if is_query {
                sql::one_query(&statements).map(|_| ())
            } else {
                sql::is_atomic(engine, &statements).map(|_| ())
            }
        });
        if let Err(fault) = read {
            let mut said = Fault::new(fault.title, &text.place(&fault.range), fault.label);
            said.help.extend(fault.help);
            self.say(said);
        }
    }
}
