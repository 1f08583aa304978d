//! The decision on a call, as handlers find it.

use tonic::{Request, Status};

use crate::access::Grant;

/// The decision on a call. One without any is never served.
pub(super) fn grant<T>(request: &Request<T>) -> Result<Grant, Status> {
    let grant = request.extensions().get::<Grant>().cloned();
    grant.ok_or_else(|| Status::permission_denied("nobody has decided on this call"))
}

/// Lets everybody do everything: the gate of a server that asks nobody.
pub(super) fn open(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.extensions_mut().insert(Grant::open(None));
    Ok(request)
}
