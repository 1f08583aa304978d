//! The objects that a probe is fitted on, measured on or applied to, in the order of their keys.

use std::ops::Range;

use super::ProbeError;
use crate::engine::{BUILT_IN_COUNT, CollectionView, LivePart, Still, is_resident};
use crate::query::{self, StopFlag};
use crate::schema::{ColumnType, ObjectId, SpaceId, Value};
use crate::sky::Position;
use crate::storage::ObjectKey;

/// One object.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: ObjectKey,
    part: u32,
    row: u32,
}

/// Objects of a view.
pub(super) struct Table<'v> {
    view: &'v CollectionView,
    parts: Vec<&'v LivePart>,
    entries: Vec<Entry>,
}

impl<'v> Table<'v> {
    /// The objects that satisfy a predicate.
    ///
    /// # Errors
    /// Those of the predicate, and [`QueryError::Stopped`](crate::query::QueryError).
    pub(super) fn choose(
        view: &'v CollectionView,
        predicate: Option<&str>,
        stop: &StopFlag,
    ) -> Result<Self, ProbeError> {
        let parts = view.parts();
        let mut entries = Vec::new();
        let rows = query::rows(view, None, predicate, stop)?;
        for ((number, live), rows) in (0u32..).zip(&parts).zip(rows) {
            let entry = |row: u32| {
                let key = live.part().key_at(view.collection(), row as usize)?;
                Some(Entry { key, part: number, row })
            };
            entries.extend(rows.into_iter().filter_map(entry));
        }
        // Parts are sorted, one behind the other: a merge of a few runs.
        entries.sort_by_key(|entry| entry.key);
        Ok(Self { view, parts, entries })
    }

    /// Those of some objects that the view has, by the id of each and the key that it had.
    ///
    /// # Errors
    /// Those of the store, which is asked for objects that have moved.
    pub(super) fn of(
        view: &'v CollectionView,
        objects: &[(ObjectKey, ObjectId)],
    ) -> Result<Self, ProbeError> {
        let parts = view.parts();
        let find = |key: ObjectKey, id: &ObjectId| {
            let mut numbered = (0u32..).zip(&parts);
            numbered.find_map(|(number, live)| {
                let row = live.part().row_of(key)?;
                let is_it = !live.dead().contains(row as u32)
                    && live.part().id_at(row).is_some_and(|other| other == *id);
                is_it.then_some(Entry { key, part: number, row: row as u32 })
            })
        };
        let mut entries = Vec::with_capacity(objects.len());
        let mut elsewhere = Vec::new();
        for (key, id) in objects {
            match find(*key, id) {
                Some(entry) => entries.push(entry),
                None => elsewhere.push(id.clone()),
            }
        }
        if !elsewhere.is_empty() {
            // Deleted, or at another place of the sky.
            let found = view.columns_of(&elsewhere)?.into_iter().flatten();
            entries.extend(found.filter_map(|(key, object)| find(key, &object.id)));
        }
        entries.sort_by_key(|entry| entry.key);
        Ok(Self { view, parts, entries })
    }

    pub(super) fn view(&self) -> &'v CollectionView {
        self.view
    }

    /// Key and id of each object.
    pub(super) fn objects(&self) -> Vec<(ObjectKey, ObjectId)> {
        (0..self.count()).map(|place| (self.key(place), self.id(place))).collect()
    }

    /// Takes out the objects that were written again since the view was made.
    pub(super) fn take_changed(&mut self, still: &Still<'_>) -> Vec<(ObjectKey, ObjectId)> {
        let is_kept: Vec<bool> = self.keys().map(|key| !still.is_changed(&key)).collect();
        let is_changed = |place: &usize| !is_kept[*place];
        let changed = (0..self.count()).filter(is_changed);
        let changed = changed.map(|place| (self.key(place), self.id(place))).collect();
        self.retain(&is_kept);
        changed
    }

    /// The live part and the row of an object.
    pub(super) fn row(&self, place: usize) -> (&'v LivePart, u32) {
        let (live, row) = self.of_place(place);
        (live, row as u32)
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn key(&self, place: usize) -> ObjectKey {
        self.entries[place].key
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        self.entries.iter().map(|entry| entry.key)
    }

    fn of_place(&self, place: usize) -> (&'v LivePart, usize) {
        let entry = self.entries[place];
        (self.parts[entry.part as usize], entry.row as usize)
    }

    /// The id of an object; rows without one do not exist.
    pub(super) fn id(&self, place: usize) -> ObjectId {
        let (live, row) = self.of_place(place);
        live.part().id_at(row).unwrap_or(ObjectId::Number(0))
    }

    pub(super) fn position(&self, place: usize) -> Option<Position> {
        let (live, row) = self.of_place(place);
        live.part().position_at(row)
    }

    pub(super) fn value(&self, column: &Column, place: usize) -> Value {
        let (live, row) = self.of_place(place);
        live.part().value_at(column.place, row)
    }

    /// Numbers of a column: NaN where there is none, flags as 0 and 1.
    pub(super) fn numbers(&self, column: &Column) -> Vec<f64> {
        (0..self.count()).map(|place| number(&self.value(column, place))).collect()
    }

    /// Whether each object has a vector in every one of some spaces.
    pub(super) fn have_vectors(&self, spaces: &[SpaceId]) -> Vec<bool> {
        let has = |place: usize| {
            let (live, row) = self.of_place(place);
            spaces.iter().all(|space| {
                let vectors = live.part().vectors(*space);
                vectors.is_some_and(|vectors| vectors.vector_of(row).is_some())
            })
        };
        (0..self.count()).map(has).collect()
    }

    /// Some of the objects, in their order.
    pub(super) fn page(&self, places: Range<usize>) -> Self {
        let entries = self.entries.get(places).unwrap_or(&[]).to_vec();
        Self { view: self.view, parts: self.parts.clone(), entries }
    }

    /// Keeps the objects for which `keep` holds.
    pub(super) fn retain(&mut self, keep: &[bool]) {
        let mut keep = keep.iter();
        self.entries.retain(|_| keep.next().copied().unwrap_or(false));
    }
}

/// A column that is kept beside the vectors.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ColumnType,
    /// Place in the resident schema.
    place: usize,
}

impl Column {
    pub(super) fn is_number(&self) -> bool {
        matches!(
            self.kind,
            ColumnType::Int64 | ColumnType::Float32 | ColumnType::Float64 | ColumnType::Boolean
        )
    }
}

/// Place of a column in the resident schema, its type, and its name as the schema has it.
///
/// # Errors
/// [`ProbeError::UnknownColumn`]; [`ProbeError::BadSpec`] for a column that is not resident.
pub(super) fn find_column(view: &CollectionView, name: &str) -> Result<Column, ProbeError> {
    let schema = view.schema();
    let mut place = BUILT_IN_COUNT;
    for column in &schema.columns {
        if column.name.eq_ignore_ascii_case(name) {
            if !is_resident(column.kind) {
                return Err(ProbeError::bad(
                    format!("column `{}` is of type {}", column.name, column.kind),
                    "name a column of numbers, flags or texts",
                ));
            }
            return Ok(Column { name: column.name.clone(), kind: column.kind, place });
        }
        place += usize::from(is_resident(column.kind));
    }
    let known: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    Err(ProbeError::UnknownColumn {
        collection: schema.name.clone(),
        column: name.to_owned(),
        known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
    })
}

/// A value as a number: NaN where it is none.
pub(super) fn number(value: &Value) -> f64 {
    match value {
        Value::Float64(number) => *number,
        Value::Float32(number) => f64::from(*number),
        Value::Int64(number) => *number as f64,
        Value::Boolean(flag) => f64::from(u8::from(*flag)),
        Value::Null | Value::Text(_) | Value::Binary(_) | Value::FloatList(_) => f64::NAN,
    }
}

/// A value as the name of a class; `None` where there is none.
pub(super) fn label(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Int64(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        // Both zeros are equal, and one class: the sum has no sign.
        Value::Float64(number) if number.is_finite() => Some((number + 0.0).to_string()),
        Value::Float32(number) if number.is_finite() => Some((number + 0.0).to_string()),
        Value::Null
        | Value::Float64(_)
        | Value::Float32(_)
        | Value::Binary(_)
        | Value::FloatList(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_zeros_are_one_class() {
        for zero in [0.0, -0.0] {
            assert_eq!(label(&Value::Float64(zero)).as_deref(), Some("0"));
            assert_eq!(label(&Value::Float32(zero as f32)).as_deref(), Some("0"));
        }
        assert_eq!(label(&Value::Float64(-0.5)).as_deref(), Some("-0.5"));
        assert_eq!(label(&Value::Float64(f64::NAN)), None);
    }
}
