//! Bridges between spaces: fitted, measured, kept and used, through a real server.

mod across;
mod example;
mod joined;
mod kept;
mod oracle;
mod trained;
mod words;

use std::collections::HashMap;
use std::path::Path;

use sidereus::wire::v1::bridge_service_client::BridgeServiceClient;
use sidereus::wire::v1::{
    ApplyBridgeRequest, ApplyBridgeResponse, Bridge, BridgeSpec, CcaBridge, CollectionSchema,
    ColumnType, EmbeddingSpace, FitBridgeRequest, IdKind, Metric, Object, ProcrustesBridge,
    Provenance, RidgeBridge, SearchRequest, VectorTerm, bridge_spec,
};
use tonic::Status;
use tonic::transport::Channel;

use crate::support::{MESSAGE_BYTES, TestServer, column, number, object, real, space, vector};

pub(crate) const WIDTH: usize = 8;
pub(crate) const OBJECTS: i64 = 1_200;

/// A number between -1 and 1 that looks random and is the same for ever.
fn noise(seed: u64) -> f64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)) as f64 / u64::MAX as f64 * 2.0 - 1.0
}

/// What an object is, of which every space shows its own view.
fn hidden(id: i64) -> Vec<f64> {
    let at = |axis: u64| (0..3).map(|part| noise(id as u64 * 1_000 + axis * 10 + part)).sum();
    (0..WIDTH as u64).map(at).collect()
}

/// The view of a space: the hidden numbers turned by reflections of its own, and some noise. Lengths mean nothing.
fn view(id: i64, turn: u64, blur: f64) -> Vec<f32> {
    let mut values = hidden(id);
    for mirror in 0..4 {
        let axis: Vec<f64> =
            (0..WIDTH as u64).map(|at| noise(turn * 7_919 + mirror * 100 + at)).collect();
        let square: f64 = axis.iter().map(|value| value * value).sum();
        let along: f64 = axis.iter().zip(&values).map(|(a, v)| a * v).sum();
        for (value, axis) in values.iter_mut().zip(&axis) {
            *value -= 2.0 * along / square * axis;
        }
    }
    let length = 1.0 + 0.5 * noise(id as u64 * 31 + turn);
    let blurred = values.iter().enumerate().map(|(at, value)| {
        (length * (value + blur * noise(id as u64 * 977 + turn * 131 + at as u64))) as f32
    });
    blurred.collect()
}

/// A galaxy with an image, a spectrum that shows the same by other numbers, and vectors of two versions of one encoder. Every
/// tenth has no spectrum; object 7 has that of object 8.
pub(crate) fn galaxy(id: i64) -> Object {
    let mut galaxy = object(id, noise(id as u64 * 3) * 180.0 + 180.0, noise(id as u64 * 5) * 80.0);
    galaxy.columns = HashMap::from([("z".to_owned(), real(id as f64 / 1_000.0))]);
    galaxy.vectors = HashMap::from([
        ("image".to_owned(), vector(&view(id, 1, 0.05))),
        ("tower_a".to_owned(), vector(&view(id, 4, 0.02))),
        ("tower_b".to_owned(), vector(&view(id, 4, 0.02))),
    ]);
    if id % 10 != 9 {
        let whose = if id == 7 { 8 } else { id };
        galaxy.vectors.insert("spectrum".to_owned(), vector(&view(whose, 2, 0.05)));
    }
    galaxy
}

pub(crate) fn made_by(encoder: &str, name: &str, modality: &str) -> EmbeddingSpace {
    let provenance = Provenance { encoder: encoder.to_owned(), ..Provenance::default() };
    EmbeddingSpace {
        provenance: Some(provenance),
        ..space(name, modality, WIDTH as u32, Metric::Cosine)
    }
}

pub(crate) fn schema() -> CollectionSchema {
    let shared = |space: EmbeddingSpace| EmbeddingSpace { shared: "towers".to_owned(), ..space };
    CollectionSchema {
        name: "sky".to_owned(),
        id_kind: IdKind::Number.into(),
        columns: vec![column("z", ColumnType::Float64)],
        spaces: vec![
            made_by("eyes", "image", "image"),
            made_by("prism", "spectrum", "spectrum"),
            shared(made_by("a", "tower_a", "image")),
            shared(made_by("b", "tower_b", "spectrum")),
        ],
        description: String::new(),
    }
}

/// A server with galaxies.
pub(crate) async fn with_galaxies(data: &Path) -> TestServer {
    let server = TestServer::start(data).await;
    fill(&server).await;
    server
}

pub(crate) async fn fill(server: &TestServer) {
    server.create(schema()).await.expect("a collection");
    server.write("sky", (0..OBJECTS).map(galaxy).collect()).await;
}

pub(crate) async fn client(server: &TestServer) -> BridgeServiceClient<Channel> {
    BridgeServiceClient::new(server.channel().await).max_decoding_message_size(MESSAGE_BYTES)
}

pub(crate) fn procrustes() -> bridge_spec::Method {
    bridge_spec::Method::Procrustes(ProcrustesBridge::default())
}

pub(crate) fn ridge() -> bridge_spec::Method {
    bridge_spec::Method::Ridge(RidgeBridge::default())
}

pub(crate) fn cca(components: u32) -> bridge_spec::Method {
    bridge_spec::Method::Cca(CcaBridge { components, ..CcaBridge::default() })
}

pub(crate) fn wanted(
    name: &str,
    from: &str,
    to: &str,
    method: bridge_spec::Method,
) -> FitBridgeRequest {
    let spec = BridgeSpec {
        from: from.to_owned(),
        to: to.to_owned(),
        method: Some(method),
        resamples: 100,
        ..BridgeSpec::default()
    };
    FitBridgeRequest {
        collection: "sky".to_owned(),
        spec: Some(spec),
        name: name.to_owned(),
        overwrite: false,
    }
}

/// Fits a bridge; its last message has it, those before say how far it is.
pub(crate) async fn fit(server: &TestServer, request: FitBridgeRequest) -> Result<Bridge, Status> {
    let mut stream = client(server).await.fit_bridge(request).await?.into_inner();
    let mut bridge = None;
    while let Some(message) = stream.message().await? {
        assert!(bridge.is_none(), "the bridge comes last");
        assert!(!message.stage.is_empty());
        bridge = message.bridge;
    }
    Ok(bridge.expect("the last message has the bridge"))
}

pub(crate) async fn apply(
    server: &TestServer,
    name: &str,
    space: &str,
) -> Result<ApplyBridgeResponse, Status> {
    let request = ApplyBridgeRequest {
        collection: "sky".to_owned(),
        name: name.to_owned(),
        space: space.to_owned(),
    };
    let mut stream = client(server).await.apply_bridge(request).await?.into_inner();
    let mut last = ApplyBridgeResponse::default();
    while let Some(message) = stream.message().await? {
        last = message;
    }
    Ok(last)
}

pub(crate) fn value(bridge: &Bridge, name: &str) -> f64 {
    bridge.metrics.iter().find(|metric| metric.name == name).expect(name).value
}

/// A term that searches with examples of one space in another.
pub(crate) fn term(from: &str, to: &str) -> VectorTerm {
    VectorTerm { space: to.to_owned(), from_space: from.to_owned(), ..VectorTerm::default() }
}

pub(crate) fn like(from: &str, to: &str, id: i64) -> VectorTerm {
    VectorTerm { like: vec![number(id)], ..term(from, to) }
}

pub(crate) fn near(term: VectorTerm, k: u32) -> SearchRequest {
    SearchRequest {
        collection: "sky".to_owned(),
        terms: vec![term],
        k,
        exact: true,
        explain: true,
        ..SearchRequest::default()
    }
}
