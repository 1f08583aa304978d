//! Insertions from columns against the operations that they stand for.

use std::sync::{Arc, Mutex};

use proptest::collection::vec;
use proptest::prelude::*;

use super::bulk::copy;
use super::*;
use crate::schema::{IdRef, Rows, ValueRef};
use crate::storage::{KnownKeys, Operation, Place, StagedInsert};

/// Objects that pretend to be columns; the spaces are those that any of them has a vector in.
struct Block {
    objects: Vec<Object>,
    spaces: Vec<SpaceId>,
}

impl Block {
    fn new(objects: Vec<Object>) -> Self {
        let spaces: BTreeSet<SpaceId> =
            objects.iter().flat_map(|object| &object.vectors).map(|(space, _)| *space).collect();
        Self { objects, spaces: spaces.into_iter().collect() }
    }
}

impl Rows for Block {
    fn count(&self) -> usize {
        self.objects.len()
    }

    fn id(&self, row: usize) -> IdRef<'_> {
        IdRef::from(&self.objects[row].id)
    }

    fn position(&self, row: usize) -> Position {
        self.objects[row].position
    }

    fn column_count(&self) -> usize {
        self.objects.first().map_or(2, |object| object.columns.len())
    }

    fn value(&self, column: usize, row: usize) -> ValueRef<'_> {
        ValueRef::from(&self.objects[row].columns[column])
    }

    fn spaces(&self) -> &[SpaceId] {
        &self.spaces
    }

    fn vector(&self, space: usize, row: usize) -> Option<&[f32]> {
        let wanted = self.spaces[space];
        let found = self.objects[row].vectors.iter().find(|(space, _)| *space == wanted);
        found.map(|(_, vector)| vector.as_slice())
    }
}

fn stage(
    store: &Store,
    collection: CollectionId,
    blocks: &[Block],
) -> Option<StagedInsert<Vec<Place>>> {
    let rows: Vec<&dyn Rows> = blocks.iter().map(|block| block as &dyn Rows).collect();
    let schema = schema_of(store, collection);
    store.stage_insert(collection, &schema, &rows, <[Place]>::to_vec).expect("stages")
}

fn insert(store: &Store, collection: CollectionId, blocks: &[Block]) -> Option<Vec<Place>> {
    let rows: Vec<&dyn Rows> = blocks.iter().map(|block| block as &dyn Rows).collect();
    let staged = stage(store, collection, blocks)?;
    let inserted = store.insert_staged(collection, staged, &rows, None).expect("inserts");
    inserted.map(|insertion| insertion.made)
}

fn schema_of(store: &Store, collection: CollectionId) -> Arc<CollectionSchema> {
    store.collection(collection).expect("reads").expect("is there").schema
}

fn puts(blocks: &[Block]) -> Vec<Operation> {
    blocks.iter().flat_map(|block| block.objects.iter().cloned().map(Operation::Put)).collect()
}

/// Some rows of two blocks, some with vectors of both spaces, of one, of none.
fn blocks(ids: std::ops::Range<i64>) -> [Block; 2] {
    let made = |id: i64| {
        let mut object =
            object(id, (37.0 * id as f64).rem_euclid(360.0), 1.0 + id as f64 % 70.0, 3);
        if id % 3 != 0 {
            object = with_image(object, id as f32);
        }
        if id % 2 == 0 {
            object.vectors.push((SPECTRUM, vec![id as f32, -1.0]));
        }
        object
    };
    let middle = i64::midpoint(ids.start, ids.end);
    [
        Block::new((middle..ids.end).map(made).collect()),
        Block::new((ids.start..middle).map(made).collect()),
    ]
}

#[test]
fn what_is_not_plainly_new_is_left_to_the_operations() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    assert!(insert(&store, collection, &blocks(0..40)).is_some());
    let before = contents(&store, collection);
    let there = Block::new(vec![object(100, 1.0, 1.0, 1), object(7, 2.0, 2.0, 1)]);
    let twice = Block::new(vec![object(100, 1.0, 1.0, 1), object(100, 2.0, 2.0, 1)]);
    let mut short = object(100, 1.0, 1.0, 1);
    short.columns.pop();
    let unknown = Object { vectors: vec![(SpaceId(9), vec![1.0])], ..object(100, 1.0, 1.0, 1) };
    for refused in [there, twice, Block::new(vec![short]), Block::new(vec![unknown])] {
        assert!(insert(&store, collection, &[refused]).is_none());
    }
    assert_eq!(contents(&store, collection), before);
    let patient = StoreOptions { bulk_bytes_min: 1 << 20, ..small() };
    let few = Store::in_memory(patient).expect("opens");
    let collection = create(&few, "galaxies");
    assert!(insert(&few, collection, &blocks(0..40)).is_none(), "a file is not worth it");
}

#[test]
fn places_are_those_of_the_rows_in_the_order_of_their_keys() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let blocks = blocks(0..50);
    let places = insert(&store, collection, &blocks).expect("all are new");
    assert!(places.is_sorted_by(|left, right| left.key < right.key));
    let stored = contents(&store, collection);
    assert_eq!(places.len(), stored.len());
    for place in places {
        let object = blocks[place.block as usize].object(place.row as usize);
        assert_eq!(stored[&place.key], object);
    }
}

#[test]
fn a_crash_at_any_step_of_an_insertion_leaves_all_or_nothing() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let home = place.path().join("home");
    let mut store = on_disk(&home);
    let collection = create(&store, "galaxies");
    assert!(insert(&store, collection, &blocks(0..20)).is_some());
    let first = contents(&store, collection);
    let images = Arc::new(Mutex::new(Vec::new()));
    let (list, root, live) = (Arc::clone(&images), place.path().to_path_buf(), home.clone());
    store.probe = Some(Box::new(move |step| {
        let mut list = list.lock().expect("not poisoned");
        let image = root.join(format!("image-{}", list.len()));
        copy(&live, &image);
        list.push((step, image));
        Ok(())
    }));
    assert!(insert(&store, collection, &blocks(20..60)).is_some());
    let after = contents(&store, collection);
    assert_eq!(after.len(), 60);
    drop(store);
    let images = images.lock().expect("not poisoned").clone();
    let tables = images.iter().filter(|(step, _)| matches!(step, Step::Ingested(_))).count();
    assert_eq!(tables, 4, "objects, vectors, ids and changes");
    for (step, image) in images {
        let store = on_disk(&image);
        let expected = if step == Step::Staged { &first } else { &after };
        assert_eq!(&contents(&store, collection), expected, "{step:?}");
        assert_eq!(
            insert(&store, collection, &blocks(60..70)).map(|places| places.len()),
            Some(10)
        );
    }
}

#[test]
fn files_that_wait_for_their_turn_are_nothing_yet() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let home = place.path().join("home");
    let store = on_disk(&home);
    let collection = create(&store, "galaxies");
    let (mine, other) = (blocks(0..20), blocks(20..60));
    let first = stage(&store, collection, &mine).expect("all are new");
    let second = stage(&store, collection, &other).expect("all are new");
    assert_eq!(store.engine.staged().expect("lists").len(), 2);
    assert!(contents(&store, collection).is_empty());
    // The later one comes first, and the machine ends while the other waits.
    let rows: Vec<&dyn Rows> = other.iter().map(|block| block as &dyn Rows).collect();
    store.insert_staged(collection, second, &rows, None).expect("inserts").expect("new");
    let after = contents(&store, collection);
    assert_eq!(after.len(), 40);
    let image = place.path().join("image");
    copy(&home, &image);
    let crashed = on_disk(&image);
    assert_eq!(contents(&crashed, collection), after);
    assert!(crashed.engine.staged().expect("lists").is_empty());
    drop(first);
    assert!(store.engine.staged().expect("lists").is_empty());
    // A panic of what is made alongside leaves nothing either.
    let (rows, schema) = (blocks(100..110), schema_of(&store, collection));
    let rows: Vec<&dyn Rows> = rows.iter().map(|block| block as &dyn Rows).collect();
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let staged = store.stage_insert(collection, &schema, &rows, |_| panic!("made alongside"));
        staged.map(|staged: Option<StagedInsert<()>>| staged.is_some())
    }));
    assert!(made.is_err());
    assert!(store.engine.staged().expect("lists").is_empty());
}

#[test]
fn what_has_changed_since_files_were_written_is_seen() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    let (mine, same) = (blocks(0..20), blocks(10..30));
    let rows: Vec<&dyn Rows> = same.iter().map(|block| block as &dyn Rows).collect();
    let late = stage(&store, collection, &same).expect("all are new yet");
    assert!(insert(&store, collection, &mine).is_some());
    assert!(store.insert_staged(collection, late, &rows, None).expect("asks").is_none());
    assert!(
        stage(&store, collection, &mine).is_none(),
        "known ids are seen before files are written"
    );
    let new = blocks(40..50);
    let rows: Vec<&dyn Rows> = new.iter().map(|block| block as &dyn Rows).collect();
    let waiting = stage(&store, collection, &new).expect("all are new");
    store.add_space(collection, space("late", 4)).expect("adds");
    assert!(store.insert_staged(collection, waiting, &rows, None).expect("asks").is_none());
    assert!(store.engine.staged().expect("lists").is_empty());
    assert_eq!(contents(&store, collection).len(), 20);
    assert!(insert(&store, collection, &new).is_some());
    assert_eq!(contents(&store, collection).len(), 30);
}

#[test]
fn many_rows_are_written_into_two_files_a_table() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut store = on_disk(place.path());
    let collection = create(&store, "galaxies");
    let names = Arc::new(Mutex::new(Vec::new()));
    let (list, staging) = (Arc::clone(&names), place.path().join("staging"));
    store.probe = Some(Box::new(move |step| {
        if step == Step::Staged {
            let list_of = |path| std::fs::read_dir(path).expect("lists").flatten();
            let files = list_of(staging.clone()).flat_map(|stage| list_of(stage.path()));
            let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
            list.lock().expect("not poisoned").extend(names);
        }
        Ok(())
    }));
    let objects = (0..33_000).map(|id| object(id, 0.01 * id as f64, 5.0, 1));
    let block = Block::new(objects.collect());
    assert!(insert(&store, collection, &[block]).is_some());
    let names = names.lock().expect("not poisoned").clone();
    let of = |table: &str| names.iter().filter(|name: &&String| name.starts_with(table)).count();
    assert_eq!((of("objects"), of("ids"), of("changes")), (2, 2, 1), "{names:?}");
    assert_eq!(contents(&store, collection).len(), 33_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn insertions_equal_bulk_writes(
        batches in vec(vec((0..60_i64, 0.0..360.0_f64, -90.0..90.0_f64, 0..4_u8), 0..12), 1..6),
    ) {
        let (ours, theirs) = (in_memory(), in_memory());
        let (collection, other) = (create(&ours, "galaxies"), create(&theirs, "galaxies"));
        for batch in batches {
            let rows = batch.into_iter().map(|(id, ra, dec, kind)| {
                let mut object = object(id, ra, dec, u32::from(kind));
                if kind & 1 > 0 { object = with_image(object, ra as f32); }
                if kind & 2 > 0 { object.vectors.push((SPECTRUM, vec![dec as f32, 1.0])); }
                object
            });
            let rows: Vec<Object> = rows.collect();
            let (left, right) = rows.split_at(rows.len() / 2);
            let blocks = [Block::new(left.to_vec()), Block::new(right.to_vec())];
            let is_new = {
                let ids: BTreeSet<_> = rows.iter().map(|object| object.id.clone()).collect();
                let ids: Vec<_> = ids.into_iter().collect();
                let stored = ours.get(collection, &ids, false).expect("reads");
                ids.len() == rows.len() && stored.iter().all(Option::is_none)
            };
            let inserted = (!rows.is_empty()).then(|| insert(&ours, collection, &blocks)).flatten();
            prop_assert_eq!(inserted.is_some(), is_new && !rows.is_empty());
            if inserted.is_none() {
                ours.bulk_write(collection, puts(&blocks)).expect("writes");
            }
            theirs.bulk_write(other, puts(&blocks)).expect("writes");
            prop_assert_eq!(contents(&ours, collection), contents(&theirs, other));
        }
        let changes = |store: &Store, collection| store.changes_since(collection, 0).expect("kept");
        prop_assert_eq!(changes(&ours, collection), changes(&theirs, other));
    }
}

#[test]
fn what_is_known_of_the_keys_is_used_at_its_own_version_only() {
    let store = in_memory();
    let collection = create(&store, "galaxies");
    assert!(insert(&store, collection, &blocks(0..10)).is_some());
    for (version, is_asked) in [(0, false), (1, true), (7, false)] {
        let store_now = store.collection(collection).expect("reads").expect("there").version;
        let asked = Mutex::new(false);
        let taken = |_: &[Place]| {
            *asked.lock().expect("not poisoned") = true;
            Vec::new()
        };
        // New ids among those that are there, so that the keys are asked for.
        let rows = blocks(20 + 10 * store_now as i64..25 + 10 * store_now as i64);
        let rows: Vec<&dyn Rows> = rows.iter().map(|block| block as &dyn Rows).collect();
        let version = if version == 1 { store_now } else { version };
        let known = KnownKeys { version, taken: &taken };
        let staged = store
            .stage_insert(collection, &schema_of(&store, collection), &rows, |_| ())
            .expect("stages")
            .expect("many");
        store.insert_staged(collection, staged, &rows, Some(&known)).expect("asks").expect("new");
        assert_eq!(*asked.lock().expect("not poisoned"), is_asked, "version {version}");
    }
    assert_eq!(contents(&store, collection).len(), 25);
}
