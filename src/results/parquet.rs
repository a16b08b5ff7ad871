//! Rows as a Parquet file.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::table;
use crate::columns::{Extra, Row};

/// So many rows become columns at once.
const BATCH: usize = 1 << 12;
/// So many are written at once: until then they are in memory, packed, some megabytes.
const GROUP: usize = 1 << 16;

/// A table on its way into a file.
pub(super) struct Table {
    /// Where it goes; which columns there are is not known before the first rows come.
    to: Option<Writer>,
    begun: Option<(Arc<Schema>, ArrowWriter<Writer>)>,
    waiting: Vec<Row>,
    /// The fingerprint of the weights, if it is known.
    pub(super) model: String,
}

type Writer = Box<dyn Write + Send>;

impl Table {
    pub(super) fn new(to: Writer) -> Self {
        Self { to: Some(to), begun: None, waiting: Vec::new(), model: String::new() }
    }

    pub(super) fn write(&mut self, rows: &[Row], extra: Extra) -> io::Result<ControlFlow<()>> {
        self.waiting.extend_from_slice(rows);
        if self.waiting.len() >= BATCH {
            self.send(extra)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    pub(super) fn finish(&mut self, extra: Extra) -> io::Result<()> {
        self.send(extra)?.finish()?;
        Ok(())
    }

    fn send(&mut self, extra: Extra) -> io::Result<&mut ArrowWriter<Writer>> {
        if let Some(to) = self.to.take() {
            let schema = Arc::new(table::schema(extra, &self.model));
            self.begun =
                Some((schema.clone(), ArrowWriter::try_new(to, schema, Some(properties(&self.model)))?));
        }
        let (schema, writer) = self.begun.as_mut().ok_or(io::ErrorKind::Other)?;
        writer.write(&table::batch(&self.waiting, extra, schema).map_err(io::Error::other)?)?;
        self.waiting.clear();
        Ok(writer)
    }
}

fn properties(model: &str) -> WriterProperties {
    let about = table::about(model).into_iter().map(|(key, value)| KeyValue::new(key.into(), value));
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP))
        .set_key_value_metadata(Some(about.collect()))
        .set_created_by(concat!("lanet-live ", env!("CARGO_PKG_VERSION")).into())
        .build()
}
