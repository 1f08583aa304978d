//! Metrics, intervals and leak checks against scikit-learn, scipy and astropy.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sidereus::learn::metrics::{
    Bootstrap, Classification, Fractions, Measure, Ranked, Ranking, Regression, Relevances,
    measure, roc_curve,
};
use sidereus::learn::split::{leaked, unit_vector};
use sidereus::learn::{LearnError, Progress};

use crate::convert::python;

/// Differences that the order of sums explains.
const ROUNDING: f64 = 1e-9;

/// What the oracle says about its made-up predictions.
fn cases() -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cases.json");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/metrics_oracle.py");
    let output = Command::new(python()).arg("-B").arg(script).arg(&file).output();
    let output = output.expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&file).expect("the oracle's answer");
    serde_json::from_str(&text).expect("json")
}

fn reals(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|each| each.as_f64().expect("real")).collect()
}

fn wholes(value: &Value) -> Vec<u32> {
    reals(value).into_iter().map(|each| each as u32).collect()
}

fn of<'a>(cases: &'a Value, name: &str) -> &'a [Value] {
    cases[name].as_array().expect("a list of cases")
}

fn assert_near(found: f64, expected: f64, what: &str) {
    let limit = ROUNDING * (1.0 + expected.abs());
    assert!((found - expected).abs() < limit, "{what}: {found}, expected {expected}");
}

/// Every number that the oracle gives is measured, and nothing else.
fn assert_measured(measured: &dyn Measure, expected: &Value) {
    let names = measured.names();
    let values = measured.measure(&vec![1; measured.count()]);
    let expected = expected.as_object().expect("numbers by name");
    assert_eq!(names.len(), expected.len(), "{names:?}");
    for (name, value) in names.iter().zip(values) {
        let value = value.unwrap_or_else(|| panic!("{name} is not defined"));
        assert_near(value, expected[name].as_f64().expect(name), name);
    }
}

fn regression(case: &Value) -> Result<(), LearnError> {
    let (truth, predicted) = (reals(&case["truth"]), reals(&case["predicted"]));
    let (log_density, below) = (reals(&case["log_density"]), reals(&case["below"]));
    let plain = Regression::new(&truth, &predicted)?.log_density(&log_density)?.below(&below)?;
    let weights = case["weights"].as_array().map(|_| reals(&case["weights"]));
    let all = match &weights {
        Some(weights) => plain.weights(weights)?.redshift()?,
        None => plain.redshift()?,
    };
    assert_measured(&all, &case["expected"]);
    Ok(())
}

fn classification(case: &Value) -> Result<(), LearnError> {
    let classes = case["classes"].as_u64().expect("classes") as usize;
    let (truth, rows) = (wholes(&case["truth"]), reals(&case["probabilities"]));
    let names: Vec<String> = (0..classes).map(|class| format!("c{class}")).collect();
    let plain = Classification::new(classes, &truth, &rows)?;
    let confusion: Vec<u64> = wholes(&case["confusion"]).into_iter().map(u64::from).collect();
    assert_eq!(plain.confusion(), confusion);

    let bins = plain.calibration(10);
    let expected = &case["calibration"];
    let counts: Vec<u32> = bins.iter().map(|bin| bin.count as u32).collect();
    assert_eq!(counts, wholes(&expected["count"]));
    for (place, bin) in bins.iter().enumerate() {
        assert_near(bin.predicted, reals(&expected["predicted"])[place], "predicted");
        assert_near(bin.observed, reals(&expected["observed"])[place], "observed");
    }

    let scores: Vec<f64> = rows.chunks_exact(classes).map(|row| row[1]).collect();
    let members: Vec<bool> = truth.iter().map(|class| *class == 1).collect();
    let curve = roc_curve(&scores, &members);
    let expected = reals(&case["roc"]["false"]).into_iter().zip(reals(&case["roc"]["true"]));
    assert_eq!(curve.len(), expected.len());
    for (found, expected) in curve.iter().zip(expected) {
        assert_near(found.0, expected.0, "false positives");
        assert_near(found.1, expected.1, "true positives");
    }

    let weights = case["weights"].as_array().map(|_| reals(&case["weights"]));
    let all = match &weights {
        Some(weights) => plain.weights(weights)?,
        None => plain,
    };
    assert_measured(&all.iou(&names)?, &case["expected"]);
    Ok(())
}

fn fractions(case: &Value) -> Result<(), LearnError> {
    let classes = case["classes"].as_u64().expect("classes") as usize;
    let (truth, predicted) = (reals(&case["truth"]), reals(&case["predicted"]));
    let votes = reals(&case["votes"]);
    let all = Fractions::new(classes, &truth, &predicted)?.weights(&votes)?;
    assert_measured(&all, &case["expected"]);
    Ok(())
}

fn ranking(case: &Value) -> Result<(), LearnError> {
    let k = case["k"].as_u64().expect("k") as usize;
    let own = reals(&case["relevances"]);
    let found = case["found"].as_array().expect("a list for each query");
    let queries: Vec<Ranked> = own
        .iter()
        .zip(found)
        .map(|(own, found)| Ranked { found: reals(found), own: Some(*own) })
        .collect();
    let ranking = Ranking::new(&Relevances::new(own)?, &queries, k, 0.5)?;
    assert_measured(&ranking.got, &case["expected"]);
    Ok(())
}

fn interval(case: &Value) -> Result<(), LearnError> {
    let errors = reals(&case["errors"]);
    let truth = vec![0.0; errors.len()];
    let bootstrap = Bootstrap { resamples: 10_000, seed: 1, groups: None, threads: 2 };
    let all = measure(&Regression::new(&truth, &errors)?, &bootstrap, Progress::silent())?;
    // The truth does not vary: there is no R2, and it is left out.
    assert!(all.iter().all(|each| each.name != "r2"), "{all:?}");
    let rmse = all.iter().find(|each| each.name == "rmse").expect("a root mean square");
    let wanted = |end: &str| case[end].as_f64().expect("an end");
    let width = wanted("high") - wanted("low");
    for (found, end) in [(rmse.low, "low"), (rmse.high, "high")] {
        let apart = (found.expect("an interval") - wanted(end)).abs();
        assert!(apart < 0.05 * width, "{end}: {rmse:?}, expected {}", wanted(end));
    }
    Ok(())
}

fn leak(case: &Value) -> Result<(), LearnError> {
    let points = |name: &str| -> Vec<[f64; 3]> {
        reals(&case[name]).chunks_exact(2).map(|each| unit_vector(each[0], each[1])).collect()
    };
    let found =
        leaked(&points("train"), &points("test"), case["radius"].as_f64().expect("radius"))?;
    assert!(found.len() > 100, "{}", found.len());
    assert_eq!(found, wholes(&case["leaked"]));
    Ok(())
}

/// All numbers are those of the libraries that astronomers would use instead.
#[test]
fn metrics_are_those_of_scikit_learn_and_astropy() {
    let cases = cases();
    let each = [
        ("regression", regression as fn(&Value) -> Result<(), LearnError>),
        ("classification", classification),
        ("fractions", fractions),
        ("ranking", ranking),
        ("interval", interval),
        ("leak", leak),
    ];
    for (name, check) in each {
        assert!(!of(&cases, name).is_empty(), "{name}");
        for (place, case) in of(&cases, name).iter().enumerate() {
            check(case).unwrap_or_else(|error| panic!("{name} {place}: {error}"));
        }
    }
}
