//! `kill -9` during a job over a collection: of the encoder process, 50 times, and of the server. Every object gets its
//! vector, none is written twice, and searches go on meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use sidereus::encoder::{EncoderHandle, EncoderOptions};
use sidereus::storage::{Store, StoreOptions};
use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use sidereus::wire::v1::maintenance_service_client::MaintenanceServiceClient;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::{
    ColumnType, CreateCollectionRequest, EncodeCollectionRequest, EncodeCollectionResponse,
    GetCollectionRequest, GetObjectsRequest, IngestBatch, IngestMode, Object,
};
use tonic::transport::Channel;

use crate::crash::Server;
use crate::fake_encoder;
use crate::support::{
    TestServer, batch_message, column, galaxy, id_of, near, number, open_message, real, schema,
};

const MODEL: &str = "photometry-mm";
const BANDS: [&str; 5] = ["u", "g", "r", "i", "z"];
const KILLS: usize = 50;
const OBJECTS: i64 = 3_000;
const PAGE: usize = 4;

/// Numbers that are different in every run of the test program and the same in every run of a test.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// An object with a vector of its own in `v`, and fluxes that are like no other's.
fn observed(id: i64) -> Object {
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (id as u64 + 1));
    let mut object = galaxy(id, id as f64 * 0.1, 0.0);
    for band in BANDS {
        let flux = 1.0 + random.below(100_000) as f64 / 1_000.0;
        object.columns.insert(format!("flux_{band}"), real(flux));
        object.columns.insert(format!("ivar_{band}"), real(10.0 / flux));
    }
    object
}

fn observed_schema(name: &str) -> sidereus::wire::v1::CollectionSchema {
    let mut schema = schema(name);
    schema.columns.retain(|column| !column.name.starts_with("flux_"));
    for band in BANDS {
        schema.columns.push(column(&format!("flux_{band}"), ColumnType::Float64));
        schema.columns.push(column(&format!("ivar_{band}"), ColumnType::Float64));
    }
    schema
}

fn job(collection: &str, model: &str) -> EncodeCollectionRequest {
    EncodeCollectionRequest {
        collection: collection.to_owned(),
        model: model.to_owned(),
        space: "colours".to_owned(),
        ..EncodeCollectionRequest::default()
    }
}

/// Vectors of all objects in `colours`.
async fn vectors(
    mut objects: ObjectServiceClient<Channel>,
    collection: &str,
    count: i64,
) -> BTreeMap<i64, Vec<f32>> {
    let mut found = BTreeMap::new();
    for from in (0..count).step_by(1_000) {
        let ids = (from..count.min(from + 1_000)).map(number).collect();
        let request = GetObjectsRequest {
            collection: collection.to_owned(),
            ids,
            with_vectors: true,
            release: String::new(),
        };
        let reply = objects.get_objects(request).await.expect("read").into_inner();
        for mut object in reply.objects {
            let vector = object.vectors.remove("colours").expect("every object has a vector");
            found.insert(id_of(object.id.as_ref()), vector.values);
        }
    }
    found
}

/// Processes that serve the models of a directory, those included that are only starting.
fn serving(models: &Path) -> Vec<u32> {
    let models = models.to_str().expect("a plain name");
    let processes = std::fs::read_dir("/proc").expect("readable").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|pid| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<_> = words.split(|byte| *byte == 0).collect();
            words.contains(&b"serve".as_slice()) && words.contains(&models.as_bytes())
        })
        .collect()
}

/// Kills the process that serves, or starts to; waits for one when there is none. It is not `last`.
async fn kill_encoder(models: &Path, last: Option<u32>) -> u32 {
    let began = Instant::now();
    loop {
        if let Some(pid) = serving(models).into_iter().find(|pid| Some(*pid) != last) {
            let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
            if status.expect("kill runs").success() {
                return pid;
            }
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no encoder is started again");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a job to its end and calls `after` with every message.
async fn run(
    server: &TestServer,
    job: EncodeCollectionRequest,
    mut after: impl AsyncFnMut(&EncodeCollectionResponse),
) -> EncodeCollectionResponse {
    let mut client = server.maintenance().await;
    let mut stream = client.encode_collection(job).await.expect("begins").into_inner();
    let mut last = EncodeCollectionResponse::default();
    while let Some(step) = stream.next().await {
        let step = step.expect("the job goes on");
        assert!(step.failed.is_empty(), "{:?}", step.failed);
        after(&step).await;
        last = step;
    }
    last
}

/// Searches all the time; returns how often, when it is told to stop.
async fn search_on(server: Arc<TestServer>, stop: Arc<AtomicBool>) -> usize {
    let mut count = 0;
    while !stop.load(Ordering::SeqCst) {
        let wanted = (count as i64 * 37) % OBJECTS;
        let request = near("disturbed", &[wanted as f32, 0.0, 1.0], 3);
        let (hits, _) = server.search(request).await.expect("searches go on");
        assert_eq!(id_of(hits[0].id.as_ref()), wanted);
        count += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    count
}

/// How often every key of a collection was written.
fn writes(data: &Path, collection: &str) -> Vec<usize> {
    let began = Instant::now();
    let store = loop {
        match Store::open(data, StoreOptions::default()) {
            Ok(store) => break store,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(10), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let records = store.collections().expect("reads");
    let record = records.iter().find(|record| record.schema.name == collection).expect("is there");
    let mut counts: HashMap<_, usize> = HashMap::new();
    for (_, changes) in store.changes_since(record.id, 0).expect("all are kept") {
        for change in changes {
            *counts.entry(change.key).or_default() += 1;
        }
    }
    counts.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_of_the_encoder_cost_no_object_its_vector_and_write_none_twice() {
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
        ..EncoderOptions::new(env!("CARGO_BIN_EXE_sidereus-encoder").into(), models.clone())
    });
    let data = folder.path().join("data");
    let server = TestServer::start_with(&data, Some(encoder), |options| {
        options.limits.encode_batch = PAGE;
        options.limits.encode_retries_max = 200;
    })
    .await;
    let server = Arc::new(server);
    for name in ["calm", "disturbed"] {
        server.create(observed_schema(name)).await.expect("created");
        server.write(name, (0..OBJECTS).map(observed).collect()).await;
    }
    let calm = run(&server, job("calm", MODEL), async |_| ()).await;
    assert_eq!((calm.encoded, calm.skipped), (OBJECTS as u64, 0));

    let stop = Arc::new(AtomicBool::new(false));
    let searches = tokio::spawn(search_on(Arc::clone(&server), Arc::clone(&stop)));
    let mut random = Random(0x5EED);
    let mut places: Vec<u64> = (0..KILLS).map(|_| random.below(OBJECTS as u64 - 8)).collect();
    places.sort_unstable();
    let (mut kills, mut last) = (0, None);
    let disturbed = run(&server, job("disturbed", MODEL), async |step| {
        while places.get(kills).is_some_and(|place| *place <= step.encoded) {
            // Somewhere between reading, encoding and writing the next pages, or while the encoder starts.
            tokio::time::sleep(Duration::from_micros(random.below(12_000))).await;
            last = Some(kill_encoder(&models, last).await);
            kills += 1;
        }
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    let searched = searches.await.expect("no search failed");
    assert_eq!(kills, KILLS);
    assert!(searched > KILLS, "{searched} searches");
    let all = OBJECTS as u64;
    assert_eq!((disturbed.total, disturbed.encoded, disturbed.skipped), (all, all, 0));

    let expected = vectors(server.objects().await, "calm", OBJECTS).await;
    let found = vectors(server.objects().await, "disturbed", OBJECTS).await;
    assert_eq!((expected.len(), found.len()), (OBJECTS as usize, OBJECTS as usize));
    for (id, vector) in &found {
        let difference = vector.iter().zip(&expected[id]).map(|(a, b)| (a - b).abs());
        assert!(difference.fold(0.0, f32::max) <= 1e-6, "{id}");
    }
    let distinct: std::collections::HashSet<Vec<u32>> =
        found.values().map(|vector| vector.iter().map(|each| each.to_bits()).collect()).collect();
    assert_eq!(distinct.len(), OBJECTS as usize, "no two objects have the same vector");
    Arc::into_inner(server).expect("nobody else has it").stop().await;
    // The object itself, and its vector once.
    let writes = writes(&data, "disturbed");
    assert_eq!(writes.len(), OBJECTS as usize);
    assert!(writes.iter().all(|count| *count == 2), "{:?}", writes.iter().max());
}

const SERVER_KILLS: usize = 6;
const SERVER_OBJECTS: i64 = 1_200;
const SERVER_PAGE: u64 = 16;

/// Writes the objects through the server's own protocol.
async fn fill(address: &str) {
    let mut collections =
        CollectionServiceClient::connect(address.to_owned()).await.expect("connects");
    let request = CreateCollectionRequest { schema: Some(schema("galaxies")) };
    collections.create_collection(request).await.expect("created");
    let objects = (0..SERVER_OBJECTS).map(|id| {
        let mut object = galaxy(id, id as f64 * 0.1, 0.0);
        object.columns.insert("flux_g".to_owned(), real(id as f64));
        object.columns.insert("flux_r".to_owned(), real(0.5));
        object
    });
    let batch = IngestBatch { objects: objects.collect(), ..IngestBatch::default() };
    let messages = [open_message("galaxies", IngestMode::Unspecified), batch_message(batch)];
    let mut client = ObjectServiceClient::connect(address.to_owned()).await.expect("connects");
    let answers = client.ingest(tokio_stream::iter(messages)).await.expect("begins").into_inner();
    let answers: Vec<_> = answers.collect().await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|each| each.refused.is_empty())));
}

async fn stored(address: &str) -> u64 {
    let mut client = CollectionServiceClient::connect(address.to_owned()).await.expect("connects");
    let get = GetCollectionRequest { name: "galaxies".to_owned(), release: String::new() };
    let reply = client.get_collection(get).await.expect("shown").into_inner();
    let counts = reply.collection.expect("the collection").vector_counts;
    counts.get("colours").copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_at_most_one_page_of_a_job_and_goes_on_with_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let (address, controls) = fake_encoder::serve().await;
    let config = folder.path().join("sidereus.toml");
    let limits = format!("[limits]\nencode_batch = {SERVER_PAGE}\n");
    let settings = format!("version = 1\n[encoder]\naddresses = [\"{address}\"]\n{limits}");
    std::fs::write(&config, settings).expect("written");
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &config);
    fill(&server.address).await;
    let mut random = Random(0xFACE);
    let encoded = |controls: &fake_encoder::Controls| {
        AtomicUsize::load(&controls.encoded, Ordering::SeqCst) as u64
    };
    let mut lost = 0;
    for kill in 0..=SERVER_KILLS {
        let before = stored(&server.address).await;
        let computed = encoded(&controls);
        let mut client =
            MaintenanceServiceClient::connect(server.address.clone()).await.expect("connects");
        let begun = client.encode_collection(job("galaxies", "fluxes")).await.expect("begins");
        let mut steps = begun.into_inner();
        let after = 1 + random.below(6) * SERVER_PAGE;
        let (mut told, mut total) = (0, 0);
        while let Some(step) = steps.next().await {
            let Ok(step) = step else { break };
            (told, total) = (step.encoded, step.total);
            if kill < SERVER_KILLS && told >= after {
                tokio::time::sleep(Duration::from_micros(random.below(3_000))).await;
                server.kill();
                break;
            }
        }
        drop(steps);
        assert_eq!(total, SERVER_OBJECTS as u64 - before, "only what is missing is to be encoded");
        if kill == SERVER_KILLS {
            assert_eq!(told, total, "the last job is not disturbed");
            assert_eq!(encoded(&controls) - computed, total);
            break;
        }
        server = Server::start(&data, &config);
        let kept = stored(&server.address).await - before;
        let computed = encoded(&controls) - computed;
        assert!(kept >= told, "{kept} of {told} that were told are kept");
        assert!(kept.is_multiple_of(SERVER_PAGE), "{kept}: a page is there whole or not at all");
        assert!(computed - kept <= SERVER_PAGE, "{computed} were computed and {kept} kept");
        lost += computed - kept;
    }
    assert_eq!(
        encoded(&controls),
        SERVER_OBJECTS as u64 + lost,
        "nothing that was kept is encoded again"
    );
    let objects = ObjectServiceClient::connect(server.address.clone()).await.expect("connects");
    let found = vectors(objects, "galaxies", SERVER_OBJECTS).await;
    assert!(found.iter().all(|(id, vector)| vector[..] == [*id as f32, 0.5, 1.0]));
    assert_eq!(found.len(), SERVER_OBJECTS as usize);
}
