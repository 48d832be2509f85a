//! The docs say what is so: their tables are those of the code, and every
//! transcript in them is run.
//!
//! `SEMEL_UPDATE_DOCS=1` writes the tables anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use semel_testkit::{Scratch, redact};

use crate::scratch;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The part of a page that stands between the marker of this name and its end
/// is this text.
fn is_generated(path: &str, marker: &str, wanted: &str) {
    let page = text(path);
    let (begin, end) = (format!("<!-- generated: {marker} -->\n"), "<!-- end -->");
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("{path}: no {begin}"));
    let (found, after) = rest.split_once(end).unwrap();
    if found == wanted {
        return;
    }
    assert!(std::env::var_os("SEMEL_UPDATE_DOCS").is_some(), "{path}: {marker} is out of date");
    std::fs::write(root().join(path), format!("{before}{begin}{wanted}{end}{after}")).unwrap();
}

#[test]
fn the_decision_in_the_docs_is_that_of_the_code() {
    is_generated("docs/reference/decision.md", "decision", &semel::thought::decide::table());
}

#[test]
fn the_keys_in_the_docs_are_those_of_the_parser() {
    is_generated("docs/reference/file.md", "keys", &semel::words::pipeline::reference());
}

/// The example that has every key has every key.
#[test]
fn no_key_is_missing_in_the_example() {
    fn keys(schema: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
        if let Some(properties) = schema["properties"].as_object() {
            for (name, schema) in properties {
                found.insert(name.clone());
                keys(schema, found);
            }
        }
        keys_of_all(&schema["anyOf"], found);
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                keys(&schema[inner], found);
            }
        }
    }
    fn keys_of_all(schemas: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
        for schema in schemas.as_array().into_iter().flatten() {
            keys(schema, found);
        }
    }
    let mut wanted = std::collections::BTreeSet::new();
    keys(&semel::words::pipeline::schema(), &mut wanted);
    assert!(wanted.len() > 60, "{wanted:?}");
    let text = text("examples/every-key/semel.toml");
    let words: std::collections::BTreeSet<_> =
        text.split(|c: char| !c.is_alphanumeric() && c != '-').collect();
    let missing: Vec<_> = wanted.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_warnings_in_the_docs_are_those_of_the_code() {
    is_generated("docs/reference/lint.md", "lint", &semel::thought::lint::table());
}

#[test]
fn the_providers_in_the_docs_are_those_of_the_code() {
    let wanted = semel::thought::call::profiles::table();
    is_generated("docs/reference/providers.md", "providers", &wanted);
}

#[test]
fn the_schema_for_editors_is_that_of_the_parser() {
    let path = root().join("docs/reference/semel.schema.json");
    let mut wanted = serde_json::to_string_pretty(&semel::words::pipeline::schema()).unwrap();
    wanted.push('\n');
    if std::env::var_os("SEMEL_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), wanted, "semel.schema.json is out of date");
}

/// Whoever may not make semel's tables gives these statements to somebody who may.
#[test]
fn the_statements_for_stamps_in_the_docs_are_those_of_the_code() {
    use semel::ground::database::stamps::ddl;
    use semel::words::database::Engine;
    let of = [
        ("PostgreSQL", Engine::Postgres),
        ("SQLite", Engine::Sqlite),
        ("MySQL and MariaDB", Engine::MySql),
    ];
    let blocks = of.map(|(name, engine)| {
        let statements = ddl(engine).map(|statement| format!("{}\n", in_lines(&statement)));
        format!("{name}:\n\n```sql\n{}```\n", statements.concat())
    });
    is_generated("docs/format.md", "stamps", &format!("{}\n", blocks.join("\n")));
}

/// A statement that makes a table, with a line for each column.
fn in_lines(statement: &str) -> String {
    let (mut text, mut depth) = (String::new(), 0);
    for part in statement.split_inclusive(['(', ')', ',']) {
        text.push_str(part.trim_start_matches(if text.ends_with("\n  ") { " " } else { "" }));
        let is_outer = matches!((part.chars().last(), depth), (Some('('), 0) | (Some(','), 1));
        text.push_str(if is_outer { "\n  " } else { "" });
        depth += part.matches('(').count();
        depth -= part.matches(')').count();
    }
    text + ";"
}

#[test]
fn the_exit_statuses_in_the_docs_are_those_of_the_command() {
    let help = scratch().semel("--help").exits(0).stdout;
    let (_, statuses) = help.split_once("the first that applies:\n").unwrap();
    let mut table = String::from("| exit status | meaning |\n|---|---|\n");
    for line in statuses.lines() {
        let (status, meaning) = line.trim().split_once(' ').unwrap();
        table += &format!("| {status} | {} |\n", meaning.trim());
    }
    is_generated("docs/reference/exit.md", "exit", &table);
}

#[test]
fn the_commands_in_the_docs_are_those_of_the_command() {
    let commands = scratch().semel("manual --markdown").exits(0).stdout;
    is_generated("docs/reference/commands.md", "commands", &commands);
}

#[test]
fn every_column_of_the_manifest_is_documented() {
    let page = text("docs/reference/manifest.md");
    let scratch = scratch();
    scratch.semel("init --bare").exits(0);
    scratch.file("semel.toml", "name = 'x'\n[step.a]\nrun = 'true'");
    let columns = scratch.query(
        "select t.name, c.name from sqlite_schema t, pragma_table_info(t.name) c where t.type = 'table'",
    );
    assert!(columns.len() > 60, "{columns:?}");
    for column in columns {
        let (table, column) = column.split_once(' ').unwrap();
        let section = page.split("\n**").find(|part| part.starts_with(&format!("{table}**")));
        let section = section.unwrap_or_else(|| panic!("table {table} is not documented"));
        assert!(section.contains(&format!("`{column}`")), "{table}.{column} is not documented");
    }
}

/// Every invariant is cited in the code and in the name of a test.
#[test]
fn every_invariant_is_cited_and_tested() {
    let mut code = String::new();
    let mut open = vec![root().join("crates")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                code += &std::fs::read_to_string(&path).unwrap();
            }
        }
    }
    let page = text("ARCHITECTURE.md");
    let numbers = page.lines().filter_map(|line| line.strip_prefix("- **I")?.split_once("**"));
    let numbers: Vec<_> = numbers.map(|(number, _)| number).collect();
    assert_eq!(numbers.len(), 15);
    for number in numbers {
        assert!(code.contains(&format!("*I{number}*")), "I{number} is not cited in the code");
        let tests = code.lines().filter_map(|line| line.trim().strip_prefix("fn "));
        let is_tested =
            |name: &str| name.split(['_', '(']).any(|part| part == format!("i{number}"));
        assert!(tests.into_iter().any(is_tested), "no test is named for I{number}");
    }
}

/// The tree in the docs has every module of the library.
#[test]
fn the_architecture_names_every_module() {
    let page = text("ARCHITECTURE.md");
    for storey in ["words", "ground", "thought", "deed"] {
        let code = text(&format!("crates/semel/src/{storey}.rs"));
        let names = code.lines().filter_map(|line| {
            let name = line.strip_suffix(';')?.split_once("mod ")?.1;
            Some(name.to_owned())
        });
        let names: Vec<_> = names.collect();
        assert!(names.len() > 4, "{storey}: {names:?}");
        for name in names {
            assert!(page.contains(&format!("`{name}`")), "ARCHITECTURE.md has no {storey}::{name}");
        }
    }
}

/// Each promise names tests that are there.
#[test]
fn every_promise_has_its_tests() {
    let page = text("docs/reliability.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains(" | "));
    let shown = rows.filter_map(|row| row.trim_end_matches('|').rsplit(" | ").next());
    let names: BTreeSet<_> = shown
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| name.contains('_') && !name.contains([' ', '=']))
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 30, "{names:?}");
    let mut code = String::new();
    let mut open = vec![root().join("crates")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                code += &std::fs::read_to_string(&path).unwrap();
            }
        }
    }
    for name in names {
        assert!(code.contains(&format!("fn {name}()")), "no test is named {name}");
    }
}

/// Each failure of another tool names the test that shows what semel does.
#[test]
fn every_failure_of_other_tools_has_its_test() {
    let (page, tests) = (text("docs/rerun-safety.md"), include_str!("peers.rs"));
    let rows = page.lines().filter(|line| line.starts_with("| R"));
    let named: Vec<_> = rows.map(|row| row.rsplit('`').nth(1).unwrap_or_default()).collect();
    for name in &named {
        assert!(tests.contains(&format!("fn {name}()")), "peers.rs has no test {name}");
    }
    assert_eq!(named.len(), tests.matches("\nfn r").count());
}

/// A transcript in a page: where it is run, and its lines.
struct Transcript {
    place: Option<String>,
    lines: Vec<String>,
}

/// The transcripts of a page, and the files that it shows.
fn read(page: &str) -> (Vec<Transcript>, Vec<(String, String)>) {
    let (mut transcripts, mut files) = (Vec::new(), Vec::new());
    let mut lines = page.lines();
    let mut comment = None;
    while let Some(line) = lines.next() {
        if let Some(found) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            comment = Some(found.to_owned());
        } else if let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) {
            let block: Vec<_> =
                lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect();
            let comment = comment.take();
            match (kind, comment.as_deref().and_then(|comment| comment.strip_prefix("file "))) {
                (_, Some(name)) => files.push((name.to_owned(), block.join("\n") + "\n")),
                ("console", None) => transcripts.push(Transcript {
                    place: comment
                        .and_then(|comment| Some(comment.strip_prefix("in ")?.to_owned())),
                    lines: block,
                }),
                _ => {}
            }
        }
    }
    (transcripts, files)
}

/// Runs the commands of a page one after the other, and holds what they print
/// against what the page shows. `...` stands for any lines.
fn run_all(path: &str) {
    let (transcripts, files) = read(&text(path));
    assert!(!transcripts.is_empty(), "{path} shows no command");
    let mut place: Option<Scratch> = None;
    for transcript in transcripts {
        if let Some(named) = transcript.place {
            let scratch = scratch();
            if named != "an empty folder" {
                scratch.copy_of(&root().join(named));
            }
            for (name, text) in &files {
                scratch.file(name, text);
            }
            place = Some(scratch);
        }
        let scratch = place.as_ref().unwrap_or_else(|| panic!("{path}: where is this run?"));
        let mut lines = transcript.lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("$ ") else {
                panic!("{path}: what is {line:?}?");
            };
            let mut wanted = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                wanted.push(line);
            }
            let printed = print(scratch, command);
            // The pages know one host.
            let wanted = redact(wanted.join("\n").trim_end()).replace("@db7", "@[host]");
            assert!(
                fits(&wanted, printed.trim_end()),
                "{path}: $ {command}\n--- the page shows\n{wanted}\n--- it prints\n{printed}"
            );
        }
    }
}

/// What a command line prints in a folder, as the docs show it.
fn print(scratch: &Scratch, command: &str) -> String {
    let semel = Path::new(env!("CARGO_BIN_EXE_semel")).parent().unwrap();
    let mut paths = vec![semel.to_owned()];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let semel = scratch.command([""; 0]);
    let output = Command::new("bash")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(scratch.path())
        .env_clear()
        .envs(semel.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", std::env::join_paths(paths).unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    redact(&text)
}

/// Whether a text is what a pattern shows, in which a line `...` stands for any
/// lines. Who ran it, and where, is somebody else's.
fn fits(pattern: &str, text: &str) -> bool {
    let by = |line: &str| line.split(" by ").next().unwrap_or_default().to_owned();
    let text: Vec<_> = text.lines().map(by).collect();
    let mut at = 0;
    let parts: Vec<Vec<String>> = pattern
        .lines()
        .map(by)
        .collect::<Vec<_>>()
        .split(|line| line == "...")
        .map(<[String]>::to_vec)
        .collect();
    let last = parts.len() - 1;
    for (index, part) in parts.iter().enumerate() {
        let rest = &text[at..];
        let found = match index {
            0 if last == 0 => return rest == part.as_slice(),
            0 => rest.starts_with(part).then_some(0),
            _ if index == last => rest.ends_with(part).then(|| rest.len() - part.len()),
            _ => rest.windows(part.len().max(1)).position(|lines| lines == part.as_slice()),
        };
        match found {
            Some(found) => at += found + part.len(),
            None => return false,
        }
    }
    true
}

#[test]
fn the_readme_is_true() {
    run_all("README.md");
}

#[test]
fn the_first_ten_minutes_are_true() {
    run_all("docs/guide/first-ten-minutes.md");
}

#[test]
fn the_guide_to_scripts_is_true() {
    run_all("docs/guide/scripts.md");
}

#[test]
fn the_guide_to_cron_is_true() {
    run_all("docs/guide/cron.md");
}

#[test]
fn the_guide_to_drafts_is_true() {
    run_all("docs/guide/from-a-script.md");
}

#[test]
fn the_questions_to_the_manifest_are_answered_so() {
    run_all("docs/reference/manifest.md");
}

#[test]
fn the_guide_to_care_is_true() {
    run_all("docs/guide/care.md");
}

#[test]
fn the_guide_to_decisions_is_true() {
    run_all("docs/guide/decision.md");
}

#[test]
fn the_guide_to_what_counts_is_true() {
    run_all("docs/guide/fingerprint.md");
}

#[test]
fn the_guide_to_who_is_at_work_is_true() {
    run_all("docs/guide/at-work.md");
}

#[test]
fn the_guide_to_effects_is_true() {
    run_all("docs/guide/effects.md");
}

#[test]
fn the_guide_to_what_is_done_once_is_true() {
    run_all("docs/guide/once.md");
}

#[test]
fn the_guide_to_a_lost_memory_is_true() {
    run_all("docs/guide/memory.md");
}

#[test]
fn the_guide_to_instances_is_true() {
    run_all("docs/guide/per.md");
}

#[test]
fn the_guide_to_lists_is_true() {
    run_all("docs/guide/lists.md");
}

#[test]
fn the_guide_to_databases_is_true() {
    run_all("docs/guide/databases.md");
}

#[test]
fn the_guide_to_hooks_and_monitors_is_true() {
    run_all("docs/guide/hooks-and-monitors.md");
}

#[test]
fn the_guide_to_network_file_systems_is_true() {
    run_all("docs/guide/network.md");
}

#[test]
fn the_example_with_every_key_is_run_so() {
    run_all("examples/every-key/README.md");
}

#[test]
fn the_example_of_a_deploy_goes_so() {
    run_all("examples/deploy/README.md");
}

#[test]
fn the_guide_to_calls_is_true() {
    run_all("docs/guide/calls.md");
}

#[test]
fn the_example_of_a_paid_api_goes_so() {
    run_all("examples/enrich/README.md");
}

#[test]
fn the_example_of_a_nightly_load_goes_so() {
    run_all("examples/nightly-load/README.md");
}

/// Nobody finds a page that no map names, and none is true that no test runs.
#[test]
fn every_page_is_on_the_map_and_is_run() {
    let (map, tests) = (text("docs/README.md"), include_str!("docs.rs"));
    for entry in std::fs::read_dir(root().join("docs/guide")).unwrap().flatten() {
        let page = format!("guide/{}", entry.file_name().to_string_lossy());
        assert!(map.contains(&format!("({page})")), "docs/README.md does not name {page}");
        assert!(tests.contains(&format!("run_all(\"docs/{page}\")")), "{page} is not run");
    }
    for entry in std::fs::read_dir(root().join("docs/reference")).unwrap().flatten() {
        let page = format!("reference/{}", entry.file_name().to_string_lossy());
        assert!(map.contains(&format!("({page})")), "docs/README.md does not name {page}");
    }
}

#[test]
fn the_warnings_are_shown_so() {
    run_all("docs/reference/lint.md");
}

#[test]
fn every_link_in_the_docs_leads_somewhere() {
    let mut pages = vec![
        "README.md".into(),
        "ARCHITECTURE.md".into(),
        "CONTRIBUTING.md".into(),
        "CHANGELOG.md".into(),
        "benches/README.md".into(),
        "examples/deploy/README.md".into(),
        "examples/enrich/README.md".into(),
        "examples/every-key/README.md".into(),
        "examples/flights/README.md".into(),
        "examples/nightly-load/README.md".into(),
    ];
    let mut open = vec![PathBuf::from("docs")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap().flatten() {
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                open.push(path);
            } else {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() > 10);
    for page in pages {
        let content = std::fs::read_to_string(root().join(&page)).unwrap();
        for link in content.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let target = root().join(page.parent().unwrap()).join(link);
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
        }
    }
}
