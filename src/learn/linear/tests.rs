//! Heads against their definitions: derivatives that vanish, and fits that are made again.

use proptest::prelude::*;

use super::super::lapack::cholesky_solve;
use super::super::{Features, LearnError, Matrix, Progress};
use super::*;

/// Seeded numbers between -1 and 1.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Ridge by its normal equations, the intercept being one more, unpenalised, coefficient (the last).
fn plain_ridge(x: &Matrix, y: &[f64], w: &[f64], alpha: f64) -> Vec<f64> {
    let width = x.width();
    let wide = width + 1;
    let (mut normal, mut right) = (vec![0.0; wide * wide], vec![0.0; wide]);
    for example in 0..x.count() {
        let mut row = x.row(example).to_vec();
        row.push(1.0);
        for i in 0..wide {
            right[i] += w[example] * row[i] * y[example];
            for j in 0..wide {
                normal[i * wide + j] += w[example] * row[i] * row[j];
            }
        }
    }
    (0..width).for_each(|at| normal[at * (wide + 1)] += alpha);
    cholesky_solve(&mut normal, wide, &mut right).expect("positive definite");
    right
}

fn ridge(
    x: &Matrix,
    y: &[f64],
    w: &[f64],
    folds: Folds<'_>,
    alphas: &[f64],
) -> Result<RidgeFit, LearnError> {
    let options = RidgeOptions { alphas: alphas.to_vec(), standardize: false };
    ridge_path(x, y, 1, Some(w), folds, &options, 2, Progress::silent())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn ridge_and_its_scores_are_those_of_fits_made_again(
        width in 1usize..6, count in 12usize..30, alpha in 0.01f64..10.0, seed in any::<u64>()
    ) {
        let x = Matrix::new(width, numbers(count * width, seed)).expect("whole");
        let y: Vec<f64> = numbers(count, seed ^ 1).iter().map(|noise| noise * 2.0 + 5.0).collect();
        let mut w: Vec<f64> = numbers(count, seed ^ 2).iter().map(|w| w + 1.2).collect();
        w[3] = 0.0;
        let close = |a: f64, b: f64| (a - b).abs() < 1e-8 * (1.0 + b.abs());
        let whole = plain_ridge(&x, &y, &w, alpha);
        let error = |fit: &[f64], at: usize| {
            let predicted = x.row(at).iter().zip(fit).map(|(x, b)| x * b).sum::<f64>() + fit[width];
            w[at] * (y[at] - predicted).powi(2)
        };
        let without = |is_out: &dyn Fn(usize) -> bool| {
            let w: Vec<f64> = (0..count).map(|at| if is_out(at) { 0.0 } else { w[at] }).collect();
            plain_ridge(&x, &y, &w, alpha)
        };
        let left = ridge(&x, &y, &w, Folds::LeaveOneOut, &[alpha]).expect("a fit");
        for (ours, plain) in left.model.weights.iter().chain(&left.model.intercepts).zip(&whole) {
            prop_assert!(close(*ours, *plain), "{ours} {plain}");
        }
        let one_out: f64 = (0..count).map(|at| error(&without(&|each| each == at), at)).sum();
        prop_assert!(close(left.scores[0].mse, one_out / w.iter().sum::<f64>()));

        let of = fold_numbers(count, 3, seed);
        let folds = Folds::Of { of: &of, count: 3 };
        let folded = ridge(&x, &y, &w, folds, &[alpha]).expect("a fit");
        for fold in 0..3 {
            let fit = without(&|at| of[at] as usize == fold);
            let inside = || (0..count).filter(|at| of[*at] as usize == fold);
            let weight: f64 = inside().map(|at| w[at]).sum();
            let mse = inside().map(|at| error(&fit, at)).sum::<f64>() / weight;
            prop_assert!(close(folded.scores[0].fold_mse[fold], mse));
        }
    }

    #[test]
    fn derivatives_vanish_where_logistic_regression_ends(
        (width, classes) in (1usize..5, 2usize..5),
        count in 20usize..60,
        alpha in 0.01f64..10.0,
        are_fractions in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let x = Matrix::new(width, numbers(count * width, seed)).expect("whole");
        let w: Vec<f64> = numbers(count, seed ^ 2).iter().map(|w| w + 1.2).collect();
        let hard: Vec<u32> = (0..count).map(|at| (at % classes) as u32).collect();
        let soft: Vec<f64> =
            numbers(count * classes, seed ^ 3).iter().map(|value| value.abs()).collect();
        let labels = if are_fractions { Labels::Fractions(&soft) } else { Labels::Classes(&hard) };
        let options = LogisticOptions { alphas: vec![alpha], ..LogisticOptions::default() };
        let silent = Progress::silent();
        let fit = logistic_path(&x, labels, classes, Some(&w), Folds::None, &options, 2, silent)
            .expect("a fit");
        let mut predicted = Vec::new();
        fit.model.predict(x.as_slice(), count, &mut predicted).expect("shapes fit");
        let fixed = classes - fit.model.linear.outputs();
        for class in fixed..classes {
            let mut slopes = vec![0.0; width + 1];
            for at in 0..count {
                let label = |class: usize| match labels {
                    Labels::Classes(of) => f64::from(u8::from(of[at] as usize == class)),
                    Labels::Fractions(of) => of[at * classes + class],
                };
                let whole: f64 = (0..classes).map(label).sum();
                let pull = w[at] * (whole * predicted[at * classes + class] - label(class));
                slopes.iter_mut().zip(x.row(at)).for_each(|(slope, x)| *slope += pull * x);
                slopes[width] += pull;
            }
            for (at, slope) in slopes.iter().enumerate() {
                let weights = &fit.model.linear.weights[(class - fixed) * width..];
                let slope = slope + if at < width { alpha * weights[at] } else { 0.0 };
                prop_assert!(slope.abs() < 1e-6 * count as f64, "{slope}");
            }
        }
    }
}

#[test]
fn few_examples_and_constants_are_told() {
    let x = Matrix::new(3, vec![1.0, 0.0, 7.0, 0.0, 1.0, 7.0]).expect("whole");
    let fit = ridge(&x, &[1.0, 3.0], &[1.0, 1.0], Folds::None, &[0.0]).expect("a fit");
    // The shortest of all solutions.
    for (ours, shortest) in fit.model.weights.iter().zip([-1.0, 1.0, 0.0]) {
        assert!((ours - shortest).abs() < 1e-12, "{:?}", fit.model);
    }
    assert_eq!(fit.warnings.len(), 2, "{:?}", fit.warnings);
    let default = RidgeOptions::default();
    let silent = Progress::silent();
    let fit = ridge_path(&x, &[1.0, 3.0], 1, None, Folds::LeaveOneOut, &default, 1, silent);
    assert_eq!(fit.expect("a fit").alphas.len(), 20);
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let x = Matrix::new(1, vec![1.0, 2.0, 3.0]).expect("whole");
    let w = [1.0; 3];
    let none = Folds::None;
    let fit = |y: &[f64], w: &[f64], alphas: &[f64]| ridge(&x, y, w, none, alphas).err();
    assert!(matches!(fit(&[2.0; 3], &w, &[1.0]), Some(LearnError::OneValue { .. })));
    assert!(matches!(
        fit(&[1.0, 2.0, 2.0], &[0.0, 1.0, 1.0], &[1.0]),
        Some(LearnError::OneValue { .. })
    ));
    let nan = fit(&[1.0, f64::NAN, 2.0], &w, &[1.0]);
    assert_eq!(nan, Some(LearnError::NotFinite { what: "the target", example: 1 }));
    assert!(matches!(fit(&[1.0, 2.0], &w, &[1.0]), Some(LearnError::Shape { .. })));
    assert!(matches!(fit(&[1.0, 2.0, 3.0], &w, &[-1.0]), Some(LearnError::BadSetting { .. })));
    let negative = fit(&[1.0, 2.0, 3.0], &[1.0, -1.0, 1.0], &[1.0]);
    assert!(matches!(negative, Some(LearnError::BadSetting { .. })));
    let lone = fit(&[1.0, 2.0, 3.0], &[1.0, 0.0, 0.0], &[1.0]);
    assert!(matches!(lone, Some(LearnError::TooFew { .. })));

    let fit = |labels: Labels<'_>, folds: Folds<'_>| {
        let options = LogisticOptions::default();
        logistic_path(&x, labels, 2, None, folds, &options, 1, Progress::silent()).err()
    };
    assert!(matches!(fit(Labels::Classes(&[1; 3]), none), Some(LearnError::OneValue { .. })));
    assert!(matches!(fit(Labels::Classes(&[0, 1, 2]), none), Some(LearnError::BadSetting { .. })));
    assert!(matches!(fit(Labels::Classes(&[0, 1]), none), Some(LearnError::Shape { .. })));
    let over = fit(Labels::Fractions(&[0.0, 1.0, 0.5, 1.5, 0.0, 1.0]), none);
    assert_eq!(over, Some(LearnError::NotAFraction { example: 1, value: 1.5 }));
    let left = fit(Labels::Classes(&[0, 1, 1]), Folds::LeaveOneOut);
    assert!(matches!(left, Some(LearnError::BadSetting { .. })));
    // Without the first fold only one class is left.
    let folded = fit(Labels::Classes(&[0, 1, 1]), Folds::Of { of: &[0, 1, 1], count: 2 });
    assert!(matches!(folded, Some(LearnError::BadSetting { .. })));
}

#[test]
fn whoever_stops_ends_the_fit() {
    let x = Matrix::new(1, numbers(9_000, 1)).expect("whole");
    let stop = std::sync::atomic::AtomicBool::new(true);
    let progress = Progress::new(&|_, _, _| {}, &stop);
    let y = numbers(9_000, 2);
    let fit =
        ridge_path(&x, &y, 1, None, Folds::LeaveOneOut, &RidgeOptions::default(), 2, progress);
    assert_eq!(fit, Err(LearnError::Stopped));
}

#[test]
fn more_strengths_than_can_be_tried_are_refused() {
    check_alphas(&[1.0; ALPHAS_MAX], false).expect("as many as there may be");
    let refused = check_alphas(&[1.0; ALPHAS_MAX + 1], true).expect_err("one too many");
    assert!(refused.to_string().contains("at most 1000"), "{refused}");
}
