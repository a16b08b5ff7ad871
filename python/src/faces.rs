//! What is read, as Python sees it.

use std::sync::Arc;
use std::time::Duration;

use lanet_live::columns::{FaceRow, Row};
use lanet_live::expression::{Distribution, Expression};
use lanet_live::face::Mesh;
use lanet_live::reading::{self, ReadFace};
use numpy::{PyArray2, PyArrayMethods};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A face and what it expresses.
#[pyclass(frozen, module = "lanet_live")]
pub struct Face {
    row: Row,
    face: FaceRow,
    mesh: Mesh,
}

impl Face {
    fn new(source: &Arc<str>, frame: u64, time: Duration, face: &ReadFace) -> Self {
        let known = face.row(true);
        let row = Row { source: source.clone(), frame, time, face: Some(face.row(false)), mark: None };
        Self { row, face: known, mesh: face.face.mesh.clone() }
    }

    /// A face of a picture that belongs to no stream.
    pub fn alone(face: &ReadFace) -> Self {
        Self::new(&"".into(), 0, Duration::ZERO, face)
    }
}

fn shares(distribution: Distribution) -> Vec<(&'static str, f32)> {
    Expression::ALL.into_iter().map(|expression| (expression.name(), distribution.of(expression))).collect()
}

fn dict<'py>(py: Python<'py>, distribution: Distribution) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    shares(distribution).into_iter().try_for_each(|(name, share)| dict.set_item(name, share))?;
    Ok(dict)
}

#[pymethods]
impl Face {
    /// The number that the face keeps from frame to frame, from 1.
    #[getter]
    fn track(&self) -> u64 {
        self.face.track
    }

    /// Left, top, width and height in pixels of the picture.
    #[getter]
    fn r#box(&self) -> (f32, f32, f32, f32) {
        let bounds = self.face.bounds;
        (bounds.x, bounds.y, bounds.w, bounds.h)
    }

    /// How sure it is that this is a face, 0 to 1.
    #[getter]
    fn score(&self) -> f32 {
        self.face.score
    }

    /// Yaw, pitch and roll in degrees: to the subject's left, up, and clockwise as seen are positive.
    #[getter]
    fn pose(&self) -> (f32, f32, f32) {
        let pose = self.face.pose;
        (pose.yaw, pose.pitch, pose.roll)
    }

    /// The most probable expression.
    #[getter]
    fn expression(&self) -> &'static str {
        self.face.expression.name()
    }

    /// Its probability.
    #[getter]
    fn confidence(&self) -> f32 {
        self.face.confidence
    }

    /// The probability of each of the eight expressions, smoothed if that was asked for.
    #[getter]
    fn probabilities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, self.face.probabilities)
    }

    /// The probability of each of the eight expressions, in this frame alone.
    #[getter]
    fn raw_probabilities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, self.face.raw_probabilities.unwrap_or(self.face.probabilities))
    }

    /// Whether the face is too small, too turned or too little expressive to be relied on.
    #[getter]
    fn unsure(&self) -> bool {
        self.face.unsure
    }

    /// (468, 3) float32: x, y and depth of MediaPipe's face mesh in pixels; smaller depths are nearer to the camera.
    #[getter]
    fn landmarks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let points = self.mesh.points.iter().zip(&self.mesh.depths);
        let flat = points.flat_map(|(point, &depth)| [point.x, point.y, depth]);
        numpy::PyArray1::from_iter(py, flat).reshape([self.mesh.points.len(), 3])
    }

    /// A dict as a line of the program's results.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let text = serde_json::to_string(&self.row).map_err(|e| PyRuntimeError::new_err(e.to_string()))?;
        py.import("json")?.call_method1("loads", (text,))
    }

    fn __repr__(&self) -> String {
        let FaceRow { track, expression, confidence, bounds, .. } = &self.face;
        let (x, y, w, h) = (bounds.x, bounds.y, bounds.w, bounds.h);
        format!("Face(track={track}, {expression} {confidence:.2}, box=({x:.0}, {y:.0}, {w:.0}, {h:.0}))")
    }
}

/// A frame and its faces.
#[pyclass(frozen, module = "lanet_live")]
pub struct Reading {
    source: Arc<str>,
    /// The frame's number in its source, from 0.
    #[pyo3(get)]
    frame: u64,
    /// The frame's time in its source, in seconds.
    #[pyo3(get)]
    time: f64,
    /// The faces, in the order of their numbers.
    #[pyo3(get)]
    faces: Vec<Py<Face>>,
}

impl Reading {
    pub fn new(py: Python<'_>, reading: &reading::Reading) -> PyResult<Self> {
        let frame = &reading.frame;
        let face = |face| Py::new(py, Face::new(&frame.source, frame.index, frame.time, face));
        let faces = reading.faces.iter().map(face).collect::<PyResult<_>>()?;
        Ok(Self { source: frame.source.clone(), frame: frame.index, time: frame.time.as_secs_f64(), faces })
    }
}

#[pymethods]
impl Reading {
    /// Where the frame came from.
    #[getter]
    fn source(&self) -> &str {
        &self.source
    }

    fn __len__(&self) -> usize {
        self.faces.len()
    }

    fn __repr__(&self) -> String {
        format!("Reading(frame={}, time={:.3}, {} faces)", self.frame, self.time, self.faces.len())
    }
}
