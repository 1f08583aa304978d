//! Releases of a database in a folder of its own.

use tempfile::TempDir;

use super::*;
use crate::class::Class;
use crate::engine::{DbOptions, Write, WriteMode};
use crate::schema::{
    Column, ColumnType, EmbeddingSpace, IdKind, Modality, Object, ObjectId, Provenance, SpaceForm,
    SpaceId, Value,
};
use crate::sky::{Degrees, Position};
use crate::vector::Metric;
use crate::wire::v1::{TokenRun, TokenSequence};

const ROWS: i64 = 400;

fn open(folder: &TempDir) -> Db {
    Db::open(DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) }).expect("opens")
}

fn space(name: &str, form: SpaceForm, dimension: usize) -> EmbeddingSpace {
    EmbeddingSpace {
        id: SpaceId(0),
        name: name.to_owned(),
        modality: Modality(name.to_owned()),
        form,
        dimension,
        metric: Metric::L2,
        provenance: Provenance::external(),
        shared: None,
        at_ingest: None,
    }
}

fn object(number: i64) -> Object {
    let share = number as f64 / ROWS as f64;
    let position = Position::new(Degrees(share * 360.0), Degrees(share * 170.0 - 85.0));
    Object {
        id: ObjectId::Number(number),
        position: position.expect("a position"),
        columns: vec![Value::Float64(number as f64)],
        vectors: vec![(SpaceId(1), vec![number as f32, 1.0])],
    }
}

fn tokens(number: i64) -> TokenSequence {
    let ids = (0..6).map(|at| (at + number) as u8).collect();
    TokenSequence { runs: vec![TokenRun { count: 3, ids, ..TokenRun::default() }] }
}

/// A collection `sky` with vectors, tokens and a record of a probe, written in an order of its own.
fn filled(folder: &TempDir, numbers: impl Iterator<Item = i64>) -> Db {
    let db = open(folder);
    db.create_collection(CollectionSchema {
        name: "sky".to_owned(),
        id_kind: IdKind::Number,
        columns: vec![Column::new("z", ColumnType::Float64)],
        spaces: vec![space("image", SpaceForm::Vector, 2), space("codes", SpaceForm::TokenIds, 0)],
        description: String::new(),
    })
    .expect("creates");
    for number in numbers {
        let id = ObjectId::Number(number);
        let tokens = vec![(SpaceId(2), tokens(number))];
        let mut writes = vec![Write::Put(object(number))];
        if number % 3 == 0 {
            writes.push(Write::SetTokens { id, tokens });
        }
        db.write("sky", WriteMode::Logged, writes).expect("writes");
    }
    db.put_record("sky", RecordKind::Probe, "photoz", b"weights").expect("keeps");
    db
}

fn release(db: &Db, name: &str) -> Release {
    let text = ReleaseText { citation: "Us (2026)".to_owned(), ..ReleaseText::default() };
    db.create_release("sky", name, text, &mut |_, _, _| {}).expect("releases")
}

#[test]
fn a_release_shows_what_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(&folder, 0..ROWS);
    let made = release(&db, "dr1");
    assert_eq!((made.objects, made.probes, made.source_version), (400, 1, 400));
    assert_eq!(made.spaces.iter().map(|space| space.count).collect::<Vec<_>>(), [400, 134]);
    assert_eq!(made.content_hash, db.content_hash("sky").expect("hashes").to_string());
    let changed = Object { columns: vec![Value::Float64(-1.0)], ..object(7) };
    let writes = vec![Write::Put(changed), Write::Delete(ObjectId::Number(8))];
    db.write("sky", WriteMode::Logged, writes).expect("writes");
    assert_ne!(made.content_hash, db.content_hash("sky").expect("hashes").to_string());
    let check = |db: &Db| {
        let internal = db.released("sky", "DR1").expect("is there");
        let ids: Vec<ObjectId> = (0..ROWS).map(ObjectId::Number).collect();
        let found = db.get(&internal, &ids).expect("reads");
        assert!((0..ROWS).zip(found).all(|(number, found)| found == Some(object(number))));
        let codes = db.tokens(&internal, SpaceId(2), &ids[3..5]).expect("reads");
        assert_eq!(codes, [Some(tokens(3)), None]);
        let status = db.index_status(&internal).expect("has a segment");
        assert_eq!((status.tail_rows, status.deleted_rows, status.segments.len()), (0, 0, 1));
        let (record, hash) = db.verify_release("sky", "dr1", &mut |_, _, _| {}).expect("verifies");
        assert_eq!(record.content_hash, hash.to_string());
        assert_eq!(db.releases("sky").expect("lists"), std::slice::from_ref(&made));
        assert_eq!(db.collections().expect("lists").len(), 1);
    };
    check(&db);
    drop(db);
    check(&open(&folder));
}

#[test]
fn the_hash_does_not_depend_on_how_it_was_written() {
    let (one, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("one"));
    let forwards = filled(&one, 0..ROWS);
    let backwards = filled(&other, (0..ROWS).rev());
    backwards.build_index("sky", &mut |_, _, _| {}).expect("builds");
    let hash = |db: &Db| db.content_hash("sky").expect("hashes");
    assert_eq!(hash(&forwards), hash(&backwards));
    backwards.put_record("sky", RecordKind::Probe, "photoz", b"others").expect("keeps");
    assert_ne!(hash(&forwards), hash(&backwards), "a probe is content");
}

#[test]
fn nothing_is_written_into_a_release() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(&folder, 0..20);
    release(&db, "dr1");
    let name = "sky@dr1";
    let column = Column::new("new", ColumnType::Int64);
    let refused = [
        db.write(name, WriteMode::Logged, vec![Write::Put(object(3))]).err(),
        db.write(name, WriteMode::Bulk, Vec::new()).err(),
        db.add_column(name, column).err(),
        db.add_space(name, space("more", SpaceForm::Vector, 2)).err(),
        db.set_at_ingest(name, "image", None).err(),
        db.put_record(name, RecordKind::Probe, "p", b"x").err(),
        db.delete_record(name, RecordKind::Probe, "photoz").err(),
        db.drop_collection(name).err(),
        db.drop_with_records(name, true, &[]).err(),
        db.build_index(name, &mut |_, _, _| {}).err(),
        db.create_release(name, "dr2", ReleaseText::default(), &mut |_, _, _| {}).err(),
    ];
    for (place, error) in refused.into_iter().enumerate().filter(|(place, _)| *place != 4) {
        let error = error.unwrap_or_else(|| panic!("{place} is refused"));
        assert_eq!(error.class(), Class::Conflict, "{place}: {error}");
        assert!(error.to_string().contains("write to `sky`"), "{place}: {error}");
    }
    db.verify_release("sky", "dr1", &mut |_, _, _| {}).expect("is as it was");
    for bad in ["", "a@b", "1", "x/y"] {
        let made = db.create_release("sky", bad, ReleaseText::default(), &mut |_, _, _| {});
        assert_eq!(made.expect_err("refused").class(), Class::Invalid, "{bad}");
    }
    let schema = CollectionSchema { name: "a@b".to_owned(), ..db.schema("sky").expect("reads") };
    assert_eq!(db.create_collection(schema).expect_err("refused").class(), Class::Invalid);
}

#[test]
fn a_withdrawn_release_says_why_and_keeps_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut db = filled(&folder, 0..20);
    release(&db, "dr1");
    release(&db, "dr2");
    assert!(matches!(db.drop_collection("sky"), Err(EngineError::HasReleases { .. })));
    db.withdraw_release("sky", "dr1", "wrong zero point", false).expect("withdraws");
    db.withdraw_release("sky", "dr2", "superseded", true).expect("withdraws");
    for reopened in [false, true] {
        if reopened {
            drop(db);
            db = open(&folder);
        }
        for (name, reason) in [("dr1", "wrong zero point"), ("dr2", "superseded")] {
            let error = db.released("sky", name).expect_err("is withdrawn");
            assert!(error.to_string().ends_with(reason), "{error}");
            let again = db.create_release("sky", name, ReleaseText::default(), &mut |_, _, _| {});
            assert!(matches!(again, Err(EngineError::ReleaseExists { .. })));
        }
        assert!(db.verify_release("sky", "dr1", &mut |_, _, _| {}).is_err());
        let (kept, hash) = db.verify_release("sky", "dr2", &mut |_, _, _| {}).expect("is kept");
        assert_eq!(kept.content_hash, hash.to_string());
        assert_eq!(db.release("sky", "dr1").expect("is told").text.citation, "Us (2026)");
    }
    // What was kept may go later; the reason stays. What is gone is not withdrawn twice.
    let gone = db.withdraw_release("sky", "dr2", "no room", false).expect("removes");
    let withdrawn = gone.withdrawn.expect("was withdrawn");
    assert_eq!((withdrawn.reason.as_str(), withdrawn.data_kept), ("superseded", false));
    assert!(db.verify_release("sky", "dr2", &mut |_, _, _| {}).is_err());
    let error = db.withdraw_release("sky", "dr2", "again", false).expect_err("is gone");
    assert!(matches!(error, EngineError::Withdrawn { .. }), "{error}");
}

#[test]
fn what_is_left_of_an_unfinished_release_goes_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(&folder, 0..20);
    release(&db, "dr1");
    let schema =
        CollectionSchema { name: "sky@dr2".to_owned(), ..db.schema("sky").expect("reads") };
    let source = db.store().collections().expect("reads").remove(0).id;
    let snapshot = db.store().snapshot(source).expect("a view");
    db.store().copy_collection(&snapshot, schema, &|_| true).expect("copies");
    drop(snapshot);
    drop(db);
    let db = open(&folder);
    let names: Vec<String> = db
        .store()
        .collections()
        .expect("reads")
        .iter()
        .map(|record| record.schema.name.clone())
        .collect();
    assert_eq!(names, ["sky", "sky@dr1"]);
    release(&db, "dr2");
    db.drop_with_records("sky", true, &[]).expect("drops");
    assert!(db.store().collections().expect("reads").is_empty());
    assert!(db.released("sky", "dr1").is_err());
}

#[test]
fn a_collection_stays_while_a_release_of_it_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(&folder, 0..20);
    let schema = CollectionSchema { columns: Vec::new(), ..db.schema("sky").expect("reads") };
    let mut refused = Vec::new();
    let made = db.create_release("sky", "dr1", ReleaseText::default(), &mut |_, _, _| {
        for with_releases in [false, true] {
            refused.extend(db.drop_with_records("SKY", with_releases, &[]).err());
        }
    });
    made.expect("releases");
    assert!(!refused.is_empty());
    for error in &refused {
        assert_eq!(error.class(), Class::Conflict, "{error}");
        assert!(error.to_string().contains("`dr1` of `SKY` is being made"), "{error}");
    }
    db.drop_with_records("sky", true, &[]).expect("drops afterwards");
    db.create_collection(schema).expect("creates a namesake");
    assert_eq!(db.releases("sky").expect("lists"), []);
    assert!(!db.has_release("sky", "dr1"), "the namesake has nothing of it");
}

#[test]
fn what_nobody_wants_any_more_ends_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(&folder, 0..ROWS);
    let asked = std::sync::atomic::AtomicUsize::new(0);
    // Asked so often, it says no: in the middle of the copy, before the hash, and in the middle of it.
    for wanted in [0, 3, 6, 9] {
        asked.store(0, std::sync::atomic::Ordering::Relaxed);
        let go_on = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < wanted;
        let text = ReleaseText::default();
        let made = db.create_release_while("sky", "dr1", text, &mut |_, _, _| {}, &go_on);
        let error = made.expect_err("is stopped");
        assert!(matches!(error, EngineError::Storage(StorageError::Stopped)), "{error}");
        assert_eq!(db.store().collections().expect("reads").len(), 1, "nothing is left");
    }
    release(&db, "dr1");
    let stopped = db.verify_release_while("sky", "dr1", &mut |_, _, _| {}, &|| false);
    assert_eq!(stopped.expect_err("is stopped").class(), Class::Unavailable);
}

#[test]
fn a_difference_tells_what_came_went_and_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(&folder, 0..100);
    release(&db, "dr1");
    let mut moved = object(5);
    moved.position = object(350).position;
    let brighter = Object { columns: vec![Value::Float64(f64::NAN)], ..object(6) };
    let turned = Object { vectors: vec![(SpaceId(1), vec![0.5, 0.5])], ..object(7) };
    let writes = vec![
        Write::Put(moved),
        Write::Put(brighter),
        Write::Put(turned),
        Write::Delete(ObjectId::Number(8)),
        Write::Put(object(200)),
        Write::SetTokens { id: ObjectId::Number(10), tokens: vec![(SpaceId(2), tokens(1))] },
    ];
    db.write("sky", WriteMode::Logged, writes).expect("writes");
    db.add_column("sky", Column::new("new", ColumnType::Int64)).expect("adds");
    release(&db, "dr2");
    let of = |from: DiffSide, to: DiffSide| {
        db.diff_releases("sky", &[from, to], 2, &mut |_, _, _| {}).expect("compares")
    };
    let dr = |name: &str| DiffSide::Release(name.to_owned());
    let diff = of(dr("dr1"), dr("dr2"));
    assert_eq!(diff, of(dr("dr1"), DiffSide::Present));
    assert_eq!((diff.added.count, diff.removed.count, diff.moved), (1, 1, 1));
    assert_eq!(diff.added.ids, [ObjectId::Number(200)]);
    assert_eq!(diff.removed.ids, [ObjectId::Number(8)]);
    // Tokens of objects 6 went with the put, those of 10 are new.
    assert_eq!((diff.changed.count, diff.changed.ids.len()), (4, 2));
    assert_eq!(diff.columns, [("z".to_owned(), 1)]);
    assert_eq!(diff.spaces, [("image".to_owned(), 1), ("codes".to_owned(), 2)]);
    assert_eq!(diff.schema, ["column `new` is new"]);
    let back = of(dr("dr2"), dr("dr1"));
    assert_eq!((back.added.ids, back.removed.ids), (diff.removed.ids, diff.added.ids));
    assert_eq!(of(dr("dr2"), DiffSide::Present), ReleaseDiff::default());
}
