//! Row policies through a real server that asks who calls: the grant of each call decides what it sees.

use std::ops::Deref;
use std::sync::Arc;

use futures::StreamExt;
use sidereus::access::{AccessOptions, Registry, Role, system_clock};
use sidereus::engine::{Db, DbOptions};
use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use sidereus::wire::v1::discovery_service_client::DiscoveryServiceClient;
use sidereus::wire::v1::maintenance_service_client::MaintenanceServiceClient;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::search_service_client::SearchServiceClient;
use sidereus::wire::v1::{
    BuildIndexRequest, CollectionSchema, ColumnType, CountObjectsRequest, DeleteObjectsRequest,
    FindOutliersRequest, GetCollectionRequest, GetIndexStatusRequest, GetObjectsRequest,
    GetSessionRequest, IdKind, IngestBatch, IngestMode, LabelObjectsRequest,
    ListCollectionsRequest, ListSessionsRequest, Metric, NextObjectsRequest, Object, QueryStats,
    SearchRequest, StartSessionRequest, VectorTerm,
};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::support::{
    TestServer, batch_message, column, id_of, ids_of, number, object, open_message, space, string,
    vector,
};

pub(super) const OBJECTS: i64 = 300;

/// A server, and tokens for it. The student may see what is released, as everybody may, and his own programme.
pub(super) struct Served {
    server: TestServer,
    student: String,
    astronomer: String,
}

impl Deref for Served {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

impl Served {
    async fn start(folder: &std::path::Path) -> Self {
        let db = Db::open(DbOptions::new(folder)).expect("opens");
        let options = AccessOptions::default();
        let registry =
            Registry::open_with(Arc::new(db), system_clock(), options).expect("a registry");
        let (astronomer, _) = registry.bootstrap("astronomer", None).expect("an administrator");
        let (student, _) = registry.create_token("student", None, &[], "test").expect("a token");
        let sky = "sky".parse().expect("a scope");
        for (who, role, rows) in [
            ("group:everyone", Role::Read, "release_date <= today"),
            ("user:student", Role::Ingest, "programme = 'student'"),
        ] {
            let who = who.parse().expect("a principal");
            registry.give_role(&who, &sky, role, "test").expect("given");
            let fits = |_: &str, _: &str| Ok(());
            registry.set_policy(&who, &sky, rows, "test", &fits).expect("set");
        }
        drop(registry);
        let server = TestServer::start_with(folder, None, |options| {
            options.authentication = Some(AccessOptions::default());
        })
        .await;
        let [student, astronomer] = [student, astronomer].map(|secret| secret.reveal().to_owned());
        Self { server, student, astronomer }
    }

    pub(super) async fn stop(self) {
        self.server.stop().await;
    }

    async fn wire(&self, token: &str) -> Wire {
        InterceptedService::new(self.server.channel().await, Caller(token.to_owned()))
    }
}

/// Says who calls.
#[derive(Clone)]
pub(super) struct Caller(String);

impl tonic::service::Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let header = format!("Bearer {}", self.0).parse().expect("a header");
        request.metadata_mut().insert("authorization", header);
        Ok(request)
    }
}

pub(super) type Wire = InterceptedService<Channel, Caller>;

pub(super) async fn as_student(server: &Served) -> Wire {
    server.wire(&server.student).await
}

pub(super) async fn as_astronomer(server: &Served) -> Wire {
    server.wire(&server.astronomer).await
}

fn schema(name: &str) -> CollectionSchema {
    CollectionSchema {
        name: name.to_owned(),
        id_kind: IdKind::Number.into(),
        columns: vec![
            column("release_date", ColumnType::Text),
            column("programme", ColumnType::Text),
        ],
        spaces: vec![space("image", "image", 4, Metric::L2)],
        description: String::new(),
    }
}

/// One in three is released, one in ten is the student's, one in seven says nothing of its release.
pub(super) fn is_shown(id: i64) -> bool {
    id % 10 == 0 || (id % 3 == 0 && id % 7 != 0)
}

pub(super) fn example(id: i64) -> Object {
    let mut made = object(id, id as f64, (id % 120) as f64 - 60.0);
    let date = if id % 3 == 0 { "2001-09-09" } else { "2999-01-01" };
    if id % 7 != 0 {
        made.columns.insert("release_date".to_owned(), string(date));
    }
    let programme = if id % 10 == 0 { "student" } else { "legacy" };
    made.columns.insert("programme".to_owned(), string(programme));
    let at = id as f32;
    made.vectors.insert("image".to_owned(), vector(&[at, at * 0.5, 1.0, (id % 5) as f32]));
    made
}

pub(super) async fn with_objects(folder: &std::path::Path) -> Served {
    let server = Served::start(folder).await;
    for name in ["sky", "secret"] {
        let schema = sidereus::wire::v1::CreateCollectionRequest { schema: Some(schema(name)) };
        let mut client = CollectionServiceClient::new(as_astronomer(&server).await);
        client.create_collection(schema).await.expect("made");
    }
    let batch = |ids: std::ops::Range<i64>| IngestBatch {
        objects: ids.map(example).collect(),
        ..IngestBatch::default()
    };
    let mut client = ObjectServiceClient::new(as_astronomer(&server).await);
    for (ids, builds) in [(0..OBJECTS - 40, true), (OBJECTS - 40..OBJECTS, false)] {
        let messages =
            vec![open_message("sky", IngestMode::Unspecified), batch_message(batch(ids))];
        let stream = client.ingest(tokio_stream::iter(messages)).await.expect("taken");
        let answers: Vec<_> = stream.into_inner().collect().await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|it| it.refused.is_empty())));
        if builds {
            let request = BuildIndexRequest { collection: "sky".to_owned(), ..Default::default() };
            let mut client = MaintenanceServiceClient::new(as_astronomer(&server).await);
            let steps = client.build_index(request).await.expect("builds").into_inner();
            assert!(steps.collect::<Vec<_>>().await.iter().all(Result::is_ok));
        }
    }
    server
}

pub(super) fn shown() -> Vec<i64> {
    (0..OBJECTS).filter(|id| is_shown(*id)).collect()
}

async fn search(wire: Wire, request: SearchRequest) -> Result<(Vec<i64>, QueryStats), Status> {
    let mut stream = SearchServiceClient::new(wire).search(request).await?.into_inner();
    let (mut hits, mut stats) = (Vec::new(), None);
    while let Some(message) = stream.next().await {
        let message = message?;
        hits.extend(message.hits);
        stats = message.stats.or(stats);
    }
    Ok((ids_of(&hits), stats.expect("the last message has the statistics")))
}

fn like(id: i64, k: u32) -> SearchRequest {
    let term = VectorTerm {
        space: "image".to_owned(),
        weight: 1.0,
        like: vec![number(id)],
        ..VectorTerm::default()
    };
    let terms = vec![term];
    SearchRequest { collection: "sky".to_owned(), terms, k, ..SearchRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_reads_and_counts_what_his_grant_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_objects(folder.path()).await;
    let sky = || "sky".to_owned();
    let mut objects = ObjectServiceClient::new(as_student(&server).await);
    let count = CountObjectsRequest { collection: sky(), ..Default::default() };
    let counted = objects.count_objects(count.clone()).await.expect("counts").into_inner().count;
    assert_eq!(counted, shown().len() as u64);
    let ids: Vec<_> = (0..40).map(number).collect();
    let request =
        GetObjectsRequest { collection: sky(), ids, with_vectors: true, release: String::new() };
    let got = objects.get_objects(request).await.expect("reads").into_inner();
    let found: Vec<i64> = got.objects.iter().map(|object| id_of(object.id.as_ref())).collect();
    assert_eq!(found, (0..40).filter(|id| is_shown(*id)).collect::<Vec<_>>());
    let missing: Vec<i64> = got.missing.iter().map(|id| id_of(Some(id))).collect();
    assert_eq!(missing, (0..40).filter(|id| !is_shown(*id)).collect::<Vec<_>>());

    let (hits, stats) =
        search(as_student(&server).await, SearchRequest { explain: true, ..like(30, 500) })
            .await
            .expect("found");
    let mut sorted = hits.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, shown().into_iter().filter(|id| *id != 30).collect::<Vec<_>>());
    assert_eq!((stats.rows_total, stats.rows_scanned, stats.bytes_read), (counted, 0, 0));
    assert!(!stats.explanation.contains("300"), "{}", stats.explanation);
    let hidden = search(as_student(&server).await, like(31, 5)).await.expect_err("hidden");
    let absent = search(as_student(&server).await, like(31_000, 5)).await.expect_err("absent");
    assert_eq!(hidden.code(), Code::NotFound);
    assert_eq!(hidden.message(), absent.message().replace("31000", "31"));
    let (all, stats) = search(as_astronomer(&server).await, like(31, 500)).await.expect("found");
    assert_eq!((all.len() as i64, stats.rows_total as i64), (OBJECTS - 1, OBJECTS));

    let mut collections = CollectionServiceClient::new(as_student(&server).await);
    let named = GetCollectionRequest { name: sky(), ..Default::default() };
    let told = collections.get_collection(named.clone()).await.expect("told").into_inner();
    let told = told.collection.expect("one");
    let mut everything = CollectionServiceClient::new(as_astronomer(&server).await);
    let all = everything.get_collection(named).await.expect("told").into_inner();
    let all = all.collection.expect("one");
    assert_eq!((told.object_count, all.object_count), (counted, OBJECTS as u64));
    assert!(told.footprint.len() < all.footprint.len() && !told.footprint.is_empty());
    let listed = collections.list_collections(ListCollectionsRequest::default()).await;
    let listed = listed.expect("lists").into_inner().collections;
    assert_eq!(listed.len(), 1, "not the secret one");
    assert_eq!(listed[0].object_count, counted);
    let mut maintenance = MaintenanceServiceClient::new(as_student(&server).await);
    let request = GetIndexStatusRequest { collection: sky(), ..Default::default() };
    let status = maintenance.get_index_status(request).await.expect("told").into_inner();
    let tail = shown().into_iter().filter(|id| *id >= OBJECTS - 40).count() as u64;
    assert_eq!((status.tail_rows, status.segments[0].rows), (tail, counted - tail));
    let request = BuildIndexRequest { collection: sky(), ..Default::default() };
    let denied = maintenance.build_index(request).await.expect_err("needs a curator");
    assert_eq!(denied.code(), Code::PermissionDenied);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_is_told_to_those_alone_who_see_every_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_objects(folder.path()).await;
    let status = async |wire: Wire| {
        let request = GetIndexStatusRequest { collection: "sky".to_owned(), ..Default::default() };
        let told = MaintenanceServiceClient::new(wire).get_index_status(request).await;
        told.expect("told").into_inner()
    };
    let before = status(as_astronomer(&server).await).await;
    assert_eq!((before.build, before.build_failure.as_str()), (None, ""));
    // Something stands where the next build would write.
    let segments = std::fs::read_dir(folder.path().join("segments")).expect("there");
    for collection in segments.flatten() {
        let place = collection.path().join(format!(".building-{}", before.version));
        std::fs::write(place, "in the way").expect("written");
    }
    let request = BuildIndexRequest { collection: "sky".to_owned(), ..Default::default() };
    let mut client = MaintenanceServiceClient::new(as_astronomer(&server).await);
    let steps = client.build_index(request).await.expect("begins").into_inner();
    assert!(steps.collect::<Vec<_>>().await.iter().any(Result::is_err));
    let failed = status(as_astronomer(&server).await).await;
    assert!(failed.build_failure.contains("log"), "{}", failed.build_failure);
    assert!(!failed.build_failure.contains("segment"), "{}", failed.build_failure);
    assert_eq!(status(as_student(&server).await).await.build_failure, "");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_its_own_collection_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_objects(folder.path()).await;
    let count =
        |name: &str| CountObjectsRequest { collection: name.to_owned(), ..Default::default() };
    let mut student = ObjectServiceClient::new(as_student(&server).await);
    for (status, name) in [
        (student.count_objects(count("secret")).await, "secret"),
        (student.count_objects(count("nowhere")).await, "nowhere"),
    ] {
        let status = status.expect_err("not granted");
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(
            status.message(),
            format!("there is no collection `{name}`, or you have no role on it")
        );
    }
    let denied = |status: Status| assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let request = SearchRequest { collection: "secret".to_owned(), ..like(1, 3) };
    denied(search(as_student(&server).await, request).await.expect_err("not granted"));
    let mut collections = CollectionServiceClient::new(as_student(&server).await);
    let named = GetCollectionRequest { name: "secret".to_owned(), ..Default::default() };
    denied(collections.get_collection(named).await.expect_err("not granted"));
    let mut maintenance = MaintenanceServiceClient::new(as_student(&server).await);
    let request = BuildIndexRequest { collection: "secret".to_owned(), ..Default::default() };
    denied(maintenance.build_index(request).await.expect_err("not granted"));
    let request = DeleteObjectsRequest { collection: "secret".to_owned(), ids: vec![number(1)] };
    denied(student.delete_objects(request).await.expect_err("not granted"));
    // Names are found without regard to case, and so are grants.
    assert!(student.count_objects(count("SKY")).await.is_ok());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_changes_nothing_that_he_does_not_see() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_objects(folder.path()).await;
    let mut student = ObjectServiceClient::new(as_student(&server).await);
    let ids = vec![number(31), number(32), number(30), number(-1)];
    let request = DeleteObjectsRequest { collection: "sky".to_owned(), ids };
    let reply = student.delete_objects(request).await.expect("done").into_inner();
    assert_eq!((reply.deleted, reply.absent), (1, 3));
    for (mode, fresh) in [(IngestMode::Unspecified, 310), (IngestMode::Bulk, 350)] {
        let objects = [33, 34, fresh].map(example).to_vec();
        let batch = IngestBatch { objects, ..IngestBatch::default() };
        let messages = vec![open_message("sky", mode), batch_message(batch)];
        let stream = student.ingest(tokio_stream::iter(messages)).await.expect("taken");
        let answers: Vec<_> = stream.into_inner().collect().await;
        let answer = answers[0].as_ref().expect("an answer");
        let refused: Vec<u64> = answer.refused.iter().map(|row| row.row).collect();
        assert_eq!(
            (refused, answer.refused[0].reason.as_str()),
            (vec![1], "this id is taken: choose another")
        );
    }
    let count = CountObjectsRequest { collection: "sky".to_owned(), ..Default::default() };
    let mut astronomer = ObjectServiceClient::new(as_astronomer(&server).await);
    let counted = astronomer.count_objects(count).await.expect("counts").into_inner().count;
    assert_eq!(counted as i64, OBJECTS - 1 + 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_show_permitted_objects_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_objects(folder.path()).await;
    let mut student = DiscoveryServiceClient::new(as_student(&server).await);
    let mut astronomer = DiscoveryServiceClient::new(as_astronomer(&server).await);
    let (collection, name) = ("sky".to_owned(), "s".to_owned());
    let request = StartSessionRequest {
        collection: collection.clone(),
        name: name.clone(),
        space: "image".to_owned(),
        ..Default::default()
    };
    astronomer.start_session(request).await.expect("begun");
    let label = |ids: &[i64]| LabelObjectsRequest {
        collection: "sky".to_owned(),
        name: "s".to_owned(),
        positives: ids.iter().copied().map(number).collect(),
        negatives: vec![number(60), number(62)],
        ..Default::default()
    };
    astronomer.label_objects(label(&[30, 31, 33])).await.expect("labelled");
    let status = student.label_objects(label(&[31])).await.expect_err("hidden");
    assert_eq!(status.code(), Code::NotFound);
    // A label of what is hidden from him stays, and he is told the same as of what is not there.
    let unlabel = |id: i64| LabelObjectsRequest {
        collection: "sky".to_owned(),
        name: "s".to_owned(),
        unlabelled: vec![number(id)],
        ..Default::default()
    };
    let hidden = student.label_objects(unlabel(31)).await.expect("nothing to do").into_inner();
    let absent = student.label_objects(unlabel(999_999)).await.expect("nothing").into_inner();
    assert_eq!(hidden, absent);
    let next = NextObjectsRequest {
        collection: collection.clone(),
        name: name.clone(),
        count: 8,
        ..Default::default()
    };
    astronomer.next_objects(next.clone()).await.expect("proposed");
    let proposed = student.next_objects(next).await.expect("proposed").into_inner();
    assert_eq!(proposed.objects.len(), 8);
    assert!(proposed.objects.iter().all(|object| is_shown(id_of(object.id.as_ref()))));
    let labelled = [30, 33, 60].len() as u64;
    assert_eq!((proposed.unusable, proposed.scored), (0, shown().len() as u64 - labelled));
    let request = GetSessionRequest { collection, name };
    let session = student.get_session(request.clone()).await.expect("told").into_inner();
    let session = session.session.expect("one");
    let ids: Vec<i64> = session.labels.iter().map(|label| id_of(label.id.as_ref())).collect();
    assert_eq!(ids, [30, 33, 60]);
    assert_eq!(session.rounds.len(), 2);
    let mut told = session.rounds.iter().flat_map(|round| &round.proposed);
    assert!(told.all(|id| is_shown(id_of(Some(id)))));
    // Nothing is lost for those who see it.
    let session = astronomer.get_session(request).await.expect("told").into_inner();
    assert_eq!(session.session.expect("one").labels.len(), 5);
    let request = ListSessionsRequest { collection: String::new() };
    let listed = student.list_sessions(request).await.expect("lists").into_inner().sessions;
    assert_eq!(listed[0].labels.len(), 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outliers_are_permitted_objects_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_objects(folder.path()).await;
    let mut student = DiscoveryServiceClient::new(as_student(&server).await);
    let request = FindOutliersRequest {
        collection: "sky".to_owned(),
        space: "image".to_owned(),
        neighbours: 4,
        ..Default::default()
    };
    let writes = FindOutliersRequest { column: "lonely".to_owned(), ..request.clone() };
    let denied = student.find_outliers(writes).await.expect_err("needs a curator");
    assert_eq!(denied.code(), Code::PermissionDenied);
    let stream = student.find_outliers(request).await.expect("begun").into_inner();
    let messages: Vec<_> = stream.collect().await;
    let mut scored = Vec::new();
    for message in messages {
        let message = message.expect("a message");
        scored.extend(message.scores.iter().map(|score| id_of(score.id.as_ref())));
    }
    scored.sort_unstable();
    assert_eq!(scored, shown());
    server.stop().await;
}
