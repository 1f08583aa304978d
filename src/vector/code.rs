//! Byte codes of vectors, and how near a query is to them.
//!
//! A code is a row of bytes: a single-precision constant of the row, then one byte a component of the (rotated and
//! shortened) vector. A query is turned into integer [`CodeWeights`] once; the estimate for a row is then
//! `constant - base - scale * sum(weight * byte)`, where the sum is exact in 32 bits.

use super::simd::avx512::WideWeights;
use super::simd::{self, CODES_READ, GROUP, ROWS_AHEAD, Scaling, Taker};

/// Codes are this many bytes long, or a multiple of it.
pub const CODE_STEP: usize = 2;

/// Bytes of a row's constant at the front of its code.
pub const CONSTANT_BYTES: usize = size_of::<f32>();

/// Longest code: `255 * WEIGHT_MAX * CODE_BYTES_MAX` still fits into 32 bits with a sign.
pub const CODE_BYTES_MAX: usize = 1024;

/// Largest weight, either sign.
const WEIGHT_MAX: f32 = 8191.0;

/// A query as integers.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeWeights {
    /// Bytes of a code.
    code_bytes: usize,
    /// One for each byte of a code, and zeros for what is read beyond its end.
    weights: Vec<i16>,
    /// The same for wider instructions, where the processor has them.
    wide: Option<WideWeights>,
    /// What one unit of the sum is worth, and what is taken from every estimate, whatever the row.
    scaling: Scaling,
}

/// Takes every estimate.
struct Every<F>(F);

impl<F: FnMut(usize, f32)> Taker for Every<F> {
    const ALL: bool = true;

    fn limit(&self) -> f32 {
        f32::INFINITY
    }

    #[inline]
    fn take(&mut self, place: usize, estimate: f32) {
        (self.0)(place, estimate);
    }
}

/// Takes estimates below a limit, which each of them may lower.
struct Below<F> {
    limit: f32,
    each: F,
}

impl<F: FnMut(usize, f32) -> f32> Taker for Below<F> {
    const ALL: bool = false;

    fn limit(&self) -> f32 {
        self.limit
    }

    #[inline]
    fn take(&mut self, place: usize, estimate: f32) {
        if estimate < self.limit {
            self.limit = (self.each)(place, estimate);
        }
    }
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
        let mut weights = vec![0i16; code_bytes.next_multiple_of(CODES_READ)];
        // The bytes of the constant have weight 0.
        for (weight, factor) in weights.iter_mut().skip(CONSTANT_BYTES).zip(factors) {
            *weight = (factor / scale).round().clamp(-WEIGHT_MAX, WEIGHT_MAX) as i16;
        }
        let wide = WideWeights::new(&weights, code_bytes);
        Self { code_bytes, weights, wide, scaling: Scaling { scale, base } }
    }

    /// Sum of what rounding to weights has made each of the factors, which they came of, differ by.
    pub fn off_by(&self, factors: &[f32]) -> f64 {
        let scale = f64::from(self.scaling.scale);
        let weights = self.weights.iter().skip(CONSTANT_BYTES);
        let off = weights
            .zip(factors)
            .map(|(&weight, &factor)| (f64::from(factor) - scale * f64::from(weight)).abs());
        off.sum()
    }

    /// Whether this processor has the instructions that compare codes quicker.
    pub fn is_wide() -> bool {
        WideWeights::new(&[0; CODES_READ], CODES_READ).is_some()
    }

    /// Bytes of the codes that these weights are for.
    pub fn code_bytes(&self) -> usize {
        self.code_bytes
    }

    /// Estimates for consecutive codes, in order, handed to `each` with their place; codes cut off at the end are left out.
    pub fn scan(&self, codes: &[u8], each: impl FnMut(usize, f32)) {
        self.scan_with(codes, &[], &mut Every(each));
    }

    /// The same for estimates below a limit. `each` returns the limit that holds from then on. `next` are the codes that are
    /// scanned next, which are asked for from memory in time.
    pub fn scan_below(
        &self,
        codes: &[u8],
        next: &[u8],
        limit: f32,
        each: impl FnMut(usize, f32) -> f32,
    ) {
        self.scan_with(codes, next, &mut Below { limit, each });
    }

    /// Estimates for the codes of some rows, handed to `each` with their place in `rows`; rows past the end are left out.
    pub fn gather(&self, codes: &[u8], rows: &[u32], each: impl FnMut(usize, f32)) {
        self.gather_with(codes, rows, &mut Every(each));
    }

    /// The same for estimates below a limit, as [`CodeWeights::scan_below`] hands them over.
    pub fn gather_below(
        &self,
        codes: &[u8],
        rows: &[u32],
        limit: f32,
        each: impl FnMut(usize, f32) -> f32,
    ) {
        self.gather_with(codes, rows, &mut Below { limit, each });
    }

    /// Asks for the codes of the first of some rows, which are gathered soon.
    pub fn prefetch(&self, codes: &[u8], rows: &[u32]) {
        for &row in rows.iter().take(ROWS_AHEAD) {
            simd::prefetch(codes, row as usize * self.code_bytes, self.code_bytes);
        }
    }

    fn scan_with(&self, codes: &[u8], next: &[u8], taker: &mut impl Taker) {
        if let Some(wide) = &self.wide {
            return wide.scan(self.scaling, codes, next, taker);
        }
        let length = self.code_bytes;
        let count = codes.len() / length;
        for place in (0..count).step_by(GROUP) {
            let some = GROUP.min(count - place);
            simd::prefetch_behind(codes, next, (place + ROWS_AHEAD) * length, some * length);
            let rows = std::array::from_fn(|row| (row < some).then_some(place + row));
            self.take_some(codes, rows, place, taker);
        }
    }

    fn gather_with(&self, codes: &[u8], rows: &[u32], taker: &mut impl Taker) {
        if let Some(wide) = &self.wide {
            return wide.gather(self.scaling, codes, rows, taker);
        }
        let length = self.code_bytes;
        for (group, some) in rows.chunks(GROUP).enumerate() {
            let place = group * GROUP;
            for &ahead in rows.iter().skip(place + ROWS_AHEAD).take(GROUP) {
                simd::prefetch(codes, ahead as usize * length, length);
            }
            let rows = std::array::from_fn(|row| some.get(row).map(|&row| row as usize));
            self.take_some(codes, rows, place, taker);
        }
    }

    /// Takes up to eight rows, together where there are as many whose codes can be read in whole steps: the last ones of all
    /// cannot, and those that are no rows of the codes are left out.
    fn take_some(
        &self,
        codes: &[u8],
        rows: [Option<usize>; GROUP],
        place: usize,
        taker: &mut impl Taker,
    ) {
        let code = |row: Option<usize>, bytes: usize| {
            let start = row?.checked_mul(self.code_bytes)?;
            codes.get(start..start.checked_add(bytes)?)
        };
        let whole = rows.map(|row| code(row, self.weights.len()));
        if let [Some(a), Some(b), Some(c), Some(d), Some(e), Some(f), Some(g), Some(h)] = whole {
            return self.take_group([a, b, c, d, e, f, g, h], place, taker);
        }
        for (row, code) in rows.into_iter().map(|row| code(row, self.code_bytes)).enumerate() {
            if let Some(code) = code {
                taker.take(place + row, self.one(code));
            }
        }
    }

    fn take_group(&self, rows: [&[u8]; GROUP], place: usize, taker: &mut impl Taker) {
        let sums = simd::avx2::dot_group(rows, &self.weights);
        for (row, (code, sum)) in rows.into_iter().zip(sums).enumerate() {
            taker.take(place + row, self.estimate(code, sum));
        }
    }

    fn one(&self, code: &[u8]) -> f32 {
        self.estimate(code, reference(code, &self.weights))
    }

    #[expect(clippy::inline_always, reason = "for every row of a scan")]
    #[inline(always)]
    fn estimate(&self, code: &[u8], sum: i32) -> f32 {
        let constant = code.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes));
        constant - self.scaling.base - self.scaling.scale * sum as f32
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
            steps in 2usize..=160,
            count in 0usize..80,
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
            let rows: Vec<u32> =
                (0..2 * count).map(|_| (next() % (count as u64 + 1)) as u32).collect();
            let plain: Vec<f32> =
                codes.chunks_exact(length).map(|code| weights.one(code)).collect();
            let middle = plain.get(count / 2).copied().unwrap_or(0.0);
            let narrow = CodeWeights { wide: None, ..weights.clone() };
            let consecutive: Vec<(usize, f32)> = plain.iter().copied().enumerate().collect();
            let picked: Vec<(usize, f32)> = rows
                .iter()
                .enumerate()
                .filter_map(|(place, &row)| Some((place, *plain.get(row as usize)?)))
                .collect();
            for weights in [weights, narrow] {
                let mut found = Vec::new();
                weights.scan(&codes, |place, estimate| found.push((place, estimate)));
                prop_assert_eq!(&found, &consecutive);
                found.clear();
                weights.gather(&codes, &rows, |place, estimate| found.push((place, estimate)));
                prop_assert_eq!(&found, &picked);
                // Below a limit that stays, and below the least that was seen.
                let below = |all: &[(usize, f32)]| -> Vec<(usize, f32)> {
                    all.iter().copied().filter(|(_, estimate)| *estimate < middle).collect()
                };
                found.clear();
                weights.scan_below(&codes, &codes, middle, |place, estimate| {
                    found.push((place, estimate));
                    middle
                });
                prop_assert_eq!(&found, &below(&consecutive));
                found.clear();
                weights.gather_below(&codes, &rows, middle, |place, estimate| {
                    found.push((place, estimate));
                    middle
                });
                prop_assert_eq!(&found, &below(&picked));
                found.clear();
                weights.scan_below(&codes, &[], f32::INFINITY, |place, estimate| {
                    found.push((place, estimate));
                    estimate
                });
                let mut least = f32::INFINITY;
                let falling = consecutive.iter().filter(|(_, estimate)| {
                    let is_less = *estimate < least;
                    least = least.min(*estimate);
                    is_less
                });
                prop_assert_eq!(&found, &falling.copied().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn the_wider_instructions_are_used_where_they_are() {
        let wanted = [
            is_x86_feature_detected!("avx512f"),
            is_x86_feature_detected!("avx512bw"),
            is_x86_feature_detected!("avx512vl"),
            is_x86_feature_detected!("avx512vnni"),
        ];
        assert_eq!(CodeWeights::is_wide(), wanted.iter().all(|is_there| *is_there));
    }

    #[test]
    fn the_largest_sum_does_not_overflow() {
        let factors = vec![1.0; CODE_BYTES_MAX - CONSTANT_BYTES];
        let weights = CodeWeights::new(&factors, 0.0, CODE_BYTES_MAX);
        let codes = row(0.0, &vec![255; factors.len()], CODE_BYTES_MAX).repeat(8);
        let expected = -(255.0 * factors.len() as f32);
        let narrow = CodeWeights { wide: None, ..weights.clone() };
        for weights in [weights, narrow] {
            weights.scan(&codes, |_, estimate| assert!((estimate / expected - 1.0).abs() < 1e-5));
        }
    }
}
