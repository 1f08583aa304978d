//! NumPy arrays as observations.
//!
//! By its axes an array is a spectrum (1: pixels), spectra (2: objects, pixels), a cutout (3: bands, rows, columns; bands may be
//! last) or cutouts (4: objects before them). An array of two axes whose one band has been named is a cutout.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use npyz::{NpyHeader, Order};

use super::cells::{Cell, Row, Value};
use super::payload::too_large;
use super::{ObservationOptions, ObservationRow, Source, VALUES_MAX, not_observation};
use crate::files::FileError;
use crate::files::contain::contain;
use crate::files::npy::{Number, append, number_of};

struct NpySource {
    path: String,
    file: BufReader<File>,
    start: u64,
    number: Number,
    is_big_endian: bool,
    rows: u64,
    /// Shape of one observation.
    shape: Vec<usize>,
    name: &'static str,
    options: ObservationOptions,
}

pub(super) fn open(
    path: &Path,
    options: &ObservationOptions,
) -> Result<Box<dyn Source>, FileError> {
    let shown = path.display().to_string();
    let unreadable = |source| FileError::Read { path: shown.clone(), source };
    let refused = |detail: String| not_observation(&shown, &detail);
    let file =
        File::open(path).map_err(|source| FileError::Open { path: shown.clone(), source })?;
    let file_bytes = file.metadata().map_err(unreadable)?.len();
    let mut file = BufReader::with_capacity(1 << 20, file);
    let header = contain(|| NpyHeader::from_reader(&mut file))
        .map_err(|detail| FileError::Damaged { path: shown.clone(), format: "npy", detail })?;
    let start = file.stream_position().map_err(unreadable)?;
    let (number, is_big_endian) = number_of(&header).map_err(refused)?;
    if header.order() == Order::Fortran && header.shape().len() > 1 {
        let detail = "it is in Fortran order; save it with numpy.ascontiguousarray".to_owned();
        return Err(refused(detail));
    }
    let (name, rows, shape) = meaning(header.shape(), options.bands.len() == 1).map_err(refused)?;
    let values = shape.iter().try_fold(1_u64, |product, length| product.checked_mul(*length));
    let values = values.filter(|values| *values > 0).ok_or_else(|| {
        refused(format!("its shape is {:?}, which holds nothing", header.shape()))
    })?;
    if values > VALUES_MAX as u64 {
        return Err(refused(too_large(values as usize)));
    }
    let needed = values.checked_mul(number.bytes() as u64).and_then(|row| row.checked_mul(rows));
    if needed.is_none_or(|needed| needed > file_bytes.saturating_sub(start)) {
        let detail = format!("it declares the shape {:?}, and ends before", header.shape());
        return Err(FileError::Truncated { path: shown, format: "npy", detail });
    }
    let shape = shape.iter().map(|length| *length as usize).collect();
    Ok(Box::new(NpySource {
        path: shown,
        file,
        start,
        number,
        is_big_endian,
        rows,
        shape,
        name,
        options: options.clone(),
    }))
}

/// What an array of a shape holds, how often, and the shape of one.
fn meaning(shape: &[u64], is_one_band: bool) -> Result<(&'static str, u64, Vec<u64>), String> {
    Ok(match shape {
        [_] => ("flux", 1, shape.to_vec()),
        [_, _] if is_one_band => ("image", 1, shape.to_vec()),
        [rows, pixels] => ("flux", *rows, vec![*pixels]),
        [_, _, _] => ("image", 1, shape.to_vec()),
        [rows, rest @ ..] if rest.len() == 3 => ("image", *rows, rest.to_vec()),
        _ => {
            return Err(format!(
                "its shape is {shape:?}; (pixels), (objects, pixels), (bands, rows, columns) and (objects, bands, rows, columns) are read"
            ));
        }
    })
}

impl Source for NpySource {
    fn row(&mut self, row: u64) -> Option<ObservationRow> {
        (row < self.rows).then(|| (None, self.read(row)))
    }

    fn count(&self) -> Option<u64> {
        Some(self.rows)
    }
}

impl NpySource {
    fn read(&mut self, row: u64) -> Result<super::Observation, FileError> {
        let count: usize = self.shape.iter().product();
        let mut bytes = vec![0; count * self.number.bytes()];
        self.file
            .seek(SeekFrom::Start(self.start + row * bytes.len() as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|source| FileError::Read { path: self.path.clone(), source })?;
        let mut values = Vec::with_capacity(count);
        append(&mut values, &bytes, self.number, self.is_big_endian);
        let values = values.into_iter().map(f64::from).collect();
        let value = Value::Numbers { shape: self.shape.clone(), values };
        let cell = Cell { name: self.name.to_owned(), unit: String::new(), value };
        Row { cells: vec![cell] }
            .into_observation(&self.options)
            .map_err(|detail| not_observation(&self.path, &detail))
    }
}
