//! What is learned, against functions that are known.

mod begun;
mod exact;

use sidereus::encoder::{Chunk, ChunkRows, TowerInput, TrainSpec, TrainTask};
use sidereus::learn::{
    Activation, HeadInputs, HeadWeights, Mixture, NetworkHead, Scaling, epoch_order,
};
use tch::{Device, Tensor};

use super::super::load::to_rows;
use super::random::Random;
use super::trainer::{Epoch, Failure, Outcome, Trainer};

/// Examples of one length each.
#[derive(Default, Clone)]
struct Data {
    /// Features of each example.
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
    targets: Vec<Vec<f32>>,
    classes: Vec<u32>,
    weights: Vec<f32>,
}

impl Data {
    fn chunk(&self, spec: &TrainSpec, order: &[u32]) -> Chunk {
        let pick = |rows: &[Vec<f32>]| -> Vec<f32> {
            let picked = order.iter().filter_map(|place| rows.get(*place as usize));
            picked.flatten().copied().collect()
        };
        let rows = |rows: &[Vec<f32>], input: Option<&TowerInput>| {
            let tokens = input.is_some_and(|input| input.attention.is_some());
            let width = input.map_or(1, |input| input.width);
            let length = |place: &u32| (rows[*place as usize].len() / width) as u32;
            let lengths = if tokens { order.iter().map(length).collect() } else { Vec::new() };
            ChunkRows { values: pick(rows), lengths }
        };
        let some = |place: &u32| self.classes.get(*place as usize).copied();
        let weight = |place: &u32| self.weights.get(*place as usize).copied();
        Chunk {
            examples: order.len(),
            first: rows(&self.first, Some(&spec.input)),
            second: rows(&self.second, spec.second()),
            targets: pick(&self.targets),
            classes: order.iter().filter_map(some).collect(),
            weights: order.iter().filter_map(weight).collect(),
        }
    }

    fn all(&self, spec: &TrainSpec) -> Chunk {
        self.chunk(spec, &(0..self.first.len() as u32).collect::<Vec<_>>())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for a function that may fail")]
fn on() -> Result<(), Failure> {
    Ok(())
}

/// Trains to the end in chunks of so many examples.
fn train(
    spec: &TrainSpec,
    data: &Data,
    chunk: usize,
    validation: Option<&Data>,
) -> (Trainer, Vec<Epoch>) {
    spec.check().expect("a good training");
    let mut trainer = Trainer::new(spec.clone(), Device::Cpu).expect("begins");
    let mut epochs = Vec::new();
    for epoch in 0..spec.epochs {
        for order in epoch_order(data.first.len(), epoch, 1).chunks(chunk) {
            trainer.learn(&data.chunk(spec, order), &mut on).expect("learns");
        }
        if let Some(validation) = validation {
            trainer.validate(&validation.all(spec), &mut on).expect("measures");
        }
        epochs.push(trainer.end_epoch().expect("ends"));
        if epochs.last().is_some_and(|epoch| epoch.last) {
            break;
        }
    }
    (trainer, epochs)
}

fn weights(spec: &TrainSpec, outcome: Outcome) -> HeadWeights {
    HeadWeights {
        shape: spec.shapes().0,
        inputs: spec.input.scaling.clone(),
        targets: spec.targets.clone(),
        members: outcome.first,
    }
}

fn learned(spec: &TrainSpec, data: &Data) -> NetworkHead {
    let (trainer, _) = train(spec, data, 8 * spec.batch, None);
    NetworkHead::new(&weights(spec, trainer.finish().expect("finishes"))).expect("a head")
}

fn wide(rows: &[Vec<f32>]) -> Vec<f64> {
    rows.iter().flatten().map(|value| f64::from(*value)).collect()
}

fn applied(head: &NetworkHead, data: &Data) -> Vec<f64> {
    head.apply(HeadInputs::Rows(&wide(&data.first))).expect("computed")
}

struct Normal(Random);

impl Normal {
    fn new(seed: u64) -> Self {
        Self(Random::new(seed, 77))
    }

    fn next(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.0.unit()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.0.unit()).cos()
    }

    fn row(&mut self, width: usize) -> Vec<f32> {
        (0..width).map(|_| self.next()).collect()
    }
}

fn r2(truth: &[Vec<f32>], predicted: &[f64]) -> f64 {
    let truth = wide(truth);
    let mean = truth.iter().sum::<f64>() / truth.len() as f64;
    let residual: f64 = truth.iter().zip(predicted).map(|(a, b)| (a - b).powi(2)).sum();
    1.0 - residual / truth.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
}

/// A smooth function of three of five features that lie far from the origin, with a little noise.
fn curved(seed: u64, count: usize) -> Data {
    let mut normal = Normal::new(seed);
    let mut data = Data::default();
    for _ in 0..count {
        let x = normal.row(5);
        let y = (2.0 * x[0]).sin() + x[1] * x[2] + 0.05 * normal.next();
        data.first.push(x.iter().map(|value| 20.0 * value + 300.0).collect());
        data.targets.push(vec![1_000.0 + 50.0 * y]);
    }
    data
}

fn curved_spec() -> TrainSpec {
    let scaling = Some(Scaling { mean: vec![300.0; 5], scale: vec![20.0; 5] });
    TrainSpec {
        input: TowerInput { scaling, ..TowerInput::rows(5) },
        targets: Some(Scaling { mean: vec![1_000.0], scale: vec![60.0] }),
        hidden: vec![64, 64],
        learning_rate: 3e-3,
        anneal: true,
        examples: 3_000,
        epochs: 30,
        ..TrainSpec::new(TowerInput::rows(5), TrainTask::Regression { outputs: 1 })
    }
}

#[test]
fn a_known_function_is_learned() {
    let (data, test) = (curved(1, 3_000), curved(2, 1_000));
    for activation in [Activation::Relu, Activation::Gelu] {
        let spec = TrainSpec { activation, ..curved_spec() };
        let score = r2(&test.targets, &applied(&learned(&spec, &data), &test));
        assert!(score > 0.95, "{activation:?}: {score}");
    }
}

#[test]
fn an_ensemble_with_dropout_and_decay_learns_too_and_its_members_differ() {
    let (data, test) = (curved(1, 3_000), curved(2, 1_000));
    let spec = TrainSpec { members: 3, dropout: 0.05, weight_decay: 0.01, ..curved_spec() };
    let (trainer, _) = train(&spec, &data, 1_024, None);
    let weights = weights(&spec, trainer.finish().expect("finishes"));
    assert_ne!(weights.members[0], weights.members[1]);
    let score = |members: &[usize]| {
        let members = members.iter().map(|place| weights.members[*place].clone()).collect();
        let head = NetworkHead::new(&HeadWeights { members, ..weights.clone() }).expect("a head");
        r2(&test.targets, &applied(&head, &test))
    };
    let alone = (score(&[0]) + score(&[1]) + score(&[2])) / 3.0;
    let together = score(&[0, 1, 2]);
    assert!(together > 0.93 && together > alone, "{together}, alone {alone}");
}

/// Three classes in rings around the origin: no line tells them apart.
fn rings(seed: u64, count: usize) -> Data {
    let mut normal = Normal::new(seed);
    let mut data = Data::default();
    for place in 0..count {
        let class = place % 3;
        let direction = normal.row(2);
        let length = direction.iter().map(|value| value * value).sum::<f32>().sqrt();
        let radius = 1.0 + class as f32 + 0.15 * normal.next();
        data.first.push(direction.iter().map(|value| radius * value / length).collect());
        data.classes.push(class as u32);
    }
    data
}

#[test]
fn classes_are_told_apart() {
    let (data, test) = (rings(3, 3_000), rings(4, 900));
    let spec = TrainSpec {
        hidden: vec![32, 32],
        learning_rate: 1e-2,
        ..TrainSpec::new(TowerInput::rows(2), TrainTask::Classes { classes: 3 })
    };
    let probabilities = applied(&learned(&spec, &data), &test);
    let right = probabilities
        .chunks_exact(3)
        .zip(&test.classes)
        .filter(|(row, class)| row.iter().all(|probability| *probability <= row[**class as usize]));
    let accuracy = right.count() as f64 / 900.0;
    assert!(accuracy > 0.97, "{accuracy}");
}

#[test]
fn fractions_are_learned_and_votes_weigh() {
    // The truth is a softmax; each object has a few votes only, and some have false votes that count for nothing.
    let mut normal = Normal::new(5);
    let logits = |x: &[f32]| [1.5 * x[0], -x[1], 0.5 * x[0] + x[1]];
    let truth = |x: &[f32]| {
        let raised = logits(x).map(f32::exp);
        raised.map(|each| each / raised.iter().sum::<f32>())
    };
    let mut data = Data::default();
    for place in 0..6_000_u32 {
        let x = normal.row(2);
        let truth = truth(&x);
        let votes = 3 + place % 20;
        let mut counts = [0.0; 3];
        for _ in 0..votes {
            let at = normal.0.unit();
            let class = if at < truth[0] { 0 } else { usize::from(at >= truth[0] + truth[1]) + 1 };
            counts[class] += 1.0;
        }
        let is_false = place % 5 == 0;
        let fractions = counts.map(|count| count / votes as f32);
        data.targets.push(if is_false { vec![1.0, 0.0, 0.0] } else { fractions.to_vec() });
        data.weights.push(if is_false { 0.0 } else { votes as f32 });
        data.first.push(x);
    }
    let spec = TrainSpec {
        hidden: vec![32],
        learning_rate: 1e-2,
        anneal: true,
        ..TrainSpec::new(TowerInput::rows(2), TrainTask::Fractions { classes: 3 })
    };
    let head = learned(&spec, &data);
    let predicted = applied(&head, &data);
    let truths = data.first.iter().flat_map(|x| truth(x));
    let differences = predicted.iter().zip(truths).map(|(a, b)| (a - f64::from(b)).abs());
    let mean = differences.sum::<f64>() / predicted.len() as f64;
    assert!(mean < 0.02, "{mean}");
}

/// A number whose mean and whose scatter depend on the features, with two branches on one side.
fn scattered(seed: u64, count: usize) -> (Data, Vec<Mixture>) {
    let mut normal = Normal::new(seed);
    let (mut data, mut truth) = (Data::default(), Vec::new());
    for _ in 0..count {
        let x = normal.row(2);
        let sigma = 0.1 + 0.3 / (1.0 + (-2.0 * x[1]).exp());
        let apart = if x[0] > 0.0 { 1.5 } else { 0.0 };
        let branch = if normal.0.unit() < 0.5 { apart } else { -apart };
        data.targets.push(vec![x[0] + branch + sigma * normal.next()]);
        let [centre, apart, sigma] = [x[0], apart, sigma].map(f64::from);
        truth.push(Mixture {
            weights: vec![0.5, 0.5],
            means: vec![centre - apart, centre + apart],
            sigmas: vec![sigma, sigma],
        });
        data.first.push(x);
    }
    (data, truth)
}

#[test]
fn densities_are_calibrated_and_almost_as_sharp_as_the_truth() {
    let (data, _) = scattered(6, 6_000);
    let (test, truth) = scattered(7, 2_000);
    let spec = TrainSpec {
        targets: Some(Scaling { mean: vec![0.0], scale: vec![1.6] }),
        hidden: vec![64, 64],
        learning_rate: 3e-3,
        anneal: true,
        epochs: 25,
        examples: 6_000,
        ..TrainSpec::new(TowerInput::rows(2), TrainTask::Density { components: 4 })
    };
    let head = learned(&spec, &data);
    let densities = head.densities(HeadInputs::Rows(&wide(&test.first))).expect("computed");
    let targets = wide(&test.targets);
    let within = |low: f64, high: f64| {
        let inside = densities
            .iter()
            .zip(&targets)
            .filter(|(density, y)| (density.quantile(low)..density.quantile(high)).contains(*y));
        inside.count() as f64 / 2_000.0
    };
    let (one, two) = (within(0.16, 0.84), within(0.025, 0.975));
    assert!((one - 0.68).abs() < 0.035 && (two - 0.95).abs() < 0.02, "{one} {two}");
    let score = |densities: &[Mixture]| {
        densities.iter().zip(&targets).map(|(density, y)| density.log_density(*y)).sum::<f64>()
            / 2_000.0
    };
    let (given, best) = (score(&densities), score(&truth));
    assert!(given > best - 0.1 && given < best + 0.05, "{given} of {best}");
}

/// Sequences of different lengths in which one token is marked and says the class; all others say anything.
fn marked(seed: u64, count: usize) -> Data {
    let mut normal = Normal::new(seed);
    let mut data = Data::default();
    for place in 0..count {
        let length = 12 + place % 9;
        let mut tokens = normal.row(8 * length);
        let at = (normal.0.unit() * length as f32) as usize;
        for (number, token) in tokens.chunks_exact_mut(8).enumerate() {
            let sign = if normal.0.unit() < 0.5 { -1.0 } else { 1.0 };
            (token[0], token[1]) = (0.0, 2.0 * sign);
            if number == at {
                token[0] = 3.0;
                data.classes.push(u32::from(sign > 0.0));
            }
        }
        data.first.push(tokens);
    }
    data
}

#[test]
fn attention_finds_the_one_token_that_matters_where_the_mean_does_not() {
    let (data, test) = (marked(8, 2_000), marked(9, 500));
    let spec = |input| TrainSpec {
        hidden: vec![16],
        learning_rate: 1e-2,
        ..TrainSpec::new(input, TrainTask::Classes { classes: 2 })
    };
    let accuracy = |probabilities: &[f64]| {
        let pairs = probabilities.chunks_exact(2).zip(&test.classes);
        pairs.filter(|(row, class)| row[**class as usize] > 0.5).count() as f64 / 500.0
    };
    let attentive = spec(TowerInput::tokens(8, 2));
    let head = learned(&attentive, &data);
    let chunk = test.all(&attentive).first;
    let inputs = HeadInputs::Tokens { values: &chunk.values, lengths: &chunk.lengths };
    let with_attention = accuracy(&head.apply(inputs).expect("computed"));

    let mean = |tokens: &Vec<f32>| {
        let count = (tokens.len() / 8) as f32;
        (0..8).map(|i| tokens.iter().skip(i).step_by(8).sum::<f32>() / count).collect()
    };
    let of_means =
        |data: &Data| Data { first: data.first.iter().map(mean).collect(), ..data.clone() };
    let head = learned(&spec(TowerInput::rows(8)), &of_means(&data));
    let with_mean = accuracy(&applied(&head, &of_means(&test)));
    assert!(with_attention > 0.97, "{with_attention}");
    assert!(with_mean < 0.75, "{with_mean}");
}

#[test]
fn two_towers_align_two_views_of_the_same() {
    // Both spaces are rotations of one, each with noise of its own.
    let mut normal = Normal::new(10);
    let turn = |normal: &mut Normal| {
        Tensor::linalg_qr(&Tensor::from_slice(&normal.row(144)).reshape([12, 12]), "reduced").0
    };
    let (left, right) = (turn(&mut normal), turn(&mut normal));
    let mut data = Data::default();
    for _ in 0..3_000 {
        let object = Tensor::from_slice(&normal.row(12));
        let view = |turn: &Tensor, normal: &mut Normal| {
            to_rows(&(turn.matmul(&object) + Tensor::from_slice(&normal.row(12)) * 0.1))
                .expect("numbers")
        };
        data.first.push(view(&left, &mut normal));
        data.second.push(view(&right, &mut normal));
    }
    let task = TrainTask::Contrastive {
        second: TowerInput::rows(12),
        dimension: 12,
        temperature: 0.1,
        learn_temperature: true,
    };
    let spec = TrainSpec {
        hidden: vec![64],
        learning_rate: 3e-3,
        epochs: 15,
        batch: 128,
        ..TrainSpec::new(TowerInput::rows(12), task)
    };
    let test = Data {
        first: data.first.split_off(2_500),
        second: data.second.split_off(2_500),
        ..Data::default()
    };
    let (trainer, _) = train(&spec, &data, 1_024, None);
    let outcome = trainer.finish().expect("finishes");
    let temperature = outcome.temperature.expect("learned");
    assert!(
        temperature > 0.0099 && temperature < 1.0 && (temperature - 0.1).abs() > 1e-4,
        "{temperature}"
    );
    let head = |members: Vec<_>| {
        let shape = spec.shapes().0;
        NetworkHead::new(&HeadWeights { shape, inputs: None, targets: None, members })
            .expect("a head")
    };
    let first = head(outcome.first).apply(HeadInputs::Rows(&wide(&test.first))).expect("computed");
    let second =
        head(outcome.second).apply(HeadInputs::Rows(&wide(&test.second))).expect("computed");
    let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert!(first.chunks_exact(12).all(|row| (cosine(row, row) - 1.0).abs() < 1e-9));
    let right = first.chunks_exact(12).zip(second.chunks_exact(12)).filter(|(own, partner)| {
        let similarity = cosine(own, partner);
        second.chunks_exact(12).all(|other| cosine(own, other) <= similarity)
    });
    let recall = right.count() as f64 / 500.0;
    // By chance it is 0.002.
    assert!(recall > 0.8, "{recall}");
}
