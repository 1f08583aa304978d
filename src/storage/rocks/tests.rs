use super::*;
use crate::class::Class;
use crate::storage::conformance::suite;
use crate::storage::key::MetaKey;

fn small() -> StoreOptions {
    StoreOptions { cache_bytes: 8 << 20, write_buffer_bytes: 4 << 20, ..StoreOptions::default() }
}

#[test]
fn rocksdb_conforms() {
    let places = std::cell::RefCell::new(Vec::new());
    suite(|| {
        let place = tempfile::tempdir().expect("a temporary directory");
        let engine = RocksEngine::open(place.path(), &small()).expect("opens");
        places.borrow_mut().push(place);
        engine
    });
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let place = tempfile::tempdir().expect("a temporary directory");
    for round in 0..3_u8 {
        let engine = RocksEngine::open(place.path(), &small()).expect("opens");
        engine.create_table(Table::Meta.name()).expect("creates");
        if round > 0 {
            let found = engine.view().fetch(&MetaKey::Format).expect("reads");
            assert_eq!(found, Some(vec![round - 1]));
        }
        let mut batch = Batch::default();
        batch.put(&MetaKey::Format, vec![round]);
        engine.commit(&batch, Patience::Long).expect("commits");
    }
}

#[test]
fn rocksdb_itself_refuses_a_second_handle() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let _first = RocksEngine::open(place.path(), &small()).expect("opens");
    let error = RocksEngine::open(place.path(), &small()).expect_err("is locked");
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
}

#[test]
fn errors_keep_their_class() {
    let cases = [
        (
            ErrorKind::IOError,
            "IO error: No space left on device: While appending",
            Class::Exhausted,
        ),
        (ErrorKind::IOError, "IO error: Disk quota exceeded: While appending", Class::Exhausted),
        (ErrorKind::Corruption, "Corruption: block checksum mismatch", Class::Corrupt),
        (ErrorKind::Busy, "Resource busy", Class::Unavailable),
        (ErrorKind::IOError, "IO error: Input/output error", Class::Internal),
    ];
    for (kind, text, class) in cases {
        assert_eq!(mapped("testing", &kind, text.to_owned()).class(), class, "{text}");
    }
}
