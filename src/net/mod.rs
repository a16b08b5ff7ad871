//! The networks, each in a file of its own, and the cards that their weights travel with.

mod blazeblock;
pub mod blazeface;
pub mod card;
pub mod facemesh;
pub mod plan;
pub mod backbone;
pub mod lanet;

use std::path::Path;

use candle_core::Device;

pub use backbone::Trunk;
pub use blazeface::{BlazeFace, Range};
pub use card::{Card, Channels, Input, Mix, Model};
pub use facemesh::FaceMesh;
pub use lanet::LaNet;
pub use plan::{Backbone, Plan};

use crate::calibration::Calibration;
use crate::error::{Context, Error, Result};

/// The models inside the program: name, card, weights.
const EMBEDDED: [(&str, &str, &[u8]); 4] = [
    (
        "blazeface-full",
        include_str!("../../models/blazeface-full/card.toml"),
        include_bytes!("../../models/blazeface-full/weights.safetensors"),
    ),
    (
        "blazeface-short",
        include_str!("../../models/blazeface-short/card.toml"),
        include_bytes!("../../models/blazeface-short/weights.safetensors"),
    ),
    (
        "facemesh",
        include_str!("../../models/facemesh/card.toml"),
        include_bytes!("../../models/facemesh/weights.safetensors"),
    ),
    (
        "lanet-sface",
        include_str!("../../models/lanet-sface/card.toml"),
        include_bytes!("../../models/lanet-sface/weights.safetensors"),
    ),
];

/// The names of the models inside the program.
pub fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|(name, ..)| *name)
}

/// A model that is inside the program.
///
/// # Errors
/// No model of that name, or a device that cannot hold it.
pub fn embedded(name: &str, device: &Device) -> Result<Model> {
    let Some((_, card, weights)) = EMBEDDED.iter().find(|(known, ..)| *known == name) else {
        let known: Vec<_> = names().collect();
        return Err(Error::usage(format!("this program has no model '{name}'"))
            .advice(format!("use one of {}, or a folder", known.join(", "))));
    };
    Model::parse(card, weights, device).with_context(|| format!("the model {name} cannot be used"))
}

/// The expression model that is used when none is named.
pub const DEFAULT: &str = "lanet-sface";

/// A model by the name that it has in the program, or else by its folder.
///
/// # Errors
/// As [`embedded`] and [`Model::load`].
pub fn open(name: &str, device: &Device) -> Result<Model> {
    if names().any(|known| known == name) {
        embedded(name, device)
    } else {
        Model::load(Path::new(name), device)
    }
}

/// The calibrations inside the program: the model's name and the text.
const CALIBRATIONS: [(&str, &str); 1] = [("lanet-sface", include_str!("../../calibration/lanet-sface.toml"))];

/// The calibration inside the program that was made for a model, if there is one.
pub fn calibration(card: &Card) -> Option<Calibration> {
    let (_, text) = CALIBRATIONS.iter().find(|(name, _)| *name == card.name)?;
    // A model of the same name in a folder may have other weights.
    Calibration::parse(text, &card.fingerprint).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_model_tells_expressions_and_has_its_own_calibration() {
        let model = embedded(DEFAULT, &Device::Cpu).unwrap();
        assert!(LaNet::from_model(&model).is_ok());
        assert!(calibration(&model.card).is_some());
        let other = Card { fingerprint: "of other weights".into(), ..model.card };
        assert!(calibration(&other).is_none());
    }

    #[test]
    fn every_embedded_model_is_whole_and_has_its_name() {
        for name in names() {
            assert_eq!(embedded(name, &Device::Cpu).unwrap().card.name, name);
        }
        assert!(embedded("nonsense", &Device::Cpu).unwrap_err().is_usage());
    }
}
