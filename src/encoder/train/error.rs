//! Why a training came to nothing.

use thiserror::Error;

use super::super::EncoderError;
use crate::class::Class;
use crate::learn::LearnError;

/// Why there is no trained head.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The encoder refuses, is not there, or was lost on the way.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The examples could not be read, or nobody waits any more.
    #[error(transparent)]
    Learn(#[from] LearnError),
}

impl TrainError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Encoder(error) => error.class(),
            Self::Learn(LearnError::Unreadable { .. }) => Class::Internal,
            Self::Learn(LearnError::Stopped) => Class::Unavailable,
            Self::Learn(_) => Class::Invalid,
        }
    }

    /// Whether the same training may succeed a moment later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Encoder(error) if error.is_retryable())
    }
}
