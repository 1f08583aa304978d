//! Rows that are read where they lie, in the columns of a batch, without taking each apart into an [`Object`].

use super::{Object, ObjectId, SpaceId, Value};
use crate::sky::Position;

/// A borrowed [`ObjectId`]; sorts as that does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdRef<'a> {
    /// A 64-bit integer id.
    Number(i64),
    /// A string id.
    Text(&'a str),
}

impl IdRef<'_> {
    /// The id on its own.
    pub fn to_owned(self) -> ObjectId {
        match self {
            Self::Number(number) => ObjectId::Number(number),
            Self::Text(text) => ObjectId::Text(text.to_owned()),
        }
    }
}

impl<'a> From<&'a ObjectId> for IdRef<'a> {
    fn from(id: &'a ObjectId) -> Self {
        match id {
            ObjectId::Number(number) => Self::Number(*number),
            ObjectId::Text(text) => Self::Text(text),
        }
    }
}

/// A borrowed [`Value`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// Missing.
    Null,
    /// A truth value.
    Boolean(bool),
    /// An integer.
    Int64(i64),
    /// A single.
    Float32(f32),
    /// A double.
    Float64(f64),
    /// A string.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// Doubles.
    FloatList(&'a [f64]),
}

impl ValueRef<'_> {
    /// The value on its own.
    pub fn to_owned(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(truth) => Value::Boolean(truth),
            Self::Int64(number) => Value::Int64(number),
            Self::Float32(number) => Value::Float32(number),
            Self::Float64(number) => Value::Float64(number),
            Self::Text(text) => Value::Text(text.to_owned()),
            Self::Binary(bytes) => Value::Binary(bytes.to_vec()),
            Self::FloatList(numbers) => Value::FloatList(numbers.to_vec()),
        }
    }
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(truth) => Self::Boolean(*truth),
            Value::Int64(number) => Self::Int64(*number),
            Value::Float32(number) => Self::Float32(*number),
            Value::Float64(number) => Self::Float64(*number),
            Value::Text(text) => Self::Text(text),
            Value::Binary(bytes) => Self::Binary(bytes),
            Value::FloatList(numbers) => Self::FloatList(numbers),
        }
    }
}

/// Rows that have passed the checks of a collection's schema, kept column by column.
///
/// Rows are numbered from 0 to [`Rows::count`]; callers ask for no others.
pub trait Rows: Send + Sync {
    /// Number of rows.
    fn count(&self) -> usize;

    /// The id of a row.
    fn id(&self, row: usize) -> IdRef<'_>;

    /// The position of a row.
    fn position(&self, row: usize) -> Position;

    /// Number of columns: as many as the schema has.
    fn column_count(&self) -> usize;

    /// The value of a row in a column, by the column's place in the schema.
    fn value(&self, column: usize, row: usize) -> ValueRef<'_>;

    /// Spaces in which rows may have a vector, ascending.
    fn spaces(&self) -> &[SpaceId];

    /// The vector of a row in one of [`Rows::spaces`], by its place there, as given by the writer (not normalised).
    fn vector(&self, space: usize, row: usize) -> Option<&[f32]>;

    /// The place of a space in [`Rows::spaces`].
    fn place_of(&self, space: SpaceId) -> Option<usize> {
        self.spaces().iter().position(|other| *other == space)
    }

    /// A row on its own.
    fn object(&self, row: usize) -> Object {
        let vectors = self.spaces().iter().enumerate();
        Object {
            id: self.id(row).to_owned(),
            position: self.position(row),
            columns: (0..self.column_count())
                .map(|column| self.value(column, row).to_owned())
                .collect(),
            vectors: vectors
                .filter_map(|(place, space)| Some((*space, self.vector(place, row)?.to_vec())))
                .collect(),
        }
    }
}
