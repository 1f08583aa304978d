//! Streams that go on while what their caller may do is taken from him.

use sidereus::wire::v1::access_service_client::AccessServiceClient;
use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::{
    CountObjectsRequest, CreateCollectionRequest, DropCollectionRequest, IngestBatch, IngestMode,
    IngestRequest, IngestResponse, TakeRoleRequest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};

use super::{OURS, guarded};
use crate::support::{batch_message, object, open_message, schema};

fn by<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let header = format!("Bearer {token}").parse().expect("a header");
    request.metadata_mut().insert("authorization", header);
    request
}

/// An ingest that is under way.
struct Ingest {
    requests: mpsc::Sender<IngestRequest>,
    answers: Streaming<IngestResponse>,
}

impl Ingest {
    async fn begin(channel: &Channel, token: &str) -> Self {
        let (requests, receiver) = mpsc::channel(4);
        requests.send(open_message(OURS, IngestMode::Unspecified)).await.expect("open");
        let stream = by(token, ReceiverStream::new(receiver));
        let answers = ObjectServiceClient::new(channel.clone()).ingest(stream).await;
        Self { requests, answers: answers.expect("begins").into_inner() }
    }

    /// Writes one object; the code of a refusal.
    async fn write(&mut self, id: i64) -> Result<u64, Code> {
        let objects = vec![object(id, 10.0, 10.0)];
        let batch = IngestBatch { sequence: id as u64, objects, ..IngestBatch::default() };
        self.requests.send(batch_message(batch)).await.expect("sent");
        let answer = self.answers.message().await.map_err(|status| status.code())?;
        Ok(answer.expect("an answer").inserted)
    }
}

async fn count(channel: &Channel, token: &str) -> u64 {
    let asked = CountObjectsRequest { collection: OURS.to_owned(), ..Default::default() };
    let reply = ObjectServiceClient::new(channel.clone()).count_objects(by(token, asked)).await;
    reply.expect("counted").into_inner().count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_taken_ends_the_streams_that_began_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    let mut ingest = Ingest::begin(&channel, tokens.with_role(3)).await;
    assert_eq!(ingest.write(1).await, Ok(1));
    let take = TakeRoleRequest { principal: "user:ingest".to_owned(), collection: OURS.to_owned() };
    let mut access = AccessServiceClient::new(channel.clone());
    access.take_role(by(&tokens.admin, take)).await.expect("taken");
    assert_eq!(ingest.write(2).await, Err(Code::PermissionDenied));
    assert_eq!(count(&channel, &tokens.admin).await, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_into_a_collection_writes_into_no_other_that_has_its_name_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, tokens) = guarded(folder.path()).await;
    let channel = server.channel().await;
    // An administrator has his role on the new one, too.
    let mut ingest = Ingest::begin(&channel, &tokens.admin).await;
    assert_eq!(ingest.write(1).await, Ok(1));
    let mut collections = CollectionServiceClient::new(channel.clone());
    let gone = DropCollectionRequest { name: OURS.to_owned(), ..Default::default() };
    collections.drop_collection(by(&tokens.admin, gone)).await.expect("dropped");
    let anew = CreateCollectionRequest { schema: Some(schema(OURS)) };
    collections.create_collection(by(&tokens.admin, anew)).await.expect("made");
    assert!(ingest.write(2).await.is_err());
    assert_eq!(count(&channel, &tokens.admin).await, 0);
    server.stop().await;
}
