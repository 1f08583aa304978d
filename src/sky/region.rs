//! Any part of the sky that a query can name.

use std::fmt;

use thiserror::Error;

use super::{
    AngleError, CellJudge, Cone, Degrees, Moc, Polygon, Position, PositionError, Zone, cover::cover,
};
use crate::class::Class;

/// How far beyond a computed edge a position still counts as on it: 16 units in the last place of
/// one radian, 0.7 nanoarcseconds. Positions and edges are rounded by more than a tenth of that
/// before any test, so that "on the edge" has no sharper meaning in doubles. Zones and coverage
/// maps need no tolerance.
pub const EDGE_TOLERANCE: Degrees = Degrees(2.035_5e-13);

/// Why a region cannot be.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RegionError {
    /// A text that has another form.
    #[error("`{text}` is not of the form {form}, in degrees")]
    Malformed {
        /// What was expected.
        form: &'static str,
        /// What was given.
        text: String,
    },
    /// A text that should be an angle.
    #[error(transparent)]
    Angle(#[from] AngleError),
    /// A coordinate out of range.
    #[error(transparent)]
    Position(#[from] PositionError),
    /// Not a radius.
    #[error("the cone's radius is {radius} degrees: it must be between 0 and 180")]
    RadiusOutOfRange {
        /// What was given, in degrees.
        radius: f64,
    },
    /// Not a polygon.
    #[error("the polygon has {count} vertices: give at least 3")]
    TooFewVertices {
        /// What was given.
        count: usize,
    },
    /// Above the limit.
    #[error(
        "the polygon has {count} vertices, the limit is {count_max}: give a coverage map (MOC) instead"
    )]
    TooManyVertices {
        /// What was given.
        count: usize,
        /// [`VERTICES_MAX`](super::VERTICES_MAX).
        count_max: usize,
    },
    /// Two vertices, counted from 1, are the same position.
    #[error(
        "vertices {first} and {second} of the polygon are the same position: give each once, the last is joined to the first by itself"
    )]
    RepeatedVertex {
        /// The earlier one.
        first: usize,
        /// The later one.
        second: usize,
    },
    /// Vertices, counted from 1, that are antipodes.
    #[error(
        "the side from vertex {from} to vertex {to} of the polygon is 180 degrees long, so its course is undefined: put a vertex between them"
    )]
    SideTooLong {
        /// Start of the side.
        from: usize,
        /// End of the side.
        to: usize,
    },
    /// Sides, counted from 1 (side 1 joins vertices 1 and 2), that meet.
    #[error(
        "sides {first} and {second} of the polygon cross or touch (side 1 joins vertices 1 and 2): give the vertices in order around the outline"
    )]
    SelfCrossing {
        /// The earlier one.
        first: usize,
        /// The later one.
        second: usize,
    },
    /// Both parts are the same size.
    #[error(
        "the polygon is exactly half of the sky, so that its inside is undefined: use a cone of radius 90 degrees"
    )]
    Hemisphere,
    /// The parallels are in the wrong order.
    #[error(
        "the zone runs from dec {dec_min} to {dec_max} degrees: the first must not be above the second"
    )]
    ZoneUpsideDown {
        /// Lower limit as given.
        dec_min: f64,
        /// Upper limit as given.
        dec_max: f64,
    },
    /// More than once around.
    #[error(
        "the zone runs from ra {ra_min} to {ra_max} degrees: that is more than the full circle of 360"
    )]
    ZoneTooWide {
        /// Western limit as given.
        ra_min: f64,
        /// Eastern limit as given.
        ra_max: f64,
    },
}

impl RegionError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Malformed { .. }
            | Self::Angle(_)
            | Self::Position(_)
            | Self::RadiusOutOfRange { .. }
            | Self::TooFewVertices { .. }
            | Self::TooManyVertices { .. }
            | Self::RepeatedVertex { .. }
            | Self::SideTooLong { .. }
            | Self::SelfCrossing { .. }
            | Self::Hemisphere
            | Self::ZoneUpsideDown { .. }
            | Self::ZoneTooWide { .. } => Class::Invalid,
        }
    }
}

/// A part of the sky.
#[derive(Debug, Clone, PartialEq)]
pub enum Region {
    /// All of it.
    AllSky,
    /// Within an angle of a position.
    Cone(Cone),
    /// Inside great-circle arcs.
    Polygon(Polygon),
    /// Between meridians and parallels.
    Zone(Zone),
    /// A coverage map, or a list of cells.
    Moc(Moc),
}

impl Region {
    /// Whether a position is in the region, edges included.
    pub fn contains(&self, position: &Position) -> bool {
        match self {
            Self::AllSky => true,
            Self::Cone(cone) => cone.contains(position),
            Self::Polygon(polygon) => polygon.contains(position),
            Self::Zone(zone) => zone.contains(position),
            Self::Moc(moc) => moc.contains(position.cell29()),
        }
    }

    /// Cells that hold every position of the region; most positions in them, not all, are in it.
    ///
    /// At most [`COVER_RANGES_MAX`](super::COVER_RANGES_MAX) ranges, except for a coverage map,
    /// which is its own exact cover.
    pub fn cover(&self) -> Moc {
        match self {
            Self::AllSky => Moc::all_sky(),
            Self::Cone(_) | Self::Polygon(_) | Self::Zone(_) => cover(&CellJudge::new(self)),
            Self::Moc(moc) => moc.clone(),
        }
    }

    /// True when the cover has no other position than the region, so that no test need follow.
    pub fn cover_is_exact(&self) -> bool {
        matches!(self, Self::AllSky | Self::Moc(_))
    }
}

/// One line for plans and logs.
impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllSky => formatter.write_str("all sky"),
            Self::Cone(cone) => cone.fmt(formatter),
            Self::Polygon(polygon) => polygon.fmt(formatter),
            Self::Zone(zone) => zone.fmt(formatter),
            Self::Moc(moc) => {
                let percent = moc.sky_fraction() * 100.0;
                write!(
                    formatter,
                    "coverage map of {} ranges, {percent} % of the sky",
                    moc.ranges().len()
                )
            }
        }
    }
}

impl From<Cone> for Region {
    fn from(cone: Cone) -> Self {
        Self::Cone(cone)
    }
}

impl From<Polygon> for Region {
    fn from(polygon: Polygon) -> Self {
        Self::Polygon(polygon)
    }
}

impl From<Zone> for Region {
    fn from(zone: Zone) -> Self {
        Self::Zone(zone)
    }
}

impl From<Moc> for Region {
    fn from(moc: Moc) -> Self {
        Self::Moc(moc)
    }
}
