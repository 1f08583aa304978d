//! Byte codes of vectors, and how near a query is to them.
//!
//! A code is a row of bytes: a single-precision constant of the row, then one byte a component of the (rotated and
//! shortened) vector. A query is turned into integer [`CodeWeights`] once; the estimate for a row is then
//! `constant - base - scale * sum(weight * byte)`, where the sum is exact in 32 bits.

use super::simd;

/// Codes are this many bytes long, or a multiple of it.
pub const CODE_STEP: usize = 32;

/// Bytes of a row's constant at the front of its code.
pub const CONSTANT_BYTES: usize = size_of::<f32>();

/// Longest code: `255 * WEIGHT_MAX * CODE_BYTES_MAX` still fits into 32 bits with a sign.
pub const CODE_BYTES_MAX: usize = 1024;

/// Largest weight, either sign.
const WEIGHT_MAX: f32 = 8191.0;

/// Rows ahead of the one that is compared whose code is asked for from memory.
const PREFETCH_ROWS: usize = 24;

/// A query as integers.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeWeights {
    weights: Vec<i16>,
    /// What one unit of the sum is worth.
    scale: f32,
    /// What is taken from every estimate, whatever the row.
    base: f32,
}

impl CodeWeights {
    /// Rounds the factors of a query, one for each byte behind the constant, to weights for codes of `code_bytes`.
    ///
    /// # Panics
    /// In debug builds, when `code_bytes` is no multiple of [`CODE_STEP`], too long, or too short for the factors.
    pub fn new(factors: &[f32], base: f32, code_bytes: usize) -> Self {
        debug_assert!(code_bytes.is_multiple_of(CODE_STEP) && code_bytes <= CODE_BYTES_MAX);
        debug_assert!(CONSTANT_BYTES + factors.len() <= code_bytes);
        let largest = factors.iter().fold(0.0f32, |most, factor| most.max(factor.abs()));
        let scale = if largest > 0.0 { largest / WEIGHT_MAX } else { 1.0 };
        let mut weights = vec![0i16; code_bytes];
        // The bytes of the constant have weight 0.
        for (weight, factor) in weights.iter_mut().skip(CONSTANT_BYTES).zip(factors) {
            *weight = (factor / scale).round().clamp(-WEIGHT_MAX, WEIGHT_MAX) as i16;
        }
        Self { weights, scale, base }
    }

    /// Bytes of the codes that these weights are for.
    pub fn code_bytes(&self) -> usize {
        self.weights.len()
    }

    /// Estimates for consecutive codes, in order, handed to `each` with their place; codes cut off at the end are left out.
    pub fn scan(&self, codes: &[u8], mut each: impl FnMut(usize, f32)) {
        let length = self.weights.len();
        let mut groups = codes.chunks_exact(length * simd::GROUP);
        let mut place = 0;
        for group in &mut groups {
            let rows: [&[u8]; simd::GROUP] =
                std::array::from_fn(|row| &group[row * length..(row + 1) * length]);
            for estimate in self.group(rows) {
                each(place, estimate);
                place += 1;
            }
        }
        let rest = groups.remainder();
        for row in rest.chunks_exact(length) {
            each(place, self.one(row));
            place += 1;
        }
    }

    /// Estimates for the codes of some rows, handed to `each` with their place in `rows`; rows past the end are left out.
    pub fn gather(&self, codes: &[u8], rows: &[u32], mut each: impl FnMut(usize, f32)) {
        let length = self.weights.len();
        let code = |row: u32| {
            let start = row as usize * length;
            codes.get(start..start + length)
        };
        for (chunk_place, chunk) in rows.chunks(simd::GROUP).enumerate() {
            let place = chunk_place * simd::GROUP;
            for &ahead in rows.iter().skip(place + PREFETCH_ROWS).take(simd::GROUP) {
                for line in (0..length).step_by(64) {
                    simd::prefetch(codes, ahead as usize * length + line);
                }
            }
            let found: [Option<&[u8]>; simd::GROUP] =
                std::array::from_fn(|row| chunk.get(row).and_then(|&row| code(row)));
            if let [Some(a), Some(b), Some(c), Some(d), Some(e), Some(f), Some(g), Some(h)] = found
            {
                let estimates = self.group([a, b, c, d, e, f, g, h]);
                for (row, estimate) in estimates.into_iter().enumerate() {
                    each(place + row, estimate);
                }
                continue;
            }
            for (row, code) in found.into_iter().enumerate() {
                if let Some(code) = code {
                    each(place + row, self.one(code));
                }
            }
        }
    }

    fn group(&self, rows: [&[u8]; simd::GROUP]) -> [f32; simd::GROUP] {
        let sums = simd::dot_group(rows, &self.weights);
        std::array::from_fn(|row| self.estimate(rows[row], sums[row]))
    }

    fn one(&self, code: &[u8]) -> f32 {
        self.estimate(code, reference(code, &self.weights))
    }

    #[expect(clippy::inline_always, reason = "for every row of a scan")]
    #[inline(always)]
    fn estimate(&self, code: &[u8], sum: i32) -> f32 {
        let constant = code.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes));
        constant - self.base - self.scale * sum as f32
    }
}

/// The plain loop: the oracle of the fast one.
pub(super) fn reference(code: &[u8], weights: &[i16]) -> i32 {
    code.iter().zip(weights).map(|(&byte, &weight)| i32::from(byte) * i32::from(weight)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(constant: f32, bytes: &[u8], length: usize) -> Vec<u8> {
        let mut code = constant.to_le_bytes().to_vec();
        code.extend_from_slice(bytes);
        code.resize(length, 0);
        code
    }

    proptest! {
        #[test]
        fn scans_and_gathers_equal_the_plain_loop(
            steps in 1usize..=32,
            count in 0usize..40,
            seed in any::<u64>(),
        ) {
            let length = steps * CODE_STEP;
            let mut state = seed | 1;
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            let factors: Vec<f32> =
                (0..length - CONSTANT_BYTES).map(|_| (next() % 2001) as f32 - 1000.0).collect();
            let weights = CodeWeights::new(&factors, 0.5, length);
            let codes: Vec<u8> = (0..count)
                .flat_map(|number| {
                    let bytes: Vec<u8> = factors.iter().map(|_| next() as u8).collect();
                    row(number as f32, &bytes, length)
                })
                .collect();
            let plain: Vec<f32> =
                codes.chunks_exact(length).map(|code| weights.one(code)).collect();
            let mut scanned = Vec::new();
            weights.scan(&codes, |place, estimate| scanned.push((place, estimate)));
            let expected: Vec<(usize, f32)> = plain.iter().copied().enumerate().collect();
            prop_assert_eq!(&scanned, &expected);
            let rows: Vec<u32> =
                (0..2 * count).map(|_| (next() % (count as u64 + 1)) as u32).collect();
            let mut gathered = Vec::new();
            weights.gather(&codes, &rows, |place, estimate| gathered.push((place, estimate)));
            let expected: Vec<(usize, f32)> = rows
                .iter()
                .enumerate()
                .filter_map(|(place, &row)| Some((place, *plain.get(row as usize)?)))
                .collect();
            prop_assert_eq!(gathered, expected);
        }
    }

    #[test]
    fn the_largest_sum_does_not_overflow() {
        let factors = vec![1.0; CODE_BYTES_MAX - CONSTANT_BYTES];
        let weights = CodeWeights::new(&factors, 0.0, CODE_BYTES_MAX);
        let codes = row(0.0, &vec![255; factors.len()], CODE_BYTES_MAX).repeat(8);
        let expected = -(255.0 * factors.len() as f32);
        weights.scan(&codes, |_, estimate| assert!((estimate / expected - 1.0).abs() < 1e-5));
    }
}
