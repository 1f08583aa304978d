//! Answers queries on a collection: where on the sky, which properties, near to what.
//!
//! A [`Query`] is a recipe. It is bound to a view ([`bind`]), the rows that region and predicate leave are found
//! ([`survivors`]), the planner chooses how to find the nearest of them ([`plan`]), the plan is carried out
//! ([`execute`]) and the hits get their columns ([`hydrate`]).
//!
//! **Invariants.** In exact mode every plan gives the same hits, in the same order; ties of distance are broken
//! by object id. Never fewer than `min(k, survivors)` hits. All of it is synchronous work for one thread.

mod answer;
mod bind;
pub mod datafusion;
mod error;
mod execute;
mod explain;
mod hydrate;
mod plan;
mod request;
mod survivors;

use std::time::Instant;

pub use answer::{Answer, Hit, QueryStats};
pub use error::QueryError;
pub use plan::PlanKind;
pub use request::{K_MAX, Query, StopFlag, Term, WITHIN_HITS_MAX};

use crate::engine::CollectionView;
use crate::schema::{ObjectId, SpaceId};
use crate::sky::Region;
use survivors::Filter;

/// Answers a query.
///
/// # Errors
/// [`QueryError`] for a request that can never be answered, a stopped query, or damaged data.
pub fn search(view: &CollectionView, query: &Query) -> Result<Answer, QueryError> {
    let started = Instant::now();
    let bound = bind::bind(view, query)?;
    let filter =
        Filter::new(view, query.region.as_ref(), query.predicate.as_deref(), &bound.excluded)?;
    let estimate = filter.estimate(view)?;
    let plan = plan::choose(view, query, &bound, &estimate)?;
    let survivors = filter.survivors(view, &query.stop)?;
    let plan = plan::revise(plan, view, query, &bound, &survivors)?;
    let found = execute::execute(view, query, &bound, &plan, &survivors)?;
    if query.k.is_none_or(|k| k == 0) && found.nearest.len() > WITHIN_HITS_MAX {
        return Err(QueryError::TooManyWithin);
    }
    let mut stats = answer::stats(view, &bound, &plan, &survivors, &found);
    if query.explain {
        stats.explanation = explain::explain(view, query, &bound, &plan, &survivors, &found);
    }
    let hits = hydrate::hydrate(view, query, &bound, found.nearest)?;
    stats.elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
    Ok(Answer { hits, stats })
}

/// Counts the objects of a region that satisfy a predicate, exactly.
pub fn count(
    view: &CollectionView,
    region: Option<&Region>,
    predicate: Option<&str>,
    stop: &StopFlag,
) -> Result<u64, QueryError> {
    let filter = Filter::new(view, region, predicate, &[])?;
    if filter.is_open() {
        return Ok(view.live_count());
    }
    let survivors = filter.survivors(view, stop)?;
    Ok(survivors.iter().map(|part| part.count() as u64).sum())
}

/// Ids of the objects of a region that satisfy a predicate and, where a space is given, lack a vector in it; in
/// sky order within each part.
pub fn select(
    view: &CollectionView,
    region: Option<&Region>,
    predicate: Option<&str>,
    lacking: Option<SpaceId>,
    stop: &StopFlag,
) -> Result<Vec<ObjectId>, QueryError> {
    let filter = Filter::new(view, region, predicate, &[])?;
    let survivors = filter.survivors(view, stop)?;
    let mut ids = Vec::new();
    for (live, rows) in view.parts().into_iter().zip(&survivors) {
        let vectors = lacking.and_then(|space| live.part().vectors(space));
        let lacks = |row: &usize| vectors.is_none_or(|vectors| vectors.vector_of(*row).is_none());
        ids.extend(rows.iter().filter(lacks).filter_map(|row| live.part().id_at(row)));
    }
    Ok(ids)
}
