//! What steps and outputs are called.

use super::statement::Statement;
use super::step::{Out, is_syntax};

/// What a step is called: by its script, by what it makes, or by its program.
pub(super) fn name(statement: &Statement, outs: &[Out], grows: Option<&str>) -> String {
    let simples = || statement.reading.simples.iter().filter(|simple| !is_syntax(simple.name()));
    let outer = || simples().filter(|simple| simple.depth == 0);
    let script = outer().find_map(|simple| simple.script()?.text.as_deref());
    let made = outs.first().and_then(|out| {
        let path = out.path.template();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let is_plain = |part: &str| !part.is_empty() && !part.contains("{{");
        let of_folder = folder.rsplit('/').find(|part| is_plain(part));
        if is_plain(name) { Some(stem(name).to_owned()) } else { of_folder.map(str::to_owned) }
    });
    let grown = grows.filter(|path| !path.contains([' ', '{']));
    let grown = grown.map(|path| stem(path.rsplit('/').next().unwrap_or(path)).to_owned());
    let program = || outer().chain(simples()).map(|simple| stem(simple.name()).to_owned()).next();
    let first = || statement.reading.simples.first().map(|simple| stem(simple.name()).to_owned());
    let wanted = script.map(|script| stem(script.rsplit('/').next().unwrap_or(script)).to_owned());
    let wanted = wanted.or(made).or(grown).or_else(program).or_else(first).unwrap_or_default();
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let cleaned: String = wanted.chars().map(|c| if is_good(c) { c } else { '-' }).collect();
    let cleaned = cleaned.trim_matches('-');
    let short: String = cleaned.chars().take(40).collect();
    if short.is_empty() { format!("line-{}", statement.lines.0) } else { short }
}

fn stem(name: &str) -> &str {
    name.split('.').find(|part| !part.is_empty()).unwrap_or(name)
}

/// The name of one of several outputs.
pub(super) fn key(path: &str, at: usize) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let plain: String =
        name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let is_plain = plain.len() > 1 && !name.starts_with("{{");
    if is_plain && at == 0 {
        plain
    } else {
        format!("{}{}", if is_plain { plain.as_str() } else { "file" }, at + 1)
    }
}
