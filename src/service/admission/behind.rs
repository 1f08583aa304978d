//! Threads for queries that run behind all others.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::idle;

/// Threads that run only when no other thread wants the processor; none are there before the first query needs one.
#[derive(Debug)]
pub(super) struct Behind {
    most: usize,
    runtime: OnceLock<Option<Runtime>>,
}

impl Behind {
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), runtime: OnceLock::new() }
    }

    /// Where such work is done: in its `spawn_blocking`. `None` where the system does not let threads give way: their work would
    /// be beside all others, and not behind.
    pub(super) fn threads(&self) -> Option<&Handle> {
        let made = self.runtime.get_or_init(|| {
            let probe = std::thread::Builder::new().name("behind".to_owned());
            let gives_way = probe.spawn(idle::give_way).map(std::thread::JoinHandle::join);
            if !matches!(gives_way, Ok(Ok(true))) {
                return None;
            }
            let mut builder = Builder::new_current_thread();
            builder.thread_name("behind").max_blocking_threads(self.most);
            // The probe has told that it may.
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
    use super::*;

    #[tokio::test]
    async fn threads_give_way_and_can_be_let_go_where_calls_are_served() {
        let behind = Behind::new(2);
        let threads = behind.threads().expect("threads");
        assert!(threads.spawn_blocking(idle::gives_way).await.expect("no panic"));
        assert!(!tokio::task::spawn_blocking(idle::gives_way).await.expect("no panic"));
        drop(behind);
    }
}
