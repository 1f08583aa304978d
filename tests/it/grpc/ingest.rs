//! The ingest stream: outcomes of every row, order, back-pressure and ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use sidereus::wire::v1::{
    GetObjectsRequest, IngestBatch, IngestMode, IngestRequest, Object, Position, Value,
    ingest_request, value,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::support::{
    TestServer, batch_message, galaxy, number, object, open_message, real, schema, string, text,
    vector,
};

fn batch(sequence: u64, objects: Vec<Object>) -> IngestBatch {
    IngestBatch { sequence, objects, ..IngestBatch::default() }
}

async fn server() -> (tempfile::TempDir, TestServer) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    (folder, server)
}

async fn get(server: &TestServer, id: i64) -> Option<Object> {
    let request = GetObjectsRequest {
        collection: "galaxies".to_owned(),
        ids: vec![number(id)],
        with_vectors: true,
        release: String::new(),
    };
    let reply = server.objects().await.get_objects(request).await.expect("read").into_inner();
    reply.objects.into_iter().next()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_row_is_refused_by_itself() {
    let (_folder, server) = server().await;
    let position = |ra, dec| Object { position: Some(Position { ra, dec }), ..galaxy(1, 0.0, 0.0) };
    let with = |name: &str, value: Value| {
        let mut row = galaxy(1, 0.0, 0.0);
        row.columns.insert(name.to_owned(), value);
        row
    };
    let vectored = |name: &str, values: &[f32]| {
        let mut row = galaxy(1, 0.0, 0.0);
        row.vectors.insert(name.to_owned(), vector(values));
        row
    };
    let bad: Vec<(Object, &str)> = vec![
        (position(f64::NAN, 0.0), "ra is NaN"),
        (position(f64::INFINITY, 0.0), "ra is inf"),
        (position(0.0, f64::NAN), "dec is NaN"),
        (position(0.0, 90.01), "dec is 90.01"),
        (position(0.0, -91.0), "dec is -91"),
        (Object { position: None, ..galaxy(1, 0.0, 0.0) }, "`position` is missing"),
        (Object { id: None, ..galaxy(1, 0.0, 0.0) }, "`id` is missing"),
        (Object { id: Some(text("x")), ..galaxy(1, 0.0, 0.0) }, "64-bit integers"),
        (vectored("v", &[1.0, 2.0]), "dimension 3, the vector has 2"),
        (vectored("v", &[1.0, f32::NAN, 0.0]), "not a finite number"),
        (vectored("v", &[1.0, f32::NEG_INFINITY, 0.0]), "not a finite number"),
        (vectored("c", &[0.0, 0.0]), "no cosine distance"),
        (vectored("w", &[0.0]), "no embedding space `w`"),
        (with("z", string("far")), "column `z` is float64, the value is text"),
        (with("n", real(0.5)), "column `n` is int64"),
        (with("colour", real(0.5)), "no column `colour`"),
    ];
    let mut rows = vec![galaxy(100, 1.0, 2.0)];
    rows.extend(bad.iter().map(|(row, _)| row.clone()));
    rows.push(galaxy(101, 3.0, 4.0));
    for mode in [IngestMode::Unspecified, IngestMode::Bulk] {
        let (answers, failure) =
            server.ingest("galaxies", mode, vec![batch(7, rows.clone())]).await;
        assert!(failure.is_none(), "{failure:?}");
        let [answer] = answers.as_slice() else { panic!("one answer") };
        assert_eq!((answer.sequence, answer.inserted + answer.replaced), (7, 2));
        assert_eq!(answer.refused.len(), bad.len());
        for (place, (refused, (_, reason))) in answer.refused.iter().zip(&bad).enumerate() {
            assert_eq!(refused.row, place as u64 + 1);
            assert!(
                refused.reason.contains(reason),
                "`{}` does not say `{reason}`",
                refused.reason
            );
        }
        assert_eq!(answer.refused[0].object_id, "1");
    }
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 2);
    assert_eq!(get(&server, 1).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_row_of_an_id_wins_and_is_counted() {
    let (_folder, server) = server().await;
    let first = vec![galaxy(1, 0.0, 0.0), galaxy(2, 0.0, 0.0), object(1, 50.0, 10.0)];
    let second = vec![object(2, 70.0, 20.0), galaxy(3, 0.0, 0.0)];
    let batches = vec![batch(1, first), batch(2, second)];
    let (answers, failure) = server.ingest("galaxies", IngestMode::Unspecified, batches).await;
    assert!(failure.is_none(), "{failure:?}");
    let outcome: Vec<_> =
        answers.iter().map(|one| (one.sequence, one.inserted, one.replaced)).collect();
    assert_eq!(outcome, [(1, 2, 1), (2, 1, 1)]);
    assert!(answers[0].version < answers[1].version);
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 3);
    let one = get(&server, 1).await.expect("stored");
    assert_eq!(one.position, Some(Position { ra: 50.0, dec: 10.0 }));
    assert!(
        one.columns.is_empty() && one.vectors.is_empty(),
        "a whole object replaces a whole object"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merging_batch_keeps_what_it_does_not_name() {
    let (_folder, server) = server().await;
    server.write("galaxies", vec![galaxy(1, 10.0, 0.0)]).await;
    let row = Object {
        columns: HashMap::from([
            ("z".to_owned(), real(2.5)),
            ("class".to_owned(), Value { kind: None }),
        ]),
        vectors: HashMap::from([("c".to_owned(), vector(&[1.0, 1.0]))]),
        ..object(1, 11.0, 1.0)
    };
    let merging = IngestBatch { merge: true, objects: vec![row], ..IngestBatch::default() };
    let (_, failure) = server.ingest("galaxies", IngestMode::Unspecified, vec![merging]).await;
    assert!(failure.is_none(), "{failure:?}");
    let merged = get(&server, 1).await.expect("stored");
    assert_eq!(merged.columns.get("z"), Some(&real(2.5)));
    assert_eq!(merged.columns.get("class"), None);
    assert_eq!(merged.columns["n"].kind, Some(value::Kind::Integer(1)));
    assert_eq!(merged.vectors["v"], vector(&[1.0, 0.0, 1.0]));
    assert_eq!(merged.vectors["c"], vector(&[1.0, 1.0]));
    assert_eq!(merged.position, Some(Position { ra: 11.0, dec: 1.0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_the_protocol_ends_with_a_reason_and_keeps_what_was_answered() {
    let (_folder, server) = server().await;
    let (_, failure) = server.ingest_messages(vec![batch_message(batch(1, vec![]))]).await;
    assert!(
        failure.as_ref().is_some_and(|status| status.message().contains("`open`")),
        "{failure:?}"
    );
    let (_, failure) = server.ingest("nowhere", IngestMode::Unspecified, vec![]).await;
    assert_eq!(failure.map(|status| status.code()), Some(Code::NotFound));
    let (answers, failure) = server.ingest_messages(Vec::new()).await;
    assert!(answers.is_empty() && failure.is_none());
    let (answers, failure) = server
        .ingest_messages(vec![
            open_message("galaxies", IngestMode::Unspecified),
            batch_message(batch(1, vec![galaxy(1, 0.0, 0.0)])),
            open_message("galaxies", IngestMode::Unspecified),
            batch_message(batch(2, vec![galaxy(2, 0.0, 0.0)])),
        ])
        .await;
    assert_eq!(answers.len(), 1);
    assert_eq!(failure.map(|status| status.code()), Some(Code::InvalidArgument));
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 1);
    let broken = IngestBatch { arrow_ipc: b"not arrow".to_vec(), ..batch(1, vec![]) };
    let (_, failure) = server.ingest("galaxies", IngestMode::Unspecified, vec![broken]).await;
    assert_eq!(failure.map(|status| status.code()), Some(Code::InvalidArgument));
    let nothing = IngestRequest { message: None };
    let (_, failure) = server.ingest_messages(vec![nothing]).await;
    assert_eq!(failure.map(|status| status.code()), Some(Code::InvalidArgument));
    let strange = sidereus::wire::v1::IngestOpen {
        collection: "galaxies".to_owned(),
        mode: 9,
        ..Default::default()
    };
    let strange = IngestRequest { message: Some(ingest_request::Message::Open(strange)) };
    let (_, failure) = server.ingest_messages(vec![strange]).await;
    assert_eq!(failure.map(|status| status.code()), Some(Code::InvalidArgument));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_beyond_the_limits_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_with(folder.path(), None, |options| {
        options.limits.batch_rows_max = 10;
        options.limits.ingest_message_bytes_max = 10_000;
    })
    .await;
    server.create(schema("galaxies")).await.expect("created");
    let rows = |count: i64| (0..count).map(|id| object(id, 0.0, 0.0)).collect::<Vec<_>>();
    let (answers, failure) = server
        .ingest("galaxies", IngestMode::Unspecified, vec![batch(1, rows(10)), batch(2, rows(11))])
        .await;
    assert_eq!((answers.len(), answers[0].inserted), (1, 10));
    let failure = failure.expect("refused");
    assert_eq!(failure.code(), Code::InvalidArgument);
    assert!(failure.message().contains("limit of 10"), "{failure:?}");
    let mut large = object(20, 0.0, 0.0);
    large.columns.insert("class".to_owned(), string(&"x".repeat(20_000)));
    let (_, failure) =
        server.ingest("galaxies", IngestMode::Unspecified, vec![batch(1, vec![large])]).await;
    let failure = failure.expect("refused");
    assert!(matches!(failure.code(), Code::OutOfRange | Code::ResourceExhausted), "{failure:?}");
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 10);
}

/// A client that sends and does not read answers is not read from beyond the window.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_answers_is_held_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let server =
        TestServer::start_with(folder.path(), None, |options| options.limits.ingest_window = 2)
            .await;
    server.create(schema("galaxies")).await.expect("created");
    let mut client = server.objects().await;
    let (sender, receiver) = mpsc::channel::<IngestRequest>(1);
    sender.send(open_message("galaxies", IngestMode::Unspecified)).await.expect("open");
    let mut answers =
        client.ingest(ReceiverStream::new(receiver)).await.expect("opens").into_inner();
    // Every row is refused with a long reason, so that unread answers fill the connection and not only batches do.
    let refused: Vec<Object> = (0..2_000)
        .map(|id| {
            let mut row = object(id, 0.0, 0.0);
            row.columns.insert(format!("no_such_column_{}", "x".repeat(400)), real(1.0));
            row
        })
        .collect();
    let refused = Arc::new(refused);
    let producer = tokio::spawn({
        let refused = Arc::clone(&refused);
        async move {
            for sequence in 0..40 {
                sender
                    .send(batch_message(batch(sequence, refused.to_vec())))
                    .await
                    .expect("the stream is open");
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!producer.is_finished(), "40 batches went out although nobody read an answer");
    let mut sequences = Vec::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.expect("an answer");
        assert_eq!(answer.refused.len(), refused.len());
        sequences.push(answer.sequence);
    }
    producer.await.expect("the producer ends");
    assert_eq!(sequences, (0..40).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_streams_write_side_by_side() {
    let (_folder, server) = server().await;
    let batches = |from: i64| -> Vec<IngestBatch> {
        (0..20)
            .map(|place| {
                let ids = from + place * 50..from + place * 50 + 50;
                batch(place as u64, ids.map(|id| galaxy(id, id as f64 % 360.0, 0.0)).collect())
            })
            .collect()
    };
    let (left, right) = tokio::join!(
        server.ingest("galaxies", IngestMode::Unspecified, batches(0)),
        server.ingest("galaxies", IngestMode::Bulk, batches(1_000)),
    );
    for (answers, failure) in [left, right] {
        assert!(failure.is_none(), "{failure:?}");
        assert_eq!(answers.iter().map(|answer| answer.inserted).sum::<u64>(), 1_000);
        let sequences: Vec<_> = answers.iter().map(|answer| answer.sequence).collect();
        assert_eq!(sequences, (0..20).collect::<Vec<_>>());
    }
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 2_000);
}
