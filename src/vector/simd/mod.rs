//! The instructions that compare a query with byte codes, and those that ask for memory ahead: the one folder of vectors with
//! unsafe code.
//!
//! The products are integers: a sum does not depend on its order, and both kernels equal
//! [`code::reference`](super::code) exactly. What the processor has is found out when the program runs; [`avx2`] is there
//! on every machine that it starts on.
#![expect(unsafe_code, reason = "a prefetch takes a pointer")]

pub(super) mod avx2;
pub(super) mod avx512;

use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T2, _mm_prefetch};

/// Rows whose sums are made together.
pub(super) const GROUP: usize = 8;

/// Bytes of a code that are read at once by the instructions that every machine has; a code that ends earlier is read beyond its
/// end, with weights that are zero.
pub(super) const CODES_READ: usize = 32;

/// Bytes of a cache line.
pub(super) const LINE_BYTES: usize = 64;

/// Rows ahead of the one that is compared whose code is asked for from memory: with codes of 64 bytes, 64 rows are a little
/// better than 32, and these much better than 8 (Zen 5).
pub(super) const ROWS_AHEAD: usize = 64;

/// What is done with estimates.
pub(super) trait Taker {
    /// Whether every estimate is wanted; else those below the limit are.
    const ALL: bool;

    /// Estimates at or above it need not be handed over; where they are, they are not taken.
    fn limit(&self) -> f32;

    /// Takes the estimate of the row at a place.
    fn take(&mut self, place: usize, estimate: f32);
}

/// What turns the sum of a row into its estimate: `constant - base - scale * sum`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scaling {
    pub(super) scale: f32,
    pub(super) base: f32,
}

/// Asks for the cache lines of some elements, so that they come while something else is computed; nothing is read.
///
/// They come into the second cache: it takes more lines at a time than the first one does.
#[inline]
pub fn prefetch_all<T>(values: &[T]) {
    for line in values.chunks((LINE_BYTES / size_of::<T>().max(1)).max(1)) {
        // SAFETY: a prefetch of an address that a slice points to reads nothing that the program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T2>(line.as_ptr().cast()) }
    }
}

/// Asks for the lines of some bytes, wherever they are: an address without memory is passed over. They come into the first cache,
/// for they are needed within some hundred nanoseconds.
#[expect(clippy::inline_always, reason = "for every row of a scan")]
#[inline(always)]
pub(super) fn prefetch_at(start: *const u8, count: usize) {
    // SAFETY: a prefetch reads nothing that the program sees, and fails nowhere.
    let ask =
        |place: usize| unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(place).cast()) };
    (0..count).step_by(LINE_BYTES).for_each(ask);
    // Codes that are no whole lines begin anywhere in one, and mostly end in another.
    if !count.is_multiple_of(LINE_BYTES) {
        ask(count - 1);
    }
}

/// Asks for the lines of some bytes of a slice; what lies past its end is none of them.
#[expect(clippy::inline_always, reason = "for every row of a scan")]
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8], start: usize, count: usize) {
    let end = bytes.len().min(start.saturating_add(count));
    prefetch_at(bytes.as_ptr().wrapping_add(start), end.saturating_sub(start));
}

/// Asks for `count` bytes that come so far behind the beginning of some codes, or behind those that are scanned next.
#[expect(clippy::inline_always, reason = "for every row of a scan")]
#[inline(always)]
pub(super) fn prefetch_behind(codes: &[u8], next: &[u8], start: usize, count: usize) {
    match start.checked_sub(codes.len()) {
        None => prefetch(codes, start, count),
        Some(start) => prefetch(next, start, count),
    }
}
