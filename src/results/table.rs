//! Rows as Arrow's batches of columns, which other libraries take as they are.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema};

use crate::columns::{Column, Extra, Kind, Row, VERSION, Value, columns};

/// What a table says of itself: the version of this crate and of the rows, and the fingerprint of the weights, which may
/// be empty.
pub fn about(fingerprint: &str) -> Vec<(&'static str, String)> {
    let all = [
        ("lanet-live.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("lanet-live.model", fingerprint.to_owned()),
        ("lanet-live.format", VERSION.to_string()),
    ];
    all.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

/// The columns with `unit` and `about` in the metadata of each, [`about`] in their own.
pub fn schema(extra: Extra, fingerprint: &str) -> Schema {
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
    let about = about(fingerprint).into_iter().map(|(key, value)| (key.to_owned(), value));
    Schema::new_with_metadata(columns(extra).map(field).collect::<Vec<_>>(), about.collect::<HashMap<_, _>>())
}

/// These rows as columns of `schema`, which is that of the same `extra`.
///
/// # Errors
/// Another schema.
pub fn batch(rows: &[Row], extra: Extra, schema: &Arc<Schema>) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_new(schema.clone(), columns(extra).map(|column| array(column, rows)).collect())
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
