//! Blocks of rows whose outputs are kept, and rows that are computed for one answer alone.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::Float64Type;
use roaring::RoaringBitmap;

use super::Formula;
use super::cache::{BlockOutputs, BlockValues};
use super::compute::{Derivation, Work};
use crate::engine::error::EngineError;
use crate::engine::live_part::LivePart;
use crate::engine::part::{BATCH_ROWS, Part};
use crate::storage::{ChangeKind, StorageError};

/// Share of a block's rows from which the whole block is computed, and the length of blocks that always are.
const MANY_SHARE: usize = 8;
const SMALL_ROWS: usize = 4_096;

/// Rows of one block that are wanted.
struct Wanted<'a> {
    block: usize,
    rows: &'a [u32],
    /// Whether the block is computed, or held, whole.
    is_whole: bool,
    values: Option<BlockValues>,
    /// Those of the rows that are computed for this answer alone, and their values.
    own: Vec<u32>,
    own_values: Vec<Float64Array>,
}

impl Wanted<'_> {
    /// Finds the rows that a whole block has nothing of.
    fn find_own(&mut self, part: &Part) {
        let start = block_rows(part, self.block).start;
        if let Some(values) = &self.values
            && !values.without.is_empty()
        {
            let lacks = |row: &&u32| values.without.contains(**row - start);
            self.own = self.rows.iter().filter(lacks).copied().collect();
        }
    }
}

/// Every output of a formula for rows of a part.
pub(super) fn outputs(
    derivation: &Derivation<'_>,
    live: &LivePart,
    formula: &Arc<dyn Formula>,
    rows: &[u32],
) -> Result<Option<Vec<Float64Array>>, EngineError> {
    let part = live.part();
    let block_of = |row: u32| row as usize / BATCH_ROWS;
    let groups = rows.chunk_by(|left, right| block_of(*left) == block_of(*right));
    let mut wanted: Vec<Wanted<'_>> = groups
        .map(|rows| {
            let block = rows.first().map_or(0, |row| block_of(*row));
            let values = derivation.cache.get(part.identity(), formula, block);
            let len = block_rows(part, block).len();
            let is_whole = values.is_some() || len <= SMALL_ROWS || rows.len() * MANY_SHARE >= len;
            let own = if is_whole { Vec::new() } else { rows.to_vec() };
            Wanted { block, rows, is_whole, values, own, own_values: Vec::new() }
        })
        .collect();
    wanted.iter_mut().for_each(|wanted| wanted.find_own(part));
    let is_lacking =
        |wanted: &Wanted<'_>| !wanted.own.is_empty() || wanted.is_whole && wanted.values.is_none();
    if wanted.iter().any(is_lacking) {
        let work = Work::new(derivation, part, &**formula)?;
        if !fill_blocks(&work, live, formula, &mut wanted)? || !fill_own(&work, &mut wanted)? {
            return Ok(None);
        }
    }
    let count = formula.outputs().len();
    (0..count).map(|output| joined(part, &wanted, output)).collect::<Result<_, _>>().map(Some)
}

/// Computes the whole blocks that are not held, and keeps them; false when the work was stopped.
fn fill_blocks(
    work: &Work<'_>,
    live: &LivePart,
    formula: &Arc<dyn Formula>,
    wanted: &mut [Wanted<'_>],
) -> Result<bool, EngineError> {
    let lacking: Vec<&mut Wanted<'_>> =
        wanted.iter_mut().filter(|wanted| wanted.is_whole && wanted.values.is_none()).collect();
    if lacking.is_empty() {
        return Ok(true);
    }
    let changed = changed_rows(work)?;
    let mut unsure = live.dead_to_all().clone();
    unsure |= changed.as_ref().unwrap_or(&RoaringBitmap::new());
    let sure = |rows: Range<u32>| rows.filter(|row| !unsure.contains(*row)).collect();
    let lists: Vec<Vec<u32>> =
        lacking.iter().map(|wanted| sure(block_rows(work.part, wanted.block))).collect();
    let rows: Vec<&[u32]> = lists.iter().map(Vec::as_slice).collect();
    let Some(computed) = work.of_lists(&rows)? else { return Ok(false) };
    for ((wanted, rows), outputs) in lacking.into_iter().zip(&lists).zip(computed) {
        let values = Arc::new(spread(block_rows(work.part, wanted.block), rows, outputs));
        // Without the list of changes nobody knows what else is of later.
        if changed.is_some() {
            work.derivation.cache.put(work.part.identity(), formula, wanted.block, &values);
        }
        wanted.values = Some(values);
        wanted.find_own(work.part);
    }
    Ok(true)
}

/// Computes the rows that are of this answer alone; false when the work was stopped.
fn fill_own(work: &Work<'_>, wanted: &mut [Wanted<'_>]) -> Result<bool, EngineError> {
    let lists: Vec<&[u32]> = wanted.iter().map(|wanted| wanted.own.as_slice()).collect();
    let Some(computed) = work.of_lists(&lists)? else { return Ok(false) };
    for (wanted, values) in wanted.iter_mut().zip(computed) {
        wanted.own_values = values;
    }
    Ok(true)
}

/// Rows of the part that were written again since the view; `None` where the store does not remember. The store is asked after
/// the snapshot was made that vectors are read from.
fn changed_rows(work: &Work<'_>) -> Result<Option<RoaringBitmap>, EngineError> {
    let Derivation { store, collection, version, .. } = work.derivation;
    let commits = match store.changes_since(*collection, *version) {
        Ok(commits) => commits,
        Err(StorageError::ChangesTrimmed { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let changes = commits.into_iter().flat_map(|(_, changes)| changes);
    let of_vectors = changes.filter(|change| change.kind != ChangeKind::Tokens);
    Ok(Some(of_vectors.filter_map(|change| Some(work.part.row_of(change.key)? as u32)).collect()))
}

/// Outputs of some rows of a block as those of the block, null where there is none.
fn spread(block: Range<u32>, rows: &[u32], outputs: Vec<Float64Array>) -> BlockOutputs {
    if rows.len() == block.len() {
        return BlockOutputs { outputs, without: RoaringBitmap::new() };
    }
    let mut without: RoaringBitmap = (0..block.len() as u32).collect();
    let mut places = vec![None; block.len()];
    for (place, row) in (0u32..).zip(rows) {
        without.remove(row - block.start);
        places[(row - block.start) as usize] = Some(place);
    }
    let value = |output: &Float64Array, place: u32| {
        output.is_valid(place as usize).then(|| output.value(place as usize))
    };
    let spread = |output: &Float64Array| {
        places.iter().map(|place| place.and_then(|place| value(output, place))).collect()
    };
    BlockOutputs { outputs: outputs.iter().map(spread).collect(), without }
}

fn block_rows(part: &Part, block: usize) -> Range<u32> {
    let start = block * BATCH_ROWS;
    start as u32..(start + BATCH_ROWS).min(part.row_count()) as u32
}

/// One output of all wanted rows.
fn joined(part: &Part, wanted: &[Wanted<'_>], output: usize) -> Result<Float64Array, EngineError> {
    let mut arrays = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let all = block_rows(part, wanted.block);
        let rows = wanted.rows;
        let own = wanted.own_values.get(output);
        let whole = wanted.values.as_ref().and_then(|values| values.outputs.get(output));
        arrays.push(match (whole, own) {
            (None, None) => Float64Array::new_null(rows.len()),
            (None, Some(own)) => own.clone(),
            (Some(whole), Some(own)) if !wanted.own.is_empty() => {
                // Both ascend.
                let mut own = wanted.own.iter().zip(own).peekable();
                let value = |row: &u32| match own.next_if(|(other, _)| *other == row) {
                    Some((_, value)) => value,
                    None => {
                        let place = (row - all.start) as usize;
                        whole.is_valid(place).then(|| whole.value(place))
                    }
                };
                rows.iter().map(value).collect()
            }
            (Some(whole), _) if rows.len() == all.len() => whole.clone(),
            (Some(whole), _) => {
                let places: UInt32Array = rows.iter().map(|row| row - all.start).collect();
                take(whole, &places, None)?.as_primitive::<Float64Type>().clone()
            }
        });
    }
    match arrays.as_slice() {
        [] => Ok(Float64Array::new_null(0)),
        [only] => Ok(only.clone()),
        several => {
            let several: Vec<&dyn Array> =
                several.iter().map(|array| array as &dyn Array).collect();
            Ok(concat(&several)?.as_primitive::<Float64Type>().clone())
        }
    }
}
