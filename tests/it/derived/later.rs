//! Columns that come after the objects, values that are set in them, and records beside them.

use std::collections::HashMap;

use sidereus::engine::{RecordKind, Write, WriteMode, WriteOutcome};
use sidereus::schema::{Column, ColumnType, Object, ObjectId as Id, Value as Stored};
use sidereus::wire::v1::{
    IngestBatch, IngestMode, IngestOpen, IngestRequest, SearchRequest, ingest_request,
};

use super::{Model, NAME, change, filled, in_order, n_of, number_of, sum};
use crate::support::{TestServer, batch_message, galaxy, ids_of, near, schema};

/// The column that came later says what the model says, and everything else is as before.
async fn agrees(server: &TestServer, model: &Model, when: &str) {
    let p = |object: &Object| object.columns[7].as_f64();
    for (predicate, threshold) in
        [("p > 20", 20.0), ("p > 20 AND n < 50", 20.0), ("p > 0 OR n > 200", 0.0)]
    {
        let limit = if predicate.contains("n < 50") { 50 } else { i64::MAX };
        let holds =
            |object: &&Object| p(object).is_some_and(|p| p > threshold) && n_of(object) < limit;
        let expected = model.values().filter(holds).count() as u64;
        let counted = server.count(NAME, None, predicate).await.expect("counted");
        assert_eq!(counted, expected, "{predicate} {when}");
    }
    let request = SearchRequest {
        collection: NAME.to_owned(),
        order_by: "p".to_owned(),
        descending: true,
        k: 40,
        ..SearchRequest::default()
    };
    let (hits, _) = server.search(request).await.expect("found");
    assert_eq!(ids_of(&hits), in_order(model, |_| true, p, true, 40), "{when}");
    let nearest = SearchRequest { exact: true, ..near(NAME, &[0.0, 0.0, 0.0], 5) };
    let (hits, _) = server.search(nearest).await.expect("found");
    let length = |object: &Object| {
        let (_, vector) = object.vectors.iter().find(|(id, _)| id.0 == 1)?;
        Some(vector.iter().map(|number| f64::from(number * number)).sum())
    };
    assert_eq!(ids_of(&hits), in_order(model, |_| true, length, false, 5), "vectors stay, {when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_comes_later_is_null_until_it_is_set_and_is_indexed_by_the_next_build() {
    let place = tempfile::tempdir().expect("a folder");
    let (server, mut model) = filled(&place).await;
    server.db.build_index(NAME, &mut |_, _, _| {}).expect("built");
    change(&server, &mut model, 11);
    let info = server.db.add_column(NAME, Column::new("p", ColumnType::Float64)).expect("added");
    assert_eq!(info.schema.column_place("P"), Some(7));
    server.db.add_column(NAME, Column::new("P", ColumnType::Float64)).expect("is there");
    let other = server.db.add_column(NAME, Column::new("p", ColumnType::Text));
    assert!(other.expect_err("another type").to_string().contains("is float64, not text"));
    let all = model.len() as u64;
    assert_eq!(server.count(NAME, None, "p IS NULL AND n >= 0").await.expect("counted"), all);
    // Where it can be had, the sum becomes a column.
    let values: HashMap<i64, f64> =
        model.iter().filter_map(|(id, object)| Some((*id, sum(object)?))).collect();
    let writes = values.iter().map(|(id, value)| Write::SetColumns {
        id: Id::Number(*id),
        columns: vec![(7, Stored::Float64(*value))],
    });
    let absent = Write::SetColumns { id: Id::Number(-1), columns: vec![(7, Stored::Null)] };
    let wrong = Write::SetColumns { id: Id::Number(1), columns: vec![(7, Stored::Int64(1))] };
    let writes = writes.chain([absent, wrong]).collect();
    let report = server.db.write(NAME, WriteMode::Bulk, writes).expect("written");
    let (rest, set) =
        report.outcomes.split_last_chunk::<2>().map(|(set, rest)| (rest, set)).expect("two");
    assert!(set.iter().all(|outcome| *outcome == WriteOutcome::ColumnsSet));
    assert!(matches!(rest, [WriteOutcome::Absent, WriteOutcome::Refused(_)]), "{rest:?}");
    for object in model.values_mut() {
        let id = number_of(object);
        object.columns.push(values.get(&id).map_or(Stored::Null, |value| Stored::Float64(*value)));
    }
    agrees(&server, &model, "in the tail").await;
    // What is deleted and overwritten does not come back.
    for (id, kept) in [(5, true), (6, false), (7, true)] {
        let Some(object) = model.get_mut(&id) else { continue };
        if kept {
            object.columns[7] = Stored::Float64(1e3 + id as f64);
            let write = Write::Put(object.clone());
            server.db.write(NAME, WriteMode::Logged, vec![write]).expect("written");
        } else {
            model.remove(&id);
            let write = Write::Delete(Id::Number(id));
            server.db.write(NAME, WriteMode::Logged, vec![write]).expect("written");
        }
    }
    agrees(&server, &model, "after deletes").await;
    server.stop().await;
    let server = TestServer::start(place.path()).await;
    agrees(&server, &model, "after a restart").await;
    server.db.build_index(NAME, &mut |_, _, _| {}).expect("built");
    agrees(&server, &model, "after a build").await;
    let view = server.db.view(NAME).expect("a view");
    let column = view.arrow_schema().index_of("p").expect("a column");
    assert!(view.parts()[0].part().attribute(column).is_some(), "the build made an index");
    drop(view);
    server.stop().await;
    let server = TestServer::start(place.path()).await;
    agrees(&server, &model, "after another restart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_with_their_collection() {
    let place = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(place.path()).await;
    server.create(schema(NAME)).await.expect("created");
    server.db.put_record(NAME, RecordKind::Probe, "Lens", b"weights").expect("kept");
    server.stop().await;
    let server = TestServer::start(place.path()).await;
    let found = server.db.record("GALAXIES", RecordKind::Probe, "lens").expect("read");
    assert_eq!(found.as_deref(), Some(&b"weights"[..]));
    let records = server.db.records(NAME, RecordKind::Probe).expect("read");
    assert_eq!(records, [("Lens".to_owned(), b"weights".to_vec())]);
    assert!(server.db.records(NAME, RecordKind::Bridge).expect("read").is_empty());
    server.db.drop_collection(NAME).expect("dropped");
    server.create(schema(NAME)).await.expect("created again");
    assert!(server.db.records(NAME, RecordKind::Probe).expect("read").is_empty());
    assert!(!server.db.delete_record(NAME, RecordKind::Probe, "lens").expect("is gone"));
}

/// A column that comes while objects arrive: those on their way have null in it, and what others set in it meanwhile stays where
/// rows are merged.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_on_while_a_column_is_added() {
    let place = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(place.path()).await;
    server.create(schema(NAME)).await.expect("created");
    let width = schema(NAME).columns.len();
    let modes = [
        (IngestMode::Unspecified, false),
        (IngestMode::Bulk, false),
        (IngestMode::Unspecified, true),
    ];
    for (number, (mode, merge)) in modes.into_iter().enumerate() {
        let first = number as i64 * 1_000;
        let open =
            IngestOpen { collection: NAME.to_owned(), mode: mode.into(), ..IngestOpen::default() };
        let open = IngestRequest { message: Some(ingest_request::Message::Open(open)) };
        let batch = |ids: std::ops::Range<i64>| {
            let objects = ids.map(|id| galaxy(id, 10.0 + id as f64 / 100.0, 1.0)).collect();
            batch_message(IngestBatch { objects, merge, ..IngestBatch::default() })
        };
        let (sender, requests) = tokio::sync::mpsc::channel(4);
        sender.send(open).await.expect("listens");
        sender.send(batch(first..first + 50)).await.expect("listens");
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        let mut answers =
            server.objects().await.ingest(requests).await.expect("begins").into_inner();
        let answer = answers.message().await.expect("goes on").expect("an answer");
        assert!(answer.refused.is_empty(), "{answer:?}");
        let column = Column::new(format!("late{number}"), ColumnType::Float64);
        server.db.add_column(NAME, column).expect("added");
        let set = Write::SetColumns {
            id: Id::Number(first),
            columns: vec![(width + number, Stored::Float64(1.5))],
        };
        server.db.write(NAME, WriteMode::Logged, vec![set]).expect("written");
        sender.send(batch(first..first + 100)).await.expect("listens");
        drop(sender);
        while let Some(answer) = answers.message().await.expect("goes on") {
            assert!(answer.refused.is_empty(), "{answer:?}");
        }
        let ids: Vec<Id> = (first..first + 100).map(Id::Number).collect();
        let objects = server.db.get(NAME, &ids).expect("readable");
        for (object, id) in objects.into_iter().zip(first..) {
            let columns = object.expect("is there").columns;
            assert_eq!(columns.len(), width + number + 1);
            let kept = merge && id == first;
            let expected = if kept { Stored::Float64(1.5) } else { Stored::Null };
            assert_eq!(columns[width + number], expected, "{id}, {mode:?}, {merge}");
        }
        let late = format!("late{number} IS NOT NULL");
        assert_eq!(server.count(NAME, None, &late).await.expect("counted"), u64::from(merge));
    }
    server.stop().await;
}
