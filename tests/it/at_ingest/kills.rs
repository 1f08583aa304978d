//! Encoders and servers that die: nothing is lost, and it is told meanwhile.

use std::path::Path;

use sidereus::encoder::{EncoderHandle, EncoderOptions};
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::{
    ColumnType, CreateCollectionRequest, EncodeCollectionRequest, IngestBatch, IngestMode,
};

use super::*;
use crate::crash::Server;
use crate::support::{batch_message, column, open_message};

const MODEL: &str = "photometry-mm";
const BANDS: [&str; 5] = ["u", "g", "r", "i", "z"];

/// Fluxes that are like no other object's.
fn observed(id: i64) -> Object {
    let mut object = object(id, id as f64 % 360.0, 10.0);
    for (place, band) in BANDS.iter().enumerate() {
        let flux = 1.0 + ((id * 7_919 + place as i64 * 104_729) % 9_973) as f64 / 100.0;
        object.columns.insert(format!("flux_{band}"), real(flux));
        object.columns.insert(format!("ivar_{band}"), real(10.0 / flux));
    }
    object
}

fn observed_schema() -> CollectionSchema {
    let mut schema = schema(NAME);
    schema.columns.retain(|column| !column.name.starts_with("flux_"));
    for band in BANDS {
        schema.columns.push(column(&format!("flux_{band}"), ColumnType::Float64));
        schema.columns.push(column(&format!("ivar_{band}"), ColumnType::Float64));
    }
    schema.spaces.push(made("arriving", MODEL, "photometry", 64));
    schema
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_those_of_a_job_though_the_encoder_is_killed_again_and_again() {
    const OBJECTS: i64 = 1_200;
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().join("models");
    std::fs::create_dir(&models).expect("a folder");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/models").join(MODEL);
    std::os::unix::fs::symlink(model, models.join(MODEL)).expect("a link");
    let encoder = EncoderHandle::spawn(EncoderOptions {
        device: "cpu".to_owned(),
        threads: 1,
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(5),
        ..EncoderOptions::new(env!("CARGO_BIN_EXE_sidereus-encoder").into(), models)
    });
    let data = folder.path().join("data");
    let server = TestServer::start_with(&data, Some(encoder.clone()), |options| {
        options.limits.encode_batch = 32;
    })
    .await;
    server.create(observed_schema()).await.expect("created");
    let mut killed = None;
    for part in 0..6 {
        let from = part * OBJECTS / 6;
        server.write(NAME, (from..from + OBJECTS / 6).map(observed).collect()).await;
        let began = Instant::now();
        let pid = loop {
            match encoder.pid() {
                Some(pid) if killed != Some(pid) => break pid,
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
            assert!(began.elapsed() < PATIENCE, "no encoder is started again");
        };
        // Somewhere between reading, encoding and writing.
        tokio::time::sleep(Duration::from_millis(7 * part as u64)).await;
        let kill = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        assert!(kill.expect("kill runs").success());
        killed = Some(pid);
    }
    assert_eq!(done(&server, "arriving").await, (0, 0));
    let job = EncodeCollectionRequest {
        collection: NAME.to_owned(),
        model: MODEL.to_owned(),
        space: "asked".to_owned(),
        ..EncodeCollectionRequest::default()
    };
    let mut steps = server.maintenance().await.encode_collection(job).await.expect("begins");
    while steps.get_mut().message().await.expect("goes on").is_some() {}
    let ids: Vec<i64> = (0..OBJECTS).collect();
    let arrived = vectors(&server, "arriving", &ids).await;
    let asked = vectors(&server, "asked", &ids).await;
    assert_eq!((arrived.len(), asked.len()), (ids.len(), ids.len()));
    for id in ids {
        let pairs = arrived[&id].iter().zip(&asked[&id]);
        let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference <= 1e-5, "{id}: {difference}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_is_down_is_told_and_asked_again() {
    let (_folder, server, controls) = server().await;
    server.create(filled()).await.expect("created");
    controls.failures.store(3, Ordering::SeqCst);
    let began = Instant::now();
    server.write(NAME, (0..100).map(|id| with_fluxes(id, id as f64, 1.0)).collect()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waits for the encoder");
    let told = until(&server, "colours", |told| !told.paused.is_empty()).await;
    assert!(told.paused.contains("trying again"), "{told:?}");
    assert_eq!(told.failed, 0, "what the encoder does not answer has not failed");
    let told = until(&server, "colours", |told| told.waiting == 0).await;
    assert_eq!(told.failed, 0);
    until(&server, "colours", |told| told.paused.is_empty()).await;
    assert_eq!(controls.failures.load(Ordering::SeqCst), 0);
    assert_eq!(encoded(&controls), 100);
    // A model that is another one now fills no space of the old one.
    controls.weights.store(1, Ordering::SeqCst);
    server.write(NAME, vec![with_fluxes(200, 1.0, 1.0)]).await;
    let told = until(&server, "colours", |told| !told.paused.is_empty()).await;
    assert!(told.paused.contains("restore the model"), "{told:?}");
    assert!(vectors(&server, "colours", &[200]).await.is_empty());
    controls.weights.store(0, Ordering::SeqCst);
    assert_eq!(done(&server, "colours").await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_goes_on_with_what_lacks_a_vector() {
    const OBJECTS: i64 = 900;
    let folder = tempfile::tempdir().expect("a folder");
    let (address, controls) = fake_encoder::serve().await;
    let config = folder.path().join("sidereus.toml");
    let settings = format!(
        "version = 1\n[encoder]\naddresses = [\"{address}\"]\n[limits]\nencode_batch = 16\n"
    );
    std::fs::write(&config, settings).expect("written");
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &config);
    controls.delay_ms.store(10, Ordering::SeqCst);
    for part in 0..3 {
        let connect = CollectionServiceClient::connect(server.address.clone()).await;
        let mut collections = connect.expect("connects");
        if part == 0 {
            let request = CreateCollectionRequest { schema: Some(filled()) };
            collections.create_collection(request).await.expect("created");
        }
        let ids = part * OBJECTS / 3..(part + 1) * OBJECTS / 3;
        let objects = ids.map(|id| with_fluxes(id, id as f64, 0.5)).collect();
        let batch = IngestBatch { objects, ..IngestBatch::default() };
        let messages = [open_message(NAME, IngestMode::Unspecified), batch_message(batch)];
        let mut client =
            ObjectServiceClient::connect(server.address.clone()).await.expect("connects");
        let answers = client.ingest(tokio_stream::iter(messages)).await.expect("begins");
        let answer = answers.into_inner().message().await.expect("goes on").expect("an answer");
        assert_eq!((answer.inserted, answer.refused.len()), (OBJECTS as u64 / 3, 0));
        tokio::time::sleep(Duration::from_millis(60)).await;
        let filled = shown(collections).await.vector_counts["colours"];
        assert!(filled < (part + 1) as u64 * OBJECTS as u64 / 3, "there is something left to do");
        server.kill();
        server = Server::start(&data, &config);
    }
    let began = Instant::now();
    loop {
        let connect = CollectionServiceClient::connect(server.address.clone()).await;
        let collection = shown(connect.expect("connects")).await;
        if collection.vector_counts["colours"] == OBJECTS as u64 {
            assert_eq!(collection.encoding["colours"].waiting, 0);
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{:?}", collection.encoding);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lost = encoded(&controls) as i64 - OBJECTS;
    assert!((0..=3 * 16).contains(&lost), "{lost}: each kill costs a page at most");
    let mut client = ObjectServiceClient::connect(server.address.clone()).await.expect("connects");
    let ids = (0..OBJECTS).map(number).collect();
    let request = GetObjectsRequest {
        collection: NAME.to_owned(),
        ids,
        with_vectors: true,
        release: String::new(),
    };
    let found = client.get_objects(request).await.expect("read").into_inner().objects;
    assert_eq!(found.len(), OBJECTS as usize);
    for object in found {
        let id = id_of(object.id.as_ref());
        assert_eq!(object.vectors["colours"].values, [id as f32, 0.5, 1.0]);
    }
}
