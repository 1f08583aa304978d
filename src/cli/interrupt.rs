//! Control-C: the first asks for an orderly end, the second ends at once.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure::INTERRUPTED_EXIT;

/// A token that is cancelled by SIGINT (control-C) or SIGTERM, whereupon `first` is called. A second one calls `second` and ends
/// the program.
///
/// # Errors
/// When the system lets nobody listen for signals.
pub(super) fn stop_on_signal(
    first: impl FnOnce() + Send + 'static,
    second: impl FnOnce() + Send + 'static,
) -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        let mut signalled = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        signalled().await;
        stopping.cancel();
        first();
        signalled().await;
        second();
        crate::leave::now(INTERRUPTED_EXIT);
    });
    Ok(stop)
}
