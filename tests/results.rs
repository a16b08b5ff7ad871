//! Result files.

use std::fs;
use std::time::Duration;

use lanet_live::columns::Row;
use lanet_live::results::Results;

use crate::scratch::Scratch;

fn row() -> Row {
    Row { source: "a.mp4".into(), frame: 7, time: Duration::from_millis(280), face: None, mark: None }
}

#[test]
fn a_file_appears_when_it_is_finished() {
    let scratch = Scratch::new();
    for (name, expected) in [
        ("r.jsonl", "{\"v\":1,\"source\":\"a.mp4\",\"frame\":7,\"time\":0.28,\"track\":null}\n"),
        ("r.csv", "a.mp4,7,0.28,,,,,,,,,,,,,,,,,,,,\n"),
    ] {
        let path = scratch.path(name);
        let mut results = Results::create(&path, false, false).unwrap();
        assert!(results.write(&[row()]).unwrap().is_continue());
        assert!(!path.exists());
        assert_eq!(results.finish().unwrap().as_ref(), Some(&path));
        assert!(fs::read_to_string(&path).unwrap().ends_with(expected), "{name}");

        assert!(Results::create(&path, false, false).err().unwrap().line().contains("exists already"));
        let mut dropped = Results::create(&path, true, false).unwrap();
        assert!(dropped.write(&[row(), row()]).unwrap().is_continue());
        drop(dropped);
        assert_eq!(fs::read_to_string(&path).unwrap().matches("a.mp4").count(), 1);
    }
    assert_eq!(scratch.names(), ["r.csv", "r.jsonl"]);
}

#[test]
fn a_table_has_types_units_and_the_model() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let scratch = Scratch::new();
    let path = scratch.path("r.parquet");
    let mut results =
        Results::create(&path, false, false).unwrap().with_columns(true, false).with_model("abc");
    // More than fit into one group of rows.
    for frame in 0..70_000 {
        assert!(results.write(&[Row { frame, ..row() }]).unwrap().is_continue());
    }
    assert!(!path.exists());
    results.finish().unwrap();
    let file = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap();
    let about = file.metadata().file_metadata();
    let said = |key: &str| {
        let values = about.key_value_metadata().into_iter().flatten();
        values.filter(|pair| pair.key == key).filter_map(|pair| pair.value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(said("lanet-live.model"), ["abc"]);
    assert_eq!(said("lanet-live.version"), [env!("CARGO_PKG_VERSION")]);
    assert_eq!((about.num_rows(), file.metadata().num_row_groups()), (70_000, 2));
    let fields: Vec<_> = file.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert!(fields.len() == 24 && fields.starts_with(&["source".into(), "frame".into()]), "{fields:?}");
    let kind = |name: &str| file.schema().field_with_name(name).unwrap().data_type().to_string();
    assert_eq!(["source", "frame", "time", "baseline"].map(kind), ["Utf8", "Int64", "Float64", "Boolean"]);
    let unit = |name: &str| file.schema().field_with_name(name).unwrap().metadata().get("unit").cloned();
    assert_eq!(
        ["box_w", "yaw", "time"].map(unit),
        ["pixels", "degrees", "s"].map(|unit| Some(unit.to_owned()))
    );
    let rows: usize = file.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 70_000);
    // Nothing is left of what was not finished, and a table without rows is one.
    drop(Results::create(&scratch.path("dropped.parquet"), false, false).unwrap());
    Results::create(&scratch.path("empty.parquet"), false, false).unwrap().finish().unwrap();
    assert_eq!(scratch.names(), ["empty.parquet", "r.parquet"]);
    let empty =
        ParquetRecordBatchReaderBuilder::try_new(fs::File::open(scratch.path("empty.parquet")).unwrap());
    assert_eq!(empty.unwrap().schema().fields().len(), 23);
}
