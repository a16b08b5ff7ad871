//! Learning: faces that were found beforehand become features, and those a classifier.
//!
//! Nothing here is needed to tell expressions; a finished model is a [`crate::net::Model`] like any other.

pub mod augment;
pub mod features;
pub mod frozen;
pub mod ops;
pub mod loss;
pub mod weights;
pub mod labels;
pub mod contrast;
pub mod branches;
pub mod optim;
pub mod landmarks;
pub mod noise;
pub mod order;
pub mod pictures;
pub mod shards;
pub mod prepare;
pub mod batch;
pub mod heads;
pub mod lessons;
pub mod remembered;
pub mod recipe;
pub mod checkpoint;
pub mod state;
pub mod step;
pub mod run;
