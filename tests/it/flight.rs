//! Arrow Flight against a real server: what comes out is what was written, in sky order, and what goes in is checked.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, Ticket};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use sidereus::wire::v1::flight_command::Command;
use sidereus::wire::v1::{
    Cone, FlightCommand, FlightExport, FlightIngest, FlightIngestResult, IngestMode, Metric,
    Position, Region, region,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::{MESSAGE_BYTES, TestServer, galaxy, in_region, object, schema, space, vector};

type Flight = FlightServiceClient<Channel>;

async fn flight(server: &TestServer) -> Flight {
    FlightServiceClient::new(server.channel().await).max_decoding_message_size(MESSAGE_BYTES)
}

fn export_of(export: FlightExport) -> Vec<u8> {
    FlightCommand { command: Some(Command::Export(export)) }.encode_to_vec()
}

fn ingest_of(ingest: FlightIngest) -> FlightDescriptor {
    let command = FlightCommand { command: Some(Command::Ingest(ingest)) };
    FlightDescriptor::new_cmd(command.encode_to_vec())
}

async fn get(flight: &mut Flight, ticket: Ticket) -> Result<Vec<RecordBatch>, Status> {
    let messages = flight.do_get(ticket).await?.into_inner();
    let batches =
        FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
    batches.try_collect().await.map_err(Status::from)
}

async fn export(flight: &mut Flight, export: FlightExport) -> Result<Vec<RecordBatch>, Status> {
    get(flight, Ticket::new(export_of(export))).await
}

async fn info(flight: &mut Flight, export: FlightExport) -> Result<FlightInfo, Status> {
    let descriptor = FlightDescriptor::new_cmd(export_of(export));
    Ok(flight.get_flight_info(descriptor).await?.into_inner())
}

async fn put(
    flight: &mut Flight,
    messages: Vec<FlightData>,
) -> (Vec<FlightIngestResult>, Option<Status>) {
    let mut answers = match flight.do_put(futures::stream::iter(messages)).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return (Vec::new(), Some(status)),
    };
    let mut results = Vec::new();
    loop {
        match answers.message().await {
            Ok(None) => return (results, None),
            Ok(Some(answer)) => {
                let result = FlightIngestResult::decode(answer.app_metadata);
                results.push(result.expect("an ingest result"));
            }
            Err(status) => return (results, Some(status)),
        }
    }
}

async fn encoded(descriptor: FlightDescriptor, batches: Vec<RecordBatch>) -> Vec<FlightData> {
    let batches = futures::stream::iter(batches.into_iter().map(Ok));
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
    encoder.build(batches).try_collect().await.expect("messages")
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let ids = batches.iter().map(|batch| batch["object_id"].as_primitive::<Int64Type>());
    ids.flat_map(|ids| ids.values().to_vec()).collect()
}

fn numbers(batches: &[RecordBatch], name: &str) -> Vec<f64> {
    let columns = batches.iter().map(|batch| batch[name].as_primitive::<Float64Type>());
    columns.flat_map(|column| column.values().to_vec()).collect()
}

/// A table in the layout of an ingest: `rows` objects from `first` on, with vectors of two components in `given`.
fn table(first: i64, rows: i64) -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let components = (0..rows).flat_map(|row| [3.0 * (first + row) as f32, 4.0]);
    let components: ArrayRef = Arc::new(components.collect::<Float32Array>());
    let vectors = FixedSizeListArray::try_new(item, 2, components, None).expect("vectors");
    let angle = |row: i64| ((first + row) as f64 * 137.507) % 360.0;
    RecordBatch::try_from_iter([
        ("object_id", Arc::new((first..first + rows).collect::<Int64Array>()) as ArrayRef),
        ("ra", Arc::new((0..rows).map(|row| Some(angle(row))).collect::<Float64Array>())),
        (
            "dec",
            Arc::new((0..rows).map(|row| Some(angle(row) / 4.1 - 44.0)).collect::<Float64Array>()),
        ),
        ("z", Arc::new((0..rows).map(|row| Some((first + row) as f64)).collect::<Float64Array>())),
        ("vector.given", Arc::new(vectors)),
    ])
    .expect("a table")
}

async fn with_given(server: &TestServer, name: &str) {
    let mut schema = schema(name);
    schema.spaces = vec![space("given", "image", 2, Metric::Cosine)];
    server.create(schema).await.expect("created");
}

fn to(collection: &str) -> FlightIngest {
    FlightIngest { collection: collection.to_owned(), ..FlightIngest::default() }
}

fn from(collection: &str) -> FlightExport {
    FlightExport { collection: collection.to_owned(), ..FlightExport::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_comes_out_along_the_sky_whatever_was_written_when() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(data.path()).await;
    with_given(&server, "sky").await;
    let mut flight = flight(&server).await;
    for (first, mode) in [(0, IngestMode::Bulk), (500, IngestMode::Unspecified)] {
        let descriptor = ingest_of(FlightIngest { mode: mode.into(), ..to("sky") });
        let messages = encoded(descriptor, vec![table(first, 250), table(first + 250, 250)]).await;
        let (results, failure) = put(&mut flight, messages).await;
        assert!(failure.is_none(), "{failure:?}");
        assert_eq!(results.iter().map(|result| result.batches_durable).collect::<Vec<_>>(), [1, 2]);
        let inserted = results.iter().map(|result| result.batch.as_ref().expect("it").inserted);
        assert_eq!(inserted.sum::<u64>(), 500);
        // One half lies in a segment, the other in the tail.
        if first == 0 {
            let db = server.db.clone();
            tokio::task::spawn_blocking(move || db.build_index("sky", &mut |_, _, _| {}))
                .await
                .expect("a thread")
                .expect("built");
        }
    }
    let all = FlightExport { spaces: vec!["given".to_owned()], ..from("sky") };
    let batches = export(&mut flight, all.clone()).await.expect("exported");
    let found = ids(&batches);
    assert_eq!(found.len(), 1_000);
    let z = numbers(&batches, "z");
    for (place, id) in found.iter().enumerate() {
        assert_eq!(z[place], *id as f64);
    }
    // As they were given, although searches in a cosine space keep them at unit length.
    let vectors: Vec<f32> = batches
        .iter()
        .flat_map(|batch| {
            let lists = batch["vector.given"].as_fixed_size_list();
            lists.values().as_primitive::<Float32Type>().values().to_vec()
        })
        .collect();
    for (place, id) in found.iter().enumerate() {
        assert_eq!(vectors[2 * place..2 * place + 2], [3.0 * *id as f32, 4.0]);
    }
    // Tickets for several readers are the same rows in the same order.
    let told = info(&mut flight, FlightExport { endpoints: 4, ..all }).await.expect("told");
    assert_eq!(told.total_records, 1_000);
    assert!(told.endpoint.len() > 1 && told.ordered);
    let mut joined = Vec::new();
    for endpoint in told.endpoint {
        let ticket = endpoint.ticket.expect("a ticket");
        joined.extend(ids(&get(&mut flight, ticket).await.expect("exported")));
    }
    assert_eq!(joined, found);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn region_and_predicate_choose_and_units_go_along() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(data.path()).await;
    let mut wanted = schema("sky");
    wanted.columns.iter_mut().filter(|column| column.name == "z").for_each(|column| {
        column.unit = "km/s".to_owned();
        column.ucd = "src.redshift".to_owned();
    });
    server.create(wanted).await.expect("created");
    let objects = (0..200).map(|id| galaxy(id, id as f64 * 0.1, 1.0)).collect();
    server.write("sky", objects).await;
    let mut flight = flight(&server).await;
    let centre = Some(Position { ra: 5.0, dec: 1.0 });
    let cone = in_region(region::Shape::Cone(Cone { centre, radius: 2.0 }));
    let asked = FlightExport {
        region: cone.clone(),
        predicate: "object_id >= 50".to_owned(),
        ..from("sky")
    };
    let batches = export(&mut flight, asked.clone()).await.expect("exported");
    let mut found = ids(&batches);
    found.sort_unstable();
    assert_eq!(found, (50..=70).collect::<Vec<_>>());
    let field = batches[0].schema().field_with_name("z").expect("z").clone();
    let expected: HashMap<_, _> = [("unit", "km/s"), ("ucd", "src.redshift")]
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .into();
    assert_eq!(field.metadata(), &expected);
    assert_eq!(info(&mut flight, asked).await.expect("told").total_records, 21);
    // Nothing but the position, and nothing at all.
    let bare = FlightExport { without_columns: true, ..from("sky") };
    let bare = export(&mut flight, bare).await.expect("exported");
    assert_eq!(bare[0].num_columns(), 3);
    let none = FlightExport { predicate: "object_id < 0".to_owned(), ..from("sky") };
    assert!(export(&mut flight, none).await.expect("exported").is_empty());
    let mut listed = flight.list_flights(Criteria::default()).await.expect("listed").into_inner();
    let listed = listed.message().await.expect("a flight").expect("a flight");
    assert_eq!(listed.total_records, 200);
    assert_eq!(listed.flight_descriptor.expect("its name").path, ["sky"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_in_words() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(data.path()).await;
    with_given(&server, "sky").await;
    server.write("sky", vec![object(1, 10.0, 10.0)]).await;
    let mut flight = flight(&server).await;
    let mut refused = Vec::new();
    for asked in [
        from("nothing"),
        from("sky@dr1"),
        FlightExport { predicate: "zz > 1".to_owned(), ..from("sky") },
        FlightExport { columns: vec!["zz".to_owned()], ..from("sky") },
        FlightExport { spaces: vec!["zz".to_owned()], ..from("sky") },
        FlightExport { region: Some(Region::default()), ..from("sky") },
    ] {
        refused.push(export(&mut flight, asked).await.expect_err("no sense"));
    }
    for bytes in [&b""[..], b"\xff\xff", b"\x12\x00"] {
        refused.push(get(&mut flight, Ticket::new(bytes)).await.expect_err("no command"));
    }
    let ingest = ingest_of(to("sky")).cmd;
    refused.push(get(&mut flight, Ticket::new(ingest)).await.expect_err("no export"));
    refused.push(
        info(&mut flight, FlightExport { endpoints: 1_000, ..from("sky") })
            .await
            .expect_err("too many"),
    );
    for status in refused {
        let code = status.code();
        assert!(matches!(code, Code::InvalidArgument | Code::NotFound), "{status:?}");
        assert!(status.message().len() > 10, "{status:?}");
    }
    let action = flight.do_action(Action::new("Cancel", "")).await.expect_err("no actions");
    assert_eq!(action.code(), Code::Unimplemented);
    assert!(flight.list_actions(Empty {}).await.is_ok());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_named_and_bad_streams_end_after_what_was_written() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(data.path()).await;
    with_given(&server, "sky").await;
    let mut flight = flight(&server).await;
    // A row beyond the pole, in the second of two batches that go on at number 7.
    let bad = table(10, 3);
    let columns: Vec<ArrayRef> = bad
        .columns()
        .iter()
        .enumerate()
        .map(|(place, column)| match place {
            2 => Arc::new(Float64Array::from(vec![0.0, 91.0, 0.0])) as ArrayRef,
            _ => Arc::clone(column),
        })
        .collect();
    let bad = RecordBatch::try_new(bad.schema(), columns).expect("a table");
    let descriptor = ingest_of(FlightIngest { batches_durable: 7, ..to("sky") });
    let messages = encoded(descriptor, vec![table(0, 5), bad]).await;
    let (results, failure) = put(&mut flight, messages.clone()).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(results.iter().map(|result| result.batches_durable).collect::<Vec<_>>(), [8, 9]);
    let refused = &results[1].batch.as_ref().expect("an answer").refused;
    assert_eq!((refused.len(), refused[0].row, refused[0].object_id.as_str()), (1, 1, "11"));
    assert!(refused[0].reason.contains("91"), "{refused:?}");

    // A number that cannot be counted on from.
    let last = ingest_of(FlightIngest { batches_durable: u64::MAX - 1, ..to("sky") });
    let (results, failure) = put(&mut flight, encoded(last, vec![table(0, 1); 3]).await).await;
    assert_eq!(results.iter().map(|result| result.batches_durable).collect::<Vec<_>>(), [u64::MAX]);
    assert_eq!(failure.expect("no number is left").code(), Code::InvalidArgument);

    // A body that is cut off, one of another schema, no schema, no descriptor.
    let mut cut = messages.clone();
    let body = cut[2].data_body.slice(..cut[2].data_body.len() / 2);
    cut[2].data_body = body;
    let (results, failure) = put(&mut flight, cut).await;
    assert_eq!(results.len(), 1);
    assert_eq!(failure.expect("cut").code(), Code::InvalidArgument);
    let mut lies = messages.clone();
    lies[1].data_header = lies[1].data_header.slice(..40);
    let (_, failure) = put(&mut flight, lies).await;
    assert_eq!(failure.expect("lies").code(), Code::InvalidArgument);
    let mut headless = messages.clone();
    headless[1].flight_descriptor = headless[0].flight_descriptor.clone();
    let (_, failure) = put(&mut flight, headless.split_off(1)).await;
    assert!(failure.expect("no schema").message().contains("before the schema"));
    let (_, failure) = put(&mut flight, messages[1..].to_vec()).await;
    assert_eq!(failure.expect("no command").code(), Code::InvalidArgument);
    let (_, failure) = put(&mut flight, Vec::new()).await;
    assert_eq!(failure.expect("nothing").code(), Code::InvalidArgument);
    let other =
        RecordBatch::try_from_iter([("x", Arc::new(StringArray::from(vec!["a"])) as ArrayRef)]);
    let messages = encoded(ingest_of(to("sky")), vec![other.expect("a table")]).await;
    let (_, failure) = put(&mut flight, messages).await;
    assert!(failure.expect("no place").message().contains("`x`"));
    assert_eq!(server.count("sky", None, "").await.expect("counted"), 7);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_goes_stops_his_export_and_objects_without_a_vector_have_null() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(data.path()).await;
    with_given(&server, "sky").await;
    let mut with = object(1, 10.0, 10.0);
    with.vectors.insert("given".to_owned(), vector(&[1.0, 2.0]));
    server.write("sky", vec![with, object(2, 20.0, 10.0)]).await;
    let mut flight = flight(&server).await;
    let asked = FlightExport { spaces: vec!["given".to_owned()], ..from("sky") };
    let batches = export(&mut flight, asked.clone()).await.expect("exported");
    let lists = batches[0]["vector.given"].as_fixed_size_list();
    for (row, id) in ids(&batches).into_iter().enumerate() {
        assert_eq!(arrow::array::Array::is_null(lists, row), id == 2);
    }
    // More readers than exports may run at once, all of whom go at once: nobody waits for their places for ever.
    for _ in 0..24 {
        let mut stream = flight.do_get(Ticket::new(export_of(asked.clone()))).await.expect("begun");
        let _ = stream.get_mut().next().await;
    }
    assert_eq!(ids(&export(&mut flight, asked).await.expect("exported")).len(), 2);
    server.stop().await;
}
