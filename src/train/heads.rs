//! The classifiers of a network that learns: of what is seen, `head`, and of what was meant, `meant`.
//!
//! Logit adjustment (Menon et al. 2021, arXiv 2007.07314): while it learns a classifier's logits have the logarithms of
//! its classes' shares added, so that by themselves they are scores under which all classes are equally frequent. Scores of
//! two classifiers can then be mixed, and any shares that are expected be added in use.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::lesson::Lesson;
use crate::error::{Error, Result};
use crate::expression::{COUNT, Expression};
use crate::prior::Shares;

/// How often the labels of a lesson say what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Priors {
    /// In what is seen.
    pub seen: Shares,
    /// In what was meant, where anybody says so.
    pub meant: Option<Shares>,
}

impl Priors {
    /// Those of a lesson.
    ///
    /// # Errors
    /// A lesson without faces.
    pub fn of(lesson: &Lesson) -> Result<Self> {
        let seen = Shares::of(lesson.labels.iter().copied());
        let seen = seen.ok_or_else(|| Error::new("there is no face to learn from"))?;
        Ok(Self { seen, meant: Shares::of(lesson.meant_rows()) })
    }

    /// Makes exported classifiers ready to be mixed, row by row: what the mean over their common classes says goes, an
    /// expression that was never meant has its scores of what is seen, and with `adjusted` logits one that was never seen is
    /// never told.
    ///
    /// # Errors
    /// Tensors of other shapes.
    pub fn finish(&self, tensors: &mut HashMap<String, Tensor>, adjusted: bool) -> Result<()> {
        let never: Vec<bool> = Expression::ALL.iter().map(|&e| self.seen.share(e) == 0.0).collect();
        let names: Vec<_> = tensors.keys().filter(|name| name.starts_with("head.")).cloned().collect();
        for name in &names {
            let never_told = if name == "head.bias" { self.least() } else { 0.0 };
            let seen = &tensors[name];
            let shape = seen.shape().clone();
            let mut rows = rows(seen)?;
            let other = self.meant.zip(tensors.get(&second(name)));
            let known = |c: usize| {
                !never[c] && self.meant.is_some_and(|shares| shares.share(Expression::ALL[c]) > 0.0)
            };
            if other.is_some() {
                centre(&mut rows, known);
            }
            for (row, _) in rows.iter_mut().zip(&never).filter(|(_, never)| **never && adjusted) {
                row.fill(never_told);
            }
            if let Some((_, other)) = other {
                let mut other = self::rows(other)?;
                centre(&mut other, known);
                for (c, row) in other.iter_mut().enumerate().filter(|(c, _)| !known(*c)) {
                    row.clone_from(&rows[c]);
                }
                tensors.insert(second(name), Tensor::new(other, &Device::Cpu)?.reshape(&shape)?);
            }
            tensors.insert(name.clone(), Tensor::new(rows, &Device::Cpu)?.reshape(&shape)?);
        }
        Ok(())
    }

    /// The logarithm of no share at all.
    fn least(&self) -> f32 {
        self.seen.logarithms().into_iter().fold(0.0, f32::min)
    }
}

/// The name of the second classifier's tensor beside that of the first.
fn second(name: &str) -> String {
    name.replacen("head.", "meant.", 1)
}

/// Logits (B, C) with the logarithms of these shares added.
///
/// # Errors
/// Logits of another number of classes.
pub fn adjusted(logits: &Tensor, shares: &Shares) -> Result<Tensor> {
    let logarithms = Tensor::new(&shares.logarithms(), logits.device())?.to_dtype(logits.dtype())?;
    Ok(logits.broadcast_add(&logarithms)?)
}

fn rows(t: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(t.reshape((COUNT, ()))?.to_device(&Device::Cpu)?.to_vec2()?)
}

/// Takes from each row the mean of those that count.
fn centre(rows: &mut [Vec<f32>], counts: impl Fn(usize) -> bool) {
    let counted: Vec<usize> = (0..rows.len()).filter(|&c| counts(c)).collect();
    for i in 0..rows.first().map_or(0, Vec::len) {
        let mean = counted.iter().map(|&c| f64::from(rows[c][i])).sum::<f64>() / counted.len().max(1) as f64;
        rows.iter_mut().for_each(|row| row[i] -= mean as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::super::lesson::tests::lesson;
    use super::super::ops::tests::noise;
    use super::*;
    use crate::net::Plan;
    use candle_core::DType;

    #[test]
    fn what_was_never_meant_is_told_as_it_is_seen_and_what_was_never_seen_is_not_told() {
        // Painted faces of four classes; the first three were meant.
        let mut lesson = lesson(16, 4);
        for (n, meant) in lesson.meant.iter_mut().enumerate() {
            *meant = (n % 4 < 3).then(|| Expression::ALL[n % 4]);
        }
        let priors = Priors::of(&lesson).unwrap();
        assert_eq!(
            (priors.seen.share(Expression::Sadness), priors.meant.unwrap().share(Expression::Sadness)),
            (0.25, 0.0)
        );
        let plan = Plan::mobilenet(2);
        let name = plan.head(13);
        let made = |shape: &[usize], salt| noise(shape, salt).to_dtype(DType::F32).unwrap();
        let mut tensors = HashMap::from([
            (name.clone(), made(&[COUNT, 64, 1, 1], 1)),
            (second(&name), made(&[COUNT, 64, 1, 1], 2)),
            ("head.bias".into(), made(&[COUNT], 3)),
            ("meant.bias".into(), made(&[COUNT], 4)),
        ]);
        let before = tensors.clone();
        priors.finish(&mut tensors, true).unwrap();
        let x = made(&[64, 1], 5);
        let told = |tensors: &HashMap<String, Tensor>, head: &str| {
            let weight = tensors[&name.replace("head", head)].reshape((COUNT, 64)).unwrap();
            let logits = weight.matmul(&x).unwrap().squeeze(1).unwrap();
            (logits + &tensors[&format!("{head}.bias")]).unwrap().to_vec1::<f32>().unwrap()
        };
        for head in ["head", "meant"] {
            let (old, new) = (told(&before, head), told(&tensors, head));
            // Differences between what both know stay.
            assert!(((old[0] - old[2]) - (new[0] - new[2])).abs() < 1e-4);
            assert!(new[..3].iter().sum::<f32>().abs() < 1e-4);
        }
        let (seen, meant) = (told(&tensors, "head"), told(&tensors, "meant"));
        assert!((seen[3] - meant[3]).abs() < 1e-5);
        assert!(seen[4..].iter().all(|&logit| logit < -99.0), "{seen:?}");
    }

    #[test]
    fn adjusted_logits_of_nothing_are_the_shares() {
        let mut label = [0.0; COUNT];
        (label[0], label[1]) = (0.75, 0.25);
        let zeros = Tensor::zeros((1, COUNT), DType::F32, &Device::Cpu).unwrap();
        let logits = adjusted(&zeros, &Shares::of([label]).unwrap()).unwrap();
        let told = candle_nn::ops::softmax_last_dim(&logits).unwrap().to_vec2::<f32>().unwrap();
        assert!((told[0][0] - 0.75).abs() < 1e-6 && told[0][2] < 1e-6);
    }
}
