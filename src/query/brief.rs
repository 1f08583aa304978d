//! Whether a query is so short that handing it to another thread would take about as long as answering it.

use super::bind;
use super::error::QueryError;
use super::filter::Filter;
use super::hydrate;
use super::plan;
use super::request::Query;
use crate::engine::{CollectionView, PartKind};
use crate::sky::Region;

/// Expected time of a query that is answered where it arrives, in nanoseconds.
const BRIEF_NS: f64 = 250_000.0;

/// Rows of the tail, which are compared one by one, that such a query may meet.
const TAIL_ROWS_MAX: u64 = 1_000;

/// Whether the query is expected to take a fraction of a millisecond and waits for no disk: it reads no more than codes, a few
/// vectors in memory, and columns.
///
/// A query that is refused, or whose time cannot be told, is not brief.
pub fn is_brief(view: &CollectionView, query: &Query) -> bool {
    let looks_up = |names: &[crate::schema::ObjectId]| !names.is_empty();
    let waits = query.with_vectors
        || query.terms.iter().any(|term| looks_up(&term.like) || looks_up(&term.unlike))
        || matches!(query.region, Some(Region::Polygon(_) | Region::Moc(_)))
        || hydrate::needs_store(view, query);
    let parts = view.parts();
    let tail = parts.iter().filter(|live| live.part().kind() == PartKind::Tail);
    let tail_rows: u64 = tail.map(|live| live.live_count()).sum();
    !waits
        && tail_rows <= TAIL_ROWS_MAX
        && expected_ns(view, query).is_ok_and(|ns| ns.is_some_and(|ns| ns <= BRIEF_NS))
}

/// The price of the plan that the query would get; `None` where it has none.
fn expected_ns(view: &CollectionView, query: &Query) -> Result<Option<f64>, QueryError> {
    let bound = bind::bind(view, query)?;
    let filter =
        Filter::new(view, query.region.as_ref(), query.predicate.as_deref(), &bound.excluded)?;
    if filter.has_rest() {
        return Ok(None);
    }
    let filters = filter.bind(view, &query.stop)?;
    let in_memory = plan::indexed(&filters, &bound).is_some_and(|part| part.vectors.is_in_memory());
    let plan = plan::choose(view, query, &bound, &filters)?;
    Ok(plan.price_ns().filter(|_| in_memory))
}
