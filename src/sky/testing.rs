//! Makers of positions for tests.

use proptest::prelude::*;

use super::{Degrees, Polygon, Position, Radians};

/// A position that is known to be right.
pub(crate) fn at(ra: f64, dec: f64) -> Position {
    Position::new(Degrees(ra), Degrees(dec)).expect("a position")
}

fn degrees(angle: f64) -> f64 {
    Degrees::from(Radians(angle)).0
}

/// Positions uniform on the sphere, mixed with poles, RA 0 and the rims of the polar caps.
pub(crate) fn position() -> impl Strategy<Value = Position> {
    let uniform = (0.0..360.0, -1.0..=1.0_f64).prop_map(|(ra, z)| at(ra, degrees(z.asin())));
    let special_ra = prop_oneof![Just(0.0), Just(360.0_f64.next_down()), Just(90.0), 0.0..360.0];
    let rim = degrees((2.0 / 3.0_f64).asin());
    let special_dec = prop_oneof![
        Just(90.0),
        Just(-90.0),
        Just(0.0),
        Just(rim),
        Just(-rim),
        89.999..=90.0,
        -90.0..=-89.999
    ];
    prop_oneof![3 => uniform, 1 => (special_ra, special_dec).prop_map(|(ra, dec)| at(ra, dec))]
}

/// The position reached from `start` by a great circle of `distance` degrees, leaving at `bearing`
/// degrees from north through east.
pub(crate) fn towards(start: &Position, bearing: f64, distance: f64) -> Position {
    let (sin_bearing, cos_bearing) = Degrees(bearing).sin_cos();
    let (sin_far, cos_far) = Degrees(distance).sin_cos();
    let (sin_dec, cos_dec) = start.dec().sin_cos();
    let north = sin_dec * cos_far + cos_dec * sin_far * cos_bearing;
    let east = sin_bearing * sin_far;
    let outward = cos_dec * cos_far - sin_dec * sin_far * cos_bearing;
    let ra = start.ra().0 + degrees(east.atan2(outward));
    at(ra, degrees(north.atan2(east.hypot(outward))).clamp(-90.0, 90.0))
}

/// Radii of every size, the special ones often.
pub(crate) fn radius() -> impl Strategy<Value = f64> {
    let small = (-10.0..2.0_f64).prop_map(|exponent| 10.0_f64.powf(exponent).min(180.0));
    let named =
        prop::sample::select(vec![0.0, 1e-9, 1e-7, 90.0, 179.999, 180.0_f64.next_down(), 180.0]);
    prop_oneof![small, named, 0.0..=180.0]
}

/// A polygon without crossings: corners at rising bearings around a centre, at most 89 degrees away.
pub(crate) fn star() -> impl Strategy<Value = (Position, f64, Polygon)> {
    let size = prop_oneof![(-8.0..1.0_f64).prop_map(|exponent| 10.0_f64.powf(exponent)), 1.0..89.0];
    (position(), size, prop::collection::vec((0.2..0.9, 0.3..=1.0), 3..9)).prop_map(
        |(centre, size, corners)| {
            let count = corners.len() as f64;
            let step = 360.0 / count;
            let around = corners.iter().enumerate().map(|(index, (turn, share))| {
                // Jitter below 1/2 keeps neighbouring bearings less than 180 degrees apart.
                let bearing = step * (index as f64 + 0.4 * turn);
                towards(&centre, bearing, size * share)
            });
            (centre, size, Polygon::new(around.collect()).expect("a star does not cross itself"))
        },
    )
}
