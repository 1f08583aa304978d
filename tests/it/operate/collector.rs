//! A collector of traces that speaks as much OTLP as a test needs.
//!
//! # Reference
//! opentelemetry-proto 1, `collector/trace/v1/trace_service.proto` and `trace/v1/trace.proto`.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

/// One of these is there; on the wire it looks the same as a choice.
#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(bool, optional, tag = "2")]
    flag: Option<bool>,
    #[prost(int64, optional, tag = "3")]
    whole: Option<i64>,
    #[prost(double, optional, tag = "4")]
    real: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportResponse {}

impl Span {
    /// An attribute as text.
    pub(super) fn attribute(&self, key: &str) -> Option<String> {
        let value = self.attributes.iter().find(|each| each.key == key)?.value.as_ref()?;
        let AnyValue { text, flag, whole, real } = value;
        text.clone()
            .or_else(|| flag.map(|flag| flag.to_string()))
            .or_else(|| whole.map(|whole| whole.to_string()))
            .or_else(|| real.map(|real| real.to_string()))
    }
}

/// What has arrived.
#[derive(Debug, Clone, Default)]
pub(super) struct Collector {
    requests: Arc<Mutex<Vec<ExportRequest>>>,
}

impl Collector {
    /// Starts it, and returns its address.
    pub(super) async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let router = tonic::transport::Server::builder().add_service(collector.clone());
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, address)
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().expect("not poisoned");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// All that was sent, as text.
    pub(super) fn everything(&self) -> String {
        format!("{:?}", self.requests.lock().expect("not poisoned"))
    }
}

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Service<Request<Body>> for Collector {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(request.uri().path().ends_with("/Export"), "{}", request.uri());
        let export = Export(self.clone());
        let codec = ProstCodec::<ExportResponse, ExportRequest>::default();
        Box::pin(async move { Ok(Grpc::new(codec).unary(export, request).await) })
    }
}

struct Export(Collector);

impl UnaryService<ExportRequest> for Export {
    type Response = ExportResponse;
    type Future = BoxFuture<tonic::Response<ExportResponse>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<ExportRequest>) -> Self::Future {
        self.0.requests.lock().expect("not poisoned").push(request.into_inner());
        Box::pin(async { Ok(tonic::Response::new(ExportResponse {})) })
    }
}
