//! The encoder protocol over gRPC: finds the model, preprocesses, queues, answers.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rayon::prelude::*;
use sidereus::encoder::{
    ADDRESS_LINE, BatchError, BatchOptions, BatchedNetwork, Batcher, MESSAGE_BYTES_MAX, ModelSpec,
    PayloadError, Preprocessor,
};
use sidereus::vector::Metric;
use sidereus::wire::internal::encoder_service_server::{EncoderService, EncoderServiceServer};
use sidereus::wire::internal::{
    BrokenModel, EncodeRequest, EncodeResponse, Encoded, ListModelsRequest, ListModelsResponse,
    RegisteredModel, encoded,
};
use sidereus::wire::v1;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::load::LoadedModels;

/// How long calls under way may take to end once the process has been told to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// How long the batch under way may take to end after that.
const BATCH_WITHIN: Duration = Duration::from_secs(1);

/// How to serve.
pub(crate) struct ServeOptions {
    /// Whether the end of standard input ends the process.
    pub(crate) exit_with_parent: bool,
    /// Threads that decode and preprocess.
    pub(crate) threads: usize,
    /// Sizes of the queue.
    pub(crate) batch: BatchOptions,
}

/// Takes an address; calls that come to it wait until [`serve`] begins.
pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address}; choose another --listen"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until the parent has gone, a signal comes, or the networks' thread has ended.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    models: LoadedModels,
    options: ServeOptions,
) -> anyhow::Result<()> {
    let (service, mut networks_end) = Service::start(models, &options)?;
    let listener = TcpListener::from_std(listener)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{ADDRESS_LINE}{}", listener.local_addr()?).and_then(|()| stdout.flush())?;

    let (stop, stopped) = oneshot::channel::<()>();
    let service = EncoderServiceServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server =
        Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, async {
            let _told_or_dropped = stopped.await;
        });
    let server = tokio::spawn(server);
    let outcome = tokio::select! {
        reason = told_to_stop(options.exit_with_parent) => {
            tracing::info!("stops: {}", reason?);
            Ok(())
        }
        // A panic in libtorch's wrapper: whoever runs this process starts a sound one.
        _ = &mut networks_end => Err(anyhow!("the thread of the networks has ended")),
    };
    drop(stop);
    if tokio::time::timeout(DRAIN_WITHIN, server).await.is_err() {
        tracing::warn!("some calls were cut off");
    }
    // A batch under way is finished, for libtorch must not be unloaded beneath it.
    if outcome.is_ok() && tokio::time::timeout(BATCH_WITHIN, networks_end).await.is_err() {
        tracing::warn!("a batch was cut off");
    }
    outcome
}

/// Waits for a reason to stop.
async fn told_to_stop(exit_with_parent: bool) -> std::io::Result<&'static str> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        () = parent_gone(exit_with_parent) => Ok("the parent process has closed the pipe"),
        _ = terminate.recv() => Ok("SIGTERM"),
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "interrupted"),
    }
}

/// Resolves when standard input ends; never, when nobody watches it.
async fn parent_gone(watched: bool) {
    if !watched {
        return std::future::pending().await;
    }
    let (gone, has_gone) = oneshot::channel::<()>();
    // A thread, because a blocking read on the runtime would hold up its end.
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        let mut stdin = std::io::stdin();
        while matches!(stdin.read(&mut buffer), Ok(1..)) {}
        drop(gone);
    });
    let _dropped = has_gone.await;
}

struct Served {
    spec: ModelSpec,
    preprocessor: Arc<Preprocessor>,
}

/// The service. Place of a model in `models` is the place of its network in the batcher.
struct Service {
    models: Vec<Served>,
    broken: Vec<(String, String)>,
    batcher: Batcher,
    decoders: rayon::ThreadPool,
}

impl Service {
    fn start(
        models: LoadedModels,
        options: &ServeOptions,
    ) -> anyhow::Result<(Self, oneshot::Receiver<()>)> {
        let LoadedModels { loaded, broken } = models;
        let mut served = Vec::new();
        let mut networks = Vec::new();
        for (spec, loaded) in loaded {
            networks.push(BatchedNetwork {
                network: loaded.network,
                feature_count: loaded.preprocessor.feature_count(),
                dimension: spec.dimension,
            });
            served.push(Served { spec, preprocessor: Arc::new(loaded.preprocessor) });
        }
        let (batcher, end) = Batcher::start(networks, options.batch)?;
        let decoders = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|number| format!("decoder-{number}"))
            // A decoder that panics on hostile bytes costs its own request and nothing else.
            .panic_handler(|_| tracing::error!("a decoder panicked"))
            .build()?;
        Ok((Self { models: served, broken, batcher, decoders }, end))
    }

    fn find(&self, id: &str) -> Result<(usize, &Served), Status> {
        let found = self.models.iter().enumerate().find(|(_, model)| model.spec.id == id);
        found.ok_or_else(|| {
            let broken = self.broken.iter().find(|(name, _)| name == id);
            Status::not_found(match broken {
                Some((_, reason)) => format!("model `{id}` cannot be served: {reason}"),
                None if self.models.is_empty() => {
                    format!("no model `{id}`; the encoder serves none")
                }
                None => {
                    let ids: Vec<_> =
                        self.models.iter().map(|model| format!("`{}`", model.spec.id)).collect();
                    format!("no model `{id}`; the encoder serves {}", ids.join(", "))
                }
            })
        })
    }

    /// Preprocesses payloads on the decoders' threads.
    async fn preprocess(
        &self,
        preprocessor: &Arc<Preprocessor>,
        payloads: Vec<v1::Payload>,
    ) -> Result<Vec<Result<Vec<f32>, PayloadError>>, Status> {
        let (sender, done) = oneshot::channel();
        let preprocessor = Arc::clone(preprocessor);
        self.decoders.spawn(move || {
            let features =
                payloads.par_iter().map(|payload| preprocessor.features(payload)).collect();
            let _caller_gone = sender.send(features);
        });
        done.await.map_err(|_| Status::internal("a decoder failed on one of the inputs"))
    }
}

#[tonic::async_trait]
impl EncoderService for Service {
    async fn list_models(
        &self,
        _request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let models = self.models.iter().map(|model| registered(&model.spec)).collect();
        let broken =
            self.broken.iter().cloned().map(|(id, reason)| BrokenModel { id, reason }).collect();
        Ok(Response::new(ListModelsResponse { models, broken }))
    }

    async fn encode(
        &self,
        request: Request<EncodeRequest>,
    ) -> Result<Response<EncodeResponse>, Status> {
        let EncodeRequest { model, payloads, .. } = request.into_inner();
        let (number, model) = self.find(&model)?;
        let limit = self.batcher.options().queue_rows_max;
        if payloads.len() > limit {
            let count = payloads.len();
            return Err(Status::invalid_argument(format!(
                "{count} inputs in one call; send at most {limit}"
            )));
        }
        // Room is taken before anything is decoded, so that decoded images are bounded too.
        let place = self
            .batcher
            .reserve(payloads.len())
            .map_err(|full| Status::resource_exhausted(full.to_string()))?;
        let preprocessed = self.preprocess(&model.preprocessor, payloads).await?;
        let mut features = Vec::with_capacity(preprocessed.len());
        let mut errors = Vec::with_capacity(preprocessed.len());
        for row in preprocessed {
            match row {
                Ok(row) => {
                    features.push(row);
                    errors.push(None);
                }
                Err(error) => errors.push(Some(error.to_string())),
            }
        }
        let vectors =
            self.batcher.run(place, number, features).await.map_err(|error| match error {
                BatchError::Network(error) => Status::internal(error.to_string()),
                BatchError::Stopped => Status::unavailable(error.to_string()),
            })?;
        let mut vectors = vectors.into_iter();
        let results = errors.into_iter().map(|error| {
            let result = match error {
                Some(error) => Some(encoded::Result::Error(error)),
                None => vectors.next().map(|values| encoded::Result::Vector(v1::Vector { values })),
            };
            Encoded { result }
        });
        let results = results.collect();
        Ok(Response::new(EncodeResponse { provenance: Some(provenance(&model.spec)), results }))
    }
}

fn provenance(spec: &ModelSpec) -> v1::Provenance {
    let provenance = spec.provenance();
    v1::Provenance {
        encoder: provenance.encoder,
        weights_hash: provenance.weights_hash,
        preprocessing: provenance.preprocessing,
        pooling: provenance.pooling,
    }
}

fn registered(spec: &ModelSpec) -> RegisteredModel {
    let metric = match spec.metric {
        Metric::Cosine => v1::Metric::Cosine,
        Metric::L2 => v1::Metric::L2,
        Metric::Ip => v1::Metric::Ip,
    };
    let model = v1::Model {
        id: spec.id.clone(),
        modality: spec.modality.clone(),
        dimension: u32::try_from(spec.dimension).unwrap_or(u32::MAX),
        provenance: Some(provenance(spec)),
        inputs: spec.all_inputs().map(str::to_owned).collect(),
        description: spec.description.clone(),
        ..v1::Model::default()
    };
    RegisteredModel {
        model: Some(model),
        optional_inputs: spec.optional_inputs.clone(),
        metric: i32::from(metric),
    }
}
