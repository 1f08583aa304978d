//! Derived values of a part of several blocks: of all rows, of many, of few, and of runs across blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sidereus::engine::{
    BATCH_ROWS, CollectionView, Db, DbOptions, DerivedColumn, DerivedKind, Formula, Write,
    WriteMode,
};
use sidereus::schema::{ColumnType, Object, ObjectId as Id, SpaceId, Value as Stored};
use sidereus::sky::{Degrees, Position};
use sidereus::vector::Metric;

use super::{NAME, sum_of};
use crate::support::made;

const ROWS: i64 = 140_000;
const WIDTH: usize = 11;

/// The weighted sum of eight numbers, two others and a column.
#[derive(Debug)]
struct Wide {
    spaces: [SpaceId; 2],
    columns: [String; 1],
    outputs: [DerivedColumn; 1],
    computed: AtomicUsize,
}

impl Formula for Wide {
    fn spaces(&self) -> &[SpaceId] {
        &self.spaces
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn outputs(&self) -> &[DerivedColumn] {
        &self.outputs
    }

    fn compute(&self, count: usize, inputs: &[f64]) -> Vec<Vec<f64>> {
        self.computed.fetch_add(count, Ordering::Relaxed);
        assert_eq!(inputs.len(), count * WIDTH);
        vec![inputs.chunks(WIDTH).map(sum_of).collect()]
    }
}

/// One of ten lacks the directions' vector, one of seven the column.
fn object(id: i64) -> Object {
    let component = |axis: i64| ((id * (axis + 3) * 7_919) % 1_000) as f32 / 8.0 - 60.0;
    let mut vectors = vec![(SpaceId(1), (0..8).map(component).collect())];
    if id % 10 != 0 {
        vectors.push((SpaceId(2), vec![component(9) + 200.0, component(11)]));
    }
    let z = if id % 7 == 0 { Stored::Null } else { Stored::Float64(id as f64 / 64.0) };
    let position = Position::new(
        Degrees((id * 37 % 36_000) as f64 / 100.0),
        Degrees((id * 11 % 12_000) as f64 / 100.0 - 60.0),
    );
    Object {
        id: Id::Number(id),
        position: position.expect("a position"),
        columns: vec![z],
        vectors,
    }
}

fn expected(id: i64) -> Option<f64> {
    expected_of(&object(id))
}

fn expected_of(object: &Object) -> Option<f64> {
    let z = object.columns[0].as_f64()?;
    let numbers = object.vectors.iter().flat_map(|(_, vector)| vector).copied().map(f64::from);
    let numbers: Vec<f64> = numbers.chain([z]).collect();
    (numbers.len() == WIDTH).then(|| sum_of(&numbers))
}

fn filled(folder: &std::path::Path, rows: i64) -> Db {
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder) };
    let db = Db::open(options).expect("opens");
    let spaces = vec![made::space("flat", 8, Metric::Ip), made::space("angle", 2, Metric::Cosine)];
    db.create_collection(made::schema(NAME, &[("z", ColumnType::Float64)], spaces))
        .expect("created");
    let writes = (0..rows).map(|id| Write::Put(object(id))).collect();
    db.write(NAME, WriteMode::Bulk, writes).expect("written");
    db
}

fn formula() -> Arc<Wide> {
    let output = DerivedColumn { name: "probe.wide".to_owned(), kind: DerivedKind::Real };
    Arc::new(Wide {
        spaces: [SpaceId(1), SpaceId(2)],
        columns: ["z".to_owned()],
        outputs: [output],
        computed: AtomicUsize::new(0),
    })
}

#[test]
fn blocks_and_single_rows_are_computed_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = filled(folder.path(), ROWS);
    let formula = formula();
    db.set_formulas(NAME, vec![Arc::clone(&formula) as _]).expect("fits");
    let view = db.view(NAME).expect("a view");
    let parts = view.parts();
    let [live] = parts.as_slice() else { panic!("{} parts", parts.len()) };
    let part = live.part();
    let rows = part.row_count() as u32;
    assert!(part.row_count() > 2 * BATCH_ROWS, "three blocks");
    let wanted = |row: u32| match part.id_at(row as usize) {
        Some(Id::Number(id)) => expected(id),
        other => panic!("a number: {other:?}"),
    };
    // How many objects the formula was asked about for these rows.
    let derived = |rows: &[u32]| {
        let before = formula.computed.load(Ordering::Relaxed);
        let values = view.derive(live, &[0], rows, &|| false).expect("read").expect("not stopped");
        for (place, row) in rows.iter().enumerate() {
            assert_eq!(values[0].real(place), wanted(*row), "row {row}");
        }
        formula.computed.load(Ordering::Relaxed) - before
    };
    let complete = |rows: &[u32]| rows.iter().filter(|row| wanted(**row).is_some()).count();
    let few: Vec<u32> = (0..rows).step_by(997).collect();
    let run: Vec<u32> = (BATCH_ROWS as u32 - 50..BATCH_ROWS as u32 + 80).collect();
    let many: Vec<u32> = (0..rows).filter(|row| row % 3 == 1).collect();
    let all: Vec<u32> = (0..rows).collect();
    assert_eq!(derived(&[]), 0);
    for rows in [&few, &run, &few] {
        assert_eq!(derived(rows), complete(rows), "one by one, and not kept");
    }
    let stopped = view.derive(live, &[0], &many, &|| true).expect("nothing is read");
    assert!(stopped.is_none(), "stopped");
    assert_eq!(derived(&many), complete(&all), "by blocks");
    for rows in [&many, &few, &run, &all] {
        assert_eq!(derived(rows), 0, "kept");
    }
}

#[test]
fn without_memory_everything_is_computed_again() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(filled(folder.path(), ROWS));
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) };
    let db = Db::open(DbOptions { derived_bytes: Some(0), ..options }).expect("opens");
    let formula = formula();
    db.set_formulas(NAME, vec![Arc::clone(&formula) as _]).expect("fits");
    let view = db.view(NAME).expect("a view");
    let rows: Vec<u32> = (0..1_000).collect();
    for times in 1..3 {
        for live in view.parts() {
            let rows = &rows[..rows.len().min(live.part().row_count())];
            let values = view.derive(live, &[0], rows, &|| false).expect("read").expect("values");
            let Some(Id::Number(first)) = live.part().id_at(0) else { panic!("a number") };
            assert_eq!(values[0].real(0), expected(first));
        }
        let computed = formula.computed.load(Ordering::Relaxed);
        assert!(computed > 0 && computed.is_multiple_of(times), "{computed} after {times}");
    }
}

/// The store has nothing any more of what an older view shows of a row that was rewritten: what is computed of the row instead is
/// as old as the answer, whichever view asked for its block first.
#[test]
fn what_is_computed_of_rewritten_rows_is_not_kept() {
    const ID: i64 = 1;
    for is_newer_first in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let db = filled(folder.path(), 1_000);
        db.build_index(NAME, &mut |_, _, _| {}).expect("built");
        let formula = formula();
        db.set_formulas(NAME, vec![Arc::clone(&formula) as _]).expect("fits");
        let older = db.view(NAME).expect("a view");
        let rewrite = |angle: [f32; 2]| {
            let vectors = vec![(SpaceId(2), angle.to_vec())];
            let write = Write::SetVectors { id: Id::Number(ID), vectors };
            db.write(NAME, WriteMode::Logged, vec![write]).expect("written");
            let mut object = object(ID);
            object.vectors[1].1 = angle.to_vec();
            expected_of(&object)
        };
        // How many objects of the segment the formula was asked about, and what a view tells of the rewritten one.
        let asked = |view: &CollectionView| {
            let before = formula.computed.load(Ordering::Relaxed);
            let parts = view.parts();
            let live =
                parts.iter().find(|live| live.part().row_count() == 1_000).expect("is there");
            let rows: Vec<u32> = (0..1_000).filter(|row| !live.dead().contains(*row)).collect();
            let values = view.derive(live, &[0], &rows, &|| false).expect("read").expect("values");
            let mut of_rewritten = None;
            for (place, row) in rows.iter().enumerate() {
                match live.part().id_at(*row as usize) {
                    Some(Id::Number(ID)) => of_rewritten = values[0].real(place),
                    Some(Id::Number(id)) => assert_eq!(values[0].real(place), expected(id)),
                    other => panic!("a number: {other:?}"),
                }
            }
            (formula.computed.load(Ordering::Relaxed) - before, of_rewritten)
        };
        let complete = (0..1_000).filter(|id| expected(*id).is_some()).count();
        let first = rewrite([9.0, 2.0]);
        if is_newer_first {
            let newer = db.view(NAME).expect("a view");
            assert_eq!(asked(&newer), (complete - 1, None), "it is dead there");
            assert_eq!(asked(&older), (1, first), "the other rows are kept");
        } else {
            assert_eq!(asked(&older), (complete, first));
        }
        let second = rewrite([5.0, -3.0]);
        assert!(first.is_some() && second.is_some() && first != second);
        assert_eq!(asked(&older), (1, second), "newer first: {is_newer_first}");
    }
}
