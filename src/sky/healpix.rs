//! The only importer of the HEALPix library: longitudes, depths and hashes stop here.

use ::healpix::nested;

use super::vector3::{Vector3, angle};
use super::{Cell, Cell29, Order, Position, Radians};

/// The cell that holds a position.
pub(super) fn cell29(position: &Position) -> Cell29 {
    let ra = Radians::from(position.ra()).0;
    // The library panics beyond the pole, where a rounded conversion could end.
    let pole = std::f64::consts::FRAC_PI_2;
    let dec = Radians::from(position.dec()).0.clamp(-pole, pole);
    Cell29(nested::hash(Order::MAX.get(), ra, dec))
}

/// The middle of a cell.
pub(super) fn centre(cell: &Cell) -> Position {
    let (ra, dec) = nested::center(cell.order().get(), cell.number());
    Position::from_radians(Radians(ra), Radians(dec))
}

/// No point of a cell of this order is farther from the cell's centre.
///
/// The farthest are the corners of the cells that touch the parallel z = 2/3 where the polar caps
/// begin; a millionth is added against rounding, which is 5e-8 of a cell at order 29.
///
/// # Reference
/// Gorski et al. 2005 (2005ApJ...622..759G), equations 4 to 9; `max_pixrad` of HEALPix.
pub(super) fn reach(order: Order) -> Radians {
    let nside = f64::from(1_u32 << order.get());
    let cap = 2.0 / 3.0_f64;
    let step = 1.0 - 1.0 / nside;
    let centre = at_height(cap, std::f64::consts::FRAC_PI_4 / nside);
    let corner = at_height(1.0 - step * step / 3.0, 0.0);
    Radians(angle(&centre, &corner) * (1.0 + 1e-6))
}

fn at_height(z: f64, longitude: f64) -> Vector3 {
    let (sin, cos) = longitude.sin_cos();
    let radius = (1.0 - z * z).sqrt();
    [radius * cos, radius * sin, z]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sky::testing::{at, position};

    /// Largest distance from the centre to a point of the cell, in units of `reach`.
    fn fill(cell: &Cell) -> f64 {
        let layer = nested::get(cell.order().get());
        let middle = centre(cell);
        let edge = 1.0 - f64::EPSILON;
        let mut farthest = 0.0_f64;
        for step in 0..=16 {
            let along = edge * f64::from(step) / 16.0;
            for (x, y) in [(along, 0.0), (along, edge), (0.0, along), (edge, along)] {
                let (ra, dec) = layer.sph_coo(cell.number(), x, y);
                let point = Position::from_radians(Radians(ra), Radians(dec));
                farthest = farthest.max(Radians::from(middle.separation(&point)).0);
            }
        }
        farthest / reach(cell.order()).0
    }

    #[test]
    fn no_cell_of_the_coarse_orders_exceeds_the_reach() {
        let mut largest = 0.0_f64;
        for order in 0..6 {
            let order = Order::new(order).expect("small");
            for number in 0..order.cell_count() {
                largest = largest.max(fill(&Cell::new(order, number).expect("in range")));
            }
        }
        assert!(largest <= 1.0, "{largest}");
        assert!(largest > 0.999, "the bound is not needlessly wide: {largest}");
    }

    proptest! {
        #[test]
        fn no_cell_of_any_order_exceeds_the_reach(place in position(), order in 6_u64..=25) {
            let order = Order::new(order).expect("in range");
            prop_assert!(fill(&place.cell29().parent(order)) <= 1.0);
        }

        #[test]
        fn the_centre_lies_in_its_cell(place in position(), order in 0_u64..=29) {
            let cell = place.cell29().parent(Order::new(order).expect("in range"));
            prop_assert!(cell.range().contains(&centre(&cell).cell29().0));
        }
    }

    #[test]
    fn every_edge_of_the_coordinates_has_a_cell() {
        let tiny = [0.0, f64::MIN_POSITIVE, 1e-300, 1e-18, 1e-9];
        for dec in [-90.0, -41.810_314_895_778_6, 0.0, 41.810_314_895_778_6, 90.0] {
            for quarter in 0..=4 {
                for offset in tiny {
                    for ra in
                        [f64::from(quarter) * 90.0 + offset, f64::from(quarter) * 90.0 - offset]
                    {
                        assert!(at(ra, dec).cell29().0 < Cell29::COUNT);
                    }
                    assert!(at(10.0, (dec - offset).max(-90.0)).cell29().0 < Cell29::COUNT);
                    assert!(at(10.0, (dec + offset).min(90.0)).cell29().0 < Cell29::COUNT);
                }
            }
        }
    }
}
