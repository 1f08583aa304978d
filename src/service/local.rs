//! The services of a database that this process has opened for itself: the same ones, without an address that anybody else
//! could reach.
//!
//! Calls go through a pipe in memory. The rows of an import do not: they stay in the columns in which they were read, instead
//! of becoming bytes that are copied half a dozen times before they are columns again.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_health::server::HealthReporter;
use tower::service_fn;

use super::context::{Context, Watching};
use super::ingest::{self, IngestInput};
use super::layers::layers;
use super::metrics::Metrics;
use super::readiness::Readiness;
use super::server::{ServerError, ServiceOptions, router};
use super::stop::Stop;
use super::telemetry::SlowQueries;
use crate::access::{AccessOptions, Registry, system_clock};
use crate::engine::Db;
use crate::wire::v1;

/// Bytes that wait in the pipe.
const PIPE_BYTES: usize = 1 << 20;

/// How long the end of what is under way is waited for.
const END_MAX: Duration = Duration::from_secs(10);

/// What a client of its own database calls.
const NOWHERE: &str = "http://in-process.invalid";

/// A database, served to this process alone. Whoever can open its directory may do everything.
pub struct Local {
    context: Context,
    channel: Channel,
    ending: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl fmt::Debug for Local {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Local").finish_non_exhaustive()
    }
}

impl Local {
    /// Serves a database through a pipe. Of the options only limits and shares of calls are used; nothing is listened to, and
    /// there is no encoder: what is to be encoded at ingest waits for the next server.
    ///
    /// # Errors
    /// [`ServerError::Access`]; [`ServerError::Transport`].
    pub async fn open(options: &ServiceOptions, db: Db) -> Result<Self, ServerError> {
        let access = AccessOptions::default();
        let registry = Registry::open_with(Arc::new(db.clone()), system_clock(), access)?;
        let options = ServiceOptions { authentication: None, audit: None, ..options.clone() };
        let (metrics, readiness) = (Metrics::new(), Readiness::new(options.free_bytes_min));
        let watching =
            Watching { metrics, slow: SlowQueries { from: None }, stop: Stop::default() };
        let (limits, admission) = (options.limits.clone(), options.admission);
        let context = Context::new(db, registry.clone(), None, limits, admission, watching);
        let around = layers(&options, &context, registry, None, &readiness);
        let router = router(&context, &HealthReporter::new(), around)?;
        readiness.serve();
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let ending = CancellationToken::new();
        // One connection, and none after it.
        let incoming = stream::once(async { Ok::<_, io::Error>(theirs) }).chain(stream::pending());
        let serving =
            router.serve_with_incoming_shutdown(incoming, ending.clone().cancelled_owned());
        let serving = tokio::spawn(serving);
        let channel = connected(ours).await?;
        Ok(Self { context, channel, ending, serving })
    }

    /// For clients of every service.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// What `ObjectService.Ingest` does, for rows that may stay where they are.
    pub fn ingest(
        &self,
        messages: impl Stream<Item = IngestInput> + Send + 'static,
    ) -> BoxStream<'static, Result<v1::IngestResponse, Status>> {
        let messages = Box::pin(messages.map(Ok));
        ingest::run(self.context.clone(), self.context.own_door(), messages)
    }

    /// Ends what is under way; the database is closed once nothing else has it.
    pub async fn close(self) {
        let Self { context, channel, ending, serving } = self;
        drop(channel);
        context.stop.jobs.cancel();
        ending.cancel();
        let ended = async {
            let _ = serving.await;
            context.batches_ended().await;
        };
        if tokio::time::timeout(END_MAX, ended).await.is_err() {
            tracing::warn!("calls do not end");
        }
    }
}

/// A channel over one end of a pipe.
async fn connected(pipe: DuplexStream) -> Result<Channel, tonic::transport::Error> {
    let pipe = Mutex::new(Some(pipe));
    let connect = service_fn(move |_| {
        let pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        std::future::ready(pipe.map(TokioIo::new).ok_or_else(broken))
    });
    Endpoint::from_static(NOWHERE).connect_with_connector(connect).await
}
