//! One pass of a net when asked, so that a script can take turns with another engine.
//!
//! `nets export DIR` writes each net as NAME.json and NAME.safetensors; `nets serve THREADS` reads lines
//! `NAME SIZE BATCH` and answers each with the milliseconds of one forward pass; a line `check NAME SIZE BATCH FILE`
//! reads the input from FILE.in and writes the output to FILE.out, as raw 32-bit numbers.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::Optimizer;
use lanet_live::error::{Context, Error, Result};
use lanet_live::kernels::{
    Activation, Conv, Padding, Separable, Shape, learn, max_pool, mean, one_by_one, threads, together,
};
use lanet_live::net::{BlazeFace, FaceMesh, Range};
use serde_json::{Value, json};

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A net as a list of steps, each reading the output of the one before or of another by its number.
struct Net {
    steps: Vec<Value>,
    weights: HashMap<String, Tensor>,
}

impl Net {
    fn new() -> Self {
        Self { steps: Vec::new(), weights: HashMap::new() }
    }

    /// Adds a convolution with made-up weights; gives its number.
    fn conv(&mut self, from: i64, inner: usize, out: usize, kernel: usize, rest: Value) -> i64 {
        let name = format!("conv{}", self.steps.len());
        let depthwise = rest["depthwise"] == json!(true);
        let per_out = if depthwise { 1 } else { inner };
        let count = out * per_out * kernel * kernel;
        let scale = (6.0 / (per_out * kernel * kernel) as f32).sqrt();
        let mut state = 88_172_645_463_325_252u64 + self.steps.len() as u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
        };
        let weight: Vec<f32> = (0..count).map(|_| random()).collect();
        let bias: Vec<f32> = (0..out).map(|_| 0.1 * random()).collect();
        let weight = Tensor::from_vec(weight, (out, per_out, kernel, kernel), &Device::Cpu);
        self.weights.insert(format!("{name}.weight"), weight.expect("as many numbers as places"));
        let bias = Tensor::from_vec(bias, out, &Device::Cpu);
        self.weights.insert(format!("{name}.bias"), bias.expect("as many numbers as places"));
        let mut step = json!({"op": "conv", "name": name, "from": from});
        step.as_object_mut().expect("an object").extend(rest.as_object().cloned().unwrap_or_default());
        self.step(step)
    }

    /// Channels of the last convolution.
    fn features(&self) -> usize {
        let last = self.steps.iter().rev().find_map(|step| step["name"].as_str()).unwrap_or_default();
        self.weights.get(&format!("{last}.bias")).map_or(0, Tensor::elem_count)
    }

    fn step(&mut self, step: Value) -> i64 {
        self.steps.push(step);
        self.steps.len() as i64 - 1
    }
}

fn mobilenet() -> Net {
    let mut net = Net::new();
    let mut at =
        net.conv(-1, 3, 32, 3, json!({"stride": 2, "padding": "same", "act": "relu6", "depthwise": false}));
    let mut inner = 32;
    for (out, stride) in [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (1024, 2),
        (1024, 1),
    ] {
        at = net.conv(
            at,
            inner,
            inner,
            3,
            json!({"stride": stride, "padding": "same", "act": "relu6", "depthwise": true}),
        );
        at = net.conv(
            at,
            inner,
            out,
            1,
            json!({"stride": 1, "padding": 0, "act": "relu6", "depthwise": false}),
        );
        inner = out;
    }
    net.step(json!({"op": "mean", "from": at}));
    net
}

fn resnet18() -> Net {
    let mut net = Net::new();
    let conv = |stride: usize, padding: usize, act: &str, residual: Option<i64>| json!({"stride": stride, "padding": padding, "act": act, "residual": residual, "depthwise": false});
    let mut at = net.conv(-1, 3, 64, 7, conv(2, 3, "relu", None));
    at = net.step(json!({"op": "max_pool", "from": at}));
    let mut inner = 64;
    for (out, stride) in [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)] {
        let skip = if stride == 1 { at } else { net.conv(at, inner, out, 1, conv(stride, 0, "none", None)) };
        let middle = net.conv(at, inner, out, 3, conv(stride, 1, "relu", None));
        at = net.conv(middle, out, out, 3, conv(1, 1, "relu", Some(skip)));
        inner = out;
    }
    net.step(json!({"op": "mean", "from": at}));
    net
}

/// The networks that find faces and their landmarks, as they are in use.
enum Finder {
    Face(Box<BlazeFace>),
    Mesh(Box<FaceMesh>),
}

impl Finder {
    fn all() -> Result<HashMap<&'static str, Self>> {
        Ok(HashMap::from([
            ("blazeface-full", Self::Face(Box::new(BlazeFace::embedded(Range::Full, &Device::Cpu)?))),
            ("facemesh", Self::Mesh(Box::new(FaceMesh::embedded(&Device::Cpu)?))),
        ]))
    }

    /// One of the answers; all of them are computed.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Face(net) => net.forward(x)?.boxes,
            Self::Mesh(net) => net.forward(x)?.points,
        })
    }
}

fn nets() -> Vec<(&'static str, Net)> {
    vec![("mobilenet-v1", mobilenet()), ("resnet-18", resnet18())]
}

/// A net that is ready to run.
struct Ready {
    steps: Vec<(Step, i64)>,
    /// For each step, the outputs that no later one reads.
    done: Vec<Vec<usize>>,
}

enum Step {
    Conv(Box<Conv>, Option<i64>),
    Separable(Box<Separable>),
    /// A depthwise convolution that goes with the one after it.
    Later,
    MaxPool,
    Mean,
}

impl Ready {
    fn new(net: &Net) -> Result<Self> {
        let conv = |step: &Value| {
            let name = step["name"].as_str().unwrap_or_default();
            let (shape, activation) = described(step);
            let tensor = |what: &str| net.weights[&format!("{name}.{what}")].clone();
            Conv::new(tensor("weight"), Some(tensor("bias")), shape, activation)
        };
        let is_depthwise = |step: &Value| step["depthwise"] == json!(true);
        let step = |(n, step): (usize, &Value)| {
            let made = match step["op"].as_str() {
                Some("conv") if is_depthwise(step) => Step::Later,
                Some("conv") if n > 0 && is_depthwise(&net.steps[n - 1]) => {
                    let (depthwise, pointwise) = (conv(&net.steps[n - 1])?, conv(step)?);
                    Step::Separable(Box::new(Separable { depthwise, pointwise }))
                }
                Some("conv") => Step::Conv(Box::new(conv(step)?), step["residual"].as_i64()),
                Some("max_pool") => Step::MaxPool,
                _ => Step::Mean,
            };
            Ok((made, step["from"].as_i64().unwrap_or(-1)))
        };
        let mut done = vec![Vec::new(); net.steps.len()];
        for output in 0..net.steps.len() - 1 {
            let reads = |step: &Value| {
                ["from", "residual"].iter().any(|key| step[key].as_u64() == Some(output as u64))
            };
            done[net.steps.iter().rposition(reads).unwrap_or(output)].push(output);
        }
        Ok(Self { steps: net.steps.iter().enumerate().map(step).collect::<Result<_>>()?, done })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, |_, _, _, _| ())
    }

    fn forward_with(
        &self,
        x: &Tensor,
        mut note: impl FnMut(usize, &Step, &Tensor, Instant),
    ) -> Result<Tensor> {
        let mut made: Vec<Option<Tensor>> = Vec::with_capacity(self.steps.len());
        for ((step, from), done) in self.steps.iter().zip(&self.done) {
            let gone = || Error::new("a step reads what is gone");
            let of = |n: i64| made.get(n as usize).and_then(Option::as_ref).ok_or_else(gone);
            let input = if *from < 0 { x } else { of(*from)? };
            let start = Instant::now();
            let y = match step {
                Step::Conv(conv, None) => conv.forward(input)?,
                Step::Conv(conv, Some(residual)) => conv.forward_add(input, of(*residual)?)?,
                Step::Separable(pair) => pair.forward(input, None)?,
                Step::Later => input.clone(),
                Step::MaxPool => max_pool(input, 3, 2, 1)?,
                Step::Mean => mean(input)?,
            };
            note(made.len(), step, input, start);
            made.push(Some(y));
            done.iter().for_each(|&n| made[n] = None);
        }
        made.pop().flatten().ok_or_else(|| Error::new("an empty net"))
    }
}

/// A net that learns: weights, batch norm for each convolution, a classifier of eight, and the optimiser.
struct Learner {
    steps: Vec<Value>,
    weights: HashMap<String, Var>,
    optimiser: candle_nn::AdamW,
    /// Candle's own operations instead of ours.
    plain: bool,
}

impl Learner {
    fn new(net: &Net, plain: bool) -> Result<Self> {
        let mut weights = HashMap::new();
        for (name, tensor) in &net.weights {
            let Some(layer) = name.strip_suffix(".weight") else { continue };
            let out = tensor.dim(0)?;
            weights.insert(name.clone(), Var::from_tensor(tensor)?);
            weights.insert(format!("{layer}.gain"), Var::ones(out, DType::F32, &Device::Cpu)?);
            weights.insert(format!("{layer}.shift"), Var::zeros(out, DType::F32, &Device::Cpu)?);
        }
        let features = net.features();
        weights.insert("head".into(), Var::randn(0f32, 0.01, (features, 8), &Device::Cpu)?);
        let mut names: Vec<_> = weights.keys().cloned().collect();
        names.sort();
        let vars = names.iter().map(|name| weights[name].clone()).collect();
        let optimiser = candle_nn::AdamW::new_lr(vars, 1e-3)?;
        Ok(Self { steps: net.steps.clone(), weights, optimiser, plain })
    }

    /// One step; gives the loss.
    fn learn(&mut self, x: &Tensor, labels: &Tensor) -> Result<f32> {
        let mut made: Vec<Tensor> = Vec::new();
        let x = if self.plain { x.clone() } else { learn::channels_last(x)? };
        for step in &self.steps {
            let of = |key: &str| step[key].as_u64().map(|n| &made[n as usize]);
            let input = of("from").unwrap_or(&x);
            let y = match (step["op"].as_str(), self.plain) {
                (Some("conv"), _) => self.convolve(step, input, of("residual"))?,
                (Some("max_pool"), false) => learn::max_pool(input, 3, 2, 1)?,
                (Some("max_pool"), true) => plain_pool(input)?,
                (_, false) => learn::mean(input)?,
                (_, true) => input.mean((2, 3))?,
            };
            made.push(y);
        }
        let features = made.pop().ok_or_else(|| Error::new("an empty net"))?;
        let loss =
            candle_nn::loss::cross_entropy(&features.matmul(self.weights["head"].as_tensor())?, labels)?;
        self.optimiser.backward_step(&loss)?;
        Ok(loss.to_scalar()?)
    }

    fn convolve(&self, step: &Value, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let name = step["name"].as_str().unwrap_or_default();
        let of = |part: &str| self.weights[&format!("{name}.{part}")].as_tensor();
        let (shape, activation) = described(step);
        let (weight, gain, shift) = (of("weight"), of("gain"), of("shift"));
        if !self.plain {
            let y = learn::conv(x, weight, shape)?;
            return Ok(learn::batch_norm(&y, gain, shift, residual, &activation)?.0);
        }
        let (out, _, k, _) = weight.dims4()?;
        let (top, bottom) = shape.padding.around(x.dim(2)?, k, shape.stride);
        let x = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, top, bottom)?;
        let y = x.conv2d(weight, 0, shape.stride, 1, if shape.depthwise { out } else { 1 })?;
        let (zeros, ones) =
            (Tensor::zeros(out, DType::F32, &Device::Cpu)?, Tensor::ones(out, DType::F32, &Device::Cpu)?);
        let norm = candle_nn::BatchNorm::new(out, zeros, ones, gain.clone(), shift.clone(), 1e-5)?;
        let y = norm.forward_train(&y)?;
        let y = if let Some(residual) = residual { (y + residual)? } else { y };
        Ok(match activation {
            Activation::Relu => y.relu()?,
            Activation::Relu6 => y.clamp(0f32, 6f32)?,
            _ => y,
        })
    }
}

/// 3x3 at stride 2 from operations that have a gradient.
fn plain_pool(x: &Tensor) -> Result<Tensor> {
    let (b, c, h, w) = x.dims4()?;
    let (oh, ow) = (h.div_ceil(2), w.div_ceil(2));
    // After a ReLU zero never wins over the picture.
    let x = x.pad_with_zeros(2, 1, 2 * oh + 1 - h)?.pad_with_zeros(3, 1, 2 * ow + 1 - w)?;
    let x = x.reshape((b, c, oh + 1, 2, ow + 1, 2))?;
    let mut largest: Option<Tensor> = None;
    for u in 0..3 {
        for v in 0..3 {
            let rows = x.narrow(2, u / 2, oh)?.narrow(3, u % 2, 1)?;
            let part = rows.narrow(4, v / 2, ow)?.narrow(5, v % 2, 1)?.reshape((b, c, oh, ow))?;
            largest = Some(match largest {
                None => part,
                Some(largest) => part.gt(&largest)?.where_cond(&part, &largest)?,
            });
        }
    }
    largest.ok_or_else(|| Error::new("a pool without a window"))
}

/// How a step moves and what follows.
fn described(step: &Value) -> (Shape, Activation) {
    let activation = match step["act"].as_str() {
        Some("relu") => Activation::Relu,
        Some("relu6") => Activation::Relu6,
        _ => Activation::None,
    };
    let shape = Shape {
        stride: step["stride"].as_u64().unwrap_or(1) as usize,
        padding: step["padding"].as_u64().map_or(Padding::Same, |n| Padding::Zeros(n as usize)),
        depthwise: step["depthwise"] == json!(true),
    };
    (shape, activation)
}

/// The least and the median time of each step, in order.
fn profile(name: &str, size: usize, batch: usize) -> Result<()> {
    let nets = nets();
    let Some((_, net)) = nets.iter().find(|(known, _)| *known == name) else {
        return Err(Error::usage(format!("no net is called '{name}'")));
    };
    let ready = Ready::new(net)?;
    let x = Tensor::rand(-1f32, 1f32, (batch, 3, size, size), &Device::Cpu)?;
    let mut times = vec![Vec::new(); net.steps.len()];
    let mut work = Vec::new();
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < 3.0 {
        together(|| {
            ready.forward_with(&x, |n, step, input, start| {
                times[n].push(start.elapsed().as_secs_f64() * 1e6);
                let dims = input.dims();
                let each = match step {
                    Step::Conv(conv, _) => conv.multiply_adds(dims[2], dims[3]),
                    Step::Separable(pair) => pair.multiply_adds(dims[2], dims[3]),
                    _ => return,
                };
                work.resize(n + 1, 0.0);
                work[n] = (dims[0] as u64 * each) as f64;
            })
        })?;
    }
    let mut sums = (0.0, 0.0, 0.0);
    for (n, times) in times.iter_mut().enumerate() {
        times.sort_by(f64::total_cmp);
        let (least, median) = (times[0], times[times.len() / 2]);
        let work = work.get(n).copied().unwrap_or(0.0);
        sums = (sums.0 + least, sums.1 + median, sums.2 + work);
        println!("{n:3} {least:9.1} {median:9.1} us {:7.1} G/s  {}", work / least / 1e3, net.steps[n]);
    }
    println!("    {:9.1} {:9.1} us {:7.1} G/s", sums.0, sums.1, sums.2 / sums.0 / 1e3);
    Ok(())
}

fn export(to: &str) -> Result<()> {
    for (name, net) in nets() {
        std::fs::write(format!("{to}/{name}.json"), serde_json::to_string(&net.steps).context("no JSON")?)
            .context("a net cannot be written")?;
        candle_core::safetensors::save(&net.weights, format!("{to}/{name}.safetensors"))?;
    }
    Ok(())
}

fn serve() -> Result<()> {
    let finders = Finder::all()?;
    let mut learners: HashMap<(String, bool), Learner> = HashMap::new();
    let all: HashMap<_, _> = nets().into_iter().collect();
    let nets: HashMap<_, _> =
        nets().into_iter().map(|(name, net)| Ok((name, Ready::new(&net)?))).collect::<Result<_>>()?;
    let mut inputs: HashMap<(usize, usize), Tensor> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.context("no more questions")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, size, batch, file) = match words[..] {
            [name, size, batch] => (name, size, batch, None),
            ["check", name, size, batch, file] => (name, size, batch, Some(file)),
            [how @ ("train" | "train-plain"), name, size, batch] => {
                let (Some(net), Ok(size), Ok(batch)) = (all.get(name), size.parse(), batch.parse()) else {
                    return Err(Error::new(format!("what is '{line}'?")));
                };
                let plain = how == "train-plain";
                let learner = match learners.entry((name.into(), plain)) {
                    std::collections::hash_map::Entry::Occupied(learner) => learner.into_mut(),
                    std::collections::hash_map::Entry::Vacant(place) => {
                        place.insert(Learner::new(net, plain)?)
                    }
                };
                println!("{}", learn_once(learner, size, batch)?);
                std::io::stdout().flush().context("nobody reads")?;
                continue;
            }
            _ => return Err(Error::new(format!("what is '{line}'?"))),
        };
        let (net, finder) = (nets.get(name), finders.get(name));
        let (true, Ok(size), Ok(batch)) =
            (net.is_some() || finder.is_some(), size.parse::<usize>(), batch.parse::<usize>())
        else {
            return Err(Error::new(format!("what is '{line}'?")));
        };
        let forward = |x: &Tensor| match (net, finder) {
            // As in use, see `net::lanet`.
            (Some(net), _) if name == "mobilenet-v1" => one_by_one(x, |x| Ok([net.forward(x)?])).map(|[y]| y),
            (Some(net), _) => net.forward(x),
            (_, Some(finder)) => finder.forward(x),
            _ => Err(Error::new("no net")),
        };
        let shape = (batch, 3, size, size);
        if let Some(file) = file {
            let bytes = std::fs::read(format!("{file}.in")).context("no input")?;
            let x: Vec<f32> =
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            let y = forward(&Tensor::from_vec(x, shape, &Device::Cpu)?)?.flatten_all()?.to_vec1::<f32>()?;
            let bytes: Vec<u8> = y.iter().flat_map(|y| y.to_le_bytes()).collect();
            std::fs::write(format!("{file}.out"), bytes).context("no output")?;
            println!("ok");
        } else {
            let x = match inputs.entry((size, batch)) {
                std::collections::hash_map::Entry::Occupied(x) => x.into_mut(),
                std::collections::hash_map::Entry::Vacant(x) => {
                    x.insert(Tensor::rand(-1f32, 1f32, shape, &Device::Cpu)?)
                }
            };
            let start = Instant::now();
            let y = together(|| forward(x))?;
            println!("{}", start.elapsed().as_secs_f64() * 1e3);
            drop(y);
        }
        std::io::stdout().flush().context("nobody reads")?;
    }
    Ok(())
}

/// One step on noise, the same at every step; gives its milliseconds.
fn learn_once(learner: &mut Learner, size: usize, batch: usize) -> Result<f64> {
    let pixels: Vec<f32> =
        (0..batch * 3 * size * size).map(|n| (n * 7919 % 2003) as f32 / 1001.5 - 1.0).collect();
    let x = Tensor::from_vec(pixels, (batch, 3, size, size), &Device::Cpu)?;
    let labels = Tensor::from_vec((0..batch as u32).map(|n| n % 8).collect::<Vec<_>>(), batch, &Device::Cpu)?;
    let start = Instant::now();
    // Candle's own operations start threads themselves.
    let loss =
        if learner.plain { learner.learn(&x, &labels) } else { together(|| learner.learn(&x, &labels)) }?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    if std::env::var_os("SHOW_LOSS").is_some() {
        eprintln!("loss {loss}");
    }
    Ok(took)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["export", to] => export(to),
        ["profile", name, size, batch, count] => match (size.parse(), batch.parse(), count.parse()) {
            (Ok(size), Ok(batch), Ok(count)) => threads(count).and_then(|()| profile(name, size, batch)),
            _ => Err(Error::usage("nets profile NAME SIZE BATCH THREADS")),
        },
        ["serve", count] => count
            .parse()
            .map_err(|_| Error::usage(format!("'{count}' is no number of threads")))
            .and_then(threads)
            .and_then(|()| serve()),
        _ => Err(Error::usage("nets export DIR | nets serve THREADS")),
    };
    if let Err(error) = done {
        eprintln!("{}", error.line());
        std::process::exit(1);
    }
}
