//! Schemas of collections that are made up, for tests and benchmarks alike.

use sidereus::schema::{
    CollectionSchema, Column, ColumnType, EmbeddingSpace, IdKind, Modality, Provenance, SpaceForm,
    SpaceId,
};
use sidereus::vector::Metric;

/// A space of vectors of images that somebody else made; it gets its number from the collection.
pub(crate) fn space(name: &str, dimension: usize, metric: Metric) -> EmbeddingSpace {
    EmbeddingSpace {
        id: SpaceId(0),
        name: name.to_owned(),
        modality: Modality("image".to_owned()),
        form: SpaceForm::Vector,
        dimension,
        metric,
        provenance: Provenance::external(),
        at_ingest: None,
        shared: None,
    }
}

/// A collection with numbers for ids.
pub(crate) fn schema(
    name: &str,
    columns: &[(&str, ColumnType)],
    spaces: Vec<EmbeddingSpace>,
) -> CollectionSchema {
    CollectionSchema {
        name: name.to_owned(),
        id_kind: IdKind::Number,
        columns: columns.iter().map(|(name, kind)| Column::new(*name, *kind)).collect(),
        spaces,
        description: String::new(),
    }
}
