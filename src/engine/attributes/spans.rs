//! Ranks that a condition leaves, and the quickest test for each number of them.

/// A half-open interval of ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First rank.
    pub start: u32,
    /// First rank after it.
    pub end: u32,
}

impl Span {
    fn holds(self, rank: u32) -> bool {
        rank.wrapping_sub(self.start) < self.end - self.start
    }
}

/// Ranks up to which a bit for each of them (128 kiB) is quicker than a binary search among more than two spans.
const TABLE_RANKS_MAX: u32 = 1 << 20;

/// Ascending, disjoint, non-empty spans of the ranks of one attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spans {
    spans: Vec<Span>,
    /// A bit for each rank; made for more than two spans over not too many ranks.
    table: Option<Vec<u64>>,
}

/// How a rank is tested.
#[derive(Debug, Clone, Copy)]
pub(super) enum Test<'a> {
    Nothing,
    One(Span),
    Two(Span, Span),
    Table(&'a [u64]),
    Many(&'a [Span]),
}

impl Spans {
    /// Joins ascending spans that touch, and leaves empty ones out. `ranks` is the number of ranks of the attribute.
    pub(super) fn new(ascending: impl IntoIterator<Item = Span>, ranks: u32) -> Self {
        let mut spans: Vec<Span> = Vec::new();
        for next in ascending {
            if next.start >= next.end {
                continue;
            }
            match spans.last_mut() {
                Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
                _ => spans.push(next),
            }
        }
        let table = (spans.len() > 2 && ranks <= TABLE_RANKS_MAX).then(|| table(&spans, ranks));
        Self { spans, table }
    }

    /// The spans.
    pub fn as_slice(&self) -> &[Span] {
        &self.spans
    }

    /// Whether no rank is in them.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub(super) fn test(&self) -> Test<'_> {
        match (self.spans.as_slice(), &self.table) {
            ([], _) => Test::Nothing,
            ([one], _) => Test::One(*one),
            ([one, other], _) => Test::Two(*one, *other),
            (_, Some(table)) => Test::Table(table),
            (many, None) => Test::Many(many),
        }
    }

    pub(super) fn holds(&self, rank: u32) -> bool {
        match self.test() {
            Test::Nothing => false,
            Test::One(span) => span.holds(rank),
            Test::Two(one, other) => one.holds(rank) || other.holds(rank),
            Test::Table(table) => table_holds(table, rank),
            Test::Many(spans) => one_of_many_holds(spans, rank),
        }
    }
}

fn table(spans: &[Span], ranks: u32) -> Vec<u64> {
    let mut words = vec![0u64; (ranks as usize).div_ceil(64)];
    for rank in spans.iter().flat_map(|span| span.start..span.end) {
        if let Some(word) = words.get_mut(rank as usize / 64) {
            *word |= 1 << (rank % 64);
        }
    }
    words
}

pub(super) fn table_holds(table: &[u64], rank: u32) -> bool {
    table.get(rank as usize / 64).is_some_and(|word| word >> (rank % 64) & 1 == 1)
}

pub(super) fn one_of_many_holds(spans: &[Span], rank: u32) -> bool {
    let after = spans.partition_point(|span| span.start <= rank);
    after.checked_sub(1).and_then(|place| spans.get(place)).is_some_and(|span| rank < span.end)
}
