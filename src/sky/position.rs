//! A direction on the sky.

use std::fmt;

use thiserror::Error;

use super::vector3::Vector3;
use super::{Cell29, Degrees, Radians, healpix};
use crate::class::Class;

/// Why numbers are not a position.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum PositionError {
    /// RA is NaN or infinite.
    #[error("ra is {0}: it must be a finite number of degrees")]
    RaNotFinite(f64),
    /// RA is further than a turn from `[0, 360)`: no angle, but a sentinel or another unit.
    #[error("ra is {0}: it must be a number of degrees between -360 and 720")]
    RaOutOfRange(f64),
    /// Dec is NaN, infinite or beyond a pole.
    #[error("dec is {0}: it must be between -90 and 90 degrees")]
    DecOutOfRange(f64),
}

impl PositionError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::RaNotFinite(_) | Self::RaOutOfRange(_) | Self::DecOutOfRange(_) => Class::Invalid,
        }
    }
}

/// An ICRS position. RA is wrapped into `[0, 360)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    ra: f64,
    dec: f64,
}

/// Wraps an angle in degrees into `[0, 360)`.
pub(super) fn wrapped(angle: f64) -> f64 {
    let wrapped = angle.rem_euclid(360.0);
    // rem_euclid of a tiny negative number rounds up to 360 itself, and that of -0 keeps the sign.
    if wrapped >= 360.0 { 0.0 } else { wrapped + 0.0 }
}

impl Position {
    /// Checks a position given in degrees and wraps an RA that is at most one turn off.
    ///
    /// # Errors
    /// [`PositionError`] for what is no position; also for an RA beyond -360 to 720 degrees.
    pub fn new(ra: Degrees, dec: Degrees) -> Result<Self, PositionError> {
        if !ra.0.is_finite() {
            return Err(PositionError::RaNotFinite(ra.0));
        }
        if !(-360.0..=720.0).contains(&ra.0) {
            return Err(PositionError::RaOutOfRange(ra.0));
        }
        if !(-90.0..=90.0).contains(&dec.0) {
            return Err(PositionError::DecOutOfRange(dec.0));
        }
        Ok(Self { ra: wrapped(ra.0), dec: dec.0 })
    }

    /// A position from radians that are known to be finite; dec is clamped to the poles.
    pub(super) fn from_radians(ra: Radians, dec: Radians) -> Self {
        let (ra, dec) = (Degrees::from(ra).0, Degrees::from(dec).0);
        Self { ra: wrapped(ra), dec: dec.clamp(-90.0, 90.0) }
    }

    /// Right ascension, `[0, 360)`.
    pub fn ra(&self) -> Degrees {
        Degrees(self.ra)
    }

    /// Declination, `[-90, 90]`.
    pub fn dec(&self) -> Degrees {
        Degrees(self.dec)
    }

    /// The order-29 NESTED cell that holds the position.
    pub fn cell29(&self) -> Cell29 {
        healpix::cell29(self)
    }

    /// The unit vector: x towards RA 0, y towards RA 90 degrees, z towards the north pole.
    pub fn vector(&self) -> [f64; 3] {
        let (sin_ra, cos_ra) = self.ra().sin_cos();
        let (sin_dec, cos_dec) = self.dec().sin_cos();
        let vector: Vector3 = [cos_dec * cos_ra, cos_dec * sin_ra, sin_dec];
        vector
    }

    /// The great-circle angle to another position, the same both ways.
    ///
    /// Vincenty's formula with its differences taken in degrees before any sine: small angles keep
    /// their relative accuracy, angles near 180 degrees their absolute one (below 1e-15 radians).
    ///
    /// # Reference
    /// Vincenty 1975, Survey Review 23, 88, for a sphere.
    pub fn separation(&self, other: &Self) -> Degrees {
        // A fixed order of the two makes the result symmetric to the last bit.
        let swap = (other.dec, other.ra) < (self.dec, self.ra);
        let (south, north) = if swap { (other, self) } else { (self, other) };
        let (sin_south, cos_south) = south.dec().sin_cos();
        let (_, cos_north) = north.dec().sin_cos();
        let (sin_rise, cos_rise) = Degrees(north.dec - south.dec).sin_cos();
        let turn = ra_difference(south.ra, north.ra);
        let (sin_turn, _) = Degrees(turn).sin_cos();
        let (sin_half, _) = Degrees(0.5 * turn).sin_cos();
        let versine = 2.0 * sin_half * sin_half;
        let across = cos_north * sin_turn;
        let along = sin_rise + sin_south * cos_north * versine;
        let towards = cos_rise - cos_south * cos_north * versine;
        Radians(across.hypot(along).atan2(towards)).into()
    }
}

/// `to - from` in `[-180, 180]`, exact when the two are near, also across RA 0.
fn ra_difference(from: f64, to: f64) -> f64 {
    let direct = to - from;
    if direct > 180.0 {
        (to - 360.0) - from
    } else if direct < -180.0 {
        to - (from - 360.0)
    } else {
        direct
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.ra, self.dec)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sky::testing::{at, position};

    #[test]
    fn wrong_numbers_are_refused() {
        for ra in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(
                Position::new(Degrees(ra), Degrees(0.0)),
                Err(PositionError::RaNotFinite(_))
            ));
        }
        for dec in [f64::NAN, f64::INFINITY, 90.0_f64.next_up(), -90.0_f64.next_up().abs() - 180.0]
        {
            assert!(matches!(
                Position::new(Degrees(0.0), Degrees(dec)),
                Err(PositionError::DecOutOfRange(_))
            ));
        }
    }

    #[test]
    fn ra_is_wrapped() {
        let cases = [(360.0, 0.0), (-90.0, 270.0), (715.0, 355.0), (-1e-300, 0.0), (-0.0, 0.0)];
        for (given, kept) in cases {
            let ra = at(given, 0.0).ra().0;
            assert_eq!(ra, kept);
            assert!(ra.is_sign_positive());
        }
    }

    #[test]
    fn sentinels_are_no_positions() {
        for ra in [-999.0, 99_999.0, 720.5] {
            assert_eq!(
                Position::new(Degrees(ra), Degrees(0.0)),
                Err(PositionError::RaOutOfRange(ra))
            );
        }
    }

    #[test]
    fn separations_known_by_hand() {
        let cases = [
            (at(0.0, 0.0), at(180.0, 0.0), 180.0),
            (at(10.0, 90.0), at(200.0, -90.0), 180.0),
            (at(10.0, 90.0), at(200.0, 90.0), 0.0),
            (at(0.0, 0.0), at(90.0, 0.0), 90.0),
            (at(123.0, 45.0), at(303.0, -45.0), 180.0),
            (at(359.5, 0.0), at(0.5, 0.0), 1.0),
        ];
        for (a, b, expected) in cases {
            assert!(
                (a.separation(&b).0 - expected).abs() < 1e-13,
                "{a} {b} {}",
                a.separation(&b).0
            );
        }
    }

    #[test]
    fn tiny_separations_keep_their_relative_accuracy() {
        let step = 2.0_f64.powi(-40);
        assert!((at(0.0, 0.0).separation(&at(0.0, step)).0 / step - 1.0).abs() < 1e-15);
        assert!((at(75.0, 60.0).separation(&at(75.0, 60.0 + step)).0 / step - 1.0).abs() < 1e-14);
        assert!((at(10.0, 0.0).separation(&at(10.0 + step, 0.0)).0 / step - 1.0).abs() < 1e-14);
    }

    proptest! {
        #[test]
        fn separation_is_symmetric_and_agrees_with_vectors(a in position(), b in position()) {
            let separation = a.separation(&b);
            prop_assert_eq!(separation.0.to_bits(), b.separation(&a).0.to_bits());
            let (u, v) = (a.vector(), b.vector());
            let cosine = u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
            prop_assert!((Radians::from(separation).0.cos() - cosine).abs() < 4e-15);
            prop_assert_eq!(a.separation(&a).0, 0.0);
        }
    }
}
