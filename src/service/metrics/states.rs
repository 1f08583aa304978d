//! States at the moment of a scrape, and their names.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::COLLECTIONS_MAX;
use super::process::Process;
use crate::engine::{CollectionFigures, DbFigures};
use crate::wire::v1;

/// What stands for all collections beyond the first ones.
const OTHERS: &str = "(others)";

type Level = Gauge<u64, AtomicU64>;
type Real = Gauge<f64, AtomicU64>;
type Labels = Vec<(&'static str, String)>;

/// All states.
#[derive(Debug)]
pub(super) struct States {
    pub(super) db: DbFigures,
    pub(super) disk_use_bytes: u64,
    /// `None` without an encoder, an error where it does not answer.
    pub(super) encoders: Option<Result<Vec<v1::EncoderMetrics>, ()>>,
    pub(super) waiting: [(&'static str, i64); super::Queue::ALL.len()],
    pub(super) is_ready: bool,
    pub(super) process: Process,
}

/// Registers one number.
fn level(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Level::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn real(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = Real::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

/// Registers a number for each value of a label.
fn levels(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl IntoIterator<Item = (String, u64)>,
) {
    let family = Family::<Labels, Level>::default();
    for (of, value) in values {
        family.get_or_create(&vec![(label, of)]).set(value);
    }
    registry.register(name, help, family);
}

fn counts(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl IntoIterator<Item = (String, u64)>,
) {
    let family = Family::<Labels, Counter>::default();
    for (of, value) in values {
        family.get_or_create(&vec![(label, of)]).inc_by(value);
    }
    registry.register(name, help, family);
}

impl States {
    pub(super) fn register(&self, registry: &mut Registry) {
        let build = Info::new(vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("format", crate::storage::FORMAT.to_string()),
        ]);
        registry.register("sidereus_build", "Version of the program and of its data", build);
        level(
            registry,
            "sidereus_ready",
            "Whether the server takes new calls",
            u64::from(self.is_ready),
        );
        let waiting = self.waiting.iter();
        let waiting = waiting.map(|(queue, count)| ((*queue).to_owned(), (*count).max(0) as u64));
        levels(
            registry,
            "sidereus_queue_waiting",
            "Work that waits for its turn",
            "queue",
            waiting,
        );
        self.register_collections(registry);
        self.register_store(registry);
        self.register_encoders(registry);
        self.register_process(registry);
    }

    fn register_collections(&self, registry: &mut Registry) {
        let known = capped(&self.db.collections);
        let count = self.db.collections.len() as u64;
        level(registry, "sidereus_collections", "Collections", count);
        let mut of = |name: &str, help: &str, value: fn(&CollectionFigures) -> u64| {
            let values = known.iter().map(|each| (each.name.clone(), value(each)));
            levels(registry, name, help, "collection", values);
        };
        of("sidereus_collection_objects", "Objects", |each| each.objects);
        let help = "Live rows after the last build, searched one by one";
        of("sidereus_collection_tail_rows", help, |each| each.tail_rows);
        of("sidereus_collection_segment_rows", "Rows of the segment", |each| each.segment_rows);
        let help = "Rows of the segment that were deleted or written again";
        of("sidereus_collection_dead_rows", help, |each| each.dead_rows);
        of("sidereus_collection_commits", "Number of the last commit", |each| each.version);
        let help = "Whether an index build runs";
        of("sidereus_collection_build_running", help, |each| u64::from(each.is_building));
    }

    fn register_store(&self, registry: &mut Registry) {
        let store = &self.db.store;
        for (name, help, value) in [
            ("memtable_bytes", "Rows in memory that are not in files yet", store.memtable_bytes),
            ("cache_bytes", "Blocks in the cache", store.cache_bytes),
            ("cache_max_bytes", "The most that the cache may hold", store.cache_bytes_max),
            (
                "pending_compaction_bytes",
                "What compaction has to rewrite",
                store.pending_compaction_bytes,
            ),
            ("compactions_running", "Compactions under way", store.compactions),
            ("flushes_running", "Flushes under way", store.flushes),
            ("file_bytes", "Files of rows", store.file_bytes),
            ("wal_bytes", "Write-ahead logs", store.wal_bytes),
            (
                "writes_stopped",
                "Whether writes wait for compaction or room",
                u64::from(store.writes_stopped),
            ),
            (
                "background_errors",
                "Errors of work in the background since the start",
                store.background_errors,
            ),
        ] {
            level(registry, &format!("sidereus_store_{name}"), help, value);
        }
        let help = "All files of the data directory, looked at twice a minute at most";
        level(registry, "sidereus_data_bytes", help, self.disk_use_bytes);
        if let Some(disk) = self.db.disk {
            let help = "What may still be written to the disk of the data directory";
            level(registry, "sidereus_disk_free_bytes", help, disk.free_bytes);
            level(registry, "sidereus_disk_size_bytes", "Size of that disk", disk.total_bytes);
        }
    }

    fn register_encoders(&self, registry: &mut Registry) {
        let Some(told) = &self.encoders else { return };
        let help = "Whether the encoder tells its figures";
        level(registry, "sidereus_encoder_up", help, u64::from(told.is_ok()));
        let none = Vec::new();
        let hosts = told.as_ref().unwrap_or(&none);
        // The operator's own addresses; the only one has none.
        let all = |value: fn(&v1::EncoderMetrics) -> u64| {
            hosts.iter().map(move |each| (each.host.clone(), value(each))).collect::<Vec<_>>()
        };
        let queued = all(|each| each.queued);
        let help = "Inputs that are decoded, waiting or being computed";
        levels(registry, "sidereus_encoder_queued_rows", help, "host", queued);
        let resident = all(|each| each.resident_bytes);
        let help = "Bytes of weights in memory";
        levels(registry, "sidereus_encoder_resident_bytes", help, "host", resident);
        for (name, help, values) in [
            ("rows", "Inputs encoded", all(|each| each.encoded)),
            ("failed_rows", "Inputs on which a network failed", all(|each| each.failed)),
            ("batches", "Batches computed", all(|each| each.batches)),
            ("busy_milliseconds", "Time that networks computed", all(|each| each.busy_ms)),
            ("loads", "Models brought into memory after the start", all(|each| each.loads)),
            ("evictions", "Models put out of memory", all(|each| each.evictions)),
        ] {
            counts(registry, &format!("sidereus_encoder_{name}"), help, "host", values);
        }
    }

    fn register_process(&self, registry: &mut Registry) {
        let process = &self.process;
        let help = "Memory in use";
        level(registry, "process_resident_memory_bytes", help, process.resident_bytes);
        level(registry, "process_open_fds", "Open files and connections", process.open_files);
        level(registry, "process_max_fds", "The most of them", process.open_files_max);
        level(registry, "process_threads", "Threads", process.threads);
        let seconds = Counter::<f64, AtomicU64>::default();
        seconds.inc_by(process.processor_seconds);
        registry.register("process_cpu_seconds", "Time on processors", seconds);
        let help = "When the server began, in seconds since 1970";
        real(registry, "process_start_time_seconds", help, process.start_seconds);
        real(registry, "sidereus_uptime_seconds", "Time since then", process.up_seconds);
    }
}

/// The first collections by name, and all others as one.
fn capped(collections: &[CollectionFigures]) -> Vec<CollectionFigures> {
    let (first, others) = collections.split_at(collections.len().min(COLLECTIONS_MAX));
    let mut known = first.to_vec();
    let sum = |value: fn(&CollectionFigures) -> u64| others.iter().map(value).sum();
    if !others.is_empty() {
        known.push(CollectionFigures {
            name: OTHERS.to_owned(),
            objects: sum(|each| each.objects),
            version: sum(|each| each.version),
            tail_rows: sum(|each| each.tail_rows),
            segment_rows: sum(|each| each.segment_rows),
            dead_rows: sum(|each| each.dead_rows),
            is_building: others.iter().any(|each| each.is_building),
        });
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_collections_the_first_are_told_apart_and_nothing_is_lost() {
        let of = |number: usize| CollectionFigures {
            name: format!("c{number:04}"),
            objects: 2,
            version: 1,
            tail_rows: 1,
            segment_rows: 1,
            dead_rows: 0,
            is_building: number == 150,
        };
        let many: Vec<_> = (0..160).map(of).collect();
        let known = capped(&many);
        assert_eq!(known.len(), COLLECTIONS_MAX + 1);
        let last = &known[COLLECTIONS_MAX];
        assert_eq!((last.name.as_str(), last.objects, last.is_building), (OTHERS, 120, true));
        assert_eq!(capped(&many[..3]), many[..3]);
    }
}
