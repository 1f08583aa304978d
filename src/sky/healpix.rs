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

/// The direction of the middle of a cell, to a few units of the last place: what [`centre`] gives, with one sine.
///
/// # Reference
/// Gorski et al. 2005 (2005ApJ...622..759G), equations 2 to 9; `pix2loc` of HEALPix C++.
pub(super) fn middle(cell: &Cell) -> Vector3 {
    /// Ring of the southern corner of each base cell, and longitude of its middle, in base cells and half ones.
    const BASE_RING: [i64; 12] = [2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4];
    const BASE_LONGITUDE: [i64; 12] = [1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7];
    let order = cell.order().get();
    let nside = 1_i64 << order;
    let base = (cell.number() >> (2 * order)) as usize % 12;
    let within = cell.number() & ((1 << (2 * order)) - 1);
    let (x, y) = (even_bits(within), even_bits(within >> 1));
    // Rings are counted from the north pole, and have 4 times as many cells as their number up to nside.
    let ring = BASE_RING[base] * nside - x - y - 1;
    let from_pole = ring.min(4 * nside - ring).min(nside);
    let (z, radius) = if from_pole < nside {
        let share = from_pole as f64 / nside as f64;
        let depth = share * share / 3.0;
        let z = if ring < nside { 1.0 - depth } else { depth - 1.0 };
        (z, (depth * (2.0 - depth)).sqrt())
    } else {
        let z = (2 * nside - ring) as f64 / nside as f64 * (2.0 / 3.0);
        (z, ((1.0 - z) * (1.0 + z)).sqrt())
    };
    let step = BASE_LONGITUDE[base] * from_pole + x - y;
    // The longitude is 45 degrees times step / from_pole: whole quarters are taken off before any rounding.
    let quarter = (step + from_pole).div_euclid(2 * from_pole);
    let rest = (step - 2 * from_pole * quarter) as f64 / from_pole as f64;
    let (sin, cos) = sin_cos_of_eighth(std::f64::consts::FRAC_PI_4 * rest);
    let (sin, cos) = match quarter & 3 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    };
    [radius * cos, radius * sin, z]
}

/// Sine and cosine of at most 45 degrees, to one unit of the last place, in a third of the library's time: a search of
/// the sky asks for hundreds.
///
/// # Reference
/// The polynomials of `__kernel_sin` and `__kernel_cos` of fdlibm (Sun Microsystems 1993).
#[inline]
fn sin_cos_of_eighth(angle: f64) -> (f64, f64) {
    const SIN: [f64; 6] = [
        1.589_690_995_211_55e-10,
        -2.505_076_025_340_686_3e-8,
        2.755_731_370_707_006_8e-6,
        -1.984_126_982_985_795e-4,
        8.333_333_333_322_49e-3,
        -1.666_666_666_666_663_2e-1,
    ];
    const COS: [f64; 6] = [
        -1.135_964_755_778_819_5e-11,
        2.087_572_321_298_175e-9,
        -2.755_731_435_139_066_3e-7,
        2.480_158_728_947_673e-5,
        -1.388_888_888_887_411e-3,
        4.166_666_666_666_66e-2,
    ];
    let square = angle * angle;
    let polynomial = |factors: &[f64; 6]| {
        factors.iter().fold(0.0, |sum: f64, factor| sum.mul_add(square, *factor))
    };
    let sin = (angle * square).mul_add(polynomial(&SIN), angle);
    let cos = (square * square).mul_add(polynomial(&COS), 0.5f64.mul_add(-square, 1.0));
    (sin, cos)
}

/// The bits at even places, moved together.
fn even_bits(bits: u64) -> i64 {
    let mut kept = bits & 0x5555_5555_5555_5555;
    kept = (kept | kept >> 1) & 0x3333_3333_3333_3333;
    kept = (kept | kept >> 2) & 0x0F0F_0F0F_0F0F_0F0F;
    kept = (kept | kept >> 4) & 0x00FF_00FF_00FF_00FF;
    kept = (kept | kept >> 8) & 0x0000_FFFF_0000_FFFF;
    ((kept | kept >> 16) & 0xFFFF_FFFF) as i64
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
        fn the_middle_is_the_centre(place in position(), order in 0_u64..=29) {
            let cell = place.cell29().parent(Order::new(order).expect("in range"));
            prop_assert!(angle(&middle(&cell), &centre(&cell).vector()) < 2e-15);
        }

        #[test]
        fn the_centre_lies_in_its_cell(place in position(), order in 0_u64..=29) {
            let cell = place.cell29().parent(Order::new(order).expect("in range"));
            prop_assert!(cell.range().contains(&centre(&cell).cell29().0));
        }
    }

    #[test]
    fn every_middle_of_the_coarse_orders_is_the_centre() {
        for order in 0..7 {
            let order = Order::new(order).expect("small");
            for number in 0..order.cell_count() {
                let cell = Cell::new(order, number).expect("in range");
                let apart = angle(&middle(&cell), &centre(&cell).vector());
                assert!(apart < 2e-15, "{order} {number} {apart}");
            }
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
