//! Outliers and sessions over the protocol: what is streamed, what is kept, and what is refused.

use sidereus::wire::v1;
use sidereus::wire::v1::discovery_service_client::DiscoveryServiceClient;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic::transport::Channel;

use crate::support::{TestServer, galaxy, id_of, number, schema};

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

    let wrong = |change: fn(&mut v1::FindOutliersRequest)| {
        let mut request = request.clone();
        change(&mut request);
        request
    };
    for (request, code) in [
        (wrong(|it| it.column = "class".to_owned()), Code::InvalidArgument),
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
    let drop = v1::DropCollectionRequest { name: "others".to_owned() };
    server.collections().await.drop_collection(drop).await.expect("drops");
    assert!(client(&server).await.get_session(get).await.is_ok());
    server.stop().await;
}
