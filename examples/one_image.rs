//! The faces of one picture and what they express: no streams, no threads.
//!
//!     cargo run --release --example one_image -- picture.jpg

use lanet_live::{Analyser, Error, Result, images};

fn main() -> Result<()> {
    let name = std::env::args().nth(1).ok_or_else(|| Error::usage("which picture?"))?;
    for face in Analyser::new()?.read(&images::read(name.as_ref())?)? {
        let (expression, confidence) = face.expression();
        println!("{expression} {:.0}% at {:?}", confidence * 100.0, face.bounds());
    }
    Ok(())
}
