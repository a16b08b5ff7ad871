//! Cuts a turned, scaled and shifted piece out of a picture.

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
    let mut sums = vec![0u32; columns * 3];
    for (row, line) in out.pixels_mut().chunks_exact_mut((columns * 3).max(1)).enumerate() {
        sums.fill(0);
        let top = y0 + row * factor;
        let bottom = (top + factor).min(image.height());
        for y in top..bottom {
            let end = (x0 + columns * factor).min(image.width());
            let pixels = &image.row(y)[x0 * 3..end * 3];
            for (sum, block) in sums.as_chunks_mut::<3>().0.iter_mut().zip(pixels.chunks(factor * 3)) {
                for pixel in block.as_chunks::<3>().0 {
                    sum[0] += u32::from(pixel[0]);
                    sum[1] += u32::from(pixel[1]);
                    sum[2] += u32::from(pixel[2]);
                }
            }
        }
        for (column, (pixel, sum)) in
            line.as_chunks_mut::<3>().0.iter_mut().zip(sums.as_chunks::<3>().0).enumerate()
        {
            let width = factor.min(image.width() - x0 - column * factor);
            let count = (width * (bottom - top)) as u32;
            *pixel = sum.map(|s| ((s + count / 2) / count) as u8);
        }
    }
    (out, Point::new(x0 as f32, y0 as f32))
}

fn bilinear(image: &Image, to_image: Similarity, width: usize, height: usize) -> Image {
    let mut out = Image::filled(width, height, [0; 3]);
    let (w, h) = (image.width() as isize, image.height() as isize);
    let (source, _) = image.pixels().as_chunks::<3>();
    for (y, line) in out.pixels_mut().chunks_exact_mut((width * 3).max(1)).enumerate() {
        for (x, pixel) in line.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let p = to_image.apply(Point::new(x as f32 + 0.5, y as f32 + 0.5));
            let (px, py) = (p.x - 0.5, p.y - 0.5);
            let (fx, fy) = (px.floor(), py.floor());
            // Beyond any picture; also keeps the conversion to whole numbers safe.
            if fx < -1.0 || fy < -1.0 || fx >= w as f32 || fy >= h as f32 {
                continue;
            }
            let (ix, iy) = (fx as isize, fy as isize);
            // Weights in 1/128 keep the sums in 32 bits.
            let (wx, wy) = (((px - fx) * 128.0) as u32, ((py - fy) * 128.0) as u32);
            let mut sum = [8192u32; 3];
            for (dy, weight_y) in [(0, 128 - wy), (1, wy)] {
                for (dx, weight_x) in [(0, 128 - wx), (1, wx)] {
                    let (sx, sy) = (ix + dx, iy + dy);
                    if (0..w).contains(&sx) && (0..h).contains(&sy) {
                        let [b, g, r] = source[(sy * w + sx) as usize];
                        let weight = weight_x * weight_y;
                        sum[0] += weight * u32::from(b);
                        sum[1] += weight * u32::from(g);
                        sum[2] += weight * u32::from(r);
                    }
                }
            }
            *pixel = sum.map(|s| (s >> 14) as u8);
        }
    }
    out
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

    proptest! {
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
