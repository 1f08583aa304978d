//! Rare classes among others: how much more examples find, and how much faster labels that are asked for find them.

use std::sync::LazyLock;

use sidereus::learn::Progress;
use sidereus::learn::discover::{Examples, LinearHead};
use sidereus::query::{self, BatchQuery, Method, Query, StopFlag, Strategy, Term};

use super::classes::{Classes, DIMENSION, SHARES};
use super::*;

const ROWS: usize = 4_000;

static CATALOGUE: LazyLock<(Catalogue, Vec<i64>)> = LazyLock::new(|| {
    let mut drawn = Classes::new();
    let (classes, vectors): (Vec<i64>, Vec<Vec<f32>>) = (0..ROWS).map(|_| drawn.draw()).unzip();
    (Catalogue::new(Metric::Cosine, &vectors, |number| classes[number]), classes)
});

/// nDCG of the ten nearest, an object being relevant or not.
fn ndcg(found: &[usize], classes: &[i64], class: i64) -> f64 {
    let discount = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let gain =
        |(rank, id): (usize, &usize)| if classes[*id] == class { discount(rank) } else { 0.0 };
    found.iter().take(10).enumerate().map(gain).sum::<f64>() / (0..10).map(discount).sum::<f64>()
}

fn nearest(view: &CollectionView, like: &[usize], method: Method) -> Vec<usize> {
    let like = like.iter().map(|id| ObjectId::Number(*id as i64)).collect();
    let term = Term { like, method, ..Term::default() };
    let query = Query { terms: vec![term], k: Some(10), exact: true, ..Query::default() };
    query::search(view, &query).expect("answers").hits.iter().map(|hit| number(&hit.id)).collect()
}

#[test]
fn more_examples_find_more_of_a_rare_class_and_a_head_most() {
    let (catalogue, classes) = &*CATALOGUE;
    let view = catalogue.view();
    let of_class =
        |class: i64| -> Vec<usize> { (0..ROWS).filter(|id| classes[*id] == class).collect() };
    for (class, share) in SHARES.into_iter().take(2) {
        let members = of_class(class);
        assert!((members.len() as f64 / ROWS as f64 - share).abs() < 0.3 * share);
        let mut random = Random(class as u64 + 1);
        let (mut one, mut fifteen, mut any, mut head) = (0.0, 0.0, 0.0, 0.0);
        let draws = 8;
        for _ in 0..draws {
            let mut left = members.clone();
            let like: Vec<usize> =
                (0..15).map(|_| left.swap_remove(random.below(left.len()))).collect();
            one += ndcg(&nearest(&view, &like[..1], Method::Automatic), classes, class)
                / f64::from(draws);
            fifteen +=
                ndcg(&nearest(&view, &like, Method::Centroid), classes, class) / f64::from(draws);
            any += ndcg(&nearest(&view, &like, Method::MaxSim), classes, class) / f64::from(draws);
            head += ndcg(&nearest(&view, &like, Method::Probe), classes, class) / f64::from(draws);
        }
        println!(
            "class {class}: one {one:.3}, fifteen {fifteen:.3}, any of fifteen {any:.3}, head {head:.3}"
        );
        assert!(fifteen > one, "class {class}: {one} {fifteen}");
        assert!(
            head > one + 0.05 && head >= fifteen - 0.02,
            "class {class}: {one} {fifteen} {head}"
        );
    }
}

/// Positives found after some batches, beginning with one positive.
fn found_by(
    view: &CollectionView,
    classes: &[i64],
    first: usize,
    strategy: Option<Strategy>,
) -> usize {
    let class = classes[first];
    let mut random = Random(first as u64 + 5);
    let (mut positives, mut negatives) = (vec![first], Vec::new());
    for round in 0..6 {
        let batch: Vec<usize> = match strategy {
            None => (0..10).map(|_| random.below(ROWS)).collect(),
            Some(strategy) => {
                let ids =
                    |ids: &[usize]| ids.iter().map(|id| ObjectId::Number(*id as i64)).collect();
                let query = BatchQuery {
                    space: "image".to_owned(),
                    positives: ids(&positives),
                    negatives: ids(&negatives),
                    region: None,
                    predicate: None,
                    count: 10,
                    strategy,
                    seed: round,
                    stop: StopFlag::default(),
                };
                let batch = query::next_batch(view, &query).expect("a batch");
                assert_eq!((batch.proposals.len(), batch.unusable), (10, 0));
                batch.proposals.iter().map(|proposal| number(&proposal.id)).collect()
            }
        };
        for id in batch {
            let known = positives.contains(&id) || negatives.contains(&id);
            assert!(!known || strategy.is_none(), "labelled objects are not asked for again");
            if !known {
                if classes[id] == class { positives.push(id) } else { negatives.push(id) }
            }
        }
    }
    positives.len()
}

#[test]
fn labels_that_are_asked_for_find_more_than_random_ones() {
    let (catalogue, classes) = &*CATALOGUE;
    let view = catalogue.view();
    let firsts: Vec<usize> = (0..ROWS).filter(|id| classes[*id] == 2).take(3).collect();
    let mean = |strategy| {
        let found = firsts.iter().map(|first| found_by(&view, classes, *first, strategy));
        found.sum::<usize>() as f64 / firsts.len() as f64
    };
    let random = mean(None);
    let (uncertain, likely) = (mean(Some(Strategy::Uncertain)), mean(Some(Strategy::Likely)));
    println!("positives after 60 labels: random {random}, uncertain {uncertain}, likely {likely}");
    assert!(likely > 3.0 * random && uncertain > random, "{random} {uncertain} {likely}");
}

#[test]
fn without_a_positive_the_next_objects_differ() {
    let (catalogue, _) = &*CATALOGUE;
    let query = |seed| BatchQuery {
        space: String::new(),
        positives: Vec::new(),
        negatives: vec![ObjectId::Number(3), ObjectId::Number(9_999_999)],
        region: None,
        predicate: Some("class = 0".to_owned()),
        count: 8,
        strategy: Strategy::Likely,
        seed,
        stop: StopFlag::default(),
    };
    let next = |seed| query::next_batch(&catalogue.view(), &query(seed)).expect("a batch");
    let batch = next(1);
    assert_eq!((batch.strategy, batch.unusable, batch.proposals.len()), (Strategy::Diverse, 1, 8));
    assert!(batch.proposals.iter().all(|proposal| proposal.probability.is_none()));
    assert_eq!(batch, next(1), "the same for the same seed");
    assert_ne!(batch.proposals, next(2).proposals);
}

/// Vectors that lie far out, as broken cutouts do, are nobody's class: a head must not put them first because they are long.
#[test]
fn a_head_does_not_put_what_lies_farthest_out_first() {
    let mut random = Random(0xBEE);
    let mut unit = || -> Vec<f64> {
        let vector: Vec<f64> = (0..DIMENSION).map(|_| random.normal()).collect();
        let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        vector.into_iter().map(|value| value / length).collect()
    };
    let moved = unit();
    // Class 1 is moved; class 2 is broken, a hundred times as long.
    let mut random = Random(0xCAB);
    let (mut vectors, mut classes) = (Vec::new(), Vec::new());
    for number in 0..3_000_usize {
        let class = if number % 50 == 7 { 2 } else { i64::from(number % 20 == 3) };
        let length = if class == 2 { 100.0 } else { 1.0 };
        let along = if class == 1 { 3.0 } else { 0.0 };
        let vector = moved.iter().map(|axis| (length * (random.normal() + along * axis)) as f32);
        vectors.push(vector.collect::<Vec<f32>>());
        classes.push(class);
    }
    let like: Vec<usize> = (0..3_000).filter(|id| classes[*id] == 1).take(15).collect();
    // Before: the same fit on the vectors as they are.
    let of = |id: usize| vectors[id].iter().map(|value| f64::from(*value));
    let others: Vec<usize> = (0..3_000).step_by(2).filter(|id| !like.contains(id)).collect();
    let features: Vec<f64> = like.iter().chain(&others).flat_map(|id| of(*id)).collect();
    let labels: Vec<bool> = (0..like.len() + others.len()).map(|at| at < like.len()).collect();
    let weights: Vec<f64> =
        labels.iter().map(|is| 0.5 / if *is { like.len() } else { others.len() } as f64).collect();
    let examples =
        Examples { width: DIMENSION, features: &features, labels: &labels, weights: &weights };
    let plain = LinearHead::fit(&examples, 1e-3, Progress::silent()).expect("fits");
    let mut before: Vec<(f64, usize)> =
        (0..3_000).map(|id| (-plain.score(&of(id).collect::<Vec<f64>>()), id)).collect();
    before.sort_by(|a, b| a.0.total_cmp(&b.0));
    let broken = |found: &[usize]| found.iter().filter(|id| classes[**id] == 2).count();
    let before: Vec<usize> = before.into_iter().take(10).map(|(_, id)| id).collect();
    for metric in [Metric::L2, Metric::Ip] {
        let catalogue = Catalogue::new(metric, &vectors, |number| classes[number]);
        let found = nearest(&catalogue.view(), &like, Method::Probe);
        let good = ndcg(&found, &classes, 1);
        println!(
            "{metric:?}: broken before {}, now {}; nDCG {good:.3}",
            broken(&before),
            broken(&found)
        );
        assert!(broken(&before) >= 8 && broken(&found) == 0, "{metric:?}: {before:?} {found:?}");
        assert!(good > 0.8, "{metric:?}: {good}");
    }
}
