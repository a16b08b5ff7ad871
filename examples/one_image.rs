//! The faces of one picture and what they express: no streams, no threads.
//!
//!     cargo run --release --example one_image -- picture.jpg

use std::path::Path;
use std::time::Duration;

use lanet_live::device::Choice;
use lanet_live::error::{Error, Result};
use lanet_live::face::{FaceFinder, Options};
use lanet_live::frame::Frame;
use lanet_live::images;
use lanet_live::reader::Classifier;

fn main() -> Result<()> {
    let name = std::env::args().nth(1).ok_or_else(|| Error::usage("which picture?"))?;
    let device = Choice::Auto.open()?;
    let mut finder = FaceFinder::new(Options { still: true, ..Options::default() }, &device)?;
    let mut classifier = Classifier::open(None, None, Duration::ZERO, &device)?;

    let image = images::read(Path::new(&name))?;
    let scene = finder.find(Frame { image, source: name.into(), index: 0, time: Duration::ZERO })?;
    for face in classifier.classify(scene)?.faces {
        let (expression, confidence) = face.expression();
        println!("{expression} {:.0}% at {:?}", confidence * 100.0, face.face.bounds);
    }
    Ok(())
}
