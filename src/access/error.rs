//! Why identities, roles or policies cannot be read or changed.

use thiserror::Error;

use crate::class::Class;
use crate::engine::EngineError;

/// Why identities, roles or policies cannot be read or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccessError {
    /// A name that cannot be one.
    #[error("`{name}` is not the name of {what}: {rule}")]
    BadName {
        /// Of what.
        what: &'static str,
        /// What was given.
        name: String,
        /// What names are made of.
        rule: &'static str,
    },
    /// A principal without its kind.
    #[error("`{given}` is neither user:NAME nor group:NAME")]
    NoPrincipal {
        /// What was given.
        given: String,
    },
    /// A grant or policy for a release.
    #[error(
        "`{given}` is a release: roles and policies of `{collection}` hold for its releases, too"
    )]
    OfRelease {
        /// What was given.
        given: String,
        /// Its collection.
        collection: String,
    },
    /// The group of everybody has no list.
    #[error("everybody who has shown who he is belongs to `everyone`: it has no list of members")]
    Everyone,
    /// A token that does not exist.
    #[error("there is no token `{id}`; `sidereus access token list` shows them")]
    NoToken {
        /// Its public id.
        id: String,
    },
    /// A group that does not exist.
    #[error("there is no group `{name}`; `sidereus access group list` shows them")]
    NoGroup {
        /// Its name.
        name: String,
    },
    /// A grant that does not exist.
    #[error("`{principal}` has no role on `{collection}`; `sidereus access grants` shows who has")]
    NoGrant {
        /// Whose.
        principal: String,
        /// On what.
        collection: String,
    },
    /// A row policy that does not exist.
    #[error(
        "`{principal}` has no row policy on `{collection}`; `sidereus access policy list` shows them"
    )]
    NoPolicy {
        /// Whose.
        principal: String,
        /// On what.
        collection: String,
    },
    /// A policy on everything.
    #[error("a row policy is for one collection, whose columns it names: give one instead of `*`")]
    PolicyOnEverything,
    /// A predicate that the collection cannot answer.
    #[error("the row policy is refused: {reason}")]
    PolicyRefused {
        /// Which column or which syntax.
        reason: String,
    },
    /// The last administrator would go.
    #[error(
        "this is the last grant of `administer` on `*`, and nobody could give another: give one to somebody else first"
    )]
    LastAdministrator,
    /// A token that would last too long, or not at all.
    #[error("a token lasts 1 second to {max_days} days (auth.token_days_max), not {given_s} s")]
    BadLife {
        /// What was wanted, seconds.
        given_s: u64,
        /// The longest, days.
        max_days: u64,
    },
    /// More of something than the registry holds.
    #[error(
        "there are {max} {what} already, the most that a server keeps: remove some that nobody needs"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// A setting of the single sign-on.
    #[error("auth.oidc.{key}: {reason}")]
    Oidc {
        /// The setting.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes for a token: {0}")]
    Random(getrandom::Error),
    /// A record that cannot be read: without it nobody can tell who may do what.
    #[error("the {what} record `{name}` cannot be read: {reason}; restore it from a backup")]
    Damaged {
        /// Of what.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] EngineError),
}

impl AccessError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::BadName { .. }
            | Self::NoPrincipal { .. }
            | Self::OfRelease { .. }
            | Self::Everyone
            | Self::PolicyOnEverything
            | Self::PolicyRefused { .. }
            | Self::BadLife { .. }
            | Self::Oidc { .. } => Class::Invalid,
            Self::NoToken { .. }
            | Self::NoGroup { .. }
            | Self::NoGrant { .. }
            | Self::NoPolicy { .. } => Class::NotFound,
            Self::LastAdministrator => Class::Conflict,
            Self::TooMany { .. } => Class::Exhausted,
            Self::Random(_) => Class::Unavailable,
            Self::Damaged { .. } => Class::Corrupt,
            Self::Store(error) => error.class(),
        }
    }
}
