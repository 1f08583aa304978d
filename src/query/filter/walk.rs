//! Walks the rows that a filter leaves, along the sky or by one condition's index, and hands them on in chunks.

use std::ops::Range;

use super::words::{push_rows, words_of};
use super::{CHUNK_ROWS, PartFilter, Source};
use crate::query::error::QueryError;
use crate::query::request::StopFlag;
use crate::vector::RowSet;

/// Rows of a run from which on they are tested as words, not by their numbers: four words and more, of which the first and the last
/// may have few rows.
const WORDS_ROWS_MIN: usize = 256;

/// Rows that lie side by side in the index of a column from which on they are handed on from there; fewer are put together.
const UNCOPIED_ROWS: usize = 256;

impl PartFilter<'_> {
    /// Runs of which every row is left without a test, those with at least so many rows.
    pub(in crate::query) fn long_runs(&self, shortest: usize) -> Vec<Range<usize>> {
        if !self.is_region_alone() {
            return Vec::new();
        }
        let long =
            |(run, inside): (Range<usize>, bool)| (inside && run.len() >= shortest).then_some(run);
        self.runs().into_iter().filter_map(long).collect()
    }

    /// For each of the tests that [`condition_count`](Self::condition_count) counts, bytes of what it reads one place of: ranks, or a
    /// bit for each row. A condition that a row is known to satisfy is left out, where it is tested on its own.
    pub(in crate::query) fn tested_bytes(&self, known: Option<usize>) -> impl Iterator<Item = u64> {
        let asked = if self.found.is_some() { &[][..] } else { &self.conditions };
        let sets = self.condition_count() - asked.len();
        let bits = self.live().part().row_count().div_ceil(8) as u64;
        let unknown = asked.iter().enumerate().filter(move |(place, _)| Some(*place) != known);
        let ranks = unknown.map(|(_, condition)| condition.attribute.tested_bytes());
        ranks.chain(std::iter::repeat_n(bits, sets))
    }

    /// Whether the runs along the sky are on average long enough to be tested as words.
    pub(in crate::query) fn is_in_long_runs(&self) -> bool {
        let runs = self.region.as_ref().map_or(1, |(rows, _)| rows.runs().len());
        self.rows_in_region() >= runs * WORDS_ROWS_MIN
    }

    /// Hands on the rows left, in chunks; a chunk from a walk along the sky is ascending.
    pub(in crate::query) fn for_each_chunk(
        &self,
        source: Source,
        stop: &StopFlag,
        each: impl FnMut(&[u32]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        self.for_each_chunk_beside(usize::MAX, source, stop, each)
    }

    /// Does the same for the rows that are not in one of the [long runs](Self::long_runs) of the walk along the sky.
    pub(in crate::query) fn for_each_chunk_beside(
        &self,
        shortest: usize,
        source: Source,
        stop: &StopFlag,
        each: impl FnMut(&[u32]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let mut chunks = Chunks {
            filter: self,
            stop,
            each,
            kept: Vec::new(),
            places: Vec::new(),
            words: Vec::new(),
        };
        match (source, self.live().visible()) {
            (Source::Condition(place), _) => {
                if let Some(condition) = self.conditions.get(place) {
                    let runs = condition.attribute.row_runs(&condition.spans);
                    let row_count = condition.attribute.row_count() as u32;
                    // Nothing is left to test where the condition itself is the only test.
                    let is_more = self.found.is_some() || self.test_count() > 1;
                    return chunks.hand_on_runs(runs, row_count, is_more);
                }
            }
            (Source::Visible, Some(visible)) => {
                return chunks.hand_on_all(visible.range(self.span()), true);
            }
            (Source::Visible | Source::Sky, _) => {}
        }
        let (alone, narrows) = (self.is_region_alone(), self.narrows());
        // Runs are often short: the rows of several make a chunk, those that need a test apart from those that do not.
        let (mut certain, mut tested, mut narrowed) = (Vec::new(), Vec::new(), Vec::new());
        for (run, inside) in self.runs() {
            let is_certain = alone && inside;
            if is_certain && run.len() >= shortest {
                continue;
            }
            if narrows && run.len() >= WORDS_ROWS_MIN {
                chunks.narrow(run, inside, &mut narrowed)?;
                continue;
            }
            let mut left = run;
            while !left.is_empty() {
                let rows: &mut Vec<u32> = if is_certain { &mut certain } else { &mut tested };
                let end = left.end.min(left.start + CHUNK_ROWS - rows.len());
                rows.extend(left.start as u32..end as u32);
                left.start = end;
                if rows.len() == CHUNK_ROWS {
                    if is_certain {
                        chunks.hand_on(rows)?;
                    } else {
                        chunks.test(rows)?;
                    }
                    rows.clear();
                }
            }
        }
        chunks.hand_on(&certain)?;
        chunks.hand_on(&narrowed)?;
        chunks.test(&tested)
    }
}

/// Rows on their way from a filter to what asked for them.
struct Chunks<'a, F> {
    filter: &'a PartFilter<'a>,
    stop: &'a StopFlag,
    each: F,
    kept: Vec<u32>,
    places: Vec<u32>,
    words: Vec<u64>,
}

impl<F: FnMut(&[u32]) -> Result<(), QueryError>> Chunks<'_, F> {
    fn hand_on(&mut self, rows: &[u32]) -> Result<(), QueryError> {
        self.stop.check()?;
        if rows.is_empty() { Ok(()) } else { (self.each)(rows) }
    }

    /// Adds those of a long run that pass to `kept`, and hands on what is a chunk.
    fn narrow(
        &mut self,
        run: Range<usize>,
        inside: bool,
        kept: &mut Vec<u32>,
    ) -> Result<(), QueryError> {
        let mut start = run.start;
        while start < run.end {
            self.stop.check()?;
            let end = run.end.min((start / 64 * 64) + CHUNK_ROWS);
            let first = words_of(start..end, &mut self.words);
            self.filter.narrow(first, &mut self.words);
            let before = kept.len();
            push_rows(first, &self.words, kept);
            if !inside {
                self.filter.keep_in_region(before, kept);
            }
            if kept.len() >= CHUNK_ROWS {
                self.hand_on(kept)?;
                kept.clear();
            }
            start = end;
        }
        Ok(())
    }

    /// Hands on many rows, or those of them that pass, where they have to be tested.
    fn hand_on_all(
        &mut self,
        mut all: impl Iterator<Item = u32>,
        are_tested: bool,
    ) -> Result<(), QueryError> {
        let mut rows = Vec::with_capacity(CHUNK_ROWS);
        loop {
            rows.clear();
            rows.extend(all.by_ref().take(CHUNK_ROWS));
            if rows.is_empty() {
                return Ok(());
            }
            self.pass(&rows, are_tested)?;
        }
    }

    /// Hands on the rows of some runs that are fewer than `row_count`, without a copy where they are many.
    fn hand_on_runs<'r>(
        &mut self,
        runs: impl Iterator<Item = &'r [u32]>,
        row_count: u32,
        are_tested: bool,
    ) -> Result<(), QueryError> {
        let mut few: Vec<u32> = Vec::new();
        for chunk in runs.flat_map(|run| run.chunks(CHUNK_ROWS)) {
            let last = chunk.iter().fold(0, |last, &row| last.max(row));
            if chunk.len() >= UNCOPIED_ROWS && last < row_count {
                self.pass(chunk, are_tested)?;
                continue;
            }
            if few.len() + chunk.len() > CHUNK_ROWS {
                self.pass(&few, are_tested)?;
                few.clear();
            }
            few.extend(chunk.iter().copied().filter(|&row| row < row_count));
        }
        self.pass(&few, are_tested)
    }

    fn pass(&mut self, rows: &[u32], are_tested: bool) -> Result<(), QueryError> {
        if are_tested { self.test(rows) } else { self.hand_on(rows) }
    }

    /// Hands on those that pass.
    fn test(&mut self, rows: &[u32]) -> Result<(), QueryError> {
        self.places.clear();
        self.filter.select(rows, &mut self.places);
        self.kept.clear();
        let places = self.places.iter();
        self.kept.extend(places.filter_map(|&place| rows.get(place as usize).copied()));
        self.stop.check()?;
        if self.kept.is_empty() { Ok(()) } else { (self.each)(&self.kept) }
    }
}
