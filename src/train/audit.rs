//! Which labels are probably wrong: those that lie far from what is estimated without them.
//!
//! The faces are shared out in parts. A classifier on landmarks and on a backbone that stays as it is learns from the given
//! labels of the other parts and tells those of a part (out of fold). Then, as in label distribution estimation (LA-Net, see
//! [`super::labels`]), each face hears its nearest neighbours in expression and landmark space. The three voices are
//! independent witnesses rather than guesses at one number, so their probabilities are multiplied and not averaged.

use std::collections::BTreeSet;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::features::Features;
use super::landmarks::{self, Landmarks};
use super::lesson::Lesson;
use super::loss;
use super::neighbours::Space;
use super::optim::Optimiser;
use super::recipe::Recipe;
use super::start::Start;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::expression::{COUNT, Distribution, Expression};
use crate::folds::share_out;

/// How an audit is done.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The classifier: its backbone, and how it learns.
    pub recipe: Recipe,
    /// In so many parts (5).
    pub parts: usize,
    /// So many neighbours are heard in each space (16).
    pub neighbours: usize,
}

/// A classifier has at least so many steps to learn in, however few the faces are.
const STEPS: usize = 100;
/// How much a face's own picture counts, and the neighbours of both spaces together: above 1 in all the estimate would be
/// surer than it is right.
const OWN: f32 = 0.75;
const HEARD: f32 = 0.75;
/// No neighbours make anything impossible.
const LEAST: f32 = 0.01;

impl Settings {
    /// The usual ones, on the backbone of a recipe.
    pub fn new(recipe: Recipe) -> Self {
        Self { recipe: Recipe { epochs: 8, ..recipe }, parts: 5, neighbours: 16 }
    }
}

/// What came of one face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// The label that it was given.
    pub given: Expression,
    /// What the classifier tells that has not seen its label.
    pub told: Distribution,
    /// What is estimated without its label.
    pub estimate: Distribution,
    /// How far the estimate lies from the label, see [`doubt`].
    pub doubt: f64,
}

/// What is being done, how many faces of how many are.
pub type Progress = (&'static str, usize, usize);

/// An audit: an iterator over what is done, and then [`Audit::finish`].
#[derive(Debug)]
pub struct Audit {
    lesson: Lesson,
    settings: Settings,
    groups: Vec<usize>,
    parts: Vec<usize>,
    features: Features,
    weights: Weights,
    told: Vec<Option<Distribution>>,
    landmarks: Tensor, // (N, 2 L)
    spaces: Vec<(Space, Vec<bool>)>,
    estimates: Vec<Distribution>,
    stage: Stage,
    forgotten: Option<Error>,
    device: Device,
}

#[derive(Debug)]
enum Stage {
    See,
    Learn { part: usize, fit: Option<Box<Fit>> },
    Compare,
    Done,
}

/// A classifier that learns to tell the faces of one part.
#[derive(Debug)]
struct Fit {
    weights: Weights,
    optimiser: Optimiser,
    rng: Xoshiro256PlusPlus,
    seen: Vec<usize>,
    epoch: usize,
}

impl Audit {
    /// Prepares to look at the labels of a lesson. `groups` says which faces belong together, such as those of one person or
    /// clip: none of them judges another. Features are kept in the folder `cache`.
    ///
    /// # Errors
    /// Too few faces, groups or expressions to compare, or a start that does not fit.
    pub fn new(
        lesson: Lesson,
        groups: Vec<usize>,
        settings: Settings,
        start: &Start,
        cache: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        let classes = lesson.classes();
        let distinct = |of: &[usize]| of.iter().collect::<BTreeSet<_>>().len();
        let refuse = |what: &str| {
            Err(Error::new(format!("{what}: labels are found wrong by comparing them"))
                .advice("use --data with more labelled faces"))
        };
        if lesson.len() < 2 * settings.parts || groups.len() != lesson.len() {
            return refuse(&format!("{} faces are too few", lesson.len()));
        }
        if distinct(&classes) < 2 {
            return refuse("all faces have one label");
        }
        if distinct(&groups) < 2 {
            return refuse("all faces belong to one clip or person");
        }
        let parts = share_out(&classes, &groups, settings.parts, settings.recipe.seed);
        let mut settings = settings;
        let recipe = &mut settings.recipe;
        recipe.epochs = recipe.epochs.max(STEPS.div_ceil(lesson.len().div_ceil(recipe.batch)));
        let features = Features::new(&settings.recipe, &lesson, start, cache, device)?;
        Ok(Self {
            told: vec![None; lesson.len()],
            weights: Weights::default(),
            landmarks: landmarks_of(&lesson)?.to_device(device)?,
            spaces: Vec::new(),
            estimates: Vec::new(),
            stage: Stage::See,
            forgotten: None,
            device: device.clone(),
            lesson,
            settings,
            groups,
            parts,
            features,
        })
    }

    /// Keeps what was seen, for an audit that ends early.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn remember(&self) -> Result<()> {
        self.features.save()
    }

    /// Why features could not be kept, if they could not.
    pub fn forgotten(&self) -> Option<&Error> {
        self.forgotten.as_ref()
    }

    /// What came of each face, in their order; `None` where no other part has its expression, so that nothing can be said.
    /// What is not done yet is done now.
    ///
    /// # Errors
    /// As the iterator.
    pub fn finish(mut self) -> Result<(Lesson, Vec<Option<Finding>>)> {
        for progress in self.by_ref() {
            progress?;
        }
        let classes = self.lesson.classes();
        let known =
            |n: usize| (0..classes.len()).any(|m| self.parts[m] != self.parts[n] && classes[m] == classes[n]);
        let findings = self.estimates.iter().enumerate().map(|(n, &estimate)| {
            let (given, told) = (Expression::ALL[classes[n]], self.told[n]?);
            known(n).then(|| Finding { given, told, estimate, doubt: doubt(given, &estimate) })
        });
        let findings = findings.collect();
        Ok((self.lesson, findings))
    }

    fn advance(&mut self) -> Result<Option<Progress>> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::See => {
                let new = self.features.advance(&self.lesson)?;
                let (done, all) = self.features.progress();
                if done < all {
                    self.stage = Stage::See;
                } else {
                    if new {
                        self.forgotten = self.features.save().err();
                    }
                    self.weights = self.features.settled()?;
                    let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &self.device);
                    self.weights.learn("landmarks.weight", &zeros(&[COUNT, 2 * landmarks::COUNT])?)?;
                    self.weights.learn("landmarks.bias", &zeros(&[COUNT])?)?;
                    self.stage = Stage::Learn { part: 0, fit: None };
                }
                Ok(Some(("faces seen", done, all)))
            }
            Stage::Learn { part, fit } => {
                let count = self.parts.iter().max().map_or(0, |last| last + 1);
                let mut fit = match fit {
                    Some(fit) => fit,
                    None => Box::new(self.begin(part)?),
                };
                self.learn(&mut fit)?;
                let (epoch, epochs) = (fit.epoch, self.settings.recipe.epochs);
                self.stage = if epoch < epochs {
                    Stage::Learn { part, fit: Some(fit) }
                } else {
                    self.tell(part, &fit.weights)?;
                    if part + 1 < count { Stage::Learn { part: part + 1, fit: None } } else { Stage::Compare }
                };
                Ok(Some(("rounds of learning", part * epochs + epoch, count * epochs)))
            }
            Stage::Compare => {
                self.compare()?;
                let (done, all) = (self.estimates.len(), self.lesson.len());
                if done < all {
                    self.stage = Stage::Compare;
                }
                Ok(Some(("faces compared", done, all)))
            }
            Stage::Done => Ok(None),
        }
    }

    /// A classifier that knows nothing, for the faces of one part.
    fn begin(&self, part: usize) -> Result<Fit> {
        let mut weights = self.weights.clone();
        for (name, tensor) in &self.weights.learnt {
            weights.learn(name.clone(), &tensor.zeros_like()?)?;
        }
        let recipe = &self.settings.recipe;
        Ok(Fit {
            weights,
            optimiser: Optimiser::new(recipe.optimiser, recipe.decay),
            rng: Xoshiro256PlusPlus::seed_from_u64(recipe.seed),
            seen: (0..self.parts.len()).filter(|&n| self.parts[n] != part).collect(),
            epoch: 0,
        })
    }

    /// Learns once from every face that a fit may see.
    fn learn(&self, fit: &mut Fit) -> Result<()> {
        let recipe = &self.settings.recipe;
        fit.seen.shuffle(&mut fit.rng);
        let batches: Vec<_> = fit.seen.chunks(recipe.batch).collect();
        for (n, batch) in batches.iter().enumerate() {
            let done = (fit.epoch * batches.len() + n) as f64 / (recipe.epochs * batches.len()) as f64;
            let labels: Vec<f32> = batch.iter().flat_map(|&face| self.lesson.labels[face]).collect();
            let labels = Tensor::from_vec(labels, (batch.len(), COUNT), &self.device)?;
            let grads = loss::cross_entropy(&self.logits(&fit.weights, batch)?, &labels)?.backward()?;
            fit.optimiser.step(&fit.weights, &grads, recipe.rate * recipe.schedule.share(done), |_| true)?;
        }
        fit.epoch += 1;
        Ok(())
    }

    /// What a classifier says of some faces (B, C).
    fn logits(&self, weights: &Weights, faces: &[usize]) -> Result<Tensor> {
        let seen = self.features.forward(weights, &self.features.of(faces)?)?.logits;
        let faces: Vec<u32> = faces.iter().map(|&face| face as u32).collect();
        let faces = Tensor::new(faces, &self.device)?;
        Ok((seen + weights.linear("landmarks", &self.landmarks.index_select(&faces, 0)?)?)?)
    }

    /// Lets a classifier tell the faces of its part.
    fn tell(&mut self, part: usize, weights: &Weights) -> Result<()> {
        let faces: Vec<usize> = (0..self.parts.len()).filter(|&n| self.parts[n] == part).collect();
        for faces in faces.chunks(self.settings.recipe.batch) {
            let logits = self.logits(weights, faces)?;
            for (&face, logits) in
                faces.iter().zip(logits.flatten_all()?.to_vec1::<f32>()?.as_chunks::<COUNT>().0)
            {
                self.told[face] = Some(Distribution::softmax(*logits));
            }
        }
        Ok(())
    }

    /// Estimates the labels of some more faces.
    fn compare(&mut self) -> Result<()> {
        if self.spaces.is_empty() {
            let all = vec![true; self.lesson.len()];
            self.spaces.push((self.expression_space()?, all));
            let has = self.lesson.faces.iter().map(|face| face.landmarks.is_some()).collect();
            self.spaces.push((Space::new(&self.landmarks)?, has));
        }
        let first = self.estimates.len();
        let mut heard = Vec::new();
        for (space, has) in &self.spaces {
            let may =
                |own: usize, other: usize| has[own] && has[other] && self.groups[own] != self.groups[other];
            heard.push(space.nearest(first, self.settings.neighbours, may)?);
        }
        let told = |face: usize| self.told[face].unwrap_or(Distribution([1.0 / COUNT as f32; COUNT]));
        let says = |face: usize, c: usize| 0.5 * (self.lesson.labels[face][c] + told(face).0[c]);
        for row in 0..heard[0].len() {
            let own = told(first + row);
            let mut logits = own.0.map(|p| OWN * p.max(f32::MIN_POSITIVE).ln());
            let spaces: Vec<_> =
                heard.iter().map(|space| &space[row]).filter(|near| !near.is_empty()).collect();
            for near in &spaces {
                for (c, logit) in logits.iter_mut().enumerate() {
                    let voice: f32 = near.iter().map(|&face| says(face, c)).sum();
                    *logit += HEARD / spaces.len() as f32 * (voice / near.len() as f32 + LEAST).ln();
                }
            }
            self.estimates.push(Distribution::softmax(logits));
        }
        Ok(())
    }

    /// The standardised features of the last stage: those of earlier ones say less about what a face is like as a whole.
    fn expression_space(&self) -> Result<Space> {
        let faces: Vec<usize> = (0..self.lesson.len()).collect();
        let seen = faces
            .chunks(self.settings.recipe.batch)
            .map(|faces| self.features.last_stage(&self.weights, faces));
        Space::new(&Tensor::cat(&seen.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

impl Iterator for Audit {
    type Item = Result<Progress>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// How far an estimate lies from a label: the probability that it is wrong, 1 - self-confidence in the words of confident
/// learning (Northcutt et al. 2021, arXiv 1911.00068).
pub fn doubt(given: Expression, estimate: &Distribution) -> f64 {
    1.0 - f64::from(estimate.of(given))
}

/// Where landmarks lie beside those of the mean face, in standard deviations (N, 2 L); a face without any is the mean face.
fn landmarks_of(lesson: &Lesson) -> Result<Tensor> {
    const WIDTH: usize = 2 * landmarks::COUNT;
    let numbers = |face: &Landmarks| -> [f64; WIDTH] {
        std::array::from_fn(|n| f64::from(if n % 2 == 0 { face[n / 2].x } else { face[n / 2].y }))
    };
    let faces: Vec<_> = lesson.faces.iter().map(|face| face.landmarks.as_ref().map(numbers)).collect();
    let share = 1.0 / faces.iter().flatten().count().max(1) as f64;
    let mean = |of: &dyn Fn(&[f64; WIDTH], usize) -> f64| -> [f64; WIDTH] {
        std::array::from_fn(|n| faces.iter().flatten().map(|face| of(face, n)).sum::<f64>() * share)
    };
    let middle = mean(&|face, n| face[n]);
    let variance = mean(&|face, n| (face[n] - middle[n]).powi(2));
    let standard = |n: usize, value: f64| ((value - middle[n]) / (variance[n] + 1e-9).sqrt()) as f32;
    let rows =
        faces.iter().flat_map(|face| (0..WIDTH).map(move |n| face.map_or(0.0, |face| standard(n, face[n]))));
    Ok(Tensor::from_vec(rows.collect(), (faces.len(), WIDTH), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::super::lesson::tests::lesson;
    use super::*;
    use crate::geometry::Point;

    #[test]
    fn landmarks_are_measured_from_the_mean_face() {
        let mut lesson = lesson(6, 2);
        for (n, face) in lesson.faces.iter_mut().enumerate() {
            face.landmarks = (n > 0).then_some([Point::new(n as f32, 5.0); landmarks::COUNT]);
        }
        let rows = landmarks_of(&lesson).unwrap().to_vec2::<f32>().unwrap();
        let expected = [0.0, -2.0, -1.0, 0.0, 1.0, 2.0].map(|x: f32| x / 2f32.sqrt());
        for (row, expected) in rows.iter().zip(expected) {
            assert!((row[0] - expected).abs() < 1e-4 && row[1] == 0.0, "{row:?}");
        }
    }

    #[test]
    fn a_label_is_doubted_as_much_as_the_rest_is_probable() {
        let estimate = Distribution([0.7, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!((doubt(Expression::Neutral, &estimate) - 0.3).abs() < 1e-6);
        assert!((doubt(Expression::Fear, &estimate) - 1.0).abs() < 1e-6);
    }
}
