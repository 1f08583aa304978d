//! Finding and reading a segment.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;

use super::directions::open_directions;
use super::manifest::{self, Manifest, SpaceManifest};
use super::rows::{Rows, read_rows};
use super::{space_path, verify};
use crate::engine::attributes;
use crate::engine::error::EngineError;
use crate::engine::mapped::MappedFloats;
use crate::engine::part::{Part, PartKind};
use crate::engine::residency::Residency;
use crate::engine::vectors::{FiledFloats, Floats, PartVectors};
use crate::schema::{CollectionSchema, EmbeddingSpace, SpaceId};

/// The newest complete segment folder of a collection, with its manifest; unreadable ones are passed over.
pub(in crate::engine) fn newest(collection_folder: &Path) -> Option<(PathBuf, Manifest)> {
    let entries = fs::read_dir(collection_folder).ok()?;
    let mut found: Vec<(PathBuf, Manifest)> = entries
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .filter(|entry| !is_remainder(&entry.path()))
        .filter_map(|entry| match manifest::read(&entry.path()) {
            Ok(manifest) => Some((entry.path(), manifest)),
            Err(error) => {
                tracing::warn!(path = %entry.path().display(), %error, "segment passed over");
                None
            }
        })
        .collect();
    found.sort_by_key(|(_, manifest)| manifest.version);
    found.pop()
}

/// Whether a folder is what a removal left that was cut short, or a segment that was withdrawn: segments come into their place with
/// their manifest. It is removed.
fn is_remainder(folder: &Path) -> bool {
    let is_remainder = folder.is_dir() && manifest::is_missing(folder);
    if is_remainder && let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(path = %folder.display(), %error, "what is left of a segment is not removed");
    }
    is_remainder
}

/// Removes every folder of a collection but one: unfinished builds and superseded segments.
///
/// Queries that still hold a superseded segment keep its mapped files until they end.
pub(in crate::engine) fn remove_others(collection_folder: &Path, keep: Option<&Path>) {
    let Ok(entries) = fs::read_dir(collection_folder) else { return };
    for entry in entries.flatten().filter(|entry| Some(entry.path().as_path()) != keep) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "old segment not removed");
        }
    }
}

/// Maps the columns, directions and vectors of a segment; reads its cells.
pub(in crate::engine) fn open(
    folder: &Path,
    manifest: &Manifest,
    schema: &CollectionSchema,
    arrow_schema: &SchemaRef,
    residency: &Residency,
) -> Result<Part, EngineError> {
    let path = folder.display().to_string();
    verify::check_small(folder, manifest)?;
    let Rows { batches, ordinals, file } = read_rows(folder, arrow_schema)?;
    let mut spaces = Vec::new();
    for stored in &manifest.spaces {
        // A space can have been dropped from the schema since; its files are then of no use.
        let Some(space) = schema.space_by_id(SpaceId(stored.space)) else { continue };
        if space.dimension != stored.dimension {
            let what = format!("space `{}` has dimension {}", space.name, stored.dimension);
            return Err(EngineError::DamagedSegment { path, what });
        }
        spaces.push(open_space(folder, stored, space, residency)?);
    }
    let part = Part::new(PartKind::Segment, batches, &ordinals, spaces, &path)?;
    // Every cell was read, and is kept elsewhere.
    file.let_go();
    let directions = open_directions(folder, part.row_count())?;
    let part = part.with_directions(directions, &path)?;
    if part.row_count() as u64 != manifest.rows {
        let what = format!("{} rows instead of {}", part.row_count(), manifest.rows);
        return Err(EngineError::DamagedSegment { path, what });
    }
    let attributes = attributes::open(folder, arrow_schema, part.row_count());
    Ok(part.with_attributes(attributes))
}

fn open_space(
    folder: &Path,
    stored: &SpaceManifest,
    space: &EmbeddingSpace,
    residency: &Residency,
) -> Result<PartVectors, EngineError> {
    let count = usize::try_from(stored.vectors).unwrap_or(usize::MAX);
    let vectors_path = space_path(folder, space.id, "vectors");
    let numbers =
        count.checked_mul(space.dimension).ok_or_else(|| EngineError::DamagedSegment {
            path: vectors_path.display().to_string(),
            what: "impossible number of vectors".to_owned(),
        })?;
    let floats = FiledFloats::new(MappedFloats::open(&vectors_path, numbers)?, residency.clone());
    let floats = Floats::Filed(floats);
    let rows = if stored.complete { None } else { Some(read_row_numbers(folder, space.id)?) };
    let index_path = stored.index.as_ref().map(|_| space_path(folder, space.id, "ivf"));
    Ok(PartVectors::new(space, floats, rows, index_path))
}

fn read_row_numbers(folder: &Path, space: SpaceId) -> Result<Vec<u32>, EngineError> {
    let path = space_path(folder, space, "rows");
    let failed = |source| EngineError::SegmentFile {
        action: "read",
        path: path.display().to_string(),
        source,
    };
    let bytes = fs::read(&path).map_err(failed)?;
    let (words, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        let what = "row numbers end in the middle of one".to_owned();
        return Err(EngineError::DamagedSegment { path: path.display().to_string(), what });
    }
    Ok(words.iter().map(|&word| u32::from_le_bytes(word)).collect())
}
