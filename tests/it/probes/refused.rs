//! What a probe cannot be fitted on is refused, saying what to do.

use std::collections::HashMap;

use sidereus::wire::v1::probe_service_client::ProbeServiceClient;
use sidereus::wire::v1::{FitProbeRequest, GetProbeRequest, Head, Metric, ProbeSpec, Target, head};
use sidereus::wire::v1::{KnnHead, LogisticHead};
use tonic::Code;

use super::{example, fit, measure_only, ridge, spec, with_examples};
use crate::support::{real, string};

/// A request, and a word of what is said about it.
fn refused() -> Vec<(ProbeSpec, &'static str)> {
    let plain = || spec("plain", "y", ridge(&[1.0]));
    let logistic = || head::Kind::Logistic(LogisticHead::default());
    let knn = |k| head::Kind::Knn(KnnHead { k, by_distance: false, metric: Metric::L2.into() });
    let tiny = head::Kind::Logistic(LogisticHead { alphas: vec![1e-300], folds: 0 });
    vec![
        (spec("nothing", "y", ridge(&[])), "no embedding space `nothing`"),
        (spec("plain", "nothing", ridge(&[])), "no column `nothing`"),
        (spec("plain", "class", ridge(&[])), "use logistic"),
        (ProbeSpec { target: None, ..plain() }, "--target"),
        (ProbeSpec { split: "kfold:400:0".to_owned(), ..plain() }, "give fewer folds"),
        (spec("plain", "class", tiny), "1e-30 or more"),
        (ProbeSpec { head: None, ..plain() }, "knn, ridge"),
        (ProbeSpec { spaces: Vec::new(), ..plain() }, "no features"),
        (ProbeSpec { split: "random:2:0".to_owned(), ..plain() }, "fraction that tests"),
        (ProbeSpec { split: "column:class".to_owned(), ..plain() }, "train"),
        (ProbeSpec { split: "healpix:40:0.2:0".to_owned(), ..plain() }, "order"),
        (ProbeSpec { preset: "best".to_owned(), head: None, ..plain() }, "astroclip-knn"),
        (ProbeSpec { predicate: "y > 1e9".to_owned(), ..plain() }, "0 objects"),
        (ProbeSpec { predicate: "nonsense".to_owned(), ..plain() }, "nonsense"),
        (ProbeSpec { predicate: "side = 'train'".to_owned(), ..plain() }, "test examples"),
        (ProbeSpec { columns: vec!["y".to_owned()], ..plain() }, "target and a feature"),
        (ProbeSpec { columns: vec!["class".to_owned()], ..plain() }, "numbers or flags"),
        (
            ProbeSpec { columns: vec!["mag".to_owned(), "MAG".to_owned()], ..plain() },
            "`MAG` is named twice",
        ),
        (ProbeSpec { weight: "class".to_owned(), ..plain() }, "weight"),
        (spec("plain", "y", ridge(&[-1.0])), "alpha is -1"),
        (spec("plain", "y", knn(100_000)), "neighbours"),
        (
            ProbeSpec {
                predicate: "class = 'late'".to_owned(),
                ..spec("plain", "class", logistic())
            },
            "one value only",
        ),
        (
            ProbeSpec {
                predicate: "class <> 'merger' OR side = 'test'".to_owned(),
                ..spec("plain", "class", logistic())
            },
            "merger",
        ),
        (
            ProbeSpec {
                head: Some(Head {
                    kind: Some(head::Kind::Mlp(sidereus::wire::v1::MlpHead::default())),
                }),
                ..plain()
            },
            "encoder",
        ),
    ]
}

/// The same of columns of fractions.
fn refused_fractions() -> Vec<(ProbeSpec, &'static str)> {
    let logistic = || head::Kind::Logistic(LogisticHead::default());
    let fractions = |names: &[&str]| Target {
        fractions: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Target::default()
    };
    vec![
        (
            ProbeSpec { target: Some(fractions(&["mag", "w"])), ..spec("plain", "y", logistic()) },
            "between 0 and 1",
        ),
        (
            ProbeSpec { target: Some(fractions(&["w"])), ..spec("plain", "y", logistic()) },
            "at least two",
        ),
        (
            ProbeSpec {
                target: Some(fractions(&["mag", "w", "w"])),
                ..spec("plain", "y", logistic())
            },
            "`w` is named twice",
        ),
        (
            ProbeSpec {
                target: Some(Target { votes: "class".to_owned(), ..fractions(&["mag", "w"]) }),
                ..spec("plain", "y", logistic())
            },
            "votes `class` is of type",
        ),
        (
            ProbeSpec {
                target: Some(fractions(&["w"; 100_000])),
                ..spec("plain", "y", logistic())
            },
            "at most 1000 answers",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_learnt_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_examples(folder.path()).await;
    for (spec, word) in refused().into_iter().chain(refused_fractions()) {
        let shown = format!("{spec:?}");
        let status = fit(&server, measure_only(spec)).await.expect_err(&shown);
        assert!(status.message().contains(word), "{word}: {} for {shown}", status.message());
        assert!(
            matches!(status.code(), Code::InvalidArgument | Code::NotFound),
            "{status:?} for {shown}"
        );
    }
    let mut client = ProbeServiceClient::new(server.channel().await);
    let request = GetProbeRequest {
        collection: "sky".to_owned(),
        name: "nothing".to_owned(),
        release: String::new(),
    };
    let status = client.get_probe(request).await.expect_err("no such probe");
    assert_eq!(status.code(), Code::NotFound);
    server.stop().await;
}

/// Labels that are NaN or missing are left out and counted; a constant feature does no harm; fewer rows than features do not
/// either.
#[tokio::test(flavor = "multi_thread")]
async fn gaps_constants_and_few_rows_are_borne() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_examples(folder.path()).await;
    let mut lacking = example(3);
    lacking.columns = HashMap::from([
        ("y".to_owned(), real(f64::NAN)),
        ("side".to_owned(), string("train")),
        ("mag".to_owned(), real(1.0)),
    ]);
    server.write("sky", vec![lacking]).await;
    let (probe, _) =
        fit(&server, measure_only(spec("plain", "y", ridge(&[1.0])))).await.expect("fit");
    assert_eq!(probe.n_missing, 1);

    // 14 objects, 9 or so of them teach 12 features.
    let few = ProbeSpec {
        predicate: "object_id < 14".to_owned(),
        standardize: true,
        ..spec("plain", "y", ridge(&[]))
    };
    let (probe, predictions) = fit(&server, measure_only(few)).await.expect("fit");
    assert!(probe.n_train < super::DIMENSION as u64);
    assert!(predictions.values().all(|each| each.predicted[0].is_finite()));
    let name = "1 or more letters";
    let request = FitProbeRequest {
        name: name.to_owned(),
        ..measure_only(spec("plain", "y", ridge(&[1.0])))
    };
    let status = fit(&server, request).await.expect_err("a name that no column can have");
    assert!(status.message().contains(name), "{}", status.message());
    server.stop().await;
}
