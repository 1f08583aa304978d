//! Recall of queries that are unlike the rows, and of rows under the inner product.

use super::*;
use crate::vector::norm;

const ROWS: usize = 8_000;
const DIMENSION: usize = 48;

/// Rows around some centres, in all directions alike; lengths differ as much as said.
fn scattered(lengths: f64) -> VectorBlock {
    let mut random = SplitMix64::new(17);
    let mut vector =
        |spread: f64| -> Vec<f64> { (0..DIMENSION).map(|_| spread * random.normal()).collect() };
    let centres: Vec<Vec<f64>> = (0..20).map(|_| vector(1.0)).collect();
    let mut block = VectorBlock::empty(DIMENSION).expect("a dimension");
    for row in 0..ROWS {
        let own = vector(0.5);
        let length = (lengths * own[0]).exp();
        let values = centres[row % 20]
            .iter()
            .zip(&own)
            .map(|(centre, own)| (length * (centre + own)) as f32);
        block.push(&values.collect::<Vec<_>>()).expect("finite");
    }
    block
}

/// Directions without preference, so many times as long as a row.
fn directions(vectors: &VectorBlock, scale: f64) -> Vec<Vec<f32>> {
    let mut random = SplitMix64::new(23);
    let length = scale * norm(vectors.row(0).expect("a row"));
    (0..100)
        .map(|_| {
            let direction: Vec<f32> = (0..DIMENSION).map(|_| random.normal() as f32).collect();
            let unit = length / norm(&direction);
            direction.iter().map(|value| (f64::from(*value) * unit) as f32).collect()
        })
        .collect()
}

/// Recall of the `k` nearest, without a filter and with one that leaves three of four rows, and how many of the queries are far.
fn recalls(
    index: &IvfIndex,
    metric: Metric,
    vectors: &VectorBlock,
    queries: &[Vec<f32>],
    k: usize,
) -> ([f64; 2], usize) {
    let mut some = RowBitmap::empty(vectors.count());
    (0..vectors.count()).filter(|row| row % 4 != 0).for_each(|row| some.insert(row));
    let mut far = 0;
    let recalls = [None, Some(&some)].map(|allowed| {
        let mut meter = RecallMeter::default();
        for query in queries {
            let query = metric.prepare(query.clone()).expect("not zero");
            let allowed_share = if allowed.is_some() { 0.75 } else { 1.0 };
            let search = IvfSearch {
                allowed: allowed.and_then(set),
                allowed_share,
                ..IvfSearch::nearest(k)
            };
            let answer = index.search(&query, &vectors.view(), &search).expect("valid");
            far += usize::from(answer.is_far);
            meter.compare(
                &exact(&query, vectors.view(), metric, &search, allowed),
                &answer.hits,
                k,
            );
        }
        meter.recall().expect("queries").mean
    });
    (recalls, far)
}

#[test]
fn queries_that_are_like_no_row_find_their_nearest() {
    for (metric, lengths) in
        [(Metric::L2, 0.0), (Metric::Cosine, 0.0), (Metric::Ip, 0.0), (Metric::Ip, 1.0)]
    {
        let vectors = prepared(metric, &scattered(lengths));
        let spec = IvfSpec { threads: 2, ..IvfSpec::default() };
        let index = build(&spec, metric, vectors.view()).expect("builds");
        let told = index.far_recall(RECALL_WISH_DEFAULT).expect("measured").mean;
        assert!(told >= 0.985, "{metric} {lengths}: {told}");
        for scale in [1.0, 2.0, 5.0, 10.0] {
            let queries = directions(&vectors, scale);
            let (recalls, far) = recalls(&index, metric, &vectors, &queries, 10);
            assert!(
                recalls.iter().all(|recall| *recall >= 0.98),
                "{metric} {lengths} x {scale}: {recalls:?}"
            );
            assert!(far > 150, "{metric} {lengths} x {scale}: {far} of 200 known as far");
        }
    }
}

#[test]
fn the_row_that_is_most_like_the_query_is_found_under_the_inner_product() {
    for lengths in [0.0, 1.0] {
        let vectors = scattered(lengths);
        for code_bytes in CODES {
            let spec = IvfSpec { code_bytes, threads: 2, ..IvfSpec::default() };
            let index = build(&spec, Metric::Ip, vectors.view()).expect("builds");
            let queries: Vec<Vec<f32>> = vectors.rows().step_by(40).map(<[f32]>::to_vec).collect();
            for k in [1, 3, 10] {
                let (recalls, far) = recalls(&index, Metric::Ip, &vectors, &queries, k);
                let about = format!("{lengths} {code_bytes:?} k = {k}: {recalls:?}, {far} far");
                assert!(recalls.iter().all(|recall| *recall >= 0.975), "{about}");
                assert!(far < queries.len() / 4, "{about}");
            }
        }
    }
}

#[test]
fn nothing_is_told_of_far_queries_where_nothing_was_measured() {
    let (block, mut index) = small(Metric::Ip, None);
    assert!(index.far_recall(0.99).is_some() && index.lists.usual_oddness < 0.0);
    for setting in &mut index.settings {
        setting.far.recall = Recall::UNKNOWN;
    }
    assert_eq!(index.far_recall(0.99), None);
    let far: Vec<f32> = (0..48).map(|axis| if axis % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let answer = index.search(&far, &block.view(), &IvfSearch::nearest(5)).expect("valid");
    assert!(answer.is_far && answer.hits.len() == 5);
}
