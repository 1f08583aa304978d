//! Arrays of an index: owned while it is built, mapped from its file afterwards.
#![expect(unsafe_code, reason = "mapping a file")]

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;

/// Sections of a file begin at multiples of this, so that their numbers are aligned.
pub(super) const SECTION_ALIGN: usize = 64;

/// Numbers in memory, or in a mapped file.
#[derive(Debug, Clone)]
pub(super) enum Section<T> {
    /// In memory.
    Owned(Vec<T>),
    /// In a file; the bytes were found to be whole, aligned numbers.
    Mapped {
        /// The file.
        map: Arc<Mmap>,
        /// Its bytes that these are.
        bytes: Range<usize>,
        /// Says what they are.
        kind: PhantomData<T>,
    },
}

impl<T: Pod> Section<T> {
    /// Takes the numbers at some bytes of a file; `None` when they are not there, not aligned, or not whole.
    pub(super) fn mapped(map: &Arc<Mmap>, bytes: Range<usize>) -> Option<Self> {
        let section = map.get(bytes.clone())?;
        bytemuck::try_cast_slice::<u8, T>(section).ok()?;
        Some(Self::Mapped { map: Arc::clone(map), bytes, kind: PhantomData })
    }

    /// The numbers.
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            Self::Mapped { map, bytes, .. } => {
                let bytes = map.get(bytes.clone()).unwrap_or_default();
                bytemuck::try_cast_slice(bytes).unwrap_or_default()
            }
        }
    }

    /// The numbers as bytes, for a file and for its checksum. Little-endian, as the only processors that are supported.
    pub(super) fn as_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self.as_slice())
    }
}

/// Maps a whole file for reading; nothing is read yet.
pub(super) fn map(path: &Path) -> io::Result<Arc<Mmap>> {
    let file = File::open(path)?;
    // SAFETY: index files are written once under a temporary name, renamed into place, never changed in place afterwards,
    // and only ever unlinked; the data directory is locked by this process.
    let map = unsafe { Mmap::map(&file) }?;
    Ok(Arc::new(map))
}
