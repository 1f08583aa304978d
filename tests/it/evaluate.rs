//! `sidereus evaluate` on a running server: what it prints, against what a loop over all pairs says, and its reports.

use std::fmt::Write;

use serde_json::Value;

use crate::cli::Running;
use crate::probes::noise;
use crate::support::npy;

const OBJECTS: usize = 240;
const DIMENSION: usize = 6;
const K: usize = 5;

/// One object of the test catalogue.
struct Object {
    /// Of length 1, so that all metrics give the same order.
    vector: [f32; DIMENSION],
    is_ring: bool,
    votes: f64,
    z: f64,
}

fn object(number: usize) -> Object {
    let seed = number as u64 * 100;
    let is_ring = number.is_multiple_of(6);
    let mut vector: [f32; DIMENSION] =
        std::array::from_fn(|at| noise(seed + at as u64) as f32 * 0.6);
    vector[0] += if is_ring { 1.1 } else { 0.0 };
    let length = vector.iter().map(|each| each * each).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|each| *each /= length);
    let z = 0.5 + 0.3 * f64::from(vector[1]) + 0.02 * noise(seed + 50);
    let votes = if is_ring { 0.8 } else { 0.3 } + 0.2 * noise(seed + 51);
    Object { vector, is_ring, votes, z }
}

fn objects() -> Vec<Object> {
    (0..OBJECTS).map(object).collect()
}

/// A server with the catalogue and its vectors.
fn with_catalogue() -> Running {
    let server = Running::start();
    let mut text = "object_id,ra,dec,z,shape,votes\n".to_owned();
    for (number, object) in objects().iter().enumerate() {
        let ra = (350.0 + 0.1 * number as f64) % 360.0;
        let dec = 10.0 * noise(number as u64);
        let shape = if object.is_ring { "ring" } else { "disk" };
        writeln!(text, "{number},{ra},{dec},{},{shape},{}", object.z, object.votes).expect("text");
    }
    std::fs::write(server.path("catalogue.csv"), text).expect("written");
    let rows: Vec<f32> = objects().iter().flat_map(|object| object.vector).collect();
    let bytes = npy(&format!("{OBJECTS}, {DIMENSION}"), &rows);
    std::fs::write(server.path("look.npy"), bytes).expect("written");
    server.says(&["import", "sky", "catalogue.csv", "--create", "--vectors", "look=look.npy"]);
    server
}

/// The other objects, the most similar first.
fn nearest(objects: &[Object], query: usize) -> Vec<usize> {
    let distance = |other: usize| {
        let pairs = objects[query].vector.iter().zip(&objects[other].vector);
        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
    };
    let mut others: Vec<usize> = (0..objects.len()).filter(|other| *other != query).collect();
    others.sort_by(|first, second| distance(*first).total_cmp(&distance(*second)));
    others
}

/// Means over the queries of nDCG, recall and precision, by the definitions written out.
fn by_hand(relevance: &dyn Fn(&Object) -> f64, from: f64) -> [f64; 4] {
    let objects = objects();
    let queries: Vec<usize> =
        (0..objects.len()).filter(|query| relevance(&objects[*query]) >= from).collect();
    let gain = |order: &[usize], of: &dyn Fn(f64) -> f64| -> f64 {
        let first = order.iter().take(K).enumerate();
        first
            .map(|(place, other)| of(relevance(&objects[*other])) / (place as f64 + 2.0).log2())
            .sum()
    };
    let mut sums = [0.0; 4];
    for &query in &queries {
        let found = nearest(&objects, query);
        let mut best = found.clone();
        best.sort_by(|first, second| {
            relevance(&objects[*second]).total_cmp(&relevance(&objects[*first]))
        });
        let gains: [&dyn Fn(f64) -> f64; 2] = [&|value| value, &|value| value.exp2() - 1.0];
        for (place, of) in gains.into_iter().enumerate() {
            sums[place] += gain(&found, of) / gain(&best, of);
        }
        let hits =
            found.iter().take(K).filter(|other| relevance(&objects[**other]) >= from).count();
        sums[2] += hits as f64 / (queries.len() - 1) as f64;
        sums[3] += hits as f64 / K as f64;
    }
    sums.map(|sum| sum / queries.len() as f64)
}

fn assert_measured(rows: &Value, expected: [f64; 4]) {
    let names = ["ndcg_linear@5", "ndcg_exponential@5", "recall@5", "precision@5"];
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), names.len());
    for ((row, name), expected) in rows.iter().zip(names).zip(expected) {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"));
        assert_eq!(row["metric"], name);
        assert!((number("value") - expected).abs() < 1e-9, "{row}, expected {expected}");
        assert!(number("low_95") <= expected && expected <= number("high_95"), "{row}");
        assert!(number("times_chance") > 1.5, "{row}");
    }
}

#[test]
fn retrieval_is_measured_as_by_hand() {
    let server = with_catalogue();
    let words = ["evaluate", "retrieval", "sky", "--space", "look", "-k", "5"];
    let classes = [&words[..], &["--label", "shape", "--relevant", "ring"]].concat();
    let of_class = |object: &Object| f64::from(u8::from(object.is_ring));
    assert_measured(&server.json(&classes), by_hand(&of_class, 1.0));
    let votes = [&words[..], &["--label", "votes", "--above", "0.8"]].concat();
    assert_measured(&server.json(&votes), by_hand(&|object| object.votes, 0.8));

    let report = ["--report", "rings.html", "--thumbnails", "https://host/{ra}/{dec}.jpg"];
    let told = server.says(&[&classes[..], &["--gain", "linear"], &report].concat());
    assert!(told.contains("(by chance)") && !told.contains("exponential"), "{told}");
    let html = std::fs::read_to_string(server.path("rings.html")).expect("a report");
    for wanted in
        ["shape = ring", "by chance", "https://host/350.000000/", "tile good", "sidereus evaluate"]
    {
        assert!(html.contains(wanted), "{wanted}");
    }

    for (words, wanted) in [
        (&["--label", "shape"][..], "--relevant VALUE"),
        (&["--label", "votes"], "--above NUMBER"),
        (&["--label", "colour", "--relevant", "red"], "no column `colour`"),
        (&["--label", "shape", "--relevant", "spiral"], "two are needed"),
    ] {
        let base = ["evaluate", "retrieval", "sky", "--space", "look"];
        let told = server.complains(&[&base[..], words].concat());
        assert!(told.contains(wanted), "{told}");
    }
}

/// A space that covers fewer objects is measured by what can be found in it: everything is found by a search for all.
#[test]
fn spaces_that_cover_different_objects_are_measured_each_by_its_own() {
    let server = Running::start();
    let objects = objects();
    for part in 0..2 {
        let own: Vec<usize> = (0..OBJECTS).filter(|number| number % 4 / 2 == part).collect();
        let mut text = "object_id,ra,dec,shape\n".to_owned();
        for number in &own {
            let shape = if objects[*number].is_ring { "ring" } else { "disk" };
            writeln!(text, "{number},{},0,{shape}", 0.1 * *number as f64).expect("text");
        }
        let catalogue = format!("part{part}.csv");
        std::fs::write(server.path(&catalogue), text).expect("written");
        let rows: Vec<f32> = own.iter().flat_map(|number| objects[*number].vector).collect();
        let bytes = npy(&format!("{}, {DIMENSION}", own.len()), &rows);
        std::fs::write(server.path("part.npy"), bytes).expect("written");
        let first = ["--create", "--vectors", "some=part.npy"];
        let words = ["import", "sky", &catalogue, "--vectors", "look=part.npy"];
        server.says(&[&words[..], if part == 0 { &first[..] } else { &[] }].concat());
    }
    let words = ["evaluate", "retrieval", "sky", "--space", "look,some", "-k", "1000"];
    let words = [&words[..], &["--label", "shape", "--relevant", "ring"]].concat();
    let rows = server.json(&words);
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 8);
    for row in rows {
        let is_part = row["space"] == "some";
        let of = |number: &usize| !is_part || number % 4 < 2;
        let found: Vec<usize> = (0..OBJECTS).filter(of).collect();
        let rings = found.iter().filter(|number| objects[**number].is_ring).count();
        assert_eq!(row["objects"].as_u64(), Some(found.len() as u64), "{row}");
        assert_eq!(row["relevant"].as_u64(), Some(rings as u64), "{row}");
        let value = row["value"].as_f64().expect("a number");
        assert!(value <= 1.0 + 1e-12, "{row}");
        if row["metric"] == "recall@1000" {
            assert!((value - 1.0).abs() < 1e-12 && row["by_chance"] == 1.0, "{row}");
        }
    }
    let told = server.says(&words);
    assert!(told.contains("(by chance in some)") && told.contains("different objects"), "{told}");
}

#[test]
fn probes_are_compared_and_reported() {
    let server = with_catalogue();
    let words = ["evaluate", "probes", "sky", "--space", "look", "--columns", "votes"];
    let words = [&words[..], &["--target", "z", "--target", "shape"]].concat();
    let words = [&words[..], &["--head", "ridge,logistic,knn", "--split", "random:0.3:1"]].concat();
    let words = [&words[..], &["--few-shot", "12,60,5000", "--resamples", "50"]].concat();
    let rows = server.json(&[&words[..], &["--report", "sky.html"]].concat());
    let rows = rows.as_array().expect("rows");
    let value = |space: &str, head: &str, few: bool, metric: &str| {
        let is_meant = |row: &&Value| {
            let is_few = row["train"].as_u64() == Some(60);
            row["space"] == space && row["head"] == head && row["metric"] == metric && is_few == few
        };
        let row = rows.iter().find(is_meant).unwrap_or_else(|| panic!("{space} {head} {metric}"));
        assert!(row["low_95"].as_f64() <= row["value"].as_f64(), "{row}");
        row["value"].as_f64().expect("a number")
    };
    assert!(value("look", "ridge", false, "r2") > 0.9);
    assert!(value("look", "ridge", true, "r2") > 0.8);
    assert!(value("look", "ridge", false, "sigma_nmad") < 0.05);
    assert!(value("votes", "ridge", false, "r2") < 0.3);
    assert!(value("look", "logistic", false, "auc") > 0.8);
    // Ridge predicts no class, and a logistic regression no number.
    let is_wrong = |row: &Value| row["target"] == "shape" && row["head"] == "ridge";
    assert!(!rows.iter().any(is_wrong));

    let html = std::fs::read_to_string(server.path("sky.html")).expect("a report");
    for wanted in [
        "predicted z",
        "true positive rate",
        "training examples",
        "right ascension",
        "random:0.3:1",
        "version",
        "sidereus evaluate probes sky",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
    let base = ["evaluate", "probes", "sky", "--space", "look", "--target", "shape"];
    let told = server.complains(&[&base[..], &["--head", "ridge"]].concat());
    assert!(told.contains("predict numbers"), "{told}");
    let told = server.complains(&[&base[..], &["--head", "knn", "--split", "half"]].concat());
    assert!(told.contains("random:TEST_FRACTION:SEED"), "{told}");
}
