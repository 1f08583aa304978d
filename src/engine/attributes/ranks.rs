//! The ranks of all rows, as narrow as they can be, and the loops over them.
//!
//! Every loop is compiled for each width and each form of test: a rank is loaded and compared, nothing else.

use super::spans::{Span, Spans, Test, one_of_many_holds, table_holds};

/// Ranks in row order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ranks<'a> {
    Bytes(&'a [u8]),
    Halves(&'a [u16]),
    Words(&'a [u32]),
}

/// Bytes of a rank that is less than `ranks`.
pub(super) fn width(ranks: u64) -> usize {
    match ranks {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// A rank of one width.
trait Rank: Copy + PartialOrd {
    /// Ranks of an attribute fit the width that was chosen for them.
    fn narrow(rank: u32) -> Self;
    fn wide(self) -> u32;
    fn minus(self, other: Self) -> Self;
}

macro_rules! rank {
    ($($width:ty),*) => {$(
        impl Rank for $width {
            #[inline]
            fn narrow(rank: u32) -> Self {
                rank as Self
            }

            #[inline]
            fn wide(self) -> u32 {
                u32::from(self)
            }

            #[inline]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
        }
    )*};
}

rank!(u8, u16, u32);

/// A loop over ranks under a test.
trait Loop {
    fn run<R: Rank>(self, ranks: &[R], test: impl Fn(R) -> bool);
}

impl Ranks<'_> {
    /// The rank of a row.
    pub(super) fn of(self, row: usize) -> Option<u32> {
        match self {
            Self::Bytes(ranks) => ranks.get(row).map(|&rank| rank.wide()),
            Self::Halves(ranks) => ranks.get(row).map(|&rank| rank.wide()),
            Self::Words(ranks) => ranks.get(row).copied(),
        }
    }

    /// Appends the places in `rows` of those rows whose rank is in the spans.
    pub(super) fn select(self, rows: &[u32], spans: &Spans, keep: &mut Vec<u32>) {
        self.each_width(spans, Select { rows, keep });
    }

    /// Takes the rows out of words, each of 64 rows, the first of them at the word `first` of all, whose rank is not in the
    /// spans.
    pub(super) fn narrow(self, first: usize, words: &mut [u64], spans: &Spans) {
        self.each_width(spans, Narrow { first, words });
    }

    fn each_width(self, spans: &Spans, work: impl Loop) {
        match self {
            Self::Bytes(ranks) => each_test(ranks, spans, work),
            Self::Halves(ranks) => each_test(ranks, spans, work),
            Self::Words(ranks) => each_test(ranks, spans, work),
        }
    }
}

fn each_test<R: Rank>(ranks: &[R], spans: &Spans, work: impl Loop) {
    match spans.test() {
        Test::Nothing => work.run(ranks, |_| false),
        Test::One(span) => work.run(ranks, within(span)),
        Test::Two(one, other) => {
            let (holds, other_holds) = (within(one), within(other));
            // Without a branch, so that vectors of ranks can be compared.
            work.run(ranks, |rank| holds(rank) | other_holds(rank));
        }
        Test::Table(table) => work.run(ranks, |rank| table_holds(table, rank.wide())),
        Test::Many(spans) => work.run(ranks, |rank| one_of_many_holds(spans, rank.wide())),
    }
}

fn within<R: Rank>(span: Span) -> impl Fn(R) -> bool {
    let (start, last) = (R::narrow(span.start), R::narrow(span.end - 1 - span.start));
    move |rank| rank.minus(start) <= last
}

struct Select<'a> {
    rows: &'a [u32],
    keep: &'a mut Vec<u32>,
}

impl Loop for Select<'_> {
    /// Every place is written and the end moves only for those that pass: no branch on the outcome, which the
    /// processor could not foresee.
    fn run<R: Rank>(self, ranks: &[R], test: impl Fn(R) -> bool) {
        let before = self.keep.len();
        self.keep.resize(before + self.rows.len(), 0);
        let found = &mut self.keep[before..];
        let mut count = 0;
        for (place, &row) in self.rows.iter().enumerate() {
            if let Some(free) = found.get_mut(count) {
                *free = place as u32;
            }
            count += usize::from(ranks.get(row as usize).is_some_and(|&rank| test(rank)));
        }
        self.keep.truncate(before + count);
    }
}

struct Narrow<'a> {
    first: usize,
    words: &'a mut [u64],
}

impl Loop for Narrow<'_> {
    fn run<R: Rank>(self, ranks: &[R], test: impl Fn(R) -> bool) {
        for (place, word) in (self.first..).zip(self.words) {
            if *word != 0 {
                let rest = ranks.get(place * 64..).unwrap_or_default();
                *word &= passing(&rest[..rest.len().min(64)], &test);
            }
        }
    }
}

/// A bit for each of up to 64 ranks, the first one lowest.
#[inline]
fn passing<R: Rank>(block: &[R], test: &impl Fn(R) -> bool) -> u64 {
    let mut passes = [0u8; 64];
    // A length that the compiler knows makes vector instructions of the first of the two loops.
    if let Ok(full) = <&[R; 64]>::try_from(block) {
        for (pass, &rank) in passes.iter_mut().zip(full) {
            *pass = u8::from(test(rank));
        }
    } else {
        for (pass, &rank) in passes.iter_mut().zip(block) {
            *pass = u8::from(test(rank));
        }
    }
    let (eights, _) = passes.as_chunks::<8>();
    eights.iter().rev().fold(0, |bits, eight| bits << 8 | eight_bits(*eight))
}

/// Eight bytes that are 0 or 1 as eight bits, the first one lowest: the product moves the bit of byte `i` from place
/// `8 i` to place `56 + i`, where no two meet.
#[inline]
fn eight_bits(bytes: [u8; 8]) -> u64 {
    u64::from_le_bytes(bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56
}
