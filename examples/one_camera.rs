//! Prints number, time and size of the first frames of a camera, and the brightness in their middle:
//! `one_camera [CAMERA] [FRAMES]`.

use std::process::ExitCode;

use lanet_live::camera::Camera;
use lanet_live::error::Result;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let camera = words.next().unwrap_or("0".into());
    let count = words.next().and_then(|n| n.parse().ok()).unwrap_or(10);
    match run(&camera, count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("one_camera: {}", error.line());
            ExitCode::FAILURE
        }
    }
}

fn run(camera: &str, count: usize) -> Result<()> {
    let camera = Camera::open(camera)?;
    println!("{:?}", camera.info());
    for frame in camera.take(count) {
        let frame = frame?;
        let (w, h) = (frame.image.width(), frame.image.height());
        let middle = frame.image.bgr(w / 2, h / 2);
        println!("{} {:.3} s {w}x{h} {middle:?}", frame.index, frame.time.as_secs_f64());
    }
    Ok(())
}
