//! Embedding spaces: which vectors may be compared with which.

use std::fmt;

use super::{AtIngest, SpaceId};
use crate::vector::Metric;
use crate::wire::v1;

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
    /// Flux along wavelength.
    pub const SPECTRUM: &'static str = "spectrum";
    /// Whatever was observed of an object: models of this modality take observations of any other.
    pub const MULTIMODAL: &'static str = "multimodal";

    /// Whether an observation that says it is of modality `given` can be meant for a model of this one.
    pub fn takes(&self, given: &str) -> bool {
        self.0 == given || self.0 == Self::MULTIMODAL
    }
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

/// What a space holds for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SpaceForm {
    /// One vector, which is indexed and searched.
    #[default]
    Vector,
    /// A sequence of states, kept for late interaction and for other poolings.
    Tokens,
    /// A sequence of codes, from which the model makes states and vectors again without the observation.
    TokenIds,
}

impl SpaceForm {
    /// Name for people and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Tokens => "tokens",
            Self::TokenIds => "token-ids",
        }
    }

    /// What a space holds, in a sentence.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Vector => "vectors",
            Self::Tokens => "tokens",
            Self::TokenIds => "token ids",
        }
    }
}

impl From<SpaceForm> for v1::SpaceForm {
    fn from(form: SpaceForm) -> Self {
        match form {
            SpaceForm::Vector => Self::Unspecified,
            SpaceForm::Tokens => Self::Tokens,
            SpaceForm::TokenIds => Self::TokenIds,
        }
    }
}

impl From<v1::SpaceForm> for SpaceForm {
    fn from(form: v1::SpaceForm) -> Self {
        match form {
            v1::SpaceForm::Unspecified => Self::Vector,
            v1::SpaceForm::Tokens => Self::Tokens,
            v1::SpaceForm::TokenIds => Self::TokenIds,
        }
    }
}

impl std::str::FromStr for SpaceForm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let forms = [Self::Vector, Self::Tokens, Self::TokenIds];
        forms.into_iter().find(|form| form.name() == name).ok_or_else(|| {
            format!("a space has no form `{name}`; it holds vector, tokens or token-ids")
        })
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
    /// What it holds.
    pub form: SpaceForm,
    /// Components of every vector, or of every token; 0 for token ids.
    pub dimension: usize,
    /// How vectors are compared.
    pub metric: Metric,
    /// Where vectors come from.
    pub provenance: Provenance,
    /// Name of the space that it shares with others of this collection, whose models were trained together so that their
    /// vectors can be compared, such as the image and the spectrum tower of a contrastive model.
    pub shared: Option<String>,
    /// Whether the server fills it as objects arrive, and from what.
    pub at_ingest: Option<AtIngest>,
}

impl EmbeddingSpace {
    /// Whether it holds vectors, which have distances and indices; tokens are kept beside them.
    pub fn holds_vectors(&self) -> bool {
        self.form == SpaceForm::Vector
    }
    /// Whether vectors of both were declared to be comparable.
    pub fn shares_with(&self, other: &Self) -> bool {
        let names = self.shared.as_deref().zip(other.shared.as_deref());
        names.is_some_and(|(mine, theirs)| mine.eq_ignore_ascii_case(theirs))
    }

    /// Whether what is made for one space belongs into the other, whichever of them is filled at ingest.
    pub fn is_still(&self, other: &Self) -> bool {
        (self.id, self.form, self.dimension, self.metric)
            == (other.id, other.form, other.dimension, other.metric)
            && self.provenance == other.provenance
    }
}
