//! The decision on a call, as handlers find it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tonic::{Request, Status};

use crate::access::Grant;

/// The decision on a call. One without any is never served.
pub(super) fn grant<T>(request: &Request<T>) -> Result<Grant, Status> {
    let grant = request.extensions().get::<Grant>().cloned();
    grant.ok_or_else(|| Status::permission_denied("nobody has decided on this call"))
}

/// The counter of rows of a call.
#[derive(Debug, Clone, Default)]
pub(in crate::service) struct RowsServed(Arc<AtomicU64>);

impl RowsServed {
    /// Adds rows.
    pub(in crate::service) fn add(&self, rows: u64) {
        self.0.fetch_add(rows, Ordering::Relaxed);
    }
}

/// The counter of rows of a call. One that did not come through the gate has one that nobody reads.
pub(super) fn rows_served<T>(request: &Request<T>) -> RowsServed {
    request.extensions().get::<RowsServed>().cloned().unwrap_or_default()
}

/// Lets everybody do everything: the gate of a server that asks nobody.
pub(super) fn open(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.extensions_mut().insert(Grant::open(None));
    Ok(request)
}
