//! `segment.toml`: what a segment folder holds.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::sync_folder;
use crate::engine::error::EngineError;

/// Format of segment folders that this program writes. Before 2, directions were singles and every attribute had a table.
pub(super) const FORMAT: u32 = 2;

/// The oldest that it reads.
const FORMAT_MIN: u32 = 1;

/// Name of the file.
const NAME: &str = "segment.toml";

/// What stands before the checksum in the last line.
const CHECKSUM: &str = "# blake3 ";

/// What a segment folder holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of the folder.
    pub format: u32,
    /// Number of the collection.
    pub collection: u32,
    /// The collection's version that the segment covers.
    pub version: u64,
    /// Number of rows.
    pub rows: u64,
    /// Bytes of all files but this one.
    pub size_bytes: u64,
    /// Spaces with at least one vector.
    #[serde(default)]
    pub spaces: Vec<SpaceManifest>,
    /// BLAKE3 of every file but this one, by name; segments made before there was this list lack it.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// One space of a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceManifest {
    /// Number of the space in the collection.
    pub space: u32,
    /// Components of each vector.
    pub dimension: usize,
    /// Number of vectors.
    pub vectors: u64,
    /// Whether every row has a vector.
    pub complete: bool,
    /// What the index measured of itself when it was built; absent when there is none.
    pub index: Option<IndexManifest>,
    /// Why there is no index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unindexed: Option<String>,
}

/// What an index said of itself when it was built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexManifest {
    /// Kind and code, for people.
    pub kind: String,
    /// Inverted lists.
    pub lists: u64,
    /// Lists visited by default.
    pub default_probes: u64,
    /// recall@10 on held-out queries.
    pub measured_recall: f64,
}

pub(super) fn write(folder: &Path, manifest: &Manifest) -> Result<(), EngineError> {
    let path = folder.join(NAME);
    let failed = |source| EngineError::SegmentFile {
        action: "write",
        path: path.display().to_string(),
        source,
    };
    let mut text =
        toml::to_string(manifest).map_err(|error| failed(std::io::Error::other(error)))?;
    let checksum = blake3::hash(text.as_bytes()).to_hex();
    text.push_str(CHECKSUM);
    text.push_str(checksum.as_str());
    text.push('\n');
    let mut file = File::create(&path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Whether a folder has no manifest at all.
pub(super) fn is_missing(folder: &Path) -> bool {
    matches!(folder.join(NAME).try_exists(), Ok(false))
}

/// Removes the manifest, without which a folder is no segment and is never opened again.
pub(in crate::engine) fn remove(folder: &Path) -> Result<(), EngineError> {
    let path = folder.join(NAME);
    match fs::remove_file(&path) {
        Ok(()) => sync_folder(folder),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(EngineError::SegmentFile {
            action: "remove",
            path: path.display().to_string(),
            source,
        }),
    }
}

pub(in crate::engine) fn read(folder: &Path) -> Result<Manifest, EngineError> {
    let path = folder.join(NAME);
    let failed = |source| EngineError::SegmentFile {
        action: "read",
        path: path.display().to_string(),
        source,
    };
    let text = fs::read_to_string(&path).map_err(failed)?;
    let manifest: Manifest =
        toml::from_str(&text).map_err(|error| EngineError::DamagedSegment {
            path: path.display().to_string(),
            what: error.message().to_owned(),
        })?;
    if !has_checksum(&text, &manifest) {
        return Err(EngineError::DamagedSegment {
            path: path.display().to_string(),
            what: "it does not have its checksum".to_owned(),
        });
    }
    if !(FORMAT_MIN..=FORMAT).contains(&manifest.format) {
        return Err(EngineError::DamagedSegment {
            path: path.display().to_string(),
            what: format!("format {} instead of {FORMAT_MIN} to {FORMAT}", manifest.format),
        });
    }
    Ok(manifest)
}

/// Whether the last line is the checksum of those before. Manifests that list no files may lack it: they are older.
fn has_checksum(text: &str, manifest: &Manifest) -> bool {
    match text.rfind(CHECKSUM) {
        Some(place) => {
            let (body, line) = text.split_at(place);
            let checksum = blake3::hash(body.as_bytes()).to_hex();
            line.strip_prefix(CHECKSUM) == Some(&format!("{checksum}\n"))
        }
        None => manifest.files.is_empty(),
    }
}
