//! Ten thousand pairs of a policy and a query, through every plan, against brute force over the rows that the policy admits.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use sidereus::engine::CollectionView;
use sidereus::query::{self, Answer, Diversity, Fusion, OrderBy, Query, StopFlag, Term};
use sidereus::schema::{Object, ObjectId};
use sidereus::sky::{Cone, Degrees, Position, Region};

use super::{ALL, CLAUSES, Clause, Policy, Random, admits, real, restricted, text, today};

const PAIRS: u64 = 10_000;
const THREADS: u64 = 2;

const PLANS: [&str; 7] = [
    "region-scan",
    "survivor-scan",
    "full-scan",
    "region-codes",
    "survivor-codes",
    "filtered-ivf",
    "ivf",
];

const TESTS: [Clause; 5] = [
    Clause { sql: "", holds: |_| Some(true) },
    Clause { sql: "n >= 50", holds: |object| Some(real(object, 2)? >= 50.0) },
    Clause {
        sql: "z IS NULL OR class = 'STAR'",
        holds: |object| Some(real(object, 0).is_none() || text(object, 1)? == "STAR"),
    },
    Clause { sql: "programme <> 'C'", holds: |object| Some(text(object, 4)? != "C") },
    Clause {
        sql: "n * 2 > z + 120",
        holds: |object| Some(real(object, 2)? * 2.0 > real(object, 0)? + 120.0),
    },
];

/// One pair, and the objects that it is about.
struct Pair {
    policy: Policy,
    view: CollectionView,
    cone: Option<(Position, f64)>,
    test: Clause,
    /// Admitted objects in the region that satisfy the test.
    survivors: Vec<&'static Object>,
    /// All admitted objects.
    admitted: usize,
}

impl Pair {
    fn random(random: &mut Random) -> Self {
        let mut policy = vec![*random.pick(&CLAUSES)];
        if random.below(3) == 0 {
            policy.push(*random.pick(&CLAUSES));
        }
        let cone = (random.below(2) == 0).then(|| {
            let (ra, dec) = (random.unit() * 360.0, random.unit().mul_add(180.0, -90.0));
            let centre = Position::new(Degrees(ra), Degrees(dec)).expect("a position");
            (centre, random.unit() * 120.0)
        });
        let test = *random.pick(&TESTS);
        let view = restricted(ALL.view(), &policy, today());
        let admitted: Vec<&Object> =
            ALL.model.iter().filter(|object| admits(&policy, object)).collect();
        let inside = |object: &Object| {
            cone.is_none_or(|(centre, radius)| separation(&centre, &object.position) <= radius)
        };
        let survives = |object: &&&Object| inside(object) && (test.holds)(object) == Some(true);
        let survivors = admitted.iter().filter(survives).copied().collect();
        Self { policy, view, cone, test, survivors, admitted: admitted.len() }
    }

    fn query(&self, random: &mut Random) -> Query {
        let region = self.cone.map(|(centre, radius)| {
            Region::Cone(Cone::new(centre, Degrees(radius)).expect("a cone"))
        });
        Query {
            region,
            predicate: (!self.test.sql.is_empty()).then(|| self.test.sql.to_owned()),
            k: Some([1, 5, 20, 200][random.below(4) as usize]),
            explain: random.below(4) == 0,
            ..Query::default()
        }
    }

    /// Searches, and sees to it that nothing tells of hidden rows.
    fn search(&self, query: &Query) -> Answer {
        let answer = query::search(&self.view, query)
            .unwrap_or_else(|error| panic!("{:?}: {query:?}: {error}", self.names()));
        let known: HashSet<&ObjectId> = self.survivors.iter().map(|object| &object.id).collect();
        for hit in &answer.hits {
            assert!(known.contains(&hit.id), "{:?}: {query:?}: hidden {}", self.names(), hit.id);
            for beside in &hit.beside {
                assert!(known.contains(&beside.id), "{:?}: beside {}", self.names(), beside.id);
            }
        }
        let stats = &answer.stats;
        // Examples are no hits.
        let is_example = |id: &ObjectId| query.terms.iter().any(|term| term.like.contains(id));
        let left = self.survivors.iter().filter(|object| !is_example(&object.id)).count() as u64;
        assert_eq!(stats.rows_total, self.admitted as u64, "{:?}", self.names());
        if stats.survivors_are_counted {
            assert_eq!(stats.rows_surviving, left, "{:?}", self.names());
        } else {
            assert_eq!(stats.rows_surviving, 0, "an estimate would tell of hidden rows");
        }
        let work = [stats.rows_in_cover, stats.rows_scanned, stats.lists_probed, stats.bytes_read];
        assert_eq!(work, [0; 4]);
        if query.explain {
            assert!(stats.explanation.contains("row policy"), "{}", stats.explanation);
            let survivors = format!("survivors: {left}\n");
            assert!(stats.explanation.contains(&survivors), "{}", stats.explanation);
        }
        answer
    }

    fn names(&self) -> Vec<&str> {
        self.policy.iter().map(|clause| clause.sql).collect()
    }

    /// Distances of the survivors, nearest first, ties by id.
    fn nearest(&self, space: usize, query: &[f32], without: &ObjectId) -> Vec<(f64, ObjectId)> {
        let others = self.survivors.iter().filter(|object| object.id != *without);
        let mut all: Vec<(f64, ObjectId)> = others
            .filter_map(|object| Some((distance(object, space, query)?, object.id.clone())))
            .collect();
        all.sort_by(|left, right| left.0.total_cmp(&right.0).then_with(|| left.1.cmp(&right.1)));
        all
    }
}

#[expect(clippy::disallowed_methods, reason = "written apart from the library")]
fn separation(left: &Position, right: &Position) -> f64 {
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

fn vector(object: &Object, space: usize) -> Option<&Vec<f32>> {
    object.vectors.iter().find(|(id, _)| id.0 as usize == space).map(|(_, vector)| vector)
}

fn distance(object: &Object, space: usize, query: &[f32]) -> Option<f64> {
    let stored = vector(object, space)?;
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    Some(match space {
        0 => {
            let squares =
                query.iter().zip(stored).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2));
            squares.sum::<f64>().sqrt()
        }
        _ => 1.0 - dot(query, stored) / (dot(query, query) * dot(stored, stored)).sqrt(),
    })
}

fn assert_nearest(answer: &Answer, truth: &[(f64, ObjectId)], k: usize, what: &str) {
    assert_eq!(answer.hits.len(), truth.len().min(k), "{what}: number of hits");
    for (hit, (far, _)) in answer.hits.iter().zip(truth) {
        let distance = hit.distance.expect("a distance");
        assert!((distance - far).abs() < 1e-6, "{what}: {distance} {far}");
    }
}

const NOBODY: ObjectId = ObjectId::Number(-1);

/// An object that has a vector in a space, and the term that asks for its like.
struct Asked {
    base: Query,
    k: usize,
    space: usize,
    example: &'static Object,
    given: Vec<f32>,
}

impl Asked {
    fn name(&self) -> &'static str {
        ["euclid", "angle"][self.space]
    }

    fn near(&self) -> Term {
        let (space, vectors) = (self.name().to_owned(), vec![self.given.clone()]);
        Term { space, vectors, ..Term::default() }
    }
}

/// Every way to ask, one after the other.
fn check(pair: &Pair, random: &mut Random) {
    let base = pair.query(random);
    let k = base.k.expect("a number");
    let space = random.below(2) as usize;
    let example = loop {
        let object = random.pick(&ALL.model);
        if vector(object, space).is_some() {
            break object;
        }
    };
    let given = vector(example, space).expect("it has one").clone();
    let asked = Asked { base, k, space, example, given };
    match random.below(8) {
        0 | 1 => check_exact(pair, random, asked),
        2 => check_approximate(pair, random, asked),
        3 => check_like(pair, asked),
        4 => check_order(pair, random, asked),
        5 => check_all(pair, &asked),
        6 => check_fused(pair, random, asked),
        _ => {
            let diversity = Some(Diversity { share: random.unit(), candidates: 0 });
            let group_within = (random.below(2) == 0).then_some(1.0);
            let terms = vec![asked.near()];
            let base = asked.base;
            pair.search(&Query { terms, diversity, group_within, with_vectors: true, ..base });
        }
    }
}

fn check_exact(pair: &Pair, random: &mut Random, asked: Asked) {
    let plan = (random.below(4) > 0).then(|| (*random.pick(&PLANS)).to_owned());
    let what = format!("{:?} {:?} {plan:?}", pair.names(), pair.test.sql);
    let query = Query { terms: vec![asked.near()], exact: true, plan, ..asked.base };
    let truth = pair.nearest(asked.space, &asked.given, &NOBODY);
    let answer = pair.search(&query);
    assert_nearest(&answer, &truth, asked.k, &what);
    if asked.space == 0 {
        let ids: Vec<&ObjectId> = answer.hits.iter().map(|hit| &hit.id).collect();
        let wanted: Vec<&ObjectId> = truth.iter().take(asked.k).map(|(_, id)| id).collect();
        assert_eq!(ids, wanted, "{what}");
    }
}

/// Some of them may be missed, but none is short or hidden.
fn check_approximate(pair: &Pair, random: &mut Random, asked: Asked) {
    let plan = (random.below(2) > 0).then(|| (*random.pick(&PLANS)).to_owned());
    let answer = pair.search(&Query { terms: vec![asked.near()], plan, ..asked.base });
    let truth: HashMap<ObjectId, f64> = pair
        .nearest(asked.space, &asked.given, &NOBODY)
        .into_iter()
        .map(|(far, id)| (id, far))
        .collect();
    assert_eq!(answer.hits.len(), truth.len().min(asked.k));
    for hit in &answer.hits {
        assert!((hit.distance.expect("a distance") - truth[&hit.id]).abs() < 1e-6);
    }
}

fn check_like(pair: &Pair, asked: Asked) {
    let (name, example) = (asked.name().to_owned(), asked.example);
    let like = vec![example.id.clone()];
    let like = Term { space: name.clone(), like, ..Term::default() };
    let query = Query { terms: vec![like], exact: true, ..asked.base };
    if admits(&pair.policy, example) {
        let truth = pair.nearest(asked.space, &asked.given, &example.id);
        assert_nearest(&pair.search(&query), &truth, asked.k, "like");
    } else {
        let error = query::search(&pair.view, &query).expect_err("hidden").to_string();
        let like = vec![ObjectId::Number(-7)];
        let absent = Term { space: name, like, ..Term::default() };
        let query = Query { terms: vec![absent], ..query };
        let other = query::search(&pair.view, &query).expect_err("absent").to_string();
        assert_eq!(error.replace(&example.id.to_string(), "-7"), other);
    }
}

fn check_order(pair: &Pair, random: &mut Random, asked: Asked) {
    let column = ["n", "z"][random.below(2) as usize];
    let place = if column == "n" { 2 } else { 0 };
    let descending = random.below(2) == 0;
    let order_by = Some(OrderBy { column: column.to_owned(), descending });
    let mut truth: Vec<(Option<f64>, &ObjectId)> =
        pair.survivors.iter().map(|object| (real(object, place), &object.id)).collect();
    truth.sort_by(|left, right| {
        let values = match (left.0, right.0) {
            (Some(left), Some(right)) if descending => right.total_cmp(&left),
            (Some(left), Some(right)) => left.total_cmp(&right),
            (left, right) => right.is_some().cmp(&left.is_some()),
        };
        values.then_with(|| left.1.cmp(right.1))
    });
    let ids: Vec<ObjectId> =
        pair.search(&Query { order_by, ..asked.base }).hits.into_iter().map(|hit| hit.id).collect();
    let wanted: Vec<ObjectId> = truth.into_iter().take(asked.k).map(|(_, id)| id.clone()).collect();
    assert_eq!(ids, wanted, "{:?} by {column}", pair.names());
}

fn check_all(pair: &Pair, asked: &Asked) {
    let base = &asked.base;
    let (region, predicate) = (base.region.as_ref(), base.predicate.as_deref());
    let stop = StopFlag::default();
    let count = query::count(&pair.view, region, predicate, &stop).expect("counts");
    assert_eq!(count, pair.survivors.len() as u64, "{:?}", pair.names());
    let rows = query::rows(&pair.view, region, predicate, &stop).expect("rows");
    assert_eq!(rows.iter().map(Vec::len).sum::<usize>(), pair.survivors.len());
    let mut ids: Vec<ObjectId> = pair.survivors.iter().map(|it| it.id.clone()).collect();
    ids.sort();
    let listed = pair.search(base);
    let wanted: Vec<&ObjectId> = ids.iter().take(asked.k).collect();
    assert_eq!(listed.hits.iter().map(|hit| &hit.id).collect::<Vec<_>>(), wanted);
    let space = pair.view.schema().space("angle").map(|space| space.id);
    let mut found = query::select(&pair.view, region, predicate, space, &stop).expect("selects");
    found.sort();
    let lacking = pair.survivors.iter().filter(|object| vector(object, 1).is_none());
    let mut lacking: Vec<ObjectId> = lacking.map(|object| object.id.clone()).collect();
    lacking.sort();
    assert_eq!(found, lacking);
}

fn check_fused(pair: &Pair, random: &mut Random, asked: Asked) {
    let Some(angle) = vector(asked.example, 1) else { return };
    let euclid = vector(asked.example, 0).expect("all have it").clone();
    let term = |name: &str, vector: &[f32]| Term {
        space: name.to_owned(),
        vectors: vec![vector.to_vec()],
        ..Term::default()
    };
    let terms = vec![term("euclid", &euclid), term("angle", angle)];
    let fusion = *random.pick(&[
        Fusion::Distances,
        Fusion::Distances,
        Fusion::Weighted,
        Fusion::ReciprocalRank,
    ]);
    let exact = random.below(2) == 0;
    let answer = pair.search(&Query { terms, exact, fusion, ..asked.base });
    let both = pair.survivors.iter().filter_map(|object| {
        Some(f64::midpoint(distance(object, 0, &euclid)?, distance(object, 1, angle)?))
    });
    let mut truth: Vec<f64> = both.collect();
    truth.sort_by(f64::total_cmp);
    assert_eq!(answer.hits.len(), truth.len().min(asked.k));
    if exact && fusion == Fusion::Distances {
        for (hit, far) in answer.hits.iter().zip(truth) {
            assert!((hit.distance.expect("a distance") - far).abs() < 1e-6);
        }
    }
}

#[test]
fn every_plan_under_every_policy_equals_brute_force() {
    LazyLock::force(&ALL);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in (0..PAIRS).filter(|number| number % THREADS == thread) {
                    let mut random = Random((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
                    let pair = Pair::random(&mut random);
                    check(&pair, &mut random);
                }
            });
        }
    });
}
