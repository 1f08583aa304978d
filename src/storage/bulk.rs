//! Bulk imports: large batches as sorted files, atomic across tables.
//!
//! RocksDB takes files into one table at a time, so that a crash may fall between two tables. The order of steps makes
//! every point safe:
//!
//! 1. the files are written into a staging folder and synced, those of new objects before the turn of their commit and beside
//!    others. A crash here leaves a folder without an intent, which the next start removes: nothing has happened;
//! 2. the intent (the names of the files and the head of the collection afterwards) is written to `meta`, synced. From
//!    here on the import will happen: the next start finishes it;
//! 3. the files are moved into the tables, one table after the other. Views of the collection wait meanwhile. A file
//!    leaves the staging folder only after its table's manifest is synced, so a file that is still there is taken in
//!    (again): the same rows once more change nothing, since no other commit of the collection came in between;
//! 4. the head is written and the intent removed, in one synced batch: the import is done;
//! 5. the empty folder is removed.
//!
//! An error instead of a crash in step 3 or 4 leaves the collection closed until the import is finished by the next
//! request, so that nobody sees half of it.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::directory::DataDirectory;
use super::engine::{Batch, KvEngine, Patience, Row, SortedRun, SortedSource, StageId};
use super::error::StorageError;
use super::key::{Key, KeyRange, MetaKey};
use super::record::{Head, Intent, StagedFile};
use super::slot::{Slot, State};
use super::store::Store;

/// A point of a bulk import at which a test can look, or make it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The files are in the staging folder.
    Staged,
    /// The intent is written.
    Declared,
    /// So many files have been taken in.
    Ingested(usize),
    /// Head and intent are written; the folder is still there.
    Committed,
}

/// A staging folder of which nothing has been declared: it goes with this.
pub(super) struct Stage {
    pub(super) id: StageId,
    is_kept: bool,
    engine: Arc<dyn KvEngine>,
    /// Nobody else may open the directory meanwhile.
    _directory: Option<Arc<DataDirectory>>,
}

impl Stage {
    /// Leaves the folder from here on, whatever happens: it may have been declared.
    fn keep(mut self) -> StageId {
        self.is_kept = true;
        self.id
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.is_kept {
            discard(&*self.engine, self.id);
        }
    }
}

/// Removes a staging folder that is not needed any more; the next start does it if this fails.
fn discard(engine: &dyn KvEngine, stage: StageId) {
    if let Err(error) = engine.discard(stage) {
        tracing::warn!(%error, stage = stage.0, "a staging folder is left over");
    }
}

/// Looks at every step; its errors stop the import.
pub(super) type Probe = Box<dyn Fn(Step) -> Result<(), StorageError> + Send + Sync>;

impl Store {
    fn reached(&self, step: Step) -> Result<(), StorageError> {
        self.probe.as_ref().map_or(Ok(()), |probe| probe(step))
    }

    /// Commits the rows of a planned batch. The caller holds the turn; `rows` has every key once.
    pub(super) fn commit_bulk(
        &self,
        slot: &Slot,
        head: Head,
        rows: Vec<Row>,
    ) -> Result<(), StorageError> {
        let runs = SortedRun::from_rows(rows)?;
        self.commit_sources(slot, head, &SortedRun::sources(&runs))
    }

    /// Commits sorted rows, in the order of their tables. The caller holds the turn.
    pub(super) fn commit_sources(
        &self,
        slot: &Slot,
        head: Head,
        sources: &[&dyn SortedSource],
    ) -> Result<(), StorageError> {
        let (stage, files, ()) = self.stage_beside(sources, || ())?;
        self.commit_staged(slot, stage, head, files)
    }

    /// Writes sorted rows into a staging folder: step 1. `alongside` is done meanwhile, and what it returns is handed back.
    pub(super) fn stage_beside<T>(
        &self,
        sources: &[&dyn SortedSource],
        alongside: impl FnOnce() -> T,
    ) -> Result<(Stage, Vec<StagedFile>, T), StorageError> {
        let id = StageId(self.next_stage.fetch_add(1, Ordering::Relaxed));
        let (engine, directory) = (Arc::clone(&self.engine), self.directory.clone());
        let stage = Stage { id, is_kept: false, engine, _directory: directory };
        let (staged, made) = std::thread::scope(|scope| {
            let staging = scope.spawn(|| self.engine.stage(id, sources));
            let made = alongside();
            (staging.join().unwrap_or_else(|panic| resume_unwind(panic)), made)
        });
        Ok((stage, staged?, made))
    }

    /// Commits what is in a staging folder, in the order of its tables: steps 2 to 5. The caller holds the turn.
    pub(super) fn commit_staged(
        &self,
        slot: &Slot,
        stage: Stage,
        head: Head,
        files: Vec<StagedFile>,
    ) -> Result<(), StorageError> {
        self.reached(Step::Staged)?;
        let base_version = head.version - 1;
        let intent = Intent { collection: slot.id, base_version, head, files };
        // After an error here nobody knows whether the intent is on the disk. The folder stays: the next start finishes
        // the import if it finds the intent and no later commit, and removes the folder otherwise.
        let stage = stage.keep();
        let mut batch = Batch::default();
        batch.put(&MetaKey::Intent(stage.0), intent.encode());
        self.engine.commit(&batch, Patience::Long)?;
        let mut gate = slot.close();
        if let Err(error) = self.finish(stage, &intent, Patience::Short) {
            gate.state = State::Unfinished(stage);
            let source = Box::new(error);
            return Err(StorageError::Unfinished { collection: slot.id, source });
        }
        drop(gate);
        discard(&*self.engine, stage);
        Ok(())
    }

    /// Takes in the staged files of a declared import and writes the head: steps 3 and 4.
    fn finish(
        &self,
        stage: StageId,
        intent: &Intent,
        patience: Patience,
    ) -> Result<(), StorageError> {
        self.reached(Step::Declared)?;
        let mut done = 0;
        for group in intent.files.chunk_by(|a, b| a.table == b.table) {
            self.engine.ingest(stage, group)?;
            done += group.len();
            self.reached(Step::Ingested(done))?;
        }
        let mut batch = Batch::default();
        batch.put(&MetaKey::Head(intent.collection), intent.head.encode());
        batch.delete(&MetaKey::Intent(stage.0));
        self.engine.commit(&batch, patience)?;
        self.reached(Step::Committed)
    }

    /// Finishes the import that left the collection closed, if there is one. The caller holds the turn.
    pub(super) fn finish_interrupted(
        &self,
        slot: &Slot,
        patience: Patience,
    ) -> Result<(), StorageError> {
        let state = slot.open().state;
        let State::Unfinished(stage) = state else { return Ok(()) };
        let mut gate = slot.close();
        // Without an intent the last batch went through after all and only its answer was lost.
        if let Some(bytes) = self.engine.view().fetch(&MetaKey::Intent(stage.0))? {
            self.finish(stage, &Intent::decode(&bytes)?, patience)?;
        }
        gate.state = State::Whole;
        drop(gate);
        discard(&*self.engine, stage);
        Ok(())
    }

    /// At open: finishes every declared import, then removes all staging folders.
    pub(super) fn recover(&self) -> Result<(), StorageError> {
        for (stage, intent) in self.intents()? {
            if self.is_current(&intent)? {
                tracing::warn!(
                    collection = intent.collection.0,
                    "finishing an interrupted bulk import"
                );
                self.finish(stage, &intent, Patience::Long)?;
            } else {
                let mut batch = Batch::default();
                batch.delete(&MetaKey::Intent(stage.0));
                self.engine.commit(&batch, Patience::Long)?;
            }
        }
        for stage in self.engine.staged()? {
            self.engine.discard(stage)?;
        }
        Ok(())
    }

    fn intents(&self) -> Result<Vec<(StageId, Intent)>, StorageError> {
        let view = self.engine.view();
        let mut cursor = view.cursor(KeyRange::all_intents())?;
        let mut intents = Vec::new();
        while let Some((key, value)) = cursor.advance()? {
            if let MetaKey::Intent(number) = MetaKey::decode(key)? {
                intents.push((StageId(number), Intent::decode(value)?));
            }
        }
        Ok(intents)
    }

    /// Whether the collection is still as it was when the import was planned. It is not when writing the intent was
    /// reported as failed, reached the disk nevertheless, and other commits followed.
    fn is_current(&self, intent: &Intent) -> Result<bool, StorageError> {
        let view = self.engine.view();
        match view.fetch(&MetaKey::Head(intent.collection))? {
            Some(bytes) => Ok(Head::decode(&bytes)?.version == intent.base_version),
            None => Ok(false),
        }
    }
}
