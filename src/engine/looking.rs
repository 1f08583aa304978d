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
        let view = self.glance(name)?;
        self.find(name)?.look_at();
        view.state.make_ready();
        Ok(view)
    }

    /// A view for counts and schemas, for which vectors go on waiting.
    ///
    /// # Errors
    /// As [`Db::view`].
    pub fn glance(&self, name: &str) -> Result<CollectionView, EngineError> {
        let collection = self.find(name)?;
        let is_first = collection.published().is_none();
        let state = collection.state()?;
        if is_first {
            // What was due when the database was closed is due still.
            self.index_when_due(&collection);
        }
        Ok(self.view_of(&collection, state))
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
    /// Whether no vector of the tail waits to be made.
    fn is_ready(&self) -> bool {
        self.tail_vectors().all(PartVectors::is_ready)
    }

    /// Makes the vectors of the tail that wait.
    fn make_ready(&self) {
        self.tail_vectors().for_each(PartVectors::make_ready);
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
    use crate::schema::ObjectId;
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
        let vectors = part.vectors(space).expect("vectors");
        let mut buffer = Vec::new();
        for row in [0, 4_321, 8_999] {
            let Some(ObjectId::Number(id)) = part.id_at(row) else { panic!("ids are numbers") };
            let vector = vectors.of_row(row, &mut buffer).expect("a vector");
            let length = vector.iter().map(|x| x * x).sum::<f32>();
            assert!((length - 1.0).abs() < 1e-4, "{length}");
            let (own, other) = (id as usize % DIMENSION, (id as usize + 1) % DIMENSION);
            let ratio = vector[own] / vector[other];
            assert!((ratio / (1.0 + id as f32) - 1.0).abs() < 1e-4, "{id} {ratio}");
        }

        import(&db, 9_000);
        let at_hand = db.view_at_hand("demo").expect("somebody has just looked");
        assert_eq!(at_hand.live_count(), 18_000);
    }
}
