//! A frozen copy of a database beside its running self, mostly of links: what a backup is made of.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::db::Db;
use super::error::EngineError;
use super::segment;
use crate::storage::CollectionRecord;

/// Begin of the names of frozen copies in the data directory; what a crash leaves of them goes at the next start.
const PREFIX: &str = ".frozen-";

/// Files of the data directory itself that are taken along where they are: how long the steps of a search take decides on
/// plans, and an answer of approximate search depends on its plan.
const ALONG: [&str; 1] = ["cost.toml"];

/// A collection in a frozen copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenCollection {
    /// Its name; those of releases are `NAME@RELEASE`.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Its objects.
    pub objects: u64,
}

/// A complete data directory that nobody changes; removed when it is dropped.
#[derive(Debug)]
pub struct Frozen {
    folder: PathBuf,
    collections: Vec<FrozenCollection>,
}

impl Frozen {
    /// The data directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The collections in it, releases among them.
    pub fn collections(&self) -> &[FrozenCollection] {
        &self.collections
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(path = %self.folder.display(), %error, "frozen copy not removed");
        }
    }
}

impl Db {
    /// Freezes the database between two commits: every acknowledged write is in it, and nothing by half. Segments go along,
    /// so that a release answers from the same index for ever. Writers wait for as long as links are made.
    ///
    /// # Errors
    /// Those of the disk; nothing is then left.
    pub fn freeze(&self) -> Result<Frozen, EngineError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let data = &self.options().data;
        let folder = data.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|source| failed("create", &folder, source))?;
        let mut frozen = Frozen { folder, collections: Vec::new() };
        // Segments are linked while nobody commits: a build that ends trims the changes that an older segment needs.
        let (records, ()) = self
            .store()
            .checkpoint(&frozen.folder, |records| self.link_segments(records, &frozen.folder))?;
        for name in ALONG {
            let from = data.join(name);
            if from.is_file() {
                let to = frozen.folder.join(name);
                fs::copy(&from, &to).map_err(|source| failed("copy", &from, source))?;
            }
        }
        frozen.collections = records
            .into_iter()
            .map(|record| FrozenCollection {
                name: record.schema.name.clone(),
                version: record.version,
                objects: record.object_count,
            })
            .collect();
        Ok(frozen)
    }

    fn link_segments(&self, records: &[CollectionRecord], to: &Path) -> Result<(), EngineError> {
        for record in records {
            let own = PathBuf::from("segments").join(format!("{:08}", record.id.0));
            let Some((newest, manifest)) = segment::newest(&self.options().data.join(&own)) else {
                continue;
            };
            if manifest.version > record.version {
                continue;
            }
            let Some(name) = newest.file_name() else { continue };
            let folder = to.join(&own).join(name);
            fs::create_dir_all(&folder).map_err(|source| failed("create", &folder, source))?;
            let entries =
                fs::read_dir(&newest).map_err(|source| failed("list", &newest, source))?;
            for entry in entries {
                let from = entry.map_err(|source| failed("list", &newest, source))?.path();
                let Some(name) = from.file_name() else { continue };
                let target = folder.join(name);
                fs::hard_link(&from, &target)
                    // A file system without links.
                    .or_else(|_| fs::copy(&from, &target).map(drop))
                    .map_err(|source| failed("link", &from, source))?;
            }
        }
        Ok(())
    }

    /// At open: removes what a crash left of frozen copies.
    pub(super) fn remove_frozen(&self) {
        let Ok(entries) = fs::read_dir(&self.options().data) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PREFIX)
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                tracing::warn!(path = %entry.path().display(), %error, "frozen copy not removed");
            }
        }
    }
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> EngineError {
    EngineError::SegmentFile { action, path: path.display().to_string(), source }
}
