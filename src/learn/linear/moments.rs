//! Means, variances and products of features and targets for each fold, by one pass.
//!
//! The sums of a union of folds follow from those of its parts, so that a whole path of regularised fits with
//! cross-validation looks at the features once.

use std::sync::{Mutex, PoisonError};

use super::super::crew::divide;
use super::super::lapack::{View, mirror, syrk};
use super::super::{Features, LearnError, Progress};

/// Rows that are multiplied at once: the product reads and writes the whole sum, so it should be worth it.
const BLOCK_ROWS: usize = 768;

/// Bytes of matrices that threads may have beside each other: with wide features fewer threads are worth their memory.
const BYTES_MAX: usize = 4 << 30;

/// So many threads, or as many as may each have `matrices` square matrices of a width; at least one.
pub(super) fn affordable(threads: usize, matrices: usize, width: usize) -> usize {
    let square = width.saturating_mul(width).saturating_mul(size_of::<f64>());
    let each = square.saturating_mul(matrices).max(1);
    threads.min(BYTES_MAX / each).max(1)
}

/// Sums over some examples: of the weights, and of features and targets (and their products) less a shift that is the same
/// for all sums of a pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    /// Examples whose weight is not zero.
    pub count: u64,
    /// Upper triangle of a square matrix as wide as features, targets and 1: weighted products of all pairs. The last
    /// column holds the weighted sums, and its last number the weight.
    products: Vec<f64>,
}

/// [`Sums`] of each fold.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    width: usize,
    outputs: usize,
    shift: Vec<f64>,
    folds: Vec<Sums>,
}

/// Weighted means of features and targets, and their products less the means.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Examples whose weight is not zero.
    pub count: u64,
    /// Sum of the weights.
    pub weight: f64,
    /// Of each feature.
    pub mean: Vec<f64>,
    /// Of each target.
    pub target_mean: Vec<f64>,
    /// `width x width`: sum of `w (x - mean) (x - mean)'`.
    pub gram: Vec<f64>,
    /// `outputs x width`: sum of `w (y - target mean) (x - mean)'`.
    pub cross: Vec<f64>,
    /// Of each target: sum of `w (y - target mean)^2`.
    pub target_square: Vec<f64>,
}

/// What a pass takes beside the features.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// Row-major, `outputs` numbers for each example.
    pub targets: &'a [f64],
    /// Targets of each example; may be 0.
    pub outputs: usize,
    /// Not negative; `None` for equal weights.
    pub weights: Option<&'a [f64]>,
    /// Fold of each example and the number of folds; `None` for one.
    pub folds: Option<(&'a [u32], usize)>,
}

impl Moments {
    /// Sums over all examples, whose targets, weights and folds the caller has checked.
    ///
    /// Memory: `max(folds, threads)` matrices as wide as features and targets, but of threads no more than take 4 GiB; and as
    /// many blocks of 768 rows, three times.
    ///
    /// # Errors
    /// Those of reading; [`LearnError::TooFew`] without examples.
    pub fn fit(
        features: &dyn Features,
        examples: Examples<'_>,
        threads: usize,
        progress: Progress<'_>,
    ) -> Result<Self, LearnError> {
        let (width, outputs) = (features.width(), examples.outputs);
        let folds = examples.folds.map_or(1, |(_, count)| count);
        let wide = width + outputs + 1;
        let threads = affordable(threads, 1, wide);
        // With fewer folds than threads, each fold has several sums, filled in turn.
        let shares = threads.div_ceil(folds).max(1);
        let empty = || Sums { count: 0, products: vec![0.0; wide * wide] };
        let sums = (0..folds * shares).map(|_| empty()).collect();
        let spare = Mutex::new(Vec::<Vec<f64>>::new());
        let spares = || spare.lock().unwrap_or_else(PoisonError::into_inner);
        let multiply = |sums: &mut Sums, block: Vec<f64>| {
            let rows = block.len() / wide;
            syrk(1.0, View::new(&block, rows, wide)?, 1.0, &mut sums.products)?;
            sums.count += rows as u64;
            spares().push(block);
            Ok(())
        };
        let mut shift = Vec::new();
        let sums = divide(sums, threads, multiply, |hand_in| {
            let mut filling = vec![(0, Vec::new()); folds];
            features.pass(&mut |first, shown| {
                progress.step("accumulating", first as u64, features.count() as u64)?;
                if shift.is_empty() {
                    shift = centre(shown, width, examples.targets, outputs);
                }
                for (row, of) in shown.chunks(width).zip(first..) {
                    let fold = examples.folds.map_or(0, |(folds, _)| folds[of] as usize);
                    let (number, block): &mut (usize, Vec<f64>) = &mut filling[fold];
                    append(block, row, of, &examples, &shift);
                    if block.len() == BLOCK_ROWS * wide {
                        let mut empty = spares().pop().unwrap_or_default();
                        empty.clear();
                        let full = std::mem::replace(block, empty);
                        hand_in(fold * shares + *number % shares, full)?;
                        *number += 1;
                    }
                }
                Ok(())
            })?;
            for (fold, (number, block)) in filling.into_iter().enumerate() {
                hand_in(fold * shares + number % shares, block)?;
            }
            Ok(())
        })?;
        let mut sums = sums.into_iter();
        let folds = (0..folds)
            .map(|_| {
                sums.by_ref().take(shares).reduce(|sum, part| sum.plus(&part)).unwrap_or_else(empty)
            })
            .collect();
        let moments = Self { width, outputs, shift, folds };
        if moments.folds.iter().all(|fold| fold.count == 0) {
            return Err(LearnError::TooFew { what: "training examples", given: 0, needed: 1 });
        }
        Ok(moments)
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of folds.
    pub fn folds(&self) -> usize {
        self.folds.len()
    }

    /// All folds together.
    pub fn all(&self) -> Summary {
        self.summary(|_| true)
    }

    /// One fold.
    pub fn of(&self, fold: usize) -> Summary {
        self.summary(|each| each == fold)
    }

    /// All folds but one.
    pub fn without(&self, fold: usize) -> Summary {
        self.summary(|each| each != fold)
    }

    fn summary(&self, is_in: impl Fn(usize) -> bool) -> Summary {
        let (width, outputs) = (self.width, self.outputs);
        let wide = width + outputs + 1;
        let (mut count, mut products) = (0, vec![0.0; wide * wide]);
        for (_, fold) in self.folds.iter().enumerate().filter(|(place, _)| is_in(*place)) {
            count += fold.count;
            products.iter_mut().zip(&fold.products).for_each(|(sum, each)| *sum += each);
        }
        let weight = products[wide * wide - 1];
        let share = if weight > 0.0 { 1.0 / weight } else { 0.0 };
        // Means less the shift.
        let offsets: Vec<f64> =
            products.chunks(wide).map(|row| row[wide - 1] * share).take(wide - 1).collect();
        for (row, offset) in products.chunks_mut(wide).zip(&offsets) {
            let pull = weight * offset;
            row.iter_mut().zip(&offsets).for_each(|(cell, other)| *cell -= pull * other);
        }
        let means: Vec<f64> = offsets.iter().zip(&self.shift).map(|(a, b)| a + b).collect();
        let square = |at: usize| products[at * wide + at].max(0.0);
        let mut summary = Summary {
            count,
            weight,
            target_mean: means[width..].to_vec(),
            mean: means,
            gram: vec![0.0; width * width],
            cross: vec![0.0; outputs * width],
            target_square: (width..width + outputs).map(square).collect(),
        };
        summary.mean.truncate(width);
        for (at, row) in products.chunks(wide).take(width).enumerate() {
            summary.gram[at * width..(at + 1) * width].copy_from_slice(&row[..width]);
            for output in 0..outputs {
                summary.cross[output * width + at] = row[width + output];
            }
        }
        mirror(&mut summary.gram, width);
        summary
    }
}

impl Sums {
    fn plus(mut self, other: &Self) -> Self {
        self.count += other.count;
        self.products.iter_mut().zip(&other.products).for_each(|(sum, each)| *sum += each);
        self
    }
}

impl Summary {
    /// Divisor of each feature: its standard deviation, or 1 where it is constant; and the number of constant features.
    ///
    /// A variance within what rounding leaves of a constant's is that of a constant.
    pub fn deviations(&self) -> (Vec<f64>, usize) {
        let width = self.mean.len();
        let variances = (0..width).map(|at| self.gram[at * width + at] / self.weight);
        deviations(variances, &self.mean, self.count)
    }
}

/// See [`Summary::deviations`].
pub(in super::super) fn deviations(
    variances: impl Iterator<Item = f64>,
    means: &[f64],
    count: u64,
) -> (Vec<f64>, usize) {
    let rounding = count as f64 * f64::EPSILON;
    let mut constant = 0;
    let scale = variances
        .zip(means)
        .map(|(variance, mean)| {
            if variance > rounding * variance + (rounding * mean).powi(2) {
                return variance.sqrt();
            }
            constant += 1;
            1.0
        })
        .collect();
    (scale, constant)
}

/// Means of the features and targets of the first rows, which is near enough to the means of all: with it the products lose
/// no more digits than the logarithm of the number of blocks.
///
/// A constant is met exactly, so that its products are zero.
fn centre(rows: &[f64], width: usize, targets: &[f64], outputs: usize) -> Vec<f64> {
    let count = rows.len() / width;
    let mean = |values: &[f64], step: usize, at: usize| {
        let first = values[at];
        first + (0..count).map(|row| values[row * step + at] - first).sum::<f64>() / count as f64
    };
    (0..width)
        .map(|at| mean(rows, width, at))
        .chain((0..outputs).map(|at| mean(targets, outputs, at)))
        .collect()
}

/// Appends an example, times the root of its weight.
fn append(block: &mut Vec<f64>, row: &[f64], of: usize, examples: &Examples<'_>, shift: &[f64]) {
    let outputs = examples.outputs;
    let targets = &examples.targets[of * outputs..(of + 1) * outputs];
    let (of_features, of_targets) = shift.split_at(row.len());
    match examples.weights {
        None => {
            block.extend(row.iter().zip(of_features).map(|(value, shift)| value - shift));
            block.extend(targets.iter().zip(of_targets).map(|(value, shift)| value - shift));
            block.push(1.0);
        }
        Some(weights) if weights[of] > 0.0 => {
            let root = weights[of].sqrt();
            block.extend(row.iter().zip(of_features).map(|(value, shift)| root * (value - shift)));
            block.extend(
                targets.iter().zip(of_targets).map(|(value, shift)| root * (value - shift)),
            );
            block.push(root);
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::Matrix;
    use super::*;

    /// The definition, for one set of examples.
    fn plain(x: &[f64], y: &[f64], w: &[f64], width: usize, outputs: usize) -> Summary {
        let weight: f64 = w.iter().sum();
        let mean_of = |values: &[f64], step: usize| -> Vec<f64> {
            let mean = |at: usize| {
                values.iter().skip(at).step_by(step).zip(w).map(|(v, w)| v * w).sum::<f64>()
                    / weight
            };
            (0..step).map(mean).collect()
        };
        let (mean, target_mean) = (mean_of(x, width), mean_of(y, outputs));
        let product =
            |a: &[f64], m: f64, sa: usize, i: usize, b: &[f64], n: f64, sb: usize, j: usize| {
                (0..w.len()).map(|r| w[r] * (a[r * sa + i] - m) * (b[r * sb + j] - n)).sum::<f64>()
            };
        let mut gram = Vec::new();
        for i in 0..width {
            gram.extend((0..width).map(|j| product(x, mean[i], width, i, x, mean[j], width, j)));
        }
        let mut cross = Vec::new();
        for (o, target) in target_mean.iter().enumerate() {
            let of = |j| product(y, *target, outputs, o, x, mean[j], width, j);
            cross.extend((0..width).map(of));
        }
        let square = |o| product(y, target_mean[o], outputs, o, y, target_mean[o], outputs, o);
        let target_square = (0..outputs).map(square).collect();
        let count = w.iter().filter(|w| **w > 0.0).count() as u64;
        Summary { count, weight, mean, target_mean, gram, cross, target_square }
    }

    fn close(left: &[f64], right: &[f64]) -> bool {
        left.len() == right.len()
            && left.iter().zip(right).all(|(a, b)| (a - b).abs() <= 1e-9 * (1.0 + b.abs()))
    }

    fn same(left: &Summary, right: &Summary) -> bool {
        left.count == right.count
            && close(&[left.weight], &[right.weight])
            && close(&left.mean, &right.mean)
            && close(&left.target_mean, &right.target_mean)
            && close(&left.gram, &right.gram)
            && close(&left.cross, &right.cross)
            && close(&left.target_square, &right.target_square)
    }

    proptest! {
        #[test]
        fn sums_of_folds_are_those_of_the_definition(
            (width, outputs) in (1usize..5, 0usize..3),
            rows in prop::collection::vec(
                (prop::collection::vec(-3.0f64..3.0, 8), 0.0f64..2.0, 0u32..3, any::<bool>()), 3..60),
            threads in 1usize..4,
            offset in prop::sample::select(vec![0.0, 1e3]),
        ) {
            let x: Vec<f64> = rows.iter().flat_map(|row| row.0[..width].iter().map(|v| v + offset)).collect();
            let y: Vec<f64> = rows.iter().flat_map(|row| row.0[5..5 + outputs].to_vec()).collect();
            // Some have no weight; one has some.
            let mut w: Vec<f64> = rows.iter().map(|row| if row.3 { row.1 } else { 0.0 }).collect();
            w[0] = 1.0;
            let mut of: Vec<u32> = rows.iter().map(|row| row.2).collect();
            of[0] = 0;
            w[1] = 0.5;
            of[1] = 1;
            let matrix = Matrix::new(width, x.clone()).expect("whole");
            let examples = Examples { targets: &y, outputs, weights: Some(&w), folds: Some((&of, 3)) };
            let moments = Moments::fit(&matrix, examples, threads, Progress::silent()).expect("fits");
            let part = |is_in: &dyn Fn(u32) -> bool| {
                let kept: Vec<f64> =
                    w.iter().zip(&of).map(|(w, of)| if is_in(*of) { *w } else { 0.0 }).collect();
                plain(&x, &y, &kept, width, outputs)
            };
            prop_assert!(same(&moments.all(), &part(&|_| true)));
            prop_assert!(same(&moments.of(0), &part(&|of| of == 0)));
            prop_assert!(same(&moments.without(0), &part(&|of| of != 0)));
        }
    }

    #[test]
    fn fewer_threads_share_wide_features() {
        assert_eq!(affordable(16, 1, 1_000), 16);
        // A matrix of 16,384 features takes 2 GiB.
        assert_eq!(affordable(16, 1, 16_384), 2);
        assert_eq!(affordable(16, 5, 5_000), 4);
        assert_eq!(affordable(16, 5, usize::MAX), 1);
        assert_eq!(affordable(0, 5, 0), 1);
    }

    #[test]
    fn many_blocks_on_many_threads_make_the_same_sums() {
        let (rows, width) = (5_000, 3);
        let x: Vec<f64> = (0..rows * width).map(|at| ((at * 7_919) % 1_009) as f64).collect();
        let y: Vec<f64> = (0..rows).map(|at| (at % 17) as f64).collect();
        let matrix = Matrix::new(width, x.clone()).expect("whole");
        let examples = Examples { targets: &y, outputs: 1, weights: None, folds: None };
        let fit = |threads| {
            Moments::fit(&matrix, examples, threads, Progress::silent()).expect("fits").all()
        };
        let expected = plain(&x, &y, &vec![1.0; rows], width, 1);
        for threads in [1, 4] {
            let summary = fit(threads);
            assert!(same(&summary, &expected), "{summary:?} {expected:?}");
            assert_eq!(summary, fit(threads));
        }
    }

    #[test]
    fn constants_have_no_deviation_however_large_they_are() {
        let x: Vec<f64> = (0..4_000).flat_map(|at| [0.1 + 1e9, f64::from(at % 2)]).collect();
        let matrix = Matrix::new(2, x).expect("whole");
        let examples = Examples { targets: &[], outputs: 0, weights: None, folds: None };
        let summary = Moments::fit(&matrix, examples, 2, Progress::silent()).expect("fits").all();
        assert_eq!(summary.gram[0], 0.0);
        assert_eq!(summary.deviations(), (vec![1.0, 0.5], 1));
    }
}
