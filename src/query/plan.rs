//! Chooses how the nearest survivors are found.
//!
//! Costs are bytes touched: near the memory bus they are time. A scan touches the survivors' vectors; an
//! inverted-file search touches the codes of the lists it probes, and probes more of them the fewer rows pass.

use std::fmt;
use std::str::FromStr;

use super::bind::Bound;
use super::error::QueryError;
use super::request::Query;
use super::survivors::{Estimate, Survivors};
use crate::engine::{CollectionView, PartKind, PartVectors};

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
    /// Inverted lists under a bitmap of survivors, then exact re-rank.
    FilteredIvf,
    /// Inverted lists, then exact re-rank.
    Ivf,
}

impl PlanKind {
    const ALL: [Self; 6] = [
        Self::Listing,
        Self::RegionScan,
        Self::SurvivorScan,
        Self::FullScan,
        Self::FilteredIvf,
        Self::Ivf,
    ];

    /// The name in `--explain` and in the statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::RegionScan => "region-scan",
            Self::SurvivorScan => "survivor-scan",
            Self::FullScan => "full-scan",
            Self::FilteredIvf => "filtered-ivf",
            Self::Ivf => "ivf",
        }
    }

    /// Whether the plan goes through the index.
    pub(super) fn uses_index(self) -> bool {
        match self {
            Self::FilteredIvf | Self::Ivf => true,
            Self::Listing | Self::RegionScan | Self::SurvivorScan | Self::FullScan => false,
        }
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
            why: "there is no such plan (region-scan, survivor-scan, full-scan, filtered-ivf, ivf)",
        })
    }
}

/// A plan that was weighed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Considered {
    pub(super) kind: PlanKind,
    pub(super) cost_bytes: f64,
}

/// The chosen plan and why.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) kind: PlanKind,
    pub(super) why: String,
    pub(super) considered: Vec<Considered>,
    pub(super) estimate: Estimate,
    forced: bool,
}

/// Chooses a plan from the estimate, before any row is tested.
pub(super) fn choose(
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    estimate: &Estimate,
) -> Result<Plan, QueryError> {
    let considered = consider(view, query, bound, estimate.survivors);
    let plan = |kind, why: String, forced| Plan {
        kind,
        why,
        considered: considered.clone(),
        estimate: estimate.clone(),
        forced,
    };
    if let Some(name) = &query.plan {
        let kind: PlanKind = name.parse()?;
        check_forced(view, bound, kind)?;
        return Ok(plan(kind, "it was asked for".to_owned(), true));
    }
    if bound.targets.is_empty() {
        return Ok(plan(PlanKind::Listing, "there is no vector term".to_owned(), true));
    }
    let (kind, why) = cheapest(query, bound, &considered);
    Ok(plan(kind, why, false))
}

/// Chooses again with the true count of survivors, which is known by now.
pub(super) fn revise(
    plan: Plan,
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    survivors: &[Survivors],
) -> Result<Plan, QueryError> {
    if plan.forced {
        return Ok(plan);
    }
    let truth: usize = survivors.iter().map(Survivors::count).sum();
    let considered = consider(view, query, bound, truth as f64);
    let (kind, why) = cheapest(query, bound, &considered);
    let why = if kind == plan.kind {
        why
    } else {
        format!("{why}; the estimate had favoured {}", plan.kind)
    };
    Ok(Plan { kind, why, considered, ..plan })
}

fn cheapest(query: &Query, bound: &Bound, considered: &[Considered]) -> (PlanKind, String) {
    let scan = considered.first().map_or(PlanKind::FullScan, |first| first.kind);
    if query.exact {
        return (scan, "the answer has to be exact".to_owned());
    }
    if bound.targets.len() > 1 {
        return (scan, "several spaces are weighed together".to_owned());
    }
    if query.k.is_none_or(|k| k == 0) {
        return (scan, "every object within a distance is asked for".to_owned());
    }
    let Some(best) =
        considered.iter().min_by(|left, right| left.cost_bytes.total_cmp(&right.cost_bytes))
    else {
        return (scan, "nothing else fits".to_owned());
    };
    let why = match considered.len() {
        1 => "the space has no index".to_owned(),
        _ => format!("it touches the fewest bytes ({})", readable(best.cost_bytes)),
    };
    (best.kind, why)
}

fn check_forced(view: &CollectionView, bound: &Bound, kind: PlanKind) -> Result<(), QueryError> {
    let refused = |why| Err(QueryError::BadPlan { plan: kind.name().to_owned(), why });
    if (kind == PlanKind::Listing) != bound.targets.is_empty() {
        return refused("a listing is for queries without a vector term, and only for those");
    }
    if kind.uses_index() {
        let [target] = bound.targets.as_slice() else {
            return refused("an index searches one space");
        };
        let segment = view.parts().into_iter().find(|live| live.part().kind() == PartKind::Segment);
        let vectors = segment.and_then(|live| live.part().vectors(target.space.id));
        if vectors.and_then(PartVectors::index).is_none() {
            return refused("the space has no index; build one, or let the planner choose");
        }
    }
    Ok(())
}

/// The scan that fits the query, and the index search when there is an index.
fn consider(
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    survivors: f64,
) -> Vec<Considered> {
    let filtered = query.region.is_some() || query.predicate.is_some();
    let scan = match (&query.region, &query.predicate) {
        (Some(_), _) => PlanKind::RegionScan,
        (None, Some(_)) => PlanKind::SurvivorScan,
        (None, None) => PlanKind::FullScan,
    };
    let vector_bytes: usize =
        bound.targets.iter().map(|target| target.space.dimension * size_of::<f32>()).sum();
    let mut considered =
        vec![Considered { kind: scan, cost_bytes: survivors * vector_bytes as f64 }];
    if let [target] = bound.targets.as_slice() {
        let kind = if filtered { PlanKind::FilteredIvf } else { PlanKind::Ivf };
        let cost = view.parts().into_iter().find_map(|live| {
            let vectors = live.part().vectors(target.space.id)?;
            ivf_cost_bytes(vectors, bound.limit, survivors / live.part().row_count().max(1) as f64)
        });
        considered.extend(cost.map(|cost_bytes| Considered { kind, cost_bytes }));
    }
    considered
}

/// Bytes that an index search touches when a share of the rows passes.
fn ivf_cost_bytes(vectors: &PartVectors, k: usize, share: f64) -> Option<f64> {
    // Random reads of the re-rank, in cache lines' worth of sequential bytes.
    const RERANK_PENALTY: f64 = 4.0;
    let stats = vectors.index()?.stats();
    let lists = stats.lists.max(1) as f64;
    let probes = stats.default_probes.max(1) as f64;
    let widened = (probes / share.clamp(1e-6, 1.0)).min(lists);
    let codes = vectors.count() as f64 * widened / lists * vectors.dimension() as f64;
    let coarse = lists * vectors.dimension() as f64 * 4.0;
    let rerank = (k * 4).max(64) as f64 * vectors.dimension() as f64 * 4.0 * RERANK_PENALTY;
    Some(codes + coarse + rerank)
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
