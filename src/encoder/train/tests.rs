use super::*;
use crate::encoder::EncoderError;
use crate::learn::{
    Activation, AttentionShape, HeadOutput, HeadShape, HeadWeights, NamedTensor, NetworkHead,
    Scaling,
};
use crate::wire::internal;

fn towers() -> TrainSpec {
    let second = TowerInput {
        scaling: Some(Scaling { mean: vec![1.0; 6], scale: vec![2.0; 6] }),
        ..TowerInput::tokens(6, 3)
    };
    let task = TrainTask::Contrastive {
        second,
        dimension: 16,
        temperature: 0.07,
        learn_temperature: true,
    };
    TrainSpec {
        hidden: vec![32, 8],
        activation: Activation::Gelu,
        dropout: 0.25,
        learning_rate: 3e-4,
        anneal: true,
        weight_decay: 0.01,
        epochs: 7,
        batch: 128,
        patience: 2,
        seed: u64::MAX,
        examples: 1 << 33,
        ..TrainSpec::new(TowerInput::rows(5), task)
    }
}

fn regression() -> TrainSpec {
    TrainSpec::new(TowerInput::rows(2), TrainTask::Regression { outputs: 1 })
}

#[test]
fn a_training_survives_its_message() {
    let targets = Some(Scaling { mean: vec![3.0], scale: vec![0.5] });
    let density = TrainSpec {
        targets,
        members: 4,
        ..TrainSpec::new(TowerInput::tokens(8, 2), TrainTask::Density { components: 5 })
    };
    let classes = TrainSpec::new(TowerInput::rows(3), TrainTask::Classes { classes: 9 });
    let fractions = TrainSpec::new(TowerInput::rows(3), TrainTask::Fractions { classes: 4 });
    for spec in [towers(), density, classes, fractions, regression()] {
        spec.check().expect("good");
        let message = internal::TrainStart::from(&spec);
        assert_eq!(TrainSpec::try_from(message).expect("the same"), spec);
    }
    assert!(TrainSpec::try_from(internal::TrainStart::default()).is_err());
}

#[test]
fn a_training_that_cannot_be_is_refused_and_told_why() {
    let refused = |spec: TrainSpec, word: &str| {
        let error = spec.check().expect_err(word);
        assert!(matches!(error, EncoderError::Refused { .. }));
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(TrainSpec { epochs: 0, ..regression() }, "epochs");
    refused(TrainSpec { batch: 0, ..regression() }, "batch");
    refused(TrainSpec { batch: 1 << 20, ..regression() }, "batch");
    refused(TrainSpec { dropout: 1.0, ..regression() }, "dropout");
    refused(TrainSpec { learning_rate: f64::NAN, ..regression() }, "learning_rate");
    refused(TrainSpec { members: 1_000, ..regression() }, "members");
    refused(TrainSpec { hidden: vec![60_000, 60_000], ..regression() }, "parameters");
    refused(TrainSpec { hidden: vec![4; 9], ..regression() }, "hidden layers");
    refused(TrainSpec { hidden: vec![0], ..regression() }, "hidden layer");
    refused(TrainSpec { input: TowerInput::rows(0), ..regression() }, "features");
    refused(TrainSpec { input: TowerInput::tokens(10, 4), ..regression() }, "multiple");
    let twins = TrainSpec { hidden: vec![4_000, 1_500], members: 16, ..regression() };
    refused(twins, "all networks");
    let scaling = Some(Scaling { mean: vec![0.0; 2], scale: vec![1.0; 2] });
    refused(TrainSpec { targets: scaling.clone(), ..regression() }, "means");
    refused(TrainSpec { targets: scaling, ..towers() }, "scaled");
    refused(TrainSpec { members: 2, ..towers() }, "alone");
    refused(TrainSpec { batch: 1, ..towers() }, "batch");
    let at = |given| {
        let mut spec = towers();
        if let TrainTask::Contrastive { temperature, .. } = &mut spec.task {
            *temperature = given;
        }
        spec
    };
    refused(at(1e-6), "temperature");
    refused(at(f32::NAN), "temperature");
    at(1e-5).check().expect("the similarities may be that fine");
    refused(TrainSpec { task: TrainTask::Classes { classes: 1 }, ..regression() }, "two classes");
}

#[test]
fn a_beginning_is_of_the_networks_of_its_training() {
    let of = |shape: HeadShape| -> Vec<NamedTensor> {
        let tensor = |(name, shape): (String, Vec<usize>)| NamedTensor {
            name,
            values: vec![0.5; shape.iter().product()],
            shape,
        };
        shape.tensors().into_iter().map(tensor).collect()
    };
    let task = TrainTask::Contrastive {
        second: TowerInput::rows(4),
        dimension: 3,
        temperature: 0.07,
        learn_temperature: true,
    };
    let spec = TrainSpec { hidden: vec![6], ..TrainSpec::new(TowerInput::rows(2), task) };
    let (first, second) = spec.shapes();
    let (first, second) = (of(first), of(second.expect("two towers")));
    spec.check_beginning(&first, false).expect("fits");
    spec.check_beginning(&second, true).expect("fits");
    assert!(spec.check_beginning(&first, true).is_err(), "of the other tower");
    assert!(spec.check_beginning(&[], false).is_err(), "of none");
    let mut infinite = first.clone();
    infinite[0].values[1] = f32::INFINITY;
    assert!(spec.check_beginning(&infinite, false).is_err(), "not finite");
    let (head, _) = regression().shapes();
    regression().check_beginning(&of(head.clone()), false).expect("fits");
    let reason = regression().check_beginning(&of(head.clone()), true).expect_err("one network");
    assert!(reason.contains("no second tower"), "{reason}");
    let twins = TrainSpec { members: 2, ..regression() };
    assert!(twins.check_beginning(&of(head), false).is_err(), "all alike");
    let tokens = TrainSpec { input: TowerInput::tokens(2, 1), ..regression() };
    let (attentive, _) = tokens.shapes();
    assert!(tokens.check_beginning(&of(attentive), false).is_err(), "an attention");
}

#[test]
fn advised_chunks_are_whole_batches_within_the_limits() {
    for (width, tokens, batch) in
        [(1, 1, 100), (768, 1, 64), (1024, 600, 64), (4_096, 2_000, 16), (65_536, 1, 16_384)]
    {
        let input = TowerInput::rows(width);
        let spec = TrainSpec { input, batch, ..regression() };
        let examples = spec.chunk_examples(tokens);
        assert!((1..=CHUNK_EXAMPLES_MAX).contains(&examples));
        assert!(examples * width * tokens <= CHUNK_NUMBERS_MAX, "{examples}");
        let one_batch_fits = batch * width * tokens <= CHUNK_NUMBERS_MAX / 2;
        assert!(!one_batch_fits || examples.is_multiple_of(batch), "{examples} of {batch}");
    }
}

#[test]
fn chunks_that_do_not_fit_are_refused() {
    let rows = |values: &[f32]| ChunkRows { values: values.to_vec(), lengths: Vec::new() };
    let good = Chunk {
        examples: 2,
        first: rows(&[1.0, 2.0, 3.0, 4.0]),
        targets: vec![0.5, 0.25],
        weights: vec![1.0, 0.0],
        ..Chunk::default()
    };
    good.check(&regression()).expect("fits");
    let message = good.clone().into_message(true);
    assert!(message.validation);
    assert_eq!(Chunk::from(message), good);
    let refused = |spec: &TrainSpec, change: &dyn Fn(&mut Chunk), word: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        let reason = bad.check(spec).expect_err(word);
        assert!(reason.contains(word), "{reason}");
    };
    let spec = regression();
    refused(&spec, &|bad| bad.examples = 0, "0 examples");
    refused(&spec, &|bad| bad.examples = 3, "features");
    refused(&spec, &|bad| bad.first.values[1] = f32::INFINITY, "inf");
    refused(&spec, &|bad| bad.first.lengths = vec![1, 1], "lengths");
    refused(&spec, &|bad| bad.second = rows(&[1.0]), "second tower");
    refused(&spec, &|bad| bad.targets.clear(), "targets");
    refused(&spec, &|bad| bad.classes = vec![0, 1], "classes");
    refused(&spec, &|bad| bad.weights = vec![1.0, -1.0], "negative");
    let classes = TrainSpec { task: TrainTask::Classes { classes: 2 }, ..regression() };
    let labelled = |bad: &mut Chunk| {
        bad.targets.clear();
        bad.classes = vec![1, 2];
    };
    refused(&classes, &labelled, "class 2 of 2");
    let fractions = TrainSpec { task: TrainTask::Fractions { classes: 2 }, ..regression() };
    refused(&fractions, &|bad| bad.targets = vec![0.5, 0.5, 1.5, 0.0], "fraction");
    let tokens = TrainSpec { input: TowerInput::tokens(2, 1), ..regression() };
    refused(&tokens, &|_| {}, "lengths");
    refused(&tokens, &|bad| bad.first.lengths = vec![2, 0], "no tokens");
    refused(&tokens, &|bad| bad.first.lengths = vec![u32::MAX, u32::MAX], "features");
    let mut sequences = good.clone();
    sequences.first = ChunkRows { values: vec![0.0; 8], lengths: vec![3, 1] };
    sequences.check(&tokens).expect("fits");
}

#[test]
fn a_head_survives_its_bytes_and_damaged_bytes_are_refused() {
    let shape = HeadShape {
        input: 3,
        attention: Some(AttentionShape { heads: 2, width: 4 }),
        hidden: vec![5],
        activation: Activation::Gelu,
        output: HeadOutput::Density { components: 2 },
    };
    let tensor = |(name, shape): (String, Vec<usize>)| NamedTensor {
        values: vec![0.25; shape.iter().product()],
        name,
        shape,
    };
    let head = HeadWeights {
        inputs: Some(Scaling { mean: vec![0.0; 3], scale: vec![1.0; 3] }),
        targets: Some(Scaling { mean: vec![7.0], scale: vec![2.0] }),
        members: vec![shape.tensors().into_iter().map(tensor).collect(); 2],
        shape,
    };
    let bytes = head_to_bytes(&head);
    let read = head_from_bytes(&bytes).expect("the same");
    assert_eq!(read, head);
    NetworkHead::new(&read).expect("computes");
    for end in [0, 1, 10, bytes.len() / 2, bytes.len() - 1] {
        assert!(head_from_bytes(&bytes[..end]).is_err(), "cut at {end}");
    }
}
