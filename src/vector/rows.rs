//! Sets of rows that are asked about batches of rows, and vectors that are asked for row by row.

use std::ops::Range;

use super::{RowBitmap, VectorView, prefetch_all};

/// A set of rows of one part.
///
/// What asks goes through rows in its own order (along the sky, or list by list) and hands over many at once, so that a set
/// may be a bitmap, a test of columns, a test of positions, or several of them one after the other.
pub trait RowSet: Sync {
    /// Appends the places in `rows` of those rows that are in the set, ascending.
    fn select(&self, rows: &[u32], keep: &mut Vec<u32>);

    /// Rows outside of this range are certainly not in the set.
    fn span(&self) -> Range<u32> {
        0..u32::MAX
    }
}

/// Full vectors by their row, wherever they lie.
pub trait VectorSource: Sync {
    /// Components of each vector.
    fn dimension(&self) -> usize;

    /// Number of vectors.
    fn count(&self) -> usize;

    /// The vector of a row: lent where it is in memory, read into `buffer` where it is not; `None` past the end, or where it
    /// cannot be read.
    fn fetch<'a>(&'a self, row: usize, buffer: &'a mut Vec<f32>) -> Option<&'a [f32]>;

    /// Asks for the vector of a row from memory, so that it comes while something else is computed. Where it is not in memory,
    /// or not there, nothing happens.
    fn prefetch(&self, _row: usize) {}
}

impl VectorSource for VectorView<'_> {
    fn dimension(&self) -> usize {
        VectorView::dimension(self)
    }

    fn count(&self) -> usize {
        VectorView::count(self)
    }

    fn fetch<'a>(&'a self, row: usize, _buffer: &'a mut Vec<f32>) -> Option<&'a [f32]> {
        self.row(row)
    }

    fn prefetch(&self, row: usize) {
        self.row(row).into_iter().for_each(prefetch_all);
    }
}

impl RowSet for RowBitmap {
    fn select(&self, rows: &[u32], keep: &mut Vec<u32>) {
        keep.extend(
            (0u32..)
                .zip(rows)
                .filter(|(_, row)| self.contains(**row as usize))
                .map(|(place, _)| place),
        );
    }
}
