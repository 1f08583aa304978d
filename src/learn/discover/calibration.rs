//! Distances of one space in units of their own spread.

/// How distances from one query to the objects of a space are distributed, by a sample of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Mean of the distances.
    pub mean: f64,
    /// Their standard deviation (of the sample itself, not corrected for its size); 1 where they do not differ.
    pub spread: f64,
    /// Distances that were sampled.
    pub count: usize,
}

impl Calibration {
    /// The distribution of some distances; numbers that are not finite are left out.
    pub fn of(distances: &[f64]) -> Self {
        let finite: Vec<f64> =
            distances.iter().copied().filter(|distance| distance.is_finite()).collect();
        let count = finite.len();
        if count == 0 {
            return Self { mean: 0.0, spread: 1.0, count };
        }
        let mean = finite.iter().sum::<f64>() / count as f64;
        let variance =
            finite.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
        let spread = variance.sqrt();
        // What rounding leaves of equal distances is no spread.
        let is_none = spread <= mean.abs() * 1e-9 || !spread.is_finite();
        Self { mean, spread: if is_none { 1.0 } else { spread }, count }
    }

    /// How much nearer than the mean a distance is, in spreads: larger is more similar, 0 is the mean.
    pub fn similarity(&self, distance: f64) -> f64 {
        (self.mean - distance) / self.spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_zero_and_the_spread_is_one() {
        let distances = [1.0, 2.0, 3.0, 4.0];
        let calibration = Calibration::of(&distances);
        assert_eq!((calibration.mean, calibration.count), (2.5, 4));
        let similarities = distances.map(|distance| calibration.similarity(distance));
        let squares: f64 = similarities.iter().map(|value| value * value).sum();
        assert!(
            (squares / 4.0 - 1.0).abs() < 1e-12 && similarities.iter().sum::<f64>().abs() < 1e-12
        );
        assert!(similarities.is_sorted_by(|left, right| left > right));
    }

    #[test]
    fn without_a_difference_there_is_no_scale() {
        for distances in [&[][..], &[3.0], &[0.3; 7], &[f64::INFINITY]] {
            assert_eq!(Calibration::of(distances).spread, 1.0, "{distances:?}");
        }
    }
}
