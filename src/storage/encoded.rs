//! Rows of the `objects` table, encoded in the order in which they came.
//!
//! On the sky neighbours come from anywhere in a batch: reading each of their columns there costs a miss of the cache a column.
//! So rows are encoded where they lie, one column next to the other, and what is fetched from elsewhere is one run of bytes.

use super::insert::Place;
use super::record::append_row;
use crate::schema::Rows;
use crate::vector::prefetch_all;

/// The encoded rows of blocks.
pub(super) struct EncodedRows {
    blocks: Vec<EncodedBlock>,
}

struct EncodedBlock {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl EncodedRows {
    /// Encodes every row of blocks.
    pub(super) fn of(blocks: &[&dyn Rows]) -> Self {
        Self { blocks: blocks.iter().map(|block| EncodedBlock::of(*block)).collect() }
    }

    /// The bytes of a row.
    pub(super) fn row(&self, place: &Place) -> &[u8] {
        let block = &self.blocks[place.block as usize];
        let row = place.row as usize;
        let start = if row == 0 { 0 } else { block.ends[row - 1] };
        &block.bytes[start..block.ends[row]]
    }

    /// Has the bytes of a row come while others are written; where they lie has to be there already.
    pub(super) fn prefetch(&self, place: &Place) {
        prefetch_all(self.row(place));
    }

    /// Has it come where the bytes of a row lie.
    pub(super) fn prefetch_end(&self, place: &Place) {
        let ends = &self.blocks[place.block as usize].ends;
        prefetch_all(&ends[place.row as usize..=place.row as usize]);
    }

    /// Bytes of all rows.
    pub(super) fn size_bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes.len()).sum()
    }
}

impl EncodedBlock {
    fn of(block: &dyn Rows) -> Self {
        let count = block.count();
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(count));
        for row in 0..count {
            let columns = (0..block.column_count()).map(|column| block.value(column, row));
            append_row(&mut bytes, block.id(row), block.position(row), columns);
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }
}
