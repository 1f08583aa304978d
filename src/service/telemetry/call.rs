//! One call from its first byte to its last: its number, its spans, its time, and how it ended.
//!
//! [`CallLayer`] lies around everything else, so that a call that is refused by any layer below is counted and told as well.
//! The end of a call is the end of its reply: a stream that breaks after a minute counts a minute, and the status with
//! which it broke. The layer sees that a reply's body has ended, but not the trailers in it; so streams tell their errors
//! themselves ([`watched`]).

use std::hash::{BuildHasher, RandomState};
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Instant;

use futures::Stream;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::codegen::{Body as _, BoxFuture};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

use super::super::ServiceError;
use super::super::metrics::Metrics;
use super::super::readiness::Readiness;
use super::traces;

/// The header with a call's number, in requests and in replies.
const REQUEST_ID: &str = "x-request-id";

/// Longest number that a caller may give.
const REQUEST_ID_BYTES_MAX: usize = 64;

tokio::task_local! {
    static CALL: Arc<Call>;
}

/// A call under way.
#[derive(Debug)]
pub(in crate::service) struct Call {
    /// Its number, of the caller or of ours.
    id: String,
    path: String,
    metrics: Metrics,
    began: Instant,
    is_over: AtomicBool,
    /// The status of an error on the way; 0 for none.
    failed: AtomicI32,
    spans: [Span; 2],
}

impl Call {
    /// The number under which the log has it.
    pub(in crate::service) fn id(&self) -> &str {
        &self.id
    }

    /// Begins a call.
    fn begin(metrics: &Metrics, path: &str, headers: &HeaderMap) -> Arc<Self> {
        let id = given_id(headers).unwrap_or_else(own_id);
        let log =
            tracing::info_span!("rpc", method = path, request_id = %id, trace_id = field::Empty);
        let trace = traces::request_span(&log, path, headers);
        metrics.call_began();
        Arc::new(Self {
            id,
            path: path.to_owned(),
            metrics: metrics.clone(),
            began: Instant::now(),
            is_over: AtomicBool::new(false),
            failed: AtomicI32::new(0),
            spans: [log, trace],
        })
    }

    /// Notes the status with which its stream ends, for the layers around a service that see it.
    pub(in crate::service) fn ends_with(&self, code: Code) {
        if code != Code::Ok {
            self.failed.store(code as i32, Ordering::Release);
        }
    }

    /// Ends it; the first time counts.
    fn end(&self, code: Code) {
        if self.is_over.swap(true, Ordering::AcqRel) {
            return;
        }
        let code = match self.failed.load(Ordering::Acquire) {
            0 => code,
            failed => Code::from_i32(failed),
        };
        let seconds = self.began.elapsed().as_secs_f64();
        self.metrics.call_ended(&self.path, code, seconds);
        let [log, trace] = &self.spans;
        traces::ended(trace, code);
        tracing::debug!(parent: log, code = ?code, seconds, "call ended");
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Nobody has told an end: the caller has gone before there was one.
        self.end(Code::Cancelled);
    }
}

/// The number of the call that is being answered, for what is written down about it.
pub(in crate::service) fn current_id() -> Option<String> {
    CALL.try_with(|call| call.id().to_owned()).ok()
}

/// The call that is being answered is refused because of a limit, by the name that it has in the configuration.
pub(in crate::service) fn rejected(limit: &'static str) {
    // Nobody counts what is refused outside of a call, as in tests.
    let _ = CALL.try_with(|call| call.metrics.rejected(limit));
}

/// The stream of a reply, which tells its call with which error it ended. To be called while the call is being answered.
pub(in crate::service) fn watched<S, T>(stream: S) -> Watched<S>
where
    S: Stream<Item = Result<T, Status>> + Unpin,
{
    Watched { stream, call: CALL.try_with(Arc::clone).ok() }
}

/// See [`watched`].
#[derive(Debug)]
pub(in crate::service) struct Watched<S> {
    stream: S,
    call: Option<Arc<Call>>,
}

impl<S, T> Stream for Watched<S>
where
    S: Stream<Item = Result<T, Status>> + Unpin,
{
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.stream).poll_next(context);
        if let (Poll::Ready(Some(Err(status))), Some(call)) = (&next, &self.call) {
            call.ends_with(status.code());
        }
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

/// Puts [`Call`]s around a service.
#[derive(Debug, Clone)]
pub(in crate::service) struct CallLayer {
    metrics: Metrics,
    readiness: Readiness,
}

impl CallLayer {
    pub(in crate::service) fn new(metrics: Metrics, readiness: Readiness) -> Self {
        Self { metrics, readiness }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, layer: self.clone() }
    }
}

/// A service whose calls are told.
#[derive(Debug, Clone)]
pub(in crate::service) struct Calls<S> {
    inner: S,
    layer: CallLayer,
}

impl<S, B> Service<Request<B>> for Calls<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Response<Body>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let CallLayer { metrics, readiness } = &self.layer;
        let call = Call::begin(metrics, request.uri().path(), request.headers());
        // Health is asked for by those who watch the end, until it is there.
        if readiness.refuses() && !call.path.starts_with("/grpc.health.") {
            metrics.came_late();
            let refused = Status::from(ServiceError::Stopping).into_http();
            return Box::pin(async move { Ok(finished(call, refused)) });
        }
        request.extensions_mut().insert(Arc::clone(&call));
        let [log, trace] = call.spans.clone();
        // What is done before the first wait belongs to the call as well.
        let answering = log.in_scope(|| {
            trace.in_scope(|| CALL.sync_scope(Arc::clone(&call), || self.inner.call(request)))
        });
        let answering = CALL.scope(Arc::clone(&call), answering);
        let answered = async move { Ok(finished(call, answering.await?)) };
        Box::pin(answered.instrument(trace).instrument(log))
    }
}

/// Ends the call with its reply: at once where it is a status alone, otherwise when the body has been sent or dropped.
fn finished(call: Arc<Call>, reply: Response<Body>) -> Response<Body> {
    let (mut parts, body) = reply.into_parts();
    if let Ok(id) = HeaderValue::from_str(call.id()) {
        parts.headers.insert(REQUEST_ID, id);
    }
    let status = parts.headers.get("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok());
    match status {
        Some(code) => {
            call.end(Code::from_i32(code));
            Response::from_parts(parts, body)
        }
        None => Response::from_parts(parts, Body::new(Pin::new(Held { body, call }))),
    }
}

/// A body that tells its call when it is dropped. As a smart pointer it is a body by itself.
struct Held {
    body: Body,
    call: Arc<Call>,
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
        self.call.end(if self.body.is_end_stream() { Code::Ok } else { Code::Cancelled });
    }
}

/// The caller's number for the call, when it is short and of plain characters: it is written into the log.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = |each: char| each.is_ascii_alphanumeric() || "-_.".contains(each);
    let is_good = (1..=REQUEST_ID_BYTES_MAX).contains(&given.len()) && given.chars().all(is_plain);
    is_good.then(|| given.to_owned())
}

/// A number of our own: not a secret, but hardly another call's.
fn own_id() -> String {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}", SEED.hash_one(NEXT.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(id: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(REQUEST_ID.parse().expect("a name"), HeaderValue::from_static(id))])
    }

    #[test]
    fn numbers_of_callers_are_taken_when_they_are_plain() {
        assert_eq!(given_id(&headers("run-7.a_B")).as_deref(), Some("run-7.a_B"));
        for bad in ["", "a b", "a\"b", "x\u{7f}", &"a".repeat(65)] {
            let mut map = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(bad) {
                map.insert(REQUEST_ID, value);
            }
            assert_eq!(given_id(&map), None, "{bad}");
        }
        assert_ne!(own_id(), own_id());
        assert_eq!(own_id().len(), 16);
    }

    #[tokio::test]
    async fn the_error_of_a_stream_is_the_end_of_its_call() {
        use futures::StreamExt;
        let metrics = Metrics::new();
        let call = Call::begin(&metrics, "/x/y", &HeaderMap::new());
        let items = [Ok(1), Err(Status::aborted("no"))];
        let stream = CALL.sync_scope(Arc::clone(&call), || watched(futures::stream::iter(items)));
        assert_eq!(stream.collect::<Vec<_>>().await.len(), 2);
        assert_eq!(call.failed.load(Ordering::Relaxed), Code::Aborted as i32);
    }
}
