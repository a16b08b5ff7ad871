//! Where the tensors of a network come from that has not learnt yet: a seeded generator, their type and device.

use candle_core::{DType, Device, Tensor};
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::weights::Weights;
use crate::error::Result;

/// Normally distributed values (Box and Muller 1958) with mean 0.
///
/// # Errors
/// The device has no room.
pub fn normal(
    rng: &mut Xoshiro256PlusPlus,
    shape: &[usize],
    deviation: f64,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let n = shape.iter().product::<usize>();
    let mut values = Vec::with_capacity(n + 1);
    while values.len() < n {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * deviation;
        let angle = std::f64::consts::TAU * rng.random::<f64>();
        values.extend([radius * angle.cos(), radius * angle.sin()]);
    }
    values.truncate(n);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
}

/// Where new tensors come from: a seeded generator, and their type and device.
#[derive(Debug)]
pub struct Nursery {
    /// The generator.
    pub rng: Xoshiro256PlusPlus,
    /// The type of new tensors.
    pub dtype: DType,
    /// Where they live.
    pub device: Device,
}

impl Nursery {
    /// Adds a linear layer d_in -> d_out: `NAME.weight` (d_out, d_in), normal with variance 1 / d_in, and `NAME.bias` 0.
    ///
    /// # Errors
    /// The device has no room.
    pub fn linear(&mut self, weights: &mut Weights, name: &str, d_in: usize, d_out: usize) -> Result<()> {
        let deviation = (1.0 / d_in.max(1) as f64).sqrt();
        let weight = normal(&mut self.rng, &[d_out, d_in], deviation, self.dtype, &self.device)?;
        weights.learn(format!("{name}.weight"), &weight)?;
        weights.learn(format!("{name}.bias"), &Tensor::zeros(d_out, self.dtype, &self.device)?)
    }

    /// Adds a convolution `NAME.weight` of this shape, as He et al. 2015 start it before a ReLU.
    ///
    /// # Errors
    /// The device has no room.
    pub fn convolution(&mut self, weights: &mut Weights, name: &str, shape: [usize; 4]) -> Result<()> {
        let seen = shape[1] * shape[2] * shape[3];
        self.weight(weights, name, shape, 2.0 / seen.max(1) as f64)
    }

    /// Adds `NAME.weight` of this shape, normal with this variance.
    ///
    /// # Errors
    /// The device has no room.
    pub fn weight(
        &mut self,
        weights: &mut Weights,
        name: &str,
        shape: [usize; 4],
        variance: f64,
    ) -> Result<()> {
        let weight = normal(&mut self.rng, &shape, variance.sqrt(), self.dtype, &self.device)?;
        weights.learn(format!("{name}.weight"), &weight)
    }

    /// Adds a batch norm that changes nothing yet: gain 1, bias 0, mean 0, variance 1.
    ///
    /// # Errors
    /// The device has no room.
    pub fn batch_norm(&mut self, weights: &mut Weights, name: &str, channels: usize) -> Result<()> {
        let zeros = Tensor::zeros(channels, self.dtype, &self.device)?;
        let ones = Tensor::ones(channels, self.dtype, &self.device)?;
        weights.learn(format!("{name}.gain"), &ones)?;
        weights.learn(format!("{name}.bias"), &zeros)?;
        weights.kept.insert(format!("{name}.mean"), zeros);
        weights.kept.insert(format!("{name}.variance"), ones);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::ops::tests::scalar;
    use super::*;
    use rand::SeedableRng;

    pub(crate) fn nursery(dtype: DType) -> Nursery {
        Nursery { rng: Xoshiro256PlusPlus::seed_from_u64(7), dtype, device: Device::Cpu }
    }

    #[test]
    fn normal_values_have_mean_0_and_the_deviation_asked_for() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let t = normal(&mut rng, &[20_001], 0.5, DType::F64, &Device::Cpu).unwrap();
        assert!(scalar(&t.mean_all().unwrap()).abs() < 0.01);
        assert!((scalar(&t.sqr().unwrap().mean_all().unwrap()) - 0.25).abs() < 0.01);
    }
}
