use std::sync::Mutex;
use std::sync::mpsc;

use super::*;
use crate::encoder::{NetworkError, Stage};
use crate::schema::SpaceForm;
use std::sync::mpsc::Receiver;

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

fn output(pooling: &str, dimension: usize) -> ModelOutput {
    ModelOutput { pooling: pooling.to_owned(), form: SpaceForm::Vector, dimension }
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
    let network = BatchedNetwork {
        network: Some(Box::new(network)),
        load: Box::new(|| Err("it is in memory".to_owned())),
        bytes: 1,
        outputs: vec![output("double", 1), output("other", 1)],
    };
    let (batcher, end) = Batcher::start(vec![network], options).expect("a thread");
    Setup { batcher, end, batches, gate }
}

fn rows(values: impl IntoIterator<Item = u16>) -> Vec<Vec<f32>> {
    values.into_iter().map(|value| vec![f32::from(value)]).collect()
}

async fn encode_all(
    batcher: &Batcher,
    output: usize,
    features: Vec<Vec<f32>>,
) -> Result<Vec<Result<Vec<f32>, String>>, Stopped> {
    let place = batcher.reserve(features.len()).expect("room");
    let features = features.into_iter().map(|row| Features::plain([row.len()], row)).collect();
    let made = batcher.run(place, 0, output, features).await?;
    Ok(made.into_iter().map(|made| made.and_then(Made::into_vector)).collect())
}

async fn encode(batcher: &Batcher, features: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>, Stopped> {
    let made = encode_all(batcher, 0, features).await?;
    Ok(made.into_iter().map(|made| made.expect("a vector")).collect())
}

#[tokio::test]
async fn single_rows_share_a_batch_and_get_their_own_answers() {
    let options = BatchOptions {
        rows_max: 8,
        wait: Duration::from_millis(200),
        queue_rows_max: 64,
        ..BatchOptions::default()
    };
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
    let options = BatchOptions {
        rows_max: 4,
        wait: Duration::ZERO,
        queue_rows_max: 64,
        ..BatchOptions::default()
    };
    let setup = start(options, false);
    let vectors = encode(&setup.batcher, rows(0..10)).await.expect("vectors");
    assert_eq!(vectors, rows((0..10).map(|value| 2 * value)));
    assert_eq!(*setup.batches.lock().expect("no panic"), [4, 4, 2]);
    assert_eq!(encode(&setup.batcher, Vec::new()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_full_queue_says_so_and_has_room_again() {
    let options = BatchOptions {
        rows_max: 2,
        wait: Duration::ZERO,
        queue_rows_max: 4,
        ..BatchOptions::default()
    };
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
    let options = BatchOptions {
        rows_max: 1,
        wait: Duration::ZERO,
        queue_rows_max: 8,
        ..BatchOptions::default()
    };
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
async fn a_row_that_fails_is_told_and_its_neighbours_are_computed() {
    let options = BatchOptions {
        rows_max: 8,
        wait: Duration::ZERO,
        queue_rows_max: 8,
        ..BatchOptions::default()
    };
    let setup = start(options, false);
    let features = vec![vec![1.0], vec![2.0], vec![f32::NAN], vec![4.0]];
    let made = encode_all(&setup.batcher, 0, features).await.expect("answers");
    assert_eq!(made[2], Err("out of memory".to_owned()));
    assert_eq!([&made[0], &made[1], &made[3]], [&Ok(vec![2.0]), &Ok(vec![4.0]), &Ok(vec![8.0])]);
    let long = encode_all(&setup.batcher, 0, vec![vec![1.0, 2.0]]).await.expect("answers");
    let error = long[0].clone().expect_err("two components");
    assert!(error.contains("2 components of vectors, expected 1"), "{error}");
    let metrics = setup.batcher.metrics();
    assert_eq!((metrics.failed_rows, metrics.queued_rows), (2, 0));
    assert!(metrics.rows >= 3 && metrics.batches >= 2, "{metrics:?}");
}

#[tokio::test]
async fn rows_of_other_outputs_and_shapes_are_not_computed_together() {
    let options = BatchOptions {
        rows_max: 8,
        wait: Duration::from_millis(100),
        queue_rows_max: 64,
        ..BatchOptions::default()
    };
    let setup = start(options, false);
    let calls = (0..12_u16).map(|value| {
        let batcher = setup.batcher.clone();
        let output = usize::from(value % 2);
        async move { (value, encode_all(&batcher, output, rows([value])).await.expect("answers")) }
    });
    for (value, made) in futures::future::join_all(calls).await {
        assert_eq!(made, [Ok(vec![2.0 * f32::from(value)])]);
    }
    assert_eq!(*setup.batches.lock().expect("no panic"), [6, 6]);
}

#[tokio::test]
async fn in_deterministic_mode_every_row_is_alone() {
    let options =
        BatchOptions { wait: Duration::ZERO, deterministic: true, ..BatchOptions::default() };
    let setup = start(options, false);
    encode(&setup.batcher, rows(0..5)).await.expect("vectors");
    assert_eq!(*setup.batches.lock().expect("no panic"), [1; 5]);
}

#[tokio::test]
async fn the_network_that_was_not_asked_for_longest_makes_room() {
    let loads = Arc::new(Mutex::new(Vec::new()));
    let network = |number: usize| {
        let loads = Arc::clone(&loads);
        let load = move || -> Result<Box<dyn Network>, String> {
            loads.lock().expect("no panic").push(number);
            if number == 3 {
                return Err("its file is gone".to_owned());
            }
            Ok(Box::new(Doubler { batches: Arc::default(), gate: None }))
        };
        BatchedNetwork {
            network: None,
            load: Box::new(load),
            bytes: 10,
            outputs: vec![output("double", 1)],
        }
    };
    let options = BatchOptions { wait: Duration::ZERO, memory_max: 25, ..BatchOptions::default() };
    let networks = (0..4).map(network).collect();
    let (batcher, _end) = Batcher::start(networks, options).expect("a thread");
    for number in [0, 1, 0, 2, 0, 1] {
        let place = batcher.reserve(1).expect("room");
        let row = vec![Features::plain([1], vec![1.0])];
        let made = batcher.run(place, number, 0, row).await.expect("answers");
        assert_eq!(made, [Ok(Made::Vector(vec![2.0]))]);
    }
    // 2 puts 1 away, which was not asked for since; 1 then puts 2 away.
    assert_eq!(*loads.lock().expect("no panic"), [0, 1, 2, 1]);
    let metrics = batcher.metrics();
    assert_eq!((metrics.loads, metrics.evictions, metrics.resident_bytes), (4, 2, 20));
    let place = batcher.reserve(1).expect("room");
    let made = batcher.run(place, 3, 0, vec![Features::plain([1], vec![1.0])]).await;
    let error = made.expect("answers").remove(0).expect_err("must fail");
    assert!(error.contains("cannot be loaded: its file is gone"), "{error}");
}

#[tokio::test]
async fn a_network_that_panics_ends_the_thread_and_everybody_hears_of_it() {
    let setup = start(BatchOptions::default(), false);
    let error = encode(&setup.batcher, vec![vec![f32::INFINITY]]).await.expect_err("must fail");
    assert_eq!(error, Stopped);
    assert!(setup.end.await.is_err());
    assert_eq!(encode(&setup.batcher, rows([7])).await, Err(Stopped));
}
