//! How RocksDB is set up: everything that matters is said here, nothing is left to its defaults.

use std::fmt;

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options};

use crate::storage::store::StoreOptions;
use crate::storage::table::Table;

/// Sizes shared by the whole database.
pub(super) struct Tuning {
    cache: Cache,
    cache_bytes: usize,
    write_buffer_bytes: usize,
    background_jobs: i32,
}

/// Bits a key of the Bloom filters: one false positive in a thousand, since a look-up may ask dozens of files.
const BLOOM_BITS: f64 = 15.0;

/// The part of a large write buffer that tables are opened with; they are given the whole of it afterwards.
///
/// After the disk was full RocksDB goes on by itself, but not before as much is free as the largest buffer that it was
/// opened with. A disk of which less is ever free would take no write until the next start.
const OPENED_SHARE: usize = 4;

/// Files kept open. A bound keeps opening a large database independent of its number of files.
const OPEN_FILES_MAX: i32 = 2_048;

/// Files that were written or taken in and are not sorted into the others yet, from which they are compacted.
const FRESH_FILES_MAX: i32 = 24;

/// The same of tables into which a large commit of an import puts two files, and of the vectors, of which it puts two for each space. A
/// read by key opens only those whose keys lie around it and whose filters know it.
const FRESH_PAIRED_FILES_MAX: i32 = 64;
const FRESH_VECTOR_FILES_MAX: i32 = 84;

/// Bytes of the level into which fresh files are compacted; they are also compacted when they have as many, however few they are. Vectors
/// come in files of about 48 MiB, so that as many of them as may be fresh have the larger number.
const LEVEL_BYTES: u64 = 1 << 30;
const LEVEL_VECTOR_BYTES: u64 = 4 << 30;

/// Removals of whole ranges that a table keeps in memory, for the first read after each sorts all of them anew. A dropped collection is
/// one of them in each table; there is no setter of its own for the setting.
const RANGES_REMOVED_MAX: &str = "memtable_max_range_deletions=1000";

/// Tokens that are kept beside the tree, in bytes: shorter ones lie in it.
const BLOB_BYTES_MIN: u64 = 4 << 10;

/// Log of RocksDB itself.
const LOG_BYTES_MAX: usize = 4 << 20;
const LOG_FILES_MAX: usize = 4;

/// How much faster than thorough LZ4 is in files of a bulk import; RocksDB takes it as a level below 0. The other number is its default.
const LZ4_ACCELERATION: i32 = 8;
const WINDOW_BITS: i32 = -14;

impl Tuning {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self {
            cache: Cache::new_lru_cache(options.cache_bytes),
            cache_bytes: options.cache_bytes,
            write_buffer_bytes: options.write_buffer_bytes,
            background_jobs: i32::try_from(options.background_jobs).unwrap_or(i32::MAX),
        }
    }

    /// Options of the database as a whole.
    pub(super) fn database(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_paranoid_checks(true);
        // A write that was never acknowledged may be torn at the end of the log: it is dropped, all before it is kept.
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_track_and_verify_wals_in_manifest(true);
        // The log is written and synced by each commit; nothing waits in a buffer of the process.
        options.set_manual_wal_flush(false);
        options.set_max_total_wal_size(4 * self.write_buffer_bytes as u64);
        options.set_db_write_buffer_size(2 * self.write_buffer_bytes);
        options.set_max_background_jobs(self.background_jobs);
        options.set_bytes_per_sync(1 << 20);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_skip_stats_update_on_db_open(true);
        options.set_avoid_unnecessary_blocking_io(true);
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(LOG_BYTES_MAX);
        options.set_keep_log_file_num(LOG_FILES_MAX);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    /// Options with which a table is opened that is there: those of [`Tuning::family`], with a smaller write buffer.
    pub(super) fn opened(&self, table: Option<Table>) -> Options {
        let mut options = self.family(table);
        options.set_write_buffer_size(self.opened_buffer_bytes());
        options
    }

    /// The write buffer that a table is given once it is open; `None` where it has it already.
    pub(super) fn raised(&self, table: Option<Table>) -> Option<usize> {
        let wanted = self.buffer_bytes(table);
        (wanted > self.opened_buffer_bytes()).then_some(wanted)
    }

    /// Bytes that must be free for writes to go on by themselves after the disk was full.
    pub(super) fn opened_buffer_bytes(&self) -> usize {
        self.write_buffer_bytes / OPENED_SHARE
    }

    fn buffer_bytes(&self, table: Option<Table>) -> usize {
        match table {
            Some(Table::Objects | Table::Vectors | Table::Tokens) => self.write_buffer_bytes,
            _ => self.write_buffer_bytes / OPENED_SHARE,
        }
    }

    /// Options of one table; those of an unknown one (of an older format) are the plain ones.
    pub(super) fn family(&self, table: Option<Table>) -> Options {
        let mut options = self.database();
        match options.get_options_from_string(RANGES_REMOVED_MAX) {
            Ok(bounded) => options = bounded,
            Err(error) => tracing::warn!(%error, "dropping many collections may make reads slow"),
        }
        options.set_block_based_table_factory(&self.blocks(table));
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_write_buffer_size(self.buffer_bytes(table));
        options.set_max_write_buffer_number(4);
        // Reads tolerate many files for a while; writers are only held when compaction is far behind. The files of an
        // import overlap one another: compacting few of them at a time would write everything many times over, and
        // take processors and disk from the import itself.
        let (fresh, level_bytes) = match table {
            Some(Table::Vectors) => (FRESH_VECTOR_FILES_MAX, LEVEL_VECTOR_BYTES),
            Some(Table::Objects | Table::Ids) => (FRESH_PAIRED_FILES_MAX, LEVEL_BYTES),
            _ => (FRESH_FILES_MAX, LEVEL_BYTES),
        };
        options.set_level_zero_file_num_compaction_trigger(fresh);
        options.set_level_zero_slowdown_writes_trigger(4 * fresh);
        options.set_level_zero_stop_writes_trigger(8 * fresh);
        options.set_target_file_size_base(64 << 20);
        options.set_max_bytes_for_level_base(level_bytes);
        let fast = fast_compression(table);
        options.set_compression_type(fast);
        if fast != DBCompressionType::None {
            options.set_bottommost_compression_type(DBCompressionType::Zstd);
        }
        if table == Some(Table::Tokens) {
            // Close to a megabyte each: beside the tree, a compaction moves the keys alone.
            options.set_enable_blob_files(true);
            options.set_min_blob_size(BLOB_BYTES_MIN);
            options.set_blob_file_size(256 << 20);
            options.set_blob_compression_type(DBCompressionType::None);
            options.set_enable_blob_gc(true);
        }
        options
    }

    /// Options of the files that a bulk import writes: fast ones, since what makes them smaller is left to compaction.
    pub(super) fn staged(&self, table: Table) -> Options {
        let mut options = self.family(Some(table));
        // A file on its own is written as those of the lowest level are.
        options.set_bottommost_compression_type(fast_compression(Some(table)));
        options.set_compression_options(WINDOW_BITS, -LZ4_ACCELERATION, 0, 0);
        options
    }

    fn blocks(&self, table: Option<Table>) -> BlockBasedOptions {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_block_size(match table {
            Some(Table::Objects | Table::Vectors) => 16 << 10,
            _ => 8 << 10,
        });
        blocks.set_bloom_filter(BLOOM_BITS, false);
        blocks.set_whole_key_filtering(true);
        blocks.set_format_version(6);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        blocks
    }
}

/// How a table is compressed where it is written often. Components of embeddings hardly compress: spare the work.
fn fast_compression(table: Option<Table>) -> DBCompressionType {
    match table {
        Some(Table::Vectors | Table::Tokens) => DBCompressionType::None,
        _ => DBCompressionType::Lz4,
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "cache_bytes={} write_buffer_bytes={} background_jobs={} bloom_bits={BLOOM_BITS} wal=synced",
            self.cache_bytes, self.write_buffer_bytes, self.background_jobs
        )
    }
}
