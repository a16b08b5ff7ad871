//! Raw pictures of cameras as BGR.
//!
//! YUV is taken for ITU-R BT.601 with limited range (Y from 16 to 235), which is what cameras send over USB
//! unless they say otherwise, and those that say otherwise cannot be told apart here.

use crate::error::{Error, Result};
use crate::frame::Image;

/// One pixel as B, G, R: BT.601 in 8-bit fixed point, limited range.
fn bgr_from_yuv(y: u8, u: u8, v: u8) -> [u8; 3] {
    let y = 298 * (i32::from(y) - 16) + 128;
    let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
    [y + 516 * u, y - 100 * u - 208 * v, y + 409 * v].map(|c| (c >> 8).clamp(0, 255) as u8)
}

/// Two pixels in four bytes: Y, U, Y, V.
///
/// # Errors
/// Fewer bytes than pixels; as for all functions here. More bytes are left over by some drivers.
pub fn bgr_from_yuyv(width: usize, height: usize, bytes: &[u8]) -> Result<Image> {
    let row = width.next_multiple_of(2) * 2;
    let bytes = enough(bytes, row * height)?;
    let mut pixels = Vec::with_capacity(width * height * 3);
    for line in bytes.chunks_exact(row.max(1)) {
        let (pairs, _) = line.as_chunks::<4>();
        for &[y0, u, y1, v] in pairs {
            pixels.extend(bgr_from_yuv(y0, u, v));
            pixels.extend(bgr_from_yuv(y1, u, v));
        }
        if width % 2 == 1 {
            pixels.truncate(pixels.len() - 3);
        }
    }
    Image::new(width, height, pixels)
}

/// The same way back; an odd row gets its last pixel twice.
pub fn yuyv_from_bgr(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(image.width().next_multiple_of(2) * image.height() * 2);
    let yuv = |[b, g, r]: [u8; 3]| {
        let (b, g, r) = (i32::from(b), i32::from(g), i32::from(r));
        let part = |sum: i32, least: i32| ((sum + 128) >> 8) + least;
        (
            part(66 * r + 129 * g + 25 * b, 16),
            part(112 * b - 38 * r - 74 * g, 128),
            part(112 * r - 94 * g - 18 * b, 128),
        )
    };
    for y in 0..image.height() {
        let (pixels, _) = image.row(y).as_chunks::<3>();
        for pair in pixels.chunks(2) {
            let (first, second) = (yuv(pair[0]), yuv(pair[pair.len() - 1]));
            let mean = |a: i32, b: i32| ((a + b + 1) / 2) as u8;
            bytes.extend([first.0 as u8, mean(first.1, second.1), second.0 as u8, mean(first.2, second.2)]);
        }
    }
    bytes
}

/// All Y, then U and V by turns for every two by two pixels.
///
/// # Errors
/// Fewer bytes than pixels.
pub fn bgr_from_nv12(width: usize, height: usize, bytes: &[u8]) -> Result<Image> {
    let colour_row = width.next_multiple_of(2);
    let bytes = enough(bytes, width * height + colour_row * height.div_ceil(2))?;
    let (light, colour) = bytes.split_at(width * height);
    let mut pixels = Vec::with_capacity(width * height * 3);
    for (n, row) in light.chunks_exact(width.max(1)).enumerate() {
        let colours = &colour[n / 2 * colour_row..][..colour_row];
        for (x, &y) in row.iter().enumerate() {
            let at = x / 2 * 2;
            pixels.extend(bgr_from_yuv(y, colours[at], colours[at + 1]));
        }
    }
    Image::new(width, height, pixels)
}

/// One byte of brightness a pixel, full range.
///
/// # Errors
/// Fewer bytes than pixels.
pub fn bgr_from_grey(width: usize, height: usize, bytes: &[u8]) -> Result<Image> {
    let bytes = enough(bytes, width * height)?;
    Image::new(width, height, bytes.iter().flat_map(|&y| [y; 3]).collect())
}

/// R, G, B a pixel.
///
/// # Errors
/// Fewer bytes than pixels.
pub fn bgr_from_rgb(width: usize, height: usize, bytes: &[u8]) -> Result<Image> {
    let (rgb, _) = enough(bytes, width * height * 3)?.as_chunks::<3>();
    Image::new(width, height, rgb.iter().flat_map(|&[r, g, b]| [b, g, r]).collect())
}

/// B, G, R a pixel: copied.
///
/// # Errors
/// Fewer bytes than pixels.
pub fn bgr_from_bgr(width: usize, height: usize, bytes: &[u8]) -> Result<Image> {
    Image::new(width, height, enough(bytes, width * height * 3)?.to_vec())
}

fn enough(bytes: &[u8], needed: usize) -> Result<&[u8]> {
    bytes.get(..needed).ok_or_else(|| Error::new("the camera sent a picture that is not whole"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The corners of the colour cube and a grey, in BGR, and what they are in YUV by BT.601's own formula.
    fn painted() -> Vec<([u8; 3], [u8; 3])> {
        let levels = [
            [0, 0, 0],
            [255, 255, 255],
            [0, 0, 255],
            [0, 255, 0],
            [255, 0, 0],
            [255, 255, 0],
            [128, 128, 128],
        ];
        let yuv = |[b, g, r]: [u8; 3]| {
            let [b, g, r] = [b, g, r].map(|c| f64::from(c) / 255.0);
            let y = 0.299 * r + 0.587 * g + 0.114 * b;
            let (u, v) = ((b - y) / 1.772, (r - y) / 1.402);
            [16.0 + 219.0 * y, 128.0 + 224.0 * u, 128.0 + 224.0 * v].map(|c| c.round() as u8)
        };
        levels.map(|bgr| (bgr, yuv(bgr))).into()
    }

    fn close(a: [u8; 3], b: [u8; 3]) -> bool {
        a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= 3)
    }

    #[test]
    fn yuyv_and_nv12_give_the_painted_colours_back() {
        for (bgr, [y, u, v]) in painted() {
            // Odd sides, and bytes left over at the end.
            let yuyv = [[y, u, y, v].repeat(2 * 5), vec![9; 7]].concat();
            let nv12 = [vec![y; 3 * 5], [u, v].repeat(2 * 3), vec![9; 7]].concat();
            for image in [bgr_from_yuyv(3, 5, &yuyv).unwrap(), bgr_from_nv12(3, 5, &nv12).unwrap()] {
                assert_eq!((image.width(), image.height()), (3, 5));
                assert!(close(image.bgr(2, 4), bgr), "{:?} {bgr:?}", image.bgr(2, 4));
            }
        }
    }

    #[test]
    fn neighbours_share_colour_but_not_brightness() {
        let image = bgr_from_yuyv(2, 1, &[16, 128, 235, 128]).unwrap();
        assert_eq!(image.pixels(), [0, 0, 0, 255, 255, 255]);
        let image = bgr_from_nv12(2, 2, &[16, 235, 235, 16, 128, 128]).unwrap();
        assert_eq!((image.bgr(1, 0), image.bgr(1, 1)), ([255; 3], [0; 3]));
    }

    #[test]
    fn plain_formats_are_reordered() {
        assert_eq!(bgr_from_rgb(1, 1, &[1, 2, 3]).unwrap().bgr(0, 0), [3, 2, 1]);
        assert_eq!(bgr_from_bgr(1, 1, &[1, 2, 3]).unwrap().bgr(0, 0), [1, 2, 3]);
        assert_eq!(bgr_from_grey(1, 1, &[7]).unwrap().bgr(0, 0), [7; 3]);
    }

    #[test]
    fn too_few_bytes_are_an_error() {
        let read = [bgr_from_yuyv, bgr_from_nv12, bgr_from_grey, bgr_from_rgb, bgr_from_bgr];
        assert!(read.iter().all(|read| read(4, 4, &[0; 15]).is_err() && read(0, 0, &[]).is_ok()));
    }

    #[test]
    fn colours_go_to_yuyv_and_back() {
        let colours = [[0, 0, 0], [255, 255, 255], [200, 40, 90], [10, 250, 128], [0, 0, 255]];
        for colour in colours {
            let image = Image::filled(3, 2, colour);
            let bytes = yuyv_from_bgr(&image);
            assert_eq!(bytes.len(), 4 * 2 * 2);
            let back = bgr_from_yuyv(4, 2, &bytes).unwrap().bgr(2, 1);
            assert!(back.iter().zip(colour).all(|(&a, b)| a.abs_diff(b) <= 4), "{colour:?} {back:?}");
        }
    }
}
