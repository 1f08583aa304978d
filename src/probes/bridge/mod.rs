//! Bridges between embedding spaces: fitted on objects that have vectors in both, measured, kept and used.
//!
//! **Invariants.** Vectors of two spaces are compared only by the rule of [`rule`]. A bridge whose spaces hold vectors of
//! another provenance than when it was fitted is stale, and is refused. What is measured is what is kept: weights are rounded
//! before.

mod apply;
mod error;
mod fit;
mod misalignment;
mod record;
mod rule;
mod spec;
mod train;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use error::BridgeError;
pub(super) use misalignment::formulas;

use self::record::Record;
use super::{Page, Tools};
use crate::engine::{CollectionView, RecordKind};
use crate::schema::CollectionId;
use crate::wire::v1;

/// The bridges of a database. Cheap to clone; every clone is the same.
#[derive(Debug, Clone)]
pub struct Bridges {
    tools: Tools,
    known: Arc<Mutex<Known>>,
}

/// Bridges that were read: their maps are large, and every search across spaces needs one.
#[derive(Debug, Default)]
struct Known {
    of: HashMap<CollectionId, Arc<Vec<Arc<Record>>>>,
    /// How often something was forgotten: what was read before that may be of yesterday.
    forgotten: u64,
}

impl Bridges {
    /// The bridges of a database.
    pub fn new(tools: Tools) -> Self {
        Self { tools, known: Arc::default() }
    }

    /// A page of the bridges of a collection behind a name, by name; of each what can be put beside others.
    ///
    /// # Errors
    /// [`BridgeError::Damaged`] for a record that cannot be read; those of the disk.
    pub fn list(
        &self,
        view: &CollectionView,
        after: &str,
    ) -> Result<Page<v1::Bridge>, BridgeError> {
        let mut page = Page::after(after);
        for record in self.records(view)?.iter() {
            let name = record.bridge.name.clone();
            page.push(&name, in_list(record.told(view.schema())));
        }
        Ok(page)
    }

    /// One bridge.
    ///
    /// # Errors
    /// [`BridgeError::NoBridge`], [`BridgeError::Damaged`]; those of the disk.
    pub fn get(&self, view: &CollectionView, name: &str) -> Result<v1::Bridge, BridgeError> {
        let records = self.records(view)?;
        Ok(rule::find(view.schema(), &records, name)?.told(view.schema()))
    }

    /// Forgets a bridge. Spaces that were written with it stay.
    ///
    /// # Errors
    /// [`BridgeError::NoBridge`]; those of the disk.
    pub fn drop_bridge(&self, view: &CollectionView, name: &str) -> Result<(), BridgeError> {
        let collection = &view.schema().name;
        if !self.tools.db.delete_record(collection, RecordKind::Bridge, name)? {
            let collection = collection.clone();
            return Err(BridgeError::NoBridge { collection, name: name.to_owned() });
        }
        self.forget(view);
        Ok(super::refresh(&self.tools.db, collection)?)
    }

    /// The bridges of a collection with their maps.
    fn records(&self, view: &CollectionView) -> Result<Arc<Vec<Arc<Record>>>, BridgeError> {
        let forgotten = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(records) = known.of.get(&view.collection()) {
                return Ok(Arc::clone(records));
            }
            known.forgotten
        };
        let mut records = Vec::new();
        let collection = &view.schema().name;
        self.tools.db.visit_records(collection, RecordKind::Bridge, &mut |name, bytes| {
            records.push(Arc::new(Record::decode(&name, &bytes)?));
            Ok::<_, BridgeError>(())
        })?;
        let records = Arc::new(records);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.forgotten == forgotten {
            known.of.insert(view.collection(), Arc::clone(&records));
        }
        Ok(records)
    }

    fn forget(&self, view: &CollectionView) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.of.remove(&view.collection());
        known.forgotten += 1;
    }
}

/// A bridge without what grows with its spaces and its settings.
fn in_list(bridge: v1::Bridge) -> v1::Bridge {
    let (alphas, alpha_scores, correlations) = (Vec::new(), Vec::new(), Vec::new());
    v1::Bridge { alphas, alpha_scores, correlations, ..bridge }
}
