//! Angles with their unit in the type; the only place that converts.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::class::Class;

/// An angle in degrees.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Degrees(pub f64);

/// An angle in radians.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Radians(pub f64);

/// An angle in seconds of arc.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct ArcSec(pub f64);

/// Why a text is not an angle.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AngleError {
    /// The number cannot be read.
    #[error(
        "`{text}` is not an angle: write a number and deg, arcmin or arcsec, for example 5arcmin"
    )]
    NotAnAngle {
        /// What was given.
        text: String,
    },
}

impl AngleError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::NotAnAngle { .. } => Class::Invalid,
        }
    }
}

impl Degrees {
    /// Sine and cosine, exact at the multiples of 90 degrees.
    ///
    /// Reducing in degrees loses nothing, so the error is that of an angle below 45 degrees;
    /// converting 359 degrees to radians first would already cost six times as much.
    pub fn sin_cos(self) -> (f64, f64) {
        let quarter = (self.0 / 90.0).round();
        let (sin, cos) = Radians::from(Self(self.0 - 90.0 * quarter)).0.sin_cos();
        match quarter.rem_euclid(4.0) {
            1.0 => (cos, -sin),
            2.0 => (-sin, -cos),
            3.0 => (-cos, sin),
            _ => (sin, cos),
        }
    }
}

impl From<Degrees> for Radians {
    #[expect(clippy::disallowed_methods, reason = "the place for it")]
    fn from(angle: Degrees) -> Self {
        Self(angle.0.to_radians())
    }
}

impl From<Radians> for Degrees {
    #[expect(clippy::disallowed_methods, reason = "the place for it")]
    fn from(angle: Radians) -> Self {
        Self(angle.0.to_degrees())
    }
}

impl From<ArcSec> for Degrees {
    fn from(angle: ArcSec) -> Self {
        Self(angle.0 / 3600.0)
    }
}

impl From<Degrees> for ArcSec {
    fn from(angle: Degrees) -> Self {
        Self(angle.0 * 3600.0)
    }
}

impl fmt::Display for Degrees {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} deg", self.0)
    }
}

/// Reads a number with a unit: `deg`, `arcmin` or `arcsec`; a bare number is in degrees.
impl FromStr for Degrees {
    type Err = AngleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let units = [("arcmin", 60.0), ("arcsec", 3600.0), ("deg", 1.0)];
        let (number, per_degree) = units
            .into_iter()
            .find_map(|(unit, count)| trimmed.strip_suffix(unit).map(|number| (number, count)))
            .unwrap_or((trimmed, 1.0));
        let not_an_angle = || AngleError::NotAnAngle { text: text.to_owned() };
        number.trim_end().parse::<f64>().map(|v| Self(v / per_degree)).map_err(|_| not_an_angle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_cosine_are_exact_at_right_angles() {
        let expected = [
            (0.0, 0.0, 1.0),
            (90.0, 1.0, 0.0),
            (180.0, 0.0, -1.0),
            (270.0, -1.0, 0.0),
            (-90.0, -1.0, 0.0),
            (360.0, 0.0, 1.0),
        ];
        for (angle, sin, cos) in expected {
            assert_eq!(Degrees(angle).sin_cos(), (sin, cos), "{angle}");
        }
    }

    #[test]
    fn sine_and_cosine_agree_with_radians() {
        for step in -800..800 {
            let angle = f64::from(step) * 0.913;
            let (sin, cos) = Degrees(angle).sin_cos();
            let (sin_rad, cos_rad) = Radians::from(Degrees(angle)).0.sin_cos();
            assert!((sin - sin_rad).abs() < 4e-15 && (cos - cos_rad).abs() < 4e-15, "{angle}");
        }
    }

    #[test]
    fn units_are_read() {
        assert_eq!("1.5".parse(), Ok(Degrees(1.5)));
        assert_eq!(" 1.5deg ".parse(), Ok(Degrees(1.5)));
        assert_eq!("30 arcmin".parse(), Ok(Degrees(0.5)));
        assert_eq!("36arcsec".parse(), Ok(Degrees(0.01)));
        for text in ["", "deg", "1rad", "1,5"] {
            let error = text.parse::<Degrees>().expect_err("not an angle");
            assert_eq!(error, AngleError::NotAnAngle { text: text.to_owned() });
        }
    }
}
