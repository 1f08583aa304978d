//! Whether the files of a segment are still what they were when it was built.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::manifest::Manifest;
use crate::engine::error::EngineError;

/// Files of at most so many bytes are compared when a segment is opened; larger ones by the scrub, since opening must not
/// take as long as reading everything.
const AT_OPEN_BYTES_MAX: u64 = 64 << 20;

/// Bytes of one read. Buffers of a megabyte, taken and freed for file after file, make the allocator keep megabytes that nobody uses.
const PART_BYTES: usize = 64 << 10;

/// BLAKE3 of every file of a folder but the manifest, by name.
pub(super) fn hash_files(folder: &Path) -> Result<BTreeMap<String, String>, EngineError> {
    let failed = |source| file_error("list", folder, source);
    let mut hashes = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let hash = hash_file(&entry.path(), &mut |_| true)?;
        if let Some(hash) = hash {
            hashes.insert(entry.file_name().to_string_lossy().into_owned(), hash);
        }
    }
    Ok(hashes)
}

/// Compares the small files of a segment with its manifest. Which of them a segment can do without, and what then, is known
/// where they are opened; a damaged attribute is removed, since its column has no index then, and that is all.
pub(super) fn check_small(folder: &Path, manifest: &Manifest) -> Result<(), EngineError> {
    for (name, hash) in &manifest.files {
        let path = folder.join(name);
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.len() > AT_OPEN_BYTES_MAX {
            continue;
        }
        match compare(&path, hash, &mut |_| true) {
            Ok(_) => {}
            Err(error) if name.ends_with(".attribute") => {
                tracing::error!(%error, "the index of a column is damaged; its values are read instead");
                fs::remove_file(&path).map_err(|source| file_error("remove", &path, source))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Compares all files of a segment with its manifest. `told` hears of the bytes as they are read, and stops by saying false:
/// the answer is then false, too.
///
/// # Errors
/// [`EngineError::DamagedSegment`] with the first file that is not what it was, and those of the disk.
pub(in crate::engine) fn check_all(
    folder: &Path,
    manifest: &Manifest,
    told: &mut dyn FnMut(u64) -> bool,
) -> Result<bool, EngineError> {
    for (name, hash) in &manifest.files {
        if !compare(&folder.join(name), hash, told)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn compare(
    path: &Path,
    hash: &str,
    told: &mut dyn FnMut(u64) -> bool,
) -> Result<bool, EngineError> {
    match hash_file(path, told)? {
        Some(found) if found == hash => Ok(true),
        Some(_) => Err(EngineError::DamagedSegment {
            path: path.display().to_string(),
            what: "it does not have its checksum".to_owned(),
        }),
        None => Ok(false),
    }
}

fn hash_file(
    path: &Path,
    told: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<String>, EngineError> {
    let failed = |source| file_error("read", path, source);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut part = vec![0; PART_BYTES];
    loop {
        let read = file.read(&mut part).map_err(failed)?;
        if read == 0 {
            return Ok(Some(hasher.finalize().to_hex().to_string()));
        }
        hasher.update(&part[..read]);
        if !told(read as u64) {
            return Ok(None);
        }
    }
}

fn file_error(action: &'static str, path: &Path, source: std::io::Error) -> EngineError {
    EngineError::SegmentFile { action, path: path.display().to_string(), source }
}
