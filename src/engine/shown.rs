//! The store at one moment, as far as a view shows it: for walks that read it beside the rows of the view.

use super::error::EngineError;
use super::view::CollectionView;
use crate::schema::{Object, SpaceId};
use crate::storage::{ObjectKey, Snapshot};

/// Objects that are judged at once.
const PAGE_OBJECTS: usize = 256;

/// The store at one moment. What a policy of the view does not admit of it is not there, whatever it was when the view was
/// made.
#[derive(Debug)]
pub struct ShownSnapshot<'a> {
    view: &'a CollectionView,
    snapshot: Snapshot<'a>,
}

impl<'a> ShownSnapshot<'a> {
    pub(super) fn new(view: &'a CollectionView, snapshot: Snapshot<'a>) -> Self {
        Self { view, snapshot }
    }

    /// Objects by key, in the order asked, without their vectors.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn objects(&self, keys: &[ObjectKey]) -> Result<Vec<Option<Object>>, EngineError> {
        let found = self.view.admitted(self.snapshot.get_keys(keys, false)?)?;
        Ok(found.into_iter().map(|found| found.map(|(_, object)| object)).collect())
    }

    /// Hands on the vectors of objects in a space as they were given, in the order asked, which ascends; reads all that lie
    /// between the first and the last.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn vectors_along(
        &self,
        space: SpaceId,
        keys: &[ObjectKey],
        take: &mut dyn FnMut(Option<&[f32]>),
    ) -> Result<(), EngineError> {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(()) };
        let cells = first.cell.0..last.cell.0.saturating_add(1);
        let mut follower = self.snapshot.follow_vectors(cells, space)?;
        for page in keys.chunks(PAGE_OBJECTS) {
            let hidden = self.hidden(page)?;
            for (place, key) in page.iter().enumerate() {
                let vector = follower.vector_of(*key)?;
                take(vector.as_deref().filter(|_| !hidden.contains(&place)));
            }
        }
        Ok(())
    }

    /// The vectors of objects in a space as they were given, in the order asked; for few.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn vectors_at(
        &self,
        space: SpaceId,
        keys: &[ObjectKey],
    ) -> Result<Vec<Option<Vec<f32>>>, EngineError> {
        let mut found = self.snapshot.vectors_at(space, keys)?;
        for place in self.hidden(keys)? {
            if let Some(vector) = found.get_mut(place) {
                *vector = None;
            }
        }
        Ok(found)
    }

    /// Places of objects that are not there, or hidden; of none where nothing is hidden.
    fn hidden(&self, keys: &[ObjectKey]) -> Result<Vec<usize>, EngineError> {
        if !self.view.is_restricted() {
            return Ok(Vec::new());
        }
        let objects = self.objects(keys)?.into_iter().enumerate();
        Ok(objects.filter(|(_, object)| object.is_none()).map(|(place, _)| place).collect())
    }
}
