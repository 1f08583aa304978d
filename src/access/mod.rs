//! Who may do what: identities, roles, and the rows that somebody may see.
//!
//! A caller has an [`Identity`]. What he may do with a collection is a [`Role`], and which of its rows he sees is [`Rows`].
//! The gate of the service decides once for a call, before any handler sees it, and hands the decision on as a [`Grant`].
//!
//! - **ACC-1**: what is not granted is denied. There is no default identity, role or password.
//! - **ACC-2**: rows that a caller may not see do not exist for him: not in hits, counts, fits, errors or explanations.

mod denied;
mod grant;
mod identity;
mod role;

pub use denied::{Denied, DeniedKind};
pub use grant::{Grant, Rows};
pub use identity::{Identity, Proof};
pub use role::Role;
