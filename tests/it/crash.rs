//! `kill -9` of the server during ingest, 200 times at random moments: what was acknowledged is there, what is
//! there was sent, and nothing is there twice.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch,
};
use arrow::datatypes::{DataType, Field};
use sidereus::files::encode_ipc;
use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::search_service_client::SearchServiceClient;
use sidereus::wire::v1::{
    CollectionSchema, ColumnType, CountObjectsRequest, CreateCollectionRequest, GetObjectsRequest,
    IdKind, IngestBatch, IngestMode, IngestOpen, IngestRequest, Metric, Object, ObjectId, Position,
    SearchRequest, Value, Vector, ingest_request, object_id, value,
};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{column, space};

const KILLS: u32 = 200;
const KILLS_MAX: u32 = 1_500;
const IN_IMPORT_MIN: u32 = 20;
const BEFORE_ANSWER_MIN: u32 = 5;
const ROWS_PER_BATCH: u64 = 25;
const WINDOW: usize = 4;

/// The real program, to be killed.
pub(crate) struct Server {
    process: Child,
    pub address: String,
}

impl Server {
    /// Starts it with a settings file, and waits until it listens.
    pub(crate) fn start(data: &Path, config: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sidereus"))
            .args(["serve", "--grpc", "127.0.0.1:0", "--data"])
            .arg(data)
            .arg("--config")
            .arg(config)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let output = process.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(output).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                Some(line.split_once("grpc://")?.1.split_whitespace().next()?.to_owned())
            })
            .expect("the server says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: format!("http://{address}") }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("SIGKILL is sent");
        self.process.wait().expect("the process ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the client knows of one object: the last generation acknowledged and the last one sent.
#[derive(Default, Clone, Copy)]
struct Known {
    acknowledged: Option<i64>,
    sent: i64,
}

struct Client {
    known: HashMap<i64, Known>,
    generation: i64,
    next_id: i64,
    random: u64,
}

impl Client {
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// New objects, and one in four a later generation of an old one somewhere else on the sky.
    fn batch(&mut self) -> Vec<(i64, i64)> {
        self.generation += 1;
        let mut rows: Vec<(i64, i64)> = Vec::new();
        for _ in 0..ROWS_PER_BATCH {
            let id = if self.next_id > 0 && self.random().is_multiple_of(4) {
                (self.random() % self.next_id as u64) as i64
            } else {
                self.next_id += 1;
                self.next_id - 1
            };
            if rows.iter().all(|(other, _)| *other != id) {
                rows.push((id, self.generation));
                self.known.entry(id).or_default().sent = self.generation;
            }
        }
        rows
    }

    /// New objects only.
    fn new_batch(&mut self) -> Vec<(i64, i64)> {
        self.generation += 1;
        let ids = self.next_id..self.next_id + ROWS_PER_BATCH as i64;
        self.next_id = ids.end;
        for id in ids.clone() {
            self.known.entry(id).or_default().sent = self.generation;
        }
        ids.map(|id| (id, self.generation)).collect()
    }
}

/// Rows as an Arrow stream: what [`message`] says of each.
fn columns(rows: &[(i64, i64)]) -> Vec<u8> {
    let sent: Vec<Object> = rows.iter().copied().map(message).collect();
    let place = |part: fn(Position) -> f64| -> ArrayRef {
        let positions = sent.iter().filter_map(|object| object.position);
        Arc::new(Float64Array::from_iter_values(positions.map(part)))
    };
    let components = sent.iter().flat_map(|object| object.vectors["v"].values.clone());
    let components = Arc::new(Float32Array::from_iter_values(components));
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let vectors = FixedSizeListArray::try_new(item, 3, components, None).expect("three each");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("object_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id)))),
        ("ra", place(|position| position.ra)),
        ("dec", place(|position| position.dec)),
        ("generation", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, each)| *each)))),
        ("vector.v", Arc::new(vectors)),
    ];
    encode_ipc(&RecordBatch::try_from_iter(columns).expect("a batch")).expect("encodes")
}

fn message((id, generation): (i64, i64)) -> Object {
    let ra = (id * 7 + generation * 13).rem_euclid(360) as f64;
    Object {
        id: Some(ObjectId { id: Some(object_id::Id::Number(id)) }),
        position: Some(Position { ra, dec: (id % 90) as f64 }),
        columns: HashMap::from([(
            "generation".to_owned(),
            Value { kind: Some(value::Kind::Integer(generation)) },
        )]),
        vectors: HashMap::from([(
            "v".to_owned(),
            Vector { values: vec![id as f32, generation as f32, 1.0] },
        )]),
        ..Object::default()
    }
}

async fn create(address: String) {
    let schema = CollectionSchema {
        name: "crash".to_owned(),
        id_kind: IdKind::Number.into(),
        columns: vec![column("generation", ColumnType::Int64)],
        spaces: vec![space("v", "test", 3, Metric::L2)],
        description: String::new(),
    };
    let mut client = CollectionServiceClient::connect(address).await.expect("connects");
    client
        .create_collection(CreateCollectionRequest { schema: Some(schema) })
        .await
        .expect("creates");
}

/// Streams batches until the server dies; returns the rows that were sent and not answered by then.
async fn ingest_until_killed(
    server: &mut Server,
    client: &mut Client,
    mode: IngestMode,
    delay: Duration,
) -> Vec<(i64, i64)> {
    let mut service = ObjectServiceClient::connect(server.address.clone()).await.expect("connects");
    let (sender, receiver) = mpsc::channel::<IngestRequest>(WINDOW);
    let open =
        IngestOpen { collection: "crash".to_owned(), mode: mode.into(), ..IngestOpen::default() };
    sender
        .send(IngestRequest { message: Some(ingest_request::Message::Open(open)) })
        .await
        .expect("the channel is open");
    let mut replies =
        service.ingest(ReceiverStream::new(receiver)).await.expect("the stream opens").into_inner();
    let mut in_flight: HashMap<u64, Vec<(i64, i64)>> = HashMap::new();
    let mut sequence = 0;
    let deadline = tokio::time::sleep(delay);
    tokio::pin!(deadline);
    let mut killed = false;
    loop {
        if !killed && in_flight.len() < WINDOW {
            // Half of the bulk batches travel as columns of new objects, which are written together with their like.
            let is_columns = mode == IngestMode::Bulk && client.random().is_multiple_of(2);
            let rows = if is_columns { client.new_batch() } else { client.batch() };
            let mut batch = IngestBatch { sequence, ..IngestBatch::default() };
            if is_columns {
                batch.arrow_ipc = columns(&rows);
            } else {
                batch.objects = rows.iter().copied().map(message).collect();
            }
            in_flight.insert(sequence, rows);
            sequence += 1;
            let request = IngestRequest { message: Some(ingest_request::Message::Batch(batch)) };
            sender.send(request).await.expect("the channel is open");
            continue;
        }
        tokio::select! {
            () = &mut deadline, if !killed => {
                server.kill();
                killed = true;
            }
            reply = replies.next() => match reply {
                Some(Ok(reply)) => {
                    assert!(reply.refused.is_empty(), "{:?}", reply.refused);
                    for (id, generation) in in_flight.remove(&reply.sequence).expect("a batch that was sent") {
                        let known = client.known.get_mut(&id).expect("known");
                        known.acknowledged = known.acknowledged.max(Some(generation));
                    }
                }
                Some(Err(_)) | None => break,
            },
        }
    }
    assert!(killed, "the server was killed, it did not end by itself");
    in_flight.into_values().flatten().collect()
}

/// Reads every object back through the search service and compares it with what the client knows.
async fn verify(address: &str, client: &Client) -> usize {
    let mut service = ObjectServiceClient::connect(address.to_owned()).await.expect("connects");
    let counted = service
        .count_objects(CountObjectsRequest {
            collection: "crash".to_owned(),
            ..CountObjectsRequest::default()
        })
        .await
        .expect("counts")
        .into_inner()
        .count;
    let mut found: HashMap<i64, i64> = HashMap::new();
    let mut search = SearchServiceClient::connect(address.to_owned()).await.expect("connects");
    let page = 5_000;
    let mut from = 0;
    while from < client.next_id {
        let request = SearchRequest {
            collection: "crash".to_owned(),
            predicate: format!("object_id >= {from} AND object_id < {}", from + page),
            k: page as u32,
            with_vectors: true,
            ..SearchRequest::default()
        };
        let mut chunks = search.search(request).await.expect("searches").into_inner();
        while let Some(chunk) = chunks.next().await {
            for hit in chunk.expect("a chunk").hits {
                let Some(object_id::Id::Number(id)) = hit.id.and_then(|id| id.id) else {
                    panic!("a numeric id")
                };
                let Some(value::Kind::Integer(generation)) = hit.columns["generation"].kind else {
                    panic!("an integer")
                };
                assert_eq!(
                    hit.vectors["v"].values,
                    [id as f32, generation as f32, 1.0],
                    "vector of {id}"
                );
                assert_eq!(found.insert(id, generation), None, "object {id} is there twice");
            }
        }
        from += page;
    }
    assert_eq!(counted, found.len() as u64, "the count is exact");
    for (id, known) in &client.known {
        let stored = found.get(id).copied();
        assert!(
            stored >= known.acknowledged,
            "{id}: {stored:?} is older than acknowledged {:?}",
            known.acknowledged
        );
        assert!(
            stored.is_none_or(|stored| stored <= known.sent),
            "{id}: {stored:?} was never sent"
        );
    }
    assert!(found.keys().all(|id| client.known.contains_key(id)), "phantom objects");
    found.len()
}

/// How many of the rows are stored as they were sent.
async fn stored(address: &str, rows: &[(i64, i64)]) -> usize {
    let mut service = ObjectServiceClient::connect(address.to_owned()).await.expect("connects");
    let ids = rows.iter().map(|(id, _)| ObjectId { id: Some(object_id::Id::Number(*id)) });
    let request = GetObjectsRequest {
        collection: "crash".to_owned(),
        ids: ids.collect(),
        with_vectors: false,
        release: String::new(),
    };
    let objects = service.get_objects(request).await.expect("reads").into_inner().objects;
    let found = objects.iter().filter(|object| {
        rows.iter().any(|row| {
            let sent = message(*row);
            sent.id == object.id && sent.columns == object.columns
        })
    });
    found.count()
}

/// Whether a bulk import had begun: its sorted files wait to be finished or removed at the next start. Which of both is told by
/// the rows that are there then.
fn has_staged_files(data: &Path) -> bool {
    std::fs::read_dir(data.join("staging")).is_ok_and(|mut entries| entries.next().is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_kills_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let config = folder.path().join("sidereus.toml");
    std::fs::write(&config, "version = 1\n[storage]\nbulk_min_mib = 0\n").expect("written");
    let mut client =
        Client { known: HashMap::new(), generation: 0, next_id: 0, random: 0x00C0_FFEE };
    let mut unanswered: Vec<(i64, i64)> = Vec::new();
    let (mut in_import, mut before_answer) = (0, 0);
    let mut round = 0;
    // On a fast disk fewer kills fall into the short moments that matter: go on until enough have.
    while round < KILLS
        || (round < KILLS_MAX && (in_import < IN_IMPORT_MIN || before_answer < BEFORE_ANSWER_MIN))
    {
        let mut server = Server::start(&data, &config);
        if round == 0 {
            create(server.address.clone()).await;
        } else if round % 20 == 0 {
            verify(&server.address, &client).await;
        }
        // Rows that are stored although no answer came: the kill fell between their commit and the answer.
        before_answer += u32::from(stored(&server.address, &unanswered).await > 0);
        let mode = if round < KILLS && round % 2 == 0 {
            IngestMode::Unspecified
        } else {
            IngestMode::Bulk
        };
        let delay = Duration::from_micros(2_000 + client.random() % 60_000);
        unanswered = ingest_until_killed(&mut server, &mut client, mode, delay).await;
        in_import += u32::from(has_staged_files(&data));
        round += 1;
    }
    let server = Server::start(&data, &config);
    let found = verify(&server.address, &client).await;
    let acknowledged = client.known.values().filter(|known| known.acknowledged.is_some()).count();
    println!(
        "{round} kills: {in_import} with sorted files under way, {before_answer} between a commit and its answer; \
         {acknowledged} objects acknowledged, {found} found"
    );
    assert!(in_import >= IN_IMPORT_MIN, "only {in_import} kills fell into a bulk import");
    assert!(
        before_answer >= BEFORE_ANSWER_MIN,
        "only {before_answer} kills fell between a commit and its answer"
    );
    assert!(acknowledged > 1_000, "only {acknowledged} objects were acknowledged");
}
