//! Probes lists until enough of the neighbourhood was seen.

use super::coder::CodedQuery;
use super::collect::Collector;
use super::reach::Reach;
use super::tune::Setting;
use super::{IvfAnswer, IvfIndex, IvfSearch};
use crate::index::IndexError;
use crate::index::flat::{self, FlatSearch, check_query};
use crate::vector::{Metric, RowSet, VectorSource};

/// Bytes of a row number in a list.
pub(super) const ROW_NUMBER_BYTES: u64 = 4;

/// Lists that are probed before the first candidates are compared at full precision: their distances tell which rows of the
/// later lists are worth a look.
pub(super) const FIRST_LISTS: usize = 2;

/// A predicate excludes more near the query than elsewhere when it leaves less than this part of the share it leaves in all.
const THINNED_SHARE: f64 = 0.6;

/// How many times as many lists as the caller's other way is worth are probed in all before a search gives up.
pub const LISTS_MAX_IN_ALL: usize = 2;

/// Allowed rows that have to be expected among the rows seen before their share says anything.
pub(super) const TELLING_ROWS: f64 = 16.0;

/// Lists ranked at once.
const RANKED_AT_ONCE: usize = 128;

/// A list and how far away its centroid is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RankedList {
    pub(super) list: u32,
    pub(super) estimate: f32,
}

/// What was visited so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    pub(super) visited: Vec<RankedList>,
    pub(super) lists_probed: usize,
    pub(super) rows_listed: usize,
    /// Rows whose codes were compared: those that are allowed, or all of a list.
    pub(super) rows_compared: usize,
    /// Rows that are allowed among those of the lists: counted, or about so many where all were compared.
    pub(super) rows_allowed: f64,
    /// Share of the rows of the very nearest lists that is allowed, once enough of them were seen to tell.
    pub(super) near_share: Option<f64>,
}

/// Lists in the order of their nearness, ranked as far as was asked.
struct Ranking {
    all: Vec<RankedList>,
    sorted: usize,
}

impl Ranking {
    fn new(index: &IvfIndex, coded: &CodedQuery) -> Self {
        let mut all = Vec::with_capacity(index.list_count());
        coded.weights.scan(index.lists.centroids.as_slice(), |list, estimate| {
            all.push(RankedList { list: list as u32, estimate });
        });
        Self { all, sorted: 0 }
    }

    /// The lists at places `from..to`, as far as there are so many.
    fn slice(&mut self, from: usize, to: usize) -> &[RankedList] {
        let by_estimate =
            |left: &RankedList, right: &RankedList| left.estimate.total_cmp(&right.estimate);
        let to = to.min(self.all.len());
        if to > self.sorted {
            let until = (to.max(self.sorted + RANKED_AT_ONCE)).min(self.all.len());
            let unsorted = &mut self.all[self.sorted..];
            let wanted = until - self.sorted;
            if wanted < unsorted.len() {
                unsorted.select_nth_unstable_by(wanted, by_estimate);
            }
            unsorted[..wanted].sort_unstable_by(by_estimate);
            self.sorted = until;
        }
        self.all.get(from..to).unwrap_or_default()
    }
}

impl IvfIndex {
    /// How far a query lies from the rows: the length to its nearest centroid in units of that list's radius. Under the inner product,
    /// where no length tells it, minus the cosine of the least angle to a centroid.
    pub(super) fn oddness(&self, coded: &CodedQuery, ranked: &[RankedList]) -> f64 {
        if self.coder.metric == Metric::Ip {
            let lengths = self.centroid_lengths();
            let cosine = |list: &RankedList| {
                let length = lengths.get(list.list as usize).filter(|length| **length > 0.0)?;
                Some(coded.gap(list.estimate) / f64::from(*length))
            };
            return ranked.iter().filter_map(cosine).reduce(f64::min).unwrap_or(0.0);
        }
        let Some(nearest) = ranked.first() else { return 0.0 };
        let radius = self.lists.radii.as_slice().get(nearest.list as usize).copied().unwrap_or(0.0);
        let gap = coded.gap(nearest.estimate);
        if radius > 0.0 { gap / f64::from(radius) } else { gap }
    }

    /// Lengths of the centroids, as their codes have them.
    fn centroid_lengths(&self) -> &[f32] {
        self.lists.lengths.get_or_init(|| {
            let codes = self.lists.centroids.as_slice().chunks_exact(self.coder.list_bytes);
            codes.map(|code| self.coder.centroid_length(code) as f32).collect()
        })
    }
}

/// Ranks all lists by their nearness.
pub(super) fn ranked_lists(index: &IvfIndex, coded: &CodedQuery) -> Vec<RankedList> {
    let mut ranking = Ranking::new(index, coded);
    ranking.slice(0, usize::MAX).to_vec()
}

/// A search whose parts were checked.
pub(super) struct Search<'a, 'b> {
    pub(super) index: &'a IvfIndex,
    pub(super) coded: &'a CodedQuery,
    setting: &'a Setting,
    pub(super) wish: &'a IvfSearch<'b>,
    /// Hits there should be, before the distance bound.
    wanted: usize,
    /// How far the query lies from the rows.
    oddness: f64,
    /// Whether nearly all sampled rows lie nearer.
    is_far: bool,
}

pub(super) fn search<K: Ord>(
    index: &IvfIndex,
    query: &[f32],
    vectors: &dyn VectorSource,
    search: &IvfSearch<'_>,
    key: impl Fn(u32) -> K,
) -> Result<IvfAnswer<K>, IndexError> {
    check(index, query, vectors, search.recall)?;
    let wanted = search.k.min(index.row_count());
    // Whoever names every list and wants all found gets them visited: it is how the lists are held against the exact scan.
    let through_all =
        search.recall >= 1.0 && search.probes.is_some_and(|probes| probes >= index.list_count());
    let coded = (wanted > 0 && (search.recall < 1.0 || through_all))
        .then(|| index.coder.list_query(query))
        .flatten();
    let Some(coded) = coded else {
        return exact(index, query, vectors, search, key);
    };
    let setting = index.setting(search.recall);
    let metric = index.coder.metric;
    let mut ranking = Ranking::new(index, &coded);
    // The first is the nearest once it was asked for.
    ranking.slice(0, 1);
    let oddness = index.oddness(&coded, &ranking.all);
    let is_far = oddness > index.lists.usual_oddness;
    let request = Search { index, coded: &coded, setting, wish: search, wanted, oddness, is_far };
    let margin = match (through_all, is_far) {
        (true, _) => f64::INFINITY,
        (false, true) => setting.far.margin * coded.sigma,
        (false, false) => setting.margin * coded.sigma,
    };
    let mut collector = Collector::new(query, vectors, metric, &coded, margin, wanted, &key);
    let mut walk = Walk::default();
    if !request.probe(&mut ranking, &mut walk, &mut collector) {
        return Ok(IvfAnswer::given_up(&walk));
    }
    if !collector.is_complete() {
        // Rarely: so many estimates are alike that too few were kept. Now that distances are known, none is left out.
        collector.begin_again();
        let visited = std::mem::take(&mut walk.visited);
        walk = Walk::default();
        request.visit(&visited, &mut walk, &mut collector);
        collector.settle();
    }
    let found = collector.top().len();
    if found < wanted && (walk.rows_listed < index.row_count() || found < walk.rows_compared) {
        // Hits are missing although not every allowed row was looked at: the lists do not hold what they should.
        return exact(index, query, vectors, search, &key);
    }
    let reranked = collector.reranked;
    let mut hits = collector.into_top().into_sorted();
    hits.retain(|(distance, _)| search.bound.is_none_or(|bound| *distance <= bound));
    Ok(IvfAnswer {
        hits,
        rows_scanned: walk.rows_compared as u64,
        rows_reranked: reranked as u64,
        lists_probed: walk.lists_probed as u64,
        bytes_read: bytes_read(index, &walk, reranked),
        exact: through_all,
        is_far,
        gave_up: false,
    })
}

impl<K> IvfAnswer<K> {
    fn given_up(walk: &Walk) -> Self {
        Self {
            hits: Vec::new(),
            rows_scanned: walk.rows_compared as u64,
            rows_reranked: 0,
            lists_probed: walk.lists_probed as u64,
            bytes_read: 0,
            exact: false,
            is_far: false,
            gave_up: true,
        }
    }
}

pub(super) fn check(
    index: &IvfIndex,
    query: &[f32],
    vectors: &dyn VectorSource,
    recall: f64,
) -> Result<(), IndexError> {
    let expected = index.coder.dimension;
    check_query(query, expected)?;
    if vectors.dimension() != expected {
        let given = vectors.dimension();
        return Err(IndexError::WrongDimension { what: "the indexed vectors", expected, given });
    }
    let expected = index.row_count();
    if vectors.count() != expected {
        let given = vectors.count();
        return Err(IndexError::WrongRows { what: "the set of vectors", expected, given });
    }
    if recall > 0.0 && recall <= 1.0 { Ok(()) } else { Err(IndexError::BadRecall { recall }) }
}

impl Search<'_, '_> {
    /// Probes lists until the hits are there; false when that takes more lists than the caller wants to pay for.
    fn probe<K: Ord, F: Fn(u32) -> K>(
        &self,
        ranking: &mut Ranking,
        walk: &mut Walk,
        collector: &mut Collector<'_, K, F>,
    ) -> bool {
        let all = self.index.list_count();
        let planned = self.setting.probes(self.oddness, self.wish.k as f64);
        let mut goal = self.wish.probes.unwrap_or(planned).clamp(1, all);
        if self.wish.probes.is_none() && self.is_too_much(0, goal) {
            return false;
        }
        while walk.lists_probed < goal && walk.lists_probed < all {
            let from = walk.lists_probed;
            let step = if from == 0 { FIRST_LISTS } else { goal - from };
            self.visit(ranking.slice(from, (from + step).min(goal)), walk, collector);
            collector.settle();
            if walk.lists_probed >= goal {
                goal = self.next_goal(walk, collector.top().len());
            }
            // The first lists tell already what the predicate leaves near the query: where that makes too many, the planned ones
            // are not gone through only to learn it again.
            let foreseen = self.foreseen(walk).map_or(goal, |lists| lists.max(goal));
            if self.is_too_much(walk.lists_probed, foreseen.min(all)) {
                return false;
            }
        }
        if self.wish.probes.is_some() || !(self.is_far || self.wish.allowed.is_some()) {
            return true;
        }
        let near = walk.near_share.unwrap_or(1.0);
        let is_thinned = near < THINNED_SHARE * self.wish.allowed_share;
        let reach = match (self.is_far, is_thinned) {
            (true, _) => self.setting.far.reach,
            (false, true) => self.setting.reach_thinned,
            (false, false) => self.setting.reach,
        };
        self.sweep(reach, ranking, walk, collector)
    }

    /// Lists that have to be probed after what was seen. No more than were probed already ends the search.
    ///
    /// Twice as many while hits are missing. Then, unless the caller chose the number, as many as the curve says for the
    /// share of rows that is allowed among those seen, but never more than twice as many before looking again.
    fn next_goal(&self, walk: &Walk, found: usize) -> usize {
        let twice = walk.lists_probed * 2;
        if found < self.wanted {
            return twice;
        }
        match self.wish.probes {
            Some(_) => walk.lists_probed,
            None => self.needed(walk).min(twice),
        }
    }

    /// Lists that hold as many allowed rows as are wanted, if all lists leave as many as those that were seen.
    fn needed(&self, walk: &Walk) -> usize {
        let rows_for_one_allowed = walk.rows_listed as f64 / walk.rows_allowed.max(1.0);
        self.setting.probes(self.oddness, self.wish.k as f64 * rows_for_one_allowed)
    }

    /// The same, once enough rows were compared for their share to mean something; none where the caller chose the number.
    fn foreseen(&self, walk: &Walk) -> Option<usize> {
        let is_telling = self.wish.probes.is_none() && walk.rows_allowed >= TELLING_ROWS;
        is_telling.then(|| self.needed(walk))
    }

    /// Whether going on from `probed` lists to `goal` takes longer than the caller's other way. What was spent is spent, so the
    /// lists to come count; but there is an end to it where they become more with every look.
    fn is_too_much(&self, probed: usize, goal: usize) -> bool {
        let (coming, most) = (goal.saturating_sub(probed), self.wish.lists_max);
        coming > most || (coming > 0 && goal > most.saturating_mul(LISTS_MAX_IN_ALL))
    }

    /// Probes those of the remaining lists that may hold a row nearer than the hits found so far; false when they are too
    /// many.
    fn sweep<K: Ord, F: Fn(u32) -> K>(
        &self,
        reach: Reach,
        ranking: &mut Ranking,
        walk: &mut Walk,
        collector: &mut Collector<'_, K, F>,
    ) -> bool {
        let radii = self.index.lists.radii.as_slice();
        let largest = radii.iter().fold(0.0f32, |most, &radius| most.max(radius));
        let mut place = walk.lists_probed;
        while let Some(farthest) = collector.top().bound() {
            let limit = self.coded.limit(farthest);
            let step = walk.lists_probed.max(8);
            let next = ranking.slice(place, place + step);
            let reachable: Vec<RankedList> = next
                .iter()
                .filter(|list| {
                    let radius = radii.get(list.list as usize).copied().unwrap_or(f32::INFINITY);
                    reach.covers(radius, self.coded.gap(list.estimate), limit)
                })
                .copied()
                .collect();
            let is_last = next
                .last()
                .is_none_or(|list| !reach.covers(largest, self.coded.gap(list.estimate), limit));
            place += next.len();
            if self.is_too_much(walk.lists_probed, walk.lists_probed + reachable.len()) {
                return false;
            }
            self.visit(&reachable, walk, collector);
            collector.settle();
            if is_last {
                break;
            }
        }
        true
    }
}

fn bytes_read(index: &IvfIndex, walk: &Walk, reranked: usize) -> u64 {
    let vector_bytes = (index.coder.dimension * size_of::<f32>()) as u64;
    (index.list_count() + walk.rows_compared) as u64 * index.coder.list_bytes as u64
        + reranked as u64 * vector_bytes
        + walk.rows_listed as u64 * ROW_NUMBER_BYTES
}

/// Compares every allowed row at full precision.
fn exact<K: Ord>(
    index: &IvfIndex,
    query: &[f32],
    vectors: &dyn VectorSource,
    search: &IvfSearch<'_>,
    key: impl Fn(u32) -> K,
) -> Result<IvfAnswer<K>, IndexError> {
    let metric = index.coder.metric;
    let wish = FlatSearch { metric, k: Some(search.k), bound: search.bound };
    let key = |row: usize| key(row as u32);
    let answer = match search.allowed {
        Some(allowed) => {
            flat::search(query, vectors, allowed_rows(allowed, vectors.count()), &wish, key)?
        }
        None => flat::search(query, vectors, 0..vectors.count(), &wish, key)?,
    };
    Ok(IvfAnswer {
        hits: answer.hits,
        rows_scanned: answer.rows_scanned,
        rows_reranked: answer.rows_scanned,
        lists_probed: 0,
        bytes_read: answer.bytes_read,
        exact: true,
        is_far: false,
        gave_up: false,
    })
}

/// The rows of a set, ascending.
pub(super) fn allowed_rows(allowed: &dyn RowSet, count: usize) -> Vec<usize> {
    let span = allowed.span();
    let rows: Vec<u32> = (span.start..span.end.min(count as u32)).collect();
    let mut keep = Vec::new();
    allowed.select(&rows, &mut keep);
    keep.into_iter().map(|place| (place + span.start) as usize).collect()
}
