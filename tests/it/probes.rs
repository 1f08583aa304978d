//! Probes through a real server, against scikit-learn on the same split.

mod beside;
mod cancelled;
mod kept;
mod networks;
mod refused;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};
use sidereus::wire::v1::probe_service_client::ProbeServiceClient;
use sidereus::wire::v1::{
    CollectionSchema, ColumnType, FitProbeRequest, Head, IdKind, KnnHead, LogisticHead, Metric,
    Object, Prediction, Probe, ProbeSpec, RidgeHead, Target, TargetKind, head, object_id,
};
use tonic::Status;

use crate::convert::python;
use crate::support::{
    MESSAGE_BYTES, TestServer, column, number, object, real, space, string, vector,
};

pub(crate) const DIMENSION: usize = 12;
const OBJECTS: i64 = 420;

/// Predictions and measures of everything but the logistic head.
const EXACT: f64 = 1e-6;
const LOGISTIC: f64 = 1e-4;

/// Fits a probe; the last message's probe, and all predictions by id.
pub(crate) async fn fit(
    server: &TestServer,
    request: FitProbeRequest,
) -> Result<(Probe, HashMap<i64, Prediction>), Status> {
    let client = ProbeServiceClient::new(server.channel().await);
    let mut client = client.max_decoding_message_size(MESSAGE_BYTES);
    let mut stream = client.fit_probe(request).await?.into_inner();
    let (mut probe, mut predictions) = (None, HashMap::new());
    while let Some(message) = stream.message().await? {
        for prediction in message.predictions {
            let Some(object_id::Id::Number(id)) =
                prediction.id.as_ref().and_then(|id| id.id.clone())
            else {
                panic!("a numeric id");
            };
            predictions.insert(id, prediction);
        }
        probe = message.probe.or(probe);
    }
    Ok((probe.expect("the last message has the probe"), predictions))
}

/// A number that looks random and is the same for ever.
pub(crate) fn noise(seed: u64) -> f64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)) as f64 / u64::MAX as f64 * 2.0 - 1.0
}

/// Vectors of any length, a number and a class that depend on them, weights, and the side of a split.
pub(crate) fn example(id: i64) -> Object {
    let seed = id as u64 * 1_000;
    let values: Vec<f32> =
        (0..DIMENSION as u64).map(|at| (noise(seed + at) * (1.0 + at as f64)) as f32).collect();
    let at = |place: usize| f64::from(values[place]);
    let y = 0.4 * at(0) - 0.2 * at(5) + 0.05 * at(11) + 0.3 * noise(seed + 100);
    let score = at(1) + 0.3 * at(3) + 0.8 * noise(seed + 101);
    let class = if score > 1.0 {
        "late"
    } else if score > -0.5 {
        "early"
    } else {
        "merger"
    };
    let side = if id % 4 == 3 { "test" } else { "train" };
    let mut object = object(id, noise(seed + 200) * 180.0 + 180.0, noise(seed + 201) * 80.0);
    object.columns = HashMap::from([
        ("y".to_owned(), real(y)),
        ("class".to_owned(), string(class)),
        ("side".to_owned(), string(side)),
        ("w".to_owned(), real(0.5 + noise(seed + 300).abs())),
        ("mag".to_owned(), real(18.0 + 3.0 * noise(seed + 301) + y)),
    ]);
    object.vectors = HashMap::from([
        ("plain".to_owned(), vector(&values)),
        ("cosine".to_owned(), vector(&values)),
    ]);
    object
}

pub(crate) fn schema(name: &str) -> CollectionSchema {
    CollectionSchema {
        name: name.to_owned(),
        id_kind: IdKind::Number.into(),
        columns: vec![
            column("y", ColumnType::Float64),
            column("class", ColumnType::Text),
            column("side", ColumnType::Text),
            column("w", ColumnType::Float64),
            column("mag", ColumnType::Float64),
        ],
        spaces: vec![
            space("plain", "image", DIMENSION as u32, Metric::L2),
            space("cosine", "image", DIMENSION as u32, Metric::Cosine),
        ],
        description: String::new(),
    }
}

/// A server with the examples.
pub(crate) async fn with_examples(data: &Path) -> TestServer {
    let server = TestServer::start(data).await;
    server.create(schema("sky")).await.expect("a collection");
    server.write("sky", (0..OBJECTS).map(example).collect()).await;
    server
}

pub(crate) fn spec(space: &str, target: &str, head: head::Kind) -> ProbeSpec {
    ProbeSpec {
        spaces: vec![space.to_owned()],
        target: Some(Target { column: target.to_owned(), ..Target::default() }),
        head: Some(Head { kind: Some(head) }),
        split: "column:side".to_owned(),
        resamples: 50,
        ..ProbeSpec::default()
    }
}

pub(crate) fn measure_only(spec: ProbeSpec) -> FitProbeRequest {
    FitProbeRequest {
        collection: "sky".to_owned(),
        spec: Some(spec),
        with_predictions: true,
        ..FitProbeRequest::default()
    }
}

pub(crate) fn ridge(alphas: &[f64]) -> head::Kind {
    head::Kind::Ridge(RidgeHead { alphas: alphas.to_vec(), folds: 0 })
}

fn logistic(alpha: f64) -> head::Kind {
    head::Kind::Logistic(LogisticHead { alphas: vec![alpha], folds: 0 })
}

fn knn(k: u32, by_distance: bool, metric: Metric) -> head::Kind {
    head::Kind::Knn(KnnHead { k, by_distance, metric: metric.into() })
}

/// Fits by name, as `probes_oracle.py` knows them.
fn cases() -> Vec<(&'static str, ProbeSpec)> {
    let path = [0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0];
    let standard = |spec: ProbeSpec| ProbeSpec { standardize: true, ..spec };
    let weighted = |spec: ProbeSpec| ProbeSpec { weight: "w".to_owned(), ..spec };
    let as_class = |mut spec: ProbeSpec| {
        if let Some(target) = &mut spec.target {
            target.kind = TargetKind::Class.into();
        }
        spec
    };
    let mut fused = spec("plain", "y", ridge(&[2.0]));
    fused.columns = vec!["mag".to_owned()];
    let mut filtered = spec("plain", "y", ridge(&[2.0]));
    "mag > 17.5".clone_into(&mut filtered.predicate);
    vec![
        ("ridge", spec("plain", "y", ridge(&[3.7]))),
        // Features are the vectors as they were given, whatever the metric does to their length.
        ("ridge_cosine_space", spec("cosine", "y", ridge(&[3.7]))),
        ("ridge_standardized", standard(spec("plain", "y", ridge(&[3.7])))),
        ("ridge_weighted", weighted(spec("plain", "y", ridge(&[3.7])))),
        ("ridge_path", spec("plain", "y", ridge(&path))),
        ("ridge_fused", fused),
        ("ridge_filtered", filtered),
        ("knn_uniform", spec("plain", "y", knn(9, false, Metric::L2))),
        ("knn_distance", standard(spec("plain", "y", knn(15, true, Metric::L2)))),
        ("knn_cosine", spec("cosine", "y", knn(7, true, Metric::Cosine))),
        ("knn_class", as_class(spec("plain", "class", knn(11, false, Metric::L2)))),
        ("logistic", spec("plain", "class", logistic(1.0))),
        ("logistic_standardized", standard(spec("plain", "class", logistic(0.3)))),
        ("logistic_weighted", weighted(spec("plain", "class", logistic(0.3)))),
    ]
}

/// What scikit-learn says of the same examples.
fn oracle(folder: &Path) -> Json {
    let examples: Vec<Json> = (0..OBJECTS)
        .map(|id| {
            let object = example(id);
            let values = &object.vectors["plain"].values;
            let number = |name: &str| match object.columns[name].kind {
                Some(sidereus::wire::v1::value::Kind::Real(number)) => number,
                _ => panic!("a number"),
            };
            let text = |name: &str| match &object.columns[name].kind {
                Some(sidereus::wire::v1::value::Kind::Text(text)) => text.clone(),
                _ => panic!("a text"),
            };
            json!({"id": id, "x": values, "y": number("y"), "w": number("w"), "mag": number("mag"),
                   "class": text("class"), "side": text("side")})
        })
        .collect();
    let (given, said) = (folder.join("examples.json"), folder.join("oracle.json"));
    std::fs::write(&given, Json::from(examples).to_string()).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/probes_oracle.py");
    let output = Command::new(python()).arg("-B").arg(script).arg(&given).arg(&said).output();
    let output = output.expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&std::fs::read_to_string(&said).expect("an answer")).expect("json")
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_equal_scikit_learn_on_the_same_split() {
    let folder = tempfile::tempdir().expect("a folder");
    let oracle = oracle(folder.path());
    let server = with_examples(&folder.path().join("data")).await;
    for (name, spec) in cases() {
        let limit = if name.starts_with("logistic") { LOGISTIC } else { EXACT };
        let (probe, predictions) = fit(&server, measure_only(spec)).await.expect(name);
        let expected = &oracle[name];
        let rows = expected["predictions"].as_object().expect("by id");
        assert_eq!(rows.len(), predictions.len(), "{name}");
        for (id, row) in rows {
            let found = &predictions[&id.parse::<i64>().expect("an id")].predicted;
            let row: Vec<f64> = row
                .as_array()
                .expect("a row")
                .iter()
                .map(|each| each.as_f64().expect("real"))
                .collect();
            assert_eq!(found.len(), row.len(), "{name}");
            for (found, expected) in found.iter().zip(row) {
                assert!(
                    (found - expected).abs() < limit,
                    "{name}, {id}: {found}, expected {expected}"
                );
            }
        }
        for (metric, value) in expected["metrics"].as_object().expect("metrics") {
            let found = probe.metrics.iter().find(|each| each.name == *metric).expect(metric);
            let value = value.as_f64().expect("real");
            assert!(
                (found.value - value).abs() < limit,
                "{name} {metric}: {} and {value}",
                found.value
            );
            let (low, high) = (found.low.expect("low"), found.high.expect("high"));
            assert!(low <= high && low <= found.value + 0.2 && high >= found.value - 0.2);
        }
        if let Some(alpha) = expected["alpha"].as_f64() {
            assert_eq!(probe.alpha, Some(alpha), "{name}");
            // One strength alone is not compared with others.
            let scored = if probe.alphas.len() == 1 { 0 } else { probe.alphas.len() };
            assert_eq!(probe.alpha_scores.len(), scored);
        }
        assert_eq!(probe.n_test, rows.len() as u64);
    }
    server.stop().await;
}

/// Every object is predicted once by a head that did not see it, and the folds do not depend on what else is there.
#[tokio::test(flavor = "multi_thread")]
async fn folds_predict_every_object_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_examples(folder.path()).await;
    let folds = ProbeSpec { split: "kfold:5:3".to_owned(), ..spec("plain", "y", ridge(&[1.0])) };
    let (probe, predictions) = fit(&server, measure_only(folds.clone())).await.expect("folds");
    assert_eq!(predictions.len(), OBJECTS as usize);
    assert_eq!((probe.n_train, probe.n_test), (OBJECTS as u64, OBJECTS as u64));
    let r2 = |probe: &Probe| probe.metrics.iter().find(|each| each.name == "r2").expect("r2").value;
    assert!(r2(&probe) > 0.5, "{}", r2(&probe));
    let (again, _) = fit(&server, measure_only(folds)).await.expect("folds");
    assert_eq!(probe.metrics, again.metrics);
    server.stop().await;
}

/// Objects at the same position on both sides are told, and fewer training objects give a nested subset.
#[tokio::test(flavor = "multi_thread")]
async fn leaks_are_told_and_few_shots_are_nested() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_examples(folder.path()).await;
    let (clean, _) =
        fit(&server, measure_only(spec("plain", "y", ridge(&[1.0])))).await.expect("fit");
    assert_eq!(clean.n_leaked, 0);
    // A second observation of object 0, which teaches, is in the test set.
    let mut twin = example(0);
    twin.id = Some(number(100_003));
    twin.columns.insert("side".to_owned(), string("test"));
    let mut lacking = example(1);
    lacking.id = Some(number(100_004));
    lacking.columns.remove("y");
    server.write("sky", vec![twin, lacking]).await;
    let (probe, _) =
        fit(&server, measure_only(spec("plain", "y", ridge(&[1.0])))).await.expect("fit");
    assert_eq!((probe.n_leaked, probe.n_missing), (1, 1));
    assert_eq!(probe.warnings.len(), 2, "{:?}", probe.warnings);
    let mut few = spec("plain", "y", ridge(&[1.0]));
    few.train_limit = 30;
    let (probe, _) = fit(&server, measure_only(few.clone())).await.expect("fit");
    assert_eq!(probe.n_train, 30);
    few.split = "kfold:4:0".to_owned();
    let (probe, _) = fit(&server, measure_only(few.clone())).await.expect("fit");
    assert_eq!((probe.n_train, probe.n_test), (30, 421));
    // More than there are: said, and not taken for a size that was reached.
    few.split = "column:side".to_owned();
    few.train_limit = 5_000;
    let (probe, _) = fit(&server, measure_only(few)).await.expect("fit");
    let told = "5000 training examples were asked for, and there are 315: all were used";
    assert!(probe.warnings.iter().any(|warning| warning == told), "{:?}", probe.warnings);
    server.stop().await;
}
