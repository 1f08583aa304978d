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
mod log;
mod refusal;
mod registry;
mod rule;
mod scan;

use tonic::{Request, Status};

pub(super) use authority::{Authority, OpenAuthority};
pub(super) use call::{CallBegins, CallEnded, Decision, RowsServed, Watch, Writes};
pub(super) use layer::GateLayer;
pub(super) use log::LogCalls;
pub(super) use refusal::Refusal;
pub(super) use registry::RegistryAuthority;

use super::ServiceError;
use crate::access::Grant;

/// The decision on a call.
///
/// # Errors
/// PERMISSION_DENIED where there is none: a call that did not come through the gate is not served.
pub(super) fn grant<T>(request: &Request<T>) -> Result<Grant, Status> {
    request.extensions().get::<Grant>().cloned().ok_or_else(no_grant)
}

/// The counter of rows of a call. One that did not come through the gate has one that nobody reads.
pub(super) fn rows_served<T>(request: &Request<T>) -> RowsServed {
    request.extensions().get::<RowsServed>().cloned().unwrap_or_default()
}

fn no_grant() -> Status {
    ServiceError::NotThroughTheGate.into()
}
