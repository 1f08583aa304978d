//! Rows of a file into rows of a collection.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;

use super::assign::{VECTOR_PREFIX, VectorSource, VectorSpec, assign};
use super::cast::{
    Casted, Vectors, arrow_type, cast_column, element, is_castable, vectors_of_block,
    vectors_of_column,
};
use super::infer::{dimension, picked_type, vector_place};
use super::mapping::{IdSource, Mapping, Picked};
use super::reader::{META_UNIT, SkippedColumn, TableBatch, metadata};
use super::units::{AngleUnit, Coordinate, parse_text};
use super::{FileError, RefusedRow};
use crate::schema::{CollectionSchema, ColumnType, EmbeddingSpace, IdKind, ObjectId};
use crate::sky::{Degrees, Position};

/// How the columns of one file become those of one collection.
#[derive(Debug)]
pub struct Plan {
    id: IdSource,
    id_kind: IdKind,
    ra: CoordinateSource,
    dec: CoordinateSource,
    columns: Vec<(Picked, ColumnType, String)>,
    vectors: Vec<(EmbeddingSpace, VectorPlace)>,
    layout: SchemaRef,
    skipped: Vec<SkippedColumn>,
}

#[derive(Debug)]
struct CoordinateSource {
    coordinate: Coordinate,
    picked: Picked,
    unit: AngleUnit,
}

#[derive(Debug)]
enum VectorPlace {
    Column(usize),
    /// Number of the block among those handed to [`Plan::ingest_batch`].
    Block(usize),
}

/// Rows in the ingest layout: `object_id`, `ra`, `dec`, the collection's columns, `vector.<space>`.
#[derive(Debug, Clone)]
pub struct IngestRows {
    /// The rows that fit.
    pub batch: RecordBatch,
    /// For each of them its row in the file, from 0.
    pub numbers: Vec<u64>,
    /// The rows that do not, with reasons.
    pub refused: Vec<RefusedRow>,
}

impl Plan {
    /// Matches a file with a collection: names, types, units and dimensions.
    ///
    /// # Errors
    /// Whatever would make every row wrong; see [`FileError`].
    pub fn new(
        file: &Schema,
        first: Option<&RecordBatch>,
        mapping: &Mapping,
        vectors: &[VectorSpec],
        collection: &CollectionSchema,
    ) -> Result<Self, FileError> {
        let resolved = mapping.resolve(file)?;
        if let IdSource::Column(picked) = resolved.id {
            check_id(file, picked, collection.id_kind)?;
        }
        let (assigned, _) = assign(file, &resolved, vectors)?;
        let (mut columns, mut skipped) = (Vec::new(), Vec::new());
        for column in assigned {
            let field = file.field(column.picked.place);
            let Some(wanted) =
                collection.column_place(&column.name).and_then(|at| collection.columns.get(at))
            else {
                if column.is_asked_for {
                    let names: Vec<&str> =
                        collection.columns.iter().map(|column| column.name.as_str()).collect();
                    return Err(FileError::BadMapping {
                        given: column.name,
                        detail: format!("the collection's columns are {}", names.join(", ")),
                    });
                }
                let reason = "the collection has no such column".to_owned();
                skipped.push(SkippedColumn { name: field.name().clone(), reason });
                continue;
            };
            let given = picked_type(file, column.picked);
            if !is_castable(given, wanted.kind) {
                return Err(FileError::ColumnType {
                    name: field.name().clone(),
                    given: given.to_string(),
                    wanted: format!("written into `{}`, which is {}", wanted.name, wanted.kind),
                });
            }
            check_unit(field, wanted)?;
            columns.push((column.picked, wanted.kind, wanted.name.clone()));
        }
        let vectors = match_vectors(file, first, vectors, collection)?;
        let layout = layout(collection.id_kind, &columns, &vectors);
        let coordinate = |coordinate, picked| CoordinateSource::new(file, coordinate, picked);
        Ok(Self {
            id: resolved.id,
            id_kind: collection.id_kind,
            ra: coordinate(Coordinate::Ra, resolved.ra)?,
            dec: coordinate(Coordinate::Dec, resolved.dec)?,
            columns,
            vectors,
            layout,
            skipped,
        })
    }

    /// Schema of the batches.
    pub fn layout(&self) -> SchemaRef {
        SchemaRef::clone(&self.layout)
    }

    /// Columns of the file that the collection does not have.
    pub fn skipped(&self) -> &[SkippedColumn] {
        &self.skipped
    }

    /// Brings rows into the ingest layout. `blocks` are the vectors of the `.npy` specs, in their order, row-major,
    /// one for each readable row of the batch.
    ///
    /// # Errors
    /// [`FileError::Layout`] when the rows are not of the file that the plan was made for.
    pub fn ingest_batch(
        &self,
        table: &TableBatch,
        blocks: Vec<ScalarBuffer<f32>>,
    ) -> Result<IngestRows, FileError> {
        self.convert(table, blocks).map_err(|error| FileError::Layout { detail: error.to_string() })
    }

    fn convert(
        &self,
        table: &TableBatch,
        mut blocks: Vec<ScalarBuffer<f32>>,
    ) -> Result<IngestRows, ArrowError> {
        let rows = &table.rows;
        let mut faults = Faults(vec![None; rows.num_rows()]);
        let ids = self.ids(table, &mut faults)?;
        let (ra, dec) = (self.ra.degrees(rows, &mut faults)?, self.dec.degrees(rows, &mut faults)?);
        for row in 0..rows.num_rows() {
            if ra.is_valid(row) && dec.is_valid(row) {
                let position = Position::new(Degrees(ra.value(row)), Degrees(dec.value(row)));
                faults.note_error(row, position);
            }
        }
        let mut arrays: Vec<ArrayRef> = vec![ids, Arc::new(ra), Arc::new(dec)];
        for (picked, kind, name) in &self.columns {
            let given = pick(rows, *picked)?;
            let short = || format!("column `{name}` needs more elements than this row has");
            given.misfits.iter().for_each(|row| faults.note(*row, short));
            let casted = cast_column(&given.array, *kind)?;
            for row in casted.misfits {
                faults.note(row, || {
                    let value = array_value_to_string(&given.array, row).unwrap_or_default();
                    format!("column `{name}` is {kind}, the value `{value}` does not fit")
                });
            }
            arrays.push(casted.array);
        }
        for (space, place) in &self.vectors {
            let vectors = match place {
                VectorPlace::Column(column) => vectors_of_column(rows.column(*column), space)?,
                VectorPlace::Block(number) => {
                    let block = blocks.get_mut(*number).map(std::mem::take);
                    vectors_of_block(&block.unwrap_or_default(), space)?
                }
            };
            let Vectors { array, misfits } = vectors;
            for (row, reason) in misfits {
                faults.note(row, || reason);
            }
            arrays.push(Arc::new(array));
        }
        self.keep_sound_rows(table, arrays, faults)
    }

    fn keep_sound_rows(
        &self,
        table: &TableBatch,
        arrays: Vec<ArrayRef>,
        faults: Faults,
    ) -> Result<IngestRows, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(table.rows.num_rows()));
        let whole = RecordBatch::try_new_with_options(self.layout(), arrays, &options)?;
        let mut refused = table.refused.clone();
        let keep: BooleanArray = faults.0.iter().map(|fault| Some(fault.is_none())).collect();
        let mut numbers = Vec::with_capacity(table.numbers.len());
        for ((row, fault), number) in faults.0.into_iter().enumerate().zip(&table.numbers) {
            match fault {
                None => numbers.push(*number),
                Some(reason) => {
                    let object_id = match whole.columns().first() {
                        Some(ids) if ids.is_valid(row) => array_value_to_string(ids, row)?,
                        _ => String::new(),
                    };
                    refused.push(RefusedRow { row: *number, object_id, reason });
                }
            }
        }
        refused.sort_by_key(|refused| refused.row);
        let batch = if numbers.len() == whole.num_rows() {
            whole
        } else {
            filter_record_batch(&whole, &keep)?
        };
        Ok(IngestRows { batch, numbers, refused })
    }

    fn ids(&self, table: &TableBatch, faults: &mut Faults) -> Result<ArrayRef, ArrowError> {
        let picked = match self.id {
            IdSource::Column(picked) => picked,
            IdSource::Row => {
                let numbers = table.numbers.iter().map(|number| *number as i64);
                return Ok(match self.id_kind {
                    IdKind::Number => Arc::new(numbers.collect::<Int64Array>()),
                    IdKind::Text => Arc::new(StringArray::from_iter_values(
                        numbers.map(|number| number.to_string()),
                    )),
                });
            }
        };
        let given = pick(&table.rows, picked)?;
        let wanted = match self.id_kind {
            IdKind::Number => ColumnType::Int64,
            IdKind::Text => ColumnType::Text,
        };
        let Casted { array, misfits } = cast_column(&given.array, wanted)?;
        for row in misfits {
            faults.note(row, || {
                let value = array_value_to_string(&given.array, row).unwrap_or_default();
                format!("object id `{value}` is not a 64-bit signed integer")
            });
        }
        let texts = array.as_string_opt::<i32>();
        for row in 0..array.len() {
            let text = texts.filter(|_| array.is_valid(row)).map(|texts| texts.value(row));
            if array.is_null(row) || text.is_some_and(str::is_empty) {
                faults.note(row, || "object id is missing".to_owned());
            } else if text.is_some_and(|text| text.len() > ObjectId::TEXT_LEN_MAX) {
                faults.note(row, || {
                    format!("object id is longer than {} bytes", ObjectId::TEXT_LEN_MAX)
                });
            }
        }
        Ok(array)
    }
}

/// The first fault of every row.
struct Faults(Vec<Option<String>>);

impl Faults {
    fn note(&mut self, row: usize, reason: impl FnOnce() -> String) {
        if let Some(fault) = self.0.get_mut(row) {
            fault.get_or_insert_with(reason);
        }
    }

    fn note_error<T, E: std::fmt::Display>(&mut self, row: usize, result: Result<T, E>) {
        if let Err(error) = result {
            self.note(row, || error.to_string());
        }
    }
}

impl CoordinateSource {
    fn new(file: &Schema, coordinate: Coordinate, picked: Picked) -> Result<Self, FileError> {
        let field = file.field(picked.place);
        let unit = AngleUnit::parse(coordinate, field.name(), metadata(field, META_UNIT))?;
        let given = picked_type(file, picked);
        if !is_castable(given, ColumnType::Float64) {
            return Err(FileError::ColumnType {
                name: field.name().clone(),
                given: given.to_string(),
                wanted: format!("{}: map a column of numbers", coordinate.name()),
            });
        }
        Ok(Self { coordinate, picked, unit })
    }

    fn degrees(&self, rows: &RecordBatch, faults: &mut Faults) -> Result<Float64Array, ArrowError> {
        let given = pick(rows, self.picked)?.array;
        let name = self.coordinate.name();
        let texts = match given.data_type() {
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Dictionary(..) => Some(cast_column(&given, ColumnType::Text)?.array),
            _ => None,
        };
        let values: Vec<Option<f64>> = match &texts {
            Some(texts) => texts
                .as_string::<i32>()
                .iter()
                .map(|text| text.and_then(|text| parse_text(self.coordinate, self.unit, text)))
                .collect(),
            None => cast_column(&given, ColumnType::Float64)?
                .array
                .as_primitive::<Float64Type>()
                .iter()
                .map(|value| value.map(|value| self.unit.degrees(value)))
                .collect(),
        };
        for (row, _) in values.iter().enumerate().filter(|(_, value)| value.is_none()) {
            faults.note(row, || match array_value_to_string(&given, row) {
                Ok(value) if given.is_valid(row) => format!(
                    "{name} is `{value}`: give degrees, or sexagesimal as 12:34:56.7 (ra in hours)"
                ),
                _ => format!("{name} is missing"),
            });
        }
        Ok(values.into())
    }
}

fn pick(rows: &RecordBatch, picked: Picked) -> Result<Casted, ArrowError> {
    let whole = rows.columns().get(picked.place).ok_or_else(|| {
        ArrowError::SchemaError("the rows have fewer columns than the file".to_owned())
    })?;
    match picked.element {
        Some(place) => element(whole, place),
        None => Ok(Casted { array: Arc::clone(whole), misfits: Vec::new() }),
    }
}

fn check_id(file: &Schema, picked: Picked, wanted: IdKind) -> Result<(), FileError> {
    let given = picked_type(file, picked);
    let fits = match wanted {
        IdKind::Number => is_castable(given, ColumnType::Int64),
        IdKind::Text => is_castable(given, ColumnType::Text),
    };
    if fits {
        return Ok(());
    }
    let kind = match wanted {
        IdKind::Number => "64-bit integers",
        IdKind::Text => "strings",
    };
    Err(FileError::ColumnType {
        name: file.field(picked.place).name().clone(),
        given: given.to_string(),
        wanted: format!("the object id: this collection's ids are {kind}"),
    })
}

fn check_unit(field: &Field, wanted: &crate::schema::Column) -> Result<(), FileError> {
    let (given, expected) = (metadata(field, META_UNIT), wanted.unit.trim());
    if given.is_empty() || expected.is_empty() || given == expected {
        return Ok(());
    }
    Err(FileError::UnitMismatch {
        name: field.name().clone(),
        given: given.to_owned(),
        column: wanted.name.clone(),
        expected: expected.to_owned(),
    })
}

fn match_vectors(
    file: &Schema,
    first: Option<&RecordBatch>,
    specs: &[VectorSpec],
    collection: &CollectionSchema,
) -> Result<Vec<(EmbeddingSpace, VectorPlace)>, FileError> {
    let mut blocks = 0;
    let mut matched = Vec::new();
    for spec in specs {
        let found = collection.space(&spec.space).filter(|space| space.holds_vectors());
        let space = found.ok_or_else(|| {
            let names: Vec<&str> =
                collection.vector_spaces().map(|space| space.name.as_str()).collect();
            let available = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            FileError::UnknownSpace { space: spec.space.clone(), available }
        })?;
        let given = dimension(file, first, spec)?;
        let (place, from) = match &spec.source {
            VectorSource::Column(name) => {
                (VectorPlace::Column(vector_place(file, name, &spec.space)?), name.clone())
            }
            VectorSource::Npy(path) => {
                blocks += 1;
                (VectorPlace::Block(blocks - 1), path.display().to_string())
            }
        };
        if given != space.dimension {
            let expected = space.dimension;
            return Err(FileError::Dimension { space: space.name.clone(), expected, from, given });
        }
        matched.push((space.clone(), place));
    }
    Ok(matched)
}

fn layout(
    id_kind: IdKind,
    columns: &[(Picked, ColumnType, String)],
    vectors: &[(EmbeddingSpace, VectorPlace)],
) -> SchemaRef {
    let id = match id_kind {
        IdKind::Number => DataType::Int64,
        IdKind::Text => DataType::Utf8,
    };
    let mut fields = vec![
        Field::new("object_id", id, true),
        Field::new("ra", DataType::Float64, true),
        Field::new("dec", DataType::Float64, true),
    ];
    let columns = columns.iter().map(|(_, kind, name)| Field::new(name, arrow_type(*kind), true));
    fields.extend(columns);
    fields.extend(vectors.iter().map(|(space, _)| {
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let kind = DataType::FixedSizeList(item, space.dimension as i32);
        Field::new(format!("{VECTOR_PREFIX}{}", space.name), kind, true)
    }));
    Arc::new(Schema::new(fields))
}
