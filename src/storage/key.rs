//! Keys: typed, and their bytes sort as the values do.
//!
//! Integers are big-endian, so that the byte order of RocksDB is the order of the numbers. Nothing outside this file
//! builds or takes apart the bytes of a key.

use std::ops::Range;

use super::error::StorageError;
use super::table::Table;
use crate::schema::{CollectionId, IdRef, ObjectId, SpaceId};
use crate::sky::Cell29;

/// A key of one table.
pub(crate) trait Key: Sized {
    /// The table that it is a key of.
    const TABLE: Table;

    /// The bytes of the key.
    fn encode(&self) -> Vec<u8>;

    /// Reads a key back.
    fn decode(bytes: &[u8]) -> Result<Self, StorageError>;
}

/// Where an object is kept: 16 bytes, `collection u32 | healpix_29 u64 | ordinal u32`, big-endian.
///
/// The order of keys is the order of the objects along the sky. The ordinal is a hash of the object id, so that an
/// object that is written again at its place keeps its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The collection.
    pub collection: CollectionId,
    /// HEALPix cell of order 29 that holds the position.
    pub cell: Cell29,
    /// Tells apart the objects of one cell.
    pub ordinal: u32,
}

impl ObjectKey {
    /// The bytes of the key.
    pub(crate) fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.collection.0.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.cell.0.to_be_bytes());
        bytes[12..].copy_from_slice(&self.ordinal.to_be_bytes());
        bytes
    }
}

impl Key for ObjectKey {
    const TABLE: Table = Table::Objects;

    fn encode(&self) -> Vec<u8> {
        self.bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let mut parts = Parts::new("object key", bytes);
        let key = Self {
            collection: CollectionId(parts.u32()?),
            cell: Cell29(parts.u64()?),
            ordinal: parts.u32()?,
        };
        parts.end()?;
        Ok(key)
    }
}

/// Where a vector is kept: `collection u32 | space u32 | healpix_29 u64 | ordinal u32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VectorKey {
    pub(crate) collection: CollectionId,
    pub(crate) space: SpaceId,
    pub(crate) cell: Cell29,
    pub(crate) ordinal: u32,
}

impl VectorKey {
    /// The key of an object's vector in a space.
    pub(crate) fn new(object: &ObjectKey, space: SpaceId) -> Self {
        Self { collection: object.collection, space, cell: object.cell, ordinal: object.ordinal }
    }

    /// The bytes of the key.
    pub(crate) fn bytes(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&self.collection.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.space.0.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.cell.0.to_be_bytes());
        bytes[16..].copy_from_slice(&self.ordinal.to_be_bytes());
        bytes
    }

    /// The key of the object that the vector belongs to.
    pub(crate) fn object(&self) -> ObjectKey {
        ObjectKey { collection: self.collection, cell: self.cell, ordinal: self.ordinal }
    }
}

impl Key for VectorKey {
    const TABLE: Table = Table::Vectors;

    fn encode(&self) -> Vec<u8> {
        self.bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let mut parts = Parts::new("vector key", bytes);
        let key = Self {
            collection: CollectionId(parts.u32()?),
            space: SpaceId(parts.u32()?),
            cell: Cell29(parts.u64()?),
            ordinal: parts.u32()?,
        };
        parts.end()?;
        Ok(key)
    }
}

/// Where the tokens of an object are kept: a key of the same shape, in a table of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenKey(VectorKey);

impl TokenKey {
    /// The key of an object's tokens in a space.
    pub(crate) fn new(object: &ObjectKey, space: SpaceId) -> Self {
        Self(VectorKey::new(object, space))
    }
}

impl Key for TokenKey {
    const TABLE: Table = Table::Tokens;

    fn encode(&self) -> Vec<u8> {
        self.0.encode()
    }

    fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        VectorKey::decode(bytes).map(Self)
    }
}

/// An object's id: `collection u32 | 0 | number` (sign bit flipped) or `collection u32 | 1 | text`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdKey {
    pub(crate) collection: CollectionId,
    pub(crate) id: ObjectId,
}

/// Flipping the sign bit makes the unsigned order of the bytes the signed order of the numbers.
const SIGN: u64 = 1 << 63;
const ID_NUMBER: u8 = 0;
const ID_TEXT: u8 = 1;

impl IdKey {
    /// The bytes of the key of a borrowed id.
    pub(crate) fn encode_parts(collection: CollectionId, id: &ObjectId) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16);
        Self::append(&mut bytes, collection, IdRef::from(id));
        bytes
    }

    /// Appends the bytes of the key of a borrowed id.
    pub(crate) fn append(bytes: &mut Vec<u8>, collection: CollectionId, id: IdRef<'_>) {
        bytes.extend_from_slice(&collection.0.to_be_bytes());
        match id {
            IdRef::Number(number) => {
                bytes.push(ID_NUMBER);
                bytes.extend_from_slice(&(number.cast_unsigned() ^ SIGN).to_be_bytes());
            }
            IdRef::Text(text) => {
                bytes.push(ID_TEXT);
                bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
}

impl Key for IdKey {
    const TABLE: Table = Table::Ids;

    fn encode(&self) -> Vec<u8> {
        Self::encode_parts(self.collection, &self.id)
    }

    fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let mut parts = Parts::new("object id key", bytes);
        let collection = CollectionId(parts.u32()?);
        let id = match parts.u8()? {
            ID_NUMBER => ObjectId::Number((parts.u64()? ^ SIGN).cast_signed()),
            ID_TEXT => ObjectId::Text(parts.text()?),
            tag => {
                return Err(StorageError::corrupt("object id key", format!("unknown tag {tag}")));
            }
        };
        parts.end()?;
        Ok(Self { collection, id })
    }
}

/// A part of the list of changes of one commit: `collection u32 | version u64 | part u32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChangeKey {
    pub(crate) collection: CollectionId,
    pub(crate) version: u64,
    pub(crate) part: u32,
}

impl Key for ChangeKey {
    const TABLE: Table = Table::Changes;

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16);
        bytes.extend_from_slice(&self.collection.0.to_be_bytes());
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&self.part.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let mut parts = Parts::new("change key", bytes);
        let key = Self {
            collection: CollectionId(parts.u32()?),
            version: parts.u64()?,
            part: parts.u32()?,
        };
        parts.end()?;
        Ok(key)
    }
}

/// Where a record of a collection that the store does not read is kept: `collection u32 | name`, folded to lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NameKey {
    pub(crate) collection: CollectionId,
    pub(crate) name: String,
}

impl NameKey {
    /// The key of a name, which is found without regard to case.
    pub(crate) fn new(collection: CollectionId, name: &str) -> Self {
        Self { collection, name: name.to_lowercase() }
    }

    /// The bytes of the key; several tables have such keys.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.collection.0.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    /// The name in the bytes of such a key, in lower case.
    pub(crate) fn name_in(bytes: &[u8]) -> Result<String, StorageError> {
        let mut parts = Parts::new("record key", bytes);
        parts.u32()?;
        let name = parts.text()?;
        parts.end()?;
        Ok(name)
    }
}

/// Where a record of the server is kept: `kind u8 | name`, the name as it was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerKey {
    pub(crate) kind: u8,
    pub(crate) name: String,
}

impl Key for ServerKey {
    const TABLE: Table = Table::Access;

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind];
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let mut parts = Parts::new("server record key", bytes);
        let key = Self { kind: parts.u8()?, name: parts.text()? };
        parts.end()?;
        Ok(key)
    }
}

/// A record of the store itself: one tag byte, then a big-endian number where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MetaKey {
    /// Number of the on-disk format.
    Format,
    /// Number of the next collection.
    NextCollection,
    /// Schema of a collection.
    Collection(CollectionId),
    /// Version and counts of a collection.
    Head(CollectionId),
    /// A bulk import that has begun.
    Intent(u64),
}

const META_FORMAT: u8 = 1;
const META_NEXT_COLLECTION: u8 = 2;
const META_COLLECTION: u8 = 3;
const META_HEAD: u8 = 4;
const META_INTENT: u8 = 5;

impl Key for MetaKey {
    const TABLE: Table = Table::Meta;

    fn encode(&self) -> Vec<u8> {
        let (tag, number) = match self {
            Self::Format => (META_FORMAT, None),
            Self::NextCollection => (META_NEXT_COLLECTION, None),
            Self::Collection(id) => (META_COLLECTION, Some(id.0.to_be_bytes().to_vec())),
            Self::Head(id) => (META_HEAD, Some(id.0.to_be_bytes().to_vec())),
            Self::Intent(number) => (META_INTENT, Some(number.to_be_bytes().to_vec())),
        };
        let mut bytes = vec![tag];
        bytes.extend(number.unwrap_or_default());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let mut parts = Parts::new("meta key", bytes);
        let key = match parts.u8()? {
            META_FORMAT => Self::Format,
            META_NEXT_COLLECTION => Self::NextCollection,
            META_COLLECTION => Self::Collection(CollectionId(parts.u32()?)),
            META_HEAD => Self::Head(CollectionId(parts.u32()?)),
            META_INTENT => Self::Intent(parts.u64()?),
            tag => return Err(StorageError::corrupt("meta key", format!("unknown tag {tag}"))),
        };
        parts.end()?;
        Ok(key)
    }
}

/// A half-open range of keys of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) table: Table,
    pub(crate) start: Vec<u8>,
    pub(crate) end: Vec<u8>,
}

impl KeyRange {
    /// From one key up to, not including, another.
    pub(crate) fn between<K: Key>(start: &K, end: &K) -> Self {
        Self { table: K::TABLE, start: start.encode(), end: end.encode() }
    }

    /// The objects of a half-open range of cells.
    pub(crate) fn objects(collection: CollectionId, cells: &Range<u64>) -> Self {
        let at = |cell| ObjectKey { collection, cell: Cell29(cell), ordinal: 0 };
        Self::between(&at(cells.start), &at(cells.end))
    }

    /// The vectors of one space in a half-open range of cells.
    pub(crate) fn vectors(collection: CollectionId, space: SpaceId, cells: &Range<u64>) -> Self {
        let at = |cell| VectorKey { collection, space, cell: Cell29(cell), ordinal: 0 };
        Self::between(&at(cells.start), &at(cells.end))
    }

    /// The changes of a half-open range of versions.
    pub(crate) fn changes(collection: CollectionId, versions: &Range<u64>) -> Self {
        let at = |version| ChangeKey { collection, version, part: 0 };
        Self::between(&at(versions.start), &at(versions.end))
    }

    /// Everything of a collection in one of the tables whose keys begin with its number.
    pub(crate) fn collection(table: Table, collection: CollectionId) -> Self {
        // The last number is never given to a collection, so the successor exists.
        let next = collection.0.saturating_add(1);
        Self { table, start: collection.0.to_be_bytes().to_vec(), end: next.to_be_bytes().to_vec() }
    }

    /// All records of the server of one kind.
    pub(crate) fn server_records(kind: u8) -> Self {
        // Kinds are few: the last byte is never one.
        Self { table: Table::Access, start: vec![kind], end: vec![kind.saturating_add(1)] }
    }

    /// A whole table.
    pub(crate) fn table(table: Table) -> Self {
        // No key is as long as this and nothing but ones: numbers of collections end before, and so do tags.
        Self { table, start: Vec::new(), end: vec![u8::MAX; 8] }
    }

    /// The schemas of all collections.
    pub(crate) fn all_collections() -> Self {
        Self { table: Table::Meta, start: vec![META_COLLECTION], end: vec![META_HEAD] }
    }

    /// All unfinished bulk imports.
    pub(crate) fn all_intents() -> Self {
        Self { table: Table::Meta, start: vec![META_INTENT], end: vec![META_INTENT + 1] }
    }
}

/// Takes the bytes of a key apart.
struct Parts<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StorageError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| StorageError::corrupt(self.what, "too short"))?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, StorageError> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, StorageError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, StorageError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<String, StorageError> {
        let text = std::str::from_utf8(self.rest)
            .map_err(|error| StorageError::corrupt(self.what, error.to_string()))?;
        self.rest = &[];
        Ok(text.to_owned())
    }

    fn end(&self) -> Result<(), StorageError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(StorageError::corrupt(self.what, format!("{} bytes too many", self.rest.len())))
        }
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
