//! How a cell lies to a region: outside, inside or perhaps across its edge.
//!
//! A cell is judged by the circle around it, so that nothing here depends on the shape of cells, on poles or on RA 0.

use std::sync::LazyLock;

use super::chord::CapChords;
use super::{Cell, Degrees, Order, Radians, Region, healpix};

/// Added to every comparison with a cell's circle: above all rounding and above
/// [`EDGE_TOLERANCE`](super::EDGE_TOLERANCE), far below an order-29 cell (1e-7 degrees).
pub(super) const MARGIN: Degrees = Degrees(1e-12);

/// How many orders there are.
const ORDERS: usize = 30;

/// Radius of the circle around a cell of each order, with the margin.
static REACHES: LazyLock<[Reach; ORDERS]> = LazyLock::new(|| {
    std::array::from_fn(|order| {
        let order = Order::new(order as u64).unwrap_or(Order::MAX);
        Reach::of(Degrees(Degrees::from(healpix::reach(order)).0 + MARGIN.0))
    })
});

/// A radius, ready for every kind of region.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    pub(super) degrees: f64,
    pub(super) radians: f64,
    /// Sine and cosine of the half.
    pub(super) half: (f64, f64),
}

impl Reach {
    fn of(radius: Degrees) -> Self {
        let half = Degrees(0.5 * radius.0).sin_cos();
        Self { degrees: radius.0, radians: Radians::from(radius).0, half }
    }
}

/// How a cell lies to a region. `Outside` and `Inside` are certain for every position whose cell it holds, `Border` is
/// not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// The region contains no position of the cell.
    Outside,
    /// The region contains every position of the cell.
    Inside,
    /// Not known.
    Border,
}

/// A region made ready for judging many cells.
#[derive(Debug)]
pub struct CellJudge<'a> {
    region: &'a Region,
    /// For a cone: what separations of a cell's centre mean, by order.
    chords: Option<[CapChords; ORDERS]>,
}

impl<'a> CellJudge<'a> {
    /// Prepares a region.
    pub fn new(region: &'a Region) -> Self {
        let chords = if let Region::Cone(cone) = region {
            let (half, reaches) = (Degrees(0.5 * cone.radius().0).sin_cos(), &*REACHES);
            Some(std::array::from_fn(|order| CapChords::new(cone.radius(), half, &reaches[order])))
        } else {
            None
        };
        Self { region, chords }
    }

    /// How a cell lies to the region.
    pub fn overlap(&self, cell: &Cell) -> Overlap {
        let order = usize::from(cell.order().get());
        match (self.region, &self.chords) {
            (Region::AllSky, _) => Overlap::Inside,
            (Region::Cone(cone), Some(chords)) => {
                chords[order].judge(cone.vector(), &healpix::middle(cell))
            }
            (Region::Cone(_), None) => Overlap::Border,
            (Region::Polygon(polygon), _) => {
                polygon.overlap(&healpix::middle(cell), REACHES[order].radians)
            }
            (Region::Zone(zone), _) => zone.overlap(&healpix::centre(cell), REACHES[order].degrees),
            (Region::Moc(moc), _) => moc.overlap(&cell.range()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sky::testing::{position, radius, star, towards};
    use crate::sky::{Cone, Moc, Position, Zone};

    /// What is said of the cells that hold a position, of every order, is true of the position.
    fn check(judge: &CellJudge<'_>, point: &Position) -> Result<(), TestCaseError> {
        let is_inside = judge.region.contains(point);
        for order in 0..ORDERS as u64 {
            let cell = point.cell29().parent(Order::new(order).expect("in range"));
            match judge.overlap(&cell) {
                Overlap::Outside => prop_assert!(!is_inside, "{}: {point} {order}", judge.region),
                Overlap::Inside => prop_assert!(is_inside, "{}: {point} {order}", judge.region),
                Overlap::Border => {}
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn cells_of_cones(
            centre in position(), radius in radius(),
            points in prop::collection::vec((0.0..360.0, -16.0..0.0_f64, position()), 20),
        ) {
            let region = Region::from(Cone::new(centre, Degrees(radius)).expect("a radius"));
            let judge = CellJudge::new(&region);
            for (bearing, exponent, elsewhere) in points {
                check(&judge, &elsewhere)?;
                let off = 10.0_f64.powf(exponent);
                for distance in [radius, radius - off, radius + off, radius * (1.0 - off), radius * (1.0 + off)] {
                    check(&judge, &towards(&centre, bearing, distance.clamp(0.0, 180.0)))?;
                }
            }
        }

        #[test]
        fn chords_decide_as_angles_do(centre in position(), radius in radius(), place in position(), order in 0_u64..=29) {
            let cone = Cone::new(centre, Degrees(radius)).expect("a radius");
            let (region, cell) = (Region::from(cone), place.cell29().parent(Order::new(order).expect("in range")));
            let separation = centre.separation(&healpix::centre(&cell)).0;
            let reach = Degrees::from(healpix::reach(cell.order())).0;
            // Away from the thresholds, by more where chords hardly grow with angles.
            let slack = if separation.max(radius + reach) > 179.0 { 1e-4 } else { 1e-11 };
            let expected = if separation > radius + reach + slack {
                Overlap::Outside
            } else if separation + reach + slack < radius {
                Overlap::Inside
            } else {
                return Ok(());
            };
            prop_assert_eq!(CellJudge::new(&region).overlap(&cell), expected);
        }

        #[test]
        fn cells_of_polygons(
            (centre, size, outline) in star(),
            points in prop::collection::vec((0.0..360.0, 0.0..1.5, position()), 20),
        ) {
            let corners = outline.vertices().to_vec();
            let region = Region::from(outline);
            let judge = CellJudge::new(&region);
            for corner in &corners {
                check(&judge, corner)?;
            }
            for (bearing, share, elsewhere) in points {
                check(&judge, &elsewhere)?;
                check(&judge, &towards(&centre, bearing, size * share))?;
            }
        }

        #[test]
        fn cells_of_zones(
            west in 0.0..360.0, width in prop_oneof![0.0..=360.0, Just(360.0), 0.0..1e-6],
            south in -90.0..=90.0_f64, height in prop_oneof![0.0..=180.0_f64, 0.0..1e-6],
            points in prop::collection::vec((-0.1..1.1_f64, -0.1..1.1_f64, position()), 20),
        ) {
            let north = f64::min(south + height, 90.0);
            let zone = Zone::new(Degrees(west), Degrees(west + width), Degrees(south), Degrees(north));
            prop_assume!(zone.is_ok());
            let region = Region::from(zone.expect("checked"));
            let judge = CellJudge::new(&region);
            for (along, up, elsewhere) in points {
                check(&judge, &elsewhere)?;
                let dec = (south + up * (north - south)).clamp(-90.0, 90.0);
                check(&judge, &crate::sky::testing::at((west + along * width) % 360.0, dec))?;
            }
        }

        #[test]
        fn cells_of_maps(places in prop::collection::vec((position(), 0_u64..=29), 1..20), points in prop::collection::vec(position(), 20)) {
            let cells = places.iter().map(|(place, order)| place.cell29().parent(Order::new(*order).expect("in range")));
            let region = Region::from(cells.collect::<Moc>());
            let judge = CellJudge::new(&region);
            for point in points.iter().chain(places.iter().map(|(place, _)| place)) {
                check(&judge, point)?;
                prop_assert!(judge.overlap(&point.cell29().into()) != Overlap::Border);
            }
        }
    }

    #[test]
    fn all_sky_is_inside() {
        let judge = CellJudge::new(&Region::AllSky);
        assert!(Cell::base().all(|cell| judge.overlap(&cell) == Overlap::Inside));
    }
}
