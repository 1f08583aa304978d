//! Several spaces and several examples as one order, against what their definitions give when everything is compared.

use std::collections::HashMap;

use sidereus::learn::Progress;
use sidereus::learn::discover::{Even, Examples, LinearHead};
use sidereus::query::{Fusion, Method, Missing};

use super::*;

/// Few enough that samples of a space are all of it, and enough for an index of each.
const ROWS: i64 = 1_500;

struct Several {
    db: Db,
    model: Vec<Object>,
    _folder: TempDir,
}

/// As the other fixture, with vectors missing in the second and third space, and pairs of objects an arcsecond apart.
static SEVERAL: LazyLock<Several> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::open(DbOptions { auto_index_rows: None, ..DbOptions::new(folder.path()) })
        .expect("opens");
    let spaces = db.create_collection(schema()).expect("creates").schema.spaces;
    let mut random = Random(0xF05E);
    let mut make = |id: i64, near: Option<&Object>| {
        let mut made = object(&mut random, id);
        if random.below(4) == 0 {
            made.vectors.retain(|(space, _)| space.0 != 1);
        }
        if let Some(near) = near {
            let (ra, dec) = (near.position.ra().0, near.position.dec().0);
            let dec = dec - dec.signum() * 0.7 / 3_600.0;
            made.position = Position::new(Degrees(ra), Degrees(dec)).expect("on the sphere");
        }
        made
    };
    let mut model: Vec<Object> = Vec::new();
    for id in 0..ROWS {
        let near = (id % 3 == 2).then(|| model[id as usize - 1].clone());
        model.push(make(id, near.as_ref()));
    }
    let stored = |object: &Object| {
        let vectors = object.vectors.iter();
        let vectors = vectors.map(|(space, vector)| (spaces[space.0 as usize].id, vector.clone()));
        Write::Put(Object { vectors: vectors.collect(), ..object.clone() })
    };
    db.write(NAME, WriteMode::Bulk, model.iter().map(&stored).collect()).expect("writes");
    db.build_index(NAME, &mut |_, _, _| {}).expect("builds");
    let mut batch = Vec::new();
    for place in 0..40 {
        model[place * 20] = make(place as i64 * 20, None);
        batch.push(stored(&model[place * 20]));
    }
    for _ in 0..30 {
        batch.push(Write::Delete(model.swap_remove(random_place(model.len(), batch.len())).id));
    }
    db.write(NAME, WriteMode::Logged, batch).expect("writes");
    Several { db, model, _folder: folder }
});

fn random_place(count: usize, step: usize) -> usize {
    (step * 7_919) % count
}

fn vector_of(object: &Object, space: usize) -> Option<&Vec<f32>> {
    object.vectors.iter().find(|(id, _)| id.0 as usize == space).map(|(_, vector)| vector)
}

/// What is asked, and how far every object is in each of its spaces.
struct Asked {
    spaces: Vec<usize>,
    vectors: Vec<Vec<f32>>,
    weights: Vec<f64>,
}

impl Asked {
    fn terms(&self) -> Vec<Term> {
        let parts = self.spaces.iter().zip(&self.vectors).zip(&self.weights);
        let term = |((space, vector), weight): ((&usize, &Vec<f32>), &f64)| Term {
            space: SPACES[*space].to_owned(),
            weight: *weight,
            vectors: vec![vector.clone()],
            ..Term::default()
        };
        parts.map(term).collect()
    }

    fn distances(&self, object: &Object) -> Vec<Option<f64>> {
        let parts = self.spaces.iter().zip(&self.vectors);
        parts
            .map(|(&space, query)| Some(distance(space, query, vector_of(object, space)?)))
            .collect()
    }

    /// Every survivor's fused distance by the definitions.
    fn fused(
        &self,
        survivors: &[&Object],
        fusion: Fusion,
        missing: Missing,
    ) -> HashMap<ObjectId, f64> {
        let total: f64 = self.weights.iter().sum();
        let scale = |term: usize| {
            let all: Vec<f64> =
                SEVERAL.model.iter().filter_map(|object| self.distances(object)[term]).collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let squares = all.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
            (mean, (squares / all.len() as f64).sqrt())
        };
        let terms = self.spaces.len();
        let scales: Vec<(f64, f64)> = (0..terms).map(scale).collect();
        let ranking = |term: usize| {
            let mut order: Vec<(f64, ObjectId)> = survivors
                .iter()
                .filter_map(|object| Some((self.distances(object)[term]?, object.id.clone())))
                .collect();
            order.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
            let count = order.len();
            let ids = order.into_iter().map(|(_, id)| id).zip(1..);
            (ids.collect::<HashMap<ObjectId, usize>>(), count)
        };
        let rankings: Vec<_> = (0..terms).map(ranking).collect();
        let value = |object: &&Object| {
            let distances = self.distances(object);
            let present = distances.iter().flatten().count();
            if present == 0 || (missing == Missing::Require && present < terms) {
                return None;
            }
            let similarity = |term: usize| {
                distances[term].map_or(0.0, |distance| (scales[term].0 - distance) / scales[term].1)
            };
            let share = |term: usize| self.weights[term] / total;
            let each = 0..terms;
            let value: f64 = match fusion {
                Fusion::Distances => {
                    each.map(|term| share(term) * distances[term].unwrap_or(scales[term].0)).sum()
                }
                Fusion::Weighted => -each.map(|term| share(term) * similarity(term)).sum::<f64>(),
                Fusion::Max => -each.map(similarity).fold(f64::NEG_INFINITY, f64::max),
                Fusion::Min => -each.map(similarity).fold(f64::INFINITY, f64::min),
                Fusion::ReciprocalRank => {
                    let rank = |term: usize| {
                        let (ranks, count) = &rankings[term];
                        ranks
                            .get(&object.id)
                            .map_or(f64::midpoint(*count as f64, 1.0), |rank| *rank as f64)
                    };
                    -each.map(|term| share(term) / (60.0 + rank(term))).sum::<f64>()
                }
            };
            Some((object.id.clone(), value))
        };
        survivors.iter().filter_map(value).collect()
    }
}

/// Holds hits against the values that all objects have: the k least, and every hit with its own.
fn assert_least(
    found: &[(f64, ObjectId)],
    truth: &HashMap<ObjectId, f64>,
    k: usize,
    tolerance: f64,
) {
    let mut values: Vec<f64> = truth.values().copied().collect();
    values.sort_by(f64::total_cmp);
    values.truncate(k);
    assert_eq!(found.len(), values.len(), "number of hits");
    for ((value, id), expected) in found.iter().zip(values) {
        assert!((value - expected).abs() < tolerance, "{id}: {value}, should be {expected}");
        assert!((value - truth[id]).abs() < tolerance, "{id}: {value}, is {}", truth[id]);
    }
}

const MODES: [Fusion; 5] =
    [Fusion::Distances, Fusion::Weighted, Fusion::ReciprocalRank, Fusion::Max, Fusion::Min];

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn every_fusion_equals_its_definition(
        place in places(),
        test in tests(),
        // Ranks by angles would need every near tie to be broken alike: they are fused in the two spaces of whole numbers.
        mode in prop::sample::select(MODES.to_vec()),
        third in any::<bool>(),
        neutral in any::<bool>(),
        weights in prop::collection::vec(0.1..3.0f64, 3),
        examples in prop::collection::vec(any::<prop::sample::Index>(), 3),
        k in prop_oneof![1usize..20, Just(300)],
    ) {
        let count = if third && mode != Fusion::ReciprocalRank { 3 } else { 2 };
        let vector = |space: usize| {
            let with: Vec<&Object> = SEVERAL.model.iter().filter(|object| vector_of(object, space).is_some()).collect();
            vector_of(with[examples[space].index(with.len())], space).expect("a vector").clone()
        };
        let asked = Asked {
            spaces: (0..count).collect(),
            vectors: (0..count).map(vector).collect(),
            weights: weights[..count].to_vec(),
        };
        let missing = if neutral { Missing::Neutral } else { Missing::Require };
        let survivors: Vec<&Object> = SEVERAL.model.iter()
            .filter(|object| place.holds(&object.position) && test.holds(object)).collect();
        let truth = asked.fused(&survivors, mode, missing);
        let view = SEVERAL.db.view(NAME).expect("a view");
        let query = Query {
            terms: asked.terms(),
            region: place.region(),
            predicate: test.sql(),
            k: Some(k),
            exact: true,
            fusion: mode,
            missing,
            ..Query::default()
        };
        let answer = query::search(&view, &query).expect("answers");
        prop_assert!(answer.stats.exact);
        prop_assert_eq!(&answer.stats.fusion, mode.name());
        assert_least(&hits_of(answer), &truth, k, 2e-5);

        let is_endless = mode == Fusion::ReciprocalRank && neutral;
        if !is_endless {
            let quick = Query { exact: false, plan: Some("threshold".to_owned()), ..query };
            let answer = query::search(&view, &quick).expect("answers");
            prop_assert_eq!(answer.hits.len(), truth.len().min(k), "never fewer than min(k, survivors)");
        }
    }

    #[test]
    fn the_nearest_positive_less_half_the_nearest_negative(
        place in places(),
        space in 0usize..3,
        positives in prop::collection::vec(any::<prop::sample::Index>(), 1..5),
        negatives in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        k in 1usize..30,
    ) {
        let with: Vec<&Object> = SEVERAL.model.iter().filter(|object| vector_of(object, space).is_some()).collect();
        let chosen = |picked: &[prop::sample::Index]| -> Vec<&Object> { picked.iter().map(|each| with[each.index(with.len())]).collect() };
        let (positives, negatives) = (chosen(&positives), chosen(&negatives));
        let named: Vec<ObjectId> = positives.iter().chain(&negatives).map(|object| object.id.clone()).collect();
        let nearest = |to: &[&Object], vector: &[f32]| {
            to.iter().map(|each| distance(space, vector_of(each, space).expect("a vector"), vector)).fold(f64::INFINITY, f64::min)
        };
        let truth: HashMap<ObjectId, f64> = with.iter()
            .filter(|object| place.holds(&object.position) && !named.contains(&object.id))
            .map(|object| {
                let vector = vector_of(object, space).expect("a vector");
                let far = if negatives.is_empty() { 0.0 } else { 0.5 * nearest(&negatives, vector) };
                (object.id.clone(), nearest(&positives, vector) - far)
            }).collect();
        let view = SEVERAL.db.view(NAME).expect("a view");
        let ids = |objects: &[&Object]| objects.iter().map(|object| object.id.clone()).collect();
        let term = Term {
            space: SPACES[space].to_owned(), like: ids(&positives), unlike: ids(&negatives), method: Method::MaxSim, ..Term::default()
        };
        let query = Query { terms: vec![term], region: place.region(), k: Some(k), exact: true, ..Query::default() };
        let answer = query::search(&view, &query).expect("answers");
        prop_assert_eq!(answer.stats.method.as_str(), "max-sim");
        assert_least(&hits_of(answer), &truth, k, 1e-5);
        if negatives.is_empty() {
            let quick = Query { exact: false, plan: Some("threshold".to_owned()), ..query };
            prop_assert_eq!(run(&view, &quick).len(), truth.len().min(k));
        }
    }

    #[test]
    fn a_probe_scores_everything_by_the_head_that_its_examples_teach(
        place in places(),
        test in tests(),
        space in prop::sample::select(vec![0usize, 2]),
        positives in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        negatives in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let with: Vec<&Object> = SEVERAL.model.iter().filter(|object| vector_of(object, space).is_some()).collect();
        let chosen = |picked: &[prop::sample::Index]| -> Vec<&Object> { picked.iter().map(|each| with[each.index(with.len())]).collect() };
        let (positives, negatives) = (chosen(&positives), chosen(&negatives));
        let named: Vec<ObjectId> = positives.iter().chain(&negatives).map(|object| object.id.clone()).collect();
        let background: Vec<&Object> = with.iter().copied().filter(|object| !named.contains(&object.id)).collect();
        let even = even_of(space, &background);
        let head = head_of(space, even.as_ref(), [&positives, &negatives, &background]);
        let truth: HashMap<ObjectId, f64> = background.iter()
            .filter(|object| place.holds(&object.position) && test.holds(object))
            .map(|object| (object.id.clone(), -head.score(&features(space, even.as_ref(), object)))).collect();
        let view = SEVERAL.db.view(NAME).expect("a view");
        let ids = |objects: &[&Object]| objects.iter().map(|object| object.id.clone()).collect();
        let term = Term {
            space: SPACES[space].to_owned(), like: ids(&positives), unlike: ids(&negatives), method: Method::Probe, ..Term::default()
        };
        let query = Query { terms: vec![term], region: place.region(), predicate: test.sql(), k: Some(25), ..Query::default() };
        let answer = query::search(&view, &query).expect("answers");
        prop_assert!(answer.stats.exact);
        prop_assert_eq!(answer.stats.method.as_str(), "probe");
        assert_least(&hits_of(answer), &truth, 25, 1e-2);
    }
}

/// Vectors are made even where their lengths mean something.
fn even_of(space: usize, background: &[&Object]) -> Option<Even> {
    let vectors = background.iter().map(|object| vector_of(object, space).expect("a vector"));
    let vectors: Vec<&[f32]> = vectors.map(|vector| &vector[..]).collect();
    let width = vectors.first()?.len();
    if space == 2 { None } else { Even::of(&vectors.concat(), width) }
}

fn features(space: usize, even: Option<&Even>, object: &Object) -> Vec<f64> {
    let vector = vector_of(object, space).expect("a vector");
    if let Some(even) = even {
        let mut features = Vec::new();
        even.apply(&vector[..], &mut features);
        return features;
    }
    let vector: Vec<f64> = vector.iter().copied().map(f64::from).collect();
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    if space == 2 { vector.into_iter().map(|value| value / length).collect() } else { vector }
}

/// The head of the definition: positives count half, the others the other half, named ones and sample alike.
fn head_of(
    space: usize,
    even: Option<&Even>,
    [positives, negatives, background]: [&[&Object]; 3],
) -> LinearHead {
    let share = if negatives.is_empty() { 0.5 } else { 0.25 };
    let sets = [(positives, true, 0.5), (negatives, false, 0.25), (background, false, share)];
    let (mut rows, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for (set, label, share) in sets {
        for object in set {
            rows.extend(features(space, even, object));
            labels.push(label);
            weights.push(share / set.len() as f64);
        }
    }
    let width = rows.len() / labels.len();
    let examples = Examples { width, features: &rows, labels: &labels, weights: &weights };
    LinearHead::fit(&examples, 1e-3, Progress::silent()).expect("fits")
}

fn near_objects(ids: &[i64], k: usize) -> Query {
    let like = ids.iter().copied().map(ObjectId::Number).collect();
    let term = Term { space: "euclid".to_owned(), like, ..Term::default() };
    Query { terms: vec![term], k: Some(k), exact: true, ..Query::default() }
}

#[test]
fn through_the_indices_nearly_all_are_found() {
    let view = SEVERAL.db.view(NAME).expect("a view");
    let (mut found, mut wanted) = (0, 0);
    for mode in MODES {
        for id in 1..12 {
            let like = vec![ObjectId::Number(id * 20 + 1)];
            let has_both = SEVERAL
                .model
                .iter()
                .any(|object| object.id == like[0] && vector_of(object, 1).is_some());
            if !has_both {
                continue;
            }
            let term = |space: &str| Term {
                space: space.to_owned(),
                like: like.clone(),
                ..Term::default()
            };
            let exact = Query {
                terms: vec![term("euclid"), term("inner")],
                k: Some(10),
                exact: true,
                fusion: mode,
                ..Query::default()
            };
            let truth = run(&view, &exact);
            let quick = Query { exact: false, plan: Some("threshold".to_owned()), ..exact };
            let least = truth.last().expect("hits").0;
            found += run(&view, &quick).iter().filter(|(value, _)| *value <= least + 1e-9).count();
            wanted += truth.len();
        }
    }
    assert!(wanted > 300 && found as f64 >= 0.97 * wanted as f64, "{found} of {wanted}");
}

#[test]
fn the_answer_says_what_was_done() {
    let view = SEVERAL.db.view(NAME).expect("a view");
    let method = |query: &Query| query::search(&view, query).expect("answers").stats.method;
    assert_eq!(method(&near_objects(&[1], 3)), "example");
    assert_eq!(method(&near_objects(&[1, 5], 3)), "centroid");
    let with = |method, unlike: &[i64]| {
        let mut query = near_objects(&[1, 5], 3);
        query.terms[0].method = method;
        query.terms[0].unlike = unlike.iter().copied().map(ObjectId::Number).collect();
        query
    };
    assert_eq!(method(&with(Method::Automatic, &[7])), "rocchio");
    assert_eq!(method(&with(Method::Probe, &[])), "probe");
    let refused = query::search(&view, &with(Method::Centroid, &[7])).expect_err("negatives");
    assert!(refused.to_string().contains("rocchio"), "{refused}");
    let centroid = run(&view, &with(Method::Centroid, &[]));
    assert_eq!(centroid, run(&view, &near_objects(&[1, 5], 3)));

    let term =
        |space: &str| Term { space: space.to_owned(), ..near_objects(&[1], 3).terms[0].clone() };
    let spaces = Query {
        terms: vec![term("euclid"), term("angle")],
        fusion: Fusion::Weighted,
        explain: true,
        ..near_objects(&[1], 3)
    };
    let stats = query::search(&view, &spaces).expect("answers").stats;
    assert_eq!((stats.method.as_str(), stats.fusion.as_str()), ("example, example", "weighted"));
    assert_eq!(stats.scales[0].sampled, SEVERAL.model.len());
    let told = stats.explanation;
    assert!(told.contains("fusion: weighted") && told.contains("sampled objects"), "{told}");
}

#[test]
fn hits_together_on_the_sky_are_one() {
    let view = SEVERAL.db.view(NAME).expect("a view");
    let radius = 1.0 / 3_600.0;
    let plain = Query { k: Some(1_500), ..near_objects(&[4], 0) };
    let all = query::search(&view, &plain).expect("answers").hits;
    let grouped = Query { group_within: Some(radius), ..near_objects(&[4], 100) };
    let found = query::search(&view, &grouped).expect("answers").hits;
    assert_eq!(found.len(), 100);
    // By the definition, from the list of all.
    let mut leads: Vec<&query::Hit> = Vec::new();
    for hit in &all {
        if leads.iter().all(|lead| separation_deg(&lead.position, &hit.position) > radius) {
            leads.push(hit);
        }
    }
    let ids = |hits: &[&query::Hit]| hits.iter().map(|hit| hit.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&found.iter().collect::<Vec<_>>()), ids(&leads[..100]));
    let beside: Vec<_> = found.iter().flat_map(|hit| &hit.beside).collect();
    assert!(!beside.is_empty());
    assert!(beside.iter().all(|each| (each.separation_deg * 3_600.0 - 0.7).abs() < 1e-3));
}

#[test]
fn what_lies_around_an_example_is_left_out() {
    let view = SEVERAL.db.view(NAME).expect("a view");
    let near = |query: &Query, id: i64| {
        run(&view, query).iter().any(|(_, hit)| *hit == ObjectId::Number(id))
    };
    // Object 5 lies 0.7 arcseconds from object 4.
    let all = Query { k: Some(1_500), ..near_objects(&[4], 0) };
    assert!(near(&all, 5) && !near(&all, 4));
    let around = |arcsec: f64| Query { exclude_within: Some(arcsec / 3_600.0), ..all.clone() };
    assert!(near(&around(0.6), 5));
    assert!(!near(&around(0.8), 5));
    assert_eq!(run(&view, &around(0.8)).len(), run(&view, &all).len() - 1);
    let refused = query::search(&view, &around(3_601.0)).expect_err("too large");
    assert!(refused.to_string().contains("radius"), "{refused}");
}

#[test]
fn diverse_hits_are_those_of_maximal_marginal_relevance() {
    let view = SEVERAL.db.view(NAME).expect("a view");
    let plain = run(&view, &Query { k: Some(50), ..near_objects(&[4], 0) });
    let diverse = |share: f64| Query {
        diversity: Some(query::Diversity { share, candidates: 50 }),
        ..near_objects(&[4], 8)
    };
    assert_eq!(run(&view, &diverse(1.0)), plain[..8]);
    let by_id: HashMap<&ObjectId, &Object> =
        SEVERAL.model.iter().map(|object| (&object.id, object)).collect();
    let vector = |place: usize| vector_of(by_id[&plain[place].1], 0).expect("a vector");
    for share in [0.2, 0.5, 0.8] {
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < 8 {
            let worth = |place: usize| {
                let to = |other: &usize| -distance(0, vector(place), vector(*other));
                let most = chosen.iter().map(to).fold(f64::NEG_INFINITY, f64::max);
                let far = if chosen.is_empty() { 0.0 } else { (1.0 - share) * most };
                -share * plain[place].0 - far
            };
            let left = (0..50).filter(|place| !chosen.contains(place));
            chosen.extend(
                left.reduce(|best, next| if worth(next) > worth(best) { next } else { best }),
            );
        }
        let expected: Vec<(f64, ObjectId)> =
            chosen.iter().map(|&place| plain[place].clone()).collect();
        assert_eq!(run(&view, &diverse(share)), expected, "{share}");
    }
    assert!(query::search(&view, &diverse(1.5)).is_err());
}
