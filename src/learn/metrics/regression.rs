//! Errors of numbers, and of redshifts in their own unit.

use super::super::LearnError;
use super::{Measure, all_finite, fit_weights, ratio, same_length, some, weight};

/// A catastrophic redshift error, as the photometric redshift literature counts it.
const OUTLIER: f64 = 0.15;

/// The stricter of the two usual limits.
const OUTLIER_STRICT: f64 = 0.05;

/// Makes the median absolute deviation of a Gaussian equal to its standard deviation.
const NMAD_FACTOR: f64 = 1.4826;

/// Predicted numbers against true ones.
///
/// Its numbers, in the target's unit unless said otherwise:
/// - `r2`: the coefficient of determination (1 is perfect, 0 no better than the mean of the test set);
/// - `rmse`, `mae`: the root of the mean squared error, and the mean absolute error; `bias`: the mean error;
/// - `nll`, where densities are given: the mean of minus the natural logarithm of the density at the truth;
/// - for redshifts, with dz = (predicted - true) / (1 + true): `dz_mean` and `dz_median`; `sigma_nmad`, 1.4826 times the
///   median of |dz - median dz|; `sigma_nmad_brammer`, where the median is taken of the plain errors instead and the
///   deviations are divided by 1 + true (Brammer et al. 2008); `outliers_0.15` and `outliers_0.05`, the fractions with
///   |dz| above these;
/// - `pit_ks`, where the probabilities below the truth are given (the probability integral transform, PIT): the
///   Kolmogorov-Smirnov distance of their distribution from the uniform one that they have where densities are right.
///
/// With weights all of them are weighted, as scikit-learn does with `sample_weight`; a weighted median is the smallest value
/// at which half of the weight is reached, or the mean of it and the next one where it is half exactly.
#[derive(Debug, Clone)]
pub struct Regression<'a> {
    truth: &'a [f64],
    predicted: &'a [f64],
    weights: Option<&'a [f64]>,
    below: Option<&'a [f64]>,
    log_density: Option<&'a [f64]>,
    is_redshift: bool,
}

impl<'a> Regression<'a> {
    /// Takes what is true and what is predicted for each test object.
    ///
    /// # Errors
    /// [`LearnError::Shape`] for different lengths, [`LearnError::TooFew`] for none, [`LearnError::NotFinite`].
    pub fn new(truth: &'a [f64], predicted: &'a [f64]) -> Result<Self, LearnError> {
        some(truth.len())?;
        same_length("predictions", predicted.len(), truth.len())?;
        all_finite("the target", truth, 1)?;
        all_finite("the prediction", predicted, 1)?;
        Ok(Self {
            truth,
            predicted,
            weights: None,
            below: None,
            log_density: None,
            is_redshift: false,
        })
    }

    /// Has objects count by their weights.
    ///
    /// # Errors
    /// [`LearnError::Shape`], [`LearnError::NotFinite`]; [`LearnError::BadSetting`] for a negative weight, or where all are 0.
    pub fn weights(mut self, weights: &'a [f64]) -> Result<Self, LearnError> {
        fit_weights(weights, self.truth.len())?;
        self.weights = Some(weights);
        Ok(self)
    }

    /// Adds `pit_ks`: takes the predicted probability of a value below the truth, from 0 to 1.
    ///
    /// # Errors
    /// [`LearnError::Shape`], [`LearnError::NotFinite`], [`LearnError::NotAFraction`].
    pub fn below(mut self, below: &'a [f64]) -> Result<Self, LearnError> {
        same_length("probabilities below the truth", below.len(), self.truth.len())?;
        all_finite("the probability below the truth", below, 1)?;
        if let Some(example) = below.iter().position(|value| !(0.0..=1.0).contains(value)) {
            return Err(LearnError::NotAFraction { example, value: below[example] });
        }
        self.below = Some(below);
        Ok(self)
    }

    /// Adds `nll`: takes the natural logarithm of the predicted density at the truth.
    ///
    /// # Errors
    /// [`LearnError::Shape`], [`LearnError::NotFinite`].
    pub fn log_density(mut self, log_density: &'a [f64]) -> Result<Self, LearnError> {
        same_length("densities", log_density.len(), self.truth.len())?;
        all_finite("the logarithm of the density", log_density, 1)?;
        self.log_density = Some(log_density);
        Ok(self)
    }

    /// Adds the numbers that mean something for a redshift only.
    ///
    /// # Errors
    /// [`LearnError::BadSetting`] for a true value that is no redshift.
    pub fn redshift(mut self) -> Result<Self, LearnError> {
        if let Some(value) = self.truth.iter().find(|truth| **truth <= -1.0) {
            return Err(LearnError::BadSetting {
                what: "a true redshift",
                value: value.to_string(),
                hint: "redshifts are above -1; measure this target as a plain number",
            });
        }
        self.is_redshift = true;
        Ok(self)
    }

    fn plain(&self, sample: &[u32]) -> Vec<Option<f64>> {
        let (mut count, mut squares, mut absolutes, mut errors) = (0.0, 0.0, 0.0, 0.0);
        let (mut truths, mut log_densities) = (0.0, 0.0);
        for (object, (truth, predicted)) in self.truth.iter().zip(self.predicted).enumerate() {
            let times = weight(sample, self.weights, object);
            let error = predicted - truth;
            count += times;
            squares += times * error * error;
            absolutes += times * error.abs();
            errors += times * error;
            truths += times * truth;
            log_densities += self.log_density.map_or(0.0, |values| times * values[object]);
        }
        let mean = truths / count;
        let spread = self.truth.iter().enumerate();
        let total: f64 = spread
            .map(|(object, truth)| weight(sample, self.weights, object) * (truth - mean).powi(2))
            .sum();
        let mut values = vec![
            ratio(squares, total).map(|share| 1.0 - share),
            ratio(squares, count).map(f64::sqrt),
            ratio(absolutes, count),
            ratio(errors, count),
        ];
        values.extend(self.log_density.map(|_| ratio(-log_densities, count)));
        values
    }

    fn of_redshift(&self, sample: &[u32]) -> Vec<Option<f64>> {
        // dz, the plain error, 1 + truth and the weight of each object that is there.
        let objects: Vec<[f64; 4]> = (0..self.truth.len())
            .map(|object| {
                let (truth, predicted) = (self.truth[object], self.predicted[object]);
                let (error, unit) = (predicted - truth, 1.0 + truth);
                [error / unit, error, unit, weight(sample, self.weights, object)]
            })
            .filter(|[.., weight]| *weight > 0.0)
            .collect();
        let total: f64 = objects.iter().map(|[.., weight]| weight).sum();
        let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
            objects.iter().map(|[dz, _, _, weight]| weight * of(*dz)).sum()
        };
        let beyond = |limit: f64| ratio(sum(&|dz| f64::from(u8::from(dz.abs() > limit))), total);
        let mut room: Vec<(f64, f64)> = Vec::with_capacity(objects.len());
        let mut median = |of: &dyn Fn(&[f64; 4]) -> f64| {
            room.clear();
            room.extend(objects.iter().map(|object| (of(object), object[3])));
            weighted_median(&mut room)
        };
        let centre = median(&|object| object[0]);
        let nmad = centre.and_then(|centre| median(&|object| (object[0] - centre).abs()));
        let plain = median(&|object| object[1]);
        let brammer =
            plain.and_then(|centre| median(&|object| (object[1] - centre).abs() / object[2]));
        vec![
            ratio(sum(&|dz| dz), total),
            centre,
            nmad.map(|deviation| NMAD_FACTOR * deviation),
            brammer.map(|deviation| NMAD_FACTOR * deviation),
            beyond(OUTLIER),
            beyond(OUTLIER_STRICT),
        ]
    }

    /// The largest distance of the distribution of the probabilities below the truth from the uniform one.
    fn off_uniform(&self, below: &[f64], sample: &[u32]) -> Option<f64> {
        let each = below.iter().enumerate();
        let weighed = each.map(|(object, below)| (*below, weight(sample, self.weights, object)));
        let mut steps: Vec<(f64, f64)> = weighed.filter(|(_, weight)| *weight > 0.0).collect();
        steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = steps.iter().map(|(_, weight)| weight).sum();
        let (mut reached, mut largest) = (0.0, 0.0_f64);
        for (below, weight) in steps {
            let before = reached / total;
            reached += weight;
            largest = largest.max((below - before).abs()).max((reached / total - below).abs());
        }
        (total > 0.0).then_some(largest)
    }
}

impl Measure for Regression<'_> {
    fn count(&self) -> usize {
        self.truth.len()
    }

    fn names(&self) -> Vec<String> {
        let mut names = vec!["r2", "rmse", "mae", "bias"];
        names.extend(self.log_density.map(|_| "nll"));
        names.extend(self.below.map(|_| "pit_ks"));
        if self.is_redshift {
            names.extend(["dz_mean", "dz_median", "sigma_nmad", "sigma_nmad_brammer"]);
            names.extend(["outliers_0.15", "outliers_0.05"]);
        }
        names.into_iter().map(str::to_owned).collect()
    }

    fn measure(&self, sample: &[u32]) -> Vec<Option<f64>> {
        let mut values = self.plain(sample);
        values.extend(self.below.map(|below| self.off_uniform(below, sample)));
        if self.is_redshift {
            values.extend(self.of_redshift(sample));
        }
        values
    }
}

/// The coefficient of determination; `None` where the truth does not vary.
pub fn r2(truth: &[f64], predicted: &[f64]) -> Option<f64> {
    let mean = truth.iter().sum::<f64>() / truth.len() as f64;
    let total: f64 = truth.iter().map(|truth| (truth - mean).powi(2)).sum();
    ratio(squared_errors(truth, predicted), total).map(|share| 1.0 - share)
}

/// The root of the mean squared error; `None` without predictions.
pub fn rmse(truth: &[f64], predicted: &[f64]) -> Option<f64> {
    ratio(squared_errors(truth, predicted), truth.len() as f64).map(f64::sqrt)
}

/// The mean absolute error; `None` without predictions.
pub fn mae(truth: &[f64], predicted: &[f64]) -> Option<f64> {
    let errors = truth.iter().zip(predicted).map(|(truth, predicted)| (predicted - truth).abs());
    ratio(errors.sum(), truth.len() as f64)
}

fn squared_errors(truth: &[f64], predicted: &[f64]) -> f64 {
    truth.iter().zip(predicted).map(|(truth, predicted)| (predicted - truth).powi(2)).sum()
}

/// Errors of redshifts in their own unit, which grows with the redshift: dz = (predicted - true) / (1 + true).
pub fn relative_errors(truth: &[f64], predicted: &[f64]) -> Vec<f64> {
    let pairs = truth.iter().zip(predicted);
    pairs.map(|(truth, predicted)| (predicted - truth) / (1.0 + truth)).collect()
}

/// The normalised median absolute deviation of redshift errors: 1.4826 median |dz - median dz|, dz = (predicted - true) /
/// (1 + true). `None` without predictions.
pub fn sigma_nmad(truth: &[f64], predicted: &[f64]) -> Option<f64> {
    let relative = relative_errors(truth, predicted);
    let centre = median(relative.clone())?;
    median(relative.iter().map(|dz| (dz - centre).abs()).collect())
        .map(|deviation| NMAD_FACTOR * deviation)
}

/// The older form of [`sigma_nmad`], whose median is that of the plain errors: 1.4826 median |(e - median e) / (1 + true)|,
/// e = predicted - true. Equal to it where the median error is 0. `None` without predictions.
///
/// # Reference
/// Brammer, van Dokkum and Coppi 2008 (2008ApJ...686.1503B), equation 5.
pub fn sigma_nmad_brammer(truth: &[f64], predicted: &[f64]) -> Option<f64> {
    let errors: Vec<f64> =
        truth.iter().zip(predicted).map(|(truth, predicted)| predicted - truth).collect();
    brammer(truth, &errors)
}

fn brammer(truth: &[f64], errors: &[f64]) -> Option<f64> {
    let centre = median(errors.to_vec())?;
    let pairs = truth.iter().zip(errors);
    let deviations = pairs.map(|(truth, error)| (error - centre).abs() / (1.0 + truth));
    median(deviations.collect()).map(|deviation| NMAD_FACTOR * deviation)
}

/// The fraction of redshifts with |predicted - true| / (1 + true) above a limit, usually 0.15. `None` without predictions.
pub fn outlier_fraction(truth: &[f64], predicted: &[f64], above: f64) -> Option<f64> {
    let relative = relative_errors(truth, predicted);
    let outliers = relative.iter().filter(|dz| dz.abs() > above).count();
    ratio(outliers as f64, relative.len() as f64)
}

/// The median; of an even number of values the mean of the middle two. `None` without values.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    median_of(&mut values)
}

/// The smallest value at which half of the weight is reached; where it is half exactly, the mean of it and the next one. Values
/// are moved around.
fn weighted_median(values: &mut [(f64, f64)]) -> Option<f64> {
    let total: f64 = values.iter().map(|(_, weight)| weight).sum();
    if values.is_empty() || total <= 0.0 {
        return None;
    }
    if let Some((_, first)) = values.first()
        && values.iter().all(|(_, weight)| weight == first)
    {
        // All count the same: no need to sort.
        let middle = values.len() / 2;
        let is_odd = values.len() % 2 == 1;
        let (below, upper, _) = values.select_nth_unstable_by(middle, |a, b| a.0.total_cmp(&b.0));
        let upper = upper.0;
        let lower = below.iter().map(|(value, _)| *value).max_by(f64::total_cmp);
        return Some(lower.filter(|_| !is_odd).map_or(upper, |lower| f64::midpoint(lower, upper)));
    }
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut reached = 0.0;
    let mut values = values.iter().filter(|(_, weight)| *weight > 0.0).peekable();
    while let Some((value, weight)) = values.next() {
        reached += weight;
        let half = total / 2.0;
        if reached == half {
            return values.peek().map(|(next, _)| f64::midpoint(*value, *next));
        }
        if reached > half || values.peek().is_none() {
            return Some(*value);
        }
    }
    None
}

/// The median, by moving the values around.
fn median_of(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let is_odd = values.len() % 2 == 1;
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if is_odd {
        return Some(*upper);
    }
    let lower = below.iter().copied().max_by(f64::total_cmp)?;
    Some(f64::midpoint(lower, *upper))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRUTH: [f64; 4] = [0.0, 1.0, 3.0, 0.0];

    #[test]
    fn perfect_predictions_have_no_error() {
        let truth = [0.1, 0.2, 0.4];
        let perfect = Regression::new(&truth, &truth).and_then(Regression::redshift);
        let values = perfect.expect("redshifts").measure(&[1, 1, 1]);
        assert_eq!(values[0], Some(1.0));
        assert!(values[1..].iter().all(|value| *value == Some(0.0)), "{values:?}");
    }

    #[test]
    fn the_mean_of_all_predicts_nothing() {
        let flat = r2(&[1.0, 2.0, 3.0], &[2.0; 3]);
        assert!(flat.expect("varies").abs() < 1e-12);
        assert_eq!(r2(&[1.0, 1.0], &[2.0, 0.0]), None);
        assert_eq!(rmse(&[], &[]), None);
    }

    #[test]
    fn the_older_sigma_nmad_is_blind_to_a_shift_and_both_to_one_outlier() {
        // Errors of 0.1, 0.1, 0.1 and 1.0 about a median of 0.1.
        let shifted = [0.1, 1.1, 3.1, 1.0];
        assert!(sigma_nmad_brammer(&TRUTH, &shifted).expect("values") < 1e-12);
        assert_eq!(outlier_fraction(&TRUTH, &shifted, 0.15), Some(0.25));
        // The same relative error everywhere but for the last.
        let stretched = [0.1, 1.2, 3.4, 1.0];
        assert!(sigma_nmad(&TRUTH, &stretched).expect("values") < 1e-12);
        assert!(sigma_nmad_brammer(&TRUTH, &stretched).expect("values") > 0.01);
    }

    #[test]
    fn both_sigma_nmad_of_a_known_list() {
        // dz = -0.02, 0, 0.02: deviations 0.02, 0, 0.02 with median 0.02.
        for form in [sigma_nmad, sigma_nmad_brammer] {
            let found = form(&[0.0; 3], &[-0.02, 0.0, 0.02]).expect("values");
            assert!((found - 1.4826 * 0.02).abs() < 1e-15);
        }
    }

    #[test]
    fn probabilities_below_the_truth_are_compared_with_uniform_ones() {
        let truth = [0.0; 4];
        let ks = |below: [f64; 4]| {
            let all = Regression::new(&truth, &truth)
                .and_then(|all| all.below(&below).map(|all| all.measure(&[1; 4])));
            all.expect("fractions")[4].expect("there")
        };
        assert!((ks([0.125, 0.375, 0.625, 0.875]) - 0.125).abs() < 1e-12, "even");
        assert!((ks([0.5; 4]) - 0.5).abs() < 1e-12, "too wide");
        assert!((ks([1.0; 4]) - 1.0).abs() < 1e-12, "all above");
        let all = Regression::new(&truth, &truth).expect("numbers");
        assert!(all.clone().below(&[0.5, 1.5, 0.5, 0.5]).is_err() && all.below(&[0.5]).is_err());
    }

    #[test]
    fn medians_of_odd_even_and_nothing() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let refused = |truth: &[f64], predicted: &[f64]| {
            Regression::new(truth, predicted).expect_err("refused").to_string()
        };
        assert!(refused(&[], &[]).contains("0 test examples"));
        assert!(refused(&[1.0], &[1.0, 2.0]).contains("predictions: 2 given, 1 expected"));
        assert!(refused(&[1.0, f64::NAN], &[1.0, 2.0]).contains("the target of example 1"));
        assert!(refused(&[1.0], &[f64::INFINITY]).contains("the prediction of example 0"));
        let temperature = Regression::new(&[-3.0], &[1.0]).expect("a number").redshift();
        assert!(temperature.expect_err("no redshift").to_string().contains("plain number"));
    }

    proptest! {
        /// Whole weights count as repetitions do.
        #[test]
        fn whole_weights_are_repetitions(
            objects in prop::collection::vec((0.0..3.0_f64, 0.0..3.0_f64, 0_u32..4), 1..40)
        ) {
            let times: Vec<u32> = objects.iter().map(|object| object.2).collect();
            prop_assume!(times.iter().any(|times| *times > 0));
            let truth: Vec<f64> = objects.iter().map(|object| object.0).collect();
            let predicted: Vec<f64> = objects.iter().map(|object| object.1).collect();
            let below: Vec<f64> = predicted.iter().map(|value| value / 3.0).collect();
            let weights: Vec<f64> = times.iter().map(|times| f64::from(*times)).collect();
            let all = Regression::new(&truth, &predicted).and_then(|all| all.log_density(&truth));
            let all = all.and_then(|all| all.below(&below)).and_then(Regression::redshift);
            let all = all.expect("redshifts");
            let repeated = all.measure(&times);
            let weighted = all.weights(&weights).expect("weights").measure(&vec![1; truth.len()]);
            prop_assert_eq!(repeated.len(), weighted.len());
            for (repeated, weighted) in repeated.into_iter().zip(weighted) {
                let gap = repeated.zip(weighted).map(|(a, b)| (a - b).abs() / (1.0 + a.abs()));
                prop_assert!(repeated.is_none() == weighted.is_none() && gap.is_none_or(|gap| gap < 1e-9));
            }
        }

        /// A sample with repetitions is measured as the list in which they are written out.
        #[test]
        fn counts_are_repetitions(
            objects in prop::collection::vec((0.0..3.0_f64, 0.0..3.0_f64, 0_u32..4), 1..40)
        ) {
            let sample: Vec<u32> = objects.iter().map(|object| object.2).collect();
            let truth: Vec<f64> = objects.iter().map(|object| object.0).collect();
            let predicted: Vec<f64> = objects.iter().map(|object| object.1).collect();
            let all = Regression::new(&truth, &predicted).and_then(|all| all.log_density(&truth));
            let counted = all.and_then(Regression::redshift).expect("redshifts").measure(&sample);
            let written = |values: &[f64]| -> Vec<f64> {
                let times = values.iter().zip(&sample);
                times.flat_map(|(value, times)| vec![*value; *times as usize]).collect()
            };
            let (truth, predicted) = (written(&truth), written(&predicted));
            let expected = [
                r2(&truth, &predicted),
                rmse(&truth, &predicted),
                mae(&truth, &predicted),
                None,
                None,
                None,
                median(relative_errors(&truth, &predicted)),
                sigma_nmad(&truth, &predicted),
                sigma_nmad_brammer(&truth, &predicted),
                outlier_fraction(&truth, &predicted, 0.15),
                outlier_fraction(&truth, &predicted, 0.05),
            ];
            prop_assert_eq!(counted.len(), expected.len());
            for (place, expected) in expected.into_iter().enumerate() {
                match (counted[place], expected) {
                    (Some(found), Some(expected)) => {
                        let scale = 1.0 + expected.abs();
                        prop_assert!((found - expected).abs() < 1e-9 * scale, "{place}: {found} {expected}");
                    }
                    (None, Some(_)) => prop_assert!(false, "{place} is missing"),
                    (_, None) => {}
                }
            }
        }
    }
}
