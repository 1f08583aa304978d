//! Which side of a polygon a point is on.
//!
//! Crossings are counted along the meridian from the point to a pole, in a frame whose poles are
//! away from every side. Each corner is compared with the meridian once, by one number, so that two
//! sides that share a corner never disagree about it: no degenerate case is left.

use std::f64::consts::PI;

use super::side::Side;
use crate::sky::vector3::{Vector3, cross, dot, norm, scale};

/// How many directions are tried for the pole.
const POLES_TRIED: u32 = 48;

/// Longitudes about a pole that no side comes near.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    x: Vector3,
    y: Vector3,
    pole: Vector3,
    /// Longitude of each side's start.
    longitudes: Vec<f64>,
}

/// The part of the sky on the left of the outline.
pub(super) struct LeftPart {
    /// Steradians.
    pub(super) area: f64,
    /// Whether the point opposite to the frame's pole is in it.
    pub(super) holds_antipole: bool,
}

impl Frame {
    /// The frame, among those tried, whose poles are farthest from the sides.
    pub(super) fn away_from(sides: &[Side]) -> Self {
        let clearance = |pole: &Vector3| {
            let antipole = scale(pole, -1.0);
            let nearer = |side: &Side| side.distance(pole).min(side.distance(&antipole));
            sides.iter().map(nearer).fold(PI, f64::min)
        };
        let mut best = ([0.0, 0.0, 1.0], -1.0);
        for pole in (0..POLES_TRIED).map(spiral) {
            let clear = clearance(&pole);
            if clear > best.1 {
                best = (pole, clear);
            }
        }
        let pole = best.0;
        // The axis that is most across the pole makes the best perpendicular.
        let across = if pole[2].abs() < 0.7 { [0.0, 0.0, 1.0] } else { [1.0, 0.0, 0.0] };
        let y = cross(&pole, &across);
        let y = scale(&y, 1.0 / norm(&y));
        let x = cross(&y, &pole);
        let mut frame = Self { x, y, pole, longitudes: Vec::new() };
        frame.longitudes = sides.iter().map(|side| frame.longitude(side.from())).collect();
        frame
    }

    pub(super) fn pole(&self) -> &Vector3 {
        &self.pole
    }

    fn longitude(&self, point: &Vector3) -> f64 {
        dot(&self.y, point).atan2(dot(&self.x, point))
    }

    /// Whether the meridian from the point to the pole crosses an odd number of sides.
    pub(super) fn crosses_odd(&self, sides: &[Side], point: &Vector3) -> bool {
        let meridian = self.longitude(point);
        let east_of = self.longitudes.iter().map(|longitude| turn(meridian, *longitude));
        let next = east_of.clone().cycle().skip(1);
        let mut odd = false;
        for (side, (start, end)) in sides.iter().zip(east_of.zip(next)) {
            let eastward = start < 0.0 && end >= 0.0;
            let westward = start >= 0.0 && end < 0.0;
            // A change of sign on the far side of the sky is no crossing of this half meridian.
            if (eastward || westward) && (end - start).abs() < PI {
                let offset = side.offset(point);
                odd ^= if eastward { offset < 0.0 } else { offset > 0.0 };
            }
        }
        odd
    }

    /// Measures the part on the left by the triangles between the sides and the pole.
    ///
    /// # Reference
    /// Spherical excess from two sides and the angle between them: Todhunter 1886, article 103.
    pub(super) fn area_on_the_left(&self, sides: &[Side]) -> LeftPart {
        let next = self.longitudes.iter().cycle().skip(1);
        let mut excess = 0.0;
        for (side, (&start, &end)) in sides.iter().zip(self.longitudes.iter().zip(next)) {
            let (sin, cos) = turn(start, end).sin_cos();
            let product = self.half_tangent(side.from()) * self.half_tangent(side.to());
            excess += 2.0 * (product * sin).atan2(1.0 + product * cos);
        }
        // The sum is short of 4 pi when the antipole, where the triangles wrap, is on the left.
        let holds_antipole = excess < 0.0;
        let area = if holds_antipole { excess + 4.0 * PI } else { excess };
        LeftPart { area, holds_antipole }
    }

    /// Tangent of half the angle from the pole.
    fn half_tangent(&self, point: &Vector3) -> f64 {
        let across = dot(&self.x, point).hypot(dot(&self.y, point));
        (0.5 * across.atan2(dot(&self.pole, point))).tan()
    }
}

/// The angle from one longitude east to another, in `[-pi, pi]`.
fn turn(from: f64, to: f64) -> f64 {
    let direct = to - from;
    if direct > PI {
        direct - 2.0 * PI
    } else if direct < -PI {
        direct + 2.0 * PI
    } else {
        direct
    }
}

/// Directions spread over the northern half of the sky by the golden angle.
fn spiral(index: u32) -> Vector3 {
    let z = (f64::from(index) + 0.5) / f64::from(POLES_TRIED);
    let (sin, cos) = (f64::from(index) * 2.399_963_229_728_653).sin_cos();
    let radius = (1.0 - z * z).sqrt();
    [radius * cos, radius * sin, z]
}
