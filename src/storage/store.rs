//! The store: opening, and the list of collections.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::bulk::Probe;
use super::directory::{DataDirectory, holds_database};
use super::engine::{Batch, KvEngine, KvView, Patience};
use super::error::StorageError;
use super::key::{KeyRange, MetaKey};
use super::memory::MemoryEngine;
use super::migrate::{NEWEST_FORMAT, migrate};
use super::record::{CollectionMeta, Head, decode_number};
use super::rocks::RocksEngine;
use super::server_record::ServerRecordKind;
use super::slot::{Slot, State};
use super::table::Table;
use crate::schema::{
    AtIngest, CollectionId, CollectionSchema, Column, EmbeddingSpace, SchemaError, SpaceId,
};

/// How much memory and how many threads the store may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Cache of blocks read from the disk, in bytes.
    pub cache_bytes: usize,
    /// Write buffer of the largest tables, in bytes; all buffers together take twice as much.
    pub write_buffer_bytes: usize,
    /// Threads that flush and compact.
    pub background_jobs: usize,
    /// Bulk writes below this many bytes are logged like any other write: a file each would cost more.
    pub bulk_bytes_min: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 512 << 20,
            write_buffer_bytes: 64 << 20,
            background_jobs: 4,
            bulk_bytes_min: 4 << 20,
        }
    }
}

/// A collection as one view of the store shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionRecord {
    /// Its number.
    pub id: CollectionId,
    /// Names, columns and spaces.
    pub schema: Arc<CollectionSchema>,
    /// Commits so far.
    pub version: u64,
    /// Objects, exact.
    pub object_count: u64,
    /// Vectors of every space, exact, in the order of the schema.
    pub vector_counts: Vec<(SpaceId, u64)>,
}

/// The record of truth of one node.
///
/// Commits of one collection happen one after the other; reads never wait for them. Shared between threads by
/// reference.
pub struct Store {
    pub(super) engine: Arc<dyn KvEngine>,
    pub(super) options: StoreOptions,
    collections: RwLock<BTreeMap<CollectionId, Arc<Slot>>>,
    /// Held while the list of collections changes.
    catalogue: Mutex<()>,
    pub(super) next_stage: AtomicU64,
    /// Set by tests of interrupted imports only.
    pub(super) probe: Option<Probe>,
    /// Unlocked after the engine is closed: fields are dropped in order.
    pub(super) directory: Option<Arc<DataDirectory>>,
}

impl Store {
    /// Opens a data directory, or makes a new one; takes it for this process alone.
    ///
    /// Reads the list of collections but none of their rows. Bulk imports that a crash interrupted are finished or
    /// removed.
    ///
    /// # Errors
    /// [`StorageError::NewerFormat`], [`StorageError::Locked`], [`StorageError::Foreign`],
    /// [`StorageError::NotADirectory`], [`StorageError::Unwritable`], [`StorageError::Corrupt`] and those of the disk.
    pub fn open(directory: &Path, options: StoreOptions) -> Result<Self, StorageError> {
        let directory = DataDirectory::open(directory, NEWEST_FORMAT)?;
        // Announced before the database is made: an empty directory of ours is not a foreign one, and a new one gets every table.
        let is_new = !holds_database(directory.path())?;
        directory.raise_format(if is_new { NEWEST_FORMAT } else { 1 })?;
        let engine = RocksEngine::open(directory.path(), &options)?;
        migrate(&engine, |format| directory.raise_format(format))?;
        Self::over(Arc::new(engine), options, Some(directory))
    }

    /// Makes an empty store that lives in memory only.
    ///
    /// # Errors
    /// Those of the first migration.
    pub fn in_memory(options: StoreOptions) -> Result<Self, StorageError> {
        let engine = MemoryEngine::default();
        migrate(&engine, |_| Ok(()))?;
        Self::over(Arc::new(engine), options, None)
    }

    fn over(
        engine: Arc<dyn KvEngine>,
        options: StoreOptions,
        directory: Option<DataDirectory>,
    ) -> Result<Self, StorageError> {
        let store = Self {
            engine,
            options,
            collections: RwLock::default(),
            catalogue: Mutex::new(()),
            next_stage: AtomicU64::new(1),
            probe: None,
            directory: directory.map(Arc::new),
        };
        store.recover()?;
        let slots = store.read_catalogue()?;
        *store.collections.write().unwrap_or_else(PoisonError::into_inner) = slots;
        Ok(store)
    }

    fn read_catalogue(&self) -> Result<BTreeMap<CollectionId, Arc<Slot>>, StorageError> {
        let view = self.engine.view();
        let mut cursor = view.cursor(KeyRange::all_collections())?;
        let mut slots = BTreeMap::new();
        while let Some((_, bytes)) = cursor.advance()? {
            let meta = CollectionMeta::decode(bytes)?;
            slots.insert(meta.id, Arc::new(Slot::new(meta)));
        }
        Ok(slots)
    }

    /// Lists the collections by number.
    pub fn collections(&self) -> Result<Vec<CollectionRecord>, StorageError> {
        let slots = self.slots();
        let mut records = Vec::with_capacity(slots.len());
        for slot in slots {
            match self.snapshot_of(&slot) {
                Ok(snapshot) => records.push(snapshot.record().clone()),
                // Dropped since the list was copied.
                Err(StorageError::UnknownCollection { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(records)
    }

    /// Returns a collection, or `None` when there is none of this number.
    pub fn collection(&self, id: CollectionId) -> Result<Option<CollectionRecord>, StorageError> {
        match self.snapshot(id) {
            Ok(snapshot) => Ok(Some(snapshot.record().clone())),
            Err(StorageError::UnknownCollection { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a collection. Numbers of the collection and of its spaces are assigned here and never used again.
    ///
    /// # Errors
    /// [`StorageError::CollectionExists`] when the name is taken, compared without regard to case;
    /// [`StorageError::Schema`].
    pub fn create_collection(
        &self,
        mut schema: CollectionSchema,
    ) -> Result<CollectionRecord, StorageError> {
        schema.validate()?;
        let _catalogue = self.lock_catalogue();
        if self.name_taken(&schema.name) {
            return Err(StorageError::CollectionExists { name: schema.name });
        }
        let id = self.next_collection()?;
        let mut next_space = 1;
        for space in &mut schema.spaces {
            space.id = SpaceId(next_space);
            next_space += 1;
        }
        self.add_collection(CollectionMeta { id, next_space, schema: Arc::new(schema) })
    }

    /// The collections, by number.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        collections.values().cloned().collect()
    }

    /// Held while the list of collections changes.
    pub(super) fn lock_catalogue(&self) -> MutexGuard<'_, ()> {
        self.catalogue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number that the next collection gets. The caller holds the lock of the catalogue.
    pub(super) fn next_collection(&self) -> Result<CollectionId, StorageError> {
        let number = match self.engine.view().fetch(&MetaKey::NextCollection)? {
            Some(bytes) => decode_number("number of the next collection", &bytes)?,
            None => 1,
        };
        // The last number stays unused: the end of a collection's keys is the next number.
        if number >= u32::MAX - 1 {
            return Err(StorageError::NumbersUsedUp { what: "collection" });
        }
        Ok(CollectionId(number))
    }

    /// Takes a collection into the list.
    pub(super) fn enter(&self, slot: Arc<Slot>) {
        self.collections.write().unwrap_or_else(PoisonError::into_inner).insert(slot.id, slot);
    }

    pub(super) fn name_taken(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        collections.values().any(|slot| slot.open().meta.schema.name.to_lowercase() == name)
    }

    /// Adds an embedding space; its number is assigned here and never used again.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`]; [`StorageError::Schema`] when the space is refused or its name taken.
    pub fn add_space(
        &self,
        collection: CollectionId,
        space: EmbeddingSpace,
    ) -> Result<CollectionRecord, StorageError> {
        self.add_spaces(collection, vec![space], Vec::new())
    }

    /// Adds embedding spaces, and declares what others share, in one commit.
    ///
    /// # Errors
    /// As [`Store::add_space`]; [`StorageError::Schema`] for spaces that are not there or cannot share one.
    pub fn add_spaces(
        &self,
        collection: CollectionId,
        spaces: Vec<EmbeddingSpace>,
        shares: Vec<(SpaceId, String)>,
    ) -> Result<CollectionRecord, StorageError> {
        self.alter(collection, |meta| {
            let schema = Arc::make_mut(&mut meta.schema);
            for mut space in spaces {
                if meta.next_space == u32::MAX {
                    return Err(StorageError::NumbersUsedUp { what: "embedding space" });
                }
                space.id = SpaceId(meta.next_space);
                meta.next_space += 1;
                schema.spaces.push(space);
            }
            for (space, shared) in shares {
                let found = schema.spaces.iter_mut().find(|each| each.id == space);
                found.ok_or(SchemaError::UnknownSpace { space })?.shared = Some(shared);
            }
            Ok(())
        })
    }

    /// Adds a column behind the others, in which every object has null. No row is written for it.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`]; [`StorageError::Schema`] when the column is refused or its name taken.
    pub fn add_column(
        &self,
        collection: CollectionId,
        column: Column,
    ) -> Result<CollectionRecord, StorageError> {
        self.alter(collection, |meta| {
            Arc::make_mut(&mut meta.schema).columns.push(column);
            Ok(())
        })
    }

    /// Has a space filled as objects arrive, or no more.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`]; [`StorageError::Schema`] when there is no such space, or it cannot be filled so.
    pub fn set_at_ingest(
        &self,
        collection: CollectionId,
        space: SpaceId,
        at_ingest: Option<AtIngest>,
    ) -> Result<CollectionRecord, StorageError> {
        self.alter(collection, |meta| {
            let mut spaces = Arc::make_mut(&mut meta.schema).spaces.iter_mut();
            let found = spaces.find(|each| each.id == space);
            found.ok_or(SchemaError::UnknownSpace { space })?.at_ingest = at_ingest;
            Ok(())
        })
    }

    /// Changes the schema of a collection in one commit, if what comes out is valid.
    fn alter(
        &self,
        collection: CollectionId,
        change: impl FnOnce(&mut CollectionMeta) -> Result<(), StorageError>,
    ) -> Result<CollectionRecord, StorageError> {
        let slot = self.slot(collection)?;
        let _turn = slot.turn();
        self.make_whole(&slot, Patience::Short)?;
        let mut meta = slot.meta()?;
        change(&mut meta)?;
        meta.schema.validate()?;
        let head = head(&*self.engine.view(), collection)?;
        let mut batch = Batch::default();
        batch.put(&MetaKey::Collection(collection), meta.encode()?);
        let mut gate = slot.close();
        self.engine.commit(&batch, Patience::Short)?;
        let record = record(&meta, &head);
        gate.meta = meta;
        Ok(record)
    }

    /// Removes a collection with all that it holds, in one commit. Snapshots made before still see it.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`].
    pub fn drop_collection(&self, collection: CollectionId) -> Result<(), StorageError> {
        self.drop_with_records(collection, &[])
    }

    /// Removes records of the server in the commit that drops a collection: there are all of them, or none. Those that are not
    /// there need not be.
    ///
    /// # Errors
    /// As [`Store::drop_collection`].
    pub fn drop_with_records(
        &self,
        collection: CollectionId,
        records: &[(ServerRecordKind, String)],
    ) -> Result<(), StorageError> {
        let _catalogue = self.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = self.slot(collection)?;
        let _turn = slot.turn();
        self.make_whole(&slot, Patience::Short)?;
        let mut batch = Batch::default();
        batch.delete(&MetaKey::Collection(collection));
        batch.delete(&MetaKey::Head(collection));
        for table in Table::ALL.into_iter().filter(|table| table.is_per_collection()) {
            batch.delete_range(KeyRange::collection(table, collection));
        }
        for (kind, name) in records {
            batch.delete(&kind.key(name));
        }
        let mut gate = slot.close();
        self.engine.commit(&batch, Patience::Short)?;
        gate.state = State::Dropped;
        drop(gate);
        self.collections.write().unwrap_or_else(PoisonError::into_inner).remove(&collection);
        Ok(())
    }

    pub(super) fn slot(&self, collection: CollectionId) -> Result<Arc<Slot>, StorageError> {
        let collections = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        collections.get(&collection).cloned().ok_or(StorageError::UnknownCollection { collection })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What a head and a schema say of a collection.
pub(super) fn record(meta: &CollectionMeta, head: &Head) -> CollectionRecord {
    let count = |space: &EmbeddingSpace| head.vector_counts.get(&space.id).copied().unwrap_or(0);
    CollectionRecord {
        id: meta.id,
        schema: Arc::clone(&meta.schema),
        version: head.version,
        object_count: head.object_count,
        vector_counts: meta.schema.spaces.iter().map(|space| (space.id, count(space))).collect(),
    }
}

/// Version and counts of a collection in a view.
pub(super) fn head(view: &dyn KvView, collection: CollectionId) -> Result<Head, StorageError> {
    match view.fetch(&MetaKey::Head(collection))? {
        Some(bytes) => Head::decode(&bytes),
        None => Err(StorageError::corrupt(
            "collection head",
            format!("collection number {} has none", collection.0),
        )),
    }
}
