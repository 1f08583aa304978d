//! A small seeded generator: the same numbers on every machine and in every version.

/// SplitMix64.
///
/// # Reference
/// Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", doi:10.1145/2714064.2660195.
#[derive(Debug, Clone)]
pub(super) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator whose whole sequence is decided by the seed.
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 64 uniform bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Approximately normal, mean 0 and variance 1: the sum of eight uniforms, which needs no library function that
    /// rounds differently elsewhere.
    pub(super) fn normal(&mut self) -> f64 {
        let sum: f64 = (0..4)
            .map(|_| {
                let bits = self.bits();
                ((bits >> 32) + (bits & 0xffff_ffff)) as f64
            })
            .sum();
        // Eight uniforms on [0, 2^32): mean 4 * 2^32, variance 8/12 * 2^64.
        (sum / (1u64 << 32) as f64 - 4.0) * 1.5f64.sqrt()
    }
}

/// Draws `wanted` distinct rows below `count`, ascending: one at random from each of `wanted` equal stretches.
pub(super) fn stratified_rows(count: usize, wanted: usize, seed: u64) -> Vec<usize> {
    if wanted >= count {
        return (0..count).collect();
    }
    let mut random = SplitMix64::new(seed);
    let edge = |place: usize| (place as u128 * count as u128 / wanted as u128) as usize;
    (0..wanted)
        .map(|place| {
            let (start, end) = (edge(place), edge(place + 1));
            start + (random.uniform() * (end - start) as f64) as usize
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = SplitMix64::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let mut random = SplitMix64::new(3);
        let numbers: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let mean = numbers.iter().sum::<f64>() / 1e5;
        let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.015 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn stratified_rows_are_distinct_and_spread() {
        for (count, wanted) in [(10, 20), (10, 10), (10, 9), (1000, 37), (1, 1), (0, 5)] {
            let rows = stratified_rows(count, wanted, 5);
            assert_eq!(rows.len(), wanted.min(count));
            assert!(rows.is_sorted_by(|left, right| left < right));
            assert!(rows.iter().all(|&row| row < count));
        }
    }
}
