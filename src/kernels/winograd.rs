//! Dense 3x3 convolutions with stride 1 on the CPU by Winograd's F(4x4, 3x3), forward.
//!
//! Y = A' [ sum over c of (G w G') * (B' x B) ] A for every 4x4 outputs, which read 6x6 inputs (Lavin and Gray 2015,
//! arXiv 1509.09308; interpolation at 0, 1, -1, 2, -2 and infinity). 36 products instead of 144, at the price of
//! larger rounding: the error is at most 1e-3 of the largest output, and 1e-5 in practice.
//!
//! The 36 places of the transformed tiles are 36 products of matrices (tiles, c) x (c, out), see [`super::tile`].
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]
// Indices name the places of a window or tile.
#![allow(clippy::needless_range_loop)]

use super::lanes::{Kernel, Lanes};
use super::simd::Isa;
use super::threads::each;
use super::tile::{Last, Line, Panels};
use super::view::{Shared, View, filled, with_margins, with_scratch};

/// Outputs of a tile along one side, and the inputs that they read.
const OUT: usize = 4;
const IN: usize = OUT + 2;
/// Places of a transformed tile.
const PLACES: usize = IN * IN;
/// Numbers of transformed inputs and outputs that are worked on at once: half of a second-level cache.
const BLOCK: usize = 256 * 1024;

/// A 3x3 convolution with its weights transformed.
#[derive(Debug)]
pub(super) struct Winograd {
    /// One for each place.
    panels: [Panels; PLACES],
    inner: usize,
    isa: Isa,
}

/// What a convolution does besides: where it starts and how it ends.
pub(super) struct Around<'a> {
    /// Zeros above and to the left.
    pub start: [usize; 2],
    pub bias: &'a [f32],
    pub last: &'a Last,
    pub residual: Option<&'a [f32]>,
}

impl Winograd {
    /// Transforms weights (out, inner, 3, 3).
    pub fn new(isa: Isa, weight: &[f32], out: usize, inner: usize) -> Self {
        let panels = Panels::several(isa, [1, inner, out], |_, c, n| {
            let at = (n * inner + c) * 9;
            transformed_weight(&weight[at..at + 9])
        });
        Self { panels, inner, isa }
    }

    /// Whether this form is faster than the direct one: it multiplies less but reads four times the weights.
    ///
    /// `fresh`: the weights have to be transformed for this one time.
    pub fn pays(pixels: usize, tiles: usize, out: usize, inner: usize, fresh: bool) -> bool {
        if inner < 16 || out < 16 {
            return false;
        }
        // In multiply-adds at full speed; a weight that does not stay in the cache costs as much as sixteen.
        const FAR: usize = 16;
        let weights_far = 9 * inner * out > 256 * 1024;
        let direct = (9 * pixels).max(if weights_far { 9 * FAR } else { 0 });
        let far = 36 * inner * out > 512 * 1024;
        let ours = (36 * tiles).max(if far { 36 * FAR } else { 0 })
            + 36 * tiles * 10 * (inner + out) / (inner * out);
        // Transforming a kernel takes as long as this many multiply-adds.
        const FRESH: usize = 14_000;
        let ours = if fresh { ours + FRESH } else { ours };
        ours * 10 < direct * 9
    }

    /// The output (batch, height', width', out) for shapes that fit.
    pub fn forward(&self, x: View<'_>, [b, out, oh, ow]: [usize; 4], around: &Around<'_>) -> Vec<f32> {
        let [_, c, h, w] = x.dims;
        let (th, tw) = (oh.div_ceil(OUT), ow.div_ceil(OUT));
        let (rows, columns) = (th * OUT + 2, tw * OUT + 2);
        let [top, left] = around.start;
        let margins = [top, rows - top - h, left, columns - left - w];
        let fill = |target: Shared| {
            with_margins(x, margins, |x| {
                let tiles = b * th * tw;
                let weights = PLACES * c * out;
                let at_once = (BLOCK.max(weights / 4) / (PLACES * (c + out))).max(14).min(tiles.max(1));
                let blocks = tiles.div_ceil(at_once);
                let threads = rayon::current_num_threads();
                // Small weights: each thread takes whole blocks and keeps them in its own cache.
                let apart = weights <= BLOCK && tiles >= 8 * threads;
                let blocks = if apart { blocks.next_multiple_of(threads) } else { blocks };
                let job = |block: usize| {
                    let block = Block {
                        of: self,
                        x,
                        size: [rows, columns, c],
                        out: [oh, ow, out],
                        grid: [th, tw],
                        first: block * tiles / blocks,
                        count: (block + 1) * tiles / blocks - block * tiles / blocks,
                        around,
                        target,
                    };
                    block.compute(!apart);
                };
                if apart { each(blocks, job) } else { (0..blocks).for_each(job) }
            });
        };
        // SAFETY: the tiles cover the output.
        unsafe { filled(b * oh * ow * out, fill) }
    }
}

/// Some tiles that are transformed, multiplied and transformed back together.
struct Block<'a> {
    of: &'a Winograd,
    x: &'a [f32],
    /// height, width and channels of the input with its margins
    size: [usize; 3],
    /// height, width and channels of the output
    out: [usize; 3],
    /// tiles down and across one picture
    grid: [usize; 2],
    first: usize,
    count: usize,
    around: &'a Around<'a>,
    target: Shared,
}

/// Runs jobs on all threads or on this one.
fn run(spread: bool, jobs: usize, work: impl Fn(usize) + Sync) {
    if spread { each(jobs, work) } else { (0..jobs).for_each(work) }
}

impl Block<'_> {
    fn compute(&self, spread: bool) {
        let [_, _, c] = self.size;
        let [_, _, out] = self.out;
        // Distances that are no multiple of a page, so that neighbours do not fall on the same lines of the cache.
        let pitch = |n: usize| if n.is_multiple_of(1024) { n + 16 } else { n };
        let (cp, op) = (pitch(c), pitch(out));
        let place = |n: usize| (self.count * n).next_multiple_of(16) + 16;
        let (cs, os) = (place(cp), place(op));
        with_scratch(PLACES * cs + 16, |inputs| {
            with_scratch(PLACES * os + 16, |outputs| {
                let (v, m) = (Shared::aligned(inputs), Shared::aligned(outputs));
                run(spread, self.count, |tile| {
                    let from = self.corner(tile);
                    // SAFETY: the 6x6 pixels lie in the input, and no other job has this tile.
                    unsafe {
                        let (from, to) = (self.x[from..].as_ptr(), v.get().add(tile * cp));
                        let work = Forth { from, row: self.size[1] * c, channels: c, to, place: cs };
                        self.of.isa.run_within(c, work);
                    }
                });
                self.multiply(spread, (v, cp, cs), (m, op, os));
                run(spread, self.count, |tile| {
                    let place = self.place_of(tile);
                    // SAFETY: as above, and the 4x4 pixels are cut to those in the output.
                    unsafe {
                        let from = m.get().add(tile * op) as *const f32;
                        let work = Back { from, place: os, block: self, at: place };
                        self.of.isa.run_within(out, work);
                    }
                });
            });
        });
    }

    /// The 36 products.
    fn multiply(
        &self,
        spread: bool,
        (v, cp, cs): (Shared, usize, usize),
        (m, op, os): (Shared, usize, usize),
    ) {
        let count = self.of.panels[0].count();
        let groups = if spread && count >= 4 { 2 } else { 1 };
        run(spread, PLACES * groups, |job| {
            let (place, group) = (job / groups, job % groups);
            // SAFETY: both matrices are in the lent memory; no other job has this place and these panels.
            unsafe {
                let line = Line {
                    x: v.get().add(place * cs),
                    step: cp,
                    taps: &[0],
                    depth: self.of.inner,
                    out: m.get().add(place * os),
                    residual: std::ptr::null(),
                    out_at: 0,
                    out_step: op,
                    bias: std::ptr::null(),
                    last: &Last::Nothing,
                };
                for panel in group * count / groups..(group + 1) * count / groups {
                    self.of.panels[place].multiply(panel, self.count, &line);
                }
            }
        });
    }

    /// Picture, row and column of a tile's first output.
    fn place_of(&self, tile: usize) -> [usize; 3] {
        let [th, tw] = self.grid;
        let tile = self.first + tile;
        [tile / (th * tw), tile / tw % th * OUT, tile % tw * OUT]
    }

    /// Where a tile's first input lies.
    fn corner(&self, tile: usize) -> usize {
        let [picture, y, x] = self.place_of(tile);
        let [h, w, c] = self.size;
        ((picture * h + y) * w + x) * c
    }
}

/// One tile's B' x B.
struct Forth {
    from: *const f32,
    row: usize,
    channels: usize,
    to: *mut f32,
    /// From one place's matrix to the next.
    place: usize,
}

impl Kernel for Forth {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let c = self.channels;
        for channel in (0..c).step_by(V::N).map(|channel| channel.min(c - V::N)) {
            let mut half = [[V::splat(0.0); IN]; IN];
            for j in 0..IN {
                let mut column = [V::splat(0.0); IN];
                for (i, value) in column.iter_mut().enumerate() {
                    *value = V::load(self.from.add(i * self.row + j * c + channel));
                }
                let column = forth(column);
                for i in 0..IN {
                    half[i][j] = column[i];
                }
            }
            for (i, row) in half.into_iter().enumerate() {
                for (j, value) in forth(row).into_iter().enumerate() {
                    value.store(self.to.add((i * IN + j) * self.place + channel));
                }
            }
        }
    }
}

/// B' x
#[inline(always)]
unsafe fn forth<V: Lanes>(x: [V; IN]) -> [V; IN] {
    let [two, four, five] = [V::splat(2.0), V::splat(4.0), V::splat(-5.0)];
    let minus = V::splat(-4.0);
    let even = x[4].fma(minus, x[2]);
    let odd = x[3].fma(minus, x[1]);
    let near = x[4].sub(x[2]);
    let far = x[3].sub(x[1]).mul(two);
    [
        x[4].fma(four, x[0]).fma(five, x[2]),
        even.add(odd),
        even.sub(odd),
        near.add(far),
        near.sub(far),
        x[5].fma(four, x[1]).fma(five, x[3]),
    ]
}

/// One tile's A' m A, then bias, residual and activation.
struct Back<'a> {
    from: *const f32,
    place: usize,
    block: &'a Block<'a>,
    at: [usize; 3],
}

impl Kernel for Back<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let [oh, ow, out] = self.block.out;
        let [picture, y, x] = self.at;
        let (rows, columns) = ((oh - y).min(OUT), (ow - x).min(OUT));
        let around = self.block.around;
        for channel in (0..out).step_by(V::N).map(|channel| channel.min(out - V::N)) {
            let mut half = [[V::splat(0.0); IN]; OUT];
            for j in 0..IN {
                let mut column = [V::splat(0.0); IN];
                for (i, value) in column.iter_mut().enumerate() {
                    *value = V::load(self.from.add((i * IN + j) * self.place + channel));
                }
                let column = back(column);
                for i in 0..OUT {
                    half[i][j] = column[i];
                }
            }
            let bias = V::load(around.bias.as_ptr().add(channel));
            for (i, row) in half.into_iter().enumerate() {
                let row = back(row);
                if i >= rows {
                    continue;
                }
                for (j, value) in row.into_iter().enumerate() {
                    if j >= columns {
                        continue;
                    }
                    let at = ((picture * oh + y + i) * ow + x + j) * out + channel;
                    let mut value = value.add(bias);
                    if let Some(residual) = around.residual {
                        value = value.add(V::load(residual.as_ptr().add(at)));
                    }
                    around.last.apply(value, channel).store(self.block.target.get().add(at));
                }
            }
        }
    }
}

/// A' m
#[inline(always)]
unsafe fn back<V: Lanes>(m: [V; IN]) -> [V; OUT] {
    let [two, four, eight] = [V::splat(2.0), V::splat(4.0), V::splat(8.0)];
    let (near, far) = (m[1].add(m[2]), m[3].add(m[4]));
    let (near_odd, far_odd) = (m[1].sub(m[2]), m[3].sub(m[4]));
    [
        m[0].add(near).add(far),
        near_odd.fma(two, far_odd),
        near.fma(four, far),
        near_odd.fma(eight, far_odd).add(m[5]),
    ]
}

/// G w G' of one 3x3 kernel.
#[inline]
fn transformed_weight(w: &[f32]) -> [f32; PLACES] {
    let g = |w: [f32; 3]| {
        let [even, odd] = [w[0] + w[2], w[1]];
        let [far_even, far_odd] = [w[0] / 24.0 + w[2] / 6.0, w[1] / 12.0];
        [w[0] / 4.0, -(even + odd) / 6.0, -(even - odd) / 6.0, far_even + far_odd, far_even - far_odd, w[2]]
    };
    let rows: [[f32; IN]; 3] = std::array::from_fn(|i| g([w[3 * i], w[3 * i + 1], w[3 * i + 2]]));
    let columns: [[f32; IN]; IN] = std::array::from_fn(|j| g([rows[0][j], rows[1][j], rows[2][j]]));
    std::array::from_fn(|place| columns[place % IN][place / IN])
}
