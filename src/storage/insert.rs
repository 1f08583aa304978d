//! Commits of new objects straight from the columns of a batch.
//!
//! What [`super::plan`] does for operations of every kind is done here for the common case of an import, objects that
//! are all new: nothing is taken apart into objects, and rows and vectors are encoded when the file that they go into
//! is written. Every other case is left to the plan. Both ways write the same rows.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::bulk::Stage;
use super::encoded::EncodedRows;
use super::engine::{KvView, Patience, Sink, SortedRun, SortedSource};
use super::error::StorageError;
use super::key::{IdKey, KeyRange, ObjectKey, VectorKey};
use super::operation::{Change, ChangeKind};
use super::plan::first_key;
use super::record::{Head, Located, StagedFile, vector_bytes};
use super::store::{Store, head};
use super::table::Table;
use super::write::change_rows;
use crate::schema::{CollectionId, CollectionSchema, EmbeddingSpace, Rows, SpaceId};
use crate::vector::prefetch_all;

/// Bytes of an object beside its vectors, at least: for the decision whether files are worth it.
pub const OBJECT_BYTES: usize = 64;

/// Bytes of a table, and rows of it, from which they are written into two files at once: one file can be written by one
/// thread only, and the last to end is waited for.
const SPLIT_BYTES: usize = 32 << 20;
const SPLIT_ROWS: usize = 32_768;

/// Ids that are looked up before files are written.
const LOOKED_UP_ROWS: usize = 64;

/// Vectors, and rows of objects, that are on their way from memory while one is written.
const AHEAD: usize = 2;
const ROWS_AHEAD: usize = 6;

/// Where a row of a block goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its key.
    pub key: ObjectKey,
    /// Number of its block.
    pub block: u32,
    /// Its row in the block.
    pub row: u32,
}

/// What the caller knows of the keys of a collection at a version: more than a look-up for each key would tell in any
/// reasonable time.
pub struct KnownKeys<'k> {
    /// The version.
    pub version: u64,
    /// Of places in the order of their keys, the keys that may be taken; the others are free.
    pub taken: &'k dyn Fn(&[Place]) -> Vec<ObjectKey>,
}

/// An acknowledged insertion: it survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insertion<T> {
    /// Version of the collection afterwards.
    pub version: u64,
    /// What was made alongside.
    pub made: T,
}

/// Rows of an insertion that are on the disk, in files that belong to no table yet. Dropped instead of inserted, they go; those
/// that a crash leaves go at the next start.
#[must_use]
pub struct StagedInsert<T> {
    stage: Stage,
    files: Vec<StagedFile>,
    /// What the rows were checked against.
    schema: Arc<CollectionSchema>,
    order: Order,
    /// What was made alongside.
    made: T,
}

impl Store {
    /// Writes all rows of blocks into files of a staging folder, as far as that goes without knowing what else the collection
    /// holds: other commits go on meanwhile, and nothing is visible. `alongside` is given the places of the rows in the
    /// order of their keys and runs while files are written.
    ///
    /// `None` when this way is not for these rows: they are few, an id is there twice, two objects want one key, the rows do
    /// not have the columns of the schema, or some that were looked up are there already.
    ///
    /// The rows have been checked against `schema` by whoever made them.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`]; those of the disk. Nothing is left then.
    pub fn stage_insert<T>(
        &self,
        collection: CollectionId,
        schema: &Arc<CollectionSchema>,
        blocks: &[&dyn Rows],
        alongside: impl FnOnce(&[Place]) -> T,
    ) -> Result<Option<StagedInsert<T>>, StorageError> {
        let is_of_now = self.slot(collection)?.meta()?.schema == *schema;
        let is_empty = blocks.iter().all(|block| block.count() == 0);
        if !is_of_now
            || is_empty
            || !fit(schema, blocks)
            || size_bytes(blocks) < self.options.bulk_bytes_min
        {
            return Ok(None);
        }
        let (order, encoded) = std::thread::scope(|scope| {
            let encoding = scope.spawn(|| EncodedRows::of(blocks));
            let order = Order::of(collection, blocks);
            (order, encoding.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let Some(order) = order else { return Ok(None) };
        if order.seems_stored(&*self.engine.view(), collection, blocks)? {
            return Ok(None);
        }
        let objects = ObjectRows::split(&encoded, &order.places);
        let vectors = VectorRows::split(schema, blocks, &order.places);
        let ids = IdRows::split(collection, blocks, &order.ids);
        let mut sources: Vec<&dyn SortedSource> = Vec::new();
        sources.extend(objects.iter().map(|rows| rows as &dyn SortedSource));
        sources.extend(vectors.iter().map(|rows| rows as &dyn SortedSource));
        sources.extend(ids.iter().map(|rows| rows as &dyn SortedSource));
        let (stage, files, made) = self.stage_beside(&sources, || alongside(&order.places))?;
        let schema = Arc::clone(schema);
        Ok(Some(StagedInsert { stage, files, schema, order, made }))
    }

    /// Inserts what was staged in one atomic and durable commit, as [`Store::bulk_write`] does when all rows are new. `blocks`
    /// are those that were staged. What is known of another version than the newest is not used.
    ///
    /// `None` when this way is not for these rows: an id or a key is there already, or the schema is another one by now. Nothing
    /// is written then, and the files go.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`]; those of the disk.
    pub fn insert_staged<T>(
        &self,
        collection: CollectionId,
        staged: StagedInsert<T>,
        blocks: &[&dyn Rows],
        known: Option<&KnownKeys<'_>>,
    ) -> Result<Option<Insertion<T>>, StorageError> {
        let slot = self.slot(collection)?;
        let _turn = slot.turn();
        self.make_whole(&slot, Patience::Short)?;
        if slot.meta()?.schema != staged.schema {
            return Ok(None);
        }
        let StagedInsert { stage, mut files, order, made, .. } = staged;
        let head = {
            let view = self.engine.view();
            let head = head(&*view, collection)?;
            let known = known.filter(|known| known.version == head.version);
            if head.object_count > 0 && order.is_any_stored(&*view, collection, blocks, known)? {
                return Ok(None);
            }
            order.after(head)
        };
        // The changes name the version, which is known now.
        let changed =
            order.places.iter().map(|place| Change { key: place.key, kind: ChangeKind::Put });
        let changes: Vec<Change> = changed.collect();
        let version = head.version;
        let changes = SortedRun::from_rows(change_rows(collection, version, &changes).collect())?;
        files.extend(self.engine.stage_more(stage.id, &SortedRun::sources(&changes))?);
        self.commit_staged(&slot, stage, head, files)?;
        Ok(Some(Insertion { version, made }))
    }
}

/// Whether blocks have the shape that the schema asks for; their values were checked when they were made.
fn fit(schema: &CollectionSchema, blocks: &[&dyn Rows]) -> bool {
    blocks.iter().all(|block| {
        let known =
            |id: &SpaceId| schema.space_by_id(*id).is_some_and(EmbeddingSpace::holds_vectors);
        let first = (block.count() > 0).then(|| block.object(0));
        block.column_count() == schema.columns.len()
            && block.spaces().iter().all(known)
            && block.spaces().is_sorted_by(|left, right| left < right)
            && first.is_none_or(|object| schema.check(&object).is_ok())
    })
}

fn size_bytes(blocks: &[&dyn Rows]) -> usize {
    let of_block = |block: &&dyn Rows| {
        let vectors = (0..block.spaces().len()).filter_map(|space| {
            let first = (0..block.count()).find_map(|row| block.vector(space, row));
            first.map(size_of_val)
        });
        block.count() * (OBJECT_BYTES + vectors.sum::<usize>())
    };
    blocks.iter().map(of_block).sum()
}

/// Rows of blocks in the orders of their tables.
struct Order {
    /// Ascending by key.
    places: Vec<Place>,
    /// Ascending by id.
    ids: Vec<Place>,
    /// Vectors of each space.
    vector_counts: BTreeMap<SpaceId, u64>,
}

impl Order {
    /// Gives every row its key; `None` where two rows have one id, or want one key.
    fn of(collection: CollectionId, blocks: &[&dyn Rows]) -> Option<Self> {
        let count: usize = blocks.iter().map(|block| block.count()).sum();
        let mut ids = Vec::with_capacity(count);
        let mut vector_counts: BTreeMap<SpaceId, u64> = BTreeMap::new();
        for (number, block) in (0_u32..).zip(blocks) {
            for row in 0..block.count() {
                let id = block.id(row);
                let key = first_key(collection, block.position(row).cell29(), id);
                ids.push((id, Place { key, block: number, row: row as u32 }));
            }
            for (place, space) in block.spaces().iter().enumerate() {
                let there = (0..block.count()).filter(|row| block.vector(place, *row).is_some());
                *vector_counts.entry(*space).or_default() += there.count() as u64;
            }
        }
        let mut places: Vec<Place> = ids.iter().map(|(_, place)| *place).collect();
        // All are of one collection, and one number is compared faster than three.
        let rank = |key: &ObjectKey| u128::from(key.cell.0) << 32 | u128::from(key.ordinal);
        places.sort_unstable_by_key(|place| rank(&place.key));
        ids.sort_unstable_by_key(|(id, _)| *id);
        let is_once = places.is_sorted_by(|left, right| left.key < right.key)
            && ids.is_sorted_by(|(left, _), (right, _)| left < right);
        let ids = ids.into_iter().map(|(_, place)| place).collect();
        is_once.then_some(Self { places, ids, vector_counts })
    }

    /// The head of the collection once the rows are in it.
    fn after(&self, mut head: Head) -> Head {
        head.version += 1;
        head.object_count += self.places.len() as u64;
        for (space, added) in &self.vector_counts {
            if *added > 0 {
                *head.vector_counts.entry(*space).or_default() += added;
            }
        }
        head
    }

    /// Whether any of some ids is there: rows that are written again tell it before their files are written in vain.
    fn seems_stored(
        &self,
        view: &dyn KvView,
        collection: CollectionId,
        blocks: &[&dyn Rows],
    ) -> Result<bool, StorageError> {
        let step = self.ids.len().div_ceil(LOOKED_UP_ROWS).max(1);
        let keys = self.ids.iter().step_by(step);
        is_any_there(view, Table::Ids, keys.map(|place| id_key(collection, blocks, place)))
    }

    /// Whether an id or a key is there already.
    fn is_any_stored(
        &self,
        view: &dyn KvView,
        collection: CollectionId,
        blocks: &[&dyn Rows],
        known: Option<&KnownKeys<'_>>,
    ) -> Result<bool, StorageError> {
        let ids = self.ids.iter().map(|place| id_key(collection, blocks, place));
        if is_any_there(view, Table::Ids, ids)? {
            return Ok(true);
        }
        let mut keys: Vec<ObjectKey> = match known {
            Some(known) => (known.taken)(&self.places),
            None => self.places.iter().map(|place| place.key).collect(),
        };
        keys.sort_unstable();
        is_any_there(view, Table::Objects, keys.iter().map(|key| key.bytes().to_vec()))
    }
}

/// The key of a row in the `ids` table.
fn id_key(collection: CollectionId, blocks: &[&dyn Rows], place: &Place) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    IdKey::append(&mut bytes, collection, blocks[place.block as usize].id(place.row as usize));
    bytes
}

/// Whether any of some ascending keys is there. Batches of a catalogue that is sorted fall between those before: one
/// step of a cursor then tells that nothing is there.
fn is_any_there(
    view: &dyn KvView,
    table: Table,
    keys: impl DoubleEndedIterator<Item = Vec<u8>> + Clone,
) -> Result<bool, StorageError> {
    let (Some(start), Some(mut end)) = (keys.clone().next(), keys.clone().next_back()) else {
        return Ok(false);
    };
    end.push(0);
    let mut between = view.cursor(KeyRange { table, start, end })?;
    if between.advance()?.is_none() {
        return Ok(false);
    }
    drop(between);
    view.has_any(table, &keys.collect::<Vec<_>>())
}

/// Rows in their order, in halves where they are to be written into two files.
fn halves<T>(rows: &[T], is_split: bool) -> impl Iterator<Item = &[T]> {
    let (left, right) = rows.split_at(if is_split { rows.len() / 2 } else { 0 });
    [left, right].into_iter().filter(|rows| !rows.is_empty())
}

/// Rows of the `objects` table.
struct ObjectRows<'a> {
    encoded: &'a EncodedRows,
    places: &'a [Place],
}

impl<'a> ObjectRows<'a> {
    fn split(encoded: &'a EncodedRows, places: &'a [Place]) -> Vec<Self> {
        let is_large = places.len() > SPLIT_ROWS || encoded.size_bytes() > SPLIT_BYTES;
        halves(places, is_large).map(|places| Self { encoded, places }).collect()
    }
}

impl SortedSource for ObjectRows<'_> {
    fn table(&self) -> Table {
        Table::Objects
    }

    fn visit(&self, sink: &mut Sink<'_>) -> Result<(), StorageError> {
        for (number, place) in self.places.iter().enumerate() {
            if let Some(later) = self.places.get(number + 2 * ROWS_AHEAD) {
                self.encoded.prefetch_end(later);
            }
            if let Some(next) = self.places.get(number + ROWS_AHEAD) {
                self.encoded.prefetch(next);
            }
            sink(&place.key.bytes(), Some(self.encoded.row(place)))?;
        }
        Ok(())
    }
}

/// Rows of the `vectors` table of one space.
struct VectorRows<'a> {
    blocks: &'a [&'a dyn Rows],
    places: &'a [Place],
    space: SpaceId,
    /// The place of the space in every block.
    in_blocks: Vec<Option<usize>>,
}

impl<'a> VectorRows<'a> {
    /// The vectors of every space, in the order of their keys.
    fn split(
        schema: &CollectionSchema,
        blocks: &'a [&'a dyn Rows],
        places: &'a [Place],
    ) -> Vec<Self> {
        let mut spaces: Vec<SpaceId> =
            blocks.iter().flat_map(|block| block.spaces()).copied().collect();
        spaces.sort_unstable();
        spaces.dedup();
        let mut sources = Vec::new();
        for space in spaces {
            let in_blocks: Vec<_> = blocks.iter().map(|block| block.place_of(space)).collect();
            let dimension = schema.space_by_id(space).map_or(0, |space| space.dimension);
            let is_large = places.len() * dimension * size_of::<f32>() > SPLIT_BYTES;
            let rows = |places| Self { blocks, places, space, in_blocks: in_blocks.clone() };
            sources.extend(halves(places, is_large).map(rows));
        }
        sources
    }
}

impl VectorRows<'_> {
    fn vector(&self, place: &Place) -> Option<&[f32]> {
        let block = place.block as usize;
        self.blocks[block].vector(self.in_blocks[block]?, place.row as usize)
    }
}

impl SortedSource for VectorRows<'_> {
    fn table(&self) -> Table {
        Table::Vectors
    }

    fn visit(&self, sink: &mut Sink<'_>) -> Result<(), StorageError> {
        for (number, place) in self.places.iter().enumerate() {
            // On the sky, neighbours lie anywhere in the blocks.
            if let Some(next) = self.places.get(number + AHEAD) {
                prefetch_all(self.vector(next).unwrap_or_default());
            }
            let Some(vector) = self.vector(place) else { continue };
            sink(&VectorKey::new(&place.key, self.space).bytes(), Some(vector_bytes(vector)))?;
        }
        Ok(())
    }
}

/// Rows of the `ids` table.
struct IdRows<'a> {
    collection: CollectionId,
    blocks: &'a [&'a dyn Rows],
    ids: &'a [Place],
}

impl<'a> IdRows<'a> {
    fn split(collection: CollectionId, blocks: &'a [&'a dyn Rows], ids: &'a [Place]) -> Vec<Self> {
        let rows = |ids| Self { collection, blocks, ids };
        halves(ids, ids.len() > SPLIT_ROWS).map(rows).collect()
    }
}

impl SortedSource for IdRows<'_> {
    fn table(&self) -> Table {
        Table::Ids
    }

    fn visit(&self, sink: &mut Sink<'_>) -> Result<(), StorageError> {
        let (mut key, mut value, mut spaces) = (Vec::new(), Vec::new(), Vec::new());
        for place in self.ids {
            let (block, row) = (self.blocks[place.block as usize], place.row as usize);
            let with_vector = block.spaces().iter().enumerate();
            spaces.clear();
            spaces.extend(
                with_vector
                    .filter(|(space, _)| block.vector(*space, row).is_some())
                    .map(|(_, space)| *space),
            );
            key.clear();
            IdKey::append(&mut key, self.collection, block.id(row));
            value.clear();
            Located::append(&mut value, &place.key, &spaces);
            sink(&key, Some(&value))?;
        }
        Ok(())
    }
}
