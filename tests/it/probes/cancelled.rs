//! A client that goes away ends its work and frees its turn.

use std::path::Path;
use std::time::{Duration, Instant};

use sidereus::encoder::{EncoderHandle, EncoderOptions};
use sidereus::wire::v1::bridge_service_client::BridgeServiceClient;
use sidereus::wire::v1::probe_service_client::ProbeServiceClient;
use sidereus::wire::v1::{
    ApplyProbeRequest, BridgeSpec, FitBridgeRequest, FitProbeRequest, FitProbeResponse, MlpHead,
    ProbeSpec, RidgeBridge, bridge_spec, head,
};
use tonic::{Status, Streaming};

use super::{example, fit, measure_only, ridge, schema, spec};
use crate::support::{MESSAGE_BYTES, TestServer};

/// So many that a bootstrap of them takes long.
const MANY: i64 = 20_000;

/// How long what waits is watched, and how soon it must go on when the turn is free. Without an end the others would take a
/// multiple of it.
const WAITS: Duration = Duration::from_millis(700);
const SOON: Duration = Duration::from_secs(20);

async fn with_many(data: &Path, encoder: Option<EncoderHandle>, count: i64) -> TestServer {
    let server = TestServer::start_with(data, encoder, |_| {}).await;
    server.create(schema("sky")).await.expect("a collection");
    for first in (0..count).step_by(4_000) {
        server.write("sky", (first..(first + 4_000).min(count)).map(example).collect()).await;
    }
    server
}

/// Begins a fit, and waits until it works at a stage.
async fn begin(
    server: &TestServer,
    request: FitProbeRequest,
    word: &str,
) -> Streaming<FitProbeResponse> {
    let client = ProbeServiceClient::new(server.channel().await);
    let mut client = client.max_decoding_message_size(MESSAGE_BYTES);
    let mut stream = client.fit_probe(request).await.expect("begins").into_inner();
    loop {
        let message = stream.message().await.expect("goes on").expect("not over");
        assert!(message.probe.is_none(), "over before it was cancelled");
        if message.stage.contains(word) {
            return stream;
        }
    }
}

fn few() -> ProbeSpec {
    let predicate = "object_id < 400".to_owned();
    ProbeSpec { predicate, ..spec("plain", "y", ridge(&[1.0])) }
}

async fn fit_bridge(server: &TestServer) -> Result<(), Status> {
    let spec = BridgeSpec {
        from: "plain".to_owned(),
        to: "cosine".to_owned(),
        method: Some(bridge_spec::Method::Ridge(RidgeBridge::default())),
        predicate: "object_id < 400".to_owned(),
        resamples: 10,
        ..BridgeSpec::default()
    };
    let request = FitBridgeRequest {
        collection: "sky".to_owned(),
        spec: Some(spec),
        name: "b".to_owned(),
        overwrite: true,
    };
    let mut client = BridgeServiceClient::new(server.channel().await);
    let mut stream = client.fit_bridge(request).await?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}

async fn apply(server: &TestServer) -> Result<(), Status> {
    let request = ApplyProbeRequest {
        collection: "sky".to_owned(),
        name: "kept".to_owned(),
        predicate: "object_id < 400".to_owned(),
        ..ApplyProbeRequest::default()
    };
    let mut client = ProbeServiceClient::new(server.channel().await);
    let mut stream = client.apply_probe(request).await?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_fit_and_others_have_their_turn() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_many(folder.path(), None, MANY).await;
    let kept = FitProbeRequest { name: "kept".to_owned(), ..measure_only(few()) };
    fit(&server, kept).await.expect("fits");
    let long = ProbeSpec {
        split: "kfold:5:0".to_owned(),
        resamples: 100_000,
        ..spec("plain", "y", ridge(&[1.0]))
    };
    let long = FitProbeRequest { with_predictions: false, ..measure_only(long) };
    let both = [begin(&server, long.clone(), "").await, begin(&server, long, "").await];
    // Fits and applications, of probes and of bridges, wait for the same turns.
    assert!(tokio::time::timeout(WAITS, fit(&server, measure_only(few()))).await.is_err());
    assert!(tokio::time::timeout(WAITS, fit_bridge(&server)).await.is_err());
    assert!(tokio::time::timeout(WAITS, apply(&server)).await.is_err());
    drop(both);
    let began = Instant::now();
    fit(&server, measure_only(few())).await.expect("has its turn");
    fit_bridge(&server).await.expect("has its turn");
    apply(&server).await.expect("has its turn");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_the_training_of_its_network() {
    let (models, folder) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("one"));
    let mut options =
        EncoderOptions::new(env!("CARGO_BIN_EXE_sidereus-encoder").into(), models.path().into());
    "cpu".clone_into(&mut options.device);
    (options.gives_way, options.threads) = (false, 1);
    let server = with_many(folder.path(), Some(EncoderHandle::spawn(options)), 600).await;
    let network = |epochs| {
        let mlp = MlpHead { hidden: vec![64], epochs, batch: 32, ..MlpHead::default() };
        measure_only(spec("plain", "y", head::Kind::Mlp(mlp)))
    };
    let endless = begin(&server, network(10_000), "training").await;
    // The second one waits for the encoder program, which trains one after the other.
    let second = begin(&server, network(10_000), "").await;
    assert!(tokio::time::timeout(WAITS, fit(&server, network(1))).await.is_err());
    drop((endless, second));
    let began = Instant::now();
    fit(&server, network(1)).await.expect("has its turn");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    server.stop().await;
}
