//! A view, and the store at one moment beside it: what is read of an object is of one version, or the object is known to have
//! changed.
//!
//! A view has the columns of its version; vectors as they were given, tokens, and columns that are not resident are in the
//! store alone, which goes on. A [`Still`] reads all of them from one snapshot, and names the objects that were written
//! between the view and the snapshot.

use std::collections::HashSet;

use super::db::Db;
use super::error::EngineError;
use super::view::CollectionView;
use super::write::{Write, WriteMode, WriteReport};
use crate::schema::{Object, ObjectId, SpaceId};
use crate::storage::{Change, ObjectKey, Snapshot};
use crate::wire::v1::TokenSequence;

/// The store at a moment, beside a view. It holds on to what the store would otherwise let go, so that it should not live
/// longer than the reading.
#[derive(Debug)]
pub struct Still<'v> {
    snapshot: Snapshot<'v>,
    changed: HashSet<ObjectKey>,
}

impl CollectionView {
    /// The store as it is now, and which objects it has otherwise than the view.
    ///
    /// # Errors
    /// [`EngineError::Outdated`] when a build has finished since the view was made, so that what was written since is not
    /// known any more; those of the store.
    pub fn still(&self) -> Result<Still<'_>, EngineError> {
        let snapshot = self.store.snapshot(self.collection)?;
        // Asked for after the snapshot was made: whatever the snapshot has that the view has not is among them.
        let changes = self.changes_since(self.version())?;
        let changes = changes.ok_or_else(|| self.outdated())?;
        Ok(Still { snapshot, changed: keys_of(changes) })
    }

    fn outdated(&self) -> EngineError {
        EngineError::Outdated { name: self.schema().name.clone() }
    }
}

fn keys_of(changes: Vec<(u64, Vec<Change>)>) -> HashSet<ObjectKey> {
    changes.into_iter().flat_map(|(_, changes)| changes).map(|change| change.key).collect()
}

impl Still<'_> {
    /// Whether an object of the view is, or may be, another one in the store.
    pub fn is_changed(&self, key: &ObjectKey) -> bool {
        self.changed.contains(key)
    }

    /// Shows every vector of a space as it was given, in the order of the keys; the first error of `visit` ends the walk.
    ///
    /// # Errors
    /// Those of the disk, and those of `visit`.
    pub fn visit_vectors(
        &self,
        space: SpaceId,
        visit: &mut dyn FnMut(ObjectKey, &[f32]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.snapshot.visit_vectors(space, visit)
    }

    /// Vectors of objects in a space as they were given, in the order of their keys; `None` where there is none.
    ///
    /// # Errors
    /// When the collection has no such space of vectors; those of the disk.
    pub fn vectors_at(
        &self,
        space: SpaceId,
        keys: &[ObjectKey],
    ) -> Result<Vec<Option<Vec<f32>>>, EngineError> {
        Ok(self.snapshot.vectors_at(space, keys)?)
    }

    /// Objects by key, without their vectors: for columns that are not resident.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn fetch(
        &self,
        keys: &[ObjectKey],
    ) -> Result<Vec<Option<(ObjectKey, Object)>>, EngineError> {
        Ok(self.snapshot.get_keys(keys, false)?)
    }

    /// Tokens of objects in a space; `None` for objects that have none.
    ///
    /// # Errors
    /// When the collection has no such space of tokens; those of the disk.
    pub fn tokens(
        &self,
        space: SpaceId,
        ids: &[ObjectId],
    ) -> Result<Vec<Option<TokenSequence>>, EngineError> {
        Ok(self.snapshot.tokens(space, ids)?)
    }

    /// Whether objects have a vector or tokens in a space.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn have(&self, space: SpaceId, ids: &[ObjectId]) -> Result<Vec<bool>, EngineError> {
        Ok(self.snapshot.have(space, ids)?)
    }
}

impl Db {
    /// Writes what was made of objects of a view, but for those that were written again since the view was made: what was
    /// made of them is of yesterday. Their keys come back beside the report of the others.
    ///
    /// # Errors
    /// [`EngineError::NoCollection`] when the view's collection is gone, or another one has its name; those of
    /// [`Db::write`].
    pub fn write_unchanged(
        &self,
        view: &CollectionView,
        writes: Vec<(ObjectKey, Write)>,
    ) -> Result<(WriteReport, Vec<ObjectKey>), EngineError> {
        let name = &view.schema().name;
        let mut changed = Vec::new();
        let report = self.write_made(name, WriteMode::Bulk, |standing| {
            if standing.collection() != view.collection() {
                return Err(EngineError::NoCollection { name: name.clone() });
            }
            if standing.version() == view.version() {
                return Ok(writes.into_iter().map(|(_, write)| write).collect());
            }
            // Without the list of changes every object may be another one.
            let known = standing.changes_since(view.version())?.map(keys_of);
            let is_changed =
                |key: &ObjectKey| known.as_ref().is_none_or(|known| known.contains(key));
            let mut kept = Vec::with_capacity(writes.len());
            for (key, write) in writes {
                if is_changed(&key) { changed.push(key) } else { kept.push(write) }
            }
            Ok(kept)
        })?;
        Ok((report, changed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::DbOptions;
    use crate::schema::{
        CollectionSchema, Column, ColumnType, EmbeddingSpace, IdKind, Modality, Provenance,
        SpaceForm, Value,
    };
    use crate::sky::{Degrees, Position};
    use crate::vector::Metric;

    fn object(id: i64, value: f64) -> Object {
        Object {
            id: ObjectId::Number(id),
            position: Position::new(Degrees(id as f64), Degrees(0.0)).expect("a position"),
            columns: vec![Value::Float64(value)],
            vectors: vec![(SpaceId(1), vec![value as f32, 1.0])],
        }
    }

    fn filled(folder: &std::path::Path) -> Db {
        let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder) };
        let db = Db::open(options).expect("opens");
        let space = EmbeddingSpace {
            id: SpaceId(0),
            name: "plain".to_owned(),
            modality: Modality("image".to_owned()),
            form: SpaceForm::Vector,
            dimension: 2,
            metric: Metric::L2,
            provenance: Provenance::external(),
            shared: None,
            at_ingest: None,
        };
        db.create_collection(CollectionSchema {
            name: "sky".to_owned(),
            id_kind: IdKind::Number,
            columns: vec![Column::new("y", ColumnType::Float64)],
            spaces: vec![space],
            description: String::new(),
        })
        .expect("created");
        put(&db, (0..20).map(|id| object(id, 1.0)));
        db
    }

    fn put(db: &Db, objects: impl Iterator<Item = Object>) {
        db.write("sky", WriteMode::Logged, objects.map(Write::Put).collect()).expect("written");
    }

    /// Of the objects in the order of their ids.
    fn keys(view: &CollectionView) -> Vec<ObjectKey> {
        let ids: Vec<ObjectId> = (0..20).map(ObjectId::Number).collect();
        let found = view.columns_of(&ids).expect("readable");
        found.into_iter().flatten().map(|(key, _)| key).collect()
    }

    #[test]
    fn what_was_written_since_the_view_is_named_and_what_comes_later_is_not_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = filled(folder.path());
        let view = db.view("sky").expect("a view");
        let all = keys(&view);
        put(&db, std::iter::once(object(3, 2.0)));
        let still = view.still().expect("a moment");
        put(&db, std::iter::once(object(5, 2.0)));
        let changed: Vec<&ObjectKey> = all.iter().filter(|key| still.is_changed(key)).collect();
        assert_eq!(changed, [&all[3]], "of the view's objects the one that was written between");
        let vectors = still.vectors_at(SpaceId(1), &all).expect("readable");
        let first: Vec<f32> = vectors.iter().flatten().map(|vector| vector[0]).collect();
        let expected: Vec<f32> = (0..20).map(|id| if id == 3 { 2.0 } else { 1.0 }).collect();
        assert_eq!(first, expected);
        let mut walked = 0.0;
        still
            .visit_vectors(SpaceId(1), &mut |_, vector| {
                walked += vector[0];
                Ok(())
            })
            .expect("readable");
        assert_eq!(walked, 21.0);
        let columns = still.fetch(&all[5..6]).expect("readable");
        let object = columns[0].as_ref().map(|(_, object)| object.columns[0].clone());
        assert_eq!(object, Some(Value::Float64(1.0)));
        drop(still);
        db.build_index("sky", &mut |_, _, _| {}).expect("built");
        assert!(matches!(view.still(), Err(EngineError::Outdated { .. })));
    }

    #[test]
    fn what_was_made_of_rewritten_objects_is_not_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = filled(folder.path());
        let set = |view: &CollectionView, value: f64| -> Vec<(ObjectKey, Write)> {
            let write = |(id, key): (i64, ObjectKey)| {
                let columns = vec![(0, Value::Float64(value))];
                (key, Write::SetColumns { id: ObjectId::Number(id), columns })
            };
            (0..).zip(keys(view)).map(write).collect()
        };
        let values = || -> Vec<f64> {
            let ids: Vec<ObjectId> = (0..20).map(ObjectId::Number).collect();
            let objects = db.get("sky", &ids).expect("readable");
            objects.into_iter().flatten().filter_map(|object| object.columns[0].as_f64()).collect()
        };
        let view = db.view("sky").expect("a view");
        put(&db, std::iter::once(object(7, 4.0)));
        let (report, changed) = db.write_unchanged(&view, set(&view, 9.0)).expect("written");
        assert_eq!((report.outcomes.len(), changed.as_slice()), (19, &keys(&view)[7..8]));
        let expected: Vec<f64> = (0..20).map(|id| if id == 7 { 4.0 } else { 9.0 }).collect();
        assert_eq!(values(), expected);
        let view = db.view("sky").expect("a view");
        let (report, changed) = db.write_unchanged(&view, Vec::new()).expect("nothing");
        assert!(report.outcomes.is_empty() && changed.is_empty());
        put(&db, std::iter::once(object(7, 5.0)));
        db.build_index("sky", &mut |_, _, _| {}).expect("built");
        let (_, changed) = db.write_unchanged(&view, set(&view, 1.0)).expect("nothing");
        assert_eq!(changed.len(), 20, "what changed is not known any more");
        let late = set(&view, 1.0);
        db.drop_collection("sky").expect("dropped");
        assert!(db.write_unchanged(&view, late).is_err());
    }
}
