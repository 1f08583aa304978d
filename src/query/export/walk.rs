//! The rows of an export in the order of their keys, from all parts at once.

use std::ops::Range;

use crate::engine::Part;
use crate::query::error::QueryError;
use crate::query::filter::{CHUNK_ROWS, PartFilter};
use crate::query::request::StopFlag;
use crate::schema::CollectionId;
use crate::storage::ObjectKey;
use crate::vector::RowSet;

/// A row of one of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) part: usize,
    pub(super) row: u32,
    pub(super) key: ObjectKey,
}

/// Walks along the sky.
pub(super) struct Walk<'a> {
    cursors: Vec<Cursor<'a>>,
}

/// The rows of one part that are left, a chunk at a time.
struct Cursor<'a> {
    filter: &'a PartFilter<'a>,
    collection: CollectionId,
    stop: &'a StopFlag,
    /// Runs of rows that are still to be tested, the last first.
    runs: Vec<Range<usize>>,
    /// Rows that have passed, and which of them is next.
    passed: Vec<u32>,
    next: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        collection: CollectionId,
        filters: &'a [PartFilter<'a>],
        cells: &Range<u64>,
        stop: &'a StopFlag,
    ) -> Self {
        let cursor = |filter: &'a PartFilter<'a>| {
            let within = rows_of_cells(filter.live().part(), cells);
            let clip = |(run, _): (Range<usize>, bool)| {
                let run = run.start.max(within.start)..run.end.min(within.end);
                (!run.is_empty()).then_some(run)
            };
            let mut runs: Vec<_> = filter.runs().into_iter().filter_map(clip).collect();
            runs.reverse();
            Cursor { filter, collection, stop, runs, passed: Vec::new(), next: 0 }
        };
        Self { cursors: filters.iter().map(cursor).collect() }
    }

    /// The next rows, at most so many; none at the end.
    pub(super) fn take(&mut self, count: usize) -> Result<Vec<Place>, QueryError> {
        let mut places = Vec::with_capacity(count.min(CHUNK_ROWS));
        while places.len() < count {
            // Parts come out in stretches: one goes on until another one's next key is smaller.
            let mut nearest: Option<(usize, ObjectKey)> = None;
            let mut second: Option<ObjectKey> = None;
            for (part, cursor) in self.cursors.iter_mut().enumerate() {
                let Some((_, key)) = cursor.peek()? else { continue };
                match nearest {
                    Some((_, smallest)) if smallest <= key => {
                        second = Some(second.map_or(key, |other| other.min(key)));
                    }
                    _ => {
                        second = nearest.map(|(_, other)| other);
                        nearest = Some((part, key));
                    }
                }
            }
            let Some((part, _)) = nearest else { break };
            let Some(cursor) = self.cursors.get_mut(part) else { break };
            while places.len() < count {
                let Some((row, key)) = cursor.peek()? else { break };
                if second.is_some_and(|second| second < key) {
                    break;
                }
                places.push(Place { part, row, key });
                cursor.next += 1;
            }
        }
        Ok(places)
    }
}

impl Cursor<'_> {
    /// The next row and its key; `None` at the end.
    fn peek(&mut self) -> Result<Option<(u32, ObjectKey)>, QueryError> {
        while self.next == self.passed.len() {
            if !self.refill()? {
                return Ok(None);
            }
        }
        let row = self.passed.get(self.next).copied();
        let part = self.filter.live().part();
        Ok(row.and_then(|row| Some((row, part.key_at(self.collection, row as usize)?))))
    }

    /// Tests the next chunk of rows; `false` when there are no more.
    fn refill(&mut self) -> Result<bool, QueryError> {
        self.stop.check()?;
        self.passed.clear();
        self.next = 0;
        // Runs are often short: several make a chunk.
        let mut rows: Vec<u32> = Vec::with_capacity(CHUNK_ROWS);
        while rows.len() < CHUNK_ROWS {
            let Some(run) = self.runs.last_mut() else { break };
            let end = run.end.min(run.start + CHUNK_ROWS - rows.len());
            rows.extend(run.start as u32..end as u32);
            run.start = end;
            if run.start >= run.end {
                self.runs.pop();
            }
        }
        let mut kept = Vec::with_capacity(rows.len());
        self.filter.select(&rows, &mut kept);
        self.passed.extend(kept.iter().filter_map(|&place| rows.get(place as usize)));
        Ok(!rows.is_empty())
    }
}

/// The rows of a part in a half-open range of order-29 cells.
pub(super) fn rows_of_cells(part: &Part, cells: &Range<u64>) -> Range<usize> {
    let start = part.rows_before(cells.start);
    start..part.rows_before(cells.end).max(start)
}
