//! What the server counts, in the text form that Prometheus reads.
//!
//! Events are counted where they happen ([`Metrics`]); states (rows, queues, memory, disk) are read when somebody asks
//! ([`scrape`]). Every label has a bounded set of values: methods are those of the protocol, plans those of the planner,
//! limits those of the program, and of collections the first [`COLLECTIONS_MAX`] by name are told apart. No identity, no id
//! of an object and no text of a caller ever becomes a label.

mod families;
mod names;
mod process;
mod states;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tonic::Code;

use super::context::blocking;
use super::{ServiceError, readiness::Readiness};
use crate::encoder::EncoderHandle;
use crate::engine::Db;
use crate::query::QueryStats;
use crate::wire::v1;
use families::Families;
use names::Methods;
use states::States;

/// The form of the text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Collections that are told apart; the others are one.
const COLLECTIONS_MAX: usize = 100;

/// How long an encoder may take to tell its figures before a scrape goes on without them.
const ENCODER_WAIT: Duration = Duration::from_millis(500);

/// How long the size of the data directory is good: looking at every file has its price.
const DISK_USE_AGE: Duration = Duration::from_secs(30);

/// What waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// Searches and counts.
    Searches,
    /// Fits and applications of probes and bridges.
    Fits,
    /// Batches of ingest.
    Batches,
    /// Index builds, releases and snapshots.
    Jobs,
}

impl Queue {
    const ALL: [Self; 4] = [Self::Searches, Self::Fits, Self::Batches, Self::Jobs];

    fn name(self) -> &'static str {
        match self {
            Self::Searches => "searches",
            Self::Fits => "fits",
            Self::Batches => "batches",
            Self::Jobs => "jobs",
        }
    }
}

/// The counts of one server. Cheap to clone; every clone is the same counts.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    families: Families,
    methods: Methods,
    waiting: [AtomicI64; Queue::ALL.len()],
    disk_use: Mutex<Option<(Instant, u64)>>,
}

/// What waits; counted until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    metrics: Metrics,
    queue: Queue,
    began: Instant,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.metrics.inner.waiting[self.queue as usize].fetch_sub(1, Ordering::Relaxed);
        let seconds = self.began.elapsed().as_secs_f64();
        self.metrics.inner.families.waited(self.queue.name(), seconds);
    }
}

impl Metrics {
    /// Begins to count.
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("sidereus");
        let families = Families::register(&mut registry);
        let inner = Inner {
            registry,
            families,
            methods: Methods::of_protocol(),
            waiting: Default::default(),
            disk_use: Mutex::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A call has begun.
    pub(super) fn call_began(&self) {
        self.inner.families.in_flight.inc();
    }

    /// A call has ended: of a path such as `/sidereus.v1.SearchService/Search`, after its last message. Paths that the
    /// protocol does not have are counted as one.
    pub(super) fn call_ended(&self, path: &str, code: Code, seconds: f64) {
        self.inner.families.in_flight.dec();
        self.inner.families.call(self.inner.methods.label(path), code, seconds);
    }

    /// A search was answered.
    pub(super) fn searched(&self, stats: &QueryStats, seconds: f64) {
        self.inner.families.search(stats, seconds);
    }

    /// Something waits for its turn, until what is returned is dropped.
    pub(super) fn waits(&self, queue: Queue) -> Waiting {
        self.inner.waiting[queue as usize].fetch_add(1, Ordering::Relaxed);
        Waiting { metrics: self.clone(), queue, began: Instant::now() }
    }

    /// A request was refused because of a limit, by the name that the limit has in the configuration.
    pub(super) fn rejected(&self, limit: &'static str) {
        self.inner.families.rejected(limit);
    }

    /// A call came although the server stops.
    pub(super) fn came_late(&self) {
        self.rejected(families::DRAIN);
    }

    /// A batch of rows was written.
    pub(super) fn ingested(&self, written: u64, refused: u64, bytes: u64) {
        self.inner.families.ingested(written, refused, bytes);
    }

    /// A query runs behind those of others.
    pub(super) fn behind(&self) {
        self.inner.families.behind.inc();
    }

    /// A query took longer than it should.
    pub(super) fn slow(&self) {
        self.inner.families.slow.inc();
    }

    fn disk_use(&self, db: &Db) -> u64 {
        let mut kept = self.inner.disk_use.lock().unwrap_or_else(PoisonError::into_inner);
        match *kept {
            Some((at, bytes)) if at.elapsed() < DISK_USE_AGE => bytes,
            _ => {
                let bytes = db.disk_bytes();
                *kept = Some((Instant::now(), bytes));
                bytes
            }
        }
    }

    fn waiting(&self) -> [(&'static str, i64); Queue::ALL.len()] {
        let of = |queue: Queue| self.inner.waiting[queue as usize].load(Ordering::Relaxed);
        Queue::ALL.map(|queue| (queue.name(), of(queue)))
    }
}

/// What figures are read from.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    pub(super) metrics: Metrics,
    pub(super) db: Db,
    pub(super) encoder: Option<EncoderHandle>,
    pub(super) readiness: Readiness,
}

/// Writes down all that is counted, and all states as they are now.
///
/// # Errors
/// Those of reading the list of collections.
pub(super) async fn scrape(sources: &Sources) -> Result<String, ServiceError> {
    let encoders = encoders(sources.encoder.as_ref()).await;
    let sources = sources.clone();
    blocking(move || {
        let Sources { metrics, db, readiness, .. } = sources;
        let states = States {
            db: db.figures()?,
            disk_use_bytes: metrics.disk_use(&db),
            encoders,
            waiting: metrics.waiting(),
            is_ready: readiness.reasons(&db).is_empty(),
            process: process::Process::read(),
        };
        let mut of_now = Registry::default();
        states.register(&mut of_now);
        let mut text = String::new();
        text::encode_registry(&mut text, &metrics.inner.registry)
            .and_then(|()| text::encode_registry(&mut text, &of_now))
            .and_then(|()| text::encode_eof(&mut text))
            .map_err(|error| ServiceError::Task { reason: error.to_string() })?;
        Ok::<_, ServiceError>(text)
    })
    .await
}

/// What encoders have done; `None` without an encoder, and no figures of one that does not answer.
async fn encoders(encoder: Option<&EncoderHandle>) -> Option<Result<Vec<v1::EncoderMetrics>, ()>> {
    let asked = tokio::time::timeout(ENCODER_WAIT, encoder?.model_list()).await;
    Some(match asked {
        Ok(Ok(list)) => Ok(list.metrics),
        Ok(Err(_)) | Err(_) => Err(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_strangers_are_one_label_and_limits_are_told_by_name() {
        let metrics = Metrics::new();
        for path in ["/a/b", "/c/d", "", "/sidereus.v1.SearchService/Nothing"] {
            metrics.call_began();
            metrics.call_ended(path, Code::Unimplemented, 0.01);
        }
        metrics.call_began();
        metrics.call_ended("/sidereus.v1.SearchService/Search", Code::Ok, 0.2);
        metrics.rejected("limits.searches_at_once");
        drop(metrics.waits(Queue::Fits));
        let mut text = String::new();
        text::encode(&mut text, &metrics.inner.registry).expect("text");
        assert!(
            text.contains("sidereus_calls_total{method=\"other\",code=\"Unimplemented\"} 4"),
            "{text}"
        );
        assert!(
            text.contains("method=\"sidereus.v1.SearchService/Search\",code=\"Ok\"} 1"),
            "{text}"
        );
        assert!(text.contains("sidereus_rejections_total{limit=\"limits.searches_at_once\"} 1"));
        assert!(text.contains("sidereus_queue_wait_seconds_count{queue=\"fits\"} 1"));
        assert!(text.contains("sidereus_calls_in_flight 0"));
    }
}
