//! What a query is expected to take: what its plan says, corrected by what plans like it took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::query::Price;

/// Share of the newest query in what is learned.
const NEWEST: f64 = 0.1;

/// Bounds of the correction: an estimate may be so wrong, and no more.
const RATIO: (f64, f64) = (1e-4, 1e3);

/// Bounds of what is expected, in nanoseconds: ten microseconds, an hour.
const NS: (f64, f64) = (1e4, 3.6e12);

/// Kinds of work whose estimates are wrong in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) enum Work {
    /// A search whose plan has a price.
    Planned,
    /// A search of which only a bound is known.
    Bounded,
    /// A count, or the choice of objects.
    Count,
    /// A re-rank by tokens.
    Rerank,
    /// The next batch of a session.
    Session,
    /// Work that takes as long as it takes, minutes perhaps: outliers.
    Job,
}

const KINDS: usize = 6;

/// What a query is expected to take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::service) struct Cost {
    /// The kind of work.
    pub(in crate::service) work: Work,
    /// Estimated time on one processor, in nanoseconds.
    pub(in crate::service) ns: f64,
    /// Memory, in bytes.
    pub(in crate::service) bytes: u64,
    /// Whether what it reads was at hand when its price was told.
    pub(in crate::service) is_at_hand: bool,
}

/// What is taken for work of which nothing is known, until there is experience.
const UNKNOWN_NS: f64 = 2e7;
const UNKNOWN_BYTES: u64 = 1 << 20;

impl Cost {
    /// Of work of a kind, with its price where that could be told.
    pub(in crate::service) fn of(work: Work, price: Option<Price>) -> Self {
        match price {
            Some(Price { ns, bytes, .. }) => Self { work, ns, bytes, is_at_hand: true },
            None => Self { work, ns: UNKNOWN_NS, bytes: UNKNOWN_BYTES, is_at_hand: false },
        }
    }

    /// Whether the work may be done by a thread that gives way to others: it writes nothing, and opens nothing that others
    /// would wait for.
    pub(super) fn may_give_way(&self) -> bool {
        self.is_at_hand && matches!(self.work, Work::Planned | Work::Bounded | Work::Count)
    }

    /// Of a search.
    pub(in crate::service) fn of_search(price: &Price) -> Self {
        let work = if price.is_planned { Work::Planned } else { Work::Bounded };
        Self::of(work, Some(*price))
    }

    /// Of a search of a collection that is not at hand.
    pub(in crate::service) fn unknown() -> Self {
        Self::of(Work::Bounded, None)
    }
}

/// How the estimates of each kind turn out: the ratio of what was to what was told.
#[derive(Debug, Default)]
pub(super) struct Experience {
    /// Bits of the logarithm of the ratio.
    ratios: [AtomicU64; KINDS],
}

impl Experience {
    fn ratio(&self, work: Work) -> &AtomicU64 {
        &self.ratios[work as usize]
    }

    pub(super) fn expected(&self, cost: &Cost) -> Duration {
        let ratio = f64::from_bits(self.ratio(cost.work).load(Ordering::Relaxed)).exp();
        Duration::from_nanos(bounded(bounded(cost.ns) * ratio) as u64)
    }

    /// Learns from a query that has ended. Of two at once one may be forgotten: it is an average.
    pub(super) fn learn(&self, cost: &Cost, took: Duration) {
        let told = bounded(cost.ns);
        let ratio = (took.as_nanos() as f64 / told).clamp(RATIO.0, RATIO.1).ln();
        let kept = self.ratio(cost.work);
        let before = f64::from_bits(kept.load(Ordering::Relaxed));
        kept.store((before + NEWEST * (ratio - before)).to_bits(), Ordering::Relaxed);
    }
}

/// An expectation within bounds; what is no number is the longest.
fn bounded(ns: f64) -> f64 {
    if ns.is_nan() { NS.1 } else { ns.clamp(NS.0, NS.1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_that_are_wrong_in_the_same_way_become_right() {
        let experience = Experience::default();
        let cost = |work, ns| Cost { work, ns, bytes: 0, is_at_hand: true };
        let bounded = cost(Work::Bounded, 1e9);
        assert_eq!(experience.expected(&bounded), Duration::from_secs(1));
        for _ in 0..100 {
            experience.learn(&bounded, Duration::from_millis(20));
        }
        let expected = experience.expected(&cost(Work::Bounded, 2e9)).as_secs_f64();
        assert!((0.035..0.045).contains(&expected), "{expected}");
        assert_eq!(experience.expected(&cost(Work::Planned, 2e9)), Duration::from_secs(2));
        experience.learn(&cost(Work::Job, f64::NAN), Duration::from_secs(1));
        assert!(experience.expected(&cost(Work::Job, f64::INFINITY)) <= Duration::from_hours(1));
    }
}
