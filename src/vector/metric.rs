//! Metrics and the distance that orders hits: smaller is nearer, for every metric.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::kernel::{dot, l2_squared, norm, reference};

/// How two vectors of one space are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// `1 - cos`, from 0 to 2.
    Cosine,
    /// The Euclidean distance, not squared.
    L2,
    /// Minus the inner product.
    Ip,
}

/// A metric's name that is none of `cosine`, `l2`, `ip`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown metric `{name}`; use cosine, l2 or ip")]
pub struct UnknownMetric {
    /// What was given.
    pub name: String,
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "cosine" => Ok(Self::Cosine),
            "l2" => Ok(Self::L2),
            "ip" => Ok(Self::Ip),
            _ => Err(UnknownMetric { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cosine => "cosine",
            Self::L2 => "l2",
            Self::Ip => "ip",
        })
    }
}

impl Metric {
    /// Brings a vector into the form that [`Metric::distance`] compares: unit length under cosine, unchanged else.
    ///
    /// Returns `None` for a vector of norm zero under cosine: it has no direction.
    pub fn prepare(self, mut vector: Vec<f32>) -> Option<Vec<f32>> {
        self.prepare_in_place(&mut vector).then_some(vector)
    }

    /// Does the same behind the end of other vectors; `false`, and nothing is added, where there is no direction.
    pub fn prepare_into(self, vector: &[f32], vectors: &mut Vec<f32>) -> bool {
        let start = vectors.len();
        vectors.extend_from_slice(vector);
        let has_direction = self.prepare_in_place(&mut vectors[start..]);
        if !has_direction {
            vectors.truncate(start);
        }
        has_direction
    }

    /// Does the same where the vector is; `false`, and nothing is changed, where there is no direction.
    pub fn prepare_in_place(self, vector: &mut [f32]) -> bool {
        match self {
            Self::L2 | Self::Ip => true,
            Self::Cosine => {
                let length = norm(vector);
                if length == 0.0 {
                    return false;
                }
                for value in vector {
                    *value = (f64::from(*value) / length) as f32;
                }
                true
            }
        }
    }

    /// Returns the distance of two [prepared](Metric::prepare) vectors.
    pub fn distance(self, query: &[f32], stored: &[f32]) -> Distance {
        let value = match self {
            Self::Cosine => 1.0 - finite(dot(query, stored), || reference::dot(query, stored)),
            Self::L2 => {
                finite(l2_squared(query, stored), || reference::l2_squared(query, stored)).sqrt()
            }
            Self::Ip => -finite(dot(query, stored), || reference::dot(query, stored)),
        };
        // Turns -0 into 0, so that it is also printed as what it is.
        Distance(value + 0.0)
    }

    /// The distance of two [prepared](Metric::prepare) vectors, or `None` where it is certainly greater than a bound: the
    /// cheaper question of the two, which a scan asks for nearly every row.
    #[inline]
    pub fn distance_within(
        self,
        query: &[f32],
        stored: &[f32],
        bound: Option<Distance>,
    ) -> Option<Distance> {
        let Some(Distance(bound)) = bound else { return Some(self.distance(query, stored)) };
        let (fast, limit) = match self {
            Self::Cosine => (1.0 - f64::from(dot(query, stored)), bound),
            Self::Ip => (-f64::from(dot(query, stored)), bound),
            // No root for the others; the limit is moved by more than its own rounding.
            Self::L2 => (f64::from(l2_squared(query, stored)), bound * bound * (1.0 + 1e-12)),
        };
        if fast > limit && fast.is_finite() {
            return None;
        }
        let value = if self == Self::L2 { fast.sqrt() } else { fast };
        // What has overflowed is computed with more care.
        if fast.is_finite() {
            Some(Distance(value + 0.0))
        } else {
            Some(self.distance(query, stored))
        }
    }

    /// Returns the score that goes with a distance: larger is better (the cosine, the inner product, or minus the
    /// Euclidean distance).
    pub fn score(self, distance: Distance) -> f64 {
        match self {
            Self::Cosine => 1.0 - distance.0,
            Self::L2 | Self::Ip => -distance.0,
        }
    }
}

/// The fast sum, or the one in `f64` where single precision has overflowed: `f64` cannot, for any finite `f32`.
fn finite(fast: f32, careful: impl FnOnce() -> f64) -> f64 {
    if fast.is_finite() { f64::from(fast) } else { careful() }
}

/// A distance between vectors; never NaN, smaller is nearer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance(f64);

impl Distance {
    /// Wraps a distance; `None` for NaN.
    pub fn new(value: f64) -> Option<Self> {
        (!value.is_nan()).then_some(Self(value))
    }

    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl Eq for Distance {}

impl PartialOrd for Distance {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Distance {
    fn cmp(&self, other: &Self) -> Ordering {
        // -0.0 and 0.0 are one distance, so that ties go to the object id.
        (self.0 + 0.0).total_cmp(&(other.0 + 0.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn component() -> impl Strategy<Value = f32> {
        prop_oneof![8 => -2.0f32..2.0, 1 => prop::sample::select(vec![0.0, -0.0, 1e30, -3e38, 1e-40])]
    }

    proptest! {
        #[test]
        fn only_what_is_beyond_the_bound_has_no_distance(
            pairs in prop::collection::vec((component(), component()), 1..40),
            moved in -0.5f64..0.5,
            exactly in any::<bool>(),
        ) {
            let (query, stored): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            for metric in [Metric::Cosine, Metric::L2, Metric::Ip] {
                let distance = metric.distance(&query, &stored);
                prop_assert_eq!(metric.distance_within(&query, &stored, None), Some(distance));
                let bound = if exactly { distance.value() } else { distance.value() + moved };
                let bound = Distance::new(bound).expect("a number");
                match metric.distance_within(&query, &stored, Some(bound)) {
                    Some(found) => prop_assert_eq!(found, distance),
                    None => prop_assert!(distance > bound, "{metric}: {distance:?} {bound:?}"),
                }
            }
        }
    }

    #[test]
    fn huge_components_have_a_distance() {
        let (left, right) = ([f32::MAX, f32::MAX], [f32::MAX, -f32::MAX]);
        assert_eq!(Metric::Ip.distance(&left, &right).value(), 0.0);
        let expected = 2.0 * f64::from(f32::MAX);
        assert!((Metric::L2.distance(&left, &right).value() / expected - 1.0).abs() < 1e-12);
    }

    #[test]
    fn zero_has_no_sign() {
        assert!(Metric::Ip.distance(&[0.0, 1.0], &[1.0, 0.0]).value().is_sign_positive());
    }
}
