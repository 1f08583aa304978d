//! What is visible of a collection while rows come in as columns or one by one and segments are built meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use proptest::prelude::*;
use sidereus::engine::{
    CollectionView, Db, DbOptions, EngineError, Write, WriteMode, WriteOutcome,
};
use sidereus::files::{ObjectBlock, decode_block};
use sidereus::schema::{CollectionSchema, ColumnType, Object, ObjectId, Rows, Value};
use sidereus::storage::StoreOptions;
use sidereus::vector::Metric;
use tempfile::TempDir;

use crate::support::made;

const NAME: &str = "galaxies";
const DIMENSION: usize = 3;

fn schema() -> CollectionSchema {
    let columns = [
        ("z", ColumnType::Float64),
        ("class", ColumnType::Text),
        ("is_clean", ColumnType::Boolean),
        ("n", ColumnType::Int64),
    ];
    made::schema(NAME, &columns, vec![made::space("v", DIMENSION, Metric::Cosine)])
}

/// A database in which every bulk write goes through files and nothing is built by itself.
fn open(folder: &TempDir) -> Db {
    let store = StoreOptions { bulk_bytes_min: 0, ..StoreOptions::default() };
    let options = DbOptions { auto_index_rows: None, store, ..DbOptions::new(folder.path()) };
    Db::open(options).expect("opens")
}

/// Rows of some ids as a batch: one in five without a vector, one in four without a class, none with a number `n`.
fn batch(ids: &[i64], stamp: i64) -> RecordBatch {
    let real = |scale: f64, range: f64| -> ArrayRef {
        let values = ids.iter().map(|id| ((*id * 7 + stamp) as f64 * scale).rem_euclid(range));
        Arc::new(Float64Array::from_iter_values(values))
    };
    let classes = ids.iter().map(|id| (id % 4 > 0).then(|| format!("c{}", (id + stamp) % 3)));
    let components = ids.iter().flat_map(|id| [*id as f32 + 1.0, stamp as f32, 2.0]);
    let components = Arc::new(Float32Array::from_iter_values(components));
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let valid: NullBuffer = ids.iter().map(|id| id % 5 > 0).collect();
    let vectors = FixedSizeListArray::try_new(item, DIMENSION as i32, components, Some(valid));
    let clean: BooleanArray = ids.iter().map(|id| Some(id % 2 == 0)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("object_id", Arc::new(Int64Array::from(ids.to_vec()))),
        ("ra", real(1.7, 360.0)),
        ("dec", real(0.37, 80.0)),
        ("z", real(0.01, 3.0)),
        ("class", Arc::new(classes.collect::<StringArray>())),
        ("is_clean", Arc::new(clean)),
        ("vector.v", Arc::new(vectors.expect("three each"))),
    ];
    RecordBatch::try_from_iter(columns).expect("a batch")
}

fn block(db: &Db, ids: &[i64], stamp: i64) -> ObjectBlock {
    let schema = Arc::new(db.schema(NAME).expect("there"));
    let decoded = decode_block(&batch(ids, stamp), &schema).expect("fits");
    assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
    decoded.block
}

fn objects(block: &ObjectBlock) -> Vec<Object> {
    (0..block.count()).map(|row| block.object(row)).collect()
}

type Row = (f64, f64, Vec<Value>, Option<Vec<f32>>);

/// Every live row of every part.
fn visible(view: &CollectionView) -> BTreeMap<ObjectId, Row> {
    let space = view.schema().spaces[0].id;
    let columns = view.arrow_schema().fields().len();
    let mut found = BTreeMap::new();
    for live in view.parts() {
        let part = live.part();
        for row in (0..part.row_count()).filter(|row| !live.dead().contains(*row as u32)) {
            let position = part.position_at(row).expect("a position");
            let values = (4..columns).map(|column| part.value_at(column, row)).collect();
            let mut buffer = Vec::new();
            let vector = part.vectors(space).and_then(|vectors| vectors.of_row(row, &mut buffer));
            let vector = vector.map(<[f32]>::to_vec);
            let seen = (position.ra().0, position.dec().0, values, vector);
            let id = part.id_at(row).expect("an id");
            assert!(found.insert(id.clone(), seen).is_none(), "{id} is there twice");
        }
    }
    assert_eq!(found.len() as u64, view.live_count());
    found
}

/// The same of a map of objects.
fn expected(model: &BTreeMap<ObjectId, Object>) -> BTreeMap<ObjectId, Row> {
    let row = |object: &Object| {
        let vector = object.vectors.first().map(|(_, vector)| vector.clone());
        let vector = vector.and_then(|vector| Metric::Cosine.prepare(vector));
        (object.position.ra().0, object.position.dec().0, object.columns.clone(), vector)
    };
    model.iter().map(|(id, object)| (id.clone(), row(object))).collect()
}

fn check(db: &Db, model: &BTreeMap<ObjectId, Object>) {
    let view = db.view(NAME).expect("a view");
    assert_eq!(visible(&view), expected(model));
    let ids: Vec<ObjectId> = model.keys().cloned().collect();
    let stored: Vec<Object> = db.get(NAME, &ids).expect("reads").into_iter().flatten().collect();
    assert_eq!(stored, model.values().cloned().collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
enum Step {
    /// Blocks of rows from an id on, new ones or not; some of them are deleted or written between staging and insertion.
    Insert {
        from: i64,
        counts: Vec<usize>,
        between: Option<Box<Step>>,
    },
    Put {
        from: i64,
        count: usize,
    },
    Delete {
        from: i64,
        count: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let counts = prop::collection::vec(1..60_usize, 1..4);
    let insert = (0..400_i64, counts, prop::option::of(short_step()));
    prop_oneof![
        3 => insert.prop_map(|(from, counts, between)| {
            Step::Insert { from, counts, between: between.map(Box::new) }
        }),
        3 => short_step(),
    ]
}

fn short_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..400_i64, 1..40_usize).prop_map(|(from, count)| Step::Put { from, count }),
        1 => (0..400_i64, 1..60_usize).prop_map(|(from, count)| Step::Delete { from, count }),
    ]
}

/// Does a step in the database and in the map.
fn apply(db: &Db, model: &mut BTreeMap<ObjectId, Object>, step: &Step, stamp: i64) {
    match step {
        Step::Insert { from, counts, between } => {
            let mut next = *from;
            let mut blocks = Vec::new();
            for count in counts {
                let ids: Vec<i64> = (next..next + *count as i64).collect();
                next += *count as i64;
                blocks.push(Arc::new(block(db, &ids, stamp)));
            }
            let staged = db.stage(NAME, blocks.clone()).expect("stages");
            if let Some(step) = between {
                apply(db, model, step, stamp + 1_000);
            }
            let report = db.insert(NAME, None, staged).expect("inserts");
            let rows: Vec<Object> = blocks.iter().flat_map(|block| objects(block)).collect();
            assert_eq!(report.outcomes.len(), rows.len());
            for (object, outcome) in rows.into_iter().zip(report.outcomes) {
                let before = model.insert(object.id.clone(), object);
                let is_new = before.is_none();
                assert_eq!(outcome == WriteOutcome::Inserted, is_new, "{outcome:?}");
            }
        }
        Step::Put { from, count } => {
            let ids: Vec<i64> = (*from..*from + *count as i64).collect();
            let rows = objects(&block(db, &ids, stamp));
            db.write(NAME, WriteMode::Logged, rows.iter().cloned().map(Write::Put).collect())
                .expect("writes");
            model.extend(rows.into_iter().map(|object| (object.id.clone(), object)));
        }
        Step::Delete { from, count } => {
            let ids = (*from..*from + *count as i64).map(ObjectId::Number);
            let gone: Vec<ObjectId> = ids.collect();
            db.write(NAME, WriteMode::Logged, gone.iter().cloned().map(Write::Delete).collect())
                .expect("deletes");
            gone.iter().for_each(|id| drop(model.remove(id)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Steps before a build, in the middle of it, and after it; then the database is opened again.
    #[test]
    fn what_was_written_is_visible_however_it_came_and_whenever_a_segment_is_built(
        before in prop::collection::vec(step(), 1..6),
        meanwhile in prop::collection::vec(step(), 0..6),
        after in prop::collection::vec(step(), 0..4),
    ) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = open(&folder);
        db.create_collection(schema()).expect("creates");
        let mut model = BTreeMap::new();
        let mut stamp = 0;
        for step in &before {
            stamp += 1;
            apply(&db, &mut model, step, stamp);
            check(&db, &model);
        }
        let mut waiting = Some(&meanwhile);
        let mut progress = |_: &str, _, _| {
            for step in waiting.take().into_iter().flatten() {
                stamp += 1;
                apply(&db, &mut model, step, stamp);
            }
        };
        db.build_index(NAME, &mut progress).expect("builds");
        check(&db, &model);
        let indexed = db.index_status(NAME).expect("there");
        prop_assert!(indexed.tail_rows <= model.len() as u64);
        for step in &after {
            stamp += 1;
            apply(&db, &mut model, step, stamp);
            check(&db, &model);
        }
        drop(db);
        check(&open(&folder), &model);
    }
}

fn insert(db: &Db, block: ObjectBlock) {
    let staged = db.stage(NAME, vec![Arc::new(block)]).expect("stages");
    db.insert(NAME, None, staged).expect("inserts");
}

#[test]
fn what_is_staged_and_not_inserted_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = open(&folder);
    db.create_collection(schema()).expect("creates");
    let files = || std::fs::read_dir(folder.path().join("staging")).expect("lists").count();
    let stage = |from: i64| {
        let ids: Vec<i64> = (from..from + 50).collect();
        db.stage(NAME, vec![Arc::new(block(&db, &ids, 1))]).expect("stages")
    };
    let (first, second, third) = (stage(0), stage(100), stage(200));
    assert_eq!(files(), 3);
    assert_eq!(db.view(NAME).expect("a view").live_count(), 0);
    drop(first);
    assert_eq!(files(), 2);
    db.insert(NAME, None, third).expect("inserts");
    assert_eq!(files(), 1);
    let id = db.collection_id(NAME).expect("there");
    db.drop_collection(NAME).expect("drops");
    db.create_collection(schema()).expect("creates");
    let refused = db.insert(NAME, Some(id), second).expect_err("the name is another collection's");
    assert!(matches!(refused, EngineError::NoCollection { .. }), "{refused}");
    assert_eq!(files(), 0);
    assert_eq!(db.view(NAME).expect("a view").live_count(), 0);
}

#[test]
fn large_insertions_are_not_copied_and_small_ones_are_gathered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = open(&folder);
    db.create_collection(schema()).expect("creates");
    let large = |from: i64| (from..from + 140_000).collect::<Vec<i64>>();
    for from in [0, 140_000] {
        insert(&db, block(&db, &large(from), 1));
    }
    assert_eq!(db.view(NAME).expect("a view").parts().len(), 2);
    for place in 0..20_i64 {
        let from = 300_000 + 50 * place;
        let ids: Vec<i64> = (from..from + 50).collect();
        insert(&db, block(&db, &ids, 1));
    }
    let parts = db.view(NAME).expect("a view").parts().len();
    assert!((3..=8).contains(&parts), "{parts} parts");
    assert_eq!(db.view(NAME).expect("a view").live_count(), 281_000);
}
