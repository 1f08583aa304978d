//! How much memory the full vectors of segments may occupy.
//!
//! Codes are what searches read most, and stay in memory; full vectors are read a few at a time, for re-ranking. Those of a
//! segment are *hot* when they fit into what is left of the budget: mapped, and lent from there. Otherwise they are *cold*:
//! read from the file one by one into a buffer of the query, and never part of the process's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The budget, shared by all collections of a database.
#[derive(Debug, Clone)]
pub(super) struct Residency {
    left: Arc<AtomicU64>,
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    left: Arc<AtomicU64>,
    bytes: u64,
}

impl Residency {
    pub(super) fn new(bytes: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(bytes)) }
    }

    /// Takes bytes from the budget; `None` when not so many are left.
    pub(super) fn claim(&self, bytes: u64) -> Option<Claim> {
        let take = |left: u64| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok()?;
        Some(Claim { left: Arc::clone(&self.left), bytes })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.left.fetch_add(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_claimed_than_there_is() {
        let residency = Residency::new(100);
        let first = residency.claim(60).expect("there is room");
        assert!(residency.claim(41).is_none());
        let second = residency.claim(40).expect("there is room");
        assert!(residency.claim(1).is_none());
        drop((first, second));
        assert!(residency.claim(100).is_some());
    }
}
