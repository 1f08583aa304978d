//! What a collection says of itself.

use super::error::EngineError;
use super::live_part::LivePart;
use super::segment::{Manifest, SpaceManifest};
use super::state::State;
use super::view::CollectionView;
use crate::schema::{CollectionSchema, EmbeddingSpace, ObjectId, SpaceId};
use crate::sky::Moc;
use crate::storage::CollectionRecord;

/// Schema and exact counts of a collection.
#[derive(Debug, Clone)]
pub struct CollectionInfo {
    /// Schema.
    pub schema: CollectionSchema,
    /// Number of the last commit.
    pub version: u64,
    /// Objects, exactly.
    pub object_count: u64,
    /// Vectors, or sequences of tokens, of each space, exactly.
    pub vector_counts: Vec<(SpaceId, u64)>,
    /// Cells that hold objects, at order 8; only when one collection was asked for.
    pub footprint: Option<Moc>,
}

impl CollectionInfo {
    pub(super) fn of(record: &CollectionRecord, footprint: Option<Moc>) -> Self {
        Self {
            schema: CollectionSchema::clone(&record.schema),
            version: record.version,
            object_count: record.object_count,
            vector_counts: record.vector_counts.clone(),
            footprint,
        }
    }

    /// Counts of the rows of a view alone.
    pub(super) fn of_view(
        view: &CollectionView,
        with_footprint: bool,
    ) -> Result<Self, EngineError> {
        let mut vector_counts = Vec::with_capacity(view.schema().spaces.len());
        for space in &view.schema().spaces {
            let parts = view.state.parts();
            let count = if space.holds_vectors() {
                parts.map(|live| vectors_of(live, space.id)).sum()
            } else {
                with_tokens(view, space.id)?
            };
            vector_counts.push((space.id, count));
        }
        Ok(Self {
            schema: view.schema().clone(),
            version: view.version(),
            object_count: view.live_count(),
            vector_counts,
            footprint: with_footprint.then(|| view.state.footprint().clone()),
        })
    }
}

/// Objects asked at a time whether they have tokens.
const ASKED_AT_ONCE: usize = 4_096;

/// Rows of a part that are there.
fn rows_of(live: &LivePart) -> impl Iterator<Item = usize> + '_ {
    let rows = 0..live.part().row_count();
    rows.filter(|row| !live.dead().contains(*row as u32))
}

fn vectors_of(live: &LivePart, space: SpaceId) -> u64 {
    match live.part().vectors(space) {
        None => 0,
        Some(vectors) if vectors.is_complete() => live.live_count(),
        Some(vectors) => {
            rows_of(live).filter(|row| vectors.vector_of(*row).is_some()).count() as u64
        }
    }
}

/// The parts know only vectors, so that the store is asked.
fn with_tokens(view: &CollectionView, space: SpaceId) -> Result<u64, EngineError> {
    let mut count = 0;
    for live in view.parts() {
        let ids: Vec<ObjectId> = rows_of(live).filter_map(|row| live.part().id_at(row)).collect();
        for ids in ids.chunks(ASKED_AT_ONCE) {
            count += view.have(space, ids)?.into_iter().filter(|has| *has).count() as u64;
        }
    }
    Ok(count)
}

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildStep {
    /// What is done, or waited for.
    pub stage: String,
    /// How much of it is done.
    pub done: u64,
    /// How much there is; 0 where that is not known, or not told.
    pub total: u64,
}

/// Where the building of a collection's segment stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildStanding {
    /// The step of the build that runs, or that waits.
    pub step: Option<BuildStep>,
    /// Why the last build failed; `None` when it did not.
    pub failure: Option<String>,
}

impl BuildStanding {
    /// The same for whoever does not see every row: how far it is tells how many there are, and reasons name files.
    #[must_use]
    pub fn of_shown(mut self) -> Self {
        if let Some(step) = &mut self.step {
            (step.done, step.total) = (0, 0);
        }
        self.failure = None;
        self
    }
}

/// What is indexed and what is not yet.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexStatus {
    /// The collection.
    pub collection: String,
    /// Number of the last commit.
    pub version: u64,
    /// Commit that the segment covers; 0 without a segment.
    pub indexed_version: u64,
    /// Live rows after the last build: searched exactly.
    pub tail_rows: u64,
    /// Rows of the segment that were deleted or written again since.
    pub deleted_rows: u64,
    /// The segment, if one was built.
    pub segments: Vec<Manifest>,
    /// Names of the spaces by number.
    pub space_names: Vec<(SpaceId, String)>,
    /// The build that goes on beside; views do not know of it.
    pub build: BuildStanding,
}

impl IndexStatus {
    pub(super) fn of(name: &str, state: &State) -> Self {
        let segments: Vec<Manifest> =
            state.segment.iter().map(|(_, manifest)| Manifest::clone(manifest)).collect();
        Self {
            collection: name.to_owned(),
            version: state.version,
            indexed_version: segments.first().map_or(0, |manifest| manifest.version),
            tail_rows: state.tail_rows(),
            deleted_rows: state.dead_rows(),
            segments,
            space_names: state
                .schema
                .spaces
                .iter()
                .map(|space| (space.id, space.name.clone()))
                .collect(),
            build: BuildStanding::default(),
        }
    }

    /// The same of a state that shows only some rows: counts are of these, and what would tell of others is 0.
    pub(super) fn of_shown(mut self, state: &State) -> Self {
        let live = state.segment.as_ref().map(|(live, _)| live);
        for (segment, live) in self.segments.iter_mut().zip(live) {
            segment.rows = live.live_count();
            segment.size_bytes = 0;
            segment.files.clear();
            for space in &mut segment.spaces {
                space.vectors = vectors_of(live, SpaceId(space.space));
                if let Some(index) = &mut space.index {
                    (index.lists, index.default_probes) = (0, 0);
                }
            }
        }
        self.deleted_rows = 0;
        self
    }

    /// Name of a space of a segment, if it still exists.
    pub fn space_name(&self, space: &SpaceManifest) -> Option<&str> {
        let found = self.space_names.iter().find(|(id, _)| id.0 == space.space);
        found.map(|(_, name)| name.as_str())
    }
}

/// Confirms that two declarations of a space mean the same vectors.
pub(super) fn same_space(
    collection: &str,
    existing: &EmbeddingSpace,
    given: &EmbeddingSpace,
) -> Result<(), EngineError> {
    let mismatch =
        |what, existing_property: String, given_property: String| EngineError::SpaceMismatch {
            collection: collection.to_owned(),
            space: existing.name.clone(),
            what,
            existing: existing_property,
            given: given_property,
        };
    if existing.form != given.form {
        let [existing, given] = [existing.form.name(), given.form.name()].map(str::to_owned);
        return Err(mismatch("form", existing, given));
    }
    if existing.dimension != given.dimension {
        return Err(mismatch(
            "dimension",
            existing.dimension.to_string(),
            given.dimension.to_string(),
        ));
    }
    if existing.metric != given.metric {
        return Err(mismatch("metric", existing.metric.to_string(), given.metric.to_string()));
    }
    if existing.modality != given.modality {
        return Err(mismatch(
            "modality",
            existing.modality.to_string(),
            given.modality.to_string(),
        ));
    }
    // A model that makes vectors does not say what they share; the declaration stays.
    if existing.shared.is_some() && given.shared.is_some() && existing.shared != given.shared {
        let named = |shared: &Option<String>| shared.clone().unwrap_or_else(|| "none".to_owned());
        return Err(mismatch("shared space", named(&existing.shared), named(&given.shared)));
    }
    if existing.provenance != given.provenance {
        return Err(mismatch(
            "provenance",
            existing.provenance.to_string(),
            given.provenance.to_string(),
        ));
    }
    Ok(())
}
