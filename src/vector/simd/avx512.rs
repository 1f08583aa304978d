//! The same sums as those of [`avx2`](super::avx2) by AVX-512 with its instructions for neural networks (VNNI), where the processor
//! has them: codes that the caches hold take half of the time or less (Zen 5).
//!
//! One instruction multiplies bytes without a sign by bytes with one and adds four products to each sum. The weights have 14
//! bits, so that each is `128 * high + low`, both bytes with a sign. No step saturates: a sum of four products has 17 bits.
#![expect(unsafe_code, reason = "loads at rows whose bounds are checked first")]

use std::arch::x86_64::{
    __m256i, __m512i, __mmask8, _CMP_LT_OQ, _mm256_add_epi32, _mm256_castsi256_ps,
    _mm256_cmp_ps_mask, _mm256_cmplt_epu32_mask, _mm256_cvtepi32_ps, _mm256_maskz_loadu_epi32,
    _mm256_maskz_mov_epi32, _mm256_mul_ps, _mm256_permute2x128_si256, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setr_epi32, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_ps,
    _mm512_add_epi32, _mm512_castsi512_si256, _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64,
    _mm512_loadu_si512, _mm512_maskz_loadu_epi8, _mm512_setzero_si512, _mm512_shuffle_i64x2,
    _mm512_slli_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};

use super::{GROUP, ROWS_AHEAD, Scaling, Taker, prefetch_at, prefetch_behind};

/// Bytes that are multiplied at once.
const WIDE: usize = 64;

/// Codes of as many bytes as are multiplied at once, of fewer, and of more: the loops are compiled for each, so that the weights of the
/// first two stay in registers.
const WHOLE: u8 = 0;
const PART: u8 = 1;
const MANY: u8 = 2;

/// A low byte is from -64 to 63: half of 128 to either side.
const LOW_HALF: i16 = 64;

/// Weights as pairs of bytes. There are none on a processor that has not the instructions for them.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::vector) struct WideWeights {
    /// For every 64 bytes of a code, 64 high bytes and then 64 low ones; 0 past the end.
    bytes: Vec<i8>,
    /// Bytes of a code.
    length: usize,
}

impl WideWeights {
    /// Splits the weights of codes of so many bytes; `None` where the processor lacks an instruction.
    pub(in crate::vector) fn new(weights: &[i16], length: usize) -> Option<Self> {
        let is_there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        let weights = weights.get(..length)?;
        if !is_there || length < size_of::<f32>() {
            return None;
        }
        let mut bytes = Vec::with_capacity(weights.len().next_multiple_of(WIDE) * 2);
        for some in weights.chunks(WIDE) {
            let low = |weight: i16| (weight + LOW_HALF).rem_euclid(2 * LOW_HALF) - LOW_HALF;
            let start = bytes.len();
            bytes.extend(some.iter().map(|&weight| ((weight - low(weight)) >> 7) as i8));
            bytes.resize(start + WIDE, 0);
            bytes.extend(some.iter().map(|&weight| low(weight) as i8));
            bytes.resize(start + 2 * WIDE, 0);
        }
        Some(Self { bytes, length })
    }

    /// Hands over the estimates of consecutive codes; `next` are those that are scanned next.
    pub(in crate::vector) fn scan<T: Taker>(
        &self,
        scaling: Scaling,
        codes: &[u8],
        next: &[u8],
        taker: &mut T,
    ) {
        // SAFETY: there are wide weights only where `new` has found the instructions.
        unsafe {
            match self.length {
                WIDE => self.scan_in::<WHOLE, T>(scaling, codes, next, taker),
                0..WIDE => self.scan_in::<PART, T>(scaling, codes, next, taker),
                _ => self.scan_in::<MANY, T>(scaling, codes, next, taker),
            }
        }
    }

    /// Hands over the estimates of the codes of some rows; rows past the end are left out.
    pub(in crate::vector) fn gather<T: Taker>(
        &self,
        scaling: Scaling,
        codes: &[u8],
        rows: &[u32],
        taker: &mut T,
    ) {
        // SAFETY: there are wide weights only where `new` has found the instructions.
        unsafe {
            match self.length {
                WIDE => self.gather_in::<WHOLE, T>(scaling, codes, rows, taker),
                0..WIDE => self.gather_in::<PART, T>(scaling, codes, rows, taker),
                _ => self.gather_in::<MANY, T>(scaling, codes, rows, taker),
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn scan_in<const SHAPE: u8, T: Taker>(
        &self,
        scaling: Scaling,
        codes: &[u8],
        next: &[u8],
        taker: &mut T,
    ) {
        let length = self.length::<SHAPE>();
        let count = codes.len() / length;
        let first = codes.as_ptr();
        for place in (0..count).step_by(GROUP) {
            let left = (count - place).min(GROUP);
            let start = (place + ROWS_AHEAD) * length;
            prefetch_behind(codes, next, start, left * length);
            // The last row stands for those that are missing in the last group.
            let rows: [*const u8; GROUP] =
                std::array::from_fn(|row| first.wrapping_add((place + row.min(left - 1)) * length));
            let wanted = 0xff_u8 >> (GROUP - left);
            // SAFETY: every row is one of `count`, so that its `length` bytes lie within `codes`.
            unsafe { self.hand_over::<SHAPE, T>(scaling, rows, wanted, place, taker) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn gather_in<const SHAPE: u8, T: Taker>(
        &self,
        scaling: Scaling,
        codes: &[u8],
        rows: &[u32],
        taker: &mut T,
    ) {
        let length = self.length::<SHAPE>();
        // Numbers of rows have 32 bits: of more codes none of the later ones is meant.
        let count = (codes.len() / length).min(u32::MAX as usize);
        if count == 0 {
            return;
        }
        let first = codes.as_ptr();
        let counted = _mm256_set1_epi32((count as u32).cast_signed());
        for (group, some) in rows.chunks(GROUP).enumerate() {
            let place = group * GROUP;
            let ahead = rows.get(place + ROWS_AHEAD..).unwrap_or_default();
            for &row in ahead.iter().take(GROUP) {
                prefetch_at(first.wrapping_add(row as usize * length), length);
            }
            let given = 0xff_u8 >> (GROUP - some.len());
            let mut numbers = [0u32; GROUP];
            // SAFETY: a group has as many numbers as `given` has bits, and eight have room in an array of eight.
            let wanted = unsafe {
                let found = _mm256_maskz_loadu_epi32(given, some.as_ptr().cast());
                let wanted = given & _mm256_cmplt_epu32_mask(found, counted);
                // The first row stands for one that is missing.
                let found = _mm256_maskz_mov_epi32(wanted, found);
                _mm256_storeu_si256(numbers.as_mut_ptr().cast(), found);
                wanted
            };
            let found = numbers.map(|row| first.wrapping_add(row as usize * length));
            // SAFETY: every row is one of `count`, so that its `length` bytes lie within `codes`.
            unsafe { self.hand_over::<SHAPE, T>(scaling, found, wanted, place, taker) }
        }
    }

    /// Bytes of a code.
    #[expect(clippy::inline_always, reason = "a constant for the usual codes")]
    #[inline(always)]
    fn length<const SHAPE: u8>(&self) -> usize {
        if SHAPE == WHOLE { WIDE } else { self.length }
    }

    /// Estimates eight rows, and hands over those that are wanted.
    ///
    /// # Safety
    /// Every row begins `length` bytes that may be read.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn hand_over<const SHAPE: u8, T: Taker>(
        &self,
        scaling: Scaling,
        rows: [*const u8; GROUP],
        wanted: __mmask8,
        place: usize,
        taker: &mut T,
    ) {
        // SAFETY: as the caller warrants; a constant is the first four bytes of a row.
        let (sums, constants) = unsafe {
            let constant = |row: usize| rows[row].cast::<i32>().read_unaligned();
            let constants = _mm256_setr_epi32(
                constant(0),
                constant(1),
                constant(2),
                constant(3),
                constant(4),
                constant(5),
                constant(6),
                constant(7),
            );
            (summed(rows.map(|row| self.products::<SHAPE>(row))), constants)
        };
        let scaled = _mm256_mul_ps(_mm256_set1_ps(scaling.scale), _mm256_cvtepi32_ps(sums));
        let based = _mm256_sub_ps(_mm256_castsi256_ps(constants), _mm256_set1_ps(scaling.base));
        let estimates = _mm256_sub_ps(based, scaled);
        let mut wanted = wanted;
        if !T::ALL {
            let limit = _mm256_set1_ps(taker.limit());
            wanted &= _mm256_cmp_ps_mask::<_CMP_LT_OQ>(estimates, limit);
        }
        if wanted != 0 {
            let mut told = [0.0f32; GROUP];
            // SAFETY: eight numbers have room in an array of eight.
            unsafe { _mm256_storeu_ps(told.as_mut_ptr(), estimates) };
            while wanted != 0 {
                let row = wanted.trailing_zeros() as usize;
                taker.take(place + row, told[row]);
                wanted &= wanted - 1;
            }
        }
    }

    /// Sixteen sums whose sum is that of a row.
    ///
    /// # Safety
    /// The row begins `length` bytes that may be read.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn products<const SHAPE: u8>(&self, code: *const u8) -> __m512i {
        let (mut high, mut low) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        // SAFETY: the weights have `WIDE` high and as many low bytes for every `WIDE` bytes of a code, the last ones
        // filled up; the code is read as far as the caller warrants.
        unsafe {
            let mut add = |bytes: __m512i, wide: usize| {
                let weights = self.bytes.as_ptr().add(wide * 2 * WIDE);
                high = _mm512_dpbusd_epi32(high, bytes, _mm512_loadu_si512(weights.cast()));
                let weights = weights.add(WIDE);
                low = _mm512_dpbusd_epi32(low, bytes, _mm512_loadu_si512(weights.cast()));
            };
            if SHAPE == WHOLE {
                add(_mm512_loadu_si512(code.cast()), 0);
            } else {
                let wides = if SHAPE == PART { 0 } else { self.length / WIDE };
                for wide in 0..wides {
                    add(_mm512_loadu_si512(code.add(wide * WIDE).cast()), wide);
                }
                let rest = self.length % WIDE;
                if SHAPE == PART || rest > 0 {
                    let mask = (1u64 << rest) - 1;
                    add(_mm512_maskz_loadu_epi8(mask, code.add(wides * WIDE).cast()), wides);
                }
            }
        }
        _mm512_add_epi32(_mm512_slli_epi32::<7>(high), low)
    }
}

/// Eight rows of sixteen sums to eight sums.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[expect(clippy::large_types_passed_by_value, reason = "inlined: the rows are registers")]
fn summed(rows: [__m512i; GROUP]) -> __m256i {
    let [a, b, c, d, e, f, g, h] = rows;
    // Each round adds halves of two vectors, so that both have room in one.
    let [ab, cd, ef, gh] = [(a, b), (c, d), (e, f), (g, h)].map(|(left, right)| {
        _mm512_add_epi32(_mm512_unpacklo_epi32(left, right), _mm512_unpackhi_epi32(left, right))
    });
    let [abcd, efgh] = [(ab, cd), (ef, gh)].map(|(left, right)| {
        _mm512_add_epi32(_mm512_unpacklo_epi64(left, right), _mm512_unpackhi_epi64(left, right))
    });
    // Now each quarter holds one sum of four rows.
    let even = _mm512_shuffle_i64x2::<0b10_00_10_00>(abcd, efgh);
    let odd = _mm512_shuffle_i64x2::<0b11_01_11_01>(abcd, efgh);
    let quarters = _mm512_add_epi32(even, odd);
    let (lower, upper) =
        (_mm512_castsi512_si256(quarters), _mm512_extracti64x4_epi64::<1>(quarters));
    _mm256_add_epi32(
        _mm256_permute2x128_si256::<0x20>(lower, upper),
        _mm256_permute2x128_si256::<0x31>(lower, upper),
    )
}
