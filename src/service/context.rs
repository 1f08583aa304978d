//! What every service of one server shares.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::encoding::Workers;
use super::upkeep::Upkeep;
use super::{Limits, ServiceError};
use crate::encoder::EncoderHandle;
use crate::engine::Db;
use crate::probes::Tools;
use crate::probes::bridge::Bridges;
use crate::schema::CollectionSchema;

/// Fits and applications of probes and bridges that are under way at once: each may take all processors.
const FITS_AT_ONCE: usize = 2;

/// The database, the encoder and the limits behind the services.
#[derive(Clone)]
pub(super) struct Context {
    /// The embedded database.
    pub(super) db: Db,
    /// Its bridges between spaces.
    pub(super) bridges: Bridges,
    encoder: Option<EncoderHandle>,
    /// Sizes that requests keep to.
    pub(super) limits: Arc<Limits>,
    searches: Arc<Semaphore>,
    batches: Arc<Semaphore>,
    fits: Arc<Semaphore>,
    /// What encodes objects as they arrive.
    pub(super) at_ingest: Arc<Workers>,
    /// Scrubs and places for backups.
    pub(super) upkeep: Arc<Upkeep>,
    /// Set when the server begins to stop: streams and jobs end at the next batch.
    pub(super) stopping: CancellationToken,
}

impl Context {
    /// Puts the parts together.
    pub(super) fn new(
        db: Db,
        encoder: Option<EncoderHandle>,
        limits: Limits,
        stopping: CancellationToken,
    ) -> Self {
        let bridges = Bridges::new(Tools::new(db.clone(), encoder.clone()));
        Self {
            db,
            bridges,
            encoder,
            searches: Arc::new(Semaphore::new(limits.searches_at_once_max)),
            fits: Arc::new(Semaphore::new(FITS_AT_ONCE)),
            batches: Arc::new(Semaphore::new(limits.batches_in_flight_max)),
            limits: Arc::new(limits),
            at_ingest: Arc::default(),
            upkeep: Arc::default(),
            stopping,
        }
    }

    /// The encoder process.
    ///
    /// # Errors
    /// [`ServiceError::NoEncoder`] when the server runs without one.
    pub(super) fn encoder(&self) -> Result<&EncoderHandle, ServiceError> {
        self.encoder.as_ref().ok_or(ServiceError::NoEncoder)
    }

    /// Schema of a collection as it is now.
    pub(super) async fn schema(&self, collection: &str) -> Result<CollectionSchema, ServiceError> {
        let (db, name) = (self.db.clone(), collection.to_owned());
        blocking(move || db.schema(&name)).await
    }

    /// Waits until one more search or count may run.
    pub(super) async fn search_turn(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        turn(&self.searches).await
    }

    /// Waits until one more probe or bridge may be fitted or applied.
    pub(super) async fn fit_turn(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        turn(&self.fits).await
    }

    /// Waits until one more ingest batch may be held.
    pub(super) async fn batch_turn(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::RequestError;

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
