//! Why a probe cannot be fitted, kept or applied.

use thiserror::Error;

use crate::class::Class;
use crate::encoder::EncoderError;
use crate::engine::EngineError;
use crate::learn::LearnError;
use crate::query::QueryError;

/// Errors of probes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// What was asked for does not make sense.
    #[error("{what}: {hint}")]
    BadSpec {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A column that is not there.
    #[error("collection `{collection}` has no column `{column}`; it has: {known}")]
    UnknownColumn {
        /// The collection.
        collection: String,
        /// What was asked for.
        column: String,
        /// Names of the columns that there are.
        known: String,
    },
    /// A space that is not there.
    #[error("collection `{collection}` has no embedding space `{space}`; it has: {known}")]
    UnknownSpace {
        /// The collection.
        collection: String,
        /// What was asked for.
        space: String,
        /// Names of the spaces that there are.
        known: String,
    },
    /// No probe of that name.
    #[error(
        "collection `{collection}` has no probe `{name}`; `sidereus probe list {collection}` shows what there is"
    )]
    NoProbe {
        /// The collection.
        collection: String,
        /// The name.
        name: String,
    },
    /// The name is taken.
    #[error(
        "collection `{collection}` has a probe `{name}` already; give --overwrite or another name"
    )]
    Exists {
        /// The collection.
        collection: String,
        /// The name.
        name: String,
    },
    /// A probe that no longer fits what it was fitted on.
    #[error("probe `{name}` is stale: {reason}; fit it again")]
    Stale {
        /// The probe.
        name: String,
        /// What has changed.
        reason: String,
    },
    /// A stored probe that cannot be read.
    #[error("probe `{name}` is damaged ({reason}); drop it and fit it again")]
    Damaged {
        /// The probe.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A file of features that could not be written or read.
    #[error("features could not be kept aside: {0}")]
    Scratch(#[from] std::io::Error),
    /// What the examples do not teach.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// The search for the objects.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The database.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The encoder program, which trains networks.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
}

impl ProbeError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Learn(LearnError::Unreadable { .. } | LearnError::Stopped) => Class::Unavailable,
            Self::BadSpec { .. } | Self::Learn(_) => Class::Invalid,
            Self::UnknownColumn { .. } | Self::UnknownSpace { .. } | Self::NoProbe { .. } => {
                Class::NotFound
            }
            Self::Exists { .. } | Self::Stale { .. } => Class::Conflict,
            Self::Damaged { .. } => Class::Corrupt,
            Self::Scratch(_) => Class::Exhausted,
            Self::Query(error) => error.class(),
            Self::Engine(error) => error.class(),
            Self::Encoder(error) => error.class(),
        }
    }

    pub(super) fn bad(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::BadSpec { what: what.into(), hint: hint.into() }
    }
}
