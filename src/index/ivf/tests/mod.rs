//! The index against the exact scan.

mod certain;
mod far;
mod files;
mod recall;
mod threads;

use std::collections::BTreeSet;
use std::thread;

use super::*;
use crate::index::flat::{self, FlatSearch};
use crate::index::random::SplitMix64;
use crate::index::recall::RecallMeter;
use crate::index::synthetic::{Clustered, clustered};
use crate::vector::{RowBitmap, VectorBlock};

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::L2, Metric::Ip];

fn silent(_: &str, _: u64, _: u64) {}

fn prepared(metric: Metric, block: &VectorBlock) -> VectorBlock {
    let mut made = VectorBlock::empty(block.dimension()).expect("a dimension");
    for row in block.rows() {
        made.push(&metric.prepare(row.to_vec()).expect("not zero")).expect("finite");
    }
    made
}

/// Lengths of codes: as few axes as there can be, and all of them.
const CODES: [Option<usize>; 2] = [Some(32), None];

fn small(metric: Metric, code_bytes: Option<usize>) -> (VectorBlock, IvfIndex) {
    let spec = Clustered { count: 3000, dimension: 48, clusters: 20, rank: 8, seed: 4 };
    let block = prepared(metric, &clustered(&spec).expect("a dimension").vectors);
    let spec = IvfSpec { code_bytes, threads: 2, ..IvfSpec::default() };
    let index = build(&spec, metric, block.view()).expect("builds");
    (block, index)
}

fn build(spec: &IvfSpec, metric: Metric, vectors: VectorView<'_>) -> Result<IvfIndex, IndexError> {
    IvfIndex::build(spec, metric, vectors, None, &mut silent)
}

/// A scan of codes that goes on to its end.
fn scan_of<'a>(
    k: usize,
    recall: f64,
    runs: &'a [std::ops::Range<usize>],
    rows: &'a [u32],
) -> CodeScan<'a> {
    CodeScan { k, recall, bound: None, runs, rows, go_on: &|| true }
}

fn exact(
    query: &[f32],
    vectors: VectorView<'_>,
    metric: Metric,
    search: &IvfSearch<'_>,
    allowed: Option<&RowBitmap>,
) -> Vec<(Distance, u32)> {
    let wish = FlatSearch { metric, k: Some(search.k), bound: search.bound };
    let rows = (0..vectors.count()).filter(|&row| allowed.is_none_or(|rows| rows.contains(row)));
    flat::search(query, &vectors, rows, &wish, |row| row as u32).expect("valid").hits
}

#[expect(clippy::unnecessary_wraps, reason = "as a search takes it")]
fn set(rows: &RowBitmap) -> Option<&dyn RowSet> {
    Some(rows)
}

fn bitmap(len: usize, mut holds: impl FnMut(usize) -> bool) -> RowBitmap {
    let mut rows = RowBitmap::empty(len);
    (0..len).filter(|&row| holds(row)).for_each(|row| rows.insert(row));
    rows
}

fn random_rows(len: usize, share: f64, seed: u64) -> RowBitmap {
    let mut random = SplitMix64::new(seed);
    bitmap(len, |_| random.uniform() < share)
}

#[test]
fn all_lists_probed_equal_the_exact_scan() {
    for metric in METRICS {
        for code_bytes in CODES {
            let (block, index) = small(metric, code_bytes);
            let half = random_rows(block.count(), 0.5, 3);
            for row in (0..block.count()).step_by(101) {
                let query = block.row(row).expect("a row");
                // Of a share that is told as small only what is allowed is compared, else all of a list.
                for (k, allowed, allowed_share) in [
                    (1, None, 1.0),
                    (10, None, 1.0),
                    (50, None, 1.0),
                    (10, Some(&half), 0.3),
                    (200, Some(&half), 0.3),
                    (10, Some(&half), 0.9),
                    (200, Some(&half), 0.9),
                ] {
                    let probes = Some(index.stats().lists);
                    let allowed_set = allowed.and_then(set);
                    let search = IvfSearch {
                        probes,
                        allowed: allowed_set,
                        allowed_share,
                        recall: 1.0,
                        ..IvfSearch::nearest(k)
                    };
                    let answer = index.search(query, &block.view(), &search).expect("valid");
                    assert!(answer.exact && answer.lists_probed == index.stats().lists as u64);
                    let compared = allowed.filter(|_| allowed_share < MOST_SHARE);
                    let compared = compared.map_or(block.count(), RowBitmap::count);
                    assert_eq!(answer.rows_scanned, compared as u64);
                    let truth = exact(query, block.view(), metric, &search, allowed);
                    assert_eq!(answer.hits, truth, "{metric} {code_bytes:?} row {row} k {k}");
                }
            }
        }
    }
}

#[test]
fn idx_2_never_fewer_hits_than_allowed_rows() {
    let (block, index) = small(Metric::L2, CODES[0]);
    let query = block.row(7).expect("a row");
    let mut far_first: Vec<(Distance, u32)> =
        exact(query, block.view(), Metric::L2, &IvfSearch::nearest(block.count()), None);
    far_first.reverse();
    for allowed_count in [0, 1, 5, 63, 64, 65, 300, 2999] {
        let far: BTreeSet<usize> =
            far_first.iter().take(allowed_count).map(|&(_, row)| row as usize).collect();
        let allowed = bitmap(block.count(), |row| far.contains(&row));
        for k in [0, 1, 10, 100, 5000] {
            for probes in [None, Some(0), Some(1), Some(usize::MAX)] {
                for recall in [0.5, 0.99, 1.0] {
                    let allowed_set = set(&allowed);
                    let search =
                        IvfSearch { probes, recall, allowed: allowed_set, ..IvfSearch::nearest(k) };
                    let answer = index.search(query, &block.view(), &search).expect("valid");
                    assert_eq!(answer.hits.len(), k.min(allowed_count), "k {k} of {allowed_count}");
                    assert!(answer.hits.is_sorted());
                    let rows: BTreeSet<u32> = answer.hits.iter().map(|hit| hit.1).collect();
                    assert_eq!(rows.len(), answer.hits.len());
                    assert!(rows.iter().all(|&row| allowed.contains(row as usize)));
                }
            }
        }
    }
    let more_than_all =
        index.search(query, &block.view(), &IvfSearch::nearest(4000)).expect("valid");
    assert_eq!(more_than_all.hits.len(), block.count());
}

#[test]
fn a_search_that_would_cost_too_much_gives_up() {
    let (block, index) = small(Metric::L2, CODES[0]);
    let query = block.row(7).expect("a row");
    let mut far: Vec<(Distance, u32)> =
        exact(query, block.view(), Metric::L2, &IvfSearch::nearest(block.count()), None);
    far.reverse();
    far.truncate(30);
    let allowed = bitmap(block.count(), |row| far.iter().any(|hit| hit.1 as usize == row));
    let search = IvfSearch { allowed: set(&allowed), ..IvfSearch::nearest(10) };
    let patient = index.search(query, &block.view(), &search).expect("valid");
    assert!(!patient.gave_up && patient.hits.len() == 10);
    let search = IvfSearch { lists_max: 3, ..search };
    let hasty = index.search(query, &block.view(), &search).expect("valid");
    assert!(hasty.gave_up && hasty.hits.is_empty() && hasty.lists_probed <= 3, "{hasty:?}");
}

#[test]
fn a_search_goes_on_where_what_is_still_to_come_is_worth_it() {
    let (block, index) = small(Metric::L2, CODES[0]);
    let allowed = bitmap(block.count(), |row| row % 5 == 0);
    let search = IvfSearch { allowed: set(&allowed), allowed_share: 0.2, ..IvfSearch::nearest(10) };
    let (mut went_on, mut gave_up) = (0, 0);
    for row in (0..block.count()).step_by(97) {
        let query = block.row(row).expect("a row");
        let patient = index.search(query, &block.view(), &search).expect("valid");
        let needed = patient.lists_probed as usize;
        if needed < 8 {
            continue;
        }
        // One list less than it takes in all: the first ones are paid for, those to come are not more than that.
        let search = IvfSearch { lists_max: needed - 1, ..search };
        let going_on = index.search(query, &block.view(), &search).expect("valid");
        if !going_on.gave_up {
            assert_eq!(going_on.hits, patient.hits);
            went_on += 1;
        }
        // Never more than twice as many as the other way is worth.
        for lists_max in [1, 2, needed / 3] {
            let search = IvfSearch { lists_max, ..search };
            let hasty = index.search(query, &block.view(), &search).expect("valid");
            assert!(hasty.lists_probed as usize <= 2 * lists_max.max(1), "{lists_max}: {hasty:?}");
            gave_up += usize::from(hasty.gave_up);
        }
    }
    assert!(went_on > 10 && gave_up > 10, "{went_on} went on, {gave_up} gave up");
}

#[test]
fn codes_along_the_sky_find_what_the_rows_hold() {
    for metric in METRICS {
        for code_bytes in CODES {
            let (block, index) = small(metric, code_bytes);
            let some: Vec<u32> = (0..block.count() as u32).filter(|row| row % 7 < 2).collect();
            let runs = [40..900, 901..902, 1500..2999];
            let mut meter = RecallMeter::default();
            for row in (0..block.count()).step_by(67) {
                let query = block.row(row).expect("a row");
                let in_runs =
                    bitmap(block.count(), |row| runs.iter().any(|run| run.contains(&row)));
                let in_some = bitmap(block.count(), |row| some.contains(&(row as u32)));
                let in_both =
                    bitmap(block.count(), |row| in_runs.contains(row) || in_some.contains(row));
                let beside: Vec<u32> =
                    some.iter().copied().filter(|&row| !in_runs.contains(row as usize)).collect();
                let asked: [(&[_], &[_], _); 3] =
                    [(&runs, &[], &in_runs), (&[], &some, &in_some), (&runs, &beside, &in_both)];
                for (runs, rows, allowed) in asked {
                    let scan = scan_of(10, 0.99, runs, rows);
                    let answer = index.scan_by(query, &block.view(), &scan, |row| row);
                    let answer = answer.expect("valid").expect("codes can tell");
                    let wish = IvfSearch::nearest(10);
                    let truth = exact(query, block.view(), metric, &wish, Some(allowed));
                    assert_eq!(answer.hits.len(), 10);
                    assert_eq!(answer.rows_scanned, allowed.count() as u64);
                    meter.compare(&truth, &answer.hits, 10);
                }
            }
            let recall = meter.recall().expect("queries");
            assert!(recall.mean >= 0.99, "{metric} {code_bytes:?}: {recall:?}");
        }
    }
}

#[test]
fn idx_1_every_distance_is_the_metrics_own() {
    for metric in METRICS {
        let (block, index) = small(metric, CODES[0]);
        let query = block.row(70).expect("a row");
        let answer = index.search(query, &block.view(), &IvfSearch::nearest(20)).expect("valid");
        for (distance, row) in answer.hits {
            assert_eq!(distance, metric.distance(query, block.row(row as usize).expect("a row")));
        }
    }
}

#[test]
fn the_bound_takes_hits_away_and_is_itself_within() {
    let (block, index) = small(Metric::L2, CODES[0]);
    let query = block.row(900).expect("a row");
    let all = index.search(query, &block.view(), &IvfSearch::nearest(12)).expect("valid").hits;
    let bound = all[6].0;
    for recall in [0.99, 1.0] {
        let search = IvfSearch { bound: Some(bound), recall, ..IvfSearch::nearest(12) };
        let within = index.search(query, &block.view(), &search).expect("valid").hits;
        assert_eq!(within, all[..7]);
    }
    let nothing = IvfSearch { bound: Distance::new(-1.0), ..IvfSearch::nearest(12) };
    assert!(index.search(query, &block.view(), &nothing).expect("valid").hits.is_empty());
}

#[test]
fn constant_vectors_are_indexed_and_found() {
    for metric in METRICS {
        let same = prepared(metric, &VectorBlock::new(8, vec![0.25; 8 * 1200]).expect("finite"));
        let index = build(&IvfSpec::default(), metric, same.view()).expect("builds");
        let query = same.row(0).expect("a row");
        for k in [1, 10, 1000] {
            let search = IvfSearch::nearest(k);
            let answer = index.search(query, &same.view(), &search).expect("valid");
            let truth = exact(query, same.view(), metric, &search, None);
            let distances = |hits: &[(Distance, u32)]| -> Vec<Distance> {
                hits.iter().map(|hit| hit.0).collect()
            };
            assert_eq!(distances(&answer.hits), distances(&truth));
        }
    }
}

#[test]
fn duplicates_are_all_found_and_ties_follow_the_key() {
    // 60 different vectors, 25 copies of each, spread over the rows.
    let spec = Clustered { count: 60, dimension: 12, clusters: 60, rank: 6, seed: 2 };
    let made = clustered(&spec).expect("a dimension").vectors;
    let copies: Vec<f32> = made.as_slice().repeat(25);
    let block = prepared(Metric::Cosine, &VectorBlock::new(12, copies).expect("finite"));
    let spec = IvfSpec { lists: Some(20), ..IvfSpec::default() };
    let index = build(&spec, Metric::Cosine, block.view()).expect("builds");
    let query = block.row(61).expect("a row");
    for probes in [None, Some(1)] {
        let search = IvfSearch { probes, ..IvfSearch::nearest(25) };
        let answer = index.search(query, &block.view(), &search).expect("valid");
        let rows: Vec<u32> = answer.hits.iter().map(|hit| hit.1).collect();
        let expected: Vec<u32> = (0..25).map(|copy| copy * 60 + 1).collect();
        assert_eq!(rows, expected);
        let latest_first =
            index.search_by(query, &block.view(), &search, std::cmp::Reverse).expect("valid");
        assert_eq!(latest_first.hits.first().map(|hit| hit.1.0), Some(24 * 60 + 1));
    }
}

#[test]
fn squares_that_overflow_are_refused_in_rows_and_survived_in_queries() {
    let (block, index) = small(Metric::L2, CODES[0]);
    let huge = |value: &f32| value * 1e25;
    let values: Vec<f32> = block.as_slice().iter().map(huge).collect();
    let view = VectorView::new(48, &values).expect("whole rows");
    let refused = build(&IvfSpec::default(), Metric::L2, view).expect_err("huge");
    assert!(matches!(refused, IndexError::TooLong { row: 0, .. }), "{refused}");

    let query: Vec<f32> = block.row(5).expect("a row").iter().map(huge).collect();
    for probes in [None, Some(1)] {
        let search = IvfSearch { probes, ..IvfSearch::nearest(10) };
        let answer = index.search(&query, &block.view(), &search).expect("valid");
        assert_eq!(answer.hits, exact(&query, block.view(), Metric::L2, &search, None));
    }
    let tiny: Vec<f32> = block.as_slice().iter().map(|value| value * 1e-30).collect();
    let tiny = VectorView::new(48, &tiny).expect("whole rows");
    let index = build(&IvfSpec::default(), Metric::L2, tiny).expect("builds");
    let query = tiny.row(5).expect("a row");
    assert_eq!(index.search(query, &tiny, &IvfSearch::nearest(10)).expect("valid").hits.len(), 10);
}

#[test]
fn unusable_input_is_refused_with_its_reason() {
    let (block, index) = small(Metric::L2, CODES[0]);
    let build = |spec: &IvfSpec, vectors| build(spec, Metric::L2, vectors);
    let part =
        |rows: usize| VectorView::new(48, &block.as_slice()[..rows * 48]).expect("whole rows");
    let spec = IvfSpec::default();
    let refused = build(&spec, part(999)).expect_err("few");
    assert!(matches!(refused, IndexError::TooFew { rows: 999, rows_min: 1000 }), "{refused}");
    for (lists, train_sample_max) in
        [(Some(0), 1 << 20), (Some(77), 1 << 20), (Some(3), 100), (None, 10)]
    {
        let refused =
            build(&IvfSpec { lists, train_sample_max, ..spec }, block.view()).expect_err("lists");
        assert!(matches!(refused, IndexError::BadLists { .. }), "{refused}");
    }
    let mut values = block.as_slice().to_vec();
    values[48 * 1234 + 5] = f32::NAN;
    let refused = build(&spec, VectorView::new(48, &values).expect("whole rows")).expect_err("NaN");
    assert!(matches!(refused, IndexError::NotFinite { row: 1234, component: 5, .. }), "{refused}");

    let query = block.row(0).expect("a row");
    let nearest = IvfSearch::nearest(3);
    let refused = index.search(&query[1..], &block.view(), &nearest).expect_err("short");
    assert!(
        matches!(refused, IndexError::WrongDimension { expected: 48, given: 47, .. }),
        "{refused}"
    );
    let refused =
        index.search(&[f32::INFINITY; 48], &block.view(), &nearest).expect_err("infinite");
    assert!(matches!(refused, IndexError::NotFinite { .. }), "{refused}");
    let refused = index.search(query, &part(2999), &nearest).expect_err("another segment");
    assert!(
        matches!(refused, IndexError::WrongRows { expected: 3000, given: 2999, .. }),
        "{refused}"
    );
    for recall in [0.0, -0.5, 1.5, f64::NAN] {
        let refused = index.search(query, &block.view(), &IvfSearch { recall, ..nearest });
        assert!(matches!(refused, Err(IndexError::BadRecall { .. })), "{recall}");
    }
    for code_bytes in [0, 20, 33, 2048] {
        let refused = build(&IvfSpec { code_bytes: Some(code_bytes), ..spec }, block.view());
        assert!(matches!(refused, Err(IndexError::BadCode { .. })), "{code_bytes}");
    }
    let refused = build(&IvfSpec { memory_bytes_max: 10_000, ..spec }, block.view());
    let refused = refused.expect_err("too little memory");
    assert!(matches!(refused, IndexError::BudgetTooSmall { budget: 10_000, .. }), "{refused}");
    let narrow = VectorView::new(8, block.as_slice()).expect("whole rows");
    let refused = index.search(query, &narrow, &nearest).expect_err("another space");
    assert!(
        matches!(refused, IndexError::WrongDimension { expected: 48, given: 8, .. }),
        "{refused}"
    );
}

#[test]
fn one_seed_makes_one_index_and_progress_ends_complete() {
    let (block, _) = small(Metric::L2, CODES[0]);
    let spec = IvfSpec { seed: 99, ..IvfSpec::default() };
    let mut told = Vec::new();
    let mut build = || {
        let mut progress = |stage: &str, done, total| told.push((stage.to_owned(), done, total));
        IvfIndex::build(&spec, Metric::L2, block.view(), None, &mut progress).expect("builds")
    };
    let (first, second) = (build(), build());
    assert_eq!(first.stats(), second.stats());
    let query = block.row(42).expect("a row");
    let look = |index: &IvfIndex| {
        let search = IvfSearch { probes: Some(2), ..IvfSearch::nearest(30) };
        index.search(query, &block.view(), &search).expect("valid")
    };
    assert_eq!(look(&first), look(&second));
    for (stage, total) in [("train", 1), ("encode", 3000), ("measure", 1024), ("tune", 5)] {
        assert!(told.contains(&(stage.to_owned(), 0, total)), "{told:?}");
        assert!(told.contains(&(stage.to_owned(), total, total)), "{told:?}");
    }
}

#[test]
fn many_threads_search_one_index() {
    let (block, index) = small(Metric::Cosine, CODES[0]);
    let half = random_rows(block.count(), 0.5, 8);
    let look = |row: usize| {
        let allowed = row.is_multiple_of(2).then_some(&half as &dyn RowSet);
        let search = IvfSearch { allowed, probes: Some(4), ..IvfSearch::nearest(10) };
        index.search(block.row(row).expect("a row"), &block.view(), &search).expect("valid")
    };
    let alone: Vec<IvfAnswer> = (0..300).map(look).collect();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..300).for_each(|row| assert_eq!(look(row), alone[row])));
        }
    });
}
