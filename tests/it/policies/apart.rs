//! What is hidden leaves no trace: two collections that differ in nothing but hidden objects answer alike, to the last figure.

use std::sync::LazyLock;

use sidereus::engine::CollectionView;
use sidereus::query::{
    self, BatchQuery, Diversity, Fusion, Method, OrderBy, OutlierMethod, OutlierQuery, Query,
    QueryStats, StopFlag, Strategy, Term,
};
use sidereus::schema::ObjectId;
use sidereus::sky::{Cone, Degrees, Position, Region};

use super::{ALL, CLAUSES, Clause, Random, World, admits, restricted, today, tomorrow};

const POLICY: [Clause; 2] = [CLAUSES[1], CLAUSES[10]];

/// Admitted objects and a third of the others; admitted objects alone.
static OTHERS: LazyLock<[World; 2]> = LazyLock::new(|| {
    let third = |id: &ObjectId| matches!(id, ObjectId::Number(number) if number % 3 == 0);
    [
        World::of(|object| admits(&POLICY, object) || third(&object.id)),
        World::of(|object| admits(&POLICY, object)),
    ]
});

/// Everything, and the others.
fn worlds() -> [&'static World; 3] {
    [&*ALL, &OTHERS[0], &OTHERS[1]]
}

/// The views of somebody restricted on the first two, and on the third of somebody who may see all that is there: samples of the
/// view of everybody have empty places where rows have died.
fn views() -> [CollectionView; 3] {
    let [all, some, alone] = worlds();
    [
        restricted(all.view(), &POLICY, today()),
        restricted(some.view(), &POLICY, today()),
        restricted(alone.view(), &[CLAUSES[13]], today()),
    ]
}

fn timeless(stats: &QueryStats) -> QueryStats {
    QueryStats { elapsed_ms: 0.0, ..stats.clone() }
}

fn examples(random: &mut Random, count: u64, with: usize) -> Vec<ObjectId> {
    let known: Vec<ObjectId> = worlds()[2]
        .model
        .iter()
        .filter(|object| object.vectors.len() > with)
        .map(|object| object.id.clone())
        .collect();
    (0..count).map(|_| random.pick(&known).clone()).collect()
}

/// Whether distances or heads are held against a sample of the space.
fn needs_sample(query: &Query) -> bool {
    let is_calibrated = !matches!(query.fusion, Fusion::Distances | Fusion::ReciprocalRank);
    query.terms.iter().any(|term| term.method == Method::Probe)
        || (query.terms.len() > 1 && is_calibrated)
}

fn some_query(random: &mut Random, number: u64) -> Query {
    let region = (random.below(2) == 0).then(|| {
        let (ra, dec) = (random.unit() * 360.0, random.unit().mul_add(180.0, -90.0));
        let centre = Position::new(Degrees(ra), Degrees(dec)).expect("a position");
        Region::Cone(Cone::new(centre, Degrees(5.0 + 100.0 * random.unit())).expect("a cone"))
    });
    let predicate = (random.below(2) == 0).then(|| "n >= 20 AND class <> 'STAR'".to_owned());
    let base =
        Query { region, predicate, k: Some(12), exact: true, explain: true, ..Query::default() };
    let term = |random: &mut Random, space: &str, with: usize, method: Method| Term {
        space: space.to_owned(),
        like: examples(random, 3, with),
        unlike: if method == Method::Centroid { Vec::new() } else { examples(random, 2, with) },
        method,
        ..Term::default()
    };
    let methods = [Method::Centroid, Method::Rocchio, Method::MaxSim, Method::Probe];
    let method = *random.pick(&methods);
    match number % 6 {
        0 => base,
        1 => {
            let order_by = Some(OrderBy { column: "z".to_owned(), descending: true });
            Query { order_by, ..base }
        }
        2 => Query { terms: vec![term(random, "euclid", 0, method)], ..base },
        3 => Query { terms: vec![term(random, "angle", 1, method)], with_vectors: true, ..base },
        4 => {
            let fusions = [Fusion::Weighted, Fusion::ReciprocalRank, Fusion::Max, Fusion::Min];
            let terms = vec![term(random, "euclid", 0, method), term(random, "angle", 1, method)];
            Query { terms, fusion: *random.pick(&fusions), ..base }
        }
        _ => {
            let diversity = Some(Diversity { share: 0.5, candidates: 0 });
            let terms = vec![term(random, "euclid", 0, method)];
            Query { terms, diversity, group_within: Some(0.9), exclude_within: Some(0.5), ..base }
        }
    }
}

#[test]
fn answers_and_explanations_do_not_depend_on_what_is_hidden() {
    let [all, some, alone] = views();
    assert!(worlds()[0].view().live_count() > worlds()[1].view().live_count() + 500);
    assert_eq!(all.live_count(), worlds()[2].model.len() as u64);
    let mut random = Random(0x00C0_FFEE);
    for number in 0..240 {
        let query = some_query(&mut random, number);
        let of = |view: &CollectionView| query::search(view, &query);
        let (Ok(first), Ok(second), Ok(truth)) = (of(&all), of(&some), of(&alone)) else {
            let said = |view| of(view).expect_err("all or none").to_string();
            assert_eq!((said(&all), said(&some)), (said(&alone), said(&alone)), "{query:?}");
            continue;
        };
        assert_eq!(first.hits, second.hits, "{query:?}");
        assert_eq!(first.hits, truth.hits, "{query:?}");
        if !needs_sample(&query) {
            let open = query::search(&worlds()[2].view(), &query).expect("found");
            assert_eq!(first.hits, open.hits, "{query:?}");
        }
        assert_eq!(timeless(&first.stats), timeless(&second.stats), "{query:?}");
        let shared = |stats: &QueryStats| {
            (stats.rows_total, stats.rows_surviving, stats.tail_rows, stats.scales.clone())
        };
        assert_eq!(shared(&first.stats), shared(&truth.stats), "{query:?}");
    }
}

#[test]
fn counts_and_footprints_do_not_depend_on_what_is_hidden() {
    let [all, some, alone] = views();
    let [first, second, truth] = [&all, &some, &alone].map(|view| view.info(true).expect("told"));
    for info in [&first, &second] {
        assert_eq!(info.object_count, truth.object_count);
        assert_eq!(info.vector_counts, truth.vector_counts);
        assert_eq!(info.footprint, truth.footprint);
    }
    let stored = worlds()[2].db.collection(super::NAME).expect("told");
    assert_eq!(truth.vector_counts, stored.vector_counts);
    let (mut first, mut second) = (all.index_status(), some.index_status());
    assert_eq!(first.tail_rows, alone.index_status().tail_rows);
    assert_eq!(first.segments[0].spaces[0].vectors, first.segments[0].rows);
    for status in [&mut first, &mut second] {
        assert_eq!((status.deleted_rows, status.segments[0].size_bytes), (0, 0));
        for space in &mut status.segments[0].spaces {
            let index = space.index.as_mut().expect("an index");
            assert_eq!((index.lists, index.default_probes), (0, 0));
            // What the index measured of itself and how it is coded is of all rows, and is told.
            (index.measured_recall, index.kind) = (0.0, String::new());
            space.complete = false;
        }
    }
    assert_eq!(first, second);
}

#[test]
fn outliers_do_not_depend_on_what_is_hidden() {
    let [all, some, alone] = views();
    for method in
        [OutlierMethod::MeanDistance, OutlierMethod::LastDistance, OutlierMethod::LocalFactor]
    {
        let query = OutlierQuery {
            space: "angle".to_owned(),
            region: None,
            predicate: Some("n > 10".to_owned()),
            method,
            neighbours: 5,
            exact: true,
            recall: 0.95,
            threads: 2,
            stop: StopFlag::default(),
        };
        let scores = |view| query::outliers(view, &query, &|_, _| {}).expect("scores");
        let truth = scores(&alone);
        assert!(truth.scores.len() > 100);
        assert_eq!(scores(&all), truth);
        assert_eq!(scores(&some), truth);
        // Found through the index they are of permitted rows too, whatever it finds.
        let quick = OutlierQuery { exact: false, ..query.clone() };
        let found = query::outliers(&all, &quick, &|_, _| {}).expect("scores");
        assert_eq!(found.scores.len(), truth.scores.len());
    }
    let few = OutlierQuery {
        space: "euclid".to_owned(),
        region: None,
        predicate: Some("object_id < 30".to_owned()),
        method: OutlierMethod::MeanDistance,
        neighbours: 29,
        exact: true,
        recall: 0.95,
        threads: 1,
        stop: StopFlag::default(),
    };
    let said = |view| query::outliers(view, &few, &|_, _| {}).expect_err("few").to_string();
    assert_eq!(said(&all), said(&alone));
}

#[test]
fn the_next_objects_to_label_do_not_depend_on_what_is_hidden() {
    let [all, some, alone] = views();
    let mut random = Random(0xBEEF);
    for strategy in [Strategy::Uncertain, Strategy::Likely] {
        let query = BatchQuery {
            space: "angle".to_owned(),
            positives: examples(&mut random, 6, 1),
            negatives: examples(&mut random, 6, 1),
            region: None,
            predicate: None,
            count: 15,
            strategy,
            seed: 7,
            stop: StopFlag::default(),
        };
        let truth = query::next_batch(&alone, &query).expect("proposals");
        assert_eq!(truth.proposals.len(), 15);
        assert_eq!(query::next_batch(&all, &query).expect("proposals"), truth);
        assert_eq!(query::next_batch(&some, &query).expect("proposals"), truth);
    }
    let diverse = BatchQuery {
        space: "euclid".to_owned(),
        positives: Vec::new(),
        negatives: Vec::new(),
        region: None,
        predicate: None,
        count: 200,
        strategy: Strategy::Diverse,
        seed: 1,
        stop: StopFlag::default(),
    };
    let batch = query::next_batch(&all, &diverse).expect("proposals");
    let admitted = |id: &ObjectId| worlds()[2].model.iter().any(|object| object.id == *id);
    assert!(batch.proposals.iter().all(|proposal| admitted(&proposal.id)));
    assert_eq!(batch.scored, alone.live_count());
}

#[test]
fn texts_that_are_no_dates_are_never_released_and_are_counted() {
    let world = worlds()[0];
    let all = world.model.len() as u64;
    let undated = |sql: &str| query::undated_rows(&world.view(), sql).expect(sql);
    assert_eq!(undated("release_date <= today AND class = 'QSO'"), 0);
    assert_eq!(undated("class = 'QSO' OR n < 3"), 0);
    assert_eq!(undated("class <= today"), all);
    for sql in ["class >= today", "class <= today", "NOT (class < today)", "class <> today"] {
        let clause = Clause { sql, holds: |_| None };
        assert_eq!(restricted(world.view(), &[clause], today()).live_count(), 0, "{sql}");
    }
}

#[test]
fn a_proprietary_period_ends_at_midnight() {
    let world = worlds()[0];
    let dated = [CLAUSES[0]];
    let before = restricted(world.view(), &dated, today());
    let after = restricted(world.view(), &dated, tomorrow());
    let text = |object: &sidereus::schema::Object| super::text(object, 3).map(str::to_owned);
    let released = |day: String| {
        world.model.iter().filter(|object| text(object).is_some_and(|date| date <= day)).count()
            as u64
    };
    assert_eq!(before.live_count(), released(today().to_string()));
    assert_eq!(after.live_count(), released(tomorrow().to_string()));
    assert!(after.live_count() > before.live_count());
    // The same day gives the same key, another one another; what names no day has one for all.
    let key =
        |sql: &str, day| query::row_policy(world.view().schema(), &[sql.to_owned()], day).key();
    assert_eq!(key("release_date <= today", today()), key("release_date <= today", today()));
    assert_ne!(key("release_date <= today", today()), key("release_date <= today", tomorrow()));
    assert_eq!(key("n < 3", today()), key("n < 3", tomorrow()));
    assert_ne!(key("n < 3", today()), key("n < 4", today()));
}
