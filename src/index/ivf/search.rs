//! Probes lists until enough of the neighbourhood was seen, and re-ranks what they hold.

use super::reach::QueryScale;
use super::{CANDIDATES_MIN, IvfAnswer, IvfSearch, ProbedLists};
use crate::index::IndexError;
use crate::index::faiss::RankedList;
use crate::index::flat::{self, FlatSearch, check_query};
use crate::vector::{Metric, RowBitmap, TopK, VectorView};

/// Bytes of a row number in a list.
const ROW_NUMBER_BYTES: u64 = 8;

/// What was visited so far.
#[derive(Debug, Clone, Copy, Default)]
struct Walk {
    lists_probed: usize,
    rows_listed: usize,
    rows_compared: usize,
    rows_reranked: usize,
}

/// A search whose lengths were checked.
struct Request<'a> {
    query: &'a [f32],
    vectors: VectorView<'a>,
    search: &'a IvfSearch<'a>,
    /// Rows allowed.
    allowed_count: usize,
    /// Hits there will be, before the distance bound.
    wanted: usize,
    /// Rows that each round re-ranks at most.
    candidates: usize,
}

impl ProbedLists {
    pub(super) fn search<K: Ord>(
        &self,
        query: &[f32],
        vectors: VectorView<'_>,
        search: &IvfSearch<'_>,
        key: impl Fn(u32) -> K,
    ) -> Result<IvfAnswer<K>, IndexError> {
        self.check(query, vectors, search.allowed)?;
        let allowed_count = search.allowed.map_or(self.raw.rows(), RowBitmap::count);
        let wanted = search.k.min(allowed_count);
        let candidates =
            wanted.saturating_mul(self.refine_factor).max(CANDIDATES_MIN).min(allowed_count);
        let request = Request { query, vectors, search, allowed_count, wanted, candidates };
        // Whoever names every list wants them visited: it is how the lists are held against the exact scan.
        let is_everything = search.probes.is_some_and(|probes| probes >= self.raw.lists());
        if wanted == 0 || (!is_everything && self.exact_scan_reads_less(&request)) {
            return exact(&request, self.metric, key);
        }
        self.probe(&request, key)
    }

    fn check(
        &self,
        query: &[f32],
        vectors: VectorView<'_>,
        allowed: Option<&RowBitmap>,
    ) -> Result<(), IndexError> {
        check_query(query, self.raw.dimension())?;
        let (expected, given) = (self.raw.dimension(), vectors.dimension());
        if expected != given {
            return Err(IndexError::WrongDimension {
                what: "the indexed vectors",
                expected,
                given,
            });
        }
        let expected = self.raw.rows();
        let wrong = |what, given| IndexError::WrongRows { what, expected, given };
        if vectors.count() != expected {
            return Err(wrong("the set of vectors", vectors.count()));
        }
        match allowed {
            Some(allowed) if allowed.len() != expected => Err(wrong("the bitmap", allowed.len())),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether comparing every allowed row at full precision reads fewer bytes than probing is expected to. It is exact,
    /// too, so it wins a tie.
    fn exact_scan_reads_less(&self, request: &Request<'_>) -> bool {
        if request.allowed_count <= request.candidates {
            return true;
        }
        if request.search.probes.is_some() {
            return false;
        }
        let (rows, lists) = (self.raw.rows() as f64, self.raw.lists() as f64);
        let vector_bytes = size_of_val(request.query) as f64;
        let allowed_share = request.allowed_count as f64 / rows;
        let probed_share =
            self.curve.probes(request.search.k as f64 / allowed_share) as f64 / lists;
        let listed = probed_share * rows;
        let probing = lists * vector_bytes
            + listed * ROW_NUMBER_BYTES as f64
            + listed * allowed_share * self.raw.code_bytes() as f64
            + request.candidates as f64 * vector_bytes;
        request.allowed_count as f64 * vector_bytes <= probing
    }

    fn probe<K: Ord>(
        &self,
        request: &Request<'_>,
        key: impl Fn(u32) -> K,
    ) -> Result<IvfAnswer<K>, IndexError> {
        let search = request.search;
        let order = self.raw.rank_lists(request.query)?;
        let mut top = TopK::new(request.wanted);
        let mut walk = Walk::default();
        let mut goal = search.probes.unwrap_or_else(|| self.curve.probes(search.k as f64)).max(1);
        let mut rest = &order[..];
        while walk.lists_probed < goal && !rest.is_empty() {
            let (next, later) = rest.split_at(rest.len().min(goal - walk.lists_probed));
            self.visit(request, next, &mut walk, &mut top, &key)?;
            rest = later;
            goal = self.next_goal(request, &walk, top.len());
        }
        if search.probes.is_none() {
            self.sweep(request, rest, &mut walk, &mut top, &key)?;
        }
        if top.len() < request.wanted {
            // Distances that overflow in single precision are no hits to FAISS.
            return exact(request, self.metric, key);
        }
        let mut hits = top.into_sorted();
        hits.retain(|(distance, _)| search.bound.is_none_or(|bound| *distance <= bound));
        Ok(IvfAnswer {
            hits,
            rows_scanned: walk.rows_compared as u64,
            lists_probed: walk.lists_probed as u64,
            bytes_read: self.bytes_read(&walk),
            // Every list visited and every allowed row re-ranked: nothing was left to the codes.
            exact: walk.lists_probed == self.raw.lists()
                && request.candidates == request.allowed_count,
        })
    }

    /// Probes those of the remaining lists that may hold a row nearer than the hits found so far.
    fn sweep<K: Ord>(
        &self,
        request: &Request<'_>,
        rest: &[RankedList],
        walk: &mut Walk,
        top: &mut TopK<K>,
        key: &impl Fn(u32) -> K,
    ) -> Result<(), IndexError> {
        let scale = QueryScale::new(self.metric, request.query);
        let mut rest = rest.to_vec();
        while let Some(farthest) = top.bound() {
            let limit = scale.limit(farthest);
            rest.retain(|list| self.reach.covers(list.list, scale.gap(list.closeness), limit));
            if rest.is_empty() {
                break;
            }
            let later = rest.split_off(rest.len().min(walk.lists_probed.max(1)));
            self.visit(request, &rest, walk, top, key)?;
            rest = later;
        }
        Ok(())
    }

    /// Probes some lists and re-ranks the best of their rows.
    fn visit<K: Ord>(
        &self,
        request: &Request<'_>,
        lists: &[RankedList],
        walk: &mut Walk,
        top: &mut TopK<K>,
        key: &impl Fn(u32) -> K,
    ) -> Result<(), IndexError> {
        let (allowed, k) = (request.search.allowed, request.candidates);
        let scanned = self.raw.scan(request.query, lists, allowed, k)?;
        for &row in &scanned.candidates {
            let rows = request.vectors.count();
            let vector = request
                .vectors
                .row(row as usize)
                .ok_or(IndexError::NoSuchRow { row: row as usize, rows })?;
            top.offer(self.metric.distance(request.query, vector), || key(row));
        }
        walk.lists_probed += lists.len();
        walk.rows_listed += scanned.rows_listed;
        walk.rows_compared += scanned.rows_compared;
        walk.rows_reranked += scanned.candidates.len();
        Ok(())
    }

    /// Lists that have to be probed after what was seen. No more than were probed already ends the search.
    ///
    /// Twice as many while hits are missing. Then, unless the caller chose the number, as many as the curve says for the
    /// share of rows that is allowed among those seen, but never more than twice as many before looking again.
    fn next_goal(&self, request: &Request<'_>, walk: &Walk, found: usize) -> usize {
        let twice = walk.lists_probed * 2;
        if found < request.wanted {
            return twice;
        }
        if request.search.probes.is_some() {
            return walk.lists_probed;
        }
        let rows_for_one_allowed = walk.rows_listed as f64 / walk.rows_compared.max(1) as f64;
        let depth = request.search.k as f64 * rows_for_one_allowed;
        self.curve.probes(depth).min(twice)
    }

    fn bytes_read(&self, walk: &Walk) -> u64 {
        let vector_bytes = (self.raw.dimension() * size_of::<f32>()) as u64;
        (self.raw.lists() + walk.rows_reranked) as u64 * vector_bytes
            + walk.rows_compared as u64 * self.raw.code_bytes() as u64
            + walk.rows_listed as u64 * ROW_NUMBER_BYTES
    }
}

/// Compares every allowed row at full precision.
fn exact<K: Ord>(
    request: &Request<'_>,
    metric: Metric,
    key: impl Fn(u32) -> K,
) -> Result<IvfAnswer<K>, IndexError> {
    let search = request.search;
    let wish = FlatSearch { metric, k: Some(request.wanted), bound: search.bound };
    let key = |row: usize| key(row as u32);
    let answer = if let Some(allowed) = search.allowed {
        flat::search(request.query, request.vectors, allowed.iter(), &wish, key)?
    } else {
        flat::search(request.query, request.vectors, 0..request.vectors.count(), &wish, key)?
    };
    Ok(IvfAnswer {
        hits: answer.hits,
        rows_scanned: answer.rows_scanned,
        lists_probed: 0,
        bytes_read: answer.bytes_read,
        exact: true,
    })
}
