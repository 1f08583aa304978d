//! Attribute indices: which rows of a part satisfy a condition on one column, at the price of those rows.
//!
//! The distinct values of a column are sorted, and each row has the rank of its value among them; NaN and null have
//! ranks of their own above all values. A condition on the column is then a few intervals of ranks, found by binary
//! search. Testing a row is one comparison of a small integer; the rows of an interval lie side by side in a
//! permutation; and their number is the difference of two places.

mod build;
mod file;
mod keys;
mod mask;
mod rank;
mod ranks;
mod spans;
mod starts;
mod values;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub(super) use build::{BuildPlan, build, open};
use file::Layout;
use keys::Kind;
use ranks::Ranks;
pub use spans::{Span, Spans};
use starts::{OTHERS, Starts};
use values::Cut;
pub use values::{Scalar, ValueSet};

use super::mapped::MappedSections;

/// Appends the places in `rows` of those rows that an interval of ranks holds: the loop of [`Attribute::select`], for the measurement
/// of what it costs.
pub(super) fn test_rows(ranks: &[u32], rows: &[u32], keep: &mut Vec<u32>) {
    let some = Span { start: 0, end: u32::MAX / 2 };
    Ranks::Words(ranks).select(rows, &Spans::new([some], u32::MAX), keep);
}

/// The index of one column of one part. Nothing of it is in memory but what queries have touched of its file.
#[derive(Debug)]
pub struct Attribute {
    file: MappedSections,
    layout: Layout,
}

impl Attribute {
    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.layout.rows
    }

    /// Bytes of what a test of a row reads one place of.
    pub fn tested_bytes(&self) -> u64 {
        (self.layout.rows * self.layout.width) as u64
    }

    /// Number of distinct values, without NaN and null.
    pub fn distinct(&self) -> usize {
        self.layout.distinct
    }

    /// The ranks of the values of a set. Bounds of another kind than the column's bound nothing.
    ///
    /// # Complexity
    /// Two binary searches among the distinct values for each interval of the set.
    pub fn spans(&self, values: &ValueSet) -> Spans {
        let distinct = self.layout.distinct as u32;
        let above = |is_in: bool, above: u32| Span {
            start: distinct + above,
            end: distinct + above + u32::from(is_in),
        };
        let outside = [above(values.has_nan(), 0), above(values.has_null(), 1)];
        let inside = match self.layout.kind {
            Kind::Text => self.text_spans(values),
            kind => self.key_spans(kind, values),
        };
        Spans::new(inside.into_iter().chain(outside), distinct + 2)
    }

    fn key_spans(&self, kind: Kind, values: &ValueSet) -> Vec<Span> {
        let keys: &[u64] = self.section(self.layout.values, self.layout.distinct);
        let span = |range: std::ops::RangeInclusive<u64>| Span {
            start: keys.partition_point(|key| key < range.start()) as u32,
            end: keys.partition_point(|key| key <= range.end()) as u32,
        };
        kind.ranges(values).into_iter().map(span).collect()
    }

    fn text_spans(&self, values: &ValueSet) -> Vec<Span> {
        let span = |(start, end)| Span { start, end };
        let places = values.intervals().iter().map(|interval| {
            Some((self.text_place(&interval.low)?, self.text_place(&interval.high)?))
        });
        places.flatten().map(span).collect()
    }

    /// Number of texts before a place.
    fn text_place(&self, cut: &Cut) -> Option<u32> {
        let (bound, or_equal) = match cut {
            Cut::Start => return Some(0),
            Cut::End => return Some(self.layout.distinct as u32),
            Cut::Before(Scalar::Text(bound)) => (bound.as_bytes(), false),
            Cut::After(Scalar::Text(bound)) => (bound.as_bytes(), true),
            Cut::Before(_) | Cut::After(_) => return None,
        };
        let offsets: &[u64] = self.section(self.layout.values, self.layout.distinct + 1);
        let text: &[u8] = self.section(self.layout.text, self.layout.text_bytes);
        let ends = offsets.get(1..).unwrap_or_default();
        // Each offset is the end of one text and the start of the next; the search goes over the places of the ends.
        let (mut low, mut high) = (0, ends.len());
        while low < high {
            let middle = low.midpoint(high);
            let range = offsets.get(middle).zip(ends.get(middle));
            let value = range
                .and_then(|(&start, &end)| {
                    text.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
                })
                .unwrap_or_default();
            if value < bound || (or_equal && value == bound) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(low as u32)
    }

    /// Number of rows of the spans.
    ///
    /// # Complexity
    /// Two memory accesses for each span, or two binary searches among the blocks of rows where nearly all values differ.
    pub fn count(&self, spans: &Spans) -> usize {
        spans.as_slice().iter().map(|span| self.places(*span).len()).sum()
    }

    /// The rows of the spans: ascending within each rank, rank after rank.
    ///
    /// # Complexity
    /// Their number.
    pub fn rows<'a>(&'a self, spans: &'a Spans) -> impl Iterator<Item = u32> + 'a {
        let rows = self.layout.rows as u32;
        // A damaged file must not name rows that do not exist.
        self.row_runs(spans).flatten().copied().filter(move |&row| row < rows)
    }

    /// The same as they lie in the file, span by span: of a damaged one there may be rows among them that do not exist.
    pub fn row_runs<'a>(&'a self, spans: &'a Spans) -> impl Iterator<Item = &'a [u32]> + 'a {
        let order: &[u32] = self.section(self.layout.order, self.layout.rows);
        let places = spans.as_slice().iter().map(|span| self.places(*span));
        places.map(move |places| order.get(places).unwrap_or_default())
    }

    /// All rows in the order of their values, in portions of whole ranks with at least `wanted` rows each but the last: the
    /// smallest first, or the largest; NaN and then null come last either way.
    pub fn in_order(&self, descending: bool, wanted: usize) -> impl Iterator<Item = Vec<u32>> + '_ {
        let order: &[u32] = self.section(self.layout.order, self.layout.rows);
        let (distinct, rows) = (self.layout.distinct as u32, self.layout.rows as u32);
        let starts = self.starts();
        // Of the ranks gone through one after the other, each begins where its neighbour ends.
        let (mut next, mut border) = (0, if descending { starts.of(distinct) } else { 0 });
        std::iter::from_fn(move || {
            let mut portion = Vec::new();
            while next < distinct + 2 && portion.len() < wanted.max(1) {
                if descending && next == distinct {
                    border = starts.of(distinct);
                }
                let places = if descending && next < distinct {
                    let start = starts.before(distinct - next, border);
                    start..std::mem::replace(&mut border, start)
                } else {
                    let end = starts.after(next, border);
                    std::mem::replace(&mut border, end)..end
                };
                let there = order.get(places).unwrap_or_default().iter().copied();
                portion.extend(there.filter(|&row| row < rows));
                next += 1;
            }
            (!portion.is_empty()).then_some(portion)
        })
    }

    /// Some of the rows of the spans, about `wanted` of them and evenly over the ranks.
    ///
    /// # Complexity
    /// Their number.
    pub fn sample(&self, spans: &Spans, wanted: usize) -> Vec<u32> {
        let order: &[u32] = self.section(self.layout.order, self.layout.rows);
        let step = self.count(spans).div_ceil(wanted.max(1)).max(1);
        let (mut sample, mut skip) = (Vec::with_capacity(wanted + 1), step / 2);
        for span in spans.as_slice() {
            let rows = order.get(self.places(*span)).unwrap_or_default();
            let there = rows.iter().skip(skip).step_by(step).copied();
            sample.extend(there.filter(|&row| (row as usize) < self.layout.rows));
            let taken = rows.len().saturating_sub(skip).div_ceil(step);
            skip = skip + taken * step - rows.len().min(skip + taken * step);
        }
        sample
    }

    /// Whether a row is in the spans; false beyond the end.
    pub fn holds(&self, row: usize, spans: &Spans) -> bool {
        self.ranks().of(row).is_some_and(|rank| spans.holds(rank))
    }

    /// Appends the places in `rows` of those rows that are in the spans, ascending.
    ///
    /// # Complexity
    /// One load and comparison a row for one span; a few for several.
    pub fn select(&self, rows: &[u32], spans: &Spans, keep: &mut Vec<u32>) {
        self.ranks().select(rows, spans, keep);
    }

    /// Takes the rows out of some words that are not in the spans: each word has a bit for each of 64 rows, the lowest for the
    /// first, and the first word is for the rows from `64 * first` on. Rows that do not exist are taken out, too.
    ///
    /// # Complexity
    /// The ranks are read in order, except where all rows of a word are out already.
    pub fn narrow(&self, first: usize, words: &mut [u64], spans: &Spans) {
        self.ranks().narrow(first, words, spans);
    }

    fn ranks(&self) -> Ranks<'_> {
        let Layout { ranks, rows, width, .. } = self.layout;
        match width {
            1 => Ranks::Bytes(self.section(ranks, rows)),
            2 => Ranks::Halves(self.section(ranks, rows)),
            _ => Ranks::Words(self.section(ranks, rows)),
        }
    }

    /// Places of a span's rows in the order; none where a damaged file has them descend.
    fn places(&self, span: Span) -> Range<usize> {
        let starts = self.starts();
        let end = starts.of(span.end).min(self.layout.rows);
        starts.of(span.start).min(end)..end
    }

    fn starts(&self) -> Starts<'_> {
        let Layout { starts, rows, distinct, .. } = self.layout;
        match self.layout.marks {
            None => Starts::Table(self.section(starts, distinct + OTHERS)),
            Some(marks) => Starts::Marks {
                distinct,
                others: self.section(starts, OTHERS),
                before: self.section(marks.before, starts::block_count(rows)),
                words: self.section(marks.words, starts::word_count(rows)),
            },
        }
    }

    /// A section, whose bounds were seen to be in the file when it was opened.
    fn section<T: super::mapped::Plain>(&self, start: usize, count: usize) -> &[T] {
        self.file.numbers(start, count).unwrap_or_default()
    }
}
