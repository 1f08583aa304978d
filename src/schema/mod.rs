//! What a collection is made of: object ids, typed columns, modalities and embedding spaces.

mod class;
mod collection;
mod column;
mod id;
mod object;
mod space;

pub use class::Class;
pub use collection::{CollectionSchema, SchemaError, COLUMN_COUNT_MAX, NAME_LEN_MAX, RESERVED_COLUMNS};
pub use column::{Column, ColumnType, Value};
pub use id::{CollectionId, IdKind, ObjectId, SpaceId};
pub use object::Object;
pub use space::{DIMENSION_MAX, EmbeddingSpace, Modality, Provenance};
