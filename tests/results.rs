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
