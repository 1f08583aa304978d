//! Things that are done one after the other and of which only the last is to be seen: a collection that is made, filled and
//! dropped under the same name again and again, and a record of labels.

use std::collections::BTreeMap;

use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use sidereus::wire::v1::discovery_service_client::DiscoveryServiceClient;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::{
    CollectionSchema, CreateCollectionRequest, DropCollectionRequest, DropSessionRequest,
    GetObjectsRequest, GetSessionRequest, IngestBatch, IngestMode, IngestOpen, IngestRequest,
    LabelObjectsRequest, Object, ObjectId, StartSessionRequest, ingest_request,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::super::world::{NAME, mixed};
use super::books::{Books, Ended, Sequence, locked};
use super::schema;
use super::steps::{Held, WRITERS, id_of, lasting, wire_id, wire_object};

/// The collection that comes and goes.
pub(super) const PASSING: &str = "passing";

/// Objects of it.
const OBJECTS: i64 = 40;

/// The record.
const LABELS: &str = "liked";

/// Changes of a record from its beginning to its end.
const LABEL_STEPS: u64 = 7;

/// Objects of the collection after a step; `None` when there is no collection.
fn passing_at(step: u64) -> Option<Vec<Object>> {
    let held = Held::new(step);
    match step % 3 {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some((0..OBJECTS).map(|id| wire_object(id, &held)).collect()),
    }
}

/// Makes, fills and drops the collection until the server is killed.
pub(super) async fn pass(channel: Channel, books: &Books) -> Ended {
    let mut collections = CollectionServiceClient::new(channel.clone());
    let mut objects = ObjectServiceClient::new(channel);
    loop {
        let step = begin(&books.passing);
        let name = PASSING.to_owned();
        let outcome = match step % 3 {
            1 => {
                let schema = Some(CollectionSchema { name, ..schema() });
                let request = CreateCollectionRequest { schema };
                collections.create_collection(request).await.map(drop)
            }
            2 => fill(&mut objects, step).await,
            _ => {
                let request = DropCollectionRequest { name, with_releases: false };
                collections.drop_collection(request).await.map(drop)
            }
        };
        let doing = ["dropping a collection", "making a collection", "filling a collection"];
        if let Err(status) = outcome {
            return books.ended(doing[(step % 3) as usize], &status);
        }
        locked(&books.passing).settled = step;
        books.count("changes of another collection");
    }
}

fn begin(sequence: &std::sync::Mutex<Sequence>) -> u64 {
    let mut sequence = locked(sequence);
    sequence.sent += 1;
    sequence.sent
}

async fn fill(client: &mut ObjectServiceClient<Channel>, step: u64) -> Result<(), Status> {
    let mode = if step.is_multiple_of(2) { IngestMode::Bulk } else { IngestMode::Unspecified };
    let open =
        IngestOpen { collection: PASSING.to_owned(), mode: mode.into(), ..IngestOpen::default() };
    let objects = passing_at(step).unwrap_or_default();
    let batch = IngestBatch { objects, ..IngestBatch::default() };
    let messages = [ingest_request::Message::Open(open), ingest_request::Message::Batch(batch)];
    let requests = messages.map(|message| IngestRequest { message: Some(message) });
    let mut answers = client.ingest(tokio_stream::iter(requests)).await?.into_inner();
    let answer = answers.message().await?.ok_or_else(|| Status::internal("no answer"))?;
    match (answer.refused.first(), answer.inserted) {
        (None, count) if count == OBJECTS as u64 => answers.message().await.map(drop),
        _ => Err(Status::internal(format!("the answer to {OBJECTS} new objects is {answer:?}"))),
    }
}

/// Compares what is there with the steps that it may be after.
pub(super) async fn check_passing(channel: Channel, books: &Books) -> Result<(), String> {
    let request = GetObjectsRequest {
        collection: PASSING.to_owned(),
        ids: (0..OBJECTS).map(wire_id).collect(),
        with_vectors: true,
        release: String::new(),
    };
    let found = match ObjectServiceClient::new(channel).get_objects(request).await {
        Ok(reply) => Some(reply.into_inner().objects),
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => return Err(format!("`{PASSING}` cannot be read: {status}")),
    };
    settle(&books.passing, PASSING, &found, passing_at)
}

/// The labels after a step; `None` when there is no record.
fn labels_at(step: u64) -> Option<BTreeMap<i64, bool>> {
    let within = step % LABEL_STEPS;
    if within == 0 {
        return None;
    }
    let first = step - within + 2;
    let mut labels = BTreeMap::new();
    for step in first..=step {
        match label(step) {
            (id, Some(label)) => labels.insert(id, label),
            (id, None) => labels.remove(&id),
        };
    }
    Some(labels)
}

/// What a step in between does: an object, and its label.
fn label(step: u64) -> (i64, Option<bool>) {
    let number = mixed(step ^ 0x1abe1);
    let label = [Some(true), Some(false), None][(number >> 20) as usize % 3];
    (lasting(number % WRITERS), label)
}

/// Makes, alters and drops the record until the server is killed.
pub(super) async fn label_forever(channel: Channel, books: &Books) -> Ended {
    let mut client = DiscoveryServiceClient::new(channel);
    loop {
        let step = begin(&books.labels);
        let (collection, name) = (NAME.to_owned(), LABELS.to_owned());
        let outcome = match step % LABEL_STEPS {
            0 => client.drop_session(DropSessionRequest { collection, name }).await.map(drop),
            1 => {
                let space = String::new();
                let request = StartSessionRequest { collection, name, space, seed: 0 };
                client.start_session(request).await.map(drop)
            }
            _ => {
                let (id, label) = label(step);
                let of = |wanted: Option<bool>| -> Vec<ObjectId> {
                    (wanted == label).then(|| wire_id(id)).into_iter().collect()
                };
                let request = LabelObjectsRequest {
                    collection,
                    name,
                    positives: of(Some(true)),
                    negatives: of(Some(false)),
                    unlabelled: of(None),
                };
                client.label_objects(request).await.map(drop)
            }
        };
        if let Err(status) = outcome {
            return books.ended("labels", &status);
        }
        locked(&books.labels).settled = step;
        books.count("changes of labels");
    }
}

/// Compares the labels that are there with the steps that they may be after.
pub(super) async fn check_labels(channel: Channel, books: &Books) -> Result<(), String> {
    let request = GetSessionRequest { collection: NAME.to_owned(), name: LABELS.to_owned() };
    let found = match DiscoveryServiceClient::new(channel).get_session(request).await {
        Ok(reply) => {
            let labels = reply.into_inner().session.unwrap_or_default().labels;
            let labels = labels.iter().map(|each| Ok((id_of(each.id.as_ref())?, each.positive)));
            Some(labels.collect::<Result<BTreeMap<i64, bool>, String>>()?)
        }
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => return Err(format!("the labels cannot be read: {status}")),
    };
    settle(&books.labels, "the labels", &found, labels_at)
}

/// Goes on from the step that what was found is after.
fn settle<T: PartialEq + std::fmt::Debug>(
    sequence: &std::sync::Mutex<Sequence>,
    name: &str,
    found: &T,
    at: fn(u64) -> T,
) -> Result<(), String> {
    let mut sequence = locked(sequence);
    let Sequence { settled, sent } = *sequence;
    let step = (settled..=sent).find(|step| at(*step) == *found);
    let Some(step) = step else {
        let expected: Vec<T> = (settled..=sent).map(at).collect();
        return Err(format!(
            "{name}: acknowledged to step {settled}, sent to {sent}, found {found:?} instead of one of {expected:?}"
        ));
    };
    *sequence = Sequence { settled: step, sent: step };
    Ok(())
}
