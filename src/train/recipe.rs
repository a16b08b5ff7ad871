//! What decides a run of training, and what of it cannot work.

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::contrast::Contrast;
use super::labels::Estimation;
use super::landmarks::Spots;
use super::lesson::Lesson;
use super::noise::Noise;
use super::optim::{Method, Schedule};
use super::order::Order;
use super::pictures::Augmentation;
use crate::error::{Error, Result};
use crate::net::lanet::Pool;
use crate::net::{Backbone, Input};

/// The second classifier, of what was meant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Meant {
    /// The weight of its cross-entropy while it learns.
    pub weight: f64,
    /// How much it has to say in the finished network: logits are (1 - mix) seen + mix meant.
    pub mix: f64,
}

/// Everything that decides a run, beside its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The backbone.
    pub backbone: Backbone,
    /// Rows and columns of the input.
    pub side: usize,
    /// Decides everything that is random.
    pub seed: u64,
    /// How often as many samples as there are have been seen at the end.
    pub epochs: usize,
    /// Samples to a step.
    pub batch: usize,
    /// How weights change.
    pub optimiser: Method,
    /// The first rate.
    pub rate: f64,
    /// How it falls.
    pub schedule: Schedule,
    /// How much weights shrink.
    pub decay: f64,
    /// Which samples an epoch has.
    pub order: Order,
    /// How pictures differ.
    pub augmentation: Augmentation,
    /// How often a rectangle of a picture is that of another face, and the labels are mixed by its area (CutMix).
    #[serde(default)]
    pub cutmix: f64,
    /// The weight of how much class activation maps of mirrored faces differ from mirrored maps, see
    /// [`super::loss::consistency`]; `None`: mirrored faces are not compared.
    #[serde(default)]
    pub consistency: Option<f64>,
    /// So many of the samples are learnt from, drawn by the seed; `None`: all.
    pub images: Option<usize>,
    /// Labels that are made wrong on purpose.
    pub noise: Option<Noise>,
    /// The backbone stays as it is, and a classifier learns on these of its stages; `None`: the backbone learns too,
    /// with a classifier on its last stage.
    pub probe: Option<Vec<Pool>>,
    /// Such a classifier is learnt as a change of that of the start, which `decay` keeps small: what the start can do is
    /// forgotten only where the data say otherwise (L2-SP, Li et al. 2018, arXiv 1802.01483). Logits are adjusted to how often
    /// the data show what, as by `adjust`, but what the finished network expects is what its start did.
    #[serde(default)]
    pub adapt: bool,
    /// How much it counts that such a classifier goes on to say of the faces that the start brings with it what the start says
    /// (see [`super::rehearsal`]): the weight of its divergence from that. `None`: nothing is rehearsed.
    #[serde(default)]
    pub rehearsal: Option<f64>,
    /// The last stage of the backbone that does not learn; 0 is the stem.
    pub frozen: Option<usize>,
    /// The weight of the landmark loss; `None` switches the landmark branch off, and EL with it.
    pub landmarks: Option<f64>,
    /// The standard deviation of a landmark's spot in sides of the face; `None`: 1.5 pixels of a heat map, whatever its size.
    pub sigma: Option<f64>,
    /// Label distribution estimation and the weight of its divergence; `None` switches it off.
    pub lde: Option<(Estimation, f64)>,
    /// The contrastive loss and its weight; `None` switches it off.
    pub el: Option<(Contrast, f64)>,
    /// Epochs before LDE and EL begin.
    pub warm_up: usize,
    /// The second classifier, where the data say what was meant.
    #[serde(default)]
    pub meant: Option<Meant>,
    /// Logit adjustment (Menon et al. 2021, arXiv 2007.07314): the logarithms of the classes' shares are added to the logits
    /// while learning, so that the network itself need not prefer what is frequent.
    #[serde(default)]
    pub adjust: bool,
    /// How much stays in a step of the moving average of the weights, which is judged and exported in their place.
    #[serde(default)]
    pub average: Option<f64>,
    /// Where stages are frozen and the landmark branch is off: in how many views of each face their outputs are
    /// remembered, if there is room; 0 computes them anew in each step. See [`super::remembered`].
    pub views: usize,
}

/// Refuses a device whose gradients are wrong.
///
/// # Errors
/// Metal.
pub fn check_device(device: &Device) -> Result<()> {
    if device.is_metal() {
        return Err(Error::usage("Candle 0.11.1 computes wrong gradients of convolutions on Metal")
            .advice("train with --device cpu, or on an NVIDIA GPU"));
    }
    Ok(())
}

impl Recipe {
    /// The authors' settings: Adam at 1e-3 falling in a line, batches of 128, 80 epochs.
    pub fn published(backbone: Backbone, side: usize) -> Self {
        Self {
            backbone,
            side,
            seed: 0,
            epochs: 80,
            batch: 128,
            optimiser: Method::Adam,
            rate: 1e-3,
            schedule: Schedule::Linear,
            decay: 0.0,
            order: Order::Balanced,
            augmentation: Augmentation::default(),
            cutmix: 0.0,
            consistency: None,
            images: None,
            noise: None,
            probe: None,
            adapt: false,
            rehearsal: None,
            frozen: None,
            landmarks: Some(1.0),
            sigma: None,
            lde: Some((Estimation::default(), 1.0)),
            el: Some((Contrast::default(), 0.1)),
            warm_up: 0,
            views: 4,
            meant: None,
            adjust: false,
            average: None,
        }
    }

    /// A classifier on a backbone that stays as it is, which learns in seconds once every face was seen as it is and
    /// mirrored: AdamW at 1e-3 falling along a cosine, decay 0.1, batches of 256, 40 epochs.
    pub fn classifier(backbone: Backbone, side: usize) -> Self {
        let ends = backbone.plan().ends;
        let stages = match backbone {
            // The 11th stage ends a row of equal ones.
            Backbone::MobilenetV1 => vec![5, 8, 11, 12, 13],
            _ => ends[1..].to_vec(),
        };
        Self {
            epochs: 40,
            batch: 256,
            optimiser: Method::AdamW,
            schedule: Schedule::Cosine,
            decay: 0.1,
            order: Order::Shuffled,
            probe: Some(stages.into_iter().map(|stage| Pool { stage, grid: 1 }).collect()),
            landmarks: None,
            lde: None,
            el: None,
            views: 2,
            ..Self::published(backbone, side)
        }
    }

    /// A classifier that learns, from clips of a few seconds, how somebody looks, and keeps what its start can do: AdamW as in
    /// [`Recipe::classifier`], 100 epochs in batches of 64, rehearsing with a weight of 10. LDE is off. What this was chosen from
    /// is in docs/accuracy.md.
    pub fn personal(backbone: Backbone, side: usize) -> Self {
        let usual = Self::classifier(backbone, side);
        Self { epochs: 100, batch: 64, adapt: true, adjust: true, rehearsal: Some(10.0), ..usual }
    }

    /// The same with no larger batches, and no more neighbours in them, than so few faces can fill at least twice.
    pub fn fitted(self, faces: usize) -> Self {
        let batch = self.batch.min(faces / 2).max(2);
        let few = |lde: Estimation| Estimation { neighbours: lde.neighbours.min(batch - 1), ..lde };
        Self { batch, lde: self.lde.map(|(lde, weight)| (few(lde), weight)), ..self }
    }

    /// What a card calls the network in use.
    pub fn network(&self) -> String {
        format!("lanet-{}", self.backbone.name())
    }

    /// How landmarks are drawn in heat maps of this side.
    pub fn spots(&self, side: usize) -> Spots {
        Spots { side, sigma: self.sigma.map_or(1.5, |sigma| sigma * side as f64) as f32 }
    }

    /// What goes into the network.
    pub fn input(&self) -> Input {
        self.backbone.input(self.side)
    }

    /// Draws the images and disturbs the labels of what is learnt from, with a backbone of so many stages on this device.
    ///
    /// # Errors
    /// What cannot work, with what to do instead.
    pub(super) fn prepare(&self, lesson: &mut Lesson, stages: usize, device: &Device) -> Result<()> {
        if let Some(images) = self.images {
            lesson.draw(images, self.seed);
        }
        self.check(lesson.len(), stages, device)?;
        if let Some(noise) = self.noise {
            lesson.disturb(noise, self.seed);
        }
        if self.meant.is_some() && lesson.meant.iter().all(Option::is_none) {
            return Err(Error::new("no face says what was meant").advice("leave --meant out"));
        }
        Ok(())
    }

    /// Refuses what cannot work, with what to do instead.
    ///
    /// # Errors
    /// What cannot work on so many samples, with a backbone of so many stages, on this device.
    fn check(&self, samples: usize, stages: usize, device: &Device) -> Result<()> {
        let refuse = |what: String, advice: &str| Err(Error::usage(what).advice(advice));
        check_device(device)?;
        if samples < 2 {
            return refuse(
                format!("{samples} samples are too few to learn from"),
                "use --data with more pictures",
            );
        }
        if self.batch < 2 || samples < self.batch {
            return refuse(
                format!("{samples} samples do not fill a batch of {}", self.batch),
                "use a --batch of at least 2 and at most the number of samples",
            );
        }
        if self.side < 32 || self.side > 1024 || self.epochs == 0 {
            return refuse(
                format!("{} epochs at {}x{} pixels cannot be learnt", self.epochs, self.side, self.side),
                "use at least one epoch and a side from 32 to 1024",
            );
        }
        if self.optimiser == Method::AdamW && self.rate * self.decay > 1.0 {
            return refuse(
                format!(
                    "a decay of {} at a rate of {} takes more off the weights than there is",
                    self.decay, self.rate
                ),
                "use --decay and --rate whose product is at most 1",
            );
        }
        if !(self.rate.is_finite() && self.rate > 0.0 && self.decay.is_finite() && self.decay >= 0.0) {
            return refuse(
                format!("nothing learns at a rate of {} with a decay of {}", self.rate, self.decay),
                "use a --rate such as 0.001, and a --decay from 0",
            );
        }
        if let Some((Estimation { neighbours, .. }, _)) = self.lde
            && (neighbours == 0 || neighbours >= self.batch)
        {
            return refuse(
                format!("{neighbours} neighbours cannot be found in a batch of {}", self.batch),
                "use fewer --neighbours than the batch has samples, or --lde off",
            );
        }
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let lde = self.lde.is_none_or(|(lde, weight)| share(lde.memory) && weight >= 0.0);
        let el = self.el.is_none_or(|(el, weight)| {
            share(el.momentum) && share(el.sure.into()) && el.queue > 0 && weight >= 0.0
        });
        if !lde || !el || self.landmarks.is_some_and(|weight| weight.is_nan() || weight < 0.0) {
            return refuse(
                "memory, momentum and what is sure are shares, queues hold at least one key, and weights are not negative"
                    .into(),
                "use --memory, --momentum and --sure from 0 to 1, --queue from 1, and weights from 0",
            );
        }
        if self.meant.is_some_and(|meant| !share(meant.mix) || meant.weight.is_nan() || meant.weight < 0.0)
            || self.average.is_some_and(|average| !share(average))
        {
            return refuse(
                "a mix and an average are shares, and a weight is not negative".into(),
                "use --mix and --average from 0 to 1, and --meant-weight from 0",
            );
        }
        let whole = self.probe.is_none() && self.frozen.is_none();
        if !share(self.cutmix) || self.cutmix > 0.0 && !(whole && self.lde.is_none()) {
            return refuse(
                "pictures are mixed with a share from 0 to 1, only while the whole net learns, and what neighbours say is \
                 said of whole pictures"
                    .into(),
                "use --cutmix from 0 to 1, with --lde off --el off and without --freeze",
            );
        }
        if self.consistency.is_some_and(|weight| !whole || !weight.is_finite() || weight < 0.0) {
            return refuse(
                "mirrored faces are compared with a weight that is not negative, and only while the whole net learns"
                    .into(),
                "use --flip-consistency from 0, without --freeze",
            );
        }
        if self.sigma.is_some_and(|sigma| !(sigma > 0.0 && sigma <= 1.0)) {
            return refuse(
                "a landmark's spot has a size".into(),
                "use --sigma over 0 and up to 1, such as 0.027",
            );
        }
        if self.el.is_some() && self.landmarks.is_none() {
            return refuse(
                "the contrastive loss compares faces with landmarks".into(),
                "use --el off with --landmark-branch off",
            );
        }
        if self.el.is_some() && self.lde.is_none() {
            return refuse(
                "the contrastive loss takes its pseudo-labels from label distribution estimation".into(),
                "use --el off with --lde off",
            );
        }
        if let Some(pools) = &self.probe {
            if self.landmarks.is_some() || self.frozen.is_some() {
                return refuse(
                    "where the whole backbone stays as it is, a landmark branch has nothing to share with it"
                        .into(),
                    "use --landmark-branch off, or --freeze with a number of stages",
                );
            }
            let known = |pool: &Pool| (1..=stages).contains(&pool.stage) && (1..=8).contains(&pool.grid);
            let twice = (1..pools.len()).any(|n| pools[..n].iter().any(|pool| pool.stage == pools[n].stage));
            if pools.is_empty() || twice || !pools.iter().all(known) || self.views == 0 {
                return refuse(
                    format!("a classifier needs a view of each face and layers of {}", self.backbone.name()),
                    &format!(
                        "use --views from 1, and --layers from 1 to {stages}, each once, with grids up to 8"
                    ),
                );
            }
        }
        if self.adapt && self.probe.is_none() {
            return refuse(
                "only a classifier on a frozen backbone is learnt as a change of that of the start".into(),
                "use --adapt off, or --freeze backbone",
            );
        }
        if self.rehearsal.is_some_and(|weight| !self.adapt || !weight.is_finite() || weight < 0.0) {
            return refuse(
                "only a classifier that is a change of that of the start rehearses what that said".into(),
                "use --rehearsal from 0, with --adapt on",
            );
        }
        if self.frozen.is_some_and(|last| last > stages) {
            return refuse(format!("{} has only {} stages", self.backbone.name(), stages), "freeze fewer");
        }
        Ok(())
    }
}
