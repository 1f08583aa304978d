//! Spaces that are filled as objects arrive: one worker for each, which encodes what lacks something in its space.
//!
//! A worker is told of commits and asks the collection what they changed, so that nothing has to be remembered on the disk:
//! when the server starts, a worker begins with everything that lacks something. Whatever goes wrong with the encoder, a
//! worker pauses and tries again; what goes wrong with an object is remembered until the object is written again.

mod declare;
mod queue;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::worker::Worker;
use crate::engine::{CollectionInfo, Db, EngineError};
use crate::schema::{CollectionSchema, EmbeddingSpace};
use crate::service::ServiceError;
use crate::service::context::{Context, blocking};
use crate::wire::v1;

pub(in crate::service) use declare::declared;

/// Names of a collection and of a space, without regard to case.
type Key = (String, String);

fn key(collection: &str, space: &str) -> Key {
    (collection.to_lowercase(), space.to_lowercase())
}

/// Schemas of all collections where none is named or all are owed, and whether they are all; else of the one that is named, if
/// it is there. One that cannot be read keeps nobody from changing another.
fn read(
    db: &Db,
    name: Option<String>,
    is_owed: bool,
) -> Result<(Vec<CollectionSchema>, bool), EngineError> {
    if name.is_none() || is_owed {
        match (db.collections(), &name) {
            (Ok(all), _) => return Ok((all.into_iter().map(|info| info.schema).collect(), true)),
            (Err(error), None) => return Err(error),
            (Err(error), Some(_)) => {
                tracing::warn!(%error, "not every collection that is encoded at ingest may be");
            }
        }
    }
    match name.map(|name| db.schema(&name)) {
        None | Some(Err(EngineError::NoCollection { .. })) => Ok((Vec::new(), false)),
        Some(schema) => Ok((vec![schema?], false)),
    }
}

/// The workers of a server.
#[derive(Debug, Default)]
pub(in crate::service) struct Workers {
    running: RwLock<HashMap<Key, Running>>,
    /// Who encodes into a space: jobs together, a worker alone.
    turns: Mutex<HashMap<Key, Arc<tokio::sync::RwLock<()>>>>,
    /// Whether the list of workers may not be up to date.
    is_owed: AtomicBool,
    /// Held while a collection is changed, and the list of workers is brought up to date.
    order: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
}

/// A worker as the others see it.
#[derive(Debug)]
struct Running {
    space: EmbeddingSpace,
    wake: Arc<Notify>,
    stop: CancellationToken,
    progress: Arc<Mutex<Progress>>,
}

/// What a worker tells of itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Progress {
    failed: u64,
    without_inputs: u64,
    /// Why it pauses; empty while it does not.
    paused: String,
    last_failure: String,
}

impl Workers {
    /// Starts the workers that are missing, of all collections. To be called when the server starts;
    /// [`changing`](Self::changing) sees to it afterwards.
    ///
    /// # Errors
    /// Those of the storage.
    pub(in crate::service) async fn begin(&self, context: &Context) -> Result<(), ServiceError> {
        let _order = self.order.lock().await;
        self.sync(context, None).await
    }

    /// Does synchronous work that may change the spaces of a collection, or the collection itself, and brings its workers up to
    /// date: also where the work fails halfway, and where the caller goes away. One such work at a time, lest a collection be
    /// dropped and made again in between, and its worker go on with the columns of the old one.
    ///
    /// # Errors
    /// Those of the work, and of the storage.
    pub(in crate::service) async fn changing<T: Send + 'static>(
        context: &Context,
        collection: &str,
        work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let (own, collection) = (context.clone(), collection.to_owned());
        let change = async move {
            let workers = &own.at_ingest;
            let _order = workers.order.lock().await;
            let outcome = blocking(work).await;
            let synced = workers.sync(&own, Some(collection)).await;
            let done = outcome?;
            synced.map(|()| done)
        };
        match context.at_ingest.tasks.spawn(change.in_current_span()).await {
            Ok(outcome) => outcome,
            Err(failure) => Err(ServiceError::Task { reason: failure.to_string() }),
        }
    }

    /// Starts the workers of a collection that are missing, and stops those whose space is gone or is filled so no more; of all
    /// collections where none is named, or the last time has failed. The order of changes is held meanwhile.
    async fn sync(&self, context: &Context, changed: Option<String>) -> Result<(), ServiceError> {
        let is_owed = self.is_owed.swap(true, Ordering::Relaxed);
        let (db, name) = (context.db.clone(), changed.clone());
        let (schemas, are_all) = blocking(move || read(&db, name, is_owed)).await?;
        let changed = changed.filter(|_| !are_all).map(|name| name.to_lowercase());
        let mut wanted: HashMap<Key, (String, EmbeddingSpace)> = HashMap::new();
        for schema in schemas {
            let spaces = schema.spaces.into_iter().filter(|space| space.at_ingest.is_some());
            wanted.extend(
                spaces.map(|space| (key(&schema.name, &space.name), (schema.name.clone(), space))),
            );
        }
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        running.retain(|key, running| {
            let is_another = changed.as_ref().is_some_and(|changed| *changed != key.0);
            let stays =
                is_another || wanted.get(key).is_some_and(|(_, space)| *space == running.space);
            if !stays {
                running.stop.cancel();
            }
            stays
        });
        for (key, (collection, space)) in wanted {
            running.entry(key).or_insert_with(|| self.start(context, collection, space));
        }
        self.is_owed.store(is_owed && !are_all, Ordering::Relaxed);
        Ok(())
    }

    fn start(&self, context: &Context, collection: String, space: EmbeddingSpace) -> Running {
        let running = Running {
            space: space.clone(),
            wake: Arc::default(),
            stop: context.stopping.child_token(),
            progress: Arc::default(),
        };
        let turn = self.turn(&collection, &space.name);
        // It outlives the request that declares the space.
        let span =
            tracing::info_span!(parent: None, "encoding at ingest", collection, space = space.name);
        let (wake, progress) = (Arc::clone(&running.wake), Arc::clone(&running.progress));
        let worker = Worker::new(context.clone(), collection, space, turn, progress);
        let work = worker.run(wake, running.stop.clone()).instrument(span);
        self.tasks.spawn(work);
        running
    }

    /// Tells the workers of a collection that something has been written to it.
    pub(in crate::service) fn wake(&self, collection: &str) {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        if running.is_empty() {
            return;
        }
        let collection = collection.to_lowercase();
        for (_, running) in running.iter().filter(|((name, _), _)| *name == collection) {
            running.wake.notify_one();
        }
    }

    /// The lock of a space that jobs hold shared while they run, and its worker alone for each page.
    pub(in crate::service) fn turn(
        &self,
        collection: &str,
        space: &str,
    ) -> Arc<tokio::sync::RwLock<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Locks that nobody holds or waits for are made again when they are wanted.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(key(collection, space)).or_default())
    }

    /// How far each space of a collection is that is filled so.
    pub(in crate::service) fn told(
        &self,
        info: &CollectionInfo,
    ) -> HashMap<String, v1::IngestEncoding> {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let spaces = info.schema.spaces.iter().filter(|space| space.at_ingest.is_some());
        let told = |space: &EmbeddingSpace| {
            let found = running.get(&key(&info.schema.name, &space.name));
            let progress = found.map(|running| {
                running.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
            });
            let Progress { failed, without_inputs, paused, last_failure } =
                progress.unwrap_or_default();
            let counts = info.vector_counts.iter();
            let filled = counts.filter(|(id, _)| *id == space.id).map(|(_, count)| count).sum();
            let lacking = info.object_count.saturating_sub(filled);
            let waiting = lacking.saturating_sub(failed).saturating_sub(without_inputs);
            v1::IngestEncoding { waiting, failed, without_inputs, paused, last_failure }
        };
        spaces.map(|space| (space.name.clone(), told(space))).collect()
    }

    /// Waits until every worker has ended; they end when the server stops.
    pub(in crate::service) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
