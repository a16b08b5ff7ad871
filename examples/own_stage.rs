//! A step of your own between ours: tells when somebody nods or shakes the head in a video.
//!
//!     cargo run --release --example own_stage -- clip.mp4

use std::path::Path;
use std::time::Duration;

use lanet_live::device::Choice;
use lanet_live::error::{Error, Result};
use lanet_live::face::{FaceFinder, Options, Scene};
use lanet_live::flow::{self, Delivery};
use lanet_live::video;

/// How fast a head turns, in degrees a second.
struct Turning {
    time: Duration,
    yaw: f32,
    pitch: f32,
}

fn main() -> Result<()> {
    let name = std::env::args().nth(1).ok_or_else(|| Error::usage("which video?"))?;
    let mut finder = FaceFinder::new(Options::default(), &Choice::Auto.open()?)?;
    let mut before: Option<(Duration, f32, f32)> = None;
    let turning = move |scene: Scene| {
        let now = scene.faces.first().map(|face| (scene.frame.time, face.pose.yaw, face.pose.pitch));
        let speed = before.zip(now).map(|((t0, yaw0, pitch0), (t1, yaw1, pitch1))| {
            let seconds = t1.saturating_sub(t0).as_secs_f32().max(1e-3);
            Turning { time: t1, yaw: (yaw1 - yaw0) / seconds, pitch: (pitch1 - pitch0) / seconds }
        });
        before = now;
        Ok(speed)
    };
    let turnings = flow::source("frame", Delivery::Every, video::Reader::open(Path::new(&name))?)
        .stage("find", move |frame| finder.find(frame))
        .stage("turn", turning);
    for turning in turnings {
        if let Some(Turning { time, yaw, pitch }) = turning?.filter(|t| t.yaw.hypot(t.pitch) > 60.0) {
            println!(
                "{:.2} s: {}",
                time.as_secs_f32(),
                if yaw.abs() > pitch.abs() { "shakes" } else { "nods" }
            );
        }
    }
    Ok(())
}
