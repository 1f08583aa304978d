//! Collections that do not change: those that hold a release.

use std::path::Path;
use std::sync::Arc;

use super::Collection;
use crate::engine::beside::beside;
use crate::engine::columns;
use crate::engine::error::EngineError;
use crate::engine::release;
use crate::engine::segment::{self, BuildPlan, Progress};
use crate::schema::split_release;

impl Collection {
    /// Folder of its segments.
    pub(in crate::engine) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its name.
    pub(in crate::engine) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it holds a release of another collection.
    pub(in crate::engine) fn is_release(&self) -> bool {
        split_release(&self.name).is_some()
    }

    /// The lowest door: nothing of a release is ever written.
    pub(in crate::engine) fn check_writable(&self) -> Result<(), EngineError> {
        if self.is_release() { Err(release::refused(&self.name)) } else { Ok(()) }
    }

    /// Builds the segment of a collection that nobody writes into, before anybody asks for it.
    pub(in crate::engine) fn build_first(
        &self,
        progress: &mut Progress<'_>,
    ) -> Result<(), EngineError> {
        let snapshot = self.store.snapshot(self.id)?;
        let schema = Arc::clone(&snapshot.record().schema);
        let arrow_schema = columns::resident_schema(&schema);
        let plan = BuildPlan {
            collection_folder: &self.folder,
            schema: &schema,
            arrow_schema: &arrow_schema,
            limits: self.limits,
        };
        beside(false, progress, |progress| segment::build(&plan, snapshot, progress))?;
        Ok(())
    }
}
