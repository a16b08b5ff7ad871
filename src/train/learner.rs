//! What learns: a whole network, or a classifier on a backbone that stays as it is. A step treats both alike.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Tensor};

use super::branches::{Branches, Seen};
use super::landmarks;
use super::nursery::Nursery;
use super::probe::{Probe, rehearsed};
use super::recipe::Recipe;
use super::start::Start;
use super::weights::{Mode, Weights};
use crate::error::{Error, Result};
use crate::kernels::learn;
use crate::net::Plan;

/// A network as a function of its weights.
#[derive(Debug, Clone)]
pub enum Learner {
    /// A backbone with a classifier on its last stage, and maybe a landmark branch.
    Branches(Branches),
    /// A classifier on several stages of a backbone that does not learn.
    Probe(Box<Probe>),
}

impl Learner {
    /// The network of a recipe.
    pub fn new(recipe: &Recipe, plan: Plan) -> Self {
        let meant = recipe.meant.is_some();
        let landmarks = if recipe.landmarks.is_some() { landmarks::COUNT } else { 0 };
        match recipe.probe.clone() {
            None => Self::Branches(Branches { plan, landmarks, frozen: recipe.frozen, meant }),
            Some(pools) => {
                let probe = Probe::new(plan, pools, meant, recipe.network(), recipe.input());
                Self::Probe(Box::new(probe.adapting(recipe.adapt, recipe.rehearsal.is_some())))
            }
        }
    }

    /// New weights, from a start if there is one, and whether they must be settled.
    ///
    /// # Errors
    /// A start that does not fit, or none where the backbone does not learn.
    pub fn grow(&self, nursery: &mut Nursery, start: Option<&Start>, lde: bool) -> Result<(Weights, bool)> {
        match (self, start) {
            (Self::Branches(net), None) => Ok((net.grow(nursery)?, false)),
            (Self::Branches(net), Some(start)) => {
                let mut weights = net.grow(nursery)?;
                let folded = net.start(&mut weights, start, &nursery.device, DType::F32)?;
                Ok((weights, folded))
            }
            (Self::Probe(probe), Some(start)) => {
                let weights = probe.grow(nursery, start, lde)?;
                let unsettled = !weights.kept.contains_key("head.mean");
                Ok((weights, unsettled))
            }
            (Self::Probe(_), None) => Err(Error::usage("a backbone that stays random tells nothing")
                .advice("use --start with a model or with weights")),
        }
    }

    /// Gathers what is needed to settle weights from pictures (B, 3, H, W).
    ///
    /// # Errors
    /// Pictures that do not fit.
    pub fn measure(&self, weights: &mut Weights, pictures: &Tensor) -> Result<()> {
        match self {
            Self::Branches(net) => net.measure(weights, pictures),
            Self::Probe(probe) => probe.measure(weights, pictures),
        }
    }

    /// Puts batch norm into folded weights, or standardises features, by what was measured.
    ///
    /// # Errors
    /// The device has no room.
    pub fn settle(&self, weights: &mut Weights) -> Result<()> {
        match self {
            Self::Branches(net) => net.settle(weights),
            Self::Probe(probe) => {
                probe.settle(weights);
                Ok(())
            }
        }
    }

    /// Whether what does not learn gives outputs that can be computed once: nothing else needs the pictures.
    pub fn can_remember(&self) -> bool {
        match self {
            Self::Branches(net) => net.frozen.is_some() && net.landmarks == 0,
            Self::Probe(_) => true,
        }
    }

    /// What of it does not learn makes of pictures (B, 3, H, W), without a gradient: maps (B, H', W', C) or features (B, F).
    ///
    /// # Errors
    /// Pictures that do not fit.
    pub fn frozen_part(&self, weights: &mut Weights, pictures: &Tensor) -> Result<Tensor> {
        match self {
            Self::Branches(net) => net.frozen_part(weights, pictures),
            Self::Probe(probe) => probe.features(weights, pictures),
        }
    }

    /// From pictures (B, 3, H, W) to what is seen in them.
    ///
    /// # Errors
    /// Pictures that do not fit.
    pub fn forward(&self, weights: &mut Weights, sight: &Sight, mode: Mode) -> Result<Seen> {
        match (self, sight) {
            (Self::Branches(net), Sight::Pictures(x)) => {
                net.forward_from(weights, &learn::channels_last(x)?, 0, mode)
            }
            (Self::Branches(net), Sight::Remembered(x)) => {
                net.forward_from(weights, x, net.frozen.map_or(0, |last| last + 1), mode)
            }
            (Self::Probe(probe), Sight::Pictures(x)) => probe.forward(weights, &probe.features(weights, x)?),
            (Self::Probe(probe), Sight::Remembered(x)) => probe.forward(weights, x),
        }
    }

    /// What is rehearsed, under the names of [`super::rehearsal`]; empty if nothing is.
    ///
    /// # Errors
    /// The device has no room.
    pub fn rehearsal(&self, weights: &Weights) -> Result<BTreeMap<String, Tensor>> {
        match (self, rehearsed(weights)) {
            (Self::Probe(probe), Some((features, _))) => probe.by_part(features),
            _ => Ok(BTreeMap::new()),
        }
    }

    /// Whether faces are compared by where their landmarks are, in place of what a landmark branch makes of them.
    pub fn compares_landmarks(&self) -> bool {
        matches!(self, Self::Probe(_))
    }

    /// The side of the heat maps that it draws of pictures of `side` x `side`, if it draws any.
    pub fn map_side(&self, side: usize) -> Option<usize> {
        match self {
            Self::Branches(net) if net.landmarks > 0 => Some(net.plan.map_side(side)),
            Self::Branches(_) | Self::Probe(_) => None,
        }
    }

    /// Whether a tensor of this name learns.
    pub fn learns(&self, name: &str) -> bool {
        match self {
            Self::Branches(net) => net.learns(name),
            Self::Probe(_) => true,
        }
    }

    /// The tensors of the network in use, see [`crate::net::LaNet`].
    ///
    /// # Errors
    /// A tensor that is missing.
    pub fn export(&self, weights: &Weights) -> Result<HashMap<String, Tensor>> {
        match self {
            Self::Branches(net) => net.export(weights),
            Self::Probe(probe) => probe.export(weights),
        }
    }
}

/// What a batch of faces is seen as.
#[derive(Debug, Clone)]
pub enum Sight {
    /// Pictures (B, 3, H, W).
    Pictures(Tensor),
    /// What [`Learner::frozen_part`] made of them.
    Remembered(Tensor),
}
