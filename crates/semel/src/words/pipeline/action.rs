//! What a task does: a command, a transaction of a database, or an HTTP call.

use std::fmt;

use super::{Command, Http, Span};
use crate::words::rows::{Format, Packing};
use crate::words::template::Template;

/// What a task does.
#[derive(Clone, Debug)]
pub struct Action {
    /// What it is.
    pub kind: ActionKind,
    /// Where the file says so.
    pub span: Span,
}

/// What kind of action it is.
#[derive(Clone, Debug)]
pub enum ActionKind {
    /// A command, which leaves what it leaves.
    Command(Command),
    /// A script for a database: one transaction.
    Sql(Sql),
    /// A file that is copied into a table: one transaction.
    Load(Load),
    /// A call, through the call journal.
    Http(Http),
}

impl ActionKind {
    /// The command, where it is one.
    #[must_use]
    pub const fn command(&self) -> Option<&Command> {
        match self {
            Self::Command(command) => Some(command),
            Self::Sql(_) | Self::Load(_) | Self::Http(_) => None,
        }
    }

    /// The name of the database that it works on, where it does.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        match self {
            Self::Command(_) | Self::Http(_) => None,
            Self::Sql(sql) => Some(&sql.db),
            Self::Load(load) => Some(&load.db),
        }
    }

    /// The call, where it is one.
    #[must_use]
    pub const fn http(&self) -> Option<&Http> {
        match self {
            Self::Http(http) => Some(http),
            Self::Command(_) | Self::Sql(_) | Self::Load(_) => None,
        }
    }

    /// The texts in it that decide what it does.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let (command, others) = match self {
            Self::Command(command) => (command.templates(), Vec::new()),
            Self::Sql(sql) => {
                let (SqlText::Inline(text) | SqlText::File(text)) = &sql.text;
                (&[][..], vec![text])
            }
            Self::Load(load) => {
                // By what the rows are found shows in the stamp.
                (&[][..], std::iter::once(&load.into).chain(&load.file).collect())
            }
            Self::Http(http) => (&[][..], http.templates()),
        };
        command.iter().chain(others)
    }
}

/// A script for a database.
#[derive(Clone, Debug)]
pub struct Sql {
    /// The name of the database.
    pub db: String,
    /// The statements.
    pub text: SqlText,
}

/// Where the statements of a script stand.
#[derive(Clone, Debug)]
pub enum SqlText {
    /// In the pipeline file; placeholders are bound parameters.
    Inline(Template),
    /// In a file of this path, as they are.
    File(Template),
}

/// A file that is copied into a table.
#[derive(Clone, Debug)]
pub struct Load {
    /// The name of the database.
    pub db: String,
    /// The table, as a statement names it.
    pub into: Template,
    /// The file; by default the item.
    pub file: Option<Template>,
    /// What is in the file, where its name does not say it.
    pub format: Option<Format>,
    /// How it is compressed, where its name does not say it.
    pub packing: Option<Packing>,
    /// Columns of the table, and those of the file that go into them; empty: all of
    /// the file's, by their names.
    pub columns: Vec<(String, String)>,
    /// Whether it replaces all that is in the table.
    pub replaces_all: bool,
    /// A column that is filled with the task's name, by which its rows are found again.
    pub tag: Option<String>,
    /// A condition by which its rows are found again.
    pub replace_where: Option<Template>,
}

impl fmt::Display for Load {
    /// All that decides how the file is copied: `into flight, tag source`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "into {}", self.into.text)?;
        if let Some(format) = self.format {
            write!(f, ", format {}", format.name())?;
        }
        if let Some(packing) = self.packing {
            write!(f, ", packing {}", packing.name())?;
        }
        for (column, source) in &self.columns {
            match column == source {
                true => write!(f, ", column {column}")?,
                false => write!(f, ", column {column} from {source}")?,
            }
        }
        if self.replaces_all {
            f.write_str(", replacing all")?;
        }
        if let Some(tag) = &self.tag {
            write!(f, ", tag {tag}")?;
        }
        if let Some(text) = &self.replace_where {
            write!(f, ", replacing where {}", text.text)?;
        }
        Ok(())
    }
}
