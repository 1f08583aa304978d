//! What a query may cost, told before it is planned: a bound of its time, and of its memory.

use super::hydrate;
use super::plan::VECTOR_NS;
use super::request::{Query, WITHIN_HITS_MAX};
use crate::engine::CollectionView;
use crate::schema::{ColumnType, EmbeddingSpace};

/// What a test of a condition that is evaluated row by row is taken for, in nanoseconds.
const EVALUATED_NS: f64 = 20.0;

/// What is taken for a value of a column whose size is not known, in bytes.
const TEXT_BYTES: usize = 64;
const LONG_BYTES: usize = 4 << 10;

/// What a hit takes beside its values: id, position, names.
const HIT_BYTES: usize = 256;

/// Copies of an answer that are in memory together: as hits, as messages, and as bytes.
const COPIES: usize = 3;

/// What a search is expected to cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Time on one processor, in nanoseconds.
    pub ns: f64,
    /// Whether that is the price of its plan; else it is a bound.
    pub is_planned: bool,
    /// Memory, in bytes.
    pub bytes: u64,
}

/// A bound of what a search costs, from its terms and the number of rows alone.
pub fn bound(view: &CollectionView, query: &Query) -> Price {
    let rows = view.live_count() as f64;
    let cost = view.cost();
    let each_vector =
        |dimension: usize| VECTOR_NS + (dimension * size_of::<f32>()) as f64 * cost.vector_byte_ns;
    let terms = query.terms.iter().map(|term| {
        let space = space_of(view, &term.space);
        let examples = term.like.len() + term.unlike.len() + term.vectors.len();
        rows * each_vector(space.map_or(0, |space| space.dimension)) * examples.clamp(1, 8) as f64
    });
    let tested = if query.predicate.is_some() { rows * EVALUATED_NS } else { 0.0 };
    let placed = if query.region.is_some() { rows * cost.test_ns } else { 0.0 };
    let ns = terms.sum::<f64>() + tested + placed + cost.search_ns;
    Price { ns, is_planned: false, bytes: memory(view, query) }
}

/// A bound of what a count, or a choice of objects, costs.
pub fn bound_of_count(view: &CollectionView, has_region: bool, has_predicate: bool) -> Price {
    let rows = view.live_count() as f64;
    let tested = if has_predicate { rows * EVALUATED_NS } else { 0.0 };
    let placed = if has_region { rows * view.cost().test_ns } else { 0.0 };
    Price { ns: 1e4 + tested + placed, is_planned: false, bytes: rows_bytes(view) }
}

/// Numbers of the rows that a predicate leaves, and a bit for each row.
fn rows_bytes(view: &CollectionView) -> u64 {
    let rows = view.live_count();
    rows * size_of::<u32>() as u64 + rows / 8
}

/// A bound of the memory of a search.
pub(super) fn memory(view: &CollectionView, query: &Query) -> u64 {
    let hits = match query.k {
        Some(k) if k > 0 => k,
        _ => WITHIN_HITS_MAX,
    };
    let hits = hits.min(view.live_count() as usize);
    let bytes_of = |kind: ColumnType| match kind {
        ColumnType::Text => TEXT_BYTES,
        ColumnType::Binary | ColumnType::FloatList => LONG_BYTES,
        _ => size_of::<u64>(),
    };
    let schema = view.schema();
    let is_wanted = |name: &str| match &query.columns {
        Some(names) => names.iter().any(|given| given == name),
        None => true,
    };
    let columns = schema.columns.iter().filter(|column| {
        is_wanted(&column.name) && (query.columns.is_some() || column.kind != ColumnType::Binary)
    });
    let columns: usize = columns.map(|column| column.name.len() + bytes_of(column.kind)).sum();
    let vectors: usize = match query.with_vectors {
        true => schema.spaces.iter().map(|space| space.dimension * size_of::<f32>()).sum(),
        false => 0,
    };
    // Stored values have a limit of their own.
    let values = (hits * (columns + vectors)).min(hydrate::ANSWER_BYTES_MAX);
    let answer = (values + hits * HIT_BYTES) * COPIES;
    let rows =
        if query.predicate.is_some() || query.region.is_some() { rows_bytes(view) } else { 0 };
    // A distance for each row, where several terms are compared one after the other.
    let compared = match query.terms.len() {
        0 | 1 => 0,
        terms => view.live_count() * (terms * size_of::<f32>()) as u64,
    };
    answer as u64 + rows + compared
}

fn space_of<'a>(view: &'a CollectionView, name: &str) -> Option<&'a EmbeddingSpace> {
    match name {
        // The largest it can mean.
        "" => view.schema().spaces.iter().max_by_key(|space| space.dimension),
        name => view.schema().space(name),
    }
}
