//! The layer before every service.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::request::Parts;
use tonic::codegen::http::{Request, Response};
use tower::Layer;

use super::authority::{self, Authority};
use super::call::{Call, Method, Watches};
use super::credentials::Credentials;
use super::first::{First, Terms};
use super::refusal::Refusal;
use super::rule::{self, Rule, Scope};
use super::scan::{self, Peeked};
use crate::access::{Grant, Identity, Role};
use crate::service::Limits;
use crate::service::admission::AdmissionLayer;
use crate::service::tls::Peer;

/// Longest path that is noted of a call without a rule, in bytes.
const PATH_BYTES_MAX: usize = 200;

/// The services that may be sent the largest messages.
const OBJECTS: [&str; 2] = ["/sidereus.v1.ObjectService/", "/arrow.flight.protocol.FlightService/"];

/// What stands before every service: nothing passes that is not allowed.
#[derive(Clone)]
pub(in crate::service) struct GateLayer {
    shared: Arc<Shared>,
}

struct Shared {
    authority: Arc<dyn Authority>,
    admission: AdmissionLayer,
    watches: Watches,
    request_bytes_max: usize,
    object_bytes_max: usize,
}

impl GateLayer {
    /// A gate that asks an authority, before a layer whose quotas and memory it takes for what it reads.
    pub(in crate::service) fn new(
        authority: Arc<dyn Authority>,
        admission: AdmissionLayer,
        watches: Watches,
        limits: &Limits,
    ) -> Self {
        let shared = Shared {
            authority,
            admission,
            watches,
            request_bytes_max: limits.request_bytes_max,
            object_bytes_max: limits.ingest_message_bytes_max,
        };
        Self { shared: Arc::new(shared) }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { shared: Arc::clone(&self.shared), inner }
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub(in crate::service) struct Gate<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        // The clone that was asked whether it is ready makes the call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let rule = rule::find(parts.uri.path());
            let method = match rule {
                Some(rule) if !rule.path.ends_with('/') => Method::Known(rule.path),
                _ => Method::Other(cut(parts.uri.path())),
            };
            let peer = parts.extensions.get::<Peer>().cloned();
            let mut call = Call::arrives(Arc::clone(&shared.watches), method, peer);
            call.is_told(parts.extensions.get().cloned());
            if let Some(rule) = rule {
                call.needs(rule, rule.role);
            }
            match shared.admit(rule, &mut parts, body, &mut call).await {
                Ok(body) => {
                    let response = inner.call(Request::from_parts(parts, body)).await?;
                    let writes = call.writes();
                    let streams = rule.is_some_and(|rule| rule.server_streaming);
                    let mut response = call.follow(response, streams);
                    if let Some(writes) = writes {
                        response.extensions_mut().insert(writes);
                    }
                    Ok(response)
                }
                Err(refusal) => {
                    call.refused(&refusal);
                    Ok(Status::from(refusal).into_http())
                }
            }
        })
    }
}

impl Shared {
    /// Decides on a call, puts the decision beside it, and gives its body back as it came.
    async fn admit(
        &self,
        rule: Option<&'static Rule>,
        parts: &mut Parts,
        body: Body,
        call: &mut Call,
    ) -> Result<Body, Refusal> {
        if let Some(Rule { scope: Scope::Anybody, .. }) = rule {
            call.begins(&Grant::open(None), 0)?;
            return Ok(body);
        }
        let credentials = Credentials::read(&parts.headers, parts.extensions.get::<Peer>());
        let credentials = match credentials {
            // Who asks nobody does not look at what is shown.
            Err(_) if self.authority.is_open() => Credentials::Nothing,
            credentials => credentials?,
        };
        let identity = self.authority.identify(credentials).await?;
        call.is_of(&identity);
        let Some(rule) = rule else {
            return Err(Refusal::NoMethod { path: cut(parts.uri.path()) });
        };
        let (grant, body, bytes) = if rule.names_collection() {
            let first = self.first(rule, &identity, parts, body).await?;
            let message = first.message.as_deref().unwrap_or_default();
            let peeked = scan::peek(rule, message).map_err(Refusal::Malformed)?;
            call.is_about(peeked.collection, peeked.release);
            call.needs(rule, peeked.role);
            (self.decide(rule, &identity, &peeked)?, first.body, message.len())
        } else {
            (self.decide(rule, &identity, &Peeked::nothing(rule))?, body, 0)
        };
        call.begins(&grant, bytes)?;
        parts.extensions.insert(call.rows());
        parts.extensions.insert(grant);
        Ok(body)
    }

    /// Reads the first message. What it takes of its caller's quotas and of the memory is taken before it comes, and who
    /// has no role on anything sends no more than a name.
    async fn first(
        &self,
        rule: &Rule,
        identity: &Arc<Identity>,
        parts: &mut Parts,
        body: Body,
    ) -> Result<First, Refusal> {
        let known = (!self.authority.is_open()).then_some(&**identity);
        let peer = parts.extensions.get::<Peer>();
        let entered =
            self.admission.enter(known, peer, parts.uri.path()).map_err(Refusal::Limited)?;
        let large = || self.authority.decide(identity, Role::Read, None).map(drop);
        let memory = |bytes: usize| entered.grow(bytes).map_err(Refusal::Limited);
        let terms = Terms { limit: self.limit(rule), large: &large, memory: &memory };
        let first = First::read(body, terms).await?;
        parts.extensions.insert(entered);
        Ok(first)
    }

    fn decide(
        &self,
        rule: &Rule,
        identity: &Arc<Identity>,
        peeked: &Peeked<'_>,
    ) -> Result<Grant, Refusal> {
        let lists = rule.scope == Scope::Listing || peeked.lists(rule);
        if self.authority.is_open() {
            return self.authority.decide(identity, peeked.role, peeked.collection);
        }
        match (lists, peeked.collection) {
            (true, _) => Ok(authority::listing(identity)),
            (false, None) if rule.names_collection() => Err(Refusal::NoCollection),
            (false, collection) => self.authority.decide(identity, peeked.role, collection),
        }
    }

    fn limit(&self, rule: &Rule) -> usize {
        let is_large = OBJECTS.iter().any(|service| rule.path.starts_with(service));
        if is_large { self.object_bytes_max } else { self.request_bytes_max }
    }
}

fn cut(path: &str) -> String {
    path[..path.floor_char_boundary(PATH_BYTES_MAX)].to_owned()
}
