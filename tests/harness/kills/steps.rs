//! What each writer writes, step by step: a function of the writer's and the step's numbers alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch,
};
use arrow::datatypes::{DataType, Field};
use sidereus::files::encode_ipc;
use sidereus::schema::Value;
use sidereus::wire::v1::{self, IngestBatch, IngestMode, object_id, value};

use super::super::world::{mixed, object};

/// Writers, of which each has ids of its own: what the others do never decides what an object is.
pub(super) const WRITERS: u64 = 3;

/// Ids of one writer, beside the one that is never deleted.
const IDS_OF_ONE: u64 = 1_000;

/// Steps of one stream; the last one is a call that deletes.
const STREAM: u64 = 8;

/// Rows of a step.
const ROWS: u64 = 80;

/// How a step writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whole objects, as messages.
    Objects,
    /// Whole objects, as one Arrow stream.
    Columns,
    /// Positions and one column of objects that keep the rest.
    Merge,
    /// A call that deletes; some of the objects are not there.
    Delete,
}

/// The steps that made an object what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// The step that wrote the position and `z`.
    moved: u64,
    /// The step that wrote `version` and the vector; none did when the first was a merge.
    whole: Option<u64>,
}

impl Held {
    /// What a whole object is after the step that wrote it.
    pub(super) fn new(step: u64) -> Self {
        Self { moved: step, whole: Some(step) }
    }
}

/// All objects of a writer after a step.
pub(super) type State = BTreeMap<i64, Held>;

/// What a step did, as its answer tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) inserted: u64,
    pub(super) replaced: u64,
    pub(super) deleted: u64,
    pub(super) absent: u64,
}

fn seed(writer: u64, step: u64) -> u64 {
    mixed((writer + 1) << 40 | step)
}

/// How a step is written. Steps begin at 1, and the first one writes whole objects.
pub(super) fn kind(writer: u64, step: u64) -> Kind {
    match mixed(seed(writer, step)) % 8 {
        _ if step.is_multiple_of(STREAM) => Kind::Delete,
        _ if step == 1 => Kind::Objects,
        0..3 => Kind::Objects,
        3..6 => Kind::Columns,
        _ => Kind::Merge,
    }
}

/// The mode of the stream that a step belongs to.
pub(super) fn mode(writer: u64, step: u64) -> IngestMode {
    match mixed(seed(writer, step / STREAM) ^ 0x5bd1_e995) % 2 {
        0 => IngestMode::Unspecified,
        _ => IngestMode::Bulk,
    }
}

/// The writer's object that is in every step but the deletes: something always changes, and it is always there.
pub(super) fn lasting(writer: u64) -> i64 {
    -1 - writer as i64
}

/// Every id of all writers.
pub(super) fn every_id() -> impl Iterator<Item = i64> {
    -(WRITERS as i64)..(WRITERS * IDS_OF_ONE) as i64
}

/// Whose object this is.
pub(super) fn writer_of(id: i64) -> u64 {
    if id < 0 { (-1 - id) as u64 } else { id as u64 % WRITERS }
}

/// Ids of a step, each once.
pub(super) fn ids(writer: u64, step: u64) -> Vec<i64> {
    let rows = if kind(writer, step) == Kind::Delete { ROWS / 2 } else { ROWS };
    let mut ids = Vec::with_capacity(rows as usize + 1);
    if kind(writer, step) != Kind::Delete {
        ids.push(lasting(writer));
    }
    for place in 0..rows {
        let number = mixed(seed(writer, step).wrapping_add(place)) % IDS_OF_ONE;
        let id = (number * WRITERS + writer) as i64;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

/// Does in a state what a step does.
pub(super) fn apply(state: &mut State, writer: u64, step: u64) -> Done {
    let kind = kind(writer, step);
    let mut done = Done::default();
    for id in ids(writer, step) {
        let before = match kind {
            Kind::Delete => state.remove(&id),
            Kind::Objects | Kind::Columns => state.insert(id, Held::new(step)),
            Kind::Merge => {
                let whole = state.get(&id).and_then(|held| held.whole);
                state.insert(id, Held { moved: step, whole })
            }
        };
        let counted = match (kind, before) {
            (Kind::Delete, Some(_)) => &mut done.deleted,
            (Kind::Delete, None) => &mut done.absent,
            (_, Some(_)) => &mut done.replaced,
            (_, None) => &mut done.inserted,
        };
        *counted += 1;
    }
    done
}

/// An id as it travels.
pub(super) fn wire_id(id: i64) -> v1::ObjectId {
    v1::ObjectId { id: Some(object_id::Id::Number(id)) }
}

/// An id as it came.
pub(super) fn id_of(id: Option<&v1::ObjectId>) -> Result<i64, String> {
    match id.and_then(|id| id.id.as_ref()) {
        Some(object_id::Id::Number(id)) => Ok(*id),
        other => Err(format!("{other:?} is not a numeric id")),
    }
}

/// The real number and the vector that an object has: what searches go by.
pub(super) fn searched(id: i64, held: &Held) -> (f64, Option<Vec<f32>>) {
    let Value::Float64(z) = object(id, held.moved).columns[1] else { unreachable!("z is real") };
    (z, held.whole.map(|step| object(id, step).vectors.remove(0).1))
}

/// An object as a server must tell it.
pub(super) fn wire_object(id: i64, held: &Held) -> v1::Object {
    let moved = object(id, held.moved);
    let (z, vector) = searched(id, held);
    let mut columns =
        HashMap::from([("z".to_owned(), v1::Value { kind: Some(value::Kind::Real(z)) })]);
    if let Some(step) = held.whole {
        let kind = Some(value::Kind::Integer(step as i64));
        columns.insert("version".to_owned(), v1::Value { kind });
    }
    let vectors = vector.map(|values| ("v".to_owned(), v1::Vector { values }));
    v1::Object {
        id: Some(wire_id(id)),
        position: Some(v1::Position { ra: moved.position.ra().0, dec: moved.position.dec().0 }),
        columns,
        vectors: vectors.into_iter().collect(),
        ..v1::Object::default()
    }
}

/// The message of a step that is no delete.
pub(super) fn batch(writer: u64, step: u64) -> IngestBatch {
    let kind = kind(writer, step);
    let whole = (kind != Kind::Merge).then_some(step);
    let held = Held { moved: step, whole };
    let objects: Vec<v1::Object> =
        ids(writer, step).into_iter().map(|id| wire_object(id, &held)).collect();
    let empty = IngestBatch { sequence: step, ..IngestBatch::default() };
    match kind {
        Kind::Columns => IngestBatch { arrow_ipc: arrow_ipc(writer, step), ..empty },
        _ => IngestBatch { objects, merge: kind == Kind::Merge, ..empty },
    }
}

/// Whole objects as an Arrow stream.
fn arrow_ipc(writer: u64, step: u64) -> Vec<u8> {
    let ids = ids(writer, step);
    let held = Held::new(step);
    let positions = || ids.iter().map(|id| object(*id, step).position);
    let vectors: Vec<Vec<f32>> = ids.iter().filter_map(|id| searched(*id, &held).1).collect();
    let width = vectors.first().map_or(0, Vec::len) as i32;
    let components = Arc::new(Float32Array::from_iter_values(vectors.into_iter().flatten()));
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let vectors = FixedSizeListArray::try_new(item, width, components, None).expect("all alike");
    let real = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("object_id", Arc::new(Int64Array::from(ids.clone()))),
        ("ra", real(positions().map(|position| position.ra().0).collect())),
        ("dec", real(positions().map(|position| position.dec().0).collect())),
        ("version", Arc::new(Int64Array::from(vec![step as i64; ids.len()]))),
        ("z", real(ids.iter().map(|id| searched(*id, &held).0).collect())),
        ("vector.v", Arc::new(vectors)),
    ];
    encode_ipc(&RecordBatch::try_from_iter(columns).expect("a batch")).expect("encodes")
}
