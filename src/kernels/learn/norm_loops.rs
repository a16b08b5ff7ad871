//! The loops of [`super::norm`] over whole pixels, compiled for the processor by whoever calls them (see
//! `simd::vectorised`). Each takes its data as one value, and writes all of `to`.

use std::mem::MaybeUninit;

/// Adds x - first and its square, for each channel.
#[inline(always)]
pub(super) fn add_squares((x, first, [sums, squares]): (&[f32], &[f32], [&mut [f32]; 2])) {
    for pixel in x.chunks_exact(first.len()) {
        for (((x, first), sum), square) in pixel.iter().zip(first).zip(&mut *sums).zip(&mut *squares) {
            let d = x - first;
            *sum += d;
            *square += d * d;
        }
    }
}

pub(super) type Applied<'a> =
    (&'a mut [MaybeUninit<f32>], &'a [f32], Option<&'a [f32]>, [&'a [f32]; 2], [f32; 2]);

/// x * scale + shift + residual, between two limits.
#[inline(always)]
pub(super) fn apply((to, x, residual, [scale, shift], [low, high]): Applied<'_>) {
    let c = scale.len();
    match residual {
        None => {
            for (to, x) in to.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                for ((to, x), (scale, shift)) in to.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
                    to.write(clamp(x * scale + shift, low, high));
                }
            }
        }
        Some(residual) => {
            for ((to, x), residual) in
                to.chunks_exact_mut(c).zip(x.chunks_exact(c)).zip(residual.chunks_exact(c))
            {
                let affine = scale.iter().zip(shift);
                for (((to, x), residual), (scale, shift)) in to.iter_mut().zip(x).zip(residual).zip(affine) {
                    to.write(clamp(x * scale + shift + residual, low, high));
                }
            }
        }
    }
}

pub(super) type Summed<'a> = ([&'a [f32]; 3], [&'a [f32]; 2], [f32; 2], [&'a mut [f32]; 2]);

/// Adds g and g z, for each channel.
#[inline(always)]
pub(super) fn add_gradients(([x, y, dy], [mean, root], [low, high], [sums, products]): Summed<'_>) {
    let c = mean.len();
    for ((x, y), dy) in x.chunks_exact(c).zip(y.chunks_exact(c)).zip(dy.chunks_exact(c)) {
        let constants = mean.iter().zip(root);
        let sums = sums.iter_mut().zip(&mut *products);
        for (((x, (y, dy)), (mean, root)), (sum, product)) in
            x.iter().zip(y.iter().zip(dy)).zip(constants).zip(sums)
        {
            let g = if *y > low && *y < high { *dy } else { 0.0 };
            *sum += g;
            *product += g * ((x - mean) * root);
        }
    }
}

pub(super) type Spread<'a> = (&'a mut [MaybeUninit<f32>], [&'a [f32]; 3], [&'a [f32]; 4], [f32; 2]);

/// The gradient of the input.
#[inline(always)]
pub(super) fn spread_gradients((to, [x, y, dy], [scale, shift, mean, slope], [low, high]): Spread<'_>) {
    let c = scale.len();
    let pixels = x.chunks_exact(c).zip(y.chunks_exact(c)).zip(dy.chunks_exact(c));
    for (to, ((x, y), dy)) in to.chunks_exact_mut(c).zip(pixels) {
        let constants = scale.iter().zip(shift).zip(mean.iter().zip(slope));
        let values = to.iter_mut().zip(x).zip(y.iter().zip(dy));
        for (((to, x), (y, dy)), ((scale, shift), (mean, slope))) in values.zip(constants) {
            let g = if *y > low && *y < high { *dy } else { 0.0 };
            to.write(scale * (g - shift - (x - mean) * slope));
        }
    }
}

pub(super) type Passed<'a> = (&'a mut [MaybeUninit<f32>], &'a [f32], &'a [f32], [f32; 2]);

/// The gradient where the activation lets it pass.
#[inline(always)]
pub(super) fn pass_gradients((to, y, dy, [low, high]): Passed<'_>) {
    for ((to, y), dy) in to.iter_mut().zip(y).zip(dy) {
        to.write(if *y > low && *y < high { *dy } else { 0.0 });
    }
}

#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    // What is not a number stays so.
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}
