//! Writing one sorted file for RocksDB, past the cache of the system.
//!
//! The crate's own writer cannot be told to: what it writes goes into the page cache first and waits there for the system to
//! write it back, which takes processor time for a copy and holds a large import far below what the disk can take. This one
//! calls the same C interface with direct writes switched on.

#![expect(unsafe_code, reason = "the C interface of RocksDB")]

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

use librocksdb_sys as ffi;
use rocksdb::{AsRawPtr, ErrorKind, Options};

use super::mapped;
use crate::storage::error::StorageError;

/// How the bytes of a file get to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    /// From our memory at once.
    Direct,
    /// Through the page cache.
    Cached,
}

const DOING: &str = "writing a bulk import";

/// A file of rows in the order of their keys, which RocksDB takes in whole. Dropped before it is finished, it is of no use.
pub(super) struct SortedFile<'o> {
    writer: NonNull<ffi::rocksdb_sstfilewriter_t>,
    /// The writer reads them until it is finished.
    _options: &'o Options,
}

impl<'o> SortedFile<'o> {
    /// Begins a file at a path where none is.
    pub(super) fn begin(
        path: &Path,
        options: &'o Options,
        writes: Writes,
    ) -> Result<Self, StorageError> {
        // The writer would begin a file that is there anew.
        if path.exists() {
            let there = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(StorageError::file("making", path, there));
        }
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| {
            StorageError::file("making", path, io::Error::new(io::ErrorKind::InvalidInput, error))
        })?;
        // SAFETY: both sets of options are alive; the writer copies those of the environment and keeps no pointer to them.
        let writer = unsafe {
            let environment = ffi::rocksdb_envoptions_create();
            ffi::rocksdb_envoptions_set_use_direct_writes(
                environment,
                u8::from(writes == Writes::Direct),
            );
            let writer = ffi::rocksdb_sstfilewriter_create(environment, options.as_raw_ptr());
            ffi::rocksdb_envoptions_destroy(environment);
            writer
        };
        let writer = NonNull::new(writer).ok_or_else(|| StorageError::Engine {
            doing: DOING,
            detail: "RocksDB makes no writer".to_owned(),
        })?;
        let file = Self { writer, _options: options };
        // SAFETY: the writer is alive until it is dropped; the name ends with a zero and outlives the call.
        tried(|error| unsafe {
            ffi::rocksdb_sstfilewriter_open(file.writer.as_ptr(), name.as_ptr(), error);
        })?;
        Ok(file)
    }

    /// Adds a row; its key must be greater than all before.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        // SAFETY: the writer is alive, and copies the bytes before it returns.
        tried(|error| unsafe {
            ffi::rocksdb_sstfilewriter_put(
                self.writer.as_ptr(),
                key.as_ptr().cast(),
                key.len(),
                value.as_ptr().cast(),
                value.len(),
                error,
            );
        })
    }

    /// Adds the removal of a key, which must be greater than all before.
    pub(super) fn delete(&mut self, key: &[u8]) -> Result<(), StorageError> {
        // SAFETY: as for a row.
        tried(|error| unsafe {
            ffi::rocksdb_sstfilewriter_delete(
                self.writer.as_ptr(),
                key.as_ptr().cast(),
                key.len(),
                error,
            );
        })
    }

    /// Writes what is left; the contents are on the disk when this returns.
    pub(super) fn finish(self) -> Result<(), StorageError> {
        // SAFETY: the writer is alive, and goes with this.
        tried(|error| unsafe { ffi::rocksdb_sstfilewriter_finish(self.writer.as_ptr(), error) })
    }
}

impl Drop for SortedFile<'_> {
    fn drop(&mut self) {
        // SAFETY: it was made by this and is not used any more.
        unsafe { ffi::rocksdb_sstfilewriter_destroy(self.writer.as_ptr()) }
    }
}

/// Calls RocksDB, and maps the text that it leaves where the call failed.
fn tried(call: impl FnOnce(*mut *mut c_char)) -> Result<(), StorageError> {
    let mut error: *mut c_char = std::ptr::null_mut();
    call(&raw mut error);
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: RocksDB leaves a text of its own that ends with a zero, and leaves it to us to free it.
    let detail = unsafe {
        let detail = CStr::from_ptr(error).to_string_lossy().into_owned();
        ffi::rocksdb_free(error.cast());
        detail
    };
    let kind =
        if detail.starts_with("Corruption") { ErrorKind::Corruption } else { ErrorKind::IOError };
    Err(mapped(DOING, &kind, detail))
}
