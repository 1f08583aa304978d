//! A server in a process of its own, with a collection, and connections to it from several addresses of this machine.

#[path = "../../tests/harness/wired.rs"]
mod wired;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::{
    CollectionSchema, ColumnType, CreateCollectionRequest, IdKind, IngestBatch, IngestMode,
    IngestOpen, IngestRequest, Metric, Object, ObjectId, Position, SearchRequest, Value, Vector,
    VectorTerm, ingest_request, object_id, value,
};
use tonic::transport::Channel;

use self::wired::{column, space};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sidereus");

/// Components of the vectors.
pub(crate) const DIMENSION: usize = 64;

/// Objects of one message.
const BATCH: i64 = 5_000;

/// A server that is killed when this is dropped.
pub(crate) struct ServerProcess {
    pub(crate) child: Child,
    pub(crate) address: String,
    _data: tempfile::TempDir,
}

impl ServerProcess {
    /// Starts a server with settings, and whatever is to be done with the process before it works.
    pub(crate) fn start(settings: &str, confine: impl FnOnce(u32)) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let config = data.path().join("sidereus.toml");
        std::fs::write(&config, format!("version = 1\n{settings}")).expect("written");
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--grpc", "127.0.0.1:0", "--log", "warn", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(data.path().join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        confine(child.id());
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("its first line");
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("grpc://"));
        let address = address.unwrap_or_else(|| panic!("it listens: {line}")).to_owned();
        Self { child, address, _data: data }
    }

    /// A connection from an address of this machine: another caller.
    pub(crate) async fn connect(&self, caller: u8) -> Channel {
        let endpoint =
            Channel::from_shared(format!("http://{}", self.address)).expect("an address");
        let own = IpAddr::V4(Ipv4Addr::new(127, 0, 0, caller));
        endpoint.local_address(Some(own)).connect().await.expect("it listens")
    }

    /// Whether the process is still there.
    pub(crate) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The most memory that it ever held, in MiB.
    pub(crate) fn peak_mib(&self) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(f64::NAN) / 1024.0
    }

    /// Makes the collection `sky`.
    pub(crate) async fn fill(&self, rows: i64) {
        let channel = self.connect(1).await;
        let schema = CollectionSchema {
            name: "sky".to_owned(),
            id_kind: IdKind::Number.into(),
            columns: vec![
                column("z", ColumnType::Float64),
                column("n", ColumnType::Int64),
                column("name", ColumnType::Text),
            ],
            spaces: vec![space("v", "image", DIMENSION as u32, Metric::L2)],
            description: String::new(),
        };
        let request = CreateCollectionRequest { schema: Some(schema) };
        let mut collections = CollectionServiceClient::new(channel.clone());
        collections.create_collection(request).await.expect("created");
        let open = IngestOpen {
            collection: "sky".to_owned(),
            mode: IngestMode::Bulk.into(),
            ..IngestOpen::default()
        };
        let mut messages = vec![ingest_request::Message::Open(open)];
        for first in (0..rows).step_by(BATCH as usize) {
            let objects = (first..rows.min(first + BATCH)).map(object).collect();
            let batch = IngestBatch { objects, ..IngestBatch::default() };
            messages.push(ingest_request::Message::Batch(batch));
        }
        let messages = messages.into_iter().map(|each| IngestRequest { message: Some(each) });
        let mut client = ObjectServiceClient::new(channel).max_encoding_message_size(usize::MAX);
        let answers = client.ingest(tokio_stream::iter(messages)).await.expect("begins");
        let mut answers = answers.into_inner();
        while let Some(answer) = answers.message().await.expect("an answer") {
            assert!(answer.refused.is_empty(), "{:?}", answer.refused);
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The vector of an object: far from those of all others in the first component.
pub(crate) fn vector_of(id: i64) -> Vec<f32> {
    let at = |place: usize| ((id as f32 + 1.0) * (place as f32 + 0.7)).sin();
    std::iter::once(id as f32).chain((1..DIMENSION).map(at)).collect()
}

fn object(id: i64) -> Object {
    let value = |kind| Value { kind: Some(kind) };
    Object {
        id: Some(ObjectId { id: Some(object_id::Id::Number(id)) }),
        position: Some(Position {
            ra: (id * 37 % 36_000) as f64 / 100.0,
            dec: (id * 11 % 16_000) as f64 / 100.0 - 80.0,
        }),
        columns: HashMap::from([
            ("z".to_owned(), value(value::Kind::Real((id % 1_000) as f64 / 500.0))),
            ("n".to_owned(), value(value::Kind::Integer(id))),
            ("name".to_owned(), value(value::Kind::Text(format!("object {id}")))),
        ]),
        vectors: HashMap::from([("v".to_owned(), Vector { values: vector_of(id) })]),
        ..Object::default()
    }
}

/// An exact search for the nearest to an object, which reads every vector.
pub(crate) fn search_for(id: i64, k: u32) -> SearchRequest {
    let term = VectorTerm {
        space: "v".to_owned(),
        vectors: vec![Vector { values: vector_of(id) }],
        ..VectorTerm::default()
    };
    SearchRequest {
        collection: "sky".to_owned(),
        terms: vec![term],
        k,
        exact: true,
        ..SearchRequest::default()
    }
}

/// The time at a share of sorted times, in milliseconds.
pub(crate) fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let place = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// The number behind a word of the command line.
pub(crate) fn word(name: &str, default: f64) -> f64 {
    let mut words = std::env::args();
    let found = words.by_ref().find(|word| word == name).and_then(|_| words.next());
    found.map_or(default, |text| text.parse().expect("a number"))
}
