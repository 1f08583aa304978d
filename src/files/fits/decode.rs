//! Bytes of rows into Arrow arrays; FITS numbers are big-endian.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, FixedSizeListArray, PrimitiveArray, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;

use super::layout::{ColumnLayout, Element};

/// Decodes one column of whole rows.
pub(super) fn column(
    layout: &ColumnLayout,
    rows: &[u8],
    row_bytes: usize,
) -> Result<ArrayRef, ArrowError> {
    let cells = rows
        .chunks_exact(row_bytes)
        .map(|row| row.get(layout.offset..layout.offset + layout.width).unwrap_or(&[]));
    if layout.element == Element::Text {
        return Ok(Arc::new(cells.map(text).collect::<StringArray>()));
    }
    let values = elements(layout, cells);
    if layout.repeat == 1 {
        return Ok(values);
    }
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    let list = FixedSizeListArray::try_new(item, layout.repeat as i32, values, None)?;
    Ok(Arc::new(list))
}

fn elements<'a>(layout: &ColumnLayout, cells: impl Iterator<Item = &'a [u8]>) -> ArrayRef {
    match layout.element {
        Element::Logical => logical(cells),
        Element::Byte => integers(layout, cells, |[byte]: [u8; 1]| i64::from(byte)),
        Element::Short => integers(layout, cells, |raw| i64::from(i16::from_be_bytes(raw))),
        Element::Long => integers(layout, cells, |raw| i64::from(i32::from_be_bytes(raw))),
        Element::LongLong => integers(layout, cells, i64::from_be_bytes),
        Element::Single if layout.element_type() == DataType::Float32 => {
            primitive::<Float32Type, 4>(cells, |raw| Some(f32::from_be_bytes(raw)))
        }
        Element::Single => primitive::<Float64Type, 4>(cells, |raw| {
            Some(f64::from(f32::from_be_bytes(raw)) * layout.scale + layout.zero)
        }),
        Element::Double if layout.scale == 1.0 && layout.zero == 0.0 => {
            primitive::<Float64Type, 8>(cells, |raw| Some(f64::from_be_bytes(raw)))
        }
        Element::Double => primitive::<Float64Type, 8>(cells, |raw| {
            Some(f64::from_be_bytes(raw) * layout.scale + layout.zero)
        }),
        // Text has no elements of its own; `column` has dealt with it.
        Element::Text => Arc::new(StringArray::from(Vec::<&str>::new())),
    }
}

/// Integers with TNULL, as themselves, with the offset of unsigned columns undone, or scaled to doubles.
fn integers<'a, const BYTES: usize>(
    layout: &ColumnLayout,
    cells: impl Iterator<Item = &'a [u8]>,
    raw: impl Fn([u8; BYTES]) -> i64,
) -> ArrayRef {
    let stored = |bytes| Some(raw(bytes)).filter(|value| Some(*value) != layout.null);
    match layout.element_type() {
        DataType::Int8 => {
            primitive::<Int8Type, BYTES>(cells, |raw| stored(raw).map(|value| (value - 128) as i8))
        }
        DataType::UInt8 => {
            primitive::<UInt8Type, BYTES>(cells, |raw| stored(raw).map(|value| value as u8))
        }
        DataType::Int16 => {
            primitive::<Int16Type, BYTES>(cells, |raw| stored(raw).map(|value| value as i16))
        }
        DataType::UInt16 => primitive::<UInt16Type, BYTES>(cells, |raw| {
            stored(raw).map(|value| (value + 32_768) as u16)
        }),
        DataType::Int32 => {
            primitive::<Int32Type, BYTES>(cells, |raw| stored(raw).map(|value| value as i32))
        }
        DataType::UInt32 => primitive::<UInt32Type, BYTES>(cells, |raw| {
            stored(raw).map(|value| (value + 2_147_483_648) as u32)
        }),
        DataType::Int64 => primitive::<Int64Type, BYTES>(cells, stored),
        DataType::UInt64 => primitive::<UInt64Type, BYTES>(cells, |raw| {
            stored(raw).map(|value| (value as u64).wrapping_add(1 << 63))
        }),
        _ => primitive::<Float64Type, BYTES>(cells, |raw| {
            stored(raw).map(|value| value as f64 * layout.scale + layout.zero)
        }),
    }
}

fn primitive<'a, Type: ArrowPrimitiveType, const BYTES: usize>(
    cells: impl Iterator<Item = &'a [u8]>,
    value: impl Fn([u8; BYTES]) -> Option<Type::Native>,
) -> ArrayRef {
    let mut values = Vec::new();
    let mut valid = Vec::new();
    for cell in cells {
        for raw in cell.as_chunks::<BYTES>().0 {
            let decoded = value(*raw);
            valid.push(decoded.is_some());
            values.push(decoded.unwrap_or_default());
        }
    }
    let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
    Arc::new(PrimitiveArray::<Type>::new(values.into(), nulls))
}

/// `T` and `F`; a zero byte (or anything else) is "no value".
fn logical<'a>(cells: impl Iterator<Item = &'a [u8]>) -> ArrayRef {
    let values: Vec<Option<bool>> = cells
        .flatten()
        .map(|byte| match byte {
            b'T' => Some(true),
            b'F' => Some(false),
            _ => None,
        })
        .collect();
    Arc::new(BooleanArray::from(values))
}

/// Text up to the first zero byte, without trailing blanks. An empty string is "no value", as the standard says of
/// strings that begin with a zero byte; bytes that are not UTF-8 are taken as Latin-1.
fn text(cell: &[u8]) -> Option<String> {
    let end = cell.iter().position(|byte| *byte == 0).unwrap_or(cell.len());
    let bytes = cell.get(..end).unwrap_or(&[]).trim_ascii_end();
    if bytes.is_empty() {
        return None;
    }
    Some(match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    })
}
