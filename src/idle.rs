//! Work that gives way to everything else.

#![expect(unsafe_code, reason = "calls of the system")]

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How often it looks whether they are done.
const LOOKS_EVERY: Duration = Duration::from_micros(500);

thread_local! {
    static OTHERS: RefCell<Option<Others>> = const { RefCell::new(None) };
}

/// Those that work waits for.
pub struct Others {
    /// Whether they are so busy that it should.
    pub are_busy: Box<dyn Fn() -> bool + Send>,
    /// How long it still waits for them, in all.
    pub patience: Duration,
}

/// From now on the calling thread, and the threads that it starts, run only when no other thread wants the processor.
///
/// Builds and encoders run so beside searches: a search that arrives takes the processor at once. Not to be called on a
/// thread that will do other work later, nor while a lock is held that others wait for. `false` where the system does not allow it.
pub fn give_way() -> bool {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads the parameters, which live until it returns, and changes nothing but how the calling thread
    // (number 0) is scheduled.
    let failed = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
    if failed != 0 {
        let error = std::io::Error::last_os_error();
        tracing::warn!(%error, "low priority could not be had: searches may be slower while this work is done");
    }
    failed == 0
}

/// Whether the calling thread gives way.
pub fn gives_way() -> bool {
    // SAFETY: the call takes a number (0: the calling thread) and returns one.
    unsafe { libc::sched_getscheduler(0) == libc::SCHED_IDLE }
}

/// Does work that waits for others at each [`let_others_go_first`], until its patience is at its end.
///
/// A thread that gives way takes no processor from others, but it takes from them what processors share: caches, and the way to
/// memory. Not to be called within itself: the inner one would end the waits of the outer.
pub fn after_others<T>(others: Others, work: impl FnOnce() -> T) -> T {
    /// Forgets the others, also when the work panics: the thread will do other work.
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            OTHERS.take();
        }
    }
    let _forget = Forget;
    OTHERS.set(Some(others));
    work()
}

/// Waits while others are busy, or until the work need not go on; at once over where the thread does nothing
/// [`after_others`]. Not to be called while a lock is held that others wait for.
pub fn let_others_go_first(is_over: impl Fn() -> bool) {
    OTHERS.with_borrow_mut(|others| {
        let Some(Others { are_busy, patience }) = others else { return };
        let began = Instant::now();
        while began.elapsed() < *patience && are_busy() && !is_over() {
            std::thread::sleep(LOOKS_EVERY);
        }
        *patience = patience.saturating_sub(began.elapsed());
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn work_waits_for_others_until_they_are_done_and_not_for_ever() {
        let looks = Arc::new(AtomicUsize::new(0));
        let look = Arc::clone(&looks);
        let three_looks = Box::new(move || look.fetch_add(1, Ordering::Relaxed) < 3);
        let_others_go_first(|| false);
        after_others(Others { are_busy: three_looks, patience: Duration::from_mins(1) }, || {
            let_others_go_first(|| false);
            assert_eq!(looks.load(Ordering::Relaxed), 4);
            let_others_go_first(|| false);
            assert_eq!(looks.load(Ordering::Relaxed), 5);
        });
        let patience = Duration::from_millis(30);
        let always = || Others { are_busy: Box::new(|| true), patience };
        let began = Instant::now();
        after_others(always(), || {
            let_others_go_first(|| true);
            for _ in 0..1_000 {
                let_others_go_first(|| false);
            }
        });
        assert!(began.elapsed() >= patience);
        let panicked = std::panic::catch_unwind(|| after_others(always(), || panic!("bad day")));
        assert!(panicked.is_err());
        // Nobody is waited for any more.
        assert!(OTHERS.take().is_none());
    }
}
