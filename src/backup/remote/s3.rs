//! A bucket of an S3-compatible store as a place for backups.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};

use super::on_a_thread;
use crate::backup::error::BackupError;

/// Files of more bytes are sent in parts of as many.
const PART_BYTES: usize = 16 << 20;

/// Parts that are sent at once.
const PARTS_AT_ONCE: usize = 4;

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: String,
}

impl Bucket {
    pub(super) fn open(url: &str, rest: &str) -> Result<Self, BackupError> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let refused = |reason: String| BackupError::BadPlace { url: url.to_owned(), reason };
        if bucket.is_empty() {
            return Err(refused("it names no bucket".to_owned()));
        }
        let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        let store = builder.build().map_err(|error| refused(error.to_string()))?;
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { store: Arc::new(store), prefix })
    }

    fn at(&self, name: &str) -> Path {
        Path::from(format!("{}{name}", self.prefix))
    }

    pub(super) async fn size(&self, name: &str) -> Result<Option<u64>, BackupError> {
        match self.store.head(&self.at(name)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("look at", name, &error)),
        }
    }

    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), BackupError> {
        let put = self.store.put(&self.at(name), PutPayload::from(bytes)).await;
        put.map(drop).map_err(|error| failed("put", name, &error))
    }

    pub(super) async fn put_file(&self, name: &str, from: PathBuf) -> Result<(), BackupError> {
        let path = from.clone();
        let mut file = on_a_thread(move || {
            std::fs::File::open(&path).map_err(|source| BackupError::file("read", &path, source))
        })
        .await?;
        let mut upload: Option<WriteMultipart> = None;
        loop {
            let path = from.clone();
            let (back, part) = on_a_thread(move || {
                let mut part = Vec::new();
                let read = (&mut file).take(PART_BYTES as u64).read_to_end(&mut part);
                read.map_err(|source| BackupError::file("read", &path, source))?;
                Ok((file, part))
            })
            .await?;
            file = back;
            let is_last = part.len() < PART_BYTES;
            let mut parts = match upload.take() {
                Some(parts) => parts,
                None if is_last => return self.put(name, part).await,
                None => {
                    let begun = self.store.put_multipart(&self.at(name)).await;
                    let begun = begun.map_err(|error| failed("put", name, &error))?;
                    WriteMultipart::new_with_chunk_size(begun, PART_BYTES)
                }
            };
            let room = parts.wait_for_capacity(PARTS_AT_ONCE).await;
            if let Err(error) = room {
                // What was sent of it is of no use; an error of giving it up would hide the first one.
                let _ = parts.abort().await;
                return Err(failed("put", name, &error));
            }
            parts.write(&part);
            if is_last {
                let put = parts.finish().await;
                return put.map(drop).map_err(|error| failed("put", name, &error));
            }
            upload = Some(parts);
        }
    }

    pub(super) async fn read(
        &self,
        name: &str,
        sink: &mut (dyn FnMut(&[u8]) -> Result<(), BackupError> + Send),
    ) -> Result<bool, BackupError> {
        let found = match self.store.get(&self.at(name)).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(failed("get", name, &error)),
        };
        let mut parts = found.into_stream();
        while let Some(part) =
            parts.try_next().await.map_err(|error| failed("get", name, &error))?
        {
            sink(&part)?;
        }
        Ok(true)
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, BackupError> {
        let all = self.store.list(Some(&self.at(folder)));
        let names = all
            .try_filter_map(|meta| async move { Ok(meta.location.filename().map(str::to_owned)) });
        names.try_collect().await.map_err(|error| failed("list", folder, &error))
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), BackupError> {
        match self.store.delete(&self.at(name)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("remove", name, &error)),
        }
    }
}

fn failed(action: &'static str, name: &str, error: &Error) -> BackupError {
    BackupError::Place { action, name: name.to_owned(), reason: error.to_string() }
}
