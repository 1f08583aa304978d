//! The database handle.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::collection::{Collection, StagedBlocks, TailMemory};
use super::derived::DerivedCache;
use super::error::EngineError;
use super::memory::half_of_memory;
use super::release::{Dropping, UnderWay};
use super::residency::Residency;
use super::segment::{BuildLimits, Progress};
use super::standing::Standing;
use super::status::{CollectionInfo, IndexStatus};
use super::write::{Write, WriteMode, WriteReport};
use crate::files::ObjectBlock;
use crate::schema::{CollectionId, CollectionSchema, Object, ObjectId, SpaceId, check_name};
use crate::storage::{CollectionRecord, ServerRecordKind, Store, StoreOptions};
use crate::wire::v1::TokenSequence;

/// Time between two looks at a build in the background.
const BUILD_POLL: Duration = Duration::from_millis(100);

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct DbOptions {
    /// Data directory; made when it does not exist.
    pub data: PathBuf,
    /// Options of the store.
    pub store: StoreOptions,
    /// Threads that an index build may use.
    pub build_threads: usize,
    /// Tail rows, beside a quarter of the segment's, that start a build in the background; `None` for never.
    pub auto_index_rows: Option<u64>,
    /// Memory that full vectors of segments may occupy, in bytes; those of a segment that does not fit are read from the disk
    /// as they are needed. `None` for half of what this process may have.
    pub resident_bytes: Option<u64>,
    /// Memory that building an index may take beside the vectors, in bytes; `None` for no limit. A space that needs more is
    /// not indexed.
    pub build_memory_bytes: Option<u64>,
    /// Memory that values of derived columns may occupy, in bytes; what does not fit is computed again when it is asked for.
    /// `None` for a sixteenth of what this process may have.
    pub derived_bytes: Option<u64>,
    /// Whether rows of imports stay in memory until they are indexed, for searches that come before. Where only their keys do,
    /// the first search has the whole tail read from the store, as after a start.
    pub keep_imports: bool,
    /// Memory that vectors of rows outside the index may occupy when they are read back from the store, in bytes; where they need
    /// more, the index is built before anything is answered. `None` for half of what this process may have.
    pub tail_bytes: Option<u64>,
}

impl DbOptions {
    /// Options for a data directory, with the defaults of the reference configuration.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            store: StoreOptions::default(),
            build_threads: std::thread::available_parallelism().map_or(1, usize::from),
            auto_index_rows: Some(50_000),
            resident_bytes: None,
            build_memory_bytes: None,
            derived_bytes: None,
            keep_imports: true,
            tail_bytes: None,
        }
    }
}

/// A database: collections in one data directory. Cheap to clone; every clone is the same database.
#[derive(Debug, Clone)]
pub struct Db {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: DbOptions,
    pub(super) store: Arc<Store>,
    residency: Residency,
    pub(super) derived: Arc<DerivedCache>,
    collections: RwLock<HashMap<String, Arc<Collection>>>,
    /// Releases that are being made or withdrawn, and collections that are being dropped.
    releasing: Mutex<UnderWay>,
}

impl Db {
    /// Opens or makes the database of a data directory.
    ///
    /// # Errors
    /// When the directory is locked by another process, of a newer format, or not usable.
    ///
    /// # Complexity
    /// Independent of the number of objects.
    pub fn open(options: DbOptions) -> Result<Self, EngineError> {
        let store = Arc::new(Store::open(&options.data, options.store.clone())?);
        let residency = Residency::new(options.resident_bytes.unwrap_or_else(half_of_memory));
        let derived_bytes = options.derived_bytes.unwrap_or_else(|| half_of_memory() / 8);
        let derived = Arc::new(DerivedCache::new(derived_bytes));
        let collections = RwLock::new(HashMap::new());
        let releasing = Mutex::default();
        let inner = Inner { options, store, residency, derived, collections, releasing };
        let db = Self { inner: Arc::new(inner) };
        let records = db.inner.store.collections()?;
        db.remove_strays(&records);
        db.remove_frozen();
        for record in &db.sort_releases(&records)? {
            let collection = db.register(record);
            if let Some(rows) = db.inner.options.auto_index_rows
                && collection.has_unfinished_build()
            {
                collection.build_when_opportune(rows);
            }
        }
        Ok(db)
    }

    /// Removes the segments of collections that were dropped while a build ran or just before a crash.
    fn remove_strays(&self, records: &[CollectionRecord]) {
        let Ok(entries) = std::fs::read_dir(self.inner.options.data.join("segments")) else {
            return;
        };
        let known: Vec<String> =
            records.iter().map(|record| format!("{:08}", record.id.0)).collect();
        for entry in entries.flatten() {
            if !known.iter().any(|name| entry.file_name() == name.as_str())
                && let Err(error) = std::fs::remove_dir_all(entry.path())
            {
                tracing::warn!(path = %entry.path().display(), %error, "stray segments not removed");
            }
        }
    }

    fn register(&self, record: &CollectionRecord) -> Arc<Collection> {
        let collection = self.prepare(record);
        self.enter(Arc::clone(&collection));
        collection
    }

    /// Folder of a collection's segments.
    fn segments_of(&self, id: CollectionId) -> PathBuf {
        self.inner.options.data.join("segments").join(format!("{:08}", id.0))
    }

    pub(super) fn remove_segments(&self, id: CollectionId) {
        let folder = self.segments_of(id);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %folder.display(), %error, "segments not removed");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// A collection at work that nobody finds yet.
    pub(super) fn prepare(&self, record: &CollectionRecord) -> Arc<Collection> {
        let folder = self.segments_of(record.id);
        let store = Arc::clone(&self.inner.store);
        let limits = BuildLimits {
            threads: self.inner.options.build_threads,
            memory_bytes_max: self.inner.options.build_memory_bytes.unwrap_or(u64::MAX),
        };
        let residency = self.inner.residency.clone();
        let tail = TailMemory {
            keeps_imports: self.inner.options.keep_imports,
            bytes_max: self.inner.options.tail_bytes.unwrap_or_else(half_of_memory),
        };
        Arc::new(Collection::new(record, folder, store, limits, residency, tail))
    }

    /// Has a collection found by its name.
    pub(super) fn enter(&self, collection: Arc<Collection>) {
        let mut collections =
            self.inner.collections.write().unwrap_or_else(PoisonError::into_inner);
        collections.insert(fold(collection.name()), collection);
    }

    /// Has a collection found no more.
    pub(super) fn leave(&self, name: &str) {
        self.inner.collections.write().unwrap_or_else(PoisonError::into_inner).remove(&fold(name));
    }

    pub(super) fn open_collections(&self) -> Vec<Arc<Collection>> {
        let map = self.inner.collections.read().unwrap_or_else(PoisonError::into_inner);
        map.values().map(Arc::clone).collect()
    }

    pub(super) fn releasing(&self) -> MutexGuard<'_, UnderWay> {
        self.inner.releasing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn options(&self) -> &DbOptions {
        &self.inner.options
    }

    /// The collections, in no order.
    pub(super) fn at_work(&self) -> Vec<Arc<Collection>> {
        let map = self.inner.collections.read().unwrap_or_else(PoisonError::into_inner);
        map.values().map(Arc::clone).collect()
    }

    /// The data directory.
    pub(super) fn folder(&self) -> &Path {
        &self.inner.options.data
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    pub(super) fn find(&self, name: &str) -> Result<Arc<Collection>, EngineError> {
        let collections = self.inner.collections.read().unwrap_or_else(PoisonError::into_inner);
        collections
            .get(&fold(name))
            .map(Arc::clone)
            .ok_or_else(|| EngineError::NoCollection { name: name.to_owned() })
    }

    /// Every collection, by name; releases are told by [`Db::releases`].
    pub fn collections(&self) -> Result<Vec<CollectionInfo>, EngineError> {
        let mut found = Vec::new();
        for collection in self.at_work().iter().filter(|collection| !collection.is_release()) {
            match collection.record() {
                Ok(record) => found.push(CollectionInfo::of(&record, None)),
                // Dropped since the list was copied.
                Err(EngineError::NoCollection { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_by(|left, right| left.schema.name.cmp(&right.schema.name));
        Ok(found)
    }

    /// One collection, with its footprint.
    pub fn collection(&self, name: &str) -> Result<CollectionInfo, EngineError> {
        let collection = self.find(name)?;
        Ok(CollectionInfo::of(&collection.record()?, Some(collection.state()?.footprint().clone())))
    }

    /// Schema of a collection; cheaper than [`Db::collection`].
    pub fn schema(&self, name: &str) -> Result<CollectionSchema, EngineError> {
        Ok(CollectionSchema::clone(&self.find(name)?.record()?.schema))
    }

    /// Makes a collection.
    ///
    /// # Errors
    /// [`EngineError::CollectionExists`], or [`EngineError::Schema`] for a schema that is refused.
    pub fn create_collection(
        &self,
        schema: CollectionSchema,
    ) -> Result<CollectionInfo, EngineError> {
        // The store takes names of releases, too; nobody else gives one.
        check_name("collection", &schema.name)?;
        schema.validate()?;
        if self.find(&schema.name).is_ok() {
            return Err(EngineError::CollectionExists { name: schema.name });
        }
        let record = self.inner.store.create_collection(schema)?;
        self.register(&record);
        Ok(CollectionInfo::of(&record, None))
    }

    /// Removes a collection and everything in it.
    ///
    /// # Errors
    /// [`EngineError::HasReleases`]; [`EngineError::ReleaseUnderWay`] while one is made; [`EngineError::Release`] for a release,
    /// which is withdrawn instead.
    pub fn drop_collection(&self, name: &str) -> Result<(), EngineError> {
        self.drop_with_records(name, false, &[])
    }

    /// Removes a collection and everything in it, its releases too where that is wanted, and in the same commit records of the
    /// server that must not outlive it.
    ///
    /// # Errors
    /// As [`Db::drop_collection`], with its releases without [`EngineError::HasReleases`]. Nothing is removed then.
    pub fn drop_with_records(
        &self,
        name: &str,
        with_releases: bool,
        records: &[(ServerRecordKind, String)],
    ) -> Result<(), EngineError> {
        // No release of it is made meanwhile: it would be one of whatever has the name at its end.
        let _dropping = Dropping::begin(self, name)?;
        let collection = self.find(name)?;
        collection.check_writable()?;
        if !with_releases {
            self.check_no_releases(&collection)?;
        }
        let name = collection.record()?.schema.name.clone();
        // The collection first: its releases are then none, and a start that finds one removes it.
        self.inner.store.drop_with_records(collection.id(), records)?;
        self.leave(&name);
        self.remove_segments(collection.id());
        if with_releases {
            self.remove_releases(&name);
        }
        Ok(())
    }

    /// Writes a batch: good rows are durable and visible when this returns, bad ones are refused one by one.
    pub fn write(
        &self,
        name: &str,
        mode: WriteMode,
        writes: Vec<Write>,
    ) -> Result<WriteReport, EngineError> {
        let collection = self.find(name)?;
        let report = collection.write(mode, |_| Ok::<_, EngineError>(writes))?;
        self.index_when_due(&collection);
        Ok(report)
    }

    /// Makes a batch of what the collection holds at a moment in which nobody else writes, and writes it as
    /// [`Db::write`] does. Nothing else is committed meanwhile, so that `make` must be short.
    ///
    /// # Errors
    /// Those of `make`, which then writes nothing, and those of [`Db::write`].
    pub fn write_made<E: From<EngineError>>(
        &self,
        name: &str,
        mode: WriteMode,
        make: impl FnOnce(&Standing<'_>) -> Result<Vec<Write>, E>,
    ) -> Result<WriteReport, E> {
        let collection = self.find(name)?;
        let report = collection.write(mode, make)?;
        self.index_when_due(&collection);
        Ok(report)
    }

    /// Does of an insertion what can be done while others write: the rows of blocks are put in order and written into files that
    /// nobody sees yet.
    ///
    /// # Errors
    /// Where there is no such collection, it is a release, or the disk fails. Nothing is left then.
    pub fn stage(
        &self,
        name: &str,
        blocks: Vec<Arc<ObjectBlock>>,
    ) -> Result<StagedBlocks, EngineError> {
        self.find(name)?.stage(blocks)
    }

    /// Writes the rows of blocks in one commit, whole or not at all: durable and visible when this returns. `pinned` is the
    /// collection that must have the name still.
    ///
    /// # Errors
    /// [`EngineError::NoCollection`] where the name is another collection's by now, and those of [`Db::write`].
    pub fn insert(
        &self,
        name: &str,
        pinned: Option<CollectionId>,
        staged: StagedBlocks,
    ) -> Result<WriteReport, EngineError> {
        let collection = self.find(name)?;
        let id = staged.collection().id();
        if collection.id() != id || pinned.is_some_and(|pinned| pinned != id) {
            return Err(EngineError::NoCollection { name: name.to_owned() });
        }
        let report = collection.insert(staged)?;
        self.index_when_due(&collection);
        Ok(report)
    }

    /// Has the segment built in the background when that is due.
    pub(super) fn index_when_due(&self, collection: &Arc<Collection>) {
        if let Some(rows) = self.inner.options.auto_index_rows
            && collection.is_due(rows)
        {
            collection.build_when_opportune(rows);
        }
    }

    /// Objects by id, `None` for those that do not exist.
    pub fn get(&self, name: &str, ids: &[ObjectId]) -> Result<Vec<Option<Object>>, EngineError> {
        self.find(name)?.get(ids)
    }

    /// Tokens of objects in a space, in the order asked; `None` for objects that do not exist or have none.
    ///
    /// # Errors
    /// When the collection has no such space of tokens, or the store cannot be read.
    pub fn tokens(
        &self,
        collection: &str,
        space: SpaceId,
        ids: &[ObjectId],
    ) -> Result<Vec<Option<TokenSequence>>, EngineError> {
        let collection = self.find(collection)?;
        Ok(self.inner.store.snapshot(collection.id())?.tokens(space, ids)?)
    }

    /// An empty file in the data directory that nobody else sees, and that goes when it is closed: for work that is larger
    /// than memory should be.
    ///
    /// # Errors
    /// [`EngineError::SegmentFile`] when it cannot be made.
    pub fn scratch(&self) -> Result<File, EngineError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = self.inner.options.data.join(format!(".scratch-{number}"));
        let failed = |source| EngineError::SegmentFile {
            action: "make",
            path: path.display().to_string(),
            source,
        };
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(failed)?;
        std::fs::remove_file(&path).map_err(failed)?;
        Ok(file)
    }

    /// Builds the segment and indices of a collection; reads and writes go on meanwhile.
    pub fn build_index(
        &self,
        name: &str,
        progress: &mut Progress<'_>,
    ) -> Result<IndexStatus, EngineError> {
        let collection = self.find(name)?;
        collection.check_writable()?;
        let wanted = collection.record()?.version;
        // A build that runs already, in the background, may have begun before the latest writes: wait, then build.
        loop {
            match collection.build(progress) {
                Ok(()) => {
                    let status = self.index_status(name)?;
                    // A build that a crash had interrupted was gone on with, and covers less than there is.
                    if status.indexed_version >= wanted {
                        return Ok(status);
                    }
                }
                Err(EngineError::BuildRunning { .. }) => {
                    progress("waiting for a build in the background", 0, 0);
                    std::thread::sleep(BUILD_POLL);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What is indexed and what is not yet.
    pub fn index_status(&self, name: &str) -> Result<IndexStatus, EngineError> {
        let collection = self.find(name)?;
        let status = IndexStatus::of(name, &*collection.state()?);
        Ok(IndexStatus { build: collection.builds.standing(), ..status })
    }
}

/// Collections are found without regard to case, so that names are safe in SQL.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase()
}
