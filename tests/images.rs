//! Picture files in and out, and what an input name stands for.

use std::fs;
use std::path::Path;

use lanet_live::frame::Image;
use lanet_live::images::{self, Images, Input, expand};
use lanet_live::warning::Warning;

use crate::scratch::Scratch;

/// A picture that looks different from every side.
fn painted() -> Image {
    let mut image = Image::filled(48, 32, [0, 0, 255]);
    for y in 0..16 {
        for x in 0..16 {
            image.pixels_mut()[(y * 48 + x) * 3..][..3].copy_from_slice(&[255, 0, 0]);
        }
    }
    image
}

fn close(a: [u8; 3], b: [u8; 3]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 12)
}

/// A JPEG file with an EXIF orientation put into it.
fn jpeg_with_orientation(path: &Path, orientation: u8) {
    images::write(path, &painted(), true).unwrap();
    let plain = fs::read(path).unwrap();
    let tiff = [
        b"MM\0\x2a\0\0\0\x08".as_slice(),
        &[0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let length = (tiff.len() + 8) as u16;
    let exif = [&[0xff, 0xe1], &length.to_be_bytes()[..], b"Exif\0\0", &tiff].concat();
    fs::write(path, [&plain[..2], &exif, &plain[2..]].concat()).unwrap();
}

#[test]
fn a_png_comes_back_as_it_was_and_a_jpeg_nearly() {
    let scratch = Scratch::new();
    for name in ["a.png", "a.jpg", "b.JPEG"] {
        images::write(&scratch.path(name), &painted(), false).unwrap();
        let back = images::read(&scratch.path(name)).unwrap();
        assert_eq!((back.width(), back.height()), (48, 32));
        assert!(close(back.bgr(4, 4), [255, 0, 0]) && close(back.bgr(40, 4), [0, 0, 255]), "{name}");
    }
    assert_eq!(images::read(&scratch.path("a.png")).unwrap(), painted());
    assert_eq!(scratch.names(), ["a.jpg", "a.png", "b.JPEG"]);
}

#[test]
fn every_exif_orientation_comes_out_upright() {
    let scratch = Scratch::new();
    let path = scratch.path("phone.jpg");
    // Where the marked corner of the stored picture belongs: (right, bottom), and whether the sides swap.
    let upright = [
        (1, false, false, false),
        (2, true, false, false),
        (3, true, true, false),
        (4, false, true, false),
        (5, false, false, true),
        (6, true, false, true),
        (7, true, true, true),
        (8, false, true, true),
    ];
    for (orientation, right, bottom, swapped) in upright {
        jpeg_with_orientation(&path, orientation);
        let image = images::read(&path).unwrap();
        let (w, h) = if swapped { (32, 48) } else { (48, 32) };
        assert_eq!((image.width(), image.height()), (w, h), "orientation {orientation}");
        let corner = image.bgr(if right { w - 5 } else { 4 }, if bottom { h - 5 } else { 4 });
        assert!(close(corner, [255, 0, 0]), "orientation {orientation}: {corner:?}");
    }
}

#[test]
fn sixteen_bit_grey_and_transparent_files_are_read_right() {
    let scratch = Scratch::new();
    let grey =
        image::ImageBuffer::<image::Luma<u16>, _>::from_fn(9, 7, |x, _| image::Luma([x as u16 * 8000]));
    grey.save(scratch.path("grey.png")).unwrap();
    let image = images::read(&scratch.path("grey.png")).unwrap();
    let expected = (8.0f64 * 8000.0 / 65535.0 * 255.0).round() as u8;
    assert_eq!(image.bgr(8, 3), [expected; 3]);

    let colour = image::ImageBuffer::<image::Rgb<u16>, _>::from_pixel(5, 3, image::Rgb([65535u16, 0, 257]));
    colour.save(scratch.path("colour.tiff")).unwrap();
    assert_eq!(images::read(&scratch.path("colour.tiff")).unwrap().bgr(2, 2), [1, 0, 255]);

    let clear = image::RgbaImage::from_pixel(5, 3, image::Rgba([0, 0, 0, 0]));
    clear.save(scratch.path("clear.png")).unwrap();
    assert_eq!(images::read(&scratch.path("clear.png")).unwrap().bgr(0, 0), [255; 3]);
}

#[test]
fn names_stand_for_folders_patterns_videos_and_addresses() {
    let scratch = Scratch::new();
    for name in ["f10.png", "f2.png", "f1.PNG", ".hidden.png"] {
        images::write(&scratch.path(name), &Image::filled(1, 1, [0; 3]), false).unwrap();
    }
    fs::write(scratch.path("notes.txt"), "text").unwrap();
    fs::write(scratch.path("clip.mp4"), "not looked at").unwrap();
    fs::copy(scratch.path("f2.png"), scratch.path("picture")).unwrap();
    let text = |name: &str| scratch.path(name).to_string_lossy().into_owned();

    let numbered = Input::Images(["f1.PNG", "f2.png", "f10.png"].map(|name| scratch.path(name)).into());
    assert_eq!(expand(&text("")).unwrap(), numbered);
    assert_eq!(expand(&text("f*")).unwrap(), numbered);
    assert_eq!(expand(&text("f2.png")).unwrap(), Input::Images(vec![scratch.path("f2.png")]));
    assert_eq!(expand(&text("picture")).unwrap(), Input::Images(vec![scratch.path("picture")]));
    assert_eq!(expand(&text("clip.mp4")).unwrap(), Input::Video(scratch.path("clip.mp4")));
    assert_eq!(expand(&text("*.mp4")).unwrap(), Input::Video(scratch.path("clip.mp4")));
    let address = "RTSP://camera.local/live";
    assert_eq!(expand(address).unwrap(), Input::Address(address.to_owned()));

    fs::create_dir(scratch.path("empty")).unwrap();
    for (input, says) in [
        (text("empty"), "has no pictures"),
        (text("missing.png"), "there is no file"),
        (text("z*"), "no file matches"),
        ("gopher://x".to_owned(), "gopher://"),
    ] {
        let line = expand(&input).unwrap_err().line();
        assert!(line.contains(says) && line.contains("; "), "{line}");
    }
}

#[test]
fn what_cannot_be_read_is_left_out_and_counted_unless_nothing_else_is_there() {
    let scratch = Scratch::new();
    for name in ["1.png", "3.png"] {
        images::write(&scratch.path(name), &painted(), false).unwrap();
    }
    fs::write(scratch.path("2.png"), "text").unwrap();
    fs::write(scratch.path("4.png"), "").unwrap();
    let Input::Images(paths) = expand(&scratch.path("")).unwrap() else { panic!() };
    let frames = Images::new(paths.clone());
    let warnings = frames.warnings();
    let frames: Vec<_> = frames.map(Result::unwrap).collect();
    let seen: Vec<_> = frames.iter().map(|frame| (frame.index, &*frame.source)).collect();
    assert_eq!(seen, [(0, &*paths[0].to_string_lossy()), (2, &*paths[2].to_string_lossy())]);
    let warnings = warnings.take();
    assert!(
        matches!(&warnings[..], [Warning::Unreadable { count: 2, first, .. }] if *first == paths[1]),
        "{warnings:?}"
    );

    let mut alone = Images::new(vec![scratch.path("2.png")]);
    let line = alone.next().unwrap().unwrap_err().line();
    assert!(line.contains("2.png' as a picture") && line.contains("; check that"), "{line}");
    assert!(alone.next().is_none());
}

/// A picture whose header promises `side` x `side` pixels.
fn promising(path: &Path, side: u32) {
    images::write(path, &painted(), true).unwrap();
    let mut bytes = fs::read(path).unwrap();
    // Width and height of the first chunk, and its check sum.
    bytes[16..24].copy_from_slice(&[side.to_be_bytes(), side.to_be_bytes()].concat());
    let mut crc = !0u32;
    for &byte in &bytes[12..29] {
        crc ^= u32::from(byte);
        (0..8).for_each(|_| crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1)));
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_header_that_promises_too_much_is_an_error_that_says_so() {
    let scratch = Scratch::new();
    let path = scratch.path("huge.png");
    promising(&path, 23_000);
    let line = images::read(&path).unwrap_err().line();
    assert!(line.contains("huge.png' as a picture: its 23000x23000 pixels take 1513 MiB"), "{line}");
    assert!(line.ends_with("; reduce it to 1024 MiB or less"), "{line}");
    // This many would fit, if they were there.
    promising(&path, 16_384);
    let line = images::read(&path).unwrap_err().line();
    assert!(line.contains("check that it is a whole"), "{line}");
}

#[test]
fn a_picture_that_breaks_off_is_refused_in_every_format() {
    let scratch = Scratch::new();
    let image =
        image::RgbImage::from_fn(200, 150, |x, y| image::Rgb([(x * y) as u8, x as u8, (x ^ y) as u8]));
    for name in ["a.jpg", "a.png", "a.webp", "a.tiff", "a.bmp"] {
        let path = scratch.path(name);
        image.save(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        assert!(images::read(&path).is_ok(), "{name}");
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(images::read(&path).is_err(), "{name}");
        // Bytes after the end are no harm.
        fs::write(&path, [&whole[..], &[0; 100]].concat()).unwrap();
        assert!(images::read(&path).is_ok(), "{name}");
    }
    let line = {
        jpeg_with_orientation(&scratch.path("a.jpg"), 6);
        let whole = fs::read(scratch.path("a.jpg")).unwrap();
        fs::write(scratch.path("a.jpg"), &whole[..whole.len() - 9]).unwrap();
        images::read(&scratch.path("a.jpg")).unwrap_err().line()
    };
    assert!(line.contains("a.jpg' as a picture: its end is missing; check that"), "{line}");
}

#[test]
fn a_large_picture_can_be_read_reduced() {
    let scratch = Scratch::new();
    let path = scratch.path("a.jpg");
    jpeg_with_orientation(&path, 6);
    let reduced = images::read_reduced(&path, 24).unwrap();
    assert_eq!((reduced.width(), reduced.height()), (16, 24));
    assert!(close(reduced.bgr(14, 2), [255, 0, 0]) && close(reduced.bgr(3, 20), [0, 0, 255]));
    assert_eq!(images::read_reduced(&path, 48).unwrap(), images::read(&path).unwrap());
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_no_picture() {
    let scratch = Scratch::new();
    std::os::unix::fs::symlink("/dev/zero", scratch.path("zero.png")).unwrap();
    let line = images::read(&scratch.path("zero.png")).unwrap_err().line();
    assert!(line.contains("it is no file"), "{line}");
}

#[test]
fn pictures_are_not_written_over_others_or_half() {
    let scratch = Scratch::new();
    let path = scratch.path("a.png");
    images::write(&path, &painted(), false).unwrap();
    assert!(images::write(&path, &painted(), false).unwrap_err().line().contains("exists already"));
    images::write(&path, &Image::filled(2, 2, [0; 3]), true).unwrap();
    assert_eq!(images::read(&path).unwrap().width(), 2);
    assert!(images::write(&scratch.path("a.gif"), &painted(), false).unwrap_err().is_usage());
    assert!(images::write(&scratch.path("no/a.png"), &painted(), false).is_err());
    // Nothing can be encoded here, and nothing may be left behind.
    assert!(images::write(&scratch.path("b.png"), &Image::filled(0, 0, [0; 3]), false).is_err());
    assert_eq!(scratch.names(), ["a.png"]);
}
