//! How long a query is expected to take. A brief one is answered where it arrives, for handing it to another thread would take
//! about as long; a short one as well, where its turn comes at once.

use super::bind::Bound;
use super::combine::Method;
use super::filter::PartFilter;
use super::hydrate;
use super::plan::{self, Plan};
use super::request::Query;
use crate::engine::{CollectionView, PartKind};
use crate::index::LISTS_MAX_IN_ALL;
use crate::schema::ObjectId;
use crate::sky::Region;

/// Expected time of a query that is answered where it arrives, in nanoseconds.
const BRIEF_NS: f64 = 500_000.0;

/// The same where its turn comes at once: handing it on and planning it again would take a good part of its time.
const SHORT_NS: f64 = 2_000_000.0;

/// What either may take where the lists turn out to be no way, and a scan takes their place.
const AT_WORST_NS: f64 = 10_000_000.0;

/// Rows of the tail, which are compared one by one, that such a query may meet.
const TAIL_ROWS_MAX: u64 = 1_000;

/// Values of columns that such a query may return: each is copied, in about 100 ns.
const VALUES_MAX: usize = 2_000;

/// What a query is expected to take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Expected {
    /// Up to half a millisecond.
    Brief,
    /// Up to two: so many nanoseconds.
    Short(f64),
    /// More, or nobody knows, or it waits for the disk.
    Long,
}

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
pub(super) fn expected(plan: &Plan, bound: &Bound, filters: &[PartFilter<'_>]) -> Expected {
    let is_in_memory =
        plan::indexed(filters, bound).is_some_and(|part| part.vectors.is_in_memory());
    // The lists are given up after about so many times as long as the scan is expected to take, and the scan follows.
    let times = (LISTS_MAX_IN_ALL + 1) as f64;
    let at_worst = plan.instead.as_ref().map_or(0.0, |(_, scan)| times * scan.cost_ns);
    match plan.price_ns().filter(|_| is_in_memory && at_worst <= AT_WORST_NS) {
        Some(ns) if ns <= BRIEF_NS => Expected::Brief,
        Some(ns) if ns <= SHORT_NS => Expected::Short(ns),
        Some(_) | None => Expected::Long,
    }
}
