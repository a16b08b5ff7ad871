//! `lanet-live devices`: the cameras and the compute devices of this machine.

use std::io::Write;

use lanet_live::device;
use lanet_live::error::Result;

use super::{Outcome, print};

/// Lists both.
pub fn run() -> Result<Outcome> {
    let cameras = cameras();
    print(|out| {
        writeln!(out, "compute devices (--device):")?;
        for choice in device::available() {
            writeln!(out, "  {choice}")?;
        }
        writeln!(out, "cameras (--camera):")?;
        match cameras {
            Ok(cameras) if cameras.is_empty() => writeln!(out, "  none found"),
            Ok(cameras) => cameras.iter().try_for_each(|camera| writeln!(out, "  {camera}")),
            Err(error) => writeln!(out, "  none: {}", error.line()),
        }
    })
}

#[cfg(feature = "capture")]
fn cameras() -> Result<Vec<String>> {
    let listed = lanet_live::camera::list()?;
    let mut lines = Vec::new();
    for camera in listed {
        lines.push(format!("{}  {}", camera.index, camera.name));
        lines.extend(camera.offers.iter().map(|offer| {
            let rates: Vec<String> = offer.rates.iter().map(|rate| format!("{rate:.0}")).collect();
            let rates = if rates.is_empty() { "?".to_owned() } else { rates.join(", ") };
            format!("   {}  {}x{}  {rates} frames/s", offer.format, offer.width, offer.height)
        }));
    }
    Ok(lines)
}

#[cfg(not(feature = "capture"))]
fn cameras() -> Result<Vec<String>> {
    Err(lanet_live::error::Error::new("this build has no cameras"))
}
