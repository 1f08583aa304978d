//! Spectra in binary tables of FITS files: a pixel in every row (SDSS), or a spectrum in every row.
//!
//! SDSS files keep the position and the id of the object in a table of one row beside the spectrum; it is looked into. The
//! wavelengths' unit is TUNIT's, Angstrom where it is silent; `loglam` is a decimal logarithm.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Schema};

use super::arrow_rows::{BATCH_ROWS, TableSource};
use super::cells::{Cell, Row, Value};
use super::fits_file::Contents;
use super::names::{Role, role_of};
use super::payload::too_large;
use super::{ObservationOptions, Single, Source, VALUES_MAX};
use crate::files::fits::FitsReader;
use crate::files::reader::{META_UNIT, metadata};
use crate::files::{FileError, Location, ReadOptions, TableReader};

/// Columns of SDSS that name an object when no id is given.
const FIBER: [&str; 3] = ["plate", "mjd", "fiberid"];

/// Rows of a table that is looked into for what it says of the object.
const ROWS_BESIDE: i64 = 1;

/// A table with a spectrum.
pub(super) struct Found {
    location: Location,
    /// Whether each row is a spectrum of its own.
    is_many: bool,
}

fn place(contents: &Contents, number: u64) -> Location {
    Location { path: contents.location.path.clone(), extension: Some(number.to_string()) }
}

/// The first table with a spectrum.
///
/// # Errors
/// Those of reading its header.
pub(super) fn find(contents: &Contents) -> Result<Option<Found>, FileError> {
    for table in &contents.tables {
        if table.header.logical("ZTABLE") == Some(true) {
            continue;
        }
        let location = place(contents, table.number);
        let reader = match FitsReader::open(&location, &ReadOptions::default()) {
            Ok(reader) => reader,
            Err(FileError::Unsupported { .. }) => continue,
            Err(error) => return Err(error),
        };
        let schema = reader.schema();
        let kind_of = |wanted: &[Role]| {
            let fits = |name: &str| role_of(name).is_some_and(|(role, _)| wanted.contains(&role));
            schema.fields().iter().find(|field| fits(field.name())).map(|field| field.data_type())
        };
        let is_list = |kind: Option<&DataType>| matches!(kind, Some(DataType::FixedSizeList(..)));
        let is_plain = |kind: Option<&DataType>| kind.is_some_and(DataType::is_numeric);
        let flux = kind_of(&[Role::Flux]);
        if is_list(flux) {
            return Ok(Some(Found { location, is_many: true }));
        }
        // A catalogue has a flux for each object; a spectrum has a wavelength beside it.
        if is_plain(flux) && is_plain(kind_of(&[Role::Wavelength, Role::LogWavelength])) {
            return Ok(Some(Found { location, is_many: false }));
        }
    }
    Ok(None)
}

pub(super) fn open(
    contents: &Contents,
    found: &Found,
    options: &ObservationOptions,
) -> Result<Box<dyn Source>, FileError> {
    if found.is_many {
        let location = found.location.clone();
        let opener = Box::new(move || {
            let read = ReadOptions { batch_rows: BATCH_ROWS, ..ReadOptions::default() };
            Ok(Box::new(FitsReader::open(&location, &read)?) as Box<dyn TableReader>)
        });
        return Ok(Box::new(TableSource::new(contents.path.clone(), opener, options)?));
    }
    let mut reader = FitsReader::open(&found.location, &ReadOptions::default())?;
    let mut row = whole_table(&mut reader).map_err(|error| match error {
        Fault::File(error) => error,
        Fault::Content(detail) => contents.refused(detail),
    })?;
    row.cells.extend(beside(contents, &found.location));
    let observation = row.into_observation(options).map_err(|detail| contents.refused(detail))?;
    Ok(Box::new(Single(observation)))
}

enum Fault {
    File(FileError),
    Content(String),
}

/// The columns of a table in which every row is a pixel.
fn whole_table(reader: &mut FitsReader) -> Result<Row, Fault> {
    let pixels = reader.row_count().unwrap_or(0);
    if pixels > VALUES_MAX as u64 {
        return Err(Fault::Content(too_large(pixels as usize)));
    }
    let schema = reader.schema();
    let wanted = wanted_columns(&schema);
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); wanted.len()];
    while let Some(batch) = reader.next_batch().map_err(Fault::File)? {
        for (values, place) in columns.iter_mut().zip(&wanted) {
            let doubles = cast(batch.rows.column(*place), &DataType::Float64)
                .map_err(|error| Fault::Content(error.to_string()))?;
            let doubles = doubles.as_primitive::<Float64Type>();
            values.extend(doubles.iter().map(|value| value.unwrap_or(f64::NAN)));
        }
    }
    let cells = columns.into_iter().zip(wanted).map(|(values, place)| {
        let field = schema.field(place);
        Cell {
            name: field.name().clone(),
            unit: metadata(field, META_UNIT).to_owned(),
            value: Value::Numbers { shape: vec![values.len()], values },
        }
    });
    Ok(Row { cells: cells.collect() })
}

/// The columns along the pixels.
fn wanted_columns(schema: &Schema) -> Vec<usize> {
    let is_wanted = |(place, field): (usize, &std::sync::Arc<arrow::datatypes::Field>)| {
        let role = role_of(field.name()).map(|(role, _)| role);
        let along = role.is_some_and(Role::is_along_pixels);
        (along && field.data_type().is_numeric()).then_some(place)
    };
    schema.fields().iter().enumerate().filter_map(is_wanted).collect()
}

/// Id and position in a table of one row of the same file.
fn beside(contents: &Contents, spectrum: &Location) -> Vec<Cell> {
    for table in &contents.tables {
        let location = place(contents, table.number);
        if location == *spectrum || table.header.integer("NAXIS2") != Some(ROWS_BESIDE) {
            continue;
        }
        let Ok(mut reader) = FitsReader::open(&location, &ReadOptions::default()) else { continue };
        let Ok(Some(batch)) = reader.next_batch() else { continue };
        let mut cells = Vec::new();
        let mut fiber = [const { String::new() }; 3];
        for (field, column) in batch.rows.schema().fields().iter().zip(batch.rows.columns()) {
            let name = field.name().to_lowercase();
            if field.data_type().is_nested() {
                continue;
            }
            let Ok(text) = cast(column, &DataType::Utf8) else { continue };
            let Some(text) =
                text.as_string_opt::<i32>().map(|text| text.value(0).trim().to_owned())
            else {
                continue;
            };
            if let Some(part) = FIBER.iter().position(|part| *part == name) {
                fiber[part] = text;
                continue;
            }
            let value = match role_of(&name).map(|(role, _)| role) {
                Some(Role::Object) if !text.is_empty() => Value::Texts(vec![text]),
                Some(Role::Ra | Role::Dec) => match text.parse() {
                    Ok(value) => Value::Numbers { shape: Vec::new(), values: vec![value] },
                    Err(_) => continue,
                },
                _ => continue,
            };
            cells.push(Cell { name, unit: String::new(), value });
        }
        let has_id = cells.iter().any(|cell| matches!(cell.value, Value::Texts(_)));
        if !has_id && fiber.iter().all(|part| !part.is_empty()) {
            let value = Value::Texts(vec![fiber.join("-")]);
            cells.push(Cell { name: "object_id".to_owned(), unit: String::new(), value });
        }
        if !cells.is_empty() {
            return cells;
        }
    }
    Vec::new()
}
