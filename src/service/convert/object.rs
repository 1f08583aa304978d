//! Objects, ids, positions and values.

use std::collections::HashMap;

use crate::schema::{CollectionSchema, Object, ObjectId, SchemaError, SpaceId, Value};
use crate::service::RequestError;
use crate::sky::{Degrees, Position};
use crate::wire::v1;

/// A row of a batch that passed every check, with the columns that it named.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::service) struct GivenRow {
    /// The object; columns that were not named are null.
    pub(in crate::service) object: Object,
    /// For each column of the schema, whether the row named it.
    pub(in crate::service) columns_given: Vec<bool>,
    /// Its tokens, by space.
    pub(in crate::service) tokens: Vec<(SpaceId, v1::TokenSequence)>,
}

/// Reads an object id of a collection.
pub(in crate::service) fn object_id(
    schema: &CollectionSchema,
    id: Option<v1::ObjectId>,
) -> Result<ObjectId, RequestError> {
    let id = match id.and_then(|id| id.id) {
        None => return Err(RequestError::Missing { field: "id" }),
        Some(v1::object_id::Id::Number(number)) => ObjectId::Number(number),
        Some(v1::object_id::Id::Text(text)) => ObjectId::Text(text),
    };
    schema.check_id(&id)?;
    Ok(id)
}

/// Reads the object ids of a request.
pub(in crate::service) fn object_ids(
    schema: &CollectionSchema,
    ids: Vec<v1::ObjectId>,
) -> Result<Vec<ObjectId>, RequestError> {
    ids.into_iter().map(|id| object_id(schema, Some(id))).collect()
}

/// Writes an object id.
pub(in crate::service) fn object_id_of(id: ObjectId) -> v1::ObjectId {
    id.into()
}

/// What to call a row in a report: its id as text, or nothing.
pub(in crate::service) fn row_name(object: &v1::Object) -> String {
    match object.id.as_ref().and_then(|id| id.id.as_ref()) {
        None => String::new(),
        Some(v1::object_id::Id::Number(number)) => number.to_string(),
        Some(v1::object_id::Id::Text(text)) => text.chars().take(ObjectId::TEXT_LEN_MAX).collect(),
    }
}

/// Reads a position.
pub(super) fn position(
    field: &'static str,
    position: Option<v1::Position>,
) -> Result<Position, RequestError> {
    let position = position.ok_or(RequestError::Missing { field })?;
    Ok(Position::new(Degrees(position.ra), Degrees(position.dec))?)
}

/// Writes a position.
pub(in crate::service) fn position_of(position: Position) -> v1::Position {
    position.into()
}

/// Reads and checks one object to be written.
pub(in crate::service) fn given_row(
    schema: &CollectionSchema,
    object: v1::Object,
) -> Result<GivenRow, RequestError> {
    let id = object_id(schema, object.id)?;
    let position = position("position", object.position)?;
    let mut columns = vec![Value::Null; schema.columns.len()];
    let mut columns_given = vec![false; schema.columns.len()];
    for (name, value) in object.columns {
        let place = schema.column_place(&name).ok_or_else(|| RequestError::UnknownColumn {
            collection: schema.name.clone(),
            column: name.clone(),
        })?;
        if columns_given[place] {
            return Err(RequestError::GivenTwice { name });
        }
        let column = &schema.columns[place];
        let value = value_from(value);
        let given = value.kind();
        columns[place] = match (value.cast(column.kind), given) {
            (Some(value), _) => value,
            (None, None) => Value::Null,
            (None, Some(given)) => {
                let column_name = column.name.clone();
                return Err(SchemaError::WrongType {
                    column: column_name,
                    expected: column.kind,
                    given,
                }
                .into());
            }
        };
        columns_given[place] = true;
    }
    let mut vectors = Vec::with_capacity(object.vectors.len());
    for (name, vector) in object.vectors {
        let space = schema.space(&name).ok_or_else(|| unknown_space(schema, &name))?;
        vectors.push((space.id, vector.values));
    }
    // A map has no order; the store's order of vectors is by space.
    vectors.sort_by_key(|(space, _)| *space);
    let mut tokens = Vec::with_capacity(object.tokens.len());
    for (name, sequence) in object.tokens {
        let space = schema.space(&name).ok_or_else(|| unknown_space(schema, &name))?;
        tokens.push((space.id, sequence));
    }
    tokens.sort_by_key(|(space, _)| *space);
    schema.check_all_tokens(&tokens)?;
    let object = Object { id, position, columns, vectors };
    schema.check(&object)?;
    Ok(GivenRow { object, columns_given, tokens })
}

/// The refusal of a space name.
pub(super) fn unknown_space(schema: &CollectionSchema, name: &str) -> RequestError {
    let names: Vec<&str> = schema.spaces.iter().map(|space| space.name.as_str()).collect();
    RequestError::UnknownSpace {
        collection: schema.name.clone(),
        space: name.to_owned(),
        known: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
    }
}

/// Writes an object as it is stored. Nulls are left out.
pub(in crate::service) fn object_of(
    schema: &CollectionSchema,
    object: Object,
    with_vectors: bool,
) -> v1::Object {
    let columns = schema
        .columns
        .iter()
        .zip(object.columns)
        .filter_map(|(column, value)| Some((column.name.clone(), value_of(value)?)))
        .collect();
    let vectors = if with_vectors {
        object
            .vectors
            .into_iter()
            .filter_map(|(id, values)| {
                Some((schema.space_by_id(id)?.name.clone(), v1::Vector { values }))
            })
            .collect()
    } else {
        HashMap::new()
    };
    v1::Object {
        tokens: HashMap::new(),
        id: Some(object_id_of(object.id)),
        position: Some(position_of(object.position)),
        columns,
        vectors,
    }
}

fn value_from(value: v1::Value) -> Value {
    match value.kind {
        None => Value::Null,
        Some(v1::value::Kind::Boolean(truth)) => Value::Boolean(truth),
        Some(v1::value::Kind::Integer(number)) => Value::Int64(number),
        Some(v1::value::Kind::Real(number)) => Value::Float64(number),
        Some(v1::value::Kind::Text(text)) => Value::Text(text),
        Some(v1::value::Kind::Binary(bytes)) => Value::Binary(bytes),
        Some(v1::value::Kind::Floats(list)) => Value::FloatList(list.values),
    }
}

/// Writes a value; `None` for a null, which is left out.
pub(super) fn value_of(value: Value) -> Option<v1::Value> {
    let kind = match value {
        Value::Null => return None,
        Value::Boolean(truth) => v1::value::Kind::Boolean(truth),
        Value::Int64(number) => v1::value::Kind::Integer(number),
        Value::Float32(number) => v1::value::Kind::Real(f64::from(number)),
        Value::Float64(number) => v1::value::Kind::Real(number),
        Value::Text(text) => v1::value::Kind::Text(text),
        Value::Binary(bytes) => v1::value::Kind::Binary(bytes),
        Value::FloatList(values) => v1::value::Kind::Floats(v1::FloatList { values }),
    };
    Some(v1::Value { kind: Some(kind) })
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
