//! Schemas and collections.

use std::collections::HashMap;

use crate::engine::CollectionInfo;
use crate::schema::{
    AtIngest, CollectionSchema, Column, ColumnType, EmbeddingSpace, IdKind, Modality, Provenance,
    SpaceId,
};
use crate::service::RequestError;
use crate::vector::Metric;
use crate::wire::v1;

/// Reads and checks the schema of a collection to be made.
///
/// An unset provenance means vectors that are made elsewhere.
pub(in crate::service) fn collection_schema(
    schema: v1::CollectionSchema,
) -> Result<CollectionSchema, RequestError> {
    let id_kind = match known("schema.id_kind", schema.id_kind)? {
        v1::IdKind::Unspecified => return Err(RequestError::Missing { field: "schema.id_kind" }),
        v1::IdKind::Number => IdKind::Number,
        v1::IdKind::Text => IdKind::Text,
    };
    let schema = CollectionSchema {
        name: schema.name,
        id_kind,
        columns: schema.columns.into_iter().map(column).collect::<Result<_, _>>()?,
        spaces: schema.spaces.into_iter().map(space).collect::<Result<_, _>>()?,
        description: schema.description,
    };
    schema.validate()?;
    Ok(schema)
}

/// Reads an embedding space that has no number yet.
pub(in crate::service) fn space(space: v1::EmbeddingSpace) -> Result<EmbeddingSpace, RequestError> {
    let metric = match known("space.metric", space.metric)? {
        v1::Metric::Unspecified => return Err(RequestError::Missing { field: "space.metric" }),
        v1::Metric::Cosine => Metric::Cosine,
        v1::Metric::L2 => Metric::L2,
        v1::Metric::Ip => Metric::Ip,
    };
    let form = known::<v1::SpaceForm>("space.form", space.form)?.into();
    if !space.encode_at_ingest && !space.inputs.is_empty() {
        return Err(RequestError::InputsOfNothing { space: space.name });
    }
    let inputs = space.inputs.into_iter().collect();
    let at_ingest = space.encode_at_ingest.then_some(AtIngest { inputs });
    if space.modality.is_empty() {
        return Err(RequestError::Missing { field: "space.modality" });
    }
    Ok(EmbeddingSpace {
        id: SpaceId(0),
        name: space.name,
        modality: Modality(space.modality),
        form,
        dimension: usize::try_from(space.dimension).unwrap_or(usize::MAX),
        metric,
        provenance: space.provenance.map_or_else(Provenance::external, provenance),
        shared: (!space.shared.is_empty()).then_some(space.shared),
        at_ingest,
    })
}

fn column(column: v1::Column) -> Result<Column, RequestError> {
    let kind = match known("column.type", column.r#type)? {
        v1::ColumnType::Unspecified => return Err(RequestError::Missing { field: "column.type" }),
        v1::ColumnType::Boolean => ColumnType::Boolean,
        v1::ColumnType::Int64 => ColumnType::Int64,
        v1::ColumnType::Float32 => ColumnType::Float32,
        v1::ColumnType::Float64 => ColumnType::Float64,
        v1::ColumnType::Text => ColumnType::Text,
        v1::ColumnType::Binary => ColumnType::Binary,
        v1::ColumnType::FloatList => ColumnType::FloatList,
    };
    Ok(Column {
        name: column.name,
        kind,
        unit: column.unit,
        ucd: column.ucd,
        description: column.description,
    })
}

fn known<E: TryFrom<i32>>(field: &'static str, value: i32) -> Result<E, RequestError> {
    E::try_from(value).map_err(|_| RequestError::UnknownEnum { field, value })
}

/// Reads a provenance; a message without any word means vectors that are made elsewhere.
pub(in crate::service) fn provenance(given: v1::Provenance) -> Provenance {
    let read = Provenance::from(given);
    if read == Provenance::default() { Provenance::external() } else { read }
}

/// Writes what a server tells about a collection, but for how far its encoding at ingest is.
pub(in crate::service) fn collection(info: CollectionInfo) -> v1::Collection {
    let names = |id: SpaceId| info.schema.space_by_id(id).map(|space| space.name.clone());
    let vector_counts = info
        .vector_counts
        .iter()
        .filter_map(|&(id, count)| names(id).map(|name| (name, count)))
        .collect();
    v1::Collection {
        encoding: HashMap::new(),
        object_count: info.object_count,
        vector_counts,
        footprint: info.footprint.map(|moc| moc.to_ascii()).unwrap_or_default(),
        version: info.version,
        schema: Some(schema_of(info.schema)),
    }
}

fn schema_of(schema: CollectionSchema) -> v1::CollectionSchema {
    let id_kind = match schema.id_kind {
        IdKind::Number => v1::IdKind::Number,
        IdKind::Text => v1::IdKind::Text,
    };
    v1::CollectionSchema {
        name: schema.name,
        id_kind: id_kind.into(),
        columns: schema.columns.into_iter().map(column_of).collect(),
        spaces: schema.spaces.into_iter().map(space_of).collect(),
        description: schema.description,
    }
}

fn space_of(space: EmbeddingSpace) -> v1::EmbeddingSpace {
    let metric = match space.metric {
        Metric::Cosine => v1::Metric::Cosine,
        Metric::L2 => v1::Metric::L2,
        Metric::Ip => v1::Metric::Ip,
    };
    v1::EmbeddingSpace {
        name: space.name,
        modality: space.modality.0,
        dimension: u32::try_from(space.dimension).unwrap_or(u32::MAX),
        metric: metric.into(),
        provenance: Some(v1::Provenance::from(space.provenance)),
        form: v1::SpaceForm::from(space.form).into(),
        shared: space.shared.unwrap_or_default(),
        encode_at_ingest: space.at_ingest.is_some(),
        inputs: space.at_ingest.map(|at| at.inputs.into_iter().collect()).unwrap_or_default(),
    }
}

fn column_of(column: Column) -> v1::Column {
    let kind = match column.kind {
        ColumnType::Boolean => v1::ColumnType::Boolean,
        ColumnType::Int64 => v1::ColumnType::Int64,
        ColumnType::Float32 => v1::ColumnType::Float32,
        ColumnType::Float64 => v1::ColumnType::Float64,
        ColumnType::Text => v1::ColumnType::Text,
        ColumnType::Binary => v1::ColumnType::Binary,
        ColumnType::FloatList => v1::ColumnType::FloatList,
    };
    v1::Column {
        name: column.name,
        r#type: kind.into(),
        unit: column.unit,
        ucd: column.ucd,
        description: column.description,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire_schema() -> v1::CollectionSchema {
        let columns = (1..=7)
            .map(|kind| v1::Column {
                name: format!("c{kind}"),
                r#type: kind,
                unit: "mag".to_owned(),
                ..v1::Column::default()
            })
            .collect();
        let spaces = (1..=3)
            .map(|metric| v1::EmbeddingSpace {
                name: format!("s{metric}"),
                modality: "image".to_owned(),
                dimension: if metric == 3 { 0 } else { 4 },
                metric,
                provenance: Some(v1::Provenance {
                    encoder: "m".to_owned(),
                    ..v1::Provenance::default()
                }),
                form: metric - 1,
                shared: if metric == 1 { "both".to_owned() } else { String::new() },
                encode_at_ingest: metric == 2,
                inputs: (metric == 2)
                    .then(|| ("u".to_owned(), "c2".to_owned()))
                    .into_iter()
                    .collect(),
            })
            .collect();
        v1::CollectionSchema {
            name: "galaxies".to_owned(),
            id_kind: v1::IdKind::Text.into(),
            columns,
            spaces,
            description: "d".to_owned(),
        }
    }

    #[test]
    fn a_schema_survives_the_way_there_and_back() {
        let read = collection_schema(wire_schema()).expect("a valid schema");
        assert_eq!(schema_of(read), wire_schema());
    }

    #[test]
    fn unknown_and_unset_members_are_refused() {
        let mut schema = wire_schema();
        schema.id_kind = 9;
        assert!(collection_schema(schema).is_err());
        let mut schema = wire_schema();
        schema.id_kind = 0;
        assert!(collection_schema(schema).is_err());
        let mut schema = wire_schema();
        schema.columns[0].r#type = 0;
        assert!(collection_schema(schema).is_err());
        let mut schema = wire_schema();
        schema.spaces[0].metric = -1;
        assert!(collection_schema(schema).is_err());
        let mut schema = wire_schema();
        schema.spaces[0].modality.clear();
        assert!(collection_schema(schema).is_err());
        let mut schema = wire_schema();
        schema.columns[1].name = "C1".to_owned();
        assert!(collection_schema(schema).is_err());
    }

    #[test]
    fn a_space_without_provenance_is_external() {
        let mut schema = wire_schema();
        schema.spaces[0].provenance = None;
        schema.spaces[1].provenance = Some(v1::Provenance::default());
        schema.spaces[1].encode_at_ingest = false;
        schema.spaces[1].inputs.clear();
        let read = collection_schema(schema).expect("a valid schema");
        assert!(read.spaces[0].provenance.is_external());
        assert!(read.spaces[1].provenance.is_external());
        assert!(!read.spaces[2].provenance.is_external());
    }
}
