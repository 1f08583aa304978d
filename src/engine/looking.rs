//! Views of collections, and what has to be made before there is one.

use std::sync::Arc;

use super::collection::Collection;
use super::cost::CostModel;
use super::db::Db;
use super::error::EngineError;
use super::state::State;
use super::vectors::PartVectors;
use super::view::CollectionView;

impl Db {
    /// A consistent view for one query. What waits to be made of the vectors of an import is made now.
    ///
    /// # Errors
    /// [`EngineError::NoCollection`]; those of the store and of segments, where the collection is used for the first time.
    pub fn view(&self, name: &str) -> Result<CollectionView, EngineError> {
        let collection = self.find(name)?;
        collection.look_at();
        let state = self.state_of(&collection)?;
        let state = if state.has_only_keys() { collection.remembered()? } else { state };
        state.make_ready();
        Ok(self.view_of(&collection, state))
    }

    /// A view for counts of objects, versions and schemas, for which vectors go on waiting, and what was left to the store stays
    /// there: it is asked for nothing else.
    ///
    /// # Errors
    /// As [`Db::view`].
    pub fn glance(&self, name: &str) -> Result<CollectionView, EngineError> {
        let collection = self.find(name)?;
        let state = self.state_of(&collection)?;
        Ok(self.view_of(&collection, state))
    }

    fn state_of(&self, collection: &Arc<Collection>) -> Result<Arc<State>, EngineError> {
        let is_first = collection.published().is_none();
        let state = collection.state()?;
        if is_first {
            // What was due when the database was closed is due still.
            self.index_when_due(collection);
        }
        Ok(state)
    }

    /// A view as another one, of what is committed now: of the same collection, and under the same policies.
    ///
    /// # Errors
    /// [`EngineError::NoCollection`] where that collection was dropped, also when another one has its name since.
    pub fn view_again(&self, view: &CollectionView) -> Result<CollectionView, EngineError> {
        let next = self.view(&view.schema().name)?;
        if next.collection() != view.collection() {
            return Err(EngineError::NoCollection { name: view.schema().name.clone() });
        }
        let policies = view.policies_on(next.schema());
        Ok(policies.into_iter().fold(next, CollectionView::restricted))
    }

    /// A view for one query, where nothing has to be read from the disk or made for it.
    pub fn view_at_hand(&self, name: &str) -> Option<CollectionView> {
        let collection = self.find(name).ok()?;
        collection.look_at();
        let state = collection.published().filter(|state| state.is_ready())?;
        Some(self.view_of(&collection, state))
    }

    fn view_of(&self, collection: &Collection, state: Arc<State>) -> CollectionView {
        CollectionView {
            collection: collection.id(),
            state,
            store: Arc::clone(&self.inner.store),
            cost: CostModel::of_machine(&self.inner.options.data),
            formulas: collection.formulas.get(),
            derived: Arc::clone(&self.inner.derived),
            policies: Vec::new(),
        }
    }
}

impl State {
    /// Whether nothing of the tail waits to be made or read.
    fn is_ready(&self) -> bool {
        !self.has_only_keys() && self.tail_vectors().all(PartVectors::is_ready)
    }

    /// Makes the vectors of the tail that wait.
    fn make_ready(&self) {
        self.tail_vectors().for_each(PartVectors::make_ready);
    }

    /// Whether only keys of the tail are in memory, or of some of it.
    pub(super) fn has_only_keys(&self) -> bool {
        self.tail.iter().any(|live| live.part.has_only_keys())
    }

    fn tail_vectors(&self) -> impl Iterator<Item = &PartVectors> {
        self.tail.iter().flat_map(|live| live.part.spaces())
    }
}

#[cfg(test)]
mod tests {
    use super::super::late::tests::{block, schema};
    use super::*;
    use crate::engine::db::DbOptions;
    use crate::engine::live_part::LivePart;
    use crate::engine::part::{Part, PartKind};
    use crate::engine::{Write, WriteMode};
    use crate::schema::{ObjectId, SpaceId};
    use crate::vector::Metric;

    const DIMENSION: usize = 1_024;

    /// Vectors of an import that are more than is merged.
    fn import(db: &Db, first: i64) {
        let vector = |row: i64| {
            let mut vector = vec![1.0; DIMENSION];
            vector[row as usize % DIMENSION] = 1.0 + row as f32;
            vector
        };
        let vectors: Vec<_> = (first..first + 9_000).map(|row| Some(vector(row))).collect();
        let schema = db.schema("demo").expect("there");
        let staged = db.stage("demo", vec![block(&schema, first, &vectors)]).expect("staged");
        db.insert("demo", None, staged).expect("inserted");
    }

    #[test]
    fn vectors_of_an_import_wait_until_somebody_looks() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) };
        let db = Db::open(options).expect("opens");
        db.create_collection(schema(Metric::Cosine, DIMENSION)).expect("made");
        let space = db.schema("demo").expect("there").spaces[0].id;
        import(&db, 0);
        let glance = db.glance("demo").expect("a view");
        assert_eq!(glance.live_count(), 9_000);
        assert_eq!(glance.info(false).expect("told").vector_counts, [(space, 9_000)]);
        assert!(!glance.state.is_ready());

        assert!(db.view_at_hand("demo").is_none(), "nobody is kept waiting who must not wait");
        let view = db.view("demo").expect("a view");
        assert!(view.state.is_ready() && db.view_at_hand("demo").is_some());
        let part = view.parts()[0].part();
        [0, 4_321, 8_999].into_iter().for_each(|row| check_vector(part, space, row));

        import(&db, 9_000);
        let at_hand = db.view_at_hand("demo").expect("somebody has just looked");
        assert_eq!(at_hand.live_count(), 18_000);
    }

    /// Compares a vector with that of [`import`], at unit length.
    fn check_vector(part: &Part, space: SpaceId, row: usize) {
        let Some(ObjectId::Number(id)) = part.id_at(row) else { panic!("ids are numbers") };
        let mut buffer = Vec::new();
        let vectors = part.vectors(space).expect("vectors");
        let vector = vectors.of_row(row, &mut buffer).expect("a vector");
        let length = vector.iter().map(|x| x * x).sum::<f32>();
        assert!((length - 1.0).abs() < 1e-4, "{length}");
        let (own, other) = (id as usize % DIMENSION, (id as usize + 1) % DIMENSION);
        let ratio = vector[own] / vector[other];
        assert!((ratio / (1.0 + id as f32) - 1.0).abs() < 1e-4, "{id} {ratio}");
    }

    #[test]
    fn imports_that_are_not_kept_are_read_from_the_store() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) };
        let db = Db::open(DbOptions { keep_imports: false, ..options }).expect("opens");
        db.create_collection(schema(Metric::Cosine, DIMENSION)).expect("made");
        let space = db.schema("demo").expect("there").spaces[0].id;
        import(&db, 0);
        import(&db, 9_000);
        let glance = db.glance("demo").expect("a view");
        assert!(glance.state.has_only_keys() && !glance.state.is_ready());
        assert_eq!((glance.parts().len(), glance.state.tail_bytes()), (1, 0), "keys are merged");
        assert_eq!(glance.live_count(), 18_000);

        // Rows that die, and others that come one by one, are merged with what has only keys.
        let gone = (0..10_000).map(|id| Write::Delete(ObjectId::Number(id))).collect();
        db.write("demo", WriteMode::Bulk, gone).expect("deleted");
        let object = db.get("demo", &[ObjectId::Number(17_000)]).expect("read").remove(0);
        db.write("demo", WriteMode::Logged, vec![Write::Put(object.expect("there"))]).expect("put");
        import(&db, 0);
        let glance = db.glance("demo").expect("a view");
        assert_eq!((glance.live_count(), glance.parts().len()), (17_000, 1));
        assert!(glance.state.has_only_keys() && db.view_at_hand("demo").is_none());

        let view = db.view("demo").expect("a view");
        assert!(view.state.is_ready() && !view.state.has_only_keys());
        assert_eq!((view.live_count(), view.version()), (17_000, glance.version()));
        let alive = |live: &LivePart| {
            let rows = 0..live.part().row_count();
            rows.filter(|row| !live.dead().contains(*row as u32)).collect::<Vec<_>>()
        };
        for live in view.parts() {
            alive(live)
                .into_iter()
                .step_by(97)
                .for_each(|row| check_vector(live.part(), space, row));
        }
        assert!(db.view_at_hand("demo").is_some());
    }

    #[test]
    fn a_tail_that_is_too_large_to_be_read_is_indexed_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) };
        let options = DbOptions { keep_imports: false, ..options };
        let bytes = (9_000 * DIMENSION * size_of::<f32>()) as u64;
        let db = Db::open(DbOptions { tail_bytes: Some(bytes), ..options.clone() }).expect("opens");
        db.create_collection(schema(Metric::Cosine, DIMENSION)).expect("made");
        let space = db.schema("demo").expect("there").spaces[0].id;
        import(&db, 0);
        let kinds = |view: &CollectionView| {
            view.parts().iter().map(|live| live.part().kind()).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&db.view("demo").expect("a view")), [PartKind::Tail], "they fit");
        drop(db);

        let db = Db::open(DbOptions { tail_bytes: Some(bytes - 1), ..options }).expect("opens");
        let view = db.view("demo").expect("a view");
        assert_eq!((view.live_count(), kinds(&view)), (9_000, vec![PartKind::Segment]));
        [0, 4_321, 8_999]
            .into_iter()
            .for_each(|row| check_vector(view.parts()[0].part(), space, row));
        // Asked for a moment ago, whatever the build took: what comes is read at once.
        assert_eq!(db.view("demo").expect("a view").live_count(), 9_000);
        import(&db, 9_000);
        let view = db.view("demo").expect("a view");
        assert_eq!(view.live_count(), 18_000);
        assert_eq!(kinds(&view), [PartKind::Segment, PartKind::Tail], "what came since is kept");
    }
}
