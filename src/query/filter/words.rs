//! Tests long runs of rows 64 at a time, as words of one bit each: 64 ranks in a row are compared by a few instructions, in about a
//! quarter of the time that testing row numbers takes.

use super::PartFilter;

impl PartFilter<'_> {
    /// Whether rows have to be tested by more than their place on the sky.
    pub(super) fn narrows(&self) -> bool {
        self.condition_count() > 0
    }

    /// Takes the rows out of words, the first of them for the rows from `64 * first` on, that do not pass; where they lie is not
    /// tested.
    pub(super) fn narrow(&self, first: usize, words: &mut [u64]) {
        if let Some(found) = &self.found {
            let found = found.rows.words().get(first..).unwrap_or_default().iter().copied();
            let found = found.chain(std::iter::repeat(0));
            words.iter_mut().zip(found).for_each(|(word, found)| *word &= found);
            return;
        }
        for condition in &self.conditions {
            condition.attribute.narrow(first, words, &condition.spans);
        }
        if let Some(dead) = self.live.dead_rows() {
            let dead = dead.words().get(first..).unwrap_or_default();
            words.iter_mut().zip(dead).for_each(|(word, dead)| *word &= !dead);
        }
        let start = self.excluded.partition_point(|&row| (row as usize) < 64 * first);
        for &row in &self.excluded[start..] {
            let Some(word) = words.get_mut(row as usize / 64 - first) else { break };
            *word &= !(1 << (row % 64));
        }
    }

    /// Takes those of some rows out, from a place on, that are not in the region.
    pub(super) fn keep_in_region(&self, from: usize, rows: &mut Vec<u32>) {
        // Rows that were found one by one are in it.
        let Some((_, test)) = self.region.as_ref().filter(|_| self.found.is_none()) else { return };
        let mut places = Vec::new();
        test.select(&rows[from..], &mut places);
        for (place, &kept) in (from..).zip(&places) {
            rows[place] = rows[from + kept as usize];
        }
        rows.truncate(from + places.len());
    }
}

/// The words of a run of rows, all of them in it; returns the number of the first word.
pub(super) fn words_of(run: std::ops::Range<usize>, words: &mut Vec<u64>) -> usize {
    let first = run.start / 64;
    words.clear();
    words.resize(run.end.div_ceil(64) - first, u64::MAX);
    if let Some(word) = words.first_mut() {
        *word &= u64::MAX << (run.start % 64);
    }
    if let Some(word) = words.last_mut()
        && !run.end.is_multiple_of(64)
    {
        *word &= u64::MAX >> (64 - run.end % 64);
    }
    first
}

/// Appends the rows of words.
pub(super) fn push_rows(first: usize, words: &[u64], rows: &mut Vec<u32>) {
    for (place, &word) in (first..).zip(words) {
        let mut left = word;
        while left != 0 {
            rows.push((64 * place) as u32 + left.trailing_zeros());
            left &= left - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_hold_the_rows_of_their_run(start in 0_usize..300, count in 1_usize..300) {
            let (mut words, mut rows) = (vec![7], Vec::new());
            let first = words_of(start..start + count, &mut words);
            push_rows(first, &words, &mut rows);
            prop_assert_eq!(rows, (start as u32..(start + count) as u32).collect::<Vec<_>>());
        }
    }
}
