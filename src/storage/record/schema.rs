//! The schema of a collection as JSON: small, rarely written, readable with any tool.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::schema::{
    AtIngest, CollectionId, CollectionSchema, Column, EmbeddingSpace, IdKind, Modality, Provenance,
    SpaceForm, SpaceId,
};
use crate::storage::error::StorageError;

const WHAT: &str = "collection schema";
const VERSION: u32 = 1;

/// What the `meta` table keeps of a collection beside its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CollectionMeta {
    /// Its number.
    pub(crate) id: CollectionId,
    /// Number of the next space; numbers are never used again.
    pub(crate) next_space: u32,
    /// Names, columns and spaces.
    pub(crate) schema: Arc<CollectionSchema>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CollectionRow {
    version: u32,
    id: u32,
    next_space: u32,
    name: String,
    description: String,
    id_kind: IdKindRow,
    columns: Vec<ColumnRow>,
    spaces: Vec<SpaceRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum IdKindRow {
    Number,
    Text,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnRow {
    name: String,
    kind: String,
    unit: String,
    ucd: String,
    description: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpaceRow {
    id: u32,
    name: String,
    modality: String,
    /// Left out for vectors, as it is in records of programs that knew nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    form: Option<String>,
    dimension: usize,
    metric: String,
    encoder: String,
    weights_hash: String,
    preprocessing: String,
    pooling: String,
    /// Left out where nothing is shared, as it is in records of programs that knew nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shared: Option<String>,
    /// Model inputs and their columns, where objects are encoded as they arrive; since format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_ingest: Option<BTreeMap<String, String>>,
}

impl CollectionMeta {
    /// The bytes of the record.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, StorageError> {
        let row = CollectionRow {
            version: VERSION,
            id: self.id.0,
            next_space: self.next_space,
            name: self.schema.name.clone(),
            description: self.schema.description.clone(),
            id_kind: match self.schema.id_kind {
                IdKind::Number => IdKindRow::Number,
                IdKind::Text => IdKindRow::Text,
            },
            columns: self.schema.columns.iter().map(column_row).collect(),
            spaces: self.schema.spaces.iter().map(space_row).collect(),
        };
        serde_json::to_vec(&row).map_err(|error| StorageError::Engine {
            doing: "writing a collection schema",
            detail: error.to_string(),
        })
    }

    /// Reads the record back.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let row: CollectionRow = serde_json::from_slice(bytes)
            .map_err(|error| StorageError::corrupt(WHAT, error.to_string()))?;
        if row.version != VERSION {
            return Err(StorageError::corrupt(
                WHAT,
                format!("unknown record version {}", row.version),
            ));
        }
        let schema = CollectionSchema {
            name: row.name,
            id_kind: match row.id_kind {
                IdKindRow::Number => IdKind::Number,
                IdKindRow::Text => IdKind::Text,
            },
            columns: row.columns.into_iter().map(column).collect::<Result<_, _>>()?,
            spaces: row.spaces.into_iter().map(space).collect::<Result<_, _>>()?,
            description: row.description,
        };
        schema.validate().map_err(|error| StorageError::corrupt(WHAT, error.to_string()))?;
        Ok(Self { id: CollectionId(row.id), next_space: row.next_space, schema: Arc::new(schema) })
    }
}

fn column_row(column: &Column) -> ColumnRow {
    ColumnRow {
        name: column.name.clone(),
        kind: column.kind.name().to_owned(),
        unit: column.unit.clone(),
        ucd: column.ucd.clone(),
        description: column.description.clone(),
    }
}

fn column(row: ColumnRow) -> Result<Column, StorageError> {
    Ok(Column {
        name: row.name,
        kind: row.kind.parse().map_err(|error: String| StorageError::corrupt(WHAT, error))?,
        unit: row.unit,
        ucd: row.ucd,
        description: row.description,
    })
}

fn space_row(space: &EmbeddingSpace) -> SpaceRow {
    SpaceRow {
        id: space.id.0,
        name: space.name.clone(),
        modality: space.modality.0.clone(),
        form: match space.form {
            SpaceForm::Vector => None,
            form => Some(form.name().to_owned()),
        },
        dimension: space.dimension,
        metric: space.metric.to_string(),
        encoder: space.provenance.encoder.clone(),
        weights_hash: space.provenance.weights_hash.clone(),
        preprocessing: space.provenance.preprocessing.clone(),
        pooling: space.provenance.pooling.clone(),
        shared: space.shared.clone(),
        at_ingest: space.at_ingest.as_ref().map(|at_ingest| at_ingest.inputs.clone()),
    }
}

fn space(row: SpaceRow) -> Result<EmbeddingSpace, StorageError> {
    Ok(EmbeddingSpace {
        id: SpaceId(row.id),
        name: row.name,
        modality: Modality(row.modality),
        form: row
            .form
            .map_or(Ok(SpaceForm::Vector), |form| form.parse())
            .map_err(|error: String| StorageError::corrupt(WHAT, error))?,
        dimension: row.dimension,
        metric: row.metric.parse().map_err(|error: crate::vector::UnknownMetric| {
            StorageError::corrupt(WHAT, error.to_string())
        })?,
        provenance: Provenance {
            encoder: row.encoder,
            weights_hash: row.weights_hash,
            preprocessing: row.preprocessing,
            pooling: row.pooling,
        },
        shared: row.shared,
        at_ingest: row.at_ingest.map(|inputs| AtIngest { inputs }),
    })
}
