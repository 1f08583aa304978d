//! Reading: by id, by key, and along the sky.

use std::ops::Range;

use super::engine::{KvCursor, KvView, Patience};
use super::error::StorageError;
use super::follow::VectorFollower;
use super::key::{Key, KeyRange, ObjectKey, VectorKey};
use super::record::{CollectionMeta, decode_row, decode_vector, decode_vector_into};
use super::slot::{Slot, State};
use super::store::{CollectionRecord, Store, head, record};
use super::table::Table;
use crate::schema::{
    CollectionId, CollectionSchema, EmbeddingSpace, Object, ObjectId, SchemaError, SpaceId,
};

/// A view in which the tables of a collection agree, and the collection's schema.
type Whole<'s> = (Box<dyn KvView + 's>, CollectionMeta);

/// An object and where it is kept.
type Found = (ObjectKey, Object);

impl Store {
    /// Reads objects by id, in the order asked; `None` where there is none.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`], [`StorageError::Corrupt`] and those of the disk.
    pub fn get(
        &self,
        collection: CollectionId,
        ids: &[ObjectId],
        with_vectors: bool,
    ) -> Result<Vec<Option<Found>>, StorageError> {
        self.snapshot(collection)?.get(ids, with_vectors)
    }

    /// Reads objects by key, in the order asked; `None` where there is none. The keys may be of several collections.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`], [`StorageError::Corrupt`] and those of the disk.
    pub fn get_keys(
        &self,
        keys: &[ObjectKey],
        with_vectors: bool,
    ) -> Result<Vec<Option<Found>>, StorageError> {
        let mut found = Vec::with_capacity(keys.len());
        for group in keys.chunk_by(|a, b| a.collection == b.collection) {
            let Some(first) = group.first() else { continue };
            found.extend(self.snapshot(first.collection)?.get_keys(group, with_vectors)?);
        }
        Ok(found)
    }

    /// Makes a consistent view of a collection: commits that follow do not change it.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`]; [`StorageError::Unfinished`] after a failed bulk import.
    pub fn snapshot(&self, collection: CollectionId) -> Result<Snapshot<'_>, StorageError> {
        self.snapshot_of(&*self.slot(collection)?)
    }

    pub(super) fn snapshot_of(&self, slot: &Slot) -> Result<Snapshot<'_>, StorageError> {
        let (view, meta) = self.view_of(slot)?;
        let head = head(&*view, slot.id)?;
        Ok(Snapshot { view, record: record(&meta, &head) })
    }

    /// A view in which the tables of the collection agree with each other.
    pub(super) fn view_of(&self, slot: &Slot) -> Result<Whole<'_>, StorageError> {
        if let Some(found) = self.try_view(slot)? {
            return Ok(found);
        }
        let _turn = slot.turn();
        self.make_whole(slot, Patience::None)?;
        self.try_view(slot)?.ok_or_else(|| StorageError::Busy {
            doing: "reading a collection",
            detail: "a bulk import is being finished".to_owned(),
        })
    }

    fn try_view(&self, slot: &Slot) -> Result<Option<Whole<'_>>, StorageError> {
        let gate = slot.open();
        match gate.state {
            State::Whole => Ok(Some((self.engine.view(), gate.meta.clone()))),
            State::Unfinished(_) => Ok(None),
            State::Dropped => Err(StorageError::UnknownCollection { collection: slot.id }),
        }
    }
}

/// A consistent view of one collection.
pub struct Snapshot<'s> {
    pub(super) view: Box<dyn KvView + 's>,
    pub(super) record: CollectionRecord,
}

impl Snapshot<'_> {
    /// Schema, version and counts as of this view.
    pub fn record(&self) -> &CollectionRecord {
        &self.record
    }

    /// Reads objects by id, in the order asked; `None` where there is none.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] and those of the disk.
    pub fn get(
        &self,
        ids: &[ObjectId],
        with_vectors: bool,
    ) -> Result<Vec<Option<Found>>, StorageError> {
        let located = self.located(ids)?;
        let keys: Vec<ObjectKey> = located.iter().flatten().map(|located| located.key).collect();
        let mut objects = self.rows(&keys)?.into_iter();
        let mut found = Vec::with_capacity(ids.len());
        for (id, located) in ids.iter().zip(&located) {
            let object = match located {
                None => None,
                Some(located) => match objects.next().flatten() {
                    Some(object) if object.id == *id => Some((located.key, object)),
                    _ => {
                        let detail = format!("the row of object `{id}` is missing");
                        return Err(StorageError::corrupt("object row", detail));
                    }
                },
            };
            found.push(object);
        }
        if with_vectors {
            let spaces: Vec<&[SpaceId]> = located
                .iter()
                .map(|located| located.as_ref().map_or(&[][..], |located| &located.spaces))
                .collect();
            self.add_vectors(&mut found, &spaces)?;
        }
        Ok(found)
    }

    /// Reads objects by key, in the order asked; `None` where there is none, or for keys of another collection.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] and those of the disk.
    pub fn get_keys(
        &self,
        keys: &[ObjectKey],
        with_vectors: bool,
    ) -> Result<Vec<Option<Found>>, StorageError> {
        let mut found: Vec<Option<Found>> = keys
            .iter()
            .zip(self.rows(keys)?)
            .map(|(key, object)| object.map(|object| (*key, object)))
            .collect();
        if with_vectors {
            let all: Vec<SpaceId> =
                self.record.schema.vector_spaces().map(|space| space.id).collect();
            self.add_vectors(&mut found, &vec![all.as_slice(); keys.len()])?;
        }
        Ok(found)
    }

    fn rows(&self, keys: &[ObjectKey]) -> Result<Vec<Option<Object>>, StorageError> {
        let keys: Vec<_> = keys.iter().map(Key::encode).collect();
        let columns = self.record.schema.columns.len();
        self.view
            .get_many(Table::Objects, &keys)?
            .into_iter()
            .map(|bytes| bytes.map(|bytes| decode_row(&bytes, columns)).transpose())
            .collect()
    }

    /// Reads the vectors of objects in one look-up; `spaces` names those that each may have. Tokens are not read.
    fn add_vectors(
        &self,
        found: &mut [Option<Found>],
        spaces: &[&[SpaceId]],
    ) -> Result<(), StorageError> {
        let mut wanted = Vec::new();
        for (place, (object, spaces)) in found.iter().zip(spaces).enumerate() {
            let Some((key, _)) = object else { continue };
            let spaces = spaces.iter().filter(|space| self.holds_vectors(**space));
            wanted.extend(spaces.map(|space| (place, *space, VectorKey::new(key, *space))));
        }
        let keys: Vec<_> = wanted.iter().map(|(.., key)| key.encode()).collect();
        let values = self.view.get_many(Table::Vectors, &keys)?;
        for ((place, space, _), bytes) in wanted.into_iter().zip(values) {
            let Some(bytes) = bytes else { continue };
            let vector = decode_vector(&bytes, dimension(&self.record.schema, space)?)?;
            if let Some(Some((_, object))) = found.get_mut(place) {
                object.vectors.push((space, vector));
            }
        }
        Ok(())
    }

    /// Whether a space holds vectors; one that is not known is told where its vectors are read.
    fn holds_vectors(&self, space: SpaceId) -> bool {
        self.record.schema.space_by_id(space).is_none_or(EmbeddingSpace::holds_vectors)
    }

    /// Walks the objects of a half-open range of order-29 cells in the order of their keys, with their vectors of the
    /// given spaces where they have one.
    ///
    /// # Errors
    /// [`StorageError::Schema`] for a space that the collection does not have; each item may be
    /// [`StorageError::Corrupt`] or an error of the disk, after which there are no more.
    pub fn scan(&self, cells: Range<u64>, spaces: &[SpaceId]) -> Result<Scan<'_>, StorageError> {
        let objects = self.view.cursor(KeyRange::objects(self.record.id, &cells))?;
        let vectors = spaces
            .iter()
            .map(|space| self.scan_vectors(cells.clone(), *space).map(VectorFollower::new))
            .collect::<Result<_, _>>()?;
        let columns = self.record.schema.columns.len();
        Ok(Scan { objects, vectors, columns, finished: false })
    }

    /// Walks the vectors of one space in a half-open range of order-29 cells, in the order of the object keys.
    ///
    /// # Errors
    /// As [`Snapshot::scan`].
    pub fn scan_vectors(
        &self,
        cells: Range<u64>,
        space: SpaceId,
    ) -> Result<VectorScan<'_>, StorageError> {
        let dimension = dimension(&self.record.schema, space)?;
        let cursor = self.view.cursor(KeyRange::vectors(self.record.id, space, &cells))?;
        Ok(VectorScan { cursor, space, dimension, finished: false })
    }

    /// Shows every vector of one space, in the order of the object keys, to `visit`, whose first error ends the walk:
    /// what [`Snapshot::scan_vectors`] does, without a vector of its own for each.
    ///
    /// # Errors
    /// As [`Snapshot::scan`], and those of `visit`.
    pub fn visit_vectors<E: From<StorageError>>(
        &self,
        space: SpaceId,
        visit: &mut dyn FnMut(ObjectKey, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let dimension = dimension(&self.record.schema, space)?;
        let range = KeyRange::vectors(self.record.id, space, &(0..u64::MAX));
        let mut cursor = self.view.cursor(range)?;
        let mut vector = Vec::with_capacity(dimension);
        while let Some((key, value)) = cursor.advance()? {
            let key = VectorKey::decode(key)?.object();
            decode_vector_into(&mut vector, value, dimension)?;
            visit(key, &vector)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Snapshot<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Snapshot").field("record", &self.record).finish_non_exhaustive()
    }
}

pub(super) fn dimension(schema: &CollectionSchema, space: SpaceId) -> Result<usize, StorageError> {
    match schema.space_by_id(space) {
        Some(space) if space.holds_vectors() => Ok(space.dimension),
        Some(other) => {
            let (space, holds) = (other.name.clone(), other.form.plural());
            Err(SchemaError::WrongForm { space, holds, given: "vectors" }.into())
        }
        None => Err(SchemaError::UnknownSpace { space }.into()),
    }
}

/// A walk along the sky; see [`Snapshot::scan`].
pub struct Scan<'v> {
    objects: Box<dyn KvCursor + 'v>,
    vectors: Vec<VectorFollower<'v>>,
    columns: usize,
    finished: bool,
}

impl Scan<'_> {
    fn step(&mut self) -> Result<Option<Found>, StorageError> {
        let Some((key, value)) = self.objects.advance()? else { return Ok(None) };
        let key = ObjectKey::decode(key)?;
        let mut object = decode_row(value, self.columns)?;
        for follower in &mut self.vectors {
            if let Some(vector) = follower.vector_of(key)? {
                object.vectors.push((follower.scan.space, vector));
            }
        }
        Ok(Some((key, object)))
    }
}

impl std::fmt::Debug for Scan<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Scan").field("finished", &self.finished).finish_non_exhaustive()
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Found, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let item = self.step().transpose();
        self.finished = !matches!(item, Some(Ok(_)));
        item
    }
}

/// A walk through the vectors of one space; see [`Snapshot::scan_vectors`].
pub struct VectorScan<'v> {
    cursor: Box<dyn KvCursor + 'v>,
    pub(super) space: SpaceId,
    dimension: usize,
    finished: bool,
}

impl VectorScan<'_> {
    fn step(&mut self) -> Result<Option<(ObjectKey, Vec<f32>)>, StorageError> {
        let Some((key, value)) = self.cursor.advance()? else { return Ok(None) };
        let key = VectorKey::decode(key)?.object();
        Ok(Some((key, decode_vector(value, self.dimension)?)))
    }
}

impl std::fmt::Debug for VectorScan<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("VectorScan").field("space", &self.space).finish_non_exhaustive()
    }
}

impl Iterator for VectorScan<'_> {
    type Item = Result<(ObjectKey, Vec<f32>), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let item = self.step().transpose();
        self.finished = !matches!(item, Some(Ok(_)));
        item
    }
}
