//! What becomes of objects that arrive, are wrong, and are written again.

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{Field, Schema};
use sidereus::engine::{Write, WriteMode};
use sidereus::files::encode_ipc;
use sidereus::schema::{ObjectId, Value as Stored};
use sidereus::wire::v1::{
    CountObjectsRequest, DeleteObjectsRequest, EncodeCollectionRequest, IngestBatch, IngestMode,
    IngestOpen, IngestRequest, Rerank, SearchRequest, VectorTerm, ingest_request,
};

use super::*;
use crate::support::{batch_message, vector};

/// Writes a batch on a stream of its own; all rows must be good.
async fn ingest(server: &TestServer, mode: IngestMode, batch: IngestBatch) {
    let (answers, failure) = server.ingest(NAME, mode, vec![batch]).await;
    assert!(failure.is_none() && answers[0].refused.is_empty(), "{answers:?} {failure:?}");
}

fn rows(objects: Vec<Object>, merge: bool) -> IngestBatch {
    IngestBatch { objects, merge, ..IngestBatch::default() }
}

/// An object with only some columns.
fn only(id: i64, columns: &[(&str, f64)]) -> Object {
    let columns = columns.iter().map(|&(name, number)| (name.to_owned(), real(number)));
    Object { columns: columns.collect(), ..object(id, id as f64 % 360.0, 0.0) }
}

fn table(count: i64) -> Vec<u8> {
    let ids: Vec<i64> = (1_000..1_000 + count).collect();
    let numbers = |scale: f64| ids.iter().map(|id| *id as f64 * scale % 360.0).collect::<Vec<_>>();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("object_id", Arc::new(Int64Array::from(ids.clone()))),
        ("ra", Arc::new(Float64Array::from(numbers(0.37)))),
        ("dec", Arc::new(Float64Array::from(vec![5.0; ids.len()]))),
        ("flux_g", Arc::new(Float32Array::from_iter_values(ids.iter().map(|id| *id as f32)))),
        ("flux_r", Arc::new(Float32Array::from(vec![0.5; ids.len()]))),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a batch");
    encode_ipc(&batch).expect("encodes")
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_every_way_of_ingest_get_the_vectors_of_their_columns() {
    /// So many that they are written as files of their own.
    const MANY: i64 = 70_000;
    let folder = tempfile::tempdir().expect("a folder");
    let (encoder, controls) = fake_encoder::start().await;
    let server = TestServer::start_with(folder.path(), Some(encoder), |options| {
        options.limits.encode_batch = 2_000;
    })
    .await;
    let mut schema = schema(NAME);
    schema.spaces.push(made("colours", "fluxes", "photometry", 3));
    server.create(schema).await.expect("created");
    server.write(NAME, (0..50).map(|id| with_fluxes(id, id as f64, 0.25)).collect()).await;
    let few = (50..100).map(|id| with_fluxes(id, id as f64, 0.25)).collect();
    ingest(&server, IngestMode::Bulk, rows(few, false)).await;
    let block = IngestBatch { arrow_ipc: table(MANY), ..IngestBatch::default() };
    ingest(&server, IngestMode::Bulk, block).await;
    // Searches and counts go on meanwhile.
    let count = CountObjectsRequest { collection: NAME.to_owned(), ..Default::default() };
    let counted = server.objects().await.count_objects(count).await.expect("counted");
    assert_eq!(counted.into_inner().count, 100 + MANY as u64);
    assert_eq!(done(&server, "colours").await, (0, 0));
    let ids: Vec<i64> = (0..100).collect();
    let found = vectors(&server, "colours", &ids).await;
    assert!(ids.iter().all(|id| found[id] == [*id as f32, 0.25, 1.0]), "{found:?}");
    let ids: Vec<i64> = (1_000..1_000 + MANY).step_by(97).collect();
    let found = vectors(&server, "colours", &ids).await;
    assert!(ids.iter().all(|id| found[id] == [*id as f32, 0.5, 1.0]));
    let filled = shown(server.collections().await).await.vector_counts["colours"];
    assert_eq!(filled, 100 + MANY as u64);
    assert_eq!(encoded(&controls), 100 + MANY as usize, "nothing is encoded twice");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_fails_is_counted_and_left_alone_until_it_is_written_again() {
    let (_folder, server, controls) = server().await;
    server.create(filled()).await.expect("created");
    let mut objects: Vec<Object> = (0..40).map(|id| with_image(id, &[b'!', 1, id as u8])).collect();
    objects.extend([with_image(100, b"??"), with_image(101, b"?"), object(200, 1.0, 1.0)]);
    server.write(NAME, objects).await;
    assert_eq!(done(&server, "looks").await, (2, 1));
    assert_eq!(done(&server, "codes").await, (2, 1));
    assert_eq!(done(&server, "colours").await, (0, 43), "nothing has fluxes");
    let told = told(&server, "looks").await;
    assert!(told.last_failure.contains("10") && told.last_failure.contains("not an image"));
    assert!(told.paused.is_empty(), "a bad object is not an encoder that is down");

    let before = encoded(&controls);
    assert_eq!(before, 2 * 42);
    // Also where others come, and where something else of it changes.
    server.write(NAME, (40..45).map(|id| with_image(id, &[b'!', 1, id as u8])).collect()).await;
    ingest(&server, IngestMode::Unspecified, rows(vec![only(100, &[("z", 3.0)])], true)).await;
    assert_eq!((done(&server, "looks").await, done(&server, "codes").await), ((2, 1), (2, 1)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(encoded(&controls), before + 2 * 5);

    server.write(NAME, vec![with_image(100, b"!zz")]).await;
    until(&server, "looks", |told| told.waiting == 0 && told.failed == 1).await;
    assert_eq!(vectors(&server, "looks", &[100]).await[&100], [122.0, 122.0]);
    let ids = vec![number(101), number(200)];
    let delete = DeleteObjectsRequest { collection: NAME.to_owned(), ids };
    server.objects().await.delete_objects(delete).await.expect("deleted");
    server.write(NAME, vec![with_image(46, b"!!!")]).await;
    let told = until(&server, "looks", |told| told.failed == 0 && told.waiting == 0).await;
    assert_eq!((told.without_inputs, told.last_failure.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_which_the_encoder_dies_holds_up_nobody_and_fails_in_the_end() {
    let (_folder, server, controls) = server().await;
    server.create(filled()).await.expect("created");
    let mut objects: Vec<Object> = (0..40).map(|id| with_image(id, &[b'!', 1, id as u8])).collect();
    objects.push(with_image(100, b"!deadly"));
    server.write(NAME, objects).await;
    for space in ["looks", "codes"] {
        let told = until(&server, space, |told| told.waiting == 0).await;
        assert_eq!((told.failed, told.without_inputs), (1, 0));
        assert!(told.last_failure.starts_with("100: "), "{told:?}");
        until(&server, space, |told| told.paused.is_empty()).await;
    }
    let before = encoded(&controls);
    server.write(NAME, vec![with_image(50, b"!ab")]).await;
    assert_eq!((done(&server, "looks").await, done(&server, "codes").await), ((1, 0), (1, 0)));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(encoded(&controls), before + 2, "it is left alone");
}

/// A batch whose vectors come from the model itself, as the sender says.
async fn with_own(server: &TestServer, objects: Vec<Object>) {
    let made = Provenance {
        encoder: "fluxes".to_owned(),
        weights_hash: "w0".to_owned(),
        preprocessing: "none-v1".to_owned(),
        pooling: "none".to_owned(),
    };
    let open = IngestOpen {
        collection: NAME.to_owned(),
        provenance: HashMap::from([("colours".to_owned(), made)]),
        ..IngestOpen::default()
    };
    let open = IngestRequest { message: Some(ingest_request::Message::Open(open)) };
    let batch = batch_message(rows(objects, false));
    let (answers, failure) = server.ingest_messages(vec![open, batch]).await;
    assert!(failure.is_none() && answers[0].refused.is_empty(), "{answers:?} {failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_that_comes_along_stays_until_the_inputs_change() {
    let (_folder, server, controls) = server().await;
    server.create(filled()).await.expect("created");
    let mut own = with_fluxes(1, 5.0, 6.0);
    own.vectors.insert("colours".to_owned(), vector(&[9.0, 9.0, 9.0]));
    with_own(&server, vec![own, with_fluxes(2, 7.0, 8.0)]).await;
    assert_eq!(done(&server, "colours").await, (0, 0));
    let colours = async |ids: &[i64]| vectors(&server, "colours", ids).await;
    let found = colours(&[1, 2]).await;
    assert_eq!((&found[&1][..], &found[&2][..]), (&[9.0, 9.0, 9.0][..], &[7.0, 8.0, 1.0][..]));
    assert_eq!(encoded(&controls), 1);

    let merge = async |object: Object| {
        ingest(&server, IngestMode::Unspecified, rows(vec![object], true)).await;
        assert_eq!(done(&server, "colours").await.0, 0);
    };
    // What is no input, and an input that is the same again, change nothing.
    merge(only(1, &[("z", 2.0)])).await;
    merge(only(1, &[("flux_g", 5.0)])).await;
    assert_eq!(colours(&[1]).await[&1], [9.0, 9.0, 9.0]);
    assert_eq!(encoded(&controls), 1);
    merge(only(1, &[("flux_g", 5.5)])).await;
    assert_eq!(colours(&[1]).await[&1], [5.5, 6.0, 1.0]);
    // A whole object takes the place of the old one, vectors and all.
    server.write(NAME, vec![with_fluxes(2, 1.0, 1.0)]).await;
    assert_eq!(done(&server, "colours").await, (0, 0));
    assert_eq!(colours(&[2]).await[&2], [1.0, 1.0, 1.0]);
    // An input that is lost takes the vector along.
    let mut lost = only(1, &[]);
    for flux in ["flux_g", "flux_r"] {
        lost.columns.insert(flux.to_owned(), Value::default());
    }
    merge(lost).await;
    assert_eq!((colours(&[1]).await.len(), done(&server, "colours").await), (0, (0, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_and_made_again_as_vectors_are() {
    let (_folder, server, controls) = server().await;
    server.create(filled()).await.expect("created");
    server.write(NAME, vec![with_image(1, b"!ab"), with_image(2, b"!cd")]).await;
    assert_eq!((done(&server, "codes").await, done(&server, "looks").await), ((0, 0), (0, 0)));
    assert_eq!(encoded(&controls), 4);
    let filled = async || shown(server.collections().await).await.vector_counts["codes"];
    assert_eq!(filled().await, 2);
    // A merge that leaves the image alone keeps them, one that changes it has them made again.
    ingest(&server, IngestMode::Bulk, rows(vec![only(1, &[("z", 1.0)])], true)).await;
    ingest(&server, IngestMode::Bulk, rows(vec![with_image(2, b"!ef")], true)).await;
    assert_eq!((done(&server, "codes").await, done(&server, "looks").await), ((0, 0), (0, 0)));
    assert_eq!((filled().await, encoded(&controls)), (2, 6));
    // By what is made of them, for tokens are not among an object's vectors.
    let job = EncodeCollectionRequest {
        collection: NAME.to_owned(),
        model: "pixels".to_owned(),
        pooling: "tokens".to_owned(),
        space: "states".to_owned(),
        from_tokens: "codes".to_owned(),
        ..EncodeCollectionRequest::default()
    };
    let mut steps = server.maintenance().await.encode_collection(job).await.expect("begins");
    while steps.get_mut().message().await.expect("goes on").is_some() {}
    let states = fake_encoder::states(&[
        fake_encoder::state_of(u16::from(b'e')),
        fake_encoder::state_of(u16::from(b'f')),
    ]);
    let request = SearchRequest {
        collection: NAME.to_owned(),
        terms: vec![VectorTerm {
            space: "looks".to_owned(),
            vectors: vec![vector(&[0.0, 0.0])],
            ..Default::default()
        }],
        k: 2,
        rerank: Some(Rerank {
            space: "states".to_owned(),
            tokens: vec![states],
            ..Default::default()
        }),
        ..Default::default()
    };
    let (hits, _) = server.search(request).await.expect("found");
    assert_eq!(id_of(hits[0].id.as_ref()), 2, "its tokens are those of the new image");
    assert!(hits[0].distance.is_some_and(|distance| distance.abs() < 1e-4), "{hits:?}");
}

/// Waits until the encoder has an input of which it has not told the outcome yet.
async fn under_way(controls: &Controls, before: usize) {
    let began = Instant::now();
    while encoded(controls) == before {
        assert!(began.elapsed() < PATIENCE, "nothing is encoded");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_written_again_while_it_is_encoded_has_the_vector_of_its_new_columns() {
    let (_folder, server, controls) = server().await;
    server.create(filled()).await.expect("created");
    controls.delay_ms.store(300, Ordering::SeqCst);
    for (round, merge) in [(1, false), (2, true), (3, false)] {
        let before = encoded(&controls);
        let flux = f64::from(round) * 10.0;
        server.write(NAME, vec![with_fluxes(1, flux, 1.0), with_fluxes(2, flux, 1.0)]).await;
        under_way(&controls, before).await;
        let again = rows(vec![with_fluxes(1, flux + 5.0, 1.0)], merge);
        ingest(&server, IngestMode::Unspecified, again).await;
        assert_eq!(done(&server, "colours").await, (0, 0));
        let found = vectors(&server, "colours", &[1, 2]).await;
        assert_eq!(found[&1], [flux as f32 + 5.0, 1.0, 1.0], "{round}");
        assert_eq!(found[&2], [flux as f32, 1.0, 1.0], "{round}");
    }
    // The same for a job that is asked for, into a space that is not filled at ingest.
    let job = EncodeCollectionRequest {
        collection: NAME.to_owned(),
        model: "fluxes".to_owned(),
        space: "asked".to_owned(),
        ..EncodeCollectionRequest::default()
    };
    let before = encoded(&controls);
    let mut steps = server.maintenance().await.encode_collection(job).await.expect("begins");
    under_way(&controls, before).await;
    server.write(NAME, vec![with_fluxes(1, 99.0, 1.0)]).await;
    let mut last = None;
    while let Some(step) = steps.get_mut().message().await.expect("goes on") {
        assert!(step.failed.is_empty(), "{step:?}");
        last = Some((step.total, step.encoded, step.skipped));
    }
    assert_eq!(last, Some((2, 2, 0)));
    let found = vectors(&server, "asked", &[1, 2]).await;
    assert_eq!((found[&1][0], found[&2][0]), (99.0, 30.0));
}

/// Values that are set in a column from which a space is filled, as a probe or a search for outliers sets them.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_set_has_the_vector_made_again() {
    let (_folder, server, controls) = server().await;
    server.create(filled()).await.expect("created");
    server.write(NAME, (0..20).map(|id| with_fluxes(id, id as f64, 0.25)).collect()).await;
    assert_eq!(done(&server, "colours").await, (0, 0));
    let schema = server.db.schema(NAME).expect("there");
    let place = schema.column_place("flux_g").expect("a column");
    let set = |id: i64, flux: f32| Write::SetColumns {
        id: ObjectId::Number(id),
        columns: vec![(place, Stored::Float32(flux))],
    };
    let before = encoded(&controls);
    let writes = vec![set(3, 70.0), set(4, 4.0)];
    server.db.write(NAME, WriteMode::Bulk, writes).expect("written");
    assert!(vectors(&server, "colours", &[3]).await.is_empty(), "nothing of the old value");
    assert_eq!(vectors(&server, "colours", &[4]).await[&4], [4.0, 0.25, 1.0], "the same value");
    // Any write wakes the worker.
    server.write(NAME, vec![with_fluxes(20, 20.0, 0.25)]).await;
    assert_eq!(done(&server, "colours").await, (0, 0));
    assert_eq!(vectors(&server, "colours", &[3]).await[&3], [70.0, 0.25, 1.0]);
    assert_eq!(encoded(&controls), before + 2, "one again, and the new one");
    server.stop().await;
}
