//! Inner product and squared Euclidean distance.
//!
//! The fast loops keep eight partial sums in a fixed order, which the compiler turns into AVX2; because every
//! plan calls the same function on the same numbers, all plans agree to the last bit. [`reference`] holds the
//! plain `f64` loops that tests hold them against.

const LANES: usize = 16;

/// Returns the inner product of two vectors of equal length.
///
/// # Panics
/// In debug builds, when the lengths differ.
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    debug_assert_eq!(left.len(), right.len());
    accumulate(left, right, f32::mul_add)
}

/// Returns the squared Euclidean distance of two vectors of equal length.
///
/// # Panics
/// In debug builds, when the lengths differ.
pub fn l2_squared(left: &[f32], right: &[f32]) -> f32 {
    debug_assert_eq!(left.len(), right.len());
    accumulate(left, right, |a, b, sum| {
        let difference = a - b;
        difference.mul_add(difference, sum)
    })
}

/// By how much [`dot`] can be off, as a share of the product of the lengths, and [`l2_squared`], as a share of itself, where
/// nothing overflows or vanishes.
///
/// # Reference
/// Higham 2002, "Accuracy and Stability of Numerical Algorithms", chapter 3: each sum of `n` terms is off by `n` roundings at
/// most. A term goes through one lane, or the rest behind the last whole chunk, and the sum of the lanes.
pub fn rounding(length: usize) -> f64 {
    let roundings = length / LANES + length % LANES + LANES.ilog2() as usize + 4;
    let share = roundings as f64 * f64::from(f32::EPSILON) / 2.0;
    share / (1.0 - share)
}

/// Returns the Euclidean norm, accumulated in `f64` so that no representable vector overflows.
pub fn norm(vector: &[f32]) -> f64 {
    let (chunks, rest) = vector.as_chunks::<LANES>();
    let mut sums = [0.0_f64; LANES];
    for chunk in chunks {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    let rest: f64 = rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    (sums.iter().sum::<f64>() + rest).sqrt()
}

#[expect(clippy::inline_always, reason = "so that each step becomes a loop of its own")]
#[inline(always)]
fn accumulate(left: &[f32], right: &[f32], step: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (left_chunks, left_rest) = left.as_chunks::<LANES>();
    let (right_chunks, right_rest) = right.as_chunks::<LANES>();
    for (a, b) in left_chunks.iter().zip(right_chunks) {
        for lane in 0..LANES {
            sums[lane] = step(a[lane], b[lane], sums[lane]);
        }
    }
    let mut total = 0.0;
    for (&a, &b) in left_rest.iter().zip(right_rest) {
        total = step(a, b, total);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0] + total
}

/// Plain `f64` loops: the oracle of the fast ones, and of every plan in tests.
pub mod reference {
    /// Inner product in `f64`.
    pub fn dot(left: &[f32], right: &[f32]) -> f64 {
        left.iter().zip(right).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    /// Squared Euclidean distance in `f64`.
    pub fn l2_squared(left: &[f32], right: &[f32]) -> f64 {
        left.iter().zip(right).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fast_loops_equal_the_reference(
            pairs in prop::collection::vec((-100.0f32..100.0, -100.0f32..100.0), 0..300)
        ) {
            let (left, right): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let scale = reference::dot(&left, &left) + reference::dot(&right, &right) + 1.0;
            prop_assert!((f64::from(dot(&left, &right)) - reference::dot(&left, &right)).abs() <= 1e-5 * scale);
            prop_assert!(
                (f64::from(l2_squared(&left, &right)) - reference::l2_squared(&left, &right)).abs() <= 1e-5 * scale
            );
        }

        #[test]
        fn small_integers_are_exact(pairs in prop::collection::vec((-9i8..9, -9i8..9), 0..200)) {
            let (left, right): (Vec<f32>, Vec<f32>) =
                pairs.into_iter().map(|(a, b)| (f32::from(a), f32::from(b))).unzip();
            prop_assert_eq!(f64::from(dot(&left, &right)), reference::dot(&left, &right));
            prop_assert_eq!(f64::from(l2_squared(&left, &right)), reference::l2_squared(&left, &right));
        }
    }
}
