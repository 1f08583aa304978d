//! Files that are written in pieces of one size, which decides in how large pages the system keeps them until they leave its
//! cache.
//!
//! Where a file system has large folios (ext4 since Linux 6.16, XFS since 5.18), what is written at once and at a multiple of its
//! size is kept in one page of that size, up to 2 MiB. A mapping of such a page takes one entry of the processor's tables
//! instead of 512: rows that are read here and there then do not wait for these tables, and a scan of short runs takes a tenth
//! less time. But whoever looks at one number makes all of the page resident, on Linux 6.18 even where the mapping asks for
//! small pages. Elsewhere the size makes no difference.

use std::fs::File;
use std::io::{Result, Write};

/// Bytes of a piece of a file most of which is wanted: a large page of x86-64.
const SCANNED_BYTES: usize = 2 << 20;

/// Bytes of a piece of a file of which a part is wanted. The system maps as many around what is looked at anyway.
const LOOKED_INTO_BYTES: usize = 64 << 10;

/// Gathers what is written to a new file until it is a piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    file: File,
    piece: Vec<u8>,
    /// Bytes of a piece.
    len: usize,
}

impl Pieces {
    /// Takes an empty file that will be scanned: codes, vectors, positions.
    pub(crate) fn scanned(file: File) -> Self {
        Self { file, piece: Vec::new(), len: SCANNED_BYTES }
    }

    /// Takes an empty file of columns, or of the sections of an attribute. Much of it may never be wanted: a hit wants ids and
    /// positions, a range of values the ends of its ranks and the rows between them. What is scanned is scanned in order, where small
    /// pages cost nothing that could be measured.
    pub(crate) fn looked_into(file: File) -> Self {
        Self { file, piece: Vec::new(), len: LOOKED_INTO_BYTES }
    }

    /// Writes what is left and waits until all of it has reached the disk.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn finish(self) -> Result<()> {
        self.finish_in_memory()?.sync_all()
    }

    /// Writes what is left, for a file that need not outlive the machine's memory.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn finish_in_memory(mut self) -> Result<File> {
        self.file.write_all(&self.piece)?;
        Ok(self.file)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.piece.len() == self.len {
            self.file.write_all(&self.piece)?;
            self.piece.clear();
        }
        let taken = bytes.len().min(self.len - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Nothing: a part of a piece would end where the next one should not begin.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_pieces_has_what_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let kinds: [(usize, fn(File) -> Pieces); 2] =
            [(SCANNED_BYTES, Pieces::scanned), (LOOKED_INTO_BYTES, Pieces::looked_into)];
        for (piece, begin) in kinds {
            for len in [0, 1, piece - 1, piece, piece + 1, 2 * piece + 777] {
                let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
                let mut pieces = begin(File::create(&path).expect("creates"));
                for some in bytes.chunks(100_003) {
                    pieces.write_all(some).expect("writes");
                }
                let written = std::fs::metadata(&path).expect("is there").len() as usize;
                let full = len.saturating_sub(1) / piece * piece;
                assert_eq!(written, full, "a piece is written when the next byte comes");
                pieces.finish().expect("ends");
                assert_eq!(std::fs::read(&path).expect("reads"), bytes);
            }
        }
    }
}
