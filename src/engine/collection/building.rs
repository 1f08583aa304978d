//! Builds of a collection's segment: when one begins in the background, and how far it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Collection;
use crate::class::Class;
use crate::engine::beside::beside;
use crate::engine::columns;
use crate::engine::error::EngineError;
use crate::engine::segment::{self, BuildPlan, Manifest, Progress};
use crate::engine::status::{BuildStanding, BuildStep};
use crate::schema::CollectionSchema;

/// Time without a bulk commit after which an import has ended.
const IMPORT_PAUSE: Duration = Duration::from_secs(1);
/// Time between two looks at an import.
const IMPORT_POLL: Duration = Duration::from_millis(100);
/// Longest time that a build waits for the end of an import.
const IMPORT_WAIT_MAX: Duration = Duration::from_mins(1);
/// Bytes of vectors in the tail from which a build waits no more.
const IMPORT_BYTES_MAX: usize = 2 << 30;

/// What is told of a failure that is the operator's.
const IN_THE_LOG: &str = "a fault of the server, whose log has the reason";

/// What goes on with the builds of a collection.
#[derive(Debug, Default)]
pub(in crate::engine) struct Builds {
    is_running: AtomicBool,
    /// A thread waits until a build in the background is opportune.
    is_awaited: AtomicBool,
    standing: Mutex<BuildStanding>,
}

impl Builds {
    /// Whether one runs.
    pub(in crate::engine) fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Acquire)
    }

    /// How far it is.
    pub(in crate::engine) fn standing(&self) -> BuildStanding {
        let mut standing = self.lock().clone();
        if standing.step.is_none() && self.is_awaited.load(Ordering::Acquire) {
            let stage = "waiting for a pause of the import".to_owned();
            standing.step = Some(BuildStep { stage, done: 0, total: 0 });
        }
        standing
    }

    // The standing is replaced whole: a panic leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, BuildStanding> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, stage: &str, done: u64, total: u64) {
        self.lock().step = Some(BuildStep { stage: stage.to_owned(), done, total });
    }

    fn ended(&self, failure: Option<&EngineError>) {
        // Whoever may read the collection is told; what only the operator can act on names files of his.
        let told = |error: &EngineError| match error.class() {
            Class::Corrupt | Class::Internal => IN_THE_LOG.to_owned(),
            Class::Invalid
            | Class::NotFound
            | Class::Conflict
            | Class::Unavailable
            | Class::Exhausted => error.to_string(),
        };
        self.lock().failure = failure.map(told);
    }
}

/// A build that runs, until it goes out of scope, also in a panic.
struct Running<'a>(&'a Builds);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut standing = self.0.lock();
        standing.step = None;
        if thread::panicking() {
            standing.failure = Some(IN_THE_LOG.to_owned());
        }
        drop(standing);
        self.0.is_running.store(false, Ordering::Release);
    }
}

/// Whether the rows that are not indexed have grown past so many and a quarter of those that are, so that the work of all builds
/// stays proportional to the rows.
pub fn is_build_due(tail_rows: u64, indexed_rows: u64, rows: u64) -> bool {
    tail_rows >= rows.max(indexed_rows / 4)
}

impl Collection {
    /// Builds a segment of everything, swaps it in, and drops what it supersedes. Reads and writes go on.
    ///
    /// # Errors
    /// [`EngineError::BuildRunning`] while another build of this collection runs.
    pub(in crate::engine) fn build(&self, progress: &mut Progress<'_>) -> Result<(), EngineError> {
        if self.builds.is_running.swap(true, Ordering::AcqRel) {
            return Err(EngineError::BuildRunning { name: self.name.clone() });
        }
        let _running = Running(&self.builds);
        let began = Instant::now();
        tracing::info!(collection = self.name, "index build begins");
        let mut step = |stage: &str, done: u64, total: u64| {
            self.builds.step(stage, done, total);
            progress(stage, done, total);
        };
        step("reading the store", 0, 0);
        let built = self.build_and_swap(&mut step);
        self.builds.ended(built.as_ref().err());
        let rows = built?;
        tracing::info!(
            collection = self.name,
            rows,
            seconds = format!("{:.1}", began.elapsed().as_secs_f64()),
            "index built"
        );
        Ok(())
    }

    /// Takes a segment that is not what was written out of use, and makes another from the store before anything is answered; false
    /// where a build runs, whose segment takes its place.
    ///
    /// # Errors
    /// Those of the build. The segment is out of use all the same.
    pub(in crate::engine) fn withdraw_segment(&self, folder: &Path) -> Result<bool, EngineError> {
        if self.builds.is_running.swap(true, Ordering::AcqRel) {
            return Ok(false);
        }
        let _running = Running(&self.builds);
        {
            let _commit = self.lock_commits();
            segment::withdraw(folder)?;
            self.forget_state();
        }
        self.state().map(|_| true)
    }

    /// Does it, and tells the rows of the segment.
    fn build_and_swap(&self, progress: &mut Progress<'_>) -> Result<u64, EngineError> {
        // A tail that has grown beyond bounds must not wait until nobody searches; and here nobody does.
        // A state that is to be made may build a segment itself: it is made before, not beside.
        let is_grown = self.state()?.tail_bytes() >= IMPORT_BYTES_MAX;
        let is_urgent = is_grown || !self.tail.keeps_imports;
        let (folder, manifest, schema) = self.build_segment(is_urgent, progress)?;
        progress("taking it into use", 0, 0);
        let arrow_schema = columns::resident_schema(&schema);
        let part = segment::open(&folder, &manifest, &schema, &arrow_schema, &self.residency)?;
        let (version, rows) = (manifest.version, manifest.rows);

        let _commit = self.lock_commits();
        let record = self.record().inspect_err(|_| segment::remove_others(&self.folder, None))?;
        let state = match self.published().filter(|state| state.version == record.version) {
            Some(state) => {
                let changes = self.store.changes_since(self.id, version)?;
                state.over(record.schema, (part, manifest), &changes, self.id)?
            }
            None => self.assemble(&record, Some((part, manifest)), self.keep())?,
        };
        self.publish(state);
        self.store.trim_changes(self.id, version)?;
        segment::remove_others(&self.folder, Some(&folder));
        Ok(rows)
    }

    /// Builds a segment of what the store has now, beside queries; its folder, and the schema that it was built with.
    pub(super) fn build_segment(
        &self,
        is_urgent: bool,
        progress: &mut Progress<'_>,
    ) -> Result<(PathBuf, Manifest, Arc<CollectionSchema>), EngineError> {
        let snapshot = self.store.snapshot(self.id)?;
        let schema = Arc::clone(&snapshot.record().schema);
        let plan = BuildPlan {
            collection_folder: &self.folder,
            schema: &schema,
            arrow_schema: &columns::resident_schema(&schema),
            limits: self.limits,
        };
        let (folder, manifest) =
            beside(is_urgent, progress, |progress| segment::build(&plan, snapshot, progress))?;
        Ok((folder, manifest, schema))
    }

    /// Whether a crash interrupted a build that can be gone on with.
    pub(in crate::engine) fn has_unfinished_build(&self) -> bool {
        segment::is_unfinished(&self.folder)
    }

    /// Whether a build is due for the tail that there is.
    pub(in crate::engine) fn is_due(&self, rows: u64) -> bool {
        self.published()
            .is_some_and(|state| is_build_due(state.tail_rows(), state.segment_rows(), rows))
    }

    /// Starts a thread that builds, as often as it is due, once the import that goes on has paused, been long, or
    /// grown large: a build takes the processors that the import needs, and one at its end does for all of it. Nothing
    /// when there is such a thread already.
    pub(in crate::engine) fn build_when_opportune(self: &Arc<Self>, rows: u64) {
        if self.builds.is_awaited.swap(true, Ordering::AcqRel) {
            return;
        }
        // The thread must not keep a database open that nobody uses any more.
        let waiting = Arc::downgrade(self);
        let work = move || {
            let mut began = Instant::now();
            while let Some(collection) = waiting.upgrade() {
                if began.elapsed() >= IMPORT_WAIT_MAX || !collection.is_importing() {
                    let build = AssertUnwindSafe(|| collection.build_in_background(rows));
                    let built = catch_unwind(build).unwrap_or_else(|_| {
                        tracing::error!(
                            collection = collection.name,
                            "background index build broke down"
                        );
                        false
                    });
                    collection.builds.is_awaited.store(false, Ordering::Release);
                    // Of what came meanwhile nobody may speak again. What failed waits for the next write.
                    if !built
                        || !collection.is_due(rows)
                        || collection.builds.is_awaited.swap(true, Ordering::AcqRel)
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
            self.builds.is_awaited.store(false, Ordering::Release);
            tracing::warn!(%error, "no thread for a background index build; trying again at the next write");
        }
    }

    fn is_importing(&self) -> bool {
        let imported = *self.imported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_busy = self.importing.load(Ordering::Acquire) > 0
            || imported.is_some_and(|last| last.elapsed() < IMPORT_PAUSE);
        is_busy && self.published().is_some_and(|state| state.tail_bytes() < IMPORT_BYTES_MAX)
    }

    /// Builds, where nobody has meanwhile; false when it failed.
    fn build_in_background(&self, rows: u64) -> bool {
        if !self.is_due(rows) && !self.has_unfinished_build() {
            return true;
        }
        match self.build(&mut |_, _, _| {}) {
            Ok(()) | Err(EngineError::BuildRunning { .. }) => true,
            Err(error) => {
                match self.record() {
                    Err(EngineError::NoCollection { .. }) => {
                        tracing::info!(collection = self.name, "dropped; its index build ended");
                    }
                    Ok(_) | Err(_) => {
                        tracing::error!(collection = self.name, %error, "background index build failed; it is tried again when the next one is due");
                    }
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::thread;
    use std::time::{Duration, Instant};

    use crate::engine::{Db, DbOptions, Write, WriteMode};
    use crate::schema::{CollectionSchema, IdKind, Object, ObjectId};
    use crate::sky::{Degrees, Position};

    /// A database with a collection `sky` of ninety objects, which are not indexed.
    fn filled(folder: &Path) -> Db {
        let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder) };
        let db = Db::open(options).expect("opens");
        let schema = CollectionSchema {
            name: "sky".to_owned(),
            id_kind: IdKind::Number,
            columns: Vec::new(),
            spaces: Vec::new(),
            description: String::new(),
        };
        db.create_collection(schema).expect("creates");
        let object = |number: i64| {
            Write::Put(Object {
                id: ObjectId::Number(number),
                position: Position::new(Degrees(number as f64), Degrees(0.5)).expect("a place"),
                columns: Vec::new(),
                vectors: Vec::new(),
            })
        };
        db.write("sky", WriteMode::Logged, (0..90).map(object).collect()).expect("writes");
        db
    }

    #[test]
    fn what_was_due_when_a_database_was_closed_is_built_at_its_first_use() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(filled(folder.path()));
        let options = DbOptions { auto_index_rows: Some(50), ..DbOptions::new(folder.path()) };
        let db = Db::open(options).expect("opens");
        db.view("sky").expect("a view");
        let began = Instant::now();
        while db.index_status("sky").expect("told").tail_rows > 0 {
            assert!(began.elapsed() < Duration::from_mins(2), "nobody builds");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_build_that_failed_is_told_until_one_succeeds() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = filled(folder.path());
        let standing = || db.build_standing("sky").expect("told");
        assert_eq!((standing().step, standing().failure), (None, None));

        // Something stands where the segments belong.
        let place = folder.path().join("segments");
        fs::remove_dir_all(&place).or_else(|_| fs::remove_file(&place)).ok();
        fs::write(&place, "in the way").expect("written");
        let error = db.build_index("sky", &mut |_, _, _| {}).expect_err("fails");
        // It names files, which are no business of whoever reads the collection.
        assert!(error.to_string().contains("segment"), "{error}");
        assert_eq!(standing().failure.as_deref(), Some(super::IN_THE_LOG));
        assert_eq!(standing().step, None);
        assert_eq!(standing().of_shown().failure, None);

        fs::remove_file(&place).expect("removed");
        let mut seen = Vec::new();
        let mut progress = |stage: &str, done, total| {
            let step = standing().step.expect("a build runs");
            seen.push(step.stage == stage && (step.done, step.total) == (done, total));
        };
        db.build_index("sky", &mut progress).expect("builds");
        assert!(!seen.is_empty() && seen.into_iter().all(|is_told| is_told));
        assert_eq!((standing().step, standing().failure), (None, None));
    }
}
