use super::*;
use crate::class::Class;
use crate::storage::Operation;
use crate::storage::key::KeyRange;
use crate::storage::table::Table;

fn names(store: &Store) -> Vec<String> {
    let records = store.collections().expect("reads");
    records.into_iter().map(|record| record.schema.name.clone()).collect()
}

#[test]
fn collections_are_there_after_opening_again() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let made = store.create_collection(schema("galaxies")).expect("creates");
    assert_eq!((made.version, made.object_count), (0, 0));
    assert_eq!(made.vector_counts, [(IMAGE, 0), (SPECTRUM, 0), (STATES, 0), (CODES, 0)]);
    create(&store, "stars");
    drop(store);
    let store = on_disk(place.path());
    assert_eq!(names(&store), ["galaxies", "stars"]);
    assert_eq!(store.collection(made.id).expect("reads"), Some(made));
}

#[test]
fn a_name_is_given_once() {
    let store = in_memory();
    create(&store, "galaxies");
    let error = store.create_collection(schema("Galaxies")).expect_err("exists");
    assert!(matches!(error, StorageError::CollectionExists { .. }), "{error}");
    assert_eq!(error.class(), Class::Conflict);
    let error = store.create_collection(schema("no spaces in names")).expect_err("refused");
    assert_eq!(error.class(), Class::Invalid);
    assert_eq!(names(&store), ["galaxies"]);
}

#[test]
fn a_dropped_collection_leaves_nothing_and_its_number_is_not_used_again() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let first = create(&store, "galaxies");
    let stays = create(&store, "stars");
    for collection in [first, stays] {
        let batch = vec![Operation::Put(with_image(object(1, 1.0, 1.0, 1), 1.0))];
        store.write(collection, batch.clone()).expect("writes");
        store.bulk_write(collection, batch).expect("writes");
    }
    store.drop_collection(first).expect("drops");
    let error = store.drop_collection(first).expect_err("is gone");
    assert_eq!(error.class(), Class::NotFound);
    assert_eq!(store.snapshot(first).err().map(|error| error.class()), Some(Class::NotFound));
    assert_eq!(store.collection(first).expect("reads"), None);
    for table in Table::ALL.into_iter().filter(|table| table.is_per_collection()) {
        let view = store.engine.view();
        let mut cursor = view.cursor(KeyRange::collection(table, first)).expect("walks");
        assert!(cursor.advance().expect("advances").is_none(), "{table:?} is empty");
    }
    assert_eq!(contents(&store, stays).len(), 1);
    drop(store);
    let store = on_disk(place.path());
    let again = create(&store, "galaxies");
    assert!(again > stays, "numbers go on");
    assert!(contents(&store, again).is_empty());
    assert_eq!(contents(&store, stays).len(), 1);
}

#[test]
fn a_space_can_be_added_and_used() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    store.write(collection, vec![Operation::Put(object(1, 1.0, 1.0, 1))]).expect("writes");
    let record = store.add_space(collection, space("photometry", 1)).expect("adds");
    let added = record.schema.space("photometry").expect("is there").id;
    assert_eq!(added, SpaceId(5));
    let taken = store.add_space(collection, space("Image", 1)).expect_err("the name is taken");
    assert_eq!(taken.class(), Class::Invalid);
    let id = ObjectId::Number(1);
    let vectors = vec![(added, vec![4.0])];
    store.write(collection, vec![Operation::SetVectors { id, vectors }]).expect("writes");
    drop(store);
    let store = on_disk(place.path());
    let found = contents(&store, collection).into_values().next().expect("one object");
    assert_eq!(found.vectors, [(added, vec![4.0])]);
    let record = store.collection(collection).expect("reads").expect("is there");
    let counts = [(IMAGE, 0), (SPECTRUM, 0), (STATES, 0), (CODES, 0), (added, 1)];
    assert_eq!(record.vector_counts, counts);
}

#[test]
fn one_directory_has_one_store() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let error = Store::open(place.path(), small()).expect_err("is locked");
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    assert_eq!(error.class(), Class::Conflict);
    drop(store);
    on_disk(place.path());
}

#[test]
fn a_directory_of_a_newer_program_is_refused_untouched() {
    let place = tempfile::tempdir().expect("a temporary directory");
    drop(on_disk(place.path()));
    let (newest, newer) = (crate::storage::FORMAT, crate::storage::FORMAT + 1);
    let line = format!("sidereus data directory\nformat = {newer}\n");
    std::fs::write(place.path().join("FORMAT"), line).expect("writes");
    let error = Store::open(place.path(), small()).expect_err("is newer");
    let text = error.to_string();
    assert!(text.contains(&format!("format {newer}")), "{text}");
    assert!(text.contains(&format!("up to {newest}")), "{text}");
    let StorageError::NewerFormat { found, supported, .. } = error else { panic!("{text}") };
    assert_eq!((found, supported), (newer, newest));
}

#[test]
fn a_damaged_database_is_refused_and_not_made_anew() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    create(&store, "galaxies");
    drop(store);
    let current = place.path().join("records/CURRENT");
    std::fs::write(&current, "MANIFEST-999999\n").expect("writes");
    Store::open(place.path(), small()).expect_err("the manifest is missing");
    std::fs::remove_file(&current).expect("removes");
    let error = Store::open(place.path(), small()).expect_err("the database is gone");
    assert_eq!(error.class(), Class::Corrupt, "{error}");
}
