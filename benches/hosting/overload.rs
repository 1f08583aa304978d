//! A server that is asked for ten times of what it can do, and one caller that asks for fifty times his share.
//!
//! Run with `cargo bench --bench overload -- --minutes 5` on a quiet machine. The server is a process of its own; the callers are
//! on the same machine and take processors from it. Requests are sent at moments that are fixed beforehand, whatever became of
//! those before, and times count from those moments: a server that stalls cannot keep its stalls from being measured.

#![allow(missing_docs, reason = "a program")]

mod server;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use server::{ServerProcess, quantile, search_for, word};
use sidereus::wire::v1::search_service_client::SearchServiceClient;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Request};

/// Rows that every search compares, enough that a search costs many times of what a refusal does,
/// and of what asking costs the callers, who have the same processors.
const ROWS: i64 = 1_000_000;
const CALLERS: u8 = 8;

/// Turns of the four callers without the hog and with it.
const TURNS: u32 = 3;

/// How long a caller waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a request ended.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Served,
    Refused,
    Late,
    Failed,
}

/// Refusals by their limits.
static REFUSED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

fn note(why: &str) {
    let name = why.split('`').nth(1).unwrap_or(why).to_owned();
    *REFUSED.lock().expect("whole").entry(name).or_default() += 1;
}

/// One request: how it ended, and how long after the moment at which it was due.
#[derive(Clone, Copy)]
struct Outcome {
    end: End,
    took: Duration,
}

async fn ask(channel: Channel, id: i64) -> End {
    let mut request = Request::new(search_for(id % ROWS, 10));
    request.set_timeout(PATIENCE);
    let answer = async {
        let mut hits = SearchServiceClient::new(channel).search(request).await?.into_inner();
        while hits.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    let Err(status) = answer.await else { return End::Served };
    match status.code() {
        Code::ResourceExhausted => {
            note(status.message());
            End::Refused
        }
        Code::DeadlineExceeded | Code::Cancelled => End::Late,
        _ => End::Failed,
    }
}

/// Requests a second of callers that ask again as soon as they have their answer, and their times.
async fn closed_loop(
    channels: &[Channel],
    callers: usize,
    length: Duration,
) -> (f64, Vec<Duration>) {
    let began = Instant::now();
    let tasks =
        channels.iter().cycle().take(callers).cloned().enumerate().map(|(place, channel)| {
            tokio::spawn(async move {
                let mut times = Vec::new();
                for number in 0.. {
                    if began.elapsed() >= length {
                        break;
                    }
                    let sent = Instant::now();
                    if ask(channel.clone(), (place * 7_919 + number * 31) as i64).await
                        == End::Served
                    {
                        times.push(sent.elapsed());
                    }
                }
                times
            })
        });
    let tasks: Vec<_> = tasks.collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("no panic"));
    }
    (times.len() as f64 / began.elapsed().as_secs_f64(), times)
}

/// Sends requests at fixed moments.
async fn open_loop(channels: Vec<Channel>, per_s: f64, length: Duration) -> Vec<Outcome> {
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    let every = Duration::from_secs_f64(1.0 / per_s);
    let count = (length.as_secs_f64() * per_s) as u32;
    let began = tokio::time::Instant::now();
    let sending = tokio::spawn(async move {
        for number in 0..count {
            let due = began + every * number;
            // Late by the timer's grain, several go out at once; their times count from when they were due.
            tokio::time::sleep_until(due).await;
            let (channel, sender) =
                (channels[number as usize % channels.len()].clone(), sender.clone());
            tokio::spawn(async move {
                let end = ask(channel, i64::from(number) * 31).await;
                let _ = sender.send(Outcome { end, took: due.elapsed() });
            });
        }
    });
    let mut all = Vec::with_capacity(count as usize);
    while let Some(outcome) = outcomes.recv().await {
        all.push(outcome);
    }
    sending.await.expect("no panic");
    all
}

fn times(outcomes: &[Outcome], end: End) -> Vec<Duration> {
    outcomes.iter().filter(|outcome| outcome.end == end).map(|outcome| outcome.took).collect()
}

fn report(name: &str, outcomes: &[Outcome], length: Duration) {
    let (mut served, mut refused) = (times(outcomes, End::Served), times(outcomes, End::Refused));
    let per_s = |count: usize| count as f64 / length.as_secs_f64();
    println!(
        "{name:<28}{:>8.0}/s served, p50 {:>7.1} ms, p99 {:>7.1} ms; {:>7.0}/s refused, p99 {:>7.1} ms; late {}, failed {}",
        per_s(served.len()),
        quantile(&mut served, 0.5),
        quantile(&mut served, 0.99),
        per_s(refused.len()),
        quantile(&mut refused, 0.99),
        times(outcomes, End::Late).len(),
        times(outcomes, End::Failed).len(),
    );
    let refused = std::mem::take(&mut *REFUSED.lock().expect("whole"));
    if !refused.is_empty() {
        println!("    refused by {refused:?}");
    }
}

/// Time until single requests are answered as quickly as before, after an overload.
async fn recovery(channel: &Channel, normal_ms: f64) -> Duration {
    let began = Instant::now();
    let mut quick = 0;
    while quick < 5 {
        let sent = Instant::now();
        let end = ask(channel.clone(), 5).await;
        let is_quick = end == End::Served && sent.elapsed().as_secs_f64() * 1e3 < normal_ms * 2.0;
        quick = if is_quick { quick + 1 } else { 0 };
        assert!(began.elapsed() < Duration::from_mins(2), "it does not recover");
    }
    began.elapsed()
}

async fn run() {
    let length = Duration::from_secs_f64(word("--minutes", 5.0) * 60.0);
    let mut server = ServerProcess::start("[index]\nauto_rows = 0\n", |_| {});
    server.fill(ROWS).await;
    let mut channels = Vec::new();
    for caller in 0..CALLERS {
        channels.push(server.connect(10 + caller).await);
    }
    let warm = Duration::from_secs(5).min(length);
    closed_loop(&channels, 4, warm).await;
    let (_, mut alone) = closed_loop(&channels[..1], 1, warm * 2).await;
    let (alone50, alone99) = (quantile(&mut alone, 0.5), quantile(&mut alone, 0.99));
    let (capacity, mut busy) = closed_loop(&channels, 8, warm * 4).await;
    println!("exact searches of {ROWS} vectors of {} components", server::DIMENSION);
    println!("one caller                  p50 {alone50:.1} ms, p99 {alone99:.1} ms");
    println!(
        "capacity, 8 callers         {capacity:.0}/s, p99 {:.1} ms",
        quantile(&mut busy, 0.99)
    );
    let half = open_loop(channels.clone(), capacity * 0.5, warm * 4).await;
    report("half of the capacity", &half, warm * 4);
    let over = open_loop(channels.clone(), capacity * 10.0, length).await;
    report("ten times the capacity", &over, length);
    let recovered = recovery(&channels[0], alone50).await;
    let goodput = times(&over, End::Served).len() as f64 / length.as_secs_f64();
    let mut served = times(&over, End::Served);
    println!("goodput / capacity          {:.2}", goodput / capacity);
    println!("admitted p99 / alone p99    {:.1}", quantile(&mut served, 0.99) / alone99);
    println!("recovered after             {:.2} s", recovered.as_secs_f64());

    beside_a_hog(&channels, capacity / 5.0, length.min(Duration::from_mins(1))).await;
    assert!(server.lives(), "the server is there");
    println!("most memory                 {:.0} MiB", server.peak_mib());
}

/// Four callers at half of their share, and the same beside one at fifty times his own, in turns: what else happens on the
/// machine meanwhile happens to both.
async fn beside_a_hog(channels: &[Channel], share: f64, part: Duration) {
    let four = channels[1..5].to_vec();
    let (mut before, mut beside, mut hog) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        before.extend(open_loop(four.clone(), share * 0.5 * 4.0, part).await);
        let one = tokio::spawn(open_loop(channels[5..6].to_vec(), share * 50.0, part));
        beside.extend(open_loop(four.clone(), share * 0.5 * 4.0, part).await);
        hog.extend(one.await.expect("no panic"));
    }
    let length = part * TURNS;
    report("four callers", &before, length);
    report("the same beside a hog", &beside, length);
    report("the hog", &hog, length);
    for (name, at) in [("p50", 0.5), ("p99", 0.99)] {
        let of = |outcomes: &[Outcome]| quantile(&mut times(outcomes, End::Served), at);
        println!("{name} of the four             x {:.2}", of(&beside) / of(&before));
    }
}

fn main() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run());
}
