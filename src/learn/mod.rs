//! What examples teach: heads on frozen embeddings, maps between spaces, and how good they are.
//!
//! Pure mathematics on matrices of features: no store, no collection, no protocol. Features are read in blocks, as often as
//! a fit needs, so that memory does not grow with the number of examples; targets, weights and folds, which are a few
//! numbers for each example, are in memory.

pub mod bridge;
mod crew;
pub mod discover;
mod error;
mod features;
pub mod knn;
pub mod lapack;
pub mod linear;
pub mod metrics;
mod network;
mod progress;
mod sampler;
pub mod scale;
pub mod split;

pub use error::LearnError;
pub use features::{Features, Matrix};
pub use network::{
    Activation, AttentionShape, HeadInputs, HeadOutput, HeadShape, HeadWeights, Mixture,
    NamedTensor, NetworkHead, Scaling, epoch_order,
};
pub use progress::Progress;
pub use sampler::Sampler;
