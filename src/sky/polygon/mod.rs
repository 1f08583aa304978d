//! Polygons of great-circle arcs.

mod frame;
mod side;

use std::fmt;
use std::str::FromStr;

use super::judge::Overlap;
use super::vector3::{Vector3, add, angle, dot, norm, scale};
use super::{Degrees, EDGE_TOLERANCE, Position, Radians, RegionError, parse};
use frame::Frame;
use side::Side;

/// The most vertices of a polygon; a finer outline is better given as a coverage map.
pub const VERTICES_MAX: usize = 2048;

/// A side this near to half a circle has no direction left in doubles.
const SIDE_MAX: Degrees = Degrees(180.0 - 1e-6);

/// Three or more vertices joined by great-circle arcs; the inside is the smaller part of the sky.
///
/// Sides do not cross or touch one another. The last vertex is joined to the first; it does not
/// matter which way round they are given.
#[derive(Debug, Clone)]
pub struct Polygon {
    vertices: Vec<Position>,
    sides: Vec<Side>,
    frame: Frame,
    /// Whether the pole of `frame`, from which crossings are counted, is inside.
    pole_inside: bool,
    /// Middle and cosine of the radius of a circle around the inside, where one below a hemisphere exists.
    bound: Option<(Vector3, f64)>,
}

impl Polygon {
    /// Checks the vertices: at least three, all different, sides shorter than 180 degrees that
    /// neither cross nor touch, and not a hemisphere, which has no smaller part.
    ///
    /// # Complexity
    /// Quadratic in the number of vertices, which is at most [`VERTICES_MAX`].
    pub fn new(vertices: Vec<Position>) -> Result<Self, RegionError> {
        let count = vertices.len();
        if count < 3 {
            return Err(RegionError::TooFewVertices { count });
        }
        if count > VERTICES_MAX {
            return Err(RegionError::TooManyVertices { count, count_max: VERTICES_MAX });
        }
        let corners: Vec<Vector3> = vertices.iter().map(Position::vector).collect();
        check_repeats(&corners)?;
        let sides = joined(&corners)?;
        check_crossings(&sides)?;
        let frame = Frame::away_from(&sides);
        let mut polygon = Self { vertices, sides, frame, pole_inside: false, bound: None };
        polygon.choose_inside(&corners)?;
        Ok(polygon)
    }

    /// The corners as given.
    pub fn vertices(&self) -> &[Position] {
        &self.vertices
    }

    /// True inside, on a side or at a corner; those are as wide as [`EDGE_TOLERANCE`].
    pub fn contains(&self, position: &Position) -> bool {
        let point = position.vector();
        if let Some((middle, cosine)) = &self.bound
            && dot(middle, &point) < *cosine
        {
            return false;
        }
        let tolerance = Radians::from(EDGE_TOLERANCE).0;
        let touches =
            |side: &Side| !side.is_beyond(&point, tolerance) && side.distance(&point) <= tolerance;
        self.sides.iter().any(touches) || self.encloses(&point)
    }

    /// Whether a point that is on no side is inside.
    fn encloses(&self, point: &Vector3) -> bool {
        self.pole_inside != self.frame.crosses_odd(&self.sides, point)
    }

    /// How the circle of radius `reach`, in radians, around a direction lies to the polygon.
    pub(super) fn overlap(&self, centre: &Vector3, reach: f64) -> Overlap {
        if self.is_far_from(centre, reach) {
            return Overlap::Outside;
        }
        let is_clear = |side: &Side| side.is_beyond(centre, reach) || side.distance(centre) > reach;
        if !self.sides.iter().all(is_clear) {
            Overlap::Border
        } else if self.encloses(centre) {
            Overlap::Inside
        } else {
            Overlap::Outside
        }
    }

    /// Whether the circle of radius `reach` around a direction certainly misses the circle around the inside.
    fn is_far_from(&self, centre: &Vector3, reach: f64) -> bool {
        self.bound.as_ref().is_some_and(|(middle, cosine)| {
            // The bound is below a right angle and no cell reaches 60 degrees: the sum is below a half turn, where
            // the cosine falls. Rounding is below 1e-15.
            let sine = (1.0 - cosine * cosine).max(0.0).sqrt();
            let (sin_reach, cos_reach) = reach.sin_cos();
            dot(middle, centre) < cosine * cos_reach - sine * sin_reach - 1e-12
        })
    }

    /// Decides which of the two parts is the smaller one.
    fn choose_inside(&mut self, corners: &[Vector3]) -> Result<(), RegionError> {
        let sum = corners.iter().fold([0.0; 3], |sum, corner| add(&sum, corner));
        let length = norm(&sum);
        let middle = scale(&sum, 1.0 / length);
        let cosine = corners.iter().map(|corner| dot(&middle, corner)).fold(1.0, f64::min);
        if length > 1e-6 && cosine > 1e-6 {
            // All corners, and with them all sides, lie in one hemisphere: the other is outside.
            let opposite = scale(&middle, -1.0);
            self.pole_inside = self.frame.crosses_odd(&self.sides, &opposite);
            self.bound = Some((middle, cosine - 1e-12));
            return Ok(());
        }
        let left = self.frame.area_on_the_left(&self.sides);
        let half = 2.0 * std::f64::consts::PI;
        if (left.area - half).abs() < 1e-9 {
            return Err(RegionError::Hemisphere);
        }
        let inside_is_left = left.area < half;
        let antipole = scale(self.frame.pole(), -1.0);
        let antipole_inside = left.holds_antipole == inside_is_left;
        self.pole_inside = antipole_inside != self.frame.crosses_odd(&self.sides, &antipole);
        Ok(())
    }
}

fn check_repeats(corners: &[Vector3]) -> Result<(), RegionError> {
    let tolerance = Radians::from(EDGE_TOLERANCE).0;
    for (first, a) in corners.iter().enumerate() {
        for (second, b) in corners.iter().enumerate().skip(first + 1) {
            if angle(a, b) <= tolerance {
                return Err(RegionError::RepeatedVertex { first: first + 1, second: second + 1 });
            }
        }
    }
    Ok(())
}

fn joined(corners: &[Vector3]) -> Result<Vec<Side>, RegionError> {
    let next = corners.iter().cycle().skip(1);
    let ends = corners.iter().zip(next).enumerate();
    ends.map(|(index, (from, to))| {
        if Degrees::from(Radians(angle(from, to))).0 >= SIDE_MAX.0 {
            let to = (index + 1) % corners.len() + 1;
            return Err(RegionError::SideTooLong { from: index + 1, to });
        }
        Ok(Side::new(*from, *to))
    })
    .collect()
}

fn check_crossings(sides: &[Side]) -> Result<(), RegionError> {
    let tolerance = Radians::from(EDGE_TOLERANCE).0;
    for (first, a) in sides.iter().enumerate() {
        for (second, b) in sides.iter().enumerate().skip(first + 1) {
            let touching = if second == first + 1 {
                a.distance(b.to()) <= tolerance || b.distance(a.from()) <= tolerance
            } else if first == 0 && second + 1 == sides.len() {
                a.distance(b.from()) <= tolerance || b.distance(a.to()) <= tolerance
            } else {
                a.meets(b, tolerance)
            };
            if touching {
                return Err(RegionError::SelfCrossing { first: first + 1, second: second + 1 });
            }
        }
    }
    Ok(())
}

impl PartialEq for Polygon {
    fn eq(&self, other: &Self) -> bool {
        self.vertices == other.vertices
    }
}

impl fmt::Display for Polygon {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "polygon of {} vertices from {}", self.vertices.len(), self.vertices[0])
    }
}

/// Reads `ra,dec,ra,dec,...` in degrees.
impl FromStr for Polygon {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(parse::positions(text)?)
    }
}
