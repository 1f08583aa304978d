//! Fits and predictions beside writers: labels and vectors of one moment, and nothing written that was made of yesterday.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sidereus::engine::{Db, DbOptions, RecordKind, Write, WriteMode};
use sidereus::learn::Progress;
use sidereus::probes::{self, Fitted, ProbeError, Tools};
use sidereus::query::StopFlag;
use sidereus::schema::{CollectionSchema, ColumnType, Object, ObjectId, SpaceId, Value};
use sidereus::sky::{Degrees, Position};
use sidereus::vector::Metric;
use sidereus::wire::v1::{ApplyProbeRequest, ApplyProbeResponse, FitProbeRequest, ProbeSpec};

use super::{noise, ridge, spec};
use crate::support::made;

const ROWS: i64 = 240;
const PLAIN: SpaceId = SpaceId(1);

/// Places of the columns.
const Y: usize = 0;
const MAG: usize = 2;
const PREDICTED: usize = 3;

fn numbers(id: i64, writing: u64) -> [f32; 3] {
    let seed = id as u64 * 1_000 + writing * 7_919;
    [0, 1, 2].map(|at| noise(seed + at) as f32)
}

/// Of the `writing`-th time that it is written: `y` is exactly linear in the vector and in `mag`.
fn row(id: i64, writing: u64) -> Object {
    let vector = numbers(id, writing);
    let mag = noise(id as u64 * 31 + writing);
    let [a, b, c] = vector.map(f64::from);
    let y = 2.0 * a - b + 0.5 * c + 3.0 * mag + 7.0;
    let side = if id % 4 == 3 { "test" } else { "train" };
    let position = Position::new(Degrees(id as f64 % 360.0), Degrees(id as f64 / 4.0 - 30.0));
    Object {
        id: ObjectId::Number(id),
        position: position.expect("a position"),
        columns: vec![Value::Float64(y), Value::Text(side.to_owned()), Value::Float64(mag)],
        vectors: vec![(PLAIN, vector.to_vec())],
    }
}

fn sky() -> CollectionSchema {
    let columns =
        [("y", ColumnType::Float64), ("side", ColumnType::Text), ("mag", ColumnType::Float64)];
    made::schema("sky", &columns, vec![made::space("plain", 3, Metric::L2)])
}

fn filled(folder: &Path) -> Db {
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder) };
    let db = Db::open(options).expect("opens");
    db.create_collection(sky()).expect("created");
    put(&db, 0..ROWS, 0);
    db
}

fn put(db: &Db, ids: std::ops::Range<i64>, writing: u64) {
    let writes = ids.map(|id| Write::Put(row(id, writing))).collect();
    db.write("sky", WriteMode::Logged, writes).expect("written");
}

/// New vectors, of which the labels know nothing.
fn spoil(db: &Db, ids: std::ops::Range<i64>) {
    let set = |id: i64| Write::SetVectors {
        id: ObjectId::Number(id),
        vectors: vec![(PLAIN, numbers(id, 99).to_vec())],
    };
    db.write("sky", WriteMode::Logged, ids.map(set).collect()).expect("written");
}

fn exact() -> ProbeSpec {
    let columns = vec!["mag".to_owned()];
    ProbeSpec { columns, ..spec("plain", "y", ridge(&[1e-9])) }
}

/// Fits, and does something the first time that a stage begins with a word.
fn fit_and(
    db: &Db,
    name: &str,
    word: &'static str,
    act: impl Fn() + Sync,
) -> Result<Fitted, ProbeError> {
    let has_acted = AtomicBool::new(false);
    let tell = |stage: &str, _: u64, _: u64| {
        if stage.starts_with(word) && !has_acted.swap(true, Ordering::SeqCst) {
            act();
        }
    };
    let stop = AtomicBool::new(false);
    let request = FitProbeRequest {
        collection: "sky".to_owned(),
        spec: Some(exact()),
        name: name.to_owned(),
        ..FitProbeRequest::default()
    };
    let tools = Tools::new(db.clone(), None);
    let (view, progress) = (db.view("sky").expect("a view"), Progress::new(&tell, &stop));
    let fitted = probes::fit(&tools, &view, request, &StopFlag::default(), progress);
    assert!(has_acted.into_inner(), "nothing began with `{word}`");
    fitted
}

fn r2(fitted: &Fitted) -> f64 {
    fitted.probe.metrics.iter().find(|metric| metric.name == "r2").expect("r2").value
}

#[test]
fn a_fit_takes_labels_and_vectors_of_one_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(folder.path());
    // After the view was made and before vectors are read: these are left out.
    let fitted = fit_and(&db, "", "choosing", || spoil(&db, 0..40)).expect("fits");
    assert!(r2(&fitted) > 1.0 - 1e-9, "{}", r2(&fitted));
    let probe = &fitted.probe;
    assert_eq!((probe.n_changed, probe.n_train + probe.n_test), (40, ROWS as u64 - 40));
    let told = "40 objects were written again while they were read, and are left out";
    assert!(probe.warnings.iter().any(|warning| warning == told), "{:?}", probe.warnings);

    // While vectors are read: what is read is of before.
    put(&db, 0..ROWS, 1);
    let fitted = fit_and(&db, "", "reading plain", || spoil(&db, 0..200)).expect("fits");
    assert!(r2(&fitted) > 1.0 - 1e-9, "{}", r2(&fitted));
    assert_eq!(fitted.probe.n_changed, 0);

    // Objects that are deleted meanwhile are in nobody's way.
    put(&db, 0..ROWS, 2);
    let delete = || {
        let gone = (0..20).map(|id| Write::Delete(ObjectId::Number(id))).collect();
        db.write("sky", WriteMode::Logged, gone).expect("deleted");
    };
    let fitted = fit_and(&db, "", "choosing", delete).expect("fits");
    assert!(r2(&fitted) > 1.0 - 1e-9 && fitted.probe.n_changed == 20);
}

#[test]
fn a_collection_that_is_made_again_during_a_fit_gets_no_probe_of_the_old_one() {
    for word in ["choosing", "reading plain", "predicting", "keeping"] {
        let folder = tempfile::tempdir().expect("a folder");
        let db = filled(folder.path());
        let again = || {
            db.drop_collection("sky").expect("dropped");
            db.create_collection(sky()).expect("made again");
            put(&db, 0..ROWS, 3);
        };
        let error = fit_and(&db, "lost", word, again).expect_err(word);
        assert!(error.to_string().contains("sky") || word == "choosing", "{word}: {error}");
        assert!(db.records("sky", RecordKind::Probe).expect("readable").is_empty(), "{word}");
        fit_and(&db, "lost", "choosing", || ()).expect("fits the new one");
    }
}

fn apply(db: &Db, column: &str, tell: &mut dyn FnMut(ApplyProbeResponse)) {
    let request = ApplyProbeRequest {
        collection: "sky".to_owned(),
        name: "exact".to_owned(),
        column: column.to_owned(),
        ..ApplyProbeRequest::default()
    };
    let tools = Tools::new(db.clone(), None);
    let flag = AtomicBool::new(false);
    let view = db.view("sky").expect("a view");
    probes::apply(&tools, &view, &request, &StopFlag::default(), &flag, tell).expect("applied");
}

/// Checks every prediction that is there against `y`, which it equals; how many there are.
fn check_predictions(db: &Db) -> usize {
    let ids: Vec<ObjectId> = (0..ROWS).map(ObjectId::Number).collect();
    let mut count = 0;
    for object in db.get("sky", &ids).expect("readable").into_iter().flatten() {
        let number = |place: usize| object.columns[place].as_f64();
        if let Some(predicted) = number(PREDICTED) {
            let y = number(Y).expect("a number");
            assert!((predicted - y).abs() < 1e-6, "{}: {predicted}, {y}", object.id);
            count += 1;
        }
    }
    count
}

#[test]
fn predictions_are_of_what_the_object_is_when_they_are_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(folder.path());
    fit_and(&db, "exact", "choosing", || ()).expect("fits");
    let mut told = ApplyProbeResponse::default();
    // Once the objects were chosen, before any is predicted.
    apply(&db, "p", &mut |message| {
        if message.done == 0 {
            put(&db, 0..100, 5);
            let mag = vec![(MAG, Value::Float64(f64::NAN))];
            let gone = Write::SetColumns { id: ObjectId::Number(150), columns: mag };
            db.write("sky", WriteMode::Logged, vec![gone]).expect("written");
        }
        told = message;
    });
    assert_eq!((told.done, told.total, told.skipped), (ROWS as u64, ROWS as u64, 0));
    assert_eq!(check_predictions(&db), ROWS as usize - 1, "one lacks a feature by now");
}

/// Whatever is written between: no object has a prediction of what it was before.
#[test]
fn no_prediction_of_yesterday_is_written_over_a_new_object() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(folder.path());
    fit_and(&db, "exact", "choosing", || ()).expect("fits");
    apply(&db, "p", &mut |_| ());
    assert_eq!(check_predictions(&db), ROWS as usize);
    for round in 0..12 {
        let is_done = Arc::new(AtomicBool::new(false));
        let (writer, until) = (db.clone(), Arc::clone(&is_done));
        let writing = std::thread::spawn(move || {
            let mut writing = 10 + round * 1_000;
            while !until.load(Ordering::SeqCst) {
                writing += 1;
                let first = writing as i64 * 17 % (ROWS - 8);
                put(&writer, first..first + 8, writing);
            }
        });
        apply(&db, "p", &mut |_| ());
        is_done.store(true, Ordering::SeqCst);
        writing.join().expect("writes");
        check_predictions(&db);
    }
}
