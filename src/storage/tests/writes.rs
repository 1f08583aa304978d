use super::*;
use crate::class::Class;
use crate::schema::SchemaError;
use crate::storage::{Operation, Outcome};

fn put(object: Object) -> Operation {
    Operation::Put(object)
}

fn delete(id: i64) -> Operation {
    Operation::Delete(ObjectId::Number(id))
}

fn set(id: i64, vectors: Vec<(SpaceId, Vec<f32>)>) -> Operation {
    Operation::SetVectors { id: ObjectId::Number(id), vectors }
}

fn only(store: &Store, collection: CollectionId) -> Object {
    let found = contents(store, collection);
    assert_eq!(found.len(), 1);
    found.into_values().next().expect("one object")
}

#[test]
fn the_last_write_of_a_batch_wins() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let batch = vec![
        put(with_image(object(1, 10.0, 10.0, 1), 1.0)),
        put(object(1, 20.0, 20.0, 2)),
        delete(1),
        put(with_image(object(1, 10.0, 10.0, 3), 3.0)),
    ];
    let commit = store.write(collection, batch).expect("writes");
    assert_eq!(commit.version, 1);
    let [
        Outcome::Inserted { key: first },
        Outcome::Replaced { key: second, previous },
        Outcome::Deleted { previous: deleted },
        Outcome::Inserted { key: last },
    ] = commit.outcomes[..]
    else {
        panic!("{:?}", commit.outcomes)
    };
    assert_eq!((previous, deleted, last), (first, second, first));
    assert_eq!(only(&store, collection), with_image(object(1, 10.0, 10.0, 3), 3.0));
    let (_, changes) = store.changes_since(collection, 0).expect("kept").remove(0);
    assert_eq!(changes.len(), 1, "keys that were used only within the batch are not changes");
}

#[test]
fn a_moved_object_leaves_nothing_behind() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let before = with_image(object(1, 10.0, 10.0, 1), 1.0);
    store.write(collection, vec![put(before)]).expect("writes");
    let moved = object(1, 190.0, -10.0, 2);
    let commit = store.write(collection, vec![put(moved.clone())]).expect("writes");
    let Outcome::Replaced { key, previous } = commit.outcomes[0] else { panic!("replaced") };
    assert_ne!(key, previous);
    assert_eq!(only(&store, collection), moved, "and its vector has gone with the old row");
    let (_, changes) = store.changes_since(collection, 1).expect("kept").remove(0);
    let kinds: BTreeMap<_, _> = changes.iter().map(|change| (change.key, change.kind)).collect();
    assert_eq!(kinds, BTreeMap::from([(previous, ChangeKind::Delete), (key, ChangeKind::Put)]));
}

#[test]
fn put_replaces_all_vectors_and_set_vectors_only_those_given() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let image = |first| (IMAGE, vec![first, 1.0, 2.0]);
    let spectrum = (SPECTRUM, vec![5.0, 6.0]);
    store.write(collection, vec![put(with_image(object(1, 1.0, 1.0, 1), 1.0))]).expect("writes");
    store.write(collection, vec![set(1, vec![spectrum.clone()])]).expect("writes");
    assert_eq!(only(&store, collection).vectors, [image(1.0), spectrum.clone()]);
    store.write(collection, vec![set(1, vec![image(9.0)])]).expect("writes");
    assert_eq!(only(&store, collection).vectors, [image(9.0), spectrum.clone()]);
    let mut again = object(1, 1.0, 1.0, 2);
    again.vectors = vec![spectrum.clone()];
    store.write(collection, vec![put(again)]).expect("writes");
    assert_eq!(only(&store, collection).vectors, [spectrum]);
    let counts = store.collection(collection).expect("reads").expect("is there").vector_counts;
    assert_eq!(counts[..2], [(IMAGE, 0), (SPECTRUM, 1)]);
}

#[test]
fn what_changes_nothing_is_no_commit() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let idle = vec![delete(1), set(2, vec![(IMAGE, vec![1.0, 2.0, 3.0])])];
    let commit = store.write(collection, idle).expect("writes");
    assert_eq!(
        (commit.version, &commit.outcomes[..]),
        (0, &[Outcome::Absent, Outcome::Absent][..])
    );
    let brief = vec![put(object(1, 1.0, 1.0, 1)), delete(1)];
    assert_eq!(store.write(collection, brief).expect("writes").version, 0);
    assert_eq!(store.write(collection, Vec::new()).expect("writes").version, 0);
    assert!(contents(&store, collection).is_empty());
}

#[test]
fn a_refused_operation_refuses_its_batch_and_names_its_place() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let good = put(object(1, 1.0, 1.0, 1));
    let mut wide = object(2, 1.0, 1.0, 1);
    wide.columns.push(Value::Null);
    let mut wrong_type = object(2, 1.0, 1.0, 1);
    wrong_type.columns[0] = Value::Text("z".to_owned());
    let mut twice = with_image(object(2, 1.0, 1.0, 1), 1.0);
    twice.vectors.push((IMAGE, vec![1.0, 2.0, 3.0]));
    let text = Operation::Delete(ObjectId::Text("2".to_owned()));
    let bad = [
        put(wide),
        put(wrong_type),
        put(twice),
        put(with_image(object(2, 1.0, 1.0, 1), f32::NAN)),
        set(2, vec![(IMAGE, vec![1.0])]),
        set(2, vec![(SpaceId(9), vec![1.0])]),
        set(2, vec![(SPECTRUM, vec![1.0, 2.0]), (SPECTRUM, vec![1.0, 2.0])]),
        text,
    ];
    for operation in bad {
        let error =
            store.write(collection, vec![good.clone(), operation.clone()]).expect_err("is refused");
        assert!(matches!(error, StorageError::Row { place: 1, .. }), "{error}");
        assert_eq!(error.class(), Class::Invalid);
        let error = store.bulk_write(collection, vec![good.clone(), operation]);
        error.expect_err("is refused");
    }
    assert!(contents(&store, collection).is_empty());
}

/// Two numbers whose hashes agree in 32 bits, and so want one key in one cell.
fn colliding_ids() -> (i64, i64) {
    let mut seen = BTreeMap::new();
    for number in 0_i64.. {
        let hash = blake3::hash(&number.to_le_bytes());
        let Some(head) = hash.as_bytes().first_chunk::<4>() else { break };
        if let Some(other) = seen.insert(*head, number) {
            return (other, number);
        }
    }
    unreachable!("hashes of 32 bits collide")
}

#[test]
fn ids_that_want_one_key_are_kept_apart() {
    let (a, b) = colliding_ids();
    for separate in [false, true] {
        let store = in_memory();
        let collection = create(&store, "galaxies");
        let batch = vec![put(object(a, 5.0, 5.0, 1)), put(with_image(object(b, 5.0, 5.0, 2), 2.0))];
        if separate {
            for operation in batch {
                store.write(collection, vec![operation]).expect("writes");
            }
        } else {
            store.write(collection, batch).expect("writes");
        }
        let found = contents(&store, collection);
        assert_eq!(found.len(), 2);
        let ordinals: Vec<u32> = found.keys().map(|key| key.ordinal).collect();
        assert_eq!(ordinals[1], ordinals[0].wrapping_add(1));
        // The first leaves; the second stays where it is and is still found, overwritten and deleted.
        store.write(collection, vec![delete(a)]).expect("writes");
        let again = vec![put(object(b, 5.0, 5.0, 3)), put(object(a, 5.0, 5.0, 4))];
        store.write(collection, again).expect("writes");
        assert_eq!(contents(&store, collection).len(), 2);
        store.write(collection, vec![delete(b)]).expect("writes");
        assert_eq!(only(&store, collection), object(a, 5.0, 5.0, 4));
    }
}

#[test]
fn snapshots_stay_as_they_are() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    store.write(collection, vec![put(object(1, 1.0, 1.0, 1))]).expect("writes");
    let snapshot = store.snapshot(collection).expect("a snapshot");
    store.write(collection, vec![delete(1), put(object(2, 2.0, 2.0, 2))]).expect("writes");
    store.bulk_write(collection, vec![put(object(3, 3.0, 3.0, 3))]).expect("writes");
    store.drop_collection(collection).expect("drops");
    let seen: Vec<_> = snapshot
        .scan(WHOLE_SKY, &[IMAGE])
        .expect("scans")
        .map(|found| found.expect("readable").1)
        .collect();
    assert_eq!(seen, [object(1, 1.0, 1.0, 1)]);
    assert_eq!((snapshot.record().version, snapshot.record().object_count), (1, 1));
}

#[test]
fn a_scan_keeps_to_its_cells_and_spaces() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let objects: Vec<Object> = (0..60)
        .map(|number| with_image(object(number, 6.0 * number as f64, 0.5 * number as f64, 1), 1.0))
        .collect();
    store.write(collection, objects.into_iter().map(put).collect()).expect("writes");
    let all = contents(&store, collection);
    let cells: Vec<u64> = all.keys().map(|key| key.cell.0).collect();
    let range = cells[10]..cells[20];
    let snapshot = store.snapshot(collection).expect("a snapshot");
    let some: Vec<_> = snapshot
        .scan(range.clone(), &[])
        .expect("scans")
        .collect::<Result<_, _>>()
        .expect("readable");
    let keys: Vec<_> = some.iter().map(|(key, _)| *key).collect();
    let expected: Vec<_> = all.keys().filter(|key| range.contains(&key.cell.0)).copied().collect();
    assert_eq!(keys, expected);
    assert!(
        some.iter().all(|(_, object)| object.vectors.is_empty()),
        "no vectors unless asked for"
    );
    let error = snapshot.scan(range, &[SpaceId(7)]).expect_err("no such space");
    let StorageError::Schema { source: SchemaError::UnknownSpace { .. } } = error else {
        panic!("{error}")
    };
}

#[test]
fn trimmed_changes_are_gone_and_say_so() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    for number in 1..=5 {
        store.write(collection, vec![put(object(number, 1.0, 1.0, 1))]).expect("writes");
    }
    let versions = |after| -> Vec<u64> {
        let changes = store.changes_since(collection, after).expect("kept");
        changes.into_iter().map(|(version, _)| version).collect()
    };
    assert_eq!(versions(2), [3, 4, 5]);
    store.trim_changes(collection, 3).expect("trims");
    store.trim_changes(collection, 2).expect("trimming less changes nothing");
    assert_eq!(versions(3), [4, 5]);
    assert_eq!(versions(5), [0; 0]);
    let error = store.changes_since(collection, 2).expect_err("trimmed");
    assert!(matches!(error, StorageError::ChangesTrimmed { kept_after: 3, .. }), "{error}");
    store.trim_changes(collection, 99).expect("trims no more than there is");
    store.write(collection, vec![put(object(9, 1.0, 1.0, 1))]).expect("writes");
    assert_eq!(versions(5), [6]);
}

#[test]
fn a_large_batch_has_its_changes_in_parts() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    let count = 70_000_i64;
    let batch = (0..count)
        .map(|number| put(object(number, (number % 3600) as f64 / 10.0, 1.0, 1)))
        .collect();
    store.bulk_write(collection, batch).expect("writes");
    let changes = store.changes_since(collection, 0).expect("kept");
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].1.len(), count as usize);
    assert_eq!(contents(&store, collection).len(), count as usize);
}

#[test]
fn commits_from_many_threads_all_count() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..25 {
                    let id = thread * 1000 + number;
                    store.write(collection, vec![put(object(id, 1.0, 1.0, 1))]).expect("writes");
                }
            });
        }
    });
    assert_eq!(contents(&store, collection).len(), 100);
    let record = store.collection(collection).expect("reads").expect("is there");
    assert_eq!(record.version, 100);
}
