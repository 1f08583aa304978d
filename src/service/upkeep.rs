//! What a server does for its data beside answering: scrubs, and knowing where backups go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::context::{Context, blocking};
use super::{RequestError, ServiceError};
use crate::clock::now_ms;
use crate::engine::{Db, ScrubReport};
use crate::wire::v1;

/// Time between two scrubs.
const PAUSE: Duration = Duration::from_hours(24);

/// What a server does for its data, as the operator wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpkeepOptions {
    /// Places for backups by the names that clients use: directories or `s3://BUCKET/PREFIX`.
    pub destinations: BTreeMap<String, String>,
    /// Bytes a second that a scrub reads; 0 for no scrub unless somebody starts one, which then reads 32 MiB a second.
    pub scrub_bytes_per_s: u64,
}

impl Default for UpkeepOptions {
    fn default() -> Self {
        Self { destinations: BTreeMap::new(), scrub_bytes_per_s: 8 << 20 }
    }
}

/// Bytes a second of a scrub that somebody starts where the operator set none.
const ASKED_BYTES_PER_S: u64 = 32 << 20;

/// The state of it.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    pub(super) destinations: BTreeMap<String, String>,
    bytes_per_s: u64,
    is_scrubbing: AtomicBool,
    bytes: AtomicU64,
    last: Mutex<Option<(u64, ScrubReport)>>,
}

impl Upkeep {
    pub(super) fn new(options: UpkeepOptions) -> Self {
        Self {
            destinations: options.destinations,
            bytes_per_s: options.scrub_bytes_per_s,
            ..Self::default()
        }
    }

    /// How the scrub is getting on, and what the last one found.
    pub(super) fn told(&self) -> v1::GetScrubResponse {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let last = last.map(|(ended_ms, report)| v1::ScrubReport {
            ended_ms,
            bytes: report.bytes,
            complete: report.is_complete,
            problems: report.problems,
        });
        v1::GetScrubResponse {
            running: self.is_scrubbing.load(Ordering::Acquire),
            bytes: self.bytes.load(Ordering::Relaxed),
            last,
        }
    }

    /// Scrubs once; nothing when somebody does already.
    fn scrub(&self, db: &Db, stopping: &CancellationToken) {
        if self.is_scrubbing.swap(true, Ordering::AcqRel) {
            return;
        }
        self.bytes.store(0, Ordering::Relaxed);
        let rate = if self.bytes_per_s == 0 { ASKED_BYTES_PER_S } else { self.bytes_per_s };
        let report = db.scrub(rate, &mut |bytes| {
            self.bytes.store(bytes, Ordering::Relaxed);
            !stopping.is_cancelled()
        });
        for problem in &report.problems {
            tracing::error!(
                problem,
                "the scrub found damage; `sidereus doctor` tells what can be done"
            );
        }
        tracing::info!(
            bytes = report.bytes,
            problems = report.problems.len(),
            complete = report.is_complete,
            "scrub ended"
        );
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now_ms(), report));
        self.is_scrubbing.store(false, Ordering::Release);
    }
}

impl Context {
    /// Starts a scrub.
    ///
    /// # Errors
    /// [`RequestError::ScrubRunning`].
    pub(super) fn start_scrub(&self) -> Result<(), ServiceError> {
        if self.upkeep.is_scrubbing.load(Ordering::Acquire) {
            return Err(RequestError::ScrubRunning.into());
        }
        let (upkeep, db) = (Arc::clone(&self.upkeep), self.db.clone());
        let stopping = self.stopping.clone();
        tokio::task::spawn_blocking(move || upkeep.scrub(&db, &stopping));
        Ok(())
    }

    /// Scrubs again and again until the server stops, where the operator wants it.
    pub(super) fn keep_scrubbing(&self) {
        if self.upkeep.bytes_per_s == 0 {
            return;
        }
        let context = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = context.stopping.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
                let own = context.clone();
                let scrubbed = blocking(move || -> Result<(), ServiceError> {
                    own.upkeep.scrub(&own.db, &own.stopping);
                    Ok(())
                });
                if let Err(error) = scrubbed.await {
                    tracing::error!(%error, "scrub failed");
                }
            }
        });
    }
}
