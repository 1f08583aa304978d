//! Which rows region and predicate leave.
//!
//! A region becomes a few contiguous row ranges (its cover, a superset), then the exact spherical test and the
//! predicate are applied to the rows of those ranges alone.

use std::ops::Range;

use arrow::array::Array;

use super::datafusion::Predicate;
use super::error::QueryError;
use super::request::StopFlag;
use crate::engine::{BATCH_ROWS, CollectionView, LivePart, Part};
use crate::sky::{Moc, Region};
use crate::storage::ObjectKey;
use crate::vector::RowBitmap;

/// Rows that a sample for an estimate looks at, in each part.
const SAMPLE_ROWS: usize = 1_024;

/// Rows of one contiguous piece of a sample.
const SAMPLE_RUN: usize = 128;

/// Rows that a predicate is evaluated on at once: bounds the memory of intermediate values, and how long a query that
/// nobody waits for goes on.
const BLOCK_ROWS: usize = 4_096;

/// Region, predicate and excluded rows of a query, bound to a view.
pub(super) struct Filter<'a> {
    region: Option<(&'a Region, Moc)>,
    predicate: Option<Predicate>,
    excluded: &'a [ObjectKey],
}

/// What is known before any row is tested.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Estimate {
    /// Rows in the cells of the cover, all parts; exact.
    pub(super) rows_in_cover: u64,
    /// Rows that will be left; from a sample.
    pub(super) survivors: f64,
}

/// The rows of one part that are left.
#[derive(Debug)]
pub(super) struct Survivors {
    /// Row ranges of the cover.
    ranges: Vec<Range<usize>>,
    /// Rows left; `None` when every row of the ranges is.
    rows: Option<RowBitmap>,
    count: usize,
}

impl Survivors {
    /// Rows left.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Rows in the cover's cells.
    pub(super) fn rows_in_cover(&self) -> usize {
        self.ranges.iter().map(Range::len).sum()
    }

    /// Rows left, ascending.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match &self.rows {
            Some(rows) => Box::new(rows.iter()),
            None => Box::new(self.ranges.iter().flat_map(Clone::clone)),
        }
    }

    /// Whether every one of `row_count` rows is left.
    pub(super) fn is_everything(&self, row_count: usize) -> bool {
        self.count == row_count
    }
}

impl<'a> Filter<'a> {
    pub(super) fn new(
        view: &CollectionView,
        region: Option<&'a Region>,
        predicate: Option<&str>,
        excluded: &'a [ObjectKey],
    ) -> Result<Self, QueryError> {
        let region = region.filter(|region| !matches!(region, Region::AllSky));
        let predicate = predicate.map(str::trim).filter(|text| !text.is_empty());
        let predicate =
            predicate.map(|text| Predicate::parse(text, view.arrow_schema())).transpose()?;
        Ok(Self { region: region.map(|region| (region, region.cover())), predicate, excluded })
    }

    /// Whether neither region nor predicate is given.
    pub(super) fn is_open(&self) -> bool {
        self.region.is_none() && self.predicate.is_none()
    }

    fn ranges(&self, part: &Part) -> Vec<Range<usize>> {
        match &self.region {
            Some((_, cover)) => part.rows_in(cover),
            None if part.row_count() == 0 => Vec::new(),
            None => std::iter::once(0..part.row_count()).collect(),
        }
    }

    /// Estimates how many rows will be left, from the cover (exact) and a sample of its rows.
    pub(super) fn estimate(&self, view: &CollectionView) -> Result<Estimate, QueryError> {
        let mut estimate = Estimate { rows_in_cover: 0, survivors: 0.0 };
        for live in view.parts() {
            let ranges = self.ranges(live.part());
            let rows: usize = ranges.iter().map(Range::len).sum();
            let dead_share = live.dead().len() as f64 / live.part().row_count().max(1) as f64;
            estimate.rows_in_cover += rows as u64;
            estimate.survivors +=
                rows as f64 * (1.0 - dead_share) * self.sampled_share(live.part(), &ranges)?;
        }
        Ok(estimate)
    }

    /// Share of the rows of the ranges that pass, from runs spread evenly over them.
    fn sampled_share(&self, part: &Part, ranges: &[Range<usize>]) -> Result<f64, QueryError> {
        if self.is_open() {
            return Ok(1.0);
        }
        let rows: usize = ranges.iter().map(Range::len).sum();
        let runs = (SAMPLE_ROWS / SAMPLE_RUN).min(rows.div_ceil(SAMPLE_RUN)).max(1);
        let (mut seen, mut passed) = (0usize, 0usize);
        for run in 0..runs {
            let Some(start) = row_of_rank(ranges, rows * run / runs) else { continue };
            let end =
                (start.0 + SAMPLE_RUN).min(start.1).min((start.0 / BATCH_ROWS + 1) * BATCH_ROWS);
            let mut left = RowBitmap::empty(part.row_count());
            self.test(part, start.0..end, &mut left)?;
            seen += end - start.0;
            passed += left.count();
        }
        // Half a row more in both: a sample without a hit does not prove that there is none.
        Ok((passed as f64 + 0.5) / (seen as f64 + 1.0))
    }

    /// Finds the rows left in every part.
    pub(super) fn survivors(
        &self,
        view: &CollectionView,
        stop: &StopFlag,
    ) -> Result<Vec<Survivors>, QueryError> {
        view.parts().into_iter().map(|live| self.survivors_of(live, stop)).collect()
    }

    fn survivors_of(&self, live: &LivePart, stop: &StopFlag) -> Result<Survivors, QueryError> {
        let part = live.part();
        let ranges = self.ranges(part);
        let excluded: Vec<usize> =
            self.excluded.iter().filter_map(|key| part.row_of(*key)).collect();
        if self.is_open() && live.dead().is_empty() && excluded.is_empty() {
            let count = part.row_count();
            return Ok(Survivors { ranges, rows: None, count });
        }
        let mut left = RowBitmap::empty(part.row_count());
        for range in &ranges {
            for block in blocks(range) {
                stop.check()?;
                self.test(part, block, &mut left)?;
            }
        }
        live.dead().iter().for_each(|row| left.remove(row as usize));
        excluded.into_iter().for_each(|row| left.remove(row));
        let count = left.count();
        Ok(Survivors { ranges, rows: Some(left), count })
    }

    /// Adds the rows of one range, which lies within one batch, that pass region and predicate.
    fn test(
        &self,
        part: &Part,
        range: Range<usize>,
        left: &mut RowBitmap,
    ) -> Result<(), QueryError> {
        let passes = match &self.predicate {
            None => None,
            Some(predicate) => {
                let Some(batch) = part.batches().get(range.start / BATCH_ROWS) else {
                    return Ok(());
                };
                Some(predicate.evaluate(&batch.slice(range.start % BATCH_ROWS, range.len()))?)
            }
        };
        for row in range.clone() {
            let place = row - range.start;
            if passes.as_ref().is_some_and(|passes| passes.is_null(place) || !passes.value(place)) {
                continue;
            }
            let inside = self.region.as_ref().is_none_or(|(region, _)| {
                part.position_at(row).is_some_and(|position| region.contains(&position))
            });
            if inside {
                left.insert(row);
            }
        }
        Ok(())
    }
}

/// Cuts a range at the batch boundaries, and into blocks.
fn blocks(range: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let (mut start, end) = (range.start, range.end);
    std::iter::from_fn(move || {
        (start < end).then(|| {
            let stop = ((start / BATCH_ROWS + 1) * BATCH_ROWS).min(start + BLOCK_ROWS).min(end);
            let block = start..stop;
            start = stop;
            block
        })
    })
}

/// The row of a rank among the rows of the ranges, and the end of its range.
fn row_of_rank(ranges: &[Range<usize>], rank: usize) -> Option<(usize, usize)> {
    let mut before = 0;
    for range in ranges {
        if rank < before + range.len() {
            return Some((range.start + rank - before, range.end));
        }
        before += range.len();
    }
    None
}
