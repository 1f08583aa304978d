//! Networks that are told what to begin with.

use sidereus::encoder::{TowerInput, TrainSpec, TrainTask};
use sidereus::learn::{HeadShape, NamedTensor};
use tch::Device;

use super::super::trainer::{Failure, Trainer};
use super::{Data, Normal, curved, curved_spec, on, train};

fn tensors(shape: &HeadShape, normal: &mut Normal) -> Vec<NamedTensor> {
    let named = shape.tensors().into_iter().map(|(name, shape)| {
        let values = normal.row(shape.iter().product());
        NamedTensor { name, shape, values }
    });
    named.collect()
}

/// Two towers, one affine map each.
fn towers() -> TrainSpec {
    let task = TrainTask::Contrastive {
        second: TowerInput::rows(3),
        dimension: 3,
        temperature: 0.05,
        learn_temperature: true,
    };
    TrainSpec { hidden: Vec::new(), batch: 64, ..TrainSpec::new(TowerInput::rows(3), task) }
}

/// The same three numbers on both sides.
fn twins(seed: u64, count: usize) -> Data {
    let mut normal = Normal::new(seed);
    let first: Vec<Vec<f32>> = (0..count).map(|_| normal.row(3)).collect();
    Data { second: first.clone(), first, ..Data::default() }
}

/// The map that changes nothing.
fn identity(shape: &HeadShape) -> Vec<NamedTensor> {
    let named = shape.tensors().into_iter().map(|(name, shape)| {
        let count: usize = shape.iter().product();
        let is_one = |at: usize| shape.len() == 2 && at.is_multiple_of(4);
        let values = (0..count).map(|at| f32::from(u8::from(is_one(at)))).collect();
        NamedTensor { name, shape, values }
    });
    named.collect()
}

#[test]
fn a_network_begins_with_what_it_is_given() {
    let spec = TrainSpec { hidden: vec![7, 4], ..towers() };
    let (first, second) = spec.shapes();
    let mut normal = Normal::new(31);
    let given = [tensors(&first, &mut normal), tensors(&second.expect("two"), &mut normal)];
    let mut trainer = Trainer::new(spec.clone(), Device::Cpu).expect("begins");
    trainer.begin(&given[0], false).expect("fits");
    trainer.begin(&given[1], true).expect("fits");
    trainer.validate(&twins(32, 50).all(&spec), &mut on).expect("measures");
    let measured = trainer.end_epoch().expect("ends");
    assert!(!measured.last && measured.validation_loss.is_some(), "{measured:?}");
    let outcome = trainer.finish().expect("finishes");
    assert_eq!(outcome.best_epoch, None);
    assert_eq!([outcome.first[0].clone(), outcome.second[0].clone()], given);
    assert!((outcome.temperature.expect("two towers") - 0.05).abs() < 1e-6);
}

#[test]
fn the_beginning_is_kept_where_training_only_harms_and_left_where_it_helps() {
    let (data, other) = (twins(33, 256), twins(34, 128));
    let outcome = |spec: &TrainSpec, data: &Data, good: bool| {
        let mut trainer = Trainer::new(spec.clone(), Device::Cpu).expect("begins");
        let (first, second) = spec.shapes();
        let second = second.expect("two");
        trainer.begin(&identity(&first), false).expect("fits");
        let mut other_side = identity(&second);
        if !good {
            // Everything is the opposite of its own.
            for value in &mut other_side[0].values {
                *value = -*value;
            }
        }
        trainer.begin(&other_side, true).expect("fits");
        trainer.validate(&other.all(spec), &mut on).expect("measures");
        let begun = trainer.end_epoch().expect("ends").loss;
        let mut epochs = 0;
        loop {
            trainer.learn(&data.all(spec), &mut on).expect("learns");
            trainer.validate(&other.all(spec), &mut on).expect("measures");
            epochs += 1;
            let epoch = trainer.end_epoch().expect("ends");
            if epoch.last {
                break;
            }
        }
        (trainer.finish().expect("finishes"), begun, epochs)
    };
    // Pairs that have nothing to do with each other lead away from what is right already.
    let strangers = Data { second: twins(37, 256).second, ..data.clone() };
    let spec = TrainSpec { learning_rate: 0.03, epochs: 50, patience: 3, ..towers() };
    let (kept, _, epochs) = outcome(&spec, &strangers, true);
    assert_eq!((kept.best_epoch, epochs), (None, 3));
    let (first, second) = spec.shapes();
    assert_eq!(kept.first[0], identity(&first));
    assert_eq!(kept.second[0], identity(&second.expect("two")));
    assert!((kept.temperature.expect("two towers") - 0.05).abs() < 1e-6, "and its temperature");
    let patient = TrainSpec { patience: 0, ..spec };
    let (learned, begun, epochs) = outcome(&patient, &data, false);
    assert_eq!(epochs, 50);
    assert!(learned.best_epoch.is_some(), "{begun}");
    assert_ne!(learned.first[0], identity(&first));
}

#[test]
fn what_is_no_beginning_is_refused() {
    let spec = curved_spec();
    let (shape, _) = spec.shapes();
    let good = tensors(&shape, &mut Normal::new(35));
    let refused = |spec: &TrainSpec, tensors: &[NamedTensor], second: bool, word: &str| {
        let mut trainer = Trainer::new(spec.clone(), Device::Cpu).expect("begins");
        match trainer.begin(tensors, second) {
            Err(Failure::Examples { reason }) => assert!(reason.contains(word), "{reason}"),
            other => panic!("{word}: {other:?}"),
        }
    };
    refused(&spec, &good, true, "no second tower");
    refused(&spec, &good[..3], false, "tensors of a member");
    let mut bad = good.clone();
    bad[1].values[0] = f32::NAN;
    refused(&spec, &bad, false, "weight");
    let mut bad = good.clone();
    bad[0].values.pop();
    refused(&spec, &bad, false, "numbers of a tensor");
    let mut bad = good.clone();
    bad[0].shape.reverse();
    refused(&spec, &bad, false, "layers.0.weight");
    refused(&TrainSpec { members: 2, ..spec.clone() }, &good, false, "ensemble");
    let attentive = TrainSpec { input: TowerInput::tokens(5, 1), ..spec.clone() };
    refused(&attentive, &good, false, "attention");
    // It is too late after the first batch.
    let (mut trainer, _) = train(&TrainSpec { epochs: 1, ..spec }, &curved(36, 64), 64, None);
    let late = trainer.begin(&good, false);
    assert!(matches!(late, Err(Failure::Examples { .. })), "{late:?}");
}
