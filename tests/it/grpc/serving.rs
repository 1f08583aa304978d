//! The server as a process sees it: addresses, health, reflection, restarts and the end.

use std::net::SocketAddr;

use futures::StreamExt;
use sidereus::engine::{Db, DbOptions};
use sidereus::service::{Server, ServerError, ServiceOptions};
use sidereus::wire::v1::{
    BuildIndexRequest, GetObjectsRequest, IngestBatch, IngestMode, IngestRequest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::{
    TestServer, batch_message, galaxy, ids_of, near, number, open_message, schema,
};

async fn refusal(folder: &std::path::Path, address: &str, remote: bool) -> ServerError {
    let db = Db::open(DbOptions::new(folder)).expect("opens");
    let mut options = ServiceOptions::new(address.parse().expect("an address"));
    options.allow_insecure_remote = remote;
    Server::bind(options, db, None).await.expect_err("refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_kept_out_unless_the_operator_says_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let error = refusal(folder.path(), address, false).await;
        assert!(matches!(error, ServerError::RemoteRefused { .. }), "{error}");
        assert!(error.to_string().contains("allow_insecure_remote"));
    }
    let db = Db::open(DbOptions::new(folder.path())).expect("opens");
    let mut options = ServiceOptions::new(SocketAddr::from(([0, 0, 0, 0], 0)));
    options.allow_insecure_remote = true;
    let server = Server::bind(options, db, None).await.expect("the operator wants it");
    assert_ne!(server.address().port(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let (first, second) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let server = TestServer::start(first.path()).await;
    let error = refusal(second.path(), &server.address.to_string(), false).await;
    assert!(matches!(error, ServerError::PortInUse { .. }), "{error}");
    let port = server.address.port().to_string();
    assert!(error.to_string().contains(&port) && error.to_string().contains("in use"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    let mut health = HealthClient::new(server.channel().await);
    for service in ["", "sidereus.v1.SearchService", "sidereus.v1.ObjectService"] {
        let check = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(check).await.expect("healthy").into_inner().status();
        assert_eq!(status, ServingStatus::Serving);
    }
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut replies = reflection
        .server_reflection_info(tokio_stream::iter([ask]))
        .await
        .expect("reflects")
        .into_inner();
    let reply = replies.next().await.expect("one reply").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
        panic!("a list")
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["CollectionService", "ObjectService", "SearchService", "MaintenanceService"] {
        assert!(names.contains(&format!("sidereus.v1.{name}")), "{names:?}");
    }
    assert!(names.iter().all(|name| !name.contains("internal")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    server
        .write("galaxies", (0..2_000).map(|id| galaxy(id, id as f64 % 360.0, 10.0)).collect())
        .await;
    let build = BuildIndexRequest { collection: "galaxies".to_owned(), space: String::new() };
    let mut steps =
        server.maintenance().await.build_index(build).await.expect("begins").into_inner();
    while let Some(step) = steps.next().await {
        step.expect("a step");
    }
    let bulk = IngestBatch {
        objects: (2_000..2_500).map(|id| galaxy(id, 1.0, 1.0)).collect(),
        ..Default::default()
    };
    let (answers, failure) = server.ingest("galaxies", IngestMode::Bulk, vec![bulk]).await;
    assert!(failure.is_none() && answers[0].inserted == 500, "{failure:?}");
    let (before, stats) =
        server.search(near("galaxies", &[1_999.6, 0.0, 1.0], 4)).await.expect("found");
    server.stop().await;

    let server = TestServer::start(folder.path()).await;
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 2_500);
    let (after, again) =
        server.search(near("galaxies", &[1_999.6, 0.0, 1.0], 4)).await.expect("found");
    assert_eq!(ids_of(&after), [2_000, 1_999, 2_001, 1_998]);
    assert_eq!(after, before);
    assert_eq!((again.version, again.tail_rows), (stats.version, 500));
    let ids = vec![number(3), number(2_400)];
    let request = GetObjectsRequest {
        collection: "galaxies".to_owned(),
        ids,
        with_vectors: true,
        release: String::new(),
    };
    let stored = server.objects().await.get_objects(request).await.expect("read").into_inner();
    assert_eq!(stored.objects, [galaxy(3, 3.0, 10.0), galaxy(2_400, 1.0, 1.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_ingest_stream_is_told_that_the_server_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    let mut client = server.objects().await;
    let (sender, receiver) = mpsc::channel::<IngestRequest>(4);
    sender.send(open_message("galaxies", IngestMode::Unspecified)).await.expect("open");
    let batch =
        IngestBatch { sequence: 1, objects: vec![galaxy(1, 0.0, 0.0)], ..Default::default() };
    sender.send(batch_message(batch)).await.expect("open");
    let mut answers =
        client.ingest(ReceiverStream::new(receiver)).await.expect("opens").into_inner();
    assert_eq!(answers.next().await.expect("an answer").expect("written").inserted, 1);
    server.begin_to_stop();
    let told = answers.next().await.expect("an end").expect_err("the server stops");
    assert_eq!(told.code(), Code::Unavailable);
    drop((answers, sender, client));
    server.stop().await;
    let server = TestServer::start(folder.path()).await;
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_in_use_is_refused_and_not_harmed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    let error = Db::open(DbOptions::new(folder.path())).expect_err("locked");
    assert!(!error.to_string().contains('\n') && error.to_string().contains("use"), "{error}");
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 0);
}
