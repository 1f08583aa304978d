//! `tests/fixtures/ondisk/vN` is a data directory as format N wrote it. It is made by running
//! `SIDEREUS_MAKE_FIXTURE=DIR cargo test --release --test it storage::fixture`, then taking `LOG*`, `OPTIONS*`,
//! `LOCK` and empty folders out of DIR; it is never made again once the format is released.

use super::*;

/// How many rows the collection of numbers has.
const NUMBERED: i64 = 60;

fn provenance() -> Provenance {
    Provenance {
        encoder: "photometry-mm".to_owned(),
        weights_hash: "00ff".repeat(16),
        preprocessing: "asinh-1".to_owned(),
        pooling: "mean".to_owned(),
    }
}

fn numbered_schema() -> CollectionSchema {
    CollectionSchema {
        name: "numbered".to_owned(),
        id_kind: IdKind::Number,
        columns: vec![
            Column::new("flag", ColumnType::Boolean),
            Column::new("count", ColumnType::Int64),
            Column {
                unit: "mag".to_owned(),
                ucd: "phot.mag;em.opt.R".to_owned(),
                description: "Magnitude in r.".to_owned(),
                ..Column::new("r", ColumnType::Float32)
            },
            Column::new("z", ColumnType::Float64),
        ],
        spaces: vec![
            space("image", 4, Metric::Cosine, Provenance::external()),
            space("photometry", 2, Metric::L2, provenance()),
        ],
        description: "Objects with numbers for ids.".to_owned(),
    }
}

fn named_schema() -> CollectionSchema {
    CollectionSchema {
        name: "named".to_owned(),
        id_kind: IdKind::Text,
        columns: vec![
            Column::new("note", ColumnType::Text),
            Column::new("cutout", ColumnType::Binary),
            Column::new("spectrum", ColumnType::FloatList),
        ],
        spaces: Vec::new(),
        description: String::new(),
    }
}

fn numbered(number: i64) -> Object {
    let real = number as f64;
    let vectors = [
        (number % 3 != 0).then(|| (SpaceId(1), vec![1.0, real as f32, -0.5, 0.25])),
        (number % 4 == 0).then(|| (SpaceId(2), vec![real as f32 / 3.0, 1e-20])),
    ];
    Object {
        id: ObjectId::Number(number - 30),
        position: position(real * 6.0, real * 3.0 - 90.0),
        columns: vec![
            if number % 5 == 0 { Value::Null } else { Value::Boolean(number % 2 == 0) },
            Value::Int64((number - 30) * 1_000_000_007),
            Value::Float32(if number % 7 == 0 { f32::NAN } else { real as f32 / 7.0 }),
            Value::Float64(if number == 11 { f64::INFINITY } else { real.sqrt() }),
        ],
        vectors: vectors.into_iter().flatten().collect(),
    }
}

fn named() -> Vec<Object> {
    let object = |id: &str, ra, dec, columns| Object {
        id: ObjectId::Text(id.to_owned()),
        position: position(ra, dec),
        columns,
        vectors: Vec::new(),
    };
    let empty =
        vec![Value::Text(String::new()), Value::Binary(Vec::new()), Value::FloatList(Vec::new())];
    let full = vec![
        Value::Text("z\u{f6}llner \u{2299}".to_owned()),
        Value::Binary((0..=255).collect()),
        Value::FloatList(vec![1.5, f64::NAN, -0.0]),
    ];
    vec![
        object("0266-51602-0001", 0.0, 90.0, empty),
        object("0266-51602-0002", 359.999_999, -90.0, full),
        object("\u{3b1} Centauri", 219.9, -60.8, vec![Value::Null, Value::Null, Value::Null]),
    ]
}

fn expected_numbered() -> BTreeMap<ObjectId, Object> {
    let mut objects: BTreeMap<_, _> =
        (0..NUMBERED).map(numbered).map(|object| (object.id.clone(), object)).collect();
    objects.remove(&ObjectId::Number(-25));
    if let Some(moved) = objects.get_mut(&ObjectId::Number(0)) {
        moved.position = position(12.5, 12.5);
        moved.vectors = vec![(SpaceId(2), vec![4.0, 5.0])];
    }
    objects
}

fn tokened_schema() -> CollectionSchema {
    let of = |form, name, dimension| EmbeddingSpace {
        form,
        ..space(name, dimension, Metric::Cosine, provenance())
    };
    CollectionSchema {
        name: "tokened".to_owned(),
        id_kind: IdKind::Number,
        columns: Vec::new(),
        spaces: vec![
            of(SpaceForm::Tokens, "states", 3),
            of(SpaceForm::TokenIds, "codes", 0),
            of(SpaceForm::Vector, "pooled", 2),
        ],
        description: String::new(),
    }
}

/// States in two runs, some so long that they lie beside the tree; every second object has ids as well.
fn tokened(number: i64) -> (Object, Vec<(SpaceId, TokenSequence)>) {
    let count = if number % 4 == 0 { 1_500 } else { 2 } + number as u32;
    let bytes = |length: u32| (0..length).map(|at| (at + number as u32) as u8 & 0x3f).collect();
    let run = |modality: &str, count: u32| TokenRun {
        modality: modality.to_owned(),
        count,
        width: 3,
        states: bytes(count * 6),
        ids: Vec::new(),
    };
    let states = TokenSequence { runs: vec![run("tok_image", count), run("tok_spectrum", 1)] };
    let codes = TokenRun { count, ids: bytes(count * 2), ..TokenRun::default() };
    let mut tokens = vec![(SpaceId(1), states)];
    if number % 2 == 0 {
        tokens.push((SpaceId(2), TokenSequence { runs: vec![codes] }));
    }
    let object = Object {
        id: ObjectId::Number(number),
        position: position(number as f64, 10.0),
        columns: Vec::new(),
        vectors: vec![(SpaceId(3), vec![1.0, number as f32])],
    };
    (object, tokens)
}

/// The tokens of the second format, written in every way.
fn make_tokens(store: &Store) {
    let tokened_objects = store.create_collection(tokened_schema()).expect("creates").id;
    let put = |number| {
        let (object, tokens) = tokened(number);
        let id = object.id.clone();
        [Operation::Put(object), Operation::SetTokens { id, tokens }]
    };
    store.bulk_write(tokened_objects, (0..8).flat_map(put).collect()).expect("writes");
    store.write(tokened_objects, (8..14).flat_map(put).collect()).expect("writes");
    // One moves with its tokens, one is written again without, one goes.
    let (mut moved, _) = tokened(4);
    moved.position = position(200.0, -50.0);
    let changes = vec![
        Operation::Update { object: moved, forgets: Vec::new() },
        Operation::Put(tokened(5).0),
        Operation::Delete(ObjectId::Number(6)),
    ];
    store.write(tokened_objects, changes).expect("writes");
}

fn check_tokens(store: &Store, record: &CollectionRecord) {
    let found = contents(store, record.id);
    let expected: Vec<i64> = (0..14).filter(|number| *number != 6).collect();
    assert_eq!(
        found.keys().cloned().collect::<Vec<_>>(),
        expected.iter().copied().map(ObjectId::Number).collect::<Vec<_>>()
    );
    assert_eq!(found[&ObjectId::Number(4)].position, position(200.0, -50.0));
    assert_eq!(record.vector_counts, [(SpaceId(1), 12), (SpaceId(2), 6), (SpaceId(3), 13)]);
    let snapshot = store.snapshot(record.id).expect("a snapshot");
    let ids: Vec<ObjectId> = (0..14).map(ObjectId::Number).collect();
    for space in [SpaceId(1), SpaceId(2)] {
        let found = snapshot.tokens(space, &ids).expect("readable");
        for (number, found) in (0..14).zip(found) {
            let tokens = tokened(number).1.into_iter().find(|(id, _)| *id == space);
            let is_kept = number != 5 && number != 6;
            assert_eq!(found, tokens.filter(|_| is_kept).map(|(_, tokens)| tokens), "{number}");
        }
    }
}

/// A space of the third format.
fn fed_schema() -> CollectionSchema {
    let inputs = [("flux_r", "r[2]"), ("flux_z", "")];
    let inputs = inputs.map(|(input, column)| (input.to_owned(), column.to_owned()));
    CollectionSchema {
        name: "fed".to_owned(),
        id_kind: IdKind::Number,
        columns: vec![Column::new("r", ColumnType::FloatList)],
        spaces: vec![
            EmbeddingSpace {
                shared: Some("contrastive".to_owned()),
                ..space("plain", 2, Metric::L2, provenance())
            },
            EmbeddingSpace {
                at_ingest: Some(AtIngest { inputs: inputs.into() }),
                ..space("filled", 2, Metric::L2, provenance())
            },
        ],
        description: String::new(),
    }
}

/// What a record of a probe holds is nothing that the store understands.
const PROBE: &[u8] = b"a probe\0\xff";

fn make_fed(store: &Store) {
    let fed = store.create_collection(fed_schema()).expect("creates").id;
    store.put_record(fed, RecordKind::Probe, "PhotoZ", PROBE).expect("keeps");
    store.add_column(fed, Column::new("z_photo", ColumnType::Float64)).expect("adds");
}

fn check_fed(store: &Store, record: &CollectionRecord) {
    let kept = store.records(record.id, RecordKind::Probe).expect("reads");
    assert_eq!(kept, [("PhotoZ".to_owned(), PROBE.to_vec())]);
    let mut schema = fed_schema();
    schema.columns.push(Column::new("z_photo", ColumnType::Float64));
    for (space, id) in schema.spaces.iter_mut().zip(1..) {
        space.id = SpaceId(id);
    }
    assert_eq!(*record.schema, schema);
}

/// What the fourth format keeps of the server and of a release; the store understands none of it.
const SERVER_RECORDS: [(ServerRecordKind, &str, &[u8]); 5] = [
    (ServerRecordKind::Token, "4f1c2d", b"hash of a token"),
    (ServerRecordKind::Group, "observers", b"alice, bob"),
    (ServerRecordKind::Group, "observers of \u{3b1} Centauri", b"carol"),
    (ServerRecordKind::Grant, "observers/numbered", b"read"),
    (ServerRecordKind::Policy, "observers/numbered", b"z < 1"),
];
const RELEASE: &[u8] = b"a release";

fn make_hosting(store: &Store, collection: CollectionId) {
    for (kind, name, bytes) in SERVER_RECORDS {
        store.put_server_record(kind, name, bytes).expect("keeps");
    }
    store.put_record(collection, RecordKind::Release, "DR1", RELEASE).expect("keeps");
}

fn check_hosting(store: &Store, collection: CollectionId, format: u32) {
    for (kind, name, bytes) in SERVER_RECORDS {
        let found = store.server_records(kind).expect("reads");
        let is_there = found.contains(&(name.to_owned(), bytes.to_vec()));
        assert_eq!(is_there, format >= 4, "{kind:?} {name}");
    }
    let release = store.record(collection, RecordKind::Release, "dr1").expect("reads");
    assert_eq!(release.as_deref(), (format >= 4).then_some(RELEASE));
}

fn make(path: &Path) {
    let store = Store::open(path, small()).expect("opens");
    let gone =
        store.create_collection(CollectionSchema { name: "gone".to_owned(), ..named_schema() });
    let numbers = store.create_collection(numbered_schema()).expect("creates").id;
    let names = store.create_collection(named_schema()).expect("creates").id;
    store.drop_collection(gone.expect("creates").id).expect("drops");
    let puts = |range: std::ops::Range<i64>| {
        range.map(|number| Operation::Put(numbered(number))).collect::<Vec<_>>()
    };
    store.bulk_write(numbers, puts(0..40)).expect("writes");
    store.write(numbers, puts(40..NUMBERED)).expect("writes");
    let mut moved = numbered(30);
    moved.position = position(12.5, 12.5);
    moved.vectors.clear();
    store.trim_changes(numbers, 1).expect("trims");
    let changes = vec![
        Operation::Delete(ObjectId::Number(-25)),
        Operation::Put(moved),
        Operation::SetVectors {
            id: ObjectId::Number(0),
            vectors: vec![(SpaceId(2), vec![4.0, 5.0])],
        },
    ];
    store.write(numbers, changes).expect("writes");
    store.write(names, named().into_iter().map(Operation::Put).collect()).expect("writes");
    make_tokens(&store);
    make_fed(&store);
    make_hosting(&store, numbers);
}

fn check(path: &Path, format: u32) {
    let store = Store::open(path, small()).expect("opens");
    let records = store.collections().expect("reads");
    let [numbers, names, later @ ..] = &records[..] else { panic!("{records:?}") };
    match later {
        [] => assert_eq!(format, 1),
        [tokens, later @ ..] if later.len() < 2 => {
            // The fourth format has no collection of its own.
            assert_eq!(format.min(3), 2 + later.len() as u32);
            check_tokens(&store, tokens);
            later.iter().for_each(|record| check_fed(&store, record));
        }
        more => panic!("{more:?}"),
    }
    let mut schema = numbered_schema();
    for (space, id) in schema.spaces.iter_mut().zip(1..) {
        space.id = SpaceId(id);
    }
    assert_eq!((&*numbers.schema, &*names.schema), (&schema, &named_schema()));
    assert_eq!((numbers.id, names.id), (CollectionId(2), CollectionId(3)));
    assert_eq!((numbers.version, names.version), (3, 1));
    check_hosting(&store, numbers.id, format);
    let found = contents(&store, numbers.id);
    let expected = expected_numbered();
    assert_eq!(found.len(), expected.len());
    for (id, object) in &expected {
        assert!(same(&found[id], object), "{:?} is {object:?}", found[id]);
    }
    let found: Vec<Object> = contents(&store, names.id).into_values().collect();
    assert_eq!(format!("{found:?}"), format!("{:?}", named()));
    assert_eq!(store.changes_since(numbers.id, 1).expect("kept").len(), 2);
    store.changes_since(numbers.id, 0).expect_err("trimmed");
    // It can be written as well as read.
    let commit = store.write(numbers.id, vec![Operation::Put(numbered(5))]).expect("writes");
    assert!(matches!(commit.outcomes[..], [Outcome::Inserted { .. }]));
}

#[test]
fn every_format_opens() {
    for format in 1..=sidereus::storage::FORMAT {
        let kept = format!("tests/fixtures/ondisk/v{format}");
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(kept);
        let place = tempfile::tempdir().expect("a temporary directory");
        copy(&kept, place.path());
        check(place.path(), format);
        // It is of the newest format now, and opens again.
        drop(Store::open(place.path(), small()).expect("opens again"));
    }
}

#[test]
fn a_directory_of_the_first_format_takes_tokens() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ondisk/v1");
    let place = tempfile::tempdir().expect("a temporary directory");
    copy(&kept, place.path());
    let store = Store::open(place.path(), small()).expect("opens");
    make_tokens(&store);
    drop(store);
    let store = Store::open(place.path(), small()).expect("opens again");
    let records = store.collections().expect("reads");
    check_tokens(&store, records.last().expect("the new one"));
}

#[test]
fn the_maker_makes_what_is_expected() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = place.path().join("made");
    make(&path);
    if let Some(keep) = std::env::var_os("SIDEREUS_MAKE_FIXTURE") {
        copy(&path, &PathBuf::from(keep));
    }
    check(&path, sidereus::storage::FORMAT);
}
