//! Recall@10 on vectors that were held out, with and without predicates.

use std::sync::OnceLock;

use super::*;
use crate::index::synthetic::ClusteredVectors;

/// 20,000 x 64 vectors to index, and 200 more of the same make to ask for.
struct Held {
    made: ClusteredVectors,
    vectors: VectorBlock,
    queries: VectorBlock,
    index: IvfIndex,
}

const HELD_ROWS: usize = 20_000;

fn held() -> &'static Held {
    static HELD: OnceLock<Held> = OnceLock::new();
    HELD.get_or_init(|| {
        let spec =
            Clustered { count: HELD_ROWS + 200, dimension: 64, clusters: 60, rank: 24, seed: 11 };
        let made = clustered(&spec).expect("a dimension");
        let all = prepared(Metric::Cosine, &made.vectors);
        let (first, last) = all.as_slice().split_at(HELD_ROWS * 64);
        let block = |values: &[f32]| VectorBlock::new(64, values.to_vec()).expect("finite");
        let (vectors, queries) = (block(first), block(last));
        let spec = IvfSpec { threads: 2, ..IvfSpec::default() };
        let index = build(&spec, Metric::Cosine, vectors.view()).expect("builds");
        Held { made, vectors, queries, index }
    })
}

fn assert_recall(name: &str, mut allowed: impl FnMut(usize) -> Option<RowBitmap>) {
    let Held { vectors, queries, index, .. } = held();
    let mut meter = RecallMeter::default();
    let mut scanned = 0;
    for (place, query) in queries.rows().enumerate() {
        let allowed = allowed(place);
        let search =
            IvfSearch { allowed: allowed.as_ref().and_then(set), ..IvfSearch::nearest(10) };
        let answer = index.search(query, &vectors.view(), &search).expect("valid");
        let truth = exact(query, vectors.view(), Metric::Cosine, &search, allowed.as_ref());
        assert_eq!(answer.hits.len(), truth.len());
        meter.compare(&truth, &answer.hits, 10);
        scanned += answer.rows_scanned;
    }
    let recall = meter.recall().expect("queries");
    println!("{name}: recall@10 {:.4}, rows scanned {}", recall.mean, scanned / recall.queries);
    assert!(recall.mean >= 0.99, "{name}: {recall:?}");
}

#[test]
fn recall_holds_without_a_predicate() {
    let stats = held().index.stats();
    println!("{stats:?}");
    assert!(stats.default_probes < stats.lists / 2, "{stats:?}");
    assert!(stats.measured_recall.mean >= 0.99, "{stats:?}");
    assert_recall("all rows", |_| None);
}

#[test]
fn recall_holds_under_random_predicates() {
    for (share, seed) in [(0.5, 1), (0.1, 2), (0.01, 3), (0.001, 4)] {
        let rows = random_rows(HELD_ROWS, share, seed);
        assert_recall(&format!("random {share}"), |_| Some(rows.clone()));
    }
}

#[test]
fn recall_holds_under_predicates_that_go_with_the_embedding() {
    let vectors = &held().vectors;
    // Rows beyond a plane: the neighbourhood of a query is wholly in, wholly out, or cut.
    let mut along: Vec<f32> = vectors.rows().map(|row| row[0] + row[1] - row[2]).collect();
    let sides = along.clone();
    along.sort_unstable_by(f32::total_cmp);
    for share in [0.5, 0.1, 0.02] {
        let edge = along[(HELD_ROWS as f64 * (1.0 - share)) as usize];
        let rows = bitmap(HELD_ROWS, |row| sides[row] >= edge);
        assert_recall(&format!("beyond a plane {share}"), |_| Some(rows.clone()));
    }
}

#[test]
fn recall_holds_under_predicates_against_the_embedding() {
    let made = &held().made;
    assert_recall("all but the query's own cluster", |place| {
        let own = made.cluster_of[HELD_ROWS + place];
        Some(bitmap(HELD_ROWS, |row| made.cluster_of[row] != own))
    });
    assert_recall("a tenth, all in other clusters", |place| {
        let own = made.cluster_of[HELD_ROWS + place];
        Some(bitmap(HELD_ROWS, |row| made.cluster_of[row] != own && made.cluster_of[row] % 10 == 3))
    });
}

#[test]
fn recall_holds_for_queries_unlike_the_rows() {
    let Held { vectors, index, .. } = held();
    let mut random = SplitMix64::new(77);
    let mut meter = RecallMeter::default();
    for _ in 0..300 {
        let query: Vec<f32> = (0..64).map(|_| random.normal() as f32).collect();
        let query = Metric::Cosine.prepare(query).expect("not zero");
        let search = IvfSearch::nearest(10);
        let answer = index.search(&query, &vectors.view(), &search).expect("valid");
        meter.compare(
            &exact(&query, vectors.view(), Metric::Cosine, &search, None),
            &answer.hits,
            10,
        );
    }
    let recall = meter.recall().expect("queries");
    assert!(recall.mean >= 0.99, "{recall:?}");
}

#[test]
fn recall_holds_for_every_metric_and_k() {
    let spec = Clustered { count: 10_200, dimension: 32, clusters: 40, rank: 16, seed: 21 };
    let made = clustered(&spec).expect("a dimension").vectors;
    for metric in METRICS {
        let all = prepared(metric, &made);
        let vectors = VectorView::new(32, &all.as_slice()[..10_000 * 32]).expect("whole rows");
        let index = build(&IvfSpec::default(), metric, vectors).expect("builds");
        let tenth = random_rows(10_000, 0.1, 5);
        for k in [1, 10, 100] {
            for allowed in [None, Some(&tenth)] {
                let mut meter = RecallMeter::default();
                let mut scanned = 0;
                for query in all.rows().skip(10_000) {
                    let search =
                        IvfSearch { allowed: allowed.and_then(set), ..IvfSearch::nearest(k) };
                    let answer = index.search(query, &vectors, &search).expect("valid");
                    let truth = exact(query, vectors, metric, &search, allowed);
                    meter.compare(&truth, &answer.hits, k);
                    scanned += answer.rows_scanned;
                }
                let recall = meter.recall().expect("queries");
                println!(
                    "{metric} k {k}{}: recall {:.4}, rows scanned {}",
                    if allowed.is_some() { " in a tenth" } else { "" },
                    recall.mean,
                    scanned / recall.queries
                );
                assert!(recall.mean >= 0.99, "{metric} k {k}: {recall:?} {:?}", index.stats());
            }
        }
    }
}
