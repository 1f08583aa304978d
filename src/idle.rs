//! Work that gives way to everything else.

#![expect(unsafe_code, reason = "calls of the system")]

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
