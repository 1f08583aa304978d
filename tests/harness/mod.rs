//! Harnesses of upkeep, with the number of rounds as a parameter: tests run a few, `cargo bench --bench drills` many.
//!
//! - [`drills`]: snapshots under concurrent writes, restored and compared with an independent model.
//! - [`kills`]: a process with mixed load is killed at random moments and compared with what it had acknowledged.
//! - [`flips`]: single bits of a data directory are flipped: an error or the right answer, never a wrong one.
//!
//! Beside them are schemas and classes of objects that are made up, which tests and benchmarks take file by file.

pub(crate) mod drills;
pub(crate) mod flips;
pub(crate) mod kills;
mod made;
pub(crate) mod world;
