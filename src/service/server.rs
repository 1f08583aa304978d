//! Binding, serving and stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::Limits;
use super::access::{self, Access};
use super::admission::{AdmissionOptions, QuotaOptions};
use super::auditing::Auditor;
use super::backups::Backups;
use super::bridges::BridgeServer;
use super::collections::Collections;
use super::context::{Context, Watching, blocking};
use super::discovery::Discovery;
use super::flight;
use super::http::{HttpListener, HttpOptions};
use super::layers::{LayeredRouter, Layers, layers};
use super::maintenance::Maintenance;
use super::metrics::{Metrics, Sources};
use super::objects::Objects;
use super::probes::Probes;
use super::readiness::Readiness;
use super::releases::Releases;
use super::search::Searches;
use super::stop::{End, Stop};
use super::telemetry::SlowQueries;
use super::tls::{self, Certificates, ConnectionLimits, TlsError, TlsOptions};
use super::transport;
use super::upkeep::{Upkeep, UpkeepOptions};
use crate::access::{AccessError, AccessOptions, Registry, system_clock};
use crate::audit::{self, AuditError, Log};
use crate::class::Class;
use crate::encoder::EncoderHandle;
use crate::engine::Db;
use crate::probes::{self, ProbeError};
use crate::wire;
use crate::wire::v1::access_service_server::{self, AccessServiceServer};
use crate::wire::v1::backup_service_server::{self, BackupServiceServer};
use crate::wire::v1::bridge_service_server::{self, BridgeServiceServer};
use crate::wire::v1::collection_service_server::{self, CollectionServiceServer};
use crate::wire::v1::discovery_service_server::{self, DiscoveryServiceServer};
use crate::wire::v1::maintenance_service_server::{self, MaintenanceServiceServer};
use crate::wire::v1::object_service_server::{self, ObjectServiceServer};
use crate::wire::v1::probe_service_server::{self, ProbeServiceServer};
use crate::wire::v1::release_service_server::{self, ReleaseServiceServer};
use crate::wire::v1::search_service_server::{self, SearchServiceServer};

/// Services that clients may call; the protocol with the encoder process is not among them.
const SERVICES: [&str; 10] = [
    collection_service_server::SERVICE_NAME,
    object_service_server::SERVICE_NAME,
    search_service_server::SERVICE_NAME,
    maintenance_service_server::SERVICE_NAME,
    probe_service_server::SERVICE_NAME,
    bridge_service_server::SERVICE_NAME,
    discovery_service_server::SERVICE_NAME,
    access_service_server::SERVICE_NAME,
    release_service_server::SERVICE_NAME,
    backup_service_server::SERVICE_NAME,
];

/// Bytes of a question about the protocol: the answer repeats a name that is not known in a header, and clients close a
/// connection whose headers are too long.
const REFLECTION_BYTES_MAX: usize = 2 << 10;

/// Room that a message may take beyond its own limit, for its envelope.
const ENVELOPE_BYTES: usize = 1 << 20;

/// How a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOptions {
    /// Address to listen on; port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// Whether other machines may connect although the server lacks TLS or authentication.
    pub allow_insecure_remote: bool,
    /// Certificates; without them nothing is encrypted.
    pub tls: Option<TlsOptions>,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// Asks everybody who he is; without it everybody may do everything.
    pub authentication: Option<AccessOptions>,
    /// How long calls are taken after the server has said that it should be sent none, when it stops.
    pub drain: Duration,
    /// How long requests under way may take to end when the server stops.
    pub shutdown_grace: Duration,
    /// Listener for figures and health; `None` for none.
    pub http: Option<HttpOptions>,
    /// Bytes of the disk that must be free for the server to call itself ready.
    pub free_bytes_min: u64,
    /// From how long on a query is noted as slow; `None` notes nothing.
    pub slow_query: Option<Duration>,
    /// Sizes that requests keep to.
    pub limits: Limits,
    /// What each identity may take.
    pub quotas: QuotaOptions,
    /// What runs at once, and what waits.
    pub admission: AdmissionOptions,
    /// How calls are written down; without it they are not.
    pub audit: Option<audit::Options>,
    /// What the server does for its data.
    pub upkeep: UpkeepOptions,
}

impl ServiceOptions {
    /// The defaults of the reference configuration on an address.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            allow_insecure_remote: false,
            tls: None,
            connections: ConnectionLimits::default(),
            authentication: None,
            drain: Duration::ZERO,
            shutdown_grace: Duration::from_secs(10),
            http: None,
            free_bytes_min: 256 << 20,
            slow_query: Some(Duration::from_secs(1)),
            limits: Limits::default(),
            quotas: QuotaOptions::default(),
            admission: AdmissionOptions::default(),
            audit: None,
            upkeep: UpkeepOptions::default(),
        }
    }
}

/// Why a server does not serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// An address that other machines can reach.
    #[error(
        "{address} can be reached from other machines, and this server lacks {lacks}: configure [tls] and `auth.mode = \
         \"on\"`, listen on 127.0.0.1, or set `allow_insecure_remote = true` if the network keeps strangers out"
    )]
    RemoteRefused {
        /// The address.
        address: SocketAddr,
        /// What it lacks.
        lacks: &'static str,
    },
    /// The same for figures and health, which anybody may read who can connect.
    #[error(
        "{address} can be reached from other machines, and figures and health are told to everybody: listen on 127.0.0.1, or \
         set `allow_remote = true` in [http] if the network keeps strangers out"
    )]
    HttpRemoteRefused {
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
    /// Certificates that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Identities, roles and policies that cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The audit log cannot be kept, and nothing is served that is not written down.
    #[error(transparent)]
    Audit(#[from] AuditError),
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
            Self::RemoteRefused { .. } | Self::HttpRemoteRefused { .. } => Class::Invalid,
            Self::PortInUse { .. } => Class::Conflict,
            Self::Bind { .. } => Class::Unavailable,
            Self::Tls(error) => error.class(),
            Self::Access(error) => error.class(),
            Self::Audit(error) => error.class(),
            Self::Reflection(_) | Self::Transport(_) => Class::Internal,
        }
    }
}

/// A server that has its address and does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    http: Option<HttpListener>,
    options: ServiceOptions,
    certificates: Option<Arc<Certificates>>,
    registry: Registry,
    db: Db,
    encoder: Option<EncoderHandle>,
}

impl Server {
    /// Takes the address, and reads certificates and identities where the options name them.
    ///
    /// # Errors
    /// [`ServerError::RemoteRefused`], [`ServerError::PortInUse`], [`ServerError::Bind`], [`ServerError::Tls`] or
    /// [`ServerError::Access`].
    pub async fn bind(
        options: ServiceOptions,
        db: Db,
        encoder: Option<EncoderHandle>,
    ) -> Result<Self, ServerError> {
        let address = options.listen;
        check_exposure(&options)?;
        let certificates = options.tls.clone().map(Certificates::open).transpose()?.map(Arc::new);
        // A server that asks nobody keeps roles, too: they can be made ready before it asks.
        let access = options.authentication.clone().unwrap_or_default();
        let registry = Registry::open_with(Arc::new(db.clone()), system_clock(), access)?;
        if options.authentication.is_some() && !registry.has_administrator() {
            tracing::warn!(
                "nobody may administer this server yet: `sidereus access bootstrap` makes somebody"
            );
        }
        if options.authentication.is_none() && registry.has_administrator() {
            tracing::warn!(
                "this database has roles, tokens or row policies, and this server asks nobody who he is: whoever reaches it may see \
                 and do everything. `mode = \"on\"` under [auth] of the settings file (--config FILE) turns them on"
            );
        }
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => ServerError::PortInUse { address },
            _ => ServerError::Bind { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let http = match &options.http {
            Some(wanted) => HttpListener::bind(wanted).await?,
            None => None,
        };
        Ok(Self { listener, address, http, options, certificates, registry, db, encoder })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where figures and health are served.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpListener::address)
    }

    /// Serves until the token is cancelled, and then until the requests under way have ended or the grace is over.
    ///
    /// The end has its order: the server says that it is not ready; it takes calls for [`ServiceOptions::drain`] longer, until
    /// those who send them have heard; new calls are refused and jobs end where they can be gone on with; streams of clients
    /// have half of the grace to end by themselves, and what they have sent by then is answered.
    ///
    /// # Errors
    /// [`ServerError::Transport`] when connections can no longer be accepted.
    pub async fn serve(self, stop: CancellationToken) -> Result<(), ServerError> {
        let Self { listener, address, http, options, certificates, registry, db, encoder } = self;
        let (metrics, readiness) = (Metrics::new(), Readiness::new(options.free_bytes_min));
        let sources = Sources {
            metrics: metrics.clone(),
            db: db.clone(),
            encoder: encoder.clone(),
            readiness: readiness.clone(),
        };
        let http = http.map(|http| tokio::spawn(http.serve(sources)));
        let auditor = match options.audit.clone() {
            Some(options) => Some(Auditor::new(open_log(options).await?)),
            None => None,
        };
        let summing = auditor.clone().map(|auditor| tokio::spawn(auditor.keep_summing()));
        let (slow, stops) = (SlowQueries { from: options.slow_query }, Stop::default());
        let (limits, admission) = (options.limits.clone(), options.admission);
        let watching = Watching { metrics, slow, stop: stops.clone() };
        let mut context = Context::new(db, registry.clone(), encoder, limits, admission, watching);
        context.upkeep = Arc::new(Upkeep::new(options.upkeep.clone()));
        context.keep_scrubbing();
        let uses = tokio::spawn(access::keep_uses(registry.clone(), stops.jobs.clone()));
        begin(&context).await;
        let health = HealthReporter::new();
        let around = layers(&options, &context, registry, auditor.as_ref(), &readiness);
        let router = router(&context, &health, around)?;
        if let Some(certificates) = &certificates {
            tokio::spawn(Arc::clone(certificates).follow(stops.jobs.clone()));
        }
        let (encrypted, asks) = (certificates.is_some(), options.authentication.is_some());
        let incoming = tls::incoming(listener, certificates, &options.connections);
        let refusing = CancellationToken::new();
        let serving =
            router.serve_with_incoming_shutdown(incoming, refusing.clone().cancelled_owned());
        set_status(&health, ServingStatus::Serving).await;
        readiness.serve();
        tracing::info!(%address, encrypted, asks, "serving gRPC");
        let grace = options.shutdown_grace;
        let end = End { stop, refusing, stops, readiness, health };
        tokio::select! {
            ended = serving => ended?,
            () = end.run(options.drain, grace) => {
                tracing::warn!("clients are still connected; closing their connections");
            }
        }
        // Also where serving has ended by itself.
        context.stopping.cancel();
        if tokio::time::timeout(grace, context.at_ingest.ended()).await.is_err() {
            tracing::warn!("encoding at ingest does not end; leaving it to the next start");
        }
        if tokio::time::timeout(grace, uses).await.is_err() {
            tracing::warn!("it was not written down when tokens were used last");
        }
        if let Some(summing) = summing {
            summing.abort();
        }
        if let Some(auditor) = auditor {
            auditor.close().await;
        }
        if let Some(http) = http {
            // Connections end within their life; nobody has to wait for that.
            http.abort();
        }
        tracing::info!("stopped serving");
        Ok(())
    }
}

/// Begins what goes on beside calls, and makes ready what they ask for.
async fn begin(context: &Context) {
    if let Err(error) = context.at_ingest.begin(context).await {
        tracing::error!(%error, "nothing is encoded at ingest until a collection or a space is declared, or the server starts again");
    }
    let db = context.db.clone();
    if let Err(error) = blocking(move || register_probes(&db)).await {
        tracing::error!(%error, "probes are not known to queries");
    }
}

/// Opens the log of who does what.
async fn open_log(options: audit::Options) -> Result<Log, AuditError> {
    let opened = tokio::task::spawn_blocking(move || Log::open(options));
    opened.await.unwrap_or(Err(AuditError::Closed))
}

/// Has queries know the columns that probes and bridges make of every collection.
fn register_probes(db: &Db) -> Result<(), ProbeError> {
    let collections = db.collections()?.into_iter().map(|collection| collection.schema.name);
    for collection in collections.chain(db.released_collections()) {
        if let Err(error) = probes::refresh(db, &collection) {
            tracing::error!(collection, %error, "probes not registered");
        }
    }
    Ok(())
}

/// Keeps a server that other machines can reach from serving without TLS and authentication, unless the operator wants that.
pub(super) fn check_exposure(options: &ServiceOptions) -> Result<(), ServerError> {
    let address = options.listen;
    let (encrypts, asks) = (options.tls.is_some(), options.authentication.is_some());
    let lacks = match (encrypts, asks) {
        (true, true) => return Ok(()),
        (true, false) => "authentication",
        (false, true) => "TLS",
        (false, false) => "TLS and authentication",
    };
    if address.ip().to_canonical().is_loopback() {
        if asks {
            tracing::warn!("tokens travel unencrypted, on this machine alone");
        }
        return Ok(());
    }
    if !options.allow_insecure_remote {
        return Err(ServerError::RemoteRefused { address, lacks });
    }
    tracing::warn!(%address, lacks, "other machines can connect to an insecure server");
    Ok(())
}

/// A service whose messages have their largest sizes.
macro_rules! sized {
    ($service:expr, $request:expr, $reply:expr) => {
        $service.max_decoding_message_size($request).max_encoding_message_size($reply)
    };
}

/// All services, with what lies around them.
pub(super) fn router(
    context: &Context,
    health: &HealthReporter,
    layers: Layers,
) -> Result<LayeredRouter, ServerError> {
    let limits = &context.limits;
    let (request, reply) = (limits.request_bytes_max, limits.reply_bytes_max + ENVELOPE_BYTES);
    let ingest = limits.ingest_message_bytes_max;
    let mut builder = transport::builder()
        .layer(layers.calls)
        .layer(layers.audit)
        .layer(layers.gate)
        .layer(layers.admission);
    Ok(builder
        .add_service(reflection().build_v1()?.max_decoding_message_size(REFLECTION_BYTES_MAX))
        .add_service(reflection().build_v1alpha()?.max_decoding_message_size(REFLECTION_BYTES_MAX))
        .add_service(HealthServer::new(HealthService::from_health_reporter(health.clone())))
        .add_service(sized!(
            CollectionServiceServer::new(Collections::new(context.clone())),
            request,
            reply
        ))
        .add_service(sized!(ObjectServiceServer::new(Objects::new(context.clone())), ingest, reply))
        .add_service(sized!(
            SearchServiceServer::new(Searches::new(context.clone())),
            request,
            reply
        ))
        .add_service(sized!(
            MaintenanceServiceServer::new(Maintenance::new(context.clone())),
            request,
            reply
        ))
        .add_service(sized!(ProbeServiceServer::new(Probes::new(context.clone())), request, reply))
        .add_service(sized!(
            BridgeServiceServer::new(BridgeServer::new(context.clone())),
            request,
            reply
        ))
        .add_service(flight::service(context))
        .add_service(sized!(
            DiscoveryServiceServer::new(Discovery::new(context.clone())),
            request,
            reply
        ))
        .add_service(sized!(AccessServiceServer::new(Access::new(context.clone())), request, reply))
        .add_service(sized!(
            ReleaseServiceServer::new(Releases::new(context.clone())),
            request,
            reply
        ))
        .add_service(sized!(
            BackupServiceServer::new(Backups::new(context.clone())),
            request,
            reply
        )))
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
pub(super) async fn set_status(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES.into_iter().chain([""]) {
        health.set_service_status(service, status).await;
    }
}
