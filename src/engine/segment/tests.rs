//! Segments as a database makes and opens them, whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::engine::residency::Residency;
use crate::engine::{Db, DbOptions, PartKind, Write, WriteMode};
use crate::schema::{CollectionSchema, Column, ColumnType, IdKind, Object, ObjectId, Value};
use crate::sky::{Cone, Degrees, Position, Radians, Region};
use crate::vector::RowBitmap;

const ROWS: i64 = 3_000;

fn open(folder: &Path) -> Db {
    Db::open(DbOptions { auto_index_rows: None, ..DbOptions::new(folder) }).expect("opens")
}

fn position(number: i64) -> Position {
    // The golden angle: spread evenly, without a pattern.
    let share = (number as f64 + 0.5) / ROWS as f64;
    let ra = (number as f64 * 137.507_764) % 360.0;
    Position::new(Degrees(ra), Radians((2.0 * share - 1.0).asin()).into()).expect("a place")
}

/// A database with one built segment.
fn built() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(folder.path());
    let columns =
        vec![Column::new("z", ColumnType::Float64), Column::new("note", ColumnType::Text)];
    db.create_collection(CollectionSchema {
        name: "sky".to_owned(),
        id_kind: IdKind::Number,
        columns,
        spaces: Vec::new(),
        description: String::new(),
    })
    .expect("creates");
    let object = |number: i64| Object {
        id: ObjectId::Number(number),
        position: position(number),
        columns: vec![Value::Float64(number as f64), Value::Text(format!("number {number}"))],
        vectors: Vec::new(),
    };
    let writes = (0..ROWS).map(|number| Write::Put(object(number))).collect();
    db.write("sky", WriteMode::Bulk, writes).expect("writes");
    db.build_index("sky", &mut |_, _, _| {}).expect("builds");
    folder
}

/// A file of the only segment.
fn file(folder: &TempDir, name: &str) -> PathBuf {
    let mut at = folder.path().join("segments");
    for _ in 0..2 {
        let mut entries = fs::read_dir(&at).expect("lists").flatten();
        at = entries.next().expect("an entry").path();
    }
    at.join(name)
}

/// Every row is there with its values, and regions find what they contain.
fn check(folder: &TempDir) {
    let db = open(folder.path());
    let view = db.view("sky").expect("a view");
    assert_eq!(view.live_count(), ROWS as u64);
    let parts = view.parts();
    assert_eq!(parts.len(), 1);
    let part = parts[0].part();
    assert_eq!(part.kind(), PartKind::Segment);
    for row in 0..part.row_count() {
        let Some(ObjectId::Number(number)) = part.id_at(row) else { panic!("row {row} has no id") };
        assert_eq!(part.position_at(row), Some(position(number)));
        assert_eq!(part.value_at(4, row), Value::Float64(number as f64));
        assert_eq!(part.value_at(5, row), Value::Text(format!("number {number}")));
    }
    for radius in [0.0, 1.0, 30.0, 179.9] {
        let region = Region::from(Cone::new(position(7), Degrees(radius)).expect("a radius"));
        let mut marked = RowBitmap::empty(part.row_count());
        part.region_test(&region).mark_all(&part.region_rows(&region), &mut marked);
        let contained =
            |row: &usize| part.position_at(*row).is_some_and(|position| region.contains(&position));
        assert!(marked.iter().eq((0..part.row_count()).filter(contained)), "{region}");
    }
}

#[test]
fn a_segment_is_opened_as_it_was_built() {
    let folder = built();
    let len = fs::metadata(file(&folder, "sky.directions")).expect("is there").len();
    assert_eq!(len, 64 + 8 * ROWS as u64);
    check(&folder);
}

#[test]
fn an_older_segment_has_its_directions_made() {
    let folder = built();
    fs::remove_file(file(&folder, "sky.directions")).expect("removes");
    check(&folder);
    assert!(!file(&folder, "sky.directions").exists(), "the segment was kept");
}

#[test]
fn damaged_files_cost_a_segment_and_no_row() {
    for name in ["sky.directions", "rows.arrow"] {
        for keep in [0, 3, 9, 100, 5_000] {
            let folder = built();
            let path = file(&folder, name);
            let bytes = fs::read(&path).expect("reads");
            fs::write(&path, &bytes[..keep]).expect("writes");
            check(&folder);
        }
    }
}

/// Lengths and places in the file, changed one by one: an error or the old answer, never a panic.
#[test]
fn damaged_numbers_do_not_panic() {
    let folder = built();
    let path = file(&folder, "rows.arrow");
    let bytes = fs::read(&path).expect("reads");
    let segment = path.parent().expect("a folder");
    let mut manifest = super::manifest::read(segment).expect("reads");
    // As of a segment without checksums: with them nothing of this is ever read.
    manifest.files.clear();
    let db = open(folder.path());
    let schema = db.schema("sky").expect("a schema");
    let arrow_schema = crate::engine::columns::resident_schema(&schema);
    drop(db);
    let footer = i32::from_le_bytes(bytes[bytes.len() - 10..][..4].try_into().expect("4 bytes"));
    let in_footer = bytes.len() - 10 - footer as usize..bytes.len();
    let in_head = 0..2_048;
    let copy = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(segment).expect("lists").flatten() {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copies");
    }
    let residency = Residency::new(0);
    let mut refused = 0;
    for place in in_head.chain(in_footer).step_by(3) {
        for value in [0xFF, bytes[place] ^ 0x10] {
            let mut changed = bytes.clone();
            changed[place] = value;
            // Written anew, never in place: an earlier mapping may still be alive.
            let target = copy.path().join("rows.arrow");
            fs::remove_file(&target).expect("removes");
            fs::write(&target, &changed).expect("writes");
            refused += usize::from(
                super::open(copy.path(), &manifest, &schema, &arrow_schema, &residency).is_err(),
            );
        }
    }
    assert!(refused > 100, "{refused}");
}

/// A build that was killed after its rows were complete.
#[test]
fn an_interrupted_build_is_gone_on_with() {
    let folder = built();
    let segment = file(&folder, "").components().as_path().to_owned();
    let manifest = super::manifest::read(&segment).expect("reads");
    let (collection_folder, schema) = {
        let db = open(folder.path());
        let schema = db.schema("sky").expect("a schema");
        (segment.parent().expect("a folder").to_owned(), schema)
    };
    let interrupted = super::unfinished::folder(&collection_folder, manifest.version);
    fs::rename(&segment, &interrupted).expect("renames");
    fs::remove_file(interrupted.join("segment.toml")).expect("removes");
    super::unfinished::note_rows(&interrupted, &schema, &manifest).expect("notes");
    let written = fs::metadata(interrupted.join("rows.arrow")).and_then(|rows| rows.modified());
    assert!(super::is_unfinished(&collection_folder));
    check(&folder);
    let made = file(&folder, "rows.arrow");
    assert_eq!(fs::metadata(made).and_then(|rows| rows.modified()).ok(), written.ok());
    assert!(!super::is_unfinished(&collection_folder));
}

/// Rows that were written by another schema, or are not complete, are of no use.
#[test]
fn an_interrupted_build_of_other_rows_is_begun_again() {
    for is_noted in [false, true] {
        let folder = built();
        let segment = file(&folder, "").components().as_path().to_owned();
        let manifest = super::manifest::read(&segment).expect("reads");
        let mut schema = open(folder.path()).schema("sky").expect("a schema");
        schema.columns.pop();
        let collection_folder = segment.parent().expect("a folder").to_owned();
        let interrupted = super::unfinished::folder(&collection_folder, manifest.version);
        fs::rename(&segment, &interrupted).expect("renames");
        fs::remove_file(interrupted.join("segment.toml")).expect("removes");
        fs::write(interrupted.join("rows.arrow"), "nothing that could be read").expect("writes");
        if is_noted {
            super::unfinished::note_rows(&interrupted, &schema, &manifest).expect("notes");
        }
        check(&folder);
    }
}
