//! `sky.directions`: the unit vector of every row, so that a region is tested without reading positions.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::directions_path;
use crate::engine::error::EngineError;
use crate::engine::mapped::{HEADER_BYTES, MappedFloats};
use crate::engine::sky_rows::{Directions, direction_of};
use crate::pieces::Pieces;
use crate::sky::Position;

/// Streams the directions of rows to their file.
pub(super) struct DirectionsWriter {
    path: PathBuf,
    file: Pieces,
}

impl DirectionsWriter {
    pub(super) fn create(folder: &Path) -> Result<Self, EngineError> {
        let path = directions_path(folder);
        let file = File::create(&path).map_err(|source| failed("create", &path, source))?;
        let mut file = Pieces::scanned(file);
        let mut header = [0u8; HEADER_BYTES];
        header[..8].copy_from_slice(b"SIDSKY01");
        file.write_all(&header).map_err(|source| failed("write", &path, source))?;
        Ok(Self { path, file })
    }

    /// Adds the next row.
    pub(super) fn append(&mut self, position: Position) -> Result<(), EngineError> {
        for component in direction_of(Some(position)) {
            self.file
                .write_all(&component.to_le_bytes())
                .map_err(|source| failed("write", &self.path, source))?;
        }
        Ok(())
    }

    /// Closes the file.
    pub(super) fn finish(self) -> Result<(), EngineError> {
        let path = self.path;
        self.file.finish().map_err(|source| failed("write", &path, source))
    }
}

/// Maps the directions of a segment; without a file they will be made of the positions.
pub(super) fn open_directions(folder: &Path, row_count: usize) -> Result<Directions, EngineError> {
    let path = directions_path(folder);
    if path.exists() {
        MappedFloats::open(&path, 3 * row_count).map(Directions::Mapped)
    } else {
        Ok(Directions::unmade())
    }
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> EngineError {
    EngineError::SegmentFile { action, path: path.display().to_string(), source }
}
