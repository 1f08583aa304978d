//! Copying what one view shows of a collection into a collection of its own.
//!
//! Values are taken over as they are: a row does not say which collection it belongs to, only its key does. Everything goes
//! through sorted files in one bulk commit, so that the copy is there whole or not at all, and needs no memory for its rows.

use std::sync::Arc;

use super::engine::{Batch, Patience, Sink, SortedSource};
use super::error::StorageError;
use super::key::{KeyRange, MetaKey};
use super::read::Snapshot;
use super::record::{CollectionMeta, Head, encode_number};
use super::slot::Slot;
use super::store::{CollectionRecord, Store};
use super::table::Table;
use crate::schema::{CollectionId, CollectionSchema};

/// What a copy consists of; the log of changes, sessions, and releases stay behind.
const COPIED: [Table; 6] =
    [Table::Objects, Table::Vectors, Table::Tokens, Table::Ids, Table::Probes, Table::Bridges];

/// Rows between two tellings of the progress.
const TOLD_EVERY: u64 = 4_096;

/// One table of a collection as a view shows it, under the number of another collection.
struct Renumbered<'a> {
    snapshot: &'a Snapshot<'a>,
    table: Table,
    to: CollectionId,
    told: &'a (dyn Fn(u64) -> bool + Sync),
}

impl SortedSource for Renumbered<'_> {
    fn table(&self) -> Table {
        self.table
    }

    fn visit(&self, sink: &mut Sink<'_>) -> Result<(), StorageError> {
        let range = KeyRange::collection(self.table, self.snapshot.record.id);
        let mut cursor = self.snapshot.view.cursor(range)?;
        let mut key = Vec::new();
        let mut rows = 0;
        while let Some((found, value)) = cursor.advance()? {
            let behind = found
                .get(size_of::<u32>()..)
                .ok_or_else(|| StorageError::corrupt("key", "shorter than a collection number"))?;
            key.clear();
            key.extend_from_slice(&self.to.0.to_be_bytes());
            key.extend_from_slice(behind);
            sink(&key, Some(value))?;
            rows += 1;
            if rows == TOLD_EVERY {
                if !(self.told)(rows) {
                    return Err(StorageError::Stopped);
                }
                rows = 0;
            }
        }
        if (self.told)(rows) { Ok(()) } else { Err(StorageError::Stopped) }
    }
}

impl Store {
    /// Makes a collection of `schema`, whose spaces keep their numbers, and copies objects, vectors, tokens, probes and
    /// bridges of a view into it, in one commit. `told` is called with rows as they are copied, of all tables together and
    /// from several threads; the copy ends when it says false.
    ///
    /// # Errors
    /// As [`Store::create_collection`], [`StorageError::Stopped`], and those of the disk; the new collection may then be there and empty.
    pub fn copy_collection(
        &self,
        snapshot: &Snapshot<'_>,
        schema: CollectionSchema,
        told: &(dyn Fn(u64) -> bool + Sync),
    ) -> Result<CollectionRecord, StorageError> {
        let made = self.create_numbered(schema)?;
        let slot = self.slot(made.id)?;
        let turn = slot.turn();
        let source = snapshot.record();
        let head = Head {
            version: 1,
            // Nobody can ask what the one commit changed.
            trimmed_to: 1,
            object_count: source.object_count,
            vector_counts: source
                .vector_counts
                .iter()
                .copied()
                .filter(|(_, count)| *count > 0)
                .collect(),
        };
        let sources: Vec<Renumbered<'_>> = COPIED
            .into_iter()
            .map(|table| Renumbered { snapshot, table, to: made.id, told })
            .collect();
        let sources: Vec<&dyn SortedSource> =
            sources.iter().map(|source| source as &dyn SortedSource).collect();
        self.commit_sources(&slot, head, &sources)?;
        drop(turn);
        self.collection(made.id)?.ok_or(StorageError::UnknownCollection { collection: made.id })
    }

    /// Rows of all tables that [`Store::copy_collection`] copies: objects and ids, vectors and tokens; probes and bridges
    /// are too few to be counted.
    pub fn copied_rows(record: &CollectionRecord) -> u64 {
        let in_spaces: u64 = record.vector_counts.iter().map(|(_, count)| count).sum();
        2 * record.object_count + in_spaces
    }

    /// Makes an empty collection whose spaces keep the numbers that they have.
    fn create_numbered(&self, schema: CollectionSchema) -> Result<CollectionRecord, StorageError> {
        schema.validate()?;
        let _catalogue = self.lock_catalogue();
        if self.name_taken(&schema.name) {
            return Err(StorageError::CollectionExists { name: schema.name });
        }
        let id = self.next_collection()?;
        let last_space = schema.spaces.iter().map(|space| space.id.0).max().unwrap_or(0);
        let next_space = last_space.saturating_add(1);
        self.add_collection(CollectionMeta { id, next_space, schema: Arc::new(schema) })
    }

    /// Writes an empty collection of the next number into the catalogue; the caller holds the lock of it.
    pub(super) fn add_collection(
        &self,
        meta: CollectionMeta,
    ) -> Result<CollectionRecord, StorageError> {
        let head = Head::default();
        let mut batch = Batch::default();
        batch.put(&MetaKey::NextCollection, encode_number(meta.id.0 + 1));
        batch.put(&MetaKey::Collection(meta.id), meta.encode()?);
        batch.put(&MetaKey::Head(meta.id), head.encode());
        self.engine.commit(&batch, Patience::Long)?;
        let record = super::store::record(&meta, &head);
        self.enter(Arc::new(Slot::new(meta)));
        Ok(record)
    }
}
