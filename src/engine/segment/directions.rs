//! `sky.directions`: the direction of every row, so that a region is tested without reading positions.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::directions_path;
use crate::engine::error::EngineError;
use crate::engine::mapped::{HEADER_BYTES, MappedSections};
use crate::engine::sky_rows::{Directions, direction_of};
use crate::pieces::Pieces;
use crate::sky::Position;

const MAGIC: &[u8; 8] = b"SIDSKY02";

/// Of files of three `f32` for each row: their directions are made anew.
const MAGIC_OF_FLOATS: &[u8; 8] = b"SIDSKY01";

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
        header[..8].copy_from_slice(MAGIC);
        file.write_all(&header).map_err(|source| failed("write", &path, source))?;
        Ok(Self { path, file })
    }

    /// Adds the next row.
    pub(super) fn append(&mut self, position: Position) -> Result<(), EngineError> {
        let direction = direction_of(Some(position)).to_le_bytes();
        self.file.write_all(&direction).map_err(|source| failed("write", &self.path, source))
    }

    /// Closes the file.
    pub(super) fn finish(self) -> Result<(), EngineError> {
        let path = self.path;
        self.file.finish().map_err(|source| failed("write", &path, source))
    }
}

/// Maps the directions of a segment; without a file, or with one of an earlier form, they will be made of the positions.
pub(super) fn open_directions(folder: &Path, row_count: usize) -> Result<Directions, EngineError> {
    let path = directions_path(folder);
    if !path.exists() {
        return Ok(Directions::unmade());
    }
    let opened = MappedSections::open_with_header::<HEADER_BYTES>(&path);
    let (file, header) = opened.map_err(|source| failed("map", &path, source))?;
    if header.starts_with(MAGIC_OF_FLOATS) {
        tracing::warn!(
            path = %path.display(),
            "directions of an earlier form: they are made anew, in memory, when a cone is first asked for, until the index is built again"
        );
        return Ok(Directions::unmade());
    }
    let expected = row_count.checked_mul(size_of::<u64>());
    let expected = expected.and_then(|bytes| bytes.checked_add(HEADER_BYTES));
    if !header.starts_with(MAGIC) || Some(file.len()) != expected {
        return Err(EngineError::DamagedSegment {
            path: path.display().to_string(),
            what: format!("{} bytes that are not the directions of {row_count} rows", file.len()),
        });
    }
    Ok(Directions::Mapped(file, row_count))
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> EngineError {
    EngineError::SegmentFile { action, path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_of_an_earlier_form_are_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |magic: &[u8; 8], len: usize| {
            let mut bytes = magic.to_vec();
            bytes.resize(len, 0);
            std::fs::write(directions_path(folder.path()), bytes).expect("written");
            open_directions(folder.path(), 5)
        };
        let made = |opened| matches!(opened, Ok(Directions::Memory(_)));
        assert!(made(open_directions(folder.path(), 5)) && made(put(MAGIC_OF_FLOATS, 64 + 60)));
        assert!(matches!(put(MAGIC, 64 + 40), Ok(Directions::Mapped(_, 5))));
        for (magic, len) in [(MAGIC, 64 + 39), (MAGIC, 64 + 48), (b"SIDSKY03", 64 + 40), (MAGIC, 9)]
        {
            assert!(put(magic, len).is_err(), "{len}");
        }
    }
}
