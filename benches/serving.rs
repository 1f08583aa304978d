//! The encoder as it is asked by a database: single requests that share batches, and searches while a collection is encoded.
//!
//! Run with `cargo bench --bench serving` on a quiet machine. It starts the real encoder program with the small model of the
//! repository and a real server, and prints medians of rounds that alternate; the two sides of a ratio are of one run.

#![allow(missing_docs, reason = "a program")]

#[path = "../tests/harness/made.rs"]
mod made;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sidereus::encoder::{EncoderHandle, EncoderOptions};
use sidereus::engine::{Db, DbOptions, Write, WriteMode};
use sidereus::schema::{CollectionSchema, Column, ColumnType, Object, ObjectId, Value};
use sidereus::service::{Server, ServiceOptions};
use sidereus::sky::{Degrees, Position};
use sidereus::vector::Metric;
use sidereus::wire::v1::maintenance_service_client::MaintenanceServiceClient;
use sidereus::wire::v1::payload::Content;
use sidereus::wire::v1::search_service_client::SearchServiceClient;
use sidereus::wire::v1::{
    EncodeCollectionRequest, NamedValues, Payload, SearchRequest, Vector, VectorTerm,
};
use tokio_util::sync::CancellationToken;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sidereus-encoder");
const MODEL: &str = "photometry-mm";
const BANDS: [&str; 5] = ["u", "g", "r", "i", "z"];

/// Clients that ask at once, and how long they do.
const CLIENTS: usize = 64;
const ROUND: Duration = Duration::from_secs(4);
const ROUNDS: usize = 5;

/// Objects of the collection, components of their vectors, and searches in a second.
const OBJECTS: i64 = 200_000;
const DIMENSION: usize = 64;
const CENTRES: i64 = 50;
const SEARCHES_PER_S: u64 = 100;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/models")
}

fn payload(number: usize) -> Payload {
    let flux = |place: usize| 1.0 + ((number * 31 + place * 17) % 97) as f64;
    let pairs = BANDS.iter().enumerate().flat_map(|(place, band)| {
        [(format!("flux_{band}"), flux(place)), (format!("ivar_{band}"), 4.0)]
    });
    let values: HashMap<String, f64> = pairs.collect();
    Payload { modality: String::new(), content: Some(Content::Row(NamedValues { values })) }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Only the small model, so that nothing else is loaded.
fn operator() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(models().join(MODEL), directory.path().join(MODEL)).expect("a link");
    directory
}

fn encoder(directory: &Path, rows_max: usize) -> EncoderHandle {
    let mut options = EncoderOptions::new(PROGRAM.into(), directory.to_owned());
    "cpu".clone_into(&mut options.device);
    options.batch.rows_max = rows_max;
    EncoderHandle::spawn(options)
}

/// Requests of one input a second, from clients that ask again as soon as they have their answer.
async fn requests_per_s(handle: &EncoderHandle, clients: usize) -> f64 {
    let began = Instant::now();
    let client = |number: usize| {
        let handle = handle.clone();
        async move {
            let mut answered = 0_u64;
            while began.elapsed() < ROUND {
                handle.encode(MODEL, "", vec![payload(number)]).await.expect("a vector");
                answered += 1;
            }
            answered
        }
    };
    let answered = futures::future::join_all((0..clients).map(client)).await;
    answered.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64()
}

async fn batching() {
    let directory = operator();
    let (alone, together) = (encoder(directory.path(), 1), encoder(directory.path(), CLIENTS));
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        rates[0].push(requests_per_s(&alone, 1).await);
        rates[1].push(requests_per_s(&alone, CLIENTS).await);
        rates[2].push(requests_per_s(&together, CLIENTS).await);
    }
    let [one, unbatched, batched] = rates.each_mut().map(|rates| median(rates));
    println!("single requests to {MODEL}, medians of {ROUNDS} rounds of {} s", ROUND.as_secs());
    println!("  1 client, batches of 1            {one:>8.0}/s");
    println!("  {CLIENTS} clients, batches of 1           {unbatched:>8.0}/s");
    println!("  {CLIENTS} clients, batches of up to {CLIENTS}    {batched:>8.0}/s");
    println!("  together / alone                  {:>8.1}", batched / unbatched);
    println!("  together / one client             {:>8.1}", batched / one);
}

/// Numbers without a pattern, the same in every run.
fn scattered(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

/// A vector near one of the centres.
fn vector(centre: f64, state: &mut u64) -> Vec<f32> {
    let at = |place: usize| (centre * (place as f64 + 1.0)).sin();
    (0..DIMENSION).map(|place| (at(place) + 0.3 * scattered(state)) as f32).collect()
}

fn collection(db: &Db) {
    let names = BANDS.iter().flat_map(|band| [format!("flux_{band}"), format!("ivar_{band}")]);
    let columns = names.map(|name| Column::new(&name, ColumnType::Float64)).collect();
    let spaces = vec![made::space("given", DIMENSION, Metric::Cosine)];
    let schema = CollectionSchema { columns, ..made::schema("sky", &[], spaces) };
    let info = db.create_collection(schema).expect("made");
    let space = info.schema.space("given").expect("there").id;
    let mut state = 7;
    let rows: Vec<Write> = (0..OBJECTS)
        .map(|id| {
            let (ra, dec) = (scattered(&mut state) * 360.0, scattered(&mut state) * 170.0 - 85.0);
            let vector = vector((id % CENTRES) as f64, &mut state);
            let columns =
                (0..10).map(|_| Value::Float64(1.0 + 50.0 * scattered(&mut state))).collect();
            Write::Put(Object {
                id: ObjectId::Number(id),
                position: Position::new(Degrees(ra), Degrees(dec)).expect("on the sphere"),
                columns,
                vectors: vec![(space, vector)],
            })
        })
        .collect();
    for part in rows.chunks(50_000) {
        db.write("sky", WriteMode::Bulk, part.to_vec()).expect("written");
    }
    db.build_index("sky", &mut |_, _, _| {}).expect("built");
}

/// Times in milliseconds of searches that begin at fixed moments, for as long as told.
async fn search_times(address: SocketAddr, length: Duration, state: &mut u64) -> Vec<f64> {
    let client = SearchServiceClient::connect(format!("http://{address}")).await.expect("connects");
    let every = Duration::from_micros(1_000_000 / SEARCHES_PER_S);
    let count = (length.as_micros() / every.as_micros()) as u32;
    let began = tokio::time::Instant::now();
    let mut searches = Vec::new();
    for number in 0..count {
        tokio::time::sleep_until(began + every * number).await;
        let centre = (scattered(state) * CENTRES as f64).floor();
        let values = vector(centre, state);
        let request = SearchRequest {
            collection: "sky".to_owned(),
            terms: vec![VectorTerm {
                space: "given".to_owned(),
                vectors: vec![Vector { values }],
                ..VectorTerm::default()
            }],
            k: 10,
            ..SearchRequest::default()
        };
        let mut client = client.clone();
        searches.push(tokio::spawn(async move {
            let sent = Instant::now();
            let mut hits = client.search(request).await.expect("an answer").into_inner();
            while hits.message().await.expect("a chunk").is_some() {}
            sent.elapsed().as_secs_f64() * 1e3
        }));
    }
    let mut times = Vec::with_capacity(searches.len());
    for search in searches {
        times.push(search.await.expect("no panic"));
    }
    times.sort_by(f64::total_cmp);
    times
}

async fn searches_beside() {
    let (data, directory) = (tempfile::tempdir().expect("a folder"), operator());
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(data.path()) };
    let db = Db::open(options).expect("opens");
    collection(&db);
    let options = ServiceOptions::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    let handle = encoder(directory.path(), 32);
    let server = Server::bind(options, db, Some(handle)).await.expect("a port");
    let (address, stop) = (server.address(), CancellationToken::new());
    let serving = tokio::spawn(server.serve(stop.clone()));
    let mut state = 11;
    search_times(address, Duration::from_secs(2), &mut state).await;
    let (mut quiet, mut busy) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut encoded = 0;
    for round in 0..ROUNDS {
        let at = |times: &[f64], share: f64| times[(times.len() as f64 * share) as usize];
        let times = search_times(address, ROUND, &mut state).await;
        quiet[0].push(at(&times, 0.5));
        quiet[1].push(at(&times, 0.99));
        let mut client =
            MaintenanceServiceClient::connect(format!("http://{address}")).await.expect("connects");
        // A part of the sky for each round, so that there is always something to encode.
        let request = EncodeCollectionRequest {
            collection: "sky".to_owned(),
            model: MODEL.to_owned(),
            space: "made".to_owned(),
            predicate: format!("object_id % {ROUNDS} = {round}"),
            ..EncodeCollectionRequest::default()
        };
        let mut job = client.encode_collection(request).await.expect("begins").into_inner();
        job.message().await.expect("the first message");
        let job = tokio::spawn(async move {
            let mut encoded = 0;
            while let Ok(Some(progress)) = job.message().await {
                encoded = progress.encoded;
            }
            encoded
        });
        let times = search_times(address, ROUND, &mut state).await;
        assert!(!job.is_finished(), "the job ended before the searches did");
        busy[0].push(at(&times, 0.5));
        busy[1].push(at(&times, 0.99));
        encoded += job.await.expect("no panic");
    }
    stop.cancel();
    let _ended = serving.await;
    let [quiet50, quiet99] = quiet.each_mut().map(|times| median(times));
    let [busy50, busy99] = busy.each_mut().map(|times| median(times));
    println!("\n{SEARCHES_PER_S} searches/s of {OBJECTS} objects, medians of {ROUNDS} rounds, ms");
    println!("                    p50      p99");
    println!("  quiet        {quiet50:>8.2} {quiet99:>8.2}");
    println!("  encoding     {busy50:>8.2} {busy99:>8.2}   ({encoded} objects encoded)");
    println!("  ratio        {:>8.2} {:>8.2}", busy50 / quiet50, busy99 / quiet99);
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        batching().await;
        searches_beside().await;
    });
}
