//! Records of a collection that the store does not read.

use super::*;
use crate::class::Class;
use crate::storage::engine::{Batch, Patience, Row};
use crate::storage::key::NameKey;
use crate::storage::{RECORD_BYTES_MAX, RecordKind};

fn names(store: &Store, collection: CollectionId, kind: RecordKind) -> Vec<String> {
    let records = store.records(collection, kind).expect("reads");
    records.into_iter().map(|(name, _)| name).collect()
}

fn what_is_put_is_found(store: &Store) {
    use RecordKind::{Bridge, Probe};
    let (first, second) = (create(store, "galaxies"), create(store, "stars"));
    let large = vec![7; 3 << 20];
    for (name, bytes) in [("Lens", &b"one"[..]), ("dwarf.v2", &large), ("empty", &[])] {
        store.put_record(first, Probe, name, bytes).expect("puts");
    }
    store.put_record(first, Bridge, "lens", b"a bridge").expect("puts");
    store.put_record(second, Probe, "lens", b"of stars").expect("puts");
    assert_eq!(names(store, first, Probe), ["dwarf.v2", "empty", "Lens"]);
    let found = |collection, kind, name| store.record(collection, kind, name).expect("reads");
    assert_eq!(found(first, Probe, "LENS").as_deref(), Some(&b"one"[..]));
    assert_eq!(found(first, Probe, "dwarf.v2"), Some(large));
    assert_eq!(found(first, Probe, "empty").as_deref(), Some(&[][..]));
    assert_eq!(found(first, Bridge, "lens").as_deref(), Some(&b"a bridge"[..]));
    assert_eq!(found(second, Probe, "lens").as_deref(), Some(&b"of stars"[..]));
    assert_eq!(found(first, Bridge, "dwarf.v2"), None);
    store.put_record(first, Probe, "lens", b"two").expect("replaces");
    assert_eq!(names(store, first, Probe), ["dwarf.v2", "empty", "lens"]);
    assert_eq!(found(first, Probe, "Lens").as_deref(), Some(&b"two"[..]));
    assert!(store.delete_record(first, Probe, "EMPTY").expect("deletes"));
    assert!(!store.delete_record(first, Probe, "empty").expect("is gone"));
    assert_eq!(store.collection(first).expect("reads").map(|record| record.version), Some(0));
    store.drop_collection(first).expect("drops");
    let error = store.put_record(first, Probe, "late", b"x").expect_err("the collection is gone");
    assert_eq!(error.class(), Class::NotFound);
    for table in [Table::Probes, Table::Bridges] {
        let view = store.engine.view();
        let mut cursor = view.cursor(KeyRange::collection(table, first)).expect("walks");
        assert!(cursor.advance().expect("advances").is_none(), "{table:?} is empty");
    }
    assert_eq!(names(store, second, Probe), ["lens"]);
}

#[test]
fn records_are_kept_in_memory() {
    what_is_put_is_found(&in_memory());
}

#[test]
fn records_are_kept_on_the_disk() {
    let place = tempfile::tempdir().expect("a temporary directory");
    what_is_put_is_found(&on_disk(place.path()));
    let store = on_disk(place.path());
    let stars = store.collections().expect("reads").remove(0).id;
    assert_eq!(names(&store, stars, RecordKind::Probe), ["lens"], "after opening again");
}

#[test]
fn records_without_a_name_or_too_large_are_refused() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    for name in ["", "two words", "1st", "a/b"] {
        let error = store.put_record(collection, RecordKind::Probe, name, b"x");
        assert_eq!(error.expect_err("refused").class(), Class::Invalid);
    }
    let huge = vec![0; RECORD_BYTES_MAX + 1];
    let error = store.put_record(collection, RecordKind::Bridge, "huge", &huge);
    let error = error.expect_err("too large");
    assert_eq!(error.class(), Class::Exhausted);
    assert!(error.to_string().starts_with("bridge `huge` takes 67108865 bytes"), "{error}");
    store.put_record(collection, RecordKind::Bridge, "large", &huge[1..]).expect("fits");
}

#[test]
fn of_many_who_want_a_free_name_one_gets_it() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let take = |own: u8| {
        store.make_record(collection, RecordKind::Probe, "Lens", &mut |present| match present {
            None => Ok(vec![own]),
            Some(_) => Err(StorageError::corrupt("probe", "is taken".to_owned())),
        })
    };
    let winners: Vec<u8> = std::thread::scope(|scope| {
        let tried: Vec<_> = (0..16).map(|own| scope.spawn(move || (own, take(own)))).collect();
        let ended = tried.into_iter().map(|each| each.join().expect("no panic"));
        ended.filter(|(_, took)| took.is_ok()).map(|(own, _)| own).collect()
    });
    assert_eq!(winners.len(), 1);
    let kept = store.record(collection, RecordKind::Probe, "lens").expect("reads");
    assert_eq!(kept, Some(winners));
    let next = store.make_record(collection, RecordKind::Probe, "lens", &mut |present| {
        Ok::<_, StorageError>([present.expect("there")?, vec![99]].concat())
    });
    next.expect("replaces");
    let kept = store.record(collection, RecordKind::Probe, "lens").expect("reads");
    assert_eq!(kept.map(|bytes| bytes.len()), Some(2));
}

#[test]
fn a_damaged_record_is_told_and_can_be_removed() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    store.put_record(collection, RecordKind::Probe, "lens", b"weights").expect("puts");
    let key = NameKey::new(collection, "lens").encode();
    let mut value = store.engine.view().get(Table::Probes, &key).expect("reads").expect("is there");
    let last = value.len() - 1;
    value[last] ^= 1;
    let mut batch = Batch::default();
    batch.row(Row { table: Table::Probes, key, value: Some(value) });
    store.engine.commit(&batch, Patience::Long).expect("commits");
    for error in [
        store.record(collection, RecordKind::Probe, "lens").err(),
        store.records(collection, RecordKind::Probe).err(),
    ] {
        assert_eq!(error.map(|error| error.class()), Some(Class::Corrupt));
    }
    store.put_record(collection, RecordKind::Probe, "whole", b"weights").expect("puts");
    let mut seen = Vec::new();
    let visited = store.visit_records(collection, RecordKind::Probe, &mut |name, bytes| {
        seen.push((name, bytes.is_ok()));
        Ok::<_, StorageError>(())
    });
    visited.expect("goes on");
    assert_eq!(seen, [("lens".to_owned(), false), ("whole".to_owned(), true)]);
    assert!(store.has_record(collection, RecordKind::Probe, "Lens").expect("reads"));
    assert!(store.delete_record(collection, RecordKind::Probe, "LENS").expect("deletes"));
    assert_eq!(store.record(collection, RecordKind::Probe, "lens").expect("reads"), None);
}
