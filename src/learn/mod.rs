//! What examples teach: heads on frozen embeddings, maps between spaces, and how good they are.
//!
//! Pure mathematics on matrices of features: no store, no collection, no protocol. Features are read in blocks, as often as
//! a fit needs, so that memory does not grow with the number of examples; targets, weights and folds, which are a few
//! numbers for each example, are in memory.

pub mod discover;
mod error;
mod features;
mod progress;

pub use error::LearnError;
pub use features::{Features, Matrix};
pub use progress::Progress;
