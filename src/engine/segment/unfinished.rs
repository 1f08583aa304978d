//! Builds under way: where they are written, and what is left of them after a crash.
//!
//! A build writes into a folder with a leading dot. Once its rows, columns and vectors are complete and synced it says so in
//! `rows.toml`; from there on a crash loses no more than the index that was being made.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifest::{FORMAT, Manifest};
use crate::engine::error::EngineError;
use crate::schema::CollectionSchema;

const PREFIX: &str = ".building-";
const NOTE: &str = "rows.toml";

/// What is complete.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// Of the schema that the rows were written by: they fit no other.
    schema: String,
    rows: Manifest,
}

/// The folder that a build of a version is written into.
pub(super) fn folder(collection_folder: &Path, version: u64) -> PathBuf {
    collection_folder.join(format!("{PREFIX}{version}"))
}

/// Whether a crash left a build that can be gone on with.
pub(in crate::engine) fn exists(collection_folder: &Path) -> bool {
    folders(collection_folder).any(|folder| folder.join(NOTE).exists())
}

/// The latest build that a crash left with its rows complete, of the same schema and not newer than `version`. Others are
/// removed.
pub(super) fn find(
    collection_folder: &Path,
    schema: &CollectionSchema,
    version: u64,
) -> Option<(PathBuf, Manifest)> {
    let mut found: Vec<(PathBuf, Manifest)> = Vec::new();
    for folder in folders(collection_folder) {
        match read(&folder).filter(|note| {
            note.schema == digest(schema)
                && note.rows.format == FORMAT
                && note.rows.version <= version
        }) {
            Some(note) => found.push((folder, note.rows)),
            None => remove(&folder),
        }
    }
    found.sort_by_key(|(_, manifest)| manifest.version);
    let latest = found.pop();
    found.iter().for_each(|(folder, _)| remove(folder));
    latest
}

/// Says that the rows of a build are complete.
pub(super) fn note_rows(
    folder: &Path,
    schema: &CollectionSchema,
    manifest: &Manifest,
) -> Result<(), EngineError> {
    let path = folder.join(NOTE);
    let failed = |source| EngineError::SegmentFile {
        action: "write",
        path: path.display().to_string(),
        source,
    };
    let note = Note { schema: digest(schema), rows: manifest.clone() };
    let text = toml::to_string(&note).map_err(|error| failed(std::io::Error::other(error)))?;
    let mut file = File::create(&path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Takes the note away: the segment's own manifest follows.
pub(super) fn forget_rows(folder: &Path) -> Result<(), EngineError> {
    let path = folder.join(NOTE);
    fs::remove_file(&path).map_err(|source| EngineError::SegmentFile {
        action: "remove",
        path: path.display().to_string(),
        source,
    })
}

fn folders(collection_folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(collection_folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path())
}

fn read(folder: &Path) -> Option<Note> {
    toml::from_str(&fs::read_to_string(folder.join(NOTE)).ok()?).ok()
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(path = %folder.display(), %error, "unfinished segment not removed");
    }
}

fn digest(schema: &CollectionSchema) -> String {
    blake3::hash(format!("{schema:?}").as_bytes()).to_hex().to_string()
}
