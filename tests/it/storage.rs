//! The record of truth seen from outside: the fixture of every released format, other processes, and kills.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sidereus::class::Class;
use sidereus::schema::{
    AtIngest, CollectionId, CollectionSchema, Column, ColumnType, EmbeddingSpace, IdKind, Modality,
    Object, ObjectId, Provenance, SpaceForm, SpaceId, Value,
};
use sidereus::sky::{Degrees, Position};
use sidereus::storage::{
    CollectionRecord, Operation, Outcome, RecordKind, ServerRecordKind, Store, StoreOptions,
};
use sidereus::vector::Metric;
use sidereus::wire::v1::{TokenRun, TokenSequence};

const WHOLE_SKY: std::ops::Range<u64> = 0..u64::MAX;

fn small() -> StoreOptions {
    StoreOptions {
        cache_bytes: 8 << 20,
        write_buffer_bytes: 4 << 20,
        background_jobs: 2,
        bulk_bytes_min: 0,
    }
}

fn position(ra: f64, dec: f64) -> Position {
    Position::new(Degrees(ra), Degrees(dec)).expect("a position")
}

fn space(name: &str, dimension: usize, metric: Metric, provenance: Provenance) -> EmbeddingSpace {
    let modality = Modality(name.to_owned());
    EmbeddingSpace {
        id: SpaceId(0),
        name: name.to_owned(),
        modality,
        form: SpaceForm::default(),
        dimension,
        metric,
        provenance,
        shared: None,
        at_ingest: None,
    }
}

/// Everything in a collection, by id, with all vectors.
fn contents(store: &Store, collection: CollectionId) -> BTreeMap<ObjectId, Object> {
    let snapshot = store.snapshot(collection).expect("a snapshot");
    let record = snapshot.record();
    let spaces: Vec<SpaceId> = record.schema.vector_spaces().map(|space| space.id).collect();
    let mut objects = BTreeMap::new();
    for found in snapshot.scan(WHOLE_SKY, &spaces).expect("scans") {
        let (key, object) = found.expect("readable");
        assert_eq!(key.cell, object.position.cell29());
        assert!(objects.insert(object.id.clone(), object).is_none(), "ids are unique");
    }
    assert_eq!(record.object_count, objects.len() as u64, "objects are counted");
    let counts = record.vector_counts.iter();
    for (space, count) in counts.filter(|(space, _)| spaces.contains(space)) {
        let of_space = |object: &&Object| object.vectors.iter().any(|(id, _)| id == space);
        assert_eq!(*count, objects.values().filter(of_space).count() as u64, "vectors are counted");
        let alone = snapshot.scan_vectors(WHOLE_SKY, *space).expect("scans").count();
        assert_eq!(*count, alone as u64, "every vector has its object");
    }
    let ids: Vec<ObjectId> = objects.keys().cloned().collect();
    let by_id = snapshot.get(&ids, true).expect("reads");
    let by_id: Vec<Object> = by_id.into_iter().map(|found| found.expect("is there").1).collect();
    assert!(by_id.iter().zip(objects.values()).all(|(a, b)| same(a, b)), "by id");
    objects
}

/// Equality in which NaN equals itself.
fn same(a: &Object, b: &Object) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

mod fixture;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes a folder");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// Tells a test that it is the second process of itself, and where to work.
const SECOND: &str = "SIDEREUS_TEST_SECOND_PROCESS";

fn second_place() -> Option<PathBuf> {
    std::env::var_os(SECOND).map(PathBuf::from)
}

/// Runs one test of this program in a process of its own.
fn second_process(test: &str, place: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(SECOND, place)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

#[test]
fn another_process_is_refused() {
    if let Some(place) = second_place() {
        let error = Store::open(&place, small()).expect_err("is locked");
        println!("\nrefused: {:?}: {error}", error.class());
        return;
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(place.path(), small()).expect("opens");
    let child = second_process("storage::another_process_is_refused", place.path());
    let output = child.wait_with_output().expect("ends");
    let text = String::from_utf8_lossy(&output.stdout);
    let refusal = text.lines().find(|line| line.starts_with("refused: ")).expect("was refused");
    let holder = format!("in use by process {}", std::process::id());
    assert!(refusal.contains(&holder), "{refusal}");
    assert!(refusal.contains(&format!("{:?}", Class::Conflict)), "{refusal}");
    drop(store);
    Store::open(place.path(), small()).expect("opens when the first has gone");
}

mod kills {
    use super::*;

    const ROUNDS: u64 = 25;

    fn schema() -> CollectionSchema {
        CollectionSchema {
            name: "galaxies".to_owned(),
            id_kind: IdKind::Number,
            columns: vec![Column::new("version", ColumnType::Int64)],
            spaces: vec![space("image", 8, Metric::L2, Provenance::external())],
            description: String::new(),
        }
    }

    /// A small generator of numbers that everybody can repeat.
    fn mixed(seed: u64) -> u64 {
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678);
        x ^= x >> 31;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^ (x >> 29)
    }

    /// The batch that leads to a version: inserts, overwrites, moves, new values of a column, deletes.
    fn batch(version: u64) -> Vec<Operation> {
        let operation = |place: u64| {
            let number = mixed(version * 1000 + place);
            let id = ObjectId::Number((number % 500) as i64);
            if number.is_multiple_of(11) {
                return Operation::Delete(id);
            }
            if number.is_multiple_of(13) {
                let columns = vec![(0, Value::Int64(-(version as i64)))];
                return Operation::SetColumns { id, columns };
            }
            let ra = (number / 7 % 360) as f64;
            Operation::Put(Object {
                id,
                position: position(ra, (number / 1_000 % 180) as f64 - 90.0),
                columns: vec![Value::Int64(version as i64)],
                vectors: vec![(SpaceId(1), vec![version as f32; 8])],
            })
        };
        // One object is in every batch, so that every batch changes something.
        let always = Operation::Put(Object {
            id: ObjectId::Number(-1),
            position: position(1.0, 1.0),
            columns: vec![Value::Int64(version as i64)],
            vectors: Vec::new(),
        });
        (0..60).map(operation).chain([always]).collect()
    }

    fn apply(objects: &mut BTreeMap<ObjectId, Object>, version: u64) {
        for operation in batch(version) {
            match operation {
                Operation::Put(object) => drop(objects.insert(object.id.clone(), object)),
                Operation::Delete(id) => drop(objects.remove(&id)),
                Operation::SetColumns { id, columns } => {
                    for (place, value) in columns {
                        objects
                            .entry(id.clone())
                            .and_modify(|object| object.columns[place] = value);
                    }
                }
                Operation::Update { .. }
                | Operation::SetVectors { .. }
                | Operation::SetTokens { .. } => unreachable!("no batch has one"),
            }
        }
    }

    /// Writes batch after batch until it is killed; says when each begins and when it is acknowledged.
    fn write_forever(place: &Path) -> ! {
        let store = Store::open(place, small()).expect("opens");
        let record = store.collections().expect("reads").remove(0);
        let mut version = record.version;
        loop {
            version += 1;
            println!("\nbegin {version}");
            let written = if version.is_multiple_of(2) {
                store.bulk_write(record.id, batch(version))
            } else {
                store.write(record.id, batch(version))
            };
            assert_eq!(written.expect("writes").version, version);
            println!("\nacknowledged {version}");
        }
    }

    /// What the killed process said.
    #[derive(Default)]
    struct Said {
        begun: u64,
        acknowledged: u64,
    }

    fn run_and_kill(place: &Path, round: u64) -> Said {
        let mut child = second_process("storage::kills::acknowledged_writes_survive", place);
        let lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let reader = std::thread::spawn(move || {
            let mut said = Said::default();
            for line in lines.map_while(Result::ok) {
                if let Some(version) = line.strip_prefix("begin ") {
                    said.begun = version.parse().expect("a number");
                } else if let Some(version) = line.strip_prefix("acknowledged ") {
                    said.acknowledged = version.parse().expect("a number");
                }
            }
            said
        });
        let started = Instant::now();
        let wait = Duration::from_millis(150 + mixed(round) % 350);
        std::thread::sleep(wait.saturating_sub(started.elapsed()));
        child.kill().expect("kills");
        child.wait().expect("ends");
        reader.join().expect("the reader ends")
    }

    #[test]
    fn acknowledged_writes_survive() {
        if let Some(place) = second_place() {
            write_forever(&place);
        }
        let place = tempfile::tempdir().expect("a temporary directory");
        let collection = {
            let store = Store::open(place.path(), small()).expect("opens");
            store.create_collection(schema()).expect("creates").id
        };
        let mut expected = BTreeMap::new();
        let mut applied = 0;
        let mut inside = 0;
        for round in 0..ROUNDS {
            let said = run_and_kill(place.path(), round);
            let store = Store::open(place.path(), small()).expect("opens after a kill");
            let record = store.collection(collection).expect("reads").expect("is there");
            let version = record.version;
            assert!(version >= said.acknowledged, "an acknowledged write is lost");
            assert!(version <= said.begun.max(applied), "a write that never began is there");
            inside += u64::from(said.begun > said.acknowledged);
            while applied < version {
                applied += 1;
                apply(&mut expected, applied);
            }
            assert_eq!(contents(&store, collection), expected, "after round {round}");
        }
        assert!(applied > ROUNDS, "the writer wrote");
        assert!(inside > ROUNDS / 2, "kills landed inside writes: {inside} of {ROUNDS}");
    }
}
