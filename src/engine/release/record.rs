//! What is known of a release: a record of the released collection.

use serde::{Deserialize, Serialize};

use crate::engine::error::EngineError;

/// Layout of the record that this program writes and reads.
const FORMAT: u32 = 1;

/// What a release is said to be, by whoever makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseText {
    /// One line.
    pub title: String,
    /// How to cite it.
    pub citation: String,
    /// Whom to thank, including those who made the encoders.
    pub acknowledgement: String,
    /// What else there is to know.
    pub notes: String,
}

/// A withdrawal: what is left of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// Why; every query of the release is answered with it.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whether the data are still there, for [`Db::verify_release`](crate::engine::Db::verify_release) alone.
    pub data_kept: bool,
}

/// Objects of a space in a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpaceCount {
    /// Name of the space.
    pub space: String,
    /// Vectors, or sequences of tokens.
    pub count: u64,
    /// Encoder, weights, preprocessing and pooling of the space, in one line.
    pub provenance: String,
}

/// A release of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    format: u32,
    /// The released collection.
    pub collection: String,
    /// Name of the release, such as `dr1`.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Version of the collection that it shows.
    pub source_version: u64,
    /// Objects.
    pub objects: u64,
    /// What each space holds.
    pub spaces: Vec<SpaceCount>,
    /// Probes.
    pub probes: u64,
    /// Bridges.
    pub bridges: u64,
    /// BLAKE3 of the content, in hexadecimal digits; see [`ContentHash`](super::ContentHash).
    pub content_hash: String,
    /// What it is said to be.
    pub text: ReleaseText,
    /// Set when it was withdrawn.
    pub withdrawn: Option<Withdrawal>,
}

impl Release {
    /// A release that was just made.
    pub(super) fn new(collection: &str, name: &str, text: ReleaseText) -> Self {
        Self {
            format: FORMAT,
            collection: collection.to_owned(),
            name: name.to_owned(),
            created_ms: 0,
            source_version: 0,
            objects: 0,
            spaces: Vec::new(),
            probes: 0,
            bridges: 0,
            content_hash: String::new(),
            text,
            withdrawn: None,
        }
    }

    /// Whether its data are there.
    pub fn has_data(&self) -> bool {
        self.withdrawn.as_ref().is_none_or(|withdrawal| withdrawal.data_kept)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, EngineError> {
        serde_json::to_vec(self).map_err(|error| self.damaged(&error.to_string()))
    }

    pub(super) fn decode(name: &str, bytes: &[u8]) -> Result<Self, EngineError> {
        let damaged = |what: String| EngineError::DamagedRelease { name: name.to_owned(), what };
        let release: Self =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if release.format != FORMAT {
            return Err(damaged(format!("format {} instead of {FORMAT}", release.format)));
        }
        Ok(release)
    }

    fn damaged(&self, what: &str) -> EngineError {
        EngineError::DamagedRelease { name: self.name.clone(), what: what.to_owned() }
    }
}
