//! Files of a bulk import before they become part of the database.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::SstFileWriter;

use super::failed;
use super::options::Tuning;
use crate::storage::engine::{Row, SortedRun, StageId};
use crate::storage::error::StorageError;
use crate::storage::record::StagedFile;

/// Rows go into a new file after this many bytes.
const FILE_BYTES_MAX: usize = 256 << 20;

/// The folder of all staging folders.
pub(super) struct Staging {
    path: PathBuf,
}

impl Staging {
    pub(super) fn open(path: PathBuf) -> Result<Self, StorageError> {
        match fs::create_dir(&path) {
            Ok(()) => sync_folder(path.parent().unwrap_or(&path))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StorageError::file("making", &path, error)),
        }
        Ok(Self { path })
    }

    fn folder(&self, stage: StageId) -> PathBuf {
        self.path.join(stage.0.to_string())
    }

    /// Writes every run into one or more files; all are on the disk when this returns.
    pub(super) fn write(
        &self,
        stage: StageId,
        runs: &[SortedRun],
        tuning: &Tuning,
    ) -> Result<Vec<StagedFile>, StorageError> {
        let folder = self.folder(stage);
        fs::create_dir(&folder).map_err(|error| StorageError::file("making", &folder, error))?;
        let mut files = Vec::new();
        for run in runs {
            for (place, rows) in portions(run.rows()).enumerate() {
                let name = format!("{}-{place}.sst", run.table().name());
                let options = tuning.staged(run.table());
                write_file(&folder.join(&name), rows, &options)?;
                files.push(StagedFile { table: run.table(), name });
            }
        }
        // The writer has synced the contents of the files; their names are synced here.
        sync_folder(&folder)?;
        sync_folder(&self.path)?;
        Ok(files)
    }

    /// The files that are still in the folder.
    pub(super) fn present(&self, stage: StageId, files: &[StagedFile]) -> Vec<PathBuf> {
        let folder = self.folder(stage);
        files.iter().map(|file| folder.join(&file.name)).filter(|path| path.exists()).collect()
    }

    pub(super) fn list(&self) -> Result<Vec<StageId>, StorageError> {
        let failed = |error| StorageError::file("listing", &self.path, error);
        let mut stages = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if let Some(number) = name.to_str().and_then(|name| name.parse().ok()) {
                stages.push(StageId(number));
            }
        }
        stages.sort_unstable();
        Ok(stages)
    }

    pub(super) fn discard(&self, stage: StageId) -> Result<(), StorageError> {
        let folder = self.folder(stage);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::file("removing", &folder, error))
            }
            _ => Ok(()),
        }
    }
}

/// Cuts rows into portions of at most [`FILE_BYTES_MAX`] bytes (or one row).
fn portions(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut size_bytes = 0;
        let fits = rest.iter().take_while(|row| {
            size_bytes += row.size_bytes();
            size_bytes <= FILE_BYTES_MAX
        });
        let count = fits.count().max(1);
        let (portion, after) = rest.split_at(count);
        rest = after;
        Some(portion)
    })
}

fn write_file(path: &Path, rows: &[Row], options: &rocksdb::Options) -> Result<(), StorageError> {
    const DOING: &str = "writing a bulk import";
    let mut writer = SstFileWriter::create(options);
    writer.open(path).map_err(|error| failed(DOING, error))?;
    for row in rows {
        match &row.value {
            Some(value) => writer.put(&row.key, value),
            None => writer.delete(&row.key),
        }
        .map_err(|error| failed(DOING, error))?;
    }
    writer.finish().map_err(|error| failed(DOING, error))
}

/// Makes the names in a folder durable.
fn sync_folder(path: &Path) -> Result<(), StorageError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| StorageError::file("syncing", path, error))
}
