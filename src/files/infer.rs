//! A collection's schema from a file's columns.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

use super::FileError;
use super::assign::{Assigned, VectorSource, VectorSpec, assign};
use super::cast::{column_kind, list_item};
use super::mapping::{IdSource, Mapping, Picked, listed, place_of};
use super::npy::NpyReader;
use super::reader::{META_DESCRIPTION, META_UCD, META_UNIT, metadata};
use crate::schema::{
    CollectionSchema, Column, ColumnType, EmbeddingSpace, IdKind, Modality, Provenance, SpaceForm,
    SpaceId,
};

/// An inferred schema, and what the user should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inferred {
    /// The schema; space numbers are still to be assigned.
    pub schema: CollectionSchema,
    /// Renamed and left-out columns, one sentence each.
    pub warnings: Vec<String>,
}

/// Infers the schema of a collection `name` that holds the file's rows. `first` is the first batch of the file; it is
/// needed to tell the dimension of vector columns whose type does not fix it.
///
/// # Errors
/// Columns that are missing, ambiguous or of a type that cannot serve; a schema that the database would refuse.
pub fn infer_schema(
    name: &str,
    file: &Schema,
    first: Option<&RecordBatch>,
    mapping: &Mapping,
    vectors: &[VectorSpec],
) -> Result<Inferred, FileError> {
    let resolved = mapping.resolve(file)?;
    let (assigned, mut warnings) = assign(file, &resolved, vectors)?;
    let id_kind = match resolved.id {
        IdSource::Row => IdKind::Number,
        IdSource::Column(picked) => id_kind(file, picked)?,
    };
    let mut columns = Vec::new();
    for column in &assigned {
        let field = file.field(column.picked.place);
        let given = picked_type(file, column.picked);
        if let Some(kind) = column_kind(given) {
            columns.push(described(column, field, kind));
        } else if column.is_asked_for {
            return Err(FileError::ColumnType {
                name: field.name().clone(),
                given: given.to_string(),
                wanted: format!("stored as `{}`", column.name),
            });
        } else {
            let kept = format!("column `{}` is stored as", field.name());
            warnings.retain(|warning| !warning.starts_with(&kept));
            warnings.push(format!(
                "column `{}` is left out: {given} columns are not stored",
                field.name()
            ));
        }
    }
    let spaces = vectors
        .iter()
        .map(|spec| {
            let told = spec.told.as_ref();
            let modality = told.and_then(|told| told.modality.clone());
            Ok(EmbeddingSpace {
                id: SpaceId(0),
                name: spec.space.clone(),
                modality: modality.unwrap_or_else(|| Modality(spec.space.clone())),
                form: SpaceForm::default(),
                dimension: dimension(file, first, spec)?,
                metric: spec.metric,
                provenance: told.map_or_else(Provenance::external, |told| told.provenance.clone()),
                shared: None,
                at_ingest: None,
            })
        })
        .collect::<Result<Vec<_>, FileError>>()?;
    let schema = CollectionSchema {
        name: name.to_owned(),
        id_kind,
        columns,
        spaces,
        description: String::new(),
    };
    schema.validate()?;
    Ok(Inferred { schema, warnings })
}

/// Type of a picked column or element.
pub(super) fn picked_type(file: &Schema, picked: Picked) -> &DataType {
    let whole = file.field(picked.place).data_type();
    match picked.element {
        Some(_) => list_item(whole).unwrap_or(whole),
        None => whole,
    }
}

fn described(column: &Assigned, field: &Field, kind: ColumnType) -> Column {
    let mut described = Column::new(&column.name, kind);
    metadata(field, META_UNIT).clone_into(&mut described.unit);
    metadata(field, META_UCD).clone_into(&mut described.ucd);
    metadata(field, META_DESCRIPTION).clone_into(&mut described.description);
    described
}

fn id_kind(file: &Schema, picked: Picked) -> Result<IdKind, FileError> {
    let given = picked_type(file, picked);
    match column_kind(given) {
        Some(ColumnType::Int64) => Ok(IdKind::Number),
        Some(ColumnType::Text) => Ok(IdKind::Text),
        _ => Err(FileError::ColumnType {
            name: file.field(picked.place).name().clone(),
            given: given.to_string(),
            wanted:
                "the object id: ids are integers or strings; map another column, or object_id=#row"
                    .to_owned(),
        }),
    }
}

/// Dimension of the vectors of a space.
pub(super) fn dimension(
    file: &Schema,
    first: Option<&RecordBatch>,
    spec: &VectorSpec,
) -> Result<usize, FileError> {
    let name = match &spec.source {
        VectorSource::Npy(path) => return Ok(NpyReader::open(path)?.dimension()),
        VectorSource::Column(name) => name,
    };
    let place = vector_place(file, name, &spec.space)?;
    if let DataType::FixedSizeList(_, length) = file.field(place).data_type() {
        return Ok(*length as usize);
    }
    let no_dimension =
        |detail: &str| FileError::NoDimension { name: name.clone(), detail: detail.to_owned() };
    let column = first
        .and_then(|batch| batch.columns().get(place))
        .ok_or_else(|| no_dimension("the file has no rows to tell its dimension"))?;
    let mut lengths =
        (0..column.len()).filter(|row| column.is_valid(*row)).map(|row| match column.data_type() {
            DataType::LargeList(_) => column.as_list::<i64>().value_length(row) as usize,
            _ => column.as_list::<i32>().value_length(row) as usize,
        });
    lengths
        .find(|length| *length > 0)
        .ok_or_else(|| no_dimension("no vector in the first rows tells its dimension"))
}

/// Place of a vector column.
pub(super) fn vector_place(file: &Schema, name: &str, space: &str) -> Result<usize, FileError> {
    let role = format!("space `{space}`");
    let place = place_of(file, name, &role)?.ok_or_else(|| FileError::NoColumn {
        name: name.to_owned(),
        role,
        available: listed(file),
    })?;
    let given = file.field(place).data_type();
    if column_kind(given) == Some(ColumnType::FloatList) {
        Ok(place)
    } else {
        Err(FileError::NoDimension {
            name: name.to_owned(),
            detail: format!("it is {given}; vectors are lists of numbers, or a .npy file"),
        })
    }
}
