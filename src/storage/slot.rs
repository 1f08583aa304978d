//! A collection as the running store holds it: who may write, and whether its tables are whole.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::engine::StageId;
use super::error::StorageError;
use super::record::CollectionMeta;
use crate::schema::CollectionId;

/// Locks of one collection. Order: `turn`, then `gate`.
pub(super) struct Slot {
    pub(super) id: CollectionId,
    /// Held by the one commit that is under way.
    turn: Mutex<()>,
    /// Read-locked for the moment in which a view is made; write-locked while tables change one after the other.
    gate: RwLock<Gate>,
}

/// What a view of the collection needs to know.
pub(super) struct Gate {
    pub(super) meta: CollectionMeta,
    pub(super) state: State,
}

/// Whether the tables may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Yes.
    Whole,
    /// No: a bulk import stopped between two tables and must be finished first.
    Unfinished(StageId),
    /// The collection is gone.
    Dropped,
}

impl Slot {
    pub(super) fn new(meta: CollectionMeta) -> Self {
        let id = meta.id;
        let gate = Gate { meta, state: State::Whole };
        Self { id, turn: Mutex::new(()), gate: RwLock::new(gate) }
    }

    // A panic while a lock was held leaves nothing half changed in memory: the guarded values are replaced whole.

    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self) -> RwLockReadGuard<'_, Gate> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self) -> RwLockWriteGuard<'_, Gate> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The schema record, unless the collection has been dropped.
    pub(super) fn meta(&self) -> Result<CollectionMeta, StorageError> {
        let gate = self.open();
        match gate.state {
            State::Whole | State::Unfinished(_) => Ok(gate.meta.clone()),
            State::Dropped => Err(StorageError::UnknownCollection { collection: self.id }),
        }
    }
}
