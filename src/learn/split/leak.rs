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
#[expect(clippy::disallowed_methods, reason = "`learn` knows no types of the sky")]
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
    let chord = chord(radius_arcsec)?;
    for (what, points) in [("a training position", train), ("a test position", test)] {
        super::super::metrics::all_finite(what, points.as_flattened(), 3)?;
    }
    let grid = Grid::new(train.iter().map(|point| (*point, 0)), chord);
    let found = (0..).zip(test).filter(|(_, point)| grid.has_near(point, None));
    Ok(found.map(|(place, _)| place).collect())
}

/// How many objects, given as unit vectors with the fold of each, lie within the radius of an object of another fold: as
/// [`leaked`] finds them when each fold is tested and the others teach, with all objects sorted once.
///
/// # Errors
/// Those of [`leaked`].
pub fn leaked_between(points: &[([f64; 3], u32)], radius_arcsec: f64) -> Result<u64, LearnError> {
    let chord = chord(radius_arcsec)?;
    if let Some(example) =
        points.iter().position(|(point, _)| point.iter().any(|each| !each.is_finite()))
    {
        return Err(LearnError::NotFinite { what: "a position", example });
    }
    let grid = Grid::new(points.iter().copied(), chord);
    Ok(points.iter().filter(|(point, fold)| grid.has_near(point, Some(*fold))).count() as u64)
}

/// The length of the chord of an angle.
#[expect(clippy::disallowed_methods, reason = "`learn` knows no types of the sky")]
fn chord(radius_arcsec: f64) -> Result<f64, LearnError> {
    if !(0.0..=ARCSEC_MAX).contains(&radius_arcsec) {
        return Err(LearnError::BadSetting {
            what: "the radius of the leak check",
            value: format!("{radius_arcsec} arcsec"),
            hint: "give arcseconds from 0 to 648000",
        });
    }
    Ok(2.0 * (radius_arcsec / ARCSEC_PER_DEGREE / 2.0).to_radians().sin())
}

/// Points sorted by the cube that they lie in.
struct Grid {
    chord: f64,
    /// Edge of a cube.
    edge: f64,
    /// Key of its cube, the point, and its fold.
    points: Vec<(u64, [f64; 3], u32)>,
}

impl Grid {
    fn new(points: impl Iterator<Item = ([f64; 3], u32)>, chord: f64) -> Self {
        // Cubes of a few chords: most spheres touch one or two columns of them.
        let edge = (4.0 * chord).max(GRID_MIN);
        let of = |point: [f64; 3]| key(point.map(|coordinate| cube(coordinate, edge)));
        let mut keyed: Vec<(u64, [f64; 3], u32)> =
            points.map(|(point, fold)| (of(point), point, fold)).collect();
        keyed.sort_unstable_by_key(|(key, ..)| *key);
        Self { chord, edge, points: keyed }
    }

    /// Whether a point is near, but for those of its own fold.
    fn has_near(&self, point: &[f64; 3], own: Option<u32>) -> bool {
        let limit = self.chord * self.chord;
        let reach = |axis: usize| {
            cube(point[axis] - self.chord, self.edge)..=cube(point[axis] + self.chord, self.edge)
        };
        let heights = reach(2);
        let is_near = |(_, other, fold): &(u64, [f64; 3], u32)| {
            if own == Some(*fold) {
                return false;
            }
            let square: f64 = other.iter().zip(point).map(|(a, b)| (a - b) * (a - b)).sum();
            square <= limit
        };
        reach(0).any(|x| {
            reach(1).any(|y| {
                // Cubes above each other have consecutive keys.
                let (low, high) = (key([x, y, *heights.start()]), key([x, y, *heights.end()]));
                let begin = self.points.partition_point(|(key, ..)| *key < low);
                let column = &self.points[begin..];
                column.iter().take_while(|(key, ..)| *key <= high).any(is_near)
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
    #![expect(clippy::disallowed_methods, reason = "`learn` knows no types of the sky")]

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
    fn a_thousand_folds_of_many_objects_are_soon_done() {
        // Pairs within an arcsecond, of which every second one is of two folds.
        let place = |at: u32| 0.003_6 * f64::from(at / 2) + 0.5 * ARCSEC * f64::from(at % 2);
        let fold = |at: u32| if at % 4 == 3 { (at + 1) % 1_000 } else { at / 2 % 1_000 };
        let points: Vec<_> =
            (0..200_000).map(|at| (unit_vector(place(at), 30.0), fold(at))).collect();
        let pairs = points.as_chunks::<2>().0;
        let between = pairs.iter().filter(|pair| pair[0].1 != pair[1].1).count() as u64;
        let begin = std::time::Instant::now();
        assert!(between > 40_000);
        assert_eq!(leaked_between(&points, 1.0), Ok(2 * between));
        assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
        assert!(leaked_between(&[([f64::NAN; 3], 0)], 1.0).is_err());
        assert!(leaked_between(&points, -1.0).is_err());
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
        fn folds_are_tested_by_all_others(
            positions in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64, 0u32..4), 2..60),
            radius in 0.0..1e4_f64,
        ) {
            let points: Vec<_> =
                positions.iter().map(|(ra, dec, fold)| (unit_vector(*ra, *dec), *fold)).collect();
            let mut wanted = 0;
            for fold in 0..4 {
                let side = |is_own: bool| -> Vec<[f64; 3]> {
                    let of = points.iter().filter(|(_, of)| (*of == fold) == is_own);
                    of.map(|(point, _)| *point).collect()
                };
                wanted += leaked(&side(false), &side(true), radius).expect("finite").len() as u64;
            }
            prop_assert_eq!(leaked_between(&points, radius), Ok(wanted));
        }

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
