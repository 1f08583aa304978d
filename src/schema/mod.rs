//! What a collection is made of: object ids, typed columns, modalities and embedding spaces.

mod at_ingest;
mod collection;
mod column;
mod id;
mod object;
mod rows;
mod space;
mod tokens;
mod wire;

pub use at_ingest::{AtIngest, FedSpace};
pub(crate) use collection::check_name;
pub use collection::{
    COLUMN_COUNT_MAX, CollectionSchema, NAME_LEN_MAX, SchemaError, is_always_returned, is_built_in,
    release_name, split_release,
};
pub use column::{Column, ColumnType, Value};
pub use id::{CollectionId, IdKind, ObjectId, SpaceId};
pub use object::Object;
pub use rows::{IdRef, Rows, ValueRef};
pub use space::{DIMENSION_MAX, EmbeddingSpace, Modality, Provenance, SpaceForm};
pub use tokens::{TOKEN_BYTES_MAX, TOKENS_MAX, check_tokens};
