//! Each limit, met and named.

use std::collections::HashMap;

use arrow_flight::Ticket;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use sidereus::wire::v1::discovery_service_client::DiscoveryServiceClient;
use sidereus::wire::v1::flight_command::Command;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::search_service_client::SearchServiceClient;
use sidereus::wire::v1::{
    CellList, FindOutliersRequest, FlightCommand, FlightExport, GetObjectsRequest, IngestBatch,
    IngestMode, Moc, Polygon, Position, SearchRequest, VectorTerm, moc, region,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{count, filled, from, is_by, retry_after_ms};
use crate::support::{
    TestServer, galaxy, in_region, near, number, object, open_message, real, vector,
};

async fn search(server: &TestServer, request: SearchRequest) -> Status {
    server.search(request).await.expect_err("refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_of_requests_are_refused_by_the_names_of_their_limits() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), 10, |options| {
        let limits = &mut options.limits;
        (limits.k_max, limits.terms_max, limits.examples_max, limits.ids_max) = (5, 2, 3, 4);
        (limits.predicate_bytes_max, limits.polygon_vertices_max) = (20, 4);
        (limits.cells_max, limits.moc_bytes_max, limits.batch_rows_max) = (2, 20, 20);
    })
    .await;
    let ask = || near("galaxies", &[1.0, 0.0, 1.0], 3);
    let region = |shape| SearchRequest { region: in_region(shape), ..ask() };
    let at = |ra: f64| Position { ra, dec: 0.0 };
    let polygon = Polygon { vertices: (0..5).map(|place| at(f64::from(place))).collect() };
    let cells = CellList { order: 3, cells: vec![1, 2, 3] };
    let moc = Moc { form: Some(moc::Form::Ascii("3/1-20 4/400-500 5/3000-4000".to_owned())) };
    let term = |count: usize| VectorTerm {
        space: "v".to_owned(),
        vectors: vec![vector(&[1.0, 0.0, 1.0]); count],
        ..VectorTerm::default()
    };
    let refused = [
        ("limits.k", SearchRequest { k: 6, ..ask() }),
        ("limits.terms", SearchRequest { terms: vec![term(1), term(1), term(1)], ..ask() }),
        ("limits.examples", SearchRequest { terms: vec![term(4)], ..ask() }),
        (
            "limits.predicate_bytes",
            SearchRequest { predicate: "z > 0.0000000000000001".to_owned(), ..ask() },
        ),
        ("limits.polygon_vertices", region(region::Shape::Polygon(polygon))),
        ("limits.cells", region(region::Shape::Cells(cells))),
        ("limits.moc_bytes", region(region::Shape::Moc(moc))),
    ];
    for (limit, request) in refused {
        let status = search(&server, request).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(&format!("`{limit}`")), "{limit}: {}", status.message());
    }
    let ids = (0..5).map(number).collect();
    let get = GetObjectsRequest {
        collection: "galaxies".to_owned(),
        ids,
        with_vectors: false,
        release: String::new(),
    };
    let status = server.objects().await.get_objects(get).await.expect_err("five ids");
    assert!(status.message().contains("`limits.ids`"), "{}", status.message());
    let objects = (0..21).map(|id| object(id, 1.0, 1.0)).collect();
    let batch = IngestBatch { objects, ..IngestBatch::default() };
    let (_, failure) = server.ingest("galaxies", IngestMode::Unspecified, vec![batch]).await;
    let status = failure.expect("21 rows");
    assert!(status.message().contains("`limits.batch_rows`"), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_of_each_caller_and_say_when_to_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), 200, |options| {
        let quota = &mut options.quotas.default;
        (quota.requests_per_s, quota.requests_burst) = (2, 5);
        (quota.calls_at_once, quota.rows_per_day) = (3, 100);
        (quota.bytes_in_per_min, quota.bytes_out_per_min) = (4 << 20, 1 << 20);
    })
    .await;
    let (adam, eve) = (from(&server, 2).await, from(&server, 3).await);
    let mut refused = None;
    for _ in 0..20 {
        refused = count(&adam, "galaxies", "").await.err().or(refused);
    }
    let status = refused.expect("twenty at once");
    assert!(is_by(&status, "quotas.requests_per_s"), "{status:?}");
    assert!((1..=600).contains(&retry_after_ms(&status)), "{status:?}");
    assert!(!status.details().is_empty(), "the details tell it, too");
    assert_eq!(count(&eve, "galaxies", "").await.expect("another"), 200);

    // Calls that stay open.
    let cain = from(&server, 4).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let (sender, receiver) = mpsc::channel(1);
        sender.send(open_message("galaxies", IngestMode::Unspecified)).await.expect("open");
        let mut client = ObjectServiceClient::new(cain.clone());
        let answers = client.ingest(ReceiverStream::new(receiver)).await.expect("begins");
        open.push((sender, answers));
    }
    let status = count(&cain, "galaxies", "").await.expect_err("a fourth");
    assert!(is_by(&status, "quotas.calls_at_once"), "{status:?}");
    drop(open);
    let began = std::time::Instant::now();
    while count(&cain, "galaxies", "").await.is_err() {
        assert!(began.elapsed().as_secs() < 5, "calls that ended are given back");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    // Rows, which are counted when they have been given.
    let abel = SearchServiceClient::new(from(&server, 5).await);
    let rows = |k: u32| {
        let mut client = abel.clone();
        async move {
            let mut answer =
                client.search(near("galaxies", &[1.0, 0.0, 1.0], k)).await?.into_inner();
            while answer.message().await?.is_some() {}
            Ok::<_, Status>(())
        }
    };
    rows(60).await.expect("within the day's");
    rows(60).await.expect("begins within them");
    let status = rows(1).await.expect_err("the day's are given");
    assert!(is_by(&status, "quotas.rows_per_day"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_end_end_with_the_rows_of_the_day_and_writing_takes_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), 200, |options| {
        options.quotas.default.rows_per_day = 150;
    })
    .await;
    // More than are given in a day, and again.
    let objects = (200..400).map(|id| galaxy(id, id as f64 % 360.0, 10.0)).collect();
    server.write("galaxies", objects).await;

    let mut flight = FlightServiceClient::new(from(&server, 2).await);
    let export = FlightExport { collection: "galaxies".to_owned(), ..FlightExport::default() };
    let command = FlightCommand { command: Some(Command::Export(export)) };
    let answer = flight.do_get(Ticket::new(command.encode_to_vec())).await.expect("begins");
    let messages = answer.into_inner().map_err(FlightError::from);
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
    let mut rows = 0;
    let end = loop {
        match batches.next().await {
            Some(Ok(batch)) => rows += batch.num_rows(),
            Some(Err(FlightError::Tonic(status))) => break *status,
            other => panic!("an export of more than there are left: {other:?}"),
        }
    };
    assert!(is_by(&end, "quotas.rows_per_day"), "{end:?}");
    assert_eq!(rows, 150);

    let mut discovery = DiscoveryServiceClient::new(from(&server, 3).await);
    let asked = FindOutliersRequest {
        collection: "galaxies".to_owned(),
        space: "v".to_owned(),
        ..FindOutliersRequest::default()
    };
    let mut answer = discovery.find_outliers(asked).await.expect("begins").into_inner();
    let mut scores = 0;
    let end = loop {
        match answer.message().await {
            Ok(Some(message)) => scores += message.scores.len(),
            Ok(None) => panic!("all {scores} scores"),
            Err(status) => break status,
        }
    };
    assert!(is_by(&end, "quotas.rows_per_day"), "{end:?}");
    assert_eq!(scores, 150);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_requests_and_answers_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), 3_000, |options| {
        let quota = &mut options.quotas.default;
        (quota.bytes_in_per_min, quota.bytes_out_per_min) = (8 << 20, 64 << 10);
    })
    .await;
    let reader = from(&server, 2).await;
    let mut client = SearchServiceClient::new(reader.clone());
    let mut answer =
        client.search(near("galaxies", &[1.0, 0.0, 1.0], 3_000)).await.expect("found").into_inner();
    while answer.message().await.expect("a message").is_some() {}
    let status = count(&reader, "galaxies", "").await.expect_err("it has read enough");
    assert!(is_by(&status, "quotas.mib_out_per_min"), "{status:?}");
    let writer = from(&server, 3).await;
    let mut client = ObjectServiceClient::new(writer.clone());
    let large = |id: i64| {
        let mut object = object(id, 1.0, 1.0);
        let text = "x".repeat(1 << 20);
        let value = crate::support::string(&text);
        object.columns = HashMap::from([("class".to_owned(), value), ("z".to_owned(), real(1.0))]);
        object
    };
    let objects = (0..9).map(large).collect();
    let batch = IngestBatch { objects, ..IngestBatch::default() };
    let messages =
        [open_message("galaxies", IngestMode::Unspecified), crate::support::batch_message(batch)];
    let answers = client.ingest(tokio_stream::iter(messages)).await.expect("begins");
    let mut answers = answers.into_inner();
    while let Ok(Some(_)) = answers.message().await {}
    let status = count(&writer, "galaxies", "").await.expect_err("it has sent enough");
    assert!(is_by(&status, "quotas.mib_in_per_min"), "{status:?}");
    assert!(retry_after_ms(&status) < 60_000);
    assert!(count(&from(&server, 4).await, "galaxies", "").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_needs_more_memory_than_there_is_is_refused_and_others_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), 20_000, |options| {
        options.admission.memory_bytes = Some(4 << 20);
    })
    .await;
    let status = search(&server, near("galaxies", &[1.0, 0.0, 1.0], 10_000)).await;
    assert!(is_by(&status, "admission.memory_mib"), "{status:?}");
    assert!(status.message().contains("fewer hits"), "{}", status.message());
    let (hits, _) = server.search(near("galaxies", &[1.0, 0.0, 1.0], 100)).await.expect("found");
    assert_eq!(hits.len(), 100);
}
