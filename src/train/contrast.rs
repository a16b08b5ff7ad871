//! The expression-landmark contrastive loss (EL): faces of one expression have landmarks alike.
//!
//! Source: LA-Net (Wu and Cui 2023, arXiv 2307.09023), section 3.4, in the manner of momentum contrast (He et al.
//! 2020, arXiv 1911.05722): queries come from the network, keys from a copy of it that follows slowly, and the
//! keys of the last batches wait in queues as examples of other expressions.

use candle_core::{D, DType, Device, Tensor};

use super::nursery::Nursery;
use super::ops;
use super::weights::Weights;
use crate::error::{Error, Result};

/// The constants of the loss.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Contrast {
    /// How much of the momentum network stays in a step (0.999).
    pub momentum: f64,
    /// How many keys a queue holds (8,192).
    pub queue: usize,
    /// Similarities are divided by it (0.1).
    pub temperature: f64,
    /// A target is a pseudo-label from this probability on (0.7).
    pub sure: f32,
}

impl Default for Contrast {
    fn default() -> Self {
        Self { momentum: 0.999, queue: 8192, temperature: 0.1, sure: 0.7 }
    }
}

/// Adds the projection of one space: linear d -> d, ReLU, linear d -> `width`.
///
/// # Errors
/// The device has no room.
pub fn grow(weights: &mut Weights, nursery: &mut Nursery, space: &str, d: usize, width: usize) -> Result<()> {
    nursery.linear(weights, &format!("el.{space}.first"), d, d)?;
    nursery.linear(weights, &format!("el.{space}.second"), d, width)
}

/// Features (B, d) as directions (B, width) of unit length.
///
/// # Errors
/// Weights that are missing or do not fit.
pub fn project(weights: &Weights, space: &str, features: &Tensor) -> Result<Tensor> {
    let hidden = weights.linear(&format!("el.{space}.first"), features)?.relu()?;
    ops::unit(&weights.linear(&format!("el.{space}.second"), &hidden)?)
}

/// The pseudo-label of each sample: the most probable class of its target (B, C) if it is sure, else a class of
/// the sample's own, C + its number.
///
/// # Errors
/// A target that is no table.
pub fn pseudo_labels(target: &Tensor, samples: &[usize], sure: f32) -> Result<Vec<u32>> {
    let rows = target.detach().to_dtype(DType::F32)?.to_vec2::<f32>()?;
    Ok(rows
        .iter()
        .zip(samples)
        .map(|(row, &sample)| {
            let top = ops::top(row);
            if row.get(top).is_some_and(|&p| p >= sure) { top as u32 } else { (row.len() + sample) as u32 }
        })
        .collect())
}

/// The keys of the last batches in both spaces, oldest first, and their pseudo-labels.
#[derive(Debug, Clone)]
pub struct Queues {
    /// Expression keys (n, width).
    pub expression: Tensor,
    /// Landmark keys (n, width).
    pub landmark: Tensor,
    /// The pseudo-label of each (n).
    pub labels: Vec<u32>,
}

impl Queues {
    /// Queues without keys.
    ///
    /// # Errors
    /// The device has no room.
    pub fn new(device: &Device) -> Result<Self> {
        // The first keys say how wide it is.
        let none = Tensor::zeros((0, 0), DType::F32, device)?;
        Ok(Self { expression: none.clone(), landmark: none, labels: Vec::new() })
    }

    /// Puts the keys (B, width) of a batch in; the oldest leave so that `room` stay.
    ///
    /// # Errors
    /// Keys of another width, or numbers that do not fit each other.
    pub fn push(
        &mut self,
        expression: &Tensor,
        landmark: &Tensor,
        labels: &[u32],
        room: usize,
    ) -> Result<()> {
        if expression.dim(0)? != labels.len() || landmark.dim(0)? != labels.len() {
            return Err(Error::new("keys and pseudo-labels differ in number"));
        }
        self.labels.extend_from_slice(labels);
        let gone = self.labels.len().saturating_sub(room);
        self.labels.drain(..gone);
        let append = |old: &Tensor, new: &Tensor| -> Result<Tensor> {
            let new = new.detach();
            let all = if old.dim(0)? == 0 { new } else { Tensor::cat(&[old, &new], 0)? };
            Ok(all.narrow(0, gone, all.dim(0)? - gone)?.copy()?)
        };
        self.expression = append(&self.expression, expression)?;
        self.landmark = append(&self.landmark, landmark)?;
        Ok(())
    }
}

/// One direction of the loss: queries q (B, w) against the keys k (B, w) of the batch and a queue (n, w).
///
/// For a query i and every key j of the same pseudo-label, with s = q . k / temperature:
/// -log(e^s_ij / (e^s_ij + sum over queue entries u of another label e^s_iu)), the mean over j, then over i.
/// With z_i the log of that sum this is log(1 + e^(z_i - s_ij)).
///
/// # Errors
/// Shapes that do not fit each other; an empty queue.
pub fn one_way(
    queries: &Tensor,
    keys: &Tensor,
    labels: &[u32],
    queue: &Tensor,
    queue_labels: &[u32],
    temperature: f64,
) -> Result<Tensor> {
    let b = labels.len();
    let mask = |rows: &[u32], columns: &[u32], same: bool| -> Result<Tensor> {
        let values: Vec<f32> =
            rows.iter().flat_map(|r| columns.iter().map(move |c| f32::from((r == c) == same))).collect();
        let mask = Tensor::from_vec(values, (rows.len(), columns.len()), &Device::Cpu)?;
        Ok(mask.to_dtype(queries.dtype())?.to_device(queries.device())?)
    };
    let others = mask(labels, queue_labels, false)?; // (B, n)
    let waiting = (queries.matmul(&queue.detach().t()?)? / temperature)?; // (B, n)
    // An entry of the same label gets e^-1e9 = 0.
    let waiting = (waiting + others.affine(1e9, -1e9)?)?;
    let top = waiting.detach().max_keepdim(D::Minus1)?;
    let z = (waiting.broadcast_sub(&top)?.exp()?.sum_keepdim(D::Minus1)?.log()? + top)?; // (B, 1)
    let s = (queries.matmul(&keys.detach().t()?)? / temperature)?; // (B, B)
    let x = s.neg()?.broadcast_add(&z)?;
    let each = (x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?)?; // log(1 + e^x)
    let same = mask(labels, labels, true)?; // (B, B); the diagonal is 1
    let mean = ((each * &same)?.sum(1)? / same.sum(1)?)?; // (B)
    Ok((mean.sum_all()? / b.max(1) as f64)?)
}

/// Both directions together: expression queries against landmark keys, landmark queries against expression keys.
/// `None` as long as the queues are empty.
///
/// # Errors
/// Shapes that do not fit each other.
pub fn contrast(
    (f, m): (&Tensor, &Tensor),
    (f_keys, m_keys): (&Tensor, &Tensor),
    labels: &[u32],
    queues: &Queues,
    temperature: f64,
) -> Result<Option<Tensor>> {
    if queues.labels.is_empty() {
        return Ok(None);
    }
    let expression = one_way(f, m_keys, labels, &queues.landmark, &queues.labels, temperature)?;
    let landmark = one_way(m, f_keys, labels, &queues.expression, &queues.labels, temperature)?;
    Ok(Some((expression + landmark)?))
}

#[cfg(test)]
mod tests {
    use super::super::nursery::tests::nursery;
    use super::super::ops::tests::{check_gradient, noise, scalar};
    use super::*;

    #[test]
    fn a_sure_target_is_a_class_and_an_unsure_one_is_its_own() {
        let target = Tensor::new(&[[0.1f32, 0.9], [0.7, 0.3], [0.5, 0.5]], &Device::Cpu).unwrap();
        assert_eq!(pseudo_labels(&target, &[5, 6, 7], 0.7).unwrap(), [1, 0, 2 + 7]);
        assert_eq!(pseudo_labels(&target, &[5, 6, 7], 0.5).unwrap(), [1, 0, 0]);
    }

    #[test]
    fn queues_keep_the_newest() {
        let mut queues = Queues::new(&Device::Cpu).unwrap();
        for n in 0..4u32 {
            let keys = Tensor::new(&[[f64::from(n), 0.0], [f64::from(n), 1.0]], &Device::Cpu).unwrap();
            queues.push(&keys, &(&keys * 2.0).unwrap(), &[n, n + 10], 5).unwrap();
        }
        assert_eq!(queues.labels, [11, 2, 12, 3, 13]);
        let first: Vec<f64> =
            queues.expression.narrow(1, 0, 1).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(first, [1.0, 2.0, 2.0, 3.0, 3.0]);
        assert_eq!(queues.landmark.dims(), [5, 2]);
        let keys = Tensor::zeros((1, 2), DType::F64, &Device::Cpu).unwrap();
        assert!(queues.push(&keys, &keys, &[1, 2], 5).is_err());
    }

    #[test]
    fn the_loss_by_hand() {
        let (q, k, queue) = (noise(&[3, 4], 1), noise(&[3, 4], 2), noise(&[5, 4], 3));
        let (labels, waiting) = ([0u32, 0, 9], [0u32, 1, 1, 9, 2]);
        let ours = scalar(&one_way(&q, &k, &labels, &queue, &waiting, 0.1).unwrap());
        let [q, k, queue] = [q, k, queue].map(|t| t.to_vec2::<f64>().unwrap());
        let s = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / 0.1;
        let mut sum = 0.0;
        for i in 0..3 {
            let rest: f64 =
                (0..5).filter(|&u| waiting[u] != labels[i]).map(|u| s(&q[i], &queue[u]).exp()).sum();
            let same: Vec<usize> = (0..3).filter(|&j| labels[j] == labels[i]).collect();
            let terms = same.iter().map(|&j| {
                let e = s(&q[i], &k[j]).exp();
                -(e / (e + rest)).ln()
            });
            sum += terms.sum::<f64>() / same.len() as f64;
        }
        assert!((ours - sum / 3.0).abs() < 1e-9, "{ours} {}", sum / 3.0);
    }

    #[test]
    fn without_other_labels_there_is_nothing_to_push_away() {
        let keys = noise(&[2, 4], 1);
        let mut queues = Queues::new(&Device::Cpu).unwrap();
        let loss = |queues: &Queues| contrast((&keys, &keys), (&keys, &keys), &[1, 1], queues, 0.1).unwrap();
        assert!(loss(&queues).is_none());
        queues.push(&keys, &keys, &[1, 1], 10).unwrap();
        assert!(scalar(&loss(&queues).unwrap()).abs() < 1e-12);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let mut weights = Weights::default();
        grow(&mut weights, &mut nursery(DType::F64), "f", 6, 4).unwrap();
        let (keys, queue) = (noise(&[3, 4], 2), noise(&[5, 4], 3));
        check_gradient(&[noise(&[3, 6], 1)], |t| {
            let q = project(&weights, "f", &t[0]).unwrap();
            one_way(&q, &keys, &[0, 0, 1], &queue, &[0, 1, 2, 2, 1], 0.1).unwrap()
        });
        let q = project(&weights, "f", &noise(&[3, 6], 1)).unwrap();
        let lengths = q.sqr().unwrap().sum(1).unwrap().to_vec1::<f64>().unwrap();
        assert!(lengths.iter().all(|l| (l - 1.0).abs() < 1e-9));
    }
}
