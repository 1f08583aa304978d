//! Columns of files into columns of collections, with the rows that do not fit.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, ListArray,
    UInt64Array,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use arrow::error::ArrowError;

use crate::schema::{ColumnType, EmbeddingSpace, SchemaError};
use crate::vector::{Metric, norm};

/// Arrow type of a collection's column in a batch.
pub fn arrow_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float32 => DataType::Float32,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Text => DataType::Utf8,
        ColumnType::Binary => DataType::Binary,
        ColumnType::FloatList => {
            DataType::List(Arc::new(Field::new("item", DataType::Float64, true)))
        }
    }
}

/// The column type that an Arrow column becomes by itself; `None` for types that are not stored.
pub(super) fn column_kind(given: &DataType) -> Option<ColumnType> {
    match given {
        DataType::Boolean => Some(ColumnType::Boolean),
        DataType::Float16 | DataType::Float32 => Some(ColumnType::Float32),
        DataType::Float64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Some(ColumnType::Float64),
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(_, None) => Some(ColumnType::Text),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Some(ColumnType::Binary),
        DataType::Dictionary(_, value) => column_kind(value),
        other if other.is_integer() => Some(ColumnType::Int64),
        other => list_item(other).filter(|item| item.is_numeric()).map(|_| ColumnType::FloatList),
    }
}

/// Type of the items of a list.
pub(super) fn list_item(given: &DataType) -> Option<&DataType> {
    match given {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type())
        }
        _ => None,
    }
}

/// Whether a column of a file may be written into a column of a collection.
pub(super) fn is_castable(given: &DataType, wanted: ColumnType) -> bool {
    let Some(kind) = column_kind(given) else {
        return false;
    };
    match wanted {
        ColumnType::Boolean => matches!(kind, ColumnType::Boolean | ColumnType::Text),
        ColumnType::Int64 | ColumnType::Float32 | ColumnType::Float64 => matches!(
            kind,
            ColumnType::Int64 | ColumnType::Float32 | ColumnType::Float64 | ColumnType::Text
        ),
        ColumnType::Text => {
            matches!(kind, ColumnType::Text | ColumnType::Int64 | ColumnType::Boolean)
        }
        ColumnType::Binary => matches!(kind, ColumnType::Binary | ColumnType::Text),
        ColumnType::FloatList => kind == ColumnType::FloatList,
    }
}

/// A column after a cast: rows that did not fit are null, and listed.
pub(super) struct Casted {
    pub(super) array: ArrayRef,
    pub(super) misfits: Vec<usize>,
}

/// Casts a column whose types [`is_castable`] has allowed. NaN in an integer column is "no value", because that is
/// how tables without integer nulls write it; other reals with a fraction do not fit.
pub(super) fn cast_column(given: &ArrayRef, wanted: ColumnType) -> Result<Casted, ArrowError> {
    let plain = match given.data_type() {
        DataType::Dictionary(_, value) => safe_cast(given, value)?,
        _ => Arc::clone(given),
    };
    let target = arrow_type(wanted);
    if plain.data_type() == &target && wanted != ColumnType::FloatList {
        return Ok(Casted { array: plain, misfits: Vec::new() });
    }
    let array = safe_cast(&plain, &target)?;
    if wanted == ColumnType::FloatList {
        return Ok(Casted { array: nulls_to_nan(array.as_list::<i32>())?, misfits: Vec::new() });
    }
    let is_real = plain.data_type().is_floating();
    let reals = if is_real { Some(safe_cast(&plain, &DataType::Float64)?) } else { None };
    let reals = reals.as_ref().map(AsArray::as_primitive::<Float64Type>);
    let back = match (wanted, reals) {
        (ColumnType::Int64 | ColumnType::Float32, Some(_)) => {
            Some(safe_cast(&array, &DataType::Float64)?)
        }
        _ => None,
    };
    let back = back.as_ref().map(AsArray::as_primitive::<Float64Type>);
    let mut misfits = Vec::new();
    for row in 0..plain.len() {
        if plain.is_null(row) {
            continue;
        }
        let real = reals.map(|reals| reals.value(row));
        let fits = match (wanted, real, back.map(|back| (back.is_valid(row), back.value(row)))) {
            (ColumnType::Int64, Some(real), Some((is_valid, back))) => {
                real.is_nan() || (is_valid && back == real)
            }
            (ColumnType::Float32, Some(real), Some((_, back))) => {
                back.is_finite() || !real.is_finite()
            }
            _ => array.is_valid(row),
        };
        if !fits {
            misfits.push(row);
        }
    }
    Ok(Casted { array, misfits })
}

fn safe_cast(given: &ArrayRef, target: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(given, target, &CastOptions { safe: true, ..CastOptions::default() })
}

/// A stored list of doubles has no nulls: a missing element is NaN.
fn nulls_to_nan(list: &ListArray) -> Result<ArrayRef, ArrowError> {
    let values = list.values().as_primitive::<Float64Type>();
    let filled: Float64Array = if values.null_count() == 0 {
        values.clone()
    } else {
        values.iter().map(|value| Some(value.unwrap_or(f64::NAN))).collect()
    };
    let item = Arc::new(Field::new("item", DataType::Float64, true));
    let nulls = list.nulls().cloned();
    Ok(Arc::new(ListArray::try_new(item, list.offsets().clone(), Arc::new(filled), nulls)?))
}

/// One element of every row of a list column; rows that are too short are listed and null.
pub(super) fn element(given: &ArrayRef, element: usize) -> Result<Casted, ArrowError> {
    let mut misfits = Vec::new();
    let mut place = |row: usize, is_null: bool, start: u64, length: u64| {
        if is_null {
            return None;
        }
        if element as u64 >= length {
            misfits.push(row);
            return None;
        }
        Some(start + element as u64)
    };
    let (values, places): (&ArrayRef, UInt64Array) = match given.data_type() {
        DataType::FixedSizeList(_, _) => {
            let list = given.as_fixed_size_list();
            let length = list.value_length() as u64;
            let places = (0..list.len())
                .map(|row| place(row, list.is_null(row), list.value_offset(row) as u64, length))
                .collect();
            (list.values(), places)
        }
        DataType::LargeList(_) => {
            let list = given.as_list::<i64>();
            let starts = list.value_offsets().windows(2).enumerate();
            let places = starts
                .map(|(row, ends)| {
                    place(row, list.is_null(row), ends[0] as u64, (ends[1] - ends[0]) as u64)
                })
                .collect();
            (list.values(), places)
        }
        _ => {
            let list = given.as_list_opt::<i32>().ok_or_else(|| {
                ArrowError::CastError(format!("{} has no elements", given.data_type()))
            })?;
            let starts = list.value_offsets().windows(2).enumerate();
            let places = starts
                .map(|(row, ends)| {
                    place(row, list.is_null(row), ends[0] as u64, (ends[1] - ends[0]) as u64)
                })
                .collect();
            (list.values(), places)
        }
    };
    Ok(Casted { array: take(values, &places, None)?, misfits })
}

/// Vectors of a space, and the rows whose vector is refused.
pub(super) struct Vectors {
    /// Null where the row has no vector.
    pub(super) array: FixedSizeListArray,
    pub(super) misfits: Vec<(usize, String)>,
}

/// Vectors of a list column of any numeric type.
pub(super) fn vectors_of_column(
    given: &ArrayRef,
    space: &EmbeddingSpace,
) -> Result<Vectors, ArrowError> {
    if let Some(array) = sound_as_they_lie(given, space)? {
        return Ok(Vectors { array, misfits: Vec::new() });
    }
    let target = DataType::List(Arc::new(Field::new("item", DataType::Float32, true)));
    let lists = safe_cast(given, &target)?;
    let lists = lists.as_list::<i32>();
    let rows = (0..lists.len()).map(|row| {
        lists.is_valid(row).then(|| {
            let vector = lists.value(row);
            let vector = vector.as_primitive::<Float32Type>();
            vector.iter().map(|value| value.unwrap_or(f32::NAN)).collect::<Vec<f32>>()
        })
    });
    vectors(rows, space)
}

/// The vectors of a column of singles without copying them, where every row that has one has a sound one, and they
/// lie one behind the other. `None` where they have to be looked at one by one.
fn sound_as_they_lie(
    given: &ArrayRef,
    space: &EmbeddingSpace,
) -> Result<Option<FixedSizeListArray>, ArrowError> {
    let dimension = space.dimension;
    let values = match given.data_type() {
        DataType::FixedSizeList(_, length) if *length as usize == dimension => {
            let list = given.as_fixed_size_list();
            list.values().slice(list.value_offset(0) as usize, list.len() * dimension)
        }
        DataType::List(_) if given.null_count() == 0 => {
            let list = given.as_list::<i32>();
            let ends = list.value_offsets();
            if ends.windows(2).any(|ends| (ends[1] - ends[0]) as usize != dimension) {
                return Ok(None);
            }
            let first = ends.first().map_or(0, |first| *first as usize);
            list.values().slice(first, list.len() * dimension)
        }
        _ => return Ok(None),
    };
    let Some(singles) = values.as_primitive_opt::<Float32Type>() else { return Ok(None) };
    if singles.null_count() > 0 {
        return Ok(None);
    }
    let mut rows = singles.values().chunks_exact(dimension).enumerate();
    if rows.any(|(row, vector)| given.is_valid(row) && !is_sound(vector, space.metric)) {
        return Ok(None);
    }
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let nulls = given.nulls().cloned();
    FixedSizeListArray::try_new(item, dimension as i32, values, nulls).map(Some)
}

/// Whether all components are finite and the vector has a direction where it needs one: [`vector_fault`] in one pass.
fn is_sound(vector: &[f32], metric: Metric) -> bool {
    // Without its sign, a single is larger than another when its bits are. No square of a single underflows a double,
    // so that the norm is zero for zeros alone.
    let largest =
        vector.iter().fold(0_u32, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff));
    largest < f32::INFINITY.to_bits() && (metric != Metric::Cosine || largest > 0)
}

/// Vectors of consecutive rows, row-major.
pub(super) fn vectors_of_block(
    values: &ScalarBuffer<f32>,
    space: &EmbeddingSpace,
) -> Result<Vectors, ArrowError> {
    let rows = values.chunks_exact(space.dimension);
    let whole = rows.len() * space.dimension;
    if rows.clone().all(|vector| is_sound(vector, space.metric)) {
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let components = Arc::new(Float32Array::new(values.slice(0, whole), None));
        let array = FixedSizeListArray::try_new(item, space.dimension as i32, components, None)?;
        return Ok(Vectors { array, misfits: Vec::new() });
    }
    vectors(rows.map(|vector| Some(vector.to_vec())), space)
}

fn vectors(
    rows: impl Iterator<Item = Option<Vec<f32>>>,
    space: &EmbeddingSpace,
) -> Result<Vectors, ArrowError> {
    let (mut values, mut valid, mut misfits) = (Vec::new(), Vec::new(), Vec::new());
    for (row, vector) in rows.enumerate() {
        let fault = vector.as_ref().and_then(|vector| vector_fault(vector, space));
        let sound = vector.filter(|_| fault.is_none());
        valid.push(sound.is_some());
        match sound {
            Some(vector) => values.extend_from_slice(&vector),
            None => values.resize(values.len() + space.dimension, 0.0),
        }
        if let Some(fault) = fault {
            misfits.push((row, fault.to_string()));
        }
    }
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
    let values = Arc::new(Float32Array::from(values));
    let array = FixedSizeListArray::try_new(item, space.dimension as i32, values, nulls)?;
    Ok(Vectors { array, misfits })
}

/// What is wrong with a vector of a space that may have no number yet.
fn vector_fault(vector: &[f32], space: &EmbeddingSpace) -> Option<SchemaError> {
    let name = space.name.clone();
    if vector.len() != space.dimension {
        let (expected, given) = (space.dimension, vector.len());
        return Some(SchemaError::WrongDimension { space: name, expected, given });
    }
    if let Some(component) = vector.iter().position(|value| !value.is_finite()) {
        return Some(SchemaError::NotFinite { space: name, component });
    }
    (space.metric == Metric::Cosine && norm(vector) == 0.0)
        .then_some(SchemaError::ZeroNorm { space: name })
}
