//! What can go wrong when the database asks the encoder process.

use std::time::Duration;

use thiserror::Error;

use crate::class::Class;

/// Why an encoder process gave no vectors.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// The process is starting, has died, or cannot be reached.
    #[error(
        "the encoder is not available: {reason}; stored vectors are still searched, and the request can be tried again"
    )]
    Unavailable {
        /// Why, and when it will be tried again.
        reason: String,
    },
    /// The queue of the process is full.
    #[error("the encoder has too much to do: {reason}; try again in a moment")]
    Overloaded {
        /// What is full.
        reason: String,
    },
    /// No answer in time.
    #[error("the encoder gave no answer within {} s; try again or send fewer inputs at once", after.as_secs_f64())]
    DeadlineExceeded {
        /// How long the call was allowed to take.
        after: Duration,
    },
    /// No model of that id is served.
    #[error("{reason}")]
    UnknownModel {
        /// The id, and which ones there are.
        reason: String,
    },
    /// The request as a whole can never succeed.
    #[error("the encoder refuses the request: {reason}")]
    Refused {
        /// What to mend.
        reason: String,
    },
    /// The address of a remote encoder is not one.
    #[error("`{address}` is not the address of an encoder; write host:port or http://host:port")]
    BadAddress {
        /// What was given.
        address: String,
    },
    /// The network itself failed, for example for lack of memory.
    #[error("the encoder failed: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
    /// The reply is not one of this protocol: the two programs are of different versions.
    #[error(
        "the encoder's reply is wrong: {reason}; the encoder and the server must be of one version"
    )]
    BadReply {
        /// What is wrong with it.
        reason: String,
    },
}

impl EncoderError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Unavailable { .. } | Self::Overloaded { .. } | Self::DeadlineExceeded { .. } => {
                Class::Unavailable
            }
            Self::UnknownModel { .. } => Class::NotFound,
            Self::Refused { .. } | Self::BadAddress { .. } => Class::Invalid,
            Self::Failed { .. } | Self::BadReply { .. } => Class::Internal,
        }
    }

    /// The reason alone, where the message says around it what the caller must do.
    pub(super) fn brief(&self) -> String {
        match self {
            Self::Unavailable { reason } | Self::Overloaded { reason } => reason.clone(),
            other => other.to_string(),
        }
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_retryable(&self) -> bool {
        self.class() == Class::Unavailable
    }
}
