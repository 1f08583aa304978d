//! What needs the encoder: jobs over collections, and searches by example.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use sidereus::wire::v1::{
    EncodeCollectionRequest, EncodeCollectionResponse, GetCollectionRequest, ListModelsRequest,
    NamedValues, Object, Payload, Position, SearchRequest, Value, VectorTerm, payload, value,
};
use tonic::{Code, Status};

use crate::fake_encoder::{self, Controls};
use crate::support::{TestServer, galaxy, ids_of, image, number, object, real, schema};

async fn server(rows: Vec<Object>) -> (tempfile::TempDir, TestServer, Arc<Controls>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (encoder, controls) = fake_encoder::start().await;
    let server = TestServer::start_with(folder.path(), Some(encoder), |options| {
        options.limits.encode_batch = 16;
        options.limits.encode_retries_max = 2;
    })
    .await;
    server.create(schema("galaxies")).await.expect("created");
    server.write("galaxies", rows).await;
    (folder, server, controls)
}

fn with_fluxes(id: i64) -> Object {
    let mut row = galaxy(id, id as f64, 0.0);
    row.columns.insert("flux_g".to_owned(), real(id as f64));
    row.columns.insert("flux_r".to_owned(), real(0.5));
    row
}

fn with_image(id: i64, bytes: &[u8]) -> Object {
    let image = Value { kind: Some(value::Kind::Binary(bytes.to_vec())) };
    Object { columns: HashMap::from([("image".to_owned(), image)]), ..object(id, id as f64, 0.0) }
}

fn job(model: &str, space: &str) -> EncodeCollectionRequest {
    EncodeCollectionRequest {
        collection: "galaxies".to_owned(),
        model: model.to_owned(),
        space: space.to_owned(),
        ..EncodeCollectionRequest::default()
    }
}

/// Runs a job to its end: all messages, and the failure if there was one.
async fn run(
    server: &TestServer,
    job: EncodeCollectionRequest,
) -> (Vec<EncodeCollectionResponse>, Option<Status>) {
    let mut stream = match server.maintenance().await.encode_collection(job).await {
        Ok(reply) => reply.into_inner(),
        Err(status) => return (Vec::new(), Some(status)),
    };
    let mut steps = Vec::new();
    while let Some(step) = stream.next().await {
        match step {
            Ok(step) => steps.push(step),
            Err(status) => return (steps, Some(status)),
        }
    }
    (steps, None)
}

async fn refusal(server: &TestServer, job: EncodeCollectionRequest) -> Status {
    let (steps, failure) = run(server, job).await;
    assert!(steps.is_empty());
    failure.expect("refused")
}

async fn vectors(server: &TestServer, space: &str) -> Option<u64> {
    let get = GetCollectionRequest { name: "galaxies".to_owned(), release: String::new() };
    let reply = server.collections().await.get_collection(get).await.expect("shown").into_inner();
    reply.collection.expect("the collection").vector_counts.get(space).copied()
}

fn example(space: &str, payload: Payload) -> SearchRequest {
    let term =
        VectorTerm { space: space.to_owned(), examples: vec![payload], ..VectorTerm::default() };
    SearchRequest {
        collection: "galaxies".to_owned(),
        terms: vec![term],
        k: 3,
        ..SearchRequest::default()
    }
}

fn fluxes(pairs: &[(&str, f64)]) -> Payload {
    let values = pairs.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    Payload {
        modality: "photometry".to_owned(),
        content: Some(payload::Content::Row(NamedValues { values })),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_encoded_once_and_searched_by_example() {
    let mut rows: Vec<Object> = (0..50).map(with_fluxes).collect();
    rows.push(object(1_000, 5.0, 5.0));
    let (_folder, server, controls) = server(rows).await;
    let (steps, failure) = run(&server, job("fluxes", "colours")).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(
        (steps[0].total, steps[0].encoded),
        (51, 0),
        "the first message says how much there is to do"
    );
    assert!(steps.len() >= 5 && steps.windows(2).all(|pair| pair[0].encoded <= pair[1].encoded));
    let last = steps.last().expect("a message");
    assert_eq!((last.total, last.encoded, last.skipped), (51, 50, 1));
    assert_eq!(vectors(&server, "colours").await, Some(50));

    let (hits, _) = server
        .search(example("colours", fluxes(&[("flux_g", 20.1), ("flux_r", 0.5)])))
        .await
        .expect("found");
    assert_eq!(ids_of(&hits), [20, 21, 19]);
    let unnamed = example("", fluxes(&[("flux_g", 7.0), ("flux_r", 0.5)]));
    let (hits, _) = server.search(unnamed).await.expect("the only space of that modality");
    assert_eq!(ids_of(&hits)[0], 7);

    let before = controls.encoded.load(Ordering::SeqCst);
    let (steps, _) = run(&server, job("fluxes", "colours")).await;
    assert_eq!(steps.last().map(|step| (step.total, step.encoded, step.skipped)), Some((1, 0, 1)));
    assert_eq!(controls.encoded.load(Ordering::SeqCst), before, "nothing is encoded twice");
    let again = EncodeCollectionRequest {
        overwrite: true,
        predicate: "n < 10".to_owned(),
        ..job("fluxes", "colours")
    };
    let (steps, _) = run(&server, again).await;
    assert_eq!(steps.last().map(|step| (step.total, step.encoded)), Some((10, 10)));
    server.write("galaxies", vec![with_fluxes(77)]).await;
    let (steps, _) = run(&server, job("fluxes", "colours")).await;
    assert_eq!(steps.last().map(|step| step.encoded), Some(1), "a job goes on with what is new");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_fails_does_not_stop_the_others() {
    let mut rows: Vec<Object> = (0..40).map(|id| with_image(id, &[b'!', id as u8, 1])).collect();
    rows[7] = with_image(7, b"no image");
    rows[33] = with_image(33, b"?");
    let (_folder, server, _) = server(rows).await;
    let (steps, failure) = run(&server, job("pixels", "looks")).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(steps.last().map(|step| (step.encoded, step.skipped)), Some((38, 0)));
    let mut failed: Vec<_> = steps.iter().flat_map(|step| step.failed.clone()).collect();
    failed.sort_by_key(|one| crate::support::id_of(one.id.as_ref()));
    let ids: Vec<_> = failed.iter().map(|one| one.id.clone()).collect();
    assert_eq!(ids, [Some(number(7)), Some(number(33))]);
    assert!(failed[0].reason.contains("not an image"));
    let refused = server.search(example("looks", image(b"?"))).await.expect_err("no image");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("example 1: this is not an image"), "{refused:?}");
    let (hits, _) = server.search(example("looks", image(&[b'!', 12, 1]))).await.expect("found");
    assert_eq!(ids_of(&hits)[0], 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_mapped_to_columns_and_elements_of_lists() {
    let rows = (0..5).map(|id| {
        let list = sidereus::wire::v1::FloatList { values: vec![id as f64, 0.25] };
        let list = Value { kind: Some(value::Kind::Floats(list)) };
        Object {
            columns: HashMap::from([("spectrum".to_owned(), list)]),
            position: Some(Position { ra: 1.0, dec: 1.0 }),
            ..object(id, 0.0, 0.0)
        }
    });
    let (_folder, server, _) = server(rows.collect()).await;
    let mapped = |pairs: &[(&str, &str)]| EncodeCollectionRequest {
        inputs: pairs
            .iter()
            .map(|&(input, column)| (input.to_owned(), column.to_owned()))
            .collect(),
        ..job("fluxes", "colours")
    };
    for (pairs, said) in [
        (vec![("flux_g", "nothing")], "nothing"),
        (vec![("flux_u", "z")], "no input `flux_u`"),
        (vec![("flux_g", "class")], "class"),
        (vec![("flux_g", ""), ("flux_r", "")], "map at least one"),
    ] {
        let status = refusal(&server, mapped(&pairs)).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(said), "{status:?}");
    }
    assert_eq!(vectors(&server, "colours").await, None, "a refused job makes no space");
    let (steps, failure) =
        run(&server, mapped(&[("flux_g", "spectrum[0]"), ("flux_r", "spectrum[1]")])).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(steps.last().map(|step| step.encoded), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_dies_for_a_moment_is_waited_for_and_one_that_stays_away_is_told() {
    let (_folder, server, controls) = server((0..40).map(with_fluxes).collect()).await;
    controls.failures.store(2, Ordering::SeqCst);
    let (steps, failure) = run(&server, job("fluxes", "colours")).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(steps.last().map(|step| step.encoded), Some(40));
    controls.failures.store(usize::MAX, Ordering::SeqCst);
    let again = EncodeCollectionRequest { overwrite: true, ..job("fluxes", "colours") };
    let (_, failure) = run(&server, again).await;
    assert_eq!(failure.map(|status| status.code()), Some(Code::Unavailable));
    let query = example("colours", fluxes(&[("flux_g", 1.0), ("flux_r", 0.5)]));
    let status = server.search(query.clone()).await.expect_err("no encoder");
    assert_eq!(status.code(), Code::Unavailable, "retryable: {status:?}");
    assert_eq!(vectors(&server, "colours").await, Some(40), "nothing stored is harmed");
    controls.failures.store(0, Ordering::SeqCst);
    server.search(query).await.expect("and then it works again");
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_another_model_never_meet_in_one_space() {
    let (_folder, server, controls) = server((0..5).map(with_fluxes).collect()).await;
    run(&server, job("fluxes", "colours")).await;
    let external = refusal(&server, job("fluxes", "v")).await;
    assert_eq!(external.code(), Code::AlreadyExists, "{external:?}");
    controls.weights.store(1, Ordering::SeqCst);
    let changed = refusal(&server, job("fluxes", "colours")).await;
    assert_eq!(changed.code(), Code::AlreadyExists);
    assert!(changed.message().contains("w0") && changed.message().contains("w1"), "{changed:?}");
    let query = example("colours", fluxes(&[("flux_g", 1.0), ("flux_r", 0.5)]));
    let status = server.search(query).await.expect_err("the model has changed");
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    let (steps, _) = run(&server, job("fluxes", "new_colours")).await;
    assert_eq!(steps.last().map(|step| step.encoded), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_and_unknown_ones_refused() {
    let (_folder, server, _) = server(Vec::new()).await;
    let listed = server
        .maintenance()
        .await
        .list_models(ListModelsRequest {})
        .await
        .expect("listed")
        .into_inner();
    let ids: Vec<_> = listed.models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!((ids, listed.unavailable.as_str()), (vec!["fluxes", "pixels"], ""));
    let status = refusal(&server, job("dreams", "x")).await;
    assert_eq!(status.code(), Code::NotFound);
    assert!(
        status.message().contains("fluxes") && status.message().contains("pixels"),
        "{status:?}"
    );
    let nowhere =
        EncodeCollectionRequest { collection: "nowhere".to_owned(), ..job("fluxes", "x") };
    assert_eq!(refusal(&server, nowhere).await.code(), Code::NotFound);
    let senseless =
        EncodeCollectionRequest { predicate: "nothing > 1".to_owned(), ..job("fluxes", "x") };
    let status = refusal(&server, senseless).await;
    assert!(matches!(status.code(), Code::InvalidArgument | Code::NotFound), "{status:?}");
    assert_eq!(vectors(&server, "x").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_encoder_still_searches() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start(folder.path()).await;
    server.create(schema("galaxies")).await.expect("created");
    let listed = server
        .maintenance()
        .await
        .list_models(ListModelsRequest {})
        .await
        .expect("listed")
        .into_inner();
    assert!(
        listed.models.is_empty() && listed.unavailable.contains("without an encoder"),
        "{listed:?}"
    );
    assert_eq!(refusal(&server, job("fluxes", "x")).await.code(), Code::Unavailable);
    assert_eq!(server.count("galaxies", None, "").await.expect("counted"), 0);
}
