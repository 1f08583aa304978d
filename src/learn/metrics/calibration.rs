//! Whether what is predicted with 70 % happens in 70 of 100 cases.

/// Bins that a probability's range is cut into when nobody says otherwise.
pub const CALIBRATION_BINS: usize = 10;

/// What happened to objects whose predicted probabilities lie in one of several ranges of equal width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationBin {
    /// The mean predicted probability.
    pub predicted: f64,
    /// The fraction of the objects for which it was true.
    pub observed: f64,
    /// How many objects there are.
    pub count: u64,
    /// What they weigh.
    weight: f64,
}

impl CalibrationBin {
    /// A bin of objects that weigh the same.
    pub fn new(predicted: f64, observed: f64, count: u64) -> Self {
        Self { predicted, observed, count, weight: count as f64 }
    }
}

/// Sorts objects, each a probability, whether it came true, how often it counts and what it weighs then, into so many bins
/// of equal width, upper edges inclusive. Empty bins are left out.
pub(super) fn bins_of(
    objects: impl Iterator<Item = (f64, bool, u32, f64)>,
    bins: usize,
) -> Vec<CalibrationBin> {
    let empty = CalibrationBin { predicted: 0.0, observed: 0.0, count: 0, weight: 0.0 };
    let mut filled = vec![empty; bins.max(1)];
    let last = filled.len() - 1;
    for (probability, came_true, times, each) in objects {
        let place = ((probability * (last + 1) as f64).ceil() as usize).saturating_sub(1).min(last);
        let weight = f64::from(times) * each;
        let bin = &mut filled[place];
        bin.predicted += weight * probability;
        bin.observed += if came_true { weight } else { 0.0 };
        bin.weight += weight;
        bin.count += u64::from(times);
    }
    filled.retain(|bin| bin.weight > 0.0);
    for bin in &mut filled {
        bin.predicted /= bin.weight;
        bin.observed /= bin.weight;
    }
    filled
}

/// Sorts predicted probabilities, and whether they came true, into bins of equal width from 0 to 1, upper edges inclusive.
/// Empty bins are left out.
pub fn calibration_bins(
    probabilities: &[f64],
    came_true: &[bool],
    bins: usize,
) -> Vec<CalibrationBin> {
    let objects = probabilities.iter().zip(came_true);
    bins_of(objects.map(|(probability, came_true)| (*probability, *came_true, 1, 1.0)), bins)
}

/// The expected calibration error: the mean over all objects of the distance between predicted and observed in their bin.
/// `None` without objects.
///
/// # Reference
/// Naeini, Cooper and Hauskrecht 2015 (AAAI, 29, 2901); Guo et al. 2017 (arXiv:1706.04599), equation 3.
pub fn expected_error(bins: &[CalibrationBin]) -> Option<f64> {
    let weight: f64 = bins.iter().map(|bin| bin.weight).sum();
    let apart = bins.iter().map(|bin| bin.weight * (bin.predicted - bin.observed).abs());
    super::ratio(apart.sum(), weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_belong_to_the_lower_bin_and_nothing_is_lost() {
        let bins = calibration_bins(&[0.0, 0.1, 0.100_001, 1.0], &[false, true, true, true], 10);
        let counts: Vec<u64> = bins.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [2, 1, 1]);
        assert!((bins[0].predicted - 0.05).abs() < 1e-12);
        assert_eq!(bins[0].observed, 0.5);
        assert!(calibration_bins(&[], &[], 10).is_empty());
        assert_eq!(expected_error(&[]), None);
    }

    #[test]
    fn what_happens_as_often_as_predicted_has_no_error() {
        let honest = calibration_bins(&[0.25; 4], &[true, false, false, false], 10);
        assert_eq!(expected_error(&honest), Some(0.0));
        let boasting = calibration_bins(&[1.0; 4], &[true, false, false, false], 10);
        assert_eq!(expected_error(&boasting), Some(0.75));
    }
}
