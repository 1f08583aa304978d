//! Rows of the ingest layout into objects.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, RecordBatch, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;

use super::assign::VECTOR_PREFIX;
use super::block::ObjectBlock;
use super::cast::{Casted, Vectors, cast_column, column_kind, is_castable, vectors_of_column};
use super::{FileError, RefusedRow};
use crate::schema::{
    CollectionSchema, ColumnType, EmbeddingSpace, IdKind, IdRef, Object, ObjectId, Rows, SpaceId,
};
use crate::sky::{Degrees, Position};

/// Objects of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedBatch {
    /// Row within the batch, from 0, and the object.
    pub objects: Vec<(u64, Object)>,
    /// For each column of the collection, whether the batch has it; the others are null in the objects.
    pub columns_given: Vec<bool>,
    /// Spaces that the batch has a column for.
    pub spaces_given: Vec<SpaceId>,
    /// Rows that are refused.
    pub refused: Vec<RefusedRow>,
}

/// The same, with the objects left in their columns.
#[derive(Debug, Clone)]
pub struct DecodedBlock {
    /// The objects.
    pub block: ObjectBlock,
    /// For each of them its row within the batch, from 0.
    pub numbers: Vec<u64>,
    /// For each column of the collection, whether the batch has it; the others are null in the objects.
    pub columns_given: Vec<bool>,
    /// Rows that are refused.
    pub refused: Vec<RefusedRow>,
}

/// Turns a batch of the ingest layout into objects that have passed [`CollectionSchema::check`]. Columns may come in
/// any order and in any type that is cast without loss. A bad row is refused; the others go on.
///
/// # Errors
/// [`FileError::Layout`] when the columns themselves are wrong: an unknown, repeated or missing one, or one of a type
/// that no value of it could fit.
pub fn decode_ingest(
    batch: &RecordBatch,
    collection: &CollectionSchema,
) -> Result<DecodedBatch, FileError> {
    let decoded = decode_block(batch, &Arc::new(collection.clone()))?;
    let DecodedBlock { block, numbers, columns_given, refused } = decoded;
    let objects = numbers.into_iter().zip((0..block.count()).map(|row| block.object(row)));
    Ok(DecodedBatch {
        objects: objects.collect(),
        columns_given,
        spaces_given: block.spaces().to_vec(),
        refused,
    })
}

/// Does the same as [`decode_ingest`] and leaves the objects in their columns.
///
/// # Errors
/// As [`decode_ingest`].
pub fn decode_block(
    batch: &RecordBatch,
    collection: &Arc<CollectionSchema>,
) -> Result<DecodedBlock, FileError> {
    let failed = |error: ArrowError| FileError::Layout { detail: error.to_string() };
    let layout = Layout::of(batch, collection)?;
    let (mut arrays, faults) =
        Arrays::cast(&layout, collection, batch.num_rows()).map_err(failed)?;
    let columns_given = arrays.columns.iter().map(Option::is_some).collect();
    let mut positions = Vec::with_capacity(batch.num_rows());
    let mut numbers = Vec::with_capacity(batch.num_rows());
    let mut refused = Vec::new();
    for (row, fault) in faults.into_iter().enumerate() {
        let position = fault.map_or_else(|| arrays.position(row, collection), Err);
        match position {
            Ok(position) => {
                positions.push(position);
                numbers.push(row as u64);
            }
            Err(reason) => {
                let object_id = arrays.id(row).map(|id| id.to_owned().to_string());
                let object_id = object_id.unwrap_or_default();
                refused.push(RefusedRow { row: row as u64, object_id, reason });
            }
        }
    }
    if !refused.is_empty() {
        arrays.keep(&numbers).map_err(failed)?;
    }
    let Arrays { ids, columns, vectors, .. } = arrays;
    let block = ObjectBlock::new(Arc::clone(collection), &ids, positions, &columns, vectors);
    let block = block.ok_or_else(|| FileError::Layout {
        detail: "a column is not of the collection's type after its cast".to_owned(),
    })?;
    Ok(DecodedBlock { block, numbers, columns_given, refused })
}

/// Columns of a batch in the collection's own types.
struct Arrays {
    ids: ArrayRef,
    ra: ArrayRef,
    dec: ArrayRef,
    /// One for each column of the collection.
    columns: Vec<Option<ArrayRef>>,
    vectors: Vec<(SpaceId, FixedSizeListArray)>,
}

impl Arrays {
    /// Casts everything; the second value holds the first fault of every row.
    fn cast(
        layout: &Layout<'_>,
        collection: &CollectionSchema,
        rows: usize,
    ) -> Result<(Self, Vec<Option<String>>), ArrowError> {
        let mut faults: Vec<Option<String>> = vec![None; rows];
        let mut note = |row: usize, reason: String| {
            if let Some(fault) = faults.get_mut(row) {
                fault.get_or_insert(reason);
            }
        };
        let mut columns = Vec::with_capacity(collection.columns.len());
        for (given, column) in layout.columns.iter().zip(&collection.columns) {
            let (name, kind) = (&column.name, column.kind);
            let casted = given.map(|given| cast_column(given, kind)).transpose()?;
            columns.push(casted.map(|Casted { array, misfits }| {
                for row in misfits {
                    note(row, format!("column `{name}` is {kind}, the value does not fit"));
                }
                array
            }));
        }
        let mut vectors = Vec::with_capacity(layout.vectors.len());
        for (space, given) in &layout.vectors {
            let Vectors { array, misfits } = vectors_of_column(given, space)?;
            misfits.into_iter().for_each(|(row, reason)| note(row, reason));
            vectors.push((space.id, array));
        }
        let arrays = Self {
            ids: cast_column(layout.id, id_type(collection))?.array,
            ra: cast_column(layout.ra, ColumnType::Float64)?.array,
            dec: cast_column(layout.dec, ColumnType::Float64)?.array,
            columns,
            vectors,
        };
        Ok((arrays, faults))
    }

    fn id(&self, row: usize) -> Option<IdRef<'_>> {
        if self.ids.is_null(row) {
            return None;
        }
        if let Some(numbers) = self.ids.as_primitive_opt::<Int64Type>() {
            return Some(IdRef::Number(numbers.value(row)));
        }
        self.ids.as_string_opt::<i32>().map(|texts| IdRef::Text(texts.value(row)))
    }

    /// The position of a row whose columns and vectors are sound, or why the row is refused.
    fn position(&self, row: usize, collection: &CollectionSchema) -> Result<Position, String> {
        let id = self.id(row).ok_or("object id is missing, or not of the collection's kind")?;
        let degrees = |array: &ArrayRef, name: &str| {
            let values = array.as_primitive::<Float64Type>();
            let value = values.is_valid(row).then(|| Degrees(values.value(row)));
            value.ok_or_else(|| format!("{name} is missing"))
        };
        let position = Position::new(degrees(&self.ra, "ra")?, degrees(&self.dec, "dec")?)
            .map_err(|error| error.to_string())?;
        if let IdRef::Text(text) = id
            && (text.is_empty() || text.len() > ObjectId::TEXT_LEN_MAX)
        {
            collection.check_id(&id.to_owned()).map_err(|error| error.to_string())?;
        }
        Ok(position)
    }

    /// Keeps some rows, ascending, of what becomes objects.
    fn keep(&mut self, rows: &[u64]) -> Result<(), ArrowError> {
        let places: UInt64Array = rows.iter().copied().collect();
        self.ids = take(&self.ids, &places, None)?;
        for column in self.columns.iter_mut().flatten() {
            *column = take(&*column, &places, None)?;
        }
        for (_, vectors) in &mut self.vectors {
            *vectors = take(&*vectors, &places, None)?.as_fixed_size_list().clone();
        }
        Ok(())
    }
}

fn id_type(collection: &CollectionSchema) -> ColumnType {
    match collection.id_kind {
        IdKind::Number => ColumnType::Int64,
        IdKind::Text => ColumnType::Text,
    }
}

/// Columns of a batch under their roles.
struct Layout<'a> {
    id: &'a ArrayRef,
    ra: &'a ArrayRef,
    dec: &'a ArrayRef,
    /// One for each column of the collection.
    columns: Vec<Option<&'a ArrayRef>>,
    vectors: Vec<(&'a EmbeddingSpace, &'a ArrayRef)>,
}

impl<'a> Layout<'a> {
    fn of(batch: &'a RecordBatch, collection: &'a CollectionSchema) -> Result<Self, FileError> {
        let mut built_in: [Option<&ArrayRef>; 3] = [None; 3];
        let mut columns: Vec<Option<&ArrayRef>> = vec![None; collection.columns.len()];
        let mut vectors: Vec<(&EmbeddingSpace, &ArrayRef)> = Vec::new();
        let schema = batch.schema_ref();
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            let name = field.name();
            let role =
                ["object_id", "ra", "dec"].iter().position(|role| role.eq_ignore_ascii_case(name));
            let space = name
                .strip_prefix(VECTOR_PREFIX)
                .map(|name| (name, collection.space(name).filter(|space| space.holds_vectors())));
            let slot = if let Some(role) = role {
                built_in.get_mut(role)
            } else if let Some((_, Some(space))) = space {
                check_vector_type(name, array.data_type())?;
                if vectors.iter().any(|(known, _)| known.name == space.name) {
                    return Err(twice(name));
                }
                vectors.push((space, array));
                continue;
            } else {
                collection.column_place(name).and_then(|place| columns.get_mut(place))
            };
            match slot {
                Some(slot @ None) => *slot = Some(array),
                Some(Some(_)) => return Err(twice(name)),
                None => return Err(unknown(name, space.is_some(), collection)),
            }
        }
        let [id, ra, dec] = built_in;
        let needed = |name: &str, array: Option<&'a ArrayRef>| {
            array.ok_or_else(|| FileError::Layout { detail: format!("column `{name}` is missing") })
        };
        let layout = Layout {
            id: needed("object_id", id)?,
            ra: needed("ra", ra)?,
            dec: needed("dec", dec)?,
            columns,
            vectors,
        };
        layout.check_types(collection)?;
        Ok(layout)
    }

    fn check_types(&self, collection: &CollectionSchema) -> Result<(), FileError> {
        let own = collection.columns.iter().zip(&self.columns);
        let given = [
            ("object_id", id_type(collection), Some(self.id)),
            ("ra", ColumnType::Float64, Some(self.ra)),
            ("dec", ColumnType::Float64, Some(self.dec)),
        ]
        .into_iter()
        .chain(own.map(|(column, array)| (column.name.as_str(), column.kind, *array)));
        for (name, wanted, array) in given {
            if let Some(array) = array
                && !is_castable(array.data_type(), wanted)
            {
                let given = array.data_type();
                let detail = format!("column `{name}` must be {wanted}, it is {given}");
                return Err(FileError::Layout { detail });
            }
        }
        Ok(())
    }
}

fn check_vector_type(name: &str, given: &DataType) -> Result<(), FileError> {
    if column_kind(given) == Some(ColumnType::FloatList) {
        return Ok(());
    }
    let detail = format!("column `{name}` must be a fixed-size list of float32, it is {given}");
    Err(FileError::Layout { detail })
}

fn twice(name: &str) -> FileError {
    FileError::Layout { detail: format!("column `{name}` is there twice") }
}

fn unknown(name: &str, is_vector: bool, collection: &CollectionSchema) -> FileError {
    let names: Vec<&str> = if is_vector {
        collection.vector_spaces().map(|space| space.name.as_str()).collect()
    } else {
        collection.columns.iter().map(|column| column.name.as_str()).collect()
    };
    let what = if is_vector { "embedding spaces" } else { "columns" };
    let detail = format!("it has no place for `{name}`; its {what} are {}", names.join(", "));
    FileError::Layout { detail }
}
