//! Columns that come later, and values that are set in them.

use super::*;
use crate::class::Class;
use crate::schema::AtIngest;
use crate::storage::{Operation, Outcome};

const ID: ObjectId = ObjectId::Number(7);

fn set(columns: Vec<(usize, Value)>) -> Operation {
    Operation::SetColumns { id: ID, columns }
}

#[test]
fn a_column_can_be_added_and_set() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    let objects = [object(7, 1.0, 1.0, 1), object(8, 2.0, 1.0, 1)];
    let puts = objects.iter().map(|object| Operation::Put(with_image(object.clone(), 1.0)));
    store.write(collection, puts.collect()).expect("writes");
    let record = store.add_column(collection, Column::new("p", ColumnType::Float32)).expect("adds");
    assert_eq!((record.version, record.schema.column_place("P")), (1, Some(2)));
    let nulls: Vec<Value> = contents(&store, collection)
        .into_values()
        .map(|object| object.columns[2].clone())
        .collect();
    assert_eq!(nulls, [Value::Null, Value::Null], "rows of before have null");
    store.write(collection, vec![set(vec![(2, Value::Float32(0.5))])]).expect("writes");
    drop(store);
    let store = on_disk(place.path());
    let found = store.get(collection, &[ID, ObjectId::Number(8)], true).expect("reads");
    let found: Vec<Object> = found.into_iter().map(|found| found.expect("is there").1).collect();
    let old = &objects[0].columns;
    assert_eq!(found[0].columns, [old[0].clone(), old[1].clone(), Value::Float32(0.5)]);
    assert_eq!(found[0].vectors, [(IMAGE, vec![1.0, 1.0, 2.0])], "vectors stay");
    assert_eq!(found[1].columns[2], Value::Null);
    contents(&store, collection);
}

#[test]
fn new_values_are_a_change_of_the_row_alone() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let operations = vec![
        Operation::Put(with_image(object(7, 1.0, 1.0, 1), 1.0)),
        Operation::SetTokens { id: ID, tokens: vec![(CODES, sequence(CODES, 3, 1))] },
    ];
    store.write(collection, operations).expect("writes");
    let before = all_tokens(&store, collection);
    let values = vec![(0, Value::Null), (1, Value::Text("new".to_owned()))];
    let commit = store.write(collection, vec![set(values)]).expect("writes");
    assert!(matches!(commit.outcomes[..], [Outcome::ColumnsSet { .. }]));
    let changes = store.changes_since(collection, 1).expect("kept");
    let kinds: Vec<ChangeKind> =
        changes.iter().flat_map(|(_, changes)| changes).map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Put]);
    let found = contents(&store, collection).into_values().next().expect("one object");
    assert_eq!(found.columns, [Value::Null, Value::Text("new".to_owned())]);
    assert_eq!(found.vectors, [(IMAGE, vec![1.0, 1.0, 2.0])]);
    assert_eq!(all_tokens(&store, collection), before, "tokens stay");
}

#[test]
fn values_that_do_not_fit_are_refused_and_those_of_no_object_are_not_kept() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let commit = store.write(collection, vec![set(vec![(0, Value::Null)])]).expect("writes");
    assert_eq!((commit.version, &commit.outcomes[..]), (0, &[Outcome::Absent][..]));
    store.write(collection, vec![Operation::Put(object(7, 1.0, 1.0, 1))]).expect("writes");
    for (place, value, wanted) in [
        (2, Value::Null, "no column at place 2"),
        (0, Value::Text("x".to_owned()), "column `z` is float64"),
    ] {
        let error = store.write(collection, vec![set(vec![(place, value)])]).expect_err("refused");
        assert_eq!(error.class(), Class::Invalid);
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let taken = store.add_column(collection, Column::new("Z", ColumnType::Int64));
    assert_eq!(taken.expect_err("the name is taken").class(), Class::Invalid);
    let built_in = store.add_column(collection, Column::new("ra", ColumnType::Float64));
    assert_eq!(built_in.expect_err("the name is built in").class(), Class::Invalid);
    let record = store.collection(collection).expect("reads").expect("is there");
    assert_eq!(record.schema.columns.len(), 2, "what was refused left nothing");
}

#[test]
fn what_was_made_of_a_column_goes_with_its_old_value() {
    let store = in_memory();
    let mut fed = schema("galaxies");
    let provenance = Provenance { encoder: "model".to_owned(), ..Provenance::default() };
    for place in [0, 3] {
        fed.spaces[place].provenance = provenance.clone();
        let inputs = BTreeMap::from([("text".to_owned(), "note".to_owned())]);
        fed.spaces[place].at_ingest = Some(AtIngest { inputs });
    }
    let collection = store.create_collection(fed).expect("creates").id;
    let mut whole = with_image(object(7, 1.0, 1.0, 1), 1.0);
    whole.vectors.push((SPECTRUM, vec![5.0, 6.0]));
    let tokens = || Operation::SetTokens { id: ID, tokens: vec![(CODES, sequence(CODES, 3, 1))] };
    store.write(collection, vec![Operation::Put(whole), tokens()]).expect("writes");
    let spaces = || -> Vec<bool> {
        let snapshot = store.snapshot(collection).expect("a snapshot");
        [IMAGE, SPECTRUM, CODES].map(|space| snapshot.have(space, &[ID]).expect("reads")[0]).into()
    };
    let note = |text: &str| (1, Value::Text(text.to_owned()));
    store.write(collection, vec![set(vec![(0, Value::Float64(9.0))])]).expect("writes");
    store.write(collection, vec![set(vec![note("write 1")])]).expect("writes");
    assert_eq!(spaces(), [true, true, true], "of another column, and of the same value");
    store.write(collection, vec![set(vec![note("new")])]).expect("writes");
    assert_eq!(spaces(), [false, true, false]);
    contents(&store, collection);
    let image = vec![(IMAGE, vec![3.0, 3.0, 3.0])];
    let vectors = Operation::SetVectors { id: ID, vectors: image.clone() };
    store.write(collection, vec![set(vec![note("newer")]), vectors, tokens()]).expect("writes");
    assert_eq!(spaces(), [true, true, true], "made again in the same batch");
    let vectors = Operation::SetVectors { id: ID, vectors: image };
    store.write(collection, vec![vectors, set(vec![note("newest")])]).expect("writes");
    assert_eq!(spaces(), [false, true, false], "of the value before");
    contents(&store, collection);
}
