//! Releases over gRPC: what is pinned stays, what is written into one is refused, what is withdrawn says why.

use sidereus::wire::v1::probe_service_client::ProbeServiceClient;
use sidereus::wire::v1::release_service_client::ReleaseServiceClient;
use sidereus::wire::v1::{
    CountObjectsRequest, CreateReleaseRequest, DeleteObjectsRequest, DiffReleasesRequest,
    DropCollectionRequest, GetCollectionRequest, GetObjectsRequest, IngestBatch, IngestMode,
    ListProbesRequest, ListReleasesRequest, Release, ReleaseText, SearchRequest,
    VerifyReleaseRequest, WithdrawReleaseRequest,
};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::operate::Process;
use crate::support::{TestServer, galaxy, id_of, ids_of, near, number, schema};

async fn releases(server: &TestServer) -> ReleaseServiceClient<Channel> {
    ReleaseServiceClient::new(server.channel().await)
}

async fn create(server: &TestServer, name: &str) -> Result<Release, Status> {
    let text = ReleaseText { citation: "Us (2026)".to_owned(), ..ReleaseText::default() };
    let (collection, name) = ("sky".to_owned(), name.to_owned());
    let request = CreateReleaseRequest { collection, name, text: Some(text) };
    let mut stream = releases(server).await.create_release(request).await?.into_inner();
    let mut release = None;
    while let Some(message) = stream.next().await {
        release = message?.release.or(release);
    }
    Ok(release.expect("the last message has it"))
}

async fn filled(server: &TestServer) {
    server.create(schema("sky")).await.expect("creates");
    let objects = (0..300).map(|id| galaxy(id, id as f64, (id % 80) as f64)).collect();
    server.write("sky", objects).await;
}

fn pinned(values: &[f32]) -> SearchRequest {
    SearchRequest { release: "dr1".to_owned(), ..near("sky", values, 5) }
}

#[tokio::test]
async fn a_release_answers_the_same_whatever_comes_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    filled(&server).await;
    let made = create(&server, "dr1").await.expect("releases");
    assert_eq!((made.objects, made.content_hash.len()), (300, 64));
    let (before, _) = server.search(pinned(&[70.2, 0.0, 1.0])).await.expect("answers");
    assert_eq!(ids_of(&before), [70, 71, 69, 72, 68]);
    let delete =
        DeleteObjectsRequest { collection: "sky".to_owned(), ids: (60..80).map(number).collect() };
    server.objects().await.delete_objects(delete).await.expect("deletes");
    server.write("sky", vec![galaxy(1_000, 1.0, 1.0)]).await;
    let (now, _) = server.search(near("sky", &[70.2, 0.0, 1.0], 5)).await.expect("answers");
    assert_eq!(ids_of(&now), [80, 81, 59, 82, 58]);
    let request = DiffReleasesRequest {
        collection: "sky".to_owned(),
        from: "dr1".to_owned(),
        to: String::new(),
        ids_max: 3,
    };
    let mut stream =
        releases(&server).await.diff_releases(request).await.expect("compares").into_inner();
    let mut diff = None;
    while let Some(message) = stream.next().await {
        diff = message.expect("compares").diff.or(diff);
    }
    let diff = diff.expect("the last message has it");
    let (added, removed) = (diff.added.expect("is told"), diff.removed.expect("is told"));
    assert_eq!((added.count, removed.count, removed.ids.len()), (1, 20, 3));
    assert_eq!(id_of(added.ids.first()), 1_000);
    server.stop().await;
    let server = TestServer::start(folder.path()).await;
    let (after, _) = server.search(pinned(&[70.2, 0.0, 1.0])).await.expect("answers");
    assert_eq!(after, before, "after a restart");
    reads_of_every_kind(&server).await;
    let request = VerifyReleaseRequest { collection: "sky".to_owned(), name: "dr1".to_owned() };
    let mut stream =
        releases(&server).await.verify_release(request).await.expect("verifies").into_inner();
    let mut found = String::new();
    while let Some(message) = stream.next().await {
        found = message.expect("verifies").found_hash;
    }
    assert_eq!(found, made.content_hash);
    server.stop().await;
}

async fn reads_of_every_kind(server: &TestServer) {
    let (collection, release) = ("sky".to_owned(), "DR1".to_owned());
    let request = CountObjectsRequest {
        collection: collection.clone(),
        release: release.clone(),
        ..CountObjectsRequest::default()
    };
    let counted = server.objects().await.count_objects(request).await.expect("counts");
    assert_eq!(counted.into_inner().count, 300);
    let request = GetObjectsRequest {
        collection: collection.clone(),
        release: release.clone(),
        ids: vec![number(70), number(1_000)],
        ..GetObjectsRequest::default()
    };
    let got = server.objects().await.get_objects(request).await.expect("reads").into_inner();
    assert_eq!((got.objects.len(), got.missing.len()), (1, 1));
    let request = GetCollectionRequest { name: collection.clone(), release: release.clone() };
    let shown = server.collections().await.get_collection(request).await.expect("shows");
    assert_eq!(shown.into_inner().collection.expect("is there").object_count, 300);
    let mut probes = ProbeServiceClient::new(server.channel().await);
    let request = ListProbesRequest { collection, release, ..ListProbesRequest::default() };
    assert!(probes.list_probes(request).await.expect("lists").into_inner().probes.is_empty());
}

#[tokio::test]
async fn nobody_writes_into_a_release_or_names_it_as_a_collection() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    filled(&server).await;
    create(&server, "dr1").await.expect("releases");
    let again = create(&server, "DR1").await.expect_err("the name is taken");
    assert_eq!(again.code(), Code::AlreadyExists, "{again}");
    for bad in ["", "d r", "a@b"] {
        let refused = create(&server, bad).await.expect_err("is no name");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let direct = server.search(near("sky@dr1", &[1.0, 0.0, 1.0], 1)).await.expect_err("refused");
    assert_eq!(direct.code(), Code::NotFound, "{direct}");
    let batch = IngestBatch { objects: vec![galaxy(5, 1.0, 1.0)], ..IngestBatch::default() };
    let (_, failure) = server.ingest("sky@dr1", IngestMode::Unspecified, vec![batch]).await;
    let failure = failure.expect("is refused");
    assert!(failure.message().contains("write to `sky`"), "{failure}");
    let none = SearchRequest { release: "dr9".to_owned(), ..pinned(&[1.0, 0.0, 1.0]) };
    let none = server.search(none).await.expect_err("there is none");
    assert_eq!(none.code(), Code::NotFound);
    let drop = |with_releases| DropCollectionRequest { name: "sky".to_owned(), with_releases };
    let refused = server.collections().await.drop_collection(drop(false)).await;
    assert!(refused.expect_err("has a release").message().contains("dr1"));
    server.collections().await.drop_collection(drop(true)).await.expect("drops");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_the_release_that_it_makes() {
    let folder = tempfile::tempdir().expect("a folder");
    let grace = [("SIDEREUS_SERVER__SHUTDOWN_GRACE_S", "1")];
    let server = Process::start(folder.path(), &[], &grace);
    server.create("sky").await;
    for from in 0..5 {
        let numbers = from * 4_000..(from + 1) * 4_000;
        let objects = numbers.map(|id| galaxy(id, (id % 360) as f64, (id % 80) as f64)).collect();
        server.write("sky", objects).await;
    }
    let mut client = ReleaseServiceClient::new(server.channel().await);
    let request = CreateReleaseRequest {
        collection: "sky".to_owned(),
        name: "dr1".to_owned(),
        ..CreateReleaseRequest::default()
    };
    let mut steps = client.create_release(request).await.expect("begins").into_inner();
    steps.message().await.expect("is under way").expect("a step");
    server.signal("TERM");
    let (status, log) = server.ended();
    assert!(status.success(), "{status}: {log}");
    let server = Process::start(folder.path(), &[], &[]);
    let mut client = ReleaseServiceClient::new(server.channel().await);
    let request = ListReleasesRequest { collection: "sky".to_owned() };
    let listed = client.list_releases(request).await.expect("lists").into_inner().releases;
    assert!(listed.iter().all(|release| release.objects == 20_000), "whole or not at all");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_verifications_than_run_at_once_take_turns() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    filled(&server).await;
    create(&server, "dr1").await.expect("releases");
    let request = VerifyReleaseRequest { collection: "sky".to_owned(), name: "dr1".to_owned() };
    // Some of the callers go, whether their turn has come or not; the others are answered.
    for at in 0..40 {
        let mut client = releases(&server).await;
        let stream = client.verify_release(request.clone()).await.expect("is taken").into_inner();
        if at % 2 == 0 {
            drop(stream);
            continue;
        }
        let messages: Vec<_> = stream.collect().await;
        let last = messages.into_iter().last().expect("an answer").expect("verifies");
        assert_eq!(last.found_hash.len(), 64);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_withdrawn_release_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    filled(&server).await;
    create(&server, "dr1").await.expect("releases");
    let withdraw = |reason: &str| WithdrawReleaseRequest {
        collection: "sky".to_owned(),
        name: "dr1".to_owned(),
        reason: reason.to_owned(),
        keep_data: false,
    };
    let refused = releases(&server).await.withdraw_release(withdraw(" ")).await;
    assert_eq!(refused.expect_err("needs a reason").code(), Code::InvalidArgument);
    let withdrawn = releases(&server).await.withdraw_release(withdraw("wrong zero point")).await;
    withdrawn.expect("withdraws");
    for _ in 0..2 {
        let refused = server.search(pinned(&[1.0, 0.0, 1.0])).await.expect_err("is withdrawn");
        assert!(refused.message().contains("wrong zero point"), "{refused}");
    }
    let request = ListReleasesRequest { collection: "sky".to_owned() };
    let listed = releases(&server).await.list_releases(request).await.expect("lists").into_inner();
    let text = listed.releases[0].text.clone().expect("is kept");
    assert_eq!(text.citation, "Us (2026)");
    server.stop().await;
}
