//! The verbs, one a file.

mod accept;
mod calls;
mod history;
mod init;
mod lint;
mod lock;
mod log;
mod manifest;
mod manual;
mod plan;
mod proxy;
mod prune;
pub(crate) mod run;
mod script;
mod settle;
mod status;
mod status_of;
pub(crate) mod step;
mod verify;
mod why;
mod write;

use crate::args::{self, Arguments, Manifest, Verb};
use crate::exit::Exit;
use crate::place;
use crate::scripts;
use crate::show::fail::Failed;

/// Does what was typed.
pub(crate) fn perform(arguments: &Arguments) -> Exit {
    let common = &arguments.common;
    let typed = &arguments.typed;
    if let Err(failed) = place::hear_of_file_systems() {
        return failed.tell("");
    }
    let default = Verb::Status(args::Status::default());
    let verb = arguments.verb.as_ref().unwrap_or(&default);
    // These stand in scripts, and have no pipeline file.
    let is_of_scripts = matches!(
        verb,
        Verb::Step(_) | Verb::Write(_) | Verb::Lock(_) | Verb::Script(_) | Verb::Proxy(_)
    );
    if is_of_scripts && (common.file.is_some() || !common.params.is_empty()) {
        let why = "`-f` and `-p` are for pipeline files; what stands before `--` is semel's, \
                   and a value that counts in a script is said by `--per` or `--env`";
        return Failed::Usage(why.to_owned()).tell_of_prefix();
    }
    match verb {
        Verb::Step(options) => return step::step(options),
        Verb::Write(options) => return write::write(options),
        Verb::Lock(options) => return lock::lock(options),
        Verb::Script(options) => return script::script(options),
        Verb::Proxy(options) => return proxy::proxy(options),
        _ => {}
    }
    // These need no pipeline.
    let alone = match verb {
        Verb::Init(options) => Some(init::init(common, options, typed)),
        Verb::Calls(options) => Some(calls::calls(common, options)),
        Verb::Completions(options) => Some(manual::completions(options)),
        Verb::Manual(options) => Some(manual::manual(options)),
        _ => None,
    };
    if let Some(done) = alone {
        return done.unwrap_or_else(|failed| failed.tell(""));
    }
    let places = match scripts::places(common, verb.targets()) {
        Ok(places) => places,
        Err(failed) => return failed.tell(""),
    };
    if let (Verb::Status(options), true) = (verb, places.len() > 1) {
        return status::of_all(places, options);
    }
    let place = match scripts::only(places).and_then(|place| verb.takes(place)) {
        Ok(place) => place,
        Err(failed) => return failed.tell(""),
    };
    let again = place.again.clone();
    let done: Result<Exit, Failed> = match verb {
        Verb::Run(options) => place.complete().and_then(|place| run::run(place, options, typed)),
        Verb::Plan(options) => place.complete().and_then(|place| plan::plan(place, options, typed)),
        Verb::Status(options) if !options.targets.is_empty() => status_of::status(place, options),
        Verb::Status(options) => status::status(place, options),
        Verb::Why(options) => why::why(place, options),
        Verb::Log(options) => log::log(&place, options),
        Verb::History(options) => history::history(&place, options),
        Verb::Done(options) => settle::done(place, options, typed),
        Verb::Redo(options) => settle::redo(place, options, typed),
        Verb::Lint(options) => lint::lint(&place, options),
        Verb::Manifest(Manifest::Query(options)) => manifest::query(&place, options),
        Verb::Manifest(Manifest::Rebuild) => manifest::rebuild(&place, typed),
        Verb::Manifest(Manifest::Accept(options)) => accept::accept(&place, options, typed),
        Verb::Manifest(Manifest::Export) => manifest::export(&place),
        Verb::Manifest(Manifest::Import(options)) => {
            place.complete().and_then(|place| manifest::import(&place, options, typed))
        }
        Verb::Manifest(Manifest::Gc(options)) => {
            place.complete().and_then(|place| manifest::gc(place, options, typed))
        }
        Verb::Verify(options) => verify::verify(place, options),
        Verb::Prune(options) => {
            place.complete().and_then(|place| prune::prune(place, options, typed))
        }
        Verb::Init(_) | Verb::Calls(_) | Verb::Completions(_) | Verb::Manual(_) => Ok(Exit::DONE),
        Verb::Step(_) | Verb::Write(_) | Verb::Lock(_) | Verb::Script(_) | Verb::Proxy(_) => {
            Ok(Exit::DONE)
        }
    };
    done.unwrap_or_else(|failed| failed.tell(&again))
}
