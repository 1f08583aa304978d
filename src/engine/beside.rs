//! Long work beside queries.

use std::sync::mpsc;
use std::thread;

use super::error::EngineError;
use super::segment::Progress;

/// Does a long work on a thread of its own, which gives way to all others unless the work is urgent, and tells its progress on
/// this one.
pub(super) fn beside<R: Send>(
    is_urgent: bool,
    progress: &mut Progress<'_>,
    work: impl FnOnce(&mut Progress<'_>) -> Result<R, EngineError> + Send,
) -> Result<R, EngineError> {
    let (tell, told) = mpsc::channel::<(String, u64, u64)>();
    thread::scope(|scope| {
        let started =
            thread::Builder::new().name("index-build".to_owned()).spawn_scoped(scope, move || {
                if !is_urgent {
                    crate::idle::give_way();
                }
                // Whoever listens may have gone; the work goes on.
                work(&mut |stage, done, total| drop(tell.send((stage.to_owned(), done, total))))
            });
        let worker = started.map_err(|source| EngineError::NoThread { source })?;
        for (stage, done, total) in told {
            progress(&stage, done, total);
        }
        match worker.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
