//! Which rows of a part may lie in a region of the sky.
//!
//! The rows are sorted by cell, so every cell is a row range, and the descent from the twelve base cells goes where rows
//! are: cells without rows are passed over, and cells with few rows are not split for the sake of their shape. What the
//! region's edge crosses is left to the test of single rows.

mod cells;
mod directions;
mod region_test;
#[cfg(test)]
mod tests;

use cells::PREFIX_ORDER;
pub(super) use cells::SkyCells;
pub(super) use directions::{Directions, direction_of};
pub use region_test::RegionTest;

use std::ops::Range;

use crate::sky::{Cell, Cell29, CellJudge, Moc, Order, Overlap, Region};
use crate::vector::prefetch_all;

/// The most cells that a descent splits; what is left then stays border.
const SPLITS_MAX: usize = 2_048;

/// Cells to be split, the first of a region, whose parts are asked for: of each some 12 lines, together less than the second
/// cache takes.
const ASKED_CELLS: usize = 256;

/// Rows at a region's edge whose directions are asked for at once: 16 KB, less than the second cache takes.
const ASKED_EDGE_ROWS: usize = 2_048;

/// Rows of one kind, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRun {
    /// The rows; not empty.
    pub rows: Range<usize>,
    /// Whether every one of them is certainly in the region.
    pub inside: bool,
}

/// The rows of a part that may lie in a region; every other row certainly does not.
///
/// The runs are sorted and disjoint, none is empty, and neighbours that touch differ in kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegionRows {
    runs: Vec<RowRun>,
}

impl RegionRows {
    /// Finds the rows of a region among ascending order-29 cells.
    ///
    /// # Complexity
    /// Two binary searches for each cell that the region's edge crosses and that holds more than a handful of rows;
    /// for a coverage map, for each of its ranges or of the runs found, whichever are fewer.
    pub(super) fn find(cells: &SkyCells, region: &Region) -> Self {
        match region {
            Region::AllSky => Self::of_sorted(std::iter::once(run(0..cells.len(), true))),
            Region::Moc(map) => {
                Self::of_sorted(rows_of_map(cells, 0..cells.len(), map).map(|rows| run(rows, true)))
            }
            // Splitting a cell costs about as much as testing so many rows, measured.
            Region::Cone(_) => Self::descend(cells, region, 192, SPLITS_MAX),
            Region::Zone(_) => Self::descend(cells, region, 64, SPLITS_MAX),
            Region::Polygon(_) => Self::descend(cells, region, 8, SPLITS_MAX),
        }
    }

    fn descend(cells: &SkyCells, region: &Region, leaf_rows: usize, splits_max: usize) -> Self {
        let mut descent = Descent {
            cells,
            judge: CellJudge::new(region),
            leaf_rows,
            found: Vec::new(),
            border: Vec::new(),
        };
        descent.split(0..cells.len(), Cell::base());
        let mut next = 0;
        while let Some((cell, rows)) = descent.border.get(next).cloned() {
            // Breadth first: when the bound is met, what is left are the smallest cells reached, all around the edge.
            if next == splits_max {
                break;
            }
            descent.split(rows, cell.children());
            next += 1;
        }
        let left = descent.border.into_iter().skip(next).map(|(_, rows)| run(rows, false));
        let mut found = descent.found;
        found.extend(left);
        found.sort_by_key(|run| run.rows.start);
        Self::of_sorted(found.into_iter())
    }

    /// Joins neighbours of one kind.
    fn of_sorted(sorted: impl Iterator<Item = RowRun>) -> Self {
        let mut runs: Vec<RowRun> = Vec::new();
        for run in sorted.filter(|run| !run.rows.is_empty()) {
            match runs.last_mut() {
                Some(last) if last.rows.end == run.rows.start && last.inside == run.inside => {
                    last.rows.end = run.rows.end;
                }
                _ => runs.push(run),
            }
        }
        Self { runs }
    }

    /// Asks for the directions of rows at the region's edge, which are tested next: those of one border run after the other,
    /// of the first so many rows.
    pub(super) fn prefetch_edge(&self, directions: &[u64]) {
        let mut left = ASKED_EDGE_ROWS;
        for run in self.runs.iter().filter(|run| !run.inside) {
            if left == 0 {
                break;
            }
            let rows = run.rows.start..run.rows.end.min(run.rows.start + left);
            left -= rows.len();
            prefetch_all(directions.get(rows).unwrap_or_default());
        }
    }

    /// The runs.
    pub fn runs(&self) -> &[RowRun] {
        &self.runs
    }

    /// Rows in all runs: at least as many as the region has.
    pub fn count(&self) -> usize {
        self.runs.iter().map(|run| run.rows.len()).sum()
    }

    /// Rows that are certainly in the region: at most as many as it has.
    pub fn inside_count(&self) -> usize {
        self.runs.iter().filter(|run| run.inside).map(|run| run.rows.len()).sum()
    }

    /// How many rows the region may have: the edge halves the rows that it crosses.
    pub fn estimate(&self) -> f64 {
        let (count, inside) = (self.count() as f64, self.inside_count() as f64);
        inside + 0.5 * (count - inside)
    }

    /// From the first row to the last, others between them included.
    pub fn span(&self) -> Range<usize> {
        match (self.runs.first(), self.runs.last()) {
            (Some(first), Some(last)) => first.rows.start..last.rows.end,
            _ => 0..0,
        }
    }
}

fn run(rows: Range<usize>, inside: bool) -> RowRun {
    RowRun { rows, inside }
}

/// A search for the rows of a region, cell by cell.
struct Descent<'a> {
    cells: &'a SkyCells,
    judge: CellJudge<'a>,
    /// Cells with this many rows or fewer are not split.
    leaf_rows: usize,
    /// Runs that are done, in no order.
    found: Vec<RowRun>,
    /// Cells to split, with their rows.
    border: Vec<(Cell, Range<usize>)>,
}

impl Descent<'_> {
    /// Sorts out ascending cells, which together hold the rows of a range.
    fn split(&mut self, rows: Range<usize>, parts: impl Iterator<Item = Cell>) {
        let Some(last) = rows.end.checked_sub(1).and_then(|row| self.cells.ceiling(row)) else {
            return;
        };
        let mut start = rows.start;
        for part in parts {
            if start >= rows.end {
                break;
            }
            let Some(first) = self.cells.floor(start) else { break };
            let cells = part.range();
            if last < cells.start {
                break;
            }
            if first >= cells.end {
                continue;
            }
            // Judging a cell is cheaper than searching for its rows, and most cells are outside.
            let overlap = self.judge.overlap(&part);
            if overlap == Overlap::Outside {
                continue;
            }
            if first < cells.start {
                start = self.cells.first_from(&(start..rows.end), cells.start);
            }
            let end = if last < cells.end {
                rows.end
            } else {
                self.cells.first_from(&(start..rows.end), cells.end)
            };
            if start < end {
                self.sort_out(part, overlap, start..end);
            }
            start = end;
        }
    }

    /// Puts a cell behind those that are to be split, and asks for the places where its parts begin. Where there are many, as of
    /// a long edge, what was asked for would be gone again when it is needed.
    fn wait_for_turn(&mut self, cell: Cell, rows: Range<usize>) {
        if self.border.len() < ASKED_CELLS {
            for part in cell.children().skip(1) {
                self.cells.prefetch(&rows, part.range().start);
            }
        }
        self.border.push((cell, rows));
    }

    /// A cell that is not after those of some rows of a cell, and one that is not before them, both in that cell.
    fn extremes(&self, cell: &Cell, rows: &Range<usize>) -> Option<(u64, u64)> {
        let last = rows.end.checked_sub(1)?;
        if cell.order().get() < PREFIX_ORDER {
            return self.cells.floor(rows.start).zip(self.cells.ceiling(last));
        }
        self.cells.get(rows.start).zip(self.cells.get(last))
    }

    fn sort_out(&mut self, cell: Cell, overlap: Overlap, rows: Range<usize>) {
        match overlap {
            Overlap::Outside => {}
            Overlap::Inside => self.found.push(run(rows, true)),
            Overlap::Border if rows.len() <= self.leaf_rows || cell.order() == Order::MAX => {
                self.found.push(run(rows, false));
            }
            Overlap::Border => {
                let Some((first, last)) = self.extremes(&cell, &rows) else { return };
                let smallest = smallest_cell(first, last, cell);
                // A coarser one is told where the file no longer has what it had.
                if smallest.order() <= cell.order() {
                    self.wait_for_turn(cell, rows);
                } else {
                    let overlap = self.judge.overlap(&smallest);
                    self.sort_out(smallest, overlap, rows);
                }
            }
        }
    }
}

/// The smallest cell that holds two order-29 cells, which are both in `known`: the descent steps over the levels at which
/// all rows are in one child.
fn smallest_cell(first: u64, last: u64, known: Cell) -> Cell {
    let differing_bits = u64::from(u64::BITS - (first ^ last).leading_zeros());
    let levels = differing_bits.div_ceil(2);
    let order = u64::from(Order::MAX.get()).checked_sub(levels);
    order
        .and_then(|order| Order::new(order).ok())
        .map_or(known, |order| Cell29(first).parent(order))
}

/// The ranges of some rows that lie in a coverage map, ascending.
fn rows_of_map<'a>(
    cells: &'a SkyCells,
    rows: Range<usize>,
    map: &'a Moc,
) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut ranges = map.ranges();
    let mut row = rows.start;
    let is_before = |row: usize, cell: u64| cells.is_before(row, cell).unwrap_or(false);
    std::iter::from_fn(move || {
        // Each side is moved up to the other one, so that neither is read where the other has nothing.
        while row < rows.end {
            let passed = gallop(ranges.len(), |place| !is_before(row, ranges[place].end));
            ranges = &ranges[passed..];
            let range = ranges.first()?;
            row += gallop(rows.end - row, |ahead| is_before(row + ahead, range.start));
            let count = gallop(rows.end - row, |ahead| is_before(row + ahead, range.end));
            if count > 0 {
                row += count;
                return Some(row - count..row);
            }
        }
        None
    })
}

/// How many of the first of so many places satisfy a condition that no later place does: logarithmic in the answer.
fn gallop(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut step) = (0, 1);
    while low + step <= count && holds(low + step - 1) {
        low += step;
        step *= 2;
    }
    let mut high = count.min(low + step - 1);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
