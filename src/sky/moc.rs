//! Coverage maps: sets of order-29 cells as sorted ranges.

use std::ops::Range;

use super::{Cell, Cell29, Order, Overlap};

/// A part of the sky as order-29 cells (a multi-order coverage map of the IVOA, space only).
///
/// Invariant: the ranges are sorted, disjoint, not empty, do not touch each other and lie inside
/// the sphere. Two maps of the same sky are therefore equal; an order under which a map was once
/// made is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moc {
    ranges: Vec<Range<u64>>,
}

impl Moc {
    /// Nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Everything.
    pub fn all_sky() -> Self {
        Self { ranges: vec![full_range()] }
    }

    /// Collects ranges of order-29 numbers in any order, overlapping or not; what lies beyond the
    /// last cell of the sphere is cut off.
    pub fn from_ranges(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut sorted: Vec<_> = ranges
            .into_iter()
            .map(|range| range.start..range.end.min(Cell29::COUNT))
            .filter(|range| !range.is_empty())
            .collect();
        sorted.sort_unstable_by_key(|range| range.start);
        Self { ranges: joined(sorted) }
    }

    /// Collects single order-29 cells in any order.
    pub fn from_cells(cells: impl IntoIterator<Item = Cell29>) -> Self {
        Self::from_ranges(cells.into_iter().map(|cell| cell.0..cell.0.saturating_add(1)))
    }

    /// The sorted, disjoint, half-open ranges of order-29 numbers.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// True when nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// True when the cell is covered.
    ///
    /// # Complexity
    /// Logarithmic in the number of ranges.
    pub fn contains(&self, cell: Cell29) -> bool {
        let next = self.ranges.partition_point(|range| range.end <= cell.0);
        self.ranges.get(next).is_some_and(|range| range.start <= cell.0)
    }

    /// How a range of order-29 numbers lies to the map; `Border` is both inside and outside.
    pub(super) fn overlap(&self, cells: &Range<u64>) -> Overlap {
        let next = self.ranges.partition_point(|range| range.end <= cells.start);
        match self.ranges.get(next) {
            Some(range) if range.start <= cells.start && cells.end <= range.end => Overlap::Inside,
            Some(range) if range.start < cells.end => Overlap::Border,
            Some(_) | None => Overlap::Outside,
        }
    }

    /// What is covered by either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::from_ranges(self.ranges.iter().chain(&other.ranges).cloned())
    }

    /// What is covered by both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut left = self.ranges.iter().peekable();
        let mut right = other.ranges.iter().peekable();
        let mut ranges = Vec::new();
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let common = a.start.max(b.start)..a.end.min(b.end);
            let advance_left = a.end < b.end;
            if !common.is_empty() {
                ranges.push(common);
            }
            if advance_left {
                left.next();
            } else {
                right.next();
            }
        }
        Self { ranges }
    }

    /// The cells of `order` that are covered wholly or in part: a superset.
    #[must_use]
    pub fn degraded(&self, order: Order) -> Self {
        let shift = order.shift();
        let widened = self.ranges.iter().map(|range| {
            let last = (range.end - 1) >> shift;
            range.start >> shift << shift..(last + 1) << shift
        });
        Self { ranges: joined(widened) }
    }

    /// How many order-29 cells are covered.
    pub fn cell_count(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// The covered fraction of the sphere, 0 to 1.
    pub fn sky_fraction(&self) -> f64 {
        self.cell_count() as f64 / Cell29::COUNT as f64
    }

    /// The coarsest order whose cells describe the map exactly.
    pub fn order(&self) -> Order {
        let edges = self.ranges.iter().fold(full_range().end, |all, r| all | r.start | r.end);
        let coarser = (edges.trailing_zeros() / 2).min(u32::from(Order::MAX.get()));
        Order::new(u64::from(u32::from(Order::MAX.get()) - coarser)).unwrap_or(Order::MAX)
    }

    /// The largest NESTED cells that make up the map, along the sky order.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        self.ranges.iter().flat_map(|range| {
            let mut rest = range.clone();
            std::iter::from_fn(move || {
                let cell = largest_cell(&rest)?;
                rest.start = cell.range().end;
                Some(cell)
            })
        })
    }
}

/// Collects cells of any orders, in any order, overlapping or not.
impl FromIterator<Cell> for Moc {
    fn from_iter<I: IntoIterator<Item = Cell>>(cells: I) -> Self {
        Self::from_ranges(cells.into_iter().map(|cell| cell.range()))
    }
}

fn full_range() -> Range<u64> {
    0..Cell29::COUNT
}

/// Joins ranges, sorted by start, that overlap or touch.
fn joined(sorted: impl IntoIterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match ranges.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => ranges.push(range),
        }
    }
    ranges
}

/// The largest cell that starts where the range starts and does not leave it.
fn largest_cell(range: &Range<u64>) -> Option<Cell> {
    let length = range.end.checked_sub(range.start).filter(|&length| length > 0)?;
    let aligned = range.start.trailing_zeros() / 2;
    let fitting = length.ilog2() / 2;
    let coarser = aligned.min(fitting).min(u32::from(Order::MAX.get()));
    let order = Order::new(u64::from(u32::from(Order::MAX.get()) - coarser)).ok()?;
    Some(Cell29(range.start).parent(order))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Maps on the first 512 cells, small enough to compare with plain sets.
    fn small() -> impl Strategy<Value = (Moc, BTreeSet<u64>)> {
        vec((0_u64..512, 0_u64..40), 0..12).prop_map(|pairs| {
            let ranges: Vec<_> =
                pairs.iter().map(|&(start, n)| start..(start + n).min(512)).collect();
            let set = ranges.iter().cloned().flatten().collect();
            (Moc::from_ranges(ranges), set)
        })
    }

    fn members(moc: &Moc) -> BTreeSet<u64> {
        moc.ranges().iter().cloned().flatten().collect()
    }

    fn is_canonical(moc: &Moc) -> bool {
        moc.ranges().iter().all(|range| !range.is_empty() && range.end <= Cell29::COUNT)
            && moc.ranges().windows(2).all(|pair| pair[0].end < pair[1].start)
    }

    proptest! {
        #[test]
        fn algebra_equals_that_of_sets((a, set_a) in small(), (b, set_b) in small()) {
            prop_assert_eq!(members(&a), set_a.clone());
            let (union, intersection) = (a.union(&b), a.intersection(&b));
            prop_assert!(is_canonical(&a) && is_canonical(&union) && is_canonical(&intersection));
            prop_assert_eq!(members(&union), &set_a | &set_b);
            prop_assert_eq!(members(&intersection), &set_a & &set_b);
            for cell in 0..513 {
                prop_assert_eq!(a.contains(Cell29(cell)), set_a.contains(&cell));
            }
            prop_assert_eq!(a.cell_count(), set_a.len() as u64);
            prop_assert_eq!(Moc::from_cells(set_a.into_iter().rev().map(Cell29)), a);
        }

        #[test]
        fn degrading_keeps_whole_parents((a, set) in small(), order in 25_u64..=29) {
            let order = Order::new(order).expect("in range");
            let degraded = a.degraded(order);
            prop_assert!(is_canonical(&degraded));
            prop_assert!(degraded.order() <= order);
            let parents = set.iter().map(|&cell| Cell29(cell).parent(order));
            prop_assert_eq!(degraded, parents.collect::<Moc>());
        }

        #[test]
        fn cells_make_up_the_map((a, _) in small()) {
            prop_assert_eq!(a.cells().collect::<Moc>(), a.clone());
            prop_assert!(a.cells().all(|cell| cell.order() <= a.order()));
        }
    }

    #[test]
    fn extremes() {
        assert!(Moc::empty().is_empty());
        assert_eq!(Moc::empty().order(), Order::BASE);
        assert_eq!(Moc::empty().sky_fraction(), 0.0);
        assert_eq!(Moc::all_sky().sky_fraction(), 1.0);
        assert_eq!(Moc::all_sky().order(), Order::BASE);
        assert_eq!(Moc::all_sky().cells().count(), 12);
        assert!(!Moc::all_sky().contains(Cell29(Cell29::COUNT)));
        let cut = Moc::from_ranges([5..5, 9..u64::MAX]);
        assert_eq!(cut.ranges().first(), Some(&(9..Cell29::COUNT)));
        assert_eq!(cut.ranges().len(), 1);
        assert!(Moc::from_cells([Cell29(u64::MAX)]).is_empty());
        assert_eq!(Moc::from_cells([Cell29(3)]).order(), Order::MAX);
    }
}
