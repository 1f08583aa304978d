//! A view, and the store at one moment beside it: what is read of an object is of one version, or the object is known to have
//! changed.
//!
//! A view has the columns of its version; vectors as they were given, tokens, and columns that are not resident are in the
//! store alone, which goes on. A [`Still`] reads all of them from one snapshot, and names the objects that were written
//! between the view and the snapshot.

use std::collections::HashSet;

use super::db::Db;
use super::error::EngineError;
use super::standing::Standing;
use super::view::CollectionView;
use super::write::{Write, WriteMode, WriteReport};
use crate::schema::{Object, ObjectId, SpaceId};
use crate::storage::{Change, ObjectKey, Snapshot};
use crate::wire::v1::TokenSequence;

/// The store at a moment, beside a view. It holds on to what the store would otherwise let go, so that it should not live
/// longer than the reading.
///
/// Beside a restricted view nothing is read but of its own rows, and of those that were written since only where its policies
/// admit what they are now.
#[derive(Debug)]
pub struct Still<'v> {
    view: &'v CollectionView,
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
        Ok(Still { view: self, snapshot, changed: keys_of(changes) })
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

    /// Whether each of some keys has a row that may be read.
    fn shown(&self, keys: &[ObjectKey]) -> Result<Vec<bool>, EngineError> {
        if !self.view.is_restricted() {
            return Ok(vec![true; keys.len()]);
        }
        let mut shown: Vec<bool> = keys.iter().map(|key| self.view.shows(*key)).collect();
        let is_in_doubt = |place: &usize| shown[*place] && self.is_changed(&keys[*place]);
        let doubtful: Vec<usize> = (0..keys.len()).filter(is_in_doubt).collect();
        if doubtful.is_empty() {
            return Ok(shown);
        }
        let keys: Vec<ObjectKey> = doubtful.iter().map(|&place| keys[place]).collect();
        let rows = self.view.admitted(self.snapshot.get_keys(&keys, false)?)?;
        for (place, row) in doubtful.into_iter().zip(rows) {
            shown[place] = row.is_some();
        }
        Ok(shown)
    }

    /// The same of objects by their ids.
    fn shown_ids(&self, ids: &[ObjectId]) -> Result<Vec<bool>, EngineError> {
        if !self.view.is_restricted() {
            return Ok(vec![true; ids.len()]);
        }
        let mut found = self.snapshot.get(ids, false)?;
        found.iter_mut().for_each(|row| drop(row.take_if(|(key, _)| !self.view.shows(*key))));
        Ok(self.view.admitted(found)?.iter().map(Option::is_some).collect())
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
        if !self.view.is_restricted() {
            return self.snapshot.visit_vectors(space, visit);
        }
        self.snapshot.visit_vectors(space, &mut |key, vector| {
            let is_doubtful = self.is_changed(&key);
            let is_shown =
                self.view.shows(key) && (!is_doubtful || self.shown(&[key])?.contains(&true));
            if is_shown { visit(key, vector) } else { Ok(()) }
        })
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
        let mut found = self.snapshot.vectors_at(space, keys)?;
        for (vector, is_shown) in found.iter_mut().zip(self.shown(keys)?) {
            vector.take_if(|_| !is_shown);
        }
        Ok(found)
    }

    /// Hands on the vectors of objects in a space as they were given, in the order of their keys, which ascend; reads all that
    /// lie between the first and the last.
    ///
    /// # Errors
    /// When the collection has no such space of vectors; those of the disk.
    pub fn vectors_along(
        &self,
        space: SpaceId,
        keys: &[ObjectKey],
        take: &mut dyn FnMut(Option<&[f32]>),
    ) -> Result<(), EngineError> {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(()) };
        let cells = first.cell.0..last.cell.0.saturating_add(1);
        let mut follower = self.snapshot.follow_vectors(cells, space)?;
        for (key, is_shown) in keys.iter().zip(self.shown(keys)?) {
            let vector = follower.vector_of(*key)?;
            take(vector.as_deref().filter(|_| is_shown));
        }
        Ok(())
    }

    /// Objects by key, without their vectors: for columns that are not resident.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn fetch(
        &self,
        keys: &[ObjectKey],
    ) -> Result<Vec<Option<(ObjectKey, Object)>>, EngineError> {
        let mut found = self.snapshot.get_keys(keys, false)?;
        for (object, is_shown) in found.iter_mut().zip(self.shown(keys)?) {
            object.take_if(|_| !is_shown);
        }
        Ok(found)
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
        let mut found = self.snapshot.tokens(space, ids)?;
        for (tokens, is_shown) in found.iter_mut().zip(self.shown_ids(ids)?) {
            tokens.take_if(|_| !is_shown);
        }
        Ok(found)
    }

    /// Whether objects have a vector or tokens in a space.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn have(&self, space: SpaceId, ids: &[ObjectId]) -> Result<Vec<bool>, EngineError> {
        let mut have = self.snapshot.have(space, ids)?;
        for (has, is_shown) in have.iter_mut().zip(self.shown_ids(ids)?) {
            *has &= is_shown;
        }
        Ok(have)
    }
}

/// Whether what each write would change is hidden by the policies of a view.
fn hidden(
    view: &CollectionView,
    standing: &Standing<'_>,
    writes: &[(ObjectKey, Write)],
) -> Result<Vec<bool>, EngineError> {
    let mut hidden = vec![false; writes.len()];
    if !view.is_restricted() {
        return Ok(hidden);
    }
    let ids: Vec<ObjectId> = writes.iter().map(|(_, write)| write.id().clone()).collect();
    for policy in view.policies_on(standing.schema()) {
        let by_this_one = standing.hidden(&ids, &*policy)?;
        hidden.iter_mut().zip(by_this_one).for_each(|(hidden, by_this_one)| *hidden |= by_this_one);
    }
    Ok(hidden)
}

impl Db {
    /// Writes what was made of objects of a view, but for those that were written again since the view was made: what was
    /// made of them is of yesterday. Their keys come back beside the report of the others, and so do those of objects that
    /// the view's policies hide.
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
            let known = if standing.version() == view.version() {
                Some(HashSet::new())
            } else {
                standing.changes_since(view.version())?.map(keys_of)
            };
            let hidden = hidden(view, standing, &writes)?;
            // Without the list of changes every object may be another one.
            let is_changed =
                |key: &ObjectKey| known.as_ref().is_none_or(|known| known.contains(key));
            let mut kept = Vec::with_capacity(writes.len());
            for ((key, write), is_hidden) in writes.into_iter().zip(hidden) {
                if is_hidden || is_changed(&key) { changed.push(key) } else { kept.push(write) }
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
