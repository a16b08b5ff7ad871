//! Learning: labelled faces become a network that tells expressions, with LA-Net or with a part of it.
//!
//! A [`Recipe`] and a [`Course`] give a [`Training`], which tells [`Event`]s and leaves a model; see [`run`]. Nothing here
//! is needed to tell expressions; a finished model is a [`crate::net::Model`] like any other.

pub mod ops;
pub mod loss;
pub mod weights;
pub mod nursery;
pub mod labels;
pub mod contrast;
pub mod optim;
pub mod landmarks;
pub mod noise;
pub mod order;
pub mod plane;
pub mod pictures;
pub mod portrait;
pub mod shards;
pub mod prepare;
pub mod lesson;
pub mod batch;
pub mod heads;
pub mod lessons;
pub mod corrections;
pub mod course;
pub mod recipe;
pub mod rehearsal;
pub mod start;
pub mod branches;
mod fold;
pub mod probe;
pub mod learner;
pub mod remembered;
pub mod checkpoint;
pub mod state;
pub mod step;
pub mod judge;
pub mod features;
pub mod choice;
pub mod neighbours;
pub mod audit;
pub mod events;
pub mod run;
mod advance;

pub use course::Course;
pub use events::{Epoch, Event};
pub use lesson::Lesson;
pub use recipe::Recipe;
pub use run::Training;
pub use start::Start;
