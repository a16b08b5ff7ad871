//! The CPU's fast convolutions, each beside the plain form that other devices run and that tests compare with.
//!
//! The files are in reading order: each uses only those listed above it. This is the only place besides
//! [`crate::device`] that asks which device it is on.

mod shape;
mod lanes;
mod simd;
mod threads;
mod view;
mod tile;
mod winograd;
mod depthwise;
mod dense;
mod conv;
mod separable;
mod pool;
mod enlarge;
mod warp;
pub mod learn;

pub use conv::Conv;
pub use enlarge::enlarge_add;
pub use pool::{max_pool, mean};
pub use separable::Separable;
pub use shape::{Activation, Padding, Shape};
pub use threads::{one_by_one, threads, together};
pub use warp::warp;
