//! Tests of the store as a whole.

mod bulk;
mod collections;
mod damage;
mod insert;
mod model;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::bulk::Step;
use super::error::StorageError;
use super::{ChangeKind, ObjectKey, Store, StoreOptions};
use crate::schema::{
    CollectionId, CollectionSchema, Column, ColumnType, EmbeddingSpace, IdKind, Modality, Object,
    ObjectId, Provenance, SpaceForm, SpaceId, Value,
};
use crate::sky::{Degrees, Position};
use crate::vector::Metric;

const IMAGE: SpaceId = SpaceId(1);
const SPECTRUM: SpaceId = SpaceId(2);
const IMAGE_DIMENSION: usize = 3;
const SPECTRUM_DIMENSION: usize = 2;
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
    }
}

fn schema(name: &str) -> CollectionSchema {
    CollectionSchema {
        name: name.to_owned(),
        id_kind: IdKind::Number,
        columns: vec![Column::new("z", ColumnType::Float64), Column::new("note", ColumnType::Text)],
        spaces: vec![space("image", IMAGE_DIMENSION), space("spectrum", SPECTRUM_DIMENSION)],
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
    let spaces: Vec<SpaceId> = snapshot.record().vector_counts.iter().map(|(id, _)| *id).collect();
    let scan = snapshot.scan(WHOLE_SKY, &spaces).expect("scans");
    let found: Vec<(ObjectKey, Object)> = scan.collect::<Result<_, _>>().expect("readable");
    assert!(found.is_sorted_by(|a, b| a.0 < b.0), "keys ascend");
    assert_eq!(snapshot.record().object_count, found.len() as u64, "objects are counted");
    for (space, count) in &snapshot.record().vector_counts {
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
                ChangeKind::Delete => assert!(keys.remove(&change.key), "only what was there goes"),
            }
        }
    }
    let version = store.collection(collection).expect("reads").map(|record| record.version);
    assert_eq!(version, Some(before));
    keys
}
