//! What the queue counts.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Batches of up to 1, 2, 4, ... rows are counted apart; the last count is of all larger ones.
pub const BATCH_SIZE_BUCKETS: usize = 10;

/// Counts since the start, written by the thread of the networks.
#[derive(Debug, Default)]
pub(super) struct Counters {
    rows: AtomicU64,
    failed: AtomicU64,
    batches: AtomicU64,
    busy_ns: AtomicU64,
    loads: AtomicU64,
    evictions: AtomicU64,
    resident_bytes: AtomicU64,
    /// When the batch under way began, in milliseconds after `start`, plus one; 0 when there is none.
    began_ms: AtomicU64,
    start: OnceLock<Instant>,
    sizes: [AtomicU64; BATCH_SIZE_BUCKETS],
}

/// The counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchMetrics {
    /// Rows that are decoded, waiting or being computed.
    pub queued_rows: u64,
    /// Rows computed.
    pub rows: u64,
    /// Rows on which the network failed.
    pub failed_rows: u64,
    /// Batches computed.
    pub batches: u64,
    /// Time that networks computed.
    pub busy: Duration,
    /// Times that a model was brought into memory after the start.
    pub loads: u64,
    /// Times that a model was put out of memory to make room.
    pub evictions: u64,
    /// Bytes of weights in memory.
    pub resident_bytes: u64,
    /// Batches of up to 1, 2, 4, ... rows; the last count is of all larger ones.
    pub batch_sizes: [u64; BATCH_SIZE_BUCKETS],
}

impl Counters {
    fn since_start(&self) -> u64 {
        let start = self.start.get_or_init(Instant::now);
        u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A batch begins, or has ended.
    pub(super) fn under_way(&self, begins: bool) {
        let value = if begins { self.since_start() + 1 } else { 0 };
        self.began_ms.store(value, Ordering::Relaxed);
    }

    /// How long the batch under way has been computed.
    pub(super) fn computing_for(&self) -> Duration {
        match self.began_ms.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            began => Duration::from_millis((self.since_start() + 1).saturating_sub(began)),
        }
    }

    pub(super) fn batch(&self, rows: usize, took: Duration) {
        let bucket = rows.max(1).next_power_of_two().trailing_zeros() as usize;
        self.sizes[bucket.min(BATCH_SIZE_BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.busy_ns.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn loaded(&self, resident_bytes: u64) {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.resident(resident_bytes);
    }

    pub(super) fn evicted(&self, resident_bytes: u64) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
        self.resident(resident_bytes);
    }

    pub(super) fn resident(&self, bytes: u64) {
        self.resident_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn read(&self, queued_rows: u64) -> BatchMetrics {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        BatchMetrics {
            queued_rows,
            rows: of(&self.rows),
            failed_rows: of(&self.failed),
            batches: of(&self.batches),
            busy: Duration::from_nanos(of(&self.busy_ns)),
            loads: of(&self.loads),
            evictions: of(&self.evictions),
            resident_bytes: of(&self.resident_bytes),
            batch_sizes: std::array::from_fn(|bucket| of(&self.sizes[bucket])),
        }
    }
}
