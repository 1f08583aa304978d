//! A call that is not let through.

use thiserror::Error;

/// What the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeniedKind {
    /// He has not shown who he is: he needs another token or certificate.
    Unauthenticated,
    /// He is known, and may not: he needs another role.
    Forbidden,
    /// Nobody can tell at the moment who he is: he may try again.
    Unavailable,
}

/// A call that is not let through, with one text for the caller and another for the audit log.
///
/// The caller's text never tells whether a token or a collection exists to somebody who may not know of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{public}")]
pub struct Denied {
    kind: DeniedKind,
    public: String,
    reason: String,
}

/// All that is told about a token that does not open anything: whether it is malformed, unknown or revoked is nobody's business.
const NOT_VALID: &str = "the token is not valid: this server does not know it, or it was revoked";

impl Denied {
    /// A token about which nothing may be told; the reason is for the audit log.
    pub(super) fn token(reason: impl Into<String>) -> Self {
        let public = NOT_VALID.to_owned();
        Self { kind: DeniedKind::Unauthenticated, public, reason: reason.into() }
    }

    /// A token that is genuine, so that its holder may be told what is wrong with it: `the token is not valid: WHAT`.
    pub(super) fn genuine(what: &str, reason: impl Into<String>) -> Self {
        let public = format!("the token is not valid: {what}");
        Self { kind: DeniedKind::Unauthenticated, public, reason: reason.into() }
    }

    /// Another refusal.
    pub(super) fn new(
        kind: DeniedKind,
        public: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self { kind, public: public.into(), reason: reason.into() }
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> DeniedKind {
        self.kind
    }

    /// What he is told.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// What the audit log is told. It names tokens by their public ids, and never holds a secret.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
