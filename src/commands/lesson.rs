//! The faces of labelled data, found while a bar says how far it is.

use std::path::Path;

use candle_core::Device;
use lanet_live::clips::{Entry, Skipped, Which};
use lanet_live::error::Result;
use lanet_live::train::lessons::Given;
use lanet_live::train::{Lesson, course};

use super::bar::Bar;
use super::evaluate::tell_skipped;
use super::{Stop, Talk};

/// The faces of entries below `folder`, with the labels that are given; what is left out, `skipped` among it, is named.
/// `look` is the folder in which faces are kept and which face is meant. `None` if the user stopped it.
pub fn gather(
    folder: &Path,
    (entries, given): (Vec<Entry>, &Given),
    mut skipped: Vec<Skipped>,
    look: (&Path, Which),
    device: &Device,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Lesson>> {
    let mut bar: Option<Bar> = None;
    let mut progress = |done, all| {
        bar.get_or_insert_with(|| Bar::new(talk, all, "pictures")).reach(done);
        !stop.asked()
    };
    let found = course::parts(folder, [entries], [given], look, device, &mut skipped, &mut progress)?;
    drop(bar);
    tell_skipped(talk, &skipped, "lines, folders or pictures");
    Ok(found.map(|[lesson]| lesson))
}
