//! Recall of the inverted lists on 200,000 x 256 clustered, low-rank, anisotropic vectors.

use std::thread::available_parallelism;
use std::time::Instant;

use sidereus::index::flat::{self, FlatSearch};
use sidereus::index::recall::RecallMeter;
use sidereus::index::synthetic::{Clustered, ClusteredVectors, clustered};
use sidereus::index::{IvfIndex, IvfSearch, IvfSpec};
use sidereus::vector::{Metric, RowBitmap, RowSet, VectorBlock, VectorView};

const ROWS: usize = 200_000;
const DIMENSION: usize = 256;
const QUERIES: usize = 100;
const K: usize = 10;

struct Collection {
    made: ClusteredVectors,
    rows: VectorBlock,
    queries: VectorBlock,
    index: IvfIndex,
}

fn collection(threads: usize) -> Collection {
    let spec = Clustered {
        count: ROWS + QUERIES,
        dimension: DIMENSION,
        clusters: 300,
        rank: 32,
        seed: 2026,
    };
    let made = clustered(&spec).expect("a dimension");
    let unit: Vec<f32> = made
        .vectors
        .rows()
        .flat_map(|row| Metric::Cosine.prepare(row.to_vec()).expect("not zero"))
        .collect();
    let (rows, queries) = unit.split_at(ROWS * DIMENSION);
    let rows = VectorBlock::new(DIMENSION, rows.to_vec()).expect("finite");
    let queries = VectorBlock::new(DIMENSION, queries.to_vec()).expect("finite");
    let started = Instant::now();
    let spec = IvfSpec { threads, ..IvfSpec::default() };
    let index = IvfIndex::build(&spec, Metric::Cosine, rows.view(), None, &mut |_, _, _| ())
        .expect("builds");
    println!(
        "built in {:.1} s on {threads} threads: {:?}",
        started.elapsed().as_secs_f64(),
        index.stats()
    );
    Collection { made, rows, queries, index }
}

/// A row's own draw, the same in every run, uniform in [0, 1).
fn draw(row: usize) -> f64 {
    let mixed = (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 32)) >> 11) as f64 / (1u64 << 53) as f64
}

fn bitmap(holds: impl Fn(usize) -> bool) -> RowBitmap {
    let mut rows = RowBitmap::empty(ROWS);
    (0..ROWS).filter(|&row| holds(row)).for_each(|row| rows.insert(row));
    rows
}

/// The share of the rows that lies farthest along one direction of the space.
fn beyond_a_plane(vectors: VectorView<'_>, share: f64) -> RowBitmap {
    let along =
        |row: usize| vectors.row(row).map_or(0.0, |vector| vector[0] - vector[1] + vector[2]);
    let mut sorted: Vec<f32> = (0..ROWS).map(along).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let edge = sorted[ROWS - (ROWS as f64 * share) as usize];
    bitmap(|row| along(row) >= edge)
}

/// Asks every query under its predicate, prints a line of the table, and holds recall@10 to 0.99.
fn check(name: &str, all: &Collection, allowed_of: impl Fn(usize) -> Option<RowBitmap>) {
    let vectors = all.rows.view();
    let mut meter = RecallMeter::default();
    let (mut scanned, mut lists, mut seconds, mut rows_allowed) = (0, 0, 0.0, 0);
    for (place, query) in all.queries.rows().enumerate() {
        let allowed = allowed_of(place);
        let share = allowed.as_ref().map_or(1.0, |rows| rows.count() as f64 / ROWS as f64);
        let search = IvfSearch {
            allowed: allowed.as_ref().map(|rows| rows as &dyn RowSet),
            allowed_share: share,
            ..IvfSearch::nearest(K)
        };
        let started = Instant::now();
        let answer = all.index.search(query, &vectors, &search).expect("valid");
        seconds += started.elapsed().as_secs_f64();
        let wish = FlatSearch { metric: Metric::Cosine, k: Some(K), bound: None };
        let rows = (0..ROWS).filter(|&row| allowed.as_ref().is_none_or(|rows| rows.contains(row)));
        let truth = flat::search(query, &vectors, rows, &wish, |row| row).expect("valid");
        assert_eq!(answer.hits.len(), truth.hits.len());
        meter.compare(&truth.hits, &answer.hits, K);
        scanned += answer.rows_scanned;
        lists += answer.lists_probed;
        rows_allowed += truth.rows_scanned;
    }
    let recall = meter.recall().expect("queries");
    println!(
        "{name:28} recall@10 {:.4} [{:.4}, {:.4}]  rows allowed {:6}  scanned {:6}  lists {:4}  {:6.2} ms",
        recall.mean,
        recall.lower,
        recall.upper,
        rows_allowed / recall.queries,
        scanned / recall.queries,
        lists / recall.queries,
        seconds * 1e3 / recall.queries as f64,
    );
    assert!(recall.mean >= 0.99, "{name}: {recall:?}");
}

#[test]
fn recall_at_ten_holds_with_and_without_predicates() {
    let threads = available_parallelism().map_or(1, usize::from);
    let all = collection(threads);
    let stats = all.index.stats();
    assert!(stats.measured_recall.mean >= 0.99, "{stats:?}");
    check("no predicate", &all, |_| None);
    for share in [0.5, 0.1, 0.01, 0.001] {
        let rows = bitmap(|row| draw(row) < share);
        check(&format!("random, {} %", share * 100.0), &all, |_| Some(rows.clone()));
    }
    for share in [0.5, 0.1, 0.01, 0.001] {
        let rows = beyond_a_plane(all.rows.view(), share);
        check(&format!("beyond a plane, {} %", share * 100.0), &all, |_| Some(rows.clone()));
    }
    check("outside the query's cluster", &all, |place| {
        let own = all.made.cluster_of[ROWS + place];
        Some(bitmap(|row| all.made.cluster_of[row] != own))
    });
}
