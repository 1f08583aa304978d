//! Chords instead of angles: whether two directions are near, without a sine or an arc tangent.
//!
//! The straight line between two points of the unit sphere is `2 sin(angle / 2)`, which grows with the angle all the
//! way to 180 degrees, so that comparing chords is comparing angles. Every threshold here is moved by more than all
//! rounding; what falls in between is left to the exact test.

use std::f64::consts::PI;

use super::judge::{Overlap, Reach};
use super::vector3::{Vector3, dot, subtract};
use super::{Cone, Degrees, EDGE_TOLERANCE, Position, Radians};

/// Above the rounding of a chord between two directions in doubles, which is below 4e-15: their components are off by
/// less than 1e-15 each. The chord of an order-29 cell is 1e-9.
const ROUNDING: f64 = 1e-14;

/// What the chord from a cone's centre to a cell's centre says about the cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct CapChords {
    /// Squares of the chord below which a cell is inside, and above which it is outside.
    inside: f64,
    outside: f64,
}

impl CapChords {
    /// `half` is sine and cosine of half the cone's radius; `reach` holds the margin.
    pub(super) fn new(radius: Degrees, half: (f64, f64), reach: &Reach) -> Self {
        let inside = if radius.0 > reach.degrees {
            let chord = 2.0 * (half.0 * reach.half.1 - half.1 * reach.half.0) - ROUNDING;
            square_of_positive(chord)
        } else {
            NEVER_BELOW
        };
        let outside = if radius.0 + reach.degrees < 180.0 {
            (2.0 * (half.0 * reach.half.1 + half.1 * reach.half.0) + ROUNDING).powi(2)
        } else {
            f64::INFINITY
        };
        Self { inside, outside }
    }

    pub(super) fn judge(&self, cone: &Vector3, cell: &Vector3) -> Overlap {
        let apart = subtract(cell, cone);
        let chord_squared = dot(&apart, &apart);
        if chord_squared > self.outside {
            Overlap::Outside
        } else if chord_squared < self.inside {
            Overlap::Inside
        } else {
            Overlap::Border
        }
    }
}

/// No square is below it.
const NEVER_BELOW: f64 = -1.0;

fn square_of_positive(chord: f64) -> f64 {
    if chord > 0.0 { chord * chord } else { NEVER_BELOW }
}

/// A unit vector in eight bytes, for [`ConeTest`]: three numbers of 21 bits, each a component in steps of 0.2 arcseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction(u64);

/// Steps from 0 to 1.
const STEPS: f64 = 1_048_575.0;

/// Bits of a component, which is counted from -1.
const COMPONENT_BITS: u32 = 21;

/// The bit of directions that are none.
const NOWHERE_BIT: u32 = 63;

impl Direction {
    /// That of something whose position is not known: no test is certain of it.
    pub const NOWHERE: Self = Self(1 << NOWHERE_BIT);

    /// The direction of a position.
    pub fn of(position: &Position) -> Self {
        let [x, y, z] = position
            .vector()
            .map(|component| ((component + 1.0) * STEPS).round().clamp(0.0, 2.0 * STEPS) as u64);
        Self(x | y << COMPONENT_BITS | z << (2 * COMPONENT_BITS))
    }

    /// What [`to_bits`](Self::to_bits) gave; any number is some direction.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// As a number.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// Steps of each component from -1 on.
    #[inline]
    fn steps(self) -> [f32; 3] {
        // Numbers of 21 bits are exact in single precision, and signed ones are quicker to convert.
        [0, 1, 2].map(|axis| {
            let steps = (self.0 >> (COMPONENT_BITS * axis)) as u32 & ((1 << COMPONENT_BITS) - 1);
            steps.cast_signed() as f32
        })
    }
}

/// A cone made ready for testing very many positions by their [`Direction`]s.
///
/// **Error bound**, in steps of a direction. A component is off by at most 1/2. One of the centre, which is at most 2^21 in single
/// precision, is off by at most 1/16; with `e = 2^-24`, their difference is rounded by at most `e` of itself. The vector between
/// the two is therefore off by at most `sqrt 3 (9/16) + e d`, `d` being the true chord, and squaring and adding changes the
/// result by at most `3 e` of itself, its root by `1.5 e d`. The computed chord is thus within `0.98 + 2.51 e d` steps of the
/// true one. The thresholds are moved by `1 + 3 e d`, which also holds the rounding of the directions' doubles, and rounded away
/// from the edge. The angles they stand for are moved by 1e-13 radians first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConeTest {
    centre: [f32; 3],
    inside: f32,
    outside: f32,
}

/// Above the error of [`Position::separation`], which is below 1e-15 radians, and of the limit in degrees.
const ANGLE_MARGIN: f64 = 1e-13;

impl ConeTest {
    /// Prepares a cone.
    pub fn new(cone: &Cone) -> Self {
        const UNIT: f64 = 1.0 / 16_777_216.0;
        let limit = Radians::from(Degrees(cone.radius().0 + EDGE_TOLERANCE.0)).0;
        let moved = |chord: f64| 1.0 / STEPS + UNIT * 3.0 * chord;
        let near = chord(limit - ANGLE_MARGIN);
        let inside = square_of_positive((near - moved(near)) * STEPS) as f32;
        let outside = if limit + ANGLE_MARGIN < PI {
            let far = chord(limit + ANGLE_MARGIN);
            (((far + moved(far)) * STEPS).powi(2) as f32).next_up()
        } else {
            f32::INFINITY
        };
        Self {
            centre: cone.vector().map(|component| ((component + 1.0) * STEPS) as f32),
            inside: inside.next_down(),
            outside,
        }
    }

    /// Whether the cone contains a position of this direction, and whether that is certain. What is not certain must be
    /// asked of [`Cone::contains`]; what is, agrees with it. [`Direction::NOWHERE`] is never certain.
    #[inline]
    #[expect(clippy::needless_bitwise_bool, reason = "nothing to predict: for every row of a scan")]
    pub fn judge(&self, direction: Direction) -> (bool, bool) {
        let steps = direction.steps();
        let apart =
            [steps[0] - self.centre[0], steps[1] - self.centre[1], steps[2] - self.centre[2]];
        let chord_squared = apart[0] * apart[0] + apart[1] * apart[1] + apart[2] * apart[2];
        let is_somewhere = direction.0 >> NOWHERE_BIT == 0;
        let is_inside = is_somewhere & (chord_squared < self.inside);
        (is_inside, is_inside | (is_somewhere & (chord_squared > self.outside)))
    }
}

/// The chord of an angle in radians; 0 for a negative one, 2 beyond half a turn.
fn chord(angle: f64) -> f64 {
    2.0 * (0.5 * angle.clamp(0.0, PI)).sin()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sky::testing::{position, radius, towards};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_certain_is_right(
            centre in position(), radius in radius(),
            points in prop::collection::vec((0.0..360.0, -16.0..0.0_f64, position()), 20),
        ) {
            let cone = Cone::new(centre, Degrees(radius)).expect("a radius");
            let test = ConeTest::new(&cone);
            let check = |point: &Position| {
                let (is_inside, is_certain) = test.judge(Direction::of(point));
                prop_assert!(!is_certain || is_inside == cone.contains(point), "{cone}: {point}");
                prop_assert!(is_certain || !is_inside);
                Ok(())
            };
            for (bearing, exponent, elsewhere) in points {
                check(&elsewhere)?;
                // From the rounding of doubles to a degree off the edge, on both sides.
                let off = 10.0_f64.powf(exponent);
                for distance in [radius, radius - off, radius + off, radius * (1.0 - off), radius * (1.0 + off)] {
                    check(&towards(&centre, bearing, distance.clamp(0.0, 180.0)))?;
                }
            }
        }

        #[test]
        fn little_is_doubtful(centre in position(), radius in 0.0..170.0, bearing in 0.0..360.0) {
            let test = ConeTest::new(&Cone::new(centre, Degrees(radius)).expect("a radius"));
            // Half an arcsecond, more where chords tell angles apart less well.
            let off = 1.4e-4 / Radians::from(Degrees(0.5 * radius)).0.cos();
            let outside = Direction::of(&towards(&centre, bearing, radius + off));
            prop_assert_eq!(test.judge(outside), (false, true));
            if radius > off {
                let inside = Direction::of(&towards(&centre, bearing, radius - off));
                prop_assert_eq!(test.judge(inside), (true, true));
            }
        }
    }

    #[test]
    fn what_is_nowhere_is_never_certain() {
        let everything = Cone::new(crate::sky::testing::at(1.0, 2.0), Degrees(180.0));
        let test = ConeTest::new(&everything.expect("a radius"));
        assert_eq!(test.judge(Direction::NOWHERE), (false, false));
        let anything = Direction::from_bits(u64::MAX);
        assert_eq!((test.judge(anything), anything.to_bits()), ((false, false), u64::MAX));
    }
}
