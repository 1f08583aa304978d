//! Test objects that were taught: the same source under another id.

use super::super::LearnError;

/// How near two positions are that belong to one source, in arcseconds.
pub const LEAK_ARCSEC: f64 = 1.0;

const ARCSEC_PER_DEGREE: f64 = 3_600.0;

/// Half a turn.
const ARCSEC_MAX: f64 = 180.0 * ARCSEC_PER_DEGREE;

/// Bits of a coordinate in a key.
const COORDINATE_BITS: u32 = 21;

/// The finest grid whose coordinates fit into their bits.
const GRID_MIN: f64 = 1.0 / (1 << (COORDINATE_BITS - 2)) as f64;

/// The unit vector of a position given in degrees.
pub fn unit_vector(ra: f64, dec: f64) -> [f64; 3] {
    let (ra_sin, ra_cos) = ra.to_radians().sin_cos();
    let (dec_sin, dec_cos) = dec.to_radians().sin_cos();
    [dec_cos * ra_cos, dec_cos * ra_sin, dec_sin]
}

/// Places of the test objects that lie within the radius, edge inclusive, of a training object, all given as unit vectors.
///
/// Chords between points in space are compared, so that poles and the beginning of right ascension are like any other place.
/// Training objects are sorted by the cube of a grid that they lie in; a test object looks at the cubes that its sphere
/// touches: the time is O((n + m) log n) as long as few objects lie within the radius of each other.
///
/// # Errors
/// [`LearnError::NotFinite`]; [`LearnError::BadSetting`] for a radius that is not between 0 and 180 degrees.
pub fn leaked(
    train: &[[f64; 3]],
    test: &[[f64; 3]],
    radius_arcsec: f64,
) -> Result<Vec<u32>, LearnError> {
    if !(0.0..=ARCSEC_MAX).contains(&radius_arcsec) {
        return Err(LearnError::BadSetting {
            what: "the radius of the leak check",
            value: format!("{radius_arcsec} arcsec"),
            hint: "give arcseconds from 0 to 648000",
        });
    }
    for (what, points) in [("a training position", train), ("a test position", test)] {
        super::super::metrics::all_finite(what, points.as_flattened(), 3)?;
    }
    let half_angle = (radius_arcsec / ARCSEC_PER_DEGREE / 2.0).to_radians();
    let grid = Grid::new(train, 2.0 * half_angle.sin());
    let found = (0..).zip(test).filter(|(_, point)| grid.has_near(point));
    Ok(found.map(|(place, _)| place).collect())
}

/// Points sorted by the cube that they lie in.
struct Grid {
    chord: f64,
    /// Edge of a cube.
    edge: f64,
    points: Vec<(u64, [f64; 3])>,
}

impl Grid {
    fn new(points: &[[f64; 3]], chord: f64) -> Self {
        // Cubes of a few chords: most spheres touch one or two columns of them.
        let edge = (4.0 * chord).max(GRID_MIN);
        let mut keyed: Vec<(u64, [f64; 3])> = points
            .iter()
            .map(|point| (key(point.map(|coordinate| cube(coordinate, edge))), *point))
            .collect();
        keyed.sort_unstable_by_key(|(key, _)| *key);
        Self { chord, edge, points: keyed }
    }

    fn has_near(&self, point: &[f64; 3]) -> bool {
        let limit = self.chord * self.chord;
        let reach = |axis: usize| {
            cube(point[axis] - self.chord, self.edge)..=cube(point[axis] + self.chord, self.edge)
        };
        let heights = reach(2);
        let is_near = |(_, other): &(u64, [f64; 3])| {
            let square: f64 = other.iter().zip(point).map(|(a, b)| (a - b) * (a - b)).sum();
            square <= limit
        };
        reach(0).any(|x| {
            reach(1).any(|y| {
                // Cubes above each other have consecutive keys.
                let (low, high) = (key([x, y, *heights.start()]), key([x, y, *heights.end()]));
                let begin = self.points.partition_point(|(key, _)| *key < low);
                let column = &self.points[begin..];
                column.iter().take_while(|(key, _)| *key <= high).any(is_near)
            })
        })
    }
}

/// The number of the cube along one axis, from 0. Coordinates beyond the unit sphere, by rounding or by the radius, have the
/// outermost cubes' neighbours.
fn cube(coordinate: f64, edge: f64) -> u64 {
    ((coordinate.clamp(-1.5, 1.5) + 1.5) / edge) as u64
}

fn key([x, y, z]: [u64; 3]) -> u64 {
    (x << COORDINATE_BITS | y) << COORDINATE_BITS | z
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(positions: &[(f64, f64)]) -> Vec<[f64; 3]> {
        positions.iter().map(|(ra, dec)| unit_vector(*ra, *dec)).collect()
    }

    const ARCSEC: f64 = 1.0 / 3_600.0;

    #[test]
    fn poles_and_the_beginning_of_right_ascension_are_like_any_place() {
        let train =
            points(&[(0.0, 0.0), (10.0, 90.0 - 0.3 * ARCSEC), (77.0, -90.0), (359.999_999, 45.0)]);
        let near = points(&[
            (360.0 - 0.9 * ARCSEC, 0.0),
            (190.0, 90.0 - 0.3 * ARCSEC),
            (200.0, -90.0 + 0.9 * ARCSEC),
            (0.000_001, 45.0),
            (0.0, 0.9 * ARCSEC),
        ]);
        assert_eq!(leaked(&train, &near, LEAK_ARCSEC), Ok(vec![0, 1, 2, 3, 4]));
        let far = points(&[
            (360.0 - 1.1 * ARCSEC, 0.0),
            (190.0, 90.0 - 0.8 * ARCSEC),
            (200.0, -90.0 + 1.1 * ARCSEC),
            (0.001, 45.0),
            (180.0, 0.0),
        ]);
        assert_eq!(leaked(&train, &far, LEAK_ARCSEC), Ok(Vec::new()));
    }

    #[test]
    fn the_same_place_is_near_at_any_radius() {
        let train = points(&[(123.456, -54.321)]);
        for radius in [0.0, 1e-6, 1.0, 3_600.0, 648_000.0] {
            assert_eq!(leaked(&train, &train, radius), Ok(vec![0]), "{radius}");
        }
        assert_eq!(leaked(&[], &train, 1.0), Ok(Vec::new()));
        assert!(leaked(&train, &train, f64::NAN).is_err());
        assert!(leaked(&train, &train, -1.0).is_err());
        assert!(leaked(&train, &[[f64::NAN; 3]], 1.0).is_err());
    }

    #[test]
    fn many_objects_of_one_declination_are_soon_done() {
        let line = |shift: f64| -> Vec<[f64; 3]> {
            (0..200_000)
                .map(|place| unit_vector(0.001_8 * f64::from(place) + shift, 30.0))
                .collect()
        };
        let begin = std::time::Instant::now();
        assert_eq!(leaked(&line(0.0), &line(0.000_9), 1.0), Ok(Vec::new()));
        assert_eq!(leaked(&line(0.0), &line(0.000_1), 1.0).expect("finite").len(), 200_000);
        assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    }

    proptest! {
        #[test]
        fn all_pairs_say_the_same(
            train in prop::collection::vec((0.0..360.0_f64, -90.0..=90.0_f64), 0..60),
            test in prop::collection::vec((0.0..360.0_f64, -90.0..=90.0_f64), 0..60),
            radius in prop_oneof![0.0..100.0_f64, 1e3..648_000.0_f64],
        ) {
            let (train, mut test) = (points(&train), points(&test));
            // Some that are near by intention.
            test.extend(train.iter().map(|point| {
                let shift = radius / 3_600.0 * 0.017_453 * 0.7;
                let moved = [point[0] + shift, point[1], point[2]];
                let length = moved.iter().map(|each| each * each).sum::<f64>().sqrt();
                moved.map(|each| each / length)
            }));
            let chord = 2.0 * (radius / 7_200.0_f64).to_radians().sin();
            let is_near = |a: &[f64; 3], b: &[f64; 3]| {
                a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() <= chord * chord
            };
            let wanted: Vec<u32> = (0..)
                .zip(&test)
                .filter(|(_, point)| train.iter().any(|other| is_near(other, point)))
                .map(|(place, _)| place)
                .collect();
            prop_assert_eq!(leaked(&train, &test, radius), Ok(wanted));
        }
    }
}
