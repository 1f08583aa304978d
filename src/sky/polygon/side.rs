//! One side of a polygon: a great-circle arc.

use crate::sky::vector3::{Vector3, add, angle, cross, dot, norm, scale, subtract};

/// An arc shorter than half a circle.
#[derive(Debug, Clone)]
pub(super) struct Side {
    from: Vector3,
    to: Vector3,
    /// `to - from`, so that short sides lose no digits.
    chord: Vector3,
    /// Length of `from x to`.
    sine: f64,
    /// Unit vector at `from` along the arc, and at `to` back along it.
    forward: Vector3,
    backward: Vector3,
    /// Halfway, and the angle from there to the ends.
    middle: Vector3,
    half: f64,
    /// Chord from the middle to the farthest point of the arc, rounded up.
    half_chord: f64,
}

impl Side {
    pub(super) fn new(from: Vector3, to: Vector3) -> Self {
        let chord = subtract(&to, &from);
        // (from + to) x (to - from) = 2 from x to, without the cancellation.
        let doubled = cross(&add(&from, &to), &chord);
        let sine = 0.5 * norm(&doubled);
        let normal = scale(&doubled, 0.5 / sine);
        let (forward, backward) = (cross(&normal, &from), cross(&to, &normal));
        let sum = add(&from, &to);
        let middle = scale(&sum, 1.0 / norm(&sum));
        let half = 0.5 * angle(&from, &to);
        // The middle of an arc of almost half a circle is known less well: the sum of its ends is short.
        let ends = norm(&subtract(&middle, &from)).max(norm(&subtract(&middle, &to)));
        let half_chord = ends + 1e-15 / norm(&sum);
        Self { from, to, chord, sine, forward, backward, middle, half, half_chord }
    }

    pub(super) fn from(&self) -> &Vector3 {
        &self.from
    }

    pub(super) fn to(&self) -> &Vector3 {
        &self.to
    }

    /// Sine of the angle from the side's great circle, positive on the left of `from -> to`.
    ///
    /// It is the determinant of the three vectors taken from differences, which keeps the error at
    /// a few units of the last place of the point's own coordinates however short the side is.
    pub(super) fn offset(&self, point: &Vector3) -> f64 {
        dot(&self.from, &cross(&self.chord, &subtract(point, &self.from))) / self.sine
    }

    /// Whether every point of the arc is certainly farther than an angle, by a bound that costs one square root.
    pub(super) fn is_beyond(&self, point: &Vector3, angle: f64) -> bool {
        // Straight lines obey the triangle inequality, no point of the arc is farther from its middle than the ends,
        // and a chord is never longer than its angle.
        norm(&subtract(point, &self.middle)) > self.half_chord + angle + 1e-12
    }

    /// Angle from the nearest point of the arc, in radians.
    pub(super) fn distance(&self, point: &Vector3) -> f64 {
        if dot(&self.forward, point) >= 0.0 && dot(&self.backward, point) >= 0.0 {
            self.offset(point).abs().min(1.0).asin()
        } else {
            angle(&self.from, point).min(angle(&self.to, point))
        }
    }

    /// Whether two sides without a common corner cross, or come nearer than `tolerance`.
    pub(super) fn meets(&self, other: &Self, tolerance: f64) -> bool {
        // Most pairs are far apart, and a polygon has very many.
        if angle(&self.middle, &other.middle) > self.half + other.half + 1e-9 {
            return false;
        }
        let touches = |side: &Self, point| side.distance(point) <= tolerance;
        if touches(self, &other.from)
            || touches(self, &other.to)
            || touches(other, &self.from)
            || touches(other, &self.to)
        {
            return true;
        }
        // The arcs cross when each separates the ends of the other, on the same half of the sky.
        let offsets = [
            -self.offset(&other.from),
            self.offset(&other.to),
            other.offset(&self.from),
            -other.offset(&self.to),
        ];
        // An end on the other's great circle but not on its arc crosses nothing.
        offsets.iter().all(|&offset| offset > tolerance)
            || offsets.iter().all(|&offset| offset < -tolerance)
    }
}
