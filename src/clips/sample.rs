//! A face to learn from or to be judged by: a labelled picture, or a frame of a labelled clip.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::expression::{Distribution, Expression};
use crate::face::Mesh;
use crate::frame::Image;
use crate::images;

/// Larger pictures are reduced to this side, in pixels: a crop needs no more.
const LONGEST: u32 = 4096;

/// What a picture or clip gives, and what of it could not be read.
pub(super) type Found = (Vec<Sample>, Option<String>);

/// What is kept of a frame of a clip.
#[derive(Debug, Clone)]
pub struct Still {
    /// When it is shown in the clip.
    pub time: Duration,
    /// The face and its surroundings.
    pub image: Arc<Image>,
}

/// A labelled picture or frame of a clip, and the face in it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// The place of its entry among those that were looked at.
    pub entry: usize,
    /// The expression that it is counted as.
    pub label: Expression,
    /// What to learn: the taggers' votes where there are any, else the label.
    pub target: Distribution,
    /// The landmarks in pixels of the picture, if a face was found: those that frame the crop and those that are
    /// learnt, the others being not a number.
    pub mesh: Option<Mesh>,
    /// Who it is, where the data say so.
    pub person: Option<String>,
    /// What is kept of the frame, if the file is a clip; the landmarks are pixels of that.
    pub still: Option<Still>,
}

impl Sample {
    /// The picture, which is read again if it is no frame of a clip.
    ///
    /// # Errors
    /// A file that is gone.
    pub fn image(&self) -> Result<Cow<'_, Image>> {
        match &self.still {
            Some(still) => Ok(Cow::Borrowed(&still.image)),
            None => picture(&self.path).map(Cow::Owned),
        }
    }

    /// Its name: the path below `folder` with `/` between, and of a frame of a clip also [`Sample::moment`].
    pub fn name(&self, folder: &Path) -> String {
        name_below(folder, &self.path) + &self.moment()
    }

    /// Of a frame of a clip `@` and the seconds, else nothing.
    pub fn moment(&self) -> String {
        self.still.as_ref().map_or(String::new(), |still| format!("@{:.3}", still.time.as_secs_f64()))
    }
}

/// The name of a file of data: its path below `folder`, with `/` between.
pub fn name_below(folder: &Path, path: &Path) -> String {
    let below = path.strip_prefix(folder).unwrap_or(path);
    below.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// A picture as faces are looked for in it.
///
/// # Errors
/// As [`images::read`].
pub fn picture(path: &Path) -> Result<Image> {
    images::read_reduced(path, LONGEST)
}
