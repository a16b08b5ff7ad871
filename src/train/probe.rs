//! A classifier on the means of some stages of a backbone that stays as it is: on standardised features, multinomial
//! logistic regression.
//!
//! Its weights hold the backbone as it came, to the bit, and the statistics `head.mean` and `head.variance` of the features
//! (F) beside what learns: `head.weight` (C, F), `head.bias` (C), the same of `meant` if there is a second classifier, and,
//! for LDE, `lde.f.*` and `lde.m.*`. Where what learns is a change, `head.base.weight` and `head.base.bias` are the
//! classifier that it changes, for features as they come; `head.rehearsal` (N, F) are features of faces of which it shall go on
//! to say what it said, `head.rehearsal.told` (N, C).

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};

use super::branches::{Branches, Seen};
use super::labels;
use super::landmarks;
use super::nursery::Nursery;
use super::ops;
use super::rehearsal::PREFIX;
use super::start::Start;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::expression::{COUNT, Expression};
use crate::net::lanet::Pool;
use crate::net::plan::{Plan, Stage};
use crate::net::{Card, Input, LaNet, Model};

/// Added to each feature's variance: what half precision cannot tell apart shall not be blown up.
const LEAST_VARIANCE: f64 = 1e-4;
const BASE_WEIGHT: &str = "head.base.weight";
const BASE_BIAS: &str = "head.base.bias";
const REHEARSAL: &str = "head.rehearsal";
const TOLD: &str = "head.rehearsal.told";

/// A classifier that learns, as a function of its [`Weights`].
#[derive(Debug, Clone)]
pub struct Probe {
    plan: Plan,
    pools: Vec<Pool>,
    meant: bool,
    adapt: bool,
    rehearse: bool,
    card: Card,
    backbone: OnceLock<LaNet>,
}

impl Probe {
    /// A classifier, or two with `meant`, on `pools` of the backbone of this plan, which a card calls `network`.
    pub fn new(plan: Plan, mut pools: Vec<Pool>, meant: bool, network: String, input: Input) -> Self {
        let card = Card {
            name: "backbone".into(),
            network,
            description: String::new(),
            origin: String::new(),
            licence: String::new(),
            fingerprint: String::new(),
            mix: None,
            prior: None,
            priors: None,
            input,
            classes: Expression::ALL.to_vec(),
            results: toml::Table::new(),
        };
        // In the order in which a network in use has them.
        pools.sort_by_key(|pool| pool.stage);
        Self { plan, pools, meant, adapt: false, rehearse: false, card, backbone: OnceLock::new() }
    }

    /// With `adapt` what learns is a change of the classifier of the start, and with `rehearse` what that says of what it
    /// rehearses is kept.
    pub fn adapting(self, adapt: bool, rehearse: bool) -> Self {
        Self { adapt, rehearse, ..self }
    }

    /// How many features there are.
    pub fn width(&self) -> usize {
        self.parts().map(|(_, channels, grid)| channels * grid * grid).sum()
    }

    /// For each pool the name of its part of the classifier, its channels and its grid.
    fn parts(&self) -> impl Iterator<Item = (String, usize, usize)> {
        self.pools.iter().map(|&Pool { stage, grid }| {
            let channels = self.plan.stages.get(stage).map_or(0, Stage::channels);
            (self.plan.head(stage), channels, grid)
        })
    }

    fn classifiers(&self) -> &[&str] {
        if self.meant { &["head", "meant"] } else { &["head"] }
    }

    /// New weights on the backbone of a start: a classifier that knows nothing, and, if wanted, what LDE learns.
    ///
    /// # Errors
    /// A start without this backbone.
    pub fn grow(&self, nursery: &mut Nursery, start: &Start, lde: bool) -> Result<Weights> {
        let mut weights = Weights::default();
        let zeros = |dims: &[usize]| Tensor::zeros(dims, nursery.dtype, &nursery.device);
        for name in self.classifiers() {
            weights.learn(format!("{name}.weight"), &zeros(&[COUNT, self.width()])?)?;
            weights.learn(format!("{name}.bias"), &zeros(&[COUNT])?)?;
        }
        if lde {
            labels::grow(&mut weights, nursery, "f", self.last().1)?;
            labels::grow(&mut weights, nursery, "m", 2 * landmarks::COUNT)?;
        }
        if self.adapt {
            self.keep_base(&mut weights, start, &nursery.device)?;
        }
        if self.rehearse {
            self.keep_rehearsal(&mut weights, start, &nursery.device)?;
        }
        let bare = Branches { plan: self.plan.clone(), landmarks: 0, frozen: None, meant: false };
        let mut grown = bare.grow(nursery)?;
        let folded = bare.start(&mut grown, start, &nursery.device, nursery.dtype)?;
        let tensors = if folded { start.tensors.clone() } else { bare.export(&grown)? };
        let layers: Vec<_> = self.plan.stages.iter().flat_map(Stage::layers).collect();
        let of_backbone = |name: &str| {
            let layer = name.rsplit_once('.').map_or("", |(layer, _)| layer);
            layers.iter().any(|known| known.name == layer)
        };
        for (name, tensor) in tensors.into_iter().filter(|(name, _)| of_backbone(name)) {
            weights.kept.insert(name, tensor.to_dtype(DType::F32)?.to_device(&nursery.device)?);
        }
        Ok(weights)
    }

    /// Where the features of the last pool are, in which faces are compared: the first of them, and how many.
    fn last(&self) -> (usize, usize) {
        let of_it = self.parts().last().map_or(0, |(_, channels, grid)| channels * grid * grid);
        (self.width() - of_it, of_it)
    }

    /// Keeps the classifier of a start, for features as they come; what it does not see has no weight.
    fn keep_base(&self, weights: &mut Weights, start: &Start, device: &Device) -> Result<()> {
        let refuse = || {
            Error::usage(format!("the classifier of {} cannot be adapted", start.name)).advice(
                "use --start with a model and --layers with all that its classifier sees, or --adapt off",
            )
        };
        let mut seen = 0;
        let parts = self.parts().map(|(name, channels, grid)| {
            let shape = (COUNT, channels * grid * grid);
            match start.of_classifier(&name) {
                Some(part) if part.dims() == [COUNT, channels, grid, grid] => {
                    seen += 1;
                    Ok(part.reshape(shape)?)
                }
                Some(_) => Err(refuse()),
                None => Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?),
            }
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let bias =
            start.of_classifier("head.bias").filter(|bias| bias.dims() == [COUNT]).ok_or_else(refuse)?;
        if seen == 0 || seen < start.pools(&self.plan).len() {
            return Err(refuse());
        }
        for (name, tensor) in [(BASE_WEIGHT, Tensor::cat(&parts, 1)?), (BASE_BIAS, bias)] {
            weights.kept.insert(name.into(), tensor.to_dtype(DType::F32)?.to_device(device)?);
        }
        Ok(())
    }

    /// Keeps what is rehearsed, and what the start says of it. Features are standardised by it: one that hardly differs in the
    /// frames of one person would be blown up by these.
    fn keep_rehearsal(&self, weights: &mut Weights, start: &Start, device: &Device) -> Result<()> {
        let part = |(name, ..): (String, _, _)| start.tensors.get(&format!("{PREFIX}{name}")).cloned();
        let parts = self.parts().map(part).collect::<Option<Vec<_>>>().ok_or_else(|| {
            Error::usage(format!("{} has nothing to rehearse for these layers", start.name))
                .advice("leave --layers out, or use --rehearsal 0")
        })?;
        let features = Tensor::cat(&parts, 1)?.to_dtype(DType::F32)?.to_device(device)?; // (N, F)
        if features.dim(1)? != self.width() {
            return Err(Error::new(format!("what {} rehearses does not fit its network", start.name)));
        }
        let mean = features.mean(0)?;
        let variance = features.broadcast_sub(&mean)?.sqr()?.mean(0)?;
        let (weight, bias) =
            base(weights).ok_or_else(|| Error::new("a classifier that is new rehearses nothing"))?;
        let logits = features.matmul(&weight.t()?)?.broadcast_add(bias)?;
        let offsets = Tensor::new(&start.offsets(), device)?;
        let told = ops::log_softmax(&logits.broadcast_add(&offsets)?)?.exp()?; // (N, C)
        let kept = [("head.mean", mean), ("head.variance", variance), (REHEARSAL, features), (TOLD, told)];
        weights.kept.extend(kept.map(|(name, tensor)| (name.to_owned(), tensor)));
        Ok(())
    }

    /// Features (N, F) for each tensor of the classifier, under the names of [`super::rehearsal`].
    ///
    /// # Errors
    /// Features of another width.
    pub fn by_part(&self, features: &Tensor) -> Result<BTreeMap<String, Tensor>> {
        let mut first = 0;
        let parts = self.parts().map(|(name, channels, grid)| {
            let part = features.narrow(1, first, channels * grid * grid)?.contiguous()?;
            first += channels * grid * grid;
            Ok((format!("{PREFIX}{name}"), part))
        });
        parts.collect()
    }

    /// What the backbone makes of pictures (B, 3, H, W): (B, F).
    ///
    /// # Errors
    /// Pictures or weights that do not fit.
    pub fn features(&self, weights: &Weights, pictures: &Tensor) -> Result<Tensor> {
        let backbone = match self.backbone.get() {
            Some(backbone) => backbone,
            None => {
                let net = LaNet::from_model(&Model::new(self.card.clone(), self.export(weights)?))?;
                self.backbone.get_or_init(|| net)
            }
        };
        backbone.features(pictures)
    }

    /// Gathers the statistics of what the backbone makes of pictures (B, 3, H, W).
    ///
    /// # Errors
    /// As [`Probe::features`].
    pub fn measure(&self, weights: &mut Weights, pictures: &Tensor) -> Result<()> {
        let features = self.features(weights, pictures)?;
        weights.measure("head", &features.unsqueeze(1)?.unsqueeze(1)?)
    }

    /// Ends the gathering of statistics.
    pub fn settle(&self, weights: &mut Weights) {
        weights.kept.remove("head.count");
    }

    /// Features (B, F) as they come to what is seen in them.
    ///
    /// # Errors
    /// Features of another width.
    pub fn forward(&self, weights: &Weights, features: &Tensor) -> Result<Seen> {
        let standard = match statistics(weights)? {
            Some((mean, deviation)) => features.broadcast_sub(&mean)?.broadcast_div(&deviation)?,
            None => features.clone(),
        };
        let mut logits = weights.linear("head", &standard)?;
        if let Some((weight, bias)) = base(weights) {
            logits = (logits + features.matmul(&weight.t()?)?.broadcast_add(bias)?)?;
        }
        let meant = self.meant.then(|| weights.linear("meant", &standard)).transpose()?;
        let (first, count) = self.last();
        let features = standard.narrow(1, first, count)?.contiguous()?;
        Ok(Seen { features, map: None, logits, meant, landmark: None })
    }

    /// The tensors of a [`LaNet`]: the backbone as it came, and a classifier for features as they come.
    ///
    /// # Errors
    /// A tensor that is missing.
    pub fn export(&self, weights: &Weights) -> Result<HashMap<String, Tensor>> {
        let backbone = weights.kept.iter().filter(|(name, _)| !name.starts_with("head."));
        let mut tensors: HashMap<_, _> = backbone.map(|(name, t)| (name.clone(), t.clone())).collect();
        for classifier in self.classifiers() {
            let mut weight = weights.get(&format!("{classifier}.weight"))?.detach(); // (C, F)
            let mut bias = weights.get(&format!("{classifier}.bias"))?.detach(); // (C)
            if let Some((mean, deviation)) = statistics(weights)? {
                weight = weight.broadcast_div(&deviation)?;
                bias = (bias - weight.matmul(&mean.unsqueeze(1)?)?.squeeze(1)?)?;
            }
            if let (Some((base_weight, base_bias)), "head") = (base(weights), *classifier) {
                weight = (weight + base_weight)?;
                bias = (bias + base_bias)?;
            }
            let mut first = 0;
            for (name, channels, grid) in self.parts() {
                let part = weight.narrow(1, first, channels * grid * grid)?;
                let part = part.reshape((COUNT, channels, grid, grid))?;
                tensors.insert(name.replacen("head", classifier, 1), part);
                first += channels * grid * grid;
            }
            tensors.insert(format!("{classifier}.bias"), bias);
        }
        Ok(tensors)
    }
}

/// The classifier that is changed, if what learns is a change.
fn base(weights: &Weights) -> Option<(&Tensor, &Tensor)> {
    Some((weights.kept.get(BASE_WEIGHT)?, weights.kept.get(BASE_BIAS)?))
}

/// Features (N, F) that are rehearsed, and what the start said of them (N, C), if any are.
pub fn rehearsed(weights: &Weights) -> Option<(&Tensor, &Tensor)> {
    Some((weights.kept.get(REHEARSAL)?, weights.kept.get(TOLD)?))
}

/// Mean and deviation (F) of the features, once they were measured.
fn statistics(weights: &Weights) -> Result<Option<(Tensor, Tensor)>> {
    let (Some(mean), Some(variance)) = (weights.kept.get("head.mean"), weights.kept.get("head.variance"))
    else {
        return Ok(None);
    };
    Ok(Some((mean.clone(), variance.affine(1.0, LEAST_VARIANCE)?.sqrt()?)))
}
