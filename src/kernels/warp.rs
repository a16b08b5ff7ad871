//! Cuts a turned, scaled and shifted piece out of a picture.
#![allow(unsafe_code)]

use super::simd::{Loop, vectorised};
use crate::error::{Error, Result};
use crate::frame::Image;
use crate::geometry::{Point, Rect, Similarity};

/// The piece of `image` that `to_image` maps a picture of `width` x `height` onto: output pixel centres go
/// through it and are read there by bilinear interpolation; outside is black.
///
/// A piece that shrinks by two or more is first averaged over whole blocks of pixels, so that nothing aliases.
///
/// # Errors
/// An output of more than 2^28 pixels, or a map that is not finite.
pub fn warp(image: &Image, to_image: Similarity, width: usize, height: usize) -> Result<Image> {
    let scale = to_image.scale();
    if width.saturating_mul(height) > 1 << 28 || !(scale + to_image.tx + to_image.ty).is_finite() {
        return Err(Error::new(format!("a piece of {width}x{height} pixels cannot be cut by {to_image:?}")));
    }
    if scale < 2.0 {
        return Ok(bilinear(image, to_image, width, height));
    }
    let (w, h) = (width as f32, height as f32);
    let corners = [(0.0, 0.0), (w, 0.0), (0.0, h), (w, h)].map(|(x, y)| to_image.apply(Point::new(x, y)));
    let whole = Rect::new(0.0, 0.0, image.width() as f32, image.height() as f32);
    let factor = scale as usize;
    let region = Rect::around(corners).intersection(whole);
    let (small, origin) = reduced(image, region, factor);
    let shrink = 1.0 / factor as f32;
    let to_small = Similarity { a: shrink, b: 0.0, tx: -origin.x * shrink, ty: -origin.y * shrink };
    Ok(bilinear(&small, to_image.then(to_small), width, height))
}

/// The blocks of `factor` x `factor` pixels that touch `region`, averaged, and where in `image` they begin.
fn reduced(image: &Image, region: Rect, factor: usize) -> (Image, Point) {
    let first = |lo: f32| lo.max(0.0) as usize / factor * factor;
    let (x0, y0) = (first(region.x), first(region.y));
    let x1 = ((region.x + region.w).ceil() as usize).min(image.width());
    let y1 = ((region.y + region.h).ceil() as usize).min(image.height());
    let (columns, rows) = (x1.saturating_sub(x0).div_ceil(factor), y1.saturating_sub(y0).div_ceil(factor));
    let mut out = Image::filled(columns, rows, [0; 3]);
    let end = (x0 + columns * factor).min(image.width());
    let mut sums = vec![0u32; 3 * end.saturating_sub(x0)];
    for (row, line) in out.pixels_mut().chunks_exact_mut((columns * 3).max(1)).enumerate() {
        let top = y0 + row * factor;
        let bottom = (top + factor).min(image.height());
        sums.fill(0);
        for y in top..bottom {
            vectorised(AddRow { sums: &mut sums, row: &image.row(y)[x0 * 3..end * 3] });
        }
        vectorised(MeanOfBlocks { line, sums: &sums, factor, rows: bottom - top });
    }
    (out, Point::new(x0 as f32, y0 as f32))
}

struct AddRow<'a> {
    sums: &'a mut [u32],
    row: &'a [u8],
}

impl Loop for AddRow<'_> {
    #[inline(always)]
    fn walk(self) {
        self.sums.iter_mut().zip(self.row).for_each(|(sum, &value)| *sum += u32::from(value));
    }
}

/// Each pixel from `factor` columns of sums over so many rows; the last block may have fewer columns.
struct MeanOfBlocks<'a> {
    line: &'a mut [u8],
    sums: &'a [u32],
    factor: usize,
    rows: usize,
}

impl Loop for MeanOfBlocks<'_> {
    #[inline(always)]
    fn walk(self) {
        let Self { line, sums, factor, rows } = self;
        // Division as a multiplication, exact for blocks of up to 2^23 pixels.
        let divisor = |columns: usize| {
            let count = (columns * rows) as u64;
            (count / 2, (1 << 54) / count + 1)
        };
        let whole = divisor(factor);
        for (pixel, block) in line.as_chunks_mut::<3>().0.iter_mut().zip(sums.chunks(factor * 3)) {
            let mut sum = [0u32; 3];
            for column in block.as_chunks::<3>().0 {
                (0..3).for_each(|n| sum[n] += column[n]);
            }
            let (half, part) = if block.len() == factor * 3 { whole } else { divisor(block.len() / 3) };
            *pixel = sum.map(|sum| (((u64::from(sum) + half) * part) >> 54) as u8);
        }
    }
}

fn bilinear(image: &Image, to_image: Similarity, width: usize, height: usize) -> Image {
    let mut out = Image::filled(width, height, [0; 3]);
    for (y, line) in out.pixels_mut().chunks_exact_mut((width * 3).max(1)).enumerate() {
        vectorised(BilinearRow { image, to_image, y, line: line.as_chunks_mut::<3>().0 });
    }
    out
}

/// Pixels that are worked out together, in loops that the compiler can vectorise.
const RUN: usize = 64;

/// One row of the piece.
struct BilinearRow<'a> {
    image: &'a Image,
    to_image: Similarity,
    y: usize,
    line: &'a mut [[u8; 3]],
}

impl Loop for BilinearRow<'_> {
    #[inline(always)]
    fn walk(self) {
        let Self { image, to_image, y, line } = self;
        let (w, h) = (image.width() as i32, image.height() as i32);
        let pixels = image.pixels();
        for (run, line) in line.chunks_mut(RUN).enumerate() {
            // The pixel above and to the left of each place, and the weights, in 1/128, of those below and to the right.
            let (mut left, mut above) = ([0i32; RUN], [0i32; RUN]);
            let (mut right, mut below) = ([0u32; RUN], [0u32; RUN]);
            for n in 0..RUN {
                let p = to_image.apply(Point::new((run * RUN + n) as f32 + 0.5, y as f32 + 0.5));
                let px = (p.x - 0.5).max(-2.0).min(w as f32);
                let py = (p.y - 0.5).max(-2.0).min(h as f32);
                let (fx, fy) = (px.floor(), py.floor());
                // SAFETY: numbers from -2 to the picture's sides, and from 0 to 128.
                unsafe {
                    (left[n], above[n]) = (fx.to_int_unchecked(), fy.to_int_unchecked());
                    right[n] = ((px - fx) * 128.0).to_int_unchecked::<i32>() as u32;
                    below[n] = ((py - fy) * 128.0).to_int_unchecked::<i32>() as u32;
                }
            }
            // The four pixels about each place, B, G, R and one byte without a meaning.
            let mut four = [[0u32; RUN]; 4];
            let mut inside = false;
            for n in 0..line.len() {
                let (x, y) = (left[n], above[n]);
                // In the last two rows the eight bytes might end beyond the picture.
                if x >= 0 && y >= 0 && x < w - 1 && y < h - 2 {
                    let at = 3 * (y as usize * w as usize + x as usize);
                    for (row, at) in [at, at + 3 * w as usize].into_iter().enumerate() {
                        let eight = pixels[at..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
                        (four[2 * row][n], four[2 * row + 1][n]) = (eight as u32, (eight >> 24) as u32);
                    }
                } else if x < -1 || y < -1 || x >= w || y >= h {
                    continue;
                } else {
                    let places = [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)];
                    for (pixel, (x, y)) in four.iter_mut().zip(places) {
                        if (0..w).contains(&x) && (0..h).contains(&y) {
                            let [b, g, r] = image.bgr(x as usize, y as usize);
                            pixel[n] = u32::from_le_bytes([b, g, r, 0]);
                        }
                    }
                }
                inside = true;
            }
            if !inside {
                continue;
            }
            let mut mixed = [0u32; RUN];
            for n in 0..RUN {
                for shift in [0, 8, 16] {
                    let [a, b, c, d] = four.each_ref().map(|pixels| (pixels[n] >> shift) & 255);
                    let upper = a * (128 - right[n]) + b * right[n];
                    let lower = c * (128 - right[n]) + d * right[n];
                    mixed[n] |= ((8192 + upper * (128 - below[n]) + lower * below[n]) >> 14) << shift;
                }
            }
            for (pixel, mixed) in line.iter_mut().zip(mixed) {
                let [b, g, r, _] = mixed.to_le_bytes();
                *pixel = [b, g, r];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Brightness grows by 2 a column and by 1 a row.
    fn ramp(width: usize, height: usize) -> Image {
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [(2 * x + y) as u8; 3])).collect();
        Image::new(width, height, pixels).unwrap()
    }

    #[test]
    fn the_identity_changes_nothing() {
        let image = ramp(20, 10);
        assert_eq!(warp(&image, Similarity::IDENTITY, 20, 10).unwrap(), image);
    }

    #[test]
    fn outside_is_black() {
        let far = Similarity { tx: 100.0, ..Similarity::IDENTITY };
        assert!(warp(&ramp(20, 10), far, 5, 5).unwrap().pixels().iter().all(|&p| p == 0));
    }

    #[test]
    fn fine_stripes_average_instead_of_aliasing() {
        let pixels = (0..64 * 64).flat_map(|i| [if i % 2 == 0 { 0 } else { 200 }; 3]).collect();
        let stripes = Image::new(64, 64, pixels).unwrap();
        let eighth = Similarity { a: 8.0, ..Similarity::IDENTITY };
        let small = warp(&stripes, eighth, 8, 8).unwrap();
        assert!(small.pixels().iter().all(|&p| (95..=105).contains(&p)), "{:?}", small.pixels());
    }

    /// One pixel of a piece that is not reduced, by the formula: (32-bit places, weights in 1/128.)
    fn by_the_formula(image: &Image, map: Similarity, x: usize, y: usize) -> [u8; 3] {
        let p = map.apply(Point::new(x as f32 + 0.5, y as f32 + 0.5));
        let (px, py) = (p.x - 0.5, p.y - 0.5);
        let (wx, wy) = (((px - px.floor()) * 128.0) as u32, ((py - py.floor()) * 128.0) as u32);
        let at = |dx: i64, dy: i64| {
            let (x, y) = (px.floor() as i64 + dx, py.floor() as i64 + dy);
            let inside = (0..image.width() as i64).contains(&x) && (0..image.height() as i64).contains(&y);
            if inside { image.bgr(x as usize, y as usize) } else { [0; 3] }
        };
        let [a, b, c, d] = [at(0, 0), at(1, 0), at(0, 1), at(1, 1)].map(|pixel| pixel.map(u32::from));
        std::array::from_fn(|n| {
            let upper = a[n] * (128 - wx) + b[n] * wx;
            let lower = c[n] * (128 - wx) + d[n] * wx;
            ((8192 + upper * (128 - wy) + lower * wy) >> 14) as u8
        })
    }

    proptest! {
        #[test]
        fn every_pixel_is_as_the_formula_says(
            a in -1.4f32..1.4, b in -1.4f32..1.4, tx in -30f32..60.0, ty in -30f32..60.0,
            width in 1usize..40, height in 1usize..40, across in 1usize..150,
        ) {
            let map = Similarity { a, b, tx, ty };
            prop_assume!(map.scale() < 2.0);
            let pixels = (0..width * height * 3).map(|i| (i * i * 7919 % 251) as u8).collect();
            let image = Image::new(width, height, pixels).unwrap();
            let piece = warp(&image, map, across, 5).unwrap();
            for y in 0..5 {
                for x in 0..across {
                    prop_assert_eq!(piece.bgr(x, y), by_the_formula(&image, map, x, y), "at {} {}", x, y);
                }
            }
        }

        #[test]
        fn blocks_are_averaged_to_the_nearest_number(factor in 2usize..9, width in 1usize..50, height in 1usize..50) {
            let pixels = (0..width * height * 3).map(|i| (i * i * 7919 % 256) as u8).collect();
            let image = Image::new(width, height, pixels).unwrap();
            let (small, _) = reduced(&image, Rect::new(0.0, 0.0, width as f32, height as f32), factor);
            for y in 0..small.height() {
                for x in 0..small.width() {
                    let rows = y * factor..((y + 1) * factor).min(height);
                    let of = |y: usize| (x * factor..((x + 1) * factor).min(width)).map(move |x| (x, y));
                    let block: Vec<_> = rows.flat_map(of).map(|(x, y)| image.bgr(x, y)).collect();
                    let mean = |n: usize| {
                        let sum: usize = block.iter().map(|pixel| usize::from(pixel[n])).sum();
                        ((sum + block.len() / 2) / block.len()) as u8
                    };
                    prop_assert_eq!(small.bgr(x, y), [mean(0), mean(1), mean(2)]);
                }
            }
        }

        #[test]
        fn a_ramp_stays_a_ramp(scale in 0.4f32..5.0, angle in -3f32..3.0) {
            let image = ramp(64, 64);
            let map = Similarity::about(Point::new(2.0, 2.0), Point::new(32.0, 32.0), scale, angle);
            let piece = warp(&image, map, 4, 4).unwrap();
            for y in 0..4 {
                for x in 0..4 {
                    let p = map.apply(Point::new(x as f32 + 0.5, y as f32 + 0.5));
                    let expected = 2.0 * (p.x - 0.5) + (p.y - 0.5);
                    let found = f32::from(piece.bgr(x, y)[0]);
                    prop_assert!((found - expected).abs() < 2.5, "{found} {expected} at {x} {y}");
                }
            }
        }

        #[test]
        fn no_map_is_fatal(
            a in -9f32..9.0, b in -9f32..9.0, tx in -1e5f32..1e5, ty in -1e5f32..1e5,
            width in 0usize..9, height in 0usize..9,
        ) {
            for image in [ramp(1, 1), ramp(0, 0), ramp(7, 3)] {
                warp(&image, Similarity { a, b, tx, ty }, width, height).unwrap();
            }
            let broken = Similarity { a: f32::NAN, ..Similarity::IDENTITY };
            prop_assert!(warp(&ramp(2, 2), broken, 2, 2).is_err());
        }
    }
}
