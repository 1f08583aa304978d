//! Covers: cells that together hold every point of a region.
//!
//! A cell is judged by the circle around it, so that nothing here depends on the shape of cells,
//! on poles or on RA 0. The cover is a superset: cells that only their circle brings to the
//! region's edge are in it. (The library's own cone coverage is called approximate by its authors.)

use super::vector3::Vector3;
use super::{Cell, Degrees, Moc, Order, Position, healpix};

/// The most ranges that a computed cover has.
pub const COVER_RANGES_MAX: usize = 2048;

/// Added to every comparison with a cell's circle: above all rounding and above
/// [`EDGE_TOLERANCE`](super::EDGE_TOLERANCE), far below an order-29 cell (1e-7 degrees).
pub(super) const MARGIN: Degrees = Degrees(1e-12);

/// The circle around a cell.
pub(super) struct Cap {
    pub(super) centre: Position,
    pub(super) vector: Vector3,
    pub(super) radius: Degrees,
}

/// How a cap lies to a region. `Outside` and `Inside` are certain, `Border` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overlap {
    Outside,
    Inside,
    Border,
}

/// Descends along the border of a region until the cells are as small, or as many, as may be.
pub(super) fn cover(overlap: impl Fn(&Cap) -> Overlap) -> Moc {
    let mut inside = Vec::new();
    let mut border = Vec::new();
    sort_out(Cell::base(), Order::BASE, &overlap, &mut inside, &mut border);
    let mut order = Order::BASE;
    while let Some(finer) = order.finer() {
        // Each border cell makes at most four cells: the bound holds whatever the region is.
        if border.is_empty() || inside.len() + 4 * border.len() > COVER_RANGES_MAX {
            break;
        }
        let children = std::mem::take(&mut border).into_iter().flat_map(|cell| cell.children());
        sort_out(children, finer, &overlap, &mut inside, &mut border);
        order = finer;
    }
    inside.into_iter().chain(border).collect()
}

fn sort_out(
    cells: impl Iterator<Item = Cell>,
    order: Order,
    overlap: impl Fn(&Cap) -> Overlap,
    inside: &mut Vec<Cell>,
    border: &mut Vec<Cell>,
) {
    let radius = healpix::reach(order).into();
    for cell in cells {
        let centre = healpix::centre(&cell);
        match overlap(&Cap { centre, vector: centre.vector(), radius }) {
            Overlap::Outside => {}
            Overlap::Inside => inside.push(cell),
            Overlap::Border => border.push(cell),
        }
    }
}
