//! Where the rows of each rank begin among the rows by rank.
//!
//! Of a column with few values each start is a number in a table. Where nearly every row has a value of its own, as in most
//! columns of measurements, such a table is as large as all the rows by rank; then each of them has a bit that says whether a rank begins
//! there, and the start of a rank is the place of so many ones: found by how many there are before each block of bits.

/// Bits of a block: those of a cache line.
const BLOCK_BITS: usize = 512;

const BLOCK_WORDS: usize = BLOCK_BITS / 64;

/// Starts of ranks that are no values (of NaN and of null), and the end.
pub(super) const OTHERS: usize = 3;

/// The starts of an attribute, where they lie in its file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Starts<'a> {
    /// That of each value, then the [`OTHERS`].
    Table(&'a [u32]),
    /// A bit for each row by rank.
    Marks {
        distinct: usize,
        others: &'a [u32],
        /// Ones before each block.
        before: &'a [u32],
        words: &'a [u64],
    },
}

/// How many times as large as marks a table is for which they are kept: a place in it is found sooner.
const WORTH: usize = 4;

/// Whether marks take so much less than a table that they are kept.
pub(super) fn is_marked(rows: usize, distinct: usize) -> bool {
    let marks = word_count(rows) * size_of::<u64>() + block_count(rows) * size_of::<u32>();
    distinct * size_of::<u32>() > WORTH * marks
}

/// Blocks of the marks of so many rows.
pub(super) fn block_count(rows: usize) -> usize {
    rows.div_ceil(BLOCK_BITS)
}

/// Words of them.
pub(super) fn word_count(rows: usize) -> usize {
    rows.div_ceil(64)
}

/// What is written of marks: the ones before each block, and the words.
pub(super) fn marks(rows: usize, starts: &[u32]) -> (Vec<u32>, Vec<u64>) {
    let mut words = vec![0u64; word_count(rows)];
    for &start in starts {
        words[start as usize / 64] |= 1 << (start % 64);
    }
    let mut before = Vec::with_capacity(block_count(rows));
    let mut ones = 0;
    for block in words.chunks(BLOCK_WORDS) {
        before.push(ones);
        ones += block.iter().map(|word| word.count_ones()).sum::<u32>();
    }
    (before, words)
}

impl Starts<'_> {
    /// Rows of lesser rank; 0 for a rank that there is not.
    ///
    /// # Complexity
    /// A memory access in a table; among marks, a binary search over the blocks and a look at eight words.
    pub(super) fn of(self, rank: u32) -> usize {
        let rank = rank as usize;
        match self {
            Self::Table(table) => table.get(rank).map_or(0, |&start| start as usize),
            Self::Marks { distinct, others, before, words } => match rank.checked_sub(distinct) {
                Some(other) => others.get(other).map_or(0, |&start| start as usize),
                None => place_of_one(before, words, rank).unwrap_or(0),
            },
        }
    }
}

impl Starts<'_> {
    /// The start of the rank after one with a start: of ranks that are gone through in order.
    pub(super) fn after(self, rank: u32, start: usize) -> usize {
        let next = rank.saturating_add(1);
        match self {
            Self::Marks { distinct, words, .. } if (next as usize) < distinct => {
                let next_one = next_one(words, start + 1);
                next_one.unwrap_or_else(|| self.of(next))
            }
            Self::Table(_) | Self::Marks { .. } => self.of(next),
        }
    }

    /// The start of the rank before one with a start.
    pub(super) fn before(self, rank: u32, start: usize) -> usize {
        let Some(last) = rank.checked_sub(1) else { return 0 };
        match self {
            Self::Marks { distinct, words, .. } if (last as usize) < distinct => {
                let last_one = start.checked_sub(1).and_then(|place| last_one(words, place));
                last_one.unwrap_or_else(|| self.of(last))
            }
            Self::Table(_) | Self::Marks { .. } => self.of(last),
        }
    }
}

/// The place of the first one from a place on.
fn next_one(words: &[u64], place: usize) -> Option<usize> {
    let first = words.get(place / 64)? & (u64::MAX << (place % 64));
    let rest = words.iter().copied().skip(place / 64 + 1);
    let mut all = std::iter::once(first).chain(rest).zip(place / 64..);
    all.find(|(word, _)| *word != 0).map(|(word, at)| at * 64 + word.trailing_zeros() as usize)
}

/// The place of the last one up to a place.
fn last_one(words: &[u64], place: usize) -> Option<usize> {
    let last = words.get(place / 64)? & (u64::MAX >> (63 - place % 64));
    let rest = words.iter().copied().take(place / 64).rev();
    let mut all = std::iter::once(last).chain(rest).zip((0..=place / 64).rev());
    all.find(|(word, _)| *word != 0).map(|(word, at)| at * 64 + 63 - word.leading_zeros() as usize)
}

/// The place of the one that has so many before it.
fn place_of_one(before: &[u32], words: &[u64], rank: usize) -> Option<usize> {
    let block = before.partition_point(|&ones| ones as usize <= rank).checked_sub(1)?;
    let mut left = u32::try_from(rank).ok()?.checked_sub(*before.get(block)?)?;
    let first = block * BLOCK_WORDS;
    for (place, &word) in (first..).zip(words.get(first..)?.iter().take(BLOCK_WORDS)) {
        let ones = word.count_ones();
        if left < ones {
            return Some(place * 64 + place_in_word(word, left));
        }
        left -= ones;
    }
    None
}

/// The place of the one in a word that has so many before it; there is one.
fn place_in_word(mut word: u64, before: u32) -> usize {
    for _ in 0..before {
        word &= word - 1;
    }
    word.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn marks_tell_what_a_table_tells(
            begins in prop::collection::vec(any::<bool>(), 1..2_000),
            nan in 0u32..3,
            null in 0u32..3,
        ) {
            // The first row begins a value.
            let starts: Vec<u32> =
                (0..begins.len()).filter(|&row| row == 0 || begins[row]).map(|row| row as u32).collect();
            let valued = begins.len() as u32;
            let others = [valued, valued + nan, valued + nan + null];
            let table: Vec<u32> = starts.iter().copied().chain(others).collect();
            let rows = (valued + nan + null) as usize;
            let (before, words) = marks(rows, &starts);
            prop_assert_eq!((before.len(), words.len()), (block_count(rows), word_count(rows)));
            let marked = Starts::Marks {
                distinct: starts.len(),
                others: &others,
                before: &before,
                words: &words,
            };
            for rank in 0..table.len() as u32 + 2 {
                prop_assert_eq!(marked.of(rank), Starts::Table(&table).of(rank), "{}", rank);
            }
            for (rank, pair) in (0u32..).zip(table.windows(2)) {
                let [start, end] = [pair[0] as usize, pair[1] as usize];
                for starts in [marked, Starts::Table(&table)] {
                    prop_assert_eq!(starts.after(rank, start), end);
                    prop_assert_eq!(starts.before(rank + 1, end), start);
                }
            }
        }
    }

    #[test]
    fn the_smaller_is_kept() {
        assert!(is_marked(400_000, 400_000) && is_marked(400_000, 60_000));
        assert!(!is_marked(400_000, 7) && !is_marked(400_000, 50_000) && !is_marked(0, 0));
    }
}
