//! Which of the rows to come should be asked for from memory before they are compared.
//!
//! A processor reads ahead by itself along a long run, but finds out only after some lines, and not beyond a page. Where
//! runs are short a scan so waits for memory at the beginning of each: on a Zen 4 core, runs of 12 KB come at 10 GB/s, and at
//! 19 GB/s when their lines are asked for into the second cache, 8 KB or more ahead; an array in order comes at 28 GB/s. Rows
//! that are shorter than a page are all asked for: in a long run, too, that costs less than finding out where it ends (unless each
//! has to be searched for). With rows of a page and more, asking for more than the beginning of a long run is in the way of what the processor does anyway
//! (23 against 28 GB/s).

/// How far ahead rows are asked for.
const AHEAD_BYTES: usize = 8 << 10;

/// Rows from this length on are asked for by the runs that they make.
const PAGE_BYTES: usize = 4 << 10;

/// Runs of up to this length are asked for whole.
const SHORT_BYTES: usize = 96 << 10;

/// What is asked for of a longer one.
const FIRST_BYTES: usize = 8 << 10;

/// Goes ahead of a comparison of rows.
pub(super) struct Ahead {
    ahead: usize,
    /// Whether every row is asked for.
    is_all: bool,
    short: usize,
    first: usize,
    /// For each row of the chunk, whether it is asked for, where not all are.
    wanted: Vec<bool>,
}

impl Ahead {
    /// For rows of so many bytes; `is_found_at_once` where asking for one needs no search.
    pub(super) fn new(row_bytes: usize, is_found_at_once: bool) -> Self {
        let rows = |bytes: usize| bytes.div_ceil(row_bytes.max(1));
        let is_all = is_found_at_once && row_bytes < PAGE_BYTES;
        Self {
            // Where not all are asked for there is more to find out.
            ahead: rows(if is_all { AHEAD_BYTES } else { 2 * AHEAD_BYTES }),
            is_all,
            short: rows(SHORT_BYTES),
            first: rows(FIRST_BYTES),
            wanted: Vec::new(),
        }
    }

    /// Begins a chunk of rows: asks for those that lie before what is asked for at the first step.
    pub(super) fn begin(&mut self, rows: &[u32], mut ask: impl FnMut(u32)) {
        self.choose(rows);
        for place in 0..self.ahead {
            self.ask_for(rows, place, &mut ask);
        }
    }

    fn choose(&mut self, rows: &[u32]) {
        if self.is_all {
            return;
        }
        self.wanted.clear();
        for run in rows.chunk_by(|left, right| left.checked_add(1) == Some(*right)) {
            let asked = if run.len() <= self.short { run.len() } else { self.first };
            let start = self.wanted.len();
            self.wanted.resize(start + asked, true);
            self.wanted.resize(start + run.len(), false);
        }
    }

    /// Asks for what lies so far ahead of a place in the chunk, which is about to be compared.
    #[inline]
    pub(super) fn step(&self, rows: &[u32], place: usize, ask: impl FnMut(u32)) {
        self.ask_for(rows, place + self.ahead, ask);
    }

    #[inline]
    fn ask_for(&self, rows: &[u32], place: usize, mut ask: impl FnMut(u32)) {
        if let Some(&row) = rows.get(place)
            && (self.is_all || self.wanted.get(place) == Some(&true))
        {
            ask(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(rows: &[u32], row_bytes: usize) -> Vec<Vec<u32>> {
        asked_by(rows, Ahead::new(row_bytes, true))
    }

    fn asked_by(rows: &[u32], mut ahead: Ahead) -> Vec<Vec<u32>> {
        let mut first = Vec::new();
        ahead.begin(rows, |row| first.push(row));
        let step = |place| {
            let mut asked = Vec::new();
            ahead.step(rows, place, |row| asked.push(row));
            asked
        };
        std::iter::once(first).chain((0..rows.len()).map(step)).collect()
    }

    #[test]
    fn short_rows_are_all_asked_for() {
        let rows: Vec<u32> = (0..500).chain([7_000, 9_000]).collect();
        let asked = asked(&rows, 1 << 10);
        assert_eq!(asked.concat(), rows);
        assert_eq!(asked[0], rows[..8]);
        assert_eq!(asked[1], rows[8..9]);
    }

    #[test]
    fn of_long_runs_of_rows_that_are_searched_for_only_the_beginning_is() {
        let rows: Vec<u32> = (0..500).chain([7_000]).collect();
        let asked = asked_by(&rows, Ahead::new(1 << 10, false));
        assert_eq!(asked.concat(), [0, 1, 2, 3, 4, 5, 6, 7, 7_000]);
    }

    #[test]
    fn short_runs_are_asked_for_whole_and_ahead() {
        let rows: Vec<u32> = [3..8, 20..21, 40..60].into_iter().flatten().collect();
        let asked = asked(&rows, 4 << 10);
        assert_eq!(asked.concat(), rows);
        assert_eq!(asked[0], rows[..4]);
        assert_eq!(asked[1], rows[4..5]);
    }

    #[test]
    fn of_long_runs_the_beginning_is() {
        let rows: Vec<u32> = (0..200).chain(300..301).collect();
        let asked = asked(&rows, 4 << 10);
        assert_eq!(asked.concat(), [0, 1, 300]);
        assert_eq!(asked[197], [300]);
    }
}
