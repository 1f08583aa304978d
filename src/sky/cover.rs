//! Covers: cells that together hold every point of a region.
//!
//! The cover is a superset: cells that only the circle around them brings to the region's edge are in it. (The
//! library's own cone coverage is called approximate by its authors.)

use super::{Cell, CellJudge, Moc, Order, Overlap};

/// The most ranges that a computed cover has.
pub const COVER_RANGES_MAX: usize = 2048;

/// Descends along the border of a region until the cells are as small, or as many, as may be.
pub(super) fn cover(judge: &CellJudge<'_>) -> Moc {
    let mut inside = Vec::new();
    let mut border = Vec::new();
    sort_out(Cell::base(), judge, &mut inside, &mut border);
    let mut order = Order::BASE;
    while let Some(finer) = order.finer() {
        // Each border cell makes at most four cells: the bound holds whatever the region is.
        if border.is_empty() || inside.len() + 4 * border.len() > COVER_RANGES_MAX {
            break;
        }
        let children = std::mem::take(&mut border).into_iter().flat_map(|cell| cell.children());
        sort_out(children, judge, &mut inside, &mut border);
        order = finer;
    }
    inside.into_iter().chain(border).collect()
}

fn sort_out(
    cells: impl Iterator<Item = Cell>,
    judge: &CellJudge<'_>,
    inside: &mut Vec<Cell>,
    border: &mut Vec<Cell>,
) {
    for cell in cells {
        match judge.overlap(&cell) {
            Overlap::Outside => {}
            Overlap::Inside => inside.push(cell),
            Overlap::Border => border.push(cell),
        }
    }
}
