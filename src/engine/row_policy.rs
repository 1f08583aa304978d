//! Which rows somebody may see: rows that a policy does not admit are to him what deleted rows are to everybody.
//!
//! A policy says of a part which of its rows it admits, once for as long as the part exists. A restricted view holds the same
//! parts with more dead rows, so that whatever leaves out the deleted leaves out the hidden: every plan, count and sample.
//!
//! **Invariant.** No method of a restricted view shows, counts or names an object that its policies do not admit.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use roaring::RoaringBitmap;

use super::columns;
use super::error::EngineError;
use super::part::Part;
use crate::schema::{CollectionSchema, Object};
use crate::storage::ObjectKey;

/// Policies of which a part remembers the rows; of more it forgets those that nobody has asked for the longest.
const REMEMBERED_MAX: usize = 32;

/// What tells one policy from another: the same key, the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyKey(pub [u8; 32]);

/// Which rows somebody may see. What cannot be decided of a row hides it.
pub trait RowPolicy: std::fmt::Debug + Send + Sync {
    /// The same for policies that admit the same rows of the same columns.
    fn key(&self) -> PolicyKey;

    /// The conditions in SQL, any of which admits a row.
    fn predicates(&self) -> &[String];

    /// True for each row of a batch that it admits, false for every other; as long as the batch, and never null. The batch has
    /// the columns of [`CollectionView::arrow_schema`](super::CollectionView::arrow_schema).
    fn admits(&self, batch: &RecordBatch) -> BooleanArray;

    /// The rows of a part that it admits, dead ones among them.
    fn admitted_rows(&self, part: &Part) -> RoaringBitmap;

    /// The same policy for a collection whose schema is this one by now: a column that it names may have come. Its key stays.
    fn on(&self, schema: &CollectionSchema) -> Arc<dyn RowPolicy>;
}

/// Whether a policy admits each of some objects.
pub(super) fn admits(
    policy: &dyn RowPolicy,
    schema: &CollectionSchema,
    arrow_schema: &SchemaRef,
    rows: &[(ObjectKey, Object)],
) -> Result<Vec<bool>, EngineError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let (batch, _) = columns::to_batch(schema, arrow_schema, rows)?;
    let admitted = policy.admits(&batch);
    let is_admitted =
        |row: usize| row < admitted.len() && admitted.is_valid(row) && admitted.value(row);
    Ok((0..rows.len()).map(is_admitted).collect())
}

/// Something that was made for each of the last policies: once for each, however many ask at the same moment.
#[derive(Debug)]
pub(super) struct PerPolicy<T> {
    held: Mutex<Vec<Entry<T>>>,
}

/// What is made, or being made, for a policy.
type Entry<T> = (PolicyKey, Arc<OnceLock<Arc<T>>>);

impl<T> Default for PerPolicy<T> {
    fn default() -> Self {
        Self { held: Mutex::default() }
    }
}

impl<T> PerPolicy<T> {
    /// What there is for a policy, which is made where it is missing.
    pub(super) fn get_or_make(&self, key: PolicyKey, make: impl FnOnce() -> T) -> Arc<T> {
        let slot = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let known = held.iter().position(|(other, _)| *other == key);
            let entry = known.map_or_else(|| (key, Arc::default()), |place| held.remove(place));
            if held.len() >= REMEMBERED_MAX {
                held.remove(0);
            }
            let slot = Arc::clone(&entry.1);
            held.push(entry);
            slot
        };
        Arc::clone(slot.get_or_init(|| Arc::new(make())))
    }

    /// What there is for a policy, where that was made already.
    pub(super) fn made(&self, key: PolicyKey) -> Option<Arc<T>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, slot) = held.iter().find(|(other, _)| *other == key)?;
        slot.get().map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_for_a_policy_is_made_once_and_the_least_asked_for_is_forgotten() {
        let per_policy: PerPolicy<u8> = PerPolicy::default();
        let key = |number: u8| PolicyKey([number; 32]);
        assert!(per_policy.made(key(0)).is_none());
        for number in 0..REMEMBERED_MAX as u8 {
            assert_eq!(*per_policy.get_or_make(key(number), || number), number);
            assert_eq!(*per_policy.get_or_make(key(number), || 255), number);
        }
        assert_eq!(*per_policy.get_or_make(key(0), || 255), 0);
        let _ = per_policy.get_or_make(key(100), || 100);
        assert!(per_policy.made(key(1)).is_none());
        assert_eq!(per_policy.made(key(0)).as_deref(), Some(&0));
        assert_eq!(per_policy.made(key(2)).as_deref(), Some(&2));
        assert_eq!(per_policy.made(key(100)).as_deref(), Some(&100));
    }
}
