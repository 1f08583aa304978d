//! The cells of a part's rows, and a way to find where a cell begins among them that mostly stays in the cache.

use std::ops::Range;

use arrow::datatypes::Int64Type;

use crate::engine::blocks::Blocks;
use crate::vector::prefetch_all;

/// The order of prefixes: its cells are 13 arcseconds wide, and their numbers fit into 32 bits.
pub(super) const PREFIX_ORDER: u8 = 14;

/// Bits of an order-29 cell below its prefix.
const FINE_BITS: u32 = 2 * (29 - PREFIX_ORDER as u32);

/// Rows between two prefixes that are also kept apart: together they fill as many cache lines as one miss brings anyway.
const STEP: usize = 32;

/// Ascending order-29 cells, one for each row.
///
/// In memory are their *prefixes*, the order-14 cells that they lie in. Regions are searched for by cells that are hardly ever
/// smaller, and so without a look at the cells themselves, which stay with the other columns of the rows.
///
/// A binary search over all prefixes waits for memory once for nearly every comparison. Every [`STEP`]th is therefore kept a second
/// time: these few stay in the cache, and the rest of the search is within two lines that come at once.
#[derive(Debug)]
pub(in crate::engine) struct SkyCells {
    cells: Blocks<Int64Type>,
    prefixes: Vec<u32>,
    /// The first prefix of every step.
    steps: Vec<u32>,
}

impl SkyCells {
    /// Takes ascending cells.
    pub(in crate::engine) fn new(cells: Blocks<Int64Type>) -> Self {
        let mut prefixes = Vec::with_capacity(cells.count());
        prefixes.extend(cells.iter().map(|cell| prefix(cell as u64)));
        let steps = prefixes.iter().step_by(STEP).copied().collect();
        Self { cells, prefixes, steps }
    }

    /// Number of rows.
    pub(in crate::engine) fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// The cell of a row; `None` beyond the end.
    pub(in crate::engine) fn get(&self, row: usize) -> Option<u64> {
        self.cells.get(row).map(|cell| cell as u64)
    }

    /// The first order-29 cell of the order-14 cell that each row lies in.
    pub(in crate::engine) fn coarse(&self) -> impl Iterator<Item = u64> + '_ {
        self.prefixes.iter().map(|&prefix| first_of(prefix))
    }

    /// A cell that is not after that of a row.
    pub(super) fn floor(&self, row: usize) -> Option<u64> {
        self.prefixes.get(row).map(|&prefix| first_of(prefix))
    }

    /// A cell that is not before that of a row.
    pub(super) fn ceiling(&self, row: usize) -> Option<u64> {
        self.prefixes.get(row).map(|&prefix| last_of(prefix))
    }

    /// Whether the cell of a row is before another; `None` beyond the last row.
    pub(in crate::engine) fn is_before(&self, row: usize, cell: u64) -> Option<bool> {
        let (own, other) = (*self.prefixes.get(row)?, prefix(cell));
        if own == other && !is_whole(cell) {
            Some(self.get(row)? < cell)
        } else {
            Some(own < other)
        }
    }

    /// Whether a row lies in a cell.
    pub(in crate::engine) fn is_at(&self, row: usize, cell: u64) -> bool {
        self.prefixes.get(row) == Some(&prefix(cell)) && self.get(row) == Some(cell)
    }

    /// The first of some rows whose cell is not before `cell`; their end where all are.
    pub(in crate::engine) fn first_from(&self, rows: &Range<usize>, cell: u64) -> usize {
        let wanted = prefix(cell);
        let first = self.first_with(rows, wanted);
        if is_whole(cell) || first >= rows.end || self.prefixes.get(first) != Some(&wanted) {
            return first;
        }
        let rest = first..rows.end;
        let end = wanted.checked_add(1).map_or(rows.end, |next| self.first_with(&rest, next));
        self.cells.first_not(first..end, |other| (other as u64) < cell)
    }

    /// Asks for what [`first_from`](Self::first_from) will read, so that it comes while something else is computed.
    pub(in crate::engine) fn prefetch(&self, rows: &Range<usize>, cell: u64) {
        let step = self.step_of(rows, prefix(cell));
        prefetch_all(self.prefixes.get(step).unwrap_or_default());
    }

    /// The first of some rows whose prefix is not before one.
    fn first_with(&self, rows: &Range<usize>, wanted: u32) -> usize {
        let before = |some: &[u32]| some.iter().filter(|&&other| other < wanted).count();
        let step = self.step_of(rows, wanted);
        step.start + self.prefixes.get(step).map_or(0, before)
    }

    /// The rows, some of those given, among which a prefix begins, or behind the last of them.
    fn step_of(&self, rows: &Range<usize>, wanted: u32) -> Range<usize> {
        let end = rows.end.min(self.prefixes.len());
        // Steps that begin among the rows.
        let (from, to) = (rows.start.div_ceil(STEP), end.div_ceil(STEP));
        let steps = self.steps.get(from..to).unwrap_or_default();
        let step = from + steps.partition_point(|&other| other < wanted);
        // The prefix begins in the step before the first one that is not before it.
        (step.max(1) * STEP - STEP).max(rows.start)..(step * STEP).min(end)
    }
}

/// The order-14 cell of an order-29 cell. Numbers that are no cells, of a damaged file, are after all.
fn prefix(cell: u64) -> u32 {
    u32::try_from(cell >> FINE_BITS).unwrap_or(u32::MAX)
}

fn first_of(prefix: u32) -> u64 {
    u64::from(prefix) << FINE_BITS
}

fn last_of(prefix: u32) -> u64 {
    let beyond = if prefix == u32::MAX { u64::MAX } else { 0 };
    first_of(prefix) | ((1 << FINE_BITS) - 1) | beyond
}

/// Whether all cells of a prefix are on the same side of a cell, its own prefix included.
fn is_whole(cell: u64) -> bool {
    first_of(prefix(cell)) == cell && prefix(cell) < u32::MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sky_cells(cells: &[u64]) -> SkyCells {
        SkyCells::new(cells.iter().map(|&cell| cell as i64).collect())
    }

    /// Cells that share prefixes, some of them at the beginning of one, and numbers that are no cells.
    fn cell() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => (0_u64..12, 0_u64..4).prop_map(|(prefix, fine)| prefix << FINE_BITS | fine),
            2 => (0_u64..40, any::<u32>()).prop_map(|(prefix, fine)| {
                prefix << FINE_BITS | u64::from(fine) >> (u32::BITS - FINE_BITS)
            }),
            1 => any::<u64>(),
        ]
    }

    proptest! {
        #[test]
        fn rows_are_found_as_by_a_binary_search(
            mut cells in prop::collection::vec(cell(), 0..400),
            bounds in (0_usize..400, 0_usize..400),
            wanted in cell(),
        ) {
            cells.sort_unstable();
            let (low, high) = (bounds.0.min(bounds.1), bounds.0.max(bounds.1));
            let rows = low.min(cells.len())..high.min(cells.len());
            let sky = sky_cells(&cells);
            for wanted in cells.iter().copied().chain([wanted]) {
                let expected = cells[rows.clone()].partition_point(|&other| other < wanted);
                prop_assert_eq!(sky.first_from(&rows, wanted), rows.start + expected);
                for (row, &cell) in cells.iter().enumerate() {
                    prop_assert_eq!(sky.is_before(row, wanted), Some(cell < wanted));
                    prop_assert_eq!(sky.is_at(row, wanted), cell == wanted);
                }
            }
            for (row, &cell) in cells.iter().enumerate() {
                prop_assert_eq!(sky.get(row), Some(cell));
                prop_assert!(sky.floor(row) <= Some(cell) && Some(cell) <= sky.ceiling(row));
            }
            prop_assert_eq!(sky.is_before(cells.len(), wanted), None);
            prop_assert!(sky.coarse().eq((0..cells.len()).filter_map(|row| sky.floor(row))));
        }
    }
}
