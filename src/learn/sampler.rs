//! Reproducible numbers for samples.

/// Splitmix64: reproducible numbers for samples, never for secrets.
///
/// # Reference
/// Steele, Lea and Flood 2014 (doi:10.1145/2660193.2660195).
#[derive(Debug, Clone)]
pub struct Sampler(u64);

impl Sampler {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of many streams of a seed: the numbers of stream 7 do not depend on who drew from the others, or when.
    pub fn stream(seed: u64, stream: u64) -> Self {
        // The seed of a stream is drawn from the seed's own numbers, so that neighbouring seeds share no stream.
        let mut source = Self(Self(seed).bits() ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        Self(source.bits())
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is not 0; all equally likely but for one part in 2^64 / bound.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// Keeps `count` of the values, each equally likely, in their order.
    pub fn choose<T>(&mut self, values: Vec<T>, count: usize) -> Vec<T> {
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

    #[test]
    fn streams_are_apart_and_reproducible() {
        let first = |seed, stream| Sampler::stream(seed, stream).bits();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            for stream in 0..50 {
                assert!(seen.insert(first(seed, stream)));
                assert_eq!(first(seed, stream), first(seed, stream));
            }
        }
    }
}
