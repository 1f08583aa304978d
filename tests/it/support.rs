//! A real server on a free port of this machine, with a real store in a folder of its own, and clients for it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use sidereus::encoder::EncoderHandle;
use sidereus::engine::{Db, DbOptions};
use sidereus::service::{Server, ServiceOptions};
use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use sidereus::wire::v1::maintenance_service_client::MaintenanceServiceClient;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::search_service_client::SearchServiceClient;
use sidereus::wire::v1::{
    Collection, CollectionSchema, ColumnType, CountObjectsRequest, CreateCollectionRequest, Hit,
    IdKind, IngestBatch, IngestMode, IngestOpen, IngestRequest, IngestResponse, Metric, Object,
    ObjectId, Payload, Position, QueryStats, Region, SearchRequest, Value, Vector, VectorTerm,
    ingest_request, object_id, payload, region, value,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

pub(crate) use crate::upkeep::harness::made;
pub(crate) use crate::upkeep::harness::wired::{column, space};

/// How long a data directory that is being closed may keep its lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Large enough for every reply of the tests.
pub(crate) const MESSAGE_BYTES: usize = 64 << 20;

/// A server that runs inside the test.
pub(crate) struct TestServer {
    pub address: SocketAddr,
    /// The database behind it.
    pub db: Db,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl TestServer {
    /// Starts a server with the default limits and without an encoder.
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(data, None, |_| {}).await
    }

    /// Starts a server with changed options.
    pub(crate) async fn start_with(
        data: &Path,
        encoder: Option<EncoderHandle>,
        change: impl FnOnce(&mut ServiceOptions),
    ) -> Self {
        let db = open(data).await;
        let mut options = ServiceOptions::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        options.shutdown_grace = Duration::from_secs(2);
        change(&mut options);
        let server = Server::bind(options, db.clone(), encoder).await.expect("a free port");
        let address = server.address();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let serving = tokio::spawn(async move { server.serve(token).await.expect("serves") });
        Self { address, db, stop, serving }
    }

    /// Stops the server as SIGTERM does, and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.serving).await.expect("the server ends by itself");
    }

    /// Begins to stop the server, and goes on.
    pub(crate) fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint =
            Channel::from_shared(format!("http://{}", self.address)).expect("an address");
        endpoint.connect().await.expect("the server listens")
    }

    pub(crate) async fn collections(&self) -> CollectionServiceClient<Channel> {
        CollectionServiceClient::new(self.channel().await)
    }

    pub(crate) async fn objects(&self) -> ObjectServiceClient<Channel> {
        ObjectServiceClient::new(self.channel().await)
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES)
    }

    pub(crate) async fn searches(&self) -> SearchServiceClient<Channel> {
        SearchServiceClient::new(self.channel().await)
    }

    pub(crate) async fn maintenance(&self) -> MaintenanceServiceClient<Channel> {
        MaintenanceServiceClient::new(self.channel().await)
    }

    pub(crate) async fn create(&self, schema: CollectionSchema) -> Result<Collection, Status> {
        let request = CreateCollectionRequest { schema: Some(schema) };
        let reply = self.collections().await.create_collection(request).await?;
        Ok(reply.into_inner().collection.expect("the collection"))
    }

    /// Sends batches on one stream and collects the answers until the first failure.
    pub(crate) async fn ingest(
        &self,
        collection: &str,
        mode: IngestMode,
        batches: Vec<IngestBatch>,
    ) -> (Vec<IngestResponse>, Option<Status>) {
        let mut requests = vec![open_message(collection, mode)];
        requests.extend(batches.into_iter().map(batch_message));
        self.ingest_messages(requests).await
    }

    /// Sends messages as they are on one stream and collects the answers until the first failure.
    pub(crate) async fn ingest_messages(
        &self,
        requests: Vec<IngestRequest>,
    ) -> (Vec<IngestResponse>, Option<Status>) {
        let mut client = self.objects().await;
        let mut stream = match client.ingest(tokio_stream::iter(requests)).await {
            Ok(reply) => reply.into_inner(),
            Err(status) => return (Vec::new(), Some(status)),
        };
        let mut answers = Vec::new();
        while let Some(answer) = stream.next().await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(status) => return (answers, Some(status)),
            }
        }
        (answers, None)
    }

    /// Writes objects that must all be good.
    pub(crate) async fn write(&self, collection: &str, objects: Vec<Object>) {
        let batch = IngestBatch { objects, ..IngestBatch::default() };
        let (answers, failure) =
            self.ingest(collection, IngestMode::Unspecified, vec![batch]).await;
        assert!(failure.is_none(), "{failure:?}");
        assert!(answers[0].refused.is_empty(), "{:?}", answers[0].refused);
    }

    pub(crate) async fn count(
        &self,
        collection: &str,
        region: Option<Region>,
        predicate: &str,
    ) -> Result<u64, Status> {
        let collection = collection.to_owned();
        let request = CountObjectsRequest {
            collection,
            region,
            predicate: predicate.to_owned(),
            release: String::new(),
        };
        Ok(self.objects().await.count_objects(request).await?.into_inner().count)
    }

    /// Searches and puts the messages of the answer together.
    pub(crate) async fn search(
        &self,
        request: SearchRequest,
    ) -> Result<(Vec<Hit>, QueryStats), Status> {
        let mut stream = self.searches().await.search(request).await?.into_inner();
        let mut hits = Vec::new();
        let mut stats = None;
        while let Some(message) = stream.next().await {
            let message = message?;
            assert!(stats.is_none(), "the statistics come last");
            hits.extend(message.hits);
            stats = message.stats;
        }
        Ok((hits, stats.expect("the last message has the statistics")))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Opens a data directory; one that a stopped server is just closing is waited for.
async fn open(data: &Path) -> Db {
    let began = std::time::Instant::now();
    loop {
        match Db::open(DbOptions::new(data)) {
            Ok(db) => return db,
            Err(error) if began.elapsed() > LOCK_WAIT => {
                panic!("the database does not open: {error}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

pub(crate) fn open_message(collection: &str, mode: IngestMode) -> IngestRequest {
    let open = IngestOpen {
        collection: collection.to_owned(),
        mode: mode.into(),
        ..IngestOpen::default()
    };
    IngestRequest { message: Some(ingest_request::Message::Open(open)) }
}

pub(crate) fn batch_message(batch: IngestBatch) -> IngestRequest {
    IngestRequest { message: Some(ingest_request::Message::Batch(batch)) }
}

pub(crate) fn number(id: i64) -> ObjectId {
    ObjectId { id: Some(object_id::Id::Number(id)) }
}

pub(crate) fn text(id: &str) -> ObjectId {
    ObjectId { id: Some(object_id::Id::Text(id.to_owned())) }
}

/// The number of a hit or object.
pub(crate) fn id_of(id: Option<&ObjectId>) -> i64 {
    match id.and_then(|id| id.id.as_ref()) {
        Some(object_id::Id::Number(number)) => *number,
        other => panic!("not a numeric id: {other:?}"),
    }
}

pub(crate) fn ids_of(hits: &[Hit]) -> Vec<i64> {
    hits.iter().map(|hit| id_of(hit.id.as_ref())).collect()
}

pub(crate) fn real(number: f64) -> Value {
    Value { kind: Some(value::Kind::Real(number)) }
}

pub(crate) fn string(text: &str) -> Value {
    Value { kind: Some(value::Kind::Text(text.to_owned())) }
}

pub(crate) fn vector(values: &[f32]) -> Vector {
    Vector { values: values.to_vec() }
}

/// Numeric ids, a column of most types, and two spaces: `v` (3, L2) and `c` (2, cosine).
pub(crate) fn schema(name: &str) -> CollectionSchema {
    CollectionSchema {
        name: name.to_owned(),
        id_kind: IdKind::Number.into(),
        columns: vec![
            column("z", ColumnType::Float64),
            column("class", ColumnType::Text),
            column("n", ColumnType::Int64),
            column("flux_g", ColumnType::Float32),
            column("flux_r", ColumnType::Float32),
            column("image", ColumnType::Binary),
            column("spectrum", ColumnType::FloatList),
        ],
        spaces: vec![space("v", "image", 3, Metric::L2), space("c", "colour", 2, Metric::Cosine)],
        description: "for tests".to_owned(),
    }
}

/// An object without columns and vectors.
pub(crate) fn object(id: i64, ra: f64, dec: f64) -> Object {
    Object { id: Some(number(id)), position: Some(Position { ra, dec }), ..Object::default() }
}

/// An object with columns and a vector in `v`; z = id / 100, class by parity.
pub(crate) fn galaxy(id: i64, ra: f64, dec: f64) -> Object {
    let class = if id % 2 == 0 { "GALAXY" } else { "QSO" };
    Object {
        columns: HashMap::from([
            ("z".to_owned(), real(id as f64 / 100.0)),
            ("class".to_owned(), string(class)),
            ("n".to_owned(), Value { kind: Some(value::Kind::Integer(id)) }),
        ]),
        vectors: HashMap::from([("v".to_owned(), vector(&[id as f32, 0.0, 1.0]))]),
        ..object(id, ra, dec)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as a request has it")]
pub(crate) fn in_region(shape: region::Shape) -> Option<Region> {
    Some(Region { shape: Some(shape) })
}

/// The `k` nearest to a vector in space `v`.
pub(crate) fn near(collection: &str, values: &[f32], k: u32) -> SearchRequest {
    let term = VectorTerm {
        space: "v".to_owned(),
        vectors: vec![vector(values)],
        ..VectorTerm::default()
    };
    SearchRequest {
        collection: collection.to_owned(),
        terms: vec![term],
        k,
        ..SearchRequest::default()
    }
}

pub(crate) fn image(bytes: &[u8]) -> Payload {
    Payload { modality: "image".to_owned(), content: Some(payload::Content::Image(bytes.to_vec())) }
}

/// The bytes of a NumPy file of singles, as `numpy.save` writes it; `shape` is the inside of the tuple.
pub(crate) fn npy(shape: &str, values: &[f32]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}
