//! Memory-mapped files: of `f32`, and of Arrow columns.

#![expect(
    unsafe_code,
    reason = "mapping files and viewing their bytes as floats and as Arrow buffers"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow::buffer::Buffer;
use memmap2::{Advice, Mmap, UncheckedAdvice};

use super::error::EngineError;

/// Bytes before the first number: keeps the numbers on a cache-line boundary.
pub(super) const HEADER_BYTES: usize = 64;

/// The numbers of a file of little-endian `f32` after a header of [`HEADER_BYTES`].
#[derive(Debug)]
pub(super) struct MappedFloats {
    map: Mmap,
    file: File,
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
        let numbers = count.checked_mul(size_of::<f32>());
        let expected =
            numbers.and_then(|bytes| bytes.checked_add(HEADER_BYTES)).unwrap_or(usize::MAX);
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
        Ok(Self { map, file, count })
    }

    /// Bytes of the numbers.
    pub(super) fn bytes(&self) -> u64 {
        (self.count * size_of::<f32>()) as u64
    }

    /// Reads the `count` numbers from `start` on into a buffer, past the mapping.
    ///
    /// # Errors
    /// Those of the disk, also where the numbers are beyond the end.
    pub(super) fn read(
        &self,
        start: usize,
        count: usize,
        buffer: &mut Vec<f32>,
    ) -> std::io::Result<()> {
        buffer.resize(count, 0.0);
        let place = (HEADER_BYTES + start * size_of::<f32>()) as u64;
        self.file.read_exact_at(bytemuck::cast_slice_mut(buffer), place)
    }

    /// The numbers.
    #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins at the boundary of a page")]
    pub(super) fn as_slice(&self) -> &[f32] {
        let bytes = &self.map[HEADER_BYTES..];
        // SAFETY: a mapping begins at a page boundary and the header is 64 bytes, so the pointer is aligned for
        // f32; `open` proved the length; every bit pattern is an f32; the borrow keeps the mapping alive.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<f32>(), self.count) }
    }
}

/// Numbers that any bytes make.
pub(super) trait Plain: Copy + sealed::Plain {}

mod sealed {
    /// # Safety
    /// Every bit pattern is a value, and there is no padding.
    pub(in crate::engine) unsafe trait Plain {}
}

// SAFETY: integers have neither padding nor bit patterns that are no value.
unsafe impl sealed::Plain for u8 {}
// SAFETY: as above.
unsafe impl sealed::Plain for u16 {}
// SAFETY: as above.
unsafe impl sealed::Plain for u32 {}
// SAFETY: as above.
unsafe impl sealed::Plain for u64 {}
impl<T: Copy + sealed::Plain> Plain for T {}

/// A file of sections of little-endian integers.
#[derive(Debug)]
pub(super) struct MappedSections {
    map: Mmap,
}

impl MappedSections {
    /// Maps the file; nothing is read yet.
    pub(super) fn open(path: &Path) -> Result<Self, std::io::Error> {
        Self::of(&File::open(path)?)
    }

    fn of(file: &File) -> Result<Self, std::io::Error> {
        // SAFETY: as in `MappedFloats::open`.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self { map })
    }

    /// Maps the file, and reads its first bytes past the mapping: where the system maps large pages at once, a look at them in
    /// it makes megabytes resident of a file that perhaps nobody asks for. Bytes beyond the end are zeros.
    pub(super) fn open_with_header<const BYTES: usize>(
        path: &Path,
    ) -> Result<(Self, [u8; BYTES]), std::io::Error> {
        let file = File::open(path)?;
        let sections = Self::of(&file)?;
        let mut header = [0; BYTES];
        let there = BYTES.min(sections.len());
        file.read_exact_at(&mut header[..there], 0)?;
        Ok((sections, header))
    }

    /// Bytes of the file.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// The numbers from a byte offset on; `None` beyond the end, or where the offset is not a multiple of their size.
    pub(super) fn numbers<T: Plain>(&self, offset: usize, count: usize) -> Option<&[T]> {
        let len = count.checked_mul(size_of::<T>())?;
        let bytes = self.map.get(offset..offset.checked_add(len)?)?;
        let start = bytes.as_ptr().cast::<T>();
        // SAFETY: the bytes are there and `start` is aligned, which is seen first; every bit pattern is a `T`; the
        // borrow keeps the mapping alive.
        start.is_aligned().then(|| unsafe { std::slice::from_raw_parts(start, count) })
    }
}

/// A file of Arrow columns.
#[derive(Debug)]
pub(super) struct MappedColumns(Arc<Mmap>);

impl MappedColumns {
    /// Maps the file; nothing is read yet.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open(path: &Path) -> Result<Self, EngineError> {
        let failed = |source| EngineError::SegmentFile {
            action: "map",
            path: path.display().to_string(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        // SAFETY: as in `MappedFloats::open`: the file is never changed in place.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        // A hit wants the id of a row here and there. Large pages would have the columns beside it count as resident, too; that they
        // are written in small pieces helps where the system maps large ones all the same.
        if let Err(error) = map.advise(Advice::NoHugePage) {
            tracing::debug!(path = %path.display(), %error, "columns may take more memory than they need");
        }
        Ok(Self(Arc::new(map)))
    }

    /// Its bytes, mapped as long as any column is made of them; `None` for an empty file.
    pub(super) fn buffer(&self) -> Option<Buffer> {
        let map = Arc::clone(&self.0);
        let start = NonNull::new(map.as_ptr().cast_mut()).filter(|_| !map.is_empty())?;
        let len = map.len();
        // SAFETY: `start` and `len` are those of the mapping, which the buffer owns and keeps alive; a `Buffer` is only ever
        // read.
        Some(unsafe { Buffer::from_custom_allocation(start, len, map) })
    }

    /// Lets go of the pages that were read so far: they are no memory of this process until they are read again.
    pub(super) fn let_go(&self) {
        // SAFETY: the mapping is of a file and is never written through, so that a page that is read again has what it had.
        if let Err(error) = unsafe { self.0.unchecked_advise(UncheckedAdvice::DontNeed) } {
            tracing::debug!(%error, "columns keep the memory of their opening");
        }
    }
}
