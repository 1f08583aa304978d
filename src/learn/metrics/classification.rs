//! How good predicted classes and their probabilities are.

use super::super::LearnError;
use super::auc::ByScore;
use super::calibration::{CALIBRATION_BINS, CalibrationBin, bins_of, expected_error};
use super::{Measure, all_finite, fit_weights, largest, mean_of, ratio, same_length, some, weight};

/// Beyond so many classes the area under the curve is left out: an order of all objects is kept for each class.
const AUC_CLASSES_MAX: usize = 64;

/// How far a probability may lie outside of 0 to 1 by rounding.
const ROUNDING: f64 = 1e-6;

/// Predicted probabilities of classes against true classes.
///
/// Its numbers, of which all but `ece` and the fractions of correct answers are averages over objects by their weights:
/// - `accuracy`; `balanced_accuracy`, the mean recall of the classes that occur;
/// - `macro_f1`, the mean F1 of the classes that occur or are predicted, and `weighted_f1`, by how often they occur;
/// - `auc`: of two classes that of the second's probability, otherwise the mean of each class against all others, over the
///   classes that occur (left out above 64 classes);
/// - `log_loss`: the mean of minus the natural logarithm of the true class's probability, at least 2.2e-16;
/// - `brier`: of two classes the mean squared error of the second's probability (0 to 1), otherwise of all probabilities
///   together (0 to 2);
/// - `ece`: the expected calibration error in ten bins, of what [`Classification::calibration`] shows;
/// - with [`Classification::iou`] `mean_iou`, and `iou_CLASS` for each class: intersection over union of predicted and true.
///
/// The predicted class is the most probable, the first of equals.
#[derive(Debug, Clone)]
pub struct Classification<'a> {
    classes: usize,
    truth: &'a [u32],
    probabilities: &'a [f64],
    weights: Option<&'a [f64]>,
    predicted: Vec<u32>,
    /// The order by the second class's probability, or by each class's.
    by_score: Vec<ByScore>,
    iou_names: Option<&'a [String]>,
}

/// What is true, what is predicted, and where both agree, for one class.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    occurs: f64,
    predicted: f64,
    both: f64,
}

impl Tally {
    fn recall(&self) -> Option<f64> {
        ratio(self.both, self.occurs)
    }

    fn f1(&self) -> Option<f64> {
        ratio(2.0 * self.both, self.occurs + self.predicted)
    }

    fn iou(&self) -> Option<f64> {
        ratio(self.both, self.occurs + self.predicted - self.both)
    }
}

impl<'a> Classification<'a> {
    /// Takes the place of each test object's true class, and row by row the probability of every class.
    ///
    /// # Errors
    /// [`LearnError::TooFew`] for fewer than two classes or no object, [`LearnError::Shape`], [`LearnError::NotFinite`],
    /// and [`LearnError::BadSetting`] for a class that there is not or a probability outside of 0 to 1.
    pub fn new(
        classes: usize,
        truth: &'a [u32],
        probabilities: &'a [f64],
    ) -> Result<Self, LearnError> {
        if classes < 2 {
            return Err(LearnError::TooFew { what: "classes", given: classes, needed: 2 });
        }
        some(truth.len())?;
        same_length("probabilities", probabilities.len(), truth.len() * classes)?;
        all_finite("a probability", probabilities, classes)?;
        if let Some(class) = truth.iter().find(|class| **class as usize >= classes) {
            return Err(LearnError::BadSetting {
                what: "the place of a true class",
                value: class.to_string(),
                hint: "places go from 0 to the number of classes less 1",
            });
        }
        let range = -ROUNDING..=1.0 + ROUNDING;
        if let Some(value) = probabilities.iter().find(|value| !range.contains(*value)) {
            return Err(LearnError::BadSetting {
                what: "a predicted probability",
                value: value.to_string(),
                hint: "probabilities lie between 0 and 1",
            });
        }
        let rows = || probabilities.chunks_exact(classes);
        let scored = match classes {
            2 => 1..2,
            3..=AUC_CLASSES_MAX => 0..classes,
            _ => 0..0,
        };
        Ok(Self {
            classes,
            truth,
            probabilities,
            weights: None,
            predicted: rows().map(|row| largest(row) as u32).collect(),
            by_score: scored.map(|class| ByScore::new(rows().map(|row| row[class]))).collect(),
            iou_names: None,
        })
    }

    /// Lets objects count by their weights.
    ///
    /// # Errors
    /// [`LearnError::Shape`]; [`LearnError::NotFinite`]; [`LearnError::BadSetting`] for a negative weight, or zeros alone.
    pub fn weights(mut self, weights: &'a [f64]) -> Result<Self, LearnError> {
        fit_weights(weights, self.truth.len())?;
        self.weights = Some(weights);
        Ok(self)
    }

    /// Adds intersections over unions, under the names of the classes.
    ///
    /// # Errors
    /// [`LearnError::Shape`] unless there is a name for each class.
    pub fn iou(mut self, names: &'a [String]) -> Result<Self, LearnError> {
        same_length("names of classes", names.len(), self.classes)?;
        self.iou_names = Some(names);
        Ok(self)
    }

    /// The most probable class of each object.
    pub fn predicted(&self) -> &[u32] {
        &self.predicted
    }

    /// Numbers of objects, row by row: true class, then predicted class. Weights do not count.
    pub fn confusion(&self) -> Vec<u64> {
        confusion(self.classes, self.truth, &self.predicted)
    }

    /// Predicted against observed in bins of equal width: of two classes the second's probability and whether it was this
    /// class; of more the most probable class's, and whether it was right.
    pub fn calibration(&self, bins: usize) -> Vec<CalibrationBin> {
        self.calibration_of(&vec![1; self.truth.len()], bins)
    }

    fn calibration_of(&self, sample: &[u32], bins: usize) -> Vec<CalibrationBin> {
        let objects = self.truth.iter().enumerate().map(|(object, class)| {
            let shown = if self.classes == 2 { 1 } else { self.predicted[object] };
            let probability = self.probabilities[object * self.classes + shown as usize];
            let each = self.weights.map_or(1.0, |weights| weights[object]);
            (probability, *class == shown, sample[object], each)
        });
        bins_of(objects, bins)
    }

    fn tallies(&self, sample: &[u32]) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); self.classes];
        for (object, (class, predicted)) in self.truth.iter().zip(&self.predicted).enumerate() {
            let each = weight(sample, self.weights, object);
            tallies[*class as usize].occurs += each;
            tallies[*predicted as usize].predicted += each;
            if class == predicted {
                tallies[*class as usize].both += each;
            }
        }
        tallies
    }

    /// The sums of log losses and squared errors.
    fn losses(&self, sample: &[u32]) -> (f64, f64) {
        let (mut log_loss, mut squares) = (0.0, 0.0);
        let rows = self.probabilities.chunks_exact(self.classes);
        for (object, (class, row)) in self.truth.iter().zip(rows).enumerate() {
            let each = weight(sample, self.weights, object);
            if each == 0.0 {
                continue;
            }
            let class = *class as usize;
            log_loss -= each * row[class].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
            let error = |(place, value): (usize, &f64)| {
                (value - if place == class { 1.0 } else { 0.0 }).powi(2)
            };
            // Of two classes the second's error is the first's, too, and counts once.
            let counted = usize::from(self.classes == 2);
            squares += each * row.iter().enumerate().skip(counted).map(error).sum::<f64>();
        }
        (log_loss, squares)
    }

    fn auc(&self, sample: &[u32]) -> Option<f64> {
        let weight = |object| weight(sample, self.weights, object);
        let first = usize::from(self.classes == 2);
        mean_of(self.by_score.iter().enumerate().map(|(place, by_score)| {
            by_score.auc(weight, |object| self.truth[object] as usize == first + place)
        }))
    }
}

impl Measure for Classification<'_> {
    fn count(&self) -> usize {
        self.truth.len()
    }

    fn names(&self) -> Vec<String> {
        let names = ["accuracy", "balanced_accuracy", "macro_f1", "weighted_f1"];
        let names = names.into_iter().chain(["auc", "log_loss", "brier", "ece"]);
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        if let Some(classes) = self.iou_names {
            names.push("mean_iou".to_owned());
            names.extend(classes.iter().map(|class| format!("iou_{class}")));
        }
        names
    }

    fn measure(&self, sample: &[u32]) -> Vec<Option<f64>> {
        let tallies = self.tallies(sample);
        let whole: f64 = tallies.iter().map(|tally| tally.occurs).sum();
        let (log_loss, squares) = self.losses(sample);
        let weighted = tallies.iter().map(|tally| tally.occurs * tally.f1().unwrap_or(0.0));
        let mut values = vec![
            ratio(tallies.iter().map(|tally| tally.both).sum(), whole),
            mean_of(tallies.iter().map(Tally::recall)),
            mean_of(tallies.iter().map(Tally::f1)),
            ratio(weighted.sum(), whole),
            self.auc(sample),
            ratio(log_loss, whole),
            ratio(squares, whole),
            expected_error(&self.calibration_of(sample, CALIBRATION_BINS)),
        ];
        if self.iou_names.is_some() {
            values.push(mean_of(tallies.iter().map(Tally::iou)));
            values.extend(tallies.iter().map(Tally::iou));
        }
        values
    }
}

/// Numbers of objects, row by row: true class, then predicted class. Places past the last class are not counted.
pub fn confusion(classes: usize, truth: &[u32], predicted: &[u32]) -> Vec<u64> {
    let mut counts = vec![0; classes * classes];
    for (class, predicted) in truth.iter().zip(predicted) {
        let (class, predicted) = (*class as usize, *predicted as usize);
        if class < classes && predicted < classes {
            counts[class * classes + predicted] += 1;
        }
    }
    counts
}

/// The intersection over union of each class, of what [`confusion`] counted; `None` for a class that neither occurs nor is
/// predicted.
pub fn iou(classes: usize, counts: &[u64]) -> Vec<Option<f64>> {
    let count = |class: usize, predicted: usize| {
        counts.get(class * classes + predicted).copied().unwrap_or(0) as f64
    };
    let tally = |class| Tally {
        occurs: (0..classes).map(|each| count(class, each)).sum(),
        predicted: (0..classes).map(|each| count(each, class)).sum(),
        both: count(class, class),
    };
    (0..classes).map(|class| tally(class).iou()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn certainty_that_is_right_has_no_error() {
        let truth = [0, 1, 2];
        let sure = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let perfect = Classification::new(3, &truth, &sure).expect("three classes");
        let values = perfect.measure(&[1, 1, 1]);
        for (place, value) in values.iter().enumerate() {
            let wanted = if place < 5 { 1.0 } else { 0.0 };
            assert!((value.expect("defined") - wanted).abs() < 1e-12, "{place}: {value:?}");
        }
        assert_eq!(perfect.confusion(), [1, 0, 0, 0, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn an_even_chance_between_two() {
        let truth = [0, 1, 1, 0];
        let even = Classification::new(2, &truth, &[0.5; 8]).expect("two classes");
        let values = even.measure(&[1; 4]);
        assert_eq!(values[4], Some(0.5));
        assert!((values[5].expect("loss") - 2.0_f64.ln()).abs() < 1e-12);
        assert_eq!(values[6], Some(0.25));
        assert_eq!(values[7], Some(0.0));
        // Only one class in the sample: no order to measure.
        assert_eq!(even.measure(&[1, 0, 0, 1])[4], None);
        assert_eq!(even.predicted(), [0; 4]);
    }

    #[test]
    fn a_class_that_nobody_has_is_no_part_of_the_means() {
        let counts = confusion(3, &[0, 0, 1], &[0, 1, 1]);
        assert_eq!(iou(3, &counts), [Some(0.5), Some(0.5), None]);
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let rows = [0.8, 0.1, 0.1, 0.1, 0.8, 0.1, 0.1, 0.8, 0.1];
        let measured = Classification::new(3, &[0, 0, 1], &rows).and_then(|all| all.iou(&names));
        let measured = measured.expect("names");
        let values = measured.measure(&[1; 3]);
        assert_eq!(values.len(), measured.names().len());
        assert_eq!(values[8..], [Some(0.5), Some(0.5), Some(0.5), None]);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let refused = |classes, truth: &[u32], rows: &[f64]| {
            Classification::new(classes, truth, rows).expect_err("refused").to_string()
        };
        assert!(refused(1, &[0], &[1.0]).contains("1 classes; at least 2"));
        assert!(refused(2, &[], &[]).contains("0 test examples"));
        assert!(refused(2, &[2], &[0.5, 0.5]).contains("the place of a true class is 2"));
        assert!(refused(2, &[1], &[0.5, 1.5]).contains("between 0 and 1"));
        assert!(refused(2, &[1, 1], &[0.5, 0.5, f64::NAN, 0.5]).contains("example 1"));
        assert!(refused(2, &[1], &[0.5]).contains("probabilities: 1 given, 2 expected"));
        let two = || Classification::new(2, &[0, 1], &[0.5; 4]).expect("two");
        assert!(two().weights(&[1.0]).is_err());
        assert!(two().weights(&[1.0, -1.0]).is_err());
        assert!(two().weights(&[0.0, 0.0]).is_err());
    }

    fn objects() -> impl Strategy<Value = Vec<(u32, [f64; 3], u32)>> {
        let row = [0.01..1.0_f64, 0.01..1.0_f64, 0.01..1.0_f64];
        let normal = row.prop_map(|row| row.map(|value| value / row.iter().sum::<f64>()));
        prop::collection::vec((0_u32..3, normal, 0_u32..4), 1..40)
    }

    proptest! {
        /// Whole weights, and samples with repetitions, are measured as the list in which they are written out.
        #[test]
        fn weights_and_counts_are_repetitions(objects in objects()) {
            let truth: Vec<u32> = objects.iter().map(|object| object.0).collect();
            let rows: Vec<f64> = objects.iter().flat_map(|object| object.1).collect();
            let sample: Vec<u32> = objects.iter().map(|object| object.2).collect();
            prop_assume!(sample.iter().any(|times| *times > 0));
            let weights: Vec<f64> = sample.iter().copied().map(f64::from).collect();
            let repeated = || objects.iter().flat_map(|each| vec![each; each.2 as usize]);
            let long_truth: Vec<u32> = repeated().map(|object| object.0).collect();
            let long_rows: Vec<f64> = repeated().flat_map(|object| object.1).collect();

            let once = vec![1; truth.len()];
            let all = Classification::new(3, &truth, &rows).expect("fits");
            let counted = all.measure(&sample);
            let weighted = all.weights(&weights).expect("weights").measure(&once);
            let written = Classification::new(3, &long_truth, &long_rows).expect("fits");
            let written = written.measure(&vec![1; long_truth.len()]);
            for ((counted, weighted), written) in counted.iter().zip(&weighted).zip(&written) {
                prop_assert_eq!(counted.is_some(), written.is_some());
                prop_assert_eq!(weighted.is_some(), written.is_some());
                let written = written.unwrap_or(0.0);
                prop_assert!((counted.unwrap_or(0.0) - written).abs() < 1e-9);
                prop_assert!((weighted.unwrap_or(0.0) - written).abs() < 1e-9);
            }
        }
    }
}
