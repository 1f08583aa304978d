//! The engine on RocksDB; the only place that knows that crate.
//!
//! Every batch is one `WriteBatch` with a synced write-ahead log. Bulk rows are written as SST files into
//! `staging/NUMBER/` beside the database and moved into it.

mod figures;
mod options;
mod sorted_file;
mod staging;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BoundColumnFamily, ColumnFamilyDescriptor, DB, DBRawIterator, ErrorKind,
    IngestExternalFileOptions, ReadOptions, Snapshot, WriteBatch, WriteOptions,
};

use super::engine::{
    Batch, Entry, KvCursor, KvEngine, KvView, Patience, SortedSource, StageId, Write,
};
use super::error::StorageError;
use super::figures::StoreFigures;
use super::key::KeyRange;
use super::record::StagedFile;
use super::store::StoreOptions;
use super::table::Table;
use options::Tuning;
use staging::Staging;

/// Folder of the database below the data directory.
const RECORDS: &str = "records";

/// Folder of staged files below the data directory.
const STAGING: &str = "staging";

/// How often a commit looks whether the database takes writes again.
const STALL_POLL: Duration = Duration::from_millis(20);

/// How often an engine whose writes fail is tried.
const TRIED_EVERY: Duration = Duration::from_secs(1);

/// A key of the table that nothing is kept in; removing it shows whether a write works.
const TRIED: &[u8] = b"writes";

/// Keys of one look-up that stops at the first one found.
const LOOKED_UP_AT_ONCE: usize = 4_096;

/// The column family that RocksDB always has; nothing is kept in it.
const DEFAULT_FAMILY: &str = "default";

/// The database of one data directory.
pub(crate) struct RocksEngine {
    db: DB,
    tuning: Tuning,
    /// Whether the large tables have the whole of their write buffers.
    raised: Once,
    staging: Staging,
    records: PathBuf,
    /// Whether the last write failed for a reason that outlasts it.
    failing: AtomicBool,
    /// When it was last tried whether writes work again.
    tried: Mutex<Option<Instant>>,
}

impl RocksEngine {
    /// Opens the database below a data directory, or makes an empty one.
    pub(crate) fn open(directory: &Path, options: &StoreOptions) -> Result<Self, StorageError> {
        let records = directory.join(RECORDS);
        let tuning = Tuning::new(options);
        let mut database = tuning.database();
        let families = if records.join("CURRENT").exists() {
            DB::list_cf(&database, &records).map_err(|error| failed("listing tables", error))?
        } else {
            refuse_remains(&records)?;
            // Tables that are made one by one are each waited for until they are on the disk.
            database.create_missing_column_families(true);
            let tables = Table::ALL.into_iter().map(Table::name);
            std::iter::once(DEFAULT_FAMILY).chain(tables).map(str::to_owned).collect()
        };
        let descriptors: Vec<_> = families
            .iter()
            .map(|name| ColumnFamilyDescriptor::new(name, tuning.opened(Table::from_name(name))))
            .collect();
        let db = DB::open_cf_descriptors(&database, &records, descriptors)
            .map_err(|error| open_failed(directory, error))?;
        tracing::info!(path = %records.display(), tables = families.len(), %tuning, "opened the record of truth");
        let staging = Staging::open(directory.join(STAGING))?;
        let failing = AtomicBool::new(false);
        let (raised, tried) = (Once::new(), Mutex::default());
        Ok(Self { db, tuning, raised, staging, records, failing, tried })
    }

    /// Gives the large tables the whole of their write buffers once the first row of one comes. Each table takes milliseconds, for
    /// RocksDB writes down all options anew: who only reads, and an import of sorted files, is spared them.
    fn raise_buffers_for(&self, batch: &Batch) {
        let is_large = |write: &Write| match write {
            Write::Put { table, .. } => self.tuning.raised(Some(*table)).is_some(),
            Write::Delete { .. } | Write::DeleteRange(_) => false,
        };
        if !self.raised.is_completed() && batch.writes().iter().any(is_large) {
            self.raised.call_once(|| self.raise_buffers());
        }
    }

    /// Where it fails, the tables only write smaller files.
    fn raise_buffers(&self) {
        for table in Table::ALL {
            let Some(bytes) = self.tuning.raised(Some(table)) else { continue };
            let Some(family) = self.db.cf_handle(table.name()) else { continue };
            let bytes = bytes.to_string();
            if let Err(error) = self.db.set_options_cf(&family, &[("write_buffer_size", &bytes)]) {
                tracing::warn!(table = table.name(), %error, "a table keeps a small write buffer");
            }
        }
    }

    /// Notes whether a write has worked, and says what helps where it has not.
    fn noted<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        let error = match result {
            Ok(done) => {
                if self.failing.load(Ordering::Acquire) {
                    self.failing.store(false, Ordering::Release);
                    tracing::warn!("writes work again");
                }
                return Ok(done);
            }
            Err(error) => error,
        };
        // One that only waits for compaction says itself that it should be tried again.
        if !matches!(error, StorageError::Busy { .. }) && !self.failing.swap(true, Ordering::AcqRel)
        {
            tracing::error!(%error, "writes fail; the server is not ready until one works");
        }
        Err(match error {
            StorageError::DiskFull { doing, detail } => {
                // What is in memory is written before anything else is.
                let opened = self.tuning.opened_buffer_bytes() as u64;
                let needed = figures::memtable_bytes(&self.db).max(opened).div_ceil(1 << 20);
                let detail = format!(
                    "{detail} (writes go on by themselves some seconds after {needed} MiB are free; if they do not, start \
                     the server again)"
                );
                StorageError::DiskFull { doing, detail }
            }
            other => other,
        })
    }

    /// Waits as long as patience says while the database is behind.
    fn written(&self, batch: &Batch, patience: Patience) -> Result<(), StorageError> {
        self.raise_buffers_for(batch);
        let durable = durable();
        let mut waited = Duration::ZERO;
        loop {
            match self.db.write_opt(self.writes(batch)?, &durable) {
                Err(error)
                    if error.kind() == ErrorKind::Incomplete && waited < patience.wait_max() =>
                {
                    std::thread::sleep(STALL_POLL);
                    waited += STALL_POLL;
                }
                result => return result.map_err(|error| failed("writing a batch", error)),
            }
        }
    }

    fn family(&self, table: Table) -> Result<Arc<BoundColumnFamily<'_>>, StorageError> {
        family(&self.db, table)
    }

    fn writes(&self, batch: &Batch) -> Result<WriteBatch, StorageError> {
        let mut writes = WriteBatch::default();
        for write in batch.writes() {
            match write {
                Write::Put { table, key, value } => {
                    writes.put_cf(&self.family(*table)?, key, value);
                }
                Write::Delete { table, key } => writes.delete_cf(&self.family(*table)?, key),
                Write::DeleteRange(KeyRange { table, start, end }) => {
                    writes.delete_range_cf(&self.family(*table)?, start, end);
                }
            }
        }
        Ok(writes)
    }
}

/// How everything is written: it is on the disk when the write returns.
fn durable() -> WriteOptions {
    let mut durable = WriteOptions::default();
    durable.set_sync(true);
    // RocksDB would hold the caller, without end when the disk is full: refuse instead, and wait here.
    durable.set_no_slowdown(true);
    durable
}

/// Refuses to make a new database over what is left of one that has lost its head. A start that was interrupted while
/// it made the database leaves no data.
fn refuse_remains(records: &Path) -> Result<(), StorageError> {
    let Ok(entries) = std::fs::read_dir(records) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(|error| StorageError::file("listing", records, error))?;
        let path = entry.path();
        let is_data =
            path.extension().is_some_and(|end| end == "sst" || end == "log" || end == "blob");
        if is_data && entry.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            let detail = format!("`{}` is there but CURRENT is missing", path.display());
            return Err(StorageError::corrupt("database", detail));
        }
    }
    Ok(())
}

fn family(db: &DB, table: Table) -> Result<Arc<BoundColumnFamily<'_>>, StorageError> {
    db.cf_handle(table.name()).ok_or_else(|| StorageError::Engine {
        doing: "finding a table",
        detail: format!("no table `{}`", table.name()),
    })
}

impl KvEngine for RocksEngine {
    fn view(&self) -> Box<dyn KvView + '_> {
        Box::new(RocksView { db: &self.db, snapshot: self.db.snapshot() })
    }

    fn commit(&self, batch: &Batch, patience: Patience) -> Result<(), StorageError> {
        self.noted(self.written(batch, patience))
    }

    fn writes_fail(&self) -> bool {
        if !self.failing.load(Ordering::Acquire) {
            return false;
        }
        {
            let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
            if tried.is_some_and(|tried| tried.elapsed() < TRIED_EVERY) {
                return true;
            }
            *tried = Some(Instant::now());
        }
        let mut nothing = WriteBatch::default();
        nothing.delete(TRIED);
        let result = self.db.write_opt(nothing, &durable());
        self.noted(result.map_err(|error| failed("trying whether writes work", error))).is_err()
    }

    fn stage(
        &self,
        stage: StageId,
        sources: &[&dyn SortedSource],
    ) -> Result<Vec<StagedFile>, StorageError> {
        self.staging.make(stage)?;
        self.staging.write(stage, sources, &self.tuning)
    }

    fn stage_more(
        &self,
        stage: StageId,
        sources: &[&dyn SortedSource],
    ) -> Result<Vec<StagedFile>, StorageError> {
        self.staging.write(stage, sources, &self.tuning)
    }

    fn ingest(&self, stage: StageId, files: &[StagedFile]) -> Result<(), StorageError> {
        for group in files.chunk_by(|a, b| a.table == b.table) {
            let Some(first) = group.first() else { continue };
            let paths = self.staging.present(stage, group);
            if paths.is_empty() {
                continue;
            }
            let mut options = IngestExternalFileOptions::default();
            options.set_move_files(true);
            options.set_snapshot_consistency(true);
            self.db
                .ingest_external_file_cf_opts(&self.family(first.table)?, &options, paths)
                .map_err(|error| failed("taking in a bulk import", error))?;
        }
        Ok(())
    }

    fn staged(&self) -> Result<Vec<StageId>, StorageError> {
        self.staging.list()
    }

    fn discard(&self, stage: StageId) -> Result<(), StorageError> {
        self.staging.discard(stage)
    }

    fn checkpoint(&self, folder: &Path) -> Result<(), StorageError> {
        // What is in memory only is in the log, which is copied: flushing all tables would hold every writer.
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| {
                checkpoint.create_checkpoint_with_log_size(folder.join(RECORDS), u64::MAX)
            })
            .map_err(|error| failed("writing a checkpoint", error))
    }

    fn create_table(&self, name: &str) -> Result<(), StorageError> {
        if self.db.cf_handle(name).is_some() {
            return Ok(());
        }
        self.db
            .create_cf(name, &self.tuning.family(Table::from_name(name)))
            .map_err(|error| failed("making a table", error))
    }

    fn drop_table(&self, name: &str) -> Result<(), StorageError> {
        if self.db.cf_handle(name).is_none() {
            return Ok(());
        }
        self.db.drop_cf(name).map_err(|error| failed("removing a table", error))
    }

    fn figures(&self) -> StoreFigures {
        figures::read(&self.db, &self.records)
    }
}

impl std::fmt::Debug for RocksEngine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RocksEngine")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

struct RocksView<'e> {
    db: &'e DB,
    snapshot: Snapshot<'e>,
}

impl RocksView<'_> {
    fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options.set_verify_checksums(true);
        options
    }
}

impl KvView for RocksView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.db
            .get_cf_opt(&family(self.db, table)?, key, &self.read_options())
            .map_err(|error| failed("reading a record", error))
    }

    fn get_many(
        &self,
        table: Table,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let family = family(self.db, table)?;
        self.db
            .batched_multi_get_cf_opt(&family, keys, false, &self.read_options())
            .into_iter()
            .map(|found| match found {
                Ok(value) => Ok(value.map(|bytes| bytes.to_vec())),
                Err(error) => Err(failed("reading records", error)),
            })
            .collect()
    }

    fn has_any(&self, table: Table, keys: &[Vec<u8>]) -> Result<bool, StorageError> {
        let family = family(self.db, table)?;
        let options = self.read_options();
        for chunk in keys.chunks(LOOKED_UP_AT_ONCE) {
            for found in self.db.batched_multi_get_cf_opt(&family, chunk, true, &options) {
                if found.map_err(|error| failed("reading records", error))?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn cursor(&self, range: KeyRange) -> Result<Box<dyn KvCursor + '_>, StorageError> {
        let family = family(self.db, range.table)?;
        let mut options = self.read_options();
        options.set_iterate_upper_bound(range.end);
        // A long walk must not push the blocks of point reads out of the cache.
        options.fill_cache(false);
        let iterator = self.snapshot.raw_iterator_cf_opt(&family, options);
        Ok(Box::new(RocksCursor { iterator, start: Some(range.start) }))
    }
}

struct RocksCursor<'v> {
    iterator: DBRawIterator<'v>,
    /// Where to begin; taken by the first step.
    start: Option<Vec<u8>>,
}

impl KvCursor for RocksCursor<'_> {
    fn advance(&mut self) -> Result<Option<Entry<'_>>, StorageError> {
        match self.start.take() {
            Some(start) => self.iterator.seek(start),
            None if self.iterator.valid() => self.iterator.next(),
            None => {}
        }
        if !self.iterator.valid() {
            self.iterator.status().map_err(|error| failed("walking a table", error))?;
            return Ok(None);
        }
        Ok(self.iterator.item())
    }
}

/// Why RocksDB does not take writes.
const STALLED: &str = "the database is behind with compaction; see whether the disk is nearly full";

fn failed(doing: &'static str, error: rocksdb::Error) -> StorageError {
    mapped(doing, &error.kind(), error.into_string())
}

/// Maps an error of RocksDB; its text is the only place where the system's reason is found.
fn mapped(doing: &'static str, kind: &ErrorKind, detail: String) -> StorageError {
    if ["No space left", "Disk quota exceeded", "NoSpace"].iter().any(|text| detail.contains(text))
    {
        return StorageError::DiskFull { doing, detail };
    }
    match kind {
        ErrorKind::Corruption => StorageError::Corrupt { what: "database", detail },
        ErrorKind::Incomplete => {
            StorageError::Busy { doing, detail: format!("{detail} ({STALLED})") }
        }
        ErrorKind::Busy
        | ErrorKind::TryAgain
        | ErrorKind::TimedOut
        | ErrorKind::MergeInProgress
        | ErrorKind::ShutdownInProgress => StorageError::Busy { doing, detail },
        ErrorKind::NotFound
        | ErrorKind::NotSupported
        | ErrorKind::InvalidArgument
        | ErrorKind::IOError
        | ErrorKind::Aborted
        | ErrorKind::Expired
        | ErrorKind::CompactionTooLarge
        | ErrorKind::ColumnFamilyDropped
        | ErrorKind::Unknown => StorageError::Engine { doing, detail },
    }
}

fn open_failed(directory: &Path, error: rocksdb::Error) -> StorageError {
    let text: &str = error.as_ref();
    if text.contains("lock") && text.contains("LOCK") {
        let holder = "another program that has its database open".to_owned();
        return StorageError::Locked { path: directory.to_path_buf(), holder };
    }
    failed("opening the database", error)
}
