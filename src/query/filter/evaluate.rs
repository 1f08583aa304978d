//! Evaluates what no index answers of a predicate, on the rows that everything else leaves.
//!
//! Values of derived columns are computed for many rows at once, so that these rows are gathered first.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema};

use super::{Found, PartFilter};
use crate::engine::{BATCH_ROWS, CollectionView, EngineError, Part};
use crate::query::datafusion::Predicate;
use crate::query::error::QueryError;
use crate::query::request::StopFlag;
use crate::vector::RowBitmap;

/// Rows that a predicate is evaluated on at once: bounds the memory of intermediate values, and how long a query that
/// nobody waits for goes on.
const BLOCK_ROWS: usize = 4_096;

/// Rows whose derived values are held at once: 8 MiB of each column.
pub(in crate::query) const DERIVED_ROWS: usize = 1 << 20;

impl PartFilter<'_> {
    /// Finds the rows left one by one, those for which `rest` holds, and keeps them.
    pub(super) fn find(&mut self, rest: &Predicate, stop: &StopFlag) -> Result<(), QueryError> {
        let part = self.part();
        let mut found = Found { rows: RowBitmap::empty(part.row_count()), count: 0 };
        let mut sorted = Vec::new();
        self.for_each_chunk(self.cheapest_source(), stop, |chunk| {
            // Rows that come by a column's index are in no order.
            sorted.clear();
            sorted.extend_from_slice(chunk);
            sorted.sort_unstable();
            pieces(&sorted).try_for_each(|piece| {
                found.add(piece, &evaluate(part, rest, piece, &[])?);
                Ok(())
            })
        })?;
        self.found = Some(found);
        Ok(())
    }

    /// Does the same with a predicate that names derived columns.
    pub(super) fn find_derived(
        &mut self,
        view: &CollectionView,
        last: &Predicate,
        stop: &StopFlag,
    ) -> Result<(), QueryError> {
        let named = last.columns().iter();
        let (names, places): (Vec<&String>, Vec<usize>) =
            named.filter_map(|name| Some((name, view.formulas().place(name)?))).unzip();
        let left = self.rows_left(stop)?;
        let part = self.part();
        let mut found = Found { rows: RowBitmap::empty(part.row_count()), count: 0 };
        for some in left.chunks(DERIVED_ROWS) {
            let values = view.derive(self.live, &places, some, &|| stop.is_raised())?;
            let values = values.ok_or(QueryError::Stopped)?;
            let mut before = 0;
            for piece in pieces(some) {
                stop.check()?;
                let run = before..before + piece.len();
                before = run.end;
                let arrays: Vec<(&str, ArrayRef)> = names
                    .iter()
                    .zip(&values)
                    .map(|(name, values)| (name.as_str(), values.to_arrow(run.clone())))
                    .collect();
                found.add(piece, &evaluate(part, last, piece, &arrays)?);
            }
        }
        self.derived = names.into_iter().map(|name| (name.clone(), left.len())).collect();
        self.found = Some(found);
        Ok(())
    }

    /// The rows that region, conditions and deletes leave, ascending.
    pub(in crate::query) fn rows_left(&self, stop: &StopFlag) -> Result<Vec<u32>, QueryError> {
        let mut left: Vec<u32> = Vec::new();
        self.for_each_chunk(self.cheapest_source(), stop, |chunk| {
            left.extend_from_slice(chunk);
            Ok(())
        })?;
        left.sort_unstable();
        Ok(left)
    }
}

impl Found {
    fn add(&mut self, rows: &[u32], passes: &BooleanArray) {
        for (place, &row) in rows.iter().enumerate() {
            if passes.is_valid(place) && passes.value(place) {
                self.rows.insert(row as usize);
                self.count += 1;
            }
        }
    }
}

/// Cuts rows where the batch changes.
fn pieces(rows: &[u32]) -> impl Iterator<Item = &[u32]> {
    rows.chunk_by(|left, right| *left as usize / BATCH_ROWS == *right as usize / BATCH_ROWS)
        .flat_map(|piece| piece.chunks(BLOCK_ROWS))
}

/// Evaluates a predicate on some rows of one batch, ascending; `derived` are the columns that no batch has, for these rows.
pub(in crate::query) fn evaluate(
    part: &Part,
    predicate: &Predicate,
    rows: &[u32],
    derived: &[(&str, ArrayRef)],
) -> Result<BooleanArray, QueryError> {
    let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else {
        return Ok(BooleanArray::from(Vec::<bool>::new()));
    };
    let Some(batch) = part.batches().get(first as usize / BATCH_ROWS) else {
        return Ok(BooleanArray::from(vec![false; rows.len()]));
    };
    let start = first as usize % BATCH_ROWS;
    let is_run = last >= first && (last - first) as usize + 1 == rows.len();
    let places: Option<UInt32Array> =
        (!is_run).then(|| rows.iter().map(|row| row % BATCH_ROWS as u32).collect());
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for name in predicate.columns() {
        let computed = derived.iter().find(|(other, _)| other == name);
        let array = match (computed, batch.column_by_name(name), &places) {
            (Some((_, array)), ..) => Arc::clone(array),
            (None, Some(array), None) => array.slice(start, rows.len()),
            (None, Some(array), Some(places)) => {
                take(array, places, None).map_err(EngineError::from)?
            }
            // What is missing is told by the evaluation.
            (None, None, _) => continue,
        };
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    // Without a column a batch does not know its rows.
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let schema = Arc::new(Schema::new(fields));
    let needed = RecordBatch::try_new_with_options(schema, arrays, &options);
    Ok(predicate.evaluate(&needed.map_err(EngineError::from)?)?)
}
