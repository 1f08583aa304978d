//! What is done to releases at the moment: two names of one release are never made at once, and no collection goes while one
//! of its releases comes.

use std::collections::BTreeSet;

use super::super::db::{Db, fold};
use super::super::error::EngineError;
use crate::schema::split_release;

/// Names in lower case.
#[derive(Debug, Default)]
pub(in crate::engine) struct UnderWay {
    /// Releases that are being made or withdrawn, as `COLLECTION@RELEASE`.
    releases: BTreeSet<String>,
    /// Collections that are being dropped.
    dropped: BTreeSet<String>,
}

/// A release that is being made or withdrawn: nobody else does either with one of its name, and its collection stays.
pub(super) struct Making<'d> {
    db: &'d Db,
    name: String,
}

impl<'d> Making<'d> {
    /// # Errors
    /// [`EngineError::ReleaseExists`] when somebody does it already, [`EngineError::NoCollection`] when the collection is being
    /// dropped.
    pub(super) fn begin(db: &'d Db, internal: &str) -> Result<Self, EngineError> {
        let name = fold(internal);
        let (collection, release) = split_release(internal).unwrap_or((internal, ""));
        let mut under_way = db.releasing();
        if under_way.dropped.contains(&fold(collection)) {
            return Err(EngineError::NoCollection { name: collection.to_owned() });
        }
        if !under_way.releases.insert(name.clone()) {
            return Err(super::exists(collection, release));
        }
        drop(under_way);
        Ok(Self { db, name })
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.db.releasing().releases.remove(&self.name);
    }
}

/// A collection that is being dropped: no release of it begins.
pub(in crate::engine) struct Dropping<'d> {
    db: &'d Db,
    name: String,
}

impl<'d> Dropping<'d> {
    /// # Errors
    /// [`EngineError::ReleaseUnderWay`] while a release of it is made or withdrawn, [`EngineError::NoCollection`] when somebody
    /// else drops it already.
    pub(in crate::engine) fn begin(db: &'d Db, collection: &str) -> Result<Self, EngineError> {
        let name = fold(collection);
        let mut under_way = db.releasing();
        let is_of = |each: &&String| split_release(each).is_some_and(|(of, _)| of == name);
        if let Some(made) = under_way.releases.iter().find(is_of) {
            let release = split_release(made).map_or("", |(_, release)| release).to_owned();
            return Err(EngineError::ReleaseUnderWay {
                collection: collection.to_owned(),
                release,
            });
        }
        if !under_way.dropped.insert(name.clone()) {
            return Err(EngineError::NoCollection { name: collection.to_owned() });
        }
        drop(under_way);
        Ok(Self { db, name })
    }
}

impl Drop for Dropping<'_> {
    fn drop(&mut self) {
        self.db.releasing().dropped.remove(&self.name);
    }
}
