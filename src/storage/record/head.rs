//! Records that every commit writes: the head of a collection, its list of changes, and the intent of a bulk import.

use std::collections::BTreeMap;

use super::bytes::{Reader, Writer};
use crate::schema::{CollectionId, SpaceId};
use crate::sky::Cell29;
use crate::storage::error::StorageError;
use crate::storage::key::ObjectKey;
use crate::storage::operation::{Change, ChangeKind};
use crate::storage::table::Table;

const HEAD: &str = "collection head";
const HEAD_VERSION: u8 = 1;

/// Version and exact counts of a collection; rewritten in the same batch as every commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Head {
    /// Commits so far.
    pub(crate) version: u64,
    /// Changes up to and including this version have been trimmed away.
    pub(crate) trimmed_to: u64,
    /// Objects.
    pub(crate) object_count: u64,
    /// Vectors, or sequences of tokens, of each space that has any.
    pub(crate) vector_counts: BTreeMap<SpaceId, u64>,
}

impl Head {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.write(&mut out);
        out.finish()
    }

    fn write(&self, out: &mut Writer) {
        out.u8(HEAD_VERSION);
        out.varint(self.version);
        out.varint(self.trimmed_to);
        out.varint(self.object_count);
        out.varint(self.vector_counts.len() as u64);
        for (space, count) in &self.vector_counts {
            out.varint(u64::from(space.0));
            out.varint(*count);
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let mut rest = Reader::new(HEAD, bytes);
        let head = Self::read(&mut rest)?;
        rest.end()?;
        Ok(head)
    }

    fn read(rest: &mut Reader<'_>) -> Result<Self, StorageError> {
        rest.version(HEAD_VERSION)?;
        let version = rest.varint()?;
        let trimmed_to = rest.varint()?;
        let object_count = rest.varint()?;
        let count = rest.count(2)?;
        let mut vector_counts = BTreeMap::new();
        for _ in 0..count {
            vector_counts.insert(SpaceId(rest.varint_u32()?), rest.varint()?);
        }
        Ok(Self { version, trimmed_to, object_count, vector_counts })
    }
}

const CHANGES: &str = "list of changes";
const CHANGES_VERSION: u8 = 1;
const CHANGE_DELETE: u8 = 0;
const CHANGE_PUT: u8 = 1;
const CHANGE_TOKENS: u8 = 2;

/// The bytes of a list of changes in the order of their keys: cells as differences.
pub(crate) fn encode_changes(changes: &[Change]) -> Vec<u8> {
    debug_assert!(changes.is_sorted_by(|a, b| a.key < b.key), "changes are sorted by key");
    let mut out = Writer::with_capacity(8 + 10 * changes.len());
    out.u8(CHANGES_VERSION);
    out.varint(changes.len() as u64);
    let mut before = 0_u64;
    for change in changes {
        let cell = change.key.cell.0;
        out.varint(cell.wrapping_sub(before));
        before = cell;
        out.raw(&change.key.ordinal.to_le_bytes());
        out.u8(match change.kind {
            ChangeKind::Put => CHANGE_PUT,
            ChangeKind::Tokens => CHANGE_TOKENS,
            ChangeKind::Delete => CHANGE_DELETE,
        });
    }
    out.finish()
}

/// Reads a list of changes of `collection` back.
pub(crate) fn decode_changes(
    collection: CollectionId,
    bytes: &[u8],
) -> Result<Vec<Change>, StorageError> {
    let mut rest = Reader::new(CHANGES, bytes);
    rest.version(CHANGES_VERSION)?;
    let count = rest.count(6)?;
    let mut changes = Vec::with_capacity(count);
    let mut cell = 0_u64;
    for _ in 0..count {
        cell = cell.checked_add(rest.varint()?).ok_or_else(|| rest.fail("cells run over"))?;
        let ordinal = u32::from_le_bytes(rest.array()?);
        let kind = match rest.u8()? {
            CHANGE_PUT => ChangeKind::Put,
            CHANGE_TOKENS => ChangeKind::Tokens,
            CHANGE_DELETE => ChangeKind::Delete,
            tag => return Err(rest.fail(format!("unknown change tag {tag}"))),
        };
        changes.push(Change { key: ObjectKey { collection, cell: Cell29(cell), ordinal }, kind });
    }
    rest.end()?;
    Ok(changes)
}

const INTENT: &str = "bulk import intent";
const INTENT_VERSION: u8 = 1;

/// A file of sorted rows that waits to be taken into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StagedFile {
    /// The table.
    pub(crate) table: Table,
    /// Name of the file in its staging folder.
    pub(crate) name: String,
}

/// A bulk import that has begun: enough to finish it after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    /// Where it goes.
    pub(crate) collection: CollectionId,
    /// Version of the collection when it was planned.
    pub(crate) base_version: u64,
    /// The head of the collection once it is done.
    pub(crate) head: Head,
    /// The staged files, in the order in which they are taken in.
    pub(crate) files: Vec<StagedFile>,
}

impl Intent {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(INTENT_VERSION);
        out.varint(u64::from(self.collection.0));
        out.varint(self.base_version);
        self.head.write(&mut out);
        out.varint(self.files.len() as u64);
        for file in &self.files {
            out.sized(file.table.name().as_bytes());
            out.sized(file.name.as_bytes());
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let mut rest = Reader::new(INTENT, bytes);
        rest.version(INTENT_VERSION)?;
        let collection = CollectionId(rest.varint_u32()?);
        let base_version = rest.varint()?;
        let head = Head::read(&mut rest)?;
        let count = rest.count(2)?;
        let mut files = Vec::with_capacity(count);
        for _ in 0..count {
            let table = rest.text()?;
            let table = Table::from_name(&table)
                .ok_or_else(|| rest.fail(format!("unknown table `{table}`")))?;
            let name = rest.text()?;
            // The name becomes part of a path: nothing but the store's own names passes.
            if !name.chars().all(|each| each.is_ascii_alphanumeric() || matches!(each, '-' | '.'))
                || name.starts_with('.')
            {
                return Err(rest.fail(format!("`{name}` is not a staged file's name")));
            }
            files.push(StagedFile { table, name });
        }
        rest.end()?;
        Ok(Self { collection, base_version, head, files })
    }
}
