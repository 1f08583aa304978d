//! Heads that a real encoder program trains, and heads on tokens.

use std::collections::HashMap;
use std::path::Path;

use half::f16;
use sidereus::encoder::{EncoderHandle, EncoderOptions};
use sidereus::wire::v1::probe_service_client::ProbeServiceClient;
use sidereus::wire::v1::{
    ApplyProbeRequest, AttentionHead, CollectionSchema, ColumnType, DensityHead, EmbeddingSpace,
    FitProbeRequest, FloatList, IdKind, Metric, MlpHead, Object, Probe, ProbeSpec, SpaceForm,
    Target, TokenHead, TokenRun, TokenSequence, Value, head, value,
};

use super::{example, fit, measure_only, noise, schema, spec};
use crate::support::{TestServer, column, object, real, space, string};

/// Components of a token, and tokens of an object.
const WIDTH: usize = 4;
const TOKENS: u64 = 6;

fn encoder(models: &Path) -> EncoderHandle {
    let mut options =
        EncoderOptions::new(env!("CARGO_BIN_EXE_sidereus-encoder").into(), models.to_owned());
    "cpu".clone_into(&mut options.device);
    (options.gives_way, options.threads) = (false, 1);
    EncoderHandle::spawn(options)
}

fn mlp(epochs: u32) -> MlpHead {
    MlpHead { hidden: vec![32], epochs, batch: 32, learning_rate: 0.01, ..MlpHead::default() }
}

fn metric(probe: &Probe, name: &str) -> f64 {
    probe.metrics.iter().find(|each| each.name == name).expect(name).value
}

/// An example whose number `mag` is a date around `y`, of more digits than single precision has.
fn dated(id: i64) -> Object {
    let mut object = example(id);
    let Some(value::Kind::Real(y)) = object.columns["y"].kind else { panic!("a number") };
    object.columns.insert("mag".to_owned(), real(2_459_000.5 + 0.01 * y));
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_are_trained_kept_and_computed_without_the_encoder() {
    let (models, folder) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("one"));
    let encoder = encoder(models.path());
    let server = TestServer::start_with(folder.path(), Some(encoder), |_| {}).await;
    server.create(schema("sky")).await.expect("a collection");
    server.write("sky", (0..600).map(dated).collect()).await;
    let standard = |spec: ProbeSpec| ProbeSpec { standardize: true, ..spec };
    let density = DensityHead { components: 3, mlp: Some(mlp(60)) };
    let wanted = [
        ("number", standard(spec("plain", "y", head::Kind::Mlp(mlp(60))))),
        ("class", standard(spec("plain", "class", head::Kind::Mlp(mlp(60))))),
        ("date", standard(spec("plain", "mag", head::Kind::Mlp(mlp(60))))),
        ("density", standard(spec("cosine", "y", head::Kind::Density(density)))),
    ];
    for (name, spec) in wanted {
        let request = FitProbeRequest { name: name.to_owned(), ..measure_only(spec) };
        let (probe, tested) = fit(&server, request).await.expect(name);
        assert_eq!(tested.len() as u64, probe.n_test);
        match name {
            "class" => assert!(metric(&probe, "accuracy") > 0.6, "{probe:?}"),
            _ => assert!(metric(&probe, "r2") > 0.7, "{probe:?}"),
        }
        if name == "density" {
            let nll = metric(&probe, "nll");
            let mean: f64 = tested.values().filter_map(|each| each.log_density).sum::<f64>();
            assert!((nll + mean / tested.len() as f64).abs() < 1e-9, "{nll}");
            assert!(tested.values().all(|each| each.sigma.is_some_and(|sigma| sigma > 0.0)));
        }
    }
    server.stop().await;

    // The same numbers without an encoder.
    let server = TestServer::start(folder.path()).await;
    assert!(
        server
            .count("sky", None, "probe.number > 0 AND probe.density.sigma > 0")
            .await
            .expect("a count")
            > 0
    );
    assert!(
        server
            .count("sky", None, "probe.class = 'late' AND probe.class.late > 0.5")
            .await
            .expect("a count")
            > 0
    );
    server.stop().await;
}

/// The token that begins with 1 says what the object is; others are noise. Its place differs.
fn token(id: i64, at: u64) -> [f64; WIDTH] {
    let seed = id as u64 * 10_000 + at * 100;
    let is_it = at == id as u64 % TOKENS;
    [if is_it { 1.0 } else { 0.0 }, 2.0 * noise(seed), noise(seed + 1), noise(seed + 2)]
}

fn tokened(id: i64) -> Object {
    let tokens: Vec<[f64; WIDTH]> = (0..TOKENS).map(|at| token(id, at)).collect();
    let told = tokens[(id as u64 % TOKENS) as usize][1];
    let states = tokens.iter().flatten().flat_map(|value| f16::from_f64(*value).to_le_bytes());
    let run = TokenRun {
        count: TOKENS as u32,
        width: WIDTH as u32,
        states: states.collect(),
        ..TokenRun::default()
    };
    // A token is of class 1 where its second number is above 0; some have none.
    let class = |(at, token): (usize, &[f64; WIDTH])| {
        if (id as usize + at).is_multiple_of(11) {
            f64::NAN
        } else {
            f64::from(u8::from(token[1] > 0.0))
        }
    };
    let classes = FloatList { values: tokens.iter().enumerate().map(class).collect() };
    let side = if id % 4 == 3 { "test" } else { "train" };
    Object {
        columns: HashMap::from([
            ("told".to_owned(), real(told)),
            ("side".to_owned(), string(side)),
            ("parts".to_owned(), Value { kind: Some(value::Kind::Floats(classes)) }),
        ]),
        tokens: HashMap::from([("states".to_owned(), TokenSequence { runs: vec![run] })]),
        ..object(id, id as f64 % 360.0, 0.0)
    }
}

async fn with_tokens(data: &Path, encoder: Option<EncoderHandle>) -> TestServer {
    let server = TestServer::start_with(data, encoder, |_| {}).await;
    let states = EmbeddingSpace {
        form: SpaceForm::Tokens.into(),
        ..space("states", "image", WIDTH as u32, Metric::Cosine)
    };
    let columns = vec![
        column("told", ColumnType::Float64),
        column("side", ColumnType::Text),
        column("parts", ColumnType::FloatList),
    ];
    let schema = CollectionSchema {
        name: "sky".to_owned(),
        id_kind: IdKind::Number.into(),
        columns,
        spaces: vec![states],
        description: String::new(),
    };
    server.create(schema).await.expect("a collection");
    server.write("sky", (0..480).map(tokened).collect()).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn attention_finds_the_token_that_tells() {
    let (models, folder) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("one"));
    let server = with_tokens(folder.path(), Some(encoder(models.path()))).await;
    let attention = AttentionHead { heads: 2, mlp: Some(mlp(80)) };
    let request = FitProbeRequest {
        name: "told".to_owned(),
        ..measure_only(spec("states", "told", head::Kind::Attention(attention)))
    };
    let (probe, tested) = fit(&server, request).await.expect("trained");
    // The mean of six tokens explains a sixth of the variance.
    assert!(metric(&probe, "r2") > 0.8, "{probe:?}");
    let apply = ApplyProbeRequest {
        collection: "sky".to_owned(),
        name: "told".to_owned(),
        column: "guess".to_owned(),
        ..ApplyProbeRequest::default()
    };
    let mut client = ProbeServiceClient::new(server.channel().await);
    let mut stream = client.apply_probe(apply).await.expect("applied").into_inner();
    while stream.message().await.expect("written").is_some() {}
    assert_eq!(server.count("sky", None, "guess IS NOT NULL").await.expect("a count"), 480);
    let near = server.count("sky", None, "side = 'test' AND abs(guess - told) < 1").await;
    assert!(near.expect("a count") as usize > tested.len() * 9 / 10);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_head_gives_each_token_a_class() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = with_tokens(folder.path(), None).await;
    let wanted = spec("states", "parts", head::Kind::Token(TokenHead { alpha: 0.1 }));
    let request = FitProbeRequest { name: "parts".to_owned(), ..measure_only(wanted.clone()) };
    // One object has no class at all, and one that tests lies where one teaches.
    let mut blank = tokened(480);
    let none = FloatList { values: vec![f64::NAN; TOKENS as usize] };
    blank.columns.insert("parts".to_owned(), Value { kind: Some(value::Kind::Floats(none)) });
    let twin = Object { position: tokened(0).position, ..tokened(483) };
    server.write("sky", vec![blank, twin]).await;
    let (probe, tested) = fit(&server, request).await.expect("fitted");
    assert_eq!(probe.classes, ["0", "1"]);
    assert_eq!((probe.n_train, probe.n_test), (360, 121));
    assert_eq!((probe.n_missing, probe.n_leaked), (1, 1));
    assert_eq!(tested.len(), 121);
    let pairs = || tested.values().flat_map(|each| each.truth.iter().zip(&each.predicted));
    let (classes, right) = (pairs().count(), pairs().filter(|(truth, said)| truth == said).count());
    assert!(right * 100 > classes * 95, "{right} of {classes}");
    assert!(tested.values().all(|each| each.truth.len() == each.predicted.len()));
    let counted = probe.confusion.as_ref().expect("counted").counts.iter().sum::<u64>();
    assert_eq!(classes as u64, counted);
    assert!(metric(&probe, "mean_iou") > 0.95, "{probe:?}");
    let apply = ApplyProbeRequest {
        collection: "sky".to_owned(),
        name: "parts".to_owned(),
        predicate: "object_id < 20".to_owned(),
        ..ApplyProbeRequest::default()
    };
    let mut client = ProbeServiceClient::new(server.channel().await);
    let mut stream = client.apply_probe(apply).await.expect("applied").into_inner();
    let mut predictions = Vec::new();
    while let Some(message) = stream.message().await.expect("told") {
        predictions.extend(message.predictions);
    }
    assert_eq!(predictions.len(), 20);
    assert!(predictions.iter().all(|each| each.predicted.len() == TOKENS as usize));

    let mut short = tokened(1);
    let one = FloatList { values: vec![1.0] };
    short.columns.insert("parts".to_owned(), Value { kind: Some(value::Kind::Floats(one)) });
    server.write("sky", vec![short]).await;
    let status = fit(&server, measure_only(wanted)).await.expect_err("one class for six tokens");
    assert!(status.message().contains("6 tokens and 1 classes"), "{}", status.message());
    let not_a_list = ProbeSpec {
        target: Some(Target { column: "told".to_owned(), ..Target::default() }),
        ..spec("states", "told", head::Kind::Token(TokenHead::default()))
    };
    let status = fit(&server, measure_only(not_a_list)).await.expect_err("no list");
    assert!(status.message().contains("float_list"), "{}", status.message());
    server.stop().await;
}
