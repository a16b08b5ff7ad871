//! The operations of a network that learns, with their gradients.
//!
//! Pictures are (batch, height, width, channels) here, contiguous, so that gradients, which Candle adds up, stay in the
//! order that the kernels want. On the CPU, 32-bit numbers take the fast forms; anything else takes Candle's own
//! operations, which have gradients too.

mod pictures;
mod depthwise;
mod conv;
mod enlarge;
mod norm_loops;
mod norm;
mod pool;
mod update;

pub use conv::conv;
pub use enlarge::{enlarge, enlarge_smoothly};
pub use norm::{Moments, batch_norm};
pub use pictures::{channels_first, channels_last};
pub use pool::{max_pool, mean};
pub use update::{blend, descend};

#[cfg(test)]
mod tests;
