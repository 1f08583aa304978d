//! Prices every way to the nearest survivors, and takes the cheapest.

use super::super::bind::Bound;
use super::super::filter::{PartFilter, Source};
use super::super::request::Query;
use super::{Considered, Indexed, Plan, PlanKind, VECTOR_NS, readable_ns};
use crate::engine::{CodeCost, CostModel};
use crate::index::MOST_SHARE;

/// Handing on one row of a walk along the sky that has to be tested, in nanoseconds.
const HAND_ON_NS: f64 = 2.0;

/// By how much of its price a search of the lists is made dearer when ways are compared, where a filter leaves nearly nothing; by
/// less where it leaves more. The price assumes that the filter has nothing to do with the vectors. Most filters have, and then more
/// lists are needed, while a scan takes what it takes.
const LISTS_DOUBT: f64 = 0.5;

/// Bytes of a position, as the test of a region reads it.
const POSITION_BYTES: u64 = 8;

/// Testing one row of a long run by one condition, in nanoseconds: 64 at a time.
const WORD_TEST_NS: f64 = 0.25;

/// Reading one vector by a call of the system, in nanoseconds.
const READ_NS: f64 = 700.0;

/// Prices every way and takes the cheapest. Lists are no way where the answer has to be exact.
pub(super) fn weigh(
    plan: &mut Plan,
    cost: &CostModel,
    query: &Query,
    bound: &Bound,
    filter: &PartFilter<'_>,
    indexed: &Indexed<'_>,
) {
    let survivors = plan.estimates.get(indexed.place).copied().unwrap_or(plan.survivors);
    let recall = Some(query.recall).filter(|_| !query.is_exact());
    let prices = Prices { cost, filter, indexed, k: bound.limit, recall, survivors };
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
    let lists = recall.map(|recall| prices.lists_ns(recall));
    let rows = indexed.index.stats().rows.max(1) as f64;
    let doubt = 1.0 + LISTS_DOUBT * (1.0 - survivors / rows).clamp(0.0, 1.0);
    let weight = |way: &Considered| way.cost_ns * if way.kind.uses_lists() { doubt } else { 1.0 };
    let by_cost = |left: &&Considered, right: &&Considered| weight(left).total_cmp(&weight(right));
    let scan = plan.considered.iter().min_by(by_cost).cloned();
    if let Some((cost_ns, _)) = lists {
        let kind = if filter.is_open() { PlanKind::Ivf } else { PlanKind::FilteredIvf };
        plan.considered.push(Considered { kind, source: Source::Sky, cost_ns });
    }
    let Some(best) = plan.considered.iter().min_by(by_cost).cloned() else { return };
    let price = readable_ns(best.cost_ns);
    plan.why = match (recall, best.kind.uses_index()) {
        (Some(_), _) => format!("it is expected to take the least time ({price})"),
        (None, true) => format!(
            "the answer has to be exact, and codes tell for certain which rows can be none of it ({price})"
        ),
        (None, false) => format!("the answer has to be exact ({price})"),
    };
    if let (Some((_, ns_per_list)), true) = (lists, best.kind.uses_lists())
        && let Some(scan) = scan.filter(|_| !filter.is_everything())
    {
        // LISTS_MAX_IN_ALL times what the scan would have taken is about the most that is lost by having tried.
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
    /// The recall wished for; none where the answer has to be exact.
    recall: Option<f64>,
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

    /// Testing one row anywhere, but for a condition that it is known to satisfy.
    fn tests_ns(&self, known: Option<usize>) -> f64 {
        let rows = self.filter.live().part().row_count() as u64;
        let tested = self.filter.tested_bytes(known);
        let tests: f64 = tested.map(|bytes| self.cost.test_of_list(bytes)).sum();
        let regions = self.filter.test_count() - self.filter.condition_count();
        tests + regions as f64 * self.cost.test_of_list(rows * POSITION_BYTES)
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
                rows * (self.tests_ns(Some(place)) + HAND_ON_NS)
            }
            Source::Visible => {
                let rows = self.filter.visible_count().unwrap_or_default() as f64;
                rows * (self.tests_ns(None) + HAND_ON_NS)
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
        let index = self.indexed.index;
        let reranked = match self.recall {
            Some(recall) => index.expected(self.k, recall, self.survivors).reranked,
            None => index.expected_certain(self.k, self.survivors),
        };
        // Rows are met in no order of nearness: about so many more look near at first.
        let doublings = (self.survivors / 2048.0).max(1.0).log2() + 1.0;
        self.cost.search_ns + looking + self.rerank_ns(reranked * doublings)
    }

    /// Probing lists, and what one list more costs.
    fn lists_ns(&self, recall: f64) -> (f64, f64) {
        let expected = self.indexed.index.expected(self.k, recall, self.survivors);
        let stats = self.indexed.index.stats();
        let cost = self.code_cost();
        let code = cost.code_ns + stats.list_bytes as f64 * cost.byte_ns;
        let share = (self.survivors / stats.rows as f64).min(1.0);
        let tests = self.tests_ns(None);
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
