//! An encoder service inside the test, so that what the database makes of its answers can be tested without models.
//!
//! `fluxes` turns (flux_g, flux_r) into (g, r, 1), with `flux_z` optional; `pixels` turns an image into its first two
//! bytes, dies of images that begin with `!deadly`, and refuses images that do not begin with `!`. It also gives tokens of the bytes behind the `!`: `token-ids` are the
//! bytes themselves, `tokens` are [`state_of`] each, made of images or of ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use sidereus::encoder::EncoderHandle;
use sidereus::wire::internal::encoder_service_server::{EncoderService, EncoderServiceServer};
use sidereus::wire::internal::{
    EncodeRequest, EncodeResponse, Encoded, ListModelsRequest, ListModelsResponse, RegisteredModel,
    TrainRequest, TrainResponse, encoded,
};
use sidereus::wire::v1::{
    EncoderMetrics, Metric, Model, ModelOutput, Payload, Provenance, SpaceForm, TokenRun,
    TokenSequence, Vector, payload,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// What a test changes and counts while the encoder runs.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    /// Calls that are still to fail as if the process had died.
    pub failures: AtomicUsize,
    /// Payloads encoded so far.
    pub encoded: AtomicUsize,
    /// Milliseconds that every call takes, once it is counted.
    pub delay_ms: AtomicU64,
    /// Version of the weights, part of the provenance.
    pub weights: AtomicU32,
}

struct Fake {
    controls: Arc<Controls>,
}

impl Fake {
    fn provenance(&self, model: &str, pooling: &str) -> Provenance {
        let pooling = if pooling.is_empty() { "none" } else { pooling };
        Provenance {
            encoder: model.to_owned(),
            weights_hash: format!("w{}", self.controls.weights.load(Ordering::SeqCst)),
            preprocessing: "none-v1".to_owned(),
            pooling: pooling.to_owned(),
        }
    }

    fn model(
        &self,
        id: &str,
        modality: &str,
        dimension: u32,
        inputs: &[&str],
        optional: &[&str],
    ) -> RegisteredModel {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let model = Model {
            id: id.to_owned(),
            modality: modality.to_owned(),
            dimension,
            provenance: Some(self.provenance(id, "")),
            inputs: owned(inputs),
            description: "for tests".to_owned(),
            outputs: outputs(modality, dimension),
        };
        RegisteredModel {
            model: Some(model),
            optional_inputs: owned(optional),
            metric: Metric::L2.into(),
        }
    }
}

fn outputs(modality: &str, dimension: u32) -> Vec<ModelOutput> {
    let output = |pooling: &str, form: SpaceForm, dimension| ModelOutput {
        pooling: pooling.to_owned(),
        form: form.into(),
        dimension,
    };
    let mut outputs = vec![output("none", SpaceForm::Unspecified, dimension)];
    if modality == "image" {
        outputs.push(output("tokens", SpaceForm::Tokens, 3));
        outputs.push(output("token-ids", SpaceForm::TokenIds, 0));
    }
    outputs
}

/// The state of a token id.
pub(crate) fn state_of(id: u16) -> [f32; 3] {
    let angle = f32::from(id) / 40.0;
    [angle.cos(), angle.sin(), f32::from(id) / 256.0]
}

/// A sequence of states, rounded to half precision.
pub(crate) fn states(tokens: &[[f32; 3]]) -> TokenSequence {
    let values = tokens.iter().flatten();
    let states = values.flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect();
    let count = tokens.len() as u32;
    let run = TokenRun { modality: "word".to_owned(), count, width: 3, states, ids: Vec::new() };
    TokenSequence { runs: vec![run] }
}

/// A sequence of ids.
pub(crate) fn ids(ids: &[u16]) -> TokenSequence {
    let run = TokenRun {
        modality: "word".to_owned(),
        count: ids.len() as u32,
        ids: ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
        ..TokenRun::default()
    };
    TokenSequence { runs: vec![run] }
}

/// The ids that a sequence holds.
fn ids_of(sequence: &TokenSequence) -> Vec<u16> {
    let bytes = sequence.runs.iter().flat_map(|run| run.ids.as_chunks::<2>().0);
    bytes.map(|id| u16::from_le_bytes(*id)).collect()
}

/// Tokens of an image, or of ids that were made of one.
fn tokens(pooling: &str, words: &[u16]) -> Result<TokenSequence, String> {
    match pooling {
        "token-ids" => Ok(ids(words)),
        "tokens" => Ok(states(&words.iter().map(|id| state_of(*id)).collect::<Vec<_>>())),
        _ => Err(format!("there is no pooling `{pooling}`")),
    }
}

fn words(payload: Payload) -> Result<Vec<u16>, String> {
    match payload.content {
        Some(payload::Content::Image(bytes)) => match bytes.as_slice() {
            [b'!', words @ ..] => Ok(words.iter().map(|byte| u16::from(*byte)).collect()),
            _ => Err("this is not an image".to_owned()),
        },
        _ => Err("the payload is of another kind".to_owned()),
    }
}

fn encode(model: &str, payload: Payload) -> Result<Vec<f32>, String> {
    match (model, payload.content) {
        ("fluxes", Some(payload::Content::Row(row))) => {
            let flux = |name: &str| {
                row.values
                    .get(name)
                    .map(|&value| value as f32)
                    .ok_or_else(|| format!("`{name}` is not observed"))
            };
            Ok(vec![flux("flux_g")?, flux("flux_r")?, 1.0])
        }
        ("pixels", Some(payload::Content::Image(bytes))) => match bytes.as_slice() {
            [b'!', first, second, ..] => Ok(vec![f32::from(*first), f32::from(*second)]),
            _ => Err("this is not an image".to_owned()),
        },
        _ => Err("the payload is of another kind".to_owned()),
    }
}

#[tonic::async_trait]
impl EncoderService for Fake {
    type TrainStream = tokio_stream::Empty<Result<TrainResponse, Status>>;

    async fn train(
        &self,
        _: Request<tonic::Streaming<TrainRequest>>,
    ) -> Result<Response<Self::TrainStream>, Status> {
        Err(Status::unimplemented("it trains nothing"))
    }

    async fn list_models(
        &self,
        _: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let models = vec![
            self.model("fluxes", "photometry", 3, &["flux_g", "flux_r", "flux_z"], &["flux_z"]),
            self.model("pixels", "image", 2, &["image"], &[]),
        ];
        let encoded = self.controls.encoded.load(Ordering::SeqCst) as u64;
        let metrics = Some(EncoderMetrics { encoded, ..EncoderMetrics::default() });
        Ok(Response::new(ListModelsResponse { models, metrics, ..ListModelsResponse::default() }))
    }

    async fn encode(
        &self,
        request: Request<EncodeRequest>,
    ) -> Result<Response<EncodeResponse>, Status> {
        let failing =
            self.controls
                .failures
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() {
            return Err(Status::unavailable("the process has died"));
        }
        let EncodeRequest { model, payloads, pooling, tokens: sequences } = request.into_inner();
        self.controls.encoded.fetch_add(payloads.len() + sequences.len(), Ordering::SeqCst);
        let is_deadly = |payload: &Payload| match &payload.content {
            Some(payload::Content::Image(bytes)) => bytes.starts_with(b"!deadly"),
            _ => false,
        };
        if payloads.iter().any(is_deadly) {
            return Err(Status::unavailable("the process has died of its input"));
        }
        let delay = Duration::from_millis(self.controls.delay_ms.load(Ordering::SeqCst));
        tokio::time::sleep(delay).await;
        let of_payload = |payload: Payload| match pooling.as_str() {
            "" | "none" => {
                encode(&model, payload).map(|values| encoded::Result::Vector(Vector { values }))
            }
            pooling => words(payload)
                .and_then(|words| tokens(pooling, &words))
                .map(encoded::Result::Tokens),
        };
        let of_tokens = |sequence: &TokenSequence| {
            tokens(&pooling, &ids_of(sequence)).map(encoded::Result::Tokens)
        };
        let results = payloads.into_iter().map(of_payload);
        let results = results.chain(sequences.iter().map(of_tokens));
        let results = results
            .map(|result| Encoded { result: Some(result.unwrap_or_else(encoded::Result::Error)) });
        let results = results.collect();
        let provenance = Some(self.provenance(&model, &pooling));
        Ok(Response::new(EncodeResponse { provenance, results }))
    }
}

/// Starts the encoder and returns a handle to it.
pub(crate) async fn start() -> (EncoderHandle, Arc<Controls>) {
    let (address, controls) = serve().await;
    let handle = EncoderHandle::connect(&address, Duration::from_secs(20)).expect("an address");
    (handle, controls)
}

/// Starts the encoder and returns its address.
pub(crate) async fn serve() -> (String, Arc<Controls>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let controls = Arc::new(Controls::default());
    let service = EncoderServiceServer::new(Fake { controls: Arc::clone(&controls) });
    let router = tonic::transport::Server::builder().add_service(service);
    // Small answers are not held back until the caller has spoken again.
    let incoming = TcpListenerStream::new(listener).inspect_ok(|stream| {
        stream.set_nodelay(true).expect("a socket");
    });
    tokio::spawn(router.serve_with_incoming(incoming));
    (address, controls)
}
