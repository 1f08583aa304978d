//! A collection at work: commits go to the store first and into the visible state after; builds replace the
//! segment behind the queries' backs.
//!
//! **Invariants.** A write is acknowledged after it is synced in the store *and* visible. One commit at a time.
//! A state is never changed in place. The in-memory state is derived: it is made from the newest segment and
//! the store's change log at the first use, so that opening a database costs nothing for each collection.

mod fixed;
mod importing;
mod inserting;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::beside::beside;
use super::columns;
use super::derived::FormulaSlot;
use super::error::EngineError;
use super::residency::Residency;
use super::segment::{self, BuildLimits, BuildPlan, Progress};
use super::standing::Standing;
use super::state::State;
use super::write::{Write, WriteMode, WriteOutcome, WriteReport};
use crate::schema::{CollectionId, CollectionSchema, Object, ObjectId, SpaceId};
use crate::storage::{CollectionRecord, ObjectKey, Route, StorageError, Store};
use importing::Importing;
pub use inserting::StagedBlocks;

/// Time without a bulk commit after which an import has ended.
const IMPORT_PAUSE: Duration = Duration::from_secs(1);
/// Time between two looks at an import.
const IMPORT_POLL: Duration = Duration::from_millis(100);
/// Longest time that a build waits for the end of an import.
const IMPORT_WAIT_MAX: Duration = Duration::from_mins(1);
/// Bytes of vectors in the tail from which a build waits no more.
const IMPORT_BYTES_MAX: usize = 2 << 30;

/// A collection at work.
#[derive(Debug)]
pub(super) struct Collection {
    id: CollectionId,
    name: String,
    folder: PathBuf,
    store: Arc<Store>,
    limits: BuildLimits,
    residency: Residency,
    pub(super) formulas: FormulaSlot,
    /// Held during a commit and during the swap at the end of a build.
    commit: Mutex<()>,
    state: RwLock<Option<Arc<State>>>,
    pub(super) building: AtomicBool,
    /// A thread waits until a build in the background is opportune.
    awaiting: AtomicBool,
    /// Bulk commits that are under way, and the end of the last one.
    importing: AtomicUsize,
    imported: Mutex<Option<Instant>>,
}

impl Collection {
    pub(super) fn new(
        record: &CollectionRecord,
        folder: PathBuf,
        store: Arc<Store>,
        limits: BuildLimits,
        residency: Residency,
    ) -> Self {
        Self {
            id: record.id,
            name: record.schema.name.clone(),
            folder,
            store,
            limits,
            residency,
            formulas: FormulaSlot::default(),
            commit: Mutex::new(()),
            state: RwLock::new(None),
            building: AtomicBool::new(false),
            awaiting: AtomicBool::new(false),
            importing: AtomicUsize::new(0),
            imported: Mutex::new(None),
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
        self.publish(self.restore()?);
        self.published().ok_or_else(|| EngineError::NoCollection { name: self.name.clone() })
    }

    /// Makes the state of the newest segment and the change log; builds a segment when the log does not reach
    /// back to where the segment ends (its folder was lost or damaged).
    fn restore(&self) -> Result<State, EngineError> {
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
        match self.assemble(&record, newest) {
            Ok(state) if state.live_count() == record.object_count => return Ok(state),
            Ok(_) | Err(EngineError::Storage(StorageError::ChangesTrimmed { .. })) => {}
            Err(error) => return Err(error),
        }
        tracing::warn!(
            collection = self.name,
            "no segment covers the change log; building one from the store"
        );
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
        self.assemble(&record, Some((part, manifest)))
    }

    fn assemble(
        &self,
        record: &CollectionRecord,
        segment: Option<(super::part::Part, segment::Manifest)>,
    ) -> Result<State, EngineError> {
        let from = segment.as_ref().map_or(0, |(_, manifest)| manifest.version);
        let changes = self.store.changes_since(self.id, from)?;
        State::assemble(Arc::clone(&record.schema), record.version, segment, &changes, |keys| {
            self.fetch(keys)
        })
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
        match state.after(commit.version, operations, &commit.outcomes, |keys| self.fetch(keys)) {
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

    /// Builds a segment of everything, swaps it in, and drops what it supersedes. Reads and writes go on.
    ///
    /// # Errors
    /// [`EngineError::BuildRunning`] while another build of this collection runs.
    pub(super) fn build(&self, progress: &mut Progress<'_>) -> Result<(), EngineError> {
        if self.building.swap(true, Ordering::AcqRel) {
            return Err(EngineError::BuildRunning { name: self.name.clone() });
        }
        let _building = Lowered(&self.building);
        self.build_and_swap(progress)
    }

    fn build_and_swap(&self, progress: &mut Progress<'_>) -> Result<(), EngineError> {
        // A tail that has grown beyond bounds must not wait until nobody searches.
        let is_urgent = self.state()?.tail_bytes() >= IMPORT_BYTES_MAX;
        let snapshot = self.store.snapshot(self.id)?;
        let schema = Arc::clone(&snapshot.record().schema);
        let arrow_schema = columns::resident_schema(&schema);
        let plan = BuildPlan {
            collection_folder: &self.folder,
            schema: &schema,
            arrow_schema: &arrow_schema,
            limits: self.limits,
        };
        let (folder, manifest) =
            beside(is_urgent, progress, |progress| segment::build(&plan, snapshot, progress))?;
        let part = segment::open(&folder, &manifest, &schema, &arrow_schema, &self.residency)?;
        let version = manifest.version;

        let _commit = self.lock_commits();
        let record = self.record().inspect_err(|_| segment::remove_others(&self.folder, None))?;
        let state = match self.published().filter(|state| state.version == record.version) {
            Some(state) => {
                let changes = self.store.changes_since(self.id, version)?;
                state.over(record.schema, (part, manifest), &changes, self.id)?
            }
            None => self.assemble(&record, Some((part, manifest)))?,
        };
        self.publish(state);
        self.store.trim_changes(self.id, version)?;
        segment::remove_others(&self.folder, Some(&folder));
        Ok(())
    }

    /// Whether a crash interrupted a build that can be gone on with.
    pub(super) fn has_unfinished_build(&self) -> bool {
        segment::is_unfinished(&self.folder)
    }

    /// Whether the tail has grown past `rows` and a quarter of the segment, so that the work of all builds stays
    /// proportional to the rows.
    pub(super) fn is_due(&self, rows: u64) -> bool {
        self.published()
            .is_some_and(|state| state.tail_rows() >= rows.max(state.segment_rows() / 4))
    }

    /// Starts a thread that builds, as often as it is due, once the import that goes on has paused, been long, or
    /// grown large: a build takes the processors that the import needs, and one at its end does for all of it. Nothing
    /// when there is such a thread already.
    pub(super) fn build_when_opportune(self: &Arc<Self>, rows: u64) {
        if self.awaiting.swap(true, Ordering::AcqRel) {
            return;
        }
        // The thread must not keep a database open that nobody uses any more.
        let waiting = Arc::downgrade(self);
        let work = move || {
            let mut began = Instant::now();
            while let Some(collection) = waiting.upgrade() {
                if began.elapsed() >= IMPORT_WAIT_MAX || !collection.is_importing() {
                    let build = AssertUnwindSafe(|| collection.build_in_background());
                    let built = catch_unwind(build).unwrap_or(false);
                    collection.awaiting.store(false, Ordering::Release);
                    // Of what came meanwhile nobody may speak again. What failed waits for the next write.
                    if !built
                        || !collection.is_due(rows)
                        || collection.awaiting.swap(true, Ordering::AcqRel)
                    {
                        return;
                    }
                    began = Instant::now();
                }
                drop(collection);
                thread::sleep(IMPORT_POLL);
            }
        };
        if let Err(error) = thread::Builder::new().name("index-build".to_owned()).spawn(work) {
            self.awaiting.store(false, Ordering::Release);
            tracing::warn!(%error, "no thread for a background index build; trying again at the next write");
        }
    }

    fn is_importing(&self) -> bool {
        let imported = *self.imported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_busy = self.importing.load(Ordering::Acquire) > 0
            || imported.is_some_and(|last| last.elapsed() < IMPORT_PAUSE);
        is_busy && self.published().is_some_and(|state| state.tail_bytes() < IMPORT_BYTES_MAX)
    }

    /// Builds; false when it failed.
    fn build_in_background(&self) -> bool {
        match self.build(&mut |_, _, _| {}) {
            Ok(()) | Err(EngineError::BuildRunning { .. }) => true,
            Err(error) => {
                tracing::error!(%error, "background index build failed");
                false
            }
        }
    }
}

/// Lowers a flag when it goes out of scope, also in a panic.
struct Lowered<'a>(&'a AtomicBool);

impl Drop for Lowered<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
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
