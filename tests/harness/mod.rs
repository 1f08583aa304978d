//! Harnesses of upkeep, with the number of rounds as a parameter: tests run a few, `cargo bench --bench drills` many.
//!
//! - [`drills`]: snapshots under concurrent writes, restored and compared with an independent model.
//! - [`kills`]: the server is killed at random moments of a mixed load and compared with what it had acknowledged.
//! - [`flips`]: single bits of a data directory are flipped: an error or the right answer, never a wrong one.

pub(crate) mod drills;
pub(crate) mod flips;
pub(crate) mod kills;
pub(crate) mod world;
