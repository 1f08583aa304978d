//! The only place where protocol messages become what the database works on, and back.
//!
//! Everything that can be wrong with a message is found here; what comes out is valid by construction.

pub(super) mod access;
mod answer;
mod catalogue;
mod combine;
mod model;
mod object;
mod region;
mod release;
mod rerank;
mod search;
mod status;

pub(super) use answer::chunks;
pub(super) use catalogue::provenance;
pub(super) use catalogue::{collection, collection_schema, space};
pub(super) use model::{InputMap, Print, model_of};
pub(super) use object::{
    GivenRow, given_row, object_id, object_id_of, object_ids, object_of, position_of, row_name,
};
pub(super) use region::region;
pub(super) use release::{damaged_snapshot, release, release_diff, snapshot};
pub(super) use rerank::{RerankPlan, RerankTarget};
pub(super) use search::{CrossingTerm, ExampleTerm, predicate, search};
pub(super) use status::index_status;
