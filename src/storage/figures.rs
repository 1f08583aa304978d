//! What the record of truth costs at the moment, in plain numbers for whoever watches the server.

use super::store::Store;

/// Sizes and work of the engine below the store. All are 0 for a store in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreFigures {
    /// Bytes of rows in memory that are not in files yet; the log has them as well.
    pub memtable_bytes: u64,
    /// Bytes of blocks in the cache, and the most that it may hold.
    pub cache_bytes: u64,
    /// The most that the cache may hold.
    pub cache_bytes_max: u64,
    /// Bytes that compaction has to rewrite until the files are in order.
    pub pending_compaction_bytes: u64,
    /// Compactions under way.
    pub compactions: u64,
    /// Flushes under way.
    pub flushes: u64,
    /// Bytes of the files of rows.
    pub file_bytes: u64,
    /// Bytes of the write-ahead logs.
    pub wal_bytes: u64,
    /// Whether writes wait for compaction or for room on the disk.
    pub writes_stopped: bool,
    /// Errors of work in the background since the start.
    pub background_errors: u64,
}

impl Store {
    /// Reads the figures.
    ///
    /// # Complexity
    /// Some numbers for each table and one listing of a folder; nothing of it grows with the rows.
    pub fn figures(&self) -> StoreFigures {
        self.engine.figures()
    }

    /// Whether writes fail at the moment. It is found out anew, at most once a second, as long as they do.
    ///
    /// # Complexity
    /// Nothing while writes work; else one small write.
    pub fn writes_fail(&self) -> bool {
        self.engine.writes_fail()
    }
}
