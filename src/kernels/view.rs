//! Pictures as the kernels see them: where the numbers of a tensor lie, and channels last.
//!
//! The kernels work on pictures whose channels lie side by side. Their results are ordinary tensors (batch,
//! channels, height, width) with the strides of that order, so that the next layer reads them without a copy
//! while every other operation works on them as on any tensor.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::mem::MaybeUninit;

use candle_core::{CpuStorage, Device, Storage, Tensor};

use super::threads::each;
use crate::error::{Error, Result};

/// A tensor of four dimensions: its sizes and the distance from one element to the next along each.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub data: &'a [f32],
    /// batch, channels, height, width
    pub dims: [usize; 4],
    pub strides: [usize; 4],
}

impl View<'_> {
    /// Whether the channels lie side by side and nothing lies between the pixels.
    pub fn is_channels_last(&self) -> bool {
        let [_, c, h, w] = self.dims;
        let wanted = [h * w * c, 1, w * c, c];
        (0..4).all(|i| self.dims[i] <= 1 || self.strides[i] == wanted[i])
    }
}

/// Calls `work` with where the numbers of `tensor`, on the CPU and f32, lie.
pub(super) fn with_view<R>(tensor: &Tensor, work: impl FnOnce(View<'_>) -> Result<R>) -> Result<R> {
    let dims = tensor.dims4()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(data)) = &*storage else {
        return Err(Error::new("this kernel needs numbers of 32 bits on the CPU"));
    };
    let strides = layout.stride();
    let view = View {
        data: data.get(layout.start_offset()..).unwrap_or_default(),
        dims: dims.into(),
        strides: [strides[0], strides[1], strides[2], strides[3]],
    };
    work(view)
}

/// A tensor (batch, channels, height, width) of numbers with channels last.
pub(super) fn tensor(data: Vec<f32>, [b, c, h, w]: [usize; 4]) -> Result<Tensor> {
    Ok(Tensor::from_vec(data, (b, h, w, c), &Device::Cpu)?.permute((0, 3, 1, 2))?)
}

/// A place in memory that several threads write to, each to a part of its own.
#[derive(Clone, Copy)]
pub(super) struct Shared(*mut f32);

// SAFETY: whoever calls `get` writes only where no other thread does.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub fn new(data: &mut [f32]) -> Self {
        Self(data.as_mut_ptr())
    }

    /// Room for `len` numbers from `start` on, written or not.
    ///
    /// # Safety
    /// It is there, and nobody else uses it.
    pub unsafe fn part<'a>(self, start: usize, len: usize) -> &'a mut [MaybeUninit<f32>] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start).cast(), len) }
    }

    pub fn from_raw(data: *mut f32) -> Self {
        Self(data)
    }

    /// Leaves out up to 15 numbers, so that registers are read and written in whole lines of the cache.
    pub fn aligned(data: &mut [f32]) -> Self {
        let skip = data.as_ptr().align_offset(64).min(data.len());
        Self::new(&mut data[skip..])
    }

    pub fn get(self) -> *mut f32 {
        self.0
    }
}

/// A vector of `len` numbers that `fill` writes.
///
/// # Safety
/// `fill` writes all of them, and reads none that it has not written.
pub(super) unsafe fn filled(len: usize, fill: impl FnOnce(Shared)) -> Vec<f32> {
    let mut data: Vec<f32> = Vec::with_capacity(len);
    if cfg!(test) {
        // What stays unwritten shall be seen.
        data.spare_capacity_mut().fill(MaybeUninit::new(f32::NAN));
    }
    fill(Shared(data.as_mut_ptr()));
    // SAFETY: the capacity is there, and the caller promises that every number is written.
    unsafe { data.set_len(len) };
    data
}

/// Writes the same number everywhere.
pub(super) fn set(part: &mut [MaybeUninit<f32>], value: f32) -> &mut [f32] {
    part.fill(MaybeUninit::new(value));
    // SAFETY: every number has just been written.
    unsafe { &mut *(std::ptr::from_mut(part) as *mut [f32]) }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Lends `len` numbers without a meaning; the memory is kept for the next loan on this thread.
pub(super) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut memory = SCRATCH.with_borrow_mut(|kept| kept.pop()).unwrap_or_default();
    if memory.len() < len {
        memory.resize(len, 0.0);
    }
    let result = work(&mut memory[..len]);
    SCRATCH.with_borrow_mut(|kept| kept.push(memory));
    result
}

/// Zeros around a picture: above, below, left, right.
pub(super) type Margins = [usize; 4];

/// Calls `work` with the pictures, channels last and with zeros around them.
pub(super) fn with_margins<R>(x: View<'_>, margins: Margins, work: impl FnOnce(&[f32]) -> R) -> R {
    if margins == [0; 4] && x.is_channels_last() {
        return work(x.data);
    }
    let [b, c, h, w] = x.dims;
    let [top, bottom, left, right] = margins;
    let (rows, row) = (h + top + bottom, (w + left + right) * c);
    with_scratch(b * rows * row, |padded| {
        let target = Shared::new(padded);
        let per_job = (16 * 1024 / row.max(1)).clamp(1, rows.max(1));
        each((b * rows).div_ceil(per_job), |job| {
            for line in job * per_job..((job + 1) * per_job).min(b * rows) {
                // SAFETY: line < b * rows, and no other job has this line.
                let to = unsafe { std::slice::from_raw_parts_mut(target.get().add(line * row), row) };
                let (picture, y) = (line / rows, line % rows);
                if y < top || y >= top + h {
                    to.fill(0.0);
                    continue;
                }
                to[..left * c].fill(0.0);
                to[(left + w) * c..].fill(0.0);
                let start = picture * x.strides[0] + (y - top) * x.strides[2];
                copy_row(&x, start, &mut to[left * c..(left + w) * c]);
            }
        });
        work(padded)
    })
}

/// One row of a picture that starts at `start`, channels last.
fn copy_row(x: &View<'_>, start: usize, to: &mut [f32]) {
    let [_, c, _, w] = x.dims;
    let [_, channel, _, column] = x.strides;
    if c == 0 || w == 0 {
        return;
    }
    if (channel == 1 || c == 1) && (column == c || w == 1) {
        to.copy_from_slice(&x.data[start..start + w * c]);
    } else {
        for (i, pixel) in to.chunks_exact_mut(c).enumerate() {
            let mut from = start + i * column;
            for value in pixel {
                *value = x.data[from];
                from += channel;
            }
        }
    }
}
