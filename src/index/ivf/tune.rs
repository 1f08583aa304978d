//! What was learned about searching, for one recall wish.

use super::coder::{CodedQuery, Coder};
use super::curve::ProbeCurve;
use super::parallel::for_each_in_parallel;
use super::reach::Reach;
use super::strangers::Far;
use crate::index::recall::{Recall, RecallMeter};
use crate::vector::{Distance, VectorView};

use super::{RECALL_WISH_DEFAULT, RECALL_WISH_MAX};

/// Recall wishes that settings are measured for.
pub(super) const WISHES: [f64; 5] = [0.8, 0.9, 0.95, RECALL_WISH_DEFAULT, RECALL_WISH_MAX];

/// Shares of the sampled queries, nearest to a centroid first, that have a curve of their own.
pub(super) const SHARES: [f64; 4] = [0.5, 0.3, 0.15, 0.05];

/// Margins that are tried, in standard errors.
const MARGINS: [f64; 12] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0];

/// How searches are made that aim at a recall.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// The recall aimed at.
    pub(super) wish: f64,
    /// Lists to probe, for queries whose nearest centroid is at most so far away: the farther a query lies from where the rows
    /// are dense, the more lists share its neighbours. The last holds for all that are farther.
    pub(super) curves: Vec<(f64, ProbeCurve)>,
    /// Which lists beyond may hold a hit.
    pub(super) reach: Reach,
    /// The same where a predicate excludes more near the query than elsewhere: hits then lie behind a gap.
    pub(super) reach_thinned: Reach,
    /// What differs for queries that lie farther from the rows than nearly all of them.
    pub(super) far: Far,
    /// Standard errors of an estimate within which a row is compared at full precision.
    pub(super) margin: f64,
    /// Rows compared at full precision by a search for ten.
    pub(super) reranked: f64,
    /// Recall@10 of searches with this setting.
    pub(super) recall: Recall,
}

impl Setting {
    /// Lists to probe for a depth, for a query whose nearest centroid is `gap` away.
    pub(super) fn probes(&self, gap: f64, depth: f64) -> usize {
        let fits = self.curves.iter().find(|(farthest, _)| gap <= *farthest);
        fits.or(self.curves.last()).map_or(usize::MAX, |(_, curve)| curve.probes(depth))
    }

    /// The same, for queries in general.
    pub(super) fn probes_expected(&self, depth: f64) -> f64 {
        let shares = self.curves.iter().zip(SHARES);
        shares.map(|((_, curve), share)| share * curve.probes(depth) as f64).sum()
    }
}

/// Queries and their true neighbours, nearest first.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// One after the other.
    pub(super) queries: Vec<f32>,
    /// The row that a query is, which is none of its own neighbours.
    pub(super) own_rows: Vec<Option<u32>>,
    pub(super) neighbours: Vec<Vec<(Distance, u32)>>,
}

impl Truth {
    pub(super) fn query(&self, place: usize, dimension: usize) -> &[f32] {
        self.queries.get(place * dimension..(place + 1) * dimension).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.neighbours.len()
    }
}

/// What a margin costs and gives, when the rows around each query are all looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MarginOutcome {
    pub(super) margin: f64,
    pub(super) reranked: f64,
}

/// A query and the estimates of its true neighbours.
struct Estimated {
    coded: CodedQuery,
    /// In the order of the neighbours.
    of_neighbours: Vec<f32>,
    /// Numbers of the neighbours, the least estimate first: the order in which a search meets them.
    order: Vec<u32>,
}

impl Estimated {
    fn new(coded: CodedQuery, of_neighbours: Vec<f32>) -> Self {
        let mut order: Vec<u32> = (0..of_neighbours.len() as u32).collect();
        let estimate = |number: u32| of_neighbours[number as usize];
        order.sort_unstable_by(|&left, &right| estimate(left).total_cmp(&estimate(right)));
        Self { coded, of_neighbours, order }
    }
}

/// Estimates of the true neighbours of every query; none of a query that single precision cannot hold.
pub(super) struct Estimates(Vec<Option<Estimated>>);

impl Estimates {
    /// Codes the nearest `depth` neighbours of the queries and estimates them.
    pub(super) fn of_vectors(
        coder: &Coder,
        vectors: VectorView<'_>,
        truth: &Truth,
        depth: usize,
        threads: usize,
    ) -> Self {
        Self(for_each_in_parallel(truth.len(), threads, |place| {
            let coded = coder.query(truth.query(place, coder.dimension))?;
            let neighbours = truth.neighbours[place].iter().take(depth);
            let (mut centred, mut rotated, mut codes) = (Vec::new(), Vec::new(), Vec::new());
            for vector in neighbours.filter_map(|&(_, row)| vectors.row(row as usize)) {
                coder.rotate(vector, &mut centred, &mut rotated);
                coder.encode(coder.constant(vector, &centred), &rotated, &mut codes);
            }
            let mut of_neighbours = Vec::new();
            coded.weights.scan(&codes, |_, estimate| of_neighbours.push(estimate));
            Some(Estimated::new(coded, of_neighbours))
        }))
    }

    /// Estimates all neighbours of the queries by the codes of all rows.
    pub(super) fn of_codes(coder: &Coder, codes: &[u8], truth: &Truth, threads: usize) -> Self {
        Self(for_each_in_parallel(truth.len(), threads, |place| {
            let coded = coder.query(truth.query(place, coder.dimension))?;
            let rows: Vec<u32> = truth.neighbours[place].iter().map(|&(_, row)| row).collect();
            let mut of_neighbours = vec![f32::INFINITY; rows.len()];
            coded.weights.gather(codes, &rows, |number, estimate| of_neighbours[number] = estimate);
            Some(Estimated::new(coded, of_neighbours))
        }))
    }

    /// The least margin with which enough of the nearest are compared at full precision, for each number of them that is judged,
    /// and the rows that the first of these takes; `None` when no margin is enough.
    pub(super) fn least_margin(
        &self,
        truth: &Truth,
        judged: &[usize],
        target: f64,
    ) -> Option<MarginOutcome> {
        MARGINS.iter().find_map(|&margin| {
            let mut outcome = None;
            for &depth in judged {
                let (recall, reranked) = self.with_margin(truth, depth, margin);
                if !recall.is_some_and(|recall| recall.reaches(target)) {
                    return None;
                }
                outcome.get_or_insert(MarginOutcome { margin, reranked });
            }
            outcome
        })
    }

    /// Recall of the nearest `depth` with a margin, and rows compared at full precision for a query.
    fn with_margin(&self, truth: &Truth, depth: usize, margin: f64) -> (Option<Recall>, f64) {
        let mut meter = RecallMeter::default();
        let mut reranked = 0;
        for (place, neighbours) in truth.neighbours.iter().enumerate() {
            let Some(Some(estimated)) = self.0.get(place) else { continue };
            let (found, seen) = reranking(estimated, neighbours, depth, margin);
            meter.push(found, depth.min(neighbours.len()));
            reranked += seen;
        }
        (meter.recall(), reranked as f64 / truth.len().max(1) as f64)
    }
}

/// Goes through the neighbours of one query as a search would: in the order of their estimates, until the next is too far.
/// Returns how many of the nearest `depth` were met, and how many rows in all.
fn reranking(
    estimated: &Estimated,
    neighbours: &[(Distance, u32)],
    depth: usize,
    margin: f64,
) -> (usize, usize) {
    let Estimated { coded, of_neighbours, order } = estimated;
    let mut nearest: Vec<usize> = Vec::with_capacity(depth + 1);
    let mut seen = 0;
    for neighbour in order.iter().map(|&number| number as usize) {
        if let (Some(&last), true) = (nearest.last(), nearest.len() >= depth) {
            let limit = coded.estimate_of(neighbours[last].0) + margin * coded.sigma;
            if f64::from(of_neighbours[neighbour]) > limit {
                break;
            }
        }
        seen += 1;
        // Neighbours are numbered by their distance.
        let place = nearest.partition_point(|&other| other < neighbour);
        nearest.insert(place, neighbour);
        nearest.truncate(depth);
    }
    let farthest = neighbours.get(depth.min(neighbours.len()).saturating_sub(1));
    let found = nearest
        .iter()
        .filter(|&&neighbour| farthest.is_some_and(|last| neighbours[neighbour].0 <= last.0))
        .count();
    (found, seen)
}
