//! Every call into the audit log, and no answer of a write or a denial before it is there.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures::StreamExt;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::Layer;

use super::gate::{self, CallBegins, CallEnded, Watch};
use super::{ServiceError, raw};
use crate::access::{Identity, Proof, Role};
use crate::audit::{Decision, Entry, Log};

/// Probes of whether the server lives, which are not calls of anybody and are answered whatever happens.
const HEALTH: &str = "/grpc.health.";

/// Answered while the log cannot be written, so that a caller learns that it is not his token.
const WHO_AM_I: &str = "/sidereus.v1.AccessService/WhoAmI";

/// Writes down how every call ends, and keeps calls from beginning while that cannot be done.
#[derive(Debug)]
pub(super) struct Auditor {
    log: Log,
}

impl Auditor {
    pub(super) fn new(log: Log) -> Self {
        Self { log }
    }
}

impl Watch for Auditor {
    fn begins(&self, call: &CallBegins<'_>) -> Result<(), Status> {
        if call.method.starts_with(HEALTH) || call.method == WHO_AM_I {
            return Ok(());
        }
        self.log.check().map_err(|error| ServiceError::from(error).into())
    }

    fn ended(&self, call: &CallEnded<'_>) {
        if call.method.starts_with(HEALTH) {
            return;
        }
        let denied = call.decision == gate::Decision::Refused;
        let entry = Entry {
            at: SystemTime::now().checked_sub(call.duration).unwrap_or_else(SystemTime::now),
            identity: call.identity.map(|identity| identity.name.clone()).unwrap_or_default(),
            proof: call.identity.map(proof).unwrap_or_default(),
            peer: call.peer.map(|peer| peer.address.to_string()).unwrap_or_default(),
            verb: call.method.to_owned(),
            collection: call.collection.map(str::to_owned),
            role: gate::role_needed(call.method).map(|role| role.name().to_owned()),
            decision: match denied {
                true => Decision::Denied { reason: call.reason.to_owned() },
                false => Decision::Allowed,
            },
            code: word(call.code).to_owned(),
            rows: call.rows,
            bytes: call.bytes,
            duration: call.duration,
        };
        if denied || writes(call.method) {
            // Who waits for it is the layer, before the end of the answer.
            drop(self.log.append_now(entry));
        } else {
            self.log.append(entry);
        }
    }
}

/// What shows who somebody is, by its name and never itself.
fn proof(identity: &Identity) -> String {
    match &identity.proof {
        Proof::Open => "open".to_owned(),
        Proof::Token { id } => format!("token:{id}"),
        Proof::Certificate => "certificate".to_owned(),
        Proof::Oidc { issuer, .. } => format!("oidc:{issuer}"),
    }
}

/// Whether a method changes something.
fn writes(method: &str) -> bool {
    gate::role_needed(method).is_some_and(|role| role > Role::Read)
}

/// The name of a code in the protocol.
fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Stands before the gate: holds the ends of answers until their entries are on the disk.
#[derive(Debug, Clone)]
pub(super) struct AuditLayer {
    log: Option<Log>,
}

impl AuditLayer {
    /// Without a log it lets everything pass.
    pub(super) fn new(log: Option<Log>) -> Self {
        Self { log }
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Audited<S>;

    fn layer(&self, inner: S) -> Audited<S> {
        Audited { log: self.log.clone(), inner }
    }
}

/// A service whose calls are written down.
#[derive(Debug, Clone)]
pub(super) struct Audited<S> {
    log: Option<Log>,
    inner: S,
}

impl<S> Service<Request<Body>> for Audited<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(log) = self.log.clone() else { return Box::pin(self.inner.call(request)) };
        let holds = writes(request.uri().path());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            let status = Status::from_header_map(response.headers());
            match status.map(|status| status.code()) {
                Some(Code::Unauthenticated | Code::PermissionDenied) => {
                    // It is denied in any case; what matters is that nobody is told so unseen.
                    let _ = log.flush().await;
                    Ok(response)
                }
                None if holds => Ok(response.map(|body| until_written(body, log))),
                _ => Ok(response),
            }
        })
    }
}

/// An answer whose end is sent when the entry of its call is on the disk.
fn until_written(body: Body, log: Log) -> Body {
    let answer = Some((raw::messages(body), log));
    let held = futures::stream::unfold(answer, |answer| async {
        let (mut messages, log) = answer?;
        match messages.next().await {
            Some(Ok(message)) => Some((Ok(message), Some((messages, log)))),
            end => {
                // With the messages the call ends, and is written down.
                drop(messages);
                match log.flush().await {
                    Ok(()) => end.map(|end| (end, None)),
                    Err(error) => Some((Err(ServiceError::from(error).into()), None)),
                }
            }
        }
    });
    raw::body(held)
}
