//! Spaces that are filled as objects arrive.

mod declaring;
mod kills;
mod objects;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use sidereus::wire::v1::{
    Collection, CollectionSchema, EmbeddingSpace, GetCollectionRequest, GetObjectsRequest,
    IngestEncoding, Metric, Object, Provenance, SpaceForm, Value, value,
};
use tonic::transport::Channel;

use crate::fake_encoder::{self, Controls};
use crate::support::{TestServer, galaxy, id_of, number, object, real, schema, space};

const NAME: &str = "galaxies";

/// How long a test waits for what happens in the background.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server with the encoder of the tests, and no collection yet.
async fn server() -> (tempfile::TempDir, TestServer, Arc<Controls>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (encoder, controls) = fake_encoder::start().await;
    let server = TestServer::start_with(folder.path(), Some(encoder), |options| {
        options.limits.encode_batch = 16;
    })
    .await;
    (folder, server, controls)
}

/// A space that a model fills at ingest.
fn made(name: &str, model: &str, modality: &str, dimension: u32) -> EmbeddingSpace {
    let provenance = Provenance { encoder: model.to_owned(), ..Provenance::default() };
    EmbeddingSpace {
        provenance: Some(provenance),
        encode_at_ingest: true,
        ..space(name, modality, dimension, Metric::L2)
    }
}

/// `colours` of fluxes, `looks` and `codes` (token ids) of images.
fn filled() -> CollectionSchema {
    let mut schema = schema(NAME);
    schema.spaces.push(made("colours", "fluxes", "photometry", 3));
    schema.spaces.push(made("looks", "pixels", "image", 2));
    let mut codes = made("codes", "pixels", "image", 0);
    codes.form = SpaceForm::TokenIds.into();
    "token-ids".clone_into(&mut codes.provenance.as_mut().expect("there").pooling);
    schema.spaces.push(codes);
    schema
}

fn with_fluxes(id: i64, g: f64, r: f64) -> Object {
    let mut row = galaxy(id, id as f64 % 360.0, 0.0);
    row.columns.insert("flux_g".to_owned(), real(g));
    row.columns.insert("flux_r".to_owned(), real(r));
    row
}

fn with_image(id: i64, bytes: &[u8]) -> Object {
    let image = Value { kind: Some(value::Kind::Binary(bytes.to_vec())) };
    Object { columns: HashMap::from([("image".to_owned(), image)]), ..object(id, id as f64, 0.0) }
}

async fn shown(mut client: CollectionServiceClient<Channel>) -> Collection {
    let get = GetCollectionRequest { name: NAME.to_owned(), release: String::new() };
    let reply = client.get_collection(get).await.expect("shown").into_inner();
    reply.collection.expect("the collection")
}

async fn told(server: &TestServer, space: &str) -> IngestEncoding {
    let collection = shown(server.collections().await).await;
    collection.encoding.get(space).cloned().unwrap_or_else(|| panic!("nothing of {space}"))
}

/// Waits until what is told of a space is as wanted.
async fn until(
    server: &TestServer,
    space: &str,
    wanted: impl Fn(&IngestEncoding) -> bool,
) -> IngestEncoding {
    let began = Instant::now();
    loop {
        let told = told(server, space).await;
        if wanted(&told) {
            return told;
        }
        assert!(began.elapsed() < PATIENCE, "{space}: {told:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until nothing waits in a space; returns the counts of failures and of objects without inputs.
async fn done(server: &TestServer, space: &str) -> (u64, u64) {
    let told = until(server, space, |told| told.waiting == 0).await;
    (told.failed, told.without_inputs)
}

async fn get(server: &TestServer, ids: &[i64]) -> Vec<Object> {
    let ids = ids.iter().copied().map(number).collect();
    let request = GetObjectsRequest {
        collection: NAME.to_owned(),
        ids,
        with_vectors: true,
        release: String::new(),
    };
    server.objects().await.get_objects(request).await.expect("read").into_inner().objects
}

/// Vectors of objects in a space; no entry for those that have none.
async fn vectors(server: &TestServer, space: &str, ids: &[i64]) -> HashMap<i64, Vec<f32>> {
    let vector = |mut object: Object| {
        let id = id_of(object.id.as_ref());
        Some((id, object.vectors.remove(space)?.values))
    };
    get(server, ids).await.into_iter().filter_map(vector).collect()
}

fn encoded(controls: &Controls) -> usize {
    controls.encoded.load(Ordering::SeqCst)
}
