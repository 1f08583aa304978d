//! Kept probes: listed, applied, named by queries, and gone with what they were fitted on.

use prost::Message;
use sidereus::engine::RecordKind;
use sidereus::wire::internal::ProbeRecord;
use sidereus::wire::v1::probe_service_client::ProbeServiceClient;
use sidereus::wire::v1::{
    ApplyProbeRequest, ColumnType, DropProbeRequest, FitProbeRequest, GetProbeRequest, Hit,
    ListProbesRequest, LogisticHead, Prediction, SearchRequest, head, value,
};
use tonic::Code;
use tonic::transport::Channel;

use super::{example, fit, measure_only, ridge, schema, spec, with_examples};
use crate::support::{TestServer, column, id_of, string};

fn named(name: &str, space: &str, target: &str, head: head::Kind) -> FitProbeRequest {
    FitProbeRequest { name: name.to_owned(), ..measure_only(spec(space, target, head)) }
}

async fn client(server: &TestServer) -> ProbeServiceClient<Channel> {
    ProbeServiceClient::new(server.channel().await)
}

fn apply(name: &str) -> ApplyProbeRequest {
    ApplyProbeRequest {
        collection: "sky".to_owned(),
        name: name.to_owned(),
        ..ApplyProbeRequest::default()
    }
}

async fn applied(
    server: &TestServer,
    request: ApplyProbeRequest,
) -> Result<Vec<Prediction>, tonic::Status> {
    let mut stream = client(server).await.apply_probe(request).await?.into_inner();
    let mut predictions = Vec::new();
    while let Some(message) = stream.message().await? {
        predictions.extend(message.predictions);
    }
    Ok(predictions)
}

fn real_of(hit: &Hit, column: &str) -> f64 {
    match hit.columns.get(column).and_then(|value| value.kind.as_ref()) {
        Some(value::Kind::Real(number)) => *number,
        other => panic!("`{column}` is {other:?}"),
    }
}

fn text_of(hit: &Hit, column: &str) -> String {
    match hit.columns.get(column).and_then(|value| value.kind.as_ref()) {
        Some(value::Kind::Text(text)) => text.clone(),
        other => panic!("`{column}` is {other:?}"),
    }
}

async fn listed(server: &TestServer, predicate: &str, columns: &[&str]) -> Vec<Hit> {
    let request = SearchRequest {
        collection: "sky".to_owned(),
        predicate: predicate.to_owned(),
        k: 10_000,
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        ..SearchRequest::default()
    };
    server.search(request).await.expect(predicate).0
}

/// Objects come in the order of what is predicted for them.
async fn check_ranking(server: &TestServer, column: &str, predictions: &[Prediction]) {
    let best = SearchRequest {
        collection: "sky".to_owned(),
        k: 10,
        order_by: column.to_owned(),
        descending: true,
        columns: vec![column.to_owned()],
        ..SearchRequest::default()
    };
    let (hits, _) = server.search(best).await.expect("a ranking");
    let mut sorted: Vec<f64> = predictions.iter().map(|each| each.predicted[0]).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let found: Vec<f64> = hits.iter().map(|hit| real_of(hit, column)).collect();
    assert!(found.iter().zip(&sorted).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
}

/// What a probe predicts is the same as a column of queries, as predictions, as a written column, and after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_probe_is_a_column_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_examples(folder.path()).await;
    for (name, space) in [("flat", "plain"), ("round", "cosine")] {
        let (_, tested) =
            fit(&server, named(name, space, "y", ridge(&[1.0]))).await.expect("a probe");
        let predictions = applied(&server, apply(name)).await.expect("predictions");
        assert_eq!(predictions.len(), 420);
        let column = format!("probe.{name}");
        let above = listed(&server, &format!("{column} > 0.5"), &[&column]).await;
        let expected = predictions.iter().filter(|each| each.predicted[0] > 0.5).count();
        assert_eq!(above.len(), expected);
        assert_eq!(
            server
                .count("sky", None, &format!("{column} > 0.5 AND mag < 19"))
                .await
                .expect("a count"),
            {
                let bright = |each: &&Prediction| {
                    let object = example(id_of(each.id.as_ref()));
                    matches!(object.columns["mag"].kind, Some(value::Kind::Real(mag)) if mag < 19.0)
                };
                predictions.iter().filter(|each| each.predicted[0] > 0.5).filter(bright).count()
                    as u64
            }
        );
        for hit in &above {
            let id = id_of(hit.id.as_ref());
            let same =
                predictions.iter().find(|each| id_of(each.id.as_ref()) == id).expect("an object");
            assert!((real_of(hit, &column) - same.predicted[0]).abs() < 1e-9);
            if let Some(tested) = tested.get(&id) {
                assert!((tested.predicted[0] - same.predicted[0]).abs() < 1e-9);
            }
        }
        check_ranking(&server, &column, &predictions).await;
        let written = ApplyProbeRequest { column: format!("y_{name}"), ..apply(name) };
        assert!(applied(&server, written).await.expect("written").is_empty());
        let stored = format!("y_{name}");
        let both = listed(&server, &format!("abs({stored} - {column}) < 1e-9"), &[]).await;
        assert_eq!(both.len(), 420);
    }
    server.stop().await;
    let server = TestServer::start(folder.path()).await;
    let again = listed(&server, "probe.flat > 0.5 AND y_flat > 0.5", &[]).await;
    assert!(!again.is_empty());
    // Objects that arrive later have a prediction, too, and those without a vector none.
    let mut late = example(900);
    let without = {
        let mut object = example(901);
        object.vectors.clear();
        object
    };
    late.columns.clear();
    server.write("sky", vec![late, without]).await;
    assert_eq!(
        server
            .count("sky", None, "probe.flat IS NOT NULL AND object_id >= 900")
            .await
            .expect("count"),
        1
    );
    assert_eq!(server.count("sky", None, "probe.flat IS NULL").await.expect("count"), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_are_labels_and_probabilities() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_examples(folder.path()).await;
    let head = head::Kind::Logistic(LogisticHead::default());
    let (probe, _) = fit(&server, named("kind", "plain", "class", head)).await.expect("a probe");
    assert_eq!(probe.classes, ["early", "late", "merger"]);
    let confusion = probe.confusion.expect("a confusion matrix");
    assert_eq!(confusion.counts.iter().sum::<u64>(), probe.n_test);
    assert!(!probe.calibration.is_empty());
    let columns = ["probe.kind", "probe.kind.early", "probe.kind.late", "probe.kind.merger"];
    for hit in listed(&server, "probe.kind = 'late' AND probe.kind.late > 0.6", &columns).await {
        assert_eq!(text_of(&hit, "probe.kind"), "late");
        let sum: f64 = columns[1..].iter().map(|column| real_of(&hit, column)).sum();
        assert!((sum - 1.0).abs() < 1e-9 && real_of(&hit, "probe.kind.late") > 0.6);
    }
    let of_class = ApplyProbeRequest { class: "late".to_owned(), ..apply("kind") };
    let predictions = applied(&server, of_class).await.expect("probabilities");
    assert!(predictions.iter().all(|each| each.predicted.len() == 1));
    let status =
        applied(&server, ApplyProbeRequest { class: "ring".to_owned(), ..apply("kind") }).await;
    assert!(status.expect_err("no such class").message().contains("early, late, merger"));
    // A derived column can be written down, and never over what was measured.
    for (name, column) in [("probe.kind", "kind"), ("probe.kind.late", "late")] {
        let written = ApplyProbeRequest { column: column.to_owned(), ..apply(name) };
        assert!(applied(&server, written).await.expect(name).is_empty());
    }
    let same = "kind = probe.kind AND abs(late - probe.kind.late) < 1e-12";
    assert_eq!(server.count("sky", None, same).await.expect("a count"), 420);
    let over = ApplyProbeRequest { column: "mag".to_owned(), ..apply("probe.kind.late") };
    let status = applied(&server, over).await.expect_err("measured");
    assert!(status.message().contains("nothing is overwritten"), "{}", status.message());
    applied(&server, apply("probe.nothing")).await.expect_err("no such column");
    // A column holds the probability of one class, and says of which.
    let of = |class: &str| ApplyProbeRequest {
        class: class.to_owned(),
        column: "share".to_owned(),
        ..apply("kind")
    };
    applied(&server, of("late")).await.expect("written");
    applied(&server, of("late")).await.expect("written again");
    let status = applied(&server, of("early")).await.expect_err("of another class");
    for wanted in ["probability of late by probe kind", "probability of early by probe kind"] {
        assert!(status.message().contains(wanted), "{}", status.message());
    }
    let same = "abs(share - probe.kind.late) < 1e-9";
    assert_eq!(server.count("sky", None, same).await.expect("a count"), 420);
    server.stop().await;
}

/// A preset fills the head in when a probe is fitted, and is not asked again when it is applied.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_of_a_preset_is_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_examples(folder.path()).await;
    let mut request = named("pr", "plain", "y", ridge(&[1.0]));
    let spec = request.spec.as_mut().expect("a spec");
    (spec.head, spec.preset) = (None, "aion-linear".to_owned());
    let (probe, tested) = fit(&server, request).await.expect("a probe");
    assert_eq!(probe.spec.expect("told").preset, "aion-linear");
    let predictions = applied(&server, apply("pr")).await.expect("applied");
    assert_eq!(predictions.len(), 420);
    for each in predictions {
        let Some(tested) = tested.get(&id_of(each.id.as_ref())) else { continue };
        assert!((each.predicted[0] - tested.predicted[0]).abs() < 1e-9);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_listed_replaced_on_request_and_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_examples(folder.path()).await;
    let (first, _) =
        fit(&server, named("one", "plain", "y", ridge(&[1.0]))).await.expect("a probe");
    let status = fit(&server, named("one", "plain", "y", ridge(&[9.0]))).await.expect_err("taken");
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains("--overwrite"));
    let again = FitProbeRequest { overwrite: true, ..named("one", "plain", "y", ridge(&[9.0])) };
    fit(&server, again).await.expect("replaced");
    fit(&server, named("two", "cosine", "y", ridge(&[1.0]))).await.expect("a probe");
    let list = ListProbesRequest { collection: "sky".to_owned(), ..Default::default() };
    let probes = client(&server).await.list_probes(list).await.expect("a list").into_inner().probes;
    let names: Vec<&str> = probes.iter().map(|probe| probe.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!((probes[0].alpha, first.alpha), (Some(9.0), Some(1.0)));
    let request = DropProbeRequest { collection: "sky".to_owned(), name: "one".to_owned() };
    client(&server).await.drop_probe(request.clone()).await.expect("dropped");
    let status = client(&server).await.drop_probe(request).await.expect_err("gone");
    assert_eq!(status.code(), Code::NotFound);
    let status = server.count("sky", None, "probe.one > 0").await.expect_err("gone");
    assert!(status.message().contains("probe.one"), "{}", status.message());
    let get = GetProbeRequest {
        collection: "sky".to_owned(),
        name: "two".to_owned(),
        release: String::new(),
    };
    assert!(client(&server).await.get_probe(get).await.is_ok());
    server.stop().await;
}

/// Who may not overwrite never does, also where a name was free when the fits began; and a fit of a collection that was dropped
/// is kept nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn of_fits_of_one_free_name_one_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_examples(folder.path()).await;
    let fits = (0..8)
        .map(|place| fit(&server, named("one", "plain", "y", ridge(&[f64::from(place) + 1.0]))));
    let ended = futures::future::join_all(fits).await;
    let kept: Vec<_> = ended.iter().flatten().map(|(probe, _)| probe.alpha).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    for status in ended.iter().filter_map(|ended| ended.as_ref().err()) {
        assert_eq!(status.code(), Code::AlreadyExists, "{}", status.message());
    }
    let get = GetProbeRequest {
        collection: "sky".to_owned(),
        name: "one".to_owned(),
        release: String::new(),
    };
    let probe = client(&server).await.get_probe(get).await.expect("there").into_inner().probe;
    assert_eq!(probe.expect("a probe").alpha, kept[0]);

    let view = server.db.view("sky").expect("a view");
    server.db.drop_collection("sky").expect("dropped");
    server.create(schema("sky")).await.expect("another of the name");
    let late = server.db.make_record(&view, RecordKind::Probe, "late", &mut |_| {
        Ok::<_, sidereus::engine::EngineError>(b"weights".to_vec())
    });
    late.expect_err("it is another collection");
    assert!(server.db.records("sky", RecordKind::Probe).expect("reads").is_empty());
    drop(view);
    server.stop().await;
}

/// Two probes of a thousand classes each are more than one message holds: a list tells of both all the same.
#[tokio::test(flavor = "multi_thread")]
async fn large_probes_are_listed_without_what_is_large() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_examples(folder.path()).await;
    let head = head::Kind::Logistic(LogisticHead::default());
    fit(&server, named("kind", "plain", "class", head)).await.expect("a probe");
    let kept = server.db.record("sky", RecordKind::Probe, "kind").expect("reads").expect("there");
    let mut record = ProbeRecord::decode(kept.as_slice()).expect("a record");
    let probe = record.probe.as_mut().expect("a probe");
    probe.confusion.as_mut().expect("a matrix").counts = vec![u64::MAX; 1_000_000];
    for name in ["large", "Larger"] {
        record.probe.as_mut().expect("a probe").name = name.to_owned();
        let bytes = record.encode_to_vec();
        server.db.put_record("sky", RecordKind::Probe, name, &bytes).expect("kept");
    }
    let list = ListProbesRequest { collection: "sky".to_owned(), ..Default::default() };
    let page = client(&server).await.list_probes(list.clone()).await.expect("a list").into_inner();
    let names: Vec<&str> = page.probes.iter().map(|probe| probe.name.as_str()).collect();
    assert_eq!((names.as_slice(), page.next.as_str()), (&["kind", "large", "Larger"][..], ""));
    assert!(page.probes.iter().all(|probe| probe.confusion.is_none() && probe.n_test > 0));
    let behind = ListProbesRequest { after: "LARGE".to_owned(), ..list };
    let page = client(&server).await.list_probes(behind).await.expect("a list").into_inner();
    assert_eq!(page.probes.len(), 1);
    server.stop().await;
}

/// A record that says other vectors than the space now holds is refused, and makes no column; fitted again it is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_of_other_vectors_is_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_examples(folder.path()).await;
    fit(&server, named("old", "plain", "y", ridge(&[1.0]))).await.expect("a probe");
    let bytes =
        server.db.record("sky", RecordKind::Probe, "old").expect("readable").expect("there");
    let mut record = ProbeRecord::decode(bytes.as_slice()).expect("a record");
    let probe = record.probe.as_mut().expect("a probe");
    probe.provenances[0].weights_hash = "of another encoder".to_owned();
    let changed = record.encode_to_vec();
    server.db.put_record("sky", RecordKind::Probe, "old", &changed).expect("written");
    server.db.put_record("sky", RecordKind::Probe, "broken", b"\x0a\xff").expect("written");
    server.stop().await;

    let server = TestServer::start(folder.path()).await;
    let get = GetProbeRequest {
        collection: "sky".to_owned(),
        name: "old".to_owned(),
        release: String::new(),
    };
    let got = client(&server).await.get_probe(get.clone()).await.expect("told").into_inner();
    assert!(got.probe.expect("a probe").stale.contains("another provenance"));
    let status = applied(&server, apply("old")).await.expect_err("stale");
    assert!(status.message().contains("stale") && status.message().contains("fit it again"));
    server.count("sky", None, "probe.old > 0").await.expect_err("no column");
    let status = applied(&server, apply("broken")).await.expect_err("damaged");
    assert_eq!(status.code(), Code::DataLoss);
    let again = FitProbeRequest { overwrite: true, ..named("old", "plain", "y", ridge(&[1.0])) };
    fit(&server, again).await.expect("fitted again");
    assert!(server.count("sky", None, "probe.old > 0").await.expect("a column") > 0);
    server.stop().await;
}

/// Classes that no column can be called after have columns all the same, and stand in nobody's way.
#[tokio::test(flavor = "multi_thread")]
async fn classes_of_any_name_are_columns() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("sky")).await.expect("a collection");
    let renamed = |id| {
        let mut object = example(id);
        let class = ["Merging Galaxies", "SB", "Sb"][id as usize % 3];
        object.columns.insert("class".to_owned(), string(class));
        object
    };
    server.write("sky", (0..300).map(renamed).collect()).await;
    let head = || head::Kind::Logistic(LogisticHead::default());
    fit(&server, named("kind", "plain", "class", head())).await.expect("a probe");
    fit(&server, named("y", "plain", "y", ridge(&[1.0]))).await.expect("another");
    let all = "probe.kind.Merging_Galaxies + probe.kind.SB + probe.kind.Sb_2 > 0.999 AND probe.y IS NOT NULL";
    assert_eq!(server.count("sky", None, all).await.expect("a count"), 300);
    let merging = server.count("sky", None, "probe.kind = 'Merging Galaxies'").await;
    merging.expect("a label keeps its own name");
    let long = "a".repeat(60);
    let status =
        fit(&server, named(&long, "plain", "y", ridge(&[1.0]))).await.expect_err("too long");
    assert!(status.message().contains("at most 48"), "{}", status.message());
    let reserved = sidereus::wire::v1::CollectionSchema {
        columns: vec![column("probe.x", ColumnType::Float64)],
        ..schema("other")
    };
    server.create(reserved).await.expect_err("a name of derived columns");
    server.stop().await;
}
