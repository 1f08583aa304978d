//! Three-vectors of doubles: just what the geometry needs.

/// A direction as a unit vector, x towards RA 0, z towards the north pole.
pub(super) type Vector3 = [f64; 3];

pub(super) fn dot(a: &Vector3, b: &Vector3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross(a: &Vector3, b: &Vector3) -> Vector3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(super) fn add(a: &Vector3, b: &Vector3) -> Vector3 {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(super) fn subtract(a: &Vector3, b: &Vector3) -> Vector3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn scale(a: &Vector3, factor: f64) -> Vector3 {
    [a[0] * factor, a[1] * factor, a[2] * factor]
}

pub(super) fn norm(a: &Vector3) -> f64 {
    dot(a, a).sqrt()
}

/// The angle between two unit vectors in radians, accurate from zero to antipodes.
pub(super) fn angle(a: &Vector3, b: &Vector3) -> f64 {
    2.0 * norm(&subtract(a, b)).atan2(norm(&add(a, b)))
}
