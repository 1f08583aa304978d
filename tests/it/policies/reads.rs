//! What is read from the store, and what policies are made of.

use std::collections::HashSet;

use sidereus::engine::{Db, DbOptions, Write, WriteMode};
use sidereus::query::{self, StopFlag, check_policy};
use sidereus::schema::{Column, ColumnType, Object, ObjectId};

use super::{CLAUSES, Clause, NAME, Random, World, admits, object, restricted, schema, today};

const POLICY: [Clause; 1] = [CLAUSES[3]];

#[test]
fn hidden_objects_are_not_there_by_id_by_key_or_by_vector() {
    let world = World::unbuilt(|_| true);
    let view = restricted(world.view(), &POLICY, today());
    let open = world.view();
    let ids: Vec<ObjectId> = world.model.iter().map(|object| object.id.clone()).collect();
    let shown: HashSet<&ObjectId> = world
        .model
        .iter()
        .filter(|object| admits(&POLICY, object))
        .map(|object| &object.id)
        .collect();
    assert!(shown.len() > 100 && shown.len() < ids.len() / 2);
    let all = open.get(&ids).expect("reads");
    let keys: Vec<_> = all.iter().flatten().map(|(key, _)| *key).collect();
    assert_eq!(keys.len(), ids.len());
    let (got, columns) = (view.get(&ids).expect("reads"), view.columns_of(&ids).expect("reads"));
    let fetched = view.fetch(&keys, true).expect("reads");
    let space = view.schema().space("angle").expect("a space").id;
    let have = view.have(space, &ids).expect("asked");
    for (place, id) in ids.iter().enumerate() {
        let is_shown = shown.contains(id);
        assert_eq!(got[place].is_some(), is_shown, "{id}");
        assert_eq!(columns[place].is_some(), is_shown, "{id}");
        assert_eq!(fetched[place].is_some(), is_shown, "{id}");
        let has = world.model[place].vectors.len() == 2;
        assert_eq!(have[place], is_shown && has, "{id}");
        if is_shown {
            assert_eq!(got[place], all[place]);
        }
    }
    let mut visited = HashSet::new();
    let mut visit = |key, _: &[f32]| {
        visited.insert(key);
        Ok(())
    };
    view.still().expect("a moment").visit_vectors(space, &mut visit).expect("walks");
    let wanted = got.iter().flatten().filter(|(_, object)| object.vectors.len() == 2);
    assert_eq!(visited, wanted.map(|(key, _)| *key).collect());
    let indexed = open.index_status().indexed_version;
    let changes = view.changes_since(indexed).expect("reads").expect("remembered");
    let mut changed = changes.iter().flat_map(|(_, changes)| changes);
    let shown_keys: HashSet<_> = got.iter().flatten().map(|(key, _)| *key).collect();
    assert!(
        changed.clone().next().is_some() && changed.all(|change| shown_keys.contains(&change.key))
    );
}

/// What was written after the view was made is judged by what it is.
#[test]
fn later_writes_are_judged_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = Db::open(DbOptions::new(folder.path())).expect("opens");
    db.create_collection(schema()).expect("creates");
    let mut random = Random(77);
    let programme = |mut object: Object, name: &str| {
        object.columns[4] = sidereus::schema::Value::Text(name.to_owned());
        object.vectors.clear();
        Write::Put(object)
    };
    let [one, other] = [object(&mut random, 1), object(&mut random, 2)];
    let first = vec![programme(one.clone(), "B"), programme(other.clone(), "C")];
    db.write(NAME, WriteMode::Logged, first).expect("writes");
    let view = restricted(db.view(NAME).expect("a view"), &POLICY, today());
    let swapped = vec![programme(one, "C"), programme(other, "B")];
    db.write(NAME, WriteMode::Logged, swapped).expect("writes");
    let found = view.get(&[ObjectId::Number(1), ObjectId::Number(2)]).expect("reads");
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    let after = restricted(db.view(NAME).expect("a view"), &POLICY, today());
    assert_eq!(after.live_count(), 1);
    // A policy on a column that comes later admits nothing, and then what it says.
    let later = Clause { sql: "later IS NULL", holds: |_| None };
    assert_eq!(restricted(db.view(NAME).expect("a view"), &[later], today()).live_count(), 0);
    db.add_column(NAME, Column::new("later", ColumnType::Int64)).expect("added");
    assert_eq!(restricted(db.view(NAME).expect("a view"), &[later], today()).live_count(), 2);
    // Both of two policies hold.
    let both = restricted(db.view(NAME).expect("a view"), &POLICY, today());
    let twice = restricted(both, &[later], today());
    assert_eq!((twice.live_count(), twice.is_restricted()), (1, true));
    assert!(twice.get(&[ObjectId::Number(1)]).expect("reads")[0].is_none());
}

#[test]
fn no_predicate_admits_nobody_and_bad_ones_are_refused_by_name() {
    let world = World::unbuilt(|_| true);
    assert_eq!(restricted(world.view(), &[], today()).live_count(), 0);
    let broken = Clause { sql: "nonsense(", holds: |_| None };
    assert_eq!(restricted(world.view(), &[broken], today()).live_count(), 0);
    let schema = world.view().schema().clone();
    let refused = |sql: &str| check_policy(&schema, sql).expect_err(sql).to_string();
    for clause in CLAUSES {
        let checked = check_policy(&schema, clause.sql);
        assert_eq!(checked.is_ok(), clause.sql != "no_such_column = 1", "{checked:?}");
    }
    check_policy(&schema, "release_date BETWEEN '2020-01-01' AND TODAY").expect("good");
    assert!(refused("relese_date <= today").contains("relese_date"));
    assert!(refused("probe.lens > 0.5").contains("no column"));
    assert!(refused("note = 'x'").contains("note"));
    assert!(refused("release_date <= mjd_today").contains("cannot join"));
    assert!(refused("date_part('year', now()) > 2025").contains("today"));
    assert!(refused("random() < 0.5").contains("random"));
    assert!(refused("n").contains("true or false"));
    assert!(refused("").contains("empty"));
    assert!(refused("today()").contains("today"));
    // A column of such a name is another thing than the day.
    let mut dated = schema.clone();
    dated.columns.push(Column::new("Today", ColumnType::Text));
    let error = check_policy(&dated, "release_date <= today").expect_err("ambiguous").to_string();
    assert!(error.contains("double quotes"), "{error}");
    check_policy(&dated, "release_date <= \"Today\"").expect("the column");
    // Without a policy `today` is no name.
    let asked =
        query::count(&world.view(), None, Some("release_date <= today"), &StopFlag::default());
    assert!(asked.expect_err("unknown").to_string().contains("today"));
}
