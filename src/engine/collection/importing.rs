//! Bulk commits under way, for which a build waits.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Collection;

/// A bulk commit that is under way.
pub(super) struct Importing<'a>(&'a Collection);

impl<'a> Importing<'a> {
    pub(super) fn new(collection: &'a Collection) -> Self {
        collection.importing.fetch_add(1, Ordering::AcqRel);
        Self(collection)
    }
}

impl Drop for Importing<'_> {
    fn drop(&mut self) {
        *self.0.imported.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.importing.fetch_sub(1, Ordering::AcqRel);
    }
}
