//! Vectors of chosen objects as they were given: along the sky beside a walk of their keys, or one by one.

use std::ops::Range;

use super::error::StorageError;
use super::key::{Key, ObjectKey, VectorKey};
use super::read::{Snapshot, VectorScan, dimension};
use super::record::decode_vector;
use super::table::Table;
use crate::schema::SpaceId;

impl Snapshot<'_> {
    /// Goes through the vectors of a space beside somebody who walks keys of a half-open range of order-29 cells.
    ///
    /// # Errors
    /// As [`Snapshot::scan_vectors`].
    pub fn follow_vectors(
        &self,
        cells: Range<u64>,
        space: SpaceId,
    ) -> Result<VectorFollower<'_>, StorageError> {
        self.scan_vectors(cells, space).map(VectorFollower::new)
    }

    /// The vectors of objects in a space, in the order of their keys as given; `None` where there is none.
    ///
    /// # Errors
    /// [`StorageError::Schema`] for a space that the collection does not have; [`StorageError::Corrupt`] and those of the
    /// disk.
    pub fn vectors_at(
        &self,
        space: SpaceId,
        objects: &[ObjectKey],
    ) -> Result<Vec<Option<Vec<f32>>>, StorageError> {
        let dimension = dimension(&self.record.schema, space)?;
        let keys: Vec<_> =
            objects.iter().map(|object| VectorKey::new(object, space).encode()).collect();
        let found = self.view.get_many(Table::Vectors, &keys)?.into_iter();
        found.map(|bytes| bytes.map(|bytes| decode_vector(&bytes, dimension)).transpose()).collect()
    }
}

/// Follows a walk of objects through the vectors of one space.
#[derive(Debug)]
pub struct VectorFollower<'v> {
    pub(super) scan: VectorScan<'v>,
    ahead: Option<(ObjectKey, Vec<f32>)>,
}

impl<'v> VectorFollower<'v> {
    pub(super) fn new(scan: VectorScan<'v>) -> Self {
        Self { scan, ahead: None }
    }

    /// The vector of an object; keys must be asked for in ascending order.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] and those of the disk.
    pub fn vector_of(&mut self, object: ObjectKey) -> Result<Option<Vec<f32>>, StorageError> {
        loop {
            match self.ahead.take() {
                Some((key, vector)) if key == object => return Ok(Some(vector)),
                Some(ahead) if ahead.0 > object => {
                    self.ahead = Some(ahead);
                    return Ok(None);
                }
                _ => match self.scan.next().transpose()? {
                    Some(ahead) => self.ahead = Some(ahead),
                    None => return Ok(None),
                },
            }
        }
    }
}
