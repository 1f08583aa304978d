//! Why a bridge cannot be fitted, kept or used.

use thiserror::Error;

use crate::class::Class;
use crate::engine::EngineError;
use crate::learn::LearnError;
use crate::probes::ProbeError;

/// Errors of bridges.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// What was asked for does not make sense.
    #[error("{what}: {hint}")]
    BadSpec {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
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
    /// A space that holds something else than vectors.
    #[error("space `{space}` holds {holds}; bridges map vectors")]
    NotOfVectors {
        /// The space.
        space: String,
        /// What it holds.
        holds: &'static str,
    },
    /// No bridge of that name.
    #[error(
        "collection `{collection}` has no bridge `{name}`; `sidereus bridge list {collection}` shows what there is"
    )]
    NoBridge {
        /// The collection.
        collection: String,
        /// The name.
        name: String,
    },
    /// The name is taken.
    #[error(
        "collection `{collection}` has a bridge `{name}` already; give --overwrite or another name"
    )]
    Exists {
        /// The collection.
        collection: String,
        /// The name.
        name: String,
    },
    /// A bridge that no longer fits what it was fitted on.
    #[error("bridge `{name}` is stale: {reason}; fit it again with --overwrite")]
    Stale {
        /// The bridge.
        name: String,
        /// What has changed.
        reason: String,
    },
    /// A stored bridge that cannot be read.
    #[error("bridge `{name}` is damaged ({reason}); drop it and fit it again")]
    Damaged {
        /// The bridge.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A bridge that joins other spaces.
    #[error(
        "bridge `{name}` leads from `{from}` into `{to}`, not from `{asked_from}` into `{asked_to}`"
    )]
    OtherSpaces {
        /// The bridge.
        name: String,
        /// Where it begins.
        from: String,
        /// Where it ends.
        to: String,
        /// Where it was to begin.
        asked_from: String,
        /// Where it was to end.
        asked_to: String,
    },
    /// Two spaces that nothing makes comparable.
    #[error(
        "vectors of `{from}` and `{to}` have no distance: they are of two spaces that are not declared shared, and no bridge \
         leads from `{from}` into `{to}`; \
         `sidereus bridge fit {collection} --from {from} --to {to} --method procrustes --name NAME` makes one of objects that \
         have both{hint}"
    )]
    NotComparable {
        /// The collection.
        collection: String,
        /// The space of the query.
        from: String,
        /// The space that is searched.
        to: String,
        /// What else there is.
        hint: String,
    },
    /// More than one bridge, none named.
    #[error("several bridges lead from `{from}` into `{to}`: name one with --bridge ({names})")]
    SeveralBridges {
        /// The space of the query.
        from: String,
        /// The space that is searched.
        to: String,
        /// Their names.
        names: String,
    },
    /// A bridge into a space of its own, where stored vectors are searched.
    #[error(
        "bridge `{name}` maps `{from}` and `{to}` into a space of their own, which has no index: \
         `sidereus bridge apply {collection} {name} --materialise {name}` writes both into it, and then \
         --from-space {name}.{from} --to-space {name}.{to} searches there"
    )]
    LeadsElsewhere {
        /// The collection.
        collection: String,
        /// The bridge.
        name: String,
        /// Where it begins.
        from: String,
        /// What else it maps.
        to: String,
    },
    /// Training needs the encoder program.
    #[error(
        "networks are trained by the encoder program, and this server runs without one; start it with one, or choose procrustes, ridge or cca"
    )]
    NoEncoder,
    /// What the pairs do not teach.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// Finding or reading the objects, or training networks on them.
    #[error(transparent)]
    Gather(#[from] ProbeError),
    /// The database.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl BridgeError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::NoEncoder | Self::Learn(LearnError::Unreadable { .. } | LearnError::Stopped) => {
                Class::Unavailable
            }
            Self::BadSpec { .. }
            | Self::Learn(_)
            | Self::NotOfVectors { .. }
            | Self::OtherSpaces { .. }
            | Self::NotComparable { .. }
            | Self::SeveralBridges { .. }
            | Self::LeadsElsewhere { .. } => Class::Invalid,
            Self::UnknownSpace { .. } | Self::NoBridge { .. } => Class::NotFound,
            Self::Exists { .. } | Self::Stale { .. } => Class::Conflict,
            Self::Damaged { .. } => Class::Corrupt,
            Self::Gather(error) => error.class(),
            Self::Engine(error) => error.class(),
        }
    }

    pub(super) fn bad(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::BadSpec { what: what.into(), hint: hint.into() }
    }
}
