//! The gate in front of every service: whom a call serves and how far is decided before any handler sees it.
//!
//! The decision travels as a [`Grant`] in the extensions of the request. A handler takes it from there, and without one it
//! serves nobody.

use std::fmt;
use std::sync::Arc;

use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::ServiceError;
use crate::access::{Grant, Identity};

/// Who decides on calls, for a server that asks whom it serves.
#[derive(Clone)]
pub struct Authority {
    /// The grant of a call with these headers.
    pub of_call: Arc<dyn Fn(&MetadataMap) -> Grant + Send + Sync>,
    /// What somebody may see of a collection that his call did not name, in a list of all; `None` where he may not know of it.
    pub of_collection: Arc<dyn Fn(&Identity, &str) -> Option<Grant> + Send + Sync>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Authority")
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.of_call, &other.of_call)
            && Arc::ptr_eq(&self.of_collection, &other.of_collection)
    }
}

impl Eq for Authority {}

/// The grant of a request.
///
/// # Errors
/// `PERMISSION_DENIED` for a request that did not come through the gate.
pub(super) fn grant<T>(request: &Request<T>) -> Result<Grant, Status> {
    let grant = request.extensions().get::<Grant>().cloned();
    Ok(grant.ok_or(ServiceError::NotThroughTheGate)?)
}

/// Puts the grant beside each request.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    authority: Option<Authority>,
}

impl Gate {
    /// A gate that asks an authority, or nobody where there is none.
    pub(super) fn new(authority: Option<Authority>) -> Self {
        Self { authority }
    }
}

impl Interceptor for Gate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let grant = match &self.authority {
            Some(authority) => (authority.of_call)(request.metadata()),
            None => Grant::open(None),
        };
        request.extensions_mut().insert(grant);
        Ok(request)
    }
}
