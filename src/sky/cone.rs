//! Cones: everything within an angle of a position.

use std::fmt;
use std::str::FromStr;

use super::vector3::Vector3;
use super::{Degrees, EDGE_TOLERANCE, Position, RegionError, parse};

/// A centre and a great-circle radius of 0 to 180 degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cone {
    centre: Position,
    /// Of the centre.
    vector: Vector3,
    radius: f64,
}

impl Cone {
    /// Checks the radius: 0 (the position itself) to 180 degrees (the whole sky).
    pub fn new(centre: Position, radius: Degrees) -> Result<Self, RegionError> {
        if (0.0..=180.0).contains(&radius.0) {
            Ok(Self { centre, vector: centre.vector(), radius: radius.0 })
        } else {
            Err(RegionError::RadiusOutOfRange { radius: radius.0 })
        }
    }

    /// The middle.
    pub fn centre(&self) -> Position {
        self.centre
    }

    /// The great-circle radius.
    pub fn radius(&self) -> Degrees {
        Degrees(self.radius)
    }

    pub(super) fn vector(&self) -> &Vector3 {
        &self.vector
    }

    /// True within the radius, the edge included to [`EDGE_TOLERANCE`].
    pub fn contains(&self, position: &Position) -> bool {
        // No great circle is shorter than its rise in declination: most of the sky ends here.
        let limit = self.radius + EDGE_TOLERANCE.0;
        (position.dec().0 - self.centre.dec().0).abs() <= limit
            && self.centre.separation(position).0 <= limit
    }
}

impl fmt::Display for Cone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cone {} radius {}", self.centre, self.radius())
    }
}

/// Reads `RA,DEC,RADIUS`; the radius may carry `deg`, `arcmin` or `arcsec`.
impl FromStr for Cone {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || RegionError::Malformed { form: "RA,DEC,RADIUS", text: text.to_owned() };
        let (place, radius) = text.rsplit_once(',').ok_or_else(malformed)?;
        match parse::positions(place)?.as_slice() {
            [centre] => Self::new(*centre, radius.parse()?),
            _ => Err(malformed()),
        }
    }
}
