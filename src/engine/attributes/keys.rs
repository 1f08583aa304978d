//! Numbers as unsigned keys of the same order, so that one code sorts and searches every kind of number.

use std::ops::RangeInclusive;

use arrow::datatypes::DataType;

use super::values::{Cut, Interval, Scalar, ValueSet};

/// What an attribute's column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Integer,
    Single,
    Double,
    Text,
}

impl Kind {
    /// The kind of a column; `None` for one that attributes are not made of.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Boolean => Some(Self::Boolean),
            DataType::Int64 => Some(Self::Integer),
            DataType::Float32 => Some(Self::Single),
            DataType::Float64 => Some(Self::Double),
            DataType::Utf8 => Some(Self::Text),
            _ => None,
        }
    }

    /// Its number in files.
    pub(super) fn tag(self) -> u32 {
        match self {
            Self::Boolean => 1,
            Self::Integer => 2,
            Self::Single => 3,
            Self::Double => 4,
            Self::Text => 5,
        }
    }

    fn key(self, scalar: &Scalar) -> Option<u64> {
        match (self, scalar) {
            (Self::Boolean, Scalar::Bool(value)) => Some(of_integer(i64::from(*value))),
            (Self::Integer, Scalar::Int(value)) => Some(of_integer(*value)),
            (Self::Single | Self::Double, Scalar::Real(value)) => Some(of_real(*value)),
            _ => None,
        }
    }

    /// Keys of all numbers that are in an order; NaN is outside.
    fn all(self) -> RangeInclusive<u64> {
        match self {
            Self::Single | Self::Double => of_real(f64::NEG_INFINITY)..=of_real(f64::INFINITY),
            Self::Boolean | Self::Integer | Self::Text => 0..=u64::MAX,
        }
    }

    /// Keys of the numbers of a set: ascending, disjoint, none empty. Bounds of another kind bound nothing.
    pub(super) fn ranges(self, values: &ValueSet) -> Vec<RangeInclusive<u64>> {
        values.intervals().iter().filter_map(|interval| self.range(interval)).collect()
    }

    fn range(self, interval: &Interval) -> Option<RangeInclusive<u64>> {
        let all = self.all();
        let low = match &interval.low {
            Cut::Start => *all.start(),
            Cut::Before(value) => self.key(value)?,
            Cut::After(value) => self.key(value)?.checked_add(1)?,
            Cut::End => return None,
        };
        let high = match &interval.high {
            Cut::Start => return None,
            Cut::Before(value) => self.key(value)?.checked_sub(1)?,
            Cut::After(value) => self.key(value)?,
            Cut::End => *all.end(),
        };
        (low <= high).then_some(low..=high)
    }
}

/// The key of an integer.
pub(super) fn of_integer(value: i64) -> u64 {
    value as u64 ^ 1 << 63
}

/// The key of a real: one for both zeros, beyond those of the infinities for NaN.
pub(super) fn of_real(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}
