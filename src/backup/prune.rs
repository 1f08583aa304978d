//! Removing a snapshot, and what only it needed.

use std::collections::BTreeSet;

use super::error::BackupError;
use super::manifest::is_plain;
use super::remote::Remote;
use super::restore::read_manifest;
use super::under_way::{Doing, UnderWay};
use super::{DAMAGED, OBJECTS, SNAPSHOTS, manifest_name, note_name, object_name};
use crate::class::Class;

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Objects that no other snapshot needs.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes a snapshot, and the objects that no snapshot needs any more.
///
/// # Errors
/// [`BackupError::NoSnapshot`]; [`BackupError::Busy`] while a snapshot is made there, before anything is removed;
/// [`BackupError::NotPruned`] when the manifest of another snapshot cannot be read: no object is then removed.
pub async fn drop_snapshot(place: &Remote, name: &str) -> Result<Pruned, BackupError> {
    if !is_plain(name) || place.size(&manifest_name(name)).await?.is_none() {
        return Err(BackupError::NoSnapshot { name: name.to_owned() });
    }
    let under_way = UnderWay::begin(place, Doing::Pruned, name).await?;
    let pruned = prune(place, name, &under_way).await;
    under_way.end().await?;
    pruned
}

async fn prune(place: &Remote, name: &str, under_way: &UnderWay) -> Result<Pruned, BackupError> {
    place.delete(&manifest_name(name)).await?;
    let mut needed = BTreeSet::new();
    for other in place.list(SNAPSHOTS).await? {
        match read_manifest(place, &other).await {
            Ok(manifest) => needed.extend(manifest.files.into_iter().map(|file| file.blake3)),
            // Somebody else has dropped it just now.
            Err(BackupError::NoSnapshot { .. }) => {}
            // Nobody knows what it needs.
            Err(source) if matches!(source.class(), Class::Corrupt | Class::Conflict) => {
                let source = Box::new(source);
                return Err(BackupError::NotPruned { dropped: name.to_owned(), other, source });
            }
            Err(error) => return Err(error),
        }
    }
    let mut pruned = Pruned::default();
    for object in place.list(OBJECTS).await? {
        if !needed.contains(&object) {
            let object = object_name(&object);
            pruned.bytes += place.size(&object).await?.unwrap_or(0);
            pruned.objects += 1;
            // Nobody relies on it: no snapshot has been begun meanwhile.
            under_way.check()?;
            place.delete(&object).await?;
        }
    }
    for noted in place.list(DAMAGED).await? {
        if !needed.contains(&noted) {
            place.delete(&note_name(&noted)).await?;
        }
    }
    Ok(pruned)
}
