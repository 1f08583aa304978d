//! What can go wrong with a collection.

use thiserror::Error;

use crate::class::Class;
use crate::index::IndexError;
use crate::schema::{ColumnType, SchemaError};
use crate::storage::StorageError;
use crate::vector::BlockError;

/// Errors of the embedded database.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No collection of that name.
    #[error("no collection `{name}`; `sidereus collection list` shows what there is")]
    NoCollection {
        /// The name.
        name: String,
    },
    /// The name is taken.
    #[error("collection `{name}` exists already; drop it first or choose another name")]
    CollectionExists {
        /// The name.
        name: String,
    },
    /// No space of that name in the collection.
    #[error("collection `{collection}` has no embedding space `{space}`; it has: {known}")]
    NoSpace {
        /// The collection.
        collection: String,
        /// The name given.
        space: String,
        /// Names of its spaces.
        known: String,
    },
    /// The space exists and is another one.
    #[error(
        "space `{space}` of collection `{collection}` exists with another {what}: it has {existing}, not {given}; choose another space name"
    )]
    SpaceMismatch {
        /// The collection.
        collection: String,
        /// The space.
        space: String,
        /// Which property differs.
        what: &'static str,
        /// The stored property.
        existing: String,
        /// The property asked for.
        given: String,
    },
    /// The column exists with another type.
    #[error(
        "column `{column}` of collection `{collection}` exists and is {existing}, not {given}; choose another name"
    )]
    ColumnMismatch {
        /// The collection.
        collection: String,
        /// The column.
        column: String,
        /// Its type.
        existing: ColumnType,
        /// The type asked for.
        given: ColumnType,
    },
    /// A formula that does not fit its collection.
    #[error("the derived columns {names} do not fit collection `{collection}`: {what}")]
    Formula {
        /// The collection.
        collection: String,
        /// Names of its outputs.
        names: String,
        /// What is wrong.
        what: String,
    },
    /// A write into a release.
    #[error("`{name}` is a release, and releases do not change: write to `{collection}`")]
    Release {
        /// The release.
        name: String,
        /// The collection that it is one of.
        collection: String,
    },
    /// No release of that name.
    #[error(
        "collection `{collection}` has no release `{release}`; `sidereus release list` shows what there is"
    )]
    NoRelease {
        /// The collection.
        collection: String,
        /// The name.
        release: String,
    },
    /// The name is taken, for ever.
    #[error(
        "collection `{collection}` has a release `{release}` already, or had one, or is making it; choose another name"
    )]
    ReleaseExists {
        /// The collection.
        collection: String,
        /// The name.
        release: String,
    },
    /// A release that is no longer answered for.
    #[error("release `{release}` of `{collection}` was withdrawn: {reason}")]
    Withdrawn {
        /// The collection.
        collection: String,
        /// The release.
        release: String,
        /// Why.
        reason: String,
    },
    /// A collection that is to be dropped while it has releases.
    #[error(
        "collection `{collection}` has releases ({releases}), which others may cite; dropping it with `--with-releases` removes them, too"
    )]
    HasReleases {
        /// The collection.
        collection: String,
        /// Their names.
        releases: String,
    },
    /// A collection that is to be dropped while one of its releases is made or withdrawn.
    #[error(
        "release `{release}` of `{collection}` is being made or withdrawn at the moment; drop the collection when that has ended"
    )]
    ReleaseUnderWay {
        /// The collection.
        collection: String,
        /// The release.
        release: String,
    },
    /// A release that is not what it says.
    #[error("release `{name}` is damaged: {what}")]
    DamagedRelease {
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A schema that is refused.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Vectors of a damaged length.
    #[error("a segment's vectors are damaged: {0}")]
    Vectors(#[from] BlockError),
    /// Columns that Arrow refuses.
    #[error("a segment's columns cannot be read or made: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A segment's file.
    #[error("cannot {action} segment file {path}: {source}")]
    SegmentFile {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A segment whose content does not agree with itself.
    #[error("segment {path} is damaged ({what}); `sidereus index build` makes it again")]
    DamagedSegment {
        /// The folder.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The disk gives no vectors.
    #[error(
        "vectors of space `{space}` cannot be read from the disk (the server's log says why); build the index again, or restart the server"
    )]
    UnreadableVectors {
        /// The space.
        space: String,
    },
    /// The system gives no thread.
    #[error("no thread for an index build: {source}; try again when less is running")]
    NoThread {
        /// What the system said.
        source: std::io::Error,
    },
    /// A view that is older than what the store remembers of its changes.
    #[error(
        "the index of collection `{name}` was built again while its objects were read, so that it is not known which have changed; try again"
    )]
    Outdated {
        /// The collection.
        name: String,
    },
    /// A build of the same collection is running.
    #[error("an index build of collection `{name}` is running already; wait for it")]
    BuildRunning {
        /// The collection.
        name: String,
    },
}

impl EngineError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::NoCollection { .. } | Self::NoSpace { .. } | Self::NoRelease { .. } => {
                Class::NotFound
            }
            Self::CollectionExists { .. }
            | Self::SpaceMismatch { .. }
            | Self::ColumnMismatch { .. }
            | Self::Formula { .. }
            | Self::Release { .. }
            | Self::ReleaseExists { .. }
            | Self::Withdrawn { .. }
            | Self::HasReleases { .. }
            | Self::ReleaseUnderWay { .. }
            | Self::BuildRunning { .. } => Class::Conflict,
            Self::Schema(error) => error.class(),
            Self::Storage(error) => error.class(),
            Self::Index(error) => error.class(),
            Self::Vectors(_) | Self::DamagedSegment { .. } | Self::DamagedRelease { .. } => {
                Class::Corrupt
            }
            Self::Arrow(arrow::error::ArrowError::IoError(_, source))
                if source.kind() == std::io::ErrorKind::StorageFull =>
            {
                Class::Exhausted
            }
            Self::Arrow(_) => Class::Internal,
            Self::NoThread { .. } => Class::Exhausted,
            Self::UnreadableVectors { .. } | Self::Outdated { .. } => Class::Unavailable,
            Self::SegmentFile { source, .. } => {
                if source.kind() == std::io::ErrorKind::StorageFull {
                    Class::Exhausted
                } else {
                    Class::Internal
                }
            }
        }
    }
}
