//! Every plan against brute force: random regions, predicates, examples, k, deletes, overwrites and ties.

mod edges;
mod fusion;

use std::sync::LazyLock;

use proptest::prelude::*;
use sidereus::engine::{CollectionView, Db, DbOptions, Write, WriteMode, WriteOutcome};
use sidereus::query::{self, Query, Term};
use sidereus::schema::{CollectionSchema, ColumnType, Object, ObjectId, SpaceId, Value};
use sidereus::sky::{Cone, Degrees, Position, Region, Zone};
use sidereus::vector::Metric;
use tempfile::TempDir;

use crate::support::made;

const NAME: &str = "galaxies";
const INDEXED_ROWS: i64 = 4_000;

/// A small xorshift generator, so that the fixture is the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

struct Fixture {
    db: Db,
    model: Vec<Object>,
    _folder: TempDir,
}

fn schema() -> CollectionSchema {
    let columns =
        [("z", ColumnType::Float64), ("class", ColumnType::Text), ("n", ColumnType::Int64)];
    let spaces = vec![
        made::space("euclid", 3, Metric::L2),
        made::space("inner", 4, Metric::Ip),
        made::space("angle", 5, Metric::Cosine),
    ];
    made::schema(NAME, &columns, spaces)
}

/// Integer components: distances in `euclid` and `inner` are exact, so ties are real ties.
fn object(random: &mut Random, id: i64) -> Object {
    let ra = random.unit() * 360.0;
    let dec = random.unit().mul_add(180.0, -90.0);
    let integers = |random: &mut Random, count: usize, spread: u64| -> Vec<f32> {
        (0..count).map(|_| random.below(2 * spread + 1) as f32 - spread as f32).collect()
    };
    let mut vectors =
        vec![(SpaceId(0), integers(random, 3, 6)), (SpaceId(1), integers(random, 4, 4))];
    // One in eight has no vector in the third space.
    if random.below(8) != 0 {
        let mut angle = integers(random, 5, 5);
        angle[0] += 6.0;
        vectors.push((SpaceId(2), angle));
    }
    let z = if random.below(10) == 0 { Value::Null } else { Value::Float64(random.unit()) };
    let class = ["GALAXY", "QSO", "STAR"][random.below(3) as usize];
    Object {
        id: ObjectId::Number(id),
        position: Position::new(Degrees(ra), Degrees(dec)).expect("on the sphere"),
        columns: vec![z, Value::Text(class.to_owned()), Value::Int64(random.below(100) as i64)],
        vectors,
    }
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::open(DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) })
        .expect("opens");
    let created = db.create_collection(schema()).expect("creates");
    let space_ids: Vec<SpaceId> = created.schema.spaces.iter().map(|space| space.id).collect();
    let mut random = Random(0x5EED);
    let mut model: Vec<Object> = (0..INDEXED_ROWS).map(|id| object(&mut random, id)).collect();
    let stored = |object: &Object| {
        let vectors = object
            .vectors
            .iter()
            .map(|(space, vector)| (space_ids[space.0 as usize], vector.clone()));
        Write::Put(Object { vectors: vectors.collect(), ..object.clone() })
    };
    let report =
        db.write(NAME, WriteMode::Bulk, model.iter().map(&stored).collect()).expect("writes");
    assert!(report.outcomes.iter().all(|outcome| *outcome == WriteOutcome::Inserted));
    db.build_index(NAME, &mut |_, _, _| {}).expect("builds");

    // After the build: overwrites that move objects, deletes, and new objects, in several commits.
    for step in 0..6 {
        let mut batch = Vec::new();
        for _ in 0..60 {
            let place = random.below(model.len() as u64) as usize;
            let ObjectId::Number(id) = model[place].id else { unreachable!("ids are numbers") };
            model[place] = object(&mut random, id);
            batch.push(stored(&model[place]));
        }
        for _ in 0..40 {
            let place = random.below(model.len() as u64) as usize;
            let gone = model.swap_remove(place);
            batch.push(Write::Delete(gone.id));
        }
        for new in 0..30 {
            model.push(object(&mut random, INDEXED_ROWS + step * 30 + new));
            batch.push(stored(&model[model.len() - 1]));
        }
        db.write(NAME, WriteMode::Logged, batch).expect("writes");
    }
    Fixture { db, model, _folder: folder }
});

/// Haversine, written apart from the library.
#[expect(clippy::disallowed_methods, reason = "written apart from the library")]
fn separation_deg(left: &Position, right: &Position) -> f64 {
    let unit = |position: &Position| {
        let (ra, dec) = (position.ra().0.to_radians(), position.dec().0.to_radians());
        [dec.cos() * ra.cos(), dec.cos() * ra.sin(), dec.sin()]
    };
    let (a, b) = (unit(left), unit(right));
    let cross = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    let sine = cross.iter().map(|value| value * value).sum::<f64>().sqrt();
    let cosine: f64 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
    sine.atan2(cosine).to_degrees()
}

#[derive(Debug, Clone)]
enum Place {
    Everywhere,
    Cone { ra: f64, dec: f64, radius: f64 },
    Zone { ra: (f64, f64), dec: (f64, f64) },
}

impl Place {
    fn region(&self) -> Option<Region> {
        match self {
            Self::Everywhere => None,
            Self::Cone { ra, dec, radius } => {
                let centre = Position::new(Degrees(*ra), Degrees(*dec)).expect("a position");
                Some(Region::Cone(Cone::new(centre, Degrees(*radius)).expect("a cone")))
            }
            Self::Zone { ra, dec } => Some(Region::Zone(
                Zone::new(Degrees(ra.0), Degrees(ra.1), Degrees(dec.0), Degrees(dec.1))
                    .expect("a zone"),
            )),
        }
    }

    fn holds(&self, position: &Position) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Cone { ra, dec, radius } => {
                let centre = Position::new(Degrees(*ra), Degrees(*dec)).expect("a position");
                separation_deg(&centre, position) <= *radius
            }
            Self::Zone { ra, dec } => {
                let east = (position.ra().0 - ra.0).rem_euclid(360.0);
                let width = (ra.1 - ra.0).rem_euclid(360.0);
                east <= width && (dec.0..=dec.1).contains(&position.dec().0)
            }
        }
    }
}

fn places() -> impl Strategy<Value = Place> {
    prop_oneof![
        1 => Just(Place::Everywhere),
        2 => (0.0..360.0f64, -90.0..90.0f64, 0.0..180.0f64)
            .prop_map(|(ra, dec, radius)| Place::Cone { ra, dec, radius }),
        1 => (0.0..360.0f64, prop_oneof![Just(-90.0), Just(90.0)], 0.0..60.0f64)
            .prop_map(|(ra, dec, radius)| Place::Cone { ra, dec, radius }),
        1 => (0.0..360.0f64, 1.0..350.0f64, -90.0..0.0f64, 1.0..90.0f64).prop_map(|(start, width, south, tall)| {
            Place::Zone { ra: (start, (start + width) % 360.0), dec: (south, south + tall) }
        }),
    ]
}

#[derive(Debug, Clone)]
enum Test {
    All,
    ZBetween(f64, f64),
    ClassIs(&'static str),
    NullZ,
    Both(f64, i64),
}

impl Test {
    fn sql(&self) -> Option<String> {
        match self {
            Self::All => None,
            Self::ZBetween(low, high) => Some(format!("z BETWEEN {low} AND {high}")),
            Self::ClassIs(class) => Some(format!("class = '{class}'")),
            Self::NullZ => Some("z IS NULL".to_owned()),
            Self::Both(z, n) => Some(format!("(z > {z} OR n < {n}) AND class <> 'STAR'")),
        }
    }

    fn holds(&self, object: &Object) -> bool {
        let z = object.columns[0].as_f64();
        let Value::Text(class) = &object.columns[1] else { return false };
        let n = object.columns[2].as_f64();
        match self {
            Self::All => true,
            Self::ZBetween(low, high) => z.is_some_and(|z| (*low..=*high).contains(&z)),
            Self::ClassIs(wanted) => class == wanted,
            Self::NullZ => z.is_none(),
            Self::Both(bound, limit) => {
                (z.is_some_and(|z| z > *bound) || n.is_some_and(|n| n < *limit as f64))
                    && class != "STAR"
            }
        }
    }
}

fn tests() -> impl Strategy<Value = Test> {
    prop_oneof![
        Just(Test::All),
        (0.0..1.0f64, 0.0..0.3f64).prop_map(|(low, width)| Test::ZBetween(low, low + width)),
        prop::sample::select(vec!["GALAXY", "QSO", "NOTHING"]).prop_map(Test::ClassIs),
        Just(Test::NullZ),
        (0.0..1.0f64, 0..100i64).prop_map(|(z, n)| Test::Both(z, n)),
    ]
}

fn distance(space: usize, query: &[f32], stored: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>()
    };
    match space {
        0 => query
            .iter()
            .zip(stored)
            .map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2))
            .sum::<f64>()
            .sqrt(),
        1 => 0.0 - dot(query, stored),
        _ => 1.0 - dot(query, stored) / (dot(query, query) * dot(stored, stored)).sqrt(),
    }
}

/// Every survivor's distance, nearest first, ties by id.
fn brute_force(
    place: &Place,
    test: &Test,
    space: usize,
    query: &[f32],
    without: Option<&ObjectId>,
) -> Vec<(f64, ObjectId)> {
    let survivors = FIXTURE.model.iter().filter(|object| {
        place.holds(&object.position) && test.holds(object) && Some(&object.id) != without
    });
    let mut all: Vec<(f64, ObjectId)> = survivors
        .filter_map(|object| {
            let (_, vector) = object.vectors.iter().find(|(id, _)| id.0 as usize == space)?;
            Some((distance(space, query, vector), object.id.clone()))
        })
        .collect();
    all.sort_by(|left, right| left.0.total_cmp(&right.0).then_with(|| left.1.cmp(&right.1)));
    all
}

fn run(view: &CollectionView, query: &Query) -> Vec<(f64, ObjectId)> {
    hits_of(query::search(view, query).expect("answers"))
}

fn hits_of(answer: query::Answer) -> Vec<(f64, ObjectId)> {
    answer.hits.into_iter().map(|hit| (hit.distance.expect("a distance"), hit.id)).collect()
}

fn assert_same(found: &[(f64, ObjectId)], truth: &[(f64, ObjectId)], space: usize, plan: &str) {
    assert_eq!(found.len(), truth.len(), "{plan}: number of hits");
    for (place, (hit, expected)) in found.iter().zip(truth).enumerate() {
        if space == 2 {
            // Unit vectors are rounded to f32: distances agree to that, and near ties may change places.
            assert!(
                (hit.0 - expected.0).abs() < 1e-6,
                "{plan}: distance of hit {place}: {hit:?} {expected:?}"
            );
        } else {
            assert_eq!(hit, expected, "{plan}: hit {place}");
        }
    }
}

const SPACES: [&str; 3] = ["euclid", "inner", "angle"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_equals_brute_force(
        place in places(),
        test in tests(),
        space in 0usize..3,
        example in any::<prop::sample::Index>(),
        k in prop_oneof![1usize..20, Just(500)],
    ) {
        let object = &FIXTURE.model[example.index(FIXTURE.model.len())];
        let Some((_, vector)) = object.vectors.iter().find(|(id, _)| id.0 as usize == space) else {
            return Ok(());
        };
        let mut truth = brute_force(&place, &test, space, vector, Some(&object.id));
        truth.truncate(k);
        let view = FIXTURE.db.view(NAME).expect("a view");
        let term = |like: Vec<ObjectId>, vectors: Vec<Vec<f32>>| Term {
            space: SPACES[space].to_owned(), weight: 1.0, like, unlike: vec![], vectors, ..Term::default()
        };
        let base = Query {
            terms: vec![term(vec![object.id.clone()], vec![])],
            region: place.region(),
            predicate: test.sql(),
            k: Some(k),
            ..Query::default()
        };
        let plans = ["full-scan", "region-scan", "survivor-scan", "region-codes", "survivor-codes", "filtered-ivf", "ivf"];
        for plan in std::iter::once(None).chain(plans.map(Some)) {
            let exact = Query { exact: true, plan: plan.map(str::to_owned), ..base.clone() };
            let answer = query::search(&view, &exact).expect("answers");
            prop_assert!(answer.stats.exact);
            let through_index = plan.is_some_and(|plan| plan.ends_with("ivf"));
            // The tail has no index: with more rows left than it holds, lists have to be visited.
            let in_segment = answer.stats.rows_surviving > answer.stats.tail_rows;
            prop_assert!(!through_index || !in_segment || !answer.stats.survivors_are_counted || answer.stats.lists_probed > 0);
            assert_same(&hits_of(answer), &truth, space, plan.unwrap_or("planner"));
        }
        for plan in [None, Some("filtered-ivf"), Some("region-codes"), Some("survivor-codes")] {
            let quick = Query { plan: plan.map(str::to_owned), ..base.clone() };
            prop_assert_eq!(run(&view, &quick).len(), truth.len(), "never fewer than min(k, survivors)");
        }
    }

    #[test]
    fn a_distance_bound_returns_everything_within(
        place in places(),
        test in tests(),
        example in any::<prop::sample::Index>(),
        within in 0.0..12.0f64,
    ) {
        let object = &FIXTURE.model[example.index(FIXTURE.model.len())];
        let vector = &object.vectors[0].1;
        let mut truth = brute_force(&place, &test, 0, vector, None);
        truth.retain(|(distance, _)| *distance <= within);
        let view = FIXTURE.db.view(NAME).expect("a view");
        let query = Query {
            terms: vec![Term { space: "euclid".to_owned(), weight: 1.0, like: vec![], unlike: vec![], vectors: vec![vector.clone()], ..Term::default() }],
            region: place.region(),
            predicate: test.sql(),
            within: Some(within),
            ..Query::default()
        };
        assert_same(&run(&view, &query), &truth, 0, "within");
    }

    #[test]
    fn counts_are_exact(place in places(), test in tests()) {
        let truth = FIXTURE.model.iter().filter(|object| place.holds(&object.position) && test.holds(object)).count();
        let view = FIXTURE.db.view(NAME).expect("a view");
        let counted = query::count(&view, place.region().as_ref(), test.sql().as_deref(), &query::StopFlag::default()).expect("counts");
        prop_assert_eq!(counted, truth as u64);
    }
}

#[test]
fn a_condition_without_columns_is_as_good_as_none_and_its_contrary_leaves_nothing() {
    let view = FIXTURE.db.view(NAME).expect("a view");
    let vectors = vec![FIXTURE.model[7].vectors[0].1.clone()];
    let term = Term {
        space: "euclid".to_owned(),
        weight: 1.0,
        like: vec![],
        unlike: vec![],
        vectors,
        ..Term::default()
    };
    let free = Query { terms: vec![term], k: Some(10), exact: true, ..Query::default() };
    let truth = run(&view, &free);
    for plan in [None, Some("full-scan"), Some("survivor-scan"), Some("filtered-ivf")] {
        let plan_name = plan.map(str::to_owned);
        let query = |sql: &str| Query {
            predicate: Some(sql.to_owned()),
            plan: plan_name.clone(),
            ..free.clone()
        };
        assert_same(&run(&view, &query("1 < 2")), &truth, 0, plan.unwrap_or("planner"));
        assert_same(&run(&view, &query("true")), &truth, 0, plan.unwrap_or("planner"));
        assert_eq!(run(&view, &query("1 > 2")), [], "{plan:?}");
    }
}

#[test]
fn collection_counts_follow_every_write() {
    let info = FIXTURE.db.collection(NAME).expect("there");
    assert_eq!(info.object_count, FIXTURE.model.len() as u64);
    for (place, space) in info.schema.spaces.iter().enumerate() {
        let with_vector = FIXTURE
            .model
            .iter()
            .filter(|object| object.vectors.iter().any(|(id, _)| id.0 as usize == place))
            .count();
        let counted =
            info.vector_counts.iter().find(|(id, _)| *id == space.id).map(|(_, count)| *count);
        assert_eq!(counted, Some(with_vector as u64), "{}", space.name);
    }
}

#[test]
fn answers_are_the_same_after_reopening_and_after_a_lost_segment() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) };
    let mut random = Random(77);
    let ask = |db: &Db| {
        let query = Query {
            terms: vec![Term {
                space: "euclid".to_owned(),
                weight: 1.0,
                like: vec![],
                unlike: vec![],
                vectors: vec![vec![1.0, 2.0, 3.0]],
                ..Term::default()
            }],
            k: Some(50),
            exact: true,
            ..Query::default()
        };
        run(&db.view(NAME).expect("a view"), &query)
    };
    let before = {
        let db = Db::open(options.clone()).expect("opens");
        let spaces = db.create_collection(schema()).expect("creates").schema.spaces;
        let mut put = |from: i64, count: i64| {
            let batch = (from..from + count).map(|id| {
                let made = object(&mut random, id);
                let vectors = made
                    .vectors
                    .iter()
                    .map(|(space, vector)| (spaces[space.0 as usize].id, vector.clone()))
                    .collect();
                Write::Put(Object { vectors, ..made })
            });
            db.write(NAME, WriteMode::Logged, batch.collect()).expect("writes");
        };
        put(0, 300);
        db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
        put(250, 100);
        ask(&db)
    };
    assert_eq!(ask(&Db::open(options.clone()).expect("reopens")), before);
    std::fs::remove_dir_all(folder.path().join("segments")).expect("removes the derived files");
    assert_eq!(ask(&Db::open(options).expect("reopens")), before);
}
