//! `semel manifest query`: ask the manifest in SQL. Nothing can be changed by it.

use std::io::Write;

use semel::ground::manifest::ManifestError;
use serde_json::{Map, Value};

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::text::visible;

pub(crate) fn query(place: &Place, options: &args::Query) -> Result<Exit, Failed> {
    let Some(manifest) = place.manifest()? else {
        return Err(Failed::Manifest(place.home.manifest(), ManifestError::Absent));
    };
    let answer = manifest.query(&options.sql).map_err(|error| match error {
        ManifestError::Query(why) => Failed::Usage(why),
        error => Failed::Manifest(place.home.manifest(), error),
    })?;
    let mut out = std::io::stdout().lock();
    if options.json {
        for row in answer.rows {
            let values = row.into_iter().map(|value| value.map_or(Value::Null, Value::String));
            let object: Map<_, _> = answer.columns.iter().cloned().zip(values).collect();
            writeln!(out, "{}", Value::Object(object))?;
        }
        return Ok(Exit::DONE);
    }
    // Tab-separated, with a header: what cut, awk and column understand.
    writeln!(out, "{}", answer.columns.join("\t"))?;
    for row in answer.rows {
        let values: Vec<_> =
            row.iter().map(|value| visible(value.as_deref().unwrap_or_default())).collect();
        writeln!(out, "{}", values.join("\t"))?;
    }
    Ok(Exit::DONE)
}
