//! The engine's own numbers.

use std::path::Path;

use rocksdb::{DB, properties as names};

use super::super::figures::StoreFigures;
use super::super::table::Table;

/// Reads what the database says of itself. A number that it does not tell counts as 0.
pub(super) fn read(db: &DB, records: &Path) -> StoreFigures {
    let whole = |name| db.property_int_value(name).ok().flatten().unwrap_or(0);
    let families: Vec<_> =
        Table::ALL.iter().filter_map(|table| db.cf_handle(table.name())).collect();
    let each = |name: &'static rocksdb::properties::PropName| {
        let of = |family| db.property_int_value_cf(family, name).ok().flatten().unwrap_or(0);
        families.iter().map(of).sum::<u64>()
    };
    // One cache serves all tables, and each of them tells the whole of it.
    let cache = |name: &'static rocksdb::properties::PropName| {
        let of = |family| db.property_int_value_cf(family, name).ok().flatten();
        families.first().and_then(of).unwrap_or(0)
    };
    StoreFigures {
        memtable_bytes: memtable_bytes(db),
        cache_bytes: cache(names::BLOCK_CACHE_USAGE),
        cache_bytes_max: cache(names::BLOCK_CACHE_CAPACITY),
        pending_compaction_bytes: each(names::ESTIMATE_PENDING_COMPACTION_BYTES),
        compactions: whole(names::NUM_RUNNING_COMPACTIONS),
        flushes: whole(names::NUM_RUNNING_FLUSHES),
        file_bytes: each(names::TOTAL_SST_FILES_SIZE),
        wal_bytes: wal_bytes(records),
        writes_stopped: each(names::IS_WRITE_STOPPED) > 0,
        background_errors: whole(names::BACKGROUND_ERRORS),
    }
}

/// Bytes of rows in memory that are not in files yet.
pub(super) fn memtable_bytes(db: &DB) -> u64 {
    let of = |table: &Table| {
        let family = db.cf_handle(table.name())?;
        db.property_int_value_cf(&family, names::CUR_SIZE_ALL_MEM_TABLES).ok().flatten()
    };
    Table::ALL.iter().filter_map(of).sum()
}

/// Bytes of the logs, which are the files `NUMBER.log`.
fn wal_bytes(records: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(records) else { return 0 };
    let logs = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
    // A log that is removed meanwhile is none.
    logs.filter_map(|log| log.metadata().ok()).map(|metadata| metadata.len()).sum()
}
