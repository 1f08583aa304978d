//! Threads for queries that run behind all others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::idle;

/// Threads that run only when no other thread wants the processor; none are there before the first query needs one.
#[derive(Debug)]
pub(super) struct Behind {
    most: usize,
    /// Whether the system lets threads give way.
    may: Arc<AtomicBool>,
    runtime: OnceLock<Option<Runtime>>,
}

impl Behind {
    pub(super) fn new(most: usize) -> Self {
        let may = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&may);
        // Nobody waits for the probe: it gives way itself.
        let probe = std::thread::Builder::new().name("behind".to_owned());
        let probe = probe.spawn(move || told.store(idle::give_way(), Ordering::Release));
        if let Err(error) = probe {
            tracing::warn!(%error, "no thread for queries that run behind others: those are refused");
        }
        Self { most: most.max(1), may, runtime: OnceLock::new() }
    }

    /// Whether work can be done behind others. Not where the system does not let threads give way: it would be beside them.
    pub(super) fn is_there(&self) -> bool {
        self.may.load(Ordering::Acquire)
    }

    /// Where such work is done: in its `spawn_blocking`.
    pub(super) fn threads(&self) -> Option<&Handle> {
        let made = self.runtime.get_or_init(|| {
            let mut builder = Builder::new_current_thread();
            builder.thread_name("behind").max_blocking_threads(self.most);
            let give_way = || {
                idle::give_way();
            };
            builder.on_thread_start(give_way).build().ok()
        });
        made.as_ref().map(Runtime::handle)
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        // Not waited for: this may be a thread that serves calls.
        if let Some(runtime) = self.runtime.take().flatten() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn threads_give_way_and_can_be_let_go_where_calls_are_served() {
        let behind = Behind::new(2);
        while !behind.is_there() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let threads = behind.threads().expect("threads");
        assert!(threads.spawn_blocking(idle::gives_way).await.expect("no panic"));
        assert!(!tokio::task::spawn_blocking(idle::gives_way).await.expect("no panic"));
        drop(behind);
    }
}
