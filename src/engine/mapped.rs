//! Memory-mapped files: of `f32`, and of Arrow columns.

#![expect(
    unsafe_code,
    reason = "mapping files and viewing their bytes as floats and as Arrow buffers"
)]

use std::fs::File;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow::buffer::Buffer;
use memmap2::Mmap;

use super::error::EngineError;

/// Bytes before the first number: keeps the numbers on a cache-line boundary.
pub(super) const HEADER_BYTES: usize = 64;

/// The numbers of a file of little-endian `f32` after a header of [`HEADER_BYTES`].
#[derive(Debug)]
pub(super) struct MappedFloats {
    map: Mmap,
    count: usize,
}

impl MappedFloats {
    /// Maps the file; nothing is read yet.
    ///
    /// # Errors
    /// When the file cannot be opened, or its length is not the header and `count` numbers.
    pub(super) fn open(path: &Path, count: usize) -> Result<Self, EngineError> {
        let failed = |source| EngineError::SegmentFile {
            action: "map",
            path: path.display().to_string(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let expected = HEADER_BYTES + count * size_of::<f32>();
        let len = file.metadata().map_err(failed)?.len();
        if len != expected as u64 {
            return Err(EngineError::DamagedSegment {
                path: path.display().to_string(),
                what: format!("{len} bytes instead of {expected}"),
            });
        }
        // SAFETY: segment files are written once under a temporary name, renamed into place, never changed in
        // place afterwards, and only ever unlinked; the data directory is locked by this process.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        Ok(Self { map, count })
    }

    /// The numbers.
    pub(super) fn as_slice(&self) -> &[f32] {
        let bytes = &self.map[HEADER_BYTES..];
        // SAFETY: a mapping begins at a page boundary and the header is 64 bytes, so the pointer is aligned for
        // f32; `open` proved the length; every bit pattern is an f32; the borrow keeps the mapping alive.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<f32>(), self.count) }
    }
}

/// The bytes of a file as an Arrow buffer; nothing is read yet, and the mapping lives as long as any column made of it.
///
/// # Errors
/// When the file cannot be opened or is empty.
pub(super) fn map_buffer(path: &Path) -> Result<Buffer, EngineError> {
    let failed = |source| EngineError::SegmentFile {
        action: "map",
        path: path.display().to_string(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    // SAFETY: as in `MappedFloats::open`: the file is never changed in place.
    let map = Arc::new(unsafe { Mmap::map(&file) }.map_err(failed)?);
    let start = NonNull::new(map.as_ptr().cast_mut()).filter(|_| !map.is_empty());
    let Some(start) = start else {
        return Err(EngineError::DamagedSegment {
            path: path.display().to_string(),
            what: "an empty file".to_owned(),
        });
    };
    let len = map.len();
    // SAFETY: `start` and `len` are those of the mapping, which the buffer owns and keeps alive; a `Buffer` is only ever
    // read.
    Ok(unsafe { Buffer::from_custom_allocation(start, len, map) })
}
