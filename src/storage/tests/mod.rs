//! Tests of the store as a whole.

mod bulk;
mod collections;
mod model;
mod writes;

use super::bulk::Step;
use super::error::StorageError;

/// Looks at, or fails, a step of a bulk import.
pub(super) type Probe = Box<dyn Fn(Step) -> Result<(), StorageError> + Send + Sync>;
