//! `--config FILE`: a TOML file with the keys of the command line, and the command line laid over it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::Command;
use lanet_live::error::{Context, Error, Result};

/// In bytes; a file without an end is not read for ever.
const LONGEST: u64 = 1 << 20;

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
    let failed = || format!("cannot read the configuration '{shown}'");
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
        .with_context(failed)?;
    if text.len() as u64 > LONGEST {
        return Err(Error::new(failed())
            .because("it is longer than any configuration")
            .advice("check the name"));
    }
    let wrong = |what: String| {
        Error::usage(format!("the configuration '{shown}' is wrong: {what}"))
            .advice("its keys are the long options, as in: smoothing = 0.3")
    };
    let table: toml::Table = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    let mut words: Vec<OsString> = arguments.iter().take(1).cloned().collect();
    for (key, value) in table.iter().filter(|(key, _)| !left_out.contains(&key.as_str())) {
        let known = command.get_arguments().find(|a| a.get_long() == Some(key) && key != "config");
        known.ok_or_else(|| wrong(format!("there is no option '{key}'")))?;
        let value = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => value.to_string(),
            _ => return Err(wrong(format!("'{key}' is no text, number, true or false"))),
        };
        words.push(format!("--{key}={value}").into());
    }
    if let Err(error) = command.clone().try_get_matches_from(&words) {
        return Err(wrong(super::what_is_wrong(&error)));
    }
    words.extend(arguments.iter().skip(1).cloned());
    Ok(words)
}
