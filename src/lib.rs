//! Real-time facial expressions: frames from a camera, a video or a folder become faces, faces become
//! expressions, and those are drawn, written or learnt from.
//!
//! The modules below are in reading order, and a module uses only what is listed above it.

// ground floor: words
pub mod error;
pub mod warning;
pub mod geometry;
pub mod frame;
pub mod signal;
pub mod expression;
pub mod columns;

// first floor: tools that know no faces
pub mod flow;
pub mod part;
pub mod device;
pub mod kernels;
pub mod metrics;
pub mod prior;
pub mod calibration;
pub mod neutral;
pub mod canvas;

// second floor: frames in and out
pub mod images;
#[cfg(feature = "capture")]
pub mod camera;
#[cfg(feature = "capture")]
pub mod video;
#[cfg(feature = "capture")]
pub mod window;
pub mod results;

// third floor: faces and what they say
pub mod net;
pub mod face;
pub mod people;
pub mod reader;
pub mod overlay;
pub mod timeline;
pub mod receivers;

// top floor: learning
pub mod clips;
pub mod profile;
pub mod train;
