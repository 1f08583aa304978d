//! The gate: what stands before every service, and lets nothing pass that is not allowed.
//!
//! For each call the gate finds the rule of its method (an option of the protocol, from which the build makes a table), asks who
//! calls, reads the name of the collection in the first message, and has the [`Authority`] decide. The decision, a
//! [`Grant`], is put beside the request; a handler without one serves nobody. The request itself is handed on as it came.
//!
//! - **GATE-1**: a method without a rule is not built, and a path without a rule is not served.
//! - **GATE-2**: the collection that was decided on is the one that the handler reads: a message that could be read in two
//!   ways is refused.
//! - **GATE-3**: of every call that arrives each [`Watch`] is told exactly once how it ended.

mod authority;
mod call;
mod credentials;
mod first;
mod layer;
mod refusal;
mod registry;
mod rule;
mod scan;

use std::sync::Arc;

use tonic::{Request, Status};

pub(super) use authority::{Authority, Identified, OpenAuthority};
pub(super) use call::{CallBegins, CallEnded, Decision, RowsServed, Watch, Watches};
pub(super) use credentials::Credentials;
pub(super) use layer::GateLayer;
pub(super) use refusal::Refusal;
pub(super) use registry::RegistryAuthority;

use super::ServiceError;
use crate::access::{Grant, Identity, Role};

/// Who makes a call, for handlers that learn only by and by what it is about.
#[derive(Clone)]
pub(super) struct Caller {
    authority: Arc<dyn Authority>,
    identity: Arc<Identity>,
}

impl Caller {
    /// Who it is.
    pub(super) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// What he may do with a collection.
    ///
    /// # Errors
    /// UNAUTHENTICATED or PERMISSION_DENIED.
    pub(super) fn grant(&self, needed: Role, collection: &str) -> Result<Grant, Status> {
        Ok(self.authority.decide(&self.identity, needed, Some(collection))?)
    }
}

/// The decision on a call.
///
/// # Errors
/// PERMISSION_DENIED where there is none: a call that did not come through the gate is not served.
pub(super) fn grant<T>(request: &Request<T>) -> Result<Grant, Status> {
    request.extensions().get::<Grant>().cloned().ok_or_else(no_grant)
}

/// Who makes a call.
///
/// # Errors
/// As of [`grant`].
pub(super) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(no_grant)
}

/// The counter of rows of a call. One that did not come through the gate has one that nobody reads.
pub(super) fn rows_served<T>(request: &Request<T>) -> RowsServed {
    request.extensions().get::<RowsServed>().cloned().unwrap_or_default()
}

fn no_grant() -> Status {
    ServiceError::NotThroughTheGate.into()
}
