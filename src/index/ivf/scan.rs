//! Scans the codes along the sky: for regions and for few rows, where lists would be a detour.

use std::ops::Range;

use super::certain::Extremes;
use super::collect::Collector;
use super::search::check;
use super::{IvfAnswer, IvfIndex};
use crate::index::IndexError;
use crate::vector::{Distance, Metric, VectorSource};

/// Rows between two times that candidates are compared at full precision: the first distances tell which of the later rows
/// are worth a look.
const SETTLE_ROWS: usize = 2048;

/// Blocks of so many rows between two times that it is asked whether to go on.
const BLOCKS_ASKED: usize = 4;

/// What to look for among the rows of a scan.
#[derive(Clone, Copy)]
pub struct CodeScan<'a> {
    /// Most hits.
    pub k: usize,
    /// Recall to aim at, above 0 and up to 1: then no row is left out that could be a hit, for certain.
    pub recall: f64,
    /// Greatest distance of a hit, itself included.
    pub bound: Option<Distance>,
    /// Runs of rows to look at, all rows of each.
    pub runs: &'a [Range<usize>],
    /// Rows to look at beside them, in any order. No row is looked at twice.
    pub rows: &'a [u32],
    /// Asked between blocks of rows; the scan ends without an answer when it says no.
    pub go_on: &'a dyn Fn() -> bool,
}

impl IvfIndex {
    /// Finds the nearest of some rows by their codes along the sky, re-ranked at full precision.
    ///
    /// `None` where the codes cannot tell (a query beyond single precision; an exact answer where the index does not know how
    /// far its codes can be off): compare the rows themselves then. And `None` where the scan was not to go on.
    ///
    /// # Errors
    /// Those of [`IvfIndex::search`].
    pub fn scan_by<K: Ord>(
        &self,
        query: &[f32],
        vectors: &dyn VectorSource,
        scan: &CodeScan<'_>,
        key: impl Fn(u32) -> K,
    ) -> Result<Option<IvfAnswer<K>>, IndexError> {
        check(self, query, vectors, scan.recall)?;
        let Some(coded) = self.coder.query(query) else { return Ok(None) };
        let exact = scan.recall >= 1.0;
        let margin = match exact {
            true => self.certain_margin(query, &coded),
            false => Some(self.scan_margin(scan.recall) * coded.sigma),
        };
        let Some(margin) = margin else { return Ok(None) };
        let odd = self.extremes.as_ref().filter(|_| exact);
        let wanted = scan.k.min(self.row_count());
        let metric = self.coder.metric;
        let mut collector = Collector::new(query, vectors, metric, &coded, margin, wanted, &key);
        let scanned = self.scan_rows(&coded, scan, odd, &mut collector);
        let Some(mut compared) = scanned else { return Ok(None) };
        collector.settle();
        if !collector.is_complete() {
            collector.begin_again();
            let again = self.scan_rows(&coded, scan, odd, &mut collector);
            let Some(again) = again else { return Ok(None) };
            compared = again;
            collector.settle();
        }
        let reranked = collector.reranked;
        let mut hits = collector.into_top().into_sorted();
        hits.retain(|(distance, _)| scan.bound.is_none_or(|bound| *distance <= bound));
        let vector_bytes = size_of_val(query);
        Ok(Some(IvfAnswer {
            hits,
            rows_scanned: compared as u64,
            rows_reranked: reranked as u64,
            lists_probed: 0,
            bytes_read: (compared * self.coder.code_bytes + reranked * vector_bytes) as u64,
            exact,
            is_far: false,
            gave_up: false,
        }))
    }

    /// Standard errors within which a row is compared at full precision, however far away the query is: to learn that would cost more
    /// than many a scan. What the codes leave out matters to far queries under the inner product alone; elsewhere it weighs on all
    /// rows alike.
    fn scan_margin(&self, recall: f64) -> f64 {
        let setting = self.setting(recall);
        match self.coder.metric {
            Metric::Cosine | Metric::L2 => setting.margin,
            Metric::Ip => setting.far.margin.max(setting.margin),
        }
    }

    fn scan_rows<K: Ord, F: Fn(u32) -> K>(
        &self,
        coded: &super::coder::CodedQuery,
        scan: &CodeScan<'_>,
        odd: Option<&Extremes>,
        collector: &mut Collector<'_, K, F>,
    ) -> Option<usize> {
        let marks = odd.map(|odd| odd.marks(self.row_count()));
        let is_odd = |row: u32| marks.is_some_and(|marks| marks.contains(row as usize));
        let codes = self.sky_codes.as_slice();
        let mut blocks = 0usize;
        let mut is_over = || {
            blocks += 1;
            blocks.is_multiple_of(BLOCKS_ASKED) && !(scan.go_on)()
        };
        let length = self.coder.code_bytes;
        let mut compared = 0;
        for run in scan.runs {
            for start in run.clone().step_by(SETTLE_ROWS) {
                let end = (start + SETTLE_ROWS).min(run.end);
                let block = codes.get(start * length..end * length).unwrap_or_default();
                let odd = odd.map_or(&[][..], |odd| odd.odd_within(start..end));
                odd.iter().for_each(|&row| collector.compare(row));
                let limit = collector.threshold();
                let next = codes.get(end * length..run.end * length).unwrap_or_default();
                coded.weights.scan_below(block, next, limit, |place, estimate| {
                    let row = (start + place) as u32;
                    if is_odd(row) { collector.threshold() } else { collector.push(estimate, row) }
                });
                settle_once(collector, &mut compared, end - start);
                if is_over() {
                    return None;
                }
            }
        }
        for chunk in scan.rows.chunks(SETTLE_ROWS) {
            if marks.is_some() {
                let odd = chunk.iter().filter(|row| is_odd(**row));
                odd.for_each(|&row| collector.compare(row));
            }
            let limit = collector.threshold();
            coded.weights.gather_below(codes, chunk, limit, |place, estimate| {
                match chunk.get(place) {
                    Some(&row) if !is_odd(row) => collector.push(estimate, row),
                    _ => collector.threshold(),
                }
            });
            settle_once(collector, &mut compared, chunk.len());
            if is_over() {
                return None;
            }
        }
        Some(compared)
    }
}

/// Compares candidates at full precision while no hit's distance is known, and whenever the rows seen have doubled.
fn settle_once<K: Ord, F: Fn(u32) -> K>(
    collector: &mut Collector<'_, K, F>,
    compared: &mut usize,
    rows: usize,
) {
    let before = *compared;
    *compared += rows;
    let doubled =
        (*compared / SETTLE_ROWS).checked_ilog2() != (before / SETTLE_ROWS).checked_ilog2();
    if rows > 0 && doubled {
        collector.settle();
    }
}
