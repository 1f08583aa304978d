//! Embedding spaces: which vectors may be compared with which.

use std::fmt;

use super::SpaceId;
use crate::vector::Metric;

/// Largest dimension of a space.
pub const DIMENSION_MAX: usize = 16_384;

/// The kind of observation that a vector was made from: a free name such as `image` or `photometry`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Modality(pub String);

impl Modality {
    /// An image.
    pub const IMAGE: &'static str = "image";
    /// Fluxes of a catalogue.
    pub const PHOTOMETRY: &'static str = "photometry";
}

impl fmt::Display for Modality {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Where the vectors of a space come from. Two vectors of different provenance have no distance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Provenance {
    /// Registered model id, or `external` for vectors that arrive ready made.
    pub encoder: String,
    /// BLAKE3 of the weights file, hexadecimal; empty for external vectors.
    pub weights_hash: String,
    /// Name and version of the preprocessing.
    pub preprocessing: String,
    /// How tokens or feature maps became one vector.
    pub pooling: String,
}

impl Provenance {
    /// Provenance of vectors that the database did not make.
    pub fn external() -> Self {
        Self { encoder: "external".to_owned(), ..Self::default() }
    }

    /// Whether the vectors were made elsewhere.
    pub fn is_external(&self) -> bool {
        self.encoder == "external"
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_external() {
            return formatter.write_str("external");
        }
        let hash: String = self.weights_hash.chars().take(12).collect();
        write!(
            formatter,
            "{} weights={hash} preprocessing={} pooling={}",
            self.encoder, self.preprocessing, self.pooling
        )
    }
}

/// An embedding space of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingSpace {
    /// Number within the collection; `SpaceId(0)` until the store has assigned one.
    pub id: SpaceId,
    /// Name, unique in the collection.
    pub name: String,
    /// What the vectors were made from.
    pub modality: Modality,
    /// Components of every vector.
    pub dimension: usize,
    /// How vectors are compared.
    pub metric: Metric,
    /// Where vectors come from.
    pub provenance: Provenance,
}
