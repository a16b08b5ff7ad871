//! `--config FILE`: a TOML file with the keys of the command line, and the command line laid over it.

use std::ffi::OsString;
use std::path::Path;

use clap::{ArgAction, Command};
use lanet_live::error::{Context, Error, Result};

/// The arguments with those that a file stands for before them, so that a later one takes an earlier one's place:
/// `smoothing = 0.3` is `--smoothing=0.3`. Keys of `left_out` do not count.
///
/// # Errors
/// A file that cannot be read, or a key or value that the command does not have.
pub fn lay_under(
    command: &Command,
    file: &Path,
    arguments: &[OsString],
    left_out: &[&str],
) -> Result<Vec<OsString>> {
    let shown = file.display();
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read the configuration '{shown}'"))?;
    let wrong = |what: String| {
        Error::usage(format!("the configuration '{shown}' is wrong: {what}"))
            .advice("its keys are the long options, as in: smoothing = 0.3")
    };
    let table: toml::Table = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    let mut words: Vec<OsString> = arguments.iter().take(1).cloned().collect();
    for (key, value) in table.iter().filter(|(key, _)| !left_out.contains(&key.as_str())) {
        let known = command.get_arguments().find(|a| a.get_long() == Some(key) && key != "config");
        let option = known.ok_or_else(|| wrong(format!("there is no option '{key}'")))?;
        let value = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => value.to_string(),
            _ => return Err(wrong(format!("'{key}' is no text, number, true or false"))),
        };
        match (option.get_action(), value.as_str()) {
            (ArgAction::SetTrue, "true") => words.push(format!("--{key}").into()),
            (ArgAction::SetTrue, "false") => {}
            _ => words.push(format!("--{key}={value}").into()),
        }
    }
    if let Err(error) = command.clone().try_get_matches_from(&words) {
        return Err(wrong(crate::what_is_wrong(&error)));
    }
    words.extend(arguments.iter().skip(1).cloned());
    Ok(words)
}
