//! Objects out of a collection: columns and vectors of a region under a predicate, along the sky, batch by batch.
//!
//! Rows come from all parts at once, merged by their keys, so that an export is in sky order whatever was written when.
//! Nothing is gathered beforehand: memory is bounded by one batch, not by the rows of the answer.

mod arrays;
mod walk;

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use self::arrays::{Arrays, Layout};
use self::walk::Walk;
use super::error::QueryError;
use super::filter::Filter;
use super::request::StopFlag;
use crate::engine::CollectionView;
use crate::sky::{Cell29, Region};

/// Rows of a batch, and bytes of one, about. A stream holds some nine times the bytes: batches that are made, that wait and are
/// encoded, and the messages of them on their way.
const BATCH_ROWS_MAX: usize = 65_536;
const BATCH_BYTES: usize = 2 << 20;

/// Rows of the first batch where values lie in the store, whose length is not known before.
const FIRST_ROWS: usize = 256;

/// Fewest rows of a batch: one that is far longer than `BATCH_BYTES` has very long values.
const BATCH_ROWS_MIN: usize = 16;

/// What is exported.
#[derive(Debug, Clone)]
pub struct Export {
    /// Part of the sky; all of it where none is given.
    pub region: Option<Region>,
    /// SQL boolean expression on the columns, derived ones among them.
    pub predicate: Option<String>,
    /// Columns beside id and position, derived ones among them; `None` for all stored ones but binary ones.
    pub columns: Option<Vec<String>>,
    /// Spaces whose vectors are exported, as they were given.
    pub spaces: Vec<String>,
    /// Order-29 cells of the objects.
    pub cells: Range<u64>,
    /// Ends the export early.
    pub stop: StopFlag,
}

impl Export {
    /// All objects, with their columns and without vectors.
    pub fn all() -> Self {
        Self {
            region: None,
            predicate: None,
            columns: None,
            spaces: Vec::new(),
            cells: 0..Cell29::COUNT,
            stop: StopFlag::default(),
        }
    }
}

/// The columns of an export: `object_id`, `ra`, `dec`, the columns, and `vector.<space>` as fixed-size lists; units and UCDs are
/// in the metadata of the fields.
///
/// # Errors
/// [`QueryError::UnknownColumn`], [`QueryError::UnknownSpace`] or [`QueryError::NotOfVectors`].
pub fn export_schema(view: &CollectionView, export: &Export) -> Result<SchemaRef, QueryError> {
    Ok(Layout::of(view, export)?.schema)
}

/// Hands on the objects of an export in sky order, and returns how many there were; ends early when `each` returns `false`.
///
/// Columns are those of the view. What lies in the store alone (binary and list columns, and vectors of cosine spaces, which
/// parts keep at unit length) is as it is there when the export begins.
///
/// # Errors
/// As [`export_schema`]; [`QueryError`] for a predicate that is refused, a stopped query, damaged data, or a view that is so old
/// that the store does not tell what has changed since.
pub fn export(
    view: &CollectionView,
    export: &Export,
    each: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<u64, QueryError> {
    let layout = Layout::of(view, export)?;
    let (predicate, stop) = (export.predicate.as_deref(), &export.stop);
    let filter = Filter::new(view, export.region.as_ref(), predicate, &[])?;
    let filters = filter.bind(view, stop)?;
    let mut walk = Walk::new(view.collection(), &filters, &export.cells, stop);
    let arrays = Arrays::new(view, &layout, stop)?;
    let mut rows = layout.rows_of(BATCH_BYTES).clamp(BATCH_ROWS_MIN, BATCH_ROWS_MAX);
    if layout.reads_values() {
        rows = rows.min(FIRST_ROWS);
    }
    let mut exported = 0;
    loop {
        let places = walk.take(rows)?;
        if places.is_empty() {
            return Ok(exported);
        }
        let batch = arrays.batch(&places)?;
        exported += places.len() as u64;
        let bytes_each = batch.get_array_memory_size() / places.len();
        if layout.reads_values() {
            rows = (BATCH_BYTES / bytes_each.max(1)).clamp(BATCH_ROWS_MIN, BATCH_ROWS_MAX);
        }
        if !each(batch) {
            return Ok(exported);
        }
    }
}

/// How many objects an export has.
///
/// # Errors
/// As [`export()`].
pub fn export_count(view: &CollectionView, export: &Export) -> Result<u64, QueryError> {
    let (region, predicate) = (export.region.as_ref(), export.predicate.as_deref());
    if export.cells == (0..Cell29::COUNT) {
        return super::count(view, region, predicate, &export.stop);
    }
    let filter = Filter::new(view, region, predicate, &[])?;
    let filters = filter.bind(view, &export.stop)?;
    let mut walk = Walk::new(view.collection(), &filters, &export.cells, &export.stop);
    let mut count = 0;
    loop {
        match walk.take(BATCH_ROWS_MAX)?.len() {
            0 => return Ok(count),
            some => count += some as u64,
        }
    }
}

/// Cuts the cells of an export into ranges with about as many rows each; together they are the cells of the export. There are
/// fewer than asked for where there are hardly any rows.
pub fn export_shares(view: &CollectionView, export: &Export, wanted: usize) -> Vec<Range<u64>> {
    let parts = view.parts();
    let largest = parts.iter().map(|live| live.part()).max_by_key(|part| part.row_count());
    let mut bounds = vec![export.cells.start];
    if let Some(part) = largest {
        let rows = walk::rows_of_cells(part, &export.cells);
        for share in 1..wanted.max(1) {
            let row = rows.start + rows.len() * share / wanted;
            let cell = part.key_at(view.collection(), row).map(|key| key.cell.0);
            let next = bounds.last().copied().unwrap_or_default();
            bounds.extend(cell.filter(|cell| (next + 1..export.cells.end).contains(cell)));
        }
    }
    bounds.push(export.cells.end);
    bounds.windows(2).map(|pair| pair[0]..pair[1]).collect()
}
