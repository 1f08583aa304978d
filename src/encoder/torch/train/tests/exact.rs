//! What is computed, against the evaluation in plain Rust; what is kept, and what ends a training.

use sidereus::encoder::{Chunk, TowerInput, TrainSpec, TrainTask};
use sidereus::learn::{Activation, HeadInputs, HeadWeights, NetworkHead};
use tch::Device;

use super::super::super::load::to_rows;
use super::super::trainer::{Failure, Trainer};
use super::{Data, Normal, applied, curved, curved_spec, marked, on, train, weights, wide};

/// Largest difference relative to the largest magnitude.
fn difference(torch: &[f32], own: &[f64]) -> f64 {
    assert_eq!(torch.len(), own.len());
    let largest = own.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
    let differences = torch.iter().zip(own).map(|(a, b)| (f64::from(*a) - b).abs());
    differences.fold(0.0, f64::max) / largest
}

#[test]
fn plain_rust_computes_what_libtorch_computes() {
    let data = curved(11, 300);
    let scaling = curved_spec().input.scaling;
    for activation in [Activation::Relu, Activation::Gelu] {
        for tokens in [false, true] {
            let input = TowerInput { scaling: scaling.clone(), ..TowerInput::rows(5) };
            let mut spec = TrainSpec {
                hidden: vec![33, 17],
                activation,
                members: 2,
                epochs: 2,
                learning_rate: 1e-2,
                ..TrainSpec::new(input, TrainTask::Regression { outputs: 1 })
            };
            let mut data = data.clone();
            if tokens {
                // Sequences of different lengths.
                spec.input = TowerInput { scaling: scaling.clone(), ..TowerInput::tokens(5, 5) };
                let rows = data.first.clone();
                for (place, tokens) in data.first.iter_mut().enumerate() {
                    tokens.extend(rows.iter().cycle().skip(place + 1).take(place % 7).flatten());
                }
            }
            let chunk = data.all(&spec);
            let (trainer, _) = train(&spec, &data, 128, None);
            let raw = trainer.raw(&chunk).expect("computed");
            let raw: Vec<_> = raw.iter().map(|raw| to_rows(raw).expect("numbers")).collect();
            let weights = weights(&spec, trainer.finish().expect("finishes"));
            for (member, raw) in weights.members.iter().zip(&raw) {
                let members = vec![member.clone()];
                let head = NetworkHead::new(&HeadWeights { members, ..weights.clone() });
                let rows = wide(&data.first);
                let (values, lengths) = (&chunk.first.values[..], &chunk.first.lengths[..]);
                let inputs = if tokens {
                    HeadInputs::Tokens { values, lengths }
                } else {
                    HeadInputs::Rows(&rows)
                };
                let own = head.expect("a head").apply(inputs).expect("computed");
                let error = difference(raw, &own);
                assert!(error < 1e-5, "{activation:?}, tokens {tokens}: {error}");
            }
        }
    }
}

#[test]
fn the_losses_are_those_that_plain_rust_finds() {
    let mut data = curved(12, 256);
    data.weights = (0..256_u16).map(|place| f32::from(place % 4)).collect();
    data.targets = data.targets.iter().map(|target| vec![(target[0] - 1_000.0) / 50.0]).collect();
    let input = || TowerInput { scaling: curved_spec().input.scaling, ..TowerInput::rows(5) };
    let base = |task| TrainSpec { hidden: vec![16], epochs: 1, ..TrainSpec::new(input(), task) };
    let measured = |spec: &TrainSpec, data: &Data| {
        let (trainer, epochs) = train(spec, data, 64, Some(data));
        let head = NetworkHead::new(&weights(spec, trainer.finish().expect("finishes")));
        (epochs[0].validation_loss.expect("measured"), head.expect("a head"))
    };
    let mean = |data: &Data, losses: Vec<f64>| {
        let weights = data.weights.iter().map(|weight| f64::from(*weight));
        let sum: f64 = weights.clone().zip(losses).map(|(weight, loss)| weight * loss).sum();
        sum / weights.sum::<f64>()
    };

    let (given, head) = measured(&base(TrainTask::Regression { outputs: 1 }), &data);
    let squares =
        applied(&head, &data).into_iter().zip(wide(&data.targets)).map(|(a, b)| (a - b).powi(2));
    let expected = mean(&data, squares.collect());
    assert!((given - expected).abs() < 1e-5 * expected, "{given} {expected}");

    let (given, head) = measured(&base(TrainTask::Density { components: 3 }), &data);
    let densities = head.densities(HeadInputs::Rows(&wide(&data.first))).expect("computed");
    let targets = wide(&data.targets);
    let logarithms = densities.iter().zip(targets).map(|(density, y)| -density.log_density(y));
    let expected = mean(&data, logarithms.collect());
    assert!((given - expected).abs() < 1e-5 * expected.abs(), "{given} {expected}");

    let classes = (0..256).map(|place| place % 3).collect();
    let labelled = Data { targets: Vec::new(), classes, ..data.clone() };
    let (given, head) = measured(&base(TrainTask::Classes { classes: 3 }), &labelled);
    let probabilities = applied(&head, &labelled);
    let rows = probabilities.chunks_exact(3).zip(&labelled.classes);
    let expected = mean(&labelled, rows.map(|(row, class)| -row[*class as usize].ln()).collect());
    assert!((given - expected).abs() < 1e-5 * expected, "{given} {expected}");
}

#[test]
fn the_same_examples_in_the_same_order_give_the_same_weights_however_they_are_cut() {
    let data = curved(13, 640);
    let spec = TrainSpec { members: 2, dropout: 0.2, epochs: 3, ..curved_spec() };
    let of = |spec: &TrainSpec, chunk| {
        let (trainer, epochs) = train(spec, &data, chunk, None);
        (trainer.finish().expect("finishes").first, epochs)
    };
    let first = of(&spec, 64);
    assert!(first == of(&spec, 64), "again");
    assert!(first == of(&spec, 320), "in other chunks");
    assert!(first.0 != of(&TrainSpec { seed: 1, ..spec.clone() }, 64).0, "another seed");
}

#[test]
fn it_ends_when_it_gets_no_better_and_keeps_the_best() {
    // Nothing is to be learned from noise: the loss on other noise soon rises.
    let mut normal = Normal::new(14);
    let mut noise = |count: usize| Data {
        first: (0..count).map(|_| normal.row(20)).collect(),
        targets: (0..count).map(|_| normal.row(1)).collect(),
        ..Data::default()
    };
    let (data, other) = (noise(200), noise(200));
    let task = TrainTask::Regression { outputs: 1 };
    let spec = TrainSpec {
        epochs: 200,
        patience: 4,
        learning_rate: 1e-2,
        ..TrainSpec::new(TowerInput::rows(20), task)
    };
    let (trainer, epochs) = train(&spec, &data, 200, Some(&other));
    assert!(epochs.len() < 100, "{}", epochs.len());
    let losses: Vec<f64> = epochs.iter().filter_map(|epoch| epoch.validation_loss).collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let outcome = trainer.finish().expect("finishes");
    let best_epoch = outcome.best_epoch.expect("an epoch") as usize;
    assert_eq!(losses[best_epoch], best);
    assert_eq!(best_epoch + 1 + 4, epochs.len());
    let head = NetworkHead::new(&weights(&spec, outcome)).expect("a head");
    let predicted = applied(&head, &other);
    let squares = predicted.iter().zip(wide(&other.targets)).map(|(a, b)| (a - b).powi(2));
    assert!((squares.sum::<f64>() / 200.0 - best).abs() < 1e-5 * best);
}

#[test]
fn a_training_that_leaves_every_bound_says_so() {
    let mut data = curved(15, 64);
    data.targets = vec![vec![3e38]; 64];
    let spec = TrainSpec { targets: None, ..curved_spec() };
    let mut trainer = Trainer::new(spec.clone(), Device::Cpu).expect("begins");
    let failure = trainer.learn(&data.all(&spec), &mut on).expect_err("diverges");
    assert!(matches!(failure, Failure::Diverged { .. }), "{failure}");
    let mut trainer = Trainer::new(spec.clone(), Device::Cpu).expect("begins");
    let chunk = Chunk { examples: 63, ..data.all(&spec) };
    assert!(matches!(trainer.learn(&chunk, &mut on), Err(Failure::Examples { .. })));
    assert!(matches!(trainer.end_epoch(), Err(Failure::Examples { .. })));
    let stopped = trainer.learn(&data.all(&spec), &mut || Err(Failure::Stopped { reason: "gone" }));
    assert!(matches!(stopped, Err(Failure::Stopped { .. })));
}

#[test]
fn sequences_that_are_too_large_when_padded_are_taken_apart() {
    // One long sequence among short ones: padded together they would be 64 times 200,000 tokens of 8 numbers.
    let mut data = marked(16, 64);
    data.first[10] = vec![0.5; 8 * 200_000];
    let spec = TrainSpec {
        hidden: vec![4],
        epochs: 1,
        ..TrainSpec::new(TowerInput::tokens(8, 2), TrainTask::Classes { classes: 2 })
    };
    let (trainer, epochs) = train(&spec, &data, 64, None);
    assert!(epochs[0].loss.is_finite());
    trainer.finish().expect("finishes");
}
