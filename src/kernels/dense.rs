//! Dense convolutions of any size and stride on the CPU, forward.
//!
//! y[b, o, i, j] = act(bias[o] + residual + sum over c, u, v of x[b, c, s*i + u - top, s*j + v - left] * w[o, c, u, v])
//!
//! With channels last, a row of the window is one run of kw * c numbers: a convolution is a product of matrices whose
//! left one is read in place, from a copy with zeros around it where there is padding. A 1x1 convolution needs no
//! copy. Error: that of one sum of kh * kw * c products, see [`super::tile`].
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::OnceLock;

use super::shape::Padding;
use super::simd::Isa;
use super::threads::{each, jobs};
use super::tile::{Last, Line, Panels};
use super::view::{Margins, Shared, View, filled, with_margins, with_scratch};
use super::winograd::{Around, Winograd};

/// Numbers of input and output that one job works on: they shall stay in a second-level cache.
const JOB: usize = 64 * 1024;
/// Numbers that windows may be copied to where the picture is too narrow for whole tiles.
const GATHERED: usize = 512 * 1024;
/// Numbers on a page of memory.
const PAGE: usize = 1024;

/// A dense convolution with its weights packed.
#[derive(Debug)]
pub(super) struct Dense {
    panels: Panels,
    /// Made when the first input comes for which it pays.
    winograd: OnceLock<Box<Winograd>>,
    bias: Vec<f32>,
    last: Last,
    inner: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
}

impl Dense {
    /// Packs weights (out, inner, kh, kw).
    pub fn new(
        isa: Isa,
        weight: &[f32],
        [out, inner, kh, kw]: [usize; 4],
        bias: Option<Vec<f32>>,
        last: Last,
        (stride, padding): (usize, Padding),
    ) -> Self {
        let taps = kh * kw;
        let panels =
            Panels::with_taps(isa, [taps, inner, out], |tap, c, n| weight[(n * inner + c) * taps + tap]);
        let mut bias = bias.unwrap_or_else(|| vec![0.0; out]);
        bias.resize(panels.padded_out(), 0.0);
        let last = match last {
            Last::Slopes(mut slopes) => {
                slopes.resize(panels.padded_out(), 0.0);
                Last::Slopes(slopes)
            }
            other => other,
        };
        Self { panels, winograd: OnceLock::new(), bias, last, inner, kernel: [kh, kw], stride, padding }
    }

    /// The output (batch, height', width', out) for shapes that fit.
    pub fn forward(&self, x: View<'_>, residual: Option<&[f32]>, dims: [usize; 4]) -> Vec<f32> {
        let [b, out, oh, ow] = dims;
        let [_, c, h, w] = x.dims;
        let [kh, kw] = self.kernel;
        let (top, bottom) = self.padding.around(h, kh, self.stride);
        let (left, right) = self.padding.around(w, kw, self.stride);
        if self.kernel == [3, 3]
            && self.stride == 1
            && Winograd::pays(b * oh * ow, b * oh.div_ceil(4) * ow.div_ceil(4), out, c, false)
        {
            let around = Around { start: [top, left], bias: &self.bias, last: &self.last, residual };
            let winograd = self
                .winograd
                .get_or_init(|| Box::new(Winograd::new(self.panels.isa(), &self.weight(), out, c)));
            return winograd.forward(x, dims, &around);
        }
        self.direct(x, residual, dims, [top, bottom, left, right])
    }

    /// As [`Dense::forward`], with any zeros around the input, and never by Winograd's form.
    pub fn direct(
        &self,
        x: View<'_>,
        residual: Option<&[f32]>,
        dims: [usize; 4],
        margins: Margins,
    ) -> Vec<f32> {
        let [b, out, oh, ow] = dims;
        let [_, c, h, w] = x.dims;
        let [kh, kw] = self.kernel;
        let [top, bottom, left, right] = margins;
        let (pixels, depth) = (b * oh * ow, kh * kw * c);
        let fill = |target: Shared| {
            with_margins(x, margins, |x| {
                let (h, w) = (h + top + bottom, w + left + right);
                let picture =
                    Picture { size: [h, w, c], out: [oh, ow], kernel: [kh, kw], stride: self.stride };
                let step = self.stride * c;
                let narrow = kh * kw > 1 && ow < self.panels.rows() && pixels * depth <= GATHERED;
                // Pixels a whole number of pages apart would fall on the same few lines of the cache.
                if narrow || (kh * kw == 1 && step > 0 && step.is_multiple_of(PAGE)) {
                    let pitch = if depth.is_multiple_of(PAGE) { depth + 16 } else { depth };
                    with_scratch(pixels * pitch, |gathered| {
                        picture.gather(x, Shared::new(gathered), pixels, pitch);
                        let lines = Lines::flat(pixels, pitch, self.panels.rows());
                        self.multiply(gathered, (&[0], depth), &lines, residual, target);
                    });
                } else if kh * kw == 1 && self.stride == 1 {
                    let lines = Lines::flat(pixels, c, self.panels.rows());
                    self.multiply(x, (&[0], c), &lines, residual, target);
                } else {
                    let taps: Vec<usize> = (0..kh).map(|u| u * w * c).collect();
                    let lines = Lines {
                        count: b * oh,
                        width: ow,
                        pixels,
                        per_picture: oh,
                        row: self.stride * w * c,
                        picture: h * w * c,
                        step,
                    };
                    self.multiply(x, (&taps, kw * c), &lines, residual, target);
                }
            });
        };
        // SAFETY: the products of all panels with all lines are all numbers of the output.
        unsafe { filled(pixels * out, fill) }
    }

    /// The weights (out, inner, kh, kw) as they came.
    fn weight(&self) -> Vec<f32> {
        let [kh, kw] = self.kernel;
        let mut weight = vec![0.0; self.panels.out() * self.panels.depth()];
        for (i, value) in weight.iter_mut().enumerate() {
            let (n, c, u, v) = (i / (self.inner * kh * kw), i / (kh * kw) % self.inner, i / kw % kh, i % kw);
            *value = self.panels.weight((u * kw + v) * self.inner + c, n);
        }
        weight
    }

    fn multiply(
        &self,
        x: &[f32],
        (taps, depth): (&[usize], usize),
        lines: &Lines,
        residual: Option<&[f32]>,
        target: Shared,
    ) {
        let out = self.panels.out();
        let line_size = (lines.row + lines.width * out).max(1);
        let cached = (JOB / line_size).clamp(1, lines.count.max(1));
        let wanted = jobs(lines.pixels * taps.len() * depth * out);
        let by_lines = lines.count.div_ceil(cached.min(lines.count.div_ceil(wanted).max(1)));
        let by_panels = wanted.div_ceil(by_lines.max(1)).clamp(1, self.panels.count().max(1));
        let job = |job: usize| {
            let (chunk, group) = (job % by_lines, job / by_lines);
            let count = self.panels.count();
            let product = Product { x, taps, depth, lines, residual, target, first: 0 };
            let of_job = chunk * lines.count / by_lines..(chunk + 1) * lines.count / by_lines;
            // SAFETY: the windows of these lines lie in `x`, their pixels in the output, and no other job has these
            // panels of them.
            unsafe { self.run(&product, of_job, group * count / by_panels..(group + 1) * count / by_panels) };
        };
        let count = by_lines * by_panels;
        if wanted == 1 { (0..count).for_each(job) } else { each(count, job) }
    }

    /// A 1x1 convolution of `pixels` neighbouring pixels, whose channels lie in `x`; the first is pixel `first` of the
    /// output `target` and of the residual.
    ///
    /// # Safety
    /// The output has these pixels, and nobody else uses them.
    pub unsafe fn pixels(
        &self,
        x: &[f32],
        (first, pixels): (usize, usize),
        residual: Option<&[f32]>,
        target: Shared,
    ) {
        let lines = Lines::flat(pixels, self.inner, self.panels.rows());
        let product = Product { x, taps: &[0], depth: self.inner, lines: &lines, residual, target, first };
        // SAFETY: as the caller says.
        unsafe { self.run(&product, 0..lines.count, 0..self.panels.count()) };
    }

    /// Whether [`Dense::pixels`] is this convolution.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == 1
    }

    /// The products of some lines with some panels.
    ///
    /// # Safety
    /// The windows of these lines lie in `x`, their pixels in the output, and nobody else uses these panels of them.
    unsafe fn run(&self, product: &Product<'_>, which: Range<usize>, panels: Range<usize>) {
        let Product { x, taps, depth, lines, residual, target, first } = *product;
        let out = self.panels.out();
        for panel in panels {
            for line in which.clone() {
                let pixel = line * lines.width;
                let start = line / lines.per_picture * lines.picture + line % lines.per_picture * lines.row;
                let of_line = Line {
                    x: x[start..].as_ptr(),
                    step: lines.step,
                    taps,
                    depth,
                    out: target.get(),
                    residual: residual.map_or(std::ptr::null(), <[f32]>::as_ptr),
                    out_at: (first + pixel) * out,
                    out_step: out,
                    bias: self.bias.as_ptr(),
                    last: &self.last,
                };
                // SAFETY: as the caller says.
                unsafe { self.panels.multiply(panel, lines.width.min(lines.pixels - pixel), &of_line) };
            }
        }
    }
}

/// Windows in `x` times the weights.
struct Product<'a> {
    x: &'a [f32],
    taps: &'a [usize],
    depth: usize,
    lines: &'a Lines,
    residual: Option<&'a [f32]>,
    target: Shared,
    /// The pixel of the output that the first line begins with.
    first: usize,
}

/// How the output's pixels fall into lines of equal distance in the input.
struct Lines {
    count: usize,
    /// Pixels of a line; the last may have fewer.
    width: usize,
    pixels: usize,
    per_picture: usize,
    /// From one line to the next, and from one picture to the next, in the input.
    row: usize,
    picture: usize,
    /// From one pixel of a line to the next.
    step: usize,
}

impl Lines {
    /// Pixels at the same distance throughout, so that any number of them is a line.
    fn flat(pixels: usize, step: usize, rows: usize) -> Self {
        let width = (4 * rows).min(pixels.max(1));
        let count = pixels.div_ceil(width);
        Self { count, width, pixels, per_picture: usize::MAX, row: width * step, picture: 0, step }
    }
}

/// A picture with its margins and how windows move over it.
struct Picture {
    /// height, width and channels
    size: [usize; 3],
    out: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
}

impl Picture {
    /// Copies each window to a row of its own.
    fn gather(&self, x: &[f32], to: Shared, pixels: usize, pitch: usize) {
        let [h, w, c] = self.size;
        let [oh, ow] = self.out;
        let [kh, kw] = self.kernel;
        let per_job = (16 * 1024 / pitch.max(1)).max(1);
        each(pixels.div_ceil(per_job), |job| {
            for pixel in job * per_job..((job + 1) * per_job).min(pixels) {
                let (picture, i, j) = (pixel / (oh * ow), pixel / ow % oh, pixel % ow);
                // SAFETY: there are `pixels` rows, and no other job has this one.
                let row = unsafe { std::slice::from_raw_parts_mut(to.get().add(pixel * pitch), kh * kw * c) };
                for (u, part) in row.chunks_exact_mut((kw * c).max(1)).enumerate() {
                    let start = ((picture * h + i * self.stride + u) * w + j * self.stride) * c;
                    part.copy_from_slice(&x[start..start + kw * c]);
                }
            }
        });
    }
}
