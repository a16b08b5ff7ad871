//! Label distribution estimation (LDE): what the neighbours of a sample think of it, and the bank that remembers.
//!
//! Source: LA-Net (Wu and Cui 2023, arXiv 2307.09023), section 3.3. In each of two feature spaces, f (expression)
//! and m (landmarks), a sample's nearest neighbours in the batch vote with their predictions; a learnt score says
//! how much each counts. The votes flow into a bank with one distribution for each training sample, which
//! starts as the given label and becomes the target that the network is pulled towards.

use candle_core::Tensor;

use super::nursery::Nursery;
use super::ops;
use super::weights::Weights;
use crate::error::{Error, Result};

/// How labels are estimated.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Estimation {
    /// How many neighbours vote (8 in the paper).
    pub neighbours: usize,
    /// The share of the bank in target and update (0.9).
    pub memory: f64,
}

impl Default for Estimation {
    fn default() -> Self {
        Self { neighbours: 8, memory: 0.9 }
    }
}

/// The `k` most similar other rows, by cosine, of each row of x (B, d): (B, k), most similar first.
/// Of equals, the first. No gradient.
///
/// # Errors
/// `k` is zero, or as many as there are rows or more.
pub fn nearest(x: &Tensor, k: usize) -> Result<Vec<Vec<u32>>> {
    let b = x.dim(0)?;
    if k == 0 || k >= b {
        return Err(Error::usage(format!("{k} neighbours cannot be found in a batch of {b}"))
            .advice("use more than 0 and fewer neighbours than the batch has samples"));
    }
    let x = ops::unit(&x.detach())?;
    let similar = x.matmul(&x.t()?)?.to_dtype(candle_core::DType::F32)?.to_vec2::<f32>()?; // (B, B)
    Ok(similar
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let mut others: Vec<u32> = (0..b as u32).filter(|&j| j as usize != i).collect();
            let by_similarity =
                |&p: &u32, &q: &u32| row[q as usize].total_cmp(&row[p as usize]).then(p.cmp(&q));
            others.select_nth_unstable_by(k - 1, by_similarity);
            others.truncate(k);
            others.sort_unstable_by(by_similarity);
            others
        })
        .collect())
}

/// Adds the pair score of one space of dimension d: `lde.SPACE.halves`, and a perceptron d -> d/2 -> d/4 -> 2.
///
/// # Errors
/// A dimension that has no quarter.
pub fn grow(weights: &mut Weights, nursery: &mut Nursery, space: &str, d: usize) -> Result<()> {
    if d < 4 || !d.is_multiple_of(2) {
        return Err(Error::new(format!("features of {d} numbers have no halves to compare")));
    }
    nursery.linear(weights, &format!("lde.{space}.halves"), d, d)?;
    nursery.linear(weights, &format!("lde.{space}.first"), d, d / 2)?;
    nursery.linear(weights, &format!("lde.{space}.second"), d / 2, d / 4)?;
    nursery.linear(weights, &format!("lde.{space}.third"), d / 4, 2)
}

/// How much each neighbour counts, for features x (B, d) and neighbours j (B, K): rows of weights (B, K) that sum
/// to 1. A pair (i, j) is scored on the first half of what `halves` makes of i and the second half of j.
///
/// The first layer of the perceptron is linear in both halves, so that it is computed once for each sample
/// instead of once for each pair.
///
/// # Errors
/// Weights that are missing or do not fit.
pub fn pair_weights(weights: &Weights, space: &str, x: &Tensor, neighbours: &Tensor) -> Result<Tensor> {
    let (b, d) = x.dims2()?;
    let (_, k) = neighbours.dims2()?;
    let halves = weights.linear(&format!("lde.{space}.halves"), x)?; // (B, d)
    let first = weights.get(&format!("lde.{space}.first.weight"))?; // (d/2, d)
    let (left, right) = (first.narrow(1, 0, d / 2)?, first.narrow(1, d / 2, d / 2)?);
    let own = halves.narrow(1, 0, d / 2)?.contiguous()?.matmul(&left.t()?)?; // (B, d/2)
    let own = own.broadcast_add(weights.get(&format!("lde.{space}.first.bias"))?)?;
    let others = halves.narrow(1, d / 2, d / 2)?.contiguous()?.matmul(&right.t()?)?; // (B, d/2)
    let others = others.index_select(&neighbours.flatten_all()?, 0)?.reshape((b, k, d / 2))?;
    let hidden = others.broadcast_add(&own.unsqueeze(1)?)?.relu()?.reshape((b * k, d / 2))?;
    let hidden = weights.linear(&format!("lde.{space}.second"), &hidden)?.relu()?; // (B K, d/4)
    let scores = weights.linear(&format!("lde.{space}.third"), &hidden)?; // (B K, 2)
    let weight = ops::log_softmax(&scores)?.narrow(1, 0, 1)?.reshape((b, k))?; // its logarithm
    // Divided by their sum without a small number beside it: the loss would make all weights smaller than that.
    Ok(ops::log_softmax(&weight)?.exp()?)
}

/// What the neighbours say in one space: sum_k weight_ik softmax(logits of neighbour k of i); features (B, d),
/// logits (B, C), result (B, C).
///
/// # Errors
/// As [`nearest`] and [`pair_weights`].
pub fn votes(weights: &Weights, space: &str, features: &Tensor, logits: &Tensor, k: usize) -> Result<Tensor> {
    let (b, c) = logits.dims2()?;
    let neighbours = nearest(features, k)?.concat();
    let neighbours = Tensor::from_vec(neighbours, (b, k), features.device())?;
    let weight = pair_weights(weights, space, features, &neighbours)?; // (B, K)
    let said = ops::log_softmax(logits)?.exp()?; // (B, C)
    let said = said.index_select(&neighbours.flatten_all()?, 0)?.reshape((b, k, c))?;
    Ok(said.broadcast_mul(&weight.unsqueeze(2)?)?.sum(1)?)
}

/// The estimate t (B, C): the mean of what the neighbours say in the spaces given, each a name and features (B, d).
///
/// # Errors
/// As [`votes`]; no space.
pub fn estimate(weights: &Weights, spaces: &[(&str, &Tensor)], logits: &Tensor, k: usize) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for (name, features) in spaces {
        let said = votes(weights, name, features, logits, k)?;
        sum = Some(match sum {
            None => said,
            Some(sum) => (sum + said)?,
        });
    }
    let sum = sum.ok_or_else(|| Error::new("labels cannot be estimated without features"))?;
    Ok((sum / spaces.len() as f64)?)
}

/// One distribution over the C classes for each training sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Bank {
    /// The distributions, one after the other.
    pub rows: Vec<f32>,
    /// C.
    pub classes: usize,
}

impl Bank {
    /// A bank of the labels as given.
    pub fn new(labels: impl IntoIterator<Item = Vec<f32>>, classes: usize) -> Self {
        Self { rows: labels.into_iter().flatten().collect(), classes }
    }

    /// How many samples it knows.
    pub fn len(&self) -> usize {
        self.rows.len() / self.classes.max(1)
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The distributions of some samples (B, C), like `like` in type and device.
    ///
    /// # Errors
    /// A sample that it does not know.
    pub fn read(&self, samples: &[usize], like: &Tensor) -> Result<Tensor> {
        let mut rows = Vec::with_capacity(samples.len() * self.classes);
        for &sample in samples {
            rows.extend_from_slice(self.row(sample)?);
        }
        let rows = Tensor::from_vec(rows, (samples.len(), self.classes), &candle_core::Device::Cpu)?;
        Ok(rows.to_dtype(like.dtype())?.to_device(like.device())?)
    }

    /// The distribution of one sample.
    ///
    /// # Errors
    /// A sample that it does not know.
    pub fn row(&self, sample: usize) -> Result<&[f32]> {
        self.rows
            .get(sample * self.classes..(sample + 1) * self.classes)
            .ok_or_else(|| Error::new(format!("there is no label for sample {sample}")))
    }

    /// The most probable class of one sample, the first of equals; 0 if it does not know the sample.
    pub fn top(&self, sample: usize) -> usize {
        self.row(sample).map_or(0, ops::top)
    }

    /// bank = memory * bank + (1 - memory) * t for some samples; t (B, C), detached. A sample that is there
    /// twice moves twice.
    ///
    /// # Errors
    /// A sample that it does not know, or a `t` of another shape.
    pub fn remember(&mut self, samples: &[usize], t: &Tensor, memory: f64) -> Result<()> {
        let t = t.detach().to_dtype(candle_core::DType::F32)?.to_vec2::<f32>()?;
        for (&sample, new) in samples.iter().zip(&t) {
            self.row(sample)?;
            let row = &mut self.rows[sample * self.classes..(sample + 1) * self.classes];
            for (old, new) in row.iter_mut().zip(new) {
                *old = (memory * f64::from(*old) + (1.0 - memory) * f64::from(*new)) as f32;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::nursery::tests::nursery;
    use super::super::ops::tests::{check_gradient, noise, scalar};
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn neighbours_by_hand() {
        // Directions at 0, 10, 50, 90 degrees; lengths do not matter, and nobody is its own neighbour.
        let x: [[f64; 2]; 4] = [(0.0, 1.0), (10.0, 5.0), (50.0, 0.1), (90.0, 2.0)]
            .map(|(a, r): (f64, f64)| [r * a.to_radians().cos(), r * a.to_radians().sin()]);
        let x = Tensor::new(&x, &Device::Cpu).unwrap();
        assert_eq!(nearest(&x, 2).unwrap(), [[1, 2], [0, 2], [1, 3], [2, 1]]);
        assert_eq!(nearest(&x, 3).unwrap()[0], [1, 2, 3]);
        for k in [0, 4, 9] {
            assert!(nearest(&x, k).unwrap_err().line().contains("neighbours"));
        }
        let same = Tensor::ones((4, 2), DType::F64, &Device::Cpu).unwrap();
        assert_eq!(nearest(&same, 2).unwrap(), [[1, 2], [0, 2], [0, 1], [0, 1]]);
    }

    fn grown(d: usize) -> Weights {
        let mut weights = Weights::default();
        grow(&mut weights, &mut nursery(DType::F64), "f", d).unwrap();
        for (name, tensor) in weights.learnt.clone() {
            if name.ends_with("bias") {
                weights.learn(name, &noise(tensor.dims(), 8)).unwrap();
            }
        }
        weights
    }

    #[test]
    fn pair_weights_are_those_of_the_perceptron_on_each_pair() {
        let (b, d) = (5, 8);
        let weights = grown(d);
        let x = noise(&[b, d], 1);
        let neighbours = nearest(&x, 3).unwrap();
        let index = Tensor::new(neighbours.clone(), &Device::Cpu).unwrap();
        let ours = pair_weights(&weights, "f", &x, &index).unwrap().to_vec2::<f64>().unwrap();
        let halves = weights.linear("lde.f.halves", &x).unwrap();
        for i in 0..b {
            let mut plain = Vec::new();
            for &j in &neighbours[i] {
                let a = halves.narrow(0, i, 1).unwrap().narrow(1, 0, d / 2).unwrap();
                let c = halves.narrow(0, j as usize, 1).unwrap().narrow(1, d / 2, d / 2).unwrap();
                let pair = Tensor::cat(&[a, c], 1).unwrap();
                let h = weights.linear("lde.f.first", &pair).unwrap().relu().unwrap();
                let h = weights.linear("lde.f.second", &h).unwrap().relu().unwrap();
                let s = weights.linear("lde.f.third", &h).unwrap().to_vec2::<f64>().unwrap();
                plain.push(1.0 / (1.0 + (s[0][1] - s[0][0]).exp()));
            }
            let sum: f64 = plain.iter().sum();
            for (ours, plain) in ours[i].iter().zip(plain) {
                assert!((ours - plain / sum).abs() < 1e-7, "{ours} {plain}");
            }
            assert!((ours[i].iter().sum::<f64>() - 1.0).abs() < 1e-7);
        }
    }

    #[test]
    fn neighbours_that_hardly_count_still_sum_to_one() {
        let mut weights = grown(8);
        let far = Tensor::new(&[-40f64, 40.0], &Device::Cpu).unwrap();
        weights.learn("lde.f.third.bias", &far).unwrap();
        let x = noise(&[5, 8], 1);
        let index = Tensor::new(nearest(&x, 3).unwrap(), &Device::Cpu).unwrap();
        let sums = pair_weights(&weights, "f", &x, &index).unwrap().sum(1).unwrap().to_vec1::<f64>().unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-7), "{sums:?}");
        // What they say is a distribution, and so are a target and a loss that make sense.
        let t = votes(&weights, "f", &x, &noise(&[5, 7], 2), 3).unwrap();
        let loss = super::super::loss::divergence(&t, &noise(&[5, 7], 3)).unwrap();
        assert!(loss.to_scalar::<f64>().unwrap() >= 0.0);
    }

    #[test]
    fn equal_scores_give_the_mean_of_the_neighbours_predictions() {
        let mut weights = grown(4);
        for part in ["weight", "bias"] {
            let name = format!("lde.f.third.{part}");
            let zeros = weights.get(&name).unwrap().zeros_like().unwrap();
            weights.learn(name, &zeros).unwrap();
        }
        // 0 and 1 are near to each other, and so are 2 and 3.
        let x = Tensor::new(
            &[[1f64, 0., 0., 0.], [1., 0.1, 0., 0.], [0., 0., 1., 0.], [0., 0., 1., 0.1]],
            &Device::Cpu,
        )
        .unwrap();
        let logits =
            Tensor::new(&[[0f64, 0.], [3f64.ln(), 0.], [9f64.ln(), 0.], [0., 0.]], &Device::Cpu).unwrap();
        let t = votes(&weights, "f", &x, &logits, 1).unwrap().to_vec2::<f64>().unwrap();
        for (found, expected) in t.iter().zip([[0.75, 0.25], [0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]) {
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-7), "{t:?}");
        }
        // The mean of two spaces that agree is what each says.
        let both = estimate(&weights, &[("f", &x), ("f", &x)], &logits, 1).unwrap().to_vec2::<f64>().unwrap();
        assert!((both[0][0] - 0.75).abs() < 1e-7);
        assert!(estimate(&weights, &[], &logits, 1).is_err());
    }

    #[test]
    fn the_gradient_flows_through_features_logits_and_scores() {
        let weights = grown(8);
        let pick = noise(&[5, 3], 4);
        // The neighbours stay the same under small steps.
        check_gradient(&[noise(&[5, 8], 1), noise(&[5, 3], 2)], |t| {
            (votes(&weights, "f", &t[0], &t[1], 2).unwrap() * &pick).unwrap().sum_all().unwrap()
        });
        let loss =
            (votes(&weights, "f", &noise(&[5, 8], 1), &noise(&[5, 3], 2), 2).unwrap() * &pick).unwrap();
        let grads = loss.sum_all().unwrap().backward().unwrap();
        for (name, tensor) in &weights.learnt {
            let size = scalar(&grads.get(tensor).unwrap().abs().unwrap().max_all().unwrap());
            assert!(size > 0.0, "{name}");
        }
    }

    #[test]
    fn the_bank_moves_a_tenth_of_the_way() {
        let mut bank = Bank::new([vec![1.0, 0.0], vec![0.0, 1.0]], 2);
        let t = Tensor::new(&[[0.5f32, 0.5], [1.0, 0.0]], &Device::Cpu).unwrap();
        bank.remember(&[1, 1], &t, 0.9).unwrap();
        assert_eq!(bank.row(0).unwrap(), [1.0, 0.0]);
        // 0 -> 0.05 -> 0.145
        assert!((bank.row(1).unwrap()[0] - 0.145).abs() < 1e-6);
        assert_eq!(bank.read(&[0], &t).unwrap().to_vec2::<f32>().unwrap(), [[1.0, 0.0]]);
        assert!(bank.remember(&[2], &t, 0.9).is_err() && bank.read(&[7], &t).is_err());
        assert_eq!((bank.len(), bank.is_empty()), (2, false));
    }
}
