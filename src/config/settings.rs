//! The settings themselves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Table;

use super::ConfigError;
use super::hosting::{AdmissionSettings, AuditSettings, QuotaSettings};
use super::layers::Layered;
use super::observe::{HttpSettings, LogStyle, TelemetrySettings};
use super::security::{AuthSettings, ConnectionSettings, TlsSettings};
use crate::encoder::{BatchOptions, EncoderOptions, HostOptions, SandboxMode};
use crate::engine::DbOptions;
use crate::query;
use crate::service::{Limits, ServiceOptions, UpkeepOptions};
use crate::storage::StoreOptions;

/// Version of the form that this program reads.
pub(super) const VERSION: i64 = 1;

/// The encoder program, when no other is named.
const ENCODER_PROGRAM: &str = "sidereus-encoder";

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Settings of `sidereus serve`; `deploy/sidereus.toml` says what each means.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Version of the form.
    version: i64,
    /// Where and how to serve.
    pub server: ServerSettings,
    /// Figures and health.
    pub http: HttpSettings,
    /// Traces.
    pub telemetry: TelemetrySettings,
    /// Connections.
    pub connections: ConnectionSettings,
    /// Certificates.
    pub tls: TlsSettings,
    /// Who is asked who he is.
    pub auth: AuthSettings,
    /// The store.
    pub storage: StorageSettings,
    /// Index builds.
    pub index: IndexSettings,
    /// The encoder process.
    pub encoder: EncoderSettings,
    /// Sizes that requests keep to.
    pub limits: LimitSettings,
    /// What each identity may take.
    pub quotas: QuotaSettings,
    /// What runs at once, and what waits.
    pub admission: AdmissionSettings,
    /// How calls are written down.
    pub audit: AuditSettings,
    /// Places for backups by name.
    #[serde(default)]
    pub backup: BTreeMap<String, BackupSettings>,
}

/// A place for backups.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupSettings {
    /// A directory, or `s3://BUCKET/PREFIX`.
    pub url: String,
}

/// Where and how to serve.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Data directory.
    pub data: PathBuf,
    /// Address for gRPC.
    pub grpc: SocketAddr,
    /// Whether other machines may connect although the server lacks TLS or authentication.
    pub allow_insecure_remote: bool,
    /// Seconds that calls are taken after the server has said that it should be sent none.
    pub drain_s: u64,
    /// Seconds that requests may take to end when the server is stopped.
    pub shutdown_grace_s: u64,
    /// Free MiB of the disk below which the server is not ready.
    pub min_free_mib: u64,
    /// Log filter.
    pub log: String,
    /// How lines of the log look.
    pub log_format: LogStyle,
    /// Milliseconds from which on a query is noted; 0 for never.
    pub slow_query_ms: u64,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageSettings {
    /// Block cache, MiB.
    pub cache_mib: usize,
    /// Write buffer, MiB.
    pub write_buffer_mib: usize,
    /// Threads that flush and compact.
    pub background_jobs: usize,
    /// Smallest bulk batch that becomes files, MiB.
    pub bulk_min_mib: usize,
    /// What a scrub reads in a second, MiB; 0 for none.
    pub scrub_mib_s: usize,
}

/// Index builds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexSettings {
    /// Tail rows that start a build; 0 for never.
    pub auto_rows: u64,
    /// Threads of a build; none for one a processor.
    pub threads: Option<usize>,
    /// Memory of a build beside the vectors, MiB; 0 for no limit.
    pub memory_mib: u64,
    /// Memory of full vectors, MiB; none for half of what the process may have.
    pub resident_mib: Option<u64>,
    /// Memory of computed values of derived columns, MiB; none for a sixteenth of what the process may have.
    pub derived_mib: Option<u64>,
}

/// The encoder process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSettings {
    /// Directory of models.
    pub models: Option<PathBuf>,
    /// An encoder that runs elsewhere.
    pub address: Option<String>,
    /// Several of them.
    pub addresses: Option<Vec<String>>,
    /// The encoder program.
    pub program: Option<PathBuf>,
    /// Where networks compute.
    pub device: String,
    /// Whether the program runs only when nothing else wants the processor.
    pub gives_way: bool,
    /// Precision of published networks.
    pub precision: String,
    /// Mebibytes of weights in memory; none for no limit.
    pub memory_mib: Option<u64>,
    /// Whether every row is computed on its own.
    pub deterministic: bool,
    /// Walls around the program.
    pub sandbox: SandboxMode,
    /// Most memory of the program for data, MiB; 0 for no limit.
    pub process_mib: u64,
    /// Threads of the networks; none for one a processor.
    pub threads: Option<usize>,
    /// Rows of one batch.
    pub batch_rows: usize,
    /// Milliseconds that the first row of a batch waits.
    pub batch_wait_ms: u64,
    /// Rows that may wait.
    pub queue_rows: usize,
    /// Seconds to load the models.
    pub start_timeout_s: u64,
    /// Seconds for one call.
    pub call_timeout_s: u64,
}

/// Sizes that requests keep to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Hits of a search.
    pub k: usize,
    /// Vector terms of a search.
    pub terms: usize,
    /// Examples of a term.
    pub examples: usize,
    /// Ids of one request.
    pub ids: usize,
    /// Rows of an ingest batch.
    pub batch_rows: usize,
    /// Unanswered batches of one stream.
    pub ingest_window: usize,
    /// Batches held by the server.
    pub batches_in_flight: usize,
    /// Bytes of a predicate.
    pub predicate_bytes: usize,
    /// Vertices of a polygon.
    pub polygon_vertices: usize,
    /// Cells of a cell list.
    pub cells: usize,
    /// Bytes of a written MOC.
    pub moc_bytes: usize,
    /// Size of an ingest message, MiB.
    pub ingest_message_mib: usize,
    /// Size of any other request, MiB.
    pub request_mib: usize,
    /// Size of a reply that is one message, MiB.
    pub reply_mib: usize,
    /// Size of a part of a streamed reply, KiB.
    pub chunk_kib: usize,
    /// Seconds for a request that is answered once.
    pub request_time_s: u64,
    /// Objects of one step of an encoding job.
    pub encode_batch: usize,
    /// How often an encoding job asks again.
    pub encode_retries: u32,
}

/// Which encoder the settings want.
#[derive(Debug, Clone)]
pub enum EncoderChoice {
    /// None: stored vectors are searched, nothing is encoded.
    Nothing,
    /// A process of our own.
    Own(Box<EncoderOptions>),
    /// Some that somebody else runs.
    Elsewhere {
        /// `host:port` of each.
        addresses: Vec<String>,
        /// How they are used.
        options: HostOptions,
    },
}

impl Settings {
    /// The defaults.
    ///
    /// # Errors
    /// Never in a program whose tests pass: the reference file is part of it.
    pub fn reference() -> Result<Self, ConfigError> {
        Layered::of_text(None, [], Vec::new()).map(Layered::into_settings)
    }

    /// Reads a settings file over the defaults.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Layered::read(Some(path), [], Vec::new()).map(Layered::into_settings)
    }

    /// Reads the text of a settings file over the defaults; `path` is for messages.
    pub fn parse(text: &str, path: &str) -> Result<Self, ConfigError> {
        Layered::of_text(Some((text, path)), [], Vec::new()).map(Layered::into_settings)
    }

    /// Takes the settings from a table that holds all of them.
    pub(super) fn of_table(table: Table) -> Result<Self, ConfigError> {
        let settings: Self = table.try_into().map_err(|error: toml::de::Error| unfit(&error))?;
        settings.validate()?;
        Ok(settings)
    }

    /// Checks every value that could stop the server from working.
    ///
    /// To be called again after words of the command line have changed settings.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bad = |key, value, wanted: &str| {
            let wanted = wanted.to_owned();
            ConfigError::BadValue { key, value, wanted }
        };
        let mut wrong: Vec<ConfigError> = self.check_telling().err().into_iter().collect();
        let precision = &self.encoder.precision;
        if !["f32", "bf16", "f16"].contains(&&**precision) {
            let wanted = "it must be f32, bf16 or f16";
            wrong.push(bad("encoder.precision", format!("`{precision}`"), wanted));
        }
        let hosting = self.admission.ranges().into_iter().chain(self.audit.ranges());
        for (key, value, least, most) in self.ranges().into_iter().chain(hosting) {
            if value < least || value > most {
                let wanted = format!("it must be {least} to {most}");
                wrong.push(bad(key, value.to_string(), &wanted));
            }
        }
        wrong.extend(self.encoder.check_hosts().err());
        wrong.extend(self.tls.options().err());
        if self.limits.chunk_kib.saturating_mul(KIB) > self.limits.reply_mib.saturating_mul(MIB) {
            let wanted = "it must not be more than `limits.reply_mib`";
            wrong.push(bad("limits.chunk_kib", self.limits.chunk_kib.to_string(), wanted));
        }
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError::of(wrong)) }
    }

    /// Settings that are numbers within bounds: key, value, least, most.
    fn ranges(&self) -> Vec<(&'static str, usize, usize, usize)> {
        const MESSAGE_MIB_MAX: usize = 1_024;
        const MANY: usize = 1 << 24;
        let (storage, limits, encoder) = (&self.storage, &self.limits, &self.encoder);
        vec![
            ("server.drain_s", self.server.drain_s as usize, 0, 3_600),
            ("server.shutdown_grace_s", self.server.shutdown_grace_s as usize, 0, 3_600),
            ("connections.total", self.connections.total, 1, 1 << 20),
            ("connections.per_address", self.connections.per_address, 1, 1 << 20),
            ("connections.handshake_s", self.connections.handshake_s as usize, 1, 600),
            ("connections.first_call_s", self.connections.first_call_s as usize, 1, 3_600),
            ("connections.stranger_idle_s", self.connections.stranger_idle_s as usize, 1, 86_400),
            ("auth.token_days_max", self.auth.token_days_max as usize, 1, 3_650),
            (
                "auth.token_days",
                self.auth.token_days as usize,
                1,
                self.auth.token_days_max as usize,
            ),
            ("storage.cache_mib", storage.cache_mib, 1, 1 << 20),
            ("storage.write_buffer_mib", storage.write_buffer_mib, 1, 1 << 14),
            ("storage.background_jobs", storage.background_jobs, 1, 256),
            ("storage.bulk_min_mib", storage.bulk_min_mib, 0, 1 << 14),
            ("storage.scrub_mib_s", storage.scrub_mib_s, 0, 1 << 20),
            ("index.threads", self.index.threads.unwrap_or(1), 1, 1_024),
            ("encoder.threads", encoder.threads.unwrap_or(1), 1, 1_024),
            ("encoder.memory_mib", encoder.memory_mib.map_or(1, |mib| mib as usize), 1, MANY),
            ("encoder.process_mib", encoder.process_mib as usize, 0, MANY),
            ("encoder.batch_rows", encoder.batch_rows, 1, 4_096),
            ("encoder.queue_rows", encoder.queue_rows, encoder.batch_rows, MANY),
            ("limits.k", limits.k, 1, query::K_MAX),
            ("limits.terms", limits.terms, 1, 1_024),
            ("limits.examples", limits.examples, 1, MANY),
            ("limits.ids", limits.ids, 1, MANY),
            ("limits.batch_rows", limits.batch_rows, 1, MANY),
            ("limits.ingest_window", limits.ingest_window, 1, 1_024),
            ("limits.batches_in_flight", limits.batches_in_flight, 1, 4_096),
            ("limits.predicate_bytes", limits.predicate_bytes, 1, MANY),
            ("limits.polygon_vertices", limits.polygon_vertices, 3, MANY),
            ("limits.cells", limits.cells, 1, MANY),
            ("limits.moc_bytes", limits.moc_bytes, 1, 1 << 28),
            ("limits.ingest_message_mib", limits.ingest_message_mib, 1, MESSAGE_MIB_MAX),
            ("limits.request_mib", limits.request_mib, 1, MESSAGE_MIB_MAX),
            ("limits.reply_mib", limits.reply_mib, 1, MESSAGE_MIB_MAX),
            ("limits.chunk_kib", limits.chunk_kib, 1, MESSAGE_MIB_MAX * KIB),
            ("limits.encode_batch", limits.encode_batch, 1, 65_536),
        ]
    }

    /// Options of the database.
    pub fn db_options(&self) -> DbOptions {
        let defaults = DbOptions::new(self.server.data.clone());
        DbOptions {
            store: StoreOptions {
                cache_bytes: self.storage.cache_mib * MIB,
                write_buffer_bytes: self.storage.write_buffer_mib * MIB,
                background_jobs: self.storage.background_jobs,
                bulk_bytes_min: self.storage.bulk_min_mib * MIB,
            },
            build_threads: self.index.threads.unwrap_or(defaults.build_threads),
            auto_index_rows: (self.index.auto_rows > 0).then_some(self.index.auto_rows),
            resident_bytes: self.index.resident_mib.map(|mib| mib.saturating_mul(MIB as u64)),
            derived_bytes: self.index.derived_mib.map(|mib| mib.saturating_mul(MIB as u64)),
            build_memory_bytes: (self.index.memory_mib > 0)
                .then_some(self.index.memory_mib.saturating_mul(MIB as u64)),
            ..defaults
        }
    }

    /// The encoder that is wanted. Its program is looked for in `programs` when none is named.
    pub fn encoder(&self, programs: &Path) -> EncoderChoice {
        let given = &self.encoder;
        let call_timeout = Duration::from_secs(given.call_timeout_s);
        let addresses: Vec<_> = given.hosts().cloned().collect();
        if !addresses.is_empty() {
            return EncoderChoice::Elsewhere { addresses, options: HostOptions::new(call_timeout) };
        }
        let Some(models) = &given.models else { return EncoderChoice::Nothing };
        let program = given.program.clone().unwrap_or_else(|| programs.join(ENCODER_PROGRAM));
        let defaults = EncoderOptions::new(program, models.clone());
        EncoderChoice::Own(Box::new(EncoderOptions {
            threads: given.threads.unwrap_or(defaults.threads),
            device: given.device.clone(),
            sandbox: given.sandbox,
            process_mib: (given.process_mib > 0).then_some(given.process_mib),
            batch: BatchOptions {
                rows_max: given.batch_rows,
                wait: Duration::from_millis(given.batch_wait_ms),
                queue_rows_max: given.queue_rows,
                memory_max: given.memory_mib.map_or(u64::MAX, |mib| mib.saturating_mul(MIB as u64)),
                deterministic: given.deterministic,
            },
            precision: given.precision.clone(),
            gives_way: given.gives_way,
            start_timeout: Duration::from_secs(given.start_timeout_s),
            call_timeout,
            ..defaults
        }))
    }

    /// Options of the server. Where nobody has chosen the address of HTTP, the server starts also without it.
    ///
    /// # Errors
    /// [`ConfigError::BadValue`] where half of a pair of files is named.
    pub fn service_options(&self, http_is_chosen: bool) -> Result<ServiceOptions, ConfigError> {
        Ok(ServiceOptions {
            listen: self.server.grpc,
            allow_insecure_remote: self.server.allow_insecure_remote,
            tls: self.tls.options()?,
            connections: self.connections.limits(),
            authentication: self.auth.options(),
            drain: Duration::from_secs(self.server.drain_s),
            shutdown_grace: Duration::from_secs(self.server.shutdown_grace_s),
            http: self.http.options(http_is_chosen),
            free_bytes_min: self.server.min_free_mib.saturating_mul(MIB as u64),
            slow_query: self.server.slow_query(),
            limits: self.limits.limits(),
            quotas: self.quotas.options(),
            admission: self.admission.options(),
            audit: self.audit.options(&self.server.data, self.auth.options().is_some()),
            upkeep: UpkeepOptions {
                destinations: self
                    .backup
                    .iter()
                    .map(|(name, place)| (name.clone(), place.url.clone()))
                    .collect(),
                scrub_bytes_per_s: (self.storage.scrub_mib_s * MIB) as u64,
            },
        })
    }
}

impl EncoderSettings {
    /// Encoders that run elsewhere.
    fn hosts(&self) -> impl Iterator<Item = &String> {
        self.address.iter().chain(self.addresses.iter().flatten())
    }

    /// Whether no host is named twice, which would get two shares of the work.
    fn check_hosts(&self) -> Result<(), ConfigError> {
        let mut hosts: Vec<_> = self.hosts().collect();
        hosts.sort();
        match hosts.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(()),
            Some(twice) => Err(ConfigError::BadValue {
                key: "encoder.addresses",
                value: format!("`{}` twice", twice[0]),
                wanted: "name every host once".to_owned(),
            }),
        }
    }
}

impl LimitSettings {
    fn limits(&self) -> Limits {
        Limits {
            k_max: self.k,
            terms_max: self.terms,
            examples_max: self.examples,
            ids_max: self.ids,
            batch_rows_max: self.batch_rows,
            ingest_window: self.ingest_window,
            batches_in_flight_max: self.batches_in_flight,
            predicate_bytes_max: self.predicate_bytes,
            polygon_vertices_max: self.polygon_vertices,
            cells_max: self.cells,
            moc_bytes_max: self.moc_bytes,
            ingest_message_bytes_max: self.ingest_message_mib * MIB,
            request_bytes_max: self.request_mib * MIB,
            reply_bytes_max: self.reply_mib * MIB,
            chunk_bytes: self.chunk_kib * KIB,
            request_time_max: Duration::from_secs(self.request_time_s),
            encode_batch: self.encode_batch,
            encode_retries_max: self.encode_retries,
        }
    }
}

/// What a type said of a value; the path of the setting is in its words.
fn unfit(error: &toml::de::Error) -> ConfigError {
    let said = error.to_string();
    let key = said.lines().find_map(|line| line.trim().strip_prefix("in `")?.strip_suffix('`'));
    let reason = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    ConfigError::Unfit { key: key.unwrap_or("?").to_owned(), reason: reason.to_owned() }
}

pub(super) fn malformed(path: &str, error: &toml::de::Error) -> ConfigError {
    // The parser draws the line and an arrow; its first and last lines say where and what.
    let said = error.to_string();
    let reason = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains('|'))
        .collect::<Vec<_>>()
        .join(": ");
    ConfigError::Malformed { path: path.to_owned(), reason }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
