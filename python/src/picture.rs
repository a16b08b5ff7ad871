//! numpy arrays as pictures.

use lanet_live::Image;
use lanet_live::frame::Frame;
use numpy::{PyArray3, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyIterator;

/// Refuses an order of channels that there is none of.
pub fn check_order(order: &str) -> PyResult<()> {
    match order {
        "rgb" | "bgr" => Ok(()),
        _ => Err(PyValueError::new_err(format!("order is 'rgb' or 'bgr', not '{order}'"))),
    }
}

/// An array (height, width, 3) of uint8, contiguous or not, as a picture.
pub fn image(array: &Bound<'_, PyAny>, order: &str) -> PyResult<Image> {
    check_order(order)?;
    const WANTED: &str = "an image is a numpy array (height, width, 3) of uint8";
    let Ok(any) = array.cast::<PyUntypedArray>() else {
        return Err(PyTypeError::new_err(format!("{WANTED}, not {}", array.get_type().name()?)));
    };
    let Some(array) = array.cast::<PyArray3<u8>>().ok().filter(|_| any.shape()[2] == 3) else {
        return Err(PyValueError::new_err(format!("{WANTED}, not {:?} of {}", any.shape(), any.dtype())));
    };
    let array = array.try_readonly()?;
    let mut pixels = match array.as_slice() {
        Ok(pixels) if any.is_c_contiguous() => pixels.to_vec(),
        _ => array.as_array().iter().copied().collect(),
    };
    if order == "rgb" {
        pixels.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.reverse());
    }
    let (height, width) = (any.shape()[0], any.shape()[1]);
    if height * width == 0 {
        return Err(PyValueError::new_err(format!("{WANTED}, and this one has no pixels")));
    }
    Image::new(width, height, pixels).map_err(crate::raised)
}

/// The pictures that a Python iterator gives, as frames.
pub struct Pictures {
    arrays: Py<PyIterator>,
    order: String,
    fps: f64,
    next: u64,
}

impl Pictures {
    pub fn new(arrays: Py<PyIterator>, order: &str, fps: f64) -> Self {
        Self { arrays, order: order.to_owned(), fps, next: 0 }
    }

    /// The next one; `None` after the last.
    pub fn next(&mut self, py: Python<'_>) -> PyResult<Option<Frame>> {
        let Some(array) = self.arrays.bind(py).clone().next() else { return Ok(None) };
        let image = image(&array?, &self.order)?;
        let index = self.next;
        self.next += 1;
        let time = crate::seconds("1 / fps", index as f64 / self.fps)?;
        Ok(Some(Frame { image, source: "stream".into(), index, time }))
    }
}
