//! Everything that a run needs to go on, in one file: named tensors and a description, as safetensors.
//!
//! The file is written under another name, brought to the disk and renamed, so that a kill at any moment leaves
//! the last whole one.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Error, Result};
use crate::part::Part;

/// The key of the description among the file's metadata.
const STATE: &str = "lanet-live-run";

/// Named tensors and a description.
#[derive(Debug, Clone)]
pub struct Checkpoint<S> {
    /// The tensors, in the order of their names.
    pub tensors: BTreeMap<String, Tensor>,
    /// Everything else.
    pub state: S,
}

impl<S: Serialize + DeserializeOwned> Checkpoint<S> {
    /// Writes the file, replacing an older one.
    ///
    /// # Errors
    /// A file that cannot be written; the older one stays.
    pub fn save(&self, path: &Path) -> Result<()> {
        let failed = || format!("the checkpoint {} cannot be written", path.display());
        let advice = |e: Error| {
            e.advice("check that the disk is not full; if there was a checkpoint before it, that is whole")
        };
        let state = serde_json::to_string(&self.state).with_context(failed)?;
        let tensors = self
            .tensors
            .iter()
            .map(|(name, tensor)| Ok((name, tensor.detach().to_device(&Device::Cpu)?.contiguous()?)))
            .collect::<Result<Vec<_>>>()?;
        let metadata = HashMap::from([(STATE.to_owned(), state)]);
        // Their function that writes a file would leave another one behind when it is killed.
        let bytes = safetensors::serialize(tensors, Some(metadata)).with_context(failed)?;
        let part = Part::create(path, true)?;
        let write = || {
            let mut file = File::create(part.path())?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        write().with_context(failed).map_err(advice)?;
        part.finish()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read or is no checkpoint.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        let failed = || format!("the checkpoint {} cannot be read", path.display());
        let bytes = std::fs::read(path).with_context(failed)?;
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).with_context(failed)?;
        let state = metadata.metadata().as_ref().and_then(|m| m.get(STATE)).ok_or_else(|| {
            Error::new(failed())
                .because(Error::new("it holds weights, but not the state of a run"))
                .advice("resume from a file that train has written")
        })?;
        let state = serde_json::from_str(state).with_context(failed)?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, device).with_context(failed)?;
        Ok(Self { tensors: tensors.into_iter().collect(), state })
    }

    /// Takes out the tensors whose names begin with `prefix`, without it.
    pub fn take(&mut self, prefix: &str) -> BTreeMap<String, Tensor> {
        let names: Vec<String> =
            self.tensors.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        let taken = names.into_iter().filter_map(|name| {
            let tensor = self.tensors.remove(&name)?;
            Some((name[prefix.len()..].to_owned(), tensor))
        });
        taken.collect()
    }

    /// Puts tensors in, with `prefix` before their names.
    pub fn put(&mut self, prefix: &str, tensors: &BTreeMap<String, Tensor>) {
        self.tensors.extend(tensors.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_a_checkpoint_is_written_only_files_of_its_name_are_there() {
        let folder = std::env::temp_dir().join(format!("lanet-writing-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let tensor = Tensor::zeros(4 << 20, candle_core::DType::F32, &Device::Cpu).unwrap();
        let mut checkpoint = Checkpoint { tensors: BTreeMap::new(), state: 3u64 };
        checkpoint.put("a/", &BTreeMap::from([("x".to_owned(), tensor)]));
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                (0..5).for_each(|_| checkpoint.save(&folder.join("run.safetensors")).unwrap());
            });
            while !writing.is_finished() {
                for entry in std::fs::read_dir(&folder).unwrap().flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    assert!(name.contains("run"), "{name}");
                }
            }
        });
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_checkpoint_comes_back_and_a_failed_one_leaves_the_last() {
        let folder = std::env::temp_dir().join(format!("lanet-checkpoint-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("last.safetensors");
        let tensor = Tensor::new(&[1f32, -0.0, f32::MIN_POSITIVE], &Device::Cpu).unwrap();
        let mut checkpoint = Checkpoint { tensors: BTreeMap::new(), state: vec![3u64, u64::MAX] };
        checkpoint.put("a/", &BTreeMap::from([("x".to_owned(), tensor)]));
        checkpoint.save(&path).unwrap();
        let mut back = Checkpoint::<Vec<u64>>::load(&path, &Device::Cpu).unwrap();
        assert_eq!(back.state, [3, u64::MAX]);
        let x = &back.take("a/")["x"];
        assert_eq!(
            x.to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>(),
            [1f32, -0.0, f32::MIN_POSITIVE].map(f32::to_bits)
        );
        // What a killed writer leaves behind does not disturb.
        std::fs::write(folder.join(".last.part.safetensors"), b"half").unwrap();
        assert!(Checkpoint::<Vec<u64>>::load(&path, &Device::Cpu).is_ok());
        checkpoint.save(&path).unwrap();
        std::fs::write(&path, b"no tensors at all").unwrap();
        assert!(
            Checkpoint::<Vec<u64>>::load(&path, &Device::Cpu)
                .unwrap_err()
                .line()
                .contains("last.safetensors")
        );
        candle_core::safetensors::save(&HashMap::from([("w", x.clone())]), &path).unwrap();
        let line = Checkpoint::<Vec<u64>>::load(&path, &Device::Cpu).unwrap_err().line();
        assert!(line.contains("not the state of a run"), "{line}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
