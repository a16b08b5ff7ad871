//! The register tile under every dense convolution: some pixels times a panel of output channels.
//!
//! out[r, n] = act(bias[n] + residual[r, n] + sum over taps t and depths k of x[r * step + t + k] * w[t, k, n])
//!
//! The weights are packed once into panels of two registers' width, so that the inner loop reads them in order;
//! the pixels are read where they are, one number at a time. Sums of n terms are accurate to n * 2^-24 of the sum
//! of the terms' sizes.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use super::lanes::{Kernel, Lanes};
use super::simd::Isa;
use super::threads::each;
use super::view::Shared;

/// How many weights ahead of the sums they are asked for.
const AHEAD: usize = 1024;
/// The tallest tile of any processor.
const TALLEST: usize = 14;

/// What follows the sum, prepared for the tiles. Slopes are as long as the panels are wide in total.
#[derive(Debug, Clone)]
pub(super) enum Last {
    Nothing,
    /// max(x, 0), then min(x, limit).
    Clamp(f32),
    Slopes(Vec<f32>),
}

/// Weights (depth, out) packed for one instruction set.
#[derive(Debug, Clone)]
pub(super) struct Panels {
    isa: Isa,
    data: Vec<Lines>,
    depth: usize,
    out: usize,
}

/// One line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Lines([f32; 16]);

impl Panels {
    /// Packs `out` columns of `depth` weights each, given by `weight(depth, out)`.
    pub fn new(isa: Isa, depth: usize, out: usize, weight: impl Fn(usize, usize) -> f32 + Sync) -> Self {
        let [panels] = Self::several(isa, [1, depth, out], |_, k, n| [weight(k, n)]);
        panels
    }

    /// As [`Panels::new`], for weights of `taps` places with `inner` depths each: `weight(tap, inner, out)`.
    pub fn with_taps(
        isa: Isa,
        [taps, inner, out]: [usize; 3],
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let [panels] = Self::several(isa, [taps, inner, out], |tap, c, n| [weight(tap, c, n)]);
        panels
    }

    /// As [`Panels::with_taps`], for several matrices of the same size at once.
    #[inline]
    pub fn several<const M: usize>(
        isa: Isa,
        [taps, inner, out]: [usize; 3],
        weight: impl Fn(usize, usize, usize) -> [f32; M] + Sync,
    ) -> [Self; M] {
        let depth = taps * inner;
        let width = 2 * isa.lanes();
        let lines = (depth * out.next_multiple_of(isa.lanes())).div_ceil(16);
        let mut all: [Vec<Lines>; M] = std::array::from_fn(|_| vec![Lines([0.0; 16]); lines]);
        let targets: [Shared; M] = std::array::from_fn(|m| Shared::from_raw(all[m].as_mut_ptr().cast()));
        each(out.div_ceil(width), |panel| {
            let first = panel * width;
            let padded = (out - first).next_multiple_of(isa.lanes()).min(width);
            for n in first..out.min(first + width) {
                let mut at = first * depth + n - first;
                for tap in 0..taps {
                    for c in 0..inner {
                        for (target, value) in targets.iter().zip(weight(tap, c, n)) {
                            // SAFETY: the place is within the panel, and no other job has this panel.
                            unsafe { target.get().add(at).write(value) };
                        }
                        at += padded;
                    }
                }
            }
        });
        all.map(|data| Self { isa, data, depth, out })
    }

    /// The weight of one depth and output, as it came.
    pub fn weight(&self, k: usize, n: usize) -> f32 {
        let lanes = self.isa.lanes();
        let first = n - n % (2 * lanes);
        let width = (self.out - first).next_multiple_of(lanes).min(2 * lanes);
        let at = first * self.depth + k * width + n - first;
        self.data[at / 16].0[at % 16]
    }

    /// How many panels there are.
    pub fn count(&self) -> usize {
        self.out.div_ceil(2 * self.isa.lanes())
    }

    /// Output channels.
    pub fn out(&self) -> usize {
        self.out
    }

    /// All weights of an output.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The length that per-channel numbers must have.
    pub fn padded_out(&self) -> usize {
        self.out.next_multiple_of(self.isa.lanes())
    }

    /// The instructions that the panels are packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How many pixels the largest tile has.
    pub fn rows(&self) -> usize {
        self.isa.rows()
    }

    /// One panel times `count` pixels, in tiles of about the same height.
    ///
    /// # Safety
    /// `line` describes memory that is there and that nobody else writes.
    pub unsafe fn multiply(&self, panel: usize, count: usize, line: &Line<'_>) {
        let width = 2 * self.isa.lanes();
        let first = panel * width;
        let valid = (self.out - first).min(width);
        let tiles = count.div_ceil(self.rows());
        for tile in 0..tiles {
            let (start, end) = (tile * count / tiles, (tile + 1) * count / tiles);
            let at = line.out_at + start * line.out_step + first;
            let tile = Tile {
                x: line.x.add(start * line.step),
                step: line.step,
                deep: 1,
                taps: line.taps,
                depth: line.depth,
                weights: self.data.as_ptr().cast::<f32>().add(first * self.depth),
                out: line.out.add(at),
                residual: if line.residual.is_null() { line.residual } else { line.residual.add(at) },
                out_step: line.out_step,
                bias: if line.bias.is_null() { line.bias } else { line.bias.add(first) },
                last: line.last,
                first,
                valid,
            };
            self.isa.tile(end - start, valid > self.isa.lanes(), tile);
        }
    }
}

/// Pixels at the same distance from each other.
pub(super) struct Line<'a> {
    /// The first pixel that the first output reads.
    pub x: *const f32,
    /// From one output's first pixel to the next one's.
    pub step: usize,
    /// Where the runs of `depth` numbers start, from an output's first pixel.
    pub taps: &'a [usize],
    pub depth: usize,
    /// The output and the residual, if any, of the whole layer; the line's first pixel is `out_at` further on.
    pub out: *mut f32,
    pub residual: *const f32,
    pub out_at: usize,
    pub out_step: usize,
    /// For all channels, padded, or null.
    pub bias: *const f32,
    pub last: &'a Last,
}

#[derive(Clone, Copy)]
struct Tile<'a> {
    x: *const f32,
    step: usize,
    /// From one depth to the next.
    deep: usize,
    taps: &'a [usize],
    depth: usize,
    weights: *const f32,
    out: *mut f32,
    residual: *const f32,
    out_step: usize,
    bias: *const f32,
    last: &'a Last,
    first: usize,
    valid: usize,
}

/// `out` = `x` times the panels, for contiguous rows, on this thread.
pub(super) fn multiply_into(panels: &Panels, x: &[f32], out: &mut [f32]) {
    let rows = x.len() / panels.depth.max(1);
    assert_eq!(out.len(), rows * panels.out);
    // Some rows at a time, so that they stay in the cache for all panels.
    for start in (0..rows).step_by(4 * panels.rows()) {
        let count = (rows - start).min(4 * panels.rows());
        for panel in 0..panels.count() {
            let line = Line {
                x: x[start * panels.depth..].as_ptr(),
                step: panels.depth,
                taps: &[0],
                depth: panels.depth,
                out: out.as_mut_ptr(),
                residual: std::ptr::null(),
                out_at: start * panels.out,
                out_step: panels.out,
                bias: std::ptr::null(),
                last: &Last::Nothing,
            };
            // SAFETY: the rows are there, as asserted, and both belong to this thread.
            unsafe { panels.multiply(panel, count, &line) };
        }
    }
}

/// to[r, n] += sum over p of left[p * step + r] * right[p, n], for two registers of columns n.
///
/// # Safety
/// All that is read and written is there, and `isa` came from [`Isa::all`].
pub(super) unsafe fn add_products(
    isa: Isa,
    (left, step, rows): (*const f32, usize, usize),
    right: *const f32,
    terms: usize,
    to: *mut f32,
) {
    let width = 2 * isa.lanes();
    let tiles = rows.div_ceil(isa.rows());
    for tile in 0..tiles {
        let (start, end) = (tile * rows / tiles, (tile + 1) * rows / tiles);
        let out = to.add(start * width);
        let tile = Tile {
            x: left.add(start),
            step: 1,
            deep: step,
            taps: &[0],
            depth: terms,
            weights: right,
            out,
            residual: out,
            out_step: width,
            bias: std::ptr::null(),
            last: &Last::Nothing,
            first: 0,
            valid: width,
        };
        isa.tile(end - start, true, tile);
    }
}

impl Isa {
    /// How many pixels the largest tile has.
    fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 14,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 6,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => 12,
            Self::Plain => 4,
        }
    }

    /// Chooses the tile of `rows` pixels and one or two registers.
    #[inline]
    unsafe fn tile(self, rows: usize, wide: bool, tile: Tile<'_>) {
        macro_rules! choose {
            ($($rows:literal)*) => {
                match (rows, wide) {
                    $(($rows, true) => self.run(Sized::<$rows, 2>(tile)),
                    ($rows, false) => self.run(Sized::<$rows, 1>(tile)),)*
                    _ => debug_assert_eq!(rows, 0),
                }
            };
        }
        match self {
            Self::Plain => choose!(1 2 3 4),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => choose!(1 2 3 4 5 6),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => choose!(1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => choose!(1 2 3 4 5 6 7 8 9 10 11 12),
        }
    }
}

/// A tile of `ROWS` pixels times `WIDE` registers.
struct Sized<'a, const ROWS: usize, const WIDE: usize>(Tile<'a>);

impl<const ROWS: usize, const WIDE: usize> Kernel for Sized<'_, ROWS, WIDE> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        const { assert!(ROWS <= TALLEST) };
        let tile = self.0;
        let mut sums = [[V::splat(0.0); WIDE]; ROWS];
        if !tile.bias.is_null() {
            for j in 0..WIDE {
                let bias = V::load(tile.bias.add(j * V::N));
                for row in &mut sums {
                    row[j] = bias;
                }
            }
        }
        let mut w = tile.weights;
        for &tap in tile.taps {
            let mut x = tile.x.add(tap);
            for _ in 0..tile.depth {
                let mut weights = [V::splat(0.0); WIDE];
                for (j, weight) in weights.iter_mut().enumerate() {
                    *weight = V::load(w.add(j * V::N));
                    V::prefetch(w.wrapping_add(AHEAD + j * V::N));
                }
                for (r, row) in sums.iter_mut().enumerate() {
                    let value = V::splat(*x.add(r * tile.step));
                    for j in 0..WIDE {
                        row[j] = row[j].fma(value, weights[j]);
                    }
                }
                w = w.add(WIDE * V::N);
                x = x.add(tile.deep);
            }
        }
        for (r, row) in sums.into_iter().enumerate() {
            let at = r * tile.out_step;
            let residual = if tile.residual.is_null() { tile.residual } else { tile.residual.add(at) };
            for (j, mut y) in row.into_iter().enumerate() {
                // All channels of a register but, in the last panel, its last one.
                let valid = (tile.valid - j * V::N).min(V::N);
                let whole = valid == V::N;
                if !residual.is_null() {
                    let from = residual.add(j * V::N);
                    y = y.add(if whole { V::load(from) } else { V::load_part(from, valid) });
                }
                y = tile.last.apply(y, tile.first + j * V::N);
                let to = tile.out.add(at + j * V::N);
                if whole { y.store(to) } else { y.store_part(to, valid) }
            }
        }
    }
}

impl Last {
    /// The activation of the channels from `channel` on.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, and slopes reach as far.
    #[inline(always)]
    pub unsafe fn apply<V: Lanes>(&self, y: V, channel: usize) -> V {
        let zero = V::splat(0.0);
        match self {
            Self::Nothing => y,
            Self::Clamp(limit) => y.max(zero).min(V::splat(*limit)),
            Self::Slopes(slopes) => y.max(zero).fma(V::load(slopes.as_ptr().add(channel)), y.min(zero)),
        }
    }
}
