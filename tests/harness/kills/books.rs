//! What the clients of the server know: what they have sent, and what was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sidereus::wire::v1::Snapshot;
use tonic::Status;

use super::ledger::Ledger;
use super::steps::WRITERS;

/// How a client ended when its server was killed: what it was doing. Everything else is an error.
pub(super) type Ended = Result<Vec<String>, String>;

/// How far a release is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asked for; it may come to be, or not.
    Asked,
    /// There, with this hash.
    Made(String),
    /// Being withdrawn, which may come to be, or not.
    Leaving(String),
    /// Withdrawn.
    Withdrawn(String),
}

/// A release, and in which states it may have found the writers.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) stage: Stage,
    /// The books when it was asked for. Forgotten when the content was compared: from then on the hash tells.
    pub(super) from: Vec<Ledger>,
    /// The steps sent when it was acknowledged; those of the present while it is not.
    pub(super) to: Option<Vec<u64>>,
}

/// Snapshots of the database.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Those that are there, as they were told when they were made; oldest first.
    pub(super) made: Vec<Snapshot>,
    /// One is being made, whose name nobody knows.
    pub(super) is_making: bool,
    /// The one that is being dropped.
    pub(super) leaving: Option<String>,
}

/// Things done one after the other.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    pub(super) settled: u64,
    pub(super) sent: u64,
}

/// Everything that is known.
#[derive(Debug)]
pub(super) struct Books {
    /// The server is being killed: errors are no news.
    pub(super) is_killed: AtomicBool,
    pub(super) ledgers: Vec<Mutex<Ledger>>,
    /// By number.
    pub(super) releases: Mutex<BTreeMap<u64, Pinned>>,
    pub(super) snapshots: Mutex<Snapshots>,
    /// Another collection, which is made, filled and dropped.
    pub(super) passing: Mutex<Sequence>,
    /// A record that is made, altered and dropped.
    pub(super) labels: Mutex<Sequence>,
    /// The version that an acknowledged build has reached.
    pub(super) indexed: AtomicU64,
    /// The version of the last check.
    pub(super) checked: AtomicU64,
    acknowledged: Mutex<BTreeMap<&'static str, u64>>,
}

/// A lock, whoever panicked.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Books {
    pub(super) fn new() -> Self {
        Self {
            is_killed: AtomicBool::new(false),
            ledgers: (0..WRITERS).map(|writer| Mutex::new(Ledger::new(writer))).collect(),
            releases: Mutex::default(),
            snapshots: Mutex::default(),
            passing: Mutex::default(),
            labels: Mutex::default(),
            indexed: AtomicU64::new(0),
            checked: AtomicU64::new(0),
            acknowledged: Mutex::default(),
        }
    }

    /// The end of a client that was doing something when its call failed.
    pub(super) fn ended(&self, doing: &str, status: &Status) -> Ended {
        if self.is_killed.load(Ordering::Acquire) {
            Ok(vec![doing.to_owned()])
        } else {
            Err(format!("a call failed while the server lived ({doing}): {status}"))
        }
    }

    /// Counts something that was acknowledged.
    pub(super) fn count(&self, what: &'static str) {
        *locked(&self.acknowledged).entry(what).or_default() += 1;
    }

    /// How much of everything was acknowledged.
    pub(super) fn acknowledged(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.acknowledged).clone()
    }

    /// The steps that every writer has sent.
    pub(super) fn sent(&self) -> Vec<u64> {
        self.ledgers.iter().map(|ledger| locked(ledger).sent).collect()
    }

    /// The highest version that anybody was told.
    pub(super) fn version(&self) -> u64 {
        let told = self.ledgers.iter().map(|ledger| locked(ledger).version).max();
        told.unwrap_or(0).max(self.checked.load(Ordering::Acquire))
    }
}
