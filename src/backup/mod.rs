//! Backups: snapshots of a whole database, in a directory or a bucket.
//!
//! ```text
//! PLACE/
//!   objects/<BLAKE3>      contents of files, once each: what is there is not sent again
//!   snapshots/<NAME>      manifest of a snapshot: its files by path, size and hash, with a checksum of its own; written last
//!   damaged/<BLAKE3>      a note that the object of that name was found to be another one: the next snapshot sends it anew
//!   under-way/<...>       who makes or prunes snapshots at the moment
//! ```
//!
//! A snapshot is taken of the running database between two commits, and is a data directory like any other once it is
//! restored. Everything is compared with its hash when it is verified or restored; a file that is missing or altered is told
//! by its name, and nothing is then left behind.
//!
//! **Invariants.** BAK-1: a snapshot that is listed is complete. BAK-2: a restored directory is a database as a whole, or is
//! not there. BAK-3: pruning never takes what a snapshot needs, also one that is being made.

mod create;
mod error;
mod manifest;
mod prune;
mod remote;
mod restore;
#[cfg(test)]
mod tests;
mod under_way;

pub use create::create;
pub use error::BackupError;
pub use manifest::{SnapshotCollection, SnapshotManifest};
pub use prune::{Pruned, drop_snapshot};
pub use remote::Remote;
pub use restore::{Listing, list, restore, verify};

/// Told the stage, the units done and the units in all.
pub type Progress<'a> = dyn FnMut(&str, u64, u64) + Send + 'a;

const SNAPSHOTS: &str = "snapshots";
const OBJECTS: &str = "objects";
const DAMAGED: &str = "damaged";

fn manifest_name(snapshot: &str) -> String {
    format!("{SNAPSHOTS}/{snapshot}")
}

fn object_name(hash: &str) -> String {
    format!("{OBJECTS}/{hash}")
}

fn note_name(hash: &str) -> String {
    format!("{DAMAGED}/{hash}")
}
