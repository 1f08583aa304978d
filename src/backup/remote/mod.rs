//! Where backups are kept: a directory, or a bucket of an S3-compatible store. The only folder that knows object_store.
//!
//! Both give the same promise: when a file was put, it is there whole and stays there. For a directory this means that files
//! are written under another name, synced, renamed, and their folder synced.

mod folder;
mod s3;

use std::path::{Path, PathBuf};

use super::error::BackupError;
use folder::Folder;
use s3::Bucket;

/// A place for backups.
#[derive(Debug, Clone)]
pub struct Remote {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Folder(Folder),
    Bucket(Bucket),
}

impl Remote {
    /// Opens a place: `s3://BUCKET/PREFIX`, with credentials, region and endpoint from the environment (`AWS_...`), or a
    /// directory, which is made where it does not exist.
    ///
    /// # Errors
    /// [`BackupError::BadPlace`], or [`BackupError::File`] for a directory that cannot be made.
    pub fn open(url: &str) -> Result<Self, BackupError> {
        let kind = match url.split_once("://") {
            Some(("s3", rest)) => Kind::Bucket(Bucket::open(url, rest)?),
            Some(("file", path)) => Kind::Folder(Folder::open(Path::new(path))?),
            Some((scheme, _)) => {
                let reason = format!("`{scheme}` is not known");
                return Err(BackupError::BadPlace { url: url.to_owned(), reason });
            }
            None if url.is_empty() => {
                let reason = "nothing was given".to_owned();
                return Err(BackupError::BadPlace { url: String::new(), reason });
            }
            None => Kind::Folder(Folder::open(Path::new(url))?),
        };
        Ok(Self { kind })
    }

    /// Whether it is a directory, which is read at little cost, and keeps no checksums.
    pub(super) fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder(_))
    }

    /// Size of a file; `None` where there is none.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn size(&self, name: &str) -> Result<Option<u64>, BackupError> {
        match &self.kind {
            Kind::Folder(folder) => folder.size(name),
            Kind::Bucket(bucket) => bucket.size(name).await,
        }
    }

    /// Puts a file of this machine; large ones in parts.
    ///
    /// # Errors
    /// [`BackupError::Place`] and [`BackupError::File`].
    pub(super) async fn put_file(&self, name: &str, from: PathBuf) -> Result<(), BackupError> {
        match &self.kind {
            Kind::Folder(folder) => {
                let (folder, name) = (folder.clone(), name.to_owned());
                on_a_thread(move || folder.put_file(&name, &from)).await
            }
            Kind::Bucket(bucket) => bucket.put_file(name, from).await,
        }
    }

    /// Puts a small file.
    ///
    /// # Errors
    /// As [`Remote::put_file`].
    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), BackupError> {
        match &self.kind {
            Kind::Folder(folder) => folder.put(name, &bytes),
            Kind::Bucket(bucket) => bucket.put(name, bytes).await,
        }
    }

    /// Reads a small file; `None` where there is none.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, BackupError> {
        let mut bytes = Vec::new();
        let is_there = self
            .read(name, &mut |part| {
                bytes.extend_from_slice(part);
                Ok(())
            })
            .await?;
        Ok(is_there.then_some(bytes))
    }

    /// Hands a file to `sink`, part by part; false where there is none.
    ///
    /// # Errors
    /// [`BackupError::Place`], and those of `sink`.
    pub(super) async fn read(
        &self,
        name: &str,
        sink: &mut (dyn FnMut(&[u8]) -> Result<(), BackupError> + Send),
    ) -> Result<bool, BackupError> {
        match &self.kind {
            Kind::Folder(folder) => folder.read(name, sink).await,
            Kind::Bucket(bucket) => bucket.read(name, sink).await,
        }
    }

    /// Names of the files of a folder, in order.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, BackupError> {
        let mut names = match &self.kind {
            Kind::Folder(place) => place.list(folder)?,
            Kind::Bucket(bucket) => bucket.list(folder).await?,
        };
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a file if it is there.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn delete(&self, name: &str) -> Result<(), BackupError> {
        match &self.kind {
            Kind::Folder(folder) => folder.delete(name),
            Kind::Bucket(bucket) => bucket.delete(name).await,
        }
    }
}

/// Runs work with the disk on a thread that may block.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(failure) => Err(BackupError::Task { reason: failure.to_string() }),
    }
}
