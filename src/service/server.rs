//! Binding, serving and stopping.

use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Router, TcpIncoming};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::Limits;
use super::bridges::BridgeServer;
use super::collections::Collections;
use super::context::{Context, blocking};
use super::discovery::Discovery;
use super::flight;
use super::maintenance::Maintenance;
use super::objects::Objects;
use super::probes::Probes;
use super::search::Searches;
use crate::class::Class;
use crate::encoder::EncoderHandle;
use crate::engine::Db;
use crate::probes::{self, ProbeError};
use crate::wire;
use crate::wire::v1::bridge_service_server::{self, BridgeServiceServer};
use crate::wire::v1::collection_service_server::{self, CollectionServiceServer};
use crate::wire::v1::discovery_service_server::{self, DiscoveryServiceServer};
use crate::wire::v1::maintenance_service_server::{self, MaintenanceServiceServer};
use crate::wire::v1::object_service_server::{self, ObjectServiceServer};
use crate::wire::v1::probe_service_server::{self, ProbeServiceServer};
use crate::wire::v1::search_service_server::{self, SearchServiceServer};

/// Services that clients may call; the protocol with the encoder process is not among them.
const SERVICES: [&str; 7] = [
    collection_service_server::SERVICE_NAME,
    object_service_server::SERVICE_NAME,
    search_service_server::SERVICE_NAME,
    maintenance_service_server::SERVICE_NAME,
    probe_service_server::SERVICE_NAME,
    bridge_service_server::SERVICE_NAME,
    discovery_service_server::SERVICE_NAME,
];

/// Streams that one connection may have open.
const STREAMS_PER_CONNECTION_MAX: u32 = 128;

/// Requests of one connection that may wait for their first answer; more are refused at once.
const REQUESTS_PER_CONNECTION_MAX: usize = 64;

/// Header bytes of one request.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// Flow-control windows of HTTP/2: large enough for ingest over a network, small enough to be held often.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// After this long without a sign of life a client is asked for one, and given up after as long again.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Room that a message may take beyond its own limit, for its envelope.
const ENVELOPE_BYTES: usize = 1 << 20;

/// How a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOptions {
    /// Address to listen on; port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// Whether other machines may connect, although nothing is encrypted and nobody is asked for a password.
    pub allow_insecure_remote: bool,
    /// How long requests under way may take to end when the server stops.
    pub shutdown_grace: Duration,
    /// Sizes that requests keep to.
    pub limits: Limits,
}

impl ServiceOptions {
    /// The defaults of the reference configuration on an address.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            allow_insecure_remote: false,
            shutdown_grace: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

/// Why a server does not serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// An address that other machines can reach.
    #[error(
        "{address} can be reached from other machines, and this server neither encrypts nor asks for a password: \
         listen on 127.0.0.1, or set `allow_insecure_remote = true` if the network keeps strangers out"
    )]
    RemoteRefused {
        /// The address.
        address: SocketAddr,
    },
    /// A port that somebody has.
    #[error("port {} of {} is in use: stop what listens there, or choose another port (0 for any)", address.port(), address.ip())]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// An address that the system does not give.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The protocol description of this program is damaged.
    #[error("the protocol description cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The connections broke down.
    #[error("serving ended: {0}")]
    Transport(#[from] tonic::transport::Error),
}

impl ServerError {
    /// What the operator must do.
    pub fn class(&self) -> Class {
        match self {
            Self::RemoteRefused { .. } => Class::Invalid,
            Self::PortInUse { .. } => Class::Conflict,
            Self::Bind { .. } => Class::Unavailable,
            Self::Reflection(_) | Self::Transport(_) => Class::Internal,
        }
    }
}

/// A server that has its address and does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServiceOptions,
    db: Db,
    encoder: Option<EncoderHandle>,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// [`ServerError::RemoteRefused`], [`ServerError::PortInUse`] or [`ServerError::Bind`].
    pub async fn bind(
        options: ServiceOptions,
        db: Db,
        encoder: Option<EncoderHandle>,
    ) -> Result<Self, ServerError> {
        let address = options.listen;
        if !address.ip().to_canonical().is_loopback() {
            if !options.allow_insecure_remote {
                return Err(ServerError::RemoteRefused { address });
            }
            tracing::warn!(%address, "other machines can connect, unencrypted and without a password");
        }
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => ServerError::PortInUse { address },
            _ => ServerError::Bind { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, options, db, encoder })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the token is cancelled, and then until the requests under way have ended or the grace is over.
    ///
    /// # Errors
    /// [`ServerError::Transport`] when connections can no longer be accepted.
    pub async fn serve(self, stop: CancellationToken) -> Result<(), ServerError> {
        let grace = self.options.shutdown_grace;
        let context = Context::new(self.db, self.encoder, self.options.limits, stop.clone());
        if let Err(error) = context.at_ingest.sync(&context).await {
            tracing::error!(%error, "nothing is encoded at ingest until a space is declared or the server starts again");
        }
        let db = context.db.clone();
        if let Err(error) = blocking(move || register_probes(&db)).await {
            tracing::error!(%error, "probes are not known to queries");
        }
        let health = HealthReporter::new();
        let router = router(&context, &health)?;
        set_status(&health, ServingStatus::Serving).await;
        let incoming = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        tracing::info!(address = %self.address, "serving gRPC");
        let stopped = stop.clone();
        let serving = router.serve_with_incoming_shutdown(incoming, async move {
            stopped.cancelled().await;
            set_status(&health, ServingStatus::NotServing).await;
        });
        let too_late = async {
            stop.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            ended = serving => ended?,
            () = too_late => tracing::warn!("clients are still connected; closing their connections"),
        }
        if tokio::time::timeout(grace, context.at_ingest.ended()).await.is_err() {
            tracing::warn!("encoding at ingest does not end; leaving it to the next start");
        }
        tracing::info!("stopped serving");
        Ok(())
    }
}

/// Has queries know the columns that probes and bridges make of every collection.
fn register_probes(db: &Db) -> Result<(), ProbeError> {
    for collection in db.collections()? {
        if let Err(error) = probes::refresh(db, &collection.schema.name) {
            tracing::error!(collection = collection.schema.name, %error, "probes not registered");
        }
    }
    Ok(())
}

fn router(context: &Context, health: &HealthReporter) -> Result<Router, ServerError> {
    let limits = &context.limits;
    let (request, reply) = (limits.request_bytes_max, limits.reply_bytes_max + ENVELOPE_BYTES);
    let mut builder = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION_MAX)
        .load_shed(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .trace_fn(|request| tracing::info_span!("rpc", method = request.uri().path()));
    Ok(builder
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(HealthServer::new(HealthService::from_health_reporter(health.clone())))
        .add_service(
            CollectionServiceServer::new(Collections::new(context.clone()))
                .max_decoding_message_size(request)
                .max_encoding_message_size(reply),
        )
        .add_service(
            ObjectServiceServer::new(Objects::new(context.clone()))
                .max_decoding_message_size(limits.ingest_message_bytes_max)
                .max_encoding_message_size(reply),
        )
        .add_service(
            SearchServiceServer::new(Searches::new(context.clone()))
                .max_decoding_message_size(request)
                .max_encoding_message_size(reply),
        )
        .add_service(
            MaintenanceServiceServer::new(Maintenance::new(context.clone()))
                .max_decoding_message_size(request)
                .max_encoding_message_size(reply),
        )
        .add_service(
            ProbeServiceServer::new(Probes::new(context.clone()))
                .max_decoding_message_size(request)
                .max_encoding_message_size(reply),
        )
        .add_service(
            BridgeServiceServer::new(BridgeServer::new(context.clone()))
                .max_decoding_message_size(request)
                .max_encoding_message_size(reply),
        )
        .add_service(flight::service(context))
        .add_service(
            DiscoveryServiceServer::new(Discovery::new(context.clone()))
                .max_decoding_message_size(request)
                .max_encoding_message_size(reply),
        ))
}

/// Tells clients what they can call, and nothing about the protocol with the encoder process.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("grpc.health.v1.Health");
    SERVICES.into_iter().fold(builder, tonic_reflection::server::Builder::with_service_name)
}

/// Sets the health of the server as a whole and of each service.
async fn set_status(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES.into_iter().chain([""]) {
        health.set_service_status(service, status).await;
    }
}
