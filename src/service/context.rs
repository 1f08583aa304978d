//! What every service of one server shares.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, AdmissionOptions, Caller, Cost, Turn};
use super::door::{Door, Policies};
use super::encoding::Workers;
use super::metrics::{Metrics, Queue};
use super::stop::Stop;
use super::telemetry::SlowQueries;
use super::upkeep::Upkeep;
use super::{Limits, ServiceError};
use crate::access::{Grant, Registry, Role};
use crate::encoder::EncoderHandle;
use crate::engine::{CollectionInfo, CollectionView, Db, EngineError};
use crate::idle;
use crate::probes::Tools;
use crate::probes::bridge::Bridges;
use crate::schema::CollectionSchema;

/// Fits and applications of probes and bridges that are under way at once: each may take all processors.
const FITS_AT_ONCE: usize = 2;

/// Index builds, releases and snapshots that are made, looked at or compared at once.
const JOBS_AT_ONCE: usize = 4;

/// Commits of bulk imports whose files are written at once: each takes several threads, and memory beside that of its batches.
const STAGINGS_MAX: usize = 2;

/// One in so many of the threads that serve calls, of which there is one for each processor, may answer a query of milliseconds
/// meanwhile: the others read what arrives, so that it waits in the order that is fair.
const SHARE_SERVING: usize = 2;

/// The database, the encoder and the limits behind the services.
#[derive(Clone)]
pub(super) struct Context {
    /// The embedded database.
    pub(super) db: Db,
    /// Its bridges between spaces.
    pub(super) bridges: Bridges,
    /// Who may do what with it.
    pub(super) registry: Registry,
    encoder: Option<EncoderHandle>,
    policies: Arc<Policies>,
    /// Sizes that requests keep to.
    pub(super) limits: Arc<Limits>,
    /// Which query runs now, waits, or is refused.
    pub(super) admission: Admission,
    batches: Arc<Semaphore>,
    stagings: Arc<Semaphore>,
    fits: Arc<Semaphore>,
    jobs: Arc<Semaphore>,
    /// Threads that serve calls and may answer a short query meanwhile.
    here: Arc<Semaphore>,
    /// What encodes objects as they arrive.
    pub(super) at_ingest: Arc<Workers>,
    /// What is counted.
    pub(super) metrics: Metrics,
    /// What becomes of slow queries.
    pub(super) slow: SlowQueries,
    /// When the server ends.
    pub(super) stop: Stop,
    /// Scrubs and places for backups.
    pub(super) upkeep: Arc<Upkeep>,
    /// Set when the server begins to stop: jobs end at the next batch, and nobody waits for a turn any more.
    pub(super) stopping: CancellationToken,
}

/// What is told of a server while it runs, and when it ends.
pub(super) struct Watching {
    /// What is counted.
    pub(super) metrics: Metrics,
    /// What becomes of slow queries.
    pub(super) slow: SlowQueries,
    /// When the server ends.
    pub(super) stop: Stop,
}

impl Context {
    /// Puts the parts together.
    pub(super) fn new(
        db: Db,
        registry: Registry,
        encoder: Option<EncoderHandle>,
        limits: Limits,
        admission: AdmissionOptions,
        watching: Watching,
    ) -> Self {
        let Watching { metrics, slow, stop } = watching;
        let bridges = Bridges::new(Tools::new(db.clone(), encoder.clone()));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            db,
            bridges,
            registry,
            encoder,
            admission: Admission::new(admission),
            policies: Arc::default(),
            fits: Arc::new(Semaphore::new(FITS_AT_ONCE)),
            jobs: Arc::new(Semaphore::new(JOBS_AT_ONCE)),
            here: Arc::new(Semaphore::new(processors / SHARE_SERVING)),
            batches: Arc::new(Semaphore::new(limits.batches_in_flight_max)),
            stagings: Arc::new(Semaphore::new(STAGINGS_MAX)),
            limits: Arc::new(limits),
            at_ingest: Arc::default(),
            metrics,
            slow,
            stopping: stop.jobs.clone(),
            stop,
            upkeep: Arc::default(),
        }
    }

    /// The encoder process.
    ///
    /// # Errors
    /// [`ServiceError::NoEncoder`] when the server runs without one.
    pub(super) fn encoder(&self) -> Result<&EncoderHandle, ServiceError> {
        self.encoder.as_ref().ok_or(ServiceError::NoEncoder)
    }

    /// The database as a call may see it.
    pub(super) fn door(&self, grant: Grant) -> Door {
        Door::new(self.db.clone(), grant, Arc::clone(&self.policies))
    }

    /// The database as the server itself sees it, for work of its own that no call waits for.
    pub(super) fn own_door(&self) -> Door {
        self.door(Grant::open(None))
    }

    /// What somebody sees of a collection now.
    ///
    /// # Errors
    /// [`ServiceError::NotGranted`] for another collection than that of the grant; those of the database.
    pub(super) fn view(
        &self,
        grant: &Grant,
        collection: &str,
    ) -> Result<CollectionView, ServiceError> {
        self.door(grant.clone()).view(collection)
    }

    /// The collections that a caller may know of, each with the door to it, for a call that names none.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) fn known(&self, grant: &Grant) -> Result<Vec<(Door, CollectionInfo)>, EngineError> {
        let grant_of = |name: &str| {
            if grant.open {
                return Some(Grant { collection: Some(name.into()), ..grant.clone() });
            }
            self.registry.decide(&grant.identity, Role::Read, Some(name)).ok()
        };
        let infos = self.db.collections()?.into_iter();
        let known = infos.filter_map(|info| Some((self.door(grant_of(&info.schema.name)?), info)));
        Ok(known.collect())
    }

    /// Schema of a collection as it is now.
    pub(super) async fn schema(&self, collection: &str) -> Result<CollectionSchema, ServiceError> {
        let (db, name) = (self.db.clone(), collection.to_owned());
        blocking(move || db.schema(&name)).await
    }

    /// Waits until a search or count may run, on behalf of the call that the task serves.
    ///
    /// # Errors
    /// [`ServiceError::Limited`] where it would wait too long, or needs more memory than there is.
    pub(super) async fn search_turn(&self, cost: Cost) -> Result<Turn, ServiceError> {
        let _waiting = self.metrics.waits(Queue::Searches);
        let turn = self.admission.enter(Caller::current().as_ref(), cost).await?;
        if turn.is_behind() {
            self.metrics.behind();
        }
        Ok(turn)
    }

    /// Takes the thread that serves this call for a short query, if enough others are left.
    pub(super) fn take_thread(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.here).try_acquire_owned().ok()
    }

    /// Waits until one more probe or bridge may be fitted or applied.
    pub(super) async fn fit_turn(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        let _waiting = self.metrics.waits(Queue::Fits);
        turn(&self.fits).await
    }

    /// Waits until one more index, release or snapshot may be made or looked at.
    pub(super) async fn job_turn(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        let _waiting = self.metrics.waits(Queue::Jobs);
        turn(&self.jobs).await
    }

    /// Waits until the files of one more commit may be written.
    pub(super) async fn staging_turn(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        turn(&self.stagings).await
    }

    /// Waits until no ingest batch is held any more.
    pub(super) async fn batches_ended(&self) {
        let all = u32::try_from(self.limits.batches_in_flight_max).unwrap_or(u32::MAX);
        let _ = self.batches.acquire_many(all).await;
    }

    /// Waits until one more ingest batch may be held.
    pub(super) async fn batch_turn(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        let _waiting = self.metrics.waits(Queue::Batches);
        turn(&self.batches).await
    }
}

/// Waits for a permit that the holder can take along.
pub(super) async fn turn(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ServiceError> {
    // Semaphores are closed by nobody; if one ever is, the server is being taken apart.
    Arc::clone(semaphore).acquire_owned().await.map_err(|_| ServiceError::Stopping)
}

/// Runs synchronous work of the database on a thread that may block.
///
/// The work goes on to its end when the future is dropped, so a write is never half done.
pub(super) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, ServiceError>
where
    T: Send + 'static,
    E: Send + 'static,
    ServiceError: From<E>,
{
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(outcome) => Ok(outcome?),
        Err(failure) => Err(ServiceError::Task { reason: failure.to_string() }),
    }
}

/// Does synchronous work in a turn, on the threads that it must run on. The turn is held until the end of the work, which may
/// outlive a caller that has gone.
///
/// # Errors
/// As [`blocking`].
pub(super) async fn in_turn<H, T, E>(
    mut turn: H,
    work: impl FnOnce(&mut H) -> Result<T, E> + Send + 'static,
) -> Result<T, ServiceError>
where
    H: AsRef<Turn> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
    ServiceError: From<E>,
{
    let span = tracing::Span::current();
    let (Some(threads), Some(others)) = (turn.as_ref().threads(), turn.as_ref().others()) else {
        return blocking(move || work(&mut turn)).await;
    };
    let done = threads.spawn_blocking(move || {
        let work = || idle::after_others(others, || span.in_scope(|| work(&mut turn)));
        let outcome = catch_unwind(AssertUnwindSafe(work));
        (outcome, turn)
    });
    // Ending a turn takes locks that others wait for: not on a thread that gives way while it holds them. A task of its own sees
    // to that when the caller has gone, too.
    let ended = tokio::spawn(async move {
        let (outcome, turn) = done.await.map_err(|failure| failure.to_string())?;
        drop(turn);
        outcome.map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("the work panicked: {}", text.unwrap_or_default())
        })
    });
    match ended.await {
        Ok(Ok(outcome)) => Ok(outcome?),
        Ok(Err(reason)) => Err(ServiceError::Task { reason }),
        Err(failure) => Err(ServiceError::Task { reason: failure.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::query::StopFlag;
    use crate::service::RequestError;

    /// A turn that tells whether the thread that ends it gives way.
    struct Told {
        turn: Turn,
        tell: Option<oneshot::Sender<bool>>,
    }

    impl AsRef<Turn> for Told {
        fn as_ref(&self) -> &Turn {
            &self.turn
        }
    }

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.tell.take().map(|tell| tell.send(idle::gives_way()));
        }
    }

    #[tokio::test]
    async fn work_behind_others_gives_way_and_its_turn_ends_on_a_thread_that_does_not() {
        let admission = Admission::new(AdmissionOptions::default());
        let behind = || {
            let (tell, ended) = oneshot::channel();
            (Told { turn: admission.behind(Cost::unknown()), tell: Some(tell) }, ended)
        };
        let (turn, ended) = behind();
        let gives_way = in_turn(turn, |_| Ok::<_, RequestError>(idle::gives_way()));
        assert!(matches!(gives_way.await, Ok(true)));
        assert_eq!(ended.await, Ok(false));
        let (turn, ended) = behind();
        let panicked = in_turn(turn, |_| -> Result<(), RequestError> { panic!("bad day") }).await;
        assert!(matches!(panicked, Err(ServiceError::Task { .. })));
        assert_eq!(ended.await, Ok(false));
        // The caller goes while it is done.
        let (turn, ended) = behind();
        let (end, goes_on) = std::sync::mpsc::channel::<()>();
        let work = in_turn(turn, move |_| -> Result<(), RequestError> {
            let _ = goes_on.recv();
            Ok(())
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), work).await.is_err());
        drop(end);
        assert_eq!(ended.await, Ok(false));
    }

    #[tokio::test]
    async fn work_behind_others_waits_for_them_and_other_work_does_not() {
        let running = Some(1);
        let admission = Admission::new(AdmissionOptions { running, ..AdmissionOptions::default() });
        let are_done = Arc::new(AtomicBool::new(false));
        let look = |turn: Turn, stop: &StopFlag| {
            let (stop, are_done) = (stop.clone(), Arc::clone(&are_done));
            in_turn(turn, move |_| -> Result<bool, RequestError> {
                let _ = stop.check();
                Ok(are_done.load(Ordering::SeqCst))
            })
        };
        let others = admission.enter(None, Cost::unknown()).await.expect("a slot is free");
        // Nobody waits for the answer any more.
        let raised = StopFlag::default();
        raised.raise();
        let gone = look(admission.behind(Cost::unknown()), &raised);
        let gone = tokio::time::timeout(Duration::from_secs(30), gone).await;
        assert!(matches!(gone, Ok(Ok(false))));
        let stop = StopFlag::default();
        let behind = tokio::spawn(look(admission.behind(Cost::unknown()), &stop));
        tokio::time::sleep(Duration::from_millis(20)).await;
        are_done.store(true, Ordering::SeqCst);
        drop(others);
        assert!(matches!(behind.await.expect("no panic"), Ok(true)));
        are_done.store(false, Ordering::SeqCst);
        let turn = admission.enter(None, Cost::unknown()).await.expect("a slot is free");
        assert!(matches!(look(turn, &stop).await, Ok(false)));
    }

    #[tokio::test]
    async fn a_panic_of_the_work_is_an_error_of_its_request_alone() {
        let panicked = blocking(|| -> Result<(), RequestError> { panic!("bad day") }).await;
        assert!(matches!(panicked, Err(ServiceError::Task { .. })));
        let refused = blocking(|| -> Result<(), RequestError> { Err(RequestError::NotOpened) });
        assert!(matches!(refused.await, Err(ServiceError::Request(RequestError::NotOpened))));
        let done = blocking(|| -> Result<u8, RequestError> { Ok(3) }).await;
        assert!(matches!(done, Ok(3)));
    }
}
