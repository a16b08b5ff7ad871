//! The least Matroska that carries raw frames with a time stamp each to a program that reads it from a pipe:
//! one track, one cluster a frame, lengths left open where they are not known yet (RFC 8794, RFC 9559).

use std::io::{self, Write};
use std::time::Duration;

/// An EBML element's length when it is not known yet.
const OPEN: [u8; 8] = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/// The most bytes of a frame: FFmpeg reads no larger element than 256 MiB.
pub const LARGEST_FRAME: usize = (256 << 20) - 4;

/// Nanoseconds to a tick: time stamps are whole microseconds.
const TICK_NS: u64 = 1_000;

/// Writes what comes before the first frame. `frame_time` is the usual time between frames.
pub fn write_header(
    to: &mut impl Write,
    width: usize,
    height: usize,
    frame_time: Duration,
) -> io::Result<()> {
    let head = [
        number(&[0x42, 0x86], 1),            // EBMLVersion
        number(&[0x42, 0xf7], 1),            // EBMLReadVersion
        number(&[0x42, 0xf2], 4),            // EBMLMaxIDLength
        number(&[0x42, 0xf3], 8),            // EBMLMaxSizeLength
        element(&[0x42, 0x82], b"matroska"), // DocType
        number(&[0x42, 0x87], 4),            // DocTypeVersion
        number(&[0x42, 0x85], 2),            // DocTypeReadVersion
    ];
    let video = [
        number(&[0xb0], width as u64),                         // PixelWidth
        number(&[0xba], height as u64),                        // PixelHeight
        element(&[0x2e, 0xb5, 0x24], &[b'B', b'G', b'R', 24]), // UncompressedFourCC
    ];
    let track = [
        number(&[0xd7], 1),                                        // TrackNumber
        number(&[0x73, 0xc5], 1),                                  // TrackUID
        number(&[0x83], 1),                                        // TrackType: video
        number(&[0x9c], 0),                                        // FlagLacing
        number(&[0x23, 0xe3, 0x83], frame_time.as_nanos() as u64), // DefaultDuration
        element(&[0x86], b"V_UNCOMPRESSED"),                       // CodecID
        element(&[0xe0], &video.concat()),                         // Video
    ];
    to.write_all(&element(&[0x1a, 0x45, 0xdf, 0xa3], &head.concat()))?; // EBML
    to.write_all(&[0x18, 0x53, 0x80, 0x67])?; // Segment
    to.write_all(&OPEN)?;
    to.write_all(&element(&[0x15, 0x49, 0xa9, 0x66], &number(&[0x2a, 0xd7, 0xb1], TICK_NS)))?; // Info, TimestampScale
    let tracks = element(&[0xae], &track.concat()); // TrackEntry
    to.write_all(&element(&[0x16, 0x54, 0xae, 0x6b], &tracks)) // Tracks
}

/// Writes one frame of B, G, R bytes.
pub fn write_frame(to: &mut impl Write, bgr: &[u8], time: Duration) -> io::Result<()> {
    let ticks = time.as_nanos() as u64 / TICK_NS;
    // Track 1, no ticks after the cluster's own time stamp, key frame.
    let block_head = [0x81, 0, 0, 0x80];
    let mut head = number(&[0xe7], ticks); // Timestamp
    head.push(0xa3); // SimpleBlock
    head.extend(length(block_head.len() + bgr.len()));
    head.extend(block_head);
    to.write_all(&[0x1f, 0x43, 0xb6, 0x75])?; // Cluster
    to.write_all(&length(head.len() + bgr.len()))?;
    to.write_all(&head)?;
    to.write_all(bgr)
}

fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    [id, &length(content.len()), content].concat()
}

fn number(id: &[u8], value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// A length always takes eight bytes, the first of them a marker.
fn length(bytes: usize) -> [u8; 8] {
    let mut length = (bytes as u64).to_be_bytes();
    length[0] = 0x01;
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_cluster_with_its_length_and_time() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &[1, 2, 3], Duration::from_micros(0x0102)).unwrap();
        let expected = [
            &[0x1f, 0x43, 0xb6, 0x75, 1, 0, 0, 0, 0, 0, 0, 33][..],
            &[0xe7, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2],
            &[0xa3, 1, 0, 0, 0, 0, 0, 0, 7, 0x81, 0, 0, 0x80, 1, 2, 3],
        ]
        .concat();
        assert_eq!(bytes, expected);
    }
}
