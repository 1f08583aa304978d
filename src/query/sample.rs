//! A fixed sample of the vectors of a space: the background that distances and examples are held against.

use super::error::QueryError;
use crate::engine::{CollectionView, EngineError, PartVectors};
use crate::schema::EmbeddingSpace;
use crate::storage::ObjectKey;
use crate::vector::VectorSource;

/// Prepared vectors, one after the other, of up to `wanted` places spread evenly over the rows of all parts in sky order. Rows
/// that are gone, and those of `without`, leave their places empty; a space of up to `wanted` vectors is sampled whole.
///
/// # Errors
/// [`EngineError::UnreadableVectors`] when the disk fails.
pub(super) fn sample(
    view: &CollectionView,
    space: &EmbeddingSpace,
    wanted: usize,
    without: &[ObjectKey],
) -> Result<Vec<f32>, QueryError> {
    if view.is_restricted() {
        return sample_of_shown(view, space, wanted, without);
    }
    let parts = view.parts();
    let count = |vectors: Option<&PartVectors>| vectors.map_or(0, PartVectors::count);
    let total: usize = parts.iter().map(|live| count(live.part().vectors(space.id))).sum();
    let step = total.div_ceil(wanted.max(1)).max(1);
    let mut sampled = Vec::with_capacity(wanted.min(total) * space.dimension);
    let mut buffer = Vec::new();
    let (mut place, mut before) = (step / 2, 0);
    for live in parts {
        let part = live.part();
        let Some(vectors) = part.vectors(space.id) else { continue };
        let without: Vec<usize> = without.iter().filter_map(|key| part.row_of(*key)).collect();
        while place < before + vectors.count() {
            let vector = place - before;
            place += step;
            let row = vectors.row_of(vector);
            if live.dead().contains(row as u32) || without.contains(&row) {
                continue;
            }
            let fetched = VectorSource::fetch(vectors, vector, &mut buffer);
            let unreadable = || EngineError::UnreadableVectors { space: space.name.clone() };
            sampled.extend_from_slice(fetched.ok_or_else(unreadable)?);
        }
        before += vectors.count();
    }
    Ok(sampled)
}

/// The same of the rows that a restricted view shows: places are theirs alone, so that others neither take any nor are told by
/// how many were taken.
fn sample_of_shown(
    view: &CollectionView,
    space: &EmbeddingSpace,
    wanted: usize,
    without: &[ObjectKey],
) -> Result<Vec<f32>, QueryError> {
    let mut shown: Vec<(&PartVectors, usize, bool)> = Vec::new();
    for live in view.parts() {
        let part = live.part();
        let Some(vectors) = part.vectors(space.id) else { continue };
        let without: Vec<usize> = without.iter().filter_map(|key| part.row_of(*key)).collect();
        let rows = live.visible().into_iter().flatten().map(|row| row as usize);
        shown.extend(
            rows.filter_map(|row| Some((vectors, vectors.vector_of(row)?, without.contains(&row)))),
        );
    }
    let step = shown.len().div_ceil(wanted.max(1)).max(1);
    let mut sampled = Vec::with_capacity(wanted.min(shown.len()) * space.dimension);
    let mut buffer = Vec::new();
    for (vectors, vector, is_without) in shown.into_iter().skip(step / 2).step_by(step) {
        if !is_without {
            let fetched = VectorSource::fetch(vectors, vector, &mut buffer);
            let unreadable = || EngineError::UnreadableVectors { space: space.name.clone() };
            sampled.extend_from_slice(fetched.ok_or_else(unreadable)?);
        }
    }
    Ok(sampled)
}
