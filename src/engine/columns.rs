//! Rows of objects as Arrow columns, and back.
//!
//! Columns that predicates can use live in segments and in the tail as Arrow; binary and list columns stay in
//! the store and are fetched for the hits alone.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, Float32Builder, Float64Builder, Int64Builder,
    RecordBatch, StringBuilder, UInt32Builder, new_null_array,
};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::files::arrow_type;
use crate::schema::{CollectionSchema, ColumnType, IdKind, Object, ObjectId, Value};
use crate::sky::{Degrees, Position};
use crate::storage::ObjectKey;

/// Name of the built-in column of object ids.
pub const OBJECT_ID: &str = "object_id";
/// Name of the built-in column of right ascensions, degrees.
pub const RA: &str = "ra";
/// Name of the built-in column of declinations, degrees.
pub const DEC: &str = "dec";
/// Name of the built-in column of order-29 NESTED cells.
pub const HEALPIX_29: &str = "healpix_29";
/// Column of a segment file that holds the keys' ordinals; no user column can have this name.
pub(super) const ORDINAL: &str = "#ordinal";

/// Place of the first collection column after the built-in ones.
pub const BUILT_IN_COUNT: usize = 4;

/// Whether a column is kept as Arrow beside the vectors.
pub fn is_resident(kind: ColumnType) -> bool {
    match kind {
        ColumnType::Boolean
        | ColumnType::Int64
        | ColumnType::Float32
        | ColumnType::Float64
        | ColumnType::Text => true,
        ColumnType::Binary | ColumnType::FloatList => false,
    }
}

/// The Arrow schema that predicates see: built-in columns, then the resident columns of the collection.
pub fn resident_schema(schema: &CollectionSchema) -> SchemaRef {
    let id_type = match schema.id_kind {
        IdKind::Number => DataType::Int64,
        IdKind::Text => DataType::Utf8,
    };
    let mut fields = vec![
        Field::new(OBJECT_ID, id_type, false),
        Field::new(RA, DataType::Float64, false),
        Field::new(DEC, DataType::Float64, false),
        Field::new(HEALPIX_29, DataType::Int64, false),
    ];
    let resident = schema.columns.iter().filter(|column| is_resident(column.kind));
    fields.extend(resident.map(|column| Field::new(&column.name, arrow_type(column.kind), true)));
    Arc::new(Schema::new(fields))
}

/// Nulls of the columns of a schema from a place on: for rows that were put together before these columns were added.
pub(super) fn nulls_beyond(arrow_schema: &SchemaRef, from: usize, rows: usize) -> Vec<ArrayRef> {
    let added = arrow_schema.fields().iter().skip(from);
    added.map(|field| new_null_array(field.data_type(), rows)).collect()
}

/// Turns rows into resident columns plus the ordinals of their keys.
pub(super) fn to_batch(
    schema: &CollectionSchema,
    arrow_schema: &SchemaRef,
    rows: &[(ObjectKey, Object)],
) -> Result<(RecordBatch, ArrayRef), ArrowError> {
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(arrow_schema.fields().len());
    arrays.push(id_array(schema.id_kind, rows));
    arrays.push(float64s(rows.iter().map(|(_, object)| Some(object.position.ra().0))));
    arrays.push(float64s(rows.iter().map(|(_, object)| Some(object.position.dec().0))));
    arrays.push(int64s(rows.iter().map(|(key, _)| Some(key.cell.0 as i64))));
    for (place, column) in schema.columns.iter().enumerate() {
        if is_resident(column.kind) {
            arrays.push(column_array(column.kind, place, rows));
        }
    }
    let mut ordinals = UInt32Builder::with_capacity(rows.len());
    rows.iter().for_each(|(key, _)| ordinals.append_value(key.ordinal));
    Ok((RecordBatch::try_new(Arc::clone(arrow_schema), arrays)?, Arc::new(ordinals.finish())))
}

fn id_array(kind: IdKind, rows: &[(ObjectKey, Object)]) -> ArrayRef {
    match kind {
        IdKind::Number => int64s(rows.iter().map(|(_, object)| match &object.id {
            ObjectId::Number(number) => Some(*number),
            ObjectId::Text(_) => None,
        })),
        IdKind::Text => {
            let mut builder = StringBuilder::new();
            for (_, object) in rows {
                match &object.id {
                    ObjectId::Number(number) => builder.append_value(number.to_string()),
                    ObjectId::Text(text) => builder.append_value(text),
                }
            }
            Arc::new(builder.finish())
        }
    }
}

fn int64s(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let mut builder = Int64Builder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn float64s(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    let mut builder = Float64Builder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn column_array(kind: ColumnType, place: usize, rows: &[(ObjectKey, Object)]) -> ArrayRef {
    let values = rows.iter().map(|(_, object)| object.columns.get(place).unwrap_or(&Value::Null));
    match kind {
        ColumnType::Boolean => {
            let mut builder = BooleanBuilder::new();
            values.for_each(|value| {
                builder.append_option(if let Value::Boolean(truth) = value {
                    Some(*truth)
                } else {
                    None
                });
            });
            Arc::new(builder.finish())
        }
        ColumnType::Int64 => int64s(
            values.map(|value| if let Value::Int64(number) = value { Some(*number) } else { None }),
        ),
        ColumnType::Float32 => {
            let mut builder = Float32Builder::new();
            values.for_each(|value| {
                builder.append_option(if let Value::Float32(number) = value {
                    Some(*number)
                } else {
                    None
                });
            });
            Arc::new(builder.finish())
        }
        ColumnType::Float64 => float64s(
            values
                .map(|value| if let Value::Float64(number) = value { Some(*number) } else { None }),
        ),
        ColumnType::Text | ColumnType::Binary | ColumnType::FloatList => {
            let mut builder = StringBuilder::new();
            values.for_each(|value| {
                builder.append_option(if let Value::Text(text) = value {
                    Some(text)
                } else {
                    None
                });
            });
            Arc::new(builder.finish())
        }
    }
}

/// Reads the object id of a row; `None` beyond the end or for another type.
pub(super) fn id_at(array: &dyn Array, row: usize) -> Option<ObjectId> {
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Int64 => Some(ObjectId::Number(array.as_primitive::<Int64Type>().value(row))),
        DataType::Utf8 => Some(ObjectId::Text(array.as_string::<i32>().value(row).to_owned())),
        _ => None,
    }
}

/// Reads one value of a resident column; null beyond the end.
pub(super) fn value_at(array: &dyn Array, row: usize) -> Value {
    if row >= array.len() || array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Boolean(array.as_boolean().value(row)),
        DataType::Int64 => Value::Int64(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => Value::Float32(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Value::Float64(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        _ => Value::Null,
    }
}

/// Reads the position of a row; `None` beyond the end or when the stored numbers are not a position.
pub(super) fn position_at(batch: &RecordBatch, row: usize) -> Option<Position> {
    let ra = batch.column(1).as_primitive_opt::<Float64Type>()?;
    let dec = batch.column(2).as_primitive_opt::<Float64Type>()?;
    if row >= ra.len() || row >= dec.len() {
        return None;
    }
    Position::new(Degrees(ra.value(row)), Degrees(dec.value(row))).ok()
}
