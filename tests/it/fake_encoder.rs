//! An encoder service inside the test, so that what the database makes of its answers can be tested without models.
//!
//! `fluxes` turns (flux_g, flux_r) into (g, r, 1), with `flux_z` optional; `pixels` turns an image into its first two
//! bytes and refuses images that do not begin with `!`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use sidereus::encoder::EncoderHandle;
use sidereus::wire::internal::encoder_service_server::{EncoderService, EncoderServiceServer};
use sidereus::wire::internal::{
    EncodeRequest, EncodeResponse, Encoded, ListModelsRequest, ListModelsResponse, RegisteredModel,
    encoded,
};
use sidereus::wire::v1::{Metric, Model, Payload, Provenance, Vector, payload};
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
    /// Version of the weights, part of the provenance.
    pub weights: AtomicU32,
}

struct Fake {
    controls: Arc<Controls>,
}

impl Fake {
    fn provenance(&self, model: &str) -> Provenance {
        Provenance {
            encoder: model.to_owned(),
            weights_hash: format!("w{}", self.controls.weights.load(Ordering::SeqCst)),
            preprocessing: "none-v1".to_owned(),
            pooling: "none".to_owned(),
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
            provenance: Some(self.provenance(id)),
            inputs: owned(inputs),
            description: "for tests".to_owned(),
            ..Model::default()
        };
        RegisteredModel {
            model: Some(model),
            optional_inputs: owned(optional),
            metric: Metric::L2.into(),
        }
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
    async fn list_models(
        &self,
        _: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let models = vec![
            self.model("fluxes", "photometry", 3, &["flux_g", "flux_r", "flux_z"], &["flux_z"]),
            self.model("pixels", "image", 2, &["image"], &[]),
        ];
        Ok(Response::new(ListModelsResponse { models, broken: Vec::new() }))
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
        let EncodeRequest { model, payloads, .. } = request.into_inner();
        self.controls.encoded.fetch_add(payloads.len(), Ordering::SeqCst);
        let results = payloads.into_iter().map(|payload| {
            let result = match encode(&model, payload) {
                Ok(values) => encoded::Result::Vector(Vector { values }),
                Err(reason) => encoded::Result::Error(reason),
            };
            Encoded { result: Some(result) }
        });
        let results = results.collect();
        Ok(Response::new(EncodeResponse { provenance: Some(self.provenance(&model)), results }))
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
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, controls)
}
