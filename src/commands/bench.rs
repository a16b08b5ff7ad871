//! `lanet-live bench`: how fast each network runs on this machine.

use std::io::Write;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::Args;
use lanet_live::device::Choice;
use lanet_live::error::{Error, Result};
use lanet_live::net::{self, BlazeFace, FaceMesh, LaNet, Model, Range};
use serde_json::json;

use super::{Outcome, Stop, print};

/// What is measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Only this model: a name or a folder
    model: Option<String>,
    /// Compute on: auto, cpu, cuda:N or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Runs to take the median of, after three to warm up
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Something that takes (batch, 3, height, width).
type Forward = Box<dyn Fn(&Tensor) -> Result<()>>;

/// One line of the table.
struct Timing {
    net: String,
    batch: usize,
    median_ms: f64,
    p95_ms: f64,
    multiply_adds: u64,
}

/// Measures each network at batch 1 and 8.
pub fn run(options: &Options, stop: &Stop) -> Result<Outcome> {
    let device = options.device.parse::<Choice>()?.open()?;
    let names: Vec<_> = match &options.model {
        Some(name) => vec![name.clone()],
        None => net::names().map(str::to_owned).collect(),
    };
    let mut timings = Vec::new();
    for name in names {
        let model = net::open(&name, &device)?;
        let (forward, multiply_adds) = network(&model, &device)?;
        for batch in [1, 8] {
            let size = (batch, 3, model.card.input.height, model.card.input.width);
            let input = Tensor::zeros(size, DType::F32, &device)?.affine(0.0, 0.5)?;
            let mut ms = Vec::new();
            for _ in 0..3 + options.runs {
                if stop.asked() {
                    return Ok(Outcome::Interrupted);
                }
                let start = Instant::now();
                forward(&input)?;
                device.synchronize()?;
                ms.push(start.elapsed().as_secs_f64() * 1e3);
            }
            let mut ms = ms.split_off(3);
            ms.sort_by(f64::total_cmp);
            let quantile = |share: f64| ms[((ms.len() - 1) as f64 * share).round() as usize];
            timings.push(Timing {
                net: model.card.name.clone(),
                batch,
                median_ms: quantile(0.5),
                p95_ms: quantile(0.95),
                multiply_adds: multiply_adds * batch as u64,
            });
        }
    }
    report(&timings, options.json)
}

fn network(model: &Model, device: &Device) -> Result<(Forward, u64)> {
    let blazeface = |range| -> Result<(Forward, u64)> {
        let net = BlazeFace::new(model, range, device)?;
        let multiply_adds = net.multiply_adds();
        Ok((Box::new(move |x| net.forward(x).map(drop)), multiply_adds))
    };
    match model.card.network.as_str() {
        "blazeface-full" => blazeface(Range::Full),
        "blazeface-short" => blazeface(Range::Short),
        "facemesh" => {
            let net = FaceMesh::new(model, device)?;
            let multiply_adds = net.multiply_adds();
            Ok((Box::new(move |x| net.forward(x).map(drop)), multiply_adds))
        }
        network if network.starts_with("lanet-") => {
            let net = LaNet::from_model(model)?;
            let multiply_adds = net.multiply_adds();
            Ok((Box::new(move |x| net.forward(x).map(drop)), multiply_adds))
        }
        network => Err(Error::new(format!("the network '{network}' cannot be measured"))),
    }
}

fn report(timings: &[Timing], as_json: bool) -> Result<Outcome> {
    print(|out| {
        if as_json {
            let list: Vec<_> = timings
                .iter()
                .map(|t| {
                    json!({"net": t.net, "batch": t.batch, "median_ms": t.median_ms, "p95_ms": t.p95_ms,
                           "multiply_adds": t.multiply_adds})
                })
                .collect();
            return writeln!(out, "{}", json!(list));
        }
        let width = timings.iter().map(|t| t.net.len()).max().unwrap_or(0);
        writeln!(out, "{:width$}  batch  median ms    p95 ms  multiply-adds", "net")?;
        timings.iter().try_for_each(|t| {
            let millions = t.multiply_adds as f64 / 1e6;
            writeln!(
                out,
                "{:width$}  {:5}  {:9.2} {:9.2}  {millions:11.1} M",
                t.net, t.batch, t.median_ms, t.p95_ms
            )
        })
    })
}
