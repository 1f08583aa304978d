//! Tests of the store as a whole.

mod bulk;
mod collections;
mod columns;
mod damage;
mod insert;
mod model;
mod named;
mod server_records;
mod tokens;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::bulk::Step;
use super::error::StorageError;
use super::key::KeyRange;
use super::table::Table;
use super::{ChangeKind, ObjectKey, Store, StoreOptions};
use crate::schema::{
    CollectionId, CollectionSchema, Column, ColumnType, EmbeddingSpace, IdKind, Modality, Object,
    ObjectId, Provenance, SpaceForm, SpaceId, Value,
};
use crate::sky::{Degrees, Position};
use crate::vector::Metric;
use crate::wire::v1::{TokenRun, TokenSequence};

const IMAGE: SpaceId = SpaceId(1);
const SPECTRUM: SpaceId = SpaceId(2);
const STATES: SpaceId = SpaceId(3);
const CODES: SpaceId = SpaceId(4);
const IMAGE_DIMENSION: usize = 3;
const SPECTRUM_DIMENSION: usize = 2;
const STATES_DIMENSION: usize = 2;
const WHOLE_SKY: std::ops::Range<u64> = 0..u64::MAX;

/// Small buffers, and no bulk write too small for files.
fn small() -> StoreOptions {
    StoreOptions {
        cache_bytes: 8 << 20,
        write_buffer_bytes: 4 << 20,
        background_jobs: 2,
        bulk_bytes_min: 0,
    }
}

fn on_disk(path: &Path) -> Store {
    Store::open(path, small()).expect("opens")
}

fn in_memory() -> Store {
    Store::in_memory(small()).expect("opens")
}

fn space(name: &str, dimension: usize) -> EmbeddingSpace {
    EmbeddingSpace {
        id: SpaceId(0),
        name: name.to_owned(),
        modality: Modality(name.to_owned()),
        form: SpaceForm::default(),
        dimension,
        metric: Metric::L2,
        provenance: Provenance::external(),
        shared: None,
        at_ingest: None,
    }
}

fn schema(name: &str) -> CollectionSchema {
    CollectionSchema {
        name: name.to_owned(),
        id_kind: IdKind::Number,
        columns: vec![Column::new("z", ColumnType::Float64), Column::new("note", ColumnType::Text)],
        spaces: vec![
            space("image", IMAGE_DIMENSION),
            space("spectrum", SPECTRUM_DIMENSION),
            EmbeddingSpace { form: SpaceForm::Tokens, ..space("states", STATES_DIMENSION) },
            EmbeddingSpace { form: SpaceForm::TokenIds, ..space("codes", 0) },
        ],
        description: String::new(),
    }
}

fn create(store: &Store, name: &str) -> CollectionId {
    store.create_collection(schema(name)).expect("creates").id
}

/// An object whose contents tell which write they are from.
fn object(id: i64, ra: f64, dec: f64, stamp: u32) -> Object {
    Object {
        id: ObjectId::Number(id),
        position: Position::new(Degrees(ra), Degrees(dec)).expect("a position"),
        columns: vec![Value::Float64(f64::from(stamp)), Value::Text(format!("write {stamp}"))],
        vectors: Vec::new(),
    }
}

fn with_image(mut object: Object, first: f32) -> Object {
    object.vectors.push((IMAGE, vec![first, 1.0, 2.0]));
    object
}

/// Everything that a store says about a collection, read in several ways that must agree.
fn contents(store: &Store, collection: CollectionId) -> BTreeMap<ObjectKey, Object> {
    let snapshot = store.snapshot(collection).expect("a snapshot");
    let record = snapshot.record();
    let spaces: Vec<SpaceId> = record.schema.vector_spaces().map(|space| space.id).collect();
    let scan = snapshot.scan(WHOLE_SKY, &spaces).expect("scans");
    let found: Vec<(ObjectKey, Object)> = scan.collect::<Result<_, _>>().expect("readable");
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "keys ascend");
    assert_eq!(snapshot.record().object_count, found.len() as u64, "objects are counted");
    let counts = snapshot.record().vector_counts.iter();
    for (space, count) in counts.filter(|(space, _)| spaces.contains(space)) {
        let of_space = |object: &Object| object.vectors.iter().any(|(id, _)| id == space);
        let expected = found.iter().filter(|(_, object)| of_space(object)).count();
        assert_eq!(*count, expected as u64, "vectors of {space:?} are counted");
        let alone = snapshot.scan_vectors(WHOLE_SKY, *space).expect("scans");
        let alone: Vec<_> = alone.collect::<Result<_, _>>().expect("readable");
        assert_eq!(alone.len(), expected, "no vector of {space:?} without its object");
    }
    let ids: Vec<ObjectId> = found.iter().map(|(_, object)| object.id.clone()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "ids are unique");
    let by_id = snapshot.get(&ids, true).expect("reads");
    let keys: Vec<ObjectKey> = found.iter().map(|(key, _)| *key).collect();
    let by_key = snapshot.get_keys(&keys, true).expect("reads");
    let as_found: Vec<_> = found.iter().cloned().map(Some).collect();
    assert_eq!(by_id, as_found, "by id");
    assert_eq!(by_key, as_found, "by key");
    for (key, object) in &found {
        assert_eq!(key.cell, object.position.cell29(), "the key is the place");
    }
    let replayed = replay(store, collection);
    assert_eq!(replayed, keys.into_iter().collect(), "changes replay to the state");
    found.into_iter().collect()
}

/// One run of tokens whose contents tell which write they are from: states or ids.
fn sequence(space: SpaceId, count: u32, stamp: u8) -> TokenSequence {
    let bytes = |each: usize| vec![stamp & 0x3f; count as usize * each * 2];
    let run = TokenRun { modality: format!("run {stamp}"), count, ..TokenRun::default() };
    let run = if space == STATES {
        TokenRun { width: STATES_DIMENSION as u32, states: bytes(STATES_DIMENSION), ..run }
    } else {
        TokenRun { ids: bytes(1), ..run }
    };
    TokenSequence { runs: vec![run] }
}

/// The tokens of all objects, which are counted, and beside which nothing else is kept.
fn all_tokens(
    store: &Store,
    collection: CollectionId,
) -> BTreeMap<(ObjectId, SpaceId), TokenSequence> {
    let ids: Vec<ObjectId> =
        contents(store, collection).into_values().map(|object| object.id).collect();
    let snapshot = store.snapshot(collection).expect("a snapshot");
    let mut all = BTreeMap::new();
    for space in [STATES, CODES] {
        let found = snapshot.tokens(space, &ids).expect("readable");
        let have = snapshot.have(space, &ids).expect("readable");
        assert_eq!(have, found.iter().map(Option::is_some).collect::<Vec<_>>());
        let count = snapshot.record().vector_counts.iter().find(|(id, _)| *id == space);
        let given = found.iter().flatten().count() as u64;
        assert_eq!(count.map(|(_, count)| *count), Some(given), "tokens of {space:?} are counted");
        let named = ids.iter().cloned().zip(found);
        all.extend(named.filter_map(|(id, tokens)| Some(((id, space), tokens?))));
    }
    let view = store.engine.view();
    let mut rows = view.cursor(KeyRange::collection(Table::Tokens, collection)).expect("reads");
    let mut kept = 0;
    while rows.advance().expect("reads").is_some() {
        kept += 1;
    }
    assert_eq!(kept, all.len(), "no tokens without their object");
    all
}

/// The keys that all changes from the beginning lead to.
fn replay(store: &Store, collection: CollectionId) -> BTreeSet<ObjectKey> {
    let mut keys = BTreeSet::new();
    let mut before = 0;
    for (version, changes) in store.changes_since(collection, 0).expect("kept") {
        assert_eq!(version, before + 1, "no version is left out");
        before = version;
        assert!(changes.is_sorted_by(|a, b| a.key < b.key), "changes ascend");
        for change in changes {
            match change.kind {
                ChangeKind::Put => drop(keys.insert(change.key)),
                ChangeKind::Tokens => assert!(keys.contains(&change.key), "only what is there has"),
                ChangeKind::Delete => assert!(keys.remove(&change.key), "only what was there goes"),
            }
        }
    }
    let version = store.collection(collection).expect("reads").map(|record| record.version);
    assert_eq!(version, Some(before));
    keys
}
