//! Immutable segments on disk: the sky-sorted rows of a collection at one version.
//!
//! ```text
//! segments/<collection>/<version>/
//!   segment.toml        what is here: written last, so that a folder with it is complete
//!   rows.arrow          Arrow IPC file: ids, positions, cells, resident columns, key ordinals
//!   column-N.attribute  index of column N, mapped; absent where it is not worth it
//!   sky.directions      64-byte header, then the direction of every row, u64, little-endian; segments made
//!                       before there was this file lack it
//!   <space>.vectors     64-byte header, then prepared f32 vectors, row-major, little-endian
//!   <space>.rows        u32 little-endian row of each vector; absent when every row has one
//!   <space>.ivf         index with its own checksum; absent when the space is too small for one
//! ```
//!
//! The manifest has the BLAKE3 of every other file, and its last line that of itself. Files of up to 64 MiB are compared when a
//! segment is opened, all of them by a scrub.
//!
//! A segment is derived: it can be thrown away and made again from the store at any time. A build writes into a
//! folder with a leading dot and renames it into place when complete.

mod akin;
mod build;
mod directions;
mod manifest;
mod open;
mod rows;
mod unfinished;
mod verify;

#[cfg(test)]
mod tests;

pub(super) use build::{BuildLimits, BuildPlan, build};
pub use manifest::{Manifest, SpaceManifest};
pub(super) use manifest::{read as read_manifest, remove as withdraw};
pub(super) use open::{newest, open, remove_others};
pub(super) use unfinished::exists as is_unfinished;
pub(super) use verify::check_all;

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::engine::error::EngineError;
use crate::schema::SpaceId;

/// Told the stage, the units done and the units in all.
pub type Progress<'a> = dyn FnMut(&str, u64, u64) + 'a;

fn rows_path(folder: &Path) -> PathBuf {
    folder.join("rows.arrow")
}

fn directions_path(folder: &Path) -> PathBuf {
    folder.join("sky.directions")
}

fn space_path(folder: &Path, space: SpaceId, extension: &str) -> PathBuf {
    folder.join(format!("space-{}.{extension}", space.0))
}

/// Has what came into a folder, or went from it, reach the disk.
fn sync_folder(folder: &Path) -> Result<(), EngineError> {
    let synced = File::open(folder).and_then(|file| file.sync_all());
    synced.map_err(|source| EngineError::SegmentFile {
        action: "sync",
        path: folder.display().to_string(),
        source,
    })
}
