//! `--config FILE`: a TOML file with the keys of the command line, and the command line laid over it.

use std::path::Path;

use lanet_live::error::{Context, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The flags that were given, and for those that were not what the file says.
///
/// # Errors
/// A file that cannot be read, or a key or value that the command does not have.
pub fn lay_over<T: Serialize + DeserializeOwned>(flags: &T, file: &Path) -> Result<T> {
    let shown = file.display();
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read the configuration '{shown}'"))?;
    let wrong = |error: toml::de::Error| {
        Error::usage(format!("the configuration '{shown}' is wrong: {}", error.message()))
            .advice("its keys are the long options, as in: smoothing = 0.3")
    };
    let mut table: toml::Table = toml::from_str(&text).map_err(wrong)?;
    table.extend(toml::Table::try_from(flags).context("the options cannot be laid over the configuration")?);
    table.try_into().map_err(wrong)
}
