//! Records of the server as a whole.

use super::*;
use crate::class::Class;
use crate::storage::engine::{Batch, Patience, Row};
use crate::storage::key::{Key, ServerKey};
use crate::storage::{RecordKind, SERVER_NAME_BYTES_MAX, ServerRecordKind};

const KINDS: [ServerRecordKind; 4] = [
    ServerRecordKind::Token,
    ServerRecordKind::Group,
    ServerRecordKind::Grant,
    ServerRecordKind::Policy,
];

fn put(store: &Store, kind: ServerRecordKind, name: &str, bytes: &[u8]) {
    store.put_server_record(kind, name, bytes).expect("puts");
}

fn records(store: &Store, kind: ServerRecordKind) -> Vec<(String, Vec<u8>)> {
    store.server_records(kind).expect("reads")
}

fn what_is_put_is_found(store: &Store) {
    let long = "\u{3b1}".repeat(SERVER_NAME_BYTES_MAX / 2);
    for (place, kind) in (0_u8..).zip(KINDS) {
        for name in ["a b/c", "A b/c", "group:x@y.org", long.as_str()] {
            put(store, kind, name, &[place; 9]);
        }
        put(store, kind, "a b/c", &[place, 1]);
        assert!(store.delete_server_record(kind, "group:x@y.org").expect("deletes"));
        assert!(!store.delete_server_record(kind, "group:x@y.org").expect("is gone"));
    }
    for (place, kind) in (0_u8..).zip(KINDS) {
        let of = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
        let expected = [of("A b/c", &[place; 9]), of("a b/c", &[place, 1]), of(&long, &[place; 9])];
        assert_eq!(records(store, kind), expected, "{kind:?}");
    }
}

#[test]
fn server_records_are_kept_in_memory_and_on_the_disk() {
    what_is_put_is_found(&in_memory());
    let place = tempfile::tempdir().expect("a temporary directory");
    what_is_put_is_found(&on_disk(place.path()));
    let store = on_disk(place.path());
    assert_eq!(records(&store, ServerRecordKind::Token).len(), 3, "after opening again");
    // They belong to no collection, and no collection takes them along.
    let collection = create(&store, "galaxies");
    store.put_record(collection, RecordKind::Release, "dr1", b"a release").expect("puts");
    store.drop_collection(collection).expect("drops");
    assert_eq!(records(&store, ServerRecordKind::Policy).len(), 3);
    let view = store.engine.view();
    let mut releases = view.cursor(KeyRange::collection(Table::Releases, collection));
    assert!(releases.as_mut().expect("walks").advance().expect("reads").is_none());
}

#[test]
fn records_that_are_named_go_with_a_collection() {
    let place = tempfile::tempdir().expect("a temporary directory");
    for store in [in_memory(), on_disk(place.path())] {
        let collection = create(&store, "galaxies");
        for kind in KINDS {
            put(&store, kind, "goes", b"x");
            put(&store, kind, "stays", b"x");
        }
        let goes = |kind| (kind, "goes".to_owned());
        let absent = (ServerRecordKind::Grant, "absent".to_owned());
        let named = [goes(ServerRecordKind::Grant), absent, goes(ServerRecordKind::Policy)];
        store.drop_with_records(collection, &named).expect("drops");
        assert!(store.collections().expect("reads").is_empty());
        assert_eq!(KINDS.map(|kind| records(&store, kind).len()), [2, 2, 1, 1]);
        put(&store, ServerRecordKind::Grant, "goes", b"x");
        store.drop_with_records(collection, &named).expect_err("is gone");
        assert_eq!(records(&store, ServerRecordKind::Grant).len(), 2, "nothing is removed");
    }
}

#[test]
fn what_is_no_name_is_refused() {
    let store = in_memory();
    for name in ["", "a\nb", "\0", &"x".repeat(SERVER_NAME_BYTES_MAX + 1)] {
        let error = store.put_server_record(ServerRecordKind::Group, name, b"x");
        let error = error.expect_err("refused");
        assert_eq!(error.class(), Class::Invalid, "{error}");
    }
    assert!(records(&store, ServerRecordKind::Group).is_empty());
}

#[test]
fn a_damaged_or_moved_server_record_is_told() {
    for (moved, flipped) in [(true, false), (false, true)] {
        let store = in_memory();
        put(&store, ServerRecordKind::Grant, "alice", b"may read");
        let key = ServerKey { kind: 3, name: "alice".to_owned() };
        let mut value = store.engine.view().fetch(&key).expect("reads").expect("is there");
        let last = value.len() - 1;
        value[last] ^= u8::from(flipped);
        let key = ServerKey { name: if moved { "mallory" } else { "alice" }.to_owned(), ..key };
        let mut batch = Batch::default();
        batch.row(Row { table: Table::Access, key: key.encode(), value: Some(value) });
        store.engine.commit(&batch, Patience::Long).expect("commits");
        let error = store.server_records(ServerRecordKind::Grant).expect_err("is told");
        assert_eq!(error.class(), Class::Corrupt, "{error}");
    }
}
