//! Bulk streams of Arrow rows: commits whose files are written ahead of their turn.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch,
};
use arrow::datatypes::{DataType, Field};
use sidereus::files::encode_ipc;
use sidereus::wire::v1::{GetObjectsRequest, IngestBatch, IngestMode, IngestResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{TestServer, batch_message, number, open_message, schema};

/// Rows that are written as files and not logged.
const MANY: i64 = 56_000;

async fn server() -> (tempfile::TempDir, TestServer) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    (folder, server)
}

/// Rows of some ids whose declinations tell the batch.
fn batch(sequence: u64, ids: Range<i64>) -> IngestBatch {
    let count = ids.clone().count();
    let ra = ids.clone().map(|id| (id as f64 * 0.37) % 360.0);
    let components: Vec<f32> = ids.clone().flat_map(|id| [id as f32, 1.0, 2.0]).collect();
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    let components = Arc::new(Float32Array::from(components));
    let vectors = FixedSizeListArray::try_new(item, 3, components, None).expect("three each");
    let columns: [(&str, ArrayRef); 4] = [
        ("object_id", Arc::new(Int64Array::from_iter_values(ids))),
        ("ra", Arc::new(Float64Array::from_iter_values(ra))),
        ("dec", Arc::new(Float64Array::from(vec![sequence as f64; count]))),
        ("vector.v", Arc::new(vectors)),
    ];
    let rows = RecordBatch::try_from_iter(columns).expect("a batch");
    let arrow_ipc = encode_ipc(&rows).expect("encodes");
    IngestBatch { sequence, arrow_ipc, ..IngestBatch::default() }
}

async fn declination(server: &TestServer, id: i64) -> f64 {
    let request = GetObjectsRequest {
        collection: "galaxies".to_owned(),
        ids: vec![number(id)],
        ..GetObjectsRequest::default()
    };
    let reply = server.objects().await.get_objects(request).await.expect("read").into_inner();
    reply.objects[0].position.expect("a position").dec
}

fn staged(data: &Path) -> usize {
    std::fs::read_dir(data.join("staging")).expect("lists").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_keep_the_order_of_their_stream_whatever_is_written_ahead() {
    let (folder, server) = server().await;
    let ranges = [0..MANY, MANY..2 * MANY, MANY + 44_000..2 * MANY + 44_000, 0..MANY];
    let batches = ranges.into_iter().zip(1..).map(|(ids, sequence)| batch(sequence, ids));
    let (answers, failure) = server.ingest("galaxies", IngestMode::Bulk, batches.collect()).await;
    assert!(failure.is_none(), "{failure:?}");
    let told = |answer: &IngestResponse| (answer.sequence, answer.inserted, answer.replaced);
    let told: Vec<_> = answers.iter().map(told).collect();
    assert_eq!(told, [(1, 56_000, 0), (2, 56_000, 0), (3, 44_000, 12_000), (4, 0, 56_000)]);
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 156_000);
    for (id, dec) in [(7, 4.0), (MANY + 7, 2.0), (MANY + 44_007, 3.0), (2 * MANY + 43_999, 3.0)] {
        assert_eq!(declination(&server, id).await, dec, "object {id}");
    }
    assert_eq!(staged(folder.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bulk_streams_of_the_same_objects_leave_each_once() {
    let (folder, server) = server().await;
    let batches = || (1..5).map(|part| batch(part, 0..MANY)).collect();
    let (left, right) = tokio::join!(
        server.ingest("galaxies", IngestMode::Bulk, batches()),
        server.ingest("galaxies", IngestMode::Bulk, batches()),
    );
    let mut inserted = 0;
    for (answers, failure) in [left, right] {
        assert!(failure.is_none(), "{failure:?}");
        assert_eq!(answers.len(), 4);
        for answer in answers {
            assert_eq!(answer.inserted + answer.replaced, MANY as u64);
            inserted += answer.inserted;
        }
    }
    assert_eq!(inserted, MANY as u64);
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), MANY as u64);
    assert_eq!(staged(folder.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_ends_the_stream_of_a_client_that_waits() {
    let (folder, server) = server().await;
    let (sender, requests) = mpsc::channel(8);
    let mut client = server.objects().await;
    sender.send(open_message("galaxies", IngestMode::Bulk)).await.expect("sent");
    sender.send(batch_message(batch(1, 0..MANY))).await.expect("sent");
    let mut answers =
        client.ingest(ReceiverStream::new(requests)).await.expect("begins").into_inner();
    let first = answers.message().await.expect("written").expect("an answer");
    assert_eq!(first.inserted, MANY as u64);
    // From here on no file can be written.
    let staging = folder.path().join("staging");
    std::fs::remove_dir(&staging).expect("empty");
    std::fs::write(&staging, "in the way").expect("written");
    sender.send(batch_message(batch(2, MANY..2 * MANY))).await.expect("sent");
    let failure = answers.message().await.expect_err("nothing can be written");
    assert!(failure.message().contains("staging"), "{failure:?}");
    let closed = tokio::time::timeout(Duration::from_secs(20), sender.closed()).await;
    assert!(closed.is_ok(), "the server still reads");
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), MANY as u64);
}
