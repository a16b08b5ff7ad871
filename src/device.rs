//! Which processor computes: a choice by name becomes Candle's [`Device`] once, here.

use std::fmt;
use std::str::FromStr;

use candle_core::{Device, DeviceLocation};

use crate::error::{Error, Kind, Result};

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The first GPU that this build can use, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU by number.
    Cuda(usize),
    /// An Apple GPU by number.
    Metal(usize),
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, number) = text.split_once(':').unwrap_or((text, "0"));
        match (name, number.parse()) {
            ("auto", Ok(0)) => Ok(Self::Auto),
            ("cpu", Ok(0)) => Ok(Self::Cpu),
            ("cuda", Ok(n)) => Ok(Self::Cuda(n)),
            ("metal", Ok(n)) => Ok(Self::Metal(n)),
            _ => Err(Error::usage(format!("no device is called '{text}'"))
                .advice("use auto, cpu, cuda:N or metal:N")),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
            Self::Metal(n) => write!(f, "metal:{n}"),
        }
    }
}

impl Choice {
    /// Which device this is.
    pub fn of(device: &Device) -> Self {
        match device.location() {
            DeviceLocation::Cpu => Self::Cpu,
            DeviceLocation::Cuda { gpu_id } => Self::Cuda(gpu_id),
            DeviceLocation::Metal { gpu_id } => Self::Metal(gpu_id),
        }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// A GPU that this build or this machine does not have.
    pub fn open(self) -> Result<Device> {
        let lacks = |feature: &str| {
            Error::new(format!("this build cannot use {self}"))
                .of_kind(Kind::Device)
                .advice(format!("build it with --features {feature}, or use --device cpu"))
        };
        let fails = |error| {
            Error::new(format!("the device {self} cannot be opened"))
                .of_kind(Kind::Device)
                .because(error)
                .advice("see lanet-live devices")
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if cfg!(feature = "cuda") => Ok(Device::cuda_if_available(0).unwrap_or(Device::Cpu)),
            Self::Auto if cfg!(feature = "metal") => Ok(Device::metal_if_available(0).unwrap_or(Device::Cpu)),
            Self::Auto => Ok(Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(lacks("cuda")),
            Self::Cuda(n) => Device::new_cuda(n).map_err(fails),
            Self::Metal(_) if !cfg!(feature = "metal") => Err(lacks("metal")),
            Self::Metal(n) => Device::new_metal(n).map_err(fails),
        }
    }
}

/// The devices that this build can open on this machine.
pub fn available() -> Vec<Choice> {
    let cuda =
        (0..if cfg!(feature = "cuda") { 16 } else { 0 }).map(Choice::Cuda).take_while(|c| c.open().is_ok());
    let metal =
        (0..if cfg!(feature = "metal") { 4 } else { 0 }).map(Choice::Metal).take_while(|c| c.open().is_ok());
    std::iter::once(Choice::Cpu).chain(cuda).chain(metal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_the_same() {
        for name in ["auto", "cpu", "cuda:0", "cuda:3", "metal:1"] {
            assert_eq!(name.parse::<Choice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<Choice>().unwrap(), Choice::Cuda(0));
        assert_eq!(Choice::of(&Device::Cpu).to_string(), "cpu");
        for name in ["", "gpu", "cpu:1", "cuda:x", "cuda:-1"] {
            assert!(name.parse::<Choice>().unwrap_err().is_usage(), "{name}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_gpu_that_the_build_lacks_is_named() {
        assert!(Choice::Cuda(0).open().unwrap_err().line().contains("--features cuda"));
    }
}
