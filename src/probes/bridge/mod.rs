//! Bridges between embedding spaces: fitted on objects that have vectors in both, measured, kept and used.
//!
//! **Invariants.** Vectors of two spaces are compared only by the rule of `rule`. A bridge whose spaces hold vectors of
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
use super::formula::is_of;
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

/// The bridges of a collection, and the damaged ones.
#[derive(Debug, Default)]
struct Kept {
    /// By name.
    records: Vec<Arc<Record>>,
    /// Names, and what is wrong.
    damaged: Vec<(String, String)>,
}

impl Kept {
    /// The damaged bridge of a name.
    fn check(&self, name: &str) -> Result<(), BridgeError> {
        match self.damaged.iter().find(|(damaged, _)| damaged.eq_ignore_ascii_case(name)) {
            Some((name, reason)) => Err(damaged(name, reason)),
            None => Ok(()),
        }
    }
}

/// Bridges that were read: their maps are large, and every search across spaces needs one.
#[derive(Debug, Default)]
struct Known {
    /// With the name of the collection.
    of: HashMap<CollectionId, (String, Arc<Kept>)>,
    /// How often something was forgotten: what was read before that may be of yesterday.
    forgotten: u64,
}

impl Known {
    /// Forgets a collection and its releases.
    fn forget(&mut self, name: &str) {
        self.of.retain(|_, (collection, _)| !is_of(collection, name));
        self.forgotten += 1;
    }
}

impl Bridges {
    /// The bridges of a database.
    pub fn new(tools: Tools) -> Self {
        Self { tools, known: Arc::default() }
    }

    /// A page of the bridges of a collection behind a name, by name; of each what can be put beside others. A damaged one is
    /// listed as stale, with the reason.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn list(
        &self,
        view: &CollectionView,
        after: &str,
    ) -> Result<Page<v1::Bridge>, BridgeError> {
        let kept = self.kept(view)?;
        let mut all: Vec<v1::Bridge> =
            kept.records.iter().map(|record| in_list(record.told(view.schema()))).collect();
        all.extend(kept.damaged.iter().map(|(name, reason)| v1::Bridge {
            name: name.clone(),
            collection: view.schema().name.clone(),
            stale: damaged(name, reason).to_string(),
            ..v1::Bridge::default()
        }));
        all.sort_by_cached_key(|bridge| bridge.name.to_lowercase());
        let mut page = Page::after(after);
        for bridge in all {
            let name = bridge.name.clone();
            page.push(&name, bridge);
        }
        Ok(page)
    }

    /// One bridge.
    ///
    /// # Errors
    /// [`BridgeError::NoBridge`], [`BridgeError::Damaged`]; those of the disk.
    pub fn get(&self, view: &CollectionView, name: &str) -> Result<v1::Bridge, BridgeError> {
        let kept = self.kept(view)?;
        Ok(rule::find(view.schema(), &kept, name)?.told(view.schema()))
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
    fn kept(&self, view: &CollectionView) -> Result<Arc<Kept>, BridgeError> {
        let forgotten = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, kept)) = known.of.get(&view.collection()) {
                return Ok(Arc::clone(kept));
            }
            known.forgotten
        };
        let mut kept = Kept::default();
        let collection = &view.schema().name;
        self.tools.db.visit_records(collection, RecordKind::Bridge, &mut |name, bytes| {
            let read = bytes.map_err(BridgeError::from);
            match read.and_then(|bytes| Record::decode(&name, &bytes)) {
                Ok(record) => kept.records.push(Arc::new(record)),
                Err(BridgeError::Damaged { reason, .. }) => kept.damaged.push((name, reason)),
                Err(error) => kept.damaged.push((name, error.to_string())),
            }
            Ok::<_, BridgeError>(())
        })?;
        // They are of the view's collection, and not of another one that has its name since.
        self.tools.db.check_there(view)?;
        let kept = Arc::new(kept);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.forgotten == forgotten {
            known.of.insert(view.collection(), (collection.clone(), Arc::clone(&kept)));
        }
        Ok(kept)
    }

    /// Lets go of all probes and bridges that a dropped collection had, and its releases.
    pub fn forget_collection(&self, name: &str) {
        super::formula::forget(name);
        misalignment::forget(name);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).forget(name);
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

fn damaged(name: &str, reason: &str) -> BridgeError {
    BridgeError::Damaged { name: name.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_go_with_their_collection_and_its_releases() {
        let mut known = Known::default();
        for (id, name) in [(1, "sky"), (2, "Sky@dr1"), (3, "skyline")] {
            known.of.insert(CollectionId(id), (name.to_owned(), Arc::default()));
        }
        known.forget("sky");
        assert_eq!(known.of.into_keys().collect::<Vec<_>>(), [CollectionId(3)]);
        assert_eq!(known.forgotten, 1);
    }
}
