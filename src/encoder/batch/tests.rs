use std::sync::Mutex;
use std::sync::mpsc;

use super::*;
use crate::encoder::Stage;

/// Doubles its one feature; records its batches, and computes only when the gate lets it.
struct Doubler {
    batches: Arc<Mutex<Vec<usize>>>,
    gate: Option<Mutex<Receiver<()>>>,
}

impl Network for Doubler {
    fn stages(&self, rows: usize, features: &[f32]) -> Result<Vec<Stage>, NetworkError> {
        if let Some(gate) = &self.gate {
            gate.lock().expect("one thread").recv().expect("the test is there");
        }
        self.batches.lock().expect("no panic").push(rows);
        if features.iter().any(|value| value.is_nan()) {
            return Err(NetworkError { rows, reason: "out of memory".to_owned() });
        }
        assert!(!features.contains(&f32::INFINITY), "a fault of the network");
        let values = features.iter().map(|value| 2.0 * value).collect();
        Ok(vec![Stage { name: "embedding", values }])
    }
}

struct Setup {
    batcher: Batcher,
    end: oneshot::Receiver<()>,
    batches: Arc<Mutex<Vec<usize>>>,
    gate: mpsc::Sender<()>,
}

fn start(options: BatchOptions, gated: bool) -> Setup {
    let batches = Arc::new(Mutex::new(Vec::new()));
    let (gate, opens) = mpsc::channel();
    let network = Doubler { batches: Arc::clone(&batches), gate: gated.then(|| Mutex::new(opens)) };
    let network = BatchedNetwork { network: Box::new(network), feature_count: 1, dimension: 1 };
    let (batcher, end) = Batcher::start(vec![network], options).expect("a thread");
    Setup { batcher, end, batches, gate }
}

fn rows(values: impl IntoIterator<Item = u16>) -> Vec<Vec<f32>> {
    values.into_iter().map(|value| vec![f32::from(value)]).collect()
}

async fn encode(batcher: &Batcher, features: Vec<Vec<f32>>) -> Answer {
    let place = batcher.reserve(features.len()).expect("room");
    batcher.run(place, 0, features).await
}

#[tokio::test]
async fn single_rows_share_a_batch_and_get_their_own_answers() {
    let options =
        BatchOptions { rows_max: 8, wait: Duration::from_millis(200), queue_rows_max: 64 };
    let setup = start(options, false);
    let calls = (0..16_u16).map(|value| {
        let batcher = setup.batcher.clone();
        async move { (value, encode(&batcher, rows([value])).await.expect("a vector")) }
    });
    for (value, vectors) in futures::future::join_all(calls).await {
        assert_eq!(vectors, [[2.0 * f32::from(value)]]);
    }
    assert_eq!(*setup.batches.lock().expect("no panic"), [8, 8]);
}

#[tokio::test]
async fn a_long_request_is_cut_into_batches_in_order() {
    let options = BatchOptions { rows_max: 4, wait: Duration::ZERO, queue_rows_max: 64 };
    let setup = start(options, false);
    let vectors = encode(&setup.batcher, rows(0..10)).await.expect("vectors");
    assert_eq!(vectors, rows((0..10).map(|value| 2 * value)));
    assert_eq!(*setup.batches.lock().expect("no panic"), [4, 4, 2]);
    assert_eq!(encode(&setup.batcher, Vec::new()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_full_queue_says_so_and_has_room_again() {
    let options = BatchOptions { rows_max: 2, wait: Duration::ZERO, queue_rows_max: 4 };
    let setup = start(options, true);
    assert_eq!(setup.batcher.reserve(5).expect_err("too many"), QueueFull { rows: 5, limit: 4 });
    let batcher = setup.batcher.clone();
    let waiting = tokio::spawn(async move { encode(&batcher, rows(0..3)).await });
    while setup.batcher.reserve(2).is_ok() {
        tokio::task::yield_now().await;
    }
    setup.batcher.reserve(1).expect("one place is left");
    setup.gate.send(()).expect("the network waits");
    setup.gate.send(()).expect("the network waits");
    assert_eq!(waiting.await.expect("no panic").expect("vectors").len(), 3);
    while setup.batcher.reserve(4).is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_is_computed_for_a_caller_that_has_gone() {
    let options = BatchOptions { rows_max: 1, wait: Duration::ZERO, queue_rows_max: 8 };
    let setup = start(options, true);
    let batcher = setup.batcher.clone();
    let first = tokio::spawn(async move { encode(&batcher, rows([1])).await });
    let batcher = setup.batcher.clone();
    let gone = tokio::spawn(async move { encode(&batcher, rows([2, 3, 4])).await });
    while setup.batcher.reserve(5).is_ok() {
        tokio::task::yield_now().await;
    }
    gone.abort();
    assert!(gone.await.expect_err("aborted").is_cancelled());
    for _ in 0..3 {
        setup.gate.send(()).expect("the network waits");
    }
    first.await.expect("no panic").expect("a vector");
    encode(&setup.batcher, rows([5])).await.expect("a vector");
    let computed = setup.batches.lock().expect("no panic").len();
    // The row that was being computed when its caller went is the only one that may have been finished for nobody.
    assert!((2..=3).contains(&computed), "{computed}");
}

#[tokio::test]
async fn a_failed_batch_fails_its_callers_and_the_next_is_computed() {
    let options = BatchOptions { rows_max: 4, wait: Duration::ZERO, queue_rows_max: 8 };
    let setup = start(options, false);
    let error = encode(&setup.batcher, vec![vec![f32::NAN]]).await.expect_err("must fail");
    assert_eq!(error.to_string(), "the network failed on a batch of 1 rows: out of memory");
    let error = encode(&setup.batcher, vec![vec![1.0, 2.0]]).await.expect_err("must fail");
    assert!(error.to_string().contains("2 features, expected 1"), "{error}");
    assert_eq!(encode(&setup.batcher, rows([7])).await.expect("a vector"), [[14.0]]);
}

#[tokio::test]
async fn a_network_that_panics_ends_the_thread_and_everybody_hears_of_it() {
    let setup = start(BatchOptions::default(), false);
    let error = encode(&setup.batcher, vec![vec![f32::INFINITY]]).await.expect_err("must fail");
    assert_eq!(error, BatchError::Stopped);
    assert!(setup.end.await.is_err());
    assert_eq!(encode(&setup.batcher, rows([7])).await, Err(BatchError::Stopped));
}
