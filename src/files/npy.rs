//! Arrays of vectors in NumPy's `.npy` files.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use arrow::buffer::ScalarBuffer;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::FileError;
use super::contain::contain;
use super::spare::Spare;
use crate::schema::DIMENSION_MAX;

/// Reads a two-dimensional C-ordered array of float16, float32 or float64, row by row, as singles.
pub struct NpyReader {
    path: String,
    file: BufReader<File>,
    number: Number,
    is_big_endian: bool,
    dimension: usize,
    rows_total: u64,
    rows_done: u64,
    spare: Spare,
}

/// Type of the numbers of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Half,
    Single,
    Double,
}

impl Number {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Half => 2,
            Self::Single => 4,
            Self::Double => 8,
        }
    }
}

impl NpyReader {
    /// Opens an array and checks its shape, type and length.
    ///
    /// # Errors
    /// [`FileError::NotVectors`] for another shape, order or type; [`FileError::Truncated`]; [`FileError::Damaged`].
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let shown = path.display().to_string();
        let unreadable = |source| FileError::Read { path: shown.clone(), source };
        let file =
            File::open(path).map_err(|source| FileError::Open { path: shown.clone(), source })?;
        let file_bytes = file.metadata().map_err(unreadable)?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        let header = contain(|| NpyHeader::from_reader(&mut file))
            .map_err(|detail| FileError::Damaged { path: shown.clone(), format: "npy", detail })?;
        let start = file.stream_position().map_err(unreadable)?;
        let (number, is_big_endian, rows_total, dimension) = vectors_of(&header)
            .map_err(|detail| FileError::NotVectors { path: shown.clone(), detail })?;
        let row_bytes = (dimension * number.bytes()) as u64;
        let present = file_bytes.saturating_sub(start);
        if rows_total.checked_mul(row_bytes).is_none_or(|needed| needed > present) {
            return Err(FileError::Truncated {
                path: shown,
                format: "npy",
                detail: format!(
                    "it declares {rows_total} vectors, {} are there",
                    present / row_bytes
                ),
            });
        }
        Ok(Self {
            path: shown,
            file,
            number,
            is_big_endian,
            dimension,
            rows_total,
            rows_done: 0,
            spare: Spare::default(),
        })
    }

    /// The file, as given.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Components of every vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Vectors of the array.
    pub fn row_count(&self) -> u64 {
        self.rows_total
    }

    /// The next `count` vectors, row-major, or fewer at the end. NaN and infinities (also of doubles beyond the
    /// range of singles) are handed on: they belong to single rows, which the caller refuses.
    ///
    /// # Errors
    /// [`FileError::Read`].
    pub fn next_rows(&mut self, count: usize) -> Result<Vec<f32>, FileError> {
        let count = (count as u64).min(self.rows_total - self.rows_done) as usize;
        let mut values = self.spare.take(count * self.dimension);
        if self.number == Number::Single && self.is_big_endian == cfg!(target_endian = "big") {
            // As they lie in memory: they are read to where they stay.
            self.read(bytemuck::cast_slice_mut(&mut values))?;
        } else {
            let mut rest = count * self.dimension * self.number.bytes();
            values.clear();
            // Pieces that stay in the processor's cache between reading and converting.
            let mut piece = vec![0; rest.min(PIECE_BYTES)];
            while rest > 0 {
                let bytes = &mut piece[..rest.min(PIECE_BYTES)];
                self.read(bytes)?;
                rest -= bytes.len();
                append(&mut values, bytes, self.number, self.is_big_endian);
            }
        }
        self.rows_done += count as u64;
        Ok(values)
    }

    /// Vectors as an Arrow buffer, whose memory comes back here and is read into again.
    pub(super) fn lend(&self, values: Vec<f32>) -> ScalarBuffer<f32> {
        self.spare.lend(values)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), FileError> {
        self.file
            .read_exact(bytes)
            .map_err(|source| FileError::Read { path: self.path.clone(), source })
    }
}

/// Bytes that are read at once: whole numbers of every size.
const PIECE_BYTES: usize = 64 << 10;

/// Appends numbers of a type as singles.
pub(super) fn append(values: &mut Vec<f32>, bytes: &[u8], number: Number, is_big: bool) {
    match (number, is_big) {
        (Number::Half, _) => extend(values, bytes, |raw: [u8; 2]| {
            let bits = if is_big { u16::from_be_bytes(raw) } else { u16::from_le_bytes(raw) };
            half::f16::from_bits(bits).to_f32()
        }),
        (Number::Single, false) => extend(values, bytes, f32::from_le_bytes),
        (Number::Single, true) => extend(values, bytes, f32::from_be_bytes),
        (Number::Double, _) => extend(values, bytes, |raw: [u8; 8]| {
            (if is_big { f64::from_be_bytes(raw) } else { f64::from_le_bytes(raw) }) as f32
        }),
    }
}

fn extend<const BYTES: usize>(
    values: &mut Vec<f32>,
    bytes: &[u8],
    number: impl Fn([u8; BYTES]) -> f32,
) {
    values.extend(bytes.as_chunks::<BYTES>().0.iter().map(|raw| number(*raw)));
}

/// Type and byte order of an array's numbers, or why they are not read.
pub(super) fn number_of(header: &NpyHeader) -> Result<(Number, bool), String> {
    let DType::Plain(kind) = header.dtype() else {
        return Err("it is a structured array; save a plain array".to_owned());
    };
    let number = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, 2) => Number::Half,
        (TypeChar::Float, 4) => Number::Single,
        (TypeChar::Float, 8) => Number::Double,
        _ => {
            return Err(format!(
                "its numbers are of type `{kind}`; save it with array.astype('float32')"
            ));
        }
    };
    Ok((number, kind.endianness() == Endianness::Big))
}

/// Type, byte order, rows and dimension, or why the array does not hold vectors.
fn vectors_of(header: &NpyHeader) -> Result<(Number, bool, u64, usize), String> {
    let (number, is_big_endian) = number_of(header)?;
    let (rows, dimension) = match *header.shape() {
        [rows, dimension] => (rows, dimension),
        // What `numpy.save` makes of one vector.
        [dimension] => (1, dimension),
        _ => {
            return Err(format!(
                "its shape is {:?}; save an array of shape (rows, dimension)",
                header.shape()
            ));
        }
    };
    // One row or one column reads the same in both orders.
    if header.order() == Order::Fortran && rows > 1 && dimension > 1 {
        return Err("it is in Fortran order; save it with numpy.ascontiguousarray".to_owned());
    }
    let dimension = usize::try_from(dimension)
        .ok()
        .filter(|dimension| (1..=DIMENSION_MAX).contains(dimension))
        .ok_or_else(|| format!("dimension {dimension} is not within 1 to {DIMENSION_MAX}"))?;
    Ok((number, is_big_endian, rows, dimension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type_are_read_into_memory_that_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let rows = 10_u16;
        let numbers = || (0..2 * rows).map(|number| f32::from(number) / 4.0);
        let halves = numbers().flat_map(|number| half::f16::from_f32(number).to_le_bytes());
        let large = numbers().flat_map(f32::to_be_bytes);
        let doubles = numbers().flat_map(|number| f64::from(number).to_le_bytes());
        let files: [(&str, Vec<u8>); 4] = [
            ("<f2", halves.collect()),
            ("<f4", numbers().flat_map(f32::to_le_bytes).collect()),
            (">f4", large.collect()),
            ("<f8", doubles.collect()),
        ];
        for (kind, data) in files {
            let header =
                format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, 2), }}");
            let header = format!("{header:<117}\n");
            let head = [&b"\x93NUMPY\x01\x00"[..], &118_u16.to_le_bytes(), header.as_bytes()];
            let path = folder.path().join("vectors.npy");
            std::fs::write(&path, [&head.concat()[..], &data].concat()).expect("written");
            let mut array = NpyReader::open(&path).expect("an array");
            let mut found = Vec::new();
            for _ in 0..4 {
                let values = array.next_rows(3).expect("rows");
                found.extend_from_slice(&array.lend(values));
                assert_eq!(array.spare.pieces(), 1, "{kind}");
            }
            assert!(found.into_iter().eq(numbers()), "{kind}");
        }
    }
}
