//! Sets of rows that are asked about batches of rows, instead of being written down.

use std::ops::Range;

use super::RowBitmap;

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

impl RowSet for RowBitmap {
    fn select(&self, rows: &[u32], keep: &mut Vec<u32>) {
        keep.extend((0u32..).zip(rows).filter(|(_, row)| self.contains(**row as usize)).map(|(place, _)| place));
    }
}
