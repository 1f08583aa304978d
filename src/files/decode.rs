//! Rows of the ingest layout into objects.

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use arrow::error::ArrowError;

use super::assign::VECTOR_PREFIX;
use super::cast::{Casted, Vectors, cast_column, column_kind, is_castable, vectors_of_column};
use super::{FileError, RefusedRow};
use crate::schema::{
    CollectionSchema, ColumnType, EmbeddingSpace, IdKind, Object, ObjectId, SpaceId, Value,
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
    let layout = Layout::of(batch, collection)?;
    let (arrays, faults) = Arrays::cast(&layout, collection, batch.num_rows())
        .map_err(|error| FileError::Layout { detail: error.to_string() })?;
    let mut decoded = DecodedBatch {
        objects: Vec::with_capacity(batch.num_rows()),
        columns_given: arrays.columns.iter().map(|(array, _)| array.is_some()).collect(),
        spaces_given: arrays.vectors.iter().map(|(space, _)| *space).collect(),
        refused: Vec::new(),
    };
    for (row, fault) in faults.into_iter().enumerate() {
        let id = arrays.id(row);
        let object_id = id.as_ref().map(ToString::to_string).unwrap_or_default();
        let object = match (fault, id) {
            (Some(fault), _) => Err(fault),
            (None, None) => Err("object id is missing, or not of the collection's kind".to_owned()),
            (None, Some(id)) => arrays.object(id, row).and_then(|object| {
                collection.check(&object).map(|()| object).map_err(|error| error.to_string())
            }),
        };
        let row = row as u64;
        match object {
            Ok(object) => decoded.objects.push((row, object)),
            Err(reason) => decoded.refused.push(RefusedRow { row, object_id, reason }),
        }
    }
    Ok(decoded)
}

/// Columns of a batch in the collection's own types.
struct Arrays {
    ids: ArrayRef,
    ra: ArrayRef,
    dec: ArrayRef,
    /// One for each column of the collection.
    columns: Vec<(Option<ArrayRef>, ColumnType)>,
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
            columns.push(match casted {
                None => (None, kind),
                Some(Casted { array, misfits }) => {
                    for row in misfits {
                        note(row, format!("column `{name}` is {kind}, the value does not fit"));
                    }
                    (Some(array), kind)
                }
            });
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

    fn id(&self, row: usize) -> Option<ObjectId> {
        if self.ids.is_null(row) {
            return None;
        }
        if let Some(numbers) = self.ids.as_primitive_opt::<Int64Type>() {
            return Some(ObjectId::Number(numbers.value(row)));
        }
        self.ids.as_string_opt::<i32>().map(|texts| ObjectId::Text(texts.value(row).to_owned()))
    }

    fn object(&self, id: ObjectId, row: usize) -> Result<Object, String> {
        let degrees = |array: &ArrayRef, name: &str| {
            let values = array.as_primitive::<Float64Type>();
            let value = values.is_valid(row).then(|| Degrees(values.value(row)));
            value.ok_or_else(|| format!("{name} is missing"))
        };
        let position = Position::new(degrees(&self.ra, "ra")?, degrees(&self.dec, "dec")?)
            .map_err(|error| error.to_string())?;
        let columns = self.columns.iter().map(|(array, kind)| value_at(array.as_ref(), *kind, row));
        let vectors =
            self.vectors.iter().filter(|(_, array)| array.is_valid(row)).map(|(space, array)| {
                let vector = array.value(row);
                (*space, vector.as_primitive::<Float32Type>().values().to_vec())
            });
        Ok(Object { id, position, columns: columns.collect(), vectors: vectors.collect() })
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
            let space = name.strip_prefix(VECTOR_PREFIX).map(|name| (name, collection.space(name)));
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
        collection.spaces.iter().map(|space| space.name.as_str()).collect()
    } else {
        collection.columns.iter().map(|column| column.name.as_str()).collect()
    };
    let what = if is_vector { "embedding spaces" } else { "columns" };
    let detail = format!("it has no place for `{name}`; its {what} are {}", names.join(", "));
    FileError::Layout { detail }
}

/// A value of a column that [`cast_column`] has brought into the Arrow type of `kind`.
fn value_at(array: Option<&ArrayRef>, kind: ColumnType, row: usize) -> Value {
    let Some(array) = array.filter(|array| array.is_valid(row)) else {
        return Value::Null;
    };
    match kind {
        ColumnType::Boolean => Value::Boolean(array.as_boolean().value(row)),
        ColumnType::Int64 => Value::Int64(array.as_primitive::<Int64Type>().value(row)),
        ColumnType::Float32 => Value::Float32(array.as_primitive::<Float32Type>().value(row)),
        ColumnType::Float64 => Value::Float64(array.as_primitive::<Float64Type>().value(row)),
        ColumnType::Text => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        ColumnType::Binary => Value::Binary(array.as_binary::<i32>().value(row).to_vec()),
        ColumnType::FloatList => {
            let list = array.as_list::<i32>().value(row);
            Value::FloatList(list.as_primitive::<Float64Type>().values().to_vec())
        }
    }
}
