//! A collection whose every version can be computed without a database.

use std::collections::BTreeMap;
use std::path::Path;

use sidereus::engine::{Db, DbOptions, Write, WriteMode};
use sidereus::query::{Query, Term, search};
use sidereus::schema::{ColumnType, Object, ObjectId, SpaceId, Value};
use sidereus::sky::{Degrees, Position};
use sidereus::vector::Metric;

use super::made::{schema, space};

/// Name of the collection.
pub(crate) const NAME: &str = "sky";

/// Ids are below this.
const IDS: u64 = 3_000;

/// Components of a vector.
pub(crate) const DIMENSION: usize = 8;

/// Writes of one batch.
const BATCH: u64 = 80;

/// Version at which each object was written last.
pub(crate) type Model = BTreeMap<i64, u64>;

/// A small generator of numbers that everybody can repeat.
pub(crate) fn mixed(seed: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    x ^= x >> 31;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 29)
}

/// A number from 0 to 1.
fn share(seed: u64) -> f64 {
    (mixed(seed) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Opens a database that builds nothing of its own accord.
pub(crate) fn open(path: &Path) -> Db {
    Db::open(options(path)).expect("opens")
}

/// Options of a small database.
pub(crate) fn options(path: &Path) -> DbOptions {
    let mut options = DbOptions { auto_index_rows: None, ..DbOptions::new(path) };
    options.store.cache_bytes = 16 << 20;
    options.store.write_buffer_bytes = 4 << 20;
    options.store.background_jobs = 2;
    options.store.bulk_bytes_min = 0;
    options
}

/// Makes the collection.
pub(crate) fn create(db: &Db) {
    let columns = [("version", ColumnType::Int64), ("z", ColumnType::Float64)];
    let spaces = vec![space("v", DIMENSION, Metric::L2)];
    db.create_collection(schema(NAME, &columns, spaces)).expect("creates");
}

/// The vector of an object that was written at a version; its first component is never 0.
pub(crate) fn vector(id: i64, version: u64) -> Vec<f32> {
    let seed = (id as u64) << 32 | version;
    let part = |place: usize| share(seed.wrapping_add(1 + place as u64 * 0x0101_0101)) as f32;
    (0..DIMENSION).map(|place| if place == 0 { 0.5 + part(0) } else { part(place) }).collect()
}

/// An object as it is written at a version.
pub(crate) fn object(id: i64, version: u64) -> Object {
    let seed = mixed(id as u64) ^ version;
    let (ra, dec) = (share(seed) * 360.0, share(seed ^ 0x4d) * 178.0 - 89.0);
    Object {
        id: ObjectId::Number(id),
        position: Position::new(Degrees(ra), Degrees(dec)).expect("a position"),
        columns: vec![Value::Int64(version as i64), Value::Float64(share(seed ^ 5))],
        vectors: vec![(SpaceId(1), vector(id, version))],
    }
}

/// What leads to a version: each id, and whether it is written or deleted.
pub(crate) fn batch(version: u64) -> Vec<(i64, bool)> {
    // One object is in every batch, so that every batch changes something.
    let mut writes = vec![(-1, true)];
    for place in 0..BATCH {
        let number = mixed(version * 1_000 + place);
        let id = (number % IDS) as i64;
        if writes.iter().all(|(other, _)| *other != id) {
            writes.push((id, !(number >> 40).is_multiple_of(9)));
        }
    }
    writes
}

/// Writes the batch that leads to a version.
pub(crate) fn write(db: &Db, version: u64) {
    let write = |(id, is_put): (i64, bool)| match is_put {
        true => Write::Put(object(id, version)),
        false => Write::Delete(ObjectId::Number(id)),
    };
    let mode = if version.is_multiple_of(3) { WriteMode::Bulk } else { WriteMode::Logged };
    let writes = batch(version).into_iter().map(write).collect();
    let report = db.write(NAME, mode, writes).expect("writes");
    assert_eq!(report.version, version, "every batch is one version");
}

/// Does in the model what the batch does.
pub(crate) fn apply(model: &mut Model, version: u64) {
    for (id, is_put) in batch(version) {
        if is_put {
            model.insert(id, version);
        } else {
            model.remove(&id);
        }
    }
}

/// The model of a version.
pub(crate) fn model_at(version: u64) -> Model {
    let mut model = Model::new();
    (1..=version).for_each(|version| apply(&mut model, version));
    model
}

/// What is wrong with a collection that should be as the model; `None` when nothing is.
pub(crate) fn difference(db: &Db, name: &str, model: &Model) -> Option<String> {
    match try_difference(db, name, model) {
        Ok(found) => found,
        Err(error) => Some(error.to_string()),
    }
}

/// The same, with an error of the database apart from a wrong answer.
pub(crate) fn try_difference(
    db: &Db,
    name: &str,
    model: &Model,
) -> Result<Option<String>, sidereus::engine::EngineError> {
    let ids: Vec<ObjectId> = (-1..IDS as i64).map(ObjectId::Number).collect();
    let info = db.collection(name)?;
    if info.object_count != model.len() as u64 {
        return Ok(Some(format!("{} objects instead of {}", info.object_count, model.len())));
    }
    for (id, found) in (-1..IDS as i64).zip(db.get(name, &ids)?) {
        let wanted = model.get(&id).map(|version| object(id, *version));
        if found != wanted {
            return Ok(Some(format!("object {id} is {found:?} instead of {wanted:?}")));
        }
    }
    Ok(None)
}

/// The query of a number: the nearest to a vector, some under a predicate.
pub(crate) fn query(number: u64, exact: bool) -> Query {
    let term = Term { vectors: vec![vector(number as i64 + 10_000, number)], ..Term::default() };
    let predicate = number.is_multiple_of(4).then(|| format!("z < {}", 0.1 + share(number)));
    Query { terms: vec![term], k: Some(10), predicate, exact, ..Query::default() }
}

/// Hits of the queries of so many numbers, bit by bit.
///
/// # Errors
/// The first error of the database, as text.
pub(crate) fn answers(db: &Db, name: &str, count: u64, exact: bool) -> Result<Vec<String>, String> {
    let view = db.view(name).map_err(|error| error.to_string())?;
    (0..count)
        .map(|number| {
            let answer = search(&view, &query(number, exact)).map_err(|error| error.to_string())?;
            let hits = answer.hits.iter().map(|hit| {
                format!("{}:{:016x}", hit.id, hit.distance.unwrap_or(f64::NAN).to_bits())
            });
            Ok(hits.collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// The first answer to the same queries that is not what comparing everything in the model finds. Squares of distances that
/// are equal in single precision may come in either order.
pub(crate) fn wrong_answer(model: &Model, answers: &[String]) -> Option<String> {
    let objects: Vec<(i64, Object)> =
        model.iter().map(|(id, version)| (*id, object(*id, *version))).collect();
    (0..).zip(answers).find_map(|(number, answer)| {
        let wanted = vector(number as i64 + 10_000, number);
        let below = number.is_multiple_of(4).then(|| 0.1 + share(number));
        let mut near: Vec<(f64, i64)> = objects
            .iter()
            .filter(|(_, object)| match (&object.columns[1], below) {
                (Value::Float64(z), Some(below)) => *z < below,
                _ => true,
            })
            .map(|(id, object)| {
                let squares = object.vectors[0].1.iter().zip(&wanted);
                let sum: f64 = squares.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
                (sum, *id)
            })
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        let squares: BTreeMap<i64, f64> = near.iter().map(|(sum, id)| (*id, *sum)).collect();
        let found = ids_of(answer);
        let is_as_near = |(id, (wanted, _)): (&i64, &(f64, i64))| {
            squares.get(id).is_some_and(|found| (found - wanted).abs() <= 1e-6 * wanted.max(1.0))
        };
        let mut once = found.clone();
        once.sort_unstable();
        once.dedup();
        let is_right = found.len() == near.len().min(10)
            && once.len() == found.len()
            && found.iter().zip(&near).all(is_as_near);
        let ids = || near.iter().take(10).map(|(_, id)| *id).collect::<Vec<_>>();
        (!is_right).then(|| format!("query {number} finds {found:?} instead of {:?}", ids()))
    })
}

/// Ids of hits as [`answers`] writes them.
pub(crate) fn ids_of(answer: &str) -> Vec<i64> {
    let id = |hit: &str| hit.split(':').next().and_then(|id| id.parse().ok()).expect("an id");
    answer.split_whitespace().map(id).collect()
}
