//! The table of the epochs of a run: what each came to.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lanet_live::error::{Context, Result};
use lanet_live::part::Part;
use lanet_live::train::step::Losses;

/// How good a network is on faces that it did not learn from.
#[derive(Debug, Clone, Copy)]
pub struct Judgement {
    pub accuracy: f64,
    pub macro_f1: f64,
    pub calibration_error: f64,
}

/// What came of an epoch.
pub struct Row {
    pub epoch: usize,
    pub rate: f64,
    pub images: usize,
    pub took: Duration,
    pub losses: Losses,
    pub judgement: Judgement,
    pub reported: Option<f64>,
}

/// The table of all epochs.
pub struct Rows {
    file: PathBuf,
    rows: Vec<Vec<String>>,
}

const COLUMNS: [&str; 15] = [
    "epoch",
    "images",
    "seconds",
    "rate",
    "loss",
    "given",
    "meant",
    "estimated",
    "landmarks",
    "contrast",
    "agreement",
    "accuracy",
    "macro_f1",
    "ece",
    "reported",
];

impl Rows {
    /// The table of a run of which so many epochs are done.
    pub fn open(file: &Path, epochs: usize) -> Result<Self> {
        let mut rows = Vec::new();
        if epochs > 0
            && let Ok(mut reader) = csv::Reader::from_path(file)
        {
            let old = reader.records().flatten().map(|r| r.iter().map(str::to_owned).collect::<Vec<_>>());
            rows.extend(old.filter(|row| row.len() == COLUMNS.len()).take(epochs));
        }
        Ok(Self { file: file.to_owned(), rows })
    }

    pub fn add(&mut self, row: Row) -> Result<()> {
        let Row { epoch, rate, images, took, losses, judgement, reported } = row;
        let number = |x: f64| format!("{x:.6}");
        let shown = |x: &dyn Display| x.to_string();
        self.rows.push(vec![
            shown(&epoch),
            shown(&images),
            format!("{:.1}", took.as_secs_f64()),
            format!("{rate:e}"),
            number(losses.total),
            number(losses.given),
            number(losses.meant),
            number(losses.estimated),
            number(losses.landmarks),
            number(losses.contrast),
            number(losses.agreement),
            number(judgement.accuracy),
            number(judgement.macro_f1),
            number(judgement.calibration_error),
            reported.map_or(String::new(), number),
        ]);
        let failed = || format!("cannot write '{}'", self.file.display());
        let part = Part::create(&self.file, true)?;
        let mut writer = csv::Writer::from_path(part.path()).with_context(failed)?;
        writer.write_record(COLUMNS).with_context(failed)?;
        for row in &self.rows {
            writer.write_record(row).with_context(failed)?;
        }
        writer.flush().with_context(failed)?;
        drop(writer);
        part.finish()
    }

    /// Agreement with the given labels, accuracy, and the loss as a share of its greatest, epoch by epoch.
    #[cfg(feature = "capture")]
    pub fn series(&self) -> Vec<(&'static str, Vec<f32>)> {
        let column = |name: &str| -> Vec<f32> {
            let at = COLUMNS.iter().position(|c| *c == name).unwrap_or(0);
            self.rows.iter().map(|row| row[at].parse().unwrap_or(0.0)).collect()
        };
        let losses = column("loss");
        let most = losses.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        vec![
            ("validation", column("accuracy")),
            ("given labels", column("agreement")),
            ("loss, scaled", losses.iter().map(|l| l / most).collect()),
        ]
    }
}
