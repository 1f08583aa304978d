//! The end of a server, step by step.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::readiness::Readiness;
use super::server::set_status;

/// What ends when the server ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// What can be gone on with later.
    pub(super) jobs: CancellationToken,
    /// Streams of clients: what they have sent is answered, and then they end.
    pub(super) streams: CancellationToken,
}

/// The end itself.
pub(super) struct End {
    /// Asks for it.
    pub(super) stop: CancellationToken,
    /// Connections are taken no more, and calls are refused.
    pub(super) refusing: CancellationToken,
    /// What ends on the way.
    pub(super) stops: Stop,
    /// Told first.
    pub(super) readiness: Readiness,
    /// Told with it.
    pub(super) health: HealthReporter,
}

impl End {
    /// Waits until the server should end, has it end step by step, and returns when nobody waits any longer.
    pub(super) async fn run(self, drain: Duration, grace: Duration) {
        self.stop.cancelled().await;
        self.readiness.drain();
        set_status(&self.health, ServingStatus::NotServing).await;
        tokio::time::sleep(drain).await;
        self.readiness.refuse();
        self.stops.jobs.cancel();
        self.refusing.cancel();
        tokio::time::sleep(grace / 2).await;
        self.stops.streams.cancel();
        tokio::time::sleep(grace.saturating_sub(grace / 2)).await;
    }
}
