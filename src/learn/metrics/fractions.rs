//! How good predicted vote fractions are.

use super::super::LearnError;
use super::{Measure, all_finite, fit_weights, largest, mean_of, ratio, same_length, some, weight};

/// Smallest predicted fraction that a cross entropy is computed with.
const FRACTION_MIN: f64 = f64::EPSILON;

/// How far a fraction may lie outside of 0 to 1 by rounding.
const ROUNDING: f64 = 1e-6;

/// Predicted fractions of classes against the fractions of people who voted for them.
///
/// Its numbers are averages over objects by their weights, and over classes equally: `rmse` and `mae` of the fractions;
/// `r2`, the mean of the classes' own; `cross_entropy` (natural logarithm) between voted and predicted; and `accuracy`,
/// how often the class with most votes is predicted.
#[derive(Debug, Clone)]
pub struct Fractions<'a> {
    classes: usize,
    truth: &'a [f64],
    predicted: &'a [f64],
    weights: Option<&'a [f64]>,
}

impl<'a> Fractions<'a> {
    /// Takes fractions row by row, one for each class.
    ///
    /// # Errors
    /// [`LearnError::TooFew`], [`LearnError::Shape`], [`LearnError::NotFinite`], and [`LearnError::NotAFraction`] for a true
    /// fraction outside of 0 to 1. Predicted ones are whatever was predicted.
    pub fn new(classes: usize, truth: &'a [f64], predicted: &'a [f64]) -> Result<Self, LearnError> {
        if classes == 0 {
            return Err(LearnError::TooFew { what: "classes", given: 0, needed: 1 });
        }
        some(truth.len())?;
        if !truth.len().is_multiple_of(classes) {
            let expected = truth.len().next_multiple_of(classes);
            return Err(LearnError::Shape { what: "fractions", given: truth.len(), expected });
        }
        same_length("predicted fractions", predicted.len(), truth.len())?;
        all_finite("a fraction", truth, classes)?;
        all_finite("a predicted fraction", predicted, classes)?;
        let range = -ROUNDING..=1.0 + ROUNDING;
        if let Some(place) = truth.iter().position(|value| !range.contains(value)) {
            let value = truth[place];
            return Err(LearnError::NotAFraction { example: place / classes, value });
        }
        Ok(Self { classes, truth, predicted, weights: None })
    }

    /// Lets objects count by their weights, such as their numbers of votes.
    ///
    /// # Errors
    /// [`LearnError::Shape`]; [`LearnError::NotFinite`]; [`LearnError::BadSetting`] for a negative weight, or zeros alone.
    pub fn weights(mut self, weights: &'a [f64]) -> Result<Self, LearnError> {
        fit_weights(weights, self.count())?;
        self.weights = Some(weights);
        Ok(self)
    }

    fn rows(&self) -> impl Iterator<Item = (usize, (&[f64], &[f64]))> {
        let truth = self.truth.chunks_exact(self.classes);
        truth.zip(self.predicted.chunks_exact(self.classes)).enumerate()
    }

    fn r2_of(&self, class: usize, sample: &[u32], whole: f64) -> Option<f64> {
        let objects = || {
            let each = |(object, (truth, predicted)): (usize, (&[f64], &[f64]))| {
                (weight(sample, self.weights, object), truth[class], predicted[class])
            };
            self.rows().map(each)
        };
        let mean = objects().map(|(each, truth, _)| each * truth).sum::<f64>() / whole;
        let total: f64 = objects().map(|(each, truth, _)| each * (truth - mean).powi(2)).sum();
        let left = objects().map(|(each, truth, predicted)| each * (predicted - truth).powi(2));
        ratio(left.sum(), total).map(|share| 1.0 - share)
    }
}

impl Measure for Fractions<'_> {
    fn count(&self) -> usize {
        self.truth.len() / self.classes
    }

    fn names(&self) -> Vec<String> {
        ["rmse", "mae", "r2", "cross_entropy", "accuracy"].map(str::to_owned).into()
    }

    fn measure(&self, sample: &[u32]) -> Vec<Option<f64>> {
        let (mut whole, mut squares, mut absolutes) = (0.0, 0.0, 0.0);
        let (mut entropy, mut right) = (0.0, 0.0);
        for (object, (truth, predicted)) in self.rows() {
            let each = weight(sample, self.weights, object);
            whole += each;
            for (truth, predicted) in truth.iter().zip(predicted) {
                squares += each * (predicted - truth).powi(2);
                absolutes += each * (predicted - truth).abs();
                entropy -= each * truth * predicted.clamp(FRACTION_MIN, 1.0).ln();
            }
            right += if largest(truth) == largest(predicted) { each } else { 0.0 };
        }
        let numbers = whole * self.classes as f64;
        vec![
            ratio(squares, numbers).map(f64::sqrt),
            ratio(absolutes, numbers),
            mean_of((0..self.classes).map(|class| self.r2_of(class, sample, whole))),
            ratio(entropy, whole),
            ratio(right, whole),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_predicted_rightly_leave_their_own_entropy() {
        let votes = [0.5, 0.5, 0.25, 0.75];
        let values = Fractions::new(2, &votes, &votes).expect("fractions").measure(&[1, 1]);
        assert_eq!(values[0], Some(0.0));
        assert_eq!(values[2], Some(1.0));
        assert_eq!(values[4], Some(1.0));
        let own = |share: f64| -share * share.ln() - (1.0 - share) * (1.0 - share).ln();
        let wanted = f64::midpoint(own(0.5), own(0.25));
        assert!((values[3].expect("entropy") - wanted).abs() < 1e-12);
    }

    #[test]
    fn votes_outside_of_their_range_are_named() {
        let error = Fractions::new(2, &[0.5, 0.5, 1.5, 0.0], &[0.5; 4]).expect_err("no fraction");
        assert!(matches!(error, LearnError::NotAFraction { example: 1, .. }), "{error}");
        assert!(Fractions::new(2, &[0.5; 3], &[0.5; 3]).is_err());
        assert!(Fractions::new(0, &[0.5], &[0.5]).is_err());
    }

    #[test]
    fn objects_with_more_votes_count_more() {
        let (truth, predicted) = ([0.0, 1.0], [0.0, 0.5]);
        let plain = Fractions::new(1, &truth, &predicted).expect("fractions");
        let weighted = plain.clone().weights(&[1.0, 3.0]).expect("votes");
        assert_eq!(plain.measure(&[1, 1])[1], Some(0.25));
        assert_eq!(weighted.measure(&[1, 1])[1], Some(0.375));
    }
}
