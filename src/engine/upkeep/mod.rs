//! Upkeep: looking whether everything is still what it was, beside queries (a scrub) or of a stopped server (the doctor).

mod doctor;
mod scrub;
#[cfg(test)]
mod tests;

pub use doctor::{Finding, examine};
pub use scrub::ScrubReport;
