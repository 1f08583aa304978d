//! A fixed sample of the vectors of a space: the background that distances and examples are held against.

use super::error::QueryError;
use crate::engine::{CollectionView, EngineError, PartKind, PartVectors};
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
/// how many were taken, or by how the tail is cut into parts.
fn sample_of_shown(
    view: &CollectionView,
    space: &EmbeddingSpace,
    wanted: usize,
    without: &[ObjectKey],
) -> Result<Vec<f32>, QueryError> {
    let parts = view.parts();
    let shown = parts.iter().filter_map(|live| {
        let (visible, vectors) = (live.visible()?, live.part().vectors(space.id)?);
        let rows = visible.iter().map(|row| row as usize);
        Some((live.part(), vectors, rows.filter(|row| vectors.vector_of(*row).is_some())))
    });
    let (mut tail, mut total) = (Vec::new(), 0);
    for (part, vectors, rows) in shown.clone() {
        match part.kind() {
            PartKind::Segment => total += rows.count(),
            PartKind::Tail => {
                let keyed = rows
                    .filter_map(|row| Some((part.key_at(view.collection(), row)?, vectors, row)));
                tail.extend(keyed);
            }
        }
    }
    tail.sort_unstable_by_key(|(key, ..)| *key);
    total += tail.len();
    let of_segments = shown.filter(|(part, ..)| part.kind() == PartKind::Segment);
    let of_segments = of_segments.flat_map(|(part, vectors, rows)| {
        let key = |row| part.key_at(view.collection(), row);
        rows.filter_map(move |row| Some((key(row)?, vectors, row)))
    });
    let step = total.div_ceil(wanted.max(1)).max(1);
    let mut sampled = Vec::with_capacity(wanted.min(total) * space.dimension);
    let mut buffer = Vec::new();
    for (key, vectors, row) in of_segments.chain(tail).skip(step / 2).step_by(step) {
        if !without.contains(&key) {
            let unreadable = || EngineError::UnreadableVectors { space: space.name.clone() };
            sampled.extend_from_slice(vectors.of_row(row, &mut buffer).ok_or_else(unreadable)?);
        }
    }
    Ok(sampled)
}
