//! The table of the epochs of a run: what each came to.

use std::path::{Path, PathBuf};

use lanet_live::error::{Context, Result};
use lanet_live::part::Part;
use lanet_live::train::Epoch;
use serde::{Deserialize, Serialize};

/// A line of the table; what there was not is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Row {
    epoch: usize,
    images: usize,
    seconds: f64,
    rate: f64,
    loss: f64,
    given: f64,
    meant: f64,
    estimated: f64,
    landmarks: f64,
    contrast: f64,
    consistency: f64,
    rehearsed: f64,
    /// The share of samples that are told as they are labelled.
    agreement: f64,
    /// The share of samples with a sure pseudo-label, the share of those that is right, and the share of wrong given labels
    /// whose estimate is right.
    sure: Option<f64>,
    sure_right: Option<f64>,
    mended: Option<f64>,
    accuracy: Option<f64>,
    macro_f1: Option<f64>,
    ece: Option<f64>,
    reported: Option<f64>,
}

impl Row {
    fn of(epoch: &Epoch) -> Self {
        let &Epoch { epoch, losses, rate, images, took, mended, judgement, reported, .. } = epoch;
        let short = |x: f64| (x * 1e6).round() / 1e6;
        let sure = Some(losses.sure).filter(|&sure| sure > 0.0);
        Self {
            epoch,
            images,
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            rate,
            loss: short(losses.total),
            given: short(losses.given),
            meant: short(losses.meant),
            estimated: short(losses.estimated),
            landmarks: short(losses.landmarks),
            contrast: short(losses.contrast),
            consistency: short(losses.consistency),
            rehearsed: short(losses.rehearsed),
            agreement: short(losses.agreement),
            sure: sure.map(short),
            sure_right: sure.map(|sure| short(losses.sure_and_right / sure)),
            mended: mended.map(short),
            accuracy: judgement.map(|j| short(j.accuracy)),
            macro_f1: judgement.map(|j| short(j.macro_f1)),
            ece: judgement.map(|j| short(j.calibration_error)),
            reported: reported.map(short),
        }
    }
}

/// The table of all epochs.
pub struct Rows {
    file: PathBuf,
    rows: Vec<Row>,
}

impl Rows {
    /// The table of a run of which so many epochs are done.
    pub fn open(file: &Path, epochs: usize) -> Result<Self> {
        let mut rows = Vec::new();
        if epochs > 0
            && let Ok(mut reader) = csv::Reader::from_path(file)
        {
            rows.extend(reader.deserialize().flatten().filter(|row: &Row| row.epoch <= epochs));
        }
        Ok(Self { file: file.to_owned(), rows })
    }

    /// Adds a line and writes the table.
    pub fn add(&mut self, epoch: &Epoch) -> Result<()> {
        self.rows.push(Row::of(epoch));
        let failed = || format!("cannot write '{}'", self.file.display());
        let part = Part::create(&self.file, true)?;
        let mut writer = csv::Writer::from_path(part.path()).with_context(failed)?;
        self.rows.iter().try_for_each(|row| writer.serialize(row)).with_context(failed)?;
        writer.flush().with_context(failed)?;
        drop(writer);
        part.finish()
    }

    /// Agreement with the given labels, accuracy, and the loss as a share of its greatest, epoch by epoch.
    pub fn series(&self) -> Vec<(&'static str, Vec<f32>)> {
        let column = |value: fn(&Row) -> f64| self.rows.iter().map(|row| value(row) as f32).collect();
        let losses: Vec<f32> = column(|row| row.loss);
        let most = losses.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        vec![
            ("validation", column(|row| row.accuracy.unwrap_or(0.0))),
            ("given labels", column(|row| row.agreement)),
            ("loss, scaled", losses.iter().map(|l| l / most).collect()),
        ]
    }
}
