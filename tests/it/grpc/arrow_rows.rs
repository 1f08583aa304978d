//! Ingest of rows as Arrow streams.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use sidereus::files::encode_ipc;
use sidereus::wire::v1::{GetObjectsRequest, IngestBatch, IngestMode, Object, Position};
use tonic::Code;

use crate::support::{TestServer, galaxy, id_of, number, object, real, schema, string, vector};

async fn server() -> (tempfile::TempDir, TestServer) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    (folder, server)
}

fn vectors(rows: &[[f32; 3]]) -> ArrayRef {
    let values = Arc::new(Float32Array::from_iter_values(rows.iter().flatten().copied()));
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    Arc::new(FixedSizeListArray::try_new(item, 3, values, None).expect("three each"))
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a batch");
    encode_ipc(&batch).expect("encodes")
}

fn places(ids: &[i64], dec: &[f64]) -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("object_id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef),
        ("ra", Arc::new(Float64Array::from(vec![10.0; ids.len()]))),
        ("dec", Arc::new(Float64Array::from(dec.to_vec()))),
    ]
}

async fn get(server: &TestServer, ids: &[i64]) -> Vec<Object> {
    let ids = ids.iter().copied().map(number).collect();
    let request = GetObjectsRequest {
        collection: "galaxies".to_owned(),
        ids,
        with_vectors: true,
        release: String::new(),
    };
    server.objects().await.get_objects(request).await.expect("read").into_inner().objects
}

#[tokio::test(flavor = "multi_thread")]
async fn arrow_rows_follow_the_messages_of_their_batch_and_are_refused_one_by_one() {
    let (_folder, server) = server().await;
    let mut columns = places(&[10, 11, 12, 1], &[1.0, 99.0, 3.0, 4.0]);
    columns.push(("z", Arc::new(Float64Array::from(vec![Some(0.5), Some(0.5), None, Some(0.7)]))));
    columns.push(("class", Arc::new(StringArray::from(vec!["QSO", "QSO", "GALAXY", "STAR"]))));
    columns.push(("vector.v", vectors(&[[1.0; 3], [1.0; 3], [f32::NAN, 0.0, 0.0], [2.0; 3]])));
    for mode in [IngestMode::Unspecified, IngestMode::Bulk] {
        let batch = IngestBatch {
            sequence: 3,
            objects: vec![galaxy(1, 0.0, 0.0), object(2, 0.0, -91.0)],
            arrow_ipc: batch(columns.clone()),
            merge: false,
        };
        let (answers, failure) = server.ingest("galaxies", mode, vec![batch]).await;
        assert!(failure.is_none(), "{failure:?}");
        let refused: Vec<_> =
            answers[0].refused.iter().map(|one| (one.row, one.object_id.as_str())).collect();
        assert_eq!(refused, [(1, "2"), (3, "11"), (4, "12")], "{:?}", answers[0].refused);
        assert!(answers[0].refused[1].reason.contains("dec is 99"));
        assert!(answers[0].refused[2].reason.contains("finite"));
        assert_eq!(answers[0].inserted + answers[0].replaced, 3);
    }
    let stored = get(&server, &[1, 10]).await;
    assert_eq!(
        stored[0].position,
        Some(Position { ra: 10.0, dec: 4.0 }),
        "the last row of an id wins"
    );
    assert_eq!(
        (&stored[0].columns["class"], &stored[0].columns["z"]),
        (&string("STAR"), &real(0.7))
    );
    assert_eq!(stored[1].vectors["v"], vector(&[1.0; 3]));
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn arrow_columns_merge_into_objects() {
    let (_folder, server) = server().await;
    server.write("galaxies", (0..3).map(|id| galaxy(id, 1.0, 1.0)).collect()).await;
    let mut columns = places(&[0, 1, 7], &[5.0; 3]);
    columns.push(("flux_g", Arc::new(Float32Array::from(vec![3.0_f32; 3]))));
    let merging = IngestBatch { merge: true, arrow_ipc: batch(columns), ..IngestBatch::default() };
    let (answers, failure) =
        server.ingest("galaxies", IngestMode::Unspecified, vec![merging]).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!((answers[0].inserted, answers[0].replaced), (1, 2));
    let stored = get(&server, &[1, 7]).await;
    assert_eq!(stored.iter().map(|one| id_of(one.id.as_ref())).collect::<Vec<_>>(), [1, 7]);
    assert_eq!(
        (&stored[0].columns["flux_g"], &stored[0].columns["class"]),
        (&real(3.0), &string("QSO"))
    );
    assert_eq!(stored[0].vectors["v"], vector(&[1.0, 0.0, 1.0]));
    assert_eq!(stored[1].columns.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_do_not_fit_the_collection_are_refused_whole() {
    let (_folder, server) = server().await;
    let good = batch(places(&[1], &[1.0]));
    let mut unknown = places(&[1], &[1.0]);
    unknown.push(("colour", Arc::new(Float64Array::from(vec![1.0]))));
    let mut no_space = places(&[1], &[1.0]);
    no_space.push(("vector.w", vectors(&[[1.0; 3]])));
    let no_position = vec![("object_id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)];
    for (bytes, said) in [
        (batch(unknown), "colour"),
        (batch(no_space), "w"),
        (batch(no_position), "ra"),
        (good[..good.len() / 2].to_vec(), "Arrow IPC"),
        (b"certainly not arrow".to_vec(), "Arrow IPC"),
    ] {
        let broken = IngestBatch { arrow_ipc: bytes, ..IngestBatch::default() };
        let (answers, failure) =
            server.ingest("galaxies", IngestMode::Unspecified, vec![broken]).await;
        let failure = failure.expect(said);
        assert!(answers.is_empty());
        assert_eq!(failure.code(), Code::InvalidArgument, "{failure:?}");
        assert!(
            failure.message().contains(said) && !failure.message().contains('\n'),
            "{failure:?}"
        );
    }
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 0);
}
