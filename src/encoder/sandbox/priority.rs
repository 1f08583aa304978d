//! An encoder beside a database on one machine.

#![expect(unsafe_code, reason = "one call of the system")]

/// From now on the calling thread, and the threads that it starts, run only when no other thread wants the processor.
///
/// A search that arrives while a collection is being encoded takes the processor at once. To be called before there are other
/// threads.
pub fn give_way() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads the parameters, which live until it returns, and changes nothing but how the calling thread
    // (number 0) is scheduled.
    let failed = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
    if failed != 0 {
        let error = std::io::Error::last_os_error();
        tracing::warn!(%error, "the encoder could not be given low priority: searches may be slower while it works");
    }
}
