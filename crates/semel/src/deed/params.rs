//! Parameters whose values commands give: each is asked once a run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::deed::capture::{self, Answer, Question};
use crate::deed::{Trouble, command};
use crate::ground::world::process::Stop;
use crate::thought::bind::{Bindings, Params};
use crate::thought::mask::Mask;
use crate::words::pipeline::{Fault, ParamValue, Pipeline};

/// How long such a command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How much of what it prints is looked at.
const MOST: usize = 1 << 16;

/// Asks the commands of all parameters that are not given, in the pipeline's
/// folder. A value is what is printed, without the newline at its end. `env` holds
/// the secrets of steps, which no complaint may show.
///
/// # Errors
/// If one fails, takes too long, or prints no value; with the place of the
/// parameter.
pub fn ask(
    pipeline: &Pipeline,
    folder: &Path,
    given: &[(String, String)],
    env: &BTreeMap<String, Vec<u8>>,
) -> Result<BTreeMap<String, String>, Trouble> {
    let mut values = BTreeMap::new();
    let secrets = pipeline.steps.iter().flat_map(|step| &step.secret_env);
    let mask = Mask::of(secrets.filter_map(|(name, _)| env.get(name).cloned()));
    for param in &pipeline.params {
        let is_given = given.iter().any(|(name, _)| *name == param.name);
        let ParamValue::Command(asked) = &param.value else {
            continue;
        };
        if is_given {
            continue;
        }
        let wrong = |why: String| {
            let why = mask.text(&why);
            let title = format!("parameter `{}` cannot be had: {why}", param.name);
            let help = format!("to do without the command:  -p {}=VALUE", param.name);
            Trouble::Input(Fault::new(title, &param.span, "this command gives it").help(help))
        };
        let stop = Stop::new().map_err(|error| Trouble::Broken(error.to_string()))?;
        let question = Question {
            words: &command::words(asked, &Bindings::of(&Params::default(), None)),
            folder,
            env: &[],
            input: None,
            limit: LIMIT,
            most: MOST,
        };
        let said = capture::ask(&question, &stop).and_then(Answer::when_well).map_err(&wrong)?;
        let value = one_line(&said).map_err(wrong)?;
        values.insert(param.name.clone(), value);
    }
    Ok(values)
}

/// The only line of what was printed.
fn one_line(said: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(said).map_err(|_| "it printed what is not UTF-8".to_owned())?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text {
        "" => Err("it printed nothing".to_owned()),
        _ if text.contains(['\n', '\0']) => Err("it printed more than one line".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_line() {
        assert_eq!(one_line(b"2013-02\r\n"), Ok("2013-02".to_owned()));
        assert_eq!(one_line(b" x "), Ok(" x ".to_owned()));
        for bad in [&b""[..], b"\n", b"a\nb\n", b"a\xff"] {
            assert!(one_line(bad).is_err());
        }
    }
}
