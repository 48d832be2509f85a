//! Service files of PostgreSQL: settings under a name.
//!
//! Invariant: one section is read, and within it a line counts only if it is the first
//! with its name; as in libpq there is no space around the `=`.

use std::path::Path;

use super::sources::{Around, Layer, Said, read};

/// Where Debian, and then everyone else, keeps the file of the whole machine.
const OF_THE_MACHINE: [&str; 2] =
    ["/etc/postgresql-common/pg_service.conf", "/etc/pg_service.conf"];

/// What a service says. A name of `known` that comes with `false` is passed over.
pub(super) fn service(
    name: &Said,
    known: &[(&str, bool)],
    around: &Around<'_>,
) -> Result<Layer, String> {
    let mut files = Vec::new();
    match around.path("PGSERVICEFILE") {
        Some(path) => files.push((path, true)),
        None => files.extend(around.home().map(|home| (home.join(".pg_service.conf"), false))),
    }
    match around.path("PGSYSCONFDIR") {
        Some(folder) => files.push((folder.join("pg_service.conf"), false)),
        None => files.extend(around.first_there(&OF_THE_MACHINE).map(|path| (path, false))),
    }
    for (path, must_be_there) in &files {
        let bytes =
            read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        match bytes {
            None if *must_be_there => {
                return Err(format!("PGSERVICEFILE: {} is not there", path.display()));
            }
            None => {}
            Some(bytes) => {
                if let Some(layer) = section(&bytes, &name.text, known, path)? {
                    return Ok(layer);
                }
            }
        }
    }
    let files: Vec<_> = files.iter().map(|(path, _)| path.display().to_string()).collect();
    Err(format!("{}: there is no service `{}` in {}", name.by, name.text, files.join(" or ")))
}

fn section(
    bytes: &[u8],
    service: &str,
    known: &[(&str, bool)],
    path: &Path,
) -> Result<Option<Layer>, String> {
    let mut found: Option<Layer> = None;
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let by = format!("{}:{}", path.display(), at + 1);
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        if let Some(head) = line.strip_prefix(b"[") {
            if found.is_some() {
                break;
            }
            let is_it = |rest: &[u8]| rest.starts_with(b"]");
            found = head.strip_prefix(service.as_bytes()).is_some_and(is_it).then(Layer::new);
            continue;
        }
        let Some(layer) = &mut found else { continue };
        let line = std::str::from_utf8(line).map_err(|_| format!("{by}: the line is not UTF-8"))?;
        // What has no name may be a password.
        let (name, text) = line
            .split_once('=')
            .ok_or_else(|| format!("{by}: the line is none of the form `name=value`"))?;
        if name == "service" {
            return Err(format!("{by}: a service cannot name another one"));
        }
        match known.iter().find(|(known, _)| *known == name) {
            Some((_, true)) => {
                layer.entry(name.to_owned()).or_insert_with(|| Said::new(text, by));
            }
            Some((_, false)) => {}
            None => {
                let known = known.iter().map(|(name, _)| *name);
                let near = crate::words::nearest(name, known);
                let help = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                return Err(format!("{by}: there is no setting `{name}`{help}"));
            }
        }
    }
    Ok(found)
}
