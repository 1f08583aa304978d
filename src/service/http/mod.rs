//! What operators and their machines ask over plain HTTP: `/metrics`, `/healthz`, `/readyz`, and nothing else.
//!
//! No data is served here, now or later: whoever reaches this address learns sizes and states, and the names of collections
//! (SVC-7). Connections are few, short, and closed after one answer, so that nobody can hold the listener.

mod connection;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::metrics::{self, Sources};
use super::server::ServerError;
use connection::Connections;

/// How the HTTP listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Address to listen on; port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// Whether other machines may connect.
    pub allow_remote: bool,
    /// Whether the server must not start without it. Where nobody has chosen the address, it may be somebody else's.
    pub is_required: bool,
}

/// A listener that has its address and does not answer yet.
#[derive(Debug)]
pub(super) struct HttpListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl HttpListener {
    /// Takes the address; `None` where it is taken, and nobody has asked for it.
    ///
    /// # Errors
    /// [`ServerError::HttpRemoteRefused`], [`ServerError::PortInUse`] or [`ServerError::Bind`].
    pub(super) async fn bind(options: &HttpOptions) -> Result<Option<Self>, ServerError> {
        let address = options.listen;
        if !address.ip().to_canonical().is_loopback() && !options.allow_remote {
            return Err(ServerError::HttpRemoteRefused { address });
        }
        match bound(address).await {
            Ok(listener) => Ok(Some(listener)),
            Err(ServerError::PortInUse { .. }) if !options.is_required => {
                tracing::warn!(%address, "the address is taken: neither metrics nor health are served; choose another with --http");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is dropped.
    pub(super) async fn serve(self, sources: Sources) {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthy))
            .route("/readyz", get(ready))
            .fallback(nothing)
            .method_not_allowed_fallback(not_allowed)
            .with_state(sources);
        if let Err(error) = axum::serve(Connections::new(self.listener), router).await {
            tracing::error!(%error, "HTTP is no longer served");
        }
    }
}

async fn bound(address: SocketAddr) -> Result<HttpListener, ServerError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AddrInUse => ServerError::PortInUse { address },
        _ => ServerError::Bind { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(HttpListener { listener, address })
}

/// An answer that ends its connection and is kept by nobody.
fn answer(status: StatusCode, content_type: &'static str, text: String) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONNECTION, "close"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, text).into_response()
}

async fn metrics(State(sources): State<Sources>) -> Response {
    match metrics::scrape(&sources).await {
        Ok(text) => answer(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(error) => {
            tracing::error!(%error, "figures cannot be read");
            let text = "the figures cannot be read; the log says why\n".to_owned();
            answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", text)
        }
    }
}

/// There is nothing else.
async fn nothing() -> Response {
    answer(StatusCode::NOT_FOUND, "text/plain", String::new())
}

/// Nothing can be changed.
async fn not_allowed() -> Response {
    answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new())
}

/// The process answers: that is all that is asked.
async fn healthy() -> Response {
    answer(StatusCode::OK, "application/json", "{\"status\":\"live\"}\n".to_owned())
}

async fn ready(State(sources): State<Sources>) -> Response {
    let reasons = sources.readiness.reasons(&sources.db);
    let (status, word) = if reasons.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let told = serde_json::json!({ "status": word, "reasons": reasons });
    answer(status, "application/json", format!("{told}\n"))
}
