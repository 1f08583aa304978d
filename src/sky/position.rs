//! A direction on the sky.

use thiserror::Error;

use super::Degrees;

/// Why numbers are not a position.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum PositionError {
    /// RA is NaN or infinite.
    #[error("ra is {0}: it must be a finite number of degrees")]
    RaNotFinite(f64),
    /// Dec is NaN, infinite or beyond a pole.
    #[error("dec is {0}: it must be between -90 and 90 degrees")]
    DecOutOfRange(f64),
}

/// An ICRS position. RA is wrapped into `[0, 360)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    ra: f64,
    dec: f64,
}

impl Position {
    /// Checks and wraps a position given in degrees.
    pub fn new(ra: Degrees, dec: Degrees) -> Result<Self, PositionError> {
        if !ra.0.is_finite() {
            return Err(PositionError::RaNotFinite(ra.0));
        }
        if !(-90.0..=90.0).contains(&dec.0) {
            return Err(PositionError::DecOutOfRange(dec.0));
        }
        let wrapped = ra.0.rem_euclid(360.0);
        // rem_euclid of a tiny negative number rounds up to 360 itself.
        let ra = if wrapped >= 360.0 { 0.0 } else { wrapped };
        Ok(Self { ra, dec: dec.0 })
    }

    /// Right ascension, `[0, 360)`.
    pub fn ra(&self) -> Degrees {
        Degrees(self.ra)
    }

    /// Declination, `[-90, 90]`.
    pub fn dec(&self) -> Degrees {
        Degrees(self.dec)
    }
}
