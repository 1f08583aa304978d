//! Bridges against SciPy, scikit-learn and numpy, on the same pairs.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sidereus::learn::bridge::{
    BridgeMap, HELD_OUT, Likeness, Measuring, Method, Pairs, evaluate, fit,
};
use sidereus::learn::{Matrix, Progress};

use crate::convert::python;

const TRAIN: usize = 1_500;
const HELD: usize = 700;

/// Two noisy views of hidden variables, with means far from zero.
fn pairs_of(from: usize, to: usize) -> Vec<f64> {
    const HIDDEN: usize = 5;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut unit = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };
    let mixing: Vec<f64> = (0..HIDDEN * (from + to)).map(|_| unit()).collect();
    let mut rows = Vec::new();
    for _ in 0..TRAIN + HELD {
        let hidden: Vec<f64> = (0..HIDDEN).map(|_| unit() + unit() + unit()).collect();
        for row in mixing.chunks_exact(HIDDEN) {
            let signal: f64 = row.iter().zip(&hidden).map(|(a, b)| a * b).sum();
            rows.push(3.0 + signal + 0.1 * unit());
        }
    }
    rows
}

fn said_by_python(rows: &[f64], from: usize, to: usize) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pairs");
    let bytes: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(&path, bytes).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/bridge_oracle.py");
    let output = Command::new(python())
        .arg("-B")
        .arg(script)
        .arg(&path)
        .args([from.to_string(), to.to_string(), TRAIN.to_string()])
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|each| each.as_f64().expect("a number")).collect()
}

fn assert_near(what: &str, ours: &[f64], theirs: &[f64], within: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < within, "{what} differs by {worst}");
}

/// Components have no sign of their own: each is turned to go with the other's.
fn assert_same_components(ours: &[f64], theirs: &[f64], width: usize) {
    for component in 0..width {
        let of = |all: &[f64]| -> Vec<f64> {
            all.iter().skip(component).step_by(width).copied().collect()
        };
        let (mine, other) = (of(ours), of(theirs));
        let along: f64 = mine.iter().zip(&other).map(|(a, b)| a * b).sum();
        let turned: Vec<f64> = mine.iter().map(|value| value * along.signum()).collect();
        assert_near("a component", &turned, &other, 1e-6);
    }
}

fn affine(map: &BridgeMap) -> (&[f64], &[f64]) {
    (&map.from.layers[0].weights, &map.from.layers[0].bias)
}

fn compare(from: usize, to: usize) {
    let rows = pairs_of(from, to);
    let truth = said_by_python(&rows, from, to);
    let matrix = Matrix::new(from + to, rows.clone()).expect("rows");
    let folds: Vec<u8> = (0..TRAIN + HELD)
        .map(|place| if place < TRAIN { (place % 5) as u8 } else { HELD_OUT })
        .collect();
    let pairs = Pairs {
        features: &matrix,
        from_width: from,
        from_unit: false,
        to_unit: false,
        folds: &folds,
    };
    let fitted = |method: &Method| fit(&pairs, method, 2, Progress::silent()).expect("fitted");

    let rotation = fitted(&Method::Procrustes { centre: true, scale: true });
    let (weights, bias) = affine(&rotation.map);
    assert_near("rotation", weights, &numbers(&truth["procrustes"]["weights"]), 1e-9);
    assert_near("offset", bias, &numbers(&truth["procrustes"]["bias"]), 1e-8);

    let linear = fitted(&Method::Ridge { alphas: vec![1e-3, 1.0, 30.0, 1e3] });
    let (weights, bias) = affine(&linear.map);
    assert_eq!(linear.alpha, truth["ridge"]["alpha"].as_f64());
    assert_near("scores", &linear.alpha_scores, &numbers(&truth["ridge"]["scores"]), 1e-9);
    assert_near("weights", weights, &numbers(&truth["ridge"]["weights"]), 1e-8);
    assert_near("intercept", bias, &numbers(&truth["ridge"]["bias"]), 1e-7);

    let cca = |regularisation| Method::Cca { components: 3, regularisation, power: 0.0 };
    let canonical = fitted(&cca(0.01));
    let (xs, ys): (Vec<&[f64]>, Vec<&[f64]>) =
        rows[..TRAIN * (from + to)].chunks_exact(from + to).map(|row| row.split_at(from)).unzip();
    let mapped = [
        canonical.map.from.apply(&xs.concat()).expect("fits"),
        canonical.map.to.apply(&ys.concat()).expect("fits"),
    ];
    let correlations = numbers(&truth["cca"]["correlations"]);
    assert_near("correlations", &canonical.correlations, &correlations, 1e-9);
    assert_same_components(&mapped[0], &numbers(&truth["cca"]["from"]), 3);
    assert_same_components(&mapped[1], &numbers(&truth["cca"]["to"]), 3);
    let plain = fitted(&cca(0.0));
    let of_sklearn = numbers(&truth["cca_correlations_of_sklearn"]);
    assert_near("correlations", &plain.correlations, &of_sklearn, 1e-6);

    let euclidean = Likeness::Euclidean;
    let measuring = Measuring {
        from: euclidean,
        to: euclidean,
        across: euclidean,
        resamples: 50,
        seed: 1,
        threads: 2,
    };
    let measured =
        evaluate(&pairs, &rotation.map, &measuring, Progress::silent()).expect("measured");
    let ours = |names: &[&str]| -> Vec<f64> {
        let value =
            |name: &&str| measured.iter().find(|each| each.name == *name).expect(name).value;
        names.iter().map(value).collect()
    };
    let theirs = &truth["retrieval"];
    for way in ["recall", "recall_back"] {
        let names = [1, 10, 100].map(|k| format!("{way}@{k}"));
        let names = names.each_ref().map(String::as_str);
        assert_near(way, &ours(&names), &numbers(&theirs[way]), 1e-12);
    }
    let common = theirs["mutual_knn"].as_f64().expect("a number");
    assert_near("neighbours", &ours(&["mutual_knn_after@10"]), &[common], 1e-12);
    let cosine = theirs["cosine"].as_f64().expect("a number");
    assert_near("cosine", &ours(&["cosine"]), &[cosine], 1e-9);
}

#[test]
fn bridges_are_those_of_scipy_and_sklearn() {
    compare(8, 6);
}

#[test]
fn bridges_into_a_wider_space_are_those_of_scipy_and_sklearn() {
    compare(6, 9);
}
