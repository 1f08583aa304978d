//! What can go wrong with the record of truth.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::class::Class;
use crate::schema::{CollectionId, SchemaError};

/// Why the store refuses or fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The path exists and is a file, or lies below one.
    #[error("`{}` is not a directory; choose another data directory", path.display())]
    NotADirectory {
        /// The data directory.
        path: PathBuf,
    },
    /// The directory holds something else.
    #[error("`{}` is not empty and not a data directory of sidereus (no FORMAT file); choose an empty or new directory", path.display())]
    Foreign {
        /// The data directory.
        path: PathBuf,
    },
    /// The directory may not be written.
    #[error("cannot write to `{}`: {source}; mend its permissions or choose another data directory", path.display())]
    Unwritable {
        /// The data directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process, or another handle of this one, has the directory open.
    #[error("data directory `{}` is in use by {holder}; stop that one first or choose another directory", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// Who holds it, as far as is known.
        holder: String,
    },
    /// Written by a newer program.
    #[error("data directory `{}` has format {found}, this program knows formats up to {supported}; use a newer sidereus", path.display())]
    NewerFormat {
        /// The data directory.
        path: PathBuf,
        /// Format of the directory.
        found: u32,
        /// Newest format that this program knows.
        supported: u32,
    },
    /// Whoever wanted it wants it no more.
    #[error("the work was stopped before its end; begin it again")]
    Stopped,
    /// Stored bytes are not what was written.
    #[error("stored {what} is damaged: {detail}; restore the data directory from a snapshot")]
    Corrupt {
        /// Which kind of record.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// No such collection, or it has been dropped.
    #[error("no collection number {}", collection.0)]
    UnknownCollection {
        /// The number.
        collection: CollectionId,
    },
    /// A collection of this name is there already.
    #[error("collection `{name}` exists already; drop it first or choose another name")]
    CollectionExists {
        /// The name.
        name: String,
    },
    /// All numbers for collections or spaces have been given away.
    #[error("no free number for a new {what}")]
    NumbersUsedUp {
        /// Collection or embedding space.
        what: &'static str,
    },
    /// The schema itself is refused.
    #[error(transparent)]
    Schema {
        /// Why.
        #[from]
        source: SchemaError,
    },
    /// One operation of a batch is refused, and with it the batch.
    #[error("operation {place} of the batch, object `{id}`: {source}")]
    Row {
        /// Place in the batch, from 0.
        place: usize,
        /// Id of the object.
        id: String,
        /// Why.
        source: SchemaError,
    },
    /// The batch is too large for one commit.
    #[error(
        "a batch of {size_bytes} bytes is more than the limit of {size_bytes_max}; write in smaller batches or as a bulk import"
    )]
    BatchTooLarge {
        /// Size of the batch.
        size_bytes: usize,
        /// The limit.
        size_bytes_max: usize,
    },
    /// A record of a probe or a bridge that is too large for one value.
    #[error(
        "{what} `{name}` takes {size_bytes} bytes, more than the limit of {size_bytes_max}; fit a smaller one"
    )]
    RecordTooLarge {
        /// What the record is.
        what: &'static str,
        /// Its name.
        name: String,
        /// Its size.
        size_bytes: usize,
        /// The limit.
        size_bytes_max: usize,
    },
    /// A record of the server without a usable name.
    #[error(
        "`{name}` cannot be the name of a {what}: give 1 to 256 bytes of text without control characters"
    )]
    ServerName {
        /// What the record is.
        what: &'static str,
        /// The name, shortened.
        name: String,
    },
    /// The changes asked for have been trimmed away.
    #[error("changes of collection number {} after version {after} are gone, they are kept after version {kept_after}; read the whole collection instead", collection.0)]
    ChangesTrimmed {
        /// The collection.
        collection: CollectionId,
        /// The version asked for.
        after: u64,
        /// The oldest version that can be asked for.
        kept_after: u64,
    },
    /// A bulk import was interrupted by an error and could not be finished yet; nothing of it is visible.
    #[error("a bulk import into collection number {} is unfinished: {source}; it is tried again with the next request", collection.0)]
    Unfinished {
        /// The collection.
        collection: CollectionId,
        /// What stopped it.
        source: Box<StorageError>,
    },
    /// The disk or the quota is full.
    #[error(
        "no space left on the disk while {doing}: {detail}; make room, nothing acknowledged is lost"
    )]
    DiskFull {
        /// What was being done.
        doing: &'static str,
        /// What the system says.
        detail: String,
    },
    /// A file operation failed.
    #[error("{doing} `{}` failed: {source}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The key-value engine is busy or shutting down.
    #[error("{doing}: {detail}; try again")]
    Busy {
        /// What was being done.
        doing: &'static str,
        /// What the engine says.
        detail: String,
    },
    /// The key-value engine failed.
    #[error("{doing} failed: {detail}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// What the engine says.
        detail: String,
    },
}

impl StorageError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::NotADirectory { .. }
            | Self::Foreign { .. }
            | Self::Unwritable { .. }
            | Self::ServerName { .. } => Class::Invalid,
            Self::Schema { source } | Self::Row { source, .. } => source.class(),
            Self::Locked { .. } | Self::NewerFormat { .. } | Self::CollectionExists { .. } => {
                Class::Conflict
            }
            Self::ChangesTrimmed { .. } => Class::Conflict,
            Self::UnknownCollection { .. } => Class::NotFound,
            Self::NumbersUsedUp { .. }
            | Self::BatchTooLarge { .. }
            | Self::RecordTooLarge { .. }
            | Self::DiskFull { .. } => Class::Exhausted,
            Self::Unfinished { source, .. } => match source.class() {
                Class::Exhausted => Class::Exhausted,
                Class::Corrupt => Class::Corrupt,
                Class::Invalid
                | Class::NotFound
                | Class::Conflict
                | Class::Unavailable
                | Class::Internal => Class::Unavailable,
            },
            Self::Busy { .. } | Self::Stopped => Class::Unavailable,
            Self::Corrupt { .. } => Class::Corrupt,
            Self::File { .. } | Self::Engine { .. } => Class::Internal,
        }
    }

    /// Maps a failed file operation.
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { doing, detail: format!("`{}`: {source}", path.display()) }
            }
            io::ErrorKind::NotADirectory => Self::NotADirectory { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Unwritable { path, source }
            }
            _ => Self::File { doing, path, source },
        }
    }

    /// A damaged record.
    pub(crate) fn corrupt(what: &'static str, detail: impl Into<String>) -> Self {
        Self::Corrupt { what, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(kind: io::ErrorKind) -> (Class, String) {
        let error = StorageError::file("writing", "/data/FORMAT", io::Error::from(kind));
        (error.class(), error.to_string())
    }

    #[test]
    fn file_errors_say_what_to_do() {
        for (kind, class, advice) in [
            (io::ErrorKind::StorageFull, Class::Exhausted, "make room"),
            (io::ErrorKind::QuotaExceeded, Class::Exhausted, "make room"),
            (io::ErrorKind::PermissionDenied, Class::Invalid, "mend its permissions"),
            (io::ErrorKind::ReadOnlyFilesystem, Class::Invalid, "choose another"),
            (io::ErrorKind::NotADirectory, Class::Invalid, "choose another"),
            (io::ErrorKind::Interrupted, Class::Internal, "writing `/data/FORMAT` failed"),
        ] {
            let (found, text) = class_of(kind);
            assert_eq!(found, class, "{text}");
            assert!(text.contains(advice) && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn an_unfinished_import_keeps_the_class_of_what_stopped_it() {
        let class_after = |source: StorageError| {
            let source = Box::new(source);
            StorageError::Unfinished { collection: CollectionId(1), source }.class()
        };
        let doing = "testing";
        let full = StorageError::DiskFull { doing, detail: String::new() };
        assert_eq!(class_after(full), Class::Exhausted);
        assert_eq!(class_after(StorageError::corrupt("row", "")), Class::Corrupt);
        let failed = StorageError::Engine { doing, detail: String::new() };
        assert_eq!(class_after(failed), Class::Unavailable);
    }
}
