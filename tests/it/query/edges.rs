//! What queries are asked at the edges: shares that are none, spaces without a difference, more hits than objects.

use super::*;

/// One space of `rows` vectors, all made by `vector`, on a database of its own.
fn one_space(metric: Metric, rows: i64, vector: impl Fn(i64) -> Vec<f32>) -> (TempDir, Db) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) };
    let db = Db::open(options).expect("opens");
    let mut schema = schema();
    schema.spaces.truncate(1);
    schema.spaces[0].metric = metric;
    let space = db.create_collection(schema).expect("creates").schema.spaces[0].id;
    let mut random = Random(5);
    let writes = (0..rows)
        .map(|id| {
            let vectors = vec![(space, vector(id))];
            Write::Put(Object { vectors, ..object(&mut random, id) })
        })
        .collect();
    db.write(NAME, WriteMode::Bulk, writes).expect("writes");
    db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
    (folder, db)
}

fn near(vector: Vec<f32>, k: usize) -> Query {
    let term = Term {
        space: "euclid".to_owned(),
        weight: 1.0,
        like: vec![],
        unlike: vec![],
        vectors: vec![vector],
        ..Term::default()
    };
    Query { terms: vec![term], k: Some(k), ..Query::default() }
}

#[test]
fn a_recall_is_a_share_and_one_is_exact() {
    let view = FIXTURE.db.view(NAME).expect("a view");
    for recall in [0.0, -1.0, 1.01, f64::NAN, f64::INFINITY] {
        let query = Query { recall, ..near(vec![1.0, 2.0, 3.0], 5) };
        let refused = query::search(&view, &query).expect_err("no recall");
        assert!(refused.to_string().contains("recall"), "{refused}");
    }
    for recall in [0.5, 0.9, 0.99, 1.0] {
        let query = Query { recall, ..near(vec![1.0, 2.0, 3.0], 5) };
        let answer = query::search(&view, &query).expect("answers");
        assert_eq!(answer.hits.len(), 5);
        assert!(recall < 1.0 || answer.stats.exact);
        let told = answer.stats.estimated_recall;
        assert!(answer.stats.exact || told.is_some_and(|told| told >= recall), "{recall} {told:?}");
    }
}

#[test]
fn more_hits_than_objects_are_all_objects() {
    let (_folder, db) = one_space(Metric::L2, 2_000, |id| vec![id as f32, 0.0, 1.0]);
    let view = db.view(NAME).expect("a view");
    for exact in [false, true] {
        let query = Query { exact, ..near(vec![3.0, 0.0, 1.0], 5_000) };
        let hits = run(&view, &query);
        assert_eq!(hits.len(), 2_000);
        assert!(hits.is_sorted_by(|left, right| left.0 <= right.0));
    }
}

#[test]
fn spaces_without_a_difference_between_vectors_are_searched() {
    for metric in [Metric::L2, Metric::Cosine, Metric::Ip] {
        let (_folder, db) = one_space(metric, 1_500, |_| vec![0.5, 0.5, 0.5]);
        let view = db.view(NAME).expect("a view");
        let hits = run(&view, &near(vec![0.5, 0.5, 0.5], 10));
        let ids: Vec<ObjectId> = hits.iter().map(|(_, id)| id.clone()).collect();
        assert_eq!(ids, (0..10).map(ObjectId::Number).collect::<Vec<_>>(), "{metric}: ties by id");
    }
}

#[test]
fn an_empty_space_is_built_and_has_no_hits() {
    let (_folder, db) = one_space(Metric::L2, 0, |_| Vec::new());
    let view = db.view(NAME).expect("a view");
    assert!(run(&view, &near(vec![0.5, 0.5, 0.5], 10)).is_empty());
}

#[test]
fn a_zero_vector_has_no_direction() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::open(DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) })
        .expect("opens");
    let mut schema = schema();
    schema.spaces.truncate(1);
    schema.spaces[0].metric = Metric::Cosine;
    let space = db.create_collection(schema).expect("creates").schema.spaces[0].id;
    let zero = Object { vectors: vec![(space, vec![0.0; 3])], ..object(&mut Random(5), 1) };
    let report = db.write(NAME, WriteMode::Logged, vec![Write::Put(zero)]).expect("answers");
    let WriteOutcome::Refused(reason) = &report.outcomes[0] else { panic!("{report:?}") };
    assert!(reason.contains("zero"), "{reason}");
    let view = db.view(NAME).expect("a view");
    let refused = query::search(&view, &near(vec![0.0; 3], 5)).expect_err("no direction");
    assert!(refused.to_string().contains("zero vector"), "{refused}");
}

#[test]
fn too_little_memory_for_an_index_leaves_an_exact_search() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = DbOptions {
        auto_index_rows: None,
        build_memory_bytes: Some(1_000),
        resident_bytes: Some(0),
        ..DbOptions::new(folder.path())
    };
    let db = Db::open(options).expect("opens");
    let spaces = db.create_collection(schema()).expect("creates").schema.spaces;
    let mut random = Random(9);
    let writes = (0..2_000).map(|id| {
        let made = object(&mut random, id);
        let vectors = made
            .vectors
            .iter()
            .map(|(space, vector)| (spaces[space.0 as usize].id, vector.clone()));
        Write::Put(Object { vectors: vectors.collect(), ..made })
    });
    db.write(NAME, WriteMode::Bulk, writes.collect()).expect("writes");
    let status = db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
    assert!(status.segments[0].spaces.iter().all(|space| space.index.is_none()), "{status:?}");
    let view = db.view(NAME).expect("a view");
    let answer = query::search(&view, &near(vec![1.0, 2.0, 3.0], 5)).expect("answers");
    assert!(answer.stats.exact && answer.hits.len() == 5);
}

#[test]
fn what_a_cone_leaves_is_estimated_by_the_rows_at_its_edge() {
    let (_folder, db) = one_space(Metric::L2, 20_000, |id| vec![(id % 97) as f32, 0.0, 1.0]);
    check_estimates(&db);
    // Rows that are gone are neither in the region nor at its edge.
    let gone = (0..20_000).step_by(3).map(|id| Write::Delete(ObjectId::Number(id)));
    db.write(NAME, WriteMode::Logged, gone.collect()).expect("deletes");
    check_estimates(&db);
}

fn check_estimates(db: &Db) {
    let view = db.view(NAME).expect("a view");
    let mut random = Random(11);
    for radius in [1.0, 4.0, 10.0, 25.0, 60.0, 120.0].repeat(5) {
        let dec = random.unit().mul_add(180.0, -90.0);
        let centre = Position::new(Degrees(360.0 * random.unit()), Degrees(dec)).expect("valid");
        let region = Region::Cone(Cone::new(centre, Degrees(radius)).expect("a cone"));
        let mut query =
            Query { region: Some(region), explain: true, ..near(vec![3.0, 0.0, 1.0], 5) };
        query.terms[0].like = vec![ObjectId::Number(1)];
        let text = query::search(&view, &query).expect("answers").stats.explanation;
        let after = |words: &str| {
            let told = text.lines().find_map(|line| line.split_once(words)).expect("is told").1;
            told.trim().to_owned()
        };
        let (told, region) = (after("survivors: "), after("region: "));
        let (expected, truth) = told.split_once(", true ").expect("both");
        let number = |text: &str| text.parse::<f64>().expect("a number");
        let (word, expected) = expected.split_once(' ').expect("how it is known");
        assert!(["estimated", "counted"].contains(&word), "{told}");
        let (expected, truth) = (number(expected), number(truth));
        let rows = number(region.split(' ').next().expect("a number"));
        // Five standard deviations of a sample of 128 of all these rows; a sample without a hit stands for half a row of it.
        let most = 1.0 + rows / 256.0 + 5.0 * (truth * rows / 128.0).sqrt();
        let most = if rows < 256.0 { 0.5 } else { most };
        assert!((expected - truth).abs() <= most, "{radius} degrees: {told}; {region}");
    }
}
