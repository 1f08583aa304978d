//! Who has to wait, and how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sidereus::wire::v1::CountObjectsRequest;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use tokio::task::JoinHandle;
use tonic::Request;
use tonic::transport::Channel;

use super::{SLOW, count, filled, from, is_by, retry_after_ms};

const ROWS: i64 = 40_000;

/// Callers that ask without end, until told.
struct Flood {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Flood {
    fn begin(channels: &[Channel], callers: usize) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = channels.iter().cycle().take(callers).cloned().map(|channel| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if count(&channel, "galaxies", SLOW).await.is_ok() {
                        served.fetch_add(1, Ordering::Relaxed)
                    } else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        0
                    };
                }
            })
        });
        Self { stop: Arc::clone(&stop), served: Arc::clone(&served), tasks: tasks.collect() }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no panic");
        }
        self.served.load(Ordering::Relaxed)
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_is_served_beside_forty_calls_of_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), ROWS, |options| options.admission.running = Some(1)).await;
    let (quiet, loud) = (from(&server, 2).await, from(&server, 3).await);
    let time = async |channel: &Channel| {
        let began = Instant::now();
        count(channel, "galaxies", SLOW).await.expect("served");
        began.elapsed()
    };
    let mut alone = Vec::new();
    for _ in 0..15 {
        alone.push(time(&quiet).await);
    }
    let flood = Flood::begin(std::slice::from_ref(&loud), 40);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut beside = Vec::new();
    for _ in 0..15 {
        beside.push(time(&quiet).await);
    }
    let served = flood.end().await;
    let (alone, beside) = (median(&mut alone), median(&mut beside));
    assert!(served > 15, "the flood is served, too: {served}");
    // One that runs is waited for; behind all forty it would be forty times as long.
    assert!(beside < alone * 10, "alone {alone:?}, beside {beside:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_served_in_time_is_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), ROWS, |options| options.admission.running = Some(1)).await;
    let channel = from(&server, 2).await;
    let began = Instant::now();
    for _ in 0..10 {
        count(&channel, "galaxies", SLOW).await.expect("served");
    }
    let each = began.elapsed() / 10;
    let flood = Flood::begin(std::slice::from_ref(&channel), 60);
    tokio::time::sleep(each * 10).await;
    // Behind the sixty it would wait sixty times as long as one takes; its caller waits a tenth of that.
    let mut told = Vec::new();
    for _ in 0..20 {
        let mut request = Request::new(CountObjectsRequest {
            collection: "galaxies".to_owned(),
            predicate: SLOW.to_owned(),
            ..CountObjectsRequest::default()
        });
        request.set_timeout(each * 6);
        let began = Instant::now();
        if let Err(status) = ObjectServiceClient::new(channel.clone()).count_objects(request).await
            && is_by(&status, "admission.wait_ms")
        {
            assert!(retry_after_ms(&status) >= 50);
            told.push(began.elapsed());
        }
    }
    flood.end().await;
    assert!(told.len() >= 10, "{} of 20", told.len());
    assert!(median(&mut told) < each * 20, "at once: {:?}, one takes {each:?}", median(&mut told));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_those_who_fill_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), ROWS, |options| {
        options.admission.running = Some(1);
        options.admission.queue = 8;
    })
    .await;
    let (quiet, loud) = (from(&server, 2).await, from(&server, 3).await);
    let refused = Arc::new(AtomicU64::new(0));
    let calls = (0..60).map(|_| {
        let (loud, refused) = (loud.clone(), Arc::clone(&refused));
        tokio::spawn(async move {
            if let Err(status) = count(&loud, "galaxies", SLOW).await {
                assert!(is_by(&status, "admission.queue"), "{status:?}");
                refused.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let calls: Vec<_> = calls.collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    count(&quiet, "galaxies", SLOW).await.expect("the others make room for who has nothing there");
    for call in calls {
        call.await.expect("no panic");
    }
    assert!(refused.load(Ordering::Relaxed) >= 30, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tiny_streams_of_one_connection_starve_nobody() {
    const STREAMS: usize = 100_000;
    let folder = tempfile::tempdir().expect("a folder");
    let server = filled(folder.path(), 100, |_| {}).await;
    let (tiny, other) = (from(&server, 2).await, from(&server, 3).await);
    let left = Arc::new(AtomicU64::new(STREAMS as u64));
    let streams = (0..200).map(|place| {
        let (channel, left) = (tiny.clone(), Arc::clone(&left));
        tokio::spawn(async move {
            while left.load(Ordering::Relaxed) > 0 {
                let call = count(&channel, "nothing", "");
                // Some are answered, others given up before they are.
                let patience = Duration::from_micros(place * 20);
                let _ = tokio::time::timeout(patience, call).await;
                let _ = left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            }
        })
    });
    let streams: Vec<_> = streams.collect();
    let mut times = Vec::new();
    while left.load(Ordering::Relaxed) > 0 {
        let began = Instant::now();
        assert_eq!(count(&other, "galaxies", "z < 0.5").await.expect("served"), 50);
        times.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for stream in streams {
        stream.await.expect("no panic");
    }
    times.sort();
    let slowest = times[times.len() * 99 / 100];
    assert!(slowest < Duration::from_secs(10), "{slowest:?} of {} calls", times.len());
    // A connection that gives up too many streams is closed, and made anew.
    let mut again = 0;
    while count(&tiny, "galaxies", "").await.is_err() {
        again += 1;
        assert!(again < 20, "the caller is served when it asks like others");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
