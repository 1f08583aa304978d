//! Chooses how the nearest survivors are found.
//!
//! Every way is priced in nanoseconds by what the steps cost on this machine ([`CostModel`]): rows walked and tested, codes
//! looked at, lists probed, vectors compared at full precision. The counts are those of the actual region and predicate, and
//! of the index as it was measured. Only a part with an index has a choice; the tail is always scanned.

mod weigh;

use std::fmt;
use std::str::FromStr;

use super::bind::Bound;
use super::error::QueryError;
use super::filter::{PartFilter, Source};
use super::request::Query;
use super::threshold;
use crate::engine::{CollectionView, PartKind, PartVectors};
use crate::index::IvfIndex;
use weigh::weigh;

/// What is done for each full vector beside reading it, in nanoseconds.
pub(super) const VECTOR_NS: f64 = 12.0;

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
    /// Codes of the region's contiguous rows, then exact re-rank: of the likeliest, or of all that can be hits.
    RegionCodes,
    /// Codes of the rows that the predicate leaves, then the same.
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
    /// Lists to come at which a search of the lists is given up, and the plan that then takes its place.
    pub(super) instead: Option<(usize, Considered)>,
    pub(super) why: String,
    pub(super) considered: Vec<Considered>,
    /// Rows that were expected to be left, all parts; 0 where nothing depended on it, so that nobody looked.
    pub(super) survivors: f64,
    /// The same for each part; none where nobody looked.
    pub(super) estimates: Vec<f64>,
    /// Whether that was a count, not an estimate.
    pub(super) is_counted: bool,
    /// Whether codes may decide what an exact answer leaves out.
    pub(super) is_certain: bool,
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

impl Indexed<'_> {
    /// Whether codes can give the exact answer: they are what was written, and the index knows how far they can be off.
    pub(super) fn is_certain(&self) -> bool {
        self.index.is_certain() && self.vectors.is_index_intact()
    }
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
    // What codes leave out depends on all rows of the index, hidden ones among them, and the plan would tell of them.
    let has_choice = !query.is_exact()
        || !view.is_restricted() && indexed.as_ref().is_some_and(Indexed::is_certain);
    let estimates = estimates(query, bound, filters, has_choice);
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
        is_certain: query.is_exact() && has_choice,
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
    let reason = if !has_choice {
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

/// About how many rows each part is left with. An exact scan that has nothing to weigh counts what is left: there an estimate
/// would only be read by people.
fn estimates(
    query: &Query,
    bound: &Bound,
    filters: &[PartFilter<'_>],
    has_choice: bool,
) -> Vec<f64> {
    let scan = scan_kind(query).name();
    let is_scan = query.plan.as_ref().map_or(!has_choice, |name| name == scan);
    let is_settled = query.is_exact() && bound.order.is_none() && is_scan;
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
