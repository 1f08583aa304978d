//! Whether the server should be sent new calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::engine::Db;

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;
const REFUSING: u8 = 3;

/// Where the server is between its start and its end. Cheap to clone; every clone is the same.
///
/// It starts, serves, drains (takes calls, and says that it should not be sent any), and refuses. It never goes back.
#[derive(Debug, Clone)]
pub(super) struct Readiness {
    phase: Arc<AtomicU8>,
    free_bytes_min: u64,
}

impl Readiness {
    /// Of a server that starts; it is not ready while less than `free_bytes_min` bytes of its disk are free.
    pub(super) fn new(free_bytes_min: u64) -> Self {
        Self { phase: Arc::new(AtomicU8::new(STARTING)), free_bytes_min }
    }

    fn advance(&self, to: u8) {
        self.phase.fetch_max(to, Ordering::AcqRel);
    }

    /// Calls are answered from now on.
    pub(super) fn serve(&self) {
        self.advance(SERVING);
    }

    /// No more calls should come.
    pub(super) fn drain(&self) {
        self.advance(DRAINING);
    }

    /// Calls that come all the same are refused.
    pub(super) fn refuse(&self) {
        self.advance(REFUSING);
    }

    /// Whether new calls are refused.
    pub(super) fn refuses(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= REFUSING
    }

    /// Why no new calls should be sent; none when they should.
    pub(super) fn reasons(&self, db: &Db) -> Vec<&'static str> {
        let phase = match self.phase.load(Ordering::Acquire) {
            STARTING => Some("starting"),
            SERVING => None,
            _ => Some("draining"),
        };
        let is_full = db.disk_space().is_some_and(|disk| disk.free_bytes < self.free_bytes_min);
        let fails = db.writes_fail().then_some("writes fail");
        phase.into_iter().chain(is_full.then_some("disk full")).chain(fails).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::DbOptions;

    #[test]
    fn a_server_is_ready_between_its_start_and_its_end_and_never_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Db::open(DbOptions::new(folder.path())).expect("opens");
        let readiness = Readiness::new(1);
        assert_eq!(readiness.reasons(&db), ["starting"]);
        readiness.serve();
        assert!(readiness.reasons(&db).is_empty());
        readiness.drain();
        assert_eq!(readiness.reasons(&db), ["draining"]);
        assert!(!readiness.refuses());
        readiness.refuse();
        readiness.serve();
        assert!(readiness.refuses() && readiness.reasons(&db) == ["draining"]);
    }

    #[test]
    fn a_disk_without_the_room_that_is_wanted_is_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Db::open(DbOptions::new(folder.path())).expect("opens");
        let readiness = Readiness::new(u64::MAX);
        readiness.serve();
        assert_eq!(readiness.reasons(&db), ["disk full"]);
    }
}
