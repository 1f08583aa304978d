//! Why a request is not answered.

use thiserror::Error;

use super::RequestError;
use super::admission::Limited;
use crate::access::{AccessError, Denied};
use crate::audit::AuditError;
use crate::backup::BackupError;
use crate::class::Class;
use crate::encoder::EncoderError;
use crate::engine::EngineError;
use crate::files::FileError;
use crate::probes::ProbeError;
use crate::probes::bridge::BridgeError;
use crate::query::QueryError;

/// Why a request is not answered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The request itself is at fault.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The collections could not do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The query could not be planned or run.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A probe could not be fitted, kept or applied.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A bridge could not be fitted, kept or used.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// Identities, roles or policies could not be changed.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A snapshot could not be made, looked at or pruned.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The encoder process could not do it.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// Rows that arrived as an Arrow stream could not be read.
    #[error(transparent)]
    Rows(#[from] FileError),
    /// A collection that the call was not granted.
    #[error("this call may not touch collection `{collection}`")]
    NotGranted {
        /// Its name, as it was asked for.
        collection: String,
    },
    /// A call that has been going on, and would not be let through any more.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A row policy that has changed while a call went on under it.
    #[error("what you may see of `{collection}` has changed since this call began: begin it again")]
    SightChanged {
        /// Name of the collection.
        collection: String,
    },
    /// A collection that was dropped while a call wrote into it; another one may have its name.
    #[error(
        "collection `{collection}` is no longer the one that this call began with: begin it again"
    )]
    CollectionGone {
        /// Name of the collection.
        collection: String,
    },
    /// A request without a decision beside it.
    #[error("nobody has decided on this call")]
    NotThroughTheGate,
    /// A call of Flight that this server has no use for.
    #[error("this server does not know {what}")]
    Unsupported {
        /// What was asked for, and what to do instead.
        what: &'static str,
    },
    /// The server runs without an encoder.
    #[error("this server runs without an encoder; start it with one to use models")]
    NoEncoder,
    /// A model that is not the one whose vectors the space holds.
    #[error(
        "space `{space}` holds vectors of {expected}; the registered model is {given}: encode into another space, \
         or restore the model"
    )]
    ModelChanged {
        /// Name of the space.
        space: String,
        /// Provenance of the space.
        expected: String,
        /// Provenance of the model.
        given: String,
    },
    /// A collection that was dropped while a job wrote into one of its spaces.
    #[error(
        "space `{space}` of `{collection}` is no longer the one that the job began with: begin it again"
    )]
    SpaceGone {
        /// Name of the collection.
        collection: String,
        /// Name of the space.
        space: String,
    },
    /// The encoder's answer does not fit the request.
    #[error("the encoder answered {given} results for {expected} payloads")]
    EncoderMiscounted {
        /// Payloads sent.
        expected: usize,
        /// Results received.
        given: usize,
    },
    /// States that the model did not make of token ids, or made of another shape.
    #[error("the model makes no states of the token ids of {of} in space `{space}`: {reason}")]
    NoStates {
        /// Whose they are.
        of: String,
        /// Name of the space.
        space: String,
        /// The model's words, or what is wrong with its states.
        reason: String,
    },
    /// A session whose record cannot be read.
    #[error("session `{name}` cannot be read: {reason}; drop it and begin anew")]
    DamagedSession {
        /// Name of the session.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A reply that would be larger than one message may be.
    #[error(
        "the reply would have {bytes} bytes, more than the limit of {max} (`limits.reply_mib`); ask for fewer objects at once"
    )]
    ReplyTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The time that the caller or the server allows has passed.
    #[error(
        "not done within {seconds:.3} s; narrow the request or allow more time (at most `limits.request_time_s`)"
    )]
    DeadlineExceeded {
        /// What was allowed.
        seconds: f64,
    },
    /// A quota, a queue or the memory is used up for now.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// What the call does cannot be written down.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The server is being stopped.
    #[error("the server is shutting down; try again when it is back")]
    Stopping,
    /// The request stream broke.
    #[error("the request stream broke: {0}")]
    Stream(Box<tonic::Status>),
    /// Work on a thread ended without an answer.
    #[error("the work on this request failed: {reason}")]
    Task {
        /// The panic's or the runtime's words.
        reason: String,
    },
}

impl ServiceError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Request(error) => error.class(),
            Self::Engine(error) => error.class(),
            Self::Query(error) => error.class(),
            Self::Probe(error) => error.class(),
            Self::Bridge(error) => error.class(),
            Self::Access(error) => error.class(),
            Self::Backup(error) => error.class(),
            Self::Encoder(error) => error.class(),
            Self::Rows(error) => error.class(),
            Self::NoEncoder | Self::Stopping => Class::Unavailable,
            Self::SpaceGone { .. }
            | Self::CollectionGone { .. }
            | Self::SightChanged { .. }
            | Self::ModelChanged { .. }
            | Self::NoStates { .. } => Class::Conflict,
            Self::Audit(error) => error.class(),
            Self::ReplyTooLarge { .. } | Self::DeadlineExceeded { .. } | Self::Limited(_) => {
                Class::Exhausted
            }
            Self::Stream(_)
            | Self::Unsupported { .. }
            | Self::NotGranted { .. }
            | Self::Denied(_)
            | Self::NotThroughTheGate => Class::Invalid,
            Self::DamagedSession { .. } => Class::Corrupt,
            Self::EncoderMiscounted { .. } | Self::Task { .. } => Class::Internal,
        }
    }
}
