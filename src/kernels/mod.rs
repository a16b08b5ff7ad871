//! The CPU's fast convolutions, each beside the plain form that other devices run and that tests compare with.
//!
//! This is the only place besides [`crate::device`] that asks which device it is on.

mod conv;
mod dense;
mod depthwise;
pub mod learn;
mod pool;
mod simd;
mod threads;
mod tile;
mod view;
mod winograd;
mod warp;

pub use conv::{Activation, Conv, Padding, Shape};
pub use pool::{enlarge_add, max_pool, mean};
pub use threads::{one_by_one, threads, together};
pub use warp::warp;
