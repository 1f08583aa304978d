//! Answers queries on a collection: where on the sky, which properties, near to what.
//!
//! A [`Query`] is a recipe. It is bound to a view (`bind`), region and predicate are bound to the rows of each part
//! (`filter`), the planner chooses how to find the nearest of those that they leave (`plan`), the plan is carried out
//! (`execute`, or `order` where they are ordered by a column) and the hits get their columns (`hydrate`); or they are first
//! ordered anew (`late_interaction`) or put apart (`apart`). Examples become a `measure`, several terms one order by a rule
//! of `combine`, found by comparing everything (`fused`) or through the indices (`threshold`). What somebody may see
//! ([`row_policy`](fn@row_policy)) is taken out of the view before any of this.
//!
//! **Invariants.** In exact mode every plan gives the same hits, in the same order; ties of distance are broken
//! by object id. Never fewer than `min(k, survivors)` hits. All of it is synchronous work for one thread.

mod ahead;
mod answer;
mod apart;
mod bind;
mod brief;
mod combine;
pub mod datafusion;
mod day;
mod error;
mod execute;
mod explain;
mod export;
mod filter;
mod fused;
mod hydrate;
mod informative;
mod late_interaction;
mod measure;
mod order;
mod outliers;
mod plan;
mod price;
mod request;
mod row_policy;
mod sample;
mod threshold;
mod trace;

use std::time::Instant;

pub use answer::{Answer, Beside, Hit, QueryStats, TermScale};
pub use combine::{Fusion, Method, Missing};
pub use day::Day;
pub use error::QueryError;
pub use export::{Export, export, export_count, export_schema, export_shares};
pub use informative::{BATCH_MAX, Batch, BatchQuery, Proposal, Strategy, next_batch};
pub use late_interaction::{
    CANDIDATES_MAX, Candidates, Ranking, candidates, candidates_for, distances, max_sim, tokens_of,
};
pub use outliers::{NEIGHBOURS_MAX, OutlierMethod, OutlierQuery, OutlierScore, Outliers, outliers};
pub use plan::PlanKind;
pub use price::{Price, bound, bound_of_count};
pub use request::{
    Carry, Crossing, Diversity, K_MAX, OrderBy, Query, StopFlag, Term, WITHIN_HITS_MAX,
};
pub use row_policy::{check_policy, row_policy, undated_rows};

use crate::engine::CollectionView;
use crate::schema::{ObjectId, SpaceId};
use crate::sky::Region;
use crate::vector::Distance;
use bind::Bound;
use brief::Expected;
use execute::Found;
use filter::{Filter, PartFilter, Source};
use plan::Plan;

/// Answers a query.
///
/// # Errors
/// [`QueryError`] for a request that can never be answered, a stopped query, or damaged data.
pub fn search(view: &CollectionView, query: &Query) -> Result<Answer, QueryError> {
    trace::search(view, query, || search_within(view, query))
}

fn search_within(view: &CollectionView, query: &Query) -> Result<Answer, QueryError> {
    let started = Instant::now();
    let planning = trace::planning();
    let mut bound = bind::bind(view, query)?;
    let excluded = std::mem::take(&mut bound.excluded);
    let filter = Filter::new(view, query.region.as_ref(), query.predicate.as_deref(), &excluded)?;
    let filters = filter.bind(view, &query.stop)?;
    if query.is_apart() {
        drop(planning);
        return apart::answer(view, query, bound, &filters, started);
    }
    let plan = plan::choose(view, query, &bound, &filters)?;
    trace::planned(&planning, &plan, filters.len());
    drop(planning);
    Planned { view, query, bound: &bound, filters: &filters, plan }.answer(started)
}

/// Answers a query where that is expected to take a fraction of a millisecond and to wait for no disk, so that handing it to
/// another thread would take about as long; `None` for every other, which has then cost no more than its plan.
///
/// # Errors
/// Those of [`search`].
pub fn search_if_brief(view: &CollectionView, query: &Query) -> Option<Result<Answer, QueryError>> {
    search_or_price(view, query, |_| None::<()>).ok().map(|(answer, _)| answer)
}

/// [`search_if_brief`], and what every other query is expected to cost.
///
/// Of a query that is not brief, but takes up to two milliseconds and waits for no disk either, `admit` is asked with its price. What it returns is held while the query is answered, by the plan that is there, and given back with the answer.
///
/// # Errors
/// The price of a query that was not answered.
pub fn search_or_price<G>(
    view: &CollectionView,
    query: &Query,
    admit: impl FnOnce(&Price) -> Option<G>,
) -> Result<(Result<Answer, QueryError>, Option<G>), Price> {
    let priced = |ns| Price { ns, is_planned: true, bytes: price::memory(view, query) };
    planned_briefly(view, query, |ns| admit(&priced(ns)))
        .map_err(|ns| ns.map_or_else(|| bound(view, query), priced))
}

/// The answer of a brief query, or of one that is admitted with what its plan is expected to take, in nanoseconds; of every other
/// that time, where there is a plan.
fn planned_briefly<G>(
    view: &CollectionView,
    query: &Query,
    admit: impl FnOnce(f64) -> Option<G>,
) -> Result<(Result<Answer, QueryError>, Option<G>), Option<f64>> {
    let started = Instant::now();
    if !brief::may_be(view, query) {
        return Err(None);
    }
    let planning = trace::planning();
    // What is refused is refused again, with its reason, by the search itself.
    let bound = bind::bind(view, query).map_err(|_| None)?;
    let (region, predicate) = (query.region.as_ref(), query.predicate.as_deref());
    let filter = Filter::new(view, region, predicate, &bound.excluded).map_err(|_| None)?;
    if !filter.is_indexed(view) {
        return Err(None);
    }
    let filters = filter.bind(view, &query.stop).map_err(|_| None)?;
    let plan = plan::choose(view, query, &bound, &filters).map_err(|_| None)?;
    trace::planned(&planning, &plan, filters.len());
    drop(planning);
    let held = match brief::expected(&plan, &bound, &filters) {
        Expected::Brief => None,
        Expected::Short(ns) => Some(admit(ns).ok_or(Some(ns))?),
        Expected::Long => return Err(plan.price_ns()),
    };
    let answer = trace::search(view, query, || {
        Planned { view, query, bound: &bound, filters: &filters, plan }.answer(started)
    });
    Ok((answer, held))
}

/// A query that has its plan.
struct Planned<'a> {
    view: &'a CollectionView,
    query: &'a Query,
    bound: &'a Bound,
    filters: &'a [PartFilter<'a>],
    plan: Plan,
}

impl Planned<'_> {
    fn answer(self, started: Instant) -> Result<Answer, QueryError> {
        let (nearest, mut stats) = self.find()?;
        let hits = hydrate::hydrate(self.view, self.query, self.bound, nearest)?;
        stats.elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
        Ok(Answer { hits, stats })
    }

    /// The nearest, without columns.
    fn find(&self) -> Result<(Vec<(Distance, Found)>, QueryStats), QueryError> {
        let Self { view, query, bound, filters, plan } = self;
        let began = Instant::now();
        let mut found = match (&bound.order, plan.kind) {
            (Some(_), _) => order::execute(view, query, bound, plan, filters)?,
            (None, PlanKind::Threshold) => threshold::execute(view, query, bound, plan, filters)?,
            (None, _) => execute::execute(query, bound, plan, filters)?,
        };
        if query.k.is_none_or(|k| k == 0) && found.nearest.len() > WITHIN_HITS_MAX {
            return Err(QueryError::TooManyWithin);
        }
        let took = began.elapsed();
        let nearest = std::mem::take(&mut found.nearest);
        let mut stats = answer::stats(view, query, bound, plan, filters, &found);
        if query.explain {
            // What was only estimated is counted for the explanation.
            let counts: Vec<usize> =
                filters.iter().map(|part| part.count(&query.stop)).collect::<Result<_, _>>()?;
            stats.rows_surviving = counts.iter().map(|&count| count as u64).sum();
            stats.survivors_are_counted = true;
            let told = explain::Told {
                view,
                query,
                bound,
                plan,
                filters,
                counts: &counts,
                found: &found,
                hits: nearest.len(),
                took,
            };
            stats.explanation = told.text();
        }
        Ok((nearest, stats))
    }
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
    let counts = filter.bind(view, stop)?;
    counts.iter().map(|part| Ok(part.count(stop)? as u64)).sum()
}

/// Objects asked at a time whether they have tokens.
const ASKED_AT_ONCE: usize = 4_096;

/// Rows of each part, in the order of [`CollectionView::parts`], that lie in a region and satisfy a predicate; ascending.
///
/// # Errors
/// [`QueryError`] for a predicate that is refused, a stopped query, or damaged data.
pub fn rows(
    view: &CollectionView,
    region: Option<&Region>,
    predicate: Option<&str>,
    stop: &StopFlag,
) -> Result<Vec<Vec<u32>>, QueryError> {
    let filter = Filter::new(view, region, predicate, &[])?;
    let bound = filter.bind(view, stop)?;
    let rows_of = |filter: &PartFilter<'_>| {
        let mut found = Vec::new();
        filter.for_each_chunk(Source::Sky, stop, |rows| {
            found.extend_from_slice(rows);
            Ok(())
        })?;
        found.sort_unstable();
        Ok(found)
    };
    bound.iter().map(rows_of).collect()
}

/// Ids of the objects of a region that satisfy a predicate and, where a space is given, lack a vector or tokens in it;
/// in sky order within each part.
pub fn select(
    view: &CollectionView,
    region: Option<&Region>,
    predicate: Option<&str>,
    lacking: Option<SpaceId>,
    stop: &StopFlag,
) -> Result<Vec<ObjectId>, QueryError> {
    let mut ids = Vec::new();
    for (live, rows) in view.parts().into_iter().zip(rows(view, region, predicate, stop)?) {
        let part = live.part();
        let vectors = lacking.and_then(|space| part.vectors(space));
        let lacks = |row: &usize| vectors.is_none_or(|vectors| vectors.vector_of(*row).is_none());
        let lacking = rows.into_iter().map(|row| row as usize).filter(lacks);
        ids.extend(lacking.filter_map(|row| part.id_at(row)));
    }
    let lacking = lacking.and_then(|space| view.schema().space_by_id(space));
    match lacking.filter(|space| !space.holds_vectors()) {
        Some(space) => without_tokens(view, space.id, &ids, stop),
        None => Ok(ids),
    }
}

/// Those of some objects that have no tokens in a space: the parts know only vectors, so that the store is asked.
fn without_tokens(
    view: &CollectionView,
    space: SpaceId,
    ids: &[ObjectId],
    stop: &StopFlag,
) -> Result<Vec<ObjectId>, QueryError> {
    let mut lacking = Vec::new();
    for some in ids.chunks(ASKED_AT_ONCE) {
        stop.check()?;
        let have = view.have(space, some)?;
        let without = some.iter().zip(have).filter(|(_, has)| !has).map(|(id, _)| id.clone());
        lacking.extend(without);
    }
    Ok(lacking)
}
