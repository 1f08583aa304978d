//! Borrowed vectors, for example of a mapped file, and sets of their rows.

use std::ops::Range;

use super::{BlockError, VectorBlock};

/// Row-major vectors borrowed from a block or a mapped file whose finiteness was proven when it was written.
#[derive(Debug, Clone, Copy)]
pub struct VectorView<'a> {
    dimension: usize,
    values: &'a [f32],
}

impl<'a> VectorView<'a> {
    /// Borrows row-major numbers.
    ///
    /// # Errors
    /// [`BlockError::ZeroDimension`] or [`BlockError::Ragged`].
    pub fn new(dimension: usize, values: &'a [f32]) -> Result<Self, BlockError> {
        if dimension == 0 {
            return Err(BlockError::ZeroDimension);
        }
        if !values.len().is_multiple_of(dimension) {
            return Err(BlockError::Ragged { len: values.len(), dimension });
        }
        Ok(Self { dimension, values })
    }

    /// Components of each vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of vectors.
    pub fn count(&self) -> usize {
        self.values.len() / self.dimension
    }

    /// The vector of `row`, or `None` past the end.
    pub fn row(&self, row: usize) -> Option<&'a [f32]> {
        self.values.get(row * self.dimension..(row + 1) * self.dimension)
    }

    /// The numbers, row-major.
    pub fn as_slice(&self) -> &'a [f32] {
        self.values
    }
}

impl VectorBlock {
    /// Borrows the whole block.
    pub fn view(&self) -> VectorView<'_> {
        VectorView { dimension: self.dimension(), values: self.as_slice() }
    }
}

/// A dense set of row numbers below a fixed length, one bit each, least significant first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowBitmap {
    len: usize,
    words: Vec<u64>,
}

impl RowBitmap {
    /// The empty set over `len` rows.
    pub fn empty(len: usize) -> Self {
        Self { len, words: vec![0; len.div_ceil(64)] }
    }

    /// Rows that the set ranges over (not how many it holds).
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the set ranges over no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a row; rows beyond the length are ignored.
    pub fn insert(&mut self, row: usize) {
        if row < self.len {
            self.words[row / 64] |= 1 << (row % 64);
        }
    }

    /// Adds a range of rows; what is beyond the length is ignored.
    pub fn insert_range(&mut self, rows: Range<usize>) {
        let (start, end) = (rows.start, rows.end.min(self.len));
        if start >= end {
            return;
        }
        let (first, last) = (start / 64, (end - 1) / 64);
        let from_start = u64::MAX << (start % 64);
        let to_end = u64::MAX >> (63 - (end - 1) % 64);
        if first == last {
            self.words[first] |= from_start & to_end;
            return;
        }
        self.words[first] |= from_start;
        self.words[first + 1..last].fill(u64::MAX);
        self.words[last] |= to_end;
    }

    /// Adds the rows `64 * place` to `64 * place + 63` whose bits are set, least significant first; those beyond the
    /// length are ignored.
    pub fn insert_word(&mut self, place: usize, word: u64) {
        let rest = self.len.saturating_sub(64 * place);
        let within = if rest < 64 { (1 << rest) - 1 } else { u64::MAX };
        if let Some(kept) = self.words.get_mut(place) {
            *kept |= word & within;
        }
    }

    /// Takes a row out.
    pub fn remove(&mut self, row: usize) {
        if row < self.len {
            self.words[row / 64] &= !(1 << (row % 64));
        }
    }

    /// Whether the row is held.
    pub fn contains(&self, row: usize) -> bool {
        row < self.len && self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// Rows held.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Rows held, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(place, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    place * 64 + bit
                })
            })
        })
    }

    /// The words, least significant bit first: the layout of FAISS' bitmap selector on little-endian machines.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_and_words_are_their_rows(
            len in 0_usize..300, start in 0_usize..320, count in 0_usize..320,
            place in 0_usize..6, word in any::<u64>(), already in prop::collection::vec(0_usize..300, 0..20),
        ) {
            let mut quick = RowBitmap::empty(len);
            already.iter().for_each(|&row| quick.insert(row));
            let mut slow = quick.clone();
            quick.insert_range(start..start + count);
            (start..start + count).for_each(|row| slow.insert(row));
            prop_assert_eq!(&quick, &slow);
            quick.insert_word(place, word);
            (0..64).filter(|bit| word >> bit & 1 == 1).for_each(|bit| slow.insert(64 * place + bit));
            prop_assert_eq!(&quick, &slow);
        }
    }
}
