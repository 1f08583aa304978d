//! Inner products of byte codes with integer weights, by AVX2.
//!
//! Sidereus is compiled for x86-64-v3, so the instructions are there on every machine that the program starts on.
#![expect(unsafe_code, reason = "loads from slices whose lengths are checked first")]

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepu8_epi16, _mm256_hadd_epi32,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_permute2x128_si256, _mm256_setzero_si256,
    _mm256_storeu_si256,
};

use super::{CODES_READ, GROUP};

/// Sums of the products of eight codes with the weights.
///
/// # Panics
/// When a code is not as long as the weights, or that length is no multiple of [`CODES_READ`]: callers pass slices that they
/// have cut.
pub(in crate::vector) fn dot_group(codes: [&[u8]; GROUP], weights: &[i16]) -> [i32; GROUP] {
    assert!(weights.len().is_multiple_of(CODES_READ));
    assert!(codes.iter().all(|code| code.len() == weights.len()));
    // The lengths of the usual codes as constants, so that the weights stay in registers.
    match weights.len() / CODES_READ {
        1 => sums::<1>(codes, weights, 1),
        2 => sums::<2>(codes, weights, 2),
        steps => sums::<0>(codes, weights, steps),
    }
}

/// `STEPS` is the number of steps, or 0 where it is only known at run time.
#[expect(clippy::inline_always, reason = "for every row of a scan")]
#[expect(clippy::cast_ptr_alignment, reason = "these loads need none")]
#[inline(always)]
fn sums<const STEPS: usize>(codes: [&[u8]; GROUP], weights: &[i16], steps: usize) -> [i32; GROUP] {
    let steps = if STEPS == 0 { steps } else { STEPS };
    // SAFETY: x86-64-v3 has AVX2. `dot_group` has checked that every code and the weights have `steps * CODES_READ`
    // elements, and the loads below read elements `step * CODES_READ` to `(step + 1) * CODES_READ` with `step < steps`.
    unsafe {
        let mut lanes = [_mm256_setzero_si256(); GROUP];
        for step in 0..steps {
            let weights = weights.as_ptr().add(step * CODES_READ);
            let first = _mm256_loadu_si256(weights.cast::<__m256i>());
            let second = _mm256_loadu_si256(weights.add(CODES_READ / 2).cast::<__m256i>());
            for (lane, code) in lanes.iter_mut().zip(codes) {
                let code = code.as_ptr().add(step * CODES_READ);
                let low = _mm256_cvtepu8_epi16(_mm_loadu_si128(code.cast()));
                let high = _mm256_cvtepu8_epi16(_mm_loadu_si128(code.add(CODES_READ / 2).cast()));
                let products = _mm256_add_epi32(
                    _mm256_madd_epi16(low, first),
                    _mm256_madd_epi16(high, second),
                );
                *lane = _mm256_add_epi32(*lane, products);
            }
        }
        // Three rounds of pairwise sums turn eight vectors of eight partial sums into one of eight sums.
        let [a, b, c, d, e, f, g, h] = lanes;
        let left = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let right = _mm256_hadd_epi32(_mm256_hadd_epi32(e, f), _mm256_hadd_epi32(g, h));
        let lower = _mm256_permute2x128_si256::<0x20>(left, right);
        let upper = _mm256_permute2x128_si256::<0x31>(left, right);
        let mut out = [0i32; GROUP];
        _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_add_epi32(lower, upper));
        out
    }
}
