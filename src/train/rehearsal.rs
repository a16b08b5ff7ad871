//! What a model shall not forget while its classifier is adapted to somebody: features, numbers and no pictures, of some of the
//! faces that it learnt from, in a file beside its weights. Whoever adapts it rehearses them: of these faces the classifier goes on
//! to say what it said.
//!
//! Sources: learning without forgetting (Li and Hoiem 2016, arXiv 1606.09282), which has a net keep what it said; latent replay
//! (Pellegrini et al. 2020, arXiv 1912.01100), which keeps outputs of frozen layers in place of pictures.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::error::{Context, Error, Result};
use crate::net::card::REHEARSAL;
use crate::net::{self, Card};
use crate::part;

/// What stands before the name of a classifier's tensor in the file: features for it (faces, channels x grid x grid).
pub const PREFIX: &str = "rehearsal.";
/// The key of the fingerprint of the weights that the features are of.
const OF: &str = "weights";

/// The files inside the program, by the model's name.
const EMBEDDED: [(&str, &[u8]); 1] =
    [("lanet-sface", include_bytes!("../../models/lanet-sface/rehearsal.safetensors"))];

/// What is rehearsed of a model of this name or folder, by name; nothing if it has no such file.
///
/// # Errors
/// A damaged file, or one of other weights.
pub fn beside(model: &str, card: &Card) -> Result<HashMap<String, Tensor>> {
    let file = Path::new(model).join(REHEARSAL);
    let bytes = match EMBEDDED.iter().find(|(name, _)| *name == model) {
        Some((_, bytes)) => bytes.to_vec(),
        None if net::names().any(|name| name == model) || !file.exists() => return Ok(HashMap::new()),
        None => std::fs::read(&file).with_context(|| format!("'{}' cannot be read", file.display()))?,
    };
    let failed = || format!("what the model {} rehearses cannot be used", card.name);
    let advice = "make it again with lanet-live rehearsal, or delete the file";
    let (_, about) = safetensors::SafeTensors::read_metadata(&bytes)
        .with_context(failed)
        .map_err(|error| error.advice(advice))?;
    if about.metadata().as_ref().and_then(|about| about.get(OF)) != Some(&card.fingerprint) {
        return Err(Error::new(failed()).because(Error::new("it is of other weights")).advice(advice));
    }
    candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .with_context(failed)
        .map_err(|error| error.advice(advice))
}

/// Writes what is rehearsed of the weights with this fingerprint.
///
/// # Errors
/// A file that exists, or cannot be written.
pub fn save(
    file: &Path,
    features: &BTreeMap<String, Tensor>,
    fingerprint: &str,
    overwrite: bool,
) -> Result<()> {
    let failed = || format!("'{}' cannot be written", file.display());
    let about = HashMap::from([(OF.to_owned(), fingerprint.to_owned())]);
    let half =
        |(name, t): (&String, &Tensor)| Ok((name.clone(), t.to_dtype(DType::F16)?.to_device(&Device::Cpu)?));
    let tensors = features.iter().map(half).collect::<Result<Vec<_>>>()?;
    part::write(file, overwrite, safetensors::serialize(tensors, Some(about)).with_context(failed)?)
}
