//! What the networks make, in the database: inputs that a client sends, token ids that are encoded further, and files.

use std::process::Command;

use sidereus::encoder::RegisterOptions;
use sidereus::wire::v1::encode_inputs_request::Message;
use sidereus::wire::v1::{
    CollectionSchema, EncodeCollectionRequest, EncodeInputsBatch, EncodeInputsRequest,
    EncodeInputsResponse, EncodeInputsStart, GetObjectsRequest, IdKind, ObjectInput,
};
use tonic::Status;

use super::{END_TO_END, Models, golden, near, observation};
use crate::support::{TestServer, npy, number, object, text};

const NAME: &str = "sky";

async fn server(models: &Models) -> (tempfile::TempDir, TestServer) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_with(folder.path(), Some(models.start()), |_| {}).await;
    let schema = CollectionSchema {
        name: NAME.to_owned(),
        id_kind: IdKind::Number.into(),
        ..CollectionSchema::default()
    };
    server.create(schema).await.expect("created");
    server.write(NAME, (1..=3).map(|id| object(id, id as f64, 0.0)).collect()).await;
    (folder, server)
}

/// Sends batches one after the other; the answers, and the failure if there was one.
async fn send(
    server: &TestServer,
    start: EncodeInputsStart,
    batches: Vec<Vec<ObjectInput>>,
) -> Result<Vec<EncodeInputsResponse>, Status> {
    let batch = |inputs| Message::Batch(EncodeInputsBatch { inputs });
    let messages = std::iter::once(Message::Start(start)).chain(batches.into_iter().map(batch));
    let messages: Vec<_> =
        messages.map(|message| EncodeInputsRequest { message: Some(message) }).collect();
    let stream = tokio_stream::iter(messages);
    let mut answers = server.maintenance().await.encode_inputs(stream).await?.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        all.push(answer);
    }
    Ok(all)
}

fn start(space: &str, pooling: &str) -> EncodeInputsStart {
    EncodeInputsStart {
        collection: NAME.to_owned(),
        model: "aion".to_owned(),
        space: space.to_owned(),
        pooling: pooling.to_owned(),
        overwrite: false,
    }
}

fn input(id: i64) -> ObjectInput {
    ObjectInput { id: Some(number(id)), payload: Some(observation()) }
}

async fn vector(server: &TestServer, id: i64, space: &str) -> Option<Vec<f32>> {
    let request = GetObjectsRequest {
        collection: NAME.to_owned(),
        ids: vec![number(id)],
        with_vectors: true,
        release: String::new(),
    };
    let reply = server.objects().await.get_objects(request).await.expect("an answer").into_inner();
    reply.objects[0].vectors.get(space).map(|vector| vector.values.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_become_codes_and_codes_become_vectors() {
    let models = Models::new();
    models.add_aion("aion", &RegisterOptions::default());
    let (_folder, server) = server(&models).await;
    let empty = ObjectInput { payload: None, ..input(2) };
    let wrong_id = ObjectInput { id: Some(text("NGC 1")), ..input(2) };
    let batches = vec![vec![input(1), input(1), input(99), empty, wrong_id], vec![input(2)]];
    let answers = send(&server, start("codes", "token-ids"), batches).await.expect("answers");
    assert_eq!((answers[0].encoded, answers[0].skipped, answers[1].encoded), (1, 0, 1));
    let reasons: Vec<&str> = answers[0].failed.iter().map(|each| each.reason.as_str()).collect();
    for part in ["in the batch twice", "no such object", "no payload", "id"] {
        assert!(reasons.iter().any(|reason| reason.contains(part)), "{part}: {reasons:?}");
    }
    assert_eq!(reasons.len(), 4);
    // Sent again, nothing is made twice.
    let again = send(&server, start("codes", ""), vec![vec![input(1), input(2)]]).await;
    let again = again.expect("answers");
    assert_eq!((again[0].encoded, again[0].skipped), (0, 2));

    // From the codes alone: neither the observation nor a codec is needed.
    let job = EncodeCollectionRequest {
        collection: NAME.to_owned(),
        model: "aion".to_owned(),
        space: "mean".to_owned(),
        from_tokens: "codes".to_owned(),
        ..EncodeCollectionRequest::default()
    };
    let encode = |job: EncodeCollectionRequest| async {
        let reply = server.maintenance().await.encode_collection(job).await?;
        let mut progress = reply.into_inner();
        let mut last = None;
        while let Some(step) = progress.message().await? {
            last = Some(step);
        }
        Ok::<_, Status>(last.expect("a message"))
    };
    let done = encode(job.clone()).await.expect("encoded");
    assert_eq!((done.total, done.encoded, done.skipped), (3, 2, 1));
    let expected = golden(END_TO_END, "mean_all_tokens").values;
    near(&vector(&server, 1, "mean").await.expect("a vector"), &expected, 1e-4);
    near(&vector(&server, 2, "mean").await.expect("a vector"), &expected, 1e-4);
    assert_eq!(vector(&server, 3, "mean").await, None);
    let not_codes = EncodeCollectionRequest { from_tokens: "mean".to_owned(), ..job.clone() };
    let error = encode(not_codes).await.expect_err("vectors");
    assert!(error.message().contains("holds no token ids"), "{error}");
    let other = EncodeCollectionRequest { pooling: "tokens".to_owned(), ..job };
    let error = encode(other).await.expect_err("another form");
    assert!(error.message().contains("pooling=mean"), "{error}");
    let error = send(&server, start("x", "none"), Vec::new()).await.expect_err("no such output");
    assert!(error.message().contains("it has mean, tokens, token-ids"), "{error}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_encoded_for_the_objects_that_they_are_named_after() {
    let models = Models::new();
    models.add("specformer", "specformer_pooled");
    let (folder, server) = server(&models).await;
    let spectra = golden("specformer_pooled/inputs.safetensors", "spectrum");
    let write = |name: &str, values: &[f32]| {
        let file = npy(&format!("{},", values.len()), values);
        std::fs::write(folder.path().join(name), file).expect("written");
    };
    write("1.npy", &spectra.row(0).values);
    write("2.npy", &spectra.row(1).values);
    write("3.npy", &vec![f32::NAN; 7_781]);
    write("77.npy", &spectra.row(0).values);
    std::fs::write(folder.path().join("broken.npy"), "no array").expect("written");
    let run = |files: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_sidereus"))
            .args(["encode", NAME, "--model", "specformer", "--space", "s", "--format", "json"])
            .args(["--failures", "failed.csv", "--server", &format!("http://{}", server.address)])
            .arg("--files")
            .args(files)
            .current_dir(folder.path())
            .output()
            .expect("runs")
    };
    let output = run(&["broken.npy", "1.npy", "2.npy", "3.npy", "77.npy"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    let counts = ["total", "encoded", "skipped", "failed"].map(|key| report[key].as_u64());
    assert_eq!(counts, [Some(5), Some(2), Some(0), Some(3)], "{report}");
    let failed = std::fs::read_to_string(folder.path().join("failed.csv")).expect("a list");
    assert!(failed.starts_with("object_id,reason\n"), "{failed}");
    for part in ["broken,", "3,\"`flux` has no good pixel", "77,the collection has no such object"]
    {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    let expected = golden("specformer_pooled/outputs.safetensors", "spectrum.pooled_mean_all");
    near(&vector(&server, 1, "s").await.expect("a vector"), &expected.row(0).values, 1e-4);
    near(&vector(&server, 2, "s").await.expect("a vector"), &expected.row(1).values, 1e-4);
    let again = run(&["1.npy", "2.npy", "1.npy"]);
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).expect("json");
    let counts = ["encoded", "skipped", "failed"].map(|key| report[key].as_u64());
    assert_eq!(counts, [Some(0), Some(2), Some(1)], "{report}");
    server.stop().await;
}
