//! A collection at work: commits go to the store first and into the visible state after; builds replace the
//! segment behind the queries' backs.
//!
//! **Invariants.** A write is acknowledged after it is synced in the store *and* visible. One commit at a time.
//! A state is never changed in place. The in-memory state is derived: it is made from the newest segment and
//! the store's change log at the first use, so that opening a database costs nothing for each collection.

mod building;
mod fixed;
mod importing;
mod inserting;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use super::columns;
use super::derived::FormulaSlot;
use super::error::EngineError;
use super::residency::Residency;
use super::segment::{self, BuildLimits, BuildPlan};
use super::standing::Standing;
use super::state::{Keep, State};
use super::write::{Write, WriteMode, WriteOutcome, WriteReport};
use crate::clock::now_s;
use crate::schema::{CollectionId, CollectionSchema, Object, ObjectId, SpaceId};
use crate::storage::{CollectionRecord, ObjectKey, Route, StorageError, Store};
use building::Builds;
pub use building::is_build_due;
use importing::Importing;
pub use inserting::StagedBlocks;

/// Seconds for which a collection counts as searched after somebody has asked for a view of it.
const LOOKED_AT_S: u64 = 30;

/// What rows that are not indexed may take of the memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct TailMemory {
    /// Whether those of imports stay there until they are indexed.
    pub(super) keeps_imports: bool,
    /// Bytes of vectors that are read back from the store at most.
    pub(super) bytes_max: u64,
}

/// A collection at work.
#[derive(Debug)]
pub(super) struct Collection {
    id: CollectionId,
    name: String,
    folder: PathBuf,
    store: Arc<Store>,
    limits: BuildLimits,
    residency: Residency,
    tail: TailMemory,
    pub(super) formulas: FormulaSlot,
    /// Held during a commit and during the swap at the end of a build.
    commit: Mutex<()>,
    state: RwLock<Option<Arc<State>>>,
    pub(super) builds: Builds,
    /// Bulk commits that are under way, and the end of the last one.
    importing: AtomicUsize,
    imported: Mutex<Option<Instant>>,
    /// When somebody last asked for a view, in seconds since 1970.
    looked_at_s: AtomicU64,
}

impl Collection {
    pub(super) fn new(
        record: &CollectionRecord,
        folder: PathBuf,
        store: Arc<Store>,
        limits: BuildLimits,
        residency: Residency,
        tail: TailMemory,
    ) -> Self {
        Self {
            id: record.id,
            name: record.schema.name.clone(),
            folder,
            store,
            limits,
            residency,
            tail,
            formulas: FormulaSlot::default(),
            commit: Mutex::new(()),
            state: RwLock::new(None),
            builds: Builds::default(),
            importing: AtomicUsize::new(0),
            imported: Mutex::new(None),
            looked_at_s: AtomicU64::new(0),
        }
    }

    pub(super) fn id(&self) -> CollectionId {
        self.id
    }

    /// The record of truth about names and counts.
    pub(super) fn record(&self) -> Result<CollectionRecord, EngineError> {
        self.store
            .collection(self.id)?
            .ok_or_else(|| EngineError::NoCollection { name: self.name.clone() })
    }

    /// The state that a query begins with.
    pub(super) fn state(&self) -> Result<Arc<State>, EngineError> {
        if let Some(state) = self.published() {
            return Ok(state);
        }
        let _commit = self.lock_commits();
        self.state_while_committing()
    }

    /// The state with everything in it, also what was left to the store.
    pub(super) fn remembered(&self) -> Result<Arc<State>, EngineError> {
        let _commit = self.lock_commits();
        let state = self.state_while_committing()?;
        if !state.has_only_keys() {
            return Ok(state);
        }
        // What there is stays where this fails.
        self.publish(self.restore(Keep::Rows)?);
        self.state_while_committing()
    }

    /// What of new rows stays in memory.
    fn keep(&self) -> Keep {
        if self.tail.keeps_imports || self.is_looked_at() { Keep::Rows } else { Keep::Keys }
    }

    /// Notes that somebody asks for a view.
    pub(super) fn look_at(&self) {
        self.looked_at_s.store(now_s(), Ordering::Relaxed);
    }

    /// Whether somebody asked for a view a short time ago, and so may again.
    fn is_looked_at(&self) -> bool {
        now_s().saturating_sub(self.looked_at_s.load(Ordering::Relaxed)) <= LOOKED_AT_S
    }

    /// The state, when it was made already.
    pub(super) fn published(&self) -> Option<Arc<State>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(state));
    }

    /// Has the state made again from the store at the next use.
    fn forget_state(&self) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    // A panic while the lock was held left nothing half done: states are replaced whole, and the store's own
    // batches are atomic. The next holder goes on from the published state.
    fn lock_commits(&self) -> MutexGuard<'_, ()> {
        self.commit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_while_committing(&self) -> Result<Arc<State>, EngineError> {
        if let Some(state) = self.published() {
            return Ok(state);
        }
        self.publish(self.restore(self.keep())?);
        self.published().ok_or_else(|| EngineError::NoCollection { name: self.name.clone() })
    }

    /// Makes the state of the newest segment and the change log; builds a segment when the log does not reach
    /// back to where the segment ends (its folder was lost or damaged), or when what came since does not fit into memory.
    fn restore(&self, keep: Keep) -> Result<State, EngineError> {
        let record = self.record()?;
        let arrow_schema = columns::resident_schema(&record.schema);
        let newest = segment::newest(&self.folder).and_then(|(folder, manifest)| {
            match segment::open(&folder, &manifest, &record.schema, &arrow_schema, &self.residency) {
                Ok(part) => Some((part, manifest)),
                Err(error) => {
                    tracing::error!(collection = self.name, %error, "segment not readable; making it again");
                    None
                }
            }
        });
        let indexed = newest.as_ref().map_or(0, |(_, manifest)| manifest.rows);
        let is_large = keep == Keep::Rows && self.tail.bytes_max < bytes_outside(&record, indexed);
        if !is_large {
            match self.assemble(&record, newest, keep) {
                Ok(state) if state.live_count() == record.object_count => return Ok(state),
                Ok(_) | Err(EngineError::Storage(StorageError::ChangesTrimmed { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        let why = if is_large {
            "what is not indexed does not fit into memory"
        } else {
            "no segment covers the change log"
        };
        tracing::warn!(collection = self.name, "{why}; building a segment from the store");
        let snapshot = self.store.snapshot(self.id)?;
        let plan = BuildPlan {
            collection_folder: &self.folder,
            schema: &record.schema,
            arrow_schema: &arrow_schema,
            limits: self.limits,
        };
        let (folder, manifest) = segment::build(&plan, snapshot, &mut |_, _, _| {})?;
        let part =
            segment::open(&folder, &manifest, &record.schema, &arrow_schema, &self.residency)?;
        segment::remove_others(&self.folder, Some(&folder));
        self.assemble(&record, Some((part, manifest)), keep)
    }

    fn assemble(
        &self,
        record: &CollectionRecord,
        segment: Option<(super::part::Part, segment::Manifest)>,
        keep: Keep,
    ) -> Result<State, EngineError> {
        let from = segment.as_ref().map_or(0, |(_, manifest)| manifest.version);
        let changes = self.store.changes_since(self.id, from)?;
        let (schema, version) = (Arc::clone(&record.schema), record.version);
        State::assemble(schema, version, segment, &changes, keep, |keys| self.fetch(keys))
    }

    fn fetch(&self, keys: &[ObjectKey]) -> Result<Vec<Option<(ObjectKey, Object)>>, EngineError> {
        Ok(self.store.get_keys(keys, true)?)
    }

    /// Makes a batch while nothing else is committed, and commits it.
    pub(super) fn write<E: From<EngineError>>(
        &self,
        mode: WriteMode,
        make: impl FnOnce(&Standing<'_>) -> Result<Vec<Write>, E>,
    ) -> Result<WriteReport, E> {
        self.check_writable().map_err(E::from)?;
        let _importing = (mode == WriteMode::Bulk).then(|| Importing::new(self));
        let _commit = self.lock_commits();
        let state = self.state_while_committing()?;
        let writes = make(&Standing::new(&self.store, self.id, &state))?;
        Ok(self.commit_writes(&state, mode, writes)?)
    }

    /// Refuses the bad rows of a batch, writes the good ones, makes them visible. The caller holds the lock.
    fn commit_writes(
        &self,
        state: &State,
        mode: WriteMode,
        writes: Vec<Write>,
    ) -> Result<WriteReport, EngineError> {
        let mut outcomes: Vec<Option<WriteOutcome>> = Vec::with_capacity(writes.len());
        let mut operations = Vec::with_capacity(writes.len());
        let width = state.schema.columns.len();
        let writes = writes.into_iter().map(|write| write.padded(width)).collect();
        for (write, forgets) in self.complete_merges(&state.schema, writes)? {
            match write.check(&state.schema, forgets) {
                Ok(operation) => {
                    operations.push(operation);
                    outcomes.push(None);
                }
                Err(reason) => outcomes.push(Some(WriteOutcome::Refused(reason))),
            }
        }
        if operations.is_empty() {
            let outcomes = outcomes.into_iter().flatten().collect();
            return Ok(WriteReport { version: state.version, outcomes });
        }
        // A failed commit may still be finished by the store later, and the state must not miss it either.
        let mut publishing = Publishing { collection: self, is_done: false };
        let route = match mode {
            WriteMode::Logged => Route::Logged,
            WriteMode::Bulk => Route::Bulk,
        };
        let commit = self.store.commit(self.id, &operations, route)?;
        let (version, committed) = (commit.version, &commit.outcomes);
        let keep = self.keep();
        match state.after(version, operations, committed, keep, |keys| self.fetch(keys)) {
            Ok(next) => {
                self.publish(next);
                publishing.is_done = true;
            }
            Err(error) => {
                // The rows are durable; only the derived state is not. It is made again at the next use.
                tracing::error!(collection = self.name, %error, "state will be restored from the store");
            }
        }
        let mut committed = commit.outcomes.iter().map(WriteOutcome::from);
        let outcomes = outcomes
            .into_iter()
            .map(|refused| refused.or_else(|| committed.next()).unwrap_or(WriteOutcome::Absent))
            .collect();
        Ok(WriteReport { version: commit.version, outcomes })
    }

    /// Fills in what merging writes leave out from the stored objects, and from earlier rows of the same batch.
    fn complete_merges(
        &self,
        schema: &CollectionSchema,
        writes: Vec<Write>,
    ) -> Result<Vec<(Write, Vec<SpaceId>)>, EngineError> {
        let merging: Vec<ObjectId> = writes
            .iter()
            .filter_map(|write| match write {
                Write::Merge { object, .. } => Some(object.id.clone()),
                Write::Put(_)
                | Write::SetVectors { .. }
                | Write::SetTokens { .. }
                | Write::SetColumns { .. }
                | Write::Delete(_) => None,
            })
            .collect();
        if merging.is_empty() {
            return Ok(writes.into_iter().map(|write| (write, Vec::new())).collect());
        }
        let stored = self.store.get(self.id, &merging, true)?;
        let mut known: std::collections::HashMap<ObjectId, Object> =
            stored.into_iter().flatten().map(|(_, object)| (object.id.clone(), object)).collect();
        let fed = schema.fed_spaces();
        Ok(writes.into_iter().map(|write| write.completed(schema, &fed, &mut known)).collect())
    }

    pub(super) fn get(&self, ids: &[ObjectId]) -> Result<Vec<Option<Object>>, EngineError> {
        let found = self.store.get(self.id, ids, true)?;
        Ok(found.into_iter().map(|entry| entry.map(|(_, object)| object)).collect())
    }

    /// Changes the schema in the store, and the state with it: parts have null in columns that they do not know.
    pub(super) fn alter(
        &self,
        change: impl FnOnce(&Store) -> Result<CollectionRecord, StorageError>,
    ) -> Result<(), EngineError> {
        self.check_writable()?;
        let _commit = self.lock_commits();
        let state = self.state_while_committing()?;
        let mut publishing = Publishing { collection: self, is_done: false };
        let record = change(&self.store)?;
        self.publish(state.with_schema(record.schema, record.version)?);
        publishing.is_done = true;
        Ok(())
    }
}

/// Bytes of the vectors of rows that are not among so many indexed ones.
fn bytes_outside(record: &CollectionRecord, indexed: u64) -> u64 {
    let rows = record.object_count.saturating_sub(indexed);
    let vectors = record.schema.vector_spaces().map(|space| {
        let count = record.vector_counts.iter().find(|(id, _)| *id == space.id);
        count.map_or(0, |(_, count)| rows.min(*count)) * (space.dimension * size_of::<f32>()) as u64
    });
    vectors.sum()
}

/// Has the state made again unless it was published: a panic in between must not leave the state behind the store.
struct Publishing<'a> {
    collection: &'a Collection,
    is_done: bool,
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.collection.forget_state();
        }
    }
}
