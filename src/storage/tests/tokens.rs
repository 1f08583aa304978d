//! Tokens: what is refused, what stays with an object, and what is damaged.

use super::*;
use crate::class::Class;
use crate::storage::Operation;
use crate::storage::key::{Key, TokenKey};

const ID: ObjectId = ObjectId::Number(7);

fn set(space: SpaceId, count: u32, stamp: u8) -> Operation {
    Operation::SetTokens { id: ID, tokens: vec![(space, sequence(space, count, stamp))] }
}

#[test]
fn tokens_of_no_object_are_not_kept() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let commit = store.write(collection, vec![set(STATES, 2, 1)]).expect("writes");
    assert_eq!(commit.outcomes, [crate::storage::Outcome::Absent]);
    assert_eq!(commit.version, 0, "nothing was done");
    assert!(all_tokens(&store, collection).is_empty());
}

#[test]
fn new_tokens_are_a_commit_that_changes_no_row() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    store.write(collection, vec![Operation::Put(object(7, 1.0, 1.0, 1))]).expect("writes");
    let commit = store.write(collection, vec![set(CODES, 3, 1)]).expect("writes");
    assert_eq!(commit.version, 2);
    let changes = store.changes_since(collection, 1).expect("kept");
    let kinds: Vec<ChangeKind> =
        changes.iter().flat_map(|(_, changes)| changes).map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Tokens]);
}

#[test]
fn a_sequence_of_a_network_survives_a_restart_and_a_move() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    // Longer than what lies in the tree itself.
    let operations = vec![Operation::Put(object(7, 1.0, 1.0, 1)), set(STATES, 9_000, 5)];
    store.write(collection, operations).expect("writes");
    store.bulk_write(collection, vec![set(CODES, 9_000, 6)]).expect("writes");
    let moved = Operation::Update { object: object(7, 200.0, -10.0, 2), forgets: Vec::new() };
    store.write(collection, vec![moved]).expect("writes");
    drop(store);
    let store = on_disk(place.path());
    let files = std::fs::read_dir(place.path().join("records")).expect("lists");
    let names: Vec<_> = files.map(|file| file.expect("lists").path()).collect();
    let is_blob = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "blob");
    assert!(names.iter().any(is_blob), "long sequences lie beside the tree: {names:?}");
    let all = all_tokens(&store, collection);
    assert_eq!(all[&(ID, STATES)], sequence(STATES, 9_000, 5));
    assert_eq!(all[&(ID, CODES)], sequence(CODES, 9_000, 6));
    store.drop_collection(collection).expect("drops");
    let view = store.engine.view();
    let mut rows = view.cursor(KeyRange::collection(Table::Tokens, collection)).expect("reads");
    assert!(rows.advance().expect("reads").is_none(), "a dropped collection has no tokens");
}

#[test]
fn what_a_space_does_not_take_is_refused_with_the_batch() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    store.write(collection, vec![Operation::Put(object(7, 1.0, 1.0, 1))]).expect("writes");
    let states = sequence(STATES, 2, 1);
    for (space, tokens, words) in [
        (CODES, states.clone(), "where the space holds ids"),
        (IMAGE, states.clone(), "holds vectors; tokens do not belong into it"),
        (STATES, TokenSequence::default(), "there is no token"),
        (SpaceId(9), states, "no embedding space number 9"),
    ] {
        let operation = Operation::SetTokens { id: ID, tokens: vec![(space, tokens)] };
        let refused = store.write(collection, vec![operation]).expect_err("is refused");
        assert!(refused.to_string().contains(words), "{refused}");
        assert_eq!(refused.class(), Class::Invalid);
    }
    let vectors = vec![(STATES, vec![1.0, 2.0])];
    let refused = store.write(collection, vec![Operation::SetVectors { id: ID, vectors }]);
    assert!(refused.expect_err("is refused").to_string().contains("holds tokens"));
    let snapshot = store.snapshot(collection).expect("a snapshot");
    assert_eq!(snapshot.tokens(IMAGE, &[ID]).expect_err("of vectors").class(), Class::Invalid);
    assert_eq!(
        snapshot.scan_vectors(WHOLE_SKY, CODES).err().map(|error| error.class()),
        Some(Class::Invalid)
    );
}

#[test]
fn damaged_and_missing_tokens_are_told() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let operations = vec![Operation::Put(object(7, 1.0, 1.0, 1)), set(STATES, 2, 1)];
    store.write(collection, operations).expect("writes");
    let (key, _) = contents(&store, collection).into_iter().next().expect("one object");
    let key = TokenKey::new(&key, STATES);
    let whole = store.engine.view().fetch(&key).expect("reads").expect("is there");
    let read = |bytes: Option<Vec<u8>>| {
        let mut batch = crate::storage::engine::Batch::default();
        match bytes {
            Some(bytes) => batch.put(&key, bytes),
            None => batch.delete(&key),
        }
        store.engine.commit(&batch, crate::storage::engine::Patience::Long).expect("commits");
        store.snapshot(collection).expect("a snapshot").tokens(STATES, &[ID])
    };
    for end in 0..whole.len() {
        let told = read(Some(whole[..end].to_vec())).expect_err("a cut");
        assert_eq!(told.class(), Class::Corrupt, "{told}");
    }
    let mut infinite = whole.clone();
    let last = infinite.len() - 1;
    infinite[last] = 0x7c;
    assert_eq!(read(Some(infinite)).expect_err("infinite").class(), Class::Corrupt);
    assert_eq!(read(None).expect_err("missing").class(), Class::Corrupt);
    assert!(read(Some(whole)).expect("whole")[0].is_some());
    assert_eq!(key, TokenKey::decode(&key.encode()).expect("readable"));
}
