//! Counts of events, and their names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

use crate::query::QueryStats;

/// Upper edges of times, in seconds: from a search that is answered where it arrives to a stream of minutes.
const SECONDS: [f64; 16] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
    300.0,
];

/// Upper edges of recall: those that an index is tuned for, and what lies below.
const RECALLS: [f64; 8] = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999];

/// The limit in whose name calls are refused while the server stops.
pub(super) const DRAIN: &str = "server.drain_s";

/// A histogram of given edges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edges(&'static [f64]);

impl MetricConstructor<Histogram> for Edges {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// One label.
type One = [(&'static str, &'static str); 1];

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallLabels {
    method: String,
    code: &'static str,
}

/// A method.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MethodLabel {
    method: String,
}

/// All counts of events.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) in_flight: Gauge,
    pub(super) slow: Counter,
    pub(super) behind: Counter,
    calls: Family<CallLabels, Counter>,
    call_seconds: Family<MethodLabel, Histogram, Edges>,
    searches: Family<One, Counter>,
    search_seconds: Family<One, Histogram, Edges>,
    rows_scanned: Counter,
    bytes_read: Counter,
    exact: Counter,
    recall: Histogram,
    wait_seconds: Family<One, Histogram, Edges>,
    rejections: Family<One, Counter>,
    ingest_rows: Family<One, Counter>,
    ingest_bytes: Counter,
    ingest_batches: Counter,
}

impl Families {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let families = Self {
            in_flight: Gauge::default(),
            slow: Counter::default(),
            behind: Counter::default(),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(Edges(&SECONDS)),
            searches: Family::default(),
            search_seconds: Family::new_with_constructor(Edges(&SECONDS)),
            rows_scanned: Counter::default(),
            bytes_read: Counter::default(),
            exact: Counter::default(),
            recall: Histogram::new(RECALLS),
            wait_seconds: Family::new_with_constructor(Edges(&SECONDS)),
            rejections: Family::default(),
            ingest_rows: Family::default(),
            ingest_bytes: Counter::default(),
            ingest_batches: Counter::default(),
        };
        families.register_calls(registry);
        families.register_searches(registry);
        families.register_ingest(registry);
        families
    }

    fn register_calls(&self, registry: &mut Registry) {
        registry.register("calls_in_flight", "Calls under way", self.in_flight.clone());
        registry.register("calls", "Calls that ended, by method and status", self.calls.clone());
        let help = "Time from a call's beginning to its last message";
        registry.register_with_unit("call", help, Unit::Seconds, self.call_seconds.clone());
        let help = "Time that work waited for its turn";
        registry.register_with_unit("queue_wait", help, Unit::Seconds, self.wait_seconds.clone());
        let help = "Requests refused because of a limit, by its name in the configuration";
        registry.register("rejections", help, self.rejections.clone());
        // Known from the first scrape on, so that an increase from nothing is seen.
        drop(self.rejections.get_or_create(&[("limit", DRAIN)]));
        for queue in super::Queue::ALL {
            drop(self.wait_seconds.get_or_create(&[("queue", queue.name())]));
        }
    }

    fn register_searches(&self, registry: &mut Registry) {
        registry.register("searches", "Searches answered, by plan", self.searches.clone());
        let help = "Time of a search in the database, by plan";
        registry.register_with_unit("search", help, Unit::Seconds, self.search_seconds.clone());
        registry.register("searches_exact", "Searches whose answer is exact", self.exact.clone());
        let help = "Rows whose distance was computed, from a code or exactly";
        registry.register("search_rows_scanned", help, self.rows_scanned.clone());
        let help = "Bytes of vectors and codes read by searches";
        registry.register("search_read_bytes", help, self.bytes_read.clone());
        let help = "Recall that indices measured of themselves for approximate searches";
        registry.register("search_estimated_recall", help, self.recall.clone());
        let help = "Queries that took longer than server.slow_query_ms";
        registry.register("slow_queries", help, self.slow.clone());
        let help = "Queries of callers who asked for more than they can have, done when nothing else wanted the processor";
        registry.register("queries_behind", help, self.behind.clone());
    }

    fn register_ingest(&self, registry: &mut Registry) {
        let help = "Rows that came by ingest, by what became of them";
        registry.register("ingest_rows", help, self.ingest_rows.clone());
        let help = "Bytes of ingest messages that were written";
        registry.register("ingest_bytes", help, self.ingest_bytes.clone());
        registry.register("ingest_batches", "Batches written", self.ingest_batches.clone());
        for outcome in ["written", "refused"] {
            drop(self.ingest_rows.get_or_create(&[("outcome", outcome)]));
        }
    }

    pub(super) fn call(&self, method: &str, code: Code, seconds: f64) {
        let labels = CallLabels { method: method.to_owned(), code: name(code) };
        self.calls.get_or_create(&labels).inc();
        let label = MethodLabel { method: labels.method };
        self.call_seconds.get_or_create(&label).observe(seconds);
    }

    pub(super) fn search(&self, stats: &QueryStats, seconds: f64) {
        let plan = [("plan", plan(&stats.plan))];
        self.searches.get_or_create(&plan).inc();
        self.search_seconds.get_or_create(&plan).observe(seconds);
        self.rows_scanned.inc_by(stats.rows_scanned);
        self.bytes_read.inc_by(stats.bytes_read);
        if stats.exact {
            self.exact.inc();
        }
        if let Some(recall) = stats.estimated_recall {
            self.recall.observe(recall);
        }
    }

    pub(super) fn waited(&self, queue: &'static str, seconds: f64) {
        self.wait_seconds.get_or_create(&[("queue", queue)]).observe(seconds);
    }

    pub(super) fn rejected(&self, limit: &'static str) {
        self.rejections.get_or_create(&[("limit", limit)]).inc();
    }

    pub(super) fn ingested(&self, written: u64, refused: u64, bytes: u64) {
        self.ingest_rows.get_or_create(&[("outcome", "written")]).inc_by(written);
        self.ingest_rows.get_or_create(&[("outcome", "refused")]).inc_by(refused);
        self.ingest_bytes.inc_by(bytes);
        self.ingest_batches.inc();
    }
}

/// Names of plans are those of the planner; any other is one label.
fn plan(name: &str) -> &'static str {
    crate::query::PlanKind::ALL
        .iter()
        .map(|kind| kind.name())
        .find(|known| *known == name)
        .unwrap_or("other")
}

/// The name of a status, as the protocol writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "Ok",
        Code::Cancelled => "Cancelled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
