//! Exports under row policies: the permitted rows, and nothing of the others.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::Int64Type;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Criteria, FlightDescriptor, FlightInfo, Ticket};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use sidereus::engine::{CollectionView, Db, DbOptions, Write, WriteMode};
use sidereus::query::{Export, export, export_count};
use sidereus::schema::{Object, Value};
use sidereus::wire::v1::flight_command::Command;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::{
    CountObjectsRequest, FlightCommand, FlightExport, FlightIngest, FlightIngestResult,
};
use tonic::{Code, Status};

use super::served::{Wire, as_astronomer, as_student, is_shown, shown, with_objects};
use super::{ALL, CLAUSES, NAME, Random, World, admits, object, restricted, schema, today};

fn everything() -> Export {
    Export {
        columns: Some(["z", "programme", "note"].map(str::to_owned).to_vec()),
        spaces: ["euclid", "angle"].map(str::to_owned).to_vec(),
        ..Export::all()
    }
}

/// The columns of an export.
fn columns(view: &CollectionView, asked: &Export) -> Vec<ArrayRef> {
    let mut batches = Vec::new();
    let mut each = |batch: RecordBatch| {
        batches.push(batch);
        true
    };
    let rows = export(view, asked, &mut each).expect("exported");
    assert_eq!(rows, export_count(view, asked).expect("counted"));
    let width = batches.first().map_or(0, RecordBatch::num_columns);
    let column = |place: usize| {
        let parts: Vec<&dyn Array> =
            batches.iter().map(|batch| batch.column(place).as_ref()).collect();
        concat(&parts).expect("one array")
    };
    (0..width).map(column).collect()
}

fn ids(column: &ArrayRef) -> Vec<i64> {
    column.as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn an_export_is_what_it_would_be_without_the_hidden_rows() {
    for clause in [0, 3, 9] {
        let policy = [CLAUSES[clause]];
        let apart = World::of(|object| admits(&policy, object));
        let view = restricted(ALL.view(), &policy, today());
        let (found, expected) =
            (columns(&view, &everything()), columns(&apart.view(), &everything()));
        assert_eq!(ids(&found[0]).len(), apart.model.len(), "{}", policy[0].sql);
        assert_eq!(found, expected, "{}", policy[0].sql);
        // Some rows in many: what lies in the store is then read one by one.
        let few = Export { predicate: Some("n = 5".to_owned()), ..everything() };
        assert_eq!(columns(&view, &few), columns(&apart.view(), &few), "{}", policy[0].sql);
    }
}

/// A row that is hidden after the view was made keeps what the view shows of it, and gives away nothing newer.
#[test]
fn what_is_hidden_meanwhile_is_not_read_from_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = Db::open(DbOptions::new(folder.path())).expect("opens");
    let made = db.create_collection(schema()).expect("creates").schema;
    let angle = made.space("angle").expect("a space").id;
    let programme = |mut object: Object, name: &str| {
        object.columns[4] = Value::Text(name.to_owned());
        object.vectors = vec![(angle, vec![3.0, 4.0, 0.0, 0.0, 0.0])];
        Write::Put(object)
    };
    let mut random = Random(91);
    let [one, other] = [object(&mut random, 1), object(&mut random, 2)];
    let first = vec![programme(one.clone(), "B"), programme(other, "B")];
    db.write(NAME, WriteMode::Logged, first).expect("writes");
    let view = restricted(db.view(NAME).expect("a view"), &[CLAUSES[3]], today());
    db.write(NAME, WriteMode::Logged, vec![programme(one, "C")]).expect("writes");
    let asked = Export { spaces: vec!["angle".to_owned()], ..everything() };
    let found = columns(&view, &asked);
    let (notes, vectors) = (&found[5], &found[6]);
    for (row, id) in ids(&found[0]).into_iter().enumerate() {
        assert_eq!((notes.is_null(row), vectors.is_null(row)), (id == 1, id == 1), "{id}");
    }
    assert_eq!(found[0].len(), 2);
}

type Flight = FlightServiceClient<Wire>;

fn from(collection: &str) -> FlightExport {
    let spaces = vec!["image".to_owned()];
    FlightExport { collection: collection.to_owned(), spaces, ..FlightExport::default() }
}

fn command(command: Command) -> Vec<u8> {
    FlightCommand { command: Some(command) }.encode_to_vec()
}

async fn get(flight: &mut Flight, ticket: Ticket) -> Result<Vec<i64>, Status> {
    let messages = flight.do_get(ticket).await?.into_inner();
    let batches =
        FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
    let batches: Vec<RecordBatch> = batches.try_collect().await.map_err(Status::from)?;
    Ok(batches.iter().flat_map(|batch| ids(batch.column(0))).collect())
}

async fn info(flight: &mut Flight, asked: FlightExport) -> Result<FlightInfo, Status> {
    let descriptor = FlightDescriptor::new_cmd(command(Command::Export(asked)));
    Ok(flight.get_flight_info(descriptor).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_exports_and_lists_what_his_grant_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_objects(folder.path()).await;
    let mut student = FlightServiceClient::new(as_student(&server).await);
    let ticket = Ticket::new(command(Command::Export(from("sky"))));
    let mut found = get(&mut student, ticket).await.expect("exported");
    found.sort_unstable();
    assert_eq!(found, shown());
    let request = CountObjectsRequest { collection: "sky".to_owned(), ..Default::default() };
    let counted = ObjectServiceClient::new(as_student(&server).await).count_objects(request).await;
    let counted = counted.expect("counted").into_inner().count as i64;
    assert_eq!(found.len() as i64, counted);

    let told = info(&mut student, FlightExport { endpoints: 3, ..from("sky") }).await;
    let told = told.expect("told");
    assert_eq!(told.total_records, counted);
    let mut joined = Vec::new();
    for endpoint in told.endpoint {
        let ticket = endpoint.ticket.expect("a ticket");
        joined.extend(get(&mut student, ticket).await.expect("exported"));
    }
    joined.sort_unstable();
    assert_eq!(joined, found);
    let asked = FlightExport { predicate: "object_id < 50".to_owned(), ..from("sky") };
    let some = info(&mut student, asked).await.expect("told").total_records;
    assert_eq!(some, (0..50).filter(|id| is_shown(*id)).count() as i64);

    let listed = student.list_flights(Criteria::default()).await.expect("listed").into_inner();
    let listed: Vec<FlightInfo> = listed.map(|info| info.expect("a flight")).collect().await;
    assert_eq!(listed.len(), 1, "not the secret one");
    assert_eq!(listed[0].total_records, counted);
    for name in ["secret", "nowhere"] {
        let denied = info(&mut student, from(name)).await.expect_err("not granted");
        assert_eq!(denied.code(), Code::PermissionDenied);
        let words = format!("there is no collection `{name}`, or you have no role on it");
        assert_eq!(denied.message(), words);
    }
    let mut astronomer = FlightServiceClient::new(as_astronomer(&server).await);
    let all = info(&mut astronomer, from("sky")).await.expect("told").total_records;
    assert_eq!(all, super::served::OBJECTS);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_is_written_over_nothing_that_is_hidden() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_objects(folder.path()).await;
    let mut student = FlightServiceClient::new(as_student(&server).await);
    let column = |values: [f64; 3]| {
        std::sync::Arc::new(arrow::array::Float64Array::from(values.to_vec())) as ArrayRef
    };
    let rows = arrow::array::Int64Array::from(vec![33, 34, 1_000]);
    let table = RecordBatch::try_from_iter([
        ("object_id", std::sync::Arc::new(rows) as ArrayRef),
        ("ra", column([1.0, 2.0, 3.0])),
        ("dec", column([1.0, 2.0, 3.0])),
    ]);
    let ingest = FlightIngest { collection: "sky".to_owned(), ..FlightIngest::default() };
    let descriptor = FlightDescriptor::new_cmd(command(Command::Ingest(ingest)));
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
    let batches = futures::stream::iter([Ok(table.expect("a table"))]);
    let messages: Vec<_> = encoder.build(batches).try_collect().await.expect("messages");
    let answers = student.do_put(futures::stream::iter(messages)).await.expect("taken");
    let answers: Vec<_> = answers.into_inner().collect().await;
    let answer = answers.into_iter().next().expect("one").expect("an answer");
    let answer = FlightIngestResult::decode(answer.app_metadata).expect("a result");
    let batch = answer.batch.expect("of a batch");
    assert_eq!((batch.inserted, batch.replaced, batch.refused.len()), (1, 1, 1));
    assert_eq!(batch.refused[0].row, 1);
    assert_eq!(batch.refused[0].reason, "this id is taken: choose another");
    server.stop().await;
}
