//! Random numbers of a training: its own, so that nothing else in the process changes them.

/// Increment of SplitMix64 (Steele, Lea & Flood 2014).
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The stream of a seed, and of a number that tells streams of one seed apart.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self(mixed(seed.wrapping_add(mixed(stream.wrapping_mul(STEP)))))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }

    /// A number from 0 to below 1, with 24 random bits.
    pub(super) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 16_777_216.0
    }

    /// Numbers between `-bound` and `bound`.
    pub(super) fn uniform(&mut self, count: usize, bound: f64) -> Vec<f32> {
        (0..count).map(|_| (2.0 * self.unit() - 1.0) * bound as f32).collect()
    }

    /// What hidden numbers are multiplied with: 0 with probability `p`, and otherwise what keeps their mean.
    pub(super) fn mask(&mut self, count: usize, p: f64) -> Vec<f32> {
        let kept = (1.0 / (1.0 - p)) as f32;
        (0..count).map(|_| if self.unit() < p as f32 { 0.0 } else { kept }).collect()
    }
}

fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}
