//! Goes through the rows of lists.
//!
//! Lists lie anywhere in memory, and are short: what a list holds is asked for while the one before is compared.

use super::collect::Collector;
use super::search::{FIRST_LISTS, RankedList, Search, TELLING_ROWS, Walk};
use crate::vector::{RowSet, prefetch_all};

/// Row numbers of a list that are asked for ahead; of longer lists the processor reads on by itself.
const ROWS_ASKED: usize = 512;

/// Share of allowed rows from which on all codes of a list are compared, one after the other, and only the rows that look near are
/// asked whether they are allowed. With half of them allowed, asking first is still a tenth quicker (GloVe, Zen 5).
pub const MOST_SHARE: f64 = 0.8;

/// Rows of such a list that are asked nevertheless, to learn what share of it is allowed.
const ASKED_ROWS: usize = 16;

/// A list that is about to be looked at.
struct Listed<'a> {
    /// Its row numbers, cut to the range in which allowed rows lie.
    rows: &'a [u32],
    codes: &'a [u8],
    /// Places in `rows` of those that are compared, where not all are.
    keep: Option<Vec<u32>>,
    /// Rows of the whole list.
    length: usize,
}

/// Rows that look near, and whose set has to be asked.
#[derive(Default)]
struct Doubtful {
    rows: Vec<u32>,
    estimates: Vec<f32>,
    allowed: Vec<u32>,
}

impl Search<'_, '_> {
    /// Estimates the allowed rows of some lists.
    pub(super) fn visit<K: Ord, F: Fn(u32) -> K>(
        &self,
        lists: &[RankedList],
        walk: &mut Walk,
        collector: &mut Collector<'_, K, F>,
    ) {
        let (mut spare, mut doubtful) = (Vec::new(), Doubtful::default());
        let mut coming = lists.first().map(|list| self.listed(*list, Vec::new()));
        for (place, list) in lists.iter().enumerate() {
            if place > 0 && place % FIRST_LISTS == 0 && collector.top().bound().is_none() {
                collector.settle();
            }
            let Some(listed) = coming.take() else { break };
            if let Some(later) = lists.get(place + 2) {
                self.ask_for_rows(*later);
            }
            coming =
                lists.get(place + 1).map(|next| self.listed(*next, std::mem::take(&mut spare)));
            walk.rows_listed += listed.length;
            walk.lists_probed += 1;
            walk.visited.push(*list);
            let Some(keep) = &listed.keep else {
                let next = coming.as_ref().map_or(&[][..], |next| next.codes);
                self.compare_all(&listed, next, &mut doubtful, walk, collector);
                continue;
            };
            walk.rows_allowed += keep.len() as f64;
            self.learn_share(walk);
            walk.rows_compared += keep.len();
            let (rows, limit) = (listed.rows, collector.threshold());
            self.coded.weights.gather_below(listed.codes, keep, limit, |place, estimate| {
                let row = keep.get(place).and_then(|&place| rows.get(place as usize));
                row.map_or(limit, |&row| collector.push(estimate, row))
            });
            spare = listed.keep.unwrap_or_default();
        }
    }

    /// Estimates every row of a list, and asks of those that look near whether they are allowed.
    fn compare_all<K: Ord, F: Fn(u32) -> K>(
        &self,
        listed: &Listed<'_>,
        next: &[u8],
        doubtful: &mut Doubtful,
        walk: &mut Walk,
        collector: &mut Collector<'_, K, F>,
    ) {
        let Listed { rows, codes, .. } = *listed;
        let (weights, limit) = (&self.coded.weights, collector.threshold());
        walk.rows_compared += rows.len();
        let Some(allowed) = self.wish.allowed else {
            walk.rows_allowed += rows.len() as f64;
            return weights.scan_below(codes, next, limit, |place, estimate| {
                rows.get(place).map_or(limit, |&row| collector.push(estimate, row))
            });
        };
        walk.rows_allowed += doubtful.share(rows, allowed) * rows.len() as f64;
        self.learn_share(walk);
        doubtful.clear();
        weights.scan_below(codes, next, limit, |place, estimate| {
            if let Some(&row) = rows.get(place) {
                doubtful.rows.push(row);
                doubtful.estimates.push(estimate);
            }
            limit
        });
        allowed.select(&doubtful.rows, &mut doubtful.allowed);
        for &place in &doubtful.allowed {
            let place = place as usize;
            if let (Some(&row), Some(&estimate)) =
                (doubtful.rows.get(place), doubtful.estimates.get(place))
            {
                collector.push(estimate, row);
            }
        }
    }

    /// Notes the share of the first rows that is allowed, once these are enough to tell.
    fn learn_share(&self, walk: &mut Walk) {
        let expected = walk.rows_listed as f64 * self.wish.allowed_share;
        if walk.near_share.is_none() && expected >= TELLING_ROWS {
            walk.near_share = Some(walk.rows_allowed / walk.rows_listed as f64);
        }
    }

    /// What a list holds, and which of its rows are compared where not all are; `keep` is emptied and used again.
    fn listed(&self, list: RankedList, mut keep: Vec<u32>) -> Listed<'_> {
        let width = self.index.coder.list_bytes;
        let lists = &self.index.lists;
        let span = lists.span(list.list as usize);
        let rows = &lists.rows.as_slice()[span.clone()];
        let codes = lists.codes.as_slice();
        let codes = codes.get(span.start * width..span.end * width).unwrap_or_default();
        let length = rows.len();
        let Some(allowed) = self.wish.allowed else {
            return Listed { rows, codes, keep: None, length };
        };
        let (rows, codes) = narrowed(rows, codes, width, allowed);
        if self.wish.allowed_share >= MOST_SHARE {
            return Listed { rows, codes, keep: None, length };
        }
        keep.clear();
        allowed.select(rows, &mut keep);
        self.coded.weights.prefetch(codes, &keep);
        Listed { rows, codes, keep: Some(keep), length }
    }

    /// Asks for the row numbers of a list from memory.
    fn ask_for_rows(&self, list: RankedList) {
        let rows = &self.index.lists.rows.as_slice()[self.index.lists.span(list.list as usize)];
        prefetch_all(&rows[..rows.len().min(ROWS_ASKED)]);
    }
}

impl Doubtful {
    fn clear(&mut self) {
        self.rows.clear();
        self.estimates.clear();
        self.allowed.clear();
    }

    /// Share of some rows that is allowed, by a few of them.
    fn share(&mut self, rows: &[u32], allowed: &dyn RowSet) -> f64 {
        self.clear();
        self.rows.extend(rows.iter().step_by(rows.len().div_ceil(ASKED_ROWS).max(1)));
        allowed.select(&self.rows, &mut self.allowed);
        self.allowed.len() as f64 / self.rows.len().max(1) as f64
    }
}

/// The run of a list, whose rows ascend, that can be in a set at all.
fn narrowed<'a>(
    rows: &'a [u32],
    codes: &'a [u8],
    length: usize,
    allowed: &dyn RowSet,
) -> (&'a [u32], &'a [u8]) {
    let span = allowed.span();
    if rows.first().is_none_or(|&first| first >= span.start)
        && rows.last().is_none_or(|&last| last < span.end)
    {
        return (rows, codes);
    }
    let start = rows.partition_point(|&row| row < span.start);
    let end = start + rows[start..].partition_point(|&row| row < span.end);
    (&rows[start..end], codes.get(start * length..end * length).unwrap_or_default())
}
