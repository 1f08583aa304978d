//! A column of a part where its rows are: that of a segment stays in the file, of which only what is asked for is read.

use std::ops::Range;

use arrow::array::{ArrayRef, AsArray as _, PrimitiveArray};
use arrow::datatypes::ArrowPrimitiveType;

use super::part::BATCH_ROWS;

/// A number for each row, in blocks of [`BATCH_ROWS`].
#[derive(Debug)]
pub(super) struct Blocks<T: ArrowPrimitiveType> {
    blocks: Vec<PrimitiveArray<T>>,
    count: usize,
}

impl<T: ArrowPrimitiveType> FromIterator<T::Native> for Blocks<T> {
    fn from_iter<I: IntoIterator<Item = T::Native>>(all: I) -> Self {
        let mut all = all.into_iter();
        let mut column = Self { blocks: Vec::new(), count: 0 };
        loop {
            let block = PrimitiveArray::from_iter_values(all.by_ref().take(BATCH_ROWS));
            if block.is_empty() {
                return column;
            }
            column.count += block.len();
            column.blocks.push(block);
        }
    }
}

impl<T: ArrowPrimitiveType> Blocks<T> {
    /// Takes arrays; `None` where one has another type, or all but the last have not [`BATCH_ROWS`] rows.
    pub(super) fn of<'a>(arrays: impl Iterator<Item = &'a ArrayRef>) -> Option<Self> {
        let blocks = arrays.map(|array| array.as_primitive_opt::<T>().cloned());
        let blocks: Vec<PrimitiveArray<T>> = blocks.collect::<Option<_>>()?;
        let full = blocks.len().saturating_sub(1);
        let are_full = blocks.iter().take(full).all(|block| block.len() == BATCH_ROWS);
        let count = blocks.iter().map(PrimitiveArray::len).sum();
        are_full.then_some(Self { blocks, count })
    }

    /// Number of rows.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The number of a row; `None` beyond the end.
    pub(super) fn get(&self, row: usize) -> Option<T::Native> {
        self.blocks.get(row / BATCH_ROWS)?.values().get(row % BATCH_ROWS).copied()
    }

    /// All numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = T::Native> + '_ {
        self.blocks.iter().flat_map(|block| block.values().iter().copied())
    }

    /// The first of some rows whose number does not hold, where none holds after one that does not; their end where all do.
    pub(super) fn first_not(&self, rows: Range<usize>, holds: impl Fn(T::Native) -> bool) -> usize {
        let (mut low, mut high) = (rows.start, rows.end.min(self.count).max(rows.start));
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).is_some_and(&holds) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, UInt32Array};
    use arrow::datatypes::UInt32Type;

    use super::*;

    #[test]
    fn rows_are_found_across_blocks() {
        let all: Vec<u32> = (0..2 * BATCH_ROWS as u32 + 9).map(|row| 3 * row + 1).collect();
        let column: Blocks<UInt32Type> = all.iter().copied().collect();
        assert_eq!((column.count(), column.blocks.len()), (all.len(), 3));
        assert!(column.iter().eq(all.iter().copied()));
        for row in [0, 1, BATCH_ROWS - 1, BATCH_ROWS, 2 * BATCH_ROWS + 8] {
            let number = all[row];
            assert_eq!(column.get(row), Some(number));
            let first = |rows| column.first_not(rows, |other| other < number);
            assert_eq!(first(0..all.len() + 5), row);
            assert_eq!((first(row..row + 1), first(row..row)), (row, row));
            assert_eq!((first(0..row), first(row + 1..all.len() + 1)), (row, row + 1));
        }
        assert_eq!(column.get(all.len()), None);
        assert_eq!(std::iter::empty().collect::<Blocks<UInt32Type>>().count(), 0);
    }

    #[test]
    fn blocks_of_other_lengths_or_types_are_refused() {
        let block = |rows: usize| -> ArrayRef { Arc::new(UInt32Array::from(vec![7; rows])) };
        let column = |arrays: &[ArrayRef]| Blocks::<UInt32Type>::of(arrays.iter());
        assert!(column(&[block(BATCH_ROWS), block(5)]).is_some());
        assert!(column(&[block(5), block(5)]).is_none());
        assert!(column(&[Arc::new(Int64Array::from(vec![1]))]).is_none());
    }
}
