use super::sorted_file::Writes;
use super::*;
use crate::class::Class;
use crate::schema::CollectionId;
use crate::sky::Cell29;
use crate::storage::conformance::suite;
use crate::storage::key::{MetaKey, ObjectKey};

fn small() -> StoreOptions {
    StoreOptions { cache_bytes: 8 << 20, write_buffer_bytes: 4 << 20, ..StoreOptions::default() }
}

#[test]
fn rocksdb_conforms_however_sorted_files_are_written() {
    for writes in [Writes::Direct, Writes::Cached] {
        let places = std::cell::RefCell::new(Vec::new());
        suite(|| {
            let place = tempfile::tempdir().expect("a temporary directory");
            let engine = RocksEngine::open(place.path(), &small()).expect("opens");
            if writes == Writes::Cached {
                engine
                    .staging
                    .writes
                    .set(writes)
                    .expect("nothing is known before the first import");
            }
            places.borrow_mut().push(place);
            engine
        });
    }
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

/// What the newest file of options, which has what is in force, says of a table.
fn option_in_force(engine: &RocksEngine, table: Table, option: &str) -> Option<String> {
    let records = std::fs::read_dir(&engine.records).expect("lists").flatten();
    let options = records.map(|entry| entry.path()).filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("OPTIONS-"))
    });
    let text = std::fs::read_to_string(options.max().expect("a file of options")).expect("reads");
    let of_table = text
        .split("[CFOptions ")
        .find_map(|part| part.strip_prefix(&format!("\"{}\"]", table.name())))?;
    of_table.lines().find_map(|line| line.trim().strip_prefix(option)).map(str::to_owned)
}

#[test]
fn tables_have_their_whole_buffers_from_the_first_row_though_they_are_opened_with_small_ones() {
    let place = tempfile::tempdir().expect("a temporary directory");
    for _ in 0..2 {
        let engine = RocksEngine::open(place.path(), &small()).expect("opens");
        engine.create_table(Table::Objects.name()).expect("creates");
        engine.create_table(Table::Meta.name()).expect("creates");
    }
    let engine = RocksEngine::open(place.path(), &small()).expect("opens");
    assert_eq!(engine.tuning.opened_buffer_bytes(), 1 << 20);
    let buffers = || {
        [Table::Objects, Table::Meta].map(|table| {
            let ranges = option_in_force(&engine, table, "memtable_max_range_deletions=");
            assert_eq!(ranges.as_deref(), Some("1000"));
            option_in_force(&engine, table, "write_buffer_size=").expect("it is told")
        })
    };
    let mut batch = Batch::default();
    batch.put(&MetaKey::Format, vec![1]);
    engine.commit(&batch, Patience::None).expect("commits");
    assert_eq!(buffers(), ["1048576", "1048576"], "small rows need no more");
    batch.put(&ObjectKey { collection: CollectionId(1), cell: Cell29(7), ordinal: 0 }, vec![1]);
    engine.commit(&batch, Patience::None).expect("commits");
    assert_eq!(buffers(), ["4194304", "1048576"]);
}

#[test]
fn an_engine_whose_write_failed_says_so_until_one_works() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let engine = RocksEngine::open(place.path(), &small()).expect("opens");
    engine.create_table(Table::Meta.name()).expect("creates");
    assert!(!engine.writes_fail());
    let busy = || StorageError::Busy { doing: "testing", detail: String::new() };
    assert!(engine.noted(Err::<(), _>(busy())).is_err() && !engine.writes_fail());
    let full = || StorageError::DiskFull { doing: "testing", detail: "No space left".to_owned() };
    let told = engine.noted(Err::<(), _>(full())).expect_err("refused").to_string();
    assert!(told.contains("MiB are free") && told.contains("start the server again"), "{told}");
    *engine.tried.lock().expect("whole") = Some(Instant::now());
    assert!(engine.writes_fail(), "it was tried just now");
    *engine.tried.lock().expect("whole") = None;
    assert!(!engine.writes_fail(), "a write works");
    assert!(engine.noted(Err::<(), _>(full())).is_err());
    let mut batch = Batch::default();
    batch.put(&MetaKey::Format, vec![1]);
    engine.commit(&batch, Patience::None).expect("commits");
    assert!(!engine.failing.load(Ordering::Acquire));
}
