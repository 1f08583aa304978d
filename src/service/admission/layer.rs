//! What stands before every service, behind the gate.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tower::Layer;

use super::body::{Bounds, Held, Readers, Taken, incoming};
use super::{Admission, Caller, Limited, Pass, Quotas};
use crate::access::{Grant, Identity};
use crate::service::Limits;
use crate::service::deadline;
use crate::service::gate::RowsServed;
use crate::service::tls::Peer;

/// Paths of protocols that are answered whatever happens: health and reflection.
const FREE: [&str; 2] = ["/grpc.health.", "/grpc.reflection."];

/// Methods that are answered when a quota is used up, since they end something or tell who somebody is. Who has lost a token must
/// be able to revoke it.
const SAFETY: [&str; 6] = [
    "/sidereus.v1.AccessService/WhoAmI",
    "/sidereus.v1.AccessService/ListTokens",
    "/sidereus.v1.AccessService/RevokeToken",
    "/sidereus.v1.AccessService/ListRoles",
    "/sidereus.v1.AccessService/TakeRole",
    "/sidereus.v1.AccessService/SetRowPolicy",
];

/// The service that may send the largest messages.
const OBJECTS: &str = "/sidereus.v1.ObjectService/";

/// Has every call pass the quotas of who makes it.
#[derive(Debug, Clone)]
pub(in crate::service) struct AdmissionLayer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    quotas: Quotas,
    admission: Admission,
    readers: Readers,
    requests: Bounds,
    objects: Bounds,
}

impl AdmissionLayer {
    /// Before the services of one server. To be called where tokio runs.
    pub(in crate::service) fn new(quotas: Quotas, admission: Admission, limits: &Limits) -> Self {
        let stall = admission.inner.options.stall;
        let requests = Bounds {
            message_bytes_max: limits.request_bytes_max,
            message_limit: "limits.request_mib",
            stall,
        };
        let objects = Bounds {
            message_bytes_max: limits.ingest_message_bytes_max,
            message_limit: "limits.ingest_message_mib",
            stall,
        };
        let readers = Readers::new(stall);
        Self { shared: Arc::new(Shared { quotas, admission, readers, requests, objects }) }
    }
}

/// What a call takes of its caller's quotas and of the memory.
#[derive(Debug, Clone)]
pub(in crate::service) struct Entered {
    pass: Arc<Pass>,
    held: Held,
}

impl Entered {
    /// Takes memory for bytes of the call.
    ///
    /// # Errors
    /// [`Limited`] by `admission.memory_mib`.
    pub(in crate::service) fn grow(&self, bytes: usize) -> Result<(), Limited> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).grow(bytes as u64)
    }
}

impl AdmissionLayer {
    /// Lets a call in before anything of it is read: of somebody who is known, or of an address. What it takes is to be put
    /// among the extensions of the request, where the layer takes it over.
    ///
    /// # Errors
    /// [`Limited`] by one of the quotas.
    pub(in crate::service) fn enter(
        &self,
        known: Option<&Identity>,
        peer: Option<&Peer>,
        path: &str,
    ) -> Result<Entered, Limited> {
        self.shared.enter(known, peer, path)
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admitting<S>;

    fn layer(&self, inner: S) -> Admitting<S> {
        Admitting { shared: Arc::clone(&self.shared), inner }
    }
}

/// A service behind the quotas.
#[derive(Debug, Clone)]
pub(in crate::service) struct Admitting<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S> Service<Request<Body>> for Admitting<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if FREE.iter().any(|path| request.uri().path().starts_with(path)) {
            return Box::pin(self.inner.call(request));
        }
        let mut request = request;
        // What the gate has read of a call is taken over with what it takes.
        let entered = request.extensions_mut().remove::<Entered>();
        // Refused here, a call costs no task of its own and does not wait behind those that are served.
        let entered = match entered.map_or_else(|| self.shared.entered(&request), Ok) {
            Ok(entered) => entered,
            Err(limited) => {
                return Box::pin(std::future::ready(Ok(Status::from(limited).into_http())));
            }
        };
        let given = request.headers().get("grpc-timeout").and_then(|value| value.to_str().ok());
        let arrived = Instant::now();
        let deadline = given.and_then(deadline::given).and_then(|given| arrived.checked_add(given));
        let caller = Caller::new(Arc::clone(&entered.pass), arrived, deadline);
        let shared = Arc::clone(&self.shared);
        // The clone that was asked whether it is ready makes the call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let (request, taken) = match shared.begin(&caller, entered, request) {
                Ok(begun) => begun,
                Err(limited) => return Ok(Status::from(limited).into_http()),
            };
            let response = caller.serve(inner.call(request)).await?;
            Ok(shared.follow(response, taken))
        })
    }
}

impl Shared {
    fn entered(&self, request: &Request<Body>) -> Result<Entered, Limited> {
        let extensions = request.extensions();
        let grant = extensions.get::<Grant>().filter(|grant| !grant.open);
        let known = grant.map(|grant| &*grant.identity);
        self.enter(known, extensions.get::<Peer>(), request.uri().path())
    }

    fn enter(
        &self,
        known: Option<&Identity>,
        peer: Option<&Peer>,
        path: &str,
    ) -> Result<Entered, Limited> {
        let is_safety = SAFETY.contains(&path);
        let check = |name: &str, groups: &[String]| match is_safety {
            true => self.quotas.check_safety(name, groups),
            false => self.quotas.check(name, groups),
        };
        let pass = match known {
            Some(identity) => check(&identity.name, &identity.groups)?,
            // Who asks nobody tells callers apart by where they are.
            None => check(&peer_name(peer.map(|peer| peer.address.ip())), &[])?,
        };
        let held = Arc::new(Mutex::new(self.admission.budget().take(0)?));
        Ok(Entered { pass: Arc::new(pass), held })
    }

    /// Begins a call that has its pass, unless it has waited too long for a thread.
    fn begin(
        &self,
        caller: &Caller,
        entered: Entered,
        request: Request<Body>,
    ) -> Result<(Request<Body>, Taken), Limited> {
        self.admission.brief(Some(caller))?;
        let Entered { pass, held } = entered;
        let is_large = request.uri().path().starts_with(OBJECTS);
        let bounds = if is_large { self.objects } else { self.requests };
        let (parts, body) = request.into_parts();
        let body = incoming(body, Arc::clone(&pass), Arc::clone(&held), bounds);
        let rows = parts.extensions.get::<RowsServed>().cloned();
        let taken = Taken { pass, _held: held, rows };
        Ok((Request::from_parts(parts, body), taken))
    }

    fn follow(&self, response: Response<Body>, taken: Taken) -> Response<Body> {
        let headers = response.headers();
        // A status alone, which is over with its headers, or messages that only their reader can read.
        if headers.contains_key("grpc-status") || headers.contains_key("grpc-encoding") {
            return response;
        }
        response.map(|body| self.readers.follow(body, taken))
    }
}

/// What the quotas call somebody of whom only the address is known. A machine has a whole /64 of IPv6 for itself.
fn peer_name(address: Option<IpAddr>) -> String {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => format!("peer {address}"),
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("peer {a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        None => "peer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_told_apart_by_what_they_cannot_change() {
        let name = |text: &str| peer_name(Some(text.parse().expect("an address")));
        assert_eq!(name("10.1.2.3"), "peer 10.1.2.3");
        assert_eq!(name("::ffff:10.1.2.3"), "peer 10.1.2.3");
        assert_eq!(name("2001:db8:1:2:3:4:5:6"), name("2001:db8:1:2:ffff::1"));
        assert_ne!(name("2001:db8:1:2::1"), name("2001:db8:1:3::1"));
    }
}
