//! Every call into the audit log, and no answer of a write or a denial before it is there.
//!
//! A stream that writes has an entry when it begins as well, which is on the disk before the first of its answers: what it
//! acknowledges would otherwise be unseen if the machine stopped before its end. Refused calls that come in numbers are summed up
//! ([`Denials`]).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::Layer;

use super::denials::Denials;
use super::gate::{self, CallBegins, CallEnded, Watch, Writes};
use super::tls::Peer;
use super::{ServiceError, raw};
use crate::access::{Identity, Proof};
use crate::audit::{Decision, Entry, Log};

/// Probes of whether the server lives, which are not calls of anybody and are answered whatever happens.
const HEALTH: &str = "/grpc.health.";

/// Answered while the log cannot be written, so that a caller learns that it is not his token.
const WHO_AM_I: &str = "/sidereus.v1.AccessService/WhoAmI";

/// The word in place of a code for a call that begins.
const BEGINS: &str = "BEGINS";

/// How often it is looked whether refused calls must be summed up.
const SUMS_EVERY: Duration = Duration::from_secs(5);

/// Writes down how every call ends, and keeps calls from beginning while that cannot be done. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Auditor {
    log: Log,
    denials: Arc<Denials>,
}

impl Auditor {
    pub(super) fn new(log: Log) -> Self {
        Self { log, denials: Arc::default() }
    }

    /// The log that it writes.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Sums up refused calls, as long as it is not dropped.
    pub(super) async fn keep_summing(self) {
        loop {
            tokio::time::sleep(SUMS_EVERY).await;
            self.write_sums(false);
        }
    }

    /// Writes sums of refused calls: those that are due, or all of them at the end.
    pub(super) fn write_sums(&self, all: bool) {
        for sum in self.denials.sums(Instant::now(), all) {
            self.log.append(sum);
        }
    }

    /// Writes down everything that was done, before the server is gone.
    pub(super) async fn close(self) {
        self.write_sums(true);
        let log = self.log;
        if tokio::task::spawn_blocking(move || log.close()).await.is_err() {
            tracing::error!("the audit log could not be closed");
        }
    }

    /// Writes the entry of a refused call, or counts it.
    fn denied(&self, peer: Option<&Peer>, entry: Entry) {
        let caller = match (entry.identity.as_str(), peer) {
            ("", Some(peer)) => peer.network(),
            ("", None) => String::new(),
            (identity, _) => identity.to_owned(),
        };
        for entry in self.denials.take(&caller, entry, Instant::now()) {
            // Who waits for it is the layer, before the end of the answer.
            drop(self.log.append_now(entry));
        }
    }
}

impl Watch for Auditor {
    fn begins(&self, call: &CallBegins<'_>) -> Result<(), Status> {
        if call.method.starts_with(HEALTH) || call.method == WHO_AM_I {
            return Ok(());
        }
        self.log.check().map_err(|error| Status::from(ServiceError::from(error)))?;
        if call.writes.is_some_and(|writes| writes.streams) {
            // It is on the disk before the first answer: the layer waits for it.
            drop(self.log.append_now(Entry {
                at: SystemTime::now(),
                identity: call.grant.identity.name.clone(),
                proof: proof(&call.grant.identity),
                peer: call.peer.map(|peer| peer.address.to_string()).unwrap_or_default(),
                verb: call.method.to_owned(),
                collection: call.collection.map(str::to_owned),
                role: call.role.map(|role| role.name().to_owned()),
                decision: Decision::Allowed,
                code: BEGINS.to_owned(),
                rows: 0,
                bytes: 0,
                duration: Duration::ZERO,
            }));
        }
        Ok(())
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
            role: call.role.map(|role| role.name().to_owned()),
            decision: match denied {
                true => Decision::Denied { reason: call.reason.to_owned() },
                false => Decision::Allowed,
            },
            code: word(call.code).to_owned(),
            rows: call.rows,
            bytes: call.bytes,
            duration: call.duration,
        };
        if denied {
            self.denied(call.peer, entry);
        } else if call.writes.is_some() {
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
                None => Ok(match response.extensions().get::<Writes>().copied() {
                    Some(writes) => response.map(|body| until_written(body, log, writes)),
                    None => response,
                }),
                Some(_) => Ok(response),
            }
        })
    }
}

/// An answer whose end is sent when the entry of its call is on the disk, and the first message of a stream when it is there that
/// it began.
fn until_written(body: Body, log: Log, writes: Writes) -> Body {
    let answer = Some((raw::messages(body), log, writes.streams));
    let held = futures::stream::unfold(answer, |answer| async {
        let (mut messages, log, is_first) = answer?;
        match messages.next().await {
            Some(Ok(message)) => {
                if is_first && let Err(error) = log.flush().await {
                    return Some((Err(ServiceError::from(error).into()), None));
                }
                Some((Ok(message), Some((messages, log, false))))
            }
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
