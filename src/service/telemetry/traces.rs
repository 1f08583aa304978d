//! Traces: spans of calls and of the queries in them, sent to a collector by OTLP over gRPC.
//!
//! Only spans of the target [`TARGET`] are sent, which are made for this and hold sizes and names of plans (TEL-1); what else
//! is logged stays here. Where a caller sends `traceparent`, its trace goes on, and its decision whether to sample holds.
//!
//! # Reference
//! W3C Trace Context; OpenTelemetry Protocol 1.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Status, TraceContextExt, TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tonic::Code;
use tonic::codegen::http::{HeaderMap, HeaderName, Uri};
use tonic::transport::{ClientTlsConfig, Endpoint};
use tracing::{Span, Subscriber, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use super::TelemetryError;

/// Target of the spans that are sent. Queries write it as a literal, for they lie below this module.
pub(super) const TARGET: &str = "sidereus::trace";

/// Name of the service in traces.
const SERVICE: &str = "sidereus";

/// How long sending what is left may hold the end of the program.
const END_WAIT: Duration = Duration::from_secs(3);

/// How long the collector may take to be connected to, and to take a batch.
const SEND_WAIT: Duration = Duration::from_secs(5);

/// Sends spans, in batches and on a thread of its own.
#[derive(Debug)]
pub(super) struct Exporter {
    provider: SdkTracerProvider,
}

/// The collector of an address.
pub(super) fn endpoint(address: &str) -> Result<Endpoint, TelemetryError> {
    let bad = |reason: String| TelemetryError::BadCollector { address: address.to_owned(), reason };
    let uri: Uri = address.parse().map_err(|_| bad("it is not an address".to_owned()))?;
    let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_known || uri.host().is_none_or(str::is_empty) {
        return Err(bad("it must begin with http:// or https:// and name a host".to_owned()));
    }
    let is_encrypted = uri.scheme_str() == Some("https");
    let endpoint = Endpoint::from(uri).connect_timeout(SEND_WAIT).timeout(SEND_WAIT);
    if !is_encrypted {
        return Ok(endpoint);
    }
    let tls = ClientTlsConfig::new().with_native_roots();
    endpoint.tls_config(tls).map_err(|error| bad(error.to_string()))
}

impl Exporter {
    /// Prepares to send; connects when there is something to send.
    pub(super) fn new(address: &str, sample: f64) -> Result<Self, TelemetryError> {
        let channel = endpoint(address)?.connect_lazy();
        let exporter = SpanExporter::builder().with_tonic().with_channel(channel).build();
        let exporter = exporter.map_err(|error| TelemetryError::BadCollector {
            address: address.to_owned(),
            reason: error.to_string(),
        })?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource =
            Resource::builder_empty().with_service_name(SERVICE).with_attribute(version).build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        Ok(Self { provider })
    }

    /// What hears of spans.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let only = Targets::new().with_target(TARGET, LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(SERVICE))
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(only)
    }

    /// Sends what is left.
    pub(super) async fn end(self) {
        let ending =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(END_WAIT));
        if let Ok(Err(error)) = ending.await {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// Headers of a request, as a carrier of a trace.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// The span of a call, which goes on with its caller's trace. Its number is also written into `log`, the span of its lines.
/// It is a span that does nothing where no traces are sent.
pub(super) fn request_span(log: &Span, path: &str, headers: &HeaderMap) -> Span {
    let name = path.trim_start_matches('/');
    let (service, method) = name.split_once('/').unwrap_or((name, ""));
    let span = tracing::debug_span!(
        target: "sidereus::trace",
        parent: log,
        "request",
        otel.name = name,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = field::Empty,
    );
    if span.is_disabled() {
        return span;
    }
    // A span that has begun already has no parent any more; one that was made just now has not.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(headers)));
    let context = span.context();
    let told = context.span().span_context().clone();
    if told.is_valid() {
        log.record("trace_id", field::display(told.trace_id()));
    }
    span
}

/// Writes down how a call ended.
pub(super) fn ended(span: &Span, code: Code) {
    if span.is_disabled() {
        return;
    }
    span.record("rpc.grpc.status_code", code as i64);
    // What the caller did wrong is no error of the server's.
    let is_ours = matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    if is_ours {
        span.set_status(Status::error(code.description()));
    }
}
