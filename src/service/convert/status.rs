//! The state of a collection's indices.

use crate::engine::{IndexStatus, Manifest};
use crate::wire::v1;

/// Writes the state of a collection's indices.
pub(in crate::service) fn index_status(status: &IndexStatus) -> v1::GetIndexStatusResponse {
    v1::GetIndexStatusResponse {
        collection: status.collection.clone(),
        version: status.version,
        indexed_version: status.indexed_version,
        tail_rows: status.tail_rows,
        deleted_rows: status.deleted_rows,
        segments: status.segments.iter().map(|segment| segment_of(status, segment)).collect(),
        build: status.build.step.as_ref().map(|step| v1::IndexBuild {
            stage: step.stage.clone(),
            done: step.done,
            total: step.total,
        }),
        build_failure: status.build.failure.clone().unwrap_or_default(),
    }
}

fn segment_of(status: &IndexStatus, segment: &Manifest) -> v1::SegmentStatus {
    let spaces = segment.spaces.iter().filter_map(|space| {
        let name = status.space_name(space)?.to_owned();
        let index = space.index.as_ref();
        Some(v1::SpaceIndexStatus {
            space: name,
            kind: index.map_or_else(
                || format!("none: {}", space.unindexed.as_deref().unwrap_or("searched exactly")),
                |index| index.kind.clone(),
            ),
            vectors: space.vectors,
            lists: index.map_or(0, |index| index.lists),
            default_probes: index.map_or(0, |index| index.default_probes),
            measured_recall: index.map(|index| index.measured_recall),
        })
    });
    v1::SegmentStatus {
        rows: segment.rows,
        bytes_on_disk: segment.size_bytes,
        spaces: spaces.collect(),
    }
}
