//! Picture files: read upright and within bounds of memory, and written whole.

use std::fs;
use std::io::{BufWriter, Cursor};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Limits};

use super::extension;
use crate::error::{Context, Error, Kind, Result};
use crate::frame::Image;
use crate::part::Part;

/// How good a JPEG file is written, from 1 to 100.
const JPEG_QUALITY: u8 = 95;

/// No picture is read that takes more bytes when it is unpacked: a small file can promise any number of them.
const LARGEST: u64 = 1 << 30;

/// Pictures that take more bytes are unpacked one at a time.
const LARGE: u64 = 1 << 26;

/// Reads a picture file: turned upright by its EXIF orientation, 16-bit and grey pictures as 8-bit BGR,
/// transparent ones on white.
///
/// # Errors
/// A file that is missing, empty, damaged, of a kind that is not read, or too large.
pub fn read(path: &Path) -> Result<Image> {
    read_reduced(path, u32::MAX)
}

/// As [`read`], a picture with a side of more than `longest` pixels being reduced to it.
///
/// # Errors
/// As [`read`].
pub fn read_reduced(path: &Path, longest: u32) -> Result<Image> {
    decode(path, longest).map_err(|cause| {
        Error::new(format!("cannot read '{}' as a picture", path.display()))
            .because(cause)
            .of_kind(Kind::Input)
            .or_advice("check that it is a whole BMP, JPEG, PNG, TIFF or WebP file")
    })
}

fn decode(path: &Path, longest: u32) -> Result<Image, Box<dyn std::error::Error + Send + Sync>> {
    static ALONE: Mutex<()> = Mutex::new(());
    if !fs::metadata(path)?.is_file() {
        return Err("it is no file".into());
    }
    let bytes = fs::read(path)?;
    let mut reader = ImageReader::new(Cursor::new(&bytes));
    if let Ok(format) = ImageFormat::from_path(path) {
        reader.set_format(format);
    }
    // The content decides before the name: a PNG called .jpg is read.
    let mut reader = reader.with_guessed_format()?;
    if reader.format() == Some(ImageFormat::Jpeg) && !has_end(&bytes) {
        return Err("its end is missing".into());
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(LARGEST);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    let unpacked = decoder.total_bytes().max(u64::from(width) * u64::from(height) * 3);
    if unpacked > LARGEST {
        let mib = |bytes: u64| bytes >> 20;
        let what = format!("its {width}x{height} pixels take {} MiB of memory", mib(unpacked));
        return Err(Error::new(what).advice(format!("reduce it to {} MiB or less", mib(LARGEST))).into());
    }
    let _alone = (unpacked > LARGE).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner));
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    drop(bytes);
    if picture.width().max(picture.height()) > longest {
        picture = picture.thumbnail(longest, longest);
    }
    picture.apply_orientation(orientation);
    Ok(bgr_from_picture(picture))
}

/// Whether a JPEG file has its end marker after its first scan (ITU-T T.81, B.1.1.2): what a decoder does not find it
/// fills up with grey.
fn has_end(jpeg: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = jpeg.get(at..at + 4) {
        match marker {
            0xda => return jpeg[at..].windows(2).rev().any(|pair| pair == [0xff, 0xd9]),
            // Any number of 0xff may stand before a marker.
            0xff => at += 1,
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    // The decoder knows better what is wrong with it.
    true
}

fn bgr_from_picture(picture: DynamicImage) -> Image {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let pixels = if picture.color().has_alpha() {
        let rgba = picture.into_rgba8();
        let (rgba, _) = rgba.as_chunks::<4>();
        let on_white = |c: u8, a: u8| {
            let (c, a) = (u32::from(c), u32::from(a));
            ((c * a + 255 * (255 - a) + 127) / 255) as u8
        };
        rgba.iter().flat_map(|&[r, g, b, a]| [b, g, r].map(|c| on_white(c, a))).collect()
    } else {
        let mut pixels = picture.into_rgb8().into_raw();
        let (rgb, _) = pixels.as_chunks_mut::<3>();
        rgb.iter_mut().for_each(|pixel| pixel.reverse());
        pixels
    };
    Image::new(width, height, pixels).expect("a decoded picture has all its pixels")
}

/// Writes a picture as PNG or JPEG, by the extension of `path`; it appears under its name when it is whole.
///
/// # Errors
/// Another extension; a file that exists (unless `overwrite`), a missing folder, a full disk.
pub fn write(path: &Path, image: &Image, overwrite: bool) -> Result<()> {
    let format = format_of(path)?;
    let part = Part::create(path, overwrite)?;
    encode(part.path(), format, image)
        .with_context(|| format!("cannot write '{}'", path.display()))
        .map_err(|error| error.of_kind(Kind::Output).advice("check that the disk is not full"))?;
    part.finish()
}

/// How [`write()`] writes a file of this name.
///
/// # Errors
/// An extension that is neither PNG's nor JPEG's.
pub fn format_of(path: &Path) -> Result<ImageFormat> {
    match extension(path).as_deref() {
        Some("png") => Ok(ImageFormat::Png),
        Some("jpg" | "jpeg") => Ok(ImageFormat::Jpeg),
        _ => Err(Error::usage(format!("'{}' cannot be written", path.display()))
            .advice("pictures are written as .png or .jpg")),
    }
}

fn encode(path: &Path, format: ImageFormat, image: &Image) -> image::ImageResult<()> {
    let (bgr, _) = image.pixels().as_chunks::<3>();
    let rgb: Vec<u8> = bgr.iter().flat_map(|&[b, g, r]| [r, g, b]).collect();
    let (width, height) = (image.width() as u32, image.height() as u32);
    let mut file = BufWriter::new(fs::File::create(path)?);
    match format {
        ImageFormat::Jpeg => JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY).write_image(
            &rgb,
            width,
            height,
            ExtendedColorType::Rgb8,
        )?,
        _ => {
            image::write_buffer_with_format(&mut file, &rgb, width, height, ExtendedColorType::Rgb8, format)?
        }
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparent_pixels_are_white_and_half_transparent_ones_between() {
        let rgba =
            image::RgbaImage::from_raw(3, 1, vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 51]).unwrap();
        let image = bgr_from_picture(DynamicImage::ImageRgba8(rgba));
        assert_eq!(image.pixels(), [30, 20, 10, 255, 255, 255, 204, 204, 204]);
    }

    #[test]
    fn sixteen_bits_and_grey_become_eight_and_three() {
        let grey = image::ImageBuffer::from_raw(3, 1, vec![0u16, 0x8080, 0xffff]).unwrap();
        let image = bgr_from_picture(DynamicImage::ImageLuma16(grey));
        assert_eq!(image.pixels(), [0, 0, 0, 128, 128, 128, 255, 255, 255]);
    }
}
