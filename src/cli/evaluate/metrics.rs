//! How good predictions are.

/// A catastrophic redshift error, as the photometric redshift literature counts it.
const OUTLIER_DZ: f64 = 0.15;

/// Makes the median absolute deviation of a Gaussian equal to its standard deviation.
const NMAD_FACTOR: f64 = 1.4826;

/// A true value and what was predicted for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prediction {
    pub(super) truth: f64,
    pub(super) predicted: f64,
}

impl Prediction {
    /// Predicted minus true.
    fn error(self) -> f64 {
        self.predicted - self.truth
    }

    /// The error of a redshift in its own unit, which grows with the redshift.
    fn relative(self, error: f64) -> f64 {
        error.abs() / (1.0 + self.truth)
    }
}

/// The coefficient of determination; `None` where the truth does not vary.
pub(super) fn r2(predictions: &[Prediction]) -> Option<f64> {
    let mean = predictions.iter().map(|each| each.truth).sum::<f64>() / predictions.len() as f64;
    let total: f64 = predictions.iter().map(|each| (each.truth - mean).powi(2)).sum();
    (total > 0.0).then(|| 1.0 - squared_errors(predictions) / total)
}

/// The root of the mean squared error; `None` without predictions.
pub(super) fn rmse(predictions: &[Prediction]) -> Option<f64> {
    let count = predictions.len() as f64;
    (!predictions.is_empty()).then(|| (squared_errors(predictions) / count).sqrt())
}

fn squared_errors(predictions: &[Prediction]) -> f64 {
    predictions.iter().map(|each| each.error().powi(2)).sum()
}

/// The normalised median absolute deviation of redshift errors about their median,
/// 1.4826 median(|dz - median(dz)| / (1 + z)).
///
/// # Reference
/// Brammer, van Dokkum and Coppi 2008 (2008ApJ...686.1503B), equation 5.
pub(super) fn sigma_nmad(predictions: &[Prediction]) -> Option<f64> {
    let centre = median(predictions.iter().map(|each| each.error()).collect())?;
    let deviations = predictions.iter().map(|each| each.relative(each.error() - centre));
    median(deviations.collect()).map(|deviation| NMAD_FACTOR * deviation)
}

/// The fraction of catastrophic redshift errors.
pub(super) fn outlier_fraction(predictions: &[Prediction]) -> Option<f64> {
    let outliers =
        predictions.iter().filter(|each| each.relative(each.error()) > OUTLIER_DZ).count();
    (!predictions.is_empty()).then(|| outliers as f64 / predictions.len() as f64)
}

/// The median; of an even number of values the mean of the middle two. `None` without values.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(middle.checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

/// Splitmix64: reproducible numbers for samples, never for secrets.
///
/// # Reference
/// Steele, Lea and Flood 2014 (doi:10.1145/2660193.2660195).
#[derive(Debug, Clone)]
pub(super) struct Sampler(u64);

impl Sampler {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is not 0; all equally likely but for one part in 2^64 / bound.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Keeps `count` of the values, each equally likely, in their order.
    pub(super) fn choose<T>(&mut self, values: Vec<T>, count: usize) -> Vec<T> {
        let mut left = values.len();
        let mut wanted = count.min(left);
        let mut chosen = Vec::with_capacity(wanted);
        for value in values {
            if wanted > 0 && self.below(left) < wanted {
                chosen.push(value);
                wanted -= 1;
            }
            left -= 1;
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(pairs: &[(f64, f64)]) -> Vec<Prediction> {
        pairs.iter().map(|&(truth, predicted)| Prediction { truth, predicted }).collect()
    }

    #[test]
    fn perfect_predictions_have_no_error() {
        let perfect = predictions(&[(0.1, 0.1), (0.2, 0.2), (0.4, 0.4)]);
        assert_eq!(r2(&perfect), Some(1.0));
        assert_eq!(rmse(&perfect), Some(0.0));
        assert_eq!(sigma_nmad(&perfect), Some(0.0));
        assert_eq!(outlier_fraction(&perfect), Some(0.0));
    }

    #[test]
    fn the_mean_of_all_predicts_nothing() {
        let flat = predictions(&[(1.0, 2.0), (2.0, 2.0), (3.0, 2.0)]);
        assert!(r2(&flat).expect("varies").abs() < 1e-12);
        assert_eq!(r2(&predictions(&[(1.0, 2.0), (1.0, 0.0)])), None);
    }

    #[test]
    fn sigma_nmad_is_blind_to_a_shift_and_to_one_outlier() {
        // Errors of 0.1, 0.1, 0.1 and 1.0 about a median of 0.1.
        let shifted = predictions(&[(0.0, 0.1), (1.0, 1.1), (3.0, 3.1), (0.0, 1.0)]);
        assert!(sigma_nmad(&shifted).expect("values") < 1e-12);
        assert_eq!(outlier_fraction(&shifted), Some(0.25));
    }

    #[test]
    fn sigma_nmad_of_a_known_list() {
        // dz = -0.02, 0, 0.02: deviations 0.02, 0, 0.02 with median 0.02.
        let list = predictions(&[(0.0, -0.02), (0.0, 0.0), (0.0, 0.02)]);
        assert!((sigma_nmad(&list).expect("values") - 1.4826 * 0.02).abs() < 1e-15);
    }

    #[test]
    fn medians_of_odd_even_and_nothing() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_sample_is_reproducible_ordered_and_of_the_size_asked_for() {
        let all: Vec<u32> = (0..1_000).collect();
        let chosen = Sampler::new(7).choose(all.clone(), 100);
        assert_eq!(chosen.len(), 100);
        assert!(chosen.is_sorted());
        assert_eq!(chosen, Sampler::new(7).choose(all.clone(), 100));
        assert_ne!(chosen, Sampler::new(8).choose(all.clone(), 100));
        assert_eq!(Sampler::new(7).choose(all.clone(), 5_000), all);
    }
}
