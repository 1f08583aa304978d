//! Gives hits their columns: resident ones from the part, the others from the store.

use std::collections::HashMap;

use super::answer::Hit;
use super::bind::Bound;
use super::error::QueryError;
use super::execute::Found;
use super::request::Query;
use crate::engine::{
    BUILT_IN_COUNT, CollectionView, DerivedValues, EngineError, HEALPIX_29, LivePart, is_resident,
};
use crate::schema::{ColumnType, Object, Value, is_always_returned, is_built_in};
use crate::vector::Distance;

/// Most bytes of stored columns and vectors that one answer holds.
pub(super) const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Objects read from the store at once.
const PAGE_OBJECTS: usize = 256;

/// Where a column's values are.
pub(super) enum Source {
    /// Place in the resident schema.
    Resident(usize),
    /// Place in the collection's schema.
    Stored(usize),
    /// Place among the derived columns.
    Derived(usize),
}

/// A column of an answer.
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) source: Source,
}

pub(super) fn hydrate(
    view: &CollectionView,
    query: &Query,
    bound: &Bound,
    nearest: Vec<(Distance, Found)>,
) -> Result<Vec<Hit>, QueryError> {
    let wanted = wanted_columns(view, query)?;
    let parts = view.parts();
    let needs_store = query.with_vectors
        || wanted.iter().any(|column| matches!(column.source, Source::Stored(_)));
    let derived = Derived::of_hits(view, &parts, query, &wanted, &nearest)?;
    let stored = if needs_store { fetch(view, &parts, query, &nearest)? } else { Vec::new() };
    let mut hits = Vec::with_capacity(nearest.len());
    for (place, (distance, found)) in nearest.into_iter().enumerate() {
        let Some(live) = parts.get(found.part) else { continue };
        let Some(position) = live.part().position_at(found.row) else { continue };
        let object = stored.get(place).and_then(Option::as_ref);
        let columns = wanted
            .iter()
            .map(|column| {
                let value = match column.source {
                    Source::Resident(place) => live.part().value_at(place, found.row),
                    Source::Stored(place) => stored_value(object, place),
                    Source::Derived(place) => derived.value(place, &found),
                };
                (column.name.clone(), value)
            })
            .collect();
        let has_terms = !bound.targets.is_empty();
        let score = match bound.metric() {
            Some(metric) => metric.score(distance),
            None => -distance.value(),
        };
        hits.push(Hit {
            id: found.id,
            position,
            distance: has_terms.then(|| distance.value()),
            score: has_terms.then_some(score),
            columns,
            vectors: if query.with_vectors { vectors_of(view, object) } else { Vec::new() },
            beside: Vec::new(),
        });
    }
    Ok(hits)
}

/// Columns of every hit, where none of them has to be fetched from the store. One that does not exist is told by the search
/// itself.
pub(super) fn resident_width(view: &CollectionView, query: &Query) -> Option<usize> {
    let Ok(wanted) = wanted_columns(view, query) else { return Some(0) };
    let is_resident = |column: &Wanted| matches!(column.source, Source::Resident(_));
    wanted.iter().all(is_resident).then_some(wanted.len())
}

/// The columns of an answer; all but binary ones where a query names none.
pub(super) fn wanted_columns(
    view: &CollectionView,
    query: &Query,
) -> Result<Vec<Wanted>, QueryError> {
    let schema = view.schema();
    let mut resident_place = BUILT_IN_COUNT;
    let mut all = Vec::with_capacity(schema.columns.len());
    for (place, column) in schema.columns.iter().enumerate() {
        let source = if is_resident(column.kind) {
            resident_place += 1;
            Source::Resident(resident_place - 1)
        } else {
            Source::Stored(place)
        };
        all.push((column, Wanted { name: column.name.clone(), source }));
    }
    let Some(names) = &query.columns else {
        let default = all.into_iter().filter(|(column, _)| column.kind != ColumnType::Binary);
        let ordered = query.order_by.as_ref().and_then(|order| derived_column(view, &order.column));
        return Ok(default.map(|(_, wanted)| wanted).chain(ordered).collect());
    };
    let mut chosen = Vec::with_capacity(names.len());
    for (rank, name) in names.iter().enumerate() {
        if names[..rank].iter().any(|earlier| earlier.eq_ignore_ascii_case(name)) {
            continue;
        }
        let Some(place) = all.iter().position(|(column, _)| column.name.eq_ignore_ascii_case(name))
        else {
            if let Some(wanted) = derived_column(view, name) {
                chosen.push(wanted);
                continue;
            }
            if is_always_returned(name) {
                continue;
            }
            if is_built_in(name) {
                let place = view.arrow_schema().index_of(HEALPIX_29).map_err(EngineError::from)?;
                let source = Source::Resident(place);
                chosen.push(Wanted { name: HEALPIX_29.to_owned(), source });
                continue;
            }
            let stored = schema.columns.iter().map(|column| column.name.as_str());
            let derived = view.formulas().columns().map(|column| column.name.as_str());
            let known: Vec<&str> = stored.chain(derived).collect();
            return Err(QueryError::UnknownColumn {
                column: name.clone(),
                known: known.join(", "),
            });
        };
        chosen.push(all.swap_remove(place).1);
    }
    Ok(chosen)
}

fn derived_column(view: &CollectionView, name: &str) -> Option<Wanted> {
    let place = view.formulas().place(name)?;
    let name = view.formulas().column(place)?.name.clone();
    Some(Wanted { name, source: Source::Derived(place) })
}

/// The hits' objects as the store has them now; an object that was deleted since the view was made is `None`.
fn fetch(
    view: &CollectionView,
    parts: &[&LivePart],
    query: &Query,
    nearest: &[(Distance, Found)],
) -> Result<Vec<Option<Object>>, QueryError> {
    let keys: Vec<_> = nearest
        .iter()
        .filter_map(|(_, found)| parts.get(found.part)?.part().key_at(view.collection(), found.row))
        .collect();
    let mut objects = Vec::with_capacity(keys.len());
    let mut size_bytes = 0;
    for page in keys.chunks(PAGE_OBJECTS) {
        query.stop.check()?;
        for entry in view.fetch(page, query.with_vectors)? {
            let object = entry.map(|(_, object)| object);
            size_bytes += object.as_ref().map_or(0, object_bytes);
            objects.push(object);
        }
        if size_bytes > ANSWER_BYTES_MAX {
            return Err(QueryError::AnswerTooLarge);
        }
    }
    Ok(objects)
}

/// Bytes of an object's long values and vectors.
fn object_bytes(object: &Object) -> usize {
    let vectors: usize = object.vectors.iter().map(|(_, vector)| size_of_val(&vector[..])).sum();
    let columns = object.columns.iter().map(|value| match value {
        Value::Binary(bytes) => bytes.len(),
        Value::FloatList(values) => size_of_val(&values[..]),
        Value::Text(text) => text.len(),
        Value::Null
        | Value::Boolean(_)
        | Value::Int64(_)
        | Value::Float32(_)
        | Value::Float64(_) => 0,
    });
    vectors + columns.sum::<usize>()
}

fn stored_value(object: Option<&Object>, place: usize) -> Value {
    object.and_then(|object| object.columns.get(place)).cloned().unwrap_or(Value::Null)
}

/// Values of derived columns of the hits.
#[derive(Default)]
struct Derived {
    /// Places of the columns.
    columns: Vec<usize>,
    /// For each part with hits their rows, ascending, and their values, column by column.
    parts: HashMap<usize, (Vec<u32>, Vec<DerivedValues>)>,
}

impl Derived {
    fn of_hits(
        view: &CollectionView,
        parts: &[&LivePart],
        query: &Query,
        wanted: &[Wanted],
        nearest: &[(Distance, Found)],
    ) -> Result<Self, QueryError> {
        let place = |wanted: &Wanted| match wanted.source {
            Source::Derived(place) => Some(place),
            Source::Resident(_) | Source::Stored(_) => None,
        };
        let columns: Vec<usize> = wanted.iter().filter_map(place).collect();
        if columns.is_empty() {
            return Ok(Self::default());
        }
        let mut rows: HashMap<usize, Vec<u32>> = HashMap::new();
        for (_, found) in nearest {
            rows.entry(found.part).or_default().push(found.row as u32);
        }
        let mut of_parts = HashMap::new();
        for (part, mut rows) in rows {
            let Some(live) = parts.get(part) else { continue };
            rows.sort_unstable();
            rows.dedup();
            let values = view.derive(live, &columns, &rows, &|| query.stop.is_raised())?;
            of_parts.insert(part, (rows, values.ok_or(QueryError::Stopped)?));
        }
        Ok(Self { columns, parts: of_parts })
    }

    fn value(&self, column: usize, found: &Found) -> Value {
        let place = self.columns.iter().position(|other| *other == column);
        let value = place.zip(self.parts.get(&found.part)).and_then(|(place, (rows, values))| {
            let row = rows.binary_search(&(found.row as u32)).ok()?;
            Some(values.get(place)?.value(row))
        });
        value.unwrap_or(Value::Null)
    }
}

fn vectors_of(view: &CollectionView, object: Option<&Object>) -> Vec<(String, Vec<f32>)> {
    let Some(object) = object else { return Vec::new() };
    let named = object.vectors.iter().filter_map(|(space, vector)| {
        view.schema().space_by_id(*space).map(|space| (space.name.clone(), vector.clone()))
    });
    named.collect()
}
