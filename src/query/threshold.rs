//! The nearest by several terms, or by any of several examples, through the indices of their spaces.
//!
//! Every term lists the nearest objects that its own index finds; what any of them lists is compared by all terms at full
//! precision. An object that none has listed is at least as far in each term as the last one listed, and so is fused to at
//! least the value of those distances: once the k-th hit is no farther, nothing is missing. Until then the lists grow.
//!
//! # Reference
//! The threshold algorithm: Fagin, Lotem & Naor 2003, J. Comput. Syst. Sci. 66, 614.

use std::collections::HashSet;

use super::bind::{Bound, Target};
use super::combine::Missing;
use super::error::QueryError;
use super::execute::{self, Execution};
use super::filter::{PartFilter, Source};
use super::fused::{self, Scored, TermDistances};
use super::plan::{self, Considered, Plan, PlanKind};
use super::request::Query;
use crate::engine::{CollectionView, PartKind};
use crate::learn::discover::reciprocal_rank;
use crate::schema::EmbeddingSpace;
use crate::vector::{Distance, TopK};

/// Objects that a list has at first for each hit, and at least.
const LISTED_PER_HIT: usize = 4;
const LISTED_LEAST: usize = 100;

/// The same where ranks are fused.
const RANKED_LEAST: usize = 1_000;

/// How much longer lists become when they were too short, and the most that they have.
const GROWTH: usize = 4;
const LISTED_MAX: usize = 20_000;

/// Comparing one listed object by one more term at full precision, in nanoseconds: it lies anywhere.
const COMPARE_NS: f64 = 300.0;

/// Whether a query can be answered this way.
pub(super) fn is_possible(query: &Query, bound: &Bound, filters: &[PartFilter<'_>]) -> bool {
    let has_index = |target: &Target| {
        let parts = filters.iter().map(|filter| filter.live().part());
        let mut segments = parts.filter(|part| part.kind() == PartKind::Segment);
        segments.any(|part| part.vectors(target.space.id).is_some_and(|it| it.index().is_some()))
    };
    let is_listed = |target: &Target| target.measure.probes(&target.vector).is_some();
    // In ranks a missing vector counts as the middle one, which no list reaches.
    let is_endless = bound.is_ranked() && bound.combination.missing == Missing::Neutral;
    !query.is_exact()
        && !is_endless
        && query.within.is_none()
        && query.k.is_some_and(|k| k > 0)
        && !bound.targets.is_empty()
        && bound.targets.iter().all(|target| is_listed(target) && has_index(target))
}

/// Chooses this way where it is possible and expected to take less than a scan.
pub(super) fn weigh(
    plan: &mut Plan,
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    filters: &[PartFilter<'_>],
) -> Result<bool, QueryError> {
    if !is_possible(query, bound, filters) {
        return Ok(false);
    }
    let lists = Lists::new(query, bound);
    let listed = first_length(bound);
    let mut lists_ns = 0.0;
    for list in lists.all() {
        let list = Bound { limit: listed, ..list };
        let own = plan::choose(view, &lists.query, &list, filters)?;
        // Without a price there is no index that would make it quick.
        let Some(price) = own.price_ns() else { return Ok(false) };
        lists_ns += price + listed as f64 * COMPARE_NS * bound.targets.len() as f64;
    }
    let cost = view.cost();
    let vector_ns = |target: &Target| {
        let bytes = (target.space.dimension * size_of::<f32>()) as f64;
        let count = target.measure.probes(&target.vector).map_or(1, |probes| probes.len()) as f64;
        cost.vector_fetch_ns + count * (plan::VECTOR_NS + bytes * cost.vector_byte_ns)
    };
    let scan_ns = plan.survivors * bound.targets.iter().map(vector_ns).sum::<f64>();
    let source = filters.first().map_or(Source::Sky, PartFilter::cheapest_source);
    let scan = Considered { kind: plan.kind, source, cost_ns: scan_ns };
    let this = Considered { kind: PlanKind::Threshold, source: Source::Sky, cost_ns: lists_ns };
    plan.considered = vec![scan, this];
    if lists_ns >= scan_ns {
        return Ok(false);
    }
    plan.kind = PlanKind::Threshold;
    plan.why = format!("it is expected to take the least time ({})", plan::readable_ns(lists_ns));
    Ok(true)
}

/// Carries the plan out.
pub(super) fn execute(
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    plan: &Plan,
    filters: &[PartFilter<'_>],
) -> Result<Execution, QueryError> {
    let lists = Lists::new(query, bound);
    let parts = fused::parts_of(filters);
    let mut touched = Touched { exact: true, ..Touched::default() };
    let mut length = first_length(bound);
    loop {
        let round = lists.search(view, bound, filters, length, &mut touched)?;
        let mut scored = Scored::default();
        let mut distances = Vec::new();
        let mut terms: Vec<TermDistances<'_>> =
            parts.iter().map(|part| TermDistances::new(part, &bound.targets)).collect();
        for &(part, row) in &round.union {
            if let Some(terms) = terms.get_mut(part) {
                terms.read(row, &mut distances);
                scored.push(part, row as u32, &distances);
            }
        }
        touched.bytes_read += terms.iter().map(|terms| terms.bytes_read).sum::<u64>();
        let mut top = TopK::new(bound.limit);
        scored.offer(bound, &parts, None, &mut top);
        if round.is_enough(bound, length, top.bound()) {
            touched.exact &= !bound.is_ranked() || round.is_whole(bound);
            return Ok(touched.execution(top.into_sorted()));
        }
        if length == LISTED_MAX {
            let scan = Plan { kind: plan::scan_kind(query), ..plan.clone() };
            let mut scanned = execute::execute(query, bound, &scan, filters)?;
            scanned.rows_scanned += touched.rows_scanned;
            scanned.bytes_read += touched.bytes_read;
            return Ok(scanned);
        }
        length = (length * GROWTH).min(LISTED_MAX);
    }
}

/// How long lists are at first. Where an object ranks beyond the end of a list is not known: these ranks have to be so late
/// that they hardly count.
fn first_length(bound: &Bound) -> usize {
    let least = if bound.is_ranked() { RANKED_LEAST } else { LISTED_LEAST };
    (bound.limit * LISTED_PER_HIT).clamp(least, LISTED_MAX)
}

/// Searches for one vector each, whose answers are the lists.
struct Lists {
    query: Query,
    /// Term, space and vector of each.
    probes: Vec<(usize, EmbeddingSpace, Vec<f32>)>,
}

/// What the lists of one length say.
struct Round {
    /// Parts and rows that any of them has.
    union: Vec<(usize, usize)>,
    /// For each term, the distance below which every object is in the union; infinite where all of them are.
    reached: Vec<f64>,
}

#[derive(Default)]
struct Touched {
    rows_scanned: u64,
    rows_coded: u64,
    rows_reranked: u64,
    lists_probed: u64,
    lists_total: u64,
    bytes_read: u64,
    survivors: Option<u64>,
    exact: bool,
    is_far: bool,
}

impl Lists {
    fn new(query: &Query, bound: &Bound) -> Self {
        let of_term = |(term, target): (usize, &Target)| {
            let probes = target.measure.probes(&target.vector).unwrap_or_default();
            let own = |vector: &[f32]| (term, target.space.clone(), vector.to_vec());
            probes.into_iter().map(own).collect::<Vec<_>>()
        };
        let probes = bound.targets.iter().enumerate().flat_map(of_term).collect();
        let query = Query {
            region: query.region.clone(),
            predicate: query.predicate.clone(),
            k: query.k,
            recall: query.recall,
            stop: query.stop.clone(),
            ..Query::default()
        };
        Self { query, probes }
    }

    /// Each search as a bound query of one term.
    fn all(&self) -> impl Iterator<Item = Bound> + '_ {
        let bound = |(_, space, vector): &(usize, EmbeddingSpace, Vec<f32>)| {
            Bound::nearest(space.clone(), vector.clone(), 0)
        };
        self.probes.iter().map(bound)
    }

    fn search(
        &self,
        view: &CollectionView,
        bound: &Bound,
        filters: &[PartFilter<'_>],
        length: usize,
        touched: &mut Touched,
    ) -> Result<Round, QueryError> {
        let mut seen = HashSet::new();
        let mut union = Vec::new();
        let mut reached = vec![f64::INFINITY; bound.targets.len()];
        for (list, (term, ..)) in self.all().zip(&self.probes) {
            let list = Bound { limit: length, ..list };
            let plan = plan::choose(view, &self.query, &list, filters)?;
            let found = execute::execute(&self.query, &list, &plan, filters)?;
            touched.take(&found);
            if found.nearest.len() == length
                && let Some((last, _)) = found.nearest.last()
            {
                reached[*term] = reached[*term].min(last.value());
            }
            for (_, hit) in found.nearest {
                let place = (hit.part, hit.row);
                if seen.insert(place) {
                    union.push(place);
                }
            }
        }
        Ok(Round { union, reached })
    }
}

impl Round {
    /// Whether every object that can be a hit is in the lists.
    fn is_whole(&self, bound: &Bound) -> bool {
        let is_whole = |reached: &f64| reached.is_infinite();
        match bound.combination.missing {
            // What no whole list has lacks that term's vector; it is no hit, but it has a rank in the others.
            Missing::Require if !bound.is_ranked() => self.reached.iter().any(is_whole),
            Missing::Require | Missing::Neutral => self.reached.iter().all(is_whole),
        }
    }

    /// Whether an object that no list has cannot be nearer than the last hit.
    fn is_enough(&self, bound: &Bound, length: usize, last: Option<Distance>) -> bool {
        if self.is_whole(bound) {
            return true;
        }
        let Some(last) = last else { return false };
        let shares = bound.shares();
        let unseen = if bound.is_ranked() {
            Some(-reciprocal_rank(length as f64 + 1.0))
        } else {
            let nearest = |(term, reached): (usize, &f64)| Some(bound.nearest_of(term, *reached));
            let nearest: Vec<Option<f64>> = self.reached.iter().enumerate().map(nearest).collect();
            bound.fuse(&shares, &nearest)
        };
        unseen.is_some_and(|unseen| last.value() <= unseen)
    }
}

impl Bound {
    /// The distance that an object in no list may have in a term, or count as having: that of the list's end, or the mean.
    fn nearest_of(&self, term: usize, reached: f64) -> f64 {
        let calibration = self.combination.calibrations.get(term);
        match (self.combination.missing, calibration) {
            (Missing::Neutral, Some(calibration)) => reached.min(calibration.mean),
            _ => reached,
        }
    }
}

impl Touched {
    fn take(&mut self, found: &Execution) {
        self.rows_scanned += found.rows_scanned;
        self.rows_coded += found.rows_coded;
        self.rows_reranked += found.rows_reranked;
        self.lists_probed += found.lists_probed;
        self.lists_total += found.lists_total;
        self.bytes_read += found.bytes_read;
        self.survivors = self.survivors.or(found.survivors);
        self.exact &= found.exact;
        self.is_far |= found.is_far;
    }

    fn execution(self, nearest: Vec<(Distance, execute::Found)>) -> Execution {
        Execution {
            nearest,
            kind: PlanKind::Threshold,
            rows_scanned: self.rows_scanned,
            rows_coded: self.rows_coded,
            rows_reranked: self.rows_reranked,
            lists_probed: self.lists_probed,
            lists_total: self.lists_total,
            bytes_read: self.bytes_read,
            exact: self.exact,
            is_far: self.is_far,
            survivors: self.survivors,
        }
    }
}
