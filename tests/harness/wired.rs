//! Columns and spaces as they travel, for tests and benchmarks alike.

use sidereus::wire::v1::{Column, ColumnType, EmbeddingSpace, Metric, Provenance};

/// A column without a unit or a description.
pub(crate) fn column(name: &str, kind: ColumnType) -> Column {
    Column { name: name.to_owned(), r#type: kind.into(), ..Column::default() }
}

/// A space of vectors that somebody else made.
pub(crate) fn space(name: &str, modality: &str, dimension: u32, metric: Metric) -> EmbeddingSpace {
    EmbeddingSpace {
        name: name.to_owned(),
        modality: modality.to_owned(),
        dimension,
        metric: metric.into(),
        provenance: Some(Provenance { encoder: "external".to_owned(), ..Provenance::default() }),
        ..EmbeddingSpace::default()
    }
}
