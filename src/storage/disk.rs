//! What the disk of a folder can do, and how much room there is.

#![expect(unsafe_code, reason = "one call of the system")]

use std::ffi::CString;
use std::fs::{OpenOptions, remove_file};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Room of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Its size.
    pub total_bytes: u64,
    /// What this process may still write.
    pub free_bytes: u64,
}

/// Asks the system for the room of the file system that holds a folder.
///
/// # Errors
/// What the system says, for example where there is no such folder.
pub fn disk_space(folder: &Path) -> io::Result<DiskSpace> {
    let name = CString::new(folder.as_os_str().as_bytes())?;
    let mut told = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the name ends with a zero byte and lives until the call returns; the system writes a whole `statvfs` to the
    // place that it is given, or fails. All of it is numbers, for which the zeroes from before are valid as well.
    let told = unsafe {
        if libc::statvfs(name.as_ptr(), told.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        told.assume_init()
    };
    Ok(DiskSpace {
        total_bytes: told.f_blocks.saturating_mul(told.f_frsize),
        free_bytes: told.f_bavail.saturating_mul(told.f_frsize),
    })
}

/// The name of a file that is tried; one that a crash leaves is written over the next time.
const TRIED: &str = "direct.tmp";

/// Memory as direct writes want it.
#[repr(align(4096))]
struct Page([u8; 4096]);

/// Whether files in a folder can be written past the page cache: some file systems do not know it.
///
/// # Errors
/// What keeps it from being found out, such as a full disk.
pub(super) fn takes_direct_writes(folder: &Path) -> io::Result<bool> {
    let path = folder.join(TRIED);
    let mut opening = OpenOptions::new();
    opening.write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT);
    let tried = opening.open(&path).and_then(|mut file| file.write_all(&Page([0; 4096]).0));
    let _ = remove_file(&path);
    match tried {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINVAL | libc::EOPNOTSUPP) => Ok(false),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_of_direct_writes_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        takes_direct_writes(folder.path()).expect("found out");
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0);
        assert!(takes_direct_writes(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_folder_has_a_disk_and_what_is_not_there_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let space = disk_space(folder.path()).expect("told");
        assert!(space.free_bytes > 0 && space.free_bytes <= space.total_bytes, "{space:?}");
        assert!(disk_space(&folder.path().join("none")).is_err());
        assert!(disk_space(Path::new("a\0b")).is_err());
    }
}
