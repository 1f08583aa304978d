//! Looking at snapshots, and making a database of one.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::BackupError;
use super::manifest::{SnapshotFile, SnapshotManifest, is_plain};
use super::remote::{Remote, on_a_thread};
use super::{Progress, SNAPSHOTS, manifest_name, note_name, object_name};
use crate::class::Class;

/// What there is in a place.
#[derive(Debug, Default)]
pub struct Listing {
    /// The snapshots whose manifests can be read, oldest first.
    pub snapshots: Vec<SnapshotManifest>,
    /// Names of the others, and why they cannot.
    pub damaged: Vec<(String, BackupError)>,
}

/// The snapshots of a place.
///
/// # Errors
/// Those of the place. A manifest that cannot be read is told, and the others with it.
pub async fn list(place: &Remote) -> Result<Listing, BackupError> {
    let mut listing = Listing::default();
    for name in place.list(SNAPSHOTS).await? {
        match read_manifest(place, &name).await {
            Ok(manifest) => listing.snapshots.push(manifest),
            // One that was dropped since, or a file of somebody else.
            Err(BackupError::NoSnapshot { .. }) => {}
            Err(error) if error.class() == Class::Unavailable => return Err(error),
            Err(error) => listing.damaged.push((name, error)),
        }
    }
    listing.snapshots.sort_by_key(|manifest| manifest.created_ms);
    Ok(listing)
}

pub(super) async fn read_manifest(
    place: &Remote,
    name: &str,
) -> Result<SnapshotManifest, BackupError> {
    let missing = || BackupError::NoSnapshot { name: name.to_owned() };
    if !is_plain(name) {
        return Err(missing());
    }
    let bytes = place.get(&manifest_name(name)).await?.ok_or_else(missing)?;
    SnapshotManifest::decode(name, &bytes)
}

/// Reads everything of a snapshot and compares it with its hashes.
///
/// # Errors
/// [`BackupError::NoSnapshot`], and [`BackupError::Missing`] or [`BackupError::Damaged`] with the first file that is.
pub async fn verify(
    place: &Remote,
    name: &str,
    progress: &mut Progress<'_>,
) -> Result<SnapshotManifest, BackupError> {
    let manifest = read_manifest(place, name).await?;
    let (mut done, total) = (0, manifest.size_bytes());
    for file in &manifest.files {
        read_file(place, file, &mut |_| Ok(())).await?;
        done += file.size;
        progress("verifying", done, total);
    }
    Ok(manifest)
}

/// Makes a data directory of a snapshot. The directory must be empty or not exist; it appears whole, or not at all.
///
/// # Errors
/// [`BackupError::NotEmpty`]; those of [`verify`], and those of the disk: nothing is then left.
pub async fn restore(
    place: &Remote,
    name: &str,
    into: &Path,
    progress: &mut Progress<'_>,
) -> Result<SnapshotManifest, BackupError> {
    let manifest = read_manifest(place, name).await?;
    if manifest.database_format > crate::storage::FORMAT {
        let (found, supported) = (manifest.database_format, crate::storage::FORMAT);
        return Err(BackupError::NewerFormat { name: manifest.name, found, supported });
    }
    check_empty(into)?;
    let unfinished = Unfinished::beside(into)?;
    let (mut done, total) = (0, manifest.size_bytes());
    for file in &manifest.files {
        write_file(place, file, &unfinished.path).await?;
        done += file.size;
        progress("restoring", done, total);
    }
    let into = into.to_path_buf();
    on_a_thread(move || unfinished.finish(&into)).await?;
    Ok(manifest)
}

fn check_empty(path: &Path) -> Result<(), BackupError> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(BackupError::NotEmpty { path: path.display().to_string() }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::file("list", path, error)),
    }
}

/// Streams a file of a snapshot to `sink` and compares size and hash at its end. An object that is not what its name says is
/// noted, so that the next snapshot does not rely on it.
pub(super) async fn read_file(
    place: &Remote,
    file: &SnapshotFile,
    sink: &mut (dyn FnMut(&[u8]) -> Result<(), BackupError> + Send),
) -> Result<(), BackupError> {
    let name = format!("{} ({})", file.path, object_name(&file.blake3));
    let mut hasher = blake3::Hasher::new();
    let is_there = place
        .read(&object_name(&file.blake3), &mut |part| {
            hasher.update(part);
            sink(part)
        })
        .await?;
    if !is_there {
        return Err(BackupError::Missing { name });
    }
    let damaged = |what: String| BackupError::Damaged { name: name.clone(), what };
    if hasher.count() != file.size {
        return Err(damaged(format!("{} bytes instead of {}", hasher.count(), file.size)));
    }
    if hasher.finalize().to_hex().as_str() != file.blake3 {
        let note = note_name(&file.blake3);
        // A place that cannot be written now does not change what is wrong.
        return Err(damaged(
            match place.put(&note, b"it does not have its hash\n".to_vec()).await {
                Ok(()) => format!(
                    "it does not have its hash; `{note}` says so, and the next `sidereus snapshot create` sends it anew if the \
                 database still has that file"
                ),
                Err(error) => {
                    format!("it does not have its hash, which could not be noted: {error}")
                }
            },
        ));
    }
    Ok(())
}

async fn write_file(place: &Remote, file: &SnapshotFile, folder: &Path) -> Result<(), BackupError> {
    let path = folder.join(&file.path);
    let failed = |source| BackupError::file("write", &path, source);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut target = File::create_new(&path).map_err(failed)?;
    read_file(place, file, &mut |part| target.write_all(part).map_err(failed)).await?;
    let synced = path.clone();
    on_a_thread(move || {
        target.sync_all().map_err(|source| BackupError::file("sync", &synced, source))
    })
    .await
}

/// The directory while it is filled; removed unless it is finished.
struct Unfinished {
    path: PathBuf,
    is_done: bool,
}

impl Unfinished {
    fn beside(into: &Path) -> Result<Self, BackupError> {
        let name = into.file_name().unwrap_or_default().to_string_lossy();
        let path = into.with_file_name(format!(".{name}.restoring-{}", std::process::id()));
        let failed = |source| BackupError::file("make", &path, source);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        if path.exists() {
            fs::remove_dir_all(&path).map_err(failed)?;
        }
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        Ok(Self { path, is_done: false })
    }

    /// Syncs the folders and gives the directory its name, in place of an empty one.
    fn finish(mut self, into: &Path) -> Result<(), BackupError> {
        sync_folders(&self.path)?;
        check_empty(into)?;
        let failed = |source| BackupError::file("make", into, source);
        fs::rename(&self.path, into).map_err(failed)?;
        self.is_done = true;
        let parent = into.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        File::open(parent).and_then(|opened| opened.sync_all()).map_err(failed)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_done
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "unfinished restore not removed");
        }
    }
}

fn sync_folders(path: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::file("sync", path, source);
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(path).and_then(|opened| opened.sync_all()).map_err(failed)
}
