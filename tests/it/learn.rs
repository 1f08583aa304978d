//! Heads against scikit-learn on identical data, weights and folds: `learn_oracle.py` fits, and writes what it was given and
//! what came out.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sidereus::learn::knn::{Distance, KnnOptions, Neighbours, neighbours};
use sidereus::learn::linear::{
    Folds, Labels, LogisticOptions, RidgeOptions, logistic_path, ridge_path,
};
use sidereus::learn::scale::Scale;
use sidereus::learn::{Features, Matrix, Progress};

use super::convert::{python, said};

/// Ridge and neighbours are computed directly on both sides.
const CLOSE: f64 = 1e-7;
/// Iterations end somewhere near the minimum.
const NEAR: f64 = 1e-6;

const THREADS: usize = 2;

/// One fit as the script describes it.
struct Case(Value);

impl Case {
    fn numbers(&self, name: &str) -> Vec<f64> {
        fn flatten(value: &Value, into: &mut Vec<f64>) {
            match value {
                Value::Array(values) => values.iter().for_each(|value| flatten(value, into)),
                value => into.push(value.as_f64().expect("a number")),
            }
        }
        let mut numbers = Vec::new();
        flatten(&self.0[name], &mut numbers);
        numbers
    }

    fn given(&self, name: &str) -> Option<Vec<f64>> {
        (!self.0[name].is_null()).then(|| self.numbers(name))
    }

    fn places(&self, name: &str) -> Vec<u32> {
        self.numbers(name).into_iter().map(|value| value as u32).collect()
    }

    fn count(&self, name: &str) -> usize {
        usize::try_from(self.0[name].as_u64().expect("a count")).expect("small")
    }

    fn is(&self, name: &str) -> bool {
        self.0[name].as_bool().expect("a flag")
    }

    fn matrix(&self, name: &str) -> Matrix {
        Matrix::new(self.count("width"), self.numbers(name)).expect("whole rows")
    }

    /// Compares numbers relative to the largest of them, or to 1.
    fn compare(&self, name: &str, ours: &[f64], tolerance: f64) {
        let theirs = self.numbers(name);
        assert_eq!(ours.len(), theirs.len(), "{name}: {}", self.told());
        let largest = theirs.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
        for (place, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let is_close = (ours - theirs).abs() <= tolerance * largest;
            assert!(is_close, "{name}[{place}]: {ours} not {theirs}: {}", self.told());
        }
    }

    /// What it is, without its numbers.
    fn told(&self) -> String {
        let fields = self.0.as_object().expect("fields");
        let short = fields.iter().filter(|(_, value)| !value.is_array());
        short
            .fold(String::new(), |told, (name, value)| told + name + "=" + &value.to_string() + " ")
    }
}

fn ridge(case: &Case) {
    let x = case.matrix("x");
    let (y, weights) = (case.numbers("y"), case.given("weights"));
    let of = case.given("folds").map(|_| case.places("folds"));
    let is_chosen = case.numbers("alphas").len() > 1;
    let folds = match &of {
        Some(of) => Folds::Of { of, count: 5 },
        None if is_chosen => Folds::LeaveOneOut,
        None => Folds::None,
    };
    let options =
        RidgeOptions { alphas: case.numbers("alphas"), standardize: case.is("standardize") };
    let outputs = case.count("outputs");
    let fit = ridge_path(
        &x,
        &y,
        outputs,
        weights.as_deref(),
        folds,
        &options,
        THREADS,
        Progress::silent(),
    )
    .expect("a fit");
    assert_eq!(fit.chosen, case.count("chosen"), "{}", case.told());
    let all = |values: fn(&sidereus::learn::linear::RidgeScore) -> &[f64]| -> Vec<f64> {
        fit.scores.iter().flat_map(|score| values(score).to_vec()).collect()
    };
    if of.is_some() {
        case.compare("fold_r2", &all(|score| &score.fold_r2), CLOSE);
        case.compare("fold_mse", &all(|score| &score.fold_mse), CLOSE);
    } else if is_chosen {
        case.compare("loo_mse", &all(|score| std::slice::from_ref(&score.mse)), CLOSE);
    }
    let mut predicted = Vec::new();
    fit.model.predict(x.as_slice(), x.count(), &mut predicted).expect("shapes fit");
    case.compare("predicted", &predicted, CLOSE);
    case.compare("coefficients", &fit.model.weights, CLOSE);
    case.compare("intercepts", &fit.model.intercepts, CLOSE);
    // Every matrix of features has a constant.
    assert!(fit.warnings[0].contains("one value only"), "{:?}", fit.warnings);
}

fn logistic(case: &Case) {
    let x = case.matrix("x");
    let (of, weights) = (case.places("folds"), case.given("weights"));
    let (classes, fractions) = (case.places("labels"), case.numbers("labels"));
    let labels =
        if case.is("soft") { Labels::Fractions(&fractions) } else { Labels::Classes(&classes) };
    // Kept in memory and read again for every step.
    for memory in [1 << 20, 0] {
        let options = LogisticOptions {
            alphas: case.numbers("alphas"),
            standardize: case.is("standardize"),
            memory,
        };
        let fit = logistic_path(
            &x,
            labels,
            case.count("classes"),
            weights.as_deref(),
            Folds::Of { of: &of, count: 5 },
            &options,
            THREADS,
            Progress::silent(),
        )
        .expect("a fit");
        let all = |values: fn(&sidereus::learn::linear::LogisticScore) -> &[f64]| -> Vec<f64> {
            fit.scores.iter().flat_map(|score| values(score).to_vec()).collect()
        };
        case.compare("losses", &all(|score| &score.fold_log_loss), CLOSE);
        case.compare("accuracies", &all(|score| &score.fold_accuracy), CLOSE);
        assert_eq!(fit.chosen, case.count("chosen"), "{}", case.told());
        let mut predicted = Vec::new();
        fit.model.predict(x.as_slice(), x.count(), &mut predicted).expect("shapes fit");
        case.compare("predicted", &predicted, CLOSE);
        case.compare("coefficients", &fit.model.linear.weights, NEAR);
        case.compare("intercepts", &fit.model.linear.intercepts, NEAR);
    }
}

fn knn(case: &Case) {
    let train = case.matrix("x");
    let test = case.given("test").map(|_| case.matrix("test"));
    let distance = if case.is("cosine") { Distance::Cosine } else { Distance::Euclidean };
    let options = KnnOptions {
        k: case.count("k"),
        distance,
        standardize: case.is("standardize"),
        // Several passes over the training set.
        memory: 12 * case.count("width") * 50,
    };
    let given = test.as_ref().map(|test| -> &dyn Features { test });
    let found: Neighbours =
        neighbours(&train, given, &options, THREADS, Progress::silent()).expect("enough");
    case.compare("distances", &found.distances, CLOSE);
    if case.is("exact") {
        // Which of equal ones it is, is a matter of taste.
        assert!(found.distances.contains(&0.0));
    } else {
        assert_eq!(found.places, case.places("places"), "{}", case.told());
    }
    if test.is_none() {
        return;
    }
    let (y, labels) = (case.numbers("y"), case.places("labels"));
    for (name, by_distance) in [("uniform", false), ("distance", true)] {
        let regressed = found.regress(&y, case.count("outputs"), by_distance).expect("known");
        case.compare(&format!("regressed_{name}"), &regressed, CLOSE);
        let classified =
            found.classify(&labels, case.count("classes"), by_distance).expect("known");
        case.compare(&format!("classified_{name}"), &classified, CLOSE);
    }
}

fn scale(case: &Case) {
    let weights = case.given("weights");
    let scale = Scale::fit(&case.matrix("x"), weights.as_deref(), Progress::silent());
    let scale = scale.expect("examples");
    case.compare("mean", &scale.mean, 1e-12);
    case.compare("scale", &scale.scale, 1e-12);
}

/// Scales, neighbours, coefficients, choices, predictions and scores are those of scikit-learn.
#[test]
fn heads_are_those_of_scikit_learn() {
    let work = tempfile::tempdir().expect("a folder");
    let path = work.path().join("cases.json");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/learn_oracle.py");
    let output = Command::new(python()).arg("-B").arg(script).arg(&path).output();
    let output = output.expect("python starts");
    assert!(output.status.success(), "{}", said(&output));
    let text = std::fs::read_to_string(path).expect("the script has written it");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("cases");
    let mut kinds = std::collections::BTreeSet::new();
    for case in cases.into_iter().map(Case) {
        let kind = case.0["kind"].as_str().expect("a kind").to_owned();
        match kind.as_str() {
            "ridge" => ridge(&case),
            "logistic" => logistic(&case),
            "knn" => knn(&case),
            "scale" => scale(&case),
            other => panic!("what is {other}?"),
        }
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
}
