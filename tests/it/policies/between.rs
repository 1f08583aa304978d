//! Fits and predictions of somebody restricted beside writers: what is hidden meanwhile is neither read nor written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use sidereus::engine::{CollectionView, Write, WriteMode};
use sidereus::learn::Progress;
use sidereus::probes::{self, Fitted, Tools};
use sidereus::query::StopFlag;
use sidereus::schema::{Object, ObjectId, Value};
use sidereus::storage::ObjectKey;
use sidereus::wire::v1::{
    ApplyProbeRequest, ApplyProbeResponse, FitProbeRequest, Head, ProbeSpec, RidgeHead, Target,
    head,
};

use super::{CLAUSES, Clause, NAME, World, admits, real, restricted, today};

const POLICY: [Clause; 1] = [CLAUSES[3]];

/// Places of the columns; the last one is made by a test.
const Z: usize = 0;
const PROGRAMME: usize = 4;
const MADE: usize = 7;

/// Objects that are changed at a time.
const SOME: usize = 60;

fn view(world: &World) -> CollectionView {
    restricted(world.view(), &POLICY, today())
}

/// What predictions are made of.
fn is_usable(object: &Object) -> bool {
    object.vectors.len() == 2 && real(object, Z).is_some()
}

/// Usable objects, shown ones or hidden ones, from a place on.
fn some(world: &World, is_shown: bool, from: usize) -> Vec<ObjectId> {
    let wanted = |object: &&Object| admits(&POLICY, object) == is_shown && is_usable(object);
    let found = world.model.iter().filter(wanted).skip(from).take(SOME);
    found.map(|object| object.id.clone()).collect()
}

fn set(world: &World, ids: &[ObjectId], place: usize, value: &Value) {
    let write =
        |id: &ObjectId| Write::SetColumns { id: id.clone(), columns: vec![(place, value.clone())] };
    let writes = ids.iter().map(write).collect();
    world.db.write(NAME, WriteMode::Logged, writes).expect("writes");
}

fn programme(world: &World, ids: &[ObjectId], name: &str) {
    set(world, ids, PROGRAMME, &Value::Text(name.to_owned()));
}

/// Fits, and does something before the objects are chosen.
fn fit_and(world: &World, view: &CollectionView, act: impl Fn() + Sync) -> Fitted {
    let spec = ProbeSpec {
        spaces: vec!["euclid".to_owned(), "angle".to_owned()],
        columns: vec!["z".to_owned()],
        target: Some(Target { column: "n".to_owned(), ..Target::default() }),
        head: Some(Head {
            kind: Some(head::Kind::Ridge(RidgeHead { alphas: vec![1.0], folds: 0 })),
        }),
        split: "random:0.3:5".to_owned(),
        resamples: 20,
        ..ProbeSpec::default()
    };
    let request = FitProbeRequest {
        collection: NAME.to_owned(),
        spec: Some(spec),
        name: "p".to_owned(),
        overwrite: true,
        with_predictions: true,
    };
    let (has_acted, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let tell = |stage: &str, _: u64, _: u64| {
        if stage.starts_with("choosing") && !has_acted.swap(true, Ordering::SeqCst) {
            act();
        }
    };
    let tools = Tools::new(world.db.clone(), None);
    let progress = Progress::new(&tell, &stop);
    let fitted = probes::fit(&tools, view, request, &StopFlag::default(), progress);
    assert!(has_acted.into_inner());
    fitted.expect("fits")
}

fn apply(world: &World, column: &str, tell: &mut dyn FnMut(ApplyProbeResponse)) {
    let request = ApplyProbeRequest {
        collection: NAME.to_owned(),
        name: "p".to_owned(),
        column: column.to_owned(),
        ..ApplyProbeRequest::default()
    };
    let tools = Tools::new(world.db.clone(), None);
    let (stop, flag) = (StopFlag::default(), AtomicBool::new(false));
    probes::apply(&tools, &view(world), &request, &stop, &flag, tell).expect("applied");
}

/// What is told of each object, where `act` is done once the objects are chosen.
fn told(world: &World, act: impl Fn()) -> BTreeMap<ObjectId, f64> {
    let mut told = BTreeMap::new();
    apply(world, "", &mut |message| {
        if message.done == 0 {
            act();
        }
        for prediction in message.predictions {
            let id = prediction.id.and_then(|id| id.id);
            let Some(sidereus::wire::v1::object_id::Id::Number(id)) = id else {
                panic!("a number: {id:?}");
            };
            told.insert(ObjectId::Number(id), prediction.predicted[0]);
        }
    });
    told
}

#[test]
fn a_fit_leaves_out_what_is_hidden_and_what_is_shown_meanwhile() {
    let world = World::unbuilt(|_| true);
    let (leaves, comes) = (some(&world, true, 0), some(&world, false, 0));
    let found = fit_and(&world, &view(&world), || {
        programme(&world, &leaves, "A");
        programme(&world, &comes, "B");
    });
    assert_eq!(found.probe.n_changed, SOME as u64, "of what comes nothing is told");
    let gone: BTreeSet<&ObjectId> = leaves.iter().collect();
    let alone = World::unbuilt(|object| admits(&POLICY, object) && !gone.contains(&object.id));
    let truth = fit_and(&alone, &alone.view(), || ());
    assert!(found.probe.n_test > 100 && found.predictions == truth.predictions);
    assert_eq!(found.probe.metrics, truth.probe.metrics);
    assert_eq!(found.probe.n_train, truth.probe.n_train);
}

#[test]
fn predictions_are_told_and_written_of_shown_objects_alone() {
    let world = World::unbuilt(|_| true);
    fit_and(&world, &view(&world), || ());
    let usable = |world: &World| -> BTreeSet<ObjectId> {
        let shown = world.model.iter().filter(|object| admits(&POLICY, object));
        shown.filter(|object| is_usable(object)).map(|object| object.id.clone()).collect()
    };
    let (first, second) = (some(&world, true, 0), some(&world, true, SOME));
    let (comes, changes) = (some(&world, false, 0), some(&world, true, 2 * SOME));
    let mut expected = usable(&world);
    first.iter().for_each(|id| assert!(expected.remove(id)));
    let of_some = told(&world, || {
        programme(&world, &first, "A");
        programme(&world, &comes, "B");
    });
    assert!(of_some.keys().eq(&expected), "what leaves is not told, what comes was not chosen");

    expected.extend(comes);
    second.iter().for_each(|id| assert!(expected.remove(id)));
    let mut last = ApplyProbeResponse::default();
    apply(&world, "made", &mut |message| {
        if message.done == 0 {
            programme(&world, &second, "A");
            set(&world, &changes, Z, &Value::Float64(40.0));
        }
        last = message;
    });
    assert_eq!((last.done, last.skipped), (last.total, 0));
    let truth = told(&world, || ());
    assert!(truth.keys().eq(&expected));
    let ids: Vec<ObjectId> = world.model.iter().map(|object| object.id.clone()).collect();
    for object in world.db.get(NAME, &ids).expect("reads").into_iter().flatten() {
        let written = object.columns.get(MADE).and_then(Value::as_f64);
        assert_eq!(written, truth.get(&object.id).copied(), "{}", object.id);
    }
}

#[test]
fn a_moment_beside_a_restricted_view_shows_no_hidden_row() {
    let world = World::unbuilt(|_| true);
    let (leaves, changes) = (some(&world, true, 0), some(&world, true, SOME));
    let (comes, hidden) = (some(&world, false, 0), some(&world, false, SOME));
    let keys = |ids: &[ObjectId]| -> Vec<ObjectKey> {
        let found = world.view().columns_of(ids).expect("reads");
        found.into_iter().flatten().map(|(key, _)| key).collect()
    };
    let before = view(&world);
    programme(&world, &leaves, "A");
    programme(&world, &comes, "B");
    set(&world, &changes, Z, &Value::Float64(0.5));
    let still = before.still().expect("a moment");
    let space = before.schema().space("euclid").expect("a space").id;
    let mut walked = BTreeSet::new();
    still
        .visit_vectors(space, &mut |key, _| {
            walked.insert(key);
            Ok(())
        })
        .expect("reads");
    for (ids, is_shown) in [(&leaves, false), (&comes, false), (&hidden, false), (&changes, true)] {
        let keys = keys(ids);
        assert_eq!(keys.len(), SOME);
        let vectors = still.vectors_at(space, &keys).expect("reads");
        let objects = still.fetch(&keys).expect("reads");
        let have = still.have(space, ids).expect("reads");
        for (place, key) in keys.iter().enumerate() {
            assert_eq!(walked.contains(key), is_shown);
            assert_eq!(vectors[place].is_some(), is_shown);
            assert_eq!(objects[place].is_some(), is_shown);
            assert_eq!(have[place], is_shown);
        }
    }
    drop(still);

    // Nor is anything written over one, whoever asks for it.
    let now = view(&world);
    let unwritten = world.db.get(NAME, &hidden).expect("reads");
    let write = |(id, key): (&ObjectId, ObjectKey)| {
        let columns = vec![(Z, Value::Float64(9.0))];
        (key, Write::SetColumns { id: id.clone(), columns })
    };
    let both: Vec<ObjectId> = hidden.iter().chain(&changes).cloned().collect();
    let writes = both.iter().zip(keys(&both)).map(write).collect();
    let (report, kept) = world.db.write_unchanged(&now, writes).expect("writes");
    assert_eq!((report.outcomes.len(), kept), (SOME, keys(&hidden)));
    assert_eq!(world.db.get(NAME, &hidden).expect("reads"), unwritten);
    let again = world.db.view_again(&before).expect("a view");
    assert_eq!(again.live_count(), now.live_count());
    assert!(again.columns_of(&leaves).expect("reads").iter().all(Option::is_none));
}
