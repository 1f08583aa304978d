//! Intervals of means by the bootstrap (Efron 1979, Annals of Statistics 7, 1).

use super::evaluate::Measured;

/// Draws the same resamples for every quantity, so that two of them can be compared.
pub(super) struct Resampler {
    count: usize,
    resamples: usize,
    seed: u64,
}

impl Resampler {
    pub(super) fn new(count: usize, resamples: usize, seed: u64) -> Self {
        Self { count, resamples, seed }
    }

    /// The mean of one value for each object, with the 2.5 and 97.5 percentiles of the means of resamples.
    pub(super) fn measured(
        &mut self,
        name: String,
        values: &[f64],
        chance: Option<f64>,
    ) -> Measured {
        let count = self.count.min(values.len());
        let value = values.iter().sum::<f64>() / count.max(1) as f64;
        let mut state = self.seed;
        let mut means: Vec<f64> = (0..self.resamples)
            .map(|_| {
                let drawn = (0..count).map(|_| {
                    let place = (u128::from(next(&mut state)) * count as u128) >> 64;
                    values.get(place as usize).copied().unwrap_or_default()
                });
                drawn.sum::<f64>() / count.max(1) as f64
            })
            .collect();
        means.sort_by(f64::total_cmp);
        let at = |share: f64| percentile(&means, share).unwrap_or(value);
        Measured { name, value, low: at(0.025), high: at(0.975), chance }
    }
}

/// The percentile of sorted values, between two of them in proportion.
fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(below + (above - below) * place.fract())
}

/// SplitMix64 (Steele, Lea & Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_a_binomial() {
        let values: Vec<f64> =
            (0..1_000).map(|place| f64::from(u8::from(place % 4 == 0))).collect();
        let measured = Resampler::new(1_000, 4_000, 7).measured("share".to_owned(), &values, None);
        assert!((measured.value - 0.25).abs() < 1e-12);
        // 1.96 sqrt(p (1 - p) / n).
        assert!((measured.high - 0.25 - 0.026_8).abs() < 0.002, "{measured:?}");
        assert!((0.25 - measured.low - 0.026_8).abs() < 0.002, "{measured:?}");
        let none = Resampler::new(1, 0, 7).measured("one".to_owned(), &[2.0], None);
        assert_eq!((none.low, none.high), (2.0, 2.0));
    }
}
