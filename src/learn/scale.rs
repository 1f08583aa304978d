//! Bringing features to mean 0 and standard deviation 1.

use super::linear::moments::deviations;
use super::{Features, LearnError, Progress};

/// Mean and divisor of each feature, as a training set has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// What is subtracted.
    pub mean: Vec<f64>,
    /// What it is divided by then: the standard deviation (of the set itself, not of a population behind it), or 1 for a
    /// feature that is constant.
    pub scale: Vec<f64>,
}

impl Scale {
    /// Weighted mean and deviation of each feature, by one pass.
    ///
    /// Blocks are centred at their own means and joined (Chan, Golub & LeVeque 1983), so that large means cost no digits.
    ///
    /// # Errors
    /// [`LearnError::TooFew`] without examples of positive weight; those of reading.
    pub fn fit(
        features: &dyn Features,
        weights: Option<&[f64]>,
        progress: Progress<'_>,
    ) -> Result<Self, LearnError> {
        let width = features.width();
        super::linear::check_weights(weights, features.count())?;
        let (mut count, mut weight) = (0_u64, 0.0);
        let (mut mean, mut square) = (vec![0.0; width], vec![0.0; width]);
        let (mut block_mean, mut block_square) = (vec![0.0; width], vec![0.0; width]);
        features.pass(&mut |first, block| {
            progress.step("scaling", first as u64, features.count() as u64)?;
            let weight_of = |row: usize| weights.map_or(1.0, |weights| weights[first + row]);
            let rows = block.len() / width;
            let block_weight: f64 = (0..rows).map(weight_of).sum();
            if block_weight <= 0.0 {
                return Ok(());
            }
            let start = &block[..width];
            block_mean.fill(0.0);
            block_square.fill(0.0);
            for (row, values) in block.chunks(width).enumerate() {
                let share = weight_of(row) / block_weight;
                for ((mean, value), start) in block_mean.iter_mut().zip(values).zip(start) {
                    *mean += share * (value - start);
                }
            }
            block_mean.iter_mut().zip(start).for_each(|(mean, start)| *mean += start);
            for (row, values) in block.chunks(width).enumerate() {
                let weight = weight_of(row);
                for ((square, value), mean) in block_square.iter_mut().zip(values).zip(&block_mean)
                {
                    *square += weight * (value - mean).powi(2);
                }
            }
            let joined = weight + block_weight;
            for at in 0..width {
                let step = block_mean[at] - mean[at];
                square[at] += block_square[at] + step.powi(2) * weight * block_weight / joined;
                mean[at] += step * block_weight / joined;
            }
            weight = joined;
            count += (0..rows).filter(|row| weight_of(*row) > 0.0).count() as u64;
            Ok(())
        })?;
        if weight <= 0.0 {
            return Err(LearnError::TooFew { what: "training examples", given: 0, needed: 1 });
        }
        let (scale, _) = deviations(square.iter().map(|square| square / weight), &mean, count);
        Ok(Self { mean, scale })
    }

    /// Scales whole rows in place.
    pub fn apply(&self, features: &mut [f64]) {
        for row in features.chunks_mut(self.mean.len().max(1)) {
            for ((value, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *value = (*value - mean) / scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Matrix;
    use super::*;

    #[test]
    fn scaled_features_have_mean_0_and_deviation_1() {
        let x: Vec<f64> =
            (0..5_000).flat_map(|at| [1e6 + f64::from(at % 3), 7.7, f64::from(at * at)]).collect();
        let matrix = Matrix::new(3, x.clone()).expect("whole");
        let weights: Vec<f64> = (0..5_000).map(|at| f64::from(at % 4)).collect();
        let scale = Scale::fit(&matrix, Some(&weights), Progress::silent()).expect("some");
        assert_eq!(scale.scale[1], 1.0);
        let mut scaled = x;
        scale.apply(&mut scaled);
        let total: f64 = weights.iter().sum();
        for at in [0, 2] {
            let column = || scaled.iter().skip(at).step_by(3).zip(&weights);
            let mean = column().map(|(v, w)| v * w).sum::<f64>() / total;
            let square = column().map(|(v, w)| v * v * w).sum::<f64>() / total;
            assert!(mean.abs() < 1e-9 && (square - 1.0).abs() < 1e-9, "{mean} {square}");
        }
        assert!(scaled.iter().skip(1).step_by(3).all(|value| *value == 0.0));
        let none = vec![0.0; 5_000];
        assert!(Scale::fit(&matrix, Some(&none), Progress::silent()).is_err());
    }
}
