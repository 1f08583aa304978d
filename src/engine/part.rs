//! A sky-sorted run of rows: the shape that segments and the tail share.
//!
//! Row number = rank in `(cell, ordinal)` order, so a region of the sky is a few contiguous row ranges in every
//! part, and one code path searches all of them.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef, UInt32Type};

use super::attributes::Attribute;
use super::blocks::Blocks;
use super::columns;
use super::error::EngineError;
use super::sky_rows::{Directions, RegionRows, RegionTest, SkyCells, direction_of};
use super::vectors::PartVectors;
use crate::schema::{CollectionId, CollectionSchema, Object, ObjectId, SpaceId, Value};
use crate::sky::{Cell29, Position, Region};
use crate::storage::{ObjectKey, Place};

/// Rows of each Arrow batch of a part, all but the last.
pub const BATCH_ROWS: usize = 65_536;

/// Rows that are looked at one by one before steps get longer.
const NEAR_ROWS: usize = 6;

/// Where the rows of a part come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// An immutable segment on disk, perhaps with indices.
    Segment,
    /// Writes after the last build, searched exactly.
    Tail,
}

/// A sky-sorted, immutable run of rows.
#[derive(Debug, Clone)]
pub struct Part {
    kind: PartKind,
    batches: Vec<RecordBatch>,
    cells: Arc<SkyCells>,
    ordinals: Arc<Blocks<UInt32Type>>,
    spaces: Arc<Vec<PartVectors>>,
    /// One for each resident column that there was when the part was made; none at all where it has no attributes.
    attributes: Arc<Vec<Option<Attribute>>>,
    directions: Arc<Directions>,
    /// The same in everything that has the same rows.
    identity: Arc<()>,
    /// Whether there is more than keys.
    has_columns: bool,
}

impl Part {
    /// Makes a part of columns that are sorted by key.
    ///
    /// # Errors
    /// [`EngineError::DamagedSegment`] when lengths disagree, batches are not [`BATCH_ROWS`] long, or keys are
    /// not ascending.
    pub(super) fn new(
        kind: PartKind,
        batches: Vec<RecordBatch>,
        ordinals: &[ArrayRef],
        spaces: Vec<PartVectors>,
        path: &str,
    ) -> Result<Self, EngineError> {
        let damaged = |what| damaged(path, what);
        let full = batches.len().saturating_sub(1);
        if batches.iter().take(full).any(|batch| batch.num_rows() != BATCH_ROWS) {
            return Err(damaged("a column block has the wrong length"));
        }
        let columns: Option<Vec<_>> =
            batches.iter().map(|batch| batch.column_by_name(columns::HEALPIX_29)).collect();
        let cells = columns.and_then(|columns| Blocks::of(columns.into_iter()));
        let cells = cells.ok_or_else(|| damaged("no healpix_29 column"))?;
        let ordinals =
            Blocks::of(ordinals.iter()).ok_or_else(|| damaged("ordinals are not numbers"))?;
        Self::of_columns(kind, batches, cells, ordinals, spaces).map_err(damaged)
    }

    /// A tail part of keys, of whose rows nothing else is in memory.
    ///
    /// # Errors
    /// As [`Part::new`].
    pub(super) fn of_keys(keys: impl Iterator<Item = (u64, u32)>) -> Result<Self, EngineError> {
        let (cells, ordinals): (Vec<i64>, Vec<u32>) =
            keys.map(|(cell, ordinal)| (cell as i64, ordinal)).unzip();
        let (cells, ordinals) = (cells.into_iter().collect(), ordinals.into_iter().collect());
        let part = Self::of_columns(PartKind::Tail, Vec::new(), cells, ordinals, Vec::new());
        let part = part.map_err(|what| damaged("(tail)", what))?;
        Ok(Self { has_columns: false, ..part })
    }

    fn of_columns(
        kind: PartKind,
        batches: Vec<RecordBatch>,
        cells: Blocks<Int64Type>,
        ordinals: Blocks<UInt32Type>,
        spaces: Vec<PartVectors>,
    ) -> Result<Self, &'static str> {
        if cells.count() != ordinals.count() {
            return Err("cells and ordinals differ in number");
        }
        if !are_in_key_order(&cells, &ordinals) {
            return Err("rows are not in key order");
        }
        if spaces.iter().any(|space| !space.fits(cells.count())) {
            return Err("a space has vectors for rows that do not exist");
        }
        Ok(Self {
            kind,
            batches,
            cells: Arc::new(SkyCells::new(cells)),
            ordinals: Arc::new(ordinals),
            spaces: Arc::new(spaces),
            attributes: Arc::default(),
            directions: Arc::new(Directions::unmade()),
            identity: Arc::new(()),
            has_columns: true,
        })
    }

    /// The part with the indices of its columns, one entry for each resident column.
    pub(super) fn with_attributes(self, attributes: Vec<Option<Attribute>>) -> Self {
        Self { attributes: Arc::new(attributes), ..self }
    }

    /// The same rows under a schema with more columns, in which they have null.
    pub(super) fn widened(&self, arrow_schema: &SchemaRef) -> Result<Self, EngineError> {
        let Some(first) = self.batches.first() else { return Ok(self.clone()) };
        let known = first.num_columns();
        if known == arrow_schema.fields().len() {
            return Ok(self.clone());
        }
        let nulls = columns::nulls_beyond(arrow_schema, known, first.num_rows());
        let widen = |batch: &RecordBatch| {
            let mut arrays = batch.columns().to_vec();
            arrays.extend(nulls.iter().map(|array| array.slice(0, batch.num_rows())));
            RecordBatch::try_new(Arc::clone(arrow_schema), arrays)
        };
        let batches = self.batches.iter().map(widen).collect::<Result<_, _>>()?;
        Ok(Self { batches, ..self.clone() })
    }

    /// Tells the rows of this part from those of every other part that is, or of which something is kept.
    pub(super) fn identity(&self) -> &Arc<()> {
        &self.identity
    }

    /// Gives the part its directions, which are otherwise made at their first use.
    ///
    /// # Errors
    /// [`EngineError::DamagedSegment`] when they are not one for each row.
    pub(super) fn with_directions(
        self,
        directions: Directions,
        path: &str,
    ) -> Result<Self, EngineError> {
        if directions.fit(self.row_count()) {
            return Ok(Self { directions: Arc::new(directions), ..self });
        }
        Err(damaged(path, "directions and rows differ in number"))
    }

    /// Makes a tail part of objects, which are sorted here.
    pub(super) fn from_objects(
        schema: &CollectionSchema,
        arrow_schema: &SchemaRef,
        mut rows: Vec<(ObjectKey, Object)>,
    ) -> Result<Self, EngineError> {
        rows.sort_unstable_by_key(|(key, _)| *key);
        let mut batches = Vec::new();
        let mut ordinals = Vec::new();
        for chunk in rows.chunks(BATCH_ROWS) {
            let (batch, chunk_ordinals) = columns::to_batch(schema, arrow_schema, chunk)?;
            batches.push(batch);
            ordinals.push(chunk_ordinals);
        }
        let spaces = schema
            .vector_spaces()
            .map(|space| PartVectors::gather(space, rows.iter().map(|(_, object)| object)))
            .collect::<Result<_, _>>()?;
        let directions =
            rows.iter().map(|(_, object)| direction_of(Some(object.position))).collect();
        Self::new(PartKind::Tail, batches, &ordinals, spaces, "(tail)")?
            .with_directions(Directions::of(directions), "(tail)")
    }

    /// Segment or tail.
    pub fn kind(&self) -> PartKind {
        self.kind
    }

    /// Number of rows, dead ones included.
    pub fn row_count(&self) -> usize {
        self.cells().len()
    }

    /// The columns, in blocks of [`BATCH_ROWS`].
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The vectors of a space, if any row of this part has one.
    pub fn vectors(&self, space: SpaceId) -> Option<&PartVectors> {
        self.spaces.iter().find(|vectors| vectors.space() == space)
    }

    /// All spaces of the part.
    pub fn spaces(&self) -> &[PartVectors] {
        &self.spaces
    }

    /// The index of a resident column by its place in the resident schema; `None` in the tail, in small segments, and
    /// for texts that are nearly all different.
    pub fn attribute(&self, column: usize) -> Option<&Attribute> {
        self.attributes.get(column)?.as_ref()
    }

    /// The rows that may lie in a region, most of them known to.
    ///
    /// # Complexity
    /// Microseconds: it depends on the rows near the region's edge, hardly on the number of rows.
    pub fn region_rows(&self, region: &Region) -> RegionRows {
        let found = RegionRows::find(&self.cells, region);
        if matches!(region, Region::Cone(_)) {
            found.prefetch_edge(self.directions());
        }
        found
    }

    /// The exact test of a region by row number, for the border runs of [`Part::region_rows`] or any other rows.
    pub fn region_test<'a>(&'a self, region: &'a Region) -> RegionTest<'a> {
        RegionTest::new(self, region)
    }

    /// Directions of the rows, for the tests of regions.
    pub(super) fn directions(&self) -> &[u64] {
        self.directions.table(|| {
            (0..self.row_count()).map(|row| direction_of(self.position_at(row))).collect()
        })
    }

    /// The row of a key.
    pub fn row_of(&self, key: ObjectKey) -> Option<usize> {
        let start = self.rows_before(key.cell.0);
        if !self.cells.is_at(start, key.cell.0) {
            return None;
        }
        let rows = start..self.row_count();
        let end = self.cells.first_from(&rows, key.cell.0.saturating_add(1));
        self.row_with(key.ordinal, start..end)
    }

    /// Rows whose order-29 cell is before one: they are the first.
    pub fn rows_before(&self, cell: u64) -> usize {
        self.cells.first_from(&(0..self.row_count()), cell)
    }

    /// The row with an ordinal among the rows of one cell.
    fn row_with(&self, ordinal: u32, rows: Range<usize>) -> Option<usize> {
        let end = rows.end;
        let row = self.ordinals.first_not(rows, |other| other < ordinal);
        (row < end && self.ordinals.get(row) == Some(ordinal)).then_some(row)
    }

    /// The keys of places, which ascend, that rows of the part have.
    ///
    /// # Complexity
    /// Steps of doubling length over the rows between two places: never much more than there are rows.
    pub(super) fn keys_among(&self, places: &[Place]) -> Vec<ObjectKey> {
        let cells = self.cells();
        let mut found = Vec::new();
        let mut from = 0;
        for place in places {
            let key = place.key;
            let is_before = |row: usize| cells.is_before(row, key.cell.0) == Some(true);
            // Where rows and places are about equally dense, the next row is one of the next few.
            from += (from..from + NEAR_ROWS).take_while(|&row| is_before(row)).count();
            if is_before(from) {
                let mut step = 1;
                while is_before(from + step) {
                    step *= 2;
                }
                from = cells.first_from(&(from..(from + step + 1).min(cells.len())), key.cell.0);
            }
            if from == cells.len() {
                break;
            }
            let is_same = |row: &usize| cells.is_at(*row, key.cell.0);
            let same = (from..cells.len()).take_while(is_same).count();
            if self.row_with(key.ordinal, from..from + same).is_some() {
                found.push(key);
            }
        }
        found
    }

    /// The key of a row.
    pub fn key_at(&self, collection: CollectionId, row: usize) -> Option<ObjectKey> {
        let (cell, ordinal) = self.key_of(row)?;
        Some(ObjectKey { collection, cell: Cell29(cell), ordinal })
    }

    /// The cell and the ordinal of a row.
    fn key_of(&self, row: usize) -> Option<(u64, u32)> {
        Some((self.cells.get(row)?, self.ordinals.get(row)?))
    }

    /// The object id of a row.
    pub fn id_at(&self, row: usize) -> Option<ObjectId> {
        let batch = self.batches.get(row / BATCH_ROWS)?;
        columns::id_at(batch.column(0).as_ref(), row % BATCH_ROWS)
    }

    /// The position of a row.
    pub fn position_at(&self, row: usize) -> Option<Position> {
        columns::position_at(self.batches.get(row / BATCH_ROWS)?, row % BATCH_ROWS)
    }

    /// A resident column's value by its place in the resident schema.
    pub fn value_at(&self, column: usize, row: usize) -> Value {
        self.batches
            .get(row / BATCH_ROWS)
            .and_then(|batch| batch.columns().get(column))
            .map_or(Value::Null, |array| columns::value_at(array.as_ref(), row % BATCH_ROWS))
    }

    /// Bytes of the vectors of all spaces.
    pub(super) fn vector_bytes(&self) -> usize {
        self.spaces.iter().map(PartVectors::size_bytes).sum()
    }

    /// Whether only keys are in memory; the rest has to be read from the store before there is a view.
    pub(super) fn has_only_keys(&self) -> bool {
        !self.has_columns
    }

    /// The cells of the rows, ascending.
    pub(super) fn cells(&self) -> &SkyCells {
        &self.cells
    }
}

/// Whether keys ascend; ordinals are read only of rows that share a cell.
fn are_in_key_order(cells: &Blocks<Int64Type>, ordinals: &Blocks<UInt32Type>) -> bool {
    let cells = || cells.iter().map(|cell| cell as u64);
    let mut pairs = cells().zip(cells().skip(1)).enumerate();
    pairs.all(|(row, (left, right))| match left.cmp(&right) {
        Ordering::Less => true,
        Ordering::Equal => ordinals.get(row) < ordinals.get(row + 1),
        Ordering::Greater => false,
    })
}

fn damaged(path: &str, what: &str) -> EngineError {
    EngineError::DamagedSegment { path: path.to_owned(), what: what.to_owned() }
}

/// Merges the live rows of several parts into one tail part, which has only keys where one of them has no more.
///
/// `parts` names, for each part, whether a row is dead.
pub(super) fn merge(
    parts: &[(&Part, &dyn Fn(usize) -> bool)],
    schema: &CollectionSchema,
    arrow_schema: &SchemaRef,
) -> Result<Part, EngineError> {
    if parts.iter().any(|(part, _)| part.has_only_keys()) {
        return merge_keys(parts);
    }
    let mut order: Vec<(u64, u32, usize, usize)> = Vec::new();
    for (place, (part, dead)) in parts.iter().enumerate() {
        let live = (0..part.row_count()).filter(|&row| !dead(row));
        order.extend(live.filter_map(|row| {
            let (cell, ordinal) = part.key_of(row)?;
            Some((cell, ordinal, place, row))
        }));
    }
    order.sort_unstable();
    let mut sources: Vec<&RecordBatch> = Vec::new();
    let mut first_batch = Vec::with_capacity(parts.len());
    for (part, _) in parts {
        first_batch.push(sources.len());
        sources.extend(part.batches.iter());
    }
    let mut batches = Vec::new();
    let mut ordinals: Vec<ArrayRef> = Vec::new();
    for chunk in order.chunks(BATCH_ROWS) {
        let places: Vec<(usize, usize)> = chunk
            .iter()
            .map(|&(_, _, part, row)| (first_batch[part] + row / BATCH_ROWS, row % BATCH_ROWS))
            .collect();
        let batch = arrow::compute::interleave_record_batch(&sources, &places)?;
        batches.push(RecordBatch::try_new(Arc::clone(arrow_schema), batch.columns().to_vec())?);
        let chunk_ordinals: Vec<u32> = chunk.iter().map(|&(_, ordinal, _, _)| ordinal).collect();
        ordinals.push(Arc::new(arrow::array::UInt32Array::from(chunk_ordinals)));
    }
    let mut spaces = Vec::with_capacity(schema.spaces.len());
    for space in schema.vector_spaces() {
        let rows = order.iter().map(|&(_, _, part, row)| {
            parts[part].0.vectors(space.id).and_then(|vectors| vectors.in_memory(row))
        });
        spaces.push(PartVectors::collect(space, rows)?);
    }
    let tables: Vec<&[u64]> = parts.iter().map(|(part, _)| part.directions()).collect();
    let directions = order.iter().map(|&(_, _, part, row)| tables[part][row]).collect();
    Part::new(PartKind::Tail, batches, &ordinals, spaces, "(tail)")?
        .with_directions(Directions::of(directions), "(tail)")
}

/// The keys of the live rows of parts, in order. There may be very many of them.
fn merge_keys(parts: &[(&Part, &dyn Fn(usize) -> bool)]) -> Result<Part, EngineError> {
    let live = parts.iter().map(|&(part, dead)| {
        let rows = (0..part.row_count()).filter(move |row| !dead(*row));
        rows.filter_map(|row| part.key_of(row)).peekable()
    });
    let mut ahead: Vec<_> = live.collect();
    let mut keys = Vec::with_capacity(parts.iter().map(|(part, _)| part.row_count()).sum());
    loop {
        let next = ahead.iter_mut().enumerate();
        let next = next.filter_map(|(part, keys)| Some((*keys.peek()?, part))).min();
        let Some((key, part)) = next else { break };
        keys.push(key);
        ahead[part].next();
    }
    Part::of_keys(keys.into_iter())
}
