//! Harnesses of upkeep, with the number of rounds as a parameter: tests run a few, `cargo bench --bench drills` many.
//!
//! - [`drills`]: snapshots under concurrent writes, restored and compared with an independent model.
//! - [`names`]: hostile texts in every place of every request, while every file that the program opens is watched.
//! - [`kills`]: the server is killed at random moments of a mixed load and compared with what it had acknowledged.
//! - [`flips`]: single bits of a data directory are flipped: an error or the right answer, never a wrong one.
//!
//! Beside them are schemas and classes of objects that are made up, which tests and benchmarks take file by file.

#[path = "../../build/rules.rs"]
pub(crate) mod rules;

pub(crate) mod drills;
pub(crate) mod flips;
pub(crate) mod kills;
pub(crate) mod made;
pub(crate) mod names;
mod progress;
pub(crate) mod wired;
pub(crate) mod world;
