//! How good predictions are, and how sure that is.
//!
//! A [`Measure`] gives its numbers for any sample of the test objects, objects counting as often as the sample holds them:
//! once each for the value itself, and at random for the [`Bootstrap`]'s intervals.

mod auc;
mod bootstrap;
mod calibration;
mod classification;
mod fractions;
mod ranking;
mod regression;

pub use auc::{auc, roc_curve};
pub use bootstrap::{Bootstrap, Measured, measure};
pub use calibration::{CALIBRATION_BINS, CalibrationBin, calibration_bins, expected_error};
pub use classification::{Classification, confusion, iou};
pub use fractions::Fractions;
pub use ranking::{Gain, Means, Ranked, Ranking, Relevances, discounted_gain};
pub use regression::{
    Regression, mae, median, outlier_fraction, r2, relative_errors, rmse, sigma_nmad,
    sigma_nmad_brammer,
};

use super::LearnError;

/// Something that can be measured on any sample of the test objects.
pub trait Measure: Sync {
    /// Number of test objects.
    fn count(&self) -> usize;

    /// Names of the numbers.
    fn names(&self) -> Vec<String>;

    /// The numbers, one for each name, of a sample that holds object `i` `sample[i]` times. `None` where a number is not
    /// defined on the sample, such as R2 of a target that does not vary.
    fn measure(&self, sample: &[u32]) -> Vec<Option<f64>>;
}

/// Refuses lengths that do not fit together.
fn same_length(what: &'static str, given: usize, expected: usize) -> Result<(), LearnError> {
    if given == expected { Ok(()) } else { Err(LearnError::Shape { what, given, expected }) }
}

/// Refuses an empty test set.
fn some(count: usize) -> Result<(), LearnError> {
    if count == 0 {
        return Err(LearnError::TooFew { what: "test examples", given: 0, needed: 1 });
    }
    Ok(())
}

/// Refuses numbers that are not finite, `width` of them belonging to each example.
pub(super) fn all_finite(
    what: &'static str,
    values: &[f64],
    width: usize,
) -> Result<(), LearnError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(place) => Err(LearnError::NotFinite { what, example: place / width.max(1) }),
        None => Ok(()),
    }
}

/// Refuses weights that are negative, not finite, or zero for all.
fn fit_weights(weights: &[f64], count: usize) -> Result<(), LearnError> {
    same_length("weights", weights.len(), count)?;
    all_finite("the weight", weights, 1)?;
    let hint = "weights are numbers from 0 up, and not all 0";
    if let Some(negative) = weights.iter().find(|weight| **weight < 0.0) {
        return Err(LearnError::BadSetting { what: "a weight", value: negative.to_string(), hint });
    }
    if weights.iter().sum::<f64>() == 0.0 {
        return Err(LearnError::BadSetting {
            what: "the sum of weights",
            value: "0".to_owned(),
            hint,
        });
    }
    Ok(())
}

/// What an object counts in a sample: as often as it is there, times its weight.
fn weight(sample: &[u32], weights: Option<&[f64]>, object: usize) -> f64 {
    let times = sample.get(object).copied().map_or(0.0, f64::from);
    times * weights.map_or(1.0, |weights| weights.get(object).copied().unwrap_or(0.0))
}

/// A quotient, `None` where the divisor is 0.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// The mean of those that are defined; `None` where none is.
fn mean_of(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_usize);
    for value in values.flatten() {
        sum += value;
        count += 1;
    }
    ratio(sum, count as f64)
}

/// The place of the largest number, the first of equals: the class that probabilities name.
pub fn largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = place;
        }
    }
    best
}
