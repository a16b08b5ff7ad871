//! Batches of a table as Arrow's C interface, which other libraries take without a copy.

use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowSchema, to_ffi};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{Array, RecordBatch, RecordBatchIterator, StructArray};
use arrow_schema::ArrowError;
use lanet_live::columns::{Extra, Row};
use lanet_live::results::table;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

/// Some rows of a table.
#[pyclass(frozen, module = "lanet_live")]
pub struct Batch(RecordBatch);

impl Batch {
    /// These rows; the table says which weights read them.
    pub fn new(rows: &[Row], extra: Extra, fingerprint: &str) -> PyResult<Self> {
        table::batch(rows, extra, &Arc::new(table::schema(extra, fingerprint))).map(Self).map_err(broken)
    }
}

fn broken(error: ArrowError) -> PyErr {
    PyRuntimeError::new_err(format!("a table cannot be made: {error}"))
}

/// The batches as a stream of Arrow's C interface.
pub fn stream<'py>(py: Python<'py>, empty: Batch, batches: Vec<Batch>) -> PyResult<Bound<'py, PyCapsule>> {
    let batches = batches.into_iter().map(|batch| Ok(batch.0));
    let reader = RecordBatchIterator::new(batches, empty.0.schema());
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), c"arrow_array_stream")
}

#[pymethods]
impl Batch {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema;
        let schema = FFI_ArrowSchema::try_from(self.0.schema().as_ref()).map_err(broken)?;
        let (array, _) = to_ffi(&StructArray::from(self.0.clone()).into_data()).map_err(broken)?;
        Ok((
            PyCapsule::new_with_value(py, schema, c"arrow_schema")?,
            PyCapsule::new_with_value(py, array, c"arrow_array")?,
        ))
    }

    fn __len__(&self) -> usize {
        self.0.num_rows()
    }
}
