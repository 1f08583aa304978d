//! Why the log is not written or read.

use std::path::Path;

use thiserror::Error;

use crate::class::Class;

/// Why the log is not written or read.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The disk is full, or does not do what it is told.
    #[error(
        "the audit log cannot be written: {reason}; calls are refused until it can (make room, or mend the disk)"
    )]
    Unwritable {
        /// What the system said.
        reason: String,
    },
    /// The folder or a file of it cannot be read or made.
    #[error("audit log {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The end of the log is not what was written last, so that nothing can follow it.
    #[error(
        "the audit log {path} is damaged: {reason}. Keep the folder as evidence (`sidereus audit verify` names what is wrong), \
         move it away, and start again: a new log begins"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The log was closed.
    #[error("the audit log is closed: the server is shutting down; try again when it is back")]
    Closed,
}

impl AuditError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Unwritable { .. } => Class::Exhausted,
            Self::Unreadable { .. } | Self::Closed => Class::Unavailable,
            Self::Damaged { .. } => Class::Corrupt,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that it stands in `map_err`")]
    pub(super) fn unreadable(path: &Path, reason: impl ToString) -> Self {
        Self::Unreadable { path: path.display().to_string(), reason: reason.to_string() }
    }

    pub(super) fn damaged(path: &Path, reason: String) -> Self {
        Self::Damaged { path: path.display().to_string(), reason }
    }
}
