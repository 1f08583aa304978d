//! Releases and snapshots as messages.

use crate::backup::{BackupError, SnapshotManifest};
use crate::engine::{ChangedObjects, Release, ReleaseDiff};
use crate::wire::v1;

/// A release.
pub(in crate::service) fn release(release: Release) -> v1::Release {
    let text = release.text;
    v1::Release {
        collection: release.collection,
        name: release.name,
        text: Some(v1::ReleaseText {
            title: text.title,
            citation: text.citation,
            acknowledgement: text.acknowledgement,
            notes: text.notes,
        }),
        created_ms: release.created_ms,
        source_version: release.source_version,
        objects: release.objects,
        spaces: release
            .spaces
            .into_iter()
            .map(|space| v1::ReleaseSpace {
                space: space.space,
                count: space.count,
                provenance: space.provenance,
            })
            .collect(),
        probes: release.probes,
        bridges: release.bridges,
        content_hash: release.content_hash,
        withdrawn: release.withdrawn.map(|withdrawal| v1::ReleaseWithdrawal {
            reason: withdrawal.reason,
            at_ms: withdrawal.at_ms,
            data_kept: withdrawal.data_kept,
        }),
    }
}

/// A difference between two releases.
pub(in crate::service) fn release_diff(diff: ReleaseDiff) -> v1::ReleaseDiff {
    let part = |(name, count)| v1::ChangedPart { name, count };
    v1::ReleaseDiff {
        added: Some(changed(diff.added)),
        removed: Some(changed(diff.removed)),
        changed: Some(changed(diff.changed)),
        moved: diff.moved,
        columns: diff.columns.into_iter().map(part).collect(),
        spaces: diff.spaces.into_iter().map(part).collect(),
        schema: diff.schema,
    }
}

fn changed(objects: ChangedObjects) -> v1::ChangedObjects {
    let ids = objects.ids.into_iter().map(super::object_id_of).collect();
    v1::ChangedObjects { count: objects.count, ids }
}

/// A snapshot of the database.
pub(in crate::service) fn snapshot(manifest: SnapshotManifest) -> v1::Snapshot {
    v1::Snapshot {
        created_ms: manifest.created_ms,
        database_format: manifest.database_format,
        files: manifest.file_count() as u64,
        bytes: manifest.size_bytes(),
        collections: manifest
            .collections
            .into_iter()
            .map(|collection| v1::SnapshotCollection {
                name: collection.name,
                version: collection.version,
                objects: collection.objects,
            })
            .collect(),
        name: manifest.name,
        damage: String::new(),
    }
}

/// A snapshot that cannot be read.
pub(in crate::service) fn damaged_snapshot(name: String, error: &BackupError) -> v1::Snapshot {
    v1::Snapshot { name, damage: error.to_string(), ..v1::Snapshot::default() }
}
