//! Limits of resources, which only ever become lower.

#![expect(unsafe_code, reason = "two calls of the system")]

use std::io;

/// Most memory for data (heap, stacks, and private pages that can be written), in bytes.
pub(super) fn memory(bytes: u64) -> io::Result<()> {
    lower(libc::RLIMIT_DATA, bytes)
}

/// Most files open at once.
pub(super) fn open_files(count: u64) -> io::Result<()> {
    lower(libc::RLIMIT_NOFILE, count)
}

/// A process that crashes leaves no image of its memory.
pub(super) fn no_core_files() -> io::Result<()> {
    lower(libc::RLIMIT_CORE, 0)
}

fn lower(resource: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one structure, which is ours and lives until it returns.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let most = most.min(limit.rlim_max);
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the call reads one structure, which is ours and lives until it returns.
    if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
