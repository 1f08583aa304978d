//! Computes derived columns for rows of a part.
//!
//! Rows are computed by whole blocks, which are kept, where many of a block are asked for, and one by one, which are not
//! kept, where few are: an answer costs in proportion to what it looks at, and the next one of its kind hardly anything.
//! Parts hold the vectors of cosine spaces scaled to unit length; as they were given they are read from the store, which is
//! walked along the sky beside the part. What the store has now may be later than the view: a row that was written again since
//! is computed of what there is, for this answer alone, and not kept. Nor are dead rows: they may live in an older view, of
//! which the store has nothing any more.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use arrow::array::builder::Float64Builder;
use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};

use super::blocks::outputs;
use super::cache::DerivedCache;
use super::formulas::{DerivedValues, Formulas, number_column};
use super::{DerivedKind, Formula};
use crate::engine::error::EngineError;
use crate::engine::live_part::LivePart;
use crate::engine::part::{BATCH_ROWS, Part};
use crate::engine::vectors::PartVectors;
use crate::schema::{CollectionId, SpaceId};
use crate::storage::{ObjectKey, Snapshot, Store, VectorFollower};
use crate::vector::Metric;

/// Inputs that are held at once by one thread: 2 MiB of numbers.
const INPUTS_MAX: usize = 1 << 18;

/// Rows that a formula is given at once, at most.
const ROWS_MAX: usize = 4_096;

/// Inputs for which a further thread is worth starting.
const THREAD_INPUTS: usize = 1 << 20;

/// Rows of an answer beyond which looking along the store is quicker than asking it for each.
const WALK_SHARE: usize = 8;

/// What derived columns of a view are computed from.
pub(in crate::engine) struct Derivation<'a> {
    pub(in crate::engine) formulas: &'a Formulas,
    pub(in crate::engine) cache: &'a DerivedCache,
    pub(in crate::engine) collection: CollectionId,
    /// Commit that the view shows.
    pub(in crate::engine) version: u64,
    pub(in crate::engine) store: &'a Store,
    /// Asked between blocks; when it says so, the work ends.
    pub(in crate::engine) should_stop: &'a (dyn Fn() -> bool + Sync),
}

/// Values of derived columns for rows of a part, which ascend; `None` when the work was stopped.
pub(in crate::engine) fn derive(
    derivation: &Derivation<'_>,
    live: &LivePart,
    columns: &[usize],
    rows: &[u32],
) -> Result<Option<Vec<DerivedValues>>, EngineError> {
    // Columns of one formula are computed together.
    let mut computed: Vec<(&Arc<dyn Formula>, Vec<Float64Array>)> = Vec::new();
    let mut values = Vec::with_capacity(columns.len());
    for &column in columns {
        let Some((formula, output)) = derivation.formulas.behind(column) else { continue };
        let known = computed.iter().position(|(other, _)| Arc::ptr_eq(other, formula));
        let place = match known {
            Some(place) => place,
            None => {
                let Some(outputs) = outputs(derivation, live, formula, rows)? else {
                    return Ok(None);
                };
                computed.push((formula, outputs));
                computed.len() - 1
            }
        };
        let numbers = computed.get(place).and_then(|(_, outputs)| outputs.get(output));
        let numbers = numbers.cloned().unwrap_or_else(|| Float64Array::new_null(rows.len()));
        let kind =
            derivation.formulas.column(column).map_or(DerivedKind::Real, |of| of.kind.clone());
        values.push(DerivedValues::new(kind, numbers));
    }
    Ok(Some(values))
}

/// A formula on its way through a part.
pub(super) struct Work<'a> {
    pub(super) derivation: &'a Derivation<'a>,
    pub(super) part: &'a Part,
    formula: &'a dyn Formula,
    spaces: Vec<Origin<'a>>,
    /// Places of the input columns among the resident ones.
    columns: Vec<usize>,
    /// Numbers that one row is made of.
    width: usize,
    snapshot: Option<Snapshot<'a>>,
}

/// Where the vectors of a space are.
#[derive(Clone, Copy)]
enum Origin<'a> {
    /// No row of the part has one.
    Nowhere,
    /// In the part, as they were given.
    Part(&'a PartVectors),
    /// In the store; the part tells which rows have one.
    Store(&'a PartVectors),
}

impl<'a> Work<'a> {
    pub(super) fn new(
        derivation: &'a Derivation<'a>,
        part: &'a Part,
        formula: &'a dyn Formula,
    ) -> Result<Self, EngineError> {
        let origin = |space: &SpaceId| match part.vectors(*space) {
            None => Origin::Nowhere,
            Some(vectors) if vectors.metric() == Metric::Cosine => Origin::Store(vectors),
            Some(vectors) => Origin::Part(vectors),
        };
        let spaces: Vec<Origin<'a>> = formula.spaces().iter().map(origin).collect();
        let schema = part.batches().first().map(RecordBatch::schema);
        let place = |name: &String| number_column(schema.as_ref()?, name);
        let columns: Vec<usize> =
            formula.columns().iter().map(|name| place(name).unwrap_or(usize::MAX)).collect();
        let width = spaces.iter().map(Origin::dimension).sum::<usize>() + columns.len();
        let needs_store = spaces.iter().any(|origin| matches!(origin, Origin::Store(_)));
        let snapshot =
            needs_store.then(|| derivation.store.snapshot(derivation.collection)).transpose()?;
        Ok(Self { derivation, part, formula, spaces, columns, width, snapshot })
    }

    /// Computes several lists of ascending rows, on several threads where that is worth it.
    pub(super) fn of_lists(
        &self,
        lists: &[&[u32]],
    ) -> Result<Option<Vec<Vec<Float64Array>>>, EngineError> {
        let next = AtomicUsize::new(0);
        let run = || {
            let mut done = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(rows) = lists.get(place) else { return done };
                let computed = self.of_rows(rows);
                let goes_on = matches!(computed, Ok(Some(_)));
                done.push((place, computed));
                if !goes_on {
                    next.store(lists.len(), Ordering::Relaxed);
                }
            }
        };
        let inputs: usize = lists.iter().map(|rows| rows.len() * self.width).sum();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = processors.min(lists.len()).min(1 + inputs / THREAD_INPUTS);
        let done = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
            let mut done = run();
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            done
        });
        let mut computed: Vec<Option<Vec<Float64Array>>> = vec![None; lists.len()];
        for (place, values) in done {
            let Some(values) = values? else { return Ok(None) };
            computed[place] = Some(values);
        }
        Ok(computed.into_iter().collect())
    }

    /// Every output for ascending rows.
    fn of_rows(&self, rows: &[u32]) -> Result<Option<Vec<Float64Array>>, EngineError> {
        let count = self.formula.outputs().len();
        let mut outputs: Vec<_> =
            (0..count).map(|_| Float64Builder::with_capacity(rows.len())).collect();
        let mut walkers = self
            .spaces
            .iter()
            .map(|origin| self.walker(*origin, rows))
            .collect::<Result<Vec<_>, _>>()?;
        let at_once = (INPUTS_MAX / self.width.max(1)).clamp(16, ROWS_MAX);
        let (mut inputs, mut complete) = (Vec::new(), Vec::new());
        for some in rows.chunks(at_once) {
            if (self.derivation.should_stop)() {
                return Ok(None);
            }
            self.gather(some, &mut walkers, &mut inputs, &mut complete)?;
            let whole = complete.iter().filter(|is_complete| **is_complete).count();
            let computed =
                if whole > 0 { self.formula.compute(whole, &inputs) } else { Vec::new() };
            for (place, output) in outputs.iter_mut().enumerate() {
                let mut values = computed.get(place).into_iter().flatten().copied();
                for is_complete in &complete {
                    output.append_option(if *is_complete { values.next() } else { None });
                }
            }
        }
        self.check_read()?;
        Ok(Some(outputs.iter_mut().map(Float64Builder::finish).collect()))
    }

    /// Puts together the inputs of the rows that have all of them, and says which these are.
    fn gather(
        &self,
        rows: &[u32],
        walkers: &mut [Walker<'_>],
        inputs: &mut Vec<f64>,
        complete: &mut Vec<bool>,
    ) -> Result<(), EngineError> {
        inputs.clear();
        complete.clear();
        for walker in &mut *walkers {
            walker.begin(self, rows)?;
        }
        for (place, &row) in rows.iter().enumerate() {
            let before = inputs.len();
            let mut is_complete = true;
            for walker in &mut *walkers {
                // Every walker takes its step, also where another has nothing.
                is_complete &= walker.append(self, place, row, inputs)?;
            }
            for &column in &self.columns {
                let number = self.number(column, row as usize).filter(|number| number.is_finite());
                is_complete &= number.is_some();
                inputs.extend(number);
            }
            if !is_complete {
                inputs.truncate(before);
            }
            complete.push(is_complete);
        }
        Ok(())
    }

    /// A number of a row; null for flags that are neither true nor false.
    fn number(&self, column: usize, row: usize) -> Option<f64> {
        let batch = self.part.batches().get(row / BATCH_ROWS)?;
        let array = batch.columns().get(column)?;
        let place = row % BATCH_ROWS;
        if place >= array.len() || array.is_null(place) {
            return None;
        }
        match array.data_type() {
            DataType::Boolean => Some(f64::from(u8::from(array.as_boolean().value(place)))),
            DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(place) as f64),
            DataType::Float32 => Some(f64::from(array.as_primitive::<Float32Type>().value(place))),
            DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(place)),
            _ => None,
        }
    }

    fn key(&self, row: u32) -> Option<ObjectKey> {
        self.part.key_at(self.derivation.collection, row as usize)
    }

    fn walker<'w>(&'w self, origin: Origin<'w>, rows: &[u32]) -> Result<Walker<'w>, EngineError> {
        let vectors = match origin {
            Origin::Nowhere => return Ok(Walker::Nothing),
            Origin::Part(vectors) => return Ok(Walker::Part(vectors, Vec::new())),
            Origin::Store(vectors) => vectors,
        };
        let ends = rows.first().zip(rows.last());
        let keys = ends.and_then(|(first, last)| Some((self.key(*first)?, self.key(*last)?)));
        let (Some(snapshot), Some((first, last)), Some((from, to))) = (&self.snapshot, keys, ends)
        else {
            return Ok(Walker::Nothing);
        };
        let space = vectors.space();
        if rows.len() * WALK_SHARE < (to - from) as usize {
            return Ok(Walker::Each(snapshot, space, Vec::new()));
        }
        let cells = first.cell.0..last.cell.0.saturating_add(1);
        Ok(Walker::Along(snapshot.follow_vectors(cells, space)?))
    }

    /// Tells when the disk did not give what a part has.
    fn check_read(&self) -> Result<(), EngineError> {
        for origin in &self.spaces {
            if let Origin::Part(vectors) = origin
                && vectors.has_failed()
            {
                let space = format!("number {}", vectors.space().0);
                return Err(EngineError::UnreadableVectors { space });
            }
        }
        Ok(())
    }
}

impl Origin<'_> {
    fn dimension(&self) -> usize {
        match self {
            Self::Nowhere => 0,
            Self::Part(vectors) | Self::Store(vectors) => vectors.dimension(),
        }
    }
}

/// Gives the vectors of one space, row after row.
enum Walker<'a> {
    /// There is none.
    Nothing,
    /// From the part, with room for one that is read from the disk.
    Part(&'a PartVectors, Vec<f32>),
    /// From the store, along the sky.
    Along(VectorFollower<'a>),
    /// From the store, some asked for at once.
    Each(&'a Snapshot<'a>, SpaceId, Vec<Option<Vec<f32>>>),
}

impl Walker<'_> {
    fn begin(&mut self, work: &Work<'_>, rows: &[u32]) -> Result<(), EngineError> {
        if let Self::Each(snapshot, space, fetched) = self {
            let keys: Vec<ObjectKey> = rows.iter().filter_map(|row| work.key(*row)).collect();
            *fetched = snapshot.vectors_at(*space, &keys)?;
        }
        Ok(())
    }

    /// Appends the vector of a row, and says whether there is one.
    fn append(
        &mut self,
        work: &Work<'_>,
        place: usize,
        row: u32,
        inputs: &mut Vec<f64>,
    ) -> Result<bool, EngineError> {
        let owned;
        let vector: Option<&[f32]> = match self {
            Self::Nothing => None,
            Self::Part(vectors, buffer) => vectors.of_row(row as usize, buffer),
            Self::Along(follower) => {
                owned = work.key(row).map(|key| follower.vector_of(key)).transpose()?.flatten();
                owned.as_deref()
            }
            Self::Each(_, _, fetched) => fetched.get(place).and_then(Option::as_deref),
        };
        let is_there = vector.is_some();
        inputs.extend(vector.into_iter().flatten().map(|number| f64::from(*number)));
        Ok(is_there)
    }
}
