//! Queries from other modalities: an image that looks for spectra.
//!
//! Vectors of a contrastive model's towers may be compared, but lie apart: a query from one modality is unlike every row of the
//! other. An index is therefore tuned on some vectors of each space that may be such a tower beside its own: of the same
//! encoder, dimension and metric, and of another modality. Where they turn out to have nothing to do with each other, the
//! index does not heed them.

use std::path::Path;

use super::space_path;
use crate::engine::error::EngineError;
use crate::engine::mapped::MappedFloats;
use crate::schema::{CollectionSchema, EmbeddingSpace};
use crate::vector::VectorBlock;

/// Vectors taken from each space.
const SAMPLED: usize = 128;

/// Some vectors of the spaces whose vectors queries on `space` may come from. `counts` tells how many vectors each space has.
pub(super) fn vectors(
    folder: &Path,
    schema: &CollectionSchema,
    space: &EmbeddingSpace,
    counts: &[(u32, u64)],
) -> Result<VectorBlock, EngineError> {
    let mut found = VectorBlock::empty(space.dimension)?;
    for other in schema.vector_spaces().filter(|other| is_akin(space, other)) {
        let count = counts.iter().find(|(id, _)| *id == other.id.0).map_or(0, |(_, count)| *count);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count == 0 {
            continue;
        }
        let numbers = count.saturating_mul(other.dimension);
        let floats = MappedFloats::open(&space_path(folder, other.id, "vectors"), numbers)?;
        let rows = floats.as_slice().chunks_exact(other.dimension);
        for row in rows.step_by(count.div_ceil(SAMPLED)) {
            found.push(row)?;
        }
    }
    Ok(found)
}

fn is_akin(space: &EmbeddingSpace, other: &EmbeddingSpace) -> bool {
    other.id != space.id
        && other.modality != space.modality
        && other.dimension == space.dimension
        && other.metric == space.metric
        && other.provenance.encoder == space.provenance.encoder
}
