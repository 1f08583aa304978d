//! Why there is no TLS.

use std::path::PathBuf;

use thiserror::Error;

use crate::class::Class;

/// Why there is no TLS.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Unreadable {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that does not hold what it should.
    #[error("{} holds no {what} in PEM: {reason}", path.display())]
    Malformed {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate that is over.
    #[error("the certificate {} expired {days} days ago: renew it, and write the new one there", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// Whole days since then.
        days: u64,
    },
    /// A certificate and a key that do not belong together, or cannot be used.
    #[error("the certificate {} and the key {} cannot be used: {reason}", certificate.display(), key.display())]
    BadPair {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Authorities of clients that cannot be used.
    #[error("the authorities of client certificates in {} cannot be used: {reason}", path.display())]
    BadAuthorities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The cryptography of this program lacks something.
    #[error("TLS 1.3 cannot be offered: {reason}")]
    Unsupported {
        /// What is wrong.
        reason: String,
    },
}

impl TlsError {
    /// What the operator must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Class::NotFound
            }
            Self::Unreadable { .. } => Class::Unavailable,
            Self::Malformed { .. }
            | Self::Expired { .. }
            | Self::BadPair { .. }
            | Self::BadAuthorities { .. } => Class::Invalid,
            Self::Unsupported { .. } => Class::Internal,
        }
    }
}
