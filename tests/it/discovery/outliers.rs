//! Scores of loneliness.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use sidereus::query::{self, OutlierMethod, OutlierQuery, StopFlag};

use super::*;

/// Clusters of different density, and some vectors far from all.
fn vectors(count: usize, dimension: usize) -> Vec<Vec<f32>> {
    let mut random = Random(0x0DD);
    let centres: Vec<Vec<f64>> =
        (0..4).map(|_| (0..dimension).map(|_| 4.0 * random.normal()).collect()).collect();
    let vector = |number: usize| {
        let cluster = random.below(4);
        let spread = if number % 50 == 7 { 6.0 } else { 0.3 + 0.4 * cluster as f64 };
        centres[cluster].iter().map(|centre| (centre + spread * random.normal()) as f32).collect()
    };
    (0..count).map(vector).collect()
}

fn ask(method: OutlierMethod, neighbours: usize, exact: bool) -> OutlierQuery {
    OutlierQuery {
        space: "image".to_owned(),
        region: None,
        predicate: None,
        method,
        neighbours,
        exact,
        recall: 0.99,
        threads: 2,
        stop: StopFlag::default(),
    }
}

const SCRIPT: &str = "
import sys
import numpy as np
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
metric, k = sys.argv[1], int(sys.argv[2])
x = np.loadtxt(sys.argv[3], delimiter=',', ndmin=2)
lof = -LocalOutlierFactor(n_neighbors=k, metric=metric, algorithm='brute').fit(x).negative_outlier_factor_
d = NearestNeighbors(n_neighbors=k, metric=metric, algorithm='brute').fit(x).kneighbors()[0]
np.savetxt(sys.argv[4], np.stack([lof, d.mean(axis=1), d[:, -1]], axis=1), fmt='%.17g', delimiter=',')
";

/// What scikit-learn says: local factors, mean and last distances of each vector.
fn oracle(metric: &str, neighbours: usize, vectors: &[Vec<f32>]) -> Vec<[f64; 3]> {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("x.csv"), folder.path().join("scores.csv"));
    let mut text = String::new();
    for vector in vectors {
        let numbers: Vec<String> =
            vector.iter().map(|value| f64::from(*value).to_string()).collect();
        writeln!(text, "{}", numbers.join(",")).expect("a string");
    }
    std::fs::write(&input, text).expect("written");
    let run = Command::new(crate::convert::python())
        .args(["-c", SCRIPT, metric, &neighbours.to_string()])
        .args([&input, &output])
        .output()
        .expect("python starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = std::fs::read_to_string(&output).expect("scores");
    let row = |line: &str| {
        let mut numbers = line.split(',').map(|number| number.parse().expect("a number"));
        std::array::from_fn(|_| numbers.next().expect("three numbers"))
    };
    text.lines().map(row).collect()
}

#[test]
fn scores_are_those_of_scikit_learn() {
    let vectors = vectors(600, 8);
    for (metric, name) in [(Metric::L2, "euclidean"), (Metric::Cosine, "cosine")] {
        let catalogue = Catalogue::new(metric, &vectors, |_| 0).indexed();
        let truth = oracle(name, 15, &vectors);
        let methods =
            [OutlierMethod::LocalFactor, OutlierMethod::MeanDistance, OutlierMethod::LastDistance];
        for (place, method) in methods.into_iter().enumerate() {
            let done = AtomicU64::new(0);
            let told = |now: u64, total: u64| {
                assert!(now <= total && total == 600);
                done.fetch_max(now, Ordering::Relaxed);
            };
            let found =
                query::outliers(&catalogue.view(), &ask(method, 15, true), &told).expect("scores");
            assert_eq!(done.load(Ordering::Relaxed), 600);
            assert!(found.exact && found.scores.len() == 600);
            assert!(found.scores.is_sorted_by(|left, right| left.score >= right.score));
            for score in &found.scores {
                let expected = truth[number(&score.id)][place];
                // Unit vectors are rounded to single precision.
                let tolerance = if metric == Metric::L2 { 1e-5 } else { 2e-4 };
                let off = (score.score - expected).abs() / expected.abs().max(1e-3);
                assert!(
                    off < tolerance,
                    "{name} {method:?} {}: {} {expected}",
                    score.id,
                    score.score
                );
            }
        }
    }
}

#[test]
fn through_the_index_scores_are_nearly_the_same() {
    let vectors = vectors(3_000, 8);
    let catalogue = Catalogue::new(Metric::L2, &vectors, |_| 0).indexed();
    let top = |exact: bool| {
        let query = ask(OutlierMethod::MeanDistance, 10, exact);
        let found = query::outliers(&catalogue.view(), &query, &|_, _| {}).expect("scores");
        assert!(
            exact || found.exact || found.estimated_recall.is_some_and(|recall| recall >= 0.99)
        );
        found.scores[..50].iter().map(|score| number(&score.id)).collect::<Vec<_>>()
    };
    let (truth, quick) = (top(true), top(false));
    let same = quick.iter().filter(|id| truth.contains(id)).count();
    assert!(same >= 48, "{same} of 50");
    // One in fifty was planted far away: sixty of them.
    assert!(truth.iter().filter(|id| *id % 50 == 7).count() >= 45, "{truth:?}");
}

#[test]
fn objects_are_scored_among_those_that_the_conditions_leave() {
    let vectors = vectors(600, 4);
    let catalogue = Catalogue::new(Metric::L2, &vectors, |number| (number % 2) as i64).indexed();
    let some: Vec<Vec<f32>> = vectors.iter().step_by(2).cloned().collect();
    let apart = Catalogue::new(Metric::L2, &some, |_| 0);
    let query = |predicate: Option<&str>| OutlierQuery {
        predicate: predicate.map(str::to_owned),
        ..ask(OutlierMethod::LocalFactor, 5, true)
    };
    let scores = |catalogue: &Catalogue, predicate| {
        let found = query::outliers(&catalogue.view(), &query(predicate), &|_, _| {});
        found.expect("scores").scores.into_iter().map(|score| score.score).collect::<Vec<_>>()
    };
    assert_eq!(scores(&catalogue, Some("class = 0")), scores(&apart, None));
    let refused = |query: OutlierQuery| {
        query::outliers(&catalogue.view(), &query, &|_, _| {}).expect_err("refused").to_string()
    };
    assert!(refused(query(Some("class = 5"))).contains("needed"));
    assert!(refused(OutlierQuery { neighbours: 0, ..query(None) }).contains("neighbours"));
    let stopped = query(None);
    stopped.stop.raise();
    assert!(refused(stopped).contains("stopped"));
    let inner = Catalogue::new(Metric::Ip, &some, |_| 0);
    let refused = query::outliers(&inner.view(), &query(None), &|_, _| {}).expect_err("no density");
    assert!(refused.to_string().contains("knn"), "{refused}");
}
