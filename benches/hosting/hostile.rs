//! A server in little memory, asked for the worst that its limits allow and for more, beside honest callers whose answers are
//! checked.
//!
//! Run with `cargo bench --bench hostile -- --minutes 5 --mib 512`. Where the machine lets it make a control group, the server is
//! confined to that much memory and killed beyond it; else its largest size is measured and compared.

#![allow(missing_docs, reason = "a program")]

mod server;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use server::{DIMENSION, ServerProcess, quantile, search_for, word};
use sidereus::wire::v1::search_service_client::SearchServiceClient;
use sidereus::wire::v1::{
    CellList, Moc, Polygon, Position, Region, SearchRequest, Vector, VectorTerm, moc, object_id,
    region,
};
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};

const ROWS: i64 = 50_000;
const HOSTILES: u8 = 4;
const EACH: usize = 8;

/// A control group with a limit of memory; gone when this is dropped.
struct Group(PathBuf);

impl Group {
    fn new(mib: f64) -> Option<Self> {
        let path = PathBuf::from(format!("/sys/fs/cgroup/sidereus-hostile-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let group = Self(path);
        let bytes = (mib as u64) << 20;
        fs::write(group.0.join("memory.max"), bytes.to_string()).ok()?;
        // Nothing is put off to a swap file.
        let _ = fs::write(group.0.join("memory.swap.max"), "0");
        Some(group)
    }

    fn take(&self, process: u32) -> bool {
        fs::write(self.0.join("cgroup.procs"), process.to_string()).is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// The worst requests, some of them within all limits.
fn hostile(number: usize) -> SearchRequest {
    let worst =
        SearchRequest { k: 10_000, with_vectors: true, ..search_for(number as i64 % ROWS, 1) };
    let term = |space: &str, dimension: usize| VectorTerm {
        space: space.to_owned(),
        vectors: vec![Vector { values: vec![0.5; dimension] }],
        ..VectorTerm::default()
    };
    let shape = |shape| Some(Region { shape: Some(shape) });
    let list = |count: usize| {
        let values: Vec<String> = (0..count).map(|value| value.to_string()).collect();
        format!("n IN ({})", values.join(","))
    };
    match number % 14 {
        0 => worst,
        1 => SearchRequest { predicate: list(10_000), ..worst },
        2 => SearchRequest { predicate: list(14_000), ..worst },
        3 => SearchRequest {
            predicate: format!("{}z > 1{}", "(".repeat(2_000), ")".repeat(2_000)),
            ..worst
        },
        4 => SearchRequest {
            predicate: format!("{}z > 1{}", "(".repeat(39), ")".repeat(39)),
            ..worst
        },
        5 => SearchRequest { predicate: format!("z > 0{}", " AND z > 0".repeat(240)), ..worst },
        6 => SearchRequest { terms: vec![term("v", DIMENSION); 16], ..worst },
        7 => SearchRequest { terms: vec![term("v", 1_000_000)], ..worst },
        8 => SearchRequest {
            terms: Vec::new(),
            order_by: "z".to_owned(),
            k: 10_000,
            exact: false,
            ..worst
        },
        9 => SearchRequest { k: 0, within: Some(1e9), ..worst },
        10 => {
            let moc = Moc { form: Some(moc::Form::Ascii("0/0-11".to_owned())) };
            SearchRequest { region: shape(region::Shape::Moc(moc)), ..worst }
        }
        11 => {
            let cells = CellList { order: 12, cells: (0..100_000).map(|cell| cell * 7).collect() };
            SearchRequest { region: shape(region::Shape::Cells(cells)), ..worst }
        }
        12 => {
            let at = |place: i32| {
                let angle = f64::from(place) * std::f64::consts::TAU / 1_000.0;
                Position { ra: 180.0 + 60.0 * angle.cos(), dec: 60.0 * angle.sin() }
            };
            let polygon = Polygon { vertices: (0..1_000).map(at).collect() };
            SearchRequest { region: shape(region::Shape::Polygon(polygon)), ..worst }
        }
        _ => SearchRequest {
            predicate: "name LIKE '%9%9%9%9%' OR sin(z) > cos(z * n)".to_owned(),
            ..worst
        },
    }
}

async fn read(channel: Channel, request: SearchRequest) -> Result<Vec<i64>, Status> {
    let client = SearchServiceClient::new(channel);
    let mut client =
        client.max_encoding_message_size(usize::MAX).max_decoding_message_size(usize::MAX);
    let mut answer = client.search(request).await?.into_inner();
    let mut ids = Vec::new();
    while let Some(chunk) = answer.message().await? {
        ids.extend(chunk.hits.iter().filter_map(|hit| match hit.id.as_ref()?.id.as_ref()? {
            object_id::Id::Number(number) => Some(*number),
            object_id::Id::Text(_) => None,
        }));
    }
    Ok(ids)
}

#[derive(Default)]
struct Tally {
    served: AtomicU64,
    refused: AtomicU64,
    invalid: AtomicU64,
    other: AtomicU64,
}

fn besiege(
    channel: &Channel,
    place: usize,
    stop: &Arc<AtomicBool>,
    tally: &Arc<Tally>,
) -> JoinHandle<()> {
    let (channel, stop, tally) = (channel.clone(), Arc::clone(stop), Arc::clone(tally));
    tokio::spawn(async move {
        for number in place.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let count = match read(channel.clone(), hostile(number))
                .await
                .map_err(|status| status.code())
            {
                Ok(_) => &tally.served,
                Err(Code::ResourceExhausted) => &tally.refused,
                Err(Code::InvalidArgument) => &tally.invalid,
                Err(_) => &tally.other,
            };
            count.fetch_add(1, Ordering::Relaxed);
            if number % 5 == 0 {
                // Some go away in the middle.
                let gone = read(channel.clone(), hostile(number + 1));
                let _ = tokio::time::timeout(Duration::from_millis(20), gone).await;
            }
        }
    })
}

async fn run() {
    let length = Duration::from_secs_f64(word("--minutes", 5.0) * 60.0);
    let mib = word("--mib", 512.0);
    let group = Group::new(mib);
    let mut confined = false;
    let settings = "[index]\nauto_rows = 0\nresident_mib = 64\n[storage]\ncache_mib = 32\nwrite_buffer_mib = 8\n\
                    [admission]\nmemory_mib = 128\n[limits]\nbatches_in_flight = 4\n";
    let mut server = ServerProcess::start(settings, |process| {
        confined = group.as_ref().is_some_and(|group| group.take(process));
    });
    server.fill(ROWS).await;
    let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
    let mut siege = Vec::new();
    for caller in 0..HOSTILES {
        let channel = server.connect(20 + caller).await;
        siege.extend(
            (0..EACH)
                .map(|place| besiege(&channel, place * 3 + usize::from(caller), &stop, &tally)),
        );
    }
    let honest = server.connect(10).await;
    let (mut times, mut refused, mut wrong) = (Vec::new(), 0, 0);
    let began = Instant::now();
    for number in 0_i64.. {
        if began.elapsed() >= length || !server.lives() {
            break;
        }
        let id = 10 + number * 7_919 % (ROWS - 20);
        let sent = Instant::now();
        match read(honest.clone(), search_for(id, 3)).await {
            // The first component alone tells the nearest: the neighbours are one away.
            Ok(ids) => {
                times.push(sent.elapsed());
                wrong += u64::from(ids.first() != Some(&id) || ids.len() != 3);
            }
            Err(_) => refused += 1,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let lives = server.lives();
    for task in siege {
        task.abort();
    }
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let kept = if confined { "a control group" } else { "measurement alone" };
    println!(
        "{HOSTILES} x {EACH} hostile callers for {:.1} min, {mib:.0} MiB by {kept}",
        length.as_secs_f64() / 60.0
    );
    println!(
        "hostile: {} served, {} refused for now, {} refused as invalid, {} otherwise",
        of(&tally.served),
        of(&tally.refused),
        of(&tally.invalid),
        of(&tally.other)
    );
    println!(
        "honest: {} served, {refused} refused, {wrong} wrong; p50 {:.1} ms, p99 {:.1} ms",
        times.len(),
        quantile(&mut times, 0.5),
        quantile(&mut times, 0.99)
    );
    println!(
        "most memory: {:.0} MiB; the server {}",
        server.peak_mib(),
        if lives { "lives" } else { "is DEAD" }
    );
    assert!(lives && wrong == 0 && !times.is_empty(), "no death, and no wrong answer");
    assert!(confined || server.peak_mib() < mib, "within its memory");
}

fn main() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run());
}
