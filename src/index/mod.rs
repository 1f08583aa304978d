//! Nearest neighbours of a vector among the rows of one segment: exactly, or through inverted lists of codes.
//!
//! [`flat`] compares every row it is given and is the oracle of everything else. [`IvfIndex`] keeps short codes of the rows
//! along the sky and in lists around centroids, and compares the likeliest rows again at full precision. Both know rows only
//! by their number; what a row is, is the caller's business, and so are deletes and predicates, which arrive as a
//! [set of rows](crate::vector::RowSet).
//!
//! Invariants, each met again in a test:
//! - IDX-1: every distance that leaves this module is [`Metric::distance`](crate::vector::Metric::distance) of full-precision
//!   vectors, so that all plans agree to the last bit.
//! - IDX-2: a search gives `min(k, allowed rows)` hits before the distance bound is applied.
//! - IDX-3: no byte of an index file reaches FAISS, and no length in it is trusted before its checksum was verified.
//! - IDX-4: a search runs on the calling thread and on no other; building takes no more threads than it was given.

mod error;
mod faiss;
pub mod flat;
mod ivf;
mod random;
pub mod recall;
mod section;
pub mod synthetic;

pub use error::IndexError;
pub use faiss::compile_options;
pub use ivf::{
    CodeScan, Expected, IvfAnswer, IvfIndex, IvfSearch, IvfSpec, IvfStats, LISTS_MAX,
    LISTS_MAX_IN_ALL, MOST_SHARE, POINTS_PER_LIST_MIN, RECALL_WISH_DEFAULT, RECALL_WISH_MAX,
    ROWS_MIN,
};
