//! A line between a few positives and everything else, fitted while somebody waits.
//!
//! The same minimum as [`logistic_path`](crate::learn::linear::logistic_path) finds, which a test compares it with. That one
//! chooses strengths by folds, for any number of examples and classes, from the spectrum of the features' covariance; for one
//! strength and the few thousand rows of a search that spectrum alone takes many times as long as the whole fit here, which
//! never makes a matrix of features by features.

use crate::learn::{LearnError, Progress};

/// Newton steps at most, steps of conjugate gradients within each, and halvings of a step that leads up.
const STEPS_MAX: usize = 50;
const INNER_MAX: usize = 200;
const HALVINGS_MAX: usize = 30;

/// The gradient below which, relative to the first, the fit is done.
const GRADIENT_LEAST: f64 = 1e-7;

/// Labelled examples of two classes, with weights.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// Features of each example.
    pub width: usize,
    /// Row-major, finite.
    pub features: &'a [f64],
    /// Whether it is a positive.
    pub labels: &'a [bool],
    /// How much it counts; above 0. Their sum does not matter.
    pub weights: &'a [f64],
}

/// A linear score of features: the logit of being a positive.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearHead {
    /// One weight for each feature.
    pub weights: Vec<f64>,
    /// The score of the origin.
    pub intercept: f64,
}

impl LinearHead {
    /// The score of one example.
    pub fn score(&self, features: &[f64]) -> f64 {
        dot(&self.weights, features) + self.intercept
    }

    /// Fits by logistic regression: minimises the weighted mean of the cross entropies + `alpha / 2 ||w||^2`, where `w` are
    /// the weights of features that have been moved by their mean and divided by one number, so that their squares add up to 1
    /// on average. The intercept is not penalised.
    ///
    /// Newton's method with conjugate gradients, which never makes the matrix of second derivatives.
    ///
    /// # Errors
    /// [`LearnError::Shape`], [`LearnError::NotFinite`], [`LearnError::OneValue`] without examples of both classes,
    /// [`LearnError::BadSetting`] for a strength that is not above 0, [`LearnError::Stopped`].
    pub fn fit(
        examples: &Examples<'_>,
        alpha: f64,
        progress: Progress<'_>,
    ) -> Result<Self, LearnError> {
        check(examples, alpha)?;
        let scaled = Scaled::new(examples);
        let mut at = vec![0.0; examples.width + 1];
        let (mut value, mut gradient, mut curvature) = scaled.look(&at, alpha);
        let first = norm(&gradient);
        for step in 0..STEPS_MAX {
            progress.step("fit", step as u64, STEPS_MAX as u64)?;
            let size = norm(&gradient);
            if size <= GRADIENT_LEAST * first || size == 0.0 {
                break;
            }
            let direction =
                scaled.direction(&gradient, &curvature, alpha, (size / first).sqrt().min(0.1));
            let slope = dot(&gradient, &direction);
            let mut length = 1.0;
            let mut found = None;
            for _ in 0..HALVINGS_MAX {
                let next: Vec<f64> =
                    at.iter().zip(&direction).map(|(at, step)| at + length * step).collect();
                let looked = scaled.look(&next, alpha);
                if looked.0 <= value + 1e-4 * length * slope {
                    found = Some((next, looked));
                    break;
                }
                length /= 2.0;
            }
            // Nothing lower can be told from here in this precision: this is the lowest.
            let Some((next, looked)) = found else { break };
            at = next;
            (value, gradient, curvature) = looked;
        }
        Ok(scaled.unscaled(&at))
    }
}

fn check(examples: &Examples<'_>, alpha: f64) -> Result<(), LearnError> {
    let Examples { width, features, labels, weights } = *examples;
    let shape = |what, given, expected| Err(LearnError::Shape { what, given, expected });
    if width == 0 || features.len() != labels.len() * width {
        return shape("features of examples", features.len(), labels.len() * width);
    }
    if weights.len() != labels.len() {
        return shape("weights of examples", weights.len(), labels.len());
    }
    if let Some(place) = features.iter().position(|value| !value.is_finite()) {
        return Err(LearnError::NotFinite { what: "a feature", example: place / width });
    }
    if let Some(example) = weights.iter().position(|weight| !(weight.is_finite() && *weight > 0.0))
    {
        return Err(LearnError::NotFinite { what: "the weight", example });
    }
    if !(alpha.is_finite() && alpha > 0.0) {
        let hint = "give a number above 0";
        return Err(LearnError::BadSetting { what: "alpha", value: alpha.to_string(), hint });
    }
    let positives = labels.iter().filter(|label| **label).count();
    if positives == 0 || positives == labels.len() {
        let value = if positives == 0 { "negative" } else { "positive" }.to_owned();
        return Err(LearnError::OneValue { value });
    }
    Ok(())
}

/// Examples moved and scaled, and what is found of them at a point: weights, then the intercept.
struct Scaled<'a> {
    examples: &'a Examples<'a>,
    mean: Vec<f64>,
    scale: f64,
    rows: Vec<f64>,
    shares: Vec<f64>,
}

impl<'a> Scaled<'a> {
    fn new(examples: &'a Examples<'a>) -> Self {
        let width = examples.width;
        let total: f64 = examples.weights.iter().sum();
        let shares: Vec<f64> = examples.weights.iter().map(|weight| weight / total).collect();
        let mut mean = vec![0.0; width];
        for (row, share) in examples.features.chunks_exact(width).zip(&shares) {
            add(&mut mean, *share, row);
        }
        let mut rows = examples.features.to_vec();
        rows.chunks_exact_mut(width).for_each(|row| add(row, -1.0, &mean));
        let squares =
            rows.chunks_exact(width).zip(&shares).map(|(row, share)| share * dot(row, row));
        let scale = squares.sum::<f64>().sqrt();
        let scale = if scale > 0.0 { scale } else { 1.0 };
        rows.iter_mut().for_each(|value| *value /= scale);
        Self { examples, mean, scale, rows, shares }
    }

    fn each(&self) -> impl Iterator<Item = (&[f64], f64, f64)> + '_ {
        let sign = |label: &bool| if *label { 1.0 } else { -1.0 };
        let rows = self.rows.chunks_exact(self.examples.width).zip(&self.shares);
        rows.zip(self.examples.labels).map(move |((row, share), label)| (row, *share, sign(label)))
    }

    /// Value and gradient, and how much the slope of each example changes with its score.
    fn look(&self, at: &[f64], alpha: f64) -> (f64, Vec<f64>, Vec<f64>) {
        let width = self.examples.width;
        let (weights, intercept) = (&at[..width], at[width]);
        let mut value = alpha / 2.0 * dot(weights, weights);
        let mut gradient: Vec<f64> = weights.iter().map(|weight| alpha * weight).collect();
        gradient.push(0.0);
        let mut curvature = Vec::with_capacity(self.shares.len());
        for (row, share, sign) in self.each() {
            let margin = sign * (dot(weights, row) + intercept);
            // ln(1 + exp(-m)) without overflow.
            value += share * ((-margin.abs()).exp().ln_1p() + (-margin).max(0.0));
            let wrong = 1.0 / (1.0 + margin.exp());
            add(&mut gradient[..width], -share * sign * wrong, row);
            gradient[width] -= share * sign * wrong;
            curvature.push(share * wrong * (1.0 - wrong));
        }
        (value, gradient, curvature)
    }

    /// The product of the second derivatives with a vector.
    fn turned(&self, curvature: &[f64], alpha: f64, vector: &[f64]) -> Vec<f64> {
        let width = self.examples.width;
        let mut product: Vec<f64> = vector[..width].iter().map(|value| alpha * value).collect();
        // A little of it for the intercept as well, so that the matrix is never singular.
        product.push(1e-12 * vector[width]);
        for (row, curvature) in self.rows.chunks_exact(width).zip(curvature) {
            let along = curvature * (dot(&vector[..width], row) + vector[width]);
            add(&mut product[..width], along, row);
            product[width] += along;
        }
        product
    }

    /// The Newton step, by conjugate gradients down to a share of the gradient.
    fn direction(&self, gradient: &[f64], curvature: &[f64], alpha: f64, share: f64) -> Vec<f64> {
        let mut step = vec![0.0; gradient.len()];
        let mut left: Vec<f64> = gradient.iter().map(|value| -value).collect();
        let mut towards = left.clone();
        let mut squares = dot(&left, &left);
        let enough = squares * share * share;
        for _ in 0..INNER_MAX {
            if squares <= enough {
                break;
            }
            let turned = self.turned(curvature, alpha, &towards);
            let bend = dot(&towards, &turned);
            if bend <= 0.0 {
                break;
            }
            let length = squares / bend;
            add(&mut step, length, &towards);
            add(&mut left, -length, &turned);
            let next = dot(&left, &left);
            let ratio = next / squares;
            towards.iter_mut().zip(&left).for_each(|(old, new)| *old = new + ratio * *old);
            squares = next;
        }
        step
    }

    fn unscaled(&self, at: &[f64]) -> LinearHead {
        let width = self.examples.width;
        let weights: Vec<f64> = at[..width].iter().map(|weight| weight / self.scale).collect();
        let intercept = at[width] - dot(&weights, &self.mean);
        LinearHead { weights, intercept }
    }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    let (left_blocks, left_rest) = left.as_chunks::<8>();
    let (right_blocks, right_rest) = right.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in left_blocks.iter().zip(right_blocks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = left_rest.iter().zip(right_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

fn add(to: &mut [f64], times: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += times * what);
}

fn norm(vector: &[f64]) -> f64 {
    dot(vector, vector).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::learn::Matrix;
    use crate::learn::linear::{Folds, Labels, LogisticOptions, logistic_path};

    fn fit(
        width: usize,
        features: &[f64],
        labels: &[bool],
        weights: &[f64],
        alpha: f64,
    ) -> LinearHead {
        let examples = Examples { width, features, labels, weights };
        LinearHead::fit(&examples, alpha, Progress::silent()).expect("fits")
    }

    /// Value of the objective in the features' own coordinates.
    fn objective(head: &LinearHead, examples: &Examples<'_>, alpha: f64) -> f64 {
        let scaled = Scaled::new(examples);
        let mut at: Vec<f64> = head.weights.iter().map(|weight| weight * scaled.scale).collect();
        at.push(head.intercept + dot(&head.weights, &scaled.mean));
        scaled.look(&at, alpha).0
    }

    proptest! {
        #[test]
        fn nothing_near_is_better(
            rows in prop::collection::vec((-3i8..4, -3i8..4, any::<bool>(), 1u8..4), 4..30),
            alpha in prop::sample::select(vec![1e-3, 0.1, 2.0]),
        ) {
            let features: Vec<f64> = rows.iter().flat_map(|row| [f64::from(row.0), f64::from(row.1)]).collect();
            let labels: Vec<bool> = rows.iter().map(|row| row.2).collect();
            let weights: Vec<f64> = rows.iter().map(|row| f64::from(row.3)).collect();
            let examples = Examples { width: 2, features: &features, labels: &labels, weights: &weights };
            let Ok(head) = LinearHead::fit(&examples, alpha, Progress::silent()) else { return Ok(()) };
            let best = objective(&head, &examples, alpha);
            for (dx, dy, db) in [(0.1, 0.0, 0.0), (-0.1, 0.0, 0.0), (0.0, 0.1, 0.0), (0.0, -0.1, 0.0), (0.0, 0.0, 0.1), (0.0, 0.0, -0.1)] {
                let near = LinearHead {
                    weights: vec![head.weights[0] + dx, head.weights[1] + dy],
                    intercept: head.intercept + db,
                };
                prop_assert!(objective(&near, &examples, alpha) >= best - 1e-9);
            }
        }
    }

    #[test]
    fn the_minimum_is_that_of_logistic_regression() {
        const WIDTH: usize = 5;
        let features: Vec<f64> =
            (0..60 * WIDTH).map(|at| ((at * at * 37 + at * 11) % 101) as f64 / 25.0).collect();
        let labels: Vec<bool> =
            features.chunks(WIDTH).map(|row| row[0] + row[3] > 4.0 + row[1] / 2.0).collect();
        let weights: Vec<f64> = (0..60).map(|at| 1.0 + f64::from(at % 3)).collect();
        let found = fit(WIDTH, &features, &labels, &weights, 0.02);
        let examples =
            Examples { width: WIDTH, features: &features, labels: &labels, weights: &weights };
        let scaled = Scaled::new(&examples);
        let options = LogisticOptions {
            alphas: vec![0.02 * scaled.scale * scaled.scale],
            ..LogisticOptions::default()
        };
        let classes: Vec<u32> = labels.iter().map(|label| u32::from(*label)).collect();
        let other = logistic_path(
            &Matrix::new(WIDTH, features.clone()).expect("rows"),
            Labels::Classes(&classes),
            2,
            Some(&scaled.shares),
            Folds::None,
            &options,
            1,
            Progress::silent(),
        );
        let other = other.expect("fits").model.linear;
        for (found, other) in found.weights.iter().zip(&other.weights) {
            assert!((found - other).abs() < 1e-5, "{found} {other}");
        }
        assert!((found.intercept - other.intercepts[0]).abs() < 1e-5);
    }

    #[test]
    fn neither_place_nor_scale_of_the_features_matters() {
        let features = [0.0, 1.0, 2.0, 0.5, 3.0, 3.0, 4.0, 2.0, 1.0, 1.0];
        let labels = [false, false, true, true, false];
        let weights = [1.0, 2.0, 1.0, 1.0, 0.5];
        let plain = fit(2, &features, &labels, &weights, 0.01);
        let moved: Vec<f64> = features.iter().map(|value| 7.0 * value - 100.0).collect();
        let other = fit(2, &moved, &labels, &weights, 0.01);
        for (one, two) in features.chunks(2).zip(moved.chunks(2)) {
            assert!((plain.score(one) - other.score(two)).abs() < 1e-6);
        }
    }

    #[test]
    fn what_teaches_nothing_is_refused() {
        let examples =
            Examples { width: 1, features: &[1.0, 2.0], labels: &[true, true], weights: &[1.0; 2] };
        assert!(matches!(
            LinearHead::fit(&examples, 1.0, Progress::silent()),
            Err(LearnError::OneValue { .. })
        ));
        let examples = Examples { labels: &[true, false], features: &[1.0, f64::NAN], ..examples };
        assert!(matches!(
            LinearHead::fit(&examples, 1.0, Progress::silent()),
            Err(LearnError::NotFinite { .. })
        ));
        let examples = Examples { features: &[1.0, 1.0], ..examples };
        assert!(LinearHead::fit(&examples, 0.0, Progress::silent()).is_err());
        assert!(LinearHead::fit(&examples, 1.0, Progress::silent()).is_ok());
    }
}
