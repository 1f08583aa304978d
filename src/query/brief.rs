//! Whether a query is so short that handing it to another thread would take about as long as answering it.

use super::bind::Bound;
use super::combine::Method;
use super::filter::PartFilter;
use super::hydrate;
use super::plan::{self, Plan};
use super::request::Query;
use crate::engine::{CollectionView, PartKind};
use crate::schema::ObjectId;
use crate::sky::Region;

/// Expected time of a query that is answered where it arrives, in nanoseconds.
const BRIEF_NS: f64 = 500_000.0;

/// The same where nothing else waits: handing it on and planning it again would take a good part of its time.
const SHORT_NS: f64 = 2_000_000.0;

/// How long a query takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Length {
    /// A fraction of a millisecond.
    Brief,
    /// No more than a few, so many nanoseconds.
    Short(f64),
    /// Longer, or nobody knows.
    Long,
}

/// Rows of the tail, which are compared one by one, that such a query may meet.
const TAIL_ROWS_MAX: u64 = 1_000;

/// Values of columns that such a query may return: each is copied, in about 100 ns.
const VALUES_MAX: usize = 2_000;

/// Whether the query, as it is written, waits for no disk and needs no long preparation.
pub(super) fn may_be(view: &CollectionView, query: &Query) -> bool {
    let looks_up = |names: &[ObjectId]| !names.is_empty();
    let waits = query.with_vectors
        || query.explain
        || query.is_apart()
        || query.exclude_within.is_some()
        // Distances of several spaces are calibrated by samples, and heads are fitted.
        || query.terms.len() > 1
        || query.terms.iter().any(|term| term.method == Method::Probe)
        || query
            .terms
            .iter()
            .any(|term| looks_up(&term.like) || looks_up(&term.unlike) || term.crossing.is_some())
        || matches!(query.region, Some(Region::Polygon(_) | Region::Moc(_)))
        || hydrate::resident_width(view, query)
            .is_none_or(|width| query.k.unwrap_or(0) * width > VALUES_MAX);
    let parts = view.parts();
    let tail = parts.iter().filter(|live| live.part().kind() == PartKind::Tail);
    let tail_rows: u64 = tail.map(|live| live.live_count()).sum();
    !waits && tail_rows <= TAIL_ROWS_MAX
}

/// How long its plan is expected to take. A brief or short one reads no more than codes, a few vectors in memory, and columns; one
/// that has no price is neither.
pub(super) fn length(plan: &Plan, bound: &Bound, filters: &[PartFilter<'_>]) -> Length {
    let is_in_memory =
        plan::indexed(filters, bound).is_some_and(|part| part.vectors.is_in_memory());
    match plan.price_ns().filter(|_| is_in_memory) {
        Some(ns) if ns <= BRIEF_NS => Length::Brief,
        Some(ns) if ns <= SHORT_NS => Length::Short(ns),
        Some(_) | None => Length::Long,
    }
}
