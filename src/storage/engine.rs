//! The seam below the store: an ordered, transactional key-value engine with named tables.
//!
//! Two engines implement it, RocksDB and a map in memory; both pass `conformance.rs`.

use std::path::Path;
use std::time::Duration;

use super::error::StorageError;
use super::figures::StoreFigures;
use super::key::{Key, KeyRange};
use super::record::StagedFile;
use super::table::Table;

/// Number of a staging folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StageId(pub(crate) u64);

/// How long a commit waits for an engine that is behind with its own work, for example for want of disk space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Of a writer whose rows are not visible yet.
    Long,
    /// Of a writer for whom the readers of a collection wait.
    Short,
    /// Of a reader that finishes what a writer left.
    None,
}

impl Patience {
    /// The longest wait.
    pub(crate) fn wait_max(self) -> Duration {
        match self {
            Self::Long => Duration::from_secs(30),
            Self::Short => Duration::from_secs(2),
            Self::None => Duration::ZERO,
        }
    }
}

/// An ordered key-value engine.
///
/// Contract: a [`Batch`] is applied whole or not at all, and is durable when `commit` returns; a view sees exactly the
/// batches and ingested files that were finished before it was made. Tables that do not exist are an error.
pub(crate) trait KvEngine: Send + Sync {
    /// Makes a consistent view of all tables.
    fn view(&self) -> Box<dyn KvView + '_>;

    /// Applies a batch, atomically and durably. An engine that cannot take writes for the moment is waited for as long
    /// as `patience` says; then the batch is not applied and the error is [`StorageError::Busy`].
    fn commit(&self, batch: &Batch, patience: Patience) -> Result<(), StorageError>;

    /// Writes sorted rows into files of a new staging folder, durably; no table is changed yet. Sources of one table
    /// stand beside each other, and the files have their order.
    fn stage(
        &self,
        stage: StageId,
        sources: &[&dyn SortedSource],
    ) -> Result<Vec<StagedFile>, StorageError>;

    /// Writes rows of other tables into files of a staging folder that is there.
    fn stage_more(
        &self,
        stage: StageId,
        sources: &[&dyn SortedSource],
    ) -> Result<Vec<StagedFile>, StorageError>;

    /// Takes the staged files into their tables, table by table, durably. Files that are no longer in the folder have
    /// been taken in before; taking one in twice changes nothing.
    fn ingest(&self, stage: StageId, files: &[StagedFile]) -> Result<(), StorageError>;

    /// The staging folders that exist.
    fn staged(&self) -> Result<Vec<StageId>, StorageError>;

    /// Removes a staging folder and what is left in it.
    fn discard(&self, stage: StageId) -> Result<(), StorageError>;

    /// Writes what is there, consistently, as a database below a folder that has none; files that are never changed are
    /// linked and not copied.
    fn checkpoint(&self, folder: &Path) -> Result<(), StorageError>;

    /// Makes a table unless it is there.
    fn create_table(&self, name: &str) -> Result<(), StorageError>;

    /// Removes a table and its contents if it is there.
    fn drop_table(&self, name: &str) -> Result<(), StorageError>;

    /// Whether writes fail, for example since the disk was full, and nothing has been written since. An engine that has
    /// failed is tried, at most once a second.
    fn writes_fail(&self) -> bool {
        false
    }

    /// What the engine says of its sizes and its work; zeroes where it has none.
    fn figures(&self) -> StoreFigures {
        StoreFigures::default()
    }
}

/// A consistent view.
pub(crate) trait KvView: Send + Sync {
    /// The value of a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// The values of many keys, in their order.
    fn get_many(
        &self,
        table: Table,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StorageError>;

    /// Whether any of the keys, given in ascending order, is there.
    fn has_any(&self, table: Table, keys: &[Vec<u8>]) -> Result<bool, StorageError>;

    /// Walks a range in key order.
    fn cursor(&self, range: KeyRange) -> Result<Box<dyn KvCursor + '_>, StorageError>;
}

/// A key and its value, borrowed from a cursor.
pub(crate) type Entry<'c> = (&'c [u8], &'c [u8]);

/// A walk through a range of keys.
pub(crate) trait KvCursor: Send {
    /// The next key and value; `None` at the end, and ever after.
    fn advance(&mut self) -> Result<Option<Entry<'_>>, StorageError>;
}

impl dyn KvView + '_ {
    /// The value of a typed key.
    pub(crate) fn fetch<K: Key>(&self, key: &K) -> Result<Option<Vec<u8>>, StorageError> {
        self.get(K::TABLE, &key.encode())
    }
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    /// Sets the value of a key.
    Put {
        /// The table.
        table: Table,
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// Removes a key.
    Delete {
        /// The table.
        table: Table,
        /// The key.
        key: Vec<u8>,
    },
    /// Removes all keys of a range.
    DeleteRange(KeyRange),
}

/// Writes that are applied together, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    writes: Vec<Write>,
}

impl Batch {
    /// Sets the value of a key.
    pub(crate) fn put<K: Key>(&mut self, key: &K, value: Vec<u8>) {
        self.writes.push(Write::Put { table: K::TABLE, key: key.encode(), value });
    }

    /// Removes a key.
    pub(crate) fn delete<K: Key>(&mut self, key: &K) {
        self.writes.push(Write::Delete { table: K::TABLE, key: key.encode() });
    }

    /// Removes all keys of a range.
    pub(crate) fn delete_range(&mut self, range: KeyRange) {
        self.writes.push(Write::DeleteRange(range));
    }

    /// Adds a row that is encoded already.
    pub(crate) fn row(&mut self, row: Row) {
        let Row { table, key, value } = row;
        self.writes.push(match value {
            Some(value) => Write::Put { table, key, value },
            None => Write::Delete { table, key },
        });
    }

    /// The writes.
    pub(crate) fn writes(&self) -> &[Write] {
        &self.writes
    }
}

/// An encoded row: a value for a key, or its removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The table.
    pub(crate) table: Table,
    /// The key.
    pub(crate) key: Vec<u8>,
    /// The value; `None` removes the key.
    pub(crate) value: Option<Vec<u8>>,
}

impl Row {
    /// Sets the value of a key.
    pub(crate) fn put<K: Key>(key: &K, value: Vec<u8>) -> Self {
        Self { table: K::TABLE, key: key.encode(), value: Some(value) }
    }

    /// Removes a key.
    pub(crate) fn delete<K: Key>(key: &K) -> Self {
        Self { table: K::TABLE, key: key.encode(), value: None }
    }

    /// Bytes of key and value.
    pub(crate) fn size_bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// Takes a key and its value, or its removal.
pub(crate) type Sink<'s> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), StorageError> + 's;

/// Rows of one table that are made one after the other, in strictly ascending order of their keys.
pub(crate) trait SortedSource: Sync {
    /// The table.
    fn table(&self) -> Table;

    /// Hands every row to `sink`; stops at its first error.
    fn visit(&self, sink: &mut Sink<'_>) -> Result<(), StorageError>;
}

/// Rows of one table in strictly ascending order of their keys.
#[derive(Debug)]
pub(crate) struct SortedRun {
    table: Table,
    rows: Vec<Row>,
}

impl SortedRun {
    /// Sorts rows into one run a table; the order of the tables is theirs.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when two rows have one key.
    pub(crate) fn from_rows(mut rows: Vec<Row>) -> Result<Vec<Self>, StorageError> {
        rows.sort_unstable_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
        if !rows.is_sorted_by(|a, b| (a.table, &a.key) < (b.table, &b.key)) {
            return Err(StorageError::Engine {
                doing: "sorting a bulk import",
                detail: "two rows have one key".to_owned(),
            });
        }
        let mut runs: Vec<Self> = Vec::new();
        for row in rows {
            match runs.last_mut() {
                Some(run) if run.table == row.table => run.rows.push(row),
                _ => runs.push(Self { table: row.table, rows: vec![row] }),
            }
        }
        Ok(runs)
    }

    /// The runs as sources.
    pub(crate) fn sources(runs: &[Self]) -> Vec<&dyn SortedSource> {
        runs.iter().map(|run| run as &dyn SortedSource).collect()
    }
}

impl SortedSource for SortedRun {
    fn table(&self) -> Table {
        self.table
    }

    fn visit(&self, sink: &mut Sink<'_>) -> Result<(), StorageError> {
        self.rows.iter().try_for_each(|row| sink(&row.key, row.value.as_deref()))
    }
}
