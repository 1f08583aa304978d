//! Named arrays of a payload.

use std::collections::HashMap;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::PayloadError;
use crate::wire::v1;

/// Most numbers of one array.
pub const ARRAY_NUMBERS_MAX: usize = 1 << 24;

/// Most axes of an array.
const AXES_MAX: usize = 8;

/// Most names along an axis.
const BANDS_MAX: usize = 1_024;

/// The magic bytes of a NumPy file.
const NPY: &[u8] = b"\x93NUMPY";

/// A checked array.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    /// Lengths of its axes, the slowest first.
    pub(super) shape: Vec<usize>,
    /// The numbers, row by row.
    pub(super) values: Vec<f32>,
    /// Names along the first axis; empty, or one for each.
    pub(super) bands: Vec<String>,
}

/// The arrays of a payload by name.
pub(super) type Arrays = HashMap<String, Array>;

/// Says that an array is wrong, and how.
pub(super) fn bad(name: &str, reason: impl std::fmt::Display) -> PayloadError {
    PayloadError::BadArray { name: name.to_owned(), reason: reason.to_string() }
}

/// Checks the arrays of a message.
pub(super) fn from_wire(message: &v1::NamedArrays) -> Result<Arrays, PayloadError> {
    message.arrays.iter().map(|(name, array)| Ok((name.clone(), one(name, array)?))).collect()
}

/// Named numbers as arrays without axes.
pub(super) fn from_numbers(row: &v1::NamedValues) -> Arrays {
    let array =
        |value: &f64| Array { shape: Vec::new(), values: vec![*value as f32], bands: Vec::new() };
    row.values.iter().map(|(name, value)| (name.clone(), array(value))).collect()
}

fn one(name: &str, array: &v1::Array) -> Result<Array, PayloadError> {
    let shape: Vec<usize> = array.shape.iter().map(|&size| size as usize).collect();
    let count = count(name, &shape)?;
    let (numbers, rest) = array.float32.as_chunks::<4>();
    if numbers.len() != count || !rest.is_empty() {
        let bytes = array.float32.len();
        return Err(bad(name, format!("has shape {shape:?} but {bytes} bytes, not {}", 4 * count)));
    }
    let has_bands = array.bands.is_empty() || shape.first() == Some(&array.bands.len());
    if !has_bands || array.bands.len() > BANDS_MAX {
        let bands = array.bands.len();
        return Err(bad(name, format!("names {bands} bands for shape {shape:?}")));
    }
    let values = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Array { shape, values, bands: array.bands.clone() })
}

fn count(name: &str, shape: &[usize]) -> Result<usize, PayloadError> {
    let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    let count = count.filter(|count| (1..=ARRAY_NUMBERS_MAX).contains(count));
    let is_short = shape.len() <= AXES_MAX;
    count.filter(|_| is_short).ok_or_else(|| {
        bad(name, format!("has shape {shape:?}; 1 to {ARRAY_NUMBERS_MAX} numbers are taken"))
    })
}

/// Whether bytes begin like a NumPy file.
pub(super) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(NPY)
}

/// The array of a NumPy file of floating-point numbers or small integers.
pub(super) fn from_npy(name: &str, bytes: &[u8]) -> Result<Array, PayloadError> {
    let mut cursor = Cursor::new(bytes);
    // The header's parser indexes by what it reads; a fault there costs this input and nothing else.
    let header = catch_unwind(AssertUnwindSafe(|| NpyHeader::from_reader(&mut cursor)));
    let Ok(Ok(header)) = header else {
        return Err(bad(name, "is a NumPy file with a damaged header"));
    };
    let shape: Vec<usize> =
        header.shape().iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX)).collect();
    let count = count(name, &shape)?;
    let is_line = shape.iter().filter(|size| **size > 1).count() <= 1;
    if header.order() == Order::Fortran && !is_line {
        return Err(bad(name, "is stored column by column; save it with numpy.ascontiguousarray"));
    }
    let data = usize::try_from(cursor.position()).ok().and_then(|start| bytes.get(start..));
    let dtype = header.dtype();
    let DType::Plain(kind) = &dtype else {
        return Err(bad(name, "is a structured array; save a plain one"));
    };
    let is_big = kind.endianness() == Endianness::Big;
    let data = data.unwrap_or_default();
    let values = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, 4) => numbers(data, count, is_big, f32::from_le_bytes),
        (TypeChar::Float, 8) => numbers(data, count, is_big, |raw| f64::from_le_bytes(raw) as f32),
        (TypeChar::Float, 2) => numbers(data, count, is_big, |raw| {
            half::f16::from_bits(u16::from_le_bytes(raw)).to_f32()
        }),
        (TypeChar::Int, 2) => {
            numbers(data, count, is_big, |raw| f32::from(i16::from_le_bytes(raw)))
        }
        (TypeChar::Int, 4) => numbers(data, count, is_big, |raw| i32::from_le_bytes(raw) as f32),
        (TypeChar::Uint | TypeChar::Bool, 1) => {
            numbers(data, count, is_big, |[byte]: [u8; 1]| f32::from(byte))
        }
        _ => return Err(bad(name, format!("has numbers of type {kind}; save it as float32"))),
    };
    let values = values.ok_or_else(|| bad(name, "ends before its last number"))?;
    Ok(Array { shape, values, bands: Vec::new() })
}

/// The first `count` numbers of bytes; `None` when there are fewer.
fn numbers<const BYTES: usize>(
    data: &[u8],
    count: usize,
    is_big: bool,
    number: impl Fn([u8; BYTES]) -> f32,
) -> Option<Vec<f32>> {
    let (raw, _) = data.as_chunks::<BYTES>();
    let numbers = raw.get(..count)?.iter().map(|raw| {
        let mut raw = *raw;
        if is_big {
            raw.reverse();
        }
        number(raw)
    });
    Some(numbers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(shape: &[u32], values: &[f32], bands: &[&str]) -> v1::Array {
        v1::Array {
            shape: shape.to_vec(),
            float32: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            bands: bands.iter().map(|&band| band.to_owned()).collect(),
        }
    }

    #[test]
    fn arrays_are_what_their_shapes_say() {
        let array = one("x", &message(&[2, 1], &[1.0, -2.5], &["g", "r"])).expect("good");
        assert_eq!((array.shape, array.values), (vec![2, 1], vec![1.0, -2.5]));
        let number = one("z", &message(&[], &[0.5], &[])).expect("a number");
        assert_eq!(number.values, [0.5]);
        for (wrong, part) in [
            (message(&[3], &[1.0], &[]), "4 bytes, not 12"),
            (message(&[0], &[], &[]), "shape [0]"),
            (message(&[1], &[1.0], &["g", "r"]), "names 2 bands"),
            (message(&[u32::MAX, u32::MAX, u32::MAX], &[], &[]), "numbers are taken"),
            (message(&[1; 9], &[1.0], &[]), "numbers are taken"),
        ] {
            let error = one("x", &wrong).expect_err(part).to_string();
            assert!(error.contains(part) && error.contains("`x`"), "{error}");
        }
    }

    #[test]
    fn numpy_files_are_read_and_others_refused() {
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }";
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        let padded = format!("{header:<117}\n");
        file.extend((padded.len() as u16).to_le_bytes());
        file.extend(padded.as_bytes());
        file.extend([1.5f64, -2.0].iter().flat_map(|value| value.to_le_bytes()));
        assert!(is_npy(&file));
        let array = from_npy("image", &file).expect("an array");
        assert_eq!((array.shape, array.values), (vec![2], vec![1.5, -2.0]));
        let error = from_npy("image", &file[..file.len() - 3]).expect_err("cut").to_string();
        assert!(error.contains("`image`"), "{error}");
        assert!(from_npy("image", b"\x93NUMPY").is_err());
        let turned = String::from_utf8_lossy(&file).replace("False,", "True, ");
        assert!(from_npy("image", turned.as_bytes()).is_err());
    }
}
