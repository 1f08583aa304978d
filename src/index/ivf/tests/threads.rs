//! How many threads building and searching take, counted in a process of its own.

use std::env;
use std::fs;
use std::process::Command;

use super::*;
use crate::index::ivf::tune::{Estimates, Truth};

/// Set in the process that counts; other tests of this one would be counted along.
const ALONE: &str = "SIDEREUS_TEST_ALONE";

fn threads_now() -> usize {
    fs::read_dir("/proc/self/task").expect("Linux").count()
}

#[test]
fn idx_4_one_thread_builds_and_searches_with_one_thread() {
    if env::var_os(ALONE).is_none() {
        let name =
            "index::ivf::tests::threads::idx_4_one_thread_builds_and_searches_with_one_thread";
        let output = Command::new(env::current_exe().expect("a program"))
            .args([name, "--exact", "--test-threads=1"])
            .env(ALONE, "1")
            .output()
            .expect("runs");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let spec = Clustered { count: 3000, dimension: 16, clusters: 20, rank: 8, seed: 4 };
    let block = clustered(&spec).expect("a dimension").vectors;
    let before = threads_now();
    let mut most = before;
    let mut progress = |_: &str, _: u64, _: u64| most = most.max(threads_now());
    let index = IvfIndex::build(&IvfSpec::default(), Metric::L2, block.view(), None, &mut progress)
        .expect("builds");
    assert_eq!(most, before, "FAISS started threads");
    for row in 0..50 {
        let query = block.row(row).expect("a row");
        for probes in [None, Some(1), Some(index.stats().lists)] {
            let search = IvfSearch { probes, ..IvfSearch::nearest(10) };
            index.search(query, &block.view(), &search).expect("valid");
            assert_eq!(threads_now(), before);
        }
    }
}

#[test]
fn estimates_by_the_codes_of_all_rows_are_those_of_codes_made_for_the_neighbours() {
    for metric in METRICS {
        let (block, index) = small(metric, CODES[0]);
        let view = block.view();
        let mut truth = Truth::default();
        for row in (0..block.count()).step_by(150) {
            let query = block.row(row).expect("a row");
            truth.queries.extend_from_slice(query);
            truth.own_rows.push(Some(row as u32));
            let search = IvfSearch::nearest(200);
            truth.neighbours.push(exact(query, view, metric, &search, None));
        }
        let all = usize::MAX;
        let made = Estimates::of_vectors(&index.coder, view, &truth, all, 1);
        let divided = Estimates::of_vectors(&index.coder, view, &truth, all, 3);
        let stored = Estimates::of_codes(&index.coder, index.sky_codes.as_slice(), &truth, 2);
        let judged = &[10, 1];
        for target in [0.5, 0.9, 0.99, 0.999] {
            let margin = made.least_margin(&truth, judged, target);
            assert_eq!(divided.least_margin(&truth, judged, target), margin, "{metric} {target}");
            assert_eq!(stored.least_margin(&truth, judged, target), margin, "{metric} {target}");
        }
        assert!(made.least_margin(&truth, judged, 0.9).is_some(), "{metric}");
    }
}
