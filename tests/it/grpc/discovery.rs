//! Outliers and sessions over the protocol: what is streamed, what is kept, and what is refused.

use std::collections::HashMap;

use sidereus::engine::RecordKind;
use sidereus::schema::{Column, ColumnType};
use sidereus::wire::v1;
use sidereus::wire::v1::discovery_service_client::DiscoveryServiceClient;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic::transport::Channel;

use crate::support::{TestServer, galaxy, id_of, ids_of, number, object, schema, space, vector};

/// Components of the vectors of words and images.
const WIDTH: usize = 8;

async fn client(server: &TestServer) -> DiscoveryServiceClient<Channel> {
    DiscoveryServiceClient::new(server.channel().await)
}

async fn filled(server: &TestServer, name: &str) {
    server.create(schema(name)).await.expect("created");
    let objects = (0..300).map(|id| galaxy(id, 1.0 + id as f64 * 0.1, 2.0)).collect();
    server.write(name, objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outliers_are_streamed_and_written_to_a_column() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    filled(&server, "stars").await;
    let request = v1::FindOutliersRequest {
        collection: "stars".to_owned(),
        space: "v".to_owned(),
        method: v1::OutlierMethod::LastDistance.into(),
        neighbours: 4,
        limit: 7,
        exact: true,
        column: "lonely".to_owned(),
        ..Default::default()
    };
    let mut stream =
        client(&server).await.find_outliers(request.clone()).await.expect("begins").into_inner();
    let (mut scores, mut summary) = (Vec::new(), None);
    while let Some(message) = stream.next().await {
        let message = message.expect("a message");
        assert!(summary.is_none(), "the summary comes last");
        scores.extend(message.scores);
        summary = message.summary;
    }
    let summary = summary.expect("a summary");
    assert_eq!((summary.scored, summary.written, summary.without_vector), (300, 300, 0));
    assert!(summary.exact);
    // Vectors lie on a line: those at its ends have their neighbours on one side.
    let ids: Vec<i64> = scores.iter().map(|score| id_of(score.id.as_ref())).collect();
    assert_eq!(ids[..4], [0, 299, 1, 298]);
    assert_eq!((ids.len(), scores[0].score), (7, 4.0));
    assert_eq!(server.count("stars", None, "lonely >= 3").await.expect("counts"), 4);

    // A column of scores in another space, as its description says.
    let others = Column {
        description: "outlier score in w: larger is lonelier".to_owned(),
        ..Column::new("lonely_of_others", ColumnType::Float64)
    };
    server.db.add_column("stars", others).expect("added");
    let wrong = |change: fn(&mut v1::FindOutliersRequest)| {
        let mut request = request.clone();
        change(&mut request);
        request
    };
    for (request, code) in [
        (wrong(|it| it.column = "class".to_owned()), Code::InvalidArgument),
        (wrong(|it| it.column = "lonely_of_others".to_owned()), Code::AlreadyExists),
        (wrong(|it| it.collection = "nothing".to_owned()), Code::NotFound),
        (wrong(|it| it.method = 77), Code::InvalidArgument),
        (wrong(|it| it.predicate = "n < 2".to_owned()), Code::InvalidArgument),
        (wrong(|it| it.space = "other".to_owned()), Code::NotFound),
    ] {
        let status = match client(&server).await.find_outliers(request).await {
            Err(status) => status,
            Ok(reply) => {
                let mut stream = reply.into_inner();
                loop {
                    match stream.next().await.expect("not the end") {
                        Ok(_) => {}
                        Err(status) => break status,
                    }
                }
            }
        };
        assert_eq!(status.code(), code, "{status:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_kept_over_a_restart_and_go_with_their_collection() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    filled(&server, "stars").await;
    let start = |collection: &str| v1::StartSessionRequest {
        collection: collection.to_owned(),
        name: "arcs".to_owned(),
        space: "V".to_owned(),
        seed: 3,
    };
    let session = client(&server).await.start_session(start("stars")).await.expect("starts");
    assert_eq!(session.into_inner().session.expect("a session").space, "v");
    let again = client(&server).await.start_session(start("stars")).await.expect_err("exists");
    assert_eq!(again.code(), Code::AlreadyExists);
    let label = v1::LabelObjectsRequest {
        name: "arcs".to_owned(),
        positives: vec![number(10), number(11)],
        negatives: vec![number(200)],
        ..Default::default()
    };
    client(&server).await.label_objects(label).await.expect("labels");
    let next = v1::NextObjectsRequest { name: "arcs".to_owned(), count: 5, ..Default::default() };
    let first = client(&server).await.next_objects(next.clone()).await.expect("next").into_inner();
    assert_eq!((first.objects.len(), first.strategy.as_str()), (5, "uncertain"));
    assert_eq!(first.scored, 297);
    server.stop().await;

    let server = TestServer::start(folder.path()).await;
    let get = v1::GetSessionRequest { collection: String::new(), name: "arcs".to_owned() };
    let kept = client(&server).await.get_session(get.clone()).await.expect("kept").into_inner();
    let kept = kept.session.expect("a session");
    assert_eq!((kept.labels.len(), kept.rounds.len()), (3, 1));
    let proposed: Vec<i64> = kept.rounds[0].proposed.iter().map(|id| id_of(Some(id))).collect();
    let answered: Vec<i64> = first.objects.iter().map(|object| id_of(object.id.as_ref())).collect();
    assert_eq!(proposed, answered);

    filled(&server, "others").await;
    client(&server).await.start_session(start("others")).await.expect("starts");
    let several = client(&server).await.get_session(get.clone()).await.expect_err("several");
    assert!(several.message().contains("others") && several.message().contains("stars"));
    let drop = v1::DropCollectionRequest { name: "others".to_owned(), with_releases: false };
    server.collections().await.drop_collection(drop).await.expect("drops");
    assert!(client(&server).await.get_session(get).await.is_ok());
    server.stop().await;
}

/// A space of texts is a space like any other: where it is declared shared, words find images, alone and beside other spaces.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_session_is_named_and_can_be_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    filled(&server, "stars").await;
    let start = v1::StartSessionRequest {
        collection: "stars".to_owned(),
        name: "whole".to_owned(),
        space: "v".to_owned(),
        ..Default::default()
    };
    client(&server).await.start_session(start).await.expect("begun");
    server.db.put_record("stars", RecordKind::Session, "Torn", b"\x0a\xff").expect("written");
    let list = v1::ListSessionsRequest { collection: "stars".to_owned() };
    let listed = client(&server).await.list_sessions(list).await.expect("a list").into_inner();
    let told: Vec<(&str, bool)> = listed
        .sessions
        .iter()
        .map(|session| (session.name.as_str(), session.damaged.is_empty()))
        .collect();
    assert_eq!(told, [("Torn", false), ("whole", true)]);
    let (collection, name) = ("stars".to_owned(), "torn".to_owned());
    let get = v1::GetSessionRequest { collection: collection.clone(), name: name.clone() };
    let status = client(&server).await.get_session(get).await.expect_err("damaged");
    assert_eq!(status.code(), Code::DataLoss);
    assert!(status.message().contains("drop it"), "{}", status.message());
    let drop = v1::DropSessionRequest { collection, name };
    client(&server).await.drop_session(drop.clone()).await.expect("dropped");
    let status = client(&server).await.drop_session(drop).await.expect_err("gone");
    assert_eq!(status.code(), Code::NotFound);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_find_images_where_both_share_a_space() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    let shared =
        |space: v1::EmbeddingSpace| v1::EmbeddingSpace { shared: "clip".to_owned(), ..space };
    let cosine = |name: &str| space(name, name, WIDTH as u32, v1::Metric::Cosine);
    let spaces = vec![shared(cosine("text")), shared(cosine("image")), cosine("spectrum")];
    server
        .create(v1::CollectionSchema { spaces, columns: vec![], ..schema("sky") })
        .await
        .expect("created");
    // Four kinds of objects, each along an axis of its own; small numbers tell objects of a kind apart.
    let along = |axis: usize, number: usize| {
        let small = |place: usize| 0.05 * ((number * 7 + place * 13) % 11) as f32;
        let values = (0..WIDTH).map(|place| small(place) + if place == axis { 1.0 } else { 0.0 });
        vector(&values.collect::<Vec<f32>>())
    };
    let objects = (0..200).map(|id: usize| {
        let mut made = object(id as i64, id as f64, 0.0);
        made.vectors = HashMap::from([
            ("image".to_owned(), along(id % 4, id)),
            ("spectrum".to_owned(), along(id % 8, id + 3)),
        ]);
        made
    });
    server.write("sky", objects.collect()).await;
    let words = |method: v1::ExampleMethod| v1::VectorTerm {
        space: "image".to_owned(),
        from_space: "text".to_owned(),
        vectors: vec![along(2, 901), along(2, 902)],
        method: method.into(),
        ..Default::default()
    };
    let ask = |terms: Vec<v1::VectorTerm>| v1::SearchRequest {
        collection: "sky".to_owned(),
        terms,
        k: 10,
        fusion: v1::Fusion::ReciprocalRank.into(),
        ..Default::default()
    };
    for (method, name) in [
        (v1::ExampleMethod::Unspecified, "centroid"),
        (v1::ExampleMethod::MaxSim, "max-sim"),
        (v1::ExampleMethod::Probe, "probe"),
    ] {
        let (hits, stats) = server.search(ask(vec![words(method)])).await.expect("found");
        assert_eq!((hits.len(), stats.method.as_str()), (10, name));
        assert!(ids_of(&hits).iter().all(|id| id % 4 == 2), "{name}: {hits:?}");
    }
    let spectrum = v1::VectorTerm {
        space: "spectrum".to_owned(),
        like: vec![number(6)],
        ..Default::default()
    };
    let both = ask(vec![words(v1::ExampleMethod::MaxSim), spectrum]);
    let (hits, stats) = server.search(both).await.expect("found");
    assert_eq!((stats.method.as_str(), stats.fusion.as_str()), ("max-sim, example", "rrf"));
    assert!(ids_of(&hits).iter().all(|id| id % 8 == 6), "{hits:?}");
    server.stop().await;
}
