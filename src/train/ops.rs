//! Small operations with right gradients that the losses share.
//!
//! What works on pictures lives in [`crate::kernels::learn`]: (batch, height, width, channels), fast on the CPU.

use candle_core::{D, Tensor};

use crate::error::Result;

/// Added to a variance before its root is taken, as in PyTorch.
pub const EPSILON: f64 = 1e-5;

/// (x - mean) / sqrt(variance + 1e-5) * gain + bias, for x (B, H, W, C) and the others (C).
///
/// # Errors
/// Shapes that do not fit each other.
pub fn normalise(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
) -> Result<Tensor> {
    let scale = (gain / (variance + EPSILON)?.sqrt()?)?; // (C)
    let shift = (bias - (mean * &scale)?)?;
    Ok(x.broadcast_mul(&scale)?.broadcast_add(&shift)?)
}

/// The logarithm of the soft-max over the last axis, without overflow.
///
/// # Errors
/// A tensor without axes.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let moved = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?;
    let sum = moved.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(moved.broadcast_sub(&sum)?)
}

/// x / |x| over the last axis of x (N, d); zero stays zero.
///
/// # Errors
/// A tensor without axes.
pub fn unit(x: &Tensor) -> Result<Tensor> {
    let length = (x.sqr()?.sum_keepdim(D::Minus1)? + 1e-12)?.sqrt()?;
    Ok(x.broadcast_div(&length)?)
}

/// The place of the greatest, the first of equals; 0 if there is none.
pub fn top(values: &[f32]) -> usize {
    (0..values.len()).rev().max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// Values that look random and never repeat, in (-1, 1).
    pub(crate) fn noise(shape: &[usize], salt: u64) -> Tensor {
        let n: usize = shape.iter().product();
        let values: Vec<f64> = (0..n as u64)
            .map(|i| {
                let mut z =
                    (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt.wrapping_mul(0xD1B5_4A32_D192_ED03);
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
            })
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    pub(crate) fn scalar(t: &Tensor) -> f64 {
        t.to_dtype(candle_core::DType::F64).unwrap().to_scalar().unwrap()
    }

    /// Compares the gradient of `f` at `inputs` (f64) with central differences at some of their elements.
    pub(crate) fn check_gradient(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Tensor) {
        let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let grads = f(&tensors).backward().unwrap();
        for (n, input) in inputs.iter().enumerate() {
            let grad = grads.get(&tensors[n]).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let values = input.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let at = |i: usize, step: f64| {
                let mut moved = values.clone();
                moved[i] += step;
                let mut inputs = inputs.to_vec();
                inputs[n] = Tensor::from_vec(moved, input.shape(), &Device::Cpu).unwrap();
                scalar(&f(&inputs))
            };
            let stride = (values.len() / 40).max(1);
            for i in (0..values.len()).step_by(stride) {
                let slope = (at(i, 1e-6) - at(i, -1e-6)) / 2e-6;
                let error = (slope - grad[i]).abs() / (1.0 + slope.abs());
                assert!(error < 1e-5, "input {n}, element {i}: difference {slope}, gradient {}", grad[i]);
            }
        }
    }

    fn weighted_sum(y: &Tensor) -> Tensor {
        (y * noise(y.dims(), 99)).unwrap().sum_all().unwrap()
    }

    #[test]
    fn gradients_are_those_of_differences() {
        check_gradient(&[noise(&[3, 4], 6)], |t| {
            weighted_sum(&(log_softmax(&t[0]).unwrap() + unit(&t[0]).unwrap()).unwrap())
        });
    }

    #[test]
    fn huge_numbers_and_zeros_stay_finite() {
        let x = Tensor::new(&[[1e4f32, -1e4, 0.0], [0.0, 0.0, 0.0]], &Device::Cpu).unwrap();
        let log = log_softmax(&x).unwrap().to_vec2::<f32>().unwrap();
        assert!(log[0][0] == 0.0 && (log[1][0] + 3f32.ln()).abs() < 1e-6);
        assert_eq!(unit(&x).unwrap().to_vec2::<f32>().unwrap()[1], [0.0; 3]);
    }
}
