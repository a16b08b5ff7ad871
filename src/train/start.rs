//! What a run begins from: bare weights of a backbone, or a model.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::recipe::Recipe;
use super::rehearsal;
use crate::error::{Context, Error, Result};
use crate::expression::COUNT;
use crate::net::lanet::{Pool, mixed};
use crate::net::{self, Backbone, Card, Model, Plan};

/// Tensors to begin from, by name.
#[derive(Debug, Clone)]
pub struct Start {
    /// Its name, for messages.
    pub name: String,
    /// The tensors, on the CPU.
    pub tensors: HashMap<String, Tensor>,
    /// The card, if it is a model.
    pub card: Option<Card>,
}

impl Start {
    /// The model of the program or of the folder of this name, or else the bare weights of this file.
    ///
    /// # Errors
    /// What is neither, or damaged.
    pub fn open(name: &str) -> Result<Self> {
        if !Path::new(name).is_file() {
            let mut start = Self::of_model(&net::open(name, &Device::Cpu)?);
            if let Some(card) = &start.card {
                start.tensors.extend(rehearsal::beside(name, card)?);
            }
            return Ok(start);
        }
        let failed = || format!("the starting weights {name} cannot be used");
        let bytes = std::fs::read(name).with_context(failed)?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).with_context(failed)?;
        Ok(Self { name: name.to_owned(), tensors, card: None })
    }

    /// A model.
    pub fn of_model(model: &Model) -> Self {
        let tensors = model.names().into_iter().filter_map(|name| {
            let tensor = model.tensor_if_any(name)?.clone();
            Some((name.to_owned(), tensor))
        });
        Self { name: model.card.name.clone(), tensors: tensors.collect(), card: Some(model.card.clone()) }
    }

    /// The backbone and the side of the faces, if it is a model.
    pub fn fits(&self) -> Option<(Backbone, usize)> {
        let card = self.card.as_ref()?;
        let backbone = card.network.strip_prefix("lanet-").unwrap_or(&card.network).parse().ok()?;
        Some((backbone, card.input.width))
    }

    /// What of its backbone its classifier sees.
    pub fn pools(&self, plan: &Plan) -> Vec<Pool> {
        let pool = |stage| {
            let grid = self.tensors.get(&plan.head(stage))?.dim(2).ok()?;
            Some(Pool { stage, grid })
        };
        (1..=plan.depth()).filter_map(pool).collect()
    }

    /// A tensor of its classifier, or of the one that its two classifiers make.
    pub fn of_classifier(&self, name: &str) -> Option<Tensor> {
        let mix = self.card.as_ref().and_then(|card| card.mix(None));
        mixed(|name| self.tensors.get(name).cloned(), mix)(name)
    }

    /// What is usually added to the scores of a model; zeros for others.
    pub fn offsets(&self) -> [f32; COUNT] {
        let learnt = self.card.as_ref().and_then(Card::learnt);
        learnt.map_or([0.0; COUNT], |learnt| learnt.offsets())
    }

    /// [`Recipe::personal`] for what this model has become, with a classifier that sees at least what its own sees. If the model
    /// has nothing to rehearse, a strong pull towards it stands in for that.
    ///
    /// # Errors
    /// Bare weights, or a model that tells no expressions.
    pub fn personal(&self) -> Result<Recipe> {
        let Some((backbone, side)) = self.fits() else {
            return Err(Error::usage(format!("{} tells no expressions that could be kept", self.name))
                .advice("choose a model that does, or learn without --adapt"));
        };
        let mut recipe = Recipe::personal(backbone, side);
        let plan = backbone.plan();
        let known = self.pools(&plan);
        let rehearses = self.tensors.keys().any(|name| name.starts_with(rehearsal::PREFIX));
        // Of layers without features to rehearse nothing would hold what is learnt.
        let held = |stage| {
            !rehearses || self.tensors.contains_key(&format!("{}{}", rehearsal::PREFIX, plan.head(stage)))
        };
        let usual = recipe.probe.take().unwrap_or_default();
        let new = usual
            .into_iter()
            .filter(|&Pool { stage, .. }| held(stage) && known.iter().all(|known| known.stage != stage));
        let mut pools: Vec<_> = new.chain(known.iter().copied()).collect();
        pools.sort_by_key(|pool| pool.stage);
        let (rehearsal, decay) = if rehearses { (recipe.rehearsal, recipe.decay) } else { (None, 200.0) };
        Ok(Recipe { probe: Some(pools), rehearsal, decay, ..recipe })
    }

    /// Where the weights come from, for the card of what is learnt from them.
    pub fn origin(&self) -> String {
        let file = || Path::new(&self.name).file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.card.as_ref().map_or_else(file, |card| card.origin.clone())
    }

    /// Refuses a model of another backbone, or one whose pictures are normalised in another way.
    ///
    /// # Errors
    /// Such a model.
    pub fn check(&self, recipe: &Recipe) -> Result<()> {
        let Some(card) = &self.card else { return Ok(()) };
        let (input, backbone) = (recipe.input(), recipe.backbone);
        if self.fits().is_none_or(|(found, _)| found != backbone)
            || (card.input.mean, card.input.std) != (input.mean, input.std)
        {
            let line = format!("the model {} is no start for the backbone {}", self.name, backbone.name());
            return Err(Error::usage(line).advice(format!("its network is {}", card.network)));
        }
        Ok(())
    }
}
