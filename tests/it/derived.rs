//! Columns that formulas give, and columns that come later: against brute force, with a real server, in every plan, after
//! writes, deletes, builds and restarts.

mod blocks;
mod later;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sidereus::engine::{DerivedColumn, DerivedKind, Formula, Write, WriteMode, WriteOutcome};
use sidereus::schema::{Column, ColumnType, Object, ObjectId as Id, SpaceId, Value as Stored};
use sidereus::sky::{Degrees, Position};
use sidereus::wire::v1::{Hit, Region, SearchRequest, region, value};
use tempfile::TempDir;

use crate::support::{TestServer, ids_of, in_region, near, schema};

const NAME: &str = "galaxies";
const ROWS: i64 = 4_000;

/// The weighted sum of everything that an object has, and its sign.
#[derive(Debug)]
struct Sum {
    spaces: Vec<SpaceId>,
    columns: Vec<String>,
    outputs: Vec<DerivedColumn>,
    computed: AtomicUsize,
}

/// Of two vectors and a redshift.
fn sum_of(inputs: &[f64]) -> f64 {
    inputs.iter().zip(1..).map(|(input, place)| input * f64::from(place)).sum()
}

impl Formula for Sum {
    fn spaces(&self) -> &[SpaceId] {
        &self.spaces
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn outputs(&self) -> &[DerivedColumn] {
        &self.outputs
    }

    fn compute(&self, count: usize, inputs: &[f64]) -> Vec<Vec<f64>> {
        self.computed.fetch_add(count, Ordering::Relaxed);
        assert_eq!(inputs.len(), count * 6, "three, two and one number for each object");
        let sums: Vec<f64> = inputs.chunks(6).map(sum_of).collect();
        let signs = sums.iter().map(|sum| f64::from(u8::from(*sum > 0.0))).collect();
        vec![sums, signs]
    }
}

fn formula() -> Arc<Sum> {
    let output = |name: &str, kind| DerivedColumn { name: name.to_owned(), kind };
    let labels = ["minus", "plus"].map(str::to_owned).to_vec();
    Arc::new(Sum {
        spaces: vec![SpaceId(1), SpaceId(2)],
        columns: vec!["Z".to_owned()],
        outputs: vec![
            output("probe.sum", DerivedKind::Real),
            output("probe.sum.sign", DerivedKind::Label(labels)),
        ],
        computed: AtomicUsize::new(0),
    })
}

/// A small xorshift generator, so that the fixture is the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn object(&mut self, id: i64) -> Object {
        let mut number = |spread: u64| self.below(2 * spread + 1) as f32 - spread as f32;
        let position = Position::new(
            Degrees(f64::from(number(1_790)) / 10.0 + 180.0),
            Degrees(f64::from(number(800)) / 10.0),
        );
        let mut vectors = vec![(SpaceId(1), vec![number(9), number(9), number(9)])];
        // Not of unit length: a formula is given what the writer gave.
        let colour = vec![number(7) + 7.5, number(7)];
        let z = f64::from(number(1_000)) / 500.0;
        if self.below(8) != 0 {
            vectors.push((SpaceId(2), colour));
        }
        let z = match self.below(10) {
            0 => Stored::Null,
            1 => Stored::Float64(f64::NAN),
            _ => Stored::Float64(z),
        };
        let class = ["GALAXY", "QSO", "STAR"][self.below(3) as usize];
        let mut columns = vec![Stored::Null; 7];
        columns[0] = z;
        columns[1] = Stored::Text(class.to_owned());
        columns[2] = Stored::Int64(self.below(100) as i64);
        Object { id: Id::Number(id), position: position.expect("a position"), columns, vectors }
    }
}

type Model = BTreeMap<i64, Object>;

fn number_of(object: &Object) -> i64 {
    match object.id {
        Id::Number(number) => number,
        Id::Text(_) => panic!("ids are numbers"),
    }
}

fn z_of(object: &Object) -> Option<f64> {
    object.columns[0].as_f64()
}

fn class_of(object: &Object) -> &str {
    match &object.columns[1] {
        Stored::Text(class) => class,
        other => panic!("a class: {other:?}"),
    }
}

fn n_of(object: &Object) -> i64 {
    match object.columns[2] {
        Stored::Int64(number) => number,
        _ => panic!("a number"),
    }
}

/// What the formula must give.
fn sum(object: &Object) -> Option<f64> {
    let vector = |space: u32| {
        object.vectors.iter().find(|(id, _)| id.0 == space).map(|(_, vector)| vector.clone())
    };
    let (first, second) = (vector(1)?, vector(2)?);
    let z = z_of(object).filter(|z| z.is_finite())?;
    let numbers = first.into_iter().chain(second).map(f64::from).chain([z]);
    Some(sum_of(&numbers.collect::<Vec<_>>()))
}

type Holds = fn(&Object) -> bool;

/// Predicates, and what they say.
const PREDICATES: [(&str, Holds); 9] = [
    ("probe.sum > 20", |object| sum(object).is_some_and(|sum| sum > 20.0)),
    ("\"Probe\".\"SUM\" > 20 AND z < 1", |object| {
        sum(object).is_some_and(|sum| sum > 20.0) && z_of(object).is_some_and(|z| z < 1.0)
    }),
    ("\"probe.sum\" BETWEEN -5 AND 5 AND n < 10", |object| {
        sum(object).is_some_and(|sum| (-5.0..=5.0).contains(&sum)) && n_of(object) < 10
    }),
    ("probe.sum.sign = 'plus' AND class <> 'STAR'", |object| {
        sum(object).is_some_and(|sum| sum > 0.0) && class_of(object) != "STAR"
    }),
    ("PROBE.sum.SIGN IN ('minus') OR n = 7", |object| {
        sum(object).is_some_and(|sum| sum <= 0.0) || n_of(object) == 7
    }),
    ("probe.sum IS NULL", |object| sum(object).is_none()),
    ("NOT (probe.sum > 0 OR class = 'QSO')", |object| {
        sum(object).is_some_and(|sum| sum <= 0.0) && class_of(object) != "QSO"
    }),
    ("probe.sum > 10 * z + n", |object| {
        let z = z_of(object).filter(|z| !z.is_nan());
        sum(object).zip(z).is_some_and(|(sum, z)| sum > 10.0 * z + n_of(object) as f64)
    }),
    ("n = 3 AND z < 0.2 AND abs(probe.sum) < 50", |object| {
        let is_near = z_of(object).is_some_and(|z| z < 0.2);
        n_of(object) == 3 && is_near && sum(object).is_some_and(|sum| sum.abs() < 50.0)
    }),
];

fn zone() -> Option<Region> {
    let zone =
        sidereus::wire::v1::Zone { ra_min: 30.05, ra_max: 200.05, dec_min: -30.05, dec_max: 55.55 };
    in_region(region::Shape::Zone(zone))
}

fn is_in_zone(object: &Object) -> bool {
    let (ra, dec) = (object.position.ra().0, object.position.dec().0);
    (30.05..=200.05).contains(&ra) && (-30.05..=55.55).contains(&dec)
}

/// The ids that must come first by a value, nulls and NaN last, ties by id.
fn in_order(
    model: &Model,
    holds: impl Fn(&Object) -> bool,
    value: impl Fn(&Object) -> Option<f64>,
    descending: bool,
    k: usize,
) -> Vec<i64> {
    let mut found: Vec<(u8, f64, i64)> = model
        .values()
        .filter(|object| holds(object))
        .map(|object| match value(object) {
            Some(value) if value.is_nan() => (1, 0.0, number_of(object)),
            Some(value) if descending => (0, -value, number_of(object)),
            Some(value) => (0, value, number_of(object)),
            None => (2, 0.0, number_of(object)),
        })
        .collect();
    let zero = |number: f64| number + 0.0;
    found.sort_by(|a, b| a.0.cmp(&b.0).then(zero(a.1).total_cmp(&zero(b.1))).then(a.2.cmp(&b.2)));
    found.into_iter().take(k).map(|(_, _, id)| id).collect()
}

fn real_of(hit: &Hit, column: &str) -> Option<f64> {
    match hit.columns.get(column).and_then(|value| value.kind.as_ref()) {
        Some(value::Kind::Real(number)) => Some(*number),
        None => None,
        other => panic!("{column}: {other:?}"),
    }
}

async fn counts_and_plans_agree(server: &TestServer, model: &Model) {
    for (predicate, holds) in PREDICATES {
        let expected = model.values().filter(|object| holds(object)).count() as u64;
        let counted = server.count(NAME, None, predicate).await.expect(predicate);
        assert_eq!(counted, expected, "{predicate}");
        let expected =
            model.values().filter(|object| holds(object) && is_in_zone(object)).count() as u64;
        let counted = server.count(NAME, zone(), predicate).await.expect(predicate);
        assert_eq!(counted, expected, "{predicate} in the zone");
        let target = [1.0_f32, -2.0, 3.0];
        let distance = |object: &Object| {
            let (_, vector) = object.vectors.iter().find(|(id, _)| id.0 == 1)?;
            let squares = vector.iter().zip(target).map(|(a, b)| f64::from(a - b).powi(2));
            Some(squares.sum::<f64>())
        };
        let wanted = in_order(model, holds, distance, false, 12);
        let plans =
            ["", "survivor-scan", "full-scan", "region-codes", "survivor-codes", "filtered-ivf"];
        for plan in plans {
            let request = SearchRequest {
                predicate: predicate.to_owned(),
                plan: plan.to_owned(),
                exact: true,
                ..near(NAME, &target, 12)
            };
            match server.search(request).await {
                Ok((hits, _)) => assert_eq!(ids_of(&hits), wanted, "{predicate}, plan {plan}"),
                // Before the first build there is no index.
                Err(status) => assert!(status.message().contains("no index"), "{status}"),
            }
        }
    }
}

async fn orders_agree(server: &TestServer, model: &Model) {
    let all: Holds = |_| true;
    let by_sum: fn(&Object) -> Option<f64> = sum;
    let by_n: fn(&Object) -> Option<f64> = |object| Some(n_of(object) as f64);
    let by_ra: fn(&Object) -> Option<f64> = |object| Some(object.position.ra().0);
    for (column, value) in [("Probe.Sum", by_sum), ("z", z_of), ("n", by_n), ("ra", by_ra)] {
        for (predicate, holds) in [("", all), PREDICATES[0], PREDICATES[3], PREDICATES[8]] {
            for (descending, region, k) in
                [(false, None, 30), (true, None, 30), (true, zone(), 30), (false, zone(), 5_000)]
            {
                let is_everywhere = region.is_none();
                let request = SearchRequest {
                    collection: NAME.to_owned(),
                    predicate: predicate.to_owned(),
                    region,
                    k,
                    order_by: column.to_owned(),
                    descending,
                    ..SearchRequest::default()
                };
                let holds =
                    |object: &Object| holds(object) && (is_everywhere || is_in_zone(object));
                let wanted = in_order(model, holds, value, descending, k as usize);
                let (hits, stats) = server.search(request).await.expect("found");
                assert!(stats.exact);
                assert_eq!(ids_of(&hits), wanted, "{column} {descending} {predicate}");
                for hit in hits.iter().filter(|_| column == "Probe.Sum") {
                    let object = &model[&ids_of(std::slice::from_ref(hit))[0]];
                    assert_eq!(real_of(hit, "probe.sum"), sum(object), "returned by itself");
                }
            }
        }
    }
}

async fn everything_agrees(server: &TestServer, model: &Model) {
    counts_and_plans_agree(server, model).await;
    orders_agree(server, model).await;
}

async fn filled(place: &TempDir) -> (TestServer, Model) {
    let server = TestServer::start(place.path()).await;
    server.create(schema(NAME)).await.expect("created");
    let mut random = Random(0x5EED);
    let model: Model = (0..ROWS).map(|id| (id, random.object(id))).collect();
    let writes = model.values().cloned().map(Write::Put).collect();
    let report = server.db.write(NAME, WriteMode::Bulk, writes).expect("written");
    assert!(report.outcomes.iter().all(|outcome| *outcome == WriteOutcome::Inserted));
    (server, model)
}

/// Deletes, overwrites, new vectors, new values: through every kind of write.
fn change(server: &TestServer, model: &mut Model, seed: u64) {
    let mut random = Random(seed);
    let mut writes = Vec::new();
    for _ in 0..150 {
        let id = random.below(ROWS as u64) as i64;
        let new = random.object(id);
        match random.below(4) {
            0 => {
                model.remove(&id);
                writes.push(Write::Delete(Id::Number(id)));
            }
            1 => {
                model.insert(id, new.clone());
                writes.push(Write::Put(new));
            }
            2 => {
                let vectors: Vec<_> = new.vectors.into_iter().rev().take(1).collect();
                if let Some(object) = model.get_mut(&id) {
                    object.vectors.retain(|(space, _)| *space != vectors[0].0);
                    object.vectors.extend(vectors.clone());
                }
                writes.push(Write::SetVectors { id: Id::Number(id), vectors });
            }
            _ => {
                let columns: Vec<(usize, Stored)> =
                    new.columns.into_iter().enumerate().take(3).collect();
                if let Some(object) = model.get_mut(&id) {
                    columns
                        .iter()
                        .for_each(|(place, value)| object.columns[*place] = value.clone());
                }
                writes.push(Write::SetColumns { id: Id::Number(id), columns });
            }
        }
    }
    server.db.write(NAME, WriteMode::Logged, writes).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn derived_columns_are_as_brute_force_has_them() {
    let place = tempfile::tempdir().expect("a folder");
    let (server, mut model) = filled(&place).await;
    let status = server.count(NAME, None, "probe.sum > 0").await.expect_err("no formula yet");
    assert!(status.message().contains("no column `probe.sum`"), "{status}");
    server.db.set_formulas(NAME, vec![formula()]).expect("fits");
    everything_agrees(&server, &model).await;
    server.db.build_index(NAME, &mut |_, _, _| {}).expect("built");
    everything_agrees(&server, &model).await;
    for seed in 1..4 {
        change(&server, &mut model, seed);
        counts_and_plans_agree(&server, &model).await;
    }
    everything_agrees(&server, &model).await;
    server.stop().await;

    let server = TestServer::start(place.path()).await;
    server.count(NAME, None, "probe.sum > 0").await.expect_err("formulas are not stored");
    server.db.set_formulas(NAME, vec![formula()]).expect("fits");
    everything_agrees(&server, &model).await;
    server.db.build_index(NAME, &mut |_, _, _| {}).expect("built");
    everything_agrees(&server, &model).await;
    server.db.set_formulas(NAME, Vec::new()).expect("fits");
    server.count(NAME, None, "probe.sum > 0").await.expect_err("the formula is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_computed_is_computed_once() {
    let place = tempfile::tempdir().expect("a folder");
    let (server, model) = filled(&place).await;
    server.db.build_index(NAME, &mut |_, _, _| {}).expect("built");
    let formula = formula();
    let set = || server.db.set_formulas(NAME, vec![Arc::clone(&formula) as _]).expect("fits");
    set();
    let computed = || formula.computed.load(Ordering::Relaxed);
    let first = server.count(NAME, None, "probe.sum > 0").await.expect("counted");
    let whole = model.values().filter(|object| sum(object).is_some()).count();
    assert_eq!(computed(), whole, "once for each object that has all inputs");
    // Another predicate on another output, and the same formula given again.
    server.count(NAME, None, "probe.sum.sign = 'plus'").await.expect("counted");
    set();
    assert_eq!(server.count(NAME, None, "probe.sum > 0").await.expect("counted"), first);
    assert_eq!(computed(), whole, "nothing was computed again");
    // A write makes a part of its own, and leaves the others alone.
    let mut object = model[&17].clone();
    object.columns[0] = Stored::Float64(0.25);
    object.vectors = vec![(SpaceId(1), vec![1.0, 2.0, 3.0]), (SpaceId(2), vec![4.0, 5.0])];
    server.db.write(NAME, WriteMode::Logged, vec![Write::Put(object.clone())]).expect("written");
    let request = SearchRequest {
        collection: NAME.to_owned(),
        predicate: "object_id = 17".to_owned(),
        k: 1,
        columns: vec!["Probe.Sum".to_owned(), "probe.sum.sign".to_owned(), "z".to_owned()],
        explain: true,
        ..SearchRequest::default()
    };
    let (hits, _) = server.search(request.clone()).await.expect("found");
    assert_eq!(real_of(&hits[0], "probe.sum"), sum(&object));
    assert_eq!(hits[0].columns.len(), 3);
    let sign = hits[0].columns["probe.sum.sign"].kind.clone();
    assert_eq!(sign, Some(value::Kind::Text("plus".to_owned())));
    assert_eq!(computed(), whole + 1, "the new row alone");
    // The plan names what was derived.
    let request = SearchRequest {
        predicate: "probe.sum > 1".to_owned(),
        order_by: "probe.sum".to_owned(),
        ..request
    };
    let (_, stats) = server.search(request).await.expect("found");
    for told in ["probe.sum: derived, wanted for", "ordered by probe.sum (derived), ascending"] {
        assert!(stats.explanation.contains(told), "{}", stats.explanation);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let (server, _) = filled(&place).await;
    let refused = |change: fn(&mut Sum), wanted: &str| {
        let mut given = Arc::into_inner(formula()).expect("one owner");
        change(&mut given);
        let error = server.db.set_formulas(NAME, vec![Arc::new(given)]).expect_err(wanted);
        assert!(error.to_string().contains(wanted), "{error}");
    };
    refused(|sum| sum.spaces = vec![SpaceId(9)], "no space number 9");
    refused(|sum| sum.columns = vec!["class".to_owned()], "no column `class` of numbers");
    refused(|sum| sum.columns = vec!["nothing".to_owned()], "no column `nothing`");
    refused(|sum| sum.outputs[0].name = "Z".to_owned(), "the name `Z` is taken");
    refused(|sum| sum.outputs[0].name = "SPECTRUM".to_owned(), "the name `SPECTRUM` is taken");
    refused(|sum| sum.outputs[1].name = "Probe.SUM".to_owned(), "the name `Probe.SUM` is taken");
    refused(|sum| sum.outputs[0].name = "two words".to_owned(), "is not a name");
    server.db.set_formulas(NAME, vec![formula()]).expect("fits");
    let column = Column::new("PROBE.sum", ColumnType::Float64);
    server.db.add_column(NAME, column).expect_err("the name is that of a derived column");
    let by =
        |column: &str| SearchRequest { order_by: column.to_owned(), ..SearchRequest::default() };
    for (request, wanted) in [
        (by("class"), "column `class` holds text"),
        (by("image"), "column `image` holds binary"),
        (by("probe.sum.sign"), "column `probe.sum.sign` holds labels"),
        (by("probe.summ"), "no column `probe.summ`"),
        (
            SearchRequest { order_by: "z".to_owned(), ..near(NAME, &[1.0, 2.0, 3.0], 5) },
            "by a distance",
        ),
        (SearchRequest { descending: true, ..SearchRequest::default() }, "set `order_by`"),
        (SearchRequest { columns: vec!["probe".to_owned()], ..by("z") }, "no column `probe`"),
    ] {
        let request = SearchRequest { collection: NAME.to_owned(), k: 5, ..request };
        let status = server.search(request).await.expect_err(wanted);
        let message = status.message();
        assert!(message.contains(wanted), "{wanted}: {message}");
    }
    let text = server.count(NAME, None, "probe.sum.sign > 0.5").await.expect_err("is a text");
    assert!(text.message().contains("probe.sum.sign"), "{text}");
}
