//! Who may do what: identities, roles, and the rows that somebody may see.
//!
//! A caller has an [`Identity`]. What he may do with a collection is a [`Role`], and which of its rows he sees is [`Rows`].
//! The gate of the service decides once for a call, before any handler sees it, and hands the decision on as a [`Grant`].
//!
//! # Who somebody is
//!
//! He shows an API token of this server ([`Registry::authenticate_token`]), a token of the collaboration's single sign-on
//! ([`Registry::authenticate_oidc`]) or a client certificate ([`Registry::identity_of_certificate`]). Names of people are
//! compared byte by byte, for an issuer may tell `Ada` and `ada` apart; names of groups and collections are compared without
//! regard to case.
//!
//! # What he may do
//!
//! A *principal* is `user:NAME` or `group:NAME`. A grant gives a principal one role on one collection, or on `*`: on every
//! collection, those to come among them, and on the server itself. A caller acts as several principals: as himself, as each of
//! his groups, and as `group:everyone`, to which everybody belongs who has shown who he is. His role on a collection is the
//! strongest that any of them has on it or on `*`. A release `NAME@dr1` is its collection here, in roles as in rows.
//!
//! # What he sees
//!
//! A row policy gives a principal a predicate on one collection. Each principal through which the caller may read contributes
//! rows: all of them where that principal has no policy for the collection, else those that satisfy its predicate; he sees
//! the union. Who may curate a collection sees all of it. So rows of a proprietary period want two groups: `everyone` may
//! read under the policy `release_date <= today`, and the team may read without a policy.
//!
//! A predicate is checked when it is written: one that names a column that the collection lacks is refused. Where such a
//! column goes later, the policy shows no row.
//!
//! - **ACC-1**: what is not granted is denied. There is no default identity, role or password.
//! - **ACC-2**: rows that a caller may not see do not exist for him: not in hits, counts, fits, errors or explanations.
//! - **ACC-3**: what is revoked is denied to the next call, and to the next batch of a stream that goes on.
//! - **ACC-4**: no secret is kept: of a token there is a hash, and no message, log or record holds what it was.

mod clock;
mod denied;
mod error;
mod grant;
mod identity;
mod oidc;
mod principal;
mod records;
mod registry;
mod role;
mod state;
mod stored;
mod token;

pub use clock::{Clock, system_clock, utc};
pub use denied::{Denied, DeniedKind};
pub use error::AccessError;
pub use grant::{Grant, Rows};
pub use identity::{Identity, Proof};
pub use oidc::OidcOptions;
pub use principal::{EVERYONE, Principal, Scope};
pub use records::{AccessRecord, Records};
pub use registry::{
    AccessOptions, GroupInfo, PolicyCheck, PolicyInfo, Registry, RoleInfo, TokenInfo,
};
pub use role::Role;
pub use token::Secret;
