//! Trained heads: what they are made of, and what they compute, in plain Rust.
//!
//! The encoder program trains them; whoever applies them needs no libtorch. A head is an ensemble of perceptrons on rows of
//! features, or on what a learned query collects from an object's tokens (attention pooling). Numbers are kept in single
//! precision, as they were trained, and computed with in double precision on the calling thread.

mod attention;
mod erf;
mod head;
mod layer;
mod mixture;
mod shape;

pub(in crate::learn) use erf::normal_cdf;
pub use head::{HeadInputs, NetworkHead};
pub use mixture::Mixture;
pub use shape::{
    Activation, AttentionShape, HeadOutput, HeadShape, HeadWeights, NamedTensor, Scaling,
};

/// Multiplier and increment of the generator behind [`epoch_order`] (SplitMix64: Steele, Lea & Flood 2014).
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The places `0..count` in an order of their own for every epoch, the same for the same seed (Fisher & Yates).
pub fn epoch_order(count: usize, epoch: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect();
    let mut state = mixed(seed ^ mixed(u64::from(epoch)));
    for last in (1..order.len()).rev() {
        state = state.wrapping_add(STEP);
        // The upper half of a product: uniform to within 2^-32 for fewer than 2^32 places.
        let other = (u128::from(mixed(state)) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
    order
}

fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests;
