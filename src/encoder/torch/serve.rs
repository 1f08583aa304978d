//! The encoder protocol over gRPC: finds the model, preprocesses, queues, answers.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rayon::prelude::*;
use sidereus::encoder::{
    ADDRESS_LINE, BatchMetrics, BatchOptions, Batcher, Features, MESSAGE_BYTES_MAX, Made,
    ModelOutput, PayloadError, Place, Preprocessor, RegisteredModel,
};
use sidereus::vector::Metric;
use sidereus::wire::internal::encoder_service_server::{EncoderService, EncoderServiceServer};
use sidereus::wire::internal::{
    BrokenModel, EncodeRequest, EncodeResponse, Encoded, ListModelsRequest, ListModelsResponse,
    TrainRequest, encoded,
};
use sidereus::wire::{internal, v1};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::load::{self, LoadedModels};
use super::train::{Answers, Trainings};

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
    /// After how long a batch is taken for one that will never end.
    pub(crate) stuck_after: Duration,
    /// What the provenance says of the precision; nothing for single precision.
    pub(crate) precision: Option<&'static str>,
    /// Where heads are trained.
    pub(crate) device: tch::Device,
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
    let trainings = service.trainings.clone();
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
    trainings.stop();
    // It holds the queue, too, which ends with its last holder.
    drop(trainings);
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
    /// Words about the precision behind the name of the preprocessing.
    precision: Option<&'static str>,
    model: RegisteredModel,
    outputs: Vec<ModelOutput>,
    preprocessor: Arc<Preprocessor>,
}

/// The service. Place of a model in `models` is the place of its network in the batcher.
struct Service {
    models: Vec<Served>,
    broken: Vec<(String, String)>,
    batcher: Batcher,
    trainings: Trainings,
    decoders: rayon::ThreadPool,
    stuck_after: Duration,
}

/// What is asked of a model, one kind for a whole call.
enum Asked {
    Payloads(Vec<v1::Payload>),
    Ids(Vec<v1::TokenSequence>),
}

impl Asked {
    fn new(payloads: Vec<v1::Payload>, tokens: Vec<v1::TokenSequence>) -> Result<Self, Status> {
        match (payloads.is_empty(), tokens.is_empty()) {
            (_, true) => Ok(Self::Payloads(payloads)),
            (true, false) => Ok(Self::Ids(tokens)),
            (false, false) => {
                Err(Status::invalid_argument("payloads and tokens in one call; send one kind"))
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Payloads(payloads) => payloads.len(),
            Self::Ids(tokens) => tokens.len(),
        }
    }
}

impl Service {
    fn start(
        models: LoadedModels,
        options: &ServeOptions,
    ) -> anyhow::Result<(Self, oneshot::Receiver<()>)> {
        let LoadedModels { served: loaded, broken } = models;
        let mut served = Vec::new();
        let mut networks = Vec::new();
        for load::Served { model, preprocessor, batched } in loaded {
            let outputs = batched.outputs.clone();
            networks.push(batched);
            let is_published = model.spec.architecture.is_published();
            let precision = options.precision.filter(|_| is_published);
            served.push(Served { precision, model, outputs, preprocessor: Arc::new(preprocessor) });
        }
        let (batcher, end) = Batcher::start(networks, options.batch)?;
        let decoders = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .thread_name(|number| format!("decoder-{number}"))
            // A decoder that panics on hostile bytes costs its own request and nothing else.
            .panic_handler(|_| tracing::error!("a decoder panicked"))
            .build()?;
        let trainings = Trainings::new(batcher.clone(), options.device);
        let stuck_after = options.stuck_after;
        Ok((Self { models: served, broken, batcher, trainings, decoders, stuck_after }, end))
    }

    fn find(&self, id: &str) -> Result<(usize, &Served), Status> {
        let found = self.models.iter().enumerate().find(|(_, model)| model.model.spec.id == id);
        found.ok_or_else(|| {
            let broken = self.broken.iter().find(|(name, _)| name == id);
            Status::not_found(match broken {
                Some((_, reason)) => format!("model `{id}` cannot be served: {reason}"),
                None if self.models.is_empty() => {
                    format!("no model `{id}`; the encoder serves none")
                }
                None => {
                    let ids: Vec<_> = self
                        .models
                        .iter()
                        .map(|model| format!("`{}`", model.model.spec.id))
                        .collect();
                    format!("no model `{id}`; the encoder serves {}", ids.join(", "))
                }
            })
        })
    }

    /// Preprocesses inputs on the decoders' threads. The room of the call goes with them: also where the caller has gone,
    /// what is being decoded counts.
    async fn preprocess(
        &self,
        preprocessor: &Arc<Preprocessor>,
        asked: Asked,
        place: Place,
    ) -> Result<(Vec<Result<Features, PayloadError>>, Place), Status> {
        let (sender, done) = oneshot::channel();
        let preprocessor = Arc::clone(preprocessor);
        self.decoders.spawn(move || {
            if sender.is_closed() {
                return;
            }
            let features = match asked {
                Asked::Payloads(payloads) => payloads
                    .par_iter()
                    .map(|payload| alone(|| preprocessor.features(payload)))
                    .collect(),
                Asked::Ids(all) => all
                    .par_iter()
                    .map(|tokens| alone(|| preprocessor.features_of_ids(tokens)))
                    .collect(),
            };
            let _caller_gone = sender.send((features, place));
        });
        done.await.map_err(|_| Status::internal("a decoder failed on one of the inputs"))
    }
}

/// A decoder that panics on hostile bytes costs its own input and nothing else.
fn alone(
    decode: impl FnOnce() -> Result<Features, PayloadError>,
) -> Result<Features, PayloadError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or(Err(PayloadError::Undecodable))
}

impl Served {
    /// Number of an output by its pooling; the first for an empty name.
    fn output(&self, pooling: &str) -> Result<usize, Status> {
        if pooling.is_empty() {
            return Ok(0);
        }
        let found = self.outputs.iter().position(|output| output.pooling == pooling);
        found.ok_or_else(|| {
            let names: Vec<_> = self.outputs.iter().map(|output| &*output.pooling).collect();
            let (id, names) = (&self.model.spec.id, names.join(", "));
            Status::invalid_argument(format!(
                "model `{id}` has no pooling `{pooling}`; it has {names}"
            ))
        })
    }

    fn provenance(&self, output: usize) -> v1::Provenance {
        let provenance = self.model.spec.provenance();
        let pooling = self.outputs.get(output).map(|output| output.pooling.clone());
        v1::Provenance {
            encoder: provenance.encoder,
            weights_hash: provenance.weights_hash,
            preprocessing: match self.precision {
                // Other numbers come out: they belong into another space.
                Some(precision) => format!("{} {precision}", provenance.preprocessing),
                None => provenance.preprocessing,
            },
            pooling: pooling.unwrap_or(provenance.pooling),
        }
    }

    fn registered(&self) -> internal::RegisteredModel {
        let spec = &self.model.spec;
        let metric = match spec.metric {
            Metric::Cosine => v1::Metric::Cosine,
            Metric::L2 => v1::Metric::L2,
            Metric::Ip => v1::Metric::Ip,
        };
        let (inputs, optional_inputs) = self.model.inputs();
        let model = v1::Model {
            id: spec.id.clone(),
            modality: spec.modality.clone(),
            dimension: u32::try_from(spec.dimension).unwrap_or(u32::MAX),
            provenance: Some(self.provenance(0)),
            inputs,
            description: spec.description.clone(),
            outputs: self.outputs.iter().map(Into::into).collect(),
        };
        internal::RegisteredModel { model: Some(model), optional_inputs, metric: metric.into() }
    }
}

fn metrics(counted: &BatchMetrics) -> v1::EncoderMetrics {
    v1::EncoderMetrics {
        host: String::new(),
        queued: counted.queued_rows,
        encoded: counted.rows,
        failed: counted.failed_rows,
        batches: counted.batches,
        busy_ms: u64::try_from(counted.busy.as_millis()).unwrap_or(u64::MAX),
        loads: counted.loads,
        evictions: counted.evictions,
        resident_bytes: counted.resident_bytes,
        batch_sizes: counted.batch_sizes.to_vec(),
    }
}

fn encoded(result: Result<Made, String>) -> Encoded {
    let result = match result {
        Ok(Made::Vector(values)) => encoded::Result::Vector(v1::Vector { values }),
        Ok(Made::Tokens(tokens)) => encoded::Result::Tokens(tokens),
        Err(reason) => encoded::Result::Error(reason),
    };
    Encoded { result: Some(result) }
}

#[tonic::async_trait]
impl EncoderService for Service {
    type TrainStream = Answers;

    async fn train(
        &self,
        request: Request<Streaming<TrainRequest>>,
    ) -> Result<Response<Answers>, Status> {
        Ok(Response::new(self.trainings.begin(request.into_inner()).await?))
    }

    async fn list_models(
        &self,
        _request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let computing = self.batcher.computing_for();
        if computing > self.stuck_after {
            // Whoever runs this process starts a sound one.
            let seconds = computing.as_secs();
            return Err(Status::unavailable(format!("a batch has been computed for {seconds} s")));
        }
        let models = self.models.iter().map(Served::registered).collect();
        let broken =
            self.broken.iter().cloned().map(|(id, reason)| BrokenModel { id, reason }).collect();
        let metrics = Some(metrics(&self.batcher.metrics()));
        Ok(Response::new(ListModelsResponse { models, broken, metrics }))
    }

    async fn encode(
        &self,
        request: Request<EncodeRequest>,
    ) -> Result<Response<EncodeResponse>, Status> {
        let EncodeRequest { model, payloads, pooling, tokens } = request.into_inner();
        let (number, model) = self.find(&model)?;
        let output = model.output(&pooling)?;
        let asked = Asked::new(payloads, tokens)?;
        let limit = self.batcher.options().queue_rows_max;
        if asked.len() > limit {
            let count = asked.len();
            return Err(Status::invalid_argument(format!(
                "{count} inputs in one call; send at most {limit}"
            )));
        }
        // Room is taken before anything is decoded, so that decoded images are bounded too.
        let place = self
            .batcher
            .reserve(asked.len())
            .map_err(|full| Status::resource_exhausted(full.to_string()))?;
        let (preprocessed, place) = self.preprocess(&model.preprocessor, asked, place).await?;
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
        let made = self
            .batcher
            .run(place, number, output, features)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let mut made = made.into_iter();
        let missing = || Err("the network gave no result".to_owned());
        let results = errors.into_iter().map(|error| match error {
            Some(error) => encoded(Err(error)),
            None => encoded(made.next().unwrap_or_else(missing)),
        });
        let results = results.collect();
        Ok(Response::new(EncodeResponse { provenance: Some(model.provenance(output)), results }))
    }
}
