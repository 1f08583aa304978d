//! What can go wrong with a backup.

use thiserror::Error;

use crate::class::Class;
use crate::engine::EngineError;

/// Errors of backups.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A place that is not one.
    #[error("`{url}` is no place for backups: give a directory or s3://BUCKET/PREFIX ({reason})")]
    BadPlace {
        /// What was given.
        url: String,
        /// Why not.
        reason: String,
    },
    /// A name that nobody configured.
    #[error(
        "no backup destination `{name}` is configured; the operator names them in [backup.NAME] (there are: {known}). A directory or an \
         address is reached with --at to list, verify and drop, and with --data DIR of a stopped server to create"
    )]
    NoDestination {
        /// The name.
        name: String,
        /// The names that are.
        known: String,
    },
    /// No snapshot of that name.
    #[error("there is no snapshot `{name}`; `sidereus snapshot list` shows what there is")]
    NoSnapshot {
        /// The name.
        name: String,
    },
    /// A file that is missing there.
    #[error("`{name}` is missing from the backup; restore another snapshot")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A file that is not what the manifest says.
    #[error("`{name}` of the backup is damaged ({what}); restore another snapshot")]
    Damaged {
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// A backup that this program does not know how to read.
    #[error("snapshot `{name}` is of format {found}, this program reads up to {supported}")]
    NewerFormat {
        /// The snapshot.
        name: String,
        /// Its format.
        found: u32,
        /// What this program reads.
        supported: u32,
    },
    /// A directory that is not empty.
    #[error("`{path}` is not empty: a backup is restored into an empty or a new directory")]
    NotEmpty {
        /// The directory.
        path: String,
    },
    /// A snapshot was dropped, and what only it needed is still there.
    #[error(
        "snapshot `{dropped}` is dropped; nothing else was removed, since nobody knows what snapshot `{other}` needs ({source}): \
         use a program that can read it, or drop that one, too, and what no other needs goes with it"
    )]
    NotPruned {
        /// The one that was dropped.
        dropped: String,
        /// The one that cannot be read.
        other: String,
        /// Why not.
        source: Box<BackupError>,
    },
    /// Snapshots are made and pruned at once.
    #[error(
        "a snapshot is being {doing} there at the moment (`{mark}`, last sign of life {silent_s} s ago); try again when that is \
         done: what a crash left is not minded any more after 10 minutes without one"
    )]
    Busy {
        /// Made or pruned.
        doing: &'static str,
        /// The file that says so.
        mark: String,
        /// Seconds since its last sign of life.
        silent_s: u64,
    },
    /// The work was held up for so long that others may not have minded it.
    #[error(
        "the snapshot could not be {doing} in time: this machine or the backup place was held up for minutes; try again"
    )]
    HeldUp {
        /// Made or pruned.
        doing: &'static str,
    },
    /// The place does not answer as it should.
    #[error("cannot {action} `{name}` of the backup: {reason}")]
    Place {
        /// What was tried.
        action: &'static str,
        /// With what.
        name: String,
        /// What the place says.
        reason: String,
    },
    /// A file of this machine.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The database.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Work on a thread ended without an answer.
    #[error("the work on a backup failed: {reason}")]
    Task {
        /// The panic's or the runtime's words.
        reason: String,
    },
}

impl BackupError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::BadPlace { .. } => Class::Invalid,
            Self::NoDestination { .. } | Self::NoSnapshot { .. } => Class::NotFound,
            Self::Missing { .. } | Self::Damaged { .. } => Class::Corrupt,
            Self::NewerFormat { .. } | Self::NotEmpty { .. } => Class::Conflict,
            Self::Busy { .. } | Self::HeldUp { .. } | Self::Place { .. } => Class::Unavailable,
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Class::Exhausted
            }
            Self::File { .. } | Self::Task { .. } => Class::Internal,
            Self::NotPruned { source, .. } => source.class(),
            Self::Engine(error) => error.class(),
        }
    }

    pub(super) fn file(
        action: &'static str,
        path: &std::path::Path,
        source: std::io::Error,
    ) -> Self {
        Self::File { action, path: path.display().to_string(), source }
    }
}
