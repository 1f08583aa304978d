//! Chooses how the nearest survivors are found.
//!
//! Every way is priced in nanoseconds by what the steps cost on this machine ([`CostModel`]): rows walked and tested, codes
//! looked at, lists probed, vectors compared at full precision. The counts are those of the actual region and predicate, and
//! of the index as it was measured. Only a part with an index has a choice; the tail is always scanned.

use std::fmt;
use std::str::FromStr;

use super::bind::Bound;
use super::error::QueryError;
use super::filter::{PartFilter, Source};
use super::request::Query;
use super::threshold;
use crate::engine::{CodeCost, CollectionView, CostModel, NEAR_BYTES, PartKind, PartVectors};
use crate::index::{IvfIndex, MOST_SHARE};

/// What is done for each full vector beside reading it, in nanoseconds.
pub(super) const VECTOR_NS: f64 = 12.0;

/// Handing on one row of a walk along the sky that has to be tested, in nanoseconds.
const HAND_ON_NS: f64 = 2.0;

/// By how much of its price a search of the lists is made dearer when ways are compared, where a filter leaves nearly nothing; by
/// less where it leaves more. The price assumes that the filter has nothing to do with the vectors. Most filters have, and then more
/// lists are needed, while a scan takes what it takes.
const LISTS_DOUBT: f64 = 0.5;

/// Testing one row of a long run by one condition, in nanoseconds: 64 at a time.
const WORD_TEST_NS: f64 = 0.25;

/// Reading one vector by a call of the system, in nanoseconds.
const READ_NS: f64 = 700.0;

/// Ways to find the nearest survivors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanKind {
    /// No vector term: objects by id.
    Listing,
    /// Exact distances of the region's contiguous rows.
    RegionScan,
    /// Exact distances of the rows that the predicate leaves.
    SurvivorScan,
    /// Exact distances of every row.
    FullScan,
    /// Codes of the region's contiguous rows, then exact re-rank.
    RegionCodes,
    /// Codes of the rows that the predicate leaves, then exact re-rank.
    SurvivorCodes,
    /// Inverted lists, asking region and predicate about their rows, then exact re-rank.
    FilteredIvf,
    /// Inverted lists, then exact re-rank.
    Ivf,
    /// The nearest of each term by its index, more and more of them until no other object can be nearer by all terms together.
    Threshold,
}

impl PlanKind {
    /// Every plan.
    pub const ALL: [Self; 9] = [
        Self::Listing,
        Self::RegionScan,
        Self::SurvivorScan,
        Self::FullScan,
        Self::RegionCodes,
        Self::SurvivorCodes,
        Self::FilteredIvf,
        Self::Ivf,
        Self::Threshold,
    ];

    /// The name in `--explain` and in the statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::RegionScan => "region-scan",
            Self::SurvivorScan => "survivor-scan",
            Self::FullScan => "full-scan",
            Self::RegionCodes => "region-codes",
            Self::SurvivorCodes => "survivor-codes",
            Self::FilteredIvf => "filtered-ivf",
            Self::Ivf => "ivf",
            Self::Threshold => "threshold",
        }
    }

    /// Whether the plan needs an index.
    pub(super) fn uses_index(self) -> bool {
        self.uses_lists() || matches!(self, Self::RegionCodes | Self::SurvivorCodes)
    }

    /// Whether the plan goes through the lists of the index.
    pub(super) fn uses_lists(self) -> bool {
        matches!(self, Self::FilteredIvf | Self::Ivf)
    }
}

impl fmt::Display for PlanKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for PlanKind {
    type Err = QueryError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| QueryError::BadPlan {
            plan: name.to_owned(),
            why: "there is no such plan (region-scan, survivor-scan, full-scan, region-codes, survivor-codes, filtered-ivf, ivf, threshold)",
        })
    }
}

/// A way that was weighed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Considered {
    pub(super) kind: PlanKind,
    pub(super) source: Source,
    pub(super) cost_ns: f64,
}

/// The chosen plan and why.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) kind: PlanKind,
    /// Where the walk over the survivors begins, in the part with the index.
    pub(super) source: Source,
    /// Lists at which a search of the lists is given up, and the plan that then takes its place.
    pub(super) instead: Option<(usize, Considered)>,
    pub(super) why: String,
    pub(super) considered: Vec<Considered>,
    /// Rows that were expected to be left, all parts; 0 where nothing depended on it, so that nobody looked.
    pub(super) survivors: f64,
    /// The same for each part; none where nobody looked.
    pub(super) estimates: Vec<f64>,
    /// Whether that was a count, not an estimate.
    pub(super) is_counted: bool,
    /// The recall that the index was tuned for, where there is one.
    pub(super) tuned_for: Option<f64>,
}

impl Plan {
    /// What the plan is expected to take, in nanoseconds, where ways were weighed.
    pub(super) fn price_ns(&self) -> Option<f64> {
        let mine = |considered: &&Considered| {
            considered.kind == self.kind && considered.source == self.source
        };
        self.considered.iter().find(mine).map(|considered| considered.cost_ns)
    }
}

/// A part that has an index for the only term.
pub(super) struct Indexed<'a> {
    pub(super) place: usize,
    pub(super) vectors: &'a PartVectors,
    pub(super) index: &'a IvfIndex,
}

/// The part with an index over the space of a single term.
pub(super) fn indexed<'a>(filters: &[PartFilter<'a>], bound: &Bound) -> Option<Indexed<'a>> {
    let [target] = bound.targets.as_slice() else { return None };
    if !target.is_nearest() {
        return None;
    }
    filters.iter().enumerate().find_map(|(place, filter)| {
        let part = filter.live().part();
        if part.kind() != PartKind::Segment {
            return None;
        }
        let vectors = part.vectors(target.space.id)?;
        Some(Indexed { place, vectors, index: vectors.index()? })
    })
}

/// Chooses a plan.
pub(super) fn choose(
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    filters: &[PartFilter<'_>],
) -> Result<Plan, QueryError> {
    let indexed = indexed(filters, bound);
    let scan = scan_kind(query);
    let estimates = estimates(query, bound, filters, scan);
    let is_counted = filters.iter().all(|filter| filter.known_count().is_some());
    let mut plan = Plan {
        kind: scan,
        source: Source::Sky,
        instead: None,
        why: String::new(),
        considered: Vec::new(),
        survivors: estimates.iter().sum(),
        estimates,
        is_counted,
        tuned_for: indexed.as_ref().map(|indexed| indexed.index.tuned_for(query.recall)),
    };
    if let Some(name) = &query.plan {
        plan.kind = name.parse()?;
        "it was asked for".clone_into(&mut plan.why);
        check_forced(bound, plan.kind, indexed.is_some())?;
        if plan.kind == PlanKind::Threshold && !threshold::is_possible(query, bound, filters) {
            let why = "it is for the k nearest by several vectors, all in spaces with an index, without a distance bound or exactness";
            return Err(QueryError::BadPlan { plan: name.clone(), why });
        }
        if let Some(indexed) = &indexed {
            plan.source = forced_source(plan.kind, &filters[indexed.place]);
        }
        return Ok(plan);
    }
    if bound.targets.is_empty() {
        plan.kind = PlanKind::Listing;
        "there is no vector term".clone_into(&mut plan.why);
        return Ok(plan);
    }
    let reason = if query.is_exact() {
        Some("the answer has to be exact")
    } else if indexed.is_none() && threshold::weigh(&mut plan, view, query, bound, filters)? {
        return Ok(plan);
    } else if bound.targets.len() > 1 {
        Some("several spaces are weighed together")
    } else if bound.targets.iter().any(|target| !target.is_nearest()) {
        Some("the examples are compared one by one, or by what they teach")
    } else if query.k.is_none_or(|k| k == 0) {
        Some("every object within a distance is asked for")
    } else if indexed.is_none() {
        Some("the space has no index")
    } else {
        None
    };
    if let Some(reason) = reason {
        reason.clone_into(&mut plan.why);
        plan.source = filters.first().map_or(Source::Sky, PartFilter::cheapest_source);
        return Ok(plan);
    }
    if let Some(indexed) = indexed {
        let filter = &filters[indexed.place];
        weigh(&mut plan, view.cost(), query, bound, filter, &indexed);
    }
    Ok(plan)
}

/// About how many rows each part is left with. An exact scan has nothing to weigh, and counts what is left: there an estimate
/// would only be read by people.
fn estimates(query: &Query, bound: &Bound, filters: &[PartFilter<'_>], scan: PlanKind) -> Vec<f64> {
    let is_settled = query.is_exact()
        && bound.order.is_none()
        && query.plan.as_ref().is_none_or(|name| name == scan.name());
    if is_settled && !query.explain {
        return Vec::new();
    }
    filters.iter().map(PartFilter::estimate).collect()
}

/// The exact scan that fits the query.
pub(super) fn scan_kind(query: &Query) -> PlanKind {
    match (&query.region, &query.predicate) {
        (Some(_), _) => PlanKind::RegionScan,
        (None, Some(_)) => PlanKind::SurvivorScan,
        (None, None) => PlanKind::FullScan,
    }
}

fn forced_source(kind: PlanKind, filter: &PartFilter<'_>) -> Source {
    match kind {
        PlanKind::SurvivorScan | PlanKind::SurvivorCodes => {
            filter.narrowest().map_or(Source::Sky, |(place, _)| Source::Condition(place))
        }
        _ => Source::Sky,
    }
}

fn check_forced(bound: &Bound, kind: PlanKind, has_index: bool) -> Result<(), QueryError> {
    let refused = |why| Err(QueryError::BadPlan { plan: kind.name().to_owned(), why });
    if (kind == PlanKind::Listing) != bound.targets.is_empty() {
        return refused("a listing is for queries without a vector term, and only for those");
    }
    if kind.uses_index() {
        if bound.targets.len() != 1 {
            return refused("an index searches one space");
        }
        if !has_index {
            return refused("the space has no index; build one, or let the planner choose");
        }
    }
    Ok(())
}

/// Prices every way and takes the cheapest.
fn weigh(
    plan: &mut Plan,
    cost: &CostModel,
    query: &Query,
    bound: &Bound,
    filter: &PartFilter<'_>,
    indexed: &Indexed<'_>,
) {
    let survivors = plan.estimates.get(indexed.place).copied().unwrap_or(plan.survivors);
    let prices = Prices { cost, filter, indexed, k: bound.limit, recall: query.recall, survivors };
    let codes = match plan.kind {
        PlanKind::RegionScan => PlanKind::RegionCodes,
        _ => PlanKind::SurvivorCodes,
    };
    let mut sources = vec![Source::Sky];
    sources.extend(filter.narrowest().map(|(place, _)| Source::Condition(place)));
    let few_visible = filter.visible_count().filter(|count| *count < filter.rows_in_region());
    sources.extend(few_visible.map(|_| Source::Visible));
    for source in sources {
        let exact = match source {
            Source::Sky => plan.kind,
            Source::Condition(_) | Source::Visible => PlanKind::SurvivorScan,
        };
        let codes = match source {
            Source::Sky => codes,
            Source::Condition(_) | Source::Visible => PlanKind::SurvivorCodes,
        };
        let walked = prices.walk_ns(source);
        let compared = prices.exact_ns(source);
        plan.considered.push(Considered { kind: exact, source, cost_ns: walked + compared });
        let coded = prices.codes_ns(source);
        plan.considered.push(Considered { kind: codes, source, cost_ns: walked + coded });
    }
    let (lists_ns, ns_per_list) = prices.lists_ns();
    let lists = if filter.is_everything() { PlanKind::Ivf } else { PlanKind::FilteredIvf };
    let lists = Considered { kind: lists, source: Source::Sky, cost_ns: lists_ns };
    let rows = indexed.index.stats().rows.max(1) as f64;
    let doubt = 1.0 + LISTS_DOUBT * (1.0 - survivors / rows).clamp(0.0, 1.0);
    let weight = |way: &Considered| way.cost_ns * if way.kind.uses_lists() { doubt } else { 1.0 };
    let by_cost = |left: &&Considered, right: &&Considered| weight(left).total_cmp(&weight(right));
    let scan = plan.considered.iter().min_by(by_cost).cloned();
    plan.considered.push(lists);
    let Some(best) = plan.considered.iter().min_by(by_cost).cloned() else { return };
    plan.why = format!("it is expected to take the least time ({})", readable_ns(best.cost_ns));
    if best.kind.uses_lists()
        && let Some(scan) = scan.filter(|_| !filter.is_everything())
    {
        // As much again as the scan would have taken is the most that is lost by having tried.
        let lists_max = (scan.cost_ns / ns_per_list.max(1.0)) as usize;
        plan.instead = Some((lists_max.max(8), scan));
    }
    plan.kind = best.kind;
    plan.source = best.source;
}

/// What the steps of one query cost.
struct Prices<'a> {
    cost: &'a CostModel,
    filter: &'a PartFilter<'a>,
    indexed: &'a Indexed<'a>,
    k: usize,
    recall: f64,
    survivors: f64,
}

impl Prices<'_> {
    fn code_bytes(&self) -> f64 {
        self.indexed.index.stats().code_bytes as f64
    }

    fn code_cost(&self) -> CodeCost {
        let bytes = self.indexed.vectors.count() as f64 * self.code_bytes();
        self.cost.codes(bytes as u64)
    }

    fn vector_bytes(&self) -> f64 {
        (self.indexed.vectors.dimension() * size_of::<f32>()) as f64
    }

    /// Testing one row anywhere, but for so many conditions that it is known to satisfy.
    fn tests_ns(&self, known: usize) -> f64 {
        let is_near = self.indexed.vectors.count() * size_of::<u32>() <= NEAR_BYTES;
        let each = if is_near { self.cost.test_near_ns } else { self.cost.test_fetch_ns };
        let region = self.filter.test_count() - self.filter.condition_count();
        let conditions = self.filter.condition_count().saturating_sub(known);
        each * conditions as f64 + self.cost.test_fetch_ns * region as f64
    }

    /// Walking and testing the rows of a source.
    fn walk_ns(&self, source: Source) -> f64 {
        match source {
            Source::Sky => {
                let edge = self.filter.edge_rows() as f64;
                let along = edge * (self.cost.test_ns + HAND_ON_NS);
                let conditions = self.filter.condition_count() as f64;
                if conditions == 0.0 {
                    return along;
                }
                let is_long = self.filter.is_in_long_runs();
                let test_ns = if is_long { WORD_TEST_NS } else { self.cost.test_ns };
                let rows = self.filter.rows_in_region() as f64;
                along + rows * test_ns * conditions + self.survivors * HAND_ON_NS
            }
            Source::Condition(place) => {
                let rows = self.filter.rows_of(place) as f64;
                rows * (self.tests_ns(1) + HAND_ON_NS)
            }
            Source::Visible => {
                let rows = self.filter.visible_count().unwrap_or_default() as f64;
                rows * (self.tests_ns(0) + HAND_ON_NS)
            }
        }
    }

    fn exact_ns(&self, source: Source) -> f64 {
        let each = VECTOR_NS + self.vector_bytes() * self.cost.vector_byte_ns;
        let one_by_one = self.survivors * (each + self.fetch_ns());
        match source {
            // Reading on over the rows between may be quicker than going to each.
            Source::Sky if self.indexed.vectors.is_in_memory() => {
                one_by_one.min(self.filter.rows_in_region() as f64 * each)
            }
            Source::Sky | Source::Condition(_) | Source::Visible => one_by_one,
        }
    }

    /// Going to one full vector.
    fn fetch_ns(&self) -> f64 {
        let read = if self.indexed.vectors.is_in_memory() { 0.0 } else { READ_NS };
        self.cost.vector_fetch_ns + read
    }

    fn rerank_ns(&self, rows: f64) -> f64 {
        rows.min(self.survivors)
            * (self.fetch_ns() + self.vector_bytes() * self.cost.vector_byte_ns)
    }

    fn codes_ns(&self, source: Source) -> f64 {
        let code = self.code_cost();
        let each = code.code_ns + self.code_bytes() * code.byte_ns;
        let looking = match source {
            Source::Sky => {
                let one_by_one = self.survivors * (each + code.step_ns);
                one_by_one.min(self.filter.rows_in_region() as f64 * each)
            }
            Source::Visible => self.survivors * (each + code.step_ns),
            Source::Condition(_) => self.survivors * (each + code.fetch_ns),
        };
        let expected = self.indexed.index.expected(self.k, self.recall, self.survivors);
        // Rows are met in no order of nearness: about so many more look near at first.
        let doublings = (self.survivors / 2048.0).max(1.0).log2() + 1.0;
        self.cost.search_ns + looking + self.rerank_ns(expected.reranked * doublings)
    }

    /// Probing lists, and what one list more costs.
    fn lists_ns(&self) -> (f64, f64) {
        let expected = self.indexed.index.expected(self.k, self.recall, self.survivors);
        let stats = self.indexed.index.stats();
        let cost = self.code_cost();
        let code = cost.code_ns + self.code_bytes() * cost.byte_ns;
        let share = (self.survivors / stats.rows as f64).min(1.0);
        let tests = self.tests_ns(0);
        let fetch = if tests > 0.0 { cost.step_ns } else { 0.0 };
        // Where many rows of a list are left, all are compared, and only what looks near is tested.
        let each_row = if share >= MOST_SHARE { code } else { tests + share * (code + fetch) };
        let rows_per_list = expected.rows_listed / expected.lists.max(1.0);
        let per_list = cost.list_ns + rows_per_list * each_row;
        let ranking = stats.lists as f64 * (code + 1.0);
        let probing = expected.lists * per_list;
        let all = self.cost.search_ns + ranking + probing + self.rerank_ns(expected.reranked * 1.5);
        (all, per_list)
    }
}

/// Times for people.
pub(super) fn readable_ns(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} us", ns / 1e3),
        ns if ns < 1e9 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.1} s", ns / 1e9),
    }
}

/// Bytes for people.
pub(super) fn readable(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1e3 => format!("{bytes:.0} B"),
        bytes if bytes < 1e6 => format!("{:.1} kB", bytes / 1e3),
        bytes if bytes < 1e9 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} GB", bytes / 1e9),
    }
}
