//! Rows of Parquet files, of Arrow files and of FITS tables with vectors in their cells, each an observation.
//!
//! Columns may be flat (`flux`, `ivar`, `lambda`, `image`) or parts of a structure (`spectrum.flux`, `image.band`), and cutouts
//! lists of lists, a list of structures with a band each, or flat beside a column `image_shape`. A binary column `image` with
//! PNG or JPEG files passes through.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};

use super::cells::{Cell, Row, Value, shortened};
use super::names::{Role, role_of};
use super::payload::too_large;
use super::{ObservationOptions, ObservationRow, Source, VALUES_MAX, not_observation};
use crate::files::contain::contain;
use crate::files::reader::{META_UNIT, metadata};
use crate::files::{FileError, ReadOptions, TableReader, open_with};

/// Rows decoded together: observations are large.
pub(super) const BATCH_ROWS: usize = 32;

/// How deep lists and structures may lie within each other.
const DEPTH_MAX: usize = 8;

/// Opens a table from its beginning.
type Opener = Box<dyn Fn() -> Result<Box<dyn TableReader>, FileError> + Send>;

/// The rows of a table as observations.
pub(super) struct TableSource {
    path: String,
    opener: Opener,
    reader: Box<dyn TableReader>,
    batch: Option<RecordBatch>,
    /// Row of the table that the batch begins with.
    first: u64,
    options: ObservationOptions,
}

pub(super) fn open(
    path: &Path,
    options: &ObservationOptions,
) -> Result<Box<dyn Source>, FileError> {
    let owned = path.to_owned();
    let read = ReadOptions { batch_rows: BATCH_ROWS, ..ReadOptions::default() };
    let opener: Opener = Box::new(move || open_with(&owned, None, &read));
    let shown = path.display().to_string();
    Ok(Box::new(TableSource::new(shown, opener, options)?))
}

impl TableSource {
    /// A source of what `opener` opens.
    ///
    /// # Errors
    /// [`FileError::NotObservation`] when no column is called like a spectrum or a cutout.
    pub(super) fn new(
        path: String,
        opener: Opener,
        options: &ObservationOptions,
    ) -> Result<Self, FileError> {
        let reader = opener()?;
        let names = leaf_names(&reader.schema());
        let is_observed = |name: &String| {
            let role = role_of(name).map(|(role, _)| role);
            matches!(role, Some(Role::Flux | Role::Image | Role::ImageOfBand))
        };
        if !names.iter().any(is_observed) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let detail = format!(
                "none of its columns is called like a spectrum (flux) or a cutout (image): {}",
                shortened(&names)
            );
            return Err(not_observation(&path, &detail));
        }
        Ok(Self { path, opener, reader, batch: None, first: 0, options: options.clone() })
    }

    /// Moves on, or back, to the batch with a row; gives the row's place in it.
    fn seek(&mut self, row: u64) -> Result<Option<usize>, FileError> {
        if row < self.first {
            self.reader = (self.opener)()?;
            (self.batch, self.first) = (None, 0);
        }
        loop {
            if let Some(batch) = &self.batch {
                let place = row - self.first;
                if place < batch.num_rows() as u64 {
                    return Ok(Some(place as usize));
                }
                self.first += batch.num_rows() as u64;
            }
            self.batch = self.reader.next_batch()?.map(|batch| batch.rows);
            if self.batch.is_none() {
                return Ok(None);
            }
        }
    }
}

impl Source for TableSource {
    fn row(&mut self, row: u64) -> Option<ObservationRow> {
        let place = match self.seek(row) {
            Ok(place) => place?,
            Err(error) => return Some((None, Err(error))),
        };
        let batch = self.batch.as_ref()?;
        let refused = |detail: String| not_observation(&self.path, &detail);
        // A list whose offsets contradict its values panics in the decoder's crate.
        Some(match contain(|| row_of(batch, place)) {
            Err(detail) => (None, Err(refused(detail))),
            Ok(row) => {
                let object = row.object();
                (object, row.into_observation(&self.options).map_err(refused))
            }
        })
    }

    fn count(&self) -> Option<u64> {
        self.reader.row_count()
    }
}

/// Names of the columns, those of structures with the structure's before them.
fn leaf_names(schema: &Schema) -> Vec<String> {
    fn add(names: &mut Vec<String>, field: &Field, prefix: &str, depth: usize) {
        let name = format!("{prefix}{}", field.name());
        let inner = match field.data_type() {
            DataType::List(item) | DataType::LargeList(item) => item.data_type(),
            other => other,
        };
        match inner {
            DataType::Struct(fields) if depth < DEPTH_MAX => {
                for field in fields {
                    add(names, field, &format!("{name}."), depth + 1);
                }
            }
            _ => names.push(name),
        }
    }
    let mut names = Vec::new();
    for field in schema.fields() {
        add(&mut names, field, "", 0);
    }
    names
}

/// The values of a row whose names mean something.
fn row_of(batch: &RecordBatch, place: usize) -> Result<Row, String> {
    let mut row = Row::default();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        add_value(&mut row, field, field.name(), &column.slice(place, 1), 0)?;
    }
    Ok(row)
}

/// Adds the value of a column of one row.
fn add_value(
    row: &mut Row,
    field: &Field,
    name: &str,
    column: &ArrayRef,
    depth: usize,
) -> Result<(), String> {
    if column.is_null(0) || depth > DEPTH_MAX {
        return Ok(());
    }
    if let Some(parts) = column.as_struct_opt() {
        for (field, part) in parts.fields().iter().zip(parts.columns()) {
            add_value(row, field, &format!("{name}.{}", field.name()), part, depth + 1)?;
        }
        return Ok(());
    }
    if let Some(items) = list_value(column)
        && let Some(parts) = items.as_struct_opt()
    {
        return add_structures(row, name, parts);
    }
    let Some((role, _)) = role_of(name) else { return Ok(()) };
    let unit = metadata(field, META_UNIT).to_owned();
    let value = match column.data_type() {
        kind if kind.is_integer() && role == Role::Object => texts(column)?,
        kind if is_text(kind) => texts(column)?,
        kind if is_binary(kind) => match picture(column)? {
            Some(bytes) => Value::Bytes(bytes),
            None => return Ok(()),
        },
        kind if is_number(kind) => Value::Numbers { shape: Vec::new(), values: singles(column)? },
        _ => match list_value(column) {
            Some(items) => {
                nested(&items, 0).map_err(|detail| format!("column `{name}`: {detail}"))?
            }
            None => return Ok(()),
        },
    };
    row.cells.push(Cell { name: name.to_owned(), unit, value });
    Ok(())
}

/// A list of structures, such as one for each band, becomes a list for each part.
fn add_structures(row: &mut Row, name: &str, parts: &StructArray) -> Result<(), String> {
    for (field, part) in parts.fields().iter().zip(parts.columns()) {
        let name = format!("{name}.{}", field.name());
        if role_of(&name).is_some() && !part.is_empty() {
            let value = nested(part, 0).map_err(|detail| format!("column `{name}`: {detail}"))?;
            row.cells.push(Cell { name, unit: metadata(field, META_UNIT).to_owned(), value });
        }
    }
    Ok(())
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(kind: &DataType) -> bool {
    matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_number(kind: &DataType) -> bool {
    kind.is_numeric() || *kind == DataType::Boolean
}

/// The list that is the one value of a column.
fn list_value(column: &ArrayRef) -> Option<ArrayRef> {
    match column.data_type() {
        DataType::List(_) => Some(column.as_list::<i32>().value(0)),
        DataType::LargeList(_) => Some(column.as_list::<i64>().value(0)),
        DataType::FixedSizeList(..) => Some(column.as_fixed_size_list().value(0)),
        _ => None,
    }
}

/// Numbers or texts of lists within lists that all have one shape.
fn nested(items: &ArrayRef, depth: usize) -> Result<Value, String> {
    let kind = items.data_type();
    if is_text(kind) {
        return texts(items);
    }
    if is_number(kind) {
        return Ok(Value::Numbers { shape: vec![items.len()], values: singles(items)? });
    }
    if depth > DEPTH_MAX {
        return Err("its lists lie too deep in each other".to_owned());
    }
    if items.null_count() > 0 {
        return Err("some of its lists are missing".to_owned());
    }
    let (inner, length) = match kind {
        DataType::List(_) => {
            let lists = items.as_list::<i32>();
            let offsets: Vec<usize> = lists.offsets().iter().map(|each| *each as usize).collect();
            same_lengths(lists.values(), &offsets)?
        }
        DataType::LargeList(_) => {
            let lists = items.as_list::<i64>();
            let offsets: Vec<usize> = lists.offsets().iter().map(|each| *each as usize).collect();
            same_lengths(lists.values(), &offsets)?
        }
        DataType::FixedSizeList(_, length) => {
            let lists = items.as_fixed_size_list();
            let length = *length as usize;
            let first = lists.value_offset(0) as usize;
            (lists.values().slice(first, lists.len() * length), length)
        }
        _ => return Err(format!("{kind} is not read")),
    };
    match nested(&inner, depth + 1)? {
        Value::Numbers { shape, values } => {
            let rest = shape.get(1..).unwrap_or(&[]);
            let shape = [&[items.len(), length], rest].concat();
            Ok(Value::Numbers { shape, values })
        }
        Value::Texts(_) | Value::Bytes(_) => Err("lists of lists of texts are not read".to_owned()),
    }
}

/// The values behind lists of one length, and that length.
fn same_lengths(values: &ArrayRef, offsets: &[usize]) -> Result<(ArrayRef, usize), String> {
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else {
        return Err("it is empty".to_owned());
    };
    let length = offsets.get(1).map_or(0, |second| second - first);
    if offsets.windows(2).any(|pair| pair[1] - pair[0] != length) {
        return Err("its lists have different lengths, so they are no array".to_owned());
    }
    Ok((values.slice(*first, last - first), length))
}

/// Numbers as doubles; missing ones are NaN.
fn singles(items: &ArrayRef) -> Result<Vec<f64>, String> {
    if items.len() > VALUES_MAX {
        return Err(too_large(items.len()));
    }
    let doubles = cast(items, &DataType::Float64).map_err(|error| error.to_string())?;
    let doubles = doubles.as_primitive::<Float64Type>();
    Ok(doubles.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

fn texts(items: &ArrayRef) -> Result<Value, String> {
    let texts = cast(items, &DataType::Utf8).map_err(|error| error.to_string())?;
    let texts = texts.as_string::<i32>();
    Ok(Value::Texts(texts.iter().map(|text| text.unwrap_or("").to_owned()).collect()))
}

/// The bytes of a PNG or JPEG file; `None` for other bytes.
fn picture(column: &ArrayRef) -> Result<Option<Vec<u8>>, String> {
    let bytes = cast(column, &DataType::Binary).map_err(|error| error.to_string())?;
    let bytes = bytes.as_binary::<i32>().value(0);
    let is_picture =
        bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.starts_with(&[0xff, 0xd8, 0xff]);
    Ok(is_picture.then(|| bytes.to_vec()))
}
