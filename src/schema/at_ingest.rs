//! Spaces whose vectors the server makes of the columns of objects as they arrive.

use std::collections::BTreeMap;

use super::{CollectionSchema, EmbeddingSpace, SchemaError, SpaceId, Value};

/// How a space is filled as objects arrive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AtIngest {
    /// For each input of the model the column that it comes from, or `COLUMN[ELEMENT]` of a list; empty for an input that
    /// is left out. Inputs that are not named come from columns of their own names.
    pub inputs: BTreeMap<String, String>,
}

/// A space that is filled at ingest, and the places of the columns that its vectors are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FedSpace {
    /// The space.
    pub space: SpaceId,
    /// Places of its columns, ascending.
    pub places: Vec<usize>,
}

impl FedSpace {
    /// Whether one of the columns that are given is another value than before. NaN equals itself here: it is the same input.
    pub fn differs(&self, before: &[Value], now: &[Value]) -> bool {
        let mut values = self.places.iter().map(|&place| (before.get(place), now.get(place)));
        values.any(|pair| match pair {
            (Some(before), Some(now)) => !is_same(before, now),
            (before, now) => before != now,
        })
    }
}

fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float32(left), Value::Float32(right)) => left.to_bits() == right.to_bits(),
        (Value::Float64(left), Value::Float64(right)) => left.to_bits() == right.to_bits(),
        (Value::FloatList(left), Value::FloatList(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| left.to_bits() == right.to_bits())
        }
        (left, right) => left == right,
    }
}

impl CollectionSchema {
    /// The place of a column, and the element of its list, of what is written `COLUMN` or `COLUMN[ELEMENT]`.
    pub fn column_element(&self, written: &str) -> Option<(usize, Option<usize>)> {
        if let Some(place) = self.column_place(written) {
            return Some((place, None));
        }
        let (name, rest) = written.strip_suffix(']')?.split_once('[')?;
        let element = rest.trim().parse().ok()?;
        Some((self.column_place(name.trim_end())?, Some(element)))
    }

    /// The spaces that are filled at ingest.
    pub fn fed_spaces(&self) -> Vec<FedSpace> {
        let of_space = |space: &EmbeddingSpace| {
            let inputs = &space.at_ingest.as_ref()?.inputs;
            let places = inputs.values().filter_map(|written| self.column_element(written));
            let mut places: Vec<usize> = places.map(|(place, _)| place).collect();
            places.sort_unstable();
            places.dedup();
            Some(FedSpace { space: space.id, places })
        };
        self.spaces.iter().filter_map(of_space).collect()
    }
}

/// Refuses to fill a space that no model fills, or from columns that there are not.
pub(super) fn check(schema: &CollectionSchema, space: &EmbeddingSpace) -> Result<(), SchemaError> {
    let Some(AtIngest { inputs }) = &space.at_ingest else { return Ok(()) };
    if space.provenance.is_external() {
        return Err(SchemaError::AtIngestWithoutModel { space: space.name.clone() });
    }
    let is_column =
        |written: &&String| written.is_empty() || schema.column_element(written).is_some();
    match inputs.iter().find(|(_, written)| !is_column(written)) {
        None => Ok(()),
        Some((input, column)) => Err(SchemaError::AtIngestWithoutColumn {
            space: space.name.clone(),
            input: input.clone(),
            column: column.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Column, ColumnType, IdKind, Modality, Provenance, SpaceForm};
    use crate::vector::Metric;

    fn schema(encoder: &str, inputs: &[(&str, &str)]) -> CollectionSchema {
        let inputs = inputs.iter().map(|&(input, column)| (input.to_owned(), column.to_owned()));
        let space = EmbeddingSpace {
            id: SpaceId(3),
            name: "colours".to_owned(),
            modality: Modality("photometry".to_owned()),
            form: SpaceForm::Vector,
            dimension: 3,
            metric: Metric::L2,
            provenance: Provenance { encoder: encoder.to_owned(), ..Provenance::default() },
            at_ingest: Some(AtIngest { inputs: inputs.collect() }),
            shared: None,
        };
        CollectionSchema {
            name: "galaxies".to_owned(),
            id_kind: IdKind::Number,
            columns: vec![
                Column::new("z", ColumnType::Float64),
                Column::new("fluxes", ColumnType::FloatList),
                Column::new("g", ColumnType::Float32),
            ],
            spaces: vec![space],
            description: String::new(),
        }
    }

    #[test]
    fn a_space_is_fed_by_the_columns_of_its_inputs() {
        let schema = schema("m", &[("a", "FLUXES[1]"), ("b", "g"), ("c", ""), ("d", "fluxes[0]")]);
        schema.validate().expect("a schema");
        let fed = schema.fed_spaces();
        assert_eq!(fed, [FedSpace { space: SpaceId(3), places: vec![1, 2] }]);
        let row = |z: f64, list: f64, g: f32| {
            vec![Value::Float64(z), Value::FloatList(vec![list, f64::NAN]), Value::Float32(g)]
        };
        assert!(!fed[0].differs(&row(1.0, 2.0, f32::NAN), &row(9.0, 2.0, f32::NAN)));
        assert!(fed[0].differs(&row(1.0, 2.0, 1.0), &row(1.0, 3.0, 1.0)));
        assert!(fed[0].differs(&row(1.0, 2.0, 1.0), &row(1.0, 2.0, f32::NAN)));
        let without = vec![Value::Null, Value::Null, Value::Float32(1.0)];
        assert!(fed[0].differs(&row(1.0, 2.0, 1.0), &without));
    }

    #[test]
    fn what_no_model_fills_or_no_column_feeds_is_refused() {
        let refused = schema("external", &[]).validate().expect_err("no model");
        assert!(refused.to_string().contains("made elsewhere"), "{refused}");
        let refused = schema("m", &[("a", "flux")]).validate().expect_err("no such column");
        assert!(refused.to_string().contains("`flux`"), "{refused}");
    }
}
