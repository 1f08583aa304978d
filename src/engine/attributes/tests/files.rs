//! Attribute files: what is written is found again, and what is damaged is refused or harmless.

use std::fs;

use tempfile::TempDir;

use super::super::Attribute;
use super::*;
use crate::engine::{BUILT_IN_COUNT, CollectionView, Db, DbOptions, Part, Write, WriteMode};
use crate::schema::{CollectionSchema, Column, ColumnType, IdKind, Object, ObjectId, Value};
use crate::sky::{Degrees, Position};

/// Everything that can be asked of an attribute, of which nothing may panic.
fn ask(attribute: &Attribute, values: &ValueSet) {
    let spans = attribute.spans(values);
    let rows: Vec<u32> = attribute.rows(&spans).collect();
    assert!(rows.iter().all(|&row| (row as usize) < attribute.row_count()));
    assert!(attribute.count(&spans) <= attribute.row_count() * spans.as_slice().len());
    attribute.select(&[0, 1, u32::MAX], &spans, &mut Vec::new());
    attribute.narrow(0, &mut vec![u64::MAX; attribute.row_count() / 64 + 3], &spans);
    assert!(!attribute.holds(usize::MAX, &spans));
    for portion in [false, true].into_iter().flat_map(|last| attribute.in_order(last, 7)) {
        assert!(portion.iter().all(|&row| (row as usize) < attribute.row_count()));
    }
}

fn texts() -> [ArrayRef; 1] {
    let text = |row: usize| ["GALAXY", "QSO", "STAR", "", "Ω"].get(row % 6);
    let cells: Vec<Cell> =
        (0..40).map(|row| text(row).map(|text| Scalar::Text((*text).to_owned()))).collect();
    [array(Kind::Text, &cells)]
}

fn reals() -> [ArrayRef; 1] {
    let cells: Vec<Cell> = (0..40)
        .map(|row| {
            (row % 7 != 0)
                .then(|| Scalar::Real(if row % 5 == 0 { f64::NAN } else { f64::from(row % 9) }))
        })
        .collect();
    [array(Kind::Double, &cells)]
}

/// Nearly as many values as rows, so that marks tell where they begin.
fn measurements() -> [ArrayRef; 1] {
    let cells: Vec<Cell> = (0..80)
        .map(|row| {
            let value = if row % 19 == 0 { f64::NAN } else { f64::from(row * 37 % 73) };
            (row % 23 != 0).then_some(Scalar::Real(value))
        })
        .collect();
    [array(Kind::Double, &cells)]
}

#[test]
fn damage_is_refused_or_harmless() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a");
    let sets = [
        ValueSet::everything(),
        ValueSet::among(["GALAXY", "Q", "Ω"].map(|text| Scalar::Text(text.to_owned()))),
        !ValueSet::among((0..9).step_by(2).map(|value| Scalar::Real(value.into()))),
        ValueSet::null(),
    ];
    let columns =
        [(Kind::Text, texts(), 1), (Kind::Double, reals(), 1), (Kind::Double, measurements(), 2)];
    for (kind, arrays, format) in columns {
        let rows = arrays[0].len();
        attribute(&path, kind, &arrays);
        let sound = fs::read(&path).expect("read");
        assert!(sound.starts_with(format!("SIDATT0{format}").as_bytes()), "{kind:?}");
        for place in 0..sound.len() {
            for value in [0, 0xff, sound[place] ^ 1, sound[place].wrapping_add(9)] {
                let mut damaged = sound.clone();
                damaged[place] = value;
                fs::write(&path, &damaged).expect("written");
                if let Ok(Some(attribute)) = file::open(&path, kind, rows) {
                    sets.iter().for_each(|values| ask(&attribute, values));
                }
            }
        }
        for len in 0..sound.len() {
            fs::write(&path, &sound[..len]).expect("written");
            let error = file::open(&path, kind, rows).map(|_| ()).expect_err("too short");
            assert!(error.to_string().contains("sidereus index build"), "{error}");
        }
        fs::write(&path, &sound).expect("written");
        assert!(file::open(&path, kind, rows + 1).is_err(), "another number of rows");
        assert!(file::open(&path, Kind::Integer, rows).is_err(), "another type");
    }
    assert!(file::open(&folder.path().join("none"), Kind::Text, 40).expect("no error").is_none());
}

/// Rows of every type, those of `names` all different.
fn objects(count: i64) -> Vec<Write> {
    let object = |id: i64| {
        let class = ["GALAXY", "QSO", "STAR"][(id % 3) as usize].to_owned();
        let columns = vec![
            if id % 5 == 0 { Value::Null } else { Value::Boolean(id % 2 == 0) },
            Value::Int64(id * id % 1000),
            if id % 7 == 0 { Value::Float32(f32::NAN) } else { Value::Float32(id as f32 / 10.0) },
            if id % 11 == 0 { Value::Null } else { Value::Float64((id % 400) as f64 - 0.5) },
            Value::Text(class),
            Value::FloatList(vec![1.0]),
            Value::Text(format!("name {id}")),
        ];
        let (ra, dec) = ((id * 77 % 360) as f64, (id * 31 % 170) as f64 - 85.0);
        let position = Position::new(Degrees(ra), Degrees(dec)).expect("on the sphere");
        Object { id: ObjectId::Number(id), position, columns, vectors: Vec::new() }
    };
    (0..count).map(|id| Write::Put(object(id))).collect()
}

fn schema() -> CollectionSchema {
    let columns = [
        ("flag", ColumnType::Boolean),
        ("count", ColumnType::Int64),
        ("mag", ColumnType::Float32),
        ("z", ColumnType::Float64),
        ("class", ColumnType::Text),
        ("spectrum", ColumnType::FloatList),
        ("name", ColumnType::Text),
    ];
    CollectionSchema {
        name: "rows".to_owned(),
        id_kind: IdKind::Number,
        columns: columns.map(|(name, kind)| Column::new(name, kind)).into(),
        spaces: Vec::new(),
        description: String::new(),
    }
}

fn opened(folder: &TempDir) -> Db {
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) };
    Db::open(options).expect("opened")
}

fn part(view: &CollectionView) -> &Part {
    view.parts()[0].part()
}

fn cell(part: &Part, column: usize, row: usize) -> Cell {
    match part.value_at(column, row) {
        Value::Boolean(value) => Some(Scalar::Bool(value)),
        Value::Int64(value) => Some(Scalar::Int(value)),
        Value::Float32(value) => Some(Scalar::Real(value.into())),
        Value::Float64(value) => Some(Scalar::Real(value)),
        Value::Text(text) => Some(Scalar::Text(text)),
        _ => None,
    }
}

#[test]
fn segments_have_attributes_after_every_opening() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = opened(&folder);
    db.create_collection(schema()).expect("created");
    db.write("rows", WriteMode::Bulk, objects(3_000)).expect("written");
    assert!(part(&db.view("rows").expect("a view")).attribute(1).is_none(), "the tail has none");
    let mut stages = Vec::new();
    let mut progress = |stage: &str, done, total| stages.push((stage.to_owned(), done, total));
    db.build_index("rows", &mut progress).expect("built");
    // The object id, both coordinates and six columns.
    assert!(stages.contains(&("attributes".to_owned(), 9, 9)), "{stages:?}");
    drop(db);
    let db = opened(&folder);
    let view = db.view("rows").expect("a view");
    let part = part(&view);
    assert_eq!(part.row_count(), 3_000);
    for column in 0..BUILT_IN_COUNT + 6 {
        let Some(attribute) = part.attribute(column) else {
            assert_eq!(column, 3, "only cells have none");
            continue;
        };
        let cells: Vec<Cell> = (0..3_000).map(|row| cell(part, column, row)).collect();
        for place in [0, 5, 77, 1234] {
            let Some(value) = cells[place].clone() else { continue };
            let wishes = [
                Wish::Between(Bound::Included(value.clone()), Bound::Unbounded),
                Wish::Not(Box::new(Wish::Among(vec![value.clone()]))),
                Wish::Or(Box::new(Wish::Among(vec![value])), Box::new(Wish::Null)),
            ];
            for wish in wishes {
                let expected: Vec<bool> = cells.iter().map(|cell| wish.holds(cell)).collect();
                check(attribute, &wish.set(), &expected);
            }
        }
    }
    assert!(part.attribute(BUILT_IN_COUNT + 6).is_none());
}

#[test]
fn segments_without_or_with_damaged_attributes_are_opened() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = opened(&folder);
    db.create_collection(schema()).expect("created");
    db.write("rows", WriteMode::Bulk, objects(1_000)).expect("written");
    db.build_index("rows", &mut |_, _, _| {}).expect("built");
    drop(db);
    let collection = fs::read_dir(folder.path().join("segments")).expect("listed").next();
    let collection = collection.expect("one").expect("read").path();
    let segment = fs::read_dir(collection).expect("listed").next().expect("one").expect("read");
    fs::remove_file(segment.path().join("column-4.attribute")).expect("removed");
    fs::write(segment.path().join("column-5.attribute"), b"SIDATT01").expect("written");
    let db = opened(&folder);
    let view = db.view("rows").expect("a view");
    assert_eq!(view.live_count(), 1_000);
    let found: Vec<bool> = (0..8).map(|column| part(&view).attribute(column).is_some()).collect();
    assert_eq!(found, [true, true, true, false, false, false, true, true]);
}

#[test]
fn small_segments_have_no_attributes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = opened(&folder);
    db.create_collection(schema()).expect("created");
    db.write("rows", WriteMode::Bulk, objects(100)).expect("written");
    db.build_index("rows", &mut |_, _, _| {}).expect("built");
    let view = db.view("rows").expect("a view");
    assert!((0..10).all(|column| part(&view).attribute(column).is_none()));
}
