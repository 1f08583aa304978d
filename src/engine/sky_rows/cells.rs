//! The cells of a part's rows, and a way to find where a cell begins among them that mostly stays in the cache.

use std::ops::Range;

use crate::vector::prefetch_all;

/// Rows between two cells that are also kept apart: together they fill as many cache lines as one miss brings anyway.
const STEP: usize = 32;

/// Ascending order-29 cells, one for each row.
///
/// A binary search over all of them waits for memory once for nearly every comparison. Every [`STEP`]th cell is therefore
/// kept a second time: these few stay in the cache, and the rest of the search is within four lines that come at once.
#[derive(Debug)]
pub(in crate::engine) struct SkyCells {
    cells: Vec<u64>,
    /// The first cell of every step.
    steps: Vec<u64>,
}

impl SkyCells {
    /// Takes ascending cells.
    pub(in crate::engine) fn new(cells: Vec<u64>) -> Self {
        let steps = cells.iter().step_by(STEP).copied().collect();
        Self { cells, steps }
    }

    /// All cells.
    pub(in crate::engine) fn as_slice(&self) -> &[u64] {
        &self.cells
    }

    /// The first of some rows whose cell is not before `cell`; their end where all are.
    pub(in crate::engine) fn first_from(&self, rows: &Range<usize>, cell: u64) -> usize {
        let before = |cells: &[u64]| cells.iter().filter(|&&other| other < cell).count();
        let step = self.step_of(rows, cell);
        step.start + self.cells.get(step).map_or(0, before)
    }

    /// Asks for what [`first_from`](Self::first_from) will read, so that it comes while something else is computed.
    pub(in crate::engine) fn prefetch(&self, rows: &Range<usize>, cell: u64) {
        prefetch_all(self.cells.get(self.step_of(rows, cell)).unwrap_or_default());
    }

    /// The rows, some of those given, among which a cell begins, or behind the last of them.
    fn step_of(&self, rows: &Range<usize>, cell: u64) -> Range<usize> {
        let end = rows.end.min(self.cells.len());
        // Steps that begin among the rows.
        let (from, to) = (rows.start.div_ceil(STEP), end.div_ceil(STEP));
        let steps = self.steps.get(from..to).unwrap_or_default();
        let step = from + steps.partition_point(|&other| other < cell);
        // The cell begins in the step before the first one that is not before it.
        (step.max(1) * STEP - STEP).max(rows.start)..(step * STEP).min(end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_found_as_by_a_binary_search(
            mut cells in prop::collection::vec(0_u64..300, 0..400),
            bounds in (0_usize..400, 0_usize..400),
            cell in 0_u64..302,
        ) {
            cells.sort_unstable();
            let (low, high) = (bounds.0.min(bounds.1), bounds.0.max(bounds.1));
            let rows = low.min(cells.len())..high.min(cells.len());
            let expected = rows.start + cells[rows.clone()].partition_point(|&other| other < cell);
            prop_assert_eq!(SkyCells::new(cells).first_from(&rows, cell), expected);
        }
    }
}
