//! The record of truth: collections, objects, vectors, and their versions, on RocksDB.
//!
//! Not for searching: indices and segments are derived from it elsewhere and can be made again from it at any time.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | tag, number | format, schemas (JSON), heads (version and counts), intents of bulk imports |
//! | `objects` | collection, cell, ordinal | id, ra, dec, columns |
//! | `vectors` | collection, space, cell, ordinal | components, f32 little-endian |
//! | `tokens` | collection, space, cell, ordinal | runs of states, f16 little-endian, or of ids, u16 little-endian |
//! | `ids` | collection, object id | cell, ordinal, spaces that hold a vector or tokens |
//! | `changes` | collection, version, part | keys changed by that commit |
//! | `probes`, `bridges`, `labels` | collection, name | name, checksum, bytes that the store does not read |
//! | `releases` | collection, name | the same, of releases |
//! | `access` | kind, name | the same, of tokens, groups, grants and policies of the server |
//! | `audit`, `jobs` | | kept for the parts of those names |
//!
//! A data directory holds `FORMAT` (the format number), `LOCK`, `SEAL` while nobody has it open, `records/` (RocksDB) and `staging/` (files of bulk
//! imports under way).
//!
//! Invariants:
//! - **STO-1** A commit that returned is on the disk; one that did not is there whole or not at all.
//! - **STO-2** An id has at most one row; the row's key, the id record, the vectors and the tokens agree.
//! - **STO-3** Counts and version of the head are exact in every view.
//! - **STO-4** The changes after a version, applied to the keys at that version, give the keys of now.
//! - **STO-5** Damaged bytes are [`StorageError::Corrupt`], never a panic.
//! - **STO-6** A number given to a collection or a space is never given again.

mod bulk;
mod checks;
#[cfg(test)]
mod conformance;
mod copy;
mod directory;
mod disk;
mod encoded;
mod engine;
mod error;
mod figures;
mod follow;
mod insert;
mod key;
mod memory;
mod migrate;
mod named;
mod operation;
mod plan;
mod read;
mod record;
mod rocks;
mod seal;
mod server_record;
mod slot;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod tokens;
mod write;

pub use checks::{Inconsistency, Scrubbed};
pub use directory::holds_database;
pub use disk::{DiskSpace, disk_space};
pub use error::StorageError;
pub use figures::StoreFigures;
pub use follow::VectorFollower;
pub use insert::{Insertion, KnownKeys, OBJECT_BYTES, Place, StagedInsert};
pub use key::ObjectKey;
pub use named::{RECORD_BYTES_MAX, RecordKind};
pub use operation::{Change, ChangeKind, Commit, Operation, Outcome};
pub use read::{Scan, Snapshot, VectorScan};
pub use server_record::{SERVER_NAME_BYTES_MAX, ServerRecordKind};
pub use store::{CollectionRecord, Store, StoreOptions};
pub use write::Route;

/// The newest on-disk format, which this program writes.
pub const FORMAT: u32 = migrate::NEWEST_FORMAT;
