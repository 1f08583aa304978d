//! Why a model is not served.

use std::path::PathBuf;

use thiserror::Error;

use crate::class::Class;

/// Why a model of the operator's directory is not served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown or missing key, or a value of the wrong type.
    #[error("{} is not a model description: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser said, with the line.
        reason: String,
    },
    /// A value that makes no sense.
    #[error("{}: `{key}` {reason}", path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// Key of the value.
        key: &'static str,
        /// What is wrong and what to write.
        reason: String,
    },
    /// The weights are not the ones that were pinned.
    #[error("{}: its BLAKE3 is {found}, model.toml pins {expected}; fetch the right file, or pin the new digest if the change is meant", path.display())]
    WrongDigest {
        /// The weights file.
        path: PathBuf,
        /// The pinned digest.
        expected: String,
        /// Digest of the file.
        found: String,
    },
    /// The weights file does not fit the architecture.
    #[error("{}: {reason}", path.display())]
    BadWeights {
        /// The weights file.
        path: PathBuf,
        /// Which tensor is missing, unknown, or of the wrong type or shape.
        reason: String,
    },
}

impl ModelError {
    /// What the operator must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Read { .. } | Self::Write { .. } => Class::NotFound,
            Self::Parse { .. } | Self::BadValue { .. } => Class::Invalid,
            Self::WrongDigest { .. } | Self::BadWeights { .. } => Class::Corrupt,
        }
    }
}
