//! Files that a command names: those that it writes, reads, renames or takes away.

use std::ops::Range;

use super::known::{Known, Piece};
use super::statement::Statement;
use crate::words::shell::{Simple, Word};

/// A file that a command writes.
pub(super) struct Written {
    pub(super) path: Known,
    pub(super) places: Vec<Range<usize>>,
}

/// All words of a statement: those of its commands, and where those lead.
pub(super) fn words(statement: &Statement) -> impl Iterator<Item = &Word> {
    statement.reading.simples.iter().flat_map(|simple| {
        let operands = simple.redirections.iter().map(|one| &one.operand);
        simple.words.iter().chain(operands)
    })
}

/// The files that a statement writes from their beginning, and those that it appends to.
pub(super) fn written(
    statement: &Statement,
    read: &dyn Fn(&Word) -> Option<Known>,
) -> Result<(Vec<Written>, Vec<String>), String> {
    let mut written: Vec<Written> = Vec::new();
    let mut appends = Vec::new();
    let has_moved = |at: usize| {
        statement.reading.simples.iter().any(|simple| {
            let end = || statement.group_end(&simple.range).unwrap_or(usize::MAX);
            matches!(simple.name(), "cd" | "pushd" | "popd")
                && simple.range.start < at
                && at < end()
        })
    };
    for (at, simple) in statement.reading.simples.iter().enumerate() {
        let redirections = simple.redirections.iter().filter(|one| one.is_of_output());
        let redirections =
            redirections.map(|one| (&one.operand, one.appends(), one.operator == ">&"));
        let named = output_arguments(simple).into_iter().map(|word| (word, false, false));
        for (word, is_appended, may_be_descriptor) in redirections.chain(named) {
            let raw = statement.raw(&word.range);
            if may_be_descriptor && raw.chars().all(|c| c.is_ascii_digit() || c == '-') {
                continue;
            }
            let Some(known) = read(word).filter(|known| !known.has_glob()) else {
                if is_appended {
                    appends.push("a file".to_owned());
                    continue;
                }
                return Err("writes a file whose name only the shell knows".to_owned());
            };
            let known = without_dot(known);
            let path = known.template();
            let is_log = path.ends_with(".log") || path.ends_with(".err");
            let later = &statement.reading.simples[at..];
            let goes = |simple: &Simple| {
                simple.name() == "rm"
                    && simple.arguments().iter().any(|word| read(word).as_ref() == Some(&known))
            };
            if path.starts_with("/dev/") || is_log || later.iter().any(goes) {
                continue;
            }
            if has_moved(word.range.start) && !path.starts_with('/') {
                return Err("writes a file after `cd`: say its path from here".to_owned());
            }
            if let Some(one) = written.iter_mut().find(|one| one.path == known) {
                one.places.push(word.range.clone());
            } else if is_appended {
                appends.push(path);
            } else {
                written.push(Written { path: known, places: vec![word.range.clone()] });
            }
        }
    }
    // Wherever else it is named in the same command, it is not in its place yet.
    for one in &mut written {
        let named =
            words(statement).filter(|word| read(word).map(without_dot).as_ref() == Some(&one.path));
        for word in named {
            if !one.places.contains(&word.range) {
                one.places.push(word.range.clone());
            }
        }
    }
    let conditional = statement.conditional();
    let is_conditional = |one: &&Written| {
        let is_in = |part: &Range<usize>, place: &Range<usize>| part.contains(&place.start);
        conditional.iter().any(|part| {
            one.places.iter().any(|place| is_in(part, place))
                && !one.places.iter().any(|place| place.start < part.start)
        })
    };
    if let Some(one) = written.iter().find(is_conditional) {
        return Err(format!("writes {} only if a test holds", one.path.template()));
    }
    Ok((written, appends))
}

pub(super) fn without_dot(known: Known) -> Known {
    let mut known = known;
    if let Some(Piece::Text(text)) = known.pieces.first_mut()
        && let Some(rest) = text.strip_prefix("./")
    {
        *text = rest.to_owned();
    }
    known
}

/// `… > x.tmp && mv x.tmp x`: then `x` is what is written; where the command ends
/// without that.
pub(super) fn renamed_last(
    statement: &Statement,
    written: Vec<Written>,
    read: &dyn Fn(&Word) -> Option<Known>,
) -> (Vec<Written>, usize) {
    let end = statement.text.len();
    let Some(last) = statement.outer().last().filter(|simple| simple.range.end == end) else {
        return (written, end);
    };
    let joint = statement.reading.joints.iter().rfind(|joint| joint.range.end <= last.range.start);
    let Some(joint) = joint.filter(|joint| matches!(joint.text.as_str(), "&&" | ";" | "\n")) else {
        return (written, end);
    };
    let Some((from, to)) = renaming(last, read) else {
        return (written, end);
    };
    let mut written = written;
    let Some(one) = written.iter_mut().find(|one| one.path == from) else {
        return (written, end);
    };
    one.path = to;
    one.places.retain(|place| place.end <= joint.range.start);
    (written, joint.range.start)
}

/// What `mv` renames, and to what.
pub(super) fn renaming(
    simple: &Simple,
    read: &dyn Fn(&Word) -> Option<Known>,
) -> Option<(Known, Known)> {
    let arguments = simple.arguments();
    let plain: Vec<_> = arguments
        .iter()
        .filter(|word| !word.text.as_deref().is_some_and(|text| text.starts_with('-')))
        .collect();
    match (simple.name(), plain.as_slice()) {
        ("mv", [from, to]) => {
            let (from, to) = (without_dot(read(from)?), without_dot(read(to)?));
            let is_file = !to.has_glob() && !to.template().ends_with(['/', '.']);
            is_file.then_some((from, to))
        }
        _ => None,
    }
}

/// The words behind options by which a program is told where to write.
pub(super) fn output_arguments(simple: &Simple) -> Vec<&Word> {
    let is_option = |text: &str| match simple.name() {
        "curl" => {
            text == "--output"
                || (text.starts_with('-') && !text.starts_with("--") && text.ends_with('o'))
        }
        "wget" => {
            text == "--output-document"
                || (text.starts_with('-') && !text.starts_with("--") && text.ends_with('O'))
        }
        "sort" => text == "-o",
        _ => false,
    };
    let arguments = simple.arguments();
    let behind = arguments.windows(2).filter(|pair| pair[0].text.as_deref().is_some_and(is_option));
    let mut found: Vec<_> = behind.map(|pair| &pair[1]).collect();
    if simple.name() == "tee" && !simple.has_option(&["-a", "--append"]) {
        found.extend(
            arguments
                .iter()
                .filter(|word| !word.text.as_deref().is_some_and(|text| text.starts_with('-'))),
        );
    }
    found.retain(|word| word.text.as_deref() != Some("-"));
    found
}

/// The words that are files for a program that is known to read them.
pub(super) fn file_arguments(simple: &Simple) -> Vec<&Word> {
    let skipped = match simple.name() {
        "cat" | "sort" | "uniq" | "wc" | "head" | "tail" | "cut" | "paste" | "join" | "comm"
        | "tac" | "nl" | "sha256sum" | "md5sum" | "zcat" | "column" => 0,
        "grep" | "sed" | "awk" | "jq" => 1,
        _ => return Vec::new(),
    };
    // What an option takes is no file; of options that may take something, nothing is
    // known.
    let takes_value = |word: &&Word| {
        word.text.as_deref().is_none_or(|text| text.starts_with('-') && text.len() == 2)
    };
    let arguments = simple.arguments();
    let takes_program = match simple.name() {
        "awk" => simple.has_option(&["-f", "-v"]),
        "jq" => simple.has_option(&["-f", "-n", "--arg", "--argjson", "--slurpfile", "--rawfile"]),
        _ => simple.has_option(&["-e", "-f", "-i"]),
    };
    if skipped > 0 && takes_program {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut rest = arguments.iter();
    let mut options = None;
    for word in rest.by_ref() {
        let is_option =
            word.text.as_deref().is_some_and(|text| text.starts_with('-') || text.starts_with('+'));
        match (is_option, options.take()) {
            (true, _) => options = Some(word),
            (false, Some(before)) if takes_value(&before) && may_be_value(word) => {}
            (false, _) => found.push(word),
        }
    }
    found.drain(..skipped.min(found.len()));
    found.retain(|word| word.text.as_deref().is_none_or(looks_like_a_file));
    found
}

/// Whether a word may be what a short option takes, and not a file.
pub(super) fn may_be_value(word: &Word) -> bool {
    !word.text.as_deref().is_some_and(looks_like_a_file)
}

pub(super) fn looks_like_a_file(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or(text);
    let is_ending = |ending: &str| {
        (1..=6).contains(&ending.len())
            && ending.chars().all(|c| c.is_ascii_alphanumeric())
            && ending.chars().any(|c| c.is_ascii_alphabetic())
    };
    !text.contains(char::is_whitespace)
        && (text.contains('/') && !name.is_empty()
            || name
                .rsplit_once('.')
                .is_some_and(|(stem, ending)| !stem.is_empty() && is_ending(ending)))
}

/// Whether a program changes or takes away what it is given.
pub(super) fn changed_by(simple: &Simple) -> bool {
    match simple.name() {
        "rm" | "mv" | "unlink" | "shred" | "truncate" | "gzip" | "gunzip" | "bzip2" | "xz"
        | "touch" | "sponge" => true,
        "sed" | "perl" => simple.has_option(&["-i", "--in-place"]),
        _ => false,
    }
}

/// Whether one path lies in the folder of another.
pub(super) fn inside(folder: &str, path: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    !folder.is_empty() && path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a text, of another language say, names a path.
pub(super) fn mentions(text: &str, path: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    path.len() >= 3
        && text.match_indices(path).any(|(at, _)| {
            !text[..at].ends_with(is_part) && !text[at + path.len()..].starts_with(is_part)
        })
}
