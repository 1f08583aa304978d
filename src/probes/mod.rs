//! Probes: heads on frozen embeddings, fitted, measured, kept and applied where the embeddings are.
//!
//! A fit chooses objects by a predicate, splits them by a rule that is part of the probe, reads the vectors of the spaces
//! as they were given, fits a head on the training side and measures it on the other. Linear heads and neighbours are
//! computed here; networks are trained by the encoder program and computed here. A kept probe is a column that queries can
//! name: `probe.NAME`.
//!
//! **Invariants.** Nothing of the test side is seen by a fit, the standardisation included. A probe whose space has another
//! provenance than when it was fitted is stale, and is refused.

mod again;
mod apply;
pub mod bridge;
mod dataset;
mod derived;
mod error;
mod features;
mod fit;
mod formula;
mod heads;
mod measure;
mod model;
mod network;
mod page;
mod presets;
mod record;
mod segments;
mod size;
mod spec;
mod table;
mod tokens;
mod train;

pub use apply::apply;
pub use error::ProbeError;
pub use fit::{Fitted, fit};
pub use formula::refresh;
pub use page::Page;
pub use presets::PRESETS;
pub use record::{drop_probe, get, list};

use crate::encoder::EncoderHandle;
use crate::engine::Db;

/// What fits work with.
#[derive(Debug, Clone)]
pub struct Tools {
    db: Db,
    encoder: Option<EncoderHandle>,
    threads: usize,
}

impl Tools {
    /// A database, and the encoder program where there is one: it trains networks.
    pub fn new(db: Db, encoder: Option<EncoderHandle>) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { db, encoder, threads }
    }
}
