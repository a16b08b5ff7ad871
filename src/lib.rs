//! Real-time facial expressions: frames from a camera, a video or a folder become faces, faces become
//! expressions, and those are drawn, written or learnt from. Everything is computed on this machine.
//!
//! ```
//! use lanet_live::{Analyser, Image};
//!
//! let analyser = Analyser::new()?; // the networks are inside
//! let image = Image::filled(640, 360, [118, 118, 118]); // or images::read("picture.jpg".as_ref())?
//! for face in analyser.read(&image)? {
//!     let (expression, confidence) = face.expression();
//!     println!("{expression} {:.0} % at {:?}", confidence * 100.0, face.bounds());
//! }
//! # Ok::<(), lanet_live::Error>(())
//! ```
//!
//! [`Analyser::stream`] reads frame after frame, follows each face by its number and smooths what it shows, if
//! [`analyser::Settings`] ask for that; frames come from `video::Reader`, `camera::Camera`, [`images::Images`] or
//! [`frame::Frame::film`]. [`receivers`] take readings to files and windows, [`train`] makes another model, and
//! [`face::FaceFinder`], [`reader::Classifier`] and [`flow`] are the steps in between, for steps of one's own.
//!
//! # What holds everywhere
//!
//! - Pixels are BGR, 8 bit, without row padding. Coordinates are f32 pixels of the frame, origin top left. Times are
//!   those of the source, angles are in degrees where they say so.
//! - What a step has passed on is gone: nothing keeps a frame, memory does not grow with the length of a video.
//! - Only a source drops frames, and only with [`flow::Delivery::Latest`].
//! - An error is the last item of its stream and says in one line what happened and what to do ([`Error::line`]);
//!   [`Error::kind`] is for programs. No input causes a panic. No file stands under its final name before it is whole.
//! - The library never prints, never exits and reads no environment. Everything random takes a seed.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `cli` (default) | the program `lanet-live`; the library needs nothing of it |
//! | `capture` (default) | cameras, video files and windows: `camera`, `video`, `window`, `receivers::drawing`, `receivers::view` |
//! | `parquet` (with `cli`) | results as Parquet, tables for Arrow: `results::table` |
//! | `opencv` (default) | videos are written, without sound, also where the program ffmpeg is not installed |
//! | `cuda`, `cudnn` (with `cli`), `metal` | networks on a GPU |
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
pub mod folds;
pub mod prior;
pub mod scaling;
pub mod calibration;
pub mod held_out;
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
pub mod profile;
pub mod reading;
pub mod reader;
pub mod analyser;
pub mod overlay;
pub mod timeline;
pub mod receivers;

// top floor: learning
pub mod clips;
pub mod train;
pub mod teach;

// the program; it stands here for those who have it in a package of their own
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod commands;

#[cfg(feature = "cli")]
extern crate self as lanet_live;

pub use analyser::Analyser;
pub use error::{Error, Result};
pub use frame::Image;
