//! Tokens through the embedded database: what a job of encoding relies on.

use sidereus::engine::{Db, DbOptions, Write, WriteMode, WriteOutcome};
use sidereus::query::{self, StopFlag};
use sidereus::schema::{CollectionSchema, EmbeddingSpace, Object, ObjectId, SpaceForm, SpaceId};
use sidereus::sky::{Degrees, Position};
use sidereus::vector::Metric;
use sidereus::wire::v1::{TokenRun, TokenSequence};
use tempfile::TempDir;

use crate::support::made;

const NAME: &str = "galaxies";
const VECTORS: SpaceId = SpaceId(1);
const STATES: SpaceId = SpaceId(2);
const CODES: SpaceId = SpaceId(3);

fn open(folder: &TempDir) -> Db {
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) };
    Db::open(options).expect("opens")
}

fn schema() -> CollectionSchema {
    let space = |name: &str, form, dimension| EmbeddingSpace {
        form,
        ..made::space(name, dimension, Metric::Cosine)
    };
    let spaces = vec![
        space("v", SpaceForm::Vector, 2),
        space("t", SpaceForm::Tokens, 2),
        space("codes", SpaceForm::TokenIds, 0),
    ];
    made::schema(NAME, &[], spaces)
}

fn object(id: i64) -> Object {
    let position = Position::new(Degrees(id as f64 % 360.0), Degrees(0.0)).expect("a position");
    let vectors = vec![(VECTORS, vec![1.0, id as f32])];
    Object { id: ObjectId::Number(id), position, columns: Vec::new(), vectors }
}

fn states(stamp: u8) -> TokenSequence {
    let states = vec![stamp & 0x3f; 12];
    let run = TokenRun { count: 3, width: 2, states, ..TokenRun::default() };
    TokenSequence { runs: vec![run] }
}

fn set(id: i64, stamp: u8) -> Write {
    let codes = TokenRun { count: 2, ids: vec![stamp; 4], ..TokenRun::default() };
    let tokens = vec![(STATES, states(stamp)), (CODES, TokenSequence { runs: vec![codes] })];
    Write::SetTokens { id: ObjectId::Number(id), tokens }
}

fn lacking(db: &Db, space: SpaceId) -> Vec<i64> {
    let view = db.view(NAME).expect("a view");
    let ids = query::select(&view, None, None, Some(space), &StopFlag::default());
    let mut numbers: Vec<i64> = ids
        .expect("selects")
        .into_iter()
        .map(|id| match id {
            ObjectId::Number(number) => number,
            ObjectId::Text(text) => panic!("{text}"),
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn tokens_leave_segments_as_they_are_and_a_job_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(&folder);
    db.create_collection(schema()).expect("creates");
    let puts = (0..50).map(|id| Write::Put(object(id))).collect();
    db.write(NAME, WriteMode::Logged, puts).expect("writes");
    db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
    let writes = (0..60).map(|id| set(id, id as u8)).collect();
    let report = db.write(NAME, WriteMode::Logged, writes).expect("writes");
    assert!(report.outcomes[..50].iter().all(|outcome| *outcome == WriteOutcome::VectorsSet));
    assert!(report.outcomes[50..].iter().all(|outcome| *outcome == WriteOutcome::Absent));
    let status = db.index_status(NAME).expect("told");
    assert_eq!((status.tail_rows, status.deleted_rows), (0, 0), "the rows are what they were");
    assert_eq!(status.version, report.version);
    assert!(lacking(&db, STATES).is_empty() && lacking(&db, CODES).is_empty());
    let more = (50..60).map(|id| Write::Put(object(id))).collect();
    db.write(NAME, WriteMode::Bulk, more).expect("writes");
    assert_eq!(lacking(&db, STATES), (50..60).collect::<Vec<_>>());
    // A segment that was built while tokens came has every row.
    db.write(NAME, WriteMode::Logged, vec![set(55, 1), Write::Delete(ObjectId::Number(7))])
        .expect("writes");
    db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
    db.write(NAME, WriteMode::Logged, vec![set(55, 2), set(8, 9)]).expect("writes");
    drop(db);

    let db = open(&folder);
    let status = db.index_status(NAME).expect("told");
    assert_eq!((status.tail_rows, status.deleted_rows), (0, 0), "nor are they after a restart");
    assert_eq!(db.view(NAME).expect("a view").live_count(), 59);
    let expected: Vec<i64> = (50..60).filter(|id| *id != 55).collect();
    assert_eq!(lacking(&db, STATES), expected);
    assert_eq!(lacking(&db, CODES), expected);
    assert!(lacking(&db, VECTORS).is_empty());
    let ids = [55, 7, 8, 50, 1_000].map(ObjectId::Number);
    let found = db.tokens(NAME, STATES, &ids).expect("reads");
    assert_eq!(found, [Some(states(2)), None, Some(states(9)), None, None]);
    assert!(db.tokens(NAME, VECTORS, &ids).is_err() && db.tokens(NAME, SpaceId(9), &ids).is_err());
    let counts = db.collection(NAME).expect("told").vector_counts;
    assert_eq!(counts, [(VECTORS, 59), (STATES, 50), (CODES, 50)]);
}

#[test]
fn merges_within_a_batch_keep_tokens_and_whole_objects_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = open(&folder);
    db.create_collection(schema()).expect("creates");
    let merge = |id: i64, ra: f64| {
        let position = Position::new(Degrees(ra), Degrees(1.0)).expect("a position");
        let object = Object { position, vectors: Vec::new(), ..object(id) };
        Write::Merge { object, columns_given: Vec::new() }
    };
    let writes = vec![
        merge(1, 5.0),
        set(1, 1),
        merge(1, 6.0),
        Write::Put(object(2)),
        set(2, 2),
        Write::Put(object(2)),
        Write::Put(object(3)),
        set(3, 3),
        Write::Delete(ObjectId::Number(3)),
        merge(3, 7.0),
    ];
    db.write(NAME, WriteMode::Logged, writes).expect("writes");
    let ids = [1, 2, 3].map(ObjectId::Number);
    assert_eq!(db.tokens(NAME, STATES, &ids).expect("reads"), [Some(states(1)), None, None]);
    db.write(NAME, WriteMode::Bulk, vec![merge(1, 200.0)]).expect("moves");
    assert_eq!(db.tokens(NAME, STATES, &ids).expect("reads"), [Some(states(1)), None, None]);
    let bad = Write::SetTokens { id: ObjectId::Number(1), tokens: vec![(CODES, states(1))] };
    let report = db.write(NAME, WriteMode::Logged, vec![bad, set(2, 5)]).expect("writes");
    assert!(matches!(&report.outcomes[0], WriteOutcome::Refused(why) if why.contains("holds ids")));
    assert_eq!(report.outcomes[1], WriteOutcome::VectorsSet);
}
