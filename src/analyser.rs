//! The whole way from pictures to expressions in one value: settings, then one picture, or frame after frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::device::Choice;
use crate::error::{Error, Result};
use crate::face::{self, FaceFinder};
use crate::flow::{self, Delivery, Stream};
use crate::frame::{Frame, Image};
use crate::prior::Prior;
use crate::profile::Profile;
use crate::reader::Classifier;
use crate::reading::{ReadFace, Reading};

/// As many faces as can be asked for.
pub const MOST_FACES: usize = 256;

/// How an [`Analyser`] is to work.
#[derive(Debug, Clone)]
pub struct Settings {
    model: Option<String>,
    device: Choice,
    prior: Option<Prior>,
    max_faces: usize,
    smoothing: Duration,
    stills: bool,
    delivery: Delivery,
    everywhere: Arc<AtomicBool>,
    person: Option<Profile>,
    asked: Arc<AtomicBool>,
    estimating: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: None,
            device: Choice::Auto,
            prior: None,
            max_faces: face::Options::default().max_faces,
            smoothing: Duration::ZERO,
            stills: false,
            delivery: Delivery::Every,
            everywhere: Arc::default(),
            person: None,
            asked: Arc::default(),
            estimating: false,
        }
    }
}

impl Settings {
    /// The expression model: the name of one in the program, or the folder of another. None: the usual one.
    pub fn model<'a>(self, model: impl Into<Option<&'a str>>) -> Self {
        Self { model: model.into().map(str::to_owned), ..self }
    }

    /// Where the networks run; by default on a GPU, if there is one that the build can use.
    pub fn device(self, device: Choice) -> Self {
        Self { device, ..self }
    }

    /// How frequent expressions are in front of the camera. None: as the model's card says.
    pub fn prior(self, prior: impl Into<Option<Prior>>) -> Self {
        Self { prior: prior.into(), ..self }
    }

    /// So many faces of a frame are read at most, from 1 to [`MOST_FACES`]; 16 by default.
    pub fn max_faces(self, max_faces: usize) -> Self {
        Self { max_faces, ..self }
    }

    /// The time constant with which the probabilities of each face in a stream are smoothed; zero, the default, leaves
    /// them as they are.
    pub fn smoothing(self, smoothing: Duration) -> Self {
        Self { smoothing, ..self }
    }

    /// Whether the frames of a stream are pictures that have nothing to do with each other.
    pub fn stills(self, stills: bool) -> Self {
        Self { stills, ..self }
    }

    /// What becomes of the frames of a stream that come faster than they are read; by default every one is read.
    pub fn delivery(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// While this is true, faces are looked for everywhere in every frame of a stream, whatever their number: whoever
    /// hides faces wants all of them hidden at once.
    pub fn everywhere(self, everywhere: Arc<AtomicBool>) -> Self {
        Self { everywhere, ..self }
    }

    /// Expects somebody: their model is used, unless another is named, and the largest face of a stream is read against their
    /// own neutral.
    pub fn person(self, person: impl Into<Option<Profile>>) -> Self {
        Self { person: person.into(), ..self }
    }

    /// Takes the neutrals of those who are there whenever `asked` is set, see [`Classifier::taking_neutrals`].
    pub fn taking_neutrals(self, asked: Arc<AtomicBool>) -> Self {
        Self { asked, ..self }
    }

    /// Whether the neutral of everybody is estimated while they are followed, see [`Classifier::estimating_neutrals`].
    pub fn estimating_neutrals(self, estimating: bool) -> Self {
        Self { estimating, ..self }
    }

    /// Loads the networks.
    ///
    /// # Errors
    /// A device or a model that cannot be used, a prior for a model whose card has none, a number of faces that cannot
    /// be.
    pub fn open(self) -> Result<Analyser> {
        if !(1..=MOST_FACES).contains(&self.max_faces) {
            return Err(Error::usage(format!("{} faces cannot be read", self.max_faces))
                .advice(format!("ask for 1 to {MOST_FACES}")));
        }
        let device = self.device.open()?;
        let own = self.person.as_ref().and_then(|person| person.model.as_ref()?.to_str());
        let model = self.model.as_deref().or(own);
        let mut classifier = Classifier::open(model, self.prior, self.smoothing, &device)?
            .with_most_faces(self.max_faces)
            .taking_neutrals(self.asked.clone())
            .estimating_neutrals(self.estimating);
        if let Some(Profile { name, neutral, .. }) = &self.person {
            classifier = classifier.with_person(name, neutral.as_ref())?;
        }
        Ok(Analyser { finder: FaceFinder::new(self.looking(), &device)?, classifier, settings: self })
    }

    fn looking(&self) -> face::Options {
        face::Options { max_faces: self.max_faces, still: self.stills, ..face::Options::default() }
    }
}

/// Finds faces and tells what they express. It may be shared between threads: what is read from one picture or stream
/// has nothing to do with another.
///
/// ```no_run
/// use lanet_live::{Analyser, images};
///
/// let image = images::read("picture.jpg".as_ref())?;
/// for face in Analyser::new()?.read(&image)? {
///     let (expression, confidence) = face.expression();
///     println!("{expression} {:.0} % at {:?}", confidence * 100.0, face.bounds());
/// }
/// # Ok::<(), lanet_live::Error>(())
/// ```
pub struct Analyser {
    settings: Settings,
    finder: FaceFinder,
    classifier: Classifier,
}

impl Analyser {
    /// An analyser with the networks in the program and the usual settings.
    ///
    /// # Errors
    /// A device that cannot hold the networks.
    pub fn new() -> Result<Self> {
        Settings::default().open()
    }

    /// Settings that end in [`Settings::open`].
    pub fn builder() -> Settings {
        Settings::default()
    }

    /// The fingerprint of the expression model's weights.
    pub fn fingerprint(&self) -> &str {
        self.classifier.fingerprint()
    }

    /// The faces of one picture, which has nothing to do with any other, numbered from 1; nothing is smoothed.
    ///
    /// # Errors
    /// A network that fails.
    pub fn read(&self, image: &Image) -> Result<Vec<ReadFace>> {
        let (mut finder, mut classifier) = (self.finder.clone(), self.classifier.clone());
        finder.look(face::Options { still: true, ..self.settings.looking() });
        let frame = Frame { image: image.clone(), source: "".into(), index: 0, time: Duration::ZERO };
        Ok(classifier.classify(finder.find(frame)?)?.faces)
    }

    /// What is read in frame after frame; finding faces and reading them have a thread each, and the frames come from
    /// one more. A frame of another source, or of an earlier time than the one before, begins anew. The first error is
    /// the last item.
    ///
    /// [`Frame::film`] makes frames of pictures; videos and cameras are iterators of frames.
    pub fn stream<I>(&self, frames: I) -> Stream<Reading>
    where
        I: Iterator<Item = Result<Frame>> + Send + 'static,
    {
        let (mut finder, mut classifier) = (self.finder.clone(), self.classifier.clone());
        let (usual, hiding) = (self.settings.looking(), self.settings.everywhere.clone());
        let everywhere = face::Options { max_faces: MOST_FACES, interval: 1, ..usual };
        let find = move |frame| {
            finder.look(if hiding.load(Ordering::Relaxed) { everywhere } else { usual });
            finder.find(frame)
        };
        flow::source("frame", self.settings.delivery, frames)
            .stage("find", find)
            .stage("read", move |scene| classifier.classify(scene))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images;
    use std::path::Path;

    /// A painted face on grey.
    fn picture() -> Image {
        let painted = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/painted.png");
        images::read(Path::new(painted)).unwrap().bordered(100, 60, 100, 60)
    }

    fn numbers(faces: &[ReadFace]) -> Vec<(u64, f32)> {
        faces.iter().map(|face| (face.track(), face.expression().1)).collect()
    }

    #[test]
    fn pictures_and_streams_know_nothing_of_each_other() {
        let analyser = Analyser::builder().smoothing(Duration::from_secs(9)).open().unwrap();
        let empty = Image::filled(392, 312, [118; 3]);
        let first = numbers(&analyser.read(&picture()).unwrap());
        assert_eq!(first.len(), 1);
        assert!(analyser.read(&empty).unwrap().is_empty());
        let film = |images: [Image; 2]| {
            let readings = analyser.stream(Frame::film(images, 25.0)).map(Result::unwrap);
            readings.map(|reading| (reading.frame.index, numbers(&reading.faces))).collect::<Vec<_>>()
        };
        let (one, two) = ([picture(), picture()], [picture().mirrored(), empty]);
        let alone = (film(one.clone()), film(two.clone()));
        assert!(alone.0[1].0 == 1 && alone.0[1].1.len() == 1 && alone.1[1].1.is_empty());
        // Side by side, and the second from another thread.
        let both = std::thread::scope(|scope| {
            let two = scope.spawn(|| film(two));
            (film(one), two.join().unwrap())
        });
        assert_eq!(both, alone);
        assert_eq!(numbers(&analyser.read(&picture()).unwrap()), first);
    }

    #[test]
    fn an_error_ends_a_stream_and_settings_that_cannot_be_are_refused() {
        let analyser = Analyser::new().unwrap();
        let frames = Frame::film([picture()], 25.0).chain([Err(Error::new("unplugged"))]);
        let readings: Vec<_> = analyser.stream(frames).collect();
        assert!(readings.len() == 2 && readings[1].as_ref().unwrap_err().line() == "unplugged");
        for faces in [0, MOST_FACES + 1] {
            assert!(Analyser::builder().max_faces(faces).open().err().unwrap().is_usage());
        }
        assert!(Analyser::builder().model("no such model").open().is_err());
    }
}
