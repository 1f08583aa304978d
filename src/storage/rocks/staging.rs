//! Files of a bulk import before they become part of the database.

use std::fs::{self, File};
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::options::Tuning;
use super::sorted_file::{SortedFile, Writes};
use crate::storage::disk::takes_direct_writes;
use crate::storage::engine::{SortedSource, StageId};
use crate::storage::error::StorageError;
use crate::storage::record::StagedFile;

/// Rows go into a new file after this many bytes.
const FILE_BYTES_MAX: usize = 256 << 20;

/// Threads that write files where there are fewer processors: each waits for the disk at the end of its file.
const WRITERS_MIN: usize = 4;

/// The folder of all staging folders.
pub(super) struct Staging {
    path: PathBuf,
    /// Found out at the first import.
    pub(super) writes: OnceLock<Writes>,
}

impl Staging {
    pub(super) fn open(path: PathBuf) -> Result<Self, StorageError> {
        match fs::create_dir(&path) {
            Ok(()) => sync_folder(path.parent().unwrap_or(&path))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StorageError::file("making", &path, error)),
        }
        Ok(Self { path, writes: OnceLock::new() })
    }

    /// How files are written here.
    fn writes(&self) -> Writes {
        if let Some(known) = self.writes.get() {
            return *known;
        }
        let found = match takes_direct_writes(&self.path) {
            Ok(true) => Writes::Direct,
            Ok(false) => Writes::Cached,
            Err(error) => {
                // The files meet the same, and tell it; what the file system can do is still open.
                tracing::warn!(%error, "it is not known whether imports can be written directly");
                return Writes::Cached;
            }
        };
        tracing::info!(path = %self.path.display(), writes = ?found, "bulk imports");
        *self.writes.get_or_init(|| found)
    }

    fn folder(&self, stage: StageId) -> PathBuf {
        self.path.join(stage.0.to_string())
    }

    /// Makes the folder of a stage; its name is on the disk when this returns.
    pub(super) fn make(&self, stage: StageId) -> Result<(), StorageError> {
        let folder = self.folder(stage);
        fs::create_dir(&folder).map_err(|error| StorageError::file("making", &folder, error))?;
        sync_folder(&self.path)
    }

    /// Writes every source into one or more files, as many sources at once as there are processors; everything is on the
    /// disk when this returns. A file that is there already is an error.
    pub(super) fn write(
        &self,
        stage: StageId,
        sources: &[&dyn SortedSource],
        tuning: &Tuning,
    ) -> Result<Vec<StagedFile>, StorageError> {
        let folder = self.folder(stage);
        let (folder, writes) = (&folder, self.writes());
        let next = AtomicUsize::new(0);
        let write = || -> Result<Vec<_>, StorageError> {
            let mut written = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(source) = sources.get(place) else { return Ok(written) };
                let files = write_source(folder, place, *source, tuning, writes);
                // What is left need not be written any more.
                let files = files.inspect_err(|_| next.store(sources.len(), Ordering::Relaxed))?;
                written.push((place, files));
            }
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let count = sources.len().min(processors.max(WRITERS_MIN));
        let mut written: Vec<(usize, Vec<StagedFile>)> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..count).map(|_| scope.spawn(write)).collect();
            let mut written = Vec::with_capacity(sources.len());
            for writer in writers {
                written.extend(writer.join().unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            Ok::<_, StorageError>(written)
        })?;
        written.sort_unstable_by_key(|(place, _)| *place);
        // The writers have synced the contents of the files; their names are synced here.
        sync_folder(folder)?;
        Ok(written.into_iter().flat_map(|(_, files)| files).collect())
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

/// Writes a source into files of at most [`FILE_BYTES_MAX`] bytes (or one row), and syncs them.
fn write_source(
    folder: &Path,
    place: usize,
    source: &dyn SortedSource,
    tuning: &Tuning,
    writes: Writes,
) -> Result<Vec<StagedFile>, StorageError> {
    let table = source.table();
    let options = tuning.staged(table);
    let mut files = Vec::new();
    let mut open: Option<(SortedFile<'_>, usize)> = None;
    source.visit(&mut |key, value| {
        let row_bytes = key.len() + value.map_or(0, <[u8]>::len);
        let (mut file, file_bytes) = match open.take() {
            Some((file, bytes)) if bytes + row_bytes <= FILE_BYTES_MAX => (file, bytes),
            full => {
                if let Some((file, _)) = full {
                    file.finish()?;
                }
                let name = format!("{}-{place}-{}.sst", table.name(), files.len());
                let file = SortedFile::begin(&folder.join(&name), &options, writes)?;
                files.push(StagedFile { table, name });
                (file, 0)
            }
        };
        match value {
            Some(value) => file.put(key, value)?,
            None => file.delete(key)?,
        }
        open = Some((file, file_bytes + row_bytes));
        Ok(())
    })?;
    if let Some((file, _)) = open {
        file.finish()?;
    }
    Ok(files)
}

/// Makes the names in a folder durable.
fn sync_folder(path: &Path) -> Result<(), StorageError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| StorageError::file("syncing", path, error))
}
