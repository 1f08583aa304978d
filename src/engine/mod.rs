//! Collections at work: an immutable, sky-sorted segment with its indices, an exactly searched tail of later
//! writes, and the dead rows of both, kept equal to the store.
//!
//! Answers: what is there to search right now, and how does a write become durable and visible? It does not
//! know queries.

mod alter;
mod attributes;
mod barred;
mod beside;
mod blocks;
mod collection;
mod columns;
mod cost;
mod db;
mod derived;
mod error;
mod figures;
mod freeze;
mod insert;
mod late;
mod live_part;
mod looking;
mod mapped;
mod memory;
mod part;
mod release;
mod residency;
mod row_policy;
mod segment;
mod sky_rows;
mod standing;
mod state;
mod status;
mod still;
mod upkeep;
mod vectors;
mod view;
mod write;

pub use crate::storage::{
    DiskSpace, RECORD_BYTES_MAX, RecordKind, ServerRecordKind, StoreFigures, holds_database,
};
pub use attributes::{Attribute, Scalar, Span, Spans, ValueSet};
pub use collection::{StagedBlocks, is_build_due};
pub use columns::{BUILT_IN_COUNT, DEC, HEALPIX_29, OBJECT_ID, RA, is_resident, resident_schema};
pub use cost::{CodeCost, CostModel};
pub use db::{Db, DbOptions};
pub use derived::{DerivedColumn, DerivedKind, DerivedValues, Formula, Formulas};
pub use error::EngineError;
pub use figures::{CollectionFigures, DbFigures};
pub use freeze::{Frozen, FrozenCollection};
pub use live_part::LivePart;
pub use part::{BATCH_ROWS, Part, PartKind};
pub use release::{
    ChangedObjects, ContentHash, DiffSide, GoOn, Release, ReleaseDiff, ReleaseText, SpaceCount,
    Withdrawal,
};
pub use row_policy::{PolicyKey, RowPolicy};
pub use segment::{Manifest, Progress, SpaceManifest};
pub use sky_rows::{RegionRows, RegionTest, RowRun};
pub use standing::Standing;
pub use status::{BuildStanding, BuildStep, CollectionInfo, IndexStatus};
pub use still::Still;
pub use upkeep::{Finding, ScrubReport, examine};
pub use vectors::PartVectors;
pub use view::CollectionView;
pub use write::{Write, WriteMode, WriteOutcome, WriteReport};
