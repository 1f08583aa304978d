//! The worker of one space.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, RwLock, oneshot};
use tokio_util::sync::CancellationToken;

use super::Progress;
use super::queue::{Candidate, Queue};
use crate::encoder::EncoderError;
use crate::engine::CollectionView;
use crate::idle;
use crate::query::{self, StopFlag};
use crate::schema::{EmbeddingSpace, Object, ObjectId};
use crate::service::ServiceError;
use crate::service::context::{Context, blocking};
use crate::service::convert::{InputMap, Print};
use crate::service::encoding::{Done, Failure, Names, Page, Tally, Target, Wanted};
use crate::service::error_code::one_line;
use crate::service::search::StopWhenDropped;
use crate::storage::ObjectKey;

/// Time in which commits gather before they are looked at, so that small batches make full pages.
const LINGER: Duration = Duration::from_millis(50);

/// First pause after something went wrong; doubled for each further one.
const PAUSE_FIRST: Duration = Duration::from_millis(500);

/// Longest pause.
const PAUSE_LONGEST: Duration = Duration::from_mins(1);

/// How often an object may be alone in a call that the encoder does not answer, where it answers for others.
const ALONE_MAX: u32 = 4;

/// An object of a call that the encoder did not answer.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    /// What had been encoded before the first such call.
    encoded: u64,
    /// Calls in which it was alone.
    alone: u32,
}

/// What is encoded, and from which columns.
struct Making {
    target: Target,
    map: InputMap,
}

/// An object that lacks something in the space, and where it is kept.
type Lacking = (ObjectKey, Object);

/// Where the objects of a page are kept, and what their inputs were.
type Keys = HashMap<ObjectId, (ObjectKey, Print)>;

/// Encodes into one space what lacks something in it.
pub(super) struct Worker {
    context: Context,
    collection: String,
    space: EmbeddingSpace,
    turn: Arc<RwLock<()>>,
    progress: Arc<Mutex<Progress>>,
    queue: Queue,
    /// Asked for again after something went wrong.
    making: Option<Arc<Making>>,
    /// Objects of the next page: fewer after an error, so that what is at fault is soon alone.
    page_size: usize,
    suspects: HashMap<ObjectKey, Suspect>,
    /// Objects encoded so far.
    encoded: u64,
}

impl Worker {
    pub(super) fn new(
        context: Context,
        collection: String,
        space: EmbeddingSpace,
        turn: Arc<RwLock<()>>,
        progress: Arc<Mutex<Progress>>,
    ) -> Self {
        let page_size = context.limits.encode_batch.max(1);
        let queue = Queue::default();
        Self {
            context,
            collection,
            space,
            turn,
            progress,
            queue,
            making: None,
            page_size,
            suspects: HashMap::new(),
            encoded: 0,
        }
    }

    /// Works until it is told to stop.
    pub(super) async fn run(mut self, wake: Arc<Notify>, stop: CancellationToken) {
        tracing::debug!("begins");
        let mut pause = PAUSE_FIRST;
        loop {
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = self.catch_up(&mut pause) => outcome,
            };
            let rest = async {
                match outcome {
                    Ok(()) => {
                        wake.notified().await;
                        tokio::time::sleep(LINGER).await;
                    }
                    Err(error) => {
                        self.making = None;
                        let error = one_line(&error.to_string());
                        tracing::warn!(error, "pausing for {pause:?}");
                        self.tell(|told| told.paused = format!("{error}; trying again"));
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_LONGEST);
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = rest => {}
            }
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Encodes until nothing is left that could be. The pause is the first one again as soon as something succeeds.
    async fn catch_up(&mut self, pause: &mut Duration) -> Result<(), ServiceError> {
        loop {
            self.extend().await?;
            let candidates = self.queue.take(self.page_size);
            if candidates.is_empty() {
                self.tell_counts();
                self.tell(|told| told.paused.clear());
                return Ok(());
            }
            let outcome = self.page(&candidates).await;
            self.tell_counts();
            match outcome {
                Ok(was_encoded) => {
                    self.page_size =
                        (self.page_size * 2).min(self.context.limits.encode_batch.max(1));
                    if was_encoded {
                        *pause = PAUSE_FIRST;
                        self.tell(|told| told.paused.clear());
                    }
                }
                Err(error) => {
                    // Others come first, so that an object on which the encoder dies holds up nobody.
                    self.queue.put_back(candidates);
                    self.page_size = (self.page_size / 2).max(1);
                    return Err(error);
                }
            }
        }
    }

    fn tell_counts(&self) {
        let (failed, without_inputs) = self.queue.counts();
        self.tell(|told| {
            told.failed = failed;
            told.without_inputs = without_inputs;
            if failed == 0 {
                told.last_failure.clear();
            }
        });
    }

    /// Adds what was written since the last time.
    async fn extend(&mut self) -> Result<(), ServiceError> {
        let (door, name) = (self.context.own_door(), self.collection.clone());
        let view = blocking(move || door.view(&name)).await?;
        let (collection, version) = (view.collection(), view.version());
        let commits = match self.queue.seen(collection) {
            None => None,
            Some(seen) if seen >= version => return Ok(()),
            Some(seen) => {
                let view = view.clone();
                blocking(move || view.changes_since(seen)).await?
            }
        };
        match commits {
            Some(commits) => self.queue.follow(version, commits),
            None => {
                let ids = self.all_lacking(view).await?;
                if !ids.is_empty() {
                    tracing::info!(objects = ids.len(), "objects to be looked at");
                }
                self.queue.begin(collection, version, ids);
            }
        }
        Ok(())
    }

    /// All objects that lack something in the space, found on a thread that gives way to all others.
    async fn all_lacking(&self, view: CollectionView) -> Result<Vec<ObjectId>, ServiceError> {
        let (space, stop) = (self.space.id, StopFlag::default());
        let _stop = StopWhenDropped(stop.clone());
        giving_way(move || Ok(query::select(&view, None, None, Some(space), &stop)?)).await
    }

    /// Encodes those candidates that lack something and are not settled; whether anything was encoded.
    async fn page(&mut self, candidates: &[Candidate]) -> Result<bool, ServiceError> {
        let _turn = Arc::clone(&self.turn).write_owned().await;
        let (version, lacking) = self.lacking(candidates).await?;
        if lacking.is_empty() {
            return Ok(false);
        }
        let making = self.making().await?;
        let (page, keys) = self.inputs(&making, version, lacking).await?;
        let mut tally = Tally::default();
        let outcome = making.target.page(page, &mut tally).await;
        let Done { failed, version, .. } = match outcome {
            Err(ServiceError::Encoder(error)) => self.given_up(error, &keys)?,
            outcome => outcome?,
        };
        if let Some(version) = version {
            self.queue.wrote(version);
        }
        if let Some(first) = failed.first() {
            let (count, reason) = (failed.len(), one_line(&first.reason));
            tracing::warn!(count, id = %first.id, reason, "objects could not be encoded");
            self.tell(|told| told.last_failure = format!("{}: {reason}", first.id));
        }
        for failure in &failed {
            if let Some((key, print)) = keys.get(&failure.id) {
                self.queue.settle(*key, Some(*print));
            }
        }
        self.encoded += tally.encoded;
        for (key, _) in keys.values() {
            self.suspects.remove(key);
        }
        Ok(tally.encoded > 0)
    }

    /// An object that the encoder dies on fails, when it was alone often enough and others were encoded meanwhile; else the
    /// encoder's error is passed on.
    fn given_up(&mut self, error: EncoderError, keys: &Keys) -> Result<Done, EncoderError> {
        let encoded = self.encoded;
        for (key, _) in keys.values() {
            self.suspects.entry(*key).or_insert(Suspect { encoded, alone: 0 });
        }
        let mut alone = keys.iter();
        let (Some((id, (key, _))), None) = (alone.next(), alone.next()) else { return Err(error) };
        let Some(suspect) = self.suspects.get_mut(key) else { return Err(error) };
        suspect.alone += 1;
        if suspect.alone < ALONE_MAX || suspect.encoded == encoded {
            return Err(error);
        }
        let failure = Failure { id: id.clone(), reason: error.to_string() };
        Ok(Done { failed: vec![failure], ..Done::default() })
    }

    /// Reads candidates; those that have something in the space, or are gone, are left out.
    async fn lacking(
        &mut self,
        candidates: &[Candidate],
    ) -> Result<(u64, Vec<Lacking>), ServiceError> {
        let (mut ids, mut keys) = (Vec::new(), Vec::new());
        for candidate in candidates {
            match candidate {
                Candidate::Id(id) => ids.push(id.clone()),
                Candidate::Key(key) => keys.push(*key),
            }
        }
        let (door, name, space) = (self.context.own_door(), self.collection.clone(), self.space.id);
        let (version, found) = blocking(move || -> Result<_, ServiceError> {
            let view = door.view(&name)?;
            let mut found: Vec<Lacking> = view.columns_of(&ids)?.into_iter().flatten().collect();
            found.extend(view.fetch(&keys, false)?.into_iter().flatten());
            // An object may be there by its id and by its key.
            found.sort_by_key(|(key, _)| *key);
            found.dedup_by_key(|(key, _)| *key);
            let ids: Vec<ObjectId> = found.iter().map(|(_, object)| object.id.clone()).collect();
            let have = view.have(space, &ids)?;
            Ok((view.version(), found.into_iter().zip(have).collect::<Vec<_>>()))
        })
        .await?;
        let mut lacking = Vec::with_capacity(found.len());
        for ((key, object), has) in found {
            if has {
                self.queue.unsettle(key);
            } else {
                lacking.push((key, object));
            }
        }
        Ok((version, lacking))
    }

    /// The model and the columns, as they are now.
    async fn making(&mut self) -> Result<Arc<Making>, ServiceError> {
        if let Some(making) = &self.making {
            return Ok(Arc::clone(making));
        }
        let (context, collection, space) = (&self.context, &self.collection, &self.space);
        let names = Names {
            collection: collection.clone(),
            model: space.provenance.encoder.clone(),
            pooling: space.provenance.pooling.clone(),
            space: space.name.clone(),
            overwrite: false,
        };
        let wanted = Wanted::find(context, &names).await?;
        let gone = || ServiceError::SpaceGone {
            collection: collection.clone(),
            space: space.name.clone(),
        };
        let found = wanted.schema.space_by_id(space.id).filter(|found| *found == space);
        let inputs = found.and_then(|space| space.at_ingest.clone()).ok_or_else(gone)?.inputs;
        let map = InputMap::new(&wanted.schema, &wanted.model, inputs.into_iter().collect())?;
        let target = Target {
            context: context.clone(),
            collection: collection.clone(),
            model: wanted.model.id,
            pooling: wanted.pooling,
            space: space.clone(),
            overwrite: false,
            // The worker pauses itself, and says so.
            retries_max: 0,
        };
        let making = Arc::new(Making { target, map });
        self.making = Some(Arc::clone(&making));
        Ok(making)
    }

    /// The page of those objects that are not settled, with their keys and prints.
    async fn inputs(
        &mut self,
        making: &Arc<Making>,
        version: u64,
        lacking: Vec<Lacking>,
    ) -> Result<(Page, Keys), ServiceError> {
        let shared = Arc::clone(making);
        let printed = blocking(move || -> Result<_, ServiceError> {
            let print = |(key, object): Lacking| (key, shared.map.print(&object), object);
            Ok(lacking.into_iter().map(print).collect::<Vec<_>>())
        })
        .await?;
        let mut objects = Vec::with_capacity(printed.len());
        let mut keys = HashMap::with_capacity(printed.len());
        for (key, print, object) in printed {
            if self.queue.is_settled(key, print) {
                continue;
            }
            self.queue.unsettle(key);
            if let Some(print) = print {
                keys.insert(object.id.clone(), (key, print));
                objects.push(object);
            }
        }
        let shared = Arc::clone(making);
        let page = blocking(move || -> Result<_, ServiceError> {
            Ok(Page::of_columns(&shared.map, version, objects))
        });
        Ok((page.await?, keys))
    }
}

/// Runs work on a thread of its own that gives way to all others.
async fn giving_way<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
) -> Result<T, ServiceError> {
    let failed = |reason: String| ServiceError::Task { reason };
    let (sender, receiver) = oneshot::channel();
    let span = tracing::Span::current();
    let run = move || {
        idle::give_way();
        // Nobody receives it when the server stops.
        let _ = sender.send(span.in_scope(work));
    };
    let thread = std::thread::Builder::new().name("encode-select".to_owned());
    thread.spawn(run).map_err(|error| failed(error.to_string()))?;
    receiver.await.map_err(|_| failed("its thread ended".to_owned()))?
}
