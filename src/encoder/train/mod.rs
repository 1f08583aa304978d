//! Training of small heads on embeddings: what is to be trained, on which examples, and the database's end of it.
//!
//! The encoder program trains, for libtorch lives there; the database sends the examples, chunk by chunk and in a new order
//! for every epoch, so that neither program ever holds more than a few chunks. The encoder trains one head at a time; others
//! wait for their turn. Between two batches it lets encoding go first, of which it gets a tenth of the time at least.
//!
//! The same examples in the same order with the same seed give the same weights on the same device with the same number of
//! threads.

mod chunk;
mod client;
mod error;
mod session;
mod spec;
mod stored;
mod wire;

pub use chunk::{Beginning, CHUNK_EXAMPLES_MAX, CHUNK_NUMBERS_MAX, Chunk, ChunkRows, ChunkSource};
pub(super) use client::{Source, train};
pub use client::{TrainStep, Trained};
pub use error::TrainError;
pub(super) use session::Session;
pub use spec::{TowerInput, TrainSpec, TrainTask};
pub use stored::{head_from_bytes, head_to_bytes};

#[cfg(test)]
mod tests;
