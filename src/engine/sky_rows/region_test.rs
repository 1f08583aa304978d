//! Whether a row of a part lies in a region: the same answer as the region's own, mostly without trigonometry.

use std::ops::Range;

use super::{RegionRows, rows_of_map};
use crate::engine::part::Part;
use crate::sky::{Cell29, ConeTest, Direction, Moc, Region};
use crate::vector::RowBitmap;

/// A region made ready for the rows of one part.
#[derive(Debug)]
pub struct RegionTest<'a> {
    part: &'a Part,
    region: &'a Region,
    /// For a cone, its quick test and what it reads.
    quick: Option<(ConeTest, &'a [u64])>,
}

impl<'a> RegionTest<'a> {
    pub(in crate::engine) fn new(part: &'a Part, region: &'a Region) -> Self {
        let quick = if let Region::Cone(cone) = region {
            Some((ConeTest::new(cone), part.directions()))
        } else {
            None
        };
        Self { part, region, quick }
    }

    /// Whether a row's position is in the region; false beyond the last row.
    pub fn contains(&self, row: usize) -> bool {
        if let Some((cone, directions)) = &self.quick {
            let Some(&direction) = directions.get(row) else { return false };
            let (is_inside, is_certain) = cone.judge(Direction::from_bits(direction));
            return if is_certain { is_inside } else { self.contains_exactly(row) };
        }
        match self.region {
            Region::AllSky => row < self.part.row_count(),
            Region::Moc(map) => self.lies_in(map, row),
            Region::Cone(_) | Region::Polygon(_) | Region::Zone(_) => self.contains_exactly(row),
        }
    }

    /// Whether a row lies in a map: mostly told by what is in memory of its cell.
    fn lies_in(&self, map: &Moc, row: usize) -> bool {
        let cells = self.part.cells();
        let Some((floor, ceiling)) = cells.floor(row).zip(cells.ceiling(row)) else { return false };
        let next = map.ranges().partition_point(|range| range.end <= floor);
        let Some(range) = map.ranges().get(next).filter(|range| range.start <= ceiling) else {
            return false;
        };
        let is_within = range.start <= floor && ceiling < range.end;
        is_within || cells.get(row).is_some_and(|cell| map.contains(Cell29(cell)))
    }

    fn contains_exactly(&self, row: usize) -> bool {
        self.part.position_at(row).is_some_and(|position| self.region.contains(&position))
    }

    /// Adds the rows of a range that pass to a set over the part's rows.
    pub fn mark(&self, rows: Range<usize>, into: &mut RowBitmap) {
        let rows = rows.start..rows.end.min(self.part.row_count());
        if rows.is_empty() {
            return;
        }
        if let Some((cone, directions)) = &self.quick {
            self.mark_cone(cone, directions, rows, into);
            return;
        }
        match self.region {
            Region::AllSky => into.insert_range(rows),
            Region::Moc(map) => {
                rows_of_map(self.part.cells(), rows, map)
                    .for_each(|found| into.insert_range(found));
            }
            Region::Cone(_) | Region::Polygon(_) | Region::Zone(_) => {
                rows.filter(|&row| self.contains_exactly(row)).for_each(|row| into.insert(row));
            }
        }
    }

    fn mark_cone(
        &self,
        cone: &ConeTest,
        directions: &[u64],
        rows: Range<usize>,
        into: &mut RowBitmap,
    ) {
        let mut start = rows.start;
        while start < rows.end {
            // One word of the set at a time.
            let word = start / 64;
            let end = (64 * (word + 1)).min(rows.end);
            let (mut passed, mut doubtful) = (0_u64, 0_u64);
            let some = directions.get(start..end).unwrap_or_default();
            for (&direction, bit) in some.iter().zip(start % 64..) {
                let (is_inside, is_certain) = cone.judge(Direction::from_bits(direction));
                passed |= u64::from(is_inside) << bit;
                doubtful |= u64::from(!is_certain) << bit;
            }
            while doubtful != 0 {
                let bit = doubtful.trailing_zeros();
                doubtful &= doubtful - 1;
                if self.contains_exactly(64 * word + bit as usize) {
                    passed |= 1 << bit;
                }
            }
            into.insert_word(word, passed);
            start = end;
        }
    }

    /// Adds every row of the region to a set over the part's rows: those of inside runs unseen, those of border runs
    /// that pass. `found` must be of the same part and region.
    pub fn mark_all(&self, found: &RegionRows, into: &mut RowBitmap) {
        for run in found.runs() {
            if run.inside {
                into.insert_range(run.rows.clone());
            } else {
                self.mark(run.rows.clone(), into);
            }
        }
    }

    /// Appends the places in `rows` whose rows pass, ascending.
    pub fn select(&self, rows: &[u32], keep: &mut Vec<u32>) {
        if let Some((cone, directions)) = &self.quick {
            return self.select_in_cone(cone, directions, rows, keep);
        }
        let places = (0_u32..).zip(rows);
        keep.extend(
            places.filter(|&(_, &row)| self.contains(row as usize)).map(|(place, _)| place),
        );
    }

    /// Without a branch that depends on where a row is: at the edge of a cone no processor guesses that.
    fn select_in_cone(
        &self,
        cone: &ConeTest,
        directions: &[u64],
        rows: &[u32],
        keep: &mut Vec<u32>,
    ) {
        let nowhere = Direction::NOWHERE.to_bits();
        let mut kept = keep.len();
        keep.resize(kept + rows.len(), 0);
        for (place, &row) in (0_u32..).zip(rows) {
            let direction = directions.get(row as usize).copied().unwrap_or(nowhere);
            let (mut passes, is_certain) = cone.judge(Direction::from_bits(direction));
            if !is_certain {
                passes = self.contains_exactly(row as usize);
            }
            keep[kept] = place;
            kept += usize::from(passes);
        }
        keep.truncate(kept);
    }
}
