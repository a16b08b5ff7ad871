//! lanet-live for Python: a thin skin over `Analyser` and the table of columns.

mod faces;
mod picture;
mod readings;
mod signals;
mod table;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use lanet_live::columns::{Extra, columns};
use lanet_live::error::{Error, Kind};
use lanet_live::prior::Prior;
use lanet_live::profile::{self, Profile};
use lanet_live::{commands, video};
use pyo3::exceptions::{PyFileNotFoundError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use faces::{Face, Reading};
use readings::Readings;
use table::Batch;

/// Networks ask for the same large blocks at every frame; the system's allocator would give them back each time.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A failure as Python's own kind of it, with the line that the program would say.
fn raised(error: Error) -> PyErr {
    let line = error.line();
    match error.kind() {
        Kind::Usage | Kind::Input | Kind::Model => PyValueError::new_err(line),
        Kind::NotFound => PyFileNotFoundError::new_err(line),
        Kind::Output => PyOSError::new_err(line),
        _ => PyRuntimeError::new_err(line),
    }
}

/// Refuses a process that was forked from one that has used the networks: their threads are not in it.
fn not_forked() -> PyResult<()> {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    let own = std::process::id();
    if *PROCESS.get_or_init(|| own) == own {
        return Ok(());
    }
    Err(PyRuntimeError::new_err(
        "lanet_live was in use before this process was forked, and cannot go on in it; \
         start processes with multiprocessing's 'spawn' or 'forkserver'",
    ))
}

fn seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!("{name} is a number of seconds, 0 or more, not {seconds}"))
    })
}

/// What is kept of somebody, by their name in the usual folder, or by the path of their own.
fn profile(person: &Path) -> lanet_live::Result<Profile> {
    let folder = person.parent().filter(|folder| !folder.as_os_str().is_empty());
    let name = person.file_name().unwrap_or_default().to_string_lossy();
    Profile::open(folder.unwrap_or(Path::new(profile::FOLDER)), &name)
}

/// Finds faces and tells what they express.
#[pyclass(frozen, module = "lanet_live._native", subclass)]
struct Analyser {
    analyser: lanet_live::Analyser,
    /// Whether somebody is expected.
    person: bool,
}

#[pymethods]
impl Analyser {
    #[new]
    #[pyo3(signature = (model=None, device="auto", max_faces=16, smoothing=0.0, prior=None, person=None))]
    fn new(
        py: Python<'_>,
        model: Option<PathBuf>,
        device: &str,
        max_faces: usize,
        smoothing: f64,
        prior: Option<&str>,
        person: Option<PathBuf>,
    ) -> PyResult<Self> {
        not_forked()?;
        let smoothing = seconds("smoothing", smoothing)?;
        let model = model.map(|model| model.to_string_lossy().into_owned());
        let open = || {
            lanet_live::Analyser::builder()
                .model(model.as_deref())
                .device(device.parse()?)
                .max_faces(max_faces)
                .smoothing(smoothing)
                .prior(prior.map(str::parse::<Prior>).transpose()?)
                .person(person.as_deref().map(profile).transpose()?)
                .open()
        };
        Ok(Self { analyser: py.detach(open).map_err(raised)?, person: person.is_some() })
    }

    #[pyo3(signature = (image, order="rgb"))]
    fn read(&self, py: Python<'_>, image: &Bound<'_, PyAny>, order: &str) -> PyResult<Vec<Face>> {
        not_forked()?;
        let image = picture::image(image, order)?;
        let faces = py.detach(|| self.analyser.read(&image)).map_err(raised)?;
        Ok(faces.into_iter().map(|face| Face::alone(&face)).collect())
    }

    #[pyo3(signature = (frames, fps=25.0, order="rgb"))]
    fn stream(&self, frames: &Bound<'_, PyAny>, fps: f64, order: &str) -> PyResult<Readings> {
        not_forked()?;
        picture::check_order(order)?;
        if !(fps.is_finite() && fps > 0.0) {
            return Err(PyValueError::new_err(format!("fps is a number of frames a second, not {fps}")));
        }
        let pictures = picture::Pictures::new(frames.try_iter()?.unbind(), order, fps);
        Ok(Readings::of_pictures(&self.analyser, self.person, pictures))
    }

    #[pyo3(signature = (path, start=0.0, end=None))]
    fn _video(&self, py: Python<'_>, path: PathBuf, start: f64, end: Option<f64>) -> PyResult<Readings> {
        not_forked()?;
        let start = seconds("start", start)?;
        let end = end.map(|end| seconds("end", end)).transpose()?;
        let open = || video::Reader::open(&path);
        let video = py.detach(open).map_err(raised)?;
        Ok(Readings::of_video(&self.analyser, self.person, video, start, end))
    }

    /// A table without rows, for its columns.
    fn _empty(&self, raw: bool) -> PyResult<Batch> {
        let extra = Extra { raw, baseline: self.person, ..Extra::default() };
        Batch::new(&[], extra, self.analyser.fingerprint())
    }

    /// SHA-256 of the weights of the expression model, in hexadecimal.
    #[getter]
    fn fingerprint(&self) -> &str {
        self.analyser.fingerprint()
    }
}

/// Does what a command line asks for, and gives the exit code.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<std::ffi::OsString>) -> u8 {
    py.detach(|| commands::start(arguments))
}

/// Name, unit and meaning of each column of a table.
#[pyfunction]
#[pyo3(signature = (raw=false))]
fn _columns(raw: bool) -> Vec<(&'static str, &'static str, &'static str)> {
    columns(Extra { raw, ..Extra::default() })
        .map(|column| (column.name, column.unit, column.about))
        .collect()
}

/// How many seconds a video lasts, as its index says; None where it does not say.
#[pyfunction]
fn _seconds(py: Python<'_>, path: PathBuf) -> PyResult<Option<f64>> {
    let open = || video::Reader::open(&path);
    let info = py.detach(open).map_err(raised)?.info().clone();
    Ok(info.end.map(|end| end.as_secs_f64()))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    video::quiet();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Analyser>()?;
    module.add_class::<Face>()?;
    module.add_class::<Reading>()?;
    module.add_class::<Readings>()?;
    module.add_class::<Batch>()?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(_seconds, module)?)?;
    module.add_function(wrap_pyfunction!(_columns, module)?)
}
