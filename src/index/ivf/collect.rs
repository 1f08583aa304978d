//! From estimates to the nearest rows: candidates are compared at full precision, the likeliest first, until no other can
//! be among the hits.

use super::coder::CodedQuery;
use crate::vector::{Metric, TopK, VectorSource};

/// Candidates kept before any was compared at full precision, for each hit asked for, and at least.
const KEPT_FOR_EACH_HIT: usize = 8;
const KEPT_MIN: usize = 128;

/// Full vectors that are asked for from memory before they are compared: so many bytes, and so many vectors at most.
const ASKED_BYTES: usize = 8 << 10;
const ASKED_MAX: usize = 16;

/// Candidates that wait at most where none is left out.
const PENDING_MAX: usize = 1 << 16;

/// Collects rows by their estimates and settles them by their distances.
///
/// A row is compared at full precision unless its estimate, less `margin`, lies beyond the distance of the last hit. Before any distance is known, only the best estimates are kept; [`Collector::is_complete`] tells whether that
/// has left out a row that should have been compared.
pub(super) struct Collector<'a, K, F> {
    query: &'a [f32],
    vectors: &'a dyn VectorSource,
    metric: Metric,
    coded: &'a CodedQuery,
    /// In the units of estimates.
    margin: f64,
    key: F,
    top: TopK<K>,
    /// Estimates at or above it are not looked at.
    threshold: f32,
    pending: Vec<(f32, u32)>,
    kept: usize,
    /// Least estimate that was left out for want of room.
    left_out: f32,
    /// For vectors that are not in memory.
    buffer: Vec<f32>,
    /// Rows compared at full precision.
    pub(super) reranked: usize,
}

impl<'a, K: Ord, F: Fn(u32) -> K> Collector<'a, K, F> {
    pub(super) fn new(
        query: &'a [f32],
        vectors: &'a dyn VectorSource,
        metric: Metric,
        coded: &'a CodedQuery,
        margin: f64,
        wanted: usize,
        key: F,
    ) -> Self {
        let is_everything = margin.is_infinite();
        let kept = if is_everything {
            usize::MAX / 4
        } else {
            wanted.saturating_mul(KEPT_FOR_EACH_HIT).max(KEPT_MIN)
        };
        Self {
            query,
            vectors,
            metric,
            coded,
            margin,
            key,
            top: TopK::new(wanted),
            threshold: f32::INFINITY,
            pending: Vec::with_capacity(2 * kept.min(1 << 16)),
            kept,
            left_out: f32::INFINITY,
            buffer: Vec::new(),
            reranked: 0,
        }
    }

    /// Estimates at or above it are not looked at.
    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Compares a row at full precision, whatever its code says.
    pub(super) fn compare(&mut self, row: u32) {
        // A row number of a damaged file may be nonsense.
        let Some(vector) = self.vectors.fetch(row as usize, &mut self.buffer) else { return };
        self.reranked += 1;
        let distance = self.metric.distance(self.query, vector);
        let key = &self.key;
        self.top.offer(distance, || key(row));
    }

    /// Takes a row with its estimate; returns the threshold from there on.
    #[inline]
    pub(super) fn push(&mut self, estimate: f32, row: u32) -> f32 {
        if estimate < self.threshold {
            self.pending.push((estimate, row));
            if self.pending.len() >= 2 * self.kept {
                self.trim();
            } else if self.pending.len() >= PENDING_MAX {
                self.settle();
            }
        }
        self.threshold
    }

    /// Keeps the better half.
    #[cold]
    fn trim(&mut self) {
        let by_estimate = |left: &(f32, u32), right: &(f32, u32)| left.0.total_cmp(&right.0);
        let (_, middle, _) = self.pending.select_nth_unstable_by(self.kept, by_estimate);
        self.threshold = middle.0;
        self.left_out = self.left_out.min(middle.0);
        self.pending.truncate(self.kept);
    }

    /// Compares the candidates, likeliest first, until the next is too far away.
    pub(super) fn settle(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
        let mut limit = self.limit();
        let vector_bytes = size_of_val(self.query).max(1);
        let ahead = (ASKED_BYTES / vector_bytes).clamp(1, ASKED_MAX);
        for &(_, row) in pending.iter().take(ahead) {
            self.vectors.prefetch(row as usize);
        }
        for (place, &(estimate, row)) in pending.iter().enumerate() {
            if f64::from(estimate) > limit {
                break;
            }
            if let Some(&(later, row)) = pending.get(place + ahead)
                && f64::from(later) <= limit
            {
                self.vectors.prefetch(row as usize);
            }
            self.compare(row);
            limit = self.limit();
        }
        pending.clear();
        self.pending = pending;
        // The next number up: an estimate on the limit itself is still looked at.
        self.threshold = (limit as f32).next_up();
    }

    /// Greatest estimate that a row may have that is compared at full precision.
    fn limit(&self) -> f64 {
        let bound = self.top.bound();
        bound.map_or(f64::INFINITY, |bound| self.coded.estimate_of(bound) + self.margin)
    }

    /// Whether no row was left out that could still be a hit. Ask after settling.
    pub(super) fn is_complete(&self) -> bool {
        self.left_out == f32::INFINITY || f64::from(self.left_out) > self.limit()
    }

    /// Begins again with what is known by now: no row is left out any more, since hits are known to compare with.
    pub(super) fn begin_again(&mut self) {
        self.left_out = f32::INFINITY;
        self.kept = usize::MAX / 4;
        // The hits are found again: one row must not be two of them.
        self.top = TopK::new(self.top.capacity());
    }

    pub(super) fn top(&self) -> &TopK<K> {
        &self.top
    }

    pub(super) fn into_top(self) -> TopK<K> {
        self.top
    }
}
