//! Gives hits their columns: resident ones from the part, the others from the store.

use super::answer::Hit;
use super::bind::Bound;
use super::error::QueryError;
use super::execute::Found;
use super::request::Query;
use crate::engine::{BUILT_IN_COUNT, CollectionView, LivePart, is_resident};
use crate::schema::{ColumnType, Object, Value};
use crate::vector::Distance;

/// Most bytes of stored columns and vectors that one answer holds.
pub(super) const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Objects read from the store at once.
const PAGE_OBJECTS: usize = 256;

/// Where a column's values are.
enum Source {
    /// Place in the resident schema.
    Resident(usize),
    /// Place in the collection's schema.
    Stored(usize),
}

struct Wanted {
    name: String,
    source: Source,
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
    let stored = if needs_store { fetch(view, &parts, query, &nearest)? } else { Vec::new() };
    let mut hits = Vec::with_capacity(nearest.len());
    for (place, (distance, found)) in nearest.into_iter().enumerate() {
        let Some(live) = parts.get(found.part) else { continue };
        let Some(position) = live.part().position_at(found.row) else { continue };
        let object = stored.get(place).and_then(Option::as_ref);
        let columns = wanted
            .iter()
            .map(|column| (column.name.clone(), value(column, live, found.row, object)))
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
    let is_stored = |column: &Wanted| matches!(column.source, Source::Stored(_));
    (!wanted.iter().any(is_stored)).then_some(wanted.len())
}

fn wanted_columns(view: &CollectionView, query: &Query) -> Result<Vec<Wanted>, QueryError> {
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
        return Ok(default.map(|(_, wanted)| wanted).collect());
    };
    let mut chosen = Vec::with_capacity(names.len());
    for (rank, name) in names.iter().enumerate() {
        if names[..rank].iter().any(|earlier| earlier.eq_ignore_ascii_case(name)) {
            continue;
        }
        let Some(place) = all.iter().position(|(column, _)| column.name.eq_ignore_ascii_case(name))
        else {
            // Built-in columns are part of every hit.
            if crate::schema::RESERVED_COLUMNS
                .iter()
                .any(|built_in| built_in.eq_ignore_ascii_case(name))
            {
                continue;
            }
            let known: Vec<&str> =
                schema.columns.iter().map(|column| column.name.as_str()).collect();
            return Err(QueryError::UnknownColumn {
                column: name.clone(),
                known: known.join(", "),
            });
        };
        chosen.push(all.swap_remove(place).1);
    }
    Ok(chosen)
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

fn value(column: &Wanted, live: &LivePart, row: usize, object: Option<&Object>) -> Value {
    match column.source {
        Source::Resident(place) => live.part().value_at(place, row),
        Source::Stored(place) => {
            object.and_then(|object| object.columns.get(place)).cloned().unwrap_or(Value::Null)
        }
    }
}

fn vectors_of(view: &CollectionView, object: Option<&Object>) -> Vec<(String, Vec<f32>)> {
    let Some(object) = object else { return Vec::new() };
    let named = object.vectors.iter().filter_map(|(space, vector)| {
        view.schema().space_by_id(*space).map(|space| (space.name.clone(), vector.clone()))
    });
    named.collect()
}
