//! A transaction, as people read what was done: it cannot be typed anywhere.

use crate::thought::bind::Bindings;
use crate::words::path::path_of;
use crate::words::pipeline::{ActionKind, SqlText};

/// What was done, in a line.
pub(in crate::deed) fn as_typed(kind: &ActionKind, bindings: &Bindings<'_>) -> String {
    let bindings = Bindings { for_command: false, ..*bindings };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match kind {
        ActionKind::Command(_) => String::new(),
        ActionKind::Http(http) => {
            format!("{} {}", http.method.name(), text(http.url.render_url(&bindings)))
        }
        ActionKind::Sql(sql) => match &sql.text {
            SqlText::Inline(text) => format!("sql on {}: {}", sql.db, text.text.trim()),
            SqlText::File(file) => format!("sql on {}: {}", sql.db, text(file.render(&bindings))),
        },
        ActionKind::Load(load) => {
            let file = match &load.file {
                Some(file) => path_of(file.render(&bindings)),
                None => path_of(bindings.item.unwrap_or_default().to_vec()),
            };
            let into = text(load.into.render(&bindings));
            format!("load {} into {into} on {}", crate::words::path::show(&file), load.db)
        }
    }
}
