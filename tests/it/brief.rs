//! Which queries are answered where they arrive, and that they are answered alike.

use sidereus::engine::{Db, DbOptions, Write, WriteMode};
use sidereus::query::{self, Query, Term};
use sidereus::schema::{ColumnType, Object, ObjectId, Value};
use sidereus::sky::{Cone, Degrees, Position, Region};
use sidereus::vector::Metric;
use tempfile::TempDir;

use crate::support::made;

const NAME: &str = "galaxies";
const DIMENSION: usize = 8;

/// More different names than an index of texts takes.
const ROWS: i64 = 70_000;

fn filled() -> (TempDir, Db) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) };
    let db = Db::open(options).expect("opens");
    let columns = [("z", ColumnType::Float64), ("name", ColumnType::Text)];
    let schema = made::schema(NAME, &columns, vec![made::space("v", DIMENSION, Metric::L2)]);
    let space = db.create_collection(schema).expect("created").schema.spaces[0].id;
    let writes = (0..ROWS).map(|id| {
        let position = Position::new(
            Degrees((id * 37 % 36_000) as f64 / 100.0),
            Degrees((id * 11 % 12_000) as f64 / 100.0 - 60.0),
        );
        let component = |axis: i64| ((id * (axis + 3) * 7_919) % 1_000) as f32 / 1_000.0;
        Write::Put(Object {
            id: ObjectId::Number(id),
            position: position.expect("on the sphere"),
            columns: vec![
                Value::Float64((id % 1_000) as f64 / 500.0),
                Value::Text(format!("object {id}")),
            ],
            vectors: vec![(space, (0..DIMENSION as i64).map(component).collect())],
        })
    });
    db.write(NAME, WriteMode::Bulk, writes.collect()).expect("written");
    db.build_index(NAME, &mut |_, _, _| {}).expect("built");
    (folder, db)
}

fn near() -> Query {
    let term = Term {
        space: "v".to_owned(),
        weight: 1.0,
        like: vec![],
        unlike: vec![],
        vectors: vec![vec![0.3; DIMENSION]],
        ..Term::default()
    };
    Query {
        terms: vec![term],
        k: Some(10),
        columns: Some(vec!["z".to_owned()]),
        ..Query::default()
    }
}

#[test]
fn what_is_answered_at_once_is_answered_as_ever() {
    let (_folder, db) = filled();
    let view = db.view(NAME).expect("a view");
    let centre = Position::new(Degrees(10.0), Degrees(0.0)).expect("on the sphere");
    let cone = Region::from(Cone::new(centre, Degrees(25.0)).expect("a cone"));
    let wheres = |predicate: &str| Query { predicate: Some(predicate.to_owned()), ..near() };
    for query in [
        near(),
        Query { region: Some(cone.clone()), ..near() },
        wheres("z BETWEEN 0.1 AND 0.11"),
        Query { region: Some(cone), ..wheres("z < 1") },
    ] {
        let brief = query::search_if_brief(&view, &query).expect("brief").expect("answered");
        let answer = query::search(&view, &query).expect("answered");
        assert_eq!(brief.hits, answer.hits);
        assert_eq!(brief.hits.len(), 10);
    }
}

#[test]
fn what_is_short_is_answered_where_it_is_admitted() {
    let (_folder, db) = filled();
    let view = db.view(NAME).expect("a view");
    let mut asked = 0;
    for k in [10, 20, 40, 70, 100, 500, 2_000] {
        for predicate in [None, Some("z < 1"), Some("z BETWEEN 0.1 AND 1.9")] {
            let predicate = predicate.map(str::to_owned);
            let query = Query { k: Some(k), predicate, ..near() };
            let mut told = None;
            let admitted = query::search_or_price(&view, &query, |price| {
                told = Some(*price);
                Some("a turn")
            });
            let (answer, turn) = match admitted {
                Ok(answered) => answered,
                // On a slow machine.
                Err(price) => {
                    assert!(price.is_planned && price.ns > 2e6 && told.is_none(), "{price:?}");
                    continue;
                }
            };
            let answer = answer.expect("answered");
            assert_eq!(answer.hits, query::search(&view, &query).expect("answered").hits);
            // A brief one asks nobody, and what is held comes back.
            assert_eq!(turn, told.map(|_| "a turn"));
            let Some(told) = told else { continue };
            asked += 1;
            assert!(told.is_planned && told.ns > 5e5 && told.bytes > 0, "{told:?}");
            let refused = query::search_or_price(&view, &query, |_| None::<()>);
            assert_eq!(refused.expect_err("not admitted"), told);
        }
    }
    assert!(asked > 0, "none of them takes longer than a brief query");
}

#[test]
fn what_takes_long_to_find_out_is_not_brief() {
    let (_folder, db) = filled();
    let view = db.view(NAME).expect("a view");
    let wheres = |predicate: &str| Query { predicate: Some(predicate.to_owned()), ..near() };
    for query in [
        // More names than an index takes: every row would be looked at before there is a plan.
        wheres("name = 'object 17'"),
        wheres("z * 2 > 1"),
        Query { k: Some(3_000), ..near() },
        Query { exact: true, ..near() },
        Query { explain: true, ..near() },
        Query {
            terms: vec![Term {
                like: vec![ObjectId::Number(3)],
                vectors: vec![],
                ..near().terms[0].clone()
            }],
            ..near()
        },
        // What is wrong is told by the search itself.
        wheres("nosuch = 3"),
    ] {
        assert!(query::search_if_brief(&view, &query).is_none(), "{query:?}");
    }
    let found = query::search(&view, &wheres("name = 'object 17'")).expect("answered");
    assert_eq!(found.hits.len(), 1);
}

#[test]
fn a_plan_is_told_with_its_time_and_without_filters_that_nobody_gave() {
    let (_folder, db) = filled();
    let view = db.view(NAME).expect("a view");
    let like = Term { like: vec![ObjectId::Number(3)], vectors: vec![], ..near().terms[0].clone() };
    let query = Query { terms: vec![like], explain: true, ..near() };
    let stats = query::search(&view, &query).expect("answered").stats;
    // The example itself is left out, which is no filter of the user's.
    assert_eq!(stats.plan, "ivf", "{}", stats.explanation);
    assert!(stats.explanation.starts_with("nearest 10 of collection"), "{}", stats.explanation);
    assert!(stats.explanation.contains("time: expected "), "{}", stats.explanation);
    let within = Query { k: None, within: Some(0.5), ..query.clone() };
    let stats = query::search(&view, &within).expect("answered").stats;
    assert!(
        stats.explanation.starts_with("all that are near enough of collection"),
        "{}",
        stats.explanation
    );
    let filtered = Query { predicate: Some("z < 1.9".to_owned()), ..query };
    let stats = query::search(&view, &filtered).expect("answered").stats;
    assert_ne!(stats.plan, "ivf", "{}", stats.explanation);
}
