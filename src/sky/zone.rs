//! Zones: between two meridians and two parallels.

use std::fmt;

use super::judge::{MARGIN, Overlap};
use super::position::wrapped;
use super::{Degrees, Position, Radians, RegionError};

/// Runs east from `ra_min` to `ra_max`, also across RA 0, and north from `dec_min` to `dec_max`.
///
/// All four edges belong to the zone, compared exactly as the degrees were given. A pole belongs to
/// every zone whose declinations reach it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Zone {
    ra_min: f64,
    /// Extent east of `ra_min`, 0 to 360; 360 is all right ascensions.
    width: f64,
    /// As the eastern edge was given, wrapped; meaningless at a width of 360.
    ra_max: f64,
    dec_min: f64,
    dec_max: f64,
}

impl Zone {
    /// Checks the limits. Right ascensions are wrapped: 350 to 10 and -10 to 10 are the same 20
    /// degrees. A difference of exactly 360 is the full circle; equal values are one meridian.
    pub fn new(
        ra_min: Degrees,
        ra_max: Degrees,
        dec_min: Degrees,
        dec_max: Degrees,
    ) -> Result<Self, RegionError> {
        let south_west = Position::new(ra_min, dec_min)?;
        let north_east = Position::new(ra_max, dec_max)?;
        if dec_min.0 > dec_max.0 {
            return Err(RegionError::ZoneUpsideDown { dec_min: dec_min.0, dec_max: dec_max.0 });
        }
        let span = ra_max.0 - ra_min.0;
        if span.abs() > 360.0 {
            return Err(RegionError::ZoneTooWide { ra_min: ra_min.0, ra_max: ra_max.0 });
        }
        let (ra_min, ra_max) = (south_west.ra().0, north_east.ra().0);
        let width = if span == 360.0 {
            360.0
        } else if ra_min <= ra_max {
            ra_max - ra_min
        } else {
            360.0 - (ra_min - ra_max)
        };
        Ok(Self { ra_min, width, ra_max, dec_min: dec_min.0, dec_max: dec_max.0 })
    }

    /// The western edge, `[0, 360)`.
    pub fn ra_min(&self) -> Degrees {
        Degrees(self.ra_min)
    }

    /// The extent in right ascension from the western edge, `[0, 360]`.
    pub fn width(&self) -> Degrees {
        Degrees(self.width)
    }

    /// The southern edge.
    pub fn dec_min(&self) -> Degrees {
        Degrees(self.dec_min)
    }

    /// The northern edge.
    pub fn dec_max(&self) -> Degrees {
        Degrees(self.dec_max)
    }

    /// True between the edges and on them.
    pub fn contains(&self, position: &Position) -> bool {
        let (ra, dec) = (position.ra().0, position.dec().0);
        let between = if self.is_full_circle() || dec.abs() == 90.0 {
            true
        } else if self.ra_min <= self.ra_max {
            (self.ra_min..=self.ra_max).contains(&ra)
        } else {
            ra >= self.ra_min || ra <= self.ra_max
        };
        between && (self.dec_min..=self.dec_max).contains(&dec)
    }

    fn is_full_circle(&self) -> bool {
        self.width == 360.0
    }

    /// How the circle of radius `reach`, in degrees, around a position lies to the zone.
    pub(super) fn overlap(&self, centre: &Position, reach: f64) -> Overlap {
        let (ra, dec) = (centre.ra().0, centre.dec().0);
        if dec + reach < self.dec_min || dec - reach > self.dec_max {
            return Overlap::Outside;
        }
        let level = dec - reach >= self.dec_min && dec + reach <= self.dec_max;
        if self.is_full_circle() {
            return if level { Overlap::Inside } else { Overlap::Border };
        }
        let half_width = half_width_in_ra(dec, reach);
        let east = wrapped(ra - self.ra_min);
        if east - half_width > self.width && east + half_width < 360.0 {
            return Overlap::Outside;
        }
        let between = east >= half_width && east + half_width <= self.width;
        if level && between { Overlap::Inside } else { Overlap::Border }
    }
}

/// How far in RA a circle of radius `reach` around declination `dec` extends to either side.
fn half_width_in_ra(dec: f64, reach: f64) -> f64 {
    let (sin_reach, _) = Degrees(reach).sin_cos();
    let (_, cos_dec) = Degrees(dec).sin_cos();
    if dec.abs() + reach >= 90.0 || sin_reach >= cos_dec {
        return 180.0;
    }
    // The arc sine is steep near 1: rounding of its argument can cost 1e-8 of a right angle.
    let half = Degrees::from(Radians((sin_reach / cos_dec).asin())).0;
    half * (1.0 + 1e-6) + MARGIN.0
}

impl fmt::Display for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ra_max = if self.is_full_circle() { self.ra_min + 360.0 } else { self.ra_max };
        let Self { ra_min, dec_min, dec_max, .. } = self;
        write!(formatter, "zone ra {ra_min} to {ra_max}, dec {dec_min} to {dec_max}")
    }
}
