//! What happened: one entry for every call, appended in order and never changed.
//!
//! The log is a folder of files `0001.jsonl`, `0002.jsonl`, ... with one JSON object on each line. Every line has its number, the
//! hash of the line before it and its own hash (BLAKE3 of everything before it on its line, the hash of the line before among
//! it), across files. Beside them lies `head`: number and hash of the last line that is known to be on the disk. A line that was
//! changed, deleted, moved or cut off is found by [`verify`]. Somebody who may write the whole folder can compute a chain of his
//! own: who fears that keeps the number and the hash that `verify` tells elsewhere, and compares.
//!
//! An entry says who did what to which collection, and what was decided. It never holds vectors, tokens, predicates or rows.
//!
//! - **AUD-1**: an entry that was waited for is on the disk. Of the others, those of the last [`Options::delay`] may be lost with
//!   the machine.
//! - **AUD-2**: entries are in the order in which they were appended; their numbers have no gaps.
//! - **AUD-3**: while the log cannot be written, [`Log::check`] refuses; entries of calls that were under way are kept in memory and
//!   written when it can be written again. What does not fit there is counted, and the count is written.

mod chain;
mod disk;
mod entry;
mod error;
mod folder;
mod log;
mod time;
mod verify;

#[cfg(test)]
mod tests;

pub use disk::{Disk, SystemDisk};
pub use entry::{Decision, Entry};
pub use error::AuditError;
pub use log::{Log, Options, Receipt};
pub use time::{parse as parse_time, readable as readable_time};
pub use verify::{Fault, Line, Note, Summary, read, verify};
