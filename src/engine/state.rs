//! What queries see of a collection: an immutable list of parts and the rows of them that are dead.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use roaring::RoaringBitmap;

use super::columns;
use super::error::EngineError;
use super::part::{self, Part, PartKind};
use super::segment::Manifest;
use crate::schema::{CollectionSchema, Object, ObjectId};
use crate::sky::{Cell29, Moc, Order};
use crate::storage::{Change, ChangeKind, ObjectKey, Operation, Outcome};
use crate::vector::RowBitmap;

/// Order at which footprints are shown: cells of 14 arcminutes.
const FOOTPRINT_ORDER: u64 = 8;

/// A part and its dead rows (deleted, or written again since).
#[derive(Debug, Clone)]
pub struct LivePart {
    pub(super) part: Arc<Part>,
    pub(super) dead: Arc<RoaringBitmap>,
    /// The dead rows bit by bit, made when a query first asks: it asks about many rows.
    dense: Arc<OnceLock<RowBitmap>>,
}

impl LivePart {
    pub(super) fn new(part: Part) -> Self {
        Self {
            part: Arc::new(part),
            dead: Arc::new(RoaringBitmap::new()),
            dense: Arc::new(OnceLock::new()),
        }
    }

    /// The rows.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Rows that are not there any more.
    pub fn dead(&self) -> &RoaringBitmap {
        &self.dead
    }

    /// The same as a bitmap of all rows; `None` when every row is there.
    pub fn dead_rows(&self) -> Option<&RowBitmap> {
        let make = || {
            let mut rows = RowBitmap::empty(self.part.row_count());
            self.dead.iter().for_each(|row| rows.insert(row as usize));
            rows
        };
        (!self.dead.is_empty()).then(|| self.dense.get_or_init(make))
    }

    /// Number of rows that are.
    pub fn live_count(&self) -> u64 {
        self.part.row_count() as u64 - self.dead.len()
    }

    fn kill(&mut self, key: ObjectKey) {
        if let Some(row) = self.part.row_of(key) {
            let row = row as u32;
            if !self.dead.contains(row) {
                Arc::make_mut(&mut self.dead).insert(row);
                self.dense = Arc::new(OnceLock::new());
            }
        }
    }
}

/// One version of a collection in memory. Every change makes a new one, so that a query keeps what it began with.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) schema: Arc<CollectionSchema>,
    pub(super) arrow_schema: SchemaRef,
    pub(super) version: u64,
    pub(super) segment: Option<(LivePart, Arc<Manifest>)>,
    pub(super) tail: Vec<LivePart>,
    /// Made when it is first asked for: it reads every cell.
    pub(super) footprint: OnceLock<Moc>,
}

impl State {
    /// A state of a segment (or none) and the objects changed since.
    pub(super) fn assemble(
        schema: Arc<CollectionSchema>,
        version: u64,
        segment: Option<(Part, Manifest)>,
        changes: &[(u64, Vec<Change>)],
        fetch: impl FnOnce(&[ObjectKey]) -> Result<Vec<Option<(ObjectKey, Object)>>, EngineError>,
    ) -> Result<Self, EngineError> {
        let arrow_schema = columns::resident_schema(&schema);
        let mut state = Self {
            arrow_schema,
            schema,
            version,
            segment: segment.map(|(part, manifest)| (LivePart::new(part), Arc::new(manifest))),
            tail: Vec::new(),
            footprint: OnceLock::new(),
        };
        let mut last: HashMap<ObjectKey, ChangeKind> = HashMap::new();
        for change in changes.iter().flat_map(|(_, changes)| changes) {
            last.insert(change.key, change.kind);
        }
        state.kill(last.keys().copied());
        let put: Vec<ObjectKey> = last
            .iter()
            .filter(|(_, kind)| **kind == ChangeKind::Put)
            .map(|(key, _)| *key)
            .collect();
        let rows: Vec<_> = fetch(&put)?.into_iter().flatten().collect();
        state.push(rows)?;
        Ok(state)
    }

    /// The state after a commit. `operations` and `outcomes` go together; `fetch` reads objects of which the
    /// commit changed only the vectors.
    pub(super) fn after(
        &self,
        version: u64,
        operations: Vec<Operation>,
        outcomes: &[Outcome],
        fetch: impl FnOnce(&[ObjectKey]) -> Result<Vec<Option<(ObjectKey, Object)>>, EngineError>,
    ) -> Result<Self, EngineError> {
        let mut next = Self { version, footprint: OnceLock::new(), ..self.clone() };
        let mut last: HashMap<ObjectId, (ObjectKey, Option<Object>)> = HashMap::new();
        for (operation, outcome) in operations.into_iter().zip(outcomes) {
            match *outcome {
                Outcome::Inserted { key } | Outcome::VectorsSet { key } => next.kill([key]),
                Outcome::Replaced { key, previous } => next.kill([key, previous]),
                Outcome::Deleted { previous } => next.kill([previous]),
                Outcome::Absent => {}
            }
            match (operation, outcome) {
                (
                    Operation::Put(object),
                    Outcome::Inserted { key } | Outcome::Replaced { key, .. },
                ) => {
                    last.insert(object.id.clone(), (*key, Some(object)));
                }
                (Operation::SetVectors { id, .. }, Outcome::VectorsSet { key }) => {
                    last.insert(id, (*key, None));
                }
                (Operation::Delete(id), Outcome::Deleted { .. }) => {
                    last.remove(&id);
                }
                (Operation::Put(_) | Operation::SetVectors { .. } | Operation::Delete(_), _) => {}
            }
        }
        let mut rows = Vec::with_capacity(last.len());
        let mut partial = Vec::new();
        for (key, object) in last.into_values() {
            match object {
                Some(object) => rows.push((key, object)),
                None => partial.push(key),
            }
        }
        if !partial.is_empty() {
            rows.extend(fetch(&partial)?.into_iter().flatten());
        }
        next.push(rows)?;
        Ok(next)
    }

    fn kill(&mut self, keys: impl IntoIterator<Item = ObjectKey>) {
        for key in keys {
            if let Some((segment, _)) = &mut self.segment {
                segment.kill(key);
            }
            self.tail.iter_mut().for_each(|part| part.kill(key));
        }
    }

    /// Adds rows to the tail and merges small parts, each into one at least as large: every row is merged a
    /// logarithmic number of times, and a query meets a logarithmic number of tail parts.
    fn push(&mut self, rows: Vec<(ObjectKey, Object)>) -> Result<(), EngineError> {
        if !rows.is_empty() {
            self.tail.push(LivePart::new(Part::from_objects(
                &self.schema,
                &self.arrow_schema,
                rows,
            )?));
        }
        self.tail.retain(|part| part.live_count() > 0);
        while let [.., older, newer] = self.tail.as_slice() {
            if older.part.row_count() > 2 * newer.part.row_count() {
                break;
            }
            let merged = self.merge(older, newer)?;
            let keep = self.tail.len() - 2;
            self.tail.truncate(keep);
            self.tail.push(LivePart::new(merged));
        }
        Ok(())
    }

    fn merge(&self, older: &LivePart, newer: &LivePart) -> Result<Part, EngineError> {
        let dead_older = |row: usize| older.dead.contains(row as u32);
        let dead_newer = |row: usize| newer.dead.contains(row as u32);
        let sources: [(&Part, &dyn Fn(usize) -> bool); 2] =
            [(&*older.part, &dead_older), (&*newer.part, &dead_newer)];
        part::merge(&sources, &self.schema, &self.arrow_schema)
    }

    /// Every part, the segment first.
    pub(super) fn parts(&self) -> impl Iterator<Item = &LivePart> {
        self.segment.iter().map(|(part, _)| part).chain(&self.tail)
    }

    /// Live rows after the last build.
    pub(super) fn tail_rows(&self) -> u64 {
        self.tail.iter().map(LivePart::live_count).sum()
    }

    /// Rows of the segment.
    pub(super) fn segment_rows(&self) -> u64 {
        self.segment.as_ref().map_or(0, |(part, _)| part.part.row_count() as u64)
    }

    /// Cells of the live rows at order 8, coarse enough to read and to draw.
    pub(super) fn footprint(&self) -> &Moc {
        self.footprint.get_or_init(|| self.covered())
    }

    fn covered(&self) -> Moc {
        const SHIFT: u64 = 2 * (29 - FOOTPRINT_ORDER);
        let mut coarse: Vec<u64> = Vec::new();
        for live in self.parts() {
            let cells = live.part.cells().iter().enumerate();
            let alive = cells.filter(|(row, _)| !live.dead.contains(*row as u32));
            for (_, cell) in alive {
                let coarse_cell = cell >> SHIFT;
                if coarse.last() != Some(&coarse_cell) {
                    coarse.push(coarse_cell);
                }
            }
        }
        let cells = coarse.into_iter().map(|cell| Cell29(cell << SHIFT));
        Order::new(FOOTPRINT_ORDER)
            .map_or_else(|_| Moc::empty(), |order| Moc::from_cells(cells).degraded(order))
    }

    /// Number of objects: live rows of all parts.
    pub(super) fn live_count(&self) -> u64 {
        self.parts().map(LivePart::live_count).sum()
    }

    /// Live rows of parts of a kind.
    pub(super) fn dead_rows(&self) -> u64 {
        self.parts()
            .filter(|live| live.part.kind() == PartKind::Segment)
            .map(|live| live.dead.len())
            .sum()
    }
}
