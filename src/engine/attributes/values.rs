//! Sets of a column's values: what a condition on one column leaves.

use std::cmp::Ordering;
use std::ops::{BitAnd, BitOr, Bound, Not};

/// A value that a column is compared with; never null.
///
/// Columns of singles are compared as doubles, which hold every single exactly.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Of a boolean column; false is less than true.
    Bool(bool),
    /// Of an integer column.
    Int(i64),
    /// Of a column of singles or doubles; -0 is 0, and NaN bounds nothing.
    Real(f64),
    /// Of a text column, ordered by its bytes.
    Text(String),
}

impl Scalar {
    fn is_nan(&self) -> bool {
        matches!(self, Self::Real(value) if value.is_nan())
    }

    /// One zero, so that equal values are the same value.
    fn plain(self) -> Self {
        match self {
            Self::Real(value) => Self::Real(value + 0.0),
            other => other,
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        let kind = |scalar: &Self| match scalar {
            Self::Bool(_) => 0,
            Self::Int(_) => 1,
            Self::Real(_) => 2,
            Self::Text(_) => 3,
        };
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Int(left), Self::Int(right)) => left.cmp(right),
            (Self::Real(left), Self::Real(right)) => left.total_cmp(right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (left, right) => kind(left).cmp(&kind(right)),
        }
    }
}

/// A place between values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cut {
    /// Before every value.
    Start,
    /// Between a value and all lesser ones.
    Before(Scalar),
    /// Between a value and all greater ones.
    After(Scalar),
    /// After every value.
    End,
}

impl Cut {
    fn order(&self, other: &Self) -> Ordering {
        let key = |cut: &Self| match cut {
            Self::Start => 0,
            Self::Before(_) | Self::After(_) => 1,
            Self::End => 2,
        };
        match (self, other) {
            (Self::Before(left) | Self::After(left), Self::Before(right) | Self::After(right)) => {
                let sides = (matches!(self, Self::After(_)), matches!(other, Self::After(_)));
                left.order(right).then(sides.0.cmp(&sides.1))
            }
            (left, right) => key(left).cmp(&key(right)),
        }
    }

    fn is_before(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Less
    }
}

/// The values between two places.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Interval {
    pub(super) low: Cut,
    pub(super) high: Cut,
}

/// A set of values of one column: intervals of its ordered values, and apart from them NaN and null, which have no
/// place in the order.
///
/// All bounds of a set are of the column's own kind: integers for an integer column, reals for singles and doubles.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueSet {
    /// Ascending, disjoint, with a gap between any two, none empty.
    intervals: Vec<Interval>,
    nan: bool,
    null: bool,
}

impl ValueSet {
    /// The set without a value.
    pub fn none() -> Self {
        Self { intervals: Vec::new(), nan: false, null: false }
    }

    /// Every value, NaN and null.
    pub fn everything() -> Self {
        !Self::none()
    }

    /// NaN alone.
    pub fn nan() -> Self {
        Self { nan: true, ..Self::none() }
    }

    /// Null alone.
    pub fn null() -> Self {
        Self { null: true, ..Self::none() }
    }

    /// The numbers, texts or truths between two bounds, without NaN and null; none where a bound is NaN, for nothing
    /// is less or greater.
    pub fn between(low: Bound<Scalar>, high: Bound<Scalar>) -> Self {
        let is_nan = |bound: &Bound<Scalar>| match bound {
            Bound::Included(value) | Bound::Excluded(value) => value.is_nan(),
            Bound::Unbounded => false,
        };
        if is_nan(&low) || is_nan(&high) {
            return Self::none();
        }
        let low = match low {
            Bound::Included(value) => Cut::Before(value.plain()),
            Bound::Excluded(value) => Cut::After(value.plain()),
            Bound::Unbounded => Cut::Start,
        };
        let high = match high {
            Bound::Included(value) => Cut::After(value.plain()),
            Bound::Excluded(value) => Cut::Before(value.plain()),
            Bound::Unbounded => Cut::End,
        };
        let intervals =
            if low.is_before(&high) { vec![Interval { low, high }] } else { Vec::new() };
        Self { intervals, nan: false, null: false }
    }

    /// The given values, in any order; NaN equals nothing and is left out.
    pub fn among(values: impl IntoIterator<Item = Scalar>) -> Self {
        let mut values: Vec<Scalar> =
            values.into_iter().filter(|value| !value.is_nan()).map(Scalar::plain).collect();
        values.sort_by(Scalar::order);
        values.dedup();
        let point =
            |value: Scalar| Interval { low: Cut::Before(value.clone()), high: Cut::After(value) };
        Self { intervals: values.into_iter().map(point).collect(), nan: false, null: false }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty() && !self.nan && !self.null
    }

    /// Whether NaN is in it.
    pub fn has_nan(&self) -> bool {
        self.nan
    }

    /// Whether null is in it.
    pub fn has_null(&self) -> bool {
        self.null
    }

    /// The same with null, or without it.
    #[must_use]
    pub fn with_null(self, null: bool) -> Self {
        Self { null, ..self }
    }

    pub(super) fn intervals(&self) -> &[Interval] {
        &self.intervals
    }
}

impl Not for ValueSet {
    type Output = Self;

    /// What is not in the set: of values, NaN and null.
    fn not(self) -> Self {
        let mut gaps = Vec::with_capacity(self.intervals.len() + 1);
        let mut low = Cut::Start;
        for interval in self.intervals {
            if low.is_before(&interval.low) {
                gaps.push(Interval { low, high: interval.low });
            }
            low = interval.high;
        }
        if low != Cut::End {
            gaps.push(Interval { low, high: Cut::End });
        }
        Self { intervals: gaps, nan: !self.nan, null: !self.null }
    }
}

impl BitOr for ValueSet {
    type Output = Self;

    fn bitor(mut self, mut other: Self) -> Self {
        // Both are sorted, which a merge sort sees.
        self.intervals.append(&mut other.intervals);
        self.intervals.sort_by(|left, right| left.low.order(&right.low));
        let mut joined: Vec<Interval> = Vec::with_capacity(self.intervals.len());
        for next in self.intervals {
            match joined.last_mut() {
                Some(last) if !last.high.is_before(&next.low) => {
                    if last.high.is_before(&next.high) {
                        last.high = next.high;
                    }
                }
                _ => joined.push(next),
            }
        }
        Self { intervals: joined, nan: self.nan || other.nan, null: self.null || other.null }
    }
}

impl BitAnd for ValueSet {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        // De Morgan's way moves every bound, of which texts would be dear to copy.
        !(!self | !other)
    }
}
