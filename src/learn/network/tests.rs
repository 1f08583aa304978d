use proptest::prelude::*;

use super::erf::{erf, normal_cdf};
use super::*;
use crate::learn::LearnError;

fn tensor(name: &str, shape: &[usize], values: &[f32]) -> NamedTensor {
    NamedTensor { name: name.to_owned(), shape: shape.to_vec(), values: values.to_vec() }
}

fn shape(input: usize, hidden: &[usize], output: HeadOutput) -> HeadShape {
    let activation = Activation::Relu;
    HeadShape { input, attention: None, hidden: hidden.to_vec(), activation, output }
}

/// Weights that are different from each other and small.
fn any_member(shape: &HeadShape, seed: usize) -> Vec<NamedTensor> {
    let number =
        |place: usize| (((place * 7919 + seed * 104_729) % 1_000) as f32 / 500.0 - 1.0) / 2.0;
    let tensors = shape.tensors().into_iter();
    tensors
        .map(|(name, shape)| {
            let count = shape.iter().product();
            NamedTensor { name, shape, values: (0..count).map(number).collect() }
        })
        .collect()
}

#[test]
fn the_error_function_has_its_known_values() {
    // Abramowitz & Stegun, table 7.1, and the tail.
    for (x, value) in [
        (0.0, 0.0),
        (0.1, 0.112_462_916_018_284_9),
        (0.5, 0.520_499_877_813_046_5),
        (1.0, 0.842_700_792_949_714_9),
        (1.7, 0.983_790_458_590_774_6),
        (2.5, 0.999_593_047_982_555),
        (7.0, 1.0),
    ] {
        assert!((erf(x) - value).abs() < 1e-11, "erf({x}) = {}", erf(x));
        assert!((erf(-x) + value).abs() < 1e-11, "erf(-{x})");
    }
    assert!(erf(f64::NAN).is_nan());
    assert_eq!(erf(f64::NEG_INFINITY), -1.0);
    assert!((normal_cdf(1.0) - 0.841_344_746_068_542_9).abs() < 1e-11);
}

#[test]
fn a_perceptron_computes_what_is_computed_by_hand() {
    let shape = shape(2, &[2], HeadOutput::Values(1));
    let member = vec![
        tensor("layers.0.weight", &[2, 2], &[1.0, -1.0, 2.0, 0.5]),
        tensor("layers.0.bias", &[2], &[0.0, -1.0]),
        tensor("layers.1.weight", &[1, 2], &[3.0, -2.0]),
        tensor("layers.1.bias", &[1], &[0.25]),
    ];
    let weights = HeadWeights {
        shape,
        inputs: Some(Scaling { mean: vec![1.0, 2.0], scale: vec![2.0, 4.0] }),
        targets: Some(Scaling { mean: vec![100.0], scale: vec![10.0] }),
        members: vec![member],
    };
    let head = NetworkHead::new(&weights).expect("a head");
    // Scaled (1, -0.5): hidden relu(1.5), relu(0.75); raw 4.5 - 1.5 + 0.25 = 3.25. Scaled (0, 0): 0, 0; raw 0.25.
    let rows = [3.0, 0.0, 1.0, 2.0];
    assert_eq!(head.apply(HeadInputs::Rows(&rows)).expect("computed"), [132.5, 102.5]);
    // The same for every number of rows, whether they fill a block or not.
    for count in [1, 3, 4, 5, 64, 67, 130] {
        let rows: Vec<f64> = rows.iter().copied().cycle().take(2 * count).collect();
        let answers = head.apply(HeadInputs::Rows(&rows)).expect("computed");
        let wanted: Vec<f64> = [132.5, 102.5].iter().copied().cycle().take(count).collect();
        assert_eq!(answers, wanted);
    }
}

#[test]
fn an_ensemble_is_the_mean_of_its_members() {
    let shape =
        HeadShape { activation: Activation::Gelu, ..shape(3, &[5, 4], HeadOutput::Classes(3)) };
    let members: Vec<_> = (0..3).map(|seed| any_member(&shape, seed)).collect();
    let rows: Vec<f64> = (0..21).map(|number| f64::from(number) / 7.0 - 1.0).collect();
    let of = |members: Vec<Vec<NamedTensor>>| {
        let weights = HeadWeights { shape: shape.clone(), inputs: None, targets: None, members };
        NetworkHead::new(&weights)
            .expect("a head")
            .apply(HeadInputs::Rows(&rows))
            .expect("computed")
    };
    let together = of(members.clone());
    let alone: Vec<_> = members.into_iter().map(|member| of(vec![member])).collect();
    for (place, value) in together.iter().enumerate() {
        let mean = alone.iter().map(|each| each[place]).sum::<f64>() / 3.0;
        assert!((value - mean).abs() < 1e-14);
    }
    for row in together.chunks_exact(3) {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-14, "probabilities");
    }
}

/// The textbook way: keys and values of every token, softmax, weighted sum, projection.
#[expect(clippy::needless_range_loop, reason = "as in the book")]
fn pooled_by_the_book(shape: &HeadShape, member: &[NamedTensor], tokens: &[f32]) -> Vec<f64> {
    let AttentionShape { heads, width } = shape.attention.expect("attention");
    let (input, share) = (shape.input, width / heads);
    let at = |tensor: &NamedTensor, place: usize| f64::from(tensor.values[place]);
    let mut joined = vec![0.0; width];
    for head in 0..heads {
        let score = |token: &[f32]| {
            (0..input).map(|i| at(&member[0], head * input + i) * f64::from(token[i])).sum::<f64>()
        };
        let weights: Vec<f64> = tokens.chunks(input).map(|token| score(token).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for (token, weight) in tokens.chunks(input).zip(&weights) {
            for column in head * share..(head + 1) * share {
                let value: f64 = (0..input)
                    .map(|i| at(&member[1], column * input + i) * f64::from(token[i]))
                    .sum();
                joined[column] += weight / sum * (value + at(&member[2], column));
            }
        }
    }
    let out = |row: usize| {
        at(&member[4], row)
            + (0..width).map(|i| at(&member[3], row * width + i) * joined[i]).sum::<f64>()
    };
    (0..width).map(out).collect()
}

#[test]
fn attention_pools_as_the_textbook_does() {
    let attention = Some(AttentionShape { heads: 2, width: 6 });
    let shape = HeadShape { attention, ..shape(5, &[], HeadOutput::Values(6)) };
    let mut member = any_member(&shape, 4);
    // The layer behind it changes nothing.
    let identity = (0..36).map(|place| if place % 7 == 0 { 1.0 } else { 0.0 });
    member[5].values = identity.collect();
    member[6].values = vec![0.0; 6];
    let lengths = [3, 1, 7];
    let values: Vec<f32> = (0..55).map(|place| ((place * 37) % 11) as f32 / 5.0 - 1.0).collect();
    let weights = HeadWeights {
        shape: shape.clone(),
        inputs: None,
        targets: None,
        members: vec![member.clone()],
    };
    let head = NetworkHead::new(&weights).expect("a head");
    let inputs = HeadInputs::Tokens { values: &values, lengths: &lengths };
    let answers = head.apply(inputs).expect("computed");
    let mut from = 0;
    for (length, answer) in lengths.iter().zip(answers.chunks_exact(6)) {
        let until = from + *length as usize * 5;
        let wanted = pooled_by_the_book(&shape, &member, &values[from..until]);
        for (given, wanted) in answer.iter().zip(&wanted) {
            assert!((given - wanted).abs() < 1e-12, "{answer:?} {wanted:?}");
        }
        from = until;
    }
    assert!(matches!(
        head.apply(HeadInputs::Tokens { values: &[], lengths: &[0] }),
        Err(LearnError::TooFew { .. })
    ));
    assert!(head.apply(HeadInputs::Tokens { values: &values, lengths: &[3] }).is_err());
    assert!(head.apply(HeadInputs::Rows(&[0.0; 5])).is_err());
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let shape = shape(3, &[4], HeadOutput::Density { components: 2 });
    let good = HeadWeights {
        inputs: None,
        targets: Some(Scaling { mean: vec![1.0], scale: vec![2.0] }),
        members: vec![any_member(&shape, 1)],
        shape,
    };
    assert_eq!(good.shape.parameters(), 3 * 4 + 4 + 4 * 6 + 6);
    good.check().expect("fits");
    let refused = |change: &dyn Fn(&mut HeadWeights)| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = NetworkHead::new(&bad).expect_err("must be refused").to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    refused(&|bad| bad.members.clear());
    refused(&|bad| drop(bad.members[0].pop()));
    assert!(refused(&|bad| bad.members[0].swap(0, 1)).contains("layers.0.bias"));
    refused(&|bad| bad.members[0][0].values.truncate(5));
    refused(&|bad| bad.members[0][2].values[3] = f32::NAN);
    refused(&|bad| bad.targets = Some(Scaling { mean: vec![0.0], scale: vec![0.0] }));
    refused(&|bad| bad.inputs = Some(Scaling { mean: vec![0.0], scale: vec![1.0] }));
    refused(&|bad| bad.shape.output = HeadOutput::Classes(6));
    refused(&|bad| bad.shape.hidden = vec![usize::MAX, usize::MAX]);
    let head = NetworkHead::new(&good).expect("a head");
    assert!(matches!(head.apply(HeadInputs::Rows(&[0.0; 4])), Err(LearnError::Shape { .. })));
}

#[test]
fn a_density_head_gives_the_density_of_its_ensemble() {
    let shape = shape(2, &[3], HeadOutput::Density { components: 2 });
    let members: Vec<_> = (0..2).map(|seed| any_member(&shape, seed)).collect();
    let targets = Some(Scaling { mean: vec![5.0], scale: vec![0.1] });
    let weights = HeadWeights { shape, inputs: None, targets, members };
    let head = NetworkHead::new(&weights).expect("a head");
    let rows = [0.3, -0.2, 1.0, 0.5];
    let densities = head.densities(HeadInputs::Rows(&rows)).expect("computed");
    let means = head.apply(HeadInputs::Rows(&rows)).expect("computed");
    assert_eq!(means, densities.iter().map(Mixture::mean).collect::<Vec<_>>());
    for mixture in densities {
        assert_eq!(mixture.weights.len(), 4);
        assert!((mixture.weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
        // The density integrates to 1, to its mean and to its variance.
        let (low, step) =
            (mixture.mean() - 12.0 * mixture.sigma(), 24.0 * mixture.sigma() / 20_000.0);
        let points = (0..20_000).map(|place| low + (f64::from(place) + 0.5) * step);
        let moments = points.fold((0.0, 0.0, 0.0), |sums, y| {
            let mass = mixture.log_density(y).exp() * step;
            (sums.0 + mass, sums.1 + mass * y, sums.2 + mass * y * y)
        });
        assert!((moments.0 - 1.0).abs() < 1e-6, "{moments:?}");
        assert!((moments.1 - mixture.mean()).abs() < 1e-6);
        assert!((moments.2 - moments.1 * moments.1 - mixture.sigma().powi(2)).abs() < 1e-6);
    }
    let values = HeadWeights {
        shape: self::shape(1, &[], HeadOutput::Values(1)),
        targets: None,
        inputs: None,
        members: vec![any_member(&self::shape(1, &[], HeadOutput::Values(1)), 1)],
    };
    let head = NetworkHead::new(&values).expect("a head");
    assert!(head.densities(HeadInputs::Rows(&[1.0])).is_err());
}

#[test]
fn far_from_every_gaussian_the_logarithm_is_still_a_number() {
    let mixture =
        Mixture { weights: vec![1.0, 0.0], means: vec![0.0, 1.0], sigmas: vec![1.0, 1.0] };
    assert!((mixture.log_density(1e4) + 5e7).abs() < 10.0);
    assert!(mixture.quantile(0.0).is_nan() && mixture.quantile(1.5).is_nan());
    assert!((mixture.quantile(0.841_344_746_068_542_9) - 1.0).abs() < 1e-9);
}

proptest! {
    #[test]
    fn quantiles_invert_the_cumulative_probability(
        parts in prop::collection::vec((0.01..1.0_f64, -5.0..5.0_f64, 0.01..3.0_f64), 1..6),
        p in 0.001..0.999_f64,
    ) {
        let sum: f64 = parts.iter().map(|part| part.0).sum();
        let mixture = Mixture {
            weights: parts.iter().map(|part| part.0 / sum).collect(),
            means: parts.iter().map(|part| part.1).collect(),
            sigmas: parts.iter().map(|part| part.2).collect(),
        };
        prop_assert!((mixture.cdf(mixture.quantile(p)) - p).abs() < 1e-9);
    }

    #[test]
    fn every_epoch_has_all_places_in_another_order(count in 0_usize..300, seed: u64) {
        let (first, second) = (epoch_order(count, 0, seed), epoch_order(count, 1, seed));
        prop_assert_eq!(&first, &epoch_order(count, 0, seed));
        if count > 20 {
            prop_assert_ne!(&first, &second);
        }
        let mut sorted = second;
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..count as u32).collect::<Vec<_>>());
    }
}
