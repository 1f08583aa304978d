//! One call from its beginning to its end, and who is told of both.

use std::fmt::Debug;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use futures::Stream;
use tonic::body::Body;
use tonic::codegen::Body as _;
use tonic::codegen::http::Response;
use tonic::{Code, Status};

use super::refusal::Refusal;
use super::rule::Rule;
use crate::access::{Grant, Identity, Role};
use crate::service::tls::Peer;
use crate::service::{raw, telemetry};

/// Rows that a call has read for its caller, or written. Handlers add to it; it is in the extensions of every request.
#[derive(Debug, Clone, Default)]
pub(in crate::service) struct RowsServed(Arc<Served>);

#[derive(Debug, Default)]
struct Served {
    /// Rows of its answer that are still to be counted against the day's quota, and those that have been.
    rows: AtomicU64,
    counted: AtomicU64,
    written: AtomicU64,
    bytes: AtomicU64,
}

impl RowsServed {
    /// Adds rows of its answer.
    pub(in crate::service) fn add(&self, rows: u64) {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Adds rows of its answer that have been counted against the quota of its caller.
    pub(in crate::service) fn add_counted(&self, rows: u64) {
        self.0.counted.fetch_add(rows, Ordering::Relaxed);
    }

    /// Adds rows that it has written, or deleted.
    pub(in crate::service) fn add_written(&self, rows: u64) {
        self.0.written.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows so far, of its answer and written.
    pub(in crate::service) fn rows(&self) -> u64 {
        let Served { counted, written, .. } = &*self.0;
        self.uncounted() + counted.load(Ordering::Relaxed) + written.load(Ordering::Relaxed)
    }

    /// Rows of its answer so far that nobody has counted against a quota.
    pub(in crate::service) fn uncounted(&self) -> u64 {
        self.0.rows.load(Ordering::Relaxed)
    }

    /// Adds bytes of its answer.
    pub(in crate::service) fn add_bytes(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of its answer so far.
    pub(in crate::service) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

/// What the gate decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) enum Decision {
    /// The call was let through.
    Allowed,
    /// It was not.
    Refused,
}

/// In the extensions of answers to calls that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) struct Writes {
    /// Whether messages of the answer acknowledge what was changed before its end.
    pub(in crate::service) streams: bool,
}

/// A call that begins: it was let through, and no handler has seen it.
#[derive(Debug)]
pub(in crate::service) struct CallBegins<'a> {
    /// Path of its method.
    pub(in crate::service) method: &'a str,
    /// What was decided.
    pub(in crate::service) grant: &'a Grant,
    /// The collection that it names, with its release, `NAME@RELEASE`.
    pub(in crate::service) collection: Option<&'a str>,
    /// Where it came from.
    pub(in crate::service) peer: Option<&'a Peer>,
    /// The role that it needs, with what its first message asks for.
    pub(in crate::service) role: Option<Role>,
    /// Whether it changes something.
    pub(in crate::service) writes: Option<Writes>,
    /// Bytes of its first message, where the gate has seen it.
    pub(in crate::service) request_bytes: usize,
}

/// A call that has ended.
#[derive(Debug)]
pub(in crate::service) struct CallEnded<'a> {
    /// Path of its method, as far as it is one.
    pub(in crate::service) method: &'a str,
    /// Who called; `None` where that was not told, or nobody was asked yet.
    pub(in crate::service) identity: Option<&'a Identity>,
    /// The collection that it named, with its release, `NAME@RELEASE`.
    pub(in crate::service) collection: Option<&'a str>,
    /// Where it came from.
    pub(in crate::service) peer: Option<&'a Peer>,
    /// The role that it needs, with what its first message asks for; `None` without a rule.
    pub(in crate::service) role: Option<Role>,
    /// Whether it changes something.
    pub(in crate::service) writes: Option<Writes>,
    /// What was decided.
    pub(in crate::service) decision: Decision,
    /// Why it was refused; more than the caller was told. Empty where it was not.
    pub(in crate::service) reason: &'a str,
    /// The gRPC code; `Cancelled` where the caller went away, or his time was over, before the end.
    pub(in crate::service) code: Code,
    /// Rows that were read for the caller, or written.
    pub(in crate::service) rows: u64,
    /// Bytes of the messages of its answer.
    pub(in crate::service) bytes: u64,
    /// From the arrival of the call to its end.
    pub(in crate::service) duration: Duration,
}

/// Somebody who is told of calls: quotas, the audit log, metrics.
pub(in crate::service) trait Watch: Debug + Send + Sync {
    /// A call that was let through begins.
    ///
    /// # Errors
    /// A status refuses it after all, for example because a quota is used up.
    fn begins(&self, _call: &CallBegins<'_>) -> Result<(), Status> {
        Ok(())
    }

    /// A call has ended: its answer is sent, or nobody wants it any more. Told once for each call.
    fn ended(&self, call: &CallEnded<'_>);
}

/// Everybody who is told of calls.
pub(in crate::service) type Watches = Arc<[Arc<dyn Watch>]>;

/// A call under way. When it is dropped, it has ended.
#[derive(Debug)]
pub(super) struct Call {
    watches: Watches,
    began: Instant,
    method: Method,
    peer: Option<Peer>,
    identity: Option<Arc<Identity>>,
    collection: Option<String>,
    role: Option<Role>,
    writes: Option<Writes>,
    rows: RowsServed,
    decision: Decision,
    reason: String,
    /// How it ended, once it has.
    code: Option<Code>,
    told: Option<Arc<telemetry::Call>>,
}

/// The path of a call.
#[derive(Debug)]
pub(super) enum Method {
    Known(&'static str),
    /// One of another protocol, or that is not known.
    Other(String),
}

impl Method {
    fn path(&self) -> &str {
        match self {
            Self::Known(path) => path,
            Self::Other(path) => path,
        }
    }
}

impl Call {
    /// A call that has just arrived.
    pub(super) fn arrives(watches: Watches, method: Method, peer: Option<Peer>) -> Self {
        if let Some(peer) = &peer {
            peer.standing.calls();
        }
        Self {
            watches,
            began: Instant::now(),
            method,
            peer,
            identity: None,
            collection: None,
            role: None,
            writes: None,
            rows: RowsServed::default(),
            // Whatever happens before the decision, it was not let through.
            decision: Decision::Refused,
            reason: String::new(),
            code: None,
            told: None,
        }
    }

    /// Has the call as telemetry sees it know how its stream ends.
    pub(super) fn is_told(&mut self, told: Option<Arc<telemetry::Call>>) {
        self.told = told;
    }

    /// Notes who calls.
    pub(super) fn is_of(&mut self, identity: &Arc<Identity>) {
        self.identity = Some(Arc::clone(identity));
        if let Some(peer) = &self.peer {
            peer.standing.is_known();
        }
    }

    /// Notes what it needs: by its rule, or by more that its first message asks for.
    pub(super) fn needs(&mut self, rule: &Rule, role: Role) {
        self.role = Some(role);
        let writes = rule.writes || role > Role::Read;
        self.writes = writes.then_some(Writes { streams: rule.server_streaming });
    }

    /// Whether it changes something.
    pub(super) fn writes(&self) -> Option<Writes> {
        self.writes
    }

    /// Notes what it is about.
    pub(super) fn is_about(&mut self, collection: Option<&str>, release: Option<&str>) {
        if self.watches.is_empty() {
            return;
        }
        self.collection = collection.map(|collection| match release {
            Some(release) => format!("{collection}@{release}"),
            None => collection.to_owned(),
        });
    }

    /// Lets it through, unless a watch is against it.
    pub(super) fn begins(&mut self, grant: &Grant, request_bytes: usize) -> Result<(), Refusal> {
        let begins = CallBegins {
            method: self.method.path(),
            grant,
            collection: self.collection.as_deref(),
            peer: self.peer.as_ref(),
            role: self.role,
            writes: self.writes,
            request_bytes,
        };
        for watch in &*self.watches {
            watch.begins(&begins).map_err(|status| Refusal::Watch {
                code: status.code(),
                message: status.message().to_owned(),
            })?;
        }
        self.decision = Decision::Allowed;
        Ok(())
    }

    /// The counter that its handler adds rows to.
    pub(super) fn rows(&self) -> RowsServed {
        self.rows.clone()
    }

    /// Ends it with a refusal.
    pub(super) fn refused(mut self, refusal: &Refusal) {
        if let Refusal::Limited(_) = refusal {
            // Nobody has denied it, and under overload there are too many to wait for the audit log with each.
            self.decision = Decision::Allowed;
        }
        self.ends(refusal.code());
        self.reason = refusal.reason();
        if let (None, Some(peer)) = (&self.identity, &self.peer) {
            peer.standing.was_refused();
        }
    }

    /// Notes how it ends; what comes after the end does not count.
    fn ends(&mut self, code: Code) {
        let code = *self.code.get_or_insert(code);
        if let Some(told) = &self.told {
            told.ends_with(code);
        }
    }

    /// Follows its answer to the end.
    pub(super) fn follow(mut self, response: Response<Body>, streams: bool) -> Response<Body> {
        if self.watches.is_empty() {
            return response;
        }
        let (parts, body) = response.into_parts();
        let compressed = parts.headers.contains_key("grpc-encoding");
        let body = if let Some(status) = Status::from_header_map(&parts.headers) {
            // Nothing but a status comes.
            self.ends(status.code());
            Body::new(Pin::new(Held { body, call: self, streams_status: false }))
        } else if streams && !compressed {
            streamed(body, self)
        } else {
            Body::new(Pin::new(Held { body, call: self, streams_status: true }))
        };
        Response::from_parts(parts, body)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let ended = CallEnded {
            method: self.method.path(),
            identity: self.identity.as_deref(),
            collection: self.collection.as_deref(),
            peer: self.peer.as_ref(),
            role: self.role,
            writes: self.writes,
            decision: self.decision,
            reason: &self.reason,
            code: self.code.unwrap_or(Code::Cancelled),
            rows: self.rows.rows(),
            bytes: self.rows.bytes(),
            duration: self.began.elapsed(),
        };
        for watch in &*self.watches {
            watch.ended(&ended);
        }
    }
}

/// The body of an answer that is one message, untouched. Once it is sent or given up, the call has ended.
struct Held {
    body: Body,
    call: Call,
    /// Whether the status comes after the message; it is good then, since others come alone.
    streams_status: bool,
}

impl Deref for Held {
    type Target = Body;

    fn deref(&self) -> &Body {
        &self.body
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Body {
        &mut self.body
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.streams_status && self.body.is_end_stream() {
            self.call.ends(Code::Ok);
        }
    }
}

/// The body of an answer that is a stream: its messages pass as they are, and its status, which comes last, is noted.
fn streamed(body: Body, mut call: Call) -> Body {
    let mut messages = raw::messages(body);
    let passed = futures::stream::poll_fn(move |context| {
        let next = ready!(Pin::new(&mut messages).poll_next(context));
        match &next {
            None => call.ends(Code::Ok),
            Some(Err(status)) => call.ends(status.code()),
            Some(Ok(_)) => {}
        }
        Poll::Ready(next)
    });
    raw::body(passed)
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
