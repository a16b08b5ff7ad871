//! Weights and the card that describes them: they travel together, in a folder or inside the program.
//!
//! A model is a folder of `card.toml` and `weights.safetensors`. The card holds the fingerprint (SHA-256) of the
//! weights, so that a damaged file and a calibration made for other weights are both noticed.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::calibration::Learnt;
use crate::error::{Context, Error, Kind, Result};
use crate::expression::Expression;
use crate::frame::Image;
use crate::part::FolderPart;
use crate::prior::{Prior, Shares};

/// What a model is, where it comes from and what may be done with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Its name, which is that of its folder.
    pub name: String,
    /// Which network reads the weights, such as `blazeface` or `lanet-mobilenet-v1`.
    pub network: String,
    /// What it does, in a sentence or two.
    pub description: String,
    /// Where the weights come from: files, papers, data they were learnt from.
    pub origin: String,
    /// The licence of the weights, as an SPDX expression.
    pub licence: String,
    /// SHA-256 of `weights.safetensors`, in hexadecimal.
    pub fingerprint: String,
    /// How much the second classifier, `meant.*`, has to say where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// How much of `priors` is expected where nobody says what to expect: 1 (if it does not say) is natural, 0 balanced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prior: Option<f32>,
    /// What goes in.
    pub input: Input,
    /// What comes out, in order; empty for networks that do not classify.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Expression>,
    /// How often faces showed what in the data that it learnt from, if its logits say how well a face fits an expression and
    /// leave it to whoever reads them how frequent that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priors: Option<Shares>,
    /// Measured results, each with its protocol in its name.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub results: toml::Table,
}

impl Card {
    /// Refuses numbers that mean nothing.
    fn check(&self) -> Result<()> {
        let mixes = match self.mix {
            None => [0.0; 2],
            Some(Mix::Always(mix)) => [mix; 2],
            Some(Mix::ByPrior { natural, balanced }) => [natural, balanced],
        };
        if !mixes.into_iter().chain(self.prior).all(|share| (0.0..=1.0).contains(&share)) {
            return Err(Error::new("prior and mix are numbers from 0 to 1"));
        }
        let Input { width, height, mean, std, .. } = self.input;
        let sides = [width, height].into_iter().all(|side| (1..=LARGEST).contains(&side));
        let usable = |std: f32| std.is_finite() && std > 0.0;
        if !sides || !std.into_iter().all(usable) || !mean.into_iter().all(f32::is_finite) {
            return Err(Error::new(format!("the input has sides from 1 to {LARGEST}, and a std over 0")));
        }
        Ok(())
    }

    /// How its logits are to be read, if they leave it out how frequent expressions are.
    pub fn learnt(&self) -> Option<Learnt> {
        Some(Learnt { shares: self.priors?, usual: self.prior.unwrap_or(1.0) })
    }

    /// Whether what the network says goes with what is expected.
    pub fn mixes_by_prior(&self) -> bool {
        matches!(self.mix, Some(Mix::ByPrior { .. }))
    }

    /// How much the second classifier has to say, from 0 to 1, where `prior` is expected, or else what is usual.
    pub fn mix(&self, prior: Option<Prior>) -> Option<f32> {
        let power = match prior {
            Some(Prior::Learnt(power)) => power,
            Some(Prior::Shares(_)) | None => self.prior.unwrap_or(1.0),
        };
        self.mix.map(|mix| match mix {
            Mix::Always(mix) => mix,
            Mix::ByPrior { natural, balanced } => balanced + power * (natural - balanced),
        })
    }
}

/// What a classifier of what is seen and another of what was meant say together: logits are (1 - mix) head + mix meant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Mix {
    /// The same mix whatever is expected.
    Always(f32),
    /// People who are filmed as they are, are best read by what taggers see; people who show an expression, by what was
    /// meant. Between the two in a line.
    ByPrior {
        /// Where expressions are as frequent as in the data that the network learnt from.
        natural: f32,
        /// Where all expressions are equally frequent.
        balanced: f32,
    },
}

/// The largest side of an input, in pixels.
const LARGEST: usize = 4096;

/// The input tensor of a network: (batch, 3, height, width), each value (pixel - mean) / std with pixels 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The order of the channels.
    pub channels: Channels,
    /// Subtracted from each channel, in the order of `channels`.
    pub mean: [f32; 3],
    /// Each channel is divided by it afterwards.
    pub std: [f32; 3],
}

/// What the three input channels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Three times the luminance (ITU-R BT.601).
    Grey,
}

impl Input {
    /// Some pictures as the tensor (batch, 3, height, width).
    ///
    /// # Errors
    /// A picture of another size.
    pub fn tensor(&self, images: &[Image], device: &Device) -> Result<Tensor> {
        let plane = self.width * self.height;
        let mut values = vec![0f32; images.len() * 3 * plane];
        for (image, values) in images.iter().zip(values.chunks_exact_mut((3 * plane).max(1))) {
            if (image.width(), image.height()) != (self.width, self.height) {
                return Err(Error::new(format!(
                    "a network for pictures of {}x{} pixels cannot take {image:?}",
                    self.width, self.height
                )));
            }
            let (pixels, _) = image.pixels().as_chunks::<3>();
            for (channel, plane) in values.chunks_exact_mut(plane).enumerate() {
                let scale = self.std[channel].recip();
                let shift = -self.mean[channel] * scale;
                let value = |pixel: &[u8; 3]| match self.channels {
                    Channels::Rgb => f32::from(pixel[2 - channel]),
                    Channels::Bgr => f32::from(pixel[channel]),
                    Channels::Grey => {
                        let [b, g, r] = pixel.map(f32::from);
                        0.114 * b + 0.587 * g + 0.299 * r
                    }
                };
                for (out, pixel) in plane.iter_mut().zip(pixels) {
                    *out = value(pixel) * scale + shift;
                }
            }
        }
        Ok(Tensor::from_vec(values, (images.len(), 3, self.height, self.width), device)?)
    }
}

/// The file beside the weights that holds what is rehearsed while their classifier is adapted.
pub const REHEARSAL: &str = "rehearsal.safetensors";

/// A card with its weights, as f32 tensors on one device.
#[derive(Debug, Clone)]
pub struct Model {
    /// The description.
    pub card: Card,
    tensors: HashMap<String, Tensor>,
}

impl Model {
    /// Puts weights and a card together; the card's fingerprint is set when it is saved.
    pub fn new(card: Card, tensors: HashMap<String, Tensor>) -> Self {
        Self { card, tensors }
    }

    /// The model of a folder.
    ///
    /// # Errors
    /// A folder without card or weights, a card that cannot be read, weights that are not those of the card.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let at = folder.display();
        let card = fs::read_to_string(folder.join("card.toml"))
            .with_context(|| format!("the model '{at}' has no card.toml that can be read"))
            .map_err(|e| e.advice("a model is a folder of card.toml and weights.safetensors"))?;
        let weights = fs::read(folder.join("weights.safetensors"))
            .with_context(|| format!("the model '{at}' has no weights.safetensors that can be read"))?;
        Self::parse(&card, &weights, device).map_err(|cause| {
            Error::new(format!("the model '{at}' cannot be used")).because(cause).of_kind(Kind::Model)
        })
    }

    /// The model with this card and the bytes of this safetensors file.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn parse(card: &str, weights: &[u8], device: &Device) -> Result<Self> {
        let card: Card = toml::from_str(card).context("its card.toml is not a model's card")?;
        card.check().context("its card.toml is not a model's card")?;
        if fingerprint(weights) != card.fingerprint {
            return Err(Error::new("its weights.safetensors is damaged, or is not the one of its card")
                .advice("get both files again"));
        }
        let tensors = candle_core::safetensors::load_buffer(weights, device)
            .context("its weights.safetensors cannot be read")?
            .into_iter()
            .map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F32)?)))
            .collect::<Result<_>>()?;
        Ok(Self { card, tensors })
    }

    /// Writes the model into `folder`, with weights as `dtype`; the whole folder appears at once or not at all.
    /// An older model of that name is replaced. Returns the card as written.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn save(&self, folder: &Path, dtype: DType) -> Result<Card> {
        self.save_with(folder, dtype, |_, _| Ok(()))
    }

    /// As [`Model::save`]; `more` gets the card and the folder before it appears, and writes what belongs to the weights.
    ///
    /// # Errors
    /// As [`Model::save`], and what `more` says.
    pub fn save_with(
        &self,
        folder: &Path,
        dtype: DType,
        more: impl FnOnce(&Card, &Path) -> Result<()>,
    ) -> Result<Card> {
        let failed = || format!("the model '{}' cannot be saved", folder.display());
        let mut bytes = Vec::new();
        let mut names: Vec<_> = self.tensors.keys().collect();
        names.sort();
        let tensors = names
            .into_iter()
            .map(|name| Ok((name, self.tensors[name].to_dtype(dtype)?.to_device(&Device::Cpu)?)))
            .collect::<Result<Vec<_>>>()?;
        bytes.extend(safetensors::serialize(tensors, None).with_context(failed)?);
        let card = Card { fingerprint: fingerprint(&bytes), ..self.card.clone() };
        let text = toml::to_string(&card).with_context(failed)?;

        let part = FolderPart::create(folder)?;
        may_become_model(folder)?;
        fs::write(part.path().join("weights.safetensors"), bytes).with_context(failed)?;
        fs::write(part.path().join("card.toml"), text).with_context(failed)?;
        more(&card, part.path())?;
        part.finish().with_context(failed)?;
        Ok(card)
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// The weights do not have it.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| {
            Error::new(format!("the model {} has no tensor '{name}'", self.card.name))
                .advice("its network and its weights do not belong together")
        })
    }

    /// A tensor by name, if the weights have it.
    pub fn tensor_if_any(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.tensors.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

/// Refuses a folder that holds anything but a model: [`Model::save`] replaces the whole of it.
///
/// # Errors
/// Such a folder, or a file of that name.
pub fn may_become_model(folder: &Path) -> Result<()> {
    let parts = ["card.toml", "weights.safetensors", "calibration.toml", REHEARSAL];
    // Hidden files are what a killed program or the system left.
    let is_part = |entry: fs::DirEntry| {
        let name = entry.file_name();
        parts.iter().any(|part| name == *part) || name.to_string_lossy().starts_with('.')
    };
    if !folder.exists() || fs::read_dir(folder).is_ok_and(|entries| entries.flatten().all(is_part)) {
        return Ok(());
    }
    Err(Error::new(format!("'{}' holds more than a model, and is not replaced", folder.display()))
        .advice("choose another folder"))
}

/// SHA-256 in hexadecimal.
pub fn fingerprint(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let card = Card {
            name: "toy".into(),
            network: "toy".into(),
            description: String::new(),
            origin: "a test".into(),
            licence: "MIT".into(),
            fingerprint: String::new(),
            mix: None,
            prior: None,
            priors: None,
            input: Input { width: 1, height: 2, channels: Channels::Bgr, mean: [1.0; 3], std: [2.0; 3] },
            classes: Expression::ALL.to_vec(),
            results: toml::Table::new(),
        };
        let tensor = Tensor::new(&[1f32, 2.0, 0.5], &Device::Cpu).unwrap();
        Model::new(card, HashMap::from([("w".into(), tensor)]))
    }

    #[test]
    fn a_mix_is_one_number_or_goes_with_what_is_expected() {
        let card = |mix: &str| {
            let card = Card { prior: Some(0.5), ..model().card };
            let text = format!("mix = {mix}\n{}", toml::to_string(&card).unwrap());
            toml::from_str::<Card>(&text).unwrap()
        };
        let always = card("0.25");
        assert_eq!((always.mix, always.mixes_by_prior()), (Some(Mix::Always(0.25)), false));
        assert_eq!(always.mix(Some(Prior::BALANCED)), Some(0.25));
        let by_prior = card("{ natural = 0.25, balanced = 0.75 }");
        assert!(by_prior.mixes_by_prior());
        let told = |prior| by_prior.mix(prior).unwrap();
        assert_eq!([None, Some(Prior::NATURAL), Some(Prior::BALANCED)].map(told), [0.5, 0.25, 0.75]);
        assert_eq!(toml::from_str::<Card>(&toml::to_string(&by_prior).unwrap()).unwrap(), by_prior);
        assert_eq!(model().card.mix(None), None);
    }

    #[test]
    fn an_input_orders_and_scales_the_channels() {
        let image = Image::new(1, 2, vec![1, 2, 3, 10, 20, 30]).unwrap();
        let values = |channels| {
            let input = Input { width: 1, height: 2, channels, mean: [1.0, 2.0, 3.0], std: [2.0; 3] };
            let tensor = input.tensor(&[image.clone(), image.clone()], &Device::Cpu).unwrap();
            assert_eq!(tensor.dims(), [2, 3, 2, 1]);
            tensor.get(1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(values(Channels::Bgr), [0.0, 4.5, 0.0, 9.0, 0.0, 13.5]);
        assert_eq!(values(Channels::Rgb), [1.0, 14.5, 0.0, 9.0, -1.0, 3.5]);
        let grey = values(Channels::Grey);
        assert!((grey[0] * 2.0 + 1.0 - 2.185).abs() < 1e-4 && grey[0] - grey[2] == 0.5, "{grey:?}");
        let input = Input { width: 2, height: 2, channels: Channels::Bgr, mean: [0.0; 3], std: [1.0; 3] };
        assert!(input.tensor(&[image], &Device::Cpu).is_err());
        assert_eq!(input.tensor(&[], &Device::Cpu).unwrap().dims(), [0, 3, 2, 2]);
    }

    #[test]
    fn a_model_appears_together_with_what_belongs_to_its_weights() {
        let folder = std::env::temp_dir().join(format!("lanet-together-{}", std::process::id()));
        let more = |card: &Card, fresh: &Path| {
            assert!(!folder.exists() && fresh.join("weights.safetensors").exists());
            fs::write(fresh.join("calibration.toml"), &card.fingerprint).context("a test")
        };
        let card = model().save_with(&folder, DType::F32, more).unwrap();
        assert_eq!(fs::read_to_string(folder.join("calibration.toml")).unwrap(), card.fingerprint);
        // What fails leaves the older one.
        assert!(model().save_with(&folder, DType::F16, |_, _| Err(Error::new("no"))).is_err());
        assert_eq!(Model::load(&folder, &Device::Cpu).unwrap().card, card);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_saved_model_comes_back_and_a_damaged_one_is_refused() {
        let folder = std::env::temp_dir().join(format!("lanet-card-{}", std::process::id()));
        for dtype in [DType::F32, DType::F16] {
            let card = model().save(&folder, dtype).unwrap();
            let back = Model::load(&folder, &Device::Cpu).unwrap();
            assert_eq!(back.card, card);
            assert_eq!(back.tensor("w").unwrap().to_vec1::<f32>().unwrap(), [1.0, 2.0, 0.5]);
            assert!(back.tensor("v").unwrap_err().line().contains("'v'"));
        }
        let card = fs::read_to_string(folder.join("card.toml")).unwrap();
        for (from, to) in [
            ("width = ", "width = 99999"),
            ("name = ", "prior = 1.5\nname = "),
            ("std = [", "std = [0.0, 1.0, 1.0] #"),
        ] {
            assert!(card.contains(from), "{card}");
            let changed = card.replacen(from, to, 1);
            fs::write(folder.join("card.toml"), changed).unwrap();
            let line = Model::load(&folder, &Device::Cpu).unwrap_err().line();
            assert!(line.contains("card.toml is not a model's card"), "{to}: {line}");
        }
        fs::write(folder.join("card.toml"), card).unwrap();
        fs::write(folder.join("diary.txt"), "mine").unwrap();
        assert!(model().save(&folder, DType::F16).unwrap_err().line().contains("not replaced"));
        fs::remove_file(folder.join("diary.txt")).unwrap();
        assert!(model().save(Path::new(".."), DType::F16).unwrap_err().is_usage());
        let path = folder.join("weights.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(Model::load(&folder, &Device::Cpu).unwrap_err().line().contains("damaged"));
        fs::remove_file(folder.join("card.toml")).unwrap();
        assert!(Model::load(&folder, &Device::Cpu).unwrap_err().line().contains("card.toml"));
        fs::remove_dir_all(folder).unwrap();
    }
}
