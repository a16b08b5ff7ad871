//! Rows as Arrow's batches of columns, which other libraries take without a copy.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowSchema, to_ffi};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchIterator, StringArray,
    StructArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use lanet_live::columns::{Column, Extra, Kind, Row, VERSION, Value, columns};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

/// Some rows of a table.
#[pyclass(frozen, module = "lanet_live")]
pub struct Batch(RecordBatch);

impl Batch {
    /// These rows; the table says which weights read them.
    pub fn new(rows: &[Row], raw: bool, fingerprint: &str) -> PyResult<Self> {
        let arrays = columns(Extra { raw, ..Extra::default() }).map(|column| array(column, rows)).collect();
        RecordBatch::try_new(Arc::new(schema(raw, fingerprint)), arrays).map(Self).map_err(broken)
    }
}

fn schema(raw: bool, fingerprint: &str) -> Schema {
    let field = |column: &Column| {
        let kind = match column.kind {
            Kind::Text => DataType::Utf8,
            Kind::Integer => DataType::Int64,
            Kind::Real => DataType::Float64,
            Kind::Flag => DataType::Boolean,
        };
        let said = [("unit", column.unit), ("about", column.about)];
        let said = said.into_iter().filter(|(_, text)| !text.is_empty());
        let said = said.map(|(key, text)| (key.to_owned(), text.to_owned()));
        Field::new(column.name, kind, true).with_metadata(said.collect::<HashMap<_, _>>())
    };
    let fields: Vec<Field> = columns(Extra { raw, ..Extra::default() }).map(field).collect();
    let about = [
        ("lanet-live.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("lanet-live.model", fingerprint.to_owned()),
        ("lanet-live.format", VERSION.to_string()),
    ];
    let about: HashMap<_, _> = about.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Schema::new_with_metadata(fields, about)
}

fn array(column: &Column, rows: &[Row]) -> ArrayRef {
    let values = rows.iter().map(|row| column.value(row));
    match column.kind {
        Kind::Text => Arc::new(StringArray::from_iter(values.map(|value| match value {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }))),
        Kind::Integer => Arc::new(Int64Array::from_iter(values.map(|value| match value {
            Some(Value::Integer(number)) => Some(number as i64),
            _ => None,
        }))),
        Kind::Real => Arc::new(Float64Array::from_iter(values.map(|value| match value {
            Some(Value::Real(number)) => Some(number),
            _ => None,
        }))),
        Kind::Flag => Arc::new(BooleanArray::from_iter(values.map(|value| match value {
            Some(Value::Flag(flag)) => Some(flag),
            _ => None,
        }))),
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
