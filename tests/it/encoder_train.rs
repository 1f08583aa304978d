//! Training through the real encoder process: bounded, cancelled, killed in the middle, and beside encoding.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sidereus::encoder::{
    Beginning, Chunk, ChunkRows, ChunkSource, EncoderError, EncoderHandle, EncoderOptions, Made,
    TowerInput, TrainError, TrainSpec, TrainStep, TrainTask, Trained, head_from_bytes,
    head_to_bytes,
};
use sidereus::learn::{HeadInputs, LearnError, NamedTensor, NetworkHead, epoch_order};
use sidereus::wire::v1::payload::Content;
use sidereus::wire::v1::{NamedValues, Payload};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sidereus-encoder");
const WIDTH: usize = 4;

fn start(models: &Path) -> EncoderHandle {
    let mut options = EncoderOptions::new(PROGRAM.into(), models.to_owned());
    "cpu".clone_into(&mut options.device);
    // Other tests run beside these, and heads this small gain nothing from a second thread.
    (options.gives_way, options.threads) = (false, 1);
    EncoderHandle::spawn(options)
}

/// Numbers from -1 to 1 that are the same in every run.
fn number(place: u64) -> f32 {
    let mut state = place.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((state >> 40) as f32) / 8_388_608.0 - 1.0
}

fn row(example: u32) -> Vec<f32> {
    (0..WIDTH as u64).map(|column| number(u64::from(example) * WIDTH as u64 + column)).collect()
}

fn truth(row: &[f32]) -> f32 {
    (2.0 * row[0]).sin() + row[1] * row[2]
}

/// Examples of a known function, in a new order for every epoch.
struct Known {
    count: usize,
    chunk: usize,
    asked: Arc<AtomicU32>,
}

impl Known {
    fn new(count: usize) -> Self {
        Self { count, chunk: 256, asked: Arc::default() }
    }
}

fn chunk_of(order: &[u32]) -> Chunk {
    let values: Vec<f32> = order.iter().flat_map(|example| row(*example)).collect();
    Chunk {
        examples: order.len(),
        targets: values.chunks(WIDTH).map(truth).collect(),
        first: ChunkRows { values, lengths: Vec::new() },
        ..Chunk::default()
    }
}

impl ChunkSource for Known {
    fn chunk(&mut self, epoch: u32, chunk: u32) -> Result<Option<Chunk>, LearnError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let order = epoch_order(self.count, epoch, 7);
        Ok(order.chunks(self.chunk).nth(chunk as usize).map(chunk_of))
    }

    fn validation(&mut self, chunk: u32) -> Result<Option<Chunk>, LearnError> {
        let order: Vec<u32> = (1_000_000..1_000_200).collect();
        Ok((chunk == 0).then(|| chunk_of(&order)))
    }
}

fn spec() -> TrainSpec {
    let task = TrainTask::Regression { outputs: 1 };
    TrainSpec {
        hidden: vec![32],
        learning_rate: 1e-2,
        ..TrainSpec::new(TowerInput::rows(WIDTH), task)
    }
}

/// One that would take for ever.
fn endless() -> TrainSpec {
    TrainSpec { epochs: 100_000, ..spec() }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for a function that may fail")]
fn silent(_: &TrainStep) -> Result<(), LearnError> {
    Ok(())
}

async fn small(encoder: &EncoderHandle) -> Trained {
    encoder.train(spec(), Known::new(512), silent).await.expect("trains")
}

fn score(trained: &Trained) -> f64 {
    let kept = head_from_bytes(&head_to_bytes(&trained.head)).expect("the same");
    let head = NetworkHead::new(&kept).expect("a head");
    let rows: Vec<Vec<f32>> = (2_000_000..2_001_000).map(row).collect();
    let inputs: Vec<f64> = rows.iter().flatten().map(|value| f64::from(*value)).collect();
    let predicted = head.apply(HeadInputs::Rows(&inputs)).expect("computed");
    let truths: Vec<f64> = rows.iter().map(|row| f64::from(truth(row))).collect();
    let mean = truths.iter().sum::<f64>() / truths.len() as f64;
    let residual: f64 = predicted.iter().zip(&truths).map(|(a, b)| (a - b).powi(2)).sum();
    1.0 - residual / truths.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_trained_measured_and_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = start(folder.path());
    let mut steps = Vec::new();
    let spec = TrainSpec { epochs: 20, anneal: true, ..spec() };
    let tell = |step: &TrainStep| {
        steps.push(step.clone());
        Ok(())
    };
    let trained = encoder.train(spec.clone(), Known::new(2_000), tell).await.expect("trains");
    assert!(score(&trained) > 0.95, "{}", score(&trained));
    assert_eq!(
        (trained.epochs, trained.losses.len(), trained.validation_losses.len()),
        (20, 20, 20)
    );
    assert!(trained.losses[19] < 0.2 * trained.losses[0], "{:?}", trained.losses);
    let best = trained.validation_losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(trained.validation_losses[trained.best_epoch as usize], best);
    // Eight chunks and an end for each epoch.
    assert_eq!(steps.len(), 20 * 9);
    assert_eq!((steps[7].epoch, steps[7].examples, steps[7].ended), (0, 2_000, false));
    assert!(steps[8].ended && steps[8].validation_loss.is_some());
    // The same again gives the same, in any size of chunks that holds whole batches, and from a thread that blocks.
    let runtime = tokio::runtime::Handle::current();
    let again = encoder.clone();
    let again = tokio::task::spawn_blocking(move || {
        let mut source = Known { chunk: 1_024, ..Known::new(2_000) };
        again.train_blocking(&runtime, &spec, &mut source, &mut silent)
    });
    let again = again.await.expect("no panic").expect("trains");
    assert_eq!(again.head, trained.head);
    encoder.shutdown().await;
}

/// Peak of a process's memory in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_encoder_holds_a_few_chunks_and_never_all_examples() {
    struct Large;
    impl ChunkSource for Large {
        fn chunk(&mut self, _: u32, chunk: u32) -> Result<Option<Chunk>, LearnError> {
            // 400 chunks of a megabyte.
            let values = vec![0.5; 256 * 1_024];
            let first = ChunkRows { values, lengths: Vec::new() };
            let targets = vec![1.0; 256];
            Ok((chunk < 400).then(|| Chunk { examples: 256, first, targets, ..Chunk::default() }))
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = start(folder.path());
    let input = TowerInput::rows(1_024);
    let spec = TrainSpec { input, hidden: vec![4], batch: 256, epochs: 1, ..spec() };
    let mut first = 0;
    let pid = || encoder.pid().expect("it runs");
    let tell = |step: &TrainStep| {
        if step.examples == 20 * 256 {
            first = peak_kib(pid());
        }
        Ok(())
    };
    encoder.train(spec, Large, tell).await.expect("trains");
    let growth = peak_kib(pid()) - first;
    assert!(growth < 64 << 10, "{growth} KiB for 400 MiB of examples");
    encoder.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_killed_in_the_middle_is_an_error_and_the_next_training_succeeds() {
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = start(folder.path());
    let killed = encoder.clone();
    let tell = move |step: &TrainStep| {
        if step.epoch == 3 && step.ended {
            let pid = killed.pid().expect("it runs").to_string();
            let kill = std::process::Command::new("kill").args(["-9", &pid]).status();
            assert!(kill.expect("kill runs").success());
        }
        Ok(())
    };
    let error = encoder.train(endless(), Known::new(512), tell).await.expect_err("it died");
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().contains("the training is lost, begin it again"), "{error}");
    assert_eq!(small(&encoder).await.epochs, 10);
    encoder.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_ends_when_nobody_waits_for_it() {
    struct Broken;
    impl ChunkSource for Broken {
        fn chunk(&mut self, _: u32, chunk: u32) -> Result<Option<Chunk>, LearnError> {
            let broken = LearnError::Unreadable { reason: "the disk is gone".to_owned() };
            if chunk < 3 { Ok(Some(chunk_of(&[1, 2, 3]))) } else { Err(broken) }
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = start(folder.path());
    small(&encoder).await;
    // Its future is dropped while it learns.
    let source = Known::new(100_000);
    let asked = Arc::clone(&source.asked);
    let began = Instant::now();
    let dropped = encoder.train(endless(), source, silent);
    let dropped = tokio::time::timeout(Duration::from_millis(700), dropped).await;
    assert!(dropped.is_err(), "it would take for ever");
    assert!(asked.load(Ordering::SeqCst) > 1, "it had begun");
    small(&encoder).await;
    assert!(began.elapsed() < Duration::from_secs(20), "the next one's turn comes soon");
    // Whoever hears of the progress does not want it any more.
    let stop = |step: &TrainStep| if step.epoch == 2 { Err(LearnError::Stopped) } else { Ok(()) };
    let error = encoder.train(endless(), Known::new(512), stop).await.expect_err("stopped");
    assert_eq!(error, TrainError::Learn(LearnError::Stopped));
    // The examples cannot be read any more.
    let error = encoder.train(endless(), Broken, silent).await.expect_err("unreadable");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    small(&encoder).await;
    // The encoder is stopped.
    let stopped = encoder.clone();
    let training =
        tokio::spawn(async move { stopped.train(endless(), Known::new(512), silent).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    encoder.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let error = training.await.expect("no panic").expect_err("it is gone");
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_and_harms_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = start(folder.path());
    let refused = async |spec: TrainSpec, chunk: Chunk, words: &str| {
        struct One(Chunk);
        impl ChunkSource for One {
            fn chunk(&mut self, _: u32, chunk: u32) -> Result<Option<Chunk>, LearnError> {
                Ok((chunk == 0).then(|| self.0.clone()))
            }
        }
        let error = encoder.train(spec, One(chunk), silent).await.expect_err(words);
        assert!(matches!(error, TrainError::Encoder(EncoderError::Refused { .. })), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    let good = || chunk_of(&[1, 2, 3]);
    refused(TrainSpec { hidden: vec![60_000; 2], ..spec() }, good(), "parameters").await;
    refused(spec(), Chunk { examples: 2, ..good() }, "8 belong").await;
    refused(spec(), Chunk { targets: vec![f32::NAN; 3], ..good() }, "NaN among the targets").await;
    refused(spec(), Chunk { classes: vec![0; 3], ..good() }, "classes").await;
    let classes = TrainSpec { task: TrainTask::Classes { classes: 2 }, ..spec() };
    let labelled = Chunk { targets: Vec::new(), classes: vec![0, 1, 2], ..good() };
    refused(classes, labelled, "class 2 of 2").await;
    refused(spec(), Chunk { targets: vec![3e38; 3], ..good() }, "not a number any more").await;
    let none = Chunk { weights: vec![0.0; 3], ..good() };
    refused(spec(), none, "weight above zero").await;
    let first = ChunkRows { values: vec![0.0; 9 << 20], lengths: Vec::new() };
    refused(spec(), Chunk { first, ..good() }, "send at most").await;
    small(&encoder).await;
    encoder.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trainings_wait_for_each_other_and_encoding_goes_on_beside_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/models/photometry-mm");
    std::os::unix::fs::symlink(model, folder.path().join("photometry-mm")).expect("a link");
    let encoder = start(folder.path());
    let trainings: Vec<_> = (0..3)
        .map(|seed| {
            let encoder = encoder.clone();
            let spec = TrainSpec { seed, epochs: 30, ..spec() };
            tokio::spawn(async move { encoder.train(spec, Known::new(2_000), silent).await })
        })
        .collect();
    let bands = ["u", "g", "r", "i", "z"];
    let payload = |number: usize| {
        let flux = |band: usize| 1.0 + ((number * 7 + band * 3) % 50) as f64;
        let names = |kind: &'static str| bands.iter().map(move |band| format!("{kind}_{band}"));
        let fluxes = names("flux").enumerate().map(|(band, name)| (name, flux(band)));
        let errors = names("ivar").map(|name| (name, 4.0));
        let values: HashMap<String, f64> = fluxes.chain(errors).collect();
        let content = Some(Content::Row(NamedValues { values }));
        Payload { modality: "photometry".to_owned(), content }
    };
    let payloads = || (0..16).map(payload).collect::<Vec<_>>();
    let vectors = |results: Vec<Result<Made, String>>| -> Vec<Vec<f32>> {
        let vector = |made: Result<Made, String>| made.and_then(Made::into_vector);
        results.into_iter().map(|made| vector(made).expect("a vector")).collect()
    };
    let mut during = Vec::new();
    while trainings.iter().any(|training| !training.is_finished()) {
        let encoded = encoder.encode("photometry-mm", "", payloads()).await.expect("encodes");
        during.push(vectors(encoded.results));
    }
    assert!(during.len() > 2, "{}", during.len());
    let alone = encoder.encode("photometry-mm", "", payloads()).await.expect("encodes");
    let alone = vectors(alone.results);
    let same = |given: &Vec<Vec<f32>>| {
        let pairs = given.iter().flatten().zip(alone.iter().flatten());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-3
    };
    assert!(during.iter().all(same), "vectors do not depend on what is trained beside them");
    for training in trainings {
        let trained = training.await.expect("no panic").expect("trains");
        assert!(score(&trained) > 0.8, "{}", score(&trained));
    }
    encoder.shutdown().await;
}

/// Examples with what the network begins with.
struct Begun {
    known: Known,
    first: Vec<NamedTensor>,
}

impl ChunkSource for Begun {
    fn chunk(&mut self, epoch: u32, chunk: u32) -> Result<Option<Chunk>, LearnError> {
        self.known.chunk(epoch, chunk)
    }

    fn validation(&mut self, chunk: u32) -> Result<Option<Chunk>, LearnError> {
        self.known.validation(chunk)
    }

    fn beginning(&mut self) -> Option<Beginning> {
        Some(Beginning { first: self.first.clone(), second: Vec::new() })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_goes_on_from_what_it_is_given_and_never_ends_worse() {
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = start(folder.path());
    let first = encoder.train(spec(), Known::new(2_000), silent).await.expect("trains");
    assert!(!first.is_beginning);
    let tensors = first.head.members[0].clone();
    let on = |first: Vec<NamedTensor>| Begun { known: Known::new(512), first };
    // Steps that are far too long: what it began with is the best that there was.
    let wild = TrainSpec { learning_rate: 5.0, patience: 2, ..spec() };
    let kept = encoder.train(wild, on(tensors.clone()), silent).await.expect("trains");
    assert!(kept.is_beginning);
    assert_eq!((kept.epochs, &kept.head.members[0]), (2, &tensors));
    // Steps that suit it make it better.
    let calm = TrainSpec { epochs: 30, learning_rate: 3e-3, anneal: true, ..spec() };
    let better = encoder.train(calm, on(tensors.clone()), silent).await.expect("trains");
    assert!(!better.is_beginning && score(&better) > score(&first), "{}", score(&better));
    // Numbers of another network are refused.
    let other = on(tensors[..2].to_vec());
    let error = encoder.train(spec(), other, silent).await.expect_err("half a network");
    assert!(matches!(error, TrainError::Encoder(EncoderError::Refused { .. })), "{error}");
    assert!(error.to_string().contains("tensors of a member"), "{error}");
    small(&encoder).await;
    encoder.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_towers_come_back_with_their_temperature() {
    struct Views;
    impl ChunkSource for Views {
        fn chunk(&mut self, epoch: u32, chunk: u32) -> Result<Option<Chunk>, LearnError> {
            let order = epoch_order(1_024, epoch, 1);
            let of = |order: &[u32]| {
                let rows = order.iter().flat_map(|example| row(*example));
                // The other view is one token that holds the numbers in reverse, and one that says nothing.
                let tokens = order.iter().flat_map(|example| {
                    row(*example).into_iter().rev().chain([0.0; WIDTH]).collect::<Vec<_>>()
                });
                Chunk {
                    examples: order.len(),
                    first: ChunkRows { values: rows.collect(), lengths: Vec::new() },
                    second: ChunkRows { values: tokens.collect(), lengths: vec![2; order.len()] },
                    ..Chunk::default()
                }
            };
            Ok(order.chunks(256).nth(chunk as usize).map(of))
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let encoder = start(folder.path());
    let task = TrainTask::Contrastive {
        second: TowerInput::tokens(WIDTH, 2),
        dimension: 8,
        temperature: 0.1,
        learn_temperature: false,
    };
    let spec = TrainSpec { task, epochs: 20, batch: 128, ..spec() };
    let trained = encoder.train(spec, Views, silent).await.expect("trains");
    assert!((trained.temperature.expect("told") - 0.1).abs() < 1e-6);
    assert!(trained.losses[19] < 0.5 * trained.losses[0], "{:?}", trained.losses);
    let first = NetworkHead::new(&trained.head).expect("a head");
    let second = NetworkHead::new(&trained.second.expect("a second tower")).expect("a head");
    let test: Vec<Vec<f32>> = (3_000_000..3_000_100).map(row).collect();
    let rows: Vec<f64> = test.iter().flatten().map(|value| f64::from(*value)).collect();
    let tokens: Vec<f32> =
        test.iter().flat_map(|row| row.iter().rev().copied().chain([0.0; WIDTH])).collect();
    let lengths = vec![2; 100];
    let ours = first.apply(HeadInputs::Rows(&rows)).expect("computed");
    let inputs = HeadInputs::Tokens { values: &tokens, lengths: &lengths };
    let theirs = second.apply(inputs).expect("computed");
    let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let right = ours.chunks(8).zip(theirs.chunks(8)).filter(|(own, partner)| {
        theirs.chunks(8).all(|other| cosine(own, other) <= cosine(own, partner))
    });
    let right = right.count();
    assert!(right > 60, "{right} of 100, and by chance one");
    encoder.shutdown().await;
}
