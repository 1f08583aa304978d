//! How many threads building and searching take, counted in a process of its own.

use std::env;
use std::fs;
use std::process::Command;

use super::*;

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
