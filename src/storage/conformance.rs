//! What every engine must do, run on each of them.

use super::engine::{Batch, KvEngine, Patience, Row, SortedRun, StageId};
use super::key::{ChangeKey, IdKey, Key, KeyRange, MetaKey, ObjectKey};
use super::table::Table;
use crate::schema::{CollectionId, ObjectId};
use crate::sky::Cell29;

fn key(collection: u32, cell: u64) -> ObjectKey {
    ObjectKey { collection: CollectionId(collection), cell: Cell29(cell), ordinal: 5 }
}

fn change(version: u64) -> ChangeKey {
    ChangeKey { collection: CollectionId(1), version, part: 0 }
}

fn put(engine: &dyn KvEngine, entries: &[(ObjectKey, &str)]) {
    let mut batch = Batch::default();
    for (key, value) in entries {
        batch.put(key, value.as_bytes().to_vec());
    }
    engine.commit(&batch, Patience::Long).expect("commits");
}

fn walk(engine: &dyn KvEngine, range: KeyRange) -> Vec<(Vec<u8>, Vec<u8>)> {
    let view = engine.view();
    let mut cursor = view.cursor(range).expect("walks");
    let mut entries = Vec::new();
    while let Some((key, value)) = cursor.advance().expect("advances") {
        entries.push((key.to_vec(), value.to_vec()));
    }
    assert!(cursor.advance().expect("advances").is_none(), "the end is the end");
    entries
}

fn cells(engine: &dyn KvEngine, collection: u32) -> Vec<u64> {
    let range = KeyRange::collection(Table::Objects, CollectionId(collection));
    let keys = walk(engine, range).into_iter();
    keys.map(|(key, _)| ObjectKey::decode(&key).expect("a key").cell.0).collect()
}

/// Runs everything on engines made by `fresh`.
pub(super) fn suite<E: KvEngine>(mut fresh: impl FnMut() -> E) {
    let mut with_tables = || {
        let engine = fresh();
        for table in Table::ALL {
            engine.create_table(table.name()).expect("creates");
            engine.create_table(table.name()).expect("creating twice changes nothing");
        }
        engine
    };
    what_is_put_is_read(&with_tables());
    a_batch_is_applied_in_order(&with_tables());
    walks_keep_their_bounds(&with_tables());
    ranges_are_removed(&with_tables());
    views_do_not_change(&with_tables());
    staged_rows_appear_when_taken_in(&with_tables());
    taking_in_twice_changes_nothing(&with_tables());
    stages_are_listed_and_discarded(&with_tables());
    tables_come_and_go(&with_tables());
    two_rows_of_one_key_are_refused();
}

fn what_is_put_is_read(engine: &dyn KvEngine) {
    put(engine, &[(key(1, 7), "seven"), (key(1, 3), ""), (key(2, 7), "other")]);
    let view = engine.view();
    assert_eq!(view.fetch(&key(1, 7)).expect("reads").as_deref(), Some(&b"seven"[..]));
    assert_eq!(view.fetch(&key(1, 3)).expect("reads").as_deref(), Some(&b""[..]));
    assert_eq!(view.fetch(&key(1, 4)).expect("reads"), None);
    let keys = [key(2, 7).encode(), key(1, 4).encode(), key(1, 7).encode(), key(2, 7).encode()];
    let found = view.get_many(Table::Objects, &keys).expect("reads");
    let other = Some(b"other".to_vec());
    assert_eq!(found, [other.clone(), None, Some(b"seven".to_vec()), other]);
    assert!(view.get_many(Table::Objects, &[]).expect("reads").is_empty());
    assert_eq!(view.fetch(&change(7)).expect("reads"), None, "tables are apart");
}

fn a_batch_is_applied_in_order(engine: &dyn KvEngine) {
    put(engine, &[(key(1, 1), "old"), (key(1, 2), "old")]);
    let mut batch = Batch::default();
    batch.delete(&key(1, 1));
    batch.put(&key(1, 1), b"new".to_vec());
    batch.put(&key(1, 2), b"new".to_vec());
    batch.delete(&key(1, 2));
    batch.delete(&key(1, 99));
    batch.put(&MetaKey::Format, vec![1]);
    engine.commit(&batch, Patience::Long).expect("commits");
    let view = engine.view();
    assert_eq!(view.fetch(&key(1, 1)).expect("reads").as_deref(), Some(&b"new"[..]));
    assert_eq!(view.fetch(&key(1, 2)).expect("reads"), None);
    assert_eq!(view.fetch(&MetaKey::Format).expect("reads"), Some(vec![1]));
    engine.commit(&Batch::default(), Patience::None).expect("an empty batch is fine");
}

fn walks_keep_their_bounds(engine: &dyn KvEngine) {
    let entries: Vec<_> = (0..50).rev().map(|cell| (key(1, cell), "x")).collect();
    put(engine, &entries);
    put(engine, &[(key(0, 10), "before"), (key(2, 10), "after")]);
    assert_eq!(cells(engine, 1), (0..50).collect::<Vec<_>>());
    let some = walk(engine, KeyRange::objects(CollectionId(1), &(10..20)));
    assert_eq!(some.len(), 10, "the end is not included");
    for (start, end) in [(20, 20), (30, 20), (60, 70)] {
        assert!(walk(engine, KeyRange::objects(CollectionId(1), &(start..end))).is_empty());
    }
}

fn ranges_are_removed(engine: &dyn KvEngine) {
    let entries: Vec<_> = (0..10).map(|cell| (key(1, cell), "x")).collect();
    put(engine, &entries);
    put(engine, &[(key(2, 5), "stays")]);
    let mut batch = Batch::default();
    batch.delete_range(KeyRange::objects(CollectionId(1), &(2..8)));
    batch.put(&key(1, 4), b"later in the same batch".to_vec());
    engine.commit(&batch, Patience::Long).expect("commits");
    assert_eq!(cells(engine, 1), [0, 1, 4, 8, 9]);
    assert_eq!(cells(engine, 2), [5]);
}

fn views_do_not_change(engine: &dyn KvEngine) {
    put(engine, &[(key(1, 1), "old")]);
    let view = engine.view();
    put(engine, &[(key(1, 1), "new"), (key(1, 2), "new")]);
    let runs = runs(&[(key(1, 3), Some("staged"))]);
    let files = engine.stage(StageId(1), &SortedRun::sources(&runs)).expect("stages");
    engine.ingest(StageId(1), &files).expect("takes in");
    assert_eq!(view.fetch(&key(1, 1)).expect("reads").as_deref(), Some(&b"old"[..]));
    let range = KeyRange::collection(Table::Objects, CollectionId(1));
    let mut cursor = view.cursor(range).expect("walks");
    assert!(cursor.advance().expect("advances").is_some());
    assert!(cursor.advance().expect("advances").is_none());
    assert_eq!(cells(engine, 1), [1, 2, 3]);
}

fn runs(entries: &[(ObjectKey, Option<&str>)]) -> Vec<SortedRun> {
    let row = |(key, value): &(ObjectKey, Option<&str>)| match value {
        Some(value) => Row::put(key, value.as_bytes().to_vec()),
        None => Row::delete(key),
    };
    SortedRun::from_rows(entries.iter().map(row).collect()).expect("sorts")
}

fn staged_rows_appear_when_taken_in(engine: &dyn KvEngine) {
    put(engine, &[(key(1, 1), "old"), (key(1, 2), "old")]);
    let id = IdKey { collection: CollectionId(1), id: ObjectId::Number(-3) };
    let mut rows = vec![Row::put(&id, b"located".to_vec())];
    rows.extend([
        Row::put(&key(1, 9), b"nine".to_vec()),
        Row::delete(&key(1, 1)),
        Row::put(&key(1, 2), b"new".to_vec()),
    ]);
    let runs = SortedRun::from_rows(rows).expect("sorts");
    let files = engine.stage(StageId(3), &SortedRun::sources(&runs)).expect("stages");
    assert_eq!(cells(engine, 1), [1, 2], "nothing is visible yet");
    engine.ingest(StageId(3), &files).expect("takes in");
    assert_eq!(cells(engine, 1), [2, 9]);
    let view = engine.view();
    assert_eq!(view.fetch(&key(1, 2)).expect("reads").as_deref(), Some(&b"new"[..]));
    assert_eq!(view.fetch(&id).expect("reads").as_deref(), Some(&b"located"[..]));
    put(engine, &[(key(1, 9), "later")]);
    let later = engine.view().fetch(&key(1, 9)).expect("reads");
    assert_eq!(later.as_deref(), Some(&b"later"[..]), "later commits win");
}

fn taking_in_twice_changes_nothing(engine: &dyn KvEngine) {
    let runs = runs(&[(key(1, 1), Some("one")), (key(1, 2), None)]);
    let files = engine.stage(StageId(8), &SortedRun::sources(&runs)).expect("stages");
    for _ in 0..2 {
        engine.ingest(StageId(8), &files).expect("takes in");
        assert_eq!(cells(engine, 1), [1]);
    }
}

fn stages_are_listed_and_discarded(engine: &dyn KvEngine) {
    for number in [4, 12] {
        let runs = runs(&[(key(1, number), Some("x"))]);
        engine.stage(StageId(number), &SortedRun::sources(&runs)).expect("stages");
    }
    assert_eq!(engine.staged().expect("lists"), [StageId(4), StageId(12)]);
    engine.discard(StageId(4)).expect("discards");
    engine.discard(StageId(4)).expect("discarding twice changes nothing");
    assert_eq!(engine.staged().expect("lists"), [StageId(12)]);
    assert!(cells(engine, 1).is_empty());
}

fn tables_come_and_go(engine: &dyn KvEngine) {
    put(engine, &[(key(1, 1), "x")]);
    engine.drop_table(Table::Objects.name()).expect("drops");
    engine.drop_table(Table::Objects.name()).expect("dropping twice changes nothing");
    let mut batch = Batch::default();
    batch.put(&MetaKey::Format, vec![9]);
    batch.put(&key(1, 1), Vec::new());
    engine.commit(&batch, Patience::Long).expect_err("no such table");
    let view = engine.view();
    assert_eq!(view.fetch(&MetaKey::Format).expect("reads"), None, "whole or not at all");
    view.fetch(&key(1, 1)).expect_err("no such table");
    drop(view);
    engine.create_table(Table::Objects.name()).expect("creates");
    assert!(cells(engine, 1).is_empty());
}

fn two_rows_of_one_key_are_refused() {
    let rows = vec![Row::delete(&key(1, 1)), Row::put(&key(1, 1), Vec::new())];
    SortedRun::from_rows(rows).expect_err("two rows have one key");
}

#[test]
fn the_engine_in_memory_conforms() {
    suite(super::memory::MemoryEngine::default);
}
