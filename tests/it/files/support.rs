//! What the tests of files share: fixtures, and Arrow values as JSON.

use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use serde_json::{Value, json};
use sidereus::files::{TableBatch, TableReader};

/// A fixture by name; `make.py` beside them writes them all.
pub(super) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files").join(name)
}

/// What the library that wrote a fixture reads from it.
pub(super) fn expected(name: &str) -> Value {
    let path = fixture(&format!("{name}.expected.json"));
    let text = std::fs::read_to_string(path).expect("fixture");
    serde_json::from_str(&text).expect("JSON")
}

pub(super) fn read_all(reader: &mut dyn TableReader) -> Vec<TableBatch> {
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_batch().expect("readable") {
        batches.push(batch);
    }
    batches
}

/// All values of a column.
pub(super) fn values(batches: &[TableBatch], place: usize) -> Vec<Value> {
    batches
        .iter()
        .map(|batch| batch.rows.column(place))
        .flat_map(|array| (0..array.len()).map(|row| value(array, row)).collect::<Vec<_>>())
        .collect()
}

fn value(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    let list = |items: ArrayRef| (0..items.len()).map(|item| value(&items, item)).collect();
    let cast = |kind: &DataType| cast(array, kind).expect("castable");
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::UInt64 => json!(array.as_primitive::<UInt64Type>().value(row)),
        kind if kind.is_integer() => {
            json!(cast(&DataType::Int64).as_primitive::<Int64Type>().value(row))
        }
        kind if kind.is_numeric() => {
            real(cast(&DataType::Float64).as_primitive::<Float64Type>().value(row))
        }
        DataType::FixedSizeList(..) => list(array.as_fixed_size_list().value(row)),
        DataType::List(_) => list(array.as_list::<i32>().value(row)),
        DataType::Binary => json!(array.as_binary::<i32>().value(row)),
        _ => json!(cast(&DataType::Utf8).as_string::<i32>().value(row)),
    }
}

/// Numbers that JSON lacks are strings.
pub(super) fn real(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!(format!("{value}")) }
}

/// Integers are compared as integers, other numbers as doubles.
pub(super) fn assert_same(found: &[Value], wanted: &Value, what: &str) {
    let wanted = wanted.as_array().expect("values");
    assert_eq!(found.len(), wanted.len(), "{what}: rows");
    for (row, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        match (found, wanted) {
            (Value::Array(found), Value::Array(_)) => {
                assert_same(found, wanted, &format!("{what}[{row}]"));
            }
            (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
                assert_eq!(a.as_f64(), b.as_f64(), "{what}[{row}]");
            }
            _ => assert_eq!(found, wanted, "{what}[{row}]"),
        }
    }
}
