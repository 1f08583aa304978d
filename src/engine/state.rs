//! What queries see of a collection: an immutable list of parts and the rows of them that are dead.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use roaring::RoaringBitmap;

use super::columns;
use super::error::EngineError;
use super::live_part::LivePart;
use super::part::{self, BATCH_ROWS, Part, PartKind};
use super::row_policy::{PolicyKey, RowPolicy};
use super::segment::Manifest;
use crate::schema::{CollectionId, CollectionSchema, Object, ObjectId};
use crate::sky::{Cell29, Moc, Order};
use crate::storage::{Change, ChangeKind, ObjectKey, Operation, Outcome, Place};

/// Order at which footprints are shown: cells of 14 arcminutes.
const FOOTPRINT_ORDER: u64 = 8;

/// Rows of a part of the tail, and bytes of its vectors, beyond which it is not merged any more.
const MERGED_ROWS_MAX: usize = 2 * BATCH_ROWS;
pub(super) const MERGED_BYTES_MAX: usize = 64 << 20;

/// What of new rows stays in memory until they are indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Everything that a search needs.
    Rows,
    /// Their keys alone, where nobody searches.
    Keys,
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
        keep: Keep,
        fetch: impl FnOnce(&[ObjectKey]) -> Result<Vec<Option<(ObjectKey, Object)>>, EngineError>,
    ) -> Result<Self, EngineError> {
        let arrow_schema = columns::resident_schema(&schema);
        let mut state = Self {
            schema,
            version,
            segment: segment.map(|segment| live_segment(segment, &arrow_schema)).transpose()?,
            arrow_schema,
            tail: Vec::new(),
            footprint: OnceLock::new(),
        };
        let last = last_changes(changes);
        state.kill(last.keys().copied());
        let put: Vec<ObjectKey> = last
            .iter()
            .filter(|(_, kind)| **kind == ChangeKind::Put)
            .map(|(key, _)| *key)
            .collect();
        let from = state.segment.as_ref().map_or(0, |(_, manifest)| manifest.version);
        let commits = (from + 1, version);
        match keep {
            Keep::Rows => state.push(fetch(&put)?.into_iter().flatten().collect(), commits)?,
            Keep::Keys => state.push_keys(put, commits)?,
        }
        Ok(state)
    }

    /// This state over a new segment, which holds everything up to its version; `changes` are those of the commits
    /// after it. The rows of these commits are in the tail already and stay there.
    pub(super) fn over(
        &self,
        schema: Arc<CollectionSchema>,
        segment: (Part, Manifest),
        changes: &[(u64, Vec<Change>)],
        collection: CollectionId,
    ) -> Result<Self, EngineError> {
        let held = segment.1.version;
        let segment = Some(live_segment(segment, &self.arrow_schema)?);
        let mut next = Self { schema, segment, footprint: OnceLock::new(), ..self.clone() };
        let last = last_changes(changes);
        if let Some((segment, _)) = &mut next.segment {
            last.keys().for_each(|key| segment.kill(*key));
        }
        next.tail.retain(|live| live.commits.1 > held);
        for live in next.tail.iter_mut().filter(|live| live.commits.0 <= held) {
            let in_segment = |row: &u32| {
                let key = live.part.key_at(collection, *row as usize);
                key.is_none_or(|key| !last.contains_key(&key))
            };
            let superseded: RoaringBitmap =
                (0..live.part.row_count() as u32).filter(in_segment).collect();
            live.set_dead(&*live.dead | superseded);
            live.commits.0 = held + 1;
        }
        next.settle()?;
        Ok(next)
    }

    /// The state after a commit. `operations` and `outcomes` go together; `fetch` reads objects of which the
    /// commit changed only vectors or columns.
    pub(super) fn after(
        &self,
        version: u64,
        operations: Vec<Operation>,
        outcomes: &[Outcome],
        keep: Keep,
        fetch: impl FnOnce(&[ObjectKey]) -> Result<Vec<Option<(ObjectKey, Object)>>, EngineError>,
    ) -> Result<Self, EngineError> {
        let mut next = Self { version, footprint: OnceLock::new(), ..self.clone() };
        let mut last: HashMap<ObjectId, (ObjectKey, Option<Object>)> = HashMap::new();
        for (operation, outcome) in operations.into_iter().zip(outcomes) {
            match *outcome {
                Outcome::Inserted { key }
                | Outcome::VectorsSet { key }
                | Outcome::ColumnsSet { key } => next.kill([key]),
                Outcome::Replaced { key, previous } => next.kill([key, previous]),
                Outcome::Deleted { previous } => next.kill([previous]),
                // Tokens are read from the store alone: the row stays what it is.
                Outcome::TokensSet { .. } | Outcome::Absent => {}
            }
            match (operation, outcome) {
                (
                    Operation::Put(object) | Operation::Update { object, .. },
                    Outcome::Inserted { key } | Outcome::Replaced { key, .. },
                ) => {
                    last.insert(object.id.clone(), (*key, Some(object)));
                }
                (Operation::SetVectors { id, .. }, Outcome::VectorsSet { key })
                | (Operation::SetColumns { id, .. }, Outcome::ColumnsSet { key }) => {
                    last.insert(id, (*key, None));
                }
                (Operation::Delete(id), Outcome::Deleted { .. }) => {
                    last.remove(&id);
                }
                (
                    Operation::Put(_)
                    | Operation::Update { .. }
                    | Operation::SetVectors { .. }
                    | Operation::SetTokens { .. }
                    | Operation::SetColumns { .. }
                    | Operation::Delete(_),
                    _,
                ) => {}
            }
        }
        if keep == Keep::Keys {
            next.push_keys(last.into_values().map(|(key, _)| key).collect(), (version, version))?;
            return Ok(next);
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
        next.push(rows, (version, version))?;
        Ok(next)
    }

    /// The state after a commit of objects that are all new, which `part` holds.
    pub(super) fn with_part(&self, version: u64, part: Part) -> Result<Self, EngineError> {
        let mut next = Self { version, footprint: OnceLock::new(), ..self.clone() };
        next.tail.push(LivePart::new(part, (version, version)));
        next.settle()?;
        Ok(next)
    }

    /// The same with what a policy shows of each part.
    pub(super) fn restricted(&self, policy: &dyn RowPolicy) -> Self {
        let shown = self.showing(|live| Some(live.restricted(policy)));
        shown.unwrap_or_else(|| Self { segment: None, tail: Vec::new(), ..self.clone() })
    }

    /// The same, where nothing has to be made for it.
    pub(super) fn restricted_at_hand(&self, key: PolicyKey) -> Option<Self> {
        self.showing(|live| live.restricted_at_hand(key))
    }

    fn showing(&self, show: impl Fn(&LivePart) -> Option<LivePart>) -> Option<Self> {
        let segment = match &self.segment {
            Some((live, manifest)) => Some((show(live)?, Arc::clone(manifest))),
            None => None,
        };
        Some(Self {
            schema: Arc::clone(&self.schema),
            arrow_schema: Arc::clone(&self.arrow_schema),
            version: self.version,
            segment,
            tail: self.tail.iter().map(&show).collect::<Option<_>>()?,
            footprint: OnceLock::new(),
        })
    }

    /// The same rows under a schema that has more spaces or columns; in the columns every row has null.
    pub(super) fn with_schema(
        &self,
        schema: Arc<CollectionSchema>,
        version: u64,
    ) -> Result<Self, EngineError> {
        let arrow_schema = columns::resident_schema(&schema);
        let mut next = Self { schema, arrow_schema, version, ..self.clone() };
        let segment = next.segment.iter_mut().map(|(live, _)| live);
        for live in segment.chain(&mut next.tail) {
            live.widen(live.part.widened(&next.arrow_schema)?);
        }
        Ok(next)
    }

    /// The keys of places, which ascend, that rows of this state have, also dead ones.
    pub(super) fn keys_among(&self, places: &[Place]) -> Vec<ObjectKey> {
        self.parts().flat_map(|live| live.part.keys_among(places)).collect()
    }

    fn kill(&mut self, keys: impl IntoIterator<Item = ObjectKey>) {
        for key in keys {
            if let Some((segment, _)) = &mut self.segment {
                segment.kill(key);
            }
            self.tail.iter_mut().for_each(|part| part.kill(key));
        }
    }

    /// Adds rows of some commits to the tail.
    fn push(
        &mut self,
        rows: Vec<(ObjectKey, Object)>,
        commits: (u64, u64),
    ) -> Result<(), EngineError> {
        if !rows.is_empty() {
            let part = Part::from_objects(&self.schema, &self.arrow_schema, rows)?;
            self.tail.push(LivePart::new(part, commits));
        }
        self.settle()
    }

    /// The same of rows of which only the keys stay.
    fn push_keys(
        &mut self,
        mut keys: Vec<ObjectKey>,
        commits: (u64, u64),
    ) -> Result<(), EngineError> {
        keys.sort_unstable();
        if !keys.is_empty() {
            let part = Part::of_keys(keys.iter().map(|key| (key.cell.0, key.ordinal)))?;
            self.tail.push(LivePart::new(part, commits));
        }
        self.settle()
    }

    /// Merges small parts of the tail, each into one at least as large: every row is merged a logarithmic number of
    /// times, and a query meets a logarithmic number of small parts. Large ones stay as they are: a query has so much
    /// to do in each that their number does not matter, and an import would copy gigabytes again and again.
    fn settle(&mut self) -> Result<(), EngineError> {
        self.tail.retain(|part| part.live_count() > 0);
        for place in 0..self.tail.len() {
            let live = &self.tail[place];
            // Mostly dead: what lives moves to a part of its own, so that the memory comes back.
            let is_mostly_dead = 2 * live.live_count() < live.part.row_count() as u64;
            if is_mostly_dead {
                self.tail[place] = self.merge(&[live])?;
            }
        }
        while let [.., older, newer] = self.tail.as_slice() {
            // Keys alone are soon merged, and a commit looks for its own in every part.
            let is_light = older.part.has_only_keys() || newer.part.has_only_keys();
            let rows = older.part.row_count() + newer.part.row_count();
            let bytes = older.part.vector_bytes() + newer.part.vector_bytes();
            let is_large = rows > MERGED_ROWS_MAX || bytes > MERGED_BYTES_MAX;
            if older.part.row_count() > 2 * newer.part.row_count() || (is_large && !is_light) {
                break;
            }
            let merged = self.merge(&[older, newer])?;
            let keep = self.tail.len() - 2;
            self.tail.truncate(keep);
            self.tail.push(merged);
        }
        Ok(())
    }

    /// The live rows of parts, the oldest first, in one.
    fn merge(&self, parts: &[&LivePart]) -> Result<LivePart, EngineError> {
        let dead: Vec<_> =
            parts.iter().map(|live| |row: usize| live.dead.contains(row as u32)).collect();
        let sources: Vec<(&Part, &dyn Fn(usize) -> bool)> = parts
            .iter()
            .zip(&dead)
            .map(|(live, dead)| (&*live.part, dead as &dyn Fn(usize) -> bool))
            .collect();
        let merged = part::merge(&sources, &self.schema, &self.arrow_schema)?;
        let first = parts.iter().map(|live| live.commits.0).min().unwrap_or(0);
        let last = parts.iter().map(|live| live.commits.1).max().unwrap_or(self.version);
        Ok(LivePart::new(merged, (first, last)))
    }

    /// Every part, the segment first.
    pub(super) fn parts(&self) -> impl Iterator<Item = &LivePart> {
        self.segment.iter().map(|(part, _)| part).chain(&self.tail)
    }

    /// Live rows after the last build.
    pub(super) fn tail_rows(&self) -> u64 {
        self.tail.iter().map(LivePart::live_count).sum()
    }

    /// Bytes of the vectors that the tail keeps in memory.
    pub(super) fn tail_bytes(&self) -> usize {
        self.tail.iter().map(|live| live.part.vector_bytes()).sum()
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
            let cells = live.part.cells().coarse().enumerate();
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

/// A segment, which may have been built before the last columns were added.
fn live_segment(
    (part, manifest): (Part, Manifest),
    arrow_schema: &SchemaRef,
) -> Result<(LivePart, Arc<Manifest>), EngineError> {
    let part = part.widened(arrow_schema)?;
    Ok((LivePart::new(part, (0, manifest.version)), Arc::new(manifest)))
}

/// The last change of every key that changed what a state holds of it: new tokens do not.
fn last_changes(changes: &[(u64, Vec<Change>)]) -> HashMap<ObjectKey, ChangeKind> {
    changes
        .iter()
        .flat_map(|(_, changes)| changes)
        .filter(|change| change.kind != ChangeKind::Tokens)
        .map(|change| (change.key, change.kind))
        .collect()
}
