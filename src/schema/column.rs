//! Typed columns and their values.

use std::fmt;
use std::str::FromStr;

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// 64-bit signed integer.
    Int64,
    /// Single-precision real.
    Float32,
    /// Double-precision real.
    Float64,
    /// UTF-8 text.
    Text,
    /// Bytes, for example an encoded image. Not usable in predicates.
    Binary,
    /// A list of doubles, for example a spectrum. Not usable in predicates.
    FloatList,
}

impl ColumnType {
    /// Every type, in the order of the on-disk tags.
    pub const ALL: [Self; 7] = [
        Self::Boolean,
        Self::Int64,
        Self::Float32,
        Self::Float64,
        Self::Text,
        Self::Binary,
        Self::FloatList,
    ];

    /// The name used in schema files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::FloatList => "float_list",
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown column type `{name}`; use one of {names}")
        })
    }
}

/// A column of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name, unique in the collection without regard to case.
    pub name: String,
    /// Type of every value; nulls are always allowed.
    pub kind: ColumnType,
    /// VOUnit string; empty when the column has none.
    pub unit: String,
    /// IVOA unified content descriptor; empty when unknown.
    pub ucd: String,
    /// A sentence for people.
    pub description: String,
}

impl Column {
    /// A column without unit, UCD or description.
    pub fn new(name: impl Into<String>, kind: ColumnType) -> Self {
        Self {
            name: name.into(),
            kind,
            unit: String::new(),
            ucd: String::new(),
            description: String::new(),
        }
    }
}

/// One value of a column. Real columns may hold NaN (a catalogue's "not measured"); positions and vectors may not.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Missing.
    Null,
    /// Of a [`ColumnType::Boolean`] column.
    Boolean(bool),
    /// Of a [`ColumnType::Int64`] column.
    Int64(i64),
    /// Of a [`ColumnType::Float32`] column.
    Float32(f32),
    /// Of a [`ColumnType::Float64`] column.
    Float64(f64),
    /// Of a [`ColumnType::Text`] column.
    Text(String),
    /// Of a [`ColumnType::Binary`] column.
    Binary(Vec<u8>),
    /// Of a [`ColumnType::FloatList`] column.
    FloatList(Vec<f64>),
}

impl Value {
    /// The type of the column that this value fits; `None` for a null, which fits all.
    pub fn kind(&self) -> Option<ColumnType> {
        match self {
            Self::Null => None,
            Self::Boolean(_) => Some(ColumnType::Boolean),
            Self::Int64(_) => Some(ColumnType::Int64),
            Self::Float32(_) => Some(ColumnType::Float32),
            Self::Float64(_) => Some(ColumnType::Float64),
            Self::Text(_) => Some(ColumnType::Text),
            Self::Binary(_) => Some(ColumnType::Binary),
            Self::FloatList(_) => Some(ColumnType::FloatList),
        }
    }

    /// Converts without loss to the column's type: integers to reals where exact, doubles to singles by rounding.
    /// `None` when the value does not belong into such a column.
    pub fn cast(self, kind: ColumnType) -> Option<Self> {
        match (self, kind) {
            (Self::Null, _) => Some(Self::Null),
            (value, kind) if value.kind() == Some(kind) => Some(value),
            (Self::Int64(number), ColumnType::Float64) => Some(Self::Float64(number as f64)),
            (Self::Int64(number), ColumnType::Float32) => Some(Self::Float32(number as f32)),
            (Self::Float32(number), ColumnType::Float64) => Some(Self::Float64(f64::from(number))),
            (Self::Float64(number), ColumnType::Float32) => Some(Self::Float32(number as f32)),
            _ => None,
        }
    }

    /// The value as a double, for numbers; `None` for everything else and for null.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int64(number) => Some(*number as f64),
            Self::Float32(number) => Some(f64::from(*number)),
            Self::Float64(number) => Some(*number),
            Self::Null
            | Self::Boolean(_)
            | Self::Text(_)
            | Self::Binary(_)
            | Self::FloatList(_) => None,
        }
    }
}
