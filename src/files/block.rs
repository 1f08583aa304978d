//! Objects of a batch, column by column.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array,
    Float64Array, Int64Array, ListArray, StringArray,
};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};

use crate::schema::{CollectionSchema, ColumnType, IdRef, Rows, SpaceId, ValueRef};
use crate::sky::Position;

/// Rows of an Arrow batch that have passed every check of [`CollectionSchema::check`], left in their columns.
#[derive(Debug, Clone)]
pub struct ObjectBlock {
    schema: Arc<CollectionSchema>,
    ids: Ids,
    positions: Vec<Position>,
    columns: Vec<Option<Column>>,
    spaces: Vec<SpaceId>,
    vectors: Vec<Vectors>,
}

#[derive(Debug, Clone)]
enum Ids {
    Numbers(Int64Array),
    Texts(StringArray),
}

/// A column in the collection's own type, downcast once.
#[derive(Debug, Clone)]
enum Column {
    Boolean(BooleanArray),
    Int64(Int64Array),
    Float32(Float32Array),
    Float64(Float64Array),
    Text(StringArray),
    Binary(BinaryArray),
    FloatList(ListArray, Float64Array),
}

#[derive(Debug, Clone)]
struct Vectors {
    rows: FixedSizeListArray,
    components: Float32Array,
}

impl ObjectBlock {
    /// Takes columns that [`super::decode`] has cast and checked, all of one length: one for each column of the
    /// schema (`None` where the batch has none), and those of the spaces.
    pub(super) fn new(
        schema: Arc<CollectionSchema>,
        ids: &ArrayRef,
        positions: Vec<Position>,
        columns: &[Option<ArrayRef>],
        mut vectors: Vec<(SpaceId, FixedSizeListArray)>,
    ) -> Option<Self> {
        let ids = match ids.as_primitive_opt::<Int64Type>() {
            Some(numbers) => Ids::Numbers(numbers.clone()),
            None => Ids::Texts(ids.as_string_opt::<i32>()?.clone()),
        };
        let kinds = schema.columns.iter().map(|column| column.kind);
        let columns = columns
            .iter()
            .zip(kinds)
            .map(|(array, kind)| match array {
                Some(array) => Column::new(array, kind).map(Some),
                None => Some(None),
            })
            .collect::<Option<Vec<_>>>()?;
        vectors.sort_unstable_by_key(|(space, _)| *space);
        let spaces = vectors.iter().map(|(space, _)| *space).collect();
        let vectors = vectors
            .into_iter()
            .map(|(_, rows)| {
                let components = rows.values().as_primitive_opt::<Float32Type>()?.clone();
                Some(Vectors { rows, components })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self { schema, ids, positions, columns, spaces, vectors })
    }

    /// The schema that the rows were checked against.
    pub fn schema(&self) -> &CollectionSchema {
        &self.schema
    }

    /// The ids as an Arrow column.
    pub fn id_array(&self) -> &dyn Array {
        match &self.ids {
            Ids::Numbers(numbers) => numbers,
            Ids::Texts(texts) => texts,
        }
    }

    /// A column by its place in the schema; `None` when the batch does not have it, or there is none.
    pub fn array(&self, column: usize) -> Option<&dyn Array> {
        Some(self.columns.get(column)?.as_ref()?.array())
    }

    /// Bytes of the rows, about.
    pub fn size_bytes(&self) -> usize {
        let own = |array: &dyn Array| {
            array
                .to_data()
                .get_slice_memory_size()
                .unwrap_or_else(|_| array.get_array_memory_size())
        };
        let columns = self.columns.iter().flatten().map(|column| own(column.array()));
        let vectors = self.vectors.iter().map(|vectors| own(&vectors.rows));
        columns.chain(vectors).sum::<usize>() + 24 * self.positions.len()
    }
}

impl Column {
    fn new(array: &ArrayRef, kind: ColumnType) -> Option<Self> {
        Some(match kind {
            ColumnType::Boolean => Self::Boolean(array.as_boolean_opt()?.clone()),
            ColumnType::Int64 => Self::Int64(array.as_primitive_opt()?.clone()),
            ColumnType::Float32 => Self::Float32(array.as_primitive_opt()?.clone()),
            ColumnType::Float64 => Self::Float64(array.as_primitive_opt()?.clone()),
            ColumnType::Text => Self::Text(array.as_string_opt::<i32>()?.clone()),
            ColumnType::Binary => Self::Binary(array.as_binary_opt::<i32>()?.clone()),
            ColumnType::FloatList => {
                let list = array.as_list_opt::<i32>()?;
                let numbers = list.values().as_primitive_opt::<Float64Type>()?;
                Self::FloatList(list.clone(), numbers.clone())
            }
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Boolean(array) => array,
            Self::Int64(array) => array,
            Self::Float32(array) => array,
            Self::Float64(array) => array,
            Self::Text(array) => array,
            Self::Binary(array) => array,
            Self::FloatList(array, _) => array,
        }
    }

    fn value(&self, row: usize) -> ValueRef<'_> {
        // Each kind asks for itself: a call through the common interface costs more than the value.
        match self {
            Self::Boolean(array) if array.is_valid(row) => ValueRef::Boolean(array.value(row)),
            Self::Int64(array) if array.is_valid(row) => ValueRef::Int64(array.value(row)),
            Self::Float32(array) if array.is_valid(row) => ValueRef::Float32(array.value(row)),
            Self::Float64(array) if array.is_valid(row) => ValueRef::Float64(array.value(row)),
            Self::Text(array) if array.is_valid(row) => ValueRef::Text(array.value(row)),
            Self::Binary(array) if array.is_valid(row) => ValueRef::Binary(array.value(row)),
            Self::FloatList(list, numbers) if list.is_valid(row) => {
                let offsets = list.value_offsets();
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                ValueRef::FloatList(&numbers.values()[start..end])
            }
            _ => ValueRef::Null,
        }
    }
}

impl Rows for ObjectBlock {
    fn count(&self) -> usize {
        self.positions.len()
    }

    fn id(&self, row: usize) -> IdRef<'_> {
        match &self.ids {
            Ids::Numbers(numbers) => IdRef::Number(numbers.value(row)),
            Ids::Texts(texts) => IdRef::Text(texts.value(row)),
        }
    }

    fn position(&self, row: usize) -> Position {
        self.positions[row]
    }

    fn column_count(&self) -> usize {
        self.columns.len()
    }

    fn value(&self, column: usize, row: usize) -> ValueRef<'_> {
        self.columns
            .get(column)
            .and_then(Option::as_ref)
            .map_or(ValueRef::Null, |column| column.value(row))
    }

    fn spaces(&self) -> &[SpaceId] {
        &self.spaces
    }

    fn vector(&self, space: usize, row: usize) -> Option<&[f32]> {
        let Vectors { rows, components } = self.vectors.get(space)?;
        if rows.is_null(row) {
            return None;
        }
        let (start, length) = (rows.value_offset(row) as usize, rows.value_length() as usize);
        components.values().get(start..start + length)
    }
}
