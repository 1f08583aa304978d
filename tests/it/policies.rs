//! Row policies: what somebody sees equals what there would be if nothing else had ever been.

mod apart;
mod between;
mod exports;
mod fits;
mod plans;
mod reads;
mod served;
mod writes;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use sidereus::engine::{CollectionView, Db, DbOptions, Write, WriteMode, WriteOutcome};
use sidereus::query::{self, Day};
use sidereus::schema::{CollectionSchema, ColumnType, Object, ObjectId, SpaceId, Value};
use sidereus::sky::{Degrees, Position, Radians};
use sidereus::vector::Metric;
use tempfile::TempDir;

use crate::support::made;

pub(crate) const NAME: &str = "survey";
const INDEXED_ROWS: i64 = 4_000;

/// A small xorshift generator, so that the fixture is the same everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    pub(crate) fn unit(&mut self) -> f64 {
        self.below(1 << 53) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

pub(crate) fn schema() -> CollectionSchema {
    let columns = [
        ("z", ColumnType::Float64),
        ("class", ColumnType::Text),
        ("n", ColumnType::Int64),
        ("release_date", ColumnType::Text),
        ("programme", ColumnType::Text),
        ("release_mjd", ColumnType::Float64),
        ("note", ColumnType::Binary),
    ];
    let spaces =
        vec![made::space("euclid", 3, Metric::L2), made::space("angle", 5, Metric::Cosine)];
    made::schema(NAME, &columns, spaces)
}

const DAY: Duration = Duration::from_hours(24);

/// Days from the epoch to 2026-03-15.
const TODAY: u32 = 20_527;

/// The day of the tests.
pub(crate) fn today() -> Day {
    Day::of(UNIX_EPOCH + TODAY * DAY)
}

/// The day after.
pub(crate) fn tomorrow() -> Day {
    Day::of(UNIX_EPOCH + (TODAY + 1) * DAY)
}

/// Integer components: distances in `euclid` are exact, so ties are real ties.
pub(crate) fn object(random: &mut Random, id: i64) -> Object {
    let ra = random.unit() * 360.0;
    let dec = Degrees::from(Radians(random.unit().mul_add(2.0, -1.0).asin()));
    let integers = |random: &mut Random, count: usize, spread: u64| -> Vec<f32> {
        (0..count).map(|_| random.below(2 * spread + 1) as f32 - spread as f32).collect()
    };
    let mut vectors = vec![(SpaceId(0), integers(random, 3, 6))];
    if random.below(8) != 0 {
        let mut angle = integers(random, 5, 5);
        angle[0] += 6.0;
        vectors.push((SpaceId(1), angle));
    }
    let or_null = |random: &mut Random, value: Value| {
        if random.below(8) == 0 { Value::Null } else { value }
    };
    let z = Value::Float64(random.unit());
    let z = or_null(random, z);
    let class = Value::Text((*random.pick(&["GALAXY", "QSO", "STAR"])).to_owned());
    let n = Value::Int64(random.below(100) as i64);
    // A year on either side of the day.
    let days = random.below(730);
    let day = Day::of(UNIX_EPOCH + Duration::from_secs(1_742_000_000 + days * 86_400));
    let released = or_null(random, Value::Text(day.to_string()));
    let programme = Value::Text((*random.pick(&["A", "B", "C"])).to_owned());
    let programme = or_null(random, programme);
    let mjd = Value::Float64(day.mjd() as f64 + 0.5);
    Object {
        id: ObjectId::Number(id),
        position: Position::new(Degrees(ra), dec).expect("on the sphere"),
        columns: vec![z, class, n, released, programme, mjd, Value::Binary(vec![id as u8; 4])],
        vectors,
    }
}

/// A predicate of a policy, and what it says of an object on the day; `None` is unknown.
#[derive(Clone, Copy)]
pub(crate) struct Clause {
    pub(crate) sql: &'static str,
    pub(crate) holds: fn(&Object) -> Option<bool>,
}

pub(crate) fn real(object: &Object, place: usize) -> Option<f64> {
    object.columns[place].as_f64()
}

pub(crate) fn text(object: &Object, place: usize) -> Option<&str> {
    match &object.columns[place] {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

pub(crate) const CLAUSES: [Clause; 14] = [
    Clause {
        sql: "release_date <= today",
        holds: |object| Some(text(object, 3)? <= today().to_string().as_str()),
    },
    Clause {
        sql: "release_date <= today OR programme IN ('A')",
        holds: |object| {
            let released = text(object, 3).map(|date| date <= today().to_string().as_str());
            match (released, text(object, 4).map(|programme| programme == "A")) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }
        },
    },
    Clause {
        sql: "release_mjd <= MJD_today",
        holds: |object| Some(real(object, 5)? <= today().mjd() as f64),
    },
    Clause { sql: "programme = 'B'", holds: |object| Some(text(object, 4)? == "B") },
    Clause { sql: "n < 3", holds: |object| Some(real(object, 2)? < 3.0) },
    Clause {
        sql: "n = 17 AND class = 'STAR'",
        holds: |object| Some(real(object, 2)? == 17.0 && text(object, 1)? == "STAR"),
    },
    Clause { sql: "NOT (z < 0.3)", holds: |object| Some(real(object, 0)? >= 0.3) },
    Clause { sql: "z IS NULL", holds: |object| Some(real(object, 0).is_none()) },
    Clause {
        sql: "class || programme = 'QSOA'",
        holds: |object| Some(text(object, 1)? == "QSO" && text(object, 4)? == "A"),
    },
    Clause { sql: "ra < 180", holds: |object| Some(object.position.ra().0 < 180.0) },
    Clause {
        sql: "n % 7 = 3 AND z > 0.1",
        holds: |object| Some(real(object, 2)? % 7.0 == 3.0 && real(object, 0)? > 0.1),
    },
    // What cannot be computed of a row hides it.
    Clause {
        sql: "100 / n >= 10",
        holds: |object| {
            let n = real(object, 2)?;
            if n == 0.0 { None } else { Some((100.0 / n).trunc() >= 10.0) }
        },
    },
    Clause { sql: "no_such_column = 1", holds: |_| None },
    Clause { sql: "true", holds: |_| Some(true) },
];

/// The clauses of a policy: any of them admits.
pub(crate) type Policy = Vec<Clause>;

pub(crate) fn admits(policy: &[Clause], object: &Object) -> bool {
    policy.iter().any(|clause| (clause.holds)(object) == Some(true))
}

pub(crate) fn restricted(view: CollectionView, policy: &[Clause], day: Day) -> CollectionView {
    let predicates: Vec<String> = policy.iter().map(|clause| clause.sql.to_owned()).collect();
    let policy = query::row_policy(view.schema(), &predicates, day);
    view.restricted(policy)
}

/// Everything. Nobody writes to it.
pub(crate) static ALL: LazyLock<World> = LazyLock::new(|| World::of(|_| true));

/// A collection, and what should be in it.
pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) model: Vec<Object>,
    _folder: TempDir,
}

impl World {
    /// A segment, and a tail of overwrites, deletes and new objects, of those of always the same objects that `is_in` takes.
    pub(crate) fn of(is_in: impl Fn(&Object) -> bool) -> Self {
        Self::made(is_in, true)
    }

    /// The same without a segment: all of it is tail.
    pub(crate) fn unbuilt(is_in: impl Fn(&Object) -> bool) -> Self {
        Self::made(is_in, false)
    }

    fn made(is_in: impl Fn(&Object) -> bool, is_built: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = Db::open(DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) })
            .expect("opens");
        let made = db.create_collection(schema()).expect("creates").schema;
        let ids: Vec<SpaceId> = made.spaces.iter().map(|space| space.id).collect();
        let put = |object: &Object| {
            let vectors = object.vectors.iter();
            let vectors = vectors.map(|(space, vector)| (ids[space.0 as usize], vector.clone()));
            Write::Put(Object { vectors: vectors.collect(), ..object.clone() })
        };
        let mut random = Random(0x5EED_0001);
        let mut all: BTreeMap<i64, Object> =
            (0..INDEXED_ROWS).map(|id| (id, object(&mut random, id))).collect();
        let writes = all.values().filter(|object| is_in(object)).map(put).collect();
        let report = db.write(NAME, WriteMode::Bulk, writes).expect("writes");
        assert!(report.outcomes.iter().all(|outcome| *outcome == WriteOutcome::Inserted));
        if is_built {
            db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
        }
        for step in 0..6 {
            let mut batch = Vec::new();
            for number in 0..130 {
                let keys: Vec<i64> = all.keys().copied().collect();
                let id = *random.pick(&keys);
                let was_in = is_in(&all[&id]);
                // A delete, an overwrite that may move the object and hide or show it, or a new object.
                let (id, next) = match number {
                    0..40 => (id, None),
                    40..100 => (id, Some(object(&mut random, id))),
                    _ => {
                        let id = INDEXED_ROWS + step * 1_000 + number;
                        (id, Some(object(&mut random, id)))
                    }
                };
                match next {
                    Some(next) => {
                        if is_in(&next) {
                            batch.push(put(&next));
                        } else if was_in && all.contains_key(&id) {
                            batch.push(Write::Delete(next.id.clone()));
                        }
                        all.insert(id, next);
                    }
                    None => {
                        if was_in {
                            batch.push(Write::Delete(ObjectId::Number(id)));
                        }
                        all.remove(&id);
                    }
                }
            }
            db.write(NAME, WriteMode::Logged, batch).expect("writes");
        }
        let model = all.into_values().filter(|object| is_in(object)).collect();
        Self { db, model, _folder: folder }
    }

    pub(crate) fn view(&self) -> CollectionView {
        self.db.view(NAME).expect("a view")
    }
}
