//! The call that is being served, for whatever serves it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Limited, Pass};
use crate::service::gate::RowsServed;

tokio::task_local! {
    /// The call that the current task serves; set by the layer.
    static CALLER: Caller;
}

/// A call: who makes it, since when, and until when he waits.
#[derive(Debug, Clone)]
pub(in crate::service) struct Caller {
    pass: Arc<Pass>,
    arrived: Instant,
    /// When nobody waits any more; `None` where he did not say.
    deadline: Option<Instant>,
}

impl Caller {
    pub(super) fn new(pass: Arc<Pass>, arrived: Instant, deadline: Option<Instant>) -> Self {
        Self { pass, arrived, deadline }
    }

    /// The call that the current task serves; `None` for work of the server's own.
    pub(in crate::service) fn current() -> Option<Self> {
        CALLER.try_with(Clone::clone).ok()
    }

    /// Serves a call: [`Caller::current`] is this one meanwhile.
    pub(super) async fn serve<T>(self, work: impl Future<Output = T>) -> T {
        CALLER.scope(self, work).await
    }

    /// Counts rows that he is about to be given in an answer without a limit of its own.
    ///
    /// # Errors
    /// How many of them the day's quota still covers, which are counted, and the quota.
    pub(in crate::service) fn give(
        &self,
        served: &RowsServed,
        rows: u64,
    ) -> Result<(), (u64, Limited)> {
        let given = self.pass.take_rows(rows);
        served.add_counted(given.as_ref().map_or_else(|(some, _)| *some, |()| rows));
        given
    }

    /// What he may take.
    pub(super) fn pass(&self) -> &Pass {
        &self.pass
    }

    /// How long ago it arrived.
    pub(super) fn age(&self) -> Duration {
        self.arrived.elapsed()
    }

    /// Time until nobody waits any more.
    pub(super) fn left(&self) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.deadline.map_or(Duration::MAX, left)
    }
}
