//! Testing values where they lie in Arrow columns: for parts without attributes.

use std::ops::RangeInclusive;

use arrow::array::{Array, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};

use super::keys::{self, Kind};
use super::values::{Cut, Scalar, ValueSet};

impl ValueSet {
    /// A bit for each row of a column: whether its value is in the set. No value of another type than that of the
    /// set's bounds is.
    ///
    /// # Complexity
    /// One or two comparisons a row for one interval, else a binary search among the intervals.
    pub fn mask(&self, array: &dyn Array) -> BooleanBuffer {
        let none = || BooleanBuffer::new_unset(array.len());
        let Some(kind) = Kind::of(array.data_type()) else { return none() };
        let values = match kind {
            Kind::Boolean => array.as_boolean_opt().map(|values| {
                self.keys_mask(kind, values.len(), |row| keys::of_integer(values.value(row).into()))
            }),
            Kind::Integer => array.as_primitive_opt::<Int64Type>().map(|values| {
                let values = values.values();
                self.keys_mask(kind, values.len(), |row| keys::of_integer(values[row]))
            }),
            Kind::Single => array.as_primitive_opt::<Float32Type>().map(|values| {
                let values = values.values();
                self.reals_mask(kind, values.len(), |row| f64::from(values[row]))
            }),
            Kind::Double => array.as_primitive_opt::<Float64Type>().map(|values| {
                let values = values.values();
                self.reals_mask(kind, values.len(), |row| values[row])
            }),
            Kind::Text => array.as_string_opt::<i32>().map(|texts| {
                BooleanBuffer::collect_bool(texts.len(), |row| {
                    // The offsets of a null need not be those of a text.
                    texts.is_valid(row) && self.holds_text(texts.value(row))
                })
            }),
        };
        let Some(values) = values else { return none() };
        match array.nulls() {
            Some(nulls) if self.has_null() => &values | &!nulls.inner(),
            Some(nulls) => &values & nulls.inner(),
            None => values,
        }
    }

    fn keys_mask(&self, kind: Kind, rows: usize, key: impl Fn(usize) -> u64) -> BooleanBuffer {
        match kind.ranges(self).as_slice() {
            [] => BooleanBuffer::new_unset(rows),
            [one] => {
                let (low, width) = (*one.start(), *one.end() - *one.start());
                BooleanBuffer::collect_bool(rows, |row| key(row).wrapping_sub(low) <= width)
            }
            many => BooleanBuffer::collect_bool(rows, |row| any_contains(many, key(row))),
        }
    }

    fn reals_mask(&self, kind: Kind, rows: usize, value: impl Fn(usize) -> f64) -> BooleanBuffer {
        // The key of NaN is in no range.
        let numbers = self.keys_mask(kind, rows, |row| keys::of_real(value(row)));
        if !self.has_nan() {
            return numbers;
        }
        &numbers | &BooleanBuffer::collect_bool(rows, |row| value(row).is_nan())
    }

    fn holds_text(&self, text: &str) -> bool {
        let intervals = self.intervals();
        let after = intervals.partition_point(|interval| is_before(&interval.low, text));
        let last = after.checked_sub(1).and_then(|place| intervals.get(place));
        last.is_some_and(|interval| !is_before(&interval.high, text))
    }
}

fn any_contains(ranges: &[RangeInclusive<u64>], key: u64) -> bool {
    let after = ranges.partition_point(|range| *range.start() <= key);
    after
        .checked_sub(1)
        .and_then(|place| ranges.get(place))
        .is_some_and(|range| key <= *range.end())
}

fn is_before(cut: &Cut, text: &str) -> bool {
    match cut {
        Cut::Start => true,
        Cut::Before(Scalar::Text(bound)) => bound.as_str() <= text,
        Cut::After(Scalar::Text(bound)) => bound.as_str() < text,
        Cut::Before(_) | Cut::After(_) | Cut::End => false,
    }
}
