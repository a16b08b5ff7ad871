//! What the network is told to make small: cross-entropy, divergence, and the landmark loss.
//!
//! Sources: LA-Net (Wu and Cui 2023, arXiv 2307.09023) for how they are put together, Adaptive Wing loss (Wang,
//! Bo and Fuxin 2019, arXiv 1904.07399, equations 3 to 5) for the heat maps. All are means over the batch.

use candle_core::Tensor;

use super::ops::log_softmax;
use crate::error::{Error, Result};

/// -sum_c label_c log softmax(logits)_c, the mean over the batch; logits and labels (B, C).
///
/// With a label that is one class this is the usual cross-entropy; a distribution of votes works as well.
///
/// # Errors
/// Shapes that differ.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let b = logits.dim(0)?;
    Ok(((labels * log_softmax(logits)?)?.sum_all()?.neg()? / b as f64)?)
}

/// KL(target || softmax(logits)) = sum_c target_c (log target_c - log softmax(logits)_c), the mean over the
/// batch; logits and target (B, C). The gradient goes to both. A target of zero adds nothing.
///
/// # Errors
/// Shapes that differ.
pub fn divergence(target: &Tensor, logits: &Tensor) -> Result<Tensor> {
    let b = logits.dim(0)?;
    let log_target = (target + 1e-12)?.log()?;
    Ok(((target * (log_target - log_softmax(logits)?)?)?.sum_all()? / b as f64)?)
}

/// Flip attention consistency: class activation maps (B, h, w, C) of faces against those of the faces mirrored, which should
/// be the same mirrored; the mean of the squared differences. Source: EAC (Zhang et al. 2022, arXiv 2207.10299).
///
/// # Errors
/// Shapes that differ.
pub fn consistency(maps: &Tensor, of_mirrored: &Tensor) -> Result<Tensor> {
    Ok((maps - of_mirrored.flip(&[2])?)?.sqr()?.mean_all()?)
}

/// The constants of the adaptive wing loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wing {
    /// The exponent is alpha - y: high for the background (y = 0), near 1 on a landmark (y = 1).
    pub alpha: f64,
    /// Scales the curved part.
    pub omega: f64,
    /// How sharp the curved part is.
    pub epsilon: f64,
    /// Where the curved part becomes a line.
    pub theta: f64,
    /// The weight of pixels near a landmark; all others have 1.
    pub near: f64,
}

impl Default for Wing {
    /// As published: alpha 2.1, omega 14, epsilon 1, theta 0.5, weight 10.
    fn default() -> Self {
        Self { alpha: 2.1, omega: 14.0, epsilon: 1.0, theta: 0.5, near: 10.0 }
    }
}

/// The adaptive wing loss between heat maps `found` and `wanted` (B, L, h, w), `near` (B, L, h, w) being 1 close to
/// a landmark and 0 elsewhere, `known` (B) being 0 for faces whose landmarks nobody knows. With d = |wanted - found|, p = alpha - wanted:
///
/// omega ln(1 + (d / epsilon)^p) where d < theta, else A d - C, with
/// A = omega p (theta / epsilon)^(p - 1) / (epsilon (1 + (theta / epsilon)^p)), C = theta A - omega ln(1 + (theta / epsilon)^p);
///
/// the mean over the pixels of all known faces, each times its weight; 0 if no face is known.
///
/// # Errors
/// Shapes that do not fit each other.
pub fn adaptive_wing(
    found: &Tensor,
    wanted: &Tensor,
    near: &Tensor,
    known: &Tensor,
    wing: Wing,
) -> Result<Tensor> {
    let (b, l, h, w) = found.dims4()?;
    if known.dims() != [b] {
        return Err(Error::new(format!("{b} faces need {b} masks, not {:?}", known.dims())));
    }
    let Wing { alpha, omega, epsilon, theta, near: weight } = wing;
    let difference = (wanted - found)?;
    // |d| whose gradient at 0 is 0; the logarithm below needs more than zero.
    let d = (&difference * difference.sign()?.detach())?;
    let p = wanted.affine(-1.0, alpha)?;
    let curve = (((&d / epsilon)? + 1e-12)?.log()? * &p)?.exp()?; // (d / epsilon)^p
    let curved = ((curve + 1.0)?.log()? * omega)?;
    let bend = (&p * (theta / epsilon).ln())?.exp()?; // (theta / epsilon)^p
    let slope = ((&p * &bend)?.affine(omega / theta, 0.0)? / (&bend + 1.0)?)?; // A
    let offset = ((&slope * theta)? - ((bend + 1.0)?.log()? * omega)?)?; // C
    let line = ((&slope * &d)? - offset)?;
    let each = d.lt(theta)?.where_cond(&curved, &line)?;
    let weights = near.affine(weight - 1.0, 1.0)?.broadcast_mul(&known.reshape((b, 1, 1, 1))?)?;
    let count = (known.sum_all()? * (l * h * w) as f64)?.maximum(1.0)?;
    Ok(((each * weights)?.sum_all()? / count)?)
}

#[cfg(test)]
mod tests {
    use super::super::ops::tests::{check_gradient, noise, scalar};
    use super::*;
    use candle_core::Device;

    fn probabilities(shape: &[usize], salt: u64) -> Tensor {
        candle_nn::ops::softmax_last_dim(&noise(shape, salt)).unwrap()
    }

    #[test]
    fn cross_entropy_by_hand() {
        let logits = Tensor::new(&[[2f64.ln(), 0.0, 0.0], [0.0, 0.0, 0.0]], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[[1f64, 0.0, 0.0], [0.5, 0.5, 0.0]], &Device::Cpu).unwrap();
        // The first: p = 2/4; the second: 1/3 each.
        let expected = (2f64.ln() + 3f64.ln()) / 2.0;
        assert!((scalar(&cross_entropy(&logits, &labels).unwrap()) - expected).abs() < 1e-12);
        // A distribution diverges from itself by nothing.
        let same = divergence(&labels, &(&labels + 1e-30).unwrap().log().unwrap()).unwrap();
        assert!(scalar(&same).abs() < 1e-9);
        let huge = Tensor::new(&[[1e4f64, -1e4, 0.0]], &Device::Cpu).unwrap();
        let label = Tensor::new(&[[0f64, 1.0, 0.0]], &Device::Cpu).unwrap();
        assert!((scalar(&cross_entropy(&huge, &label).unwrap()) - 2e4).abs() < 1e-6);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let labels = probabilities(&[3, 4], 2);
        check_gradient(&[noise(&[3, 4], 1)], |t| cross_entropy(&t[0], &labels).unwrap());
        check_gradient(&[labels.clone(), noise(&[3, 4], 1)], |t| divergence(&t[0], &t[1]).unwrap());
        let wanted = noise(&[2, 2, 3, 3], 3).abs().unwrap();
        let near = wanted.gt(0.5).unwrap().to_dtype(candle_core::DType::F64).unwrap();
        let known = Tensor::new(&[1f64, 1.0], &Device::Cpu).unwrap();
        check_gradient(&[noise(&[2, 2, 3, 3], 4)], |t| {
            adaptive_wing(&t[0], &wanted, &near, &known, Wing::default()).unwrap()
        });
    }

    #[test]
    fn maps_are_consistent_if_those_of_the_mirrored_are_mirrored() {
        let maps = noise(&[2, 3, 4, 5], 1);
        let columns: Vec<_> = (0..4).rev().map(|x| maps.narrow(2, x, 1).unwrap()).collect();
        let mirrored = Tensor::cat(&columns, 2).unwrap();
        assert!(scalar(&consistency(&maps, &mirrored).unwrap()).abs() < 1e-12);
        let off = scalar(&consistency(&maps, &(mirrored + 0.5).unwrap()).unwrap());
        assert!((off - 0.25).abs() < 1e-9, "{off}");
        assert!(scalar(&consistency(&maps, &maps).unwrap()) > 0.1);
        check_gradient(&[maps, noise(&[2, 3, 4, 5], 2)], |t| consistency(&t[0], &t[1]).unwrap());
    }

    #[test]
    fn the_wing_is_smooth_where_curve_and_line_meet_and_masks_unknown_faces() {
        let one = |d: f64, y: f64| {
            let wanted = Tensor::new(&[[[[y]]]], &Device::Cpu).unwrap();
            let found = Tensor::new(&[[[[y - d]]]], &Device::Cpu).unwrap();
            let near = wanted.zeros_like().unwrap();
            let known = Tensor::new(&[1f64], &Device::Cpu).unwrap();
            scalar(&adaptive_wing(&found, &wanted, &near, &known, Wing::default()).unwrap())
        };
        for y in [0.0, 0.3, 1.0] {
            assert!(one(0.0, y).abs() < 1e-9);
            let (below, above) = (one(0.5 - 1e-7, y), one(0.5 + 1e-7, y));
            assert!((below - above).abs() < 1e-5);
            let slopes = [(0.5 - 2e-4, 0.5 - 1e-4), (0.5 + 1e-4, 0.5 + 2e-4)]
                .map(|(a, b)| (one(b, y) - one(a, y)) / 1e-4);
            assert!((slopes[0] - slopes[1]).abs() < 0.02, "{slopes:?}");
            // By the formula: 14 ln(1 + 0.25^(2.1 - y)).
            assert!((one(0.25, y) - 14.0 * (1.0 + 0.25f64.powf(2.1 - y)).ln()).abs() < 1e-8);
        }
        let maps = noise(&[2, 1, 2, 2], 5);
        let zeros = maps.zeros_like().unwrap();
        let loss = |known: [f64; 2]| {
            let known = Tensor::new(&known, &Device::Cpu).unwrap();
            scalar(&adaptive_wing(&maps, &zeros, &zeros, &known, Wing::default()).unwrap())
        };
        assert!((loss([1.0, 1.0]) * 2.0 - loss([1.0, 0.0]) - loss([0.0, 1.0])).abs() < 1e-9);
        assert_eq!(loss([0.0, 0.0]), 0.0);
        let ones = zeros.ones_like().unwrap();
        let known = Tensor::new(&[1f64, 1.0], &Device::Cpu).unwrap();
        let near = scalar(&adaptive_wing(&maps, &zeros, &ones, &known, Wing::default()).unwrap());
        assert!((near - 10.0 * loss([1.0, 1.0])).abs() < 1e-9);
    }
}
