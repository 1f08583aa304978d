//! What the log needs of a disk, so that tests can have it fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What the log needs of a disk.
pub trait Disk: Send + 'static {
    /// Opens a file to append to it, making it where it is missing.
    fn open(&mut self, path: &Path) -> io::Result<File>;
    /// Appends all bytes.
    fn append(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    /// Waits until what was appended would survive a failure of power.
    fn sync(&mut self, file: &File) -> io::Result<()>;
    /// Cuts a file to a length.
    fn cut(&mut self, file: &File, length: u64) -> io::Result<()>;
    /// Writes a small file in place.
    fn put(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
}

/// The disk of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn open(&mut self, path: &Path) -> io::Result<File> {
        let made = !path.exists();
        // Who was where and asked for what is nobody's business but the operator's.
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        if made && let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    }

    fn append(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn cut(&mut self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn put(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.write_all_at(bytes, 0)
    }
}
