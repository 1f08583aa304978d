//! An object's row, its id record, and its vectors.

use super::bytes::{Reader, Writer};
use crate::schema::{CollectionId, IdRef, Object, ObjectId, SpaceId, Value, ValueRef};
use crate::sky::{Cell29, Degrees, Position};
use crate::storage::error::StorageError;
use crate::storage::key::ObjectKey;

const ROW: &str = "object row";
const ROW_VERSION: u8 = 1;

const ID_NUMBER: u8 = 0;
const ID_TEXT: u8 = 1;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT64: u8 = 3;
const FLOAT32: u8 = 4;
const FLOAT64: u8 = 5;
const TEXT: u8 = 6;
const BINARY: u8 = 7;
const FLOAT_LIST: u8 = 8;

/// The bytes of an object's row: version, id, ra, dec, and each column value behind its own type tag. Vectors are
/// kept apart.
pub(crate) fn encode_row(object: &Object) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 + 9 * object.columns.len());
    let columns = object.columns.iter().map(ValueRef::from);
    append_row(&mut bytes, IdRef::from(&object.id), object.position, columns);
    bytes
}

/// Appends the bytes of a row; see [`encode_row`].
pub(crate) fn append_row<'a>(
    bytes: &mut Vec<u8>,
    id: IdRef<'_>,
    position: Position,
    columns: impl ExactSizeIterator<Item = ValueRef<'a>>,
) {
    let mut out = Writer::behind(std::mem::take(bytes));
    out.u8(ROW_VERSION);
    match id {
        IdRef::Number(number) => {
            out.u8(ID_NUMBER);
            out.zigzag(number);
        }
        IdRef::Text(text) => {
            out.u8(ID_TEXT);
            out.sized(text.as_bytes());
        }
    }
    out.f64(position.ra().0);
    out.f64(position.dec().0);
    out.varint(columns.len() as u64);
    columns.for_each(|value| encode_value(&mut out, value));
    *bytes = out.finish();
}

fn encode_value(out: &mut Writer, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => out.u8(NULL),
        ValueRef::Boolean(false) => out.u8(FALSE),
        ValueRef::Boolean(true) => out.u8(TRUE),
        ValueRef::Int64(number) => {
            out.u8(INT64);
            out.zigzag(number);
        }
        ValueRef::Float32(number) => {
            out.u8(FLOAT32);
            out.raw(&number.to_le_bytes());
        }
        ValueRef::Float64(number) => {
            out.u8(FLOAT64);
            out.f64(number);
        }
        ValueRef::Text(text) => {
            out.u8(TEXT);
            out.sized(text.as_bytes());
        }
        ValueRef::Binary(bytes) => {
            out.u8(BINARY);
            out.sized(bytes);
        }
        ValueRef::FloatList(numbers) => {
            out.u8(FLOAT_LIST);
            out.varint(numbers.len() as u64);
            for number in numbers {
                out.f64(*number);
            }
        }
    }
}

/// Reads a row back; the object has no vectors yet. A row that was written before its collection got the last of its
/// `columns` has null in them.
pub(crate) fn decode_row(bytes: &[u8], columns: usize) -> Result<Object, StorageError> {
    let mut rest = Reader::new(ROW, bytes);
    let id = decode_id(&mut rest)?;
    let (ra, dec) = (rest.f64()?, rest.f64()?);
    let position =
        Position::new(Degrees(ra), Degrees(dec)).map_err(|error| rest.fail(error.to_string()))?;
    let count = rest.count(1)?;
    let mut values =
        (0..count).map(|_| decode_value(&mut rest)).collect::<Result<Vec<_>, StorageError>>()?;
    rest.end()?;
    if values.len() < columns {
        values.resize(columns, Value::Null);
    }
    Ok(Object { id, position, columns: values, vectors: Vec::new() })
}

/// Reads only the id of a row.
pub(crate) fn decode_row_id(bytes: &[u8]) -> Result<ObjectId, StorageError> {
    decode_id(&mut Reader::new(ROW, bytes))
}

fn decode_id(rest: &mut Reader<'_>) -> Result<ObjectId, StorageError> {
    rest.version(ROW_VERSION)?;
    match rest.u8()? {
        ID_NUMBER => Ok(ObjectId::Number(rest.zigzag()?)),
        ID_TEXT => Ok(ObjectId::Text(rest.text()?)),
        tag => Err(rest.fail(format!("unknown id tag {tag}"))),
    }
}

fn decode_value(rest: &mut Reader<'_>) -> Result<Value, StorageError> {
    Ok(match rest.u8()? {
        NULL => Value::Null,
        FALSE => Value::Boolean(false),
        TRUE => Value::Boolean(true),
        INT64 => Value::Int64(rest.zigzag()?),
        FLOAT32 => Value::Float32(f32::from_le_bytes(rest.array()?)),
        FLOAT64 => Value::Float64(rest.f64()?),
        TEXT => Value::Text(rest.text()?),
        BINARY => Value::Binary(rest.sized()?.to_vec()),
        FLOAT_LIST => {
            let count = rest.count(8)?;
            Value::FloatList((0..count).map(|_| rest.f64()).collect::<Result<_, _>>()?)
        }
        tag => return Err(rest.fail(format!("unknown value tag {tag}"))),
    })
}

/// The bytes of a vector: its components, little-endian, nothing else.
pub(crate) fn encode_vector(vector: &[f32]) -> Vec<u8> {
    vector_bytes(vector).to_vec()
}

/// The same bytes without a copy: a vector lies in memory as it does in its record.
pub(crate) fn vector_bytes(vector: &[f32]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little"), "records are little-endian") };
    bytemuck::cast_slice(vector)
}

/// Reads a vector of a known dimension back.
pub(crate) fn decode_vector(bytes: &[u8], dimension: usize) -> Result<Vec<f32>, StorageError> {
    let mut vector = Vec::new();
    decode_vector_into(&mut vector, bytes, dimension)?;
    Ok(vector)
}

/// Replaces `vector` by one that is read back.
pub(crate) fn decode_vector_into(
    vector: &mut Vec<f32>,
    bytes: &[u8],
    dimension: usize,
) -> Result<(), StorageError> {
    let (components, rest) = bytes.as_chunks::<4>();
    if components.len() != dimension || !rest.is_empty() {
        let detail = format!("{} bytes for {dimension} components", bytes.len());
        return Err(StorageError::corrupt("vector", detail));
    }
    vector.clear();
    vector.extend(components.iter().map(|component| f32::from_le_bytes(*component)));
    Ok(())
}

/// What the `ids` table knows of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    /// Where its row is.
    pub(crate) key: ObjectKey,
    /// Spaces that hold a vector of it, ascending.
    pub(crate) spaces: Vec<SpaceId>,
}

const LOCATED: &str = "object id record";
const LOCATED_VERSION: u8 = 1;

impl Located {
    /// The bytes of the record; the collection is in its key.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.spaces.len());
        Self::append(&mut bytes, &self.key, &self.spaces);
        bytes
    }

    /// Appends the bytes of a record of its parts.
    pub(crate) fn append(bytes: &mut Vec<u8>, key: &ObjectKey, spaces: &[SpaceId]) {
        let mut out = Writer::behind(std::mem::take(bytes));
        out.u8(LOCATED_VERSION);
        out.raw(&key.cell.0.to_le_bytes());
        out.raw(&key.ordinal.to_le_bytes());
        out.varint(spaces.len() as u64);
        for space in spaces {
            out.varint(u64::from(space.0));
        }
        *bytes = out.finish();
    }

    /// Reads the record of an id of `collection`.
    pub(crate) fn decode(collection: CollectionId, bytes: &[u8]) -> Result<Self, StorageError> {
        let mut rest = Reader::new(LOCATED, bytes);
        rest.version(LOCATED_VERSION)?;
        let cell = Cell29(u64::from_le_bytes(rest.array()?));
        let ordinal = u32::from_le_bytes(rest.array()?);
        let count = rest.count(1)?;
        let spaces =
            (0..count).map(|_| rest.varint_u32().map(SpaceId)).collect::<Result<Vec<_>, _>>()?;
        if !spaces.is_sorted_by(|a, b| a < b) {
            return Err(rest.fail("spaces out of order"));
        }
        rest.end()?;
        Ok(Self { key: ObjectKey { collection, cell, ordinal }, spaces })
    }
}
