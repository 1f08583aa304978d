//! The store against a map: random batches, logged and bulk, with overwrites, moves and repeats, across restarts.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::storage::{Operation, Outcome};

/// Few places, so that objects share cells; few ids, so that they are written again and again.
const PLACES: [(f64, f64); 5] =
    [(0.0, 0.0), (0.0, 90.0), (359.999, -45.0), (120.0, 30.0), (120.0, 30.000_001)];

#[derive(Debug, Clone)]
enum Action {
    Write { bulk: bool, operations: Vec<Operation> },
    Reopen,
}

fn vectors() -> impl Strategy<Value = Vec<(SpaceId, Vec<f32>)>> {
    let image = proptest::option::of(vec(-9.0_f32..9.0, IMAGE_DIMENSION));
    let spectrum = proptest::option::of(vec(-9.0_f32..9.0, SPECTRUM_DIMENSION));
    (image, spectrum).prop_map(|(image, spectrum)| {
        let image = image.map(|vector| (IMAGE, vector));
        image.into_iter().chain(spectrum.map(|vector| (SPECTRUM, vector))).collect()
    })
}

fn tokens() -> impl Strategy<Value = Vec<(SpaceId, TokenSequence)>> {
    let of = |space| {
        proptest::option::of((1..4_u32, any::<u8>())).prop_map(move |given| {
            given.map(|(count, stamp)| (space, sequence(space, count, stamp)))
        })
    };
    (of(STATES), of(CODES)).prop_map(|(states, codes)| states.into_iter().chain(codes).collect())
}

fn forgotten() -> impl Strategy<Value = Vec<SpaceId>> {
    proptest::option::weighted(0.3, Just(STATES)).prop_map(|space| space.into_iter().collect())
}

fn operation() -> impl Strategy<Value = Operation> {
    let id = 0..12_i64;
    prop_oneof![
        4 => (id.clone(), 0..PLACES.len(), any::<u32>(), vectors()).prop_map(|(id, place, stamp, vectors)| {
            let (ra, dec) = PLACES[place];
            Operation::Put(Object { vectors, ..object(id, ra, dec, stamp) })
        }),
        2 => (id.clone(), 0..PLACES.len(), any::<u32>(), vectors(), forgotten()).prop_map(|(id, place, stamp, vectors, forgets)| {
            let (ra, dec) = PLACES[place];
            Operation::Update { object: Object { vectors, ..object(id, ra, dec, stamp) }, forgets }
        }),
        3 => (id.clone(), tokens()).prop_map(|(id, tokens)| Operation::SetTokens { id: ObjectId::Number(id), tokens }),
        2 => (id.clone(), vectors()).prop_map(|(id, vectors)| Operation::SetVectors { id: ObjectId::Number(id), vectors }),
        2 => (id.clone(), any::<u32>(), any::<bool>()).prop_map(|(id, stamp, both)| {
            let z = (0, Value::Float64(f64::from(stamp)));
            let note = both.then(|| (1, Value::Text(format!("set {stamp}"))));
            Operation::SetColumns { id: ObjectId::Number(id), columns: note.into_iter().chain([z]).collect() }
        }),
        1 => id.prop_map(|id| Operation::Delete(ObjectId::Number(id))),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => (any::<bool>(), vec(operation(), 0..12))
            .prop_map(|(bulk, operations)| Action::Write { bulk, operations }),
        1 => Just(Action::Reopen),
    ];
    vec(action, 1..12)
}

/// What a store must hold.
#[derive(Default)]
struct Model {
    objects: BTreeMap<ObjectId, Object>,
    tokens: BTreeMap<(ObjectId, SpaceId), TokenSequence>,
}

/// An outcome without its keys.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Inserted,
    Replaced { moved: bool },
    VectorsSet,
    TokensSet,
    ColumnsSet,
    Deleted,
    Absent,
}

impl From<&Outcome> for Came {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Inserted { .. } => Self::Inserted,
            Outcome::Replaced { key, previous } => Self::Replaced { moved: key != previous },
            Outcome::VectorsSet { .. } => Self::VectorsSet,
            Outcome::TokensSet { .. } => Self::TokensSet,
            Outcome::ColumnsSet { .. } => Self::ColumnsSet,
            Outcome::Deleted { .. } => Self::Deleted,
            Outcome::Absent => Self::Absent,
        }
    }
}

impl Model {
    fn apply(&mut self, operation: &Operation) -> Came {
        match operation {
            Operation::Put(object) | Operation::Update { object, .. } => {
                self.tokens.retain(|(id, space), _| match operation {
                    Operation::Update { forgets, .. } => {
                        *id != object.id || !forgets.contains(space)
                    }
                    _ => *id != object.id,
                });
                match self.objects.insert(object.id.clone(), object.clone()) {
                    None => Came::Inserted,
                    Some(before) => Came::Replaced {
                        moved: before.position.cell29() != object.position.cell29(),
                    },
                }
            }
            Operation::SetVectors { id, vectors } => {
                let Some(object) = self.objects.get_mut(id) else { return Came::Absent };
                let mut all: BTreeMap<_, _> = object.vectors.drain(..).collect();
                all.extend(vectors.iter().cloned());
                object.vectors = all.into_iter().collect();
                Came::VectorsSet
            }
            Operation::SetTokens { id, tokens } => {
                if !self.objects.contains_key(id) {
                    return Came::Absent;
                }
                let named =
                    tokens.iter().map(|(space, tokens)| ((id.clone(), *space), tokens.clone()));
                self.tokens.extend(named);
                Came::TokensSet
            }
            Operation::SetColumns { id, columns } => {
                let Some(object) = self.objects.get_mut(id) else { return Came::Absent };
                for (place, value) in columns {
                    object.columns[*place] = value.clone();
                }
                Came::ColumnsSet
            }
            Operation::Delete(id) => match self.objects.remove(id) {
                Some(_) => {
                    self.tokens.retain(|(other, _), _| other != id);
                    Came::Deleted
                }
                None => Came::Absent,
            },
        }
    }
}

fn run(mut store: Store, mut reopen: impl FnMut(Store) -> Store, actions: Vec<Action>) {
    let collection = create(&store, "modelled");
    let mut model = Model::default();
    let mut version = 0;
    for action in actions {
        match action {
            Action::Reopen => store = reopen(store),
            Action::Write { bulk, operations } => {
                let expected: Vec<Came> =
                    operations.iter().map(|operation| model.apply(operation)).collect();
                let commit = if bulk {
                    store.bulk_write(collection, operations)
                } else {
                    store.write(collection, operations)
                }
                .expect("writes");
                let came: Vec<Came> = commit.outcomes.iter().map(Came::from).collect();
                assert_eq!(came, expected);
                assert!(commit.version == version || commit.version == version + 1);
                version = commit.version;
            }
        }
        let stored: BTreeMap<ObjectId, Object> = contents(&store, collection)
            .into_values()
            .map(|object| (object.id.clone(), object))
            .collect();
        assert_eq!(stored, model.objects);
        assert_eq!(all_tokens(&store, collection), model.tokens);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_store_in_memory_does_what_a_map_does(actions in actions()) {
        run(in_memory(), |store| store, actions);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn the_store_on_disk_does_what_a_map_does(actions in actions()) {
        let place = tempfile::tempdir().expect("a temporary directory");
        let reopen = |store: Store| {
            drop(store);
            on_disk(place.path())
        };
        run(on_disk(place.path()), reopen, actions);
    }
}
