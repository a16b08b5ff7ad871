//! Faces cut out once and kept in compact files, so that they can be learnt from elsewhere: pictures stay compressed,
//! where the upright crop is in them and their landmarks lie beside. Labels do not: they stay in their table.
//!
//! A shard is the line `lanet-shard 1`, then for each face the length of a JSON header (u32, little endian), the header,
//! landmarks as pairs of i16 in units of 1/8192 of the crop's side (if it has any), and a JPEG or PNG picture.
//! A header of length 0 and the number of faces (u64) end it, so that a shard that was cut is noticed.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::landmarks::COUNT;
use super::portrait::Portrait;
use crate::error::{Context, Error, Result};
use crate::geometry::{Point, Similarity};
use crate::part::Part;

const MAGIC: &[u8] = b"lanet-shard 1\n";
const EXTENSION: &str = "faces";
const UNIT: f32 = 8192.0;
/// No header is longer; a longer one is damage.
const LONGEST_HEADER: usize = 1 << 16;
/// No picture of a face is larger; a larger one is damage.
const LARGEST_PICTURE: usize = 1 << 26;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: String,
    to_picture: Similarity,
    landmarks: usize,
    picture: usize,
}

/// Writes shards `0000.faces`, `0001.faces`, ... of at most so many bytes into a folder, face after face. They get
/// their names all at once, when the last of them is whole.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    limit: usize,
    overwrite: bool,
    shard: Option<Shard>,
    finished: Vec<Part>,
}

#[derive(Debug)]
struct Shard {
    file: BufWriter<File>,
    part: Part,
    bytes: usize,
    faces: u64,
}

impl Writer {
    /// Writes into `folder`, which is made; shards of an earlier run stay until [`Writer::finish`] replaces them.
    ///
    /// # Errors
    /// A folder that cannot be made, or that has shards which may not be replaced.
    pub fn create(folder: &Path, limit: usize, overwrite: bool) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        if !overwrite && !shards(folder)?.is_empty() {
            return Err(Error::new(format!("'{}' has shards already", folder.display()))
                .advice("choose another folder, or allow overwriting with -y"));
        }
        Ok(Self { folder: folder.to_owned(), limit, overwrite, shard: None, finished: Vec::new() })
    }

    /// Adds a face.
    ///
    /// # Errors
    /// A full disk, or whatever else stops writing.
    pub fn write(&mut self, face: &Portrait) -> Result<()> {
        let failed = || "a shard cannot be written".to_owned();
        // What lies so far from its crop is no landmark, and has no number here.
        let has_number = |p: &Point| [p.x, p.y].iter().all(|value| value.abs() * UNIT <= f32::from(i16::MAX));
        let landmarks = face.landmarks.filter(|landmarks| landmarks.iter().all(has_number));
        let header = Header {
            name: face.name.clone(),
            to_picture: face.to_picture,
            landmarks: if landmarks.is_some() { COUNT } else { 0 },
            picture: face.picture.len(),
        };
        let header = serde_json::to_vec(&header).with_context(failed)?;
        let mut record = (header.len() as u32).to_le_bytes().to_vec();
        record.extend_from_slice(&header);
        for point in landmarks.iter().flatten() {
            for value in [point.x, point.y] {
                record.extend_from_slice(&((value * UNIT).round() as i16).to_le_bytes());
            }
        }
        record.extend_from_slice(&face.picture);
        if self.shard.as_ref().is_some_and(|shard| shard.bytes + record.len() > self.limit) {
            self.end_shard()?;
        }
        if self.shard.is_none() {
            let name = format!("{:04}.{EXTENSION}", self.finished.len());
            let part = Part::create(&self.folder.join(name), self.overwrite)?;
            let mut file = BufWriter::new(File::create(part.path()).with_context(failed)?);
            file.write_all(MAGIC).with_context(failed)?;
            self.shard = Some(Shard { file, part, bytes: MAGIC.len(), faces: 0 });
        }
        if let Some(shard) = &mut self.shard {
            shard.file.write_all(&record).with_context(failed)?;
            shard.bytes += record.len();
            shard.faces += 1;
        }
        Ok(())
    }

    /// Ends the last shard and gives all of them their names; what is left of an earlier run is removed. Without this
    /// nothing is changed.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn finish(mut self) -> Result<()> {
        self.end_shard()?;
        let old = shards(&self.folder)?;
        let new: Vec<_> = self.finished.iter().map(|part| part.target().to_owned()).collect();
        self.finished.into_iter().try_for_each(Part::finish)?;
        for old in old.into_iter().filter(|old| self.overwrite && !new.contains(old)) {
            std::fs::remove_file(&old).with_context(|| format!("{} cannot be removed", old.display()))?;
        }
        Ok(())
    }

    fn end_shard(&mut self) -> Result<()> {
        let Some(mut shard) = self.shard.take() else { return Ok(()) };
        let failed = || "a shard cannot be written".to_owned();
        shard.file.write_all(&0u32.to_le_bytes()).with_context(failed)?;
        shard.file.write_all(&shard.faces.to_le_bytes()).with_context(failed)?;
        shard.file.flush().with_context(failed)?;
        self.finished.push(shard.part);
        Ok(())
    }
}

/// The shards of a folder, in order.
///
/// # Errors
/// A folder that cannot be listed.
pub fn shards(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("the folder {} cannot be listed", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == EXTENSION))
        .filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')))
        .collect();
    paths.sort();
    Ok(paths)
}

/// The faces of all shards of a folder, one after the other. Ends with the first error.
///
/// # Errors
/// A folder that cannot be listed, or without shards.
pub fn read(folder: &Path) -> Result<impl Iterator<Item = Result<Portrait>> + use<>> {
    let paths = shards(folder)?;
    if paths.is_empty() {
        return Err(Error::new(format!("the folder {} has no shards", folder.display()))
            .advice("make them with lanet-live prepare"));
    }
    let mut failed = false;
    let faces = paths.into_iter().flat_map(|path| match Reader::open(&path) {
        Ok(reader) => Box::new(reader) as Box<dyn Iterator<Item = _> + Send>,
        Err(error) => Box::new(std::iter::once(Err(error))),
    });
    Ok(faces.take_while(move |face| {
        let go_on = !failed;
        failed |= face.is_err();
        go_on
    }))
}

struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    faces: u64,
    ended: bool,
}

impl Reader {
    fn open(path: &Path) -> Result<Self> {
        let failed = || format!("the shard {} cannot be read", path.display());
        let mut file = BufReader::new(File::open(path).with_context(failed)?);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).with_context(failed)?;
        if magic != MAGIC {
            return Err(Error::new(failed()).because(Error::new("it is no shard of this version")));
        }
        Ok(Self { path: path.to_owned(), file, faces: 0, ended: false })
    }

    fn face(&mut self) -> Result<Option<Portrait>> {
        let length = u32::from_le_bytes(self.bytes()?) as usize;
        if length == 0 {
            return match u64::from_le_bytes(self.bytes()?) == self.faces {
                true => Ok(None),
                false => Err(Error::new("it holds another number of faces than it says")),
            };
        }
        let header = self.block(length, LONGEST_HEADER)?;
        let header: Header = serde_json::from_slice(&header).context("it has a damaged header")?;
        let landmarks = match header.landmarks {
            0 => None,
            COUNT => {
                let mut points = [Point::default(); COUNT];
                for point in &mut points {
                    let [x, y] =
                        [self.bytes()?, self.bytes()?].map(|b| f32::from(i16::from_le_bytes(b)) / UNIT);
                    *point = Point::new(x, y);
                }
                Some(points)
            }
            n => {
                return Err(Error::new(format!("its faces have {n} landmarks, not {COUNT}"))
                    .advice("prepare it again"));
            }
        };
        self.faces += 1;
        Ok(Some(Portrait {
            name: header.name,
            to_picture: header.to_picture,
            landmarks,
            picture: self.block(header.picture, LARGEST_PICTURE)?.into(),
        }))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(cut)?;
        Ok(bytes)
    }

    fn block(&mut self, length: usize, longest: usize) -> Result<Vec<u8>> {
        if length > longest {
            return Err(Error::new("it is damaged"));
        }
        let mut block = vec![0; length];
        self.file.read_exact(&mut block).map_err(cut)?;
        Ok(block)
    }
}

fn cut(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::new("its end is missing").advice("copy or prepare it again"),
        _ => Error::new("reading failed").because(error),
    }
}

impl Iterator for Reader {
    type Item = Result<Portrait>;

    fn next(&mut self) -> Option<Result<Portrait>> {
        if self.ended {
            return None;
        }
        let face = self.face().with_context(|| format!("the shard {} cannot be read", self.path.display()));
        self.ended = !matches!(face, Ok(Some(_)));
        face.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::super::portrait::tests::painted;
    use super::*;

    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("lanet-shards-{name}-{}", std::process::id()))
    }

    #[test]
    fn faces_come_back_as_they_were() {
        let folder = folder("whole");
        let faces: Vec<Portrait> = (0..20).map(|n| painted(n, 4, 16)).collect();
        let mut writer = Writer::create(&folder, 3000, false).unwrap();
        faces.iter().for_each(|face| writer.write(face).unwrap());
        writer.finish().unwrap();
        assert!(shards(&folder).unwrap().len() > 2);
        let back: Vec<Portrait> = read(&folder).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(back.len(), 20);
        for (a, b) in faces.iter().zip(&back) {
            assert_eq!((&a.name, a.to_picture, &a.picture), (&b.name, b.to_picture, &b.picture));
            assert_eq!(a.landmarks.is_some(), b.landmarks.is_some());
            for (p, q) in a.landmarks.iter().flatten().zip(b.landmarks.iter().flatten()) {
                assert!(p.distance(*q) < 1e-3);
            }
            assert_eq!(a.crop(20).unwrap().values.len(), 400);
        }
        // A second run replaces the first when it is whole, and not before.
        assert!(Writer::create(&folder, 3000, false).unwrap_err().line().contains("has shards already"));
        let mut writer = Writer::create(&folder, 1 << 20, true).unwrap();
        writer.write(&faces[0]).unwrap();
        drop(writer);
        assert_eq!(read(&folder).unwrap().count(), 20);
        let mut writer = Writer::create(&folder, 1 << 20, true).unwrap();
        writer.write(&faces[0]).unwrap();
        writer.finish().unwrap();
        assert_eq!(read(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn landmarks_that_have_no_number_are_none() {
        let folder = folder("far");
        let mut writer = Writer::create(&folder, 1 << 20, false).unwrap();
        for far in [3.9, 4.1, f32::NAN] {
            let mut face = painted(1, 4, 16);
            face.landmarks.as_mut().unwrap()[3].y = -far;
            writer.write(&face).unwrap();
        }
        writer.finish().unwrap();
        let back: Vec<_> = read(&folder).unwrap().map(|face| face.unwrap().landmarks.is_some()).collect();
        assert_eq!(back, [true, false, false]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_shard_that_is_cut_or_damaged_is_named() {
        let folder = folder("cut");
        let mut writer = Writer::create(&folder, 1 << 20, true).unwrap();
        (0..3).for_each(|n| writer.write(&painted(n, 4, 16)).unwrap());
        writer.finish().unwrap();
        let path = folder.join("0000.faces");
        let bytes = std::fs::read(&path).unwrap();
        for end in [5, 16, 40, bytes.len() / 2, bytes.len() - 12, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..end]).unwrap();
            let error = read(&folder).unwrap().find_map(Result::err).expect("an error").line();
            assert!(error.contains("0000.faces"), "{error}");
        }
        let mut damaged = bytes.clone();
        damaged[16] = 0xff;
        std::fs::write(&path, &damaged).unwrap();
        assert!(read(&folder).unwrap().any(|face| face.is_err()));
        std::fs::remove_file(&path).unwrap();
        assert!(read(&folder).err().unwrap().line().contains("no shards"));
        std::fs::remove_dir_all(folder).unwrap();
        assert!(
            Portrait { picture: vec![1, 2, 3].into(), ..painted(5, 2, 4) }
                .crop(8)
                .unwrap_err()
                .line()
                .contains("5.png")
        );
    }
}
