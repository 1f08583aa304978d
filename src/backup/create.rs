//! Making a snapshot.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::manifest::{FORMAT, SnapshotCollection, SnapshotFile, SnapshotManifest};
use super::remote::{Remote, on_a_thread};
use super::restore::read_file;
use super::under_way::{Doing, UnderWay};
use super::{Progress, manifest_name, note_name, object_name};
use crate::clock::{civil, now_ms};
use crate::engine::{Db, Frozen};
use crate::storage;

/// Objects are read again in so many turns, one a day.
const TURNS: u8 = 16;

const DAY_MS: u64 = 86_400_000;

/// Puts a snapshot of a database into a place; reads and writes go on meanwhile.
///
/// # Errors
/// [`BackupError::Busy`] while snapshots are pruned there, and those of the disk and the place; no snapshot is then there,
/// and what was sent of it is used by the next one or pruned.
pub async fn create(
    db: &Db,
    place: &Remote,
    progress: &mut Progress<'_>,
) -> Result<SnapshotManifest, BackupError> {
    let created_ms = now_ms();
    let name = snapshot_name(created_ms);
    let under_way = UnderWay::begin(place, Doing::Made, &name).await?;
    let made = create_named(db, place, name, (created_ms, &under_way), progress).await;
    under_way.end().await?;
    made
}

async fn create_named(
    db: &Db,
    place: &Remote,
    name: String,
    (created_ms, under_way): (u64, &UnderWay),
    progress: &mut Progress<'_>,
) -> Result<SnapshotManifest, BackupError> {
    let db = db.clone();
    progress("freezing", 0, 1);
    let frozen = on_a_thread(move || Ok(db.freeze()?)).await?;
    let paths = {
        let folder = frozen.folder().to_path_buf();
        on_a_thread(move || files_below(&folder)).await?
    };
    let total: u64 = paths.iter().map(|(_, bytes)| bytes).sum();
    let mut done = 0;
    let mut files = Vec::with_capacity(paths.len());
    for (path, _) in paths {
        let file = send(place, &frozen, path, created_ms).await?;
        done += file.size;
        progress("sending", done, total);
        files.push(file);
    }
    let collections = frozen.collections().iter();
    let manifest = SnapshotManifest {
        format: FORMAT,
        name,
        created_ms,
        database_format: storage::FORMAT,
        collections: collections
            .map(|collection| SnapshotCollection {
                name: collection.name.clone(),
                version: collection.version,
                objects: collection.objects,
            })
            .collect(),
        files,
    };
    // Nobody has pruned meanwhile.
    under_way.check()?;
    place.put(&manifest_name(&manifest.name), manifest.encode()?).await?;
    tracing::info!(snapshot = manifest.name, bytes = total, "snapshot made");
    Ok(manifest)
}

/// Sends a file of a frozen database, unless what it holds is there: whole, as far as is known. What was found to be damaged is
/// sent anew, which mends every snapshot that has it. Objects of a directory are read again by turns, a sixteenth of them
/// each day; a bucket has checksums of its own.
async fn send(
    place: &Remote,
    frozen: &Frozen,
    path: PathBuf,
    created_ms: u64,
) -> Result<SnapshotFile, BackupError> {
    let full = frozen.folder().join(&path);
    let hashed = full.clone();
    let (hash, size) = on_a_thread(move || hash_file(&hashed)).await?;
    let blake3 = hash.to_hex().to_string();
    let (object, note) = (object_name(&blake3), note_name(&blake3));
    let parts = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let file = SnapshotFile { path: parts.collect::<Vec<_>>().join("/"), size, blake3 };
    let mut is_there = place.size(&object).await? == Some(size);
    if is_there && place.is_folder() && hash.as_bytes()[0] % TURNS == turn_of(created_ms) {
        is_there = match read_file(place, &file, &mut |_| Ok(())).await {
            Ok(()) => true,
            Err(error @ (BackupError::Damaged { .. } | BackupError::Missing { .. })) => {
                tracing::error!(%error, "an object of the backup is sent anew");
                false
            }
            Err(error) => return Err(error),
        };
    }
    let is_noted = place.size(&note).await?.is_some();
    if !is_there || is_noted {
        place.put_file(&object, full).await?;
    }
    if is_noted {
        place.delete(&note).await?;
    }
    Ok(file)
}

/// Whose turn it is to be read again.
fn turn_of(ms: u64) -> u8 {
    (ms / DAY_MS % u64::from(TURNS)) as u8
}

/// Hash and size of a file.
pub(super) fn hash_file(path: &Path) -> Result<(blake3::Hash, u64), BackupError> {
    let failed = |source| BackupError::file("read", path, source);
    let file = File::open(path).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(failed)?;
    Ok((hasher.finalize(), hasher.count()))
}

/// Paths and sizes of all files below a folder, in order.
fn files_below(folder: &Path) -> Result<Vec<(PathBuf, u64)>, BackupError> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let at = folder.join(&below);
        let failed = |source| BackupError::file("list", &at, source);
        for entry in fs::read_dir(&at).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = below.join(entry.file_name());
            let metadata = entry.metadata().map_err(failed)?;
            if metadata.is_dir() {
                folders.push(path);
            } else {
                found.push((path, metadata.len()));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// `20261126T132100.123Z-7f3a`: sorts by time; the end tells apart what was made in one millisecond on two machines.
fn snapshot_name(ms: u64) -> String {
    let (days, of_day) = (ms / DAY_MS, ms % DAY_MS);
    let (year, month, day) = civil(i64::try_from(days).unwrap_or(i64::MAX));
    let seconds = of_day / 1_000;
    let salt = blake3::hash(format!("{ms} {}", std::process::id()).as_bytes()).to_hex();
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}.{:03}Z-{}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        of_day % 1_000,
        &salt.as_str()[..4]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_when_and_are_names_of_files() {
        assert!(snapshot_name(1_795_699_260_123).starts_with("2026"));
        assert!(super::super::manifest::is_plain(&snapshot_name(1)));
    }
}
