//! Collections that do not change: those that hold a release.

use std::path::Path;

use super::Collection;
use crate::engine::error::EngineError;
use crate::engine::release;
use crate::engine::segment::Progress;
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
        self.build_segment(false, progress)?;
        Ok(())
    }
}
