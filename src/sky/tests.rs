//! What holds for every region, mostly that covers are supersets (SKY-1).

use proptest::prelude::*;

use super::testing::{at, position, radius, star, towards};
use super::{
    COVER_RANGES_MAX, Cell, Cell29, Cone, Degrees, Moc, Order, Polygon, Position, Region,
    RegionError, Zone,
};
use crate::class::Class;

fn cone(centre: Position, radius: f64) -> Region {
    Cone::new(centre, Degrees(radius)).expect("a radius").into()
}

fn zone(ra_min: f64, ra_max: f64, dec_min: f64, dec_max: f64) -> Result<Zone, RegionError> {
    Zone::new(Degrees(ra_min), Degrees(ra_max), Degrees(dec_min), Degrees(dec_max))
}

fn polygon(corners: &[(f64, f64)]) -> Result<Polygon, RegionError> {
    Polygon::new(corners.iter().map(|&(ra, dec)| at(ra, dec)).collect())
}

/// The cell of a contained position is in the cover, which keeps its bound.
fn check_cover(region: &Region, cover: &Moc, point: &Position) -> Result<(), TestCaseError> {
    if region.contains(point) {
        prop_assert!(cover.contains(point.cell29()), "{region}: {point} is not covered");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn sky_1_cones_are_covered(
        centre in position(), radius in radius(),
        points in prop::collection::vec((0.0..360.0, 0.0..=1.0_f64, position()), 60),
    ) {
        let region = cone(centre, radius);
        let cover = region.cover();
        prop_assert!(!cover.is_empty() && cover.ranges().len() <= COVER_RANGES_MAX);
        check_cover(&region, &cover, &centre)?;
        for (bearing, share, elsewhere) in points {
            check_cover(&region, &cover, &elsewhere)?;
            let inside = towards(&centre, bearing, radius * share * (1.0 - 1e-6));
            prop_assert!(radius < 1e-7 || region.contains(&inside));
            for distance in [radius * share, radius, radius * (1.0 + 1e-15), radius + 1e-13] {
                check_cover(&region, &cover, &towards(&centre, bearing, distance.min(180.0)))?;
            }
        }
    }

    #[test]
    fn sky_1_polygons_are_covered(
        (centre, size, outline) in star(),
        points in prop::collection::vec((0.0..360.0, 0.0..=1.0_f64, position()), 60),
    ) {
        let corners = outline.vertices().to_vec();
        let region = Region::from(outline);
        let cover = region.cover();
        prop_assert!(!cover.is_empty() && cover.ranges().len() <= COVER_RANGES_MAX);
        prop_assert!(region.contains(&centre));
        for corner in &corners {
            prop_assert!(region.contains(corner));
            check_cover(&region, &cover, corner)?;
        }
        for (bearing, share, elsewhere) in points {
            check_cover(&region, &cover, &elsewhere)?;
            check_cover(&region, &cover, &towards(&centre, bearing, size * share))?;
            prop_assert!(region.contains(&towards(&centre, bearing, size * share * 0.05)));
            prop_assert!(!region.contains(&towards(&centre, bearing, size * (1.0 + share) + 1e-9)));
        }
    }

    #[test]
    fn polygons_do_not_depend_on_direction_or_start((_, _, outline) in star(), turn in 0_usize..8, points in prop::collection::vec(position(), 40)) {
        let mut turned = outline.vertices().to_vec();
        turned.reverse();
        let count = turned.len();
        turned.rotate_left(turn % count);
        let turned = Polygon::new(turned).expect("the same outline");
        for point in points {
            prop_assert_eq!(outline.contains(&point), turned.contains(&point));
        }
    }

    #[test]
    fn sky_1_zones_are_covered(
        ra in prop_oneof![0.0..360.0, Just(0.0), Just(359.9999)],
        width in prop_oneof![0.0..=360.0, Just(0.0), Just(360.0), 0.0..1e-6],
        dec in prop_oneof![-90.0..=90.0_f64, Just(-90.0), Just(90.0)],
        height in prop_oneof![0.0..=180.0_f64, Just(0.0), 0.0..1e-6],
        points in prop::collection::vec((0.0..=1.0_f64, 0.0..=1.0_f64, position()), 60),
    ) {
        let top = (dec + height).min(90.0);
        let area = zone(ra, ra + width, dec, top);
        prop_assume!(area.is_ok());
        let area = area.expect("checked");
        let region = Region::from(area);
        let cover = region.cover();
        prop_assert!(!cover.is_empty() && cover.ranges().len() <= COVER_RANGES_MAX);
        for (along, up, elsewhere) in points {
            let (along, up) = (along * area.width().0, up * (top - dec));
            check_cover(&region, &cover, &elsewhere)?;
            for (east, north) in [(along, up), (0.0, up), (area.width().0, up), (along, 0.0), (along, top - dec)] {
                check_cover(&region, &cover, &at(area.ra_min().0 + east, (dec + north).min(top)))?;
            }
        }
    }

    #[test]
    fn maps_contain_the_positions_of_their_cells(place in position(), order in 0_u64..=29, others in prop::collection::vec(position(), 20)) {
        let cell = place.cell29().parent(Order::new(order).expect("in range"));
        let region = Region::from([cell].into_iter().collect::<Moc>());
        prop_assert!(region.contains(&place));
        for other in others {
            prop_assert_eq!(region.contains(&other), cell.range().contains(&other.cell29().0));
        }
    }
}

#[test]
fn covers_are_tight() {
    let cases = [
        (cone(at(10.0, 20.0), 1.0 / 3600.0), 1.6),
        (cone(at(10.0, 89.9), 0.5), 1.2),
        (cone(at(0.0, 0.0), 11.5), 1.1),
        (cone(at(200.0, -45.0), 90.0), 1.03),
        (zone(350.0, 10.0, 60.0, 80.0).expect("a zone").into(), 1.2),
        (polygon(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]).expect("a square").into(), 1.2),
    ];
    for (region, excess_max) in cases {
        let area = match &region {
            Region::Cone(cone) => 0.5 * (1.0 - cone.radius().sin_cos().1),
            Region::Zone(zone) => {
                let height = zone.dec_max().sin_cos().0 - zone.dec_min().sin_cos().0;
                zone.width().0 / 360.0 * 0.5 * height
            }
            _ => 1.0 / 41_252.961,
        };
        let excess = region.cover().sky_fraction() / area;
        assert!((0.999..excess_max).contains(&excess), "{region}: {excess}");
    }
}

#[test]
fn a_position_alone_is_covered_by_a_few_cells() {
    for place in [at(0.0, 90.0), at(0.0, -90.0), at(0.0, 0.0), at(45.0, 0.0), at(123.4, 56.7)] {
        let region = cone(place, 0.0);
        assert!(region.contains(&place));
        let cover = region.cover();
        assert!(cover.contains(place.cell29()));
        assert!(cover.cell_count() <= 16, "{place}: {}", cover.cell_count());
    }
}

#[test]
fn the_widest_cone_is_all_sky() {
    for place in [at(0.0, 90.0), at(17.0, -33.0)] {
        let region = cone(place, 180.0);
        assert_eq!(region.cover(), Moc::all_sky());
        assert!(region.contains(&towards(&place, 10.0, 180.0)));
    }
}

#[test]
fn wrong_radii_are_refused() {
    for radius in [180.0_f64.next_up(), -1e-300, f64::NAN, f64::INFINITY] {
        let error = Cone::new(at(0.0, 0.0), Degrees(radius)).expect_err("refused");
        assert!(matches!(error, RegionError::RadiusOutOfRange { .. }));
        assert_eq!(error.class(), Class::Invalid);
    }
}

#[test]
fn wrong_polygons_are_refused() {
    assert_eq!(polygon(&[]), Err(RegionError::TooFewVertices { count: 0 }));
    assert_eq!(polygon(&[(0.0, 0.0), (1.0, 0.0)]), Err(RegionError::TooFewVertices { count: 2 }));
    let closed = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)];
    assert_eq!(polygon(&closed), Err(RegionError::RepeatedVertex { first: 1, second: 4 }));
    let poles = [(0.0, 90.0), (10.0, 0.0), (77.0, 90.0)];
    assert_eq!(polygon(&poles), Err(RegionError::RepeatedVertex { first: 1, second: 3 }));
    let bow = [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)];
    assert_eq!(polygon(&bow), Err(RegionError::SelfCrossing { first: 1, second: 3 }));
    let spike = [(0.0, 0.0), (2.0, 0.0), (1.0, 0.0)];
    assert!(matches!(polygon(&spike), Err(RegionError::SelfCrossing { .. })));
    let touching = [(0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (1.0, 0.0), (0.0, 1.0)];
    assert_eq!(polygon(&touching), Err(RegionError::SelfCrossing { first: 1, second: 3 }));
    let antipodes = [(0.0, 10.0), (180.0, -10.0), (90.0, 0.0)];
    assert_eq!(polygon(&antipodes), Err(RegionError::SideTooLong { from: 1, to: 2 }));
    let closing = [(0.0, 10.0), (90.0, 0.0), (180.0, -10.0)];
    assert_eq!(polygon(&closing), Err(RegionError::SideTooLong { from: 3, to: 1 }));
    let equator = [(0.0, 0.0), (120.0, 0.0), (240.0, 0.0)];
    assert_eq!(polygon(&equator), Err(RegionError::Hemisphere));
    let many: Vec<_> = (0..2049).map(|step| (f64::from(step) * 0.1, 10.0)).collect();
    assert!(matches!(
        polygon(&many),
        Err(RegionError::TooManyVertices { count: 2049, count_max: 2048 })
    ));
    assert!(polygon(&many[..2048]).is_ok());
}

#[test]
fn polygons_by_hand() {
    let octant = polygon(&[(0.0, 0.0), (90.0, 0.0), (0.0, 90.0)]).expect("an octant");
    for (ra, dec, inside) in [
        (45.0, 45.0, true),
        (0.0, 0.0, true),
        (90.0, 0.0, true),
        (12.0, 90.0, true),
        (30.0, 0.0, true),
        (0.0, 33.0, true),
        (90.0, 89.0, true),
        (45.0, -1e-9, false),
        (-1e-9, 10.0, false),
        (91.0, 89.0, false),
        (225.0, -45.0, false),
        (0.0, -90.0, false),
    ] {
        assert_eq!(octant.contains(&at(ra, dec)), inside, "{ra} {dec}");
    }
    let around_pole =
        polygon(&[(10.0, 60.0), (100.0, 60.0), (190.0, 60.0), (280.0, 60.0)]).expect("a cap");
    assert!(around_pole.contains(&at(0.0, 90.0)) && around_pole.contains(&at(55.0, 70.0)));
    assert!(!around_pole.contains(&at(0.0, -90.0)) && !around_pole.contains(&at(10.0, 59.999)));
    let over_pole =
        polygon(&[(0.0, 80.0), (180.0, 80.0), (90.0, 70.0)]).expect("a side over the pole");
    assert!(
        over_pole.contains(&at(0.0, 90.0))
            && over_pole.contains(&at(0.0, 85.0))
            && over_pole.contains(&at(90.0, 80.0))
    );
    assert!(!over_pole.contains(&at(270.0, 89.99)));
    let across_zero =
        polygon(&[(350.0, -5.0), (10.0, -5.0), (10.0, 5.0), (350.0, 5.0)]).expect("a square");
    assert!(across_zero.contains(&at(0.0, 0.0)) && across_zero.contains(&at(359.9, 1.0)));
    assert!(!across_zero.contains(&at(180.0, 0.0)) && !across_zero.contains(&at(11.0, 0.0)));
    // Corners all around the sky at dec 10: the northern part is the smaller one.
    let wide = polygon(&[(0.0, 10.0), (120.0, 10.0), (240.0, 10.0)]).expect("almost a hemisphere");
    assert!(
        wide.contains(&at(0.0, 90.0))
            && !wide.contains(&at(0.0, -90.0))
            && !wide.contains(&at(0.0, 9.9))
    );
}

#[test]
fn a_polygon_beyond_a_hemisphere_keeps_its_smaller_part() {
    // A band of 20 degrees along the equator, open for 20 degrees: 300 degrees long.
    let mut corners: Vec<(f64, f64)> =
        (0..=30).map(|step| (f64::from(step) * 10.0, -10.0)).collect();
    corners.extend((0..=30).rev().map(|step| (f64::from(step) * 10.0, 10.0)));
    let band = polygon(&corners).expect("a band");
    for step in 0..=30 {
        assert!(band.contains(&at(f64::from(step) * 10.0, 0.0)));
        assert!(band.contains(&at(f64::from(step) * 10.0, 10.0)));
        assert!(!band.contains(&at(f64::from(step) * 10.0, 11.0)));
    }
    assert!(
        !band.contains(&at(330.0, 0.0))
            && !band.contains(&at(0.0, 90.0))
            && !band.contains(&at(0.0, -90.0))
    );
}

#[test]
fn zones_by_hand() {
    let across = zone(350.0, 10.0, -5.0, 5.0).expect("a zone");
    assert_eq!(across, zone(-10.0, 10.0, -5.0, 5.0).expect("the same"));
    for (ra, dec, inside) in [
        (0.0, 0.0, true),
        (350.0, 5.0, true),
        (10.0, -5.0, true),
        (10.0_f64.next_up(), 0.0, false),
        (180.0, 0.0, false),
        (0.0, 5.0_f64.next_up(), false),
    ] {
        assert_eq!(across.contains(&at(ra, dec)), inside, "{ra} {dec}");
    }
    let meridian = zone(30.0, 30.0, -90.0, 90.0).expect("one meridian");
    assert!(
        meridian.contains(&at(30.0, 12.0)) && !meridian.contains(&at(30.0_f64.next_up(), 12.0))
    );
    assert!(meridian.contains(&at(200.0, 90.0)) && meridian.contains(&at(200.0, -90.0)));
    for (ra_min, ra_max) in [(0.0, 360.0), (-180.0, 180.0), (30.0, 390.0)] {
        let full = zone(ra_min, ra_max, -90.0, 90.0).expect("all sky");
        assert_eq!(Region::from(full).cover(), Moc::all_sky());
        assert!(full.contains(&at(30.0, 1.0)) && full.contains(&at(359.0, -1.0)));
    }
    let long_way = zone(10.0, 350.0, 0.0, 1.0).expect("340 degrees");
    assert!(long_way.contains(&at(180.0, 0.5)) && !long_way.contains(&at(0.0, 0.5)));
    let hair = zone(1e-20, 0.0, 0.0, 1.0).expect("all but nothing");
    assert!(Region::from(hair).cover().contains(at(180.0, 0.5).cell29()));
    assert!(matches!(zone(0.0, 1.0, 5.0, 4.0), Err(RegionError::ZoneUpsideDown { .. })));
    assert!(matches!(zone(0.0, 361.0, 4.0, 5.0), Err(RegionError::ZoneTooWide { .. })));
    assert!(matches!(zone(0.0, f64::NAN, 4.0, 5.0), Err(RegionError::Position(_))));
    assert!(matches!(zone(0.0, 1.0, -91.0, 5.0), Err(RegionError::Position(_))));
}

#[test]
fn regions_are_read_as_people_type_them() {
    let cone: Cone = "10.5, -20, 5arcmin".parse().expect("a cone");
    assert_eq!((cone.centre(), cone.radius()), (at(10.5, -20.0), Degrees(5.0 / 60.0)));
    let square: Polygon = "0,0,1,0,1,1,0,1".parse().expect("a square");
    assert_eq!(square.vertices().len(), 4);
    for text in ["", "1", "1,2", "1,2,3,4", "1,2,x"] {
        assert!(text.parse::<Cone>().is_err(), "{text}");
    }
    assert!("0,0,1,0,1".parse::<Polygon>().is_err());
    assert_eq!(
        "0,0,181".parse::<Cone>().expect_err("too wide").to_string(),
        "the cone's radius is 181 degrees: it must be between 0 and 180"
    );
}

#[test]
fn one_line_each() {
    let square = polygon(&[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]).expect("a triangle");
    let map: Moc = Cell::base().take(3).collect();
    let cases: [(Region, &str); 5] = [
        (Region::AllSky, "all sky"),
        (cone(at(1.0, 2.0), 0.5), "cone 1 2 radius 0.5 deg"),
        (square.into(), "polygon of 3 vertices from 0 0"),
        (zone(350.0, 10.0, -5.0, 5.0).expect("a zone").into(), "zone ra 350 to 10, dec -5 to 5"),
        (map.into(), "coverage map of 1 ranges, 25 % of the sky"),
    ];
    for (region, text) in cases {
        assert_eq!(region.to_string(), text);
    }
    assert!(Region::AllSky.cover().contains(Cell29(0)) && Region::AllSky.cover_is_exact());
}
