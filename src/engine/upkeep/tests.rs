//! Whole and damaged data directories under the doctor's eyes.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::engine::{Db, DbOptions, ReleaseText, Write, WriteMode};
use crate::schema::{CollectionSchema, Column, ColumnType, IdKind, Object, ObjectId, Value};
use crate::sky::{Degrees, Position};

fn options(folder: &TempDir) -> DbOptions {
    DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) }
}

fn filled() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let db = Db::open(options(&folder)).expect("opens");
    db.create_collection(CollectionSchema {
        name: "sky".to_owned(),
        id_kind: IdKind::Number,
        columns: vec![Column::new("z", ColumnType::Float64)],
        spaces: Vec::new(),
        description: String::new(),
    })
    .expect("creates");
    let object = |number: i64| {
        Write::Put(Object {
            id: ObjectId::Number(number),
            position: Position::new(Degrees(number as f64 / 3.0), Degrees(0.5)).expect("a place"),
            columns: vec![Value::Float64(number as f64)],
            vectors: Vec::new(),
        })
    };
    db.write("sky", WriteMode::Bulk, (0..900).map(object).collect()).expect("writes");
    db.build_index("sky", &mut |_, _, _| {}).expect("builds");
    db.create_release("sky", "dr1", ReleaseText::default(), &mut |_, _, _| {}).expect("releases");
    folder
}

fn examined(folder: &TempDir, repair: bool) -> Vec<Finding> {
    examine(options(folder), repair, &mut |_, _, _| {}).expect("opens")
}

fn segment_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("lists").flatten() {
        if entry.path().is_dir() {
            found.extend(segment_files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

#[test]
fn a_whole_directory_has_nothing_to_be_found() {
    let folder = filled();
    assert_eq!(examined(&folder, false), []);
    let db = Db::open(options(&folder)).expect("opens");
    let report = db.scrub(0, &mut |_| true);
    assert!(report.is_complete && report.problems.is_empty(), "{report:?}");
    assert!(report.bytes > 50_000, "{report:?}");
    assert!(!db.scrub(0, &mut |_| false).is_complete, "ends when it is told to");
    let began = std::time::Instant::now();
    db.scrub(report.bytes * 2, &mut |_| true);
    assert!(began.elapsed().as_secs_f64() > 0.4, "no faster than allowed");
}

#[test]
fn a_segment_that_cannot_be_read_now_is_kept() {
    let folder = filled();
    let victim = segment_files(&folder.path().join("segments/00000001")).remove(0);
    let aside = folder.path().join("aside");
    fs::rename(&victim, &aside).expect("moves");
    // Reading a folder is an error of the system that tells nothing about the contents.
    fs::create_dir(&victim).expect("makes");
    let found = examined(&folder, true);
    assert!(found.len() == 1 && !found[0].is_repaired, "{found:?}");
    assert!(found[0].what.contains("is left as it is"), "{found:?}");
    fs::remove_dir(&victim).expect("removes");
    fs::rename(&aside, &victim).expect("moves back");
    assert_eq!(examined(&folder, true), []);
}

#[test]
fn every_flipped_bit_of_a_segment_is_found_and_repaired() {
    let folder = filled();
    for path in segment_files(&folder.path().join("segments/00000001")) {
        let bytes = fs::read(&path).expect("reads");
        for place in [0, bytes.len() / 3, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            fs::write(&path, &flipped).expect("writes");
            let found = examined(&folder, false);
            assert_eq!(found.len(), 1, "{} byte {place}: {found:?}", path.display());
            assert!(!found[0].is_repaired);
        }
        fs::write(&path, &bytes).expect("writes");
    }
    let victim = segment_files(&folder.path().join("segments/00000001")).remove(0);
    let mut bytes = fs::read(&victim).expect("reads");
    bytes[40] ^= 8;
    fs::write(&victim, bytes).expect("writes");
    let found = examined(&folder, true);
    assert!(found.len() == 1 && found[0].is_repaired, "{found:?}");
    assert_eq!(examined(&folder, false), []);
    let db = Db::open(options(&folder)).expect("opens");
    assert_eq!(db.collection("sky").expect("is there").object_count, 900);
    assert_eq!(db.index_status("sky").expect("built again").indexed_version, 1);
}

#[test]
fn a_segment_that_a_scrub_finds_damaged_is_not_asked_again() {
    let folder = filled();
    let db = Db::open(options(&folder)).expect("opens");
    let built = db.index_status("sky").expect("is there");
    let victim = segment_files(&folder.path().join("segments/00000001")).remove(0);
    let damaged = victim.parent().expect("a folder").to_owned();
    let mut bytes = fs::read(&victim).expect("reads");
    bytes[40] ^= 8;
    fs::write(&victim, bytes).expect("writes");
    let report = db.scrub(0, &mut |_| true);
    assert!(report.is_complete && report.problems.len() == 1, "{report:?}");
    assert!(report.problems[0].contains("made again from the records"), "{report:?}");
    // Of the same version, and whole.
    let again = db.index_status("sky").expect("is there");
    assert_eq!(again.indexed_version, built.indexed_version);
    assert_eq!(db.scrub(0, &mut |_| true).problems, Vec::<String>::new());
    drop(db);
    assert_eq!(examined(&folder, false), []);

    // A segment without its manifest is what a removal left.
    let remains = damaged.with_file_name("00000000000000000000");
    fs::create_dir_all(&remains).expect("makes");
    fs::write(remains.join("rows.arrow"), b"half").expect("writes");
    let db = Db::open(options(&folder)).expect("opens");
    assert_eq!(db.collection("sky").expect("is there").object_count, 900);
    db.index_status("sky").expect("is there");
    assert!(!remains.exists());
}
