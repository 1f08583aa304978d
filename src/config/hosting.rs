//! Settings of what each caller may take, of what runs at once, and of what is written down.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::audit;
use crate::service::{AdmissionOptions, Quota, QuotaChange, QuotaOptions};

const MIB: u64 = 1 << 20;

/// What each identity may take; 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaSettings {
    /// Calls in a second.
    pub requests_per_s: u32,
    /// Calls at once after a rest.
    pub requests_burst: u32,
    /// MiB of requests in a minute.
    pub mib_in_per_min: u64,
    /// MiB of answers in a minute.
    pub mib_out_per_min: u64,
    /// Calls under way.
    pub calls_at_once: u32,
    /// Rows returned in a day.
    pub rows_per_day: u64,
    /// Share of the processors, as a weight.
    pub weight: u32,
    /// What differs for members of groups.
    #[serde(default)]
    pub groups: BTreeMap<String, QuotaChangeSettings>,
    /// What differs for single identities.
    #[serde(default)]
    pub identities: BTreeMap<String, QuotaChangeSettings>,
}

/// What differs for somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaChangeSettings {
    /// Calls in a second.
    pub requests_per_s: Option<u32>,
    /// Calls at once after a rest.
    pub requests_burst: Option<u32>,
    /// MiB of requests in a minute.
    pub mib_in_per_min: Option<u64>,
    /// MiB of answers in a minute.
    pub mib_out_per_min: Option<u64>,
    /// Calls under way.
    pub calls_at_once: Option<u32>,
    /// Rows returned in a day.
    pub rows_per_day: Option<u64>,
    /// Share of the processors, as a weight.
    pub weight: Option<u32>,
}

/// What runs at once, and what waits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionSettings {
    /// Queries that run at once; none for one a processor.
    pub running: Option<usize>,
    /// Long queries that run at once beside them; none for half as many.
    pub running_long: Option<usize>,
    /// Milliseconds from which a query is a long one.
    pub long_ms: u64,
    /// Queries that wait.
    pub queue: usize,
    /// Milliseconds that a query waits at most.
    pub wait_ms: u64,
    /// Memory of queries and their answers, MiB; none for a quarter of the machine's.
    pub memory_mib: Option<u64>,
    /// Seconds without progress of a reader or a sender.
    pub stall_s: u64,
}

/// When calls are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditMode {
    /// When the server asks who calls.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// How calls are written down.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditSettings {
    /// When.
    pub mode: AuditMode,
    /// Milliseconds until a call that only reads is on the disk.
    pub delay_ms: u64,
    /// Size of a file, MiB.
    pub file_mib: u64,
}

impl QuotaSettings {
    pub(super) fn options(&self) -> QuotaOptions {
        let changes = |given: &BTreeMap<String, QuotaChangeSettings>| {
            given.iter().map(|(name, change)| (name.clone(), change.change())).collect()
        };
        QuotaOptions {
            default: Quota {
                requests_per_s: self.requests_per_s,
                requests_burst: self.requests_burst,
                bytes_in_per_min: self.mib_in_per_min.saturating_mul(MIB),
                bytes_out_per_min: self.mib_out_per_min.saturating_mul(MIB),
                calls_at_once: self.calls_at_once,
                rows_per_day: self.rows_per_day,
                weight: self.weight,
            },
            groups: changes(&self.groups),
            identities: changes(&self.identities),
        }
    }
}

impl QuotaChangeSettings {
    fn change(&self) -> QuotaChange {
        let bytes = |mib: Option<u64>| mib.map(|mib| mib.saturating_mul(MIB));
        QuotaChange {
            requests_per_s: self.requests_per_s,
            requests_burst: self.requests_burst,
            bytes_in_per_min: bytes(self.mib_in_per_min),
            bytes_out_per_min: bytes(self.mib_out_per_min),
            calls_at_once: self.calls_at_once,
            rows_per_day: self.rows_per_day,
            weight: self.weight,
        }
    }
}

impl AdmissionSettings {
    pub(super) fn options(&self) -> AdmissionOptions {
        AdmissionOptions {
            running: self.running,
            running_long: self.running_long,
            long: Duration::from_millis(self.long_ms),
            queue: self.queue,
            wait_max: Duration::from_millis(self.wait_ms),
            memory_bytes: self.memory_mib.map(|mib| mib.saturating_mul(MIB)),
            stall: Duration::from_secs(self.stall_s),
        }
    }

    /// Numbers within bounds: key, value, least, most.
    pub(super) fn ranges(&self) -> Vec<(&'static str, usize, usize, usize)> {
        const MANY: usize = 1 << 24;
        vec![
            ("admission.running", self.running.unwrap_or(1), 1, 4_096),
            ("admission.running_long", self.running_long.unwrap_or(1), 1, 4_096),
            ("admission.long_ms", self.long_ms as usize, 1, MANY),
            ("admission.queue", self.queue, 1, 65_536),
            ("admission.wait_ms", self.wait_ms as usize, 1, MANY),
            ("admission.memory_mib", self.memory_mib.unwrap_or(64) as usize, 16, MANY),
            ("admission.stall_s", self.stall_s as usize, 1, 86_400),
        ]
    }
}

impl AuditSettings {
    /// How the log in a data directory is kept; `None` where nothing is written down.
    pub fn options(&self, data: &Path, asks_who_calls: bool) -> Option<audit::Options> {
        let is_on = match self.mode {
            AuditMode::On => true,
            AuditMode::Auto => asks_who_calls,
            AuditMode::Off => false,
        };
        is_on.then(|| audit::Options {
            delay: Duration::from_millis(self.delay_ms),
            file_bytes: self.file_mib.saturating_mul(MIB),
            ..audit::Options::new(audit_folder(data))
        })
    }

    /// Numbers within bounds: key, value, least, most.
    pub(super) fn ranges(&self) -> Vec<(&'static str, usize, usize, usize)> {
        vec![
            ("audit.delay_ms", self.delay_ms as usize, 1, 60_000),
            ("audit.file_mib", self.file_mib as usize, 1, 4_096),
        ]
    }
}

/// The folder of the audit log in a data directory.
pub fn audit_folder(data: &Path) -> std::path::PathBuf {
    data.join("audit")
}
