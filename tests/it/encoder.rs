//! The encoder program as a process: the real networks, killed, overloaded, and fed with what is not an image.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use safetensors::{Dtype, SafeTensors};
use sidereus::encoder::{Encoded, EncoderError, EncoderHandle, EncoderOptions, Made};
use sidereus::schema::Provenance;
use sidereus::vector::Metric;
use sidereus::wire::v1::payload::Content;
use sidereus::wire::v1::{NamedValues, Payload};

mod program;
mod walls;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sidereus-encoder");
const PHOTOMETRY: &str = "photometry-mm";
const IMAGES: &str = "efficientnet-lite0";

fn photometry_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/models").join(PHOTOMETRY)
}

/// Where the set-up has put the converted weights, which are not in the repository.
fn images_folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let models = set("SIDEREUS_MODELS")
        .or_else(|| Some(set("SIDEREUS_CACHE")?.join("models")))
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("sidereus/models")))
        .or_else(|| Some(set("HOME")?.join(".cache/sidereus/models")))
        .expect("a home folder");
    let folder = models.join(IMAGES);
    let advice = "`make test` converts it, or set SIDEREUS_MODELS";
    assert!(folder.join("model.toml").exists(), "{} is missing; {advice}", folder.display());
    folder
}

/// An operator's directory with both models.
struct Models {
    directory: tempfile::TempDir,
}

impl Models {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        for (id, folder) in [(PHOTOMETRY, photometry_folder()), (IMAGES, images_folder())] {
            std::os::unix::fs::symlink(folder, directory.path().join(id)).expect("a link");
        }
        Self { directory }
    }

    fn options(&self) -> EncoderOptions {
        let mut options = EncoderOptions::new(PROGRAM.into(), self.directory.path().to_owned());
        "cpu".clone_into(&mut options.device);
        options
    }

    fn start(&self) -> EncoderHandle {
        EncoderHandle::spawn(self.options())
    }
}

fn goldens(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("goldens.safetensors")).expect("the golden file")
}

fn floats(file: &[u8], name: &str) -> Vec<Vec<f32>> {
    let file = SafeTensors::deserialize(file).expect("parses");
    let tensor = file.tensor(name).expect(name);
    assert_eq!(tensor.dtype(), Dtype::F32);
    let values: Vec<f32> =
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    values.chunks(tensor.shape()[1]).map(<[f32]>::to_vec).collect()
}

/// The golden rows as payloads; a value that is not there is not in the row at all.
fn rows() -> Vec<Payload> {
    let file = goldens(&photometry_folder());
    let file = SafeTensors::deserialize(&file).expect("parses");
    let tensor = file.tensor("inputs.rows").expect("rows");
    let values: Vec<f64> =
        tensor.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    let names = ["flux", "ivar", "extinction"]
        .iter()
        .flat_map(|kind| ["u", "g", "r", "i", "z"].map(|band| format!("{kind}_{band}")))
        .collect::<Vec<_>>();
    values
        .chunks(names.len())
        .map(|row| {
            let named =
                names.iter().cloned().zip(row.iter().copied()).filter(|(_, value)| !value.is_nan());
            row_payload(named.collect())
        })
        .collect()
}

fn row_payload(values: HashMap<String, f64>) -> Payload {
    Payload {
        modality: "photometry".to_owned(),
        content: Some(Content::Row(NamedValues { values })),
    }
}

fn image_payload(bytes: Vec<u8>) -> Payload {
    Payload { modality: "image".to_owned(), content: Some(Content::Image(bytes)) }
}

fn picture(number: usize) -> Payload {
    let path = images_folder().join(format!("golden-{number}.png"));
    image_payload(std::fs::read(&path).expect("a golden picture"))
}

fn vectors(encoded: Encoded) -> Vec<Vec<f32>> {
    let vector = |result: Result<Made, String>| result.and_then(Made::into_vector);
    encoded.results.into_iter().map(|result| vector(result).expect("a vector")).collect()
}

/// Largest difference, relative to the largest golden magnitude.
fn error(vectors: &[Vec<f32>], goldens: &[Vec<f32>]) -> f32 {
    assert_eq!(vectors.len(), goldens.len());
    let pairs = vectors.iter().flatten().zip(goldens.iter().flatten());
    let difference = pairs.map(|(value, golden)| (value - golden).abs()).fold(0.0, f32::max);
    difference / goldens.iter().flatten().fold(0.0, |largest: f32, value| largest.max(value.abs()))
}

/// Calls until the encoder is back; every failure on the way must be one that can be tried again.
async fn encode_when_back(
    handle: &EncoderHandle,
    model: &str,
    payloads: &[Payload],
) -> Vec<Vec<f32>> {
    let began = Instant::now();
    loop {
        match handle.encode(model, "", payloads.to_vec()).await {
            Ok(encoded) => return vectors(encoded),
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        assert!(began.elapsed() < Duration::from_mins(1), "the encoder did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_with_their_provenance() {
    let models = Models::new();
    let handle = models.start();
    let list = handle.models().await.expect("models");
    let [images, photometry] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!(
        (images.id.as_str(), images.dimension, images.metric),
        (IMAGES, 1_280, Metric::Cosine)
    );
    assert_eq!(images.inputs, ["image"]);
    assert_eq!(
        (photometry.id.as_str(), photometry.dimension, photometry.metric),
        (PHOTOMETRY, 64, Metric::L2)
    );
    assert_eq!((photometry.inputs.len(), photometry.optional_inputs.len()), (15, 5));
    let weights = std::fs::read(photometry_folder().join("weights.safetensors")).expect("weights");
    let expected = Provenance {
        encoder: PHOTOMETRY.to_owned(),
        weights_hash: blake3::hash(&weights).to_hex().to_string(),
        preprocessing: "asinh-flux-v1".to_owned(),
        pooling: "posterior-whiten".to_owned(),
    };
    assert_eq!(photometry.provenance, expected);
    let encoded = handle.encode(PHOTOMETRY, "", rows()).await.expect("vectors");
    assert_eq!(encoded.provenance, expected);
    let encoded =
        handle.encode(PHOTOMETRY, "", Vec::<Payload>::new()).await.expect("nothing to do");
    assert_eq!((encoded.provenance, encoded.results.len()), (expected, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn photometry_equals_the_golden_vectors_in_batches_of_any_size() {
    let models = Models::new();
    let handle = models.start();
    let goldens = floats(&goldens(&photometry_folder()), "outputs.embedding");
    let rows = rows();
    let together = vectors(handle.encode(PHOTOMETRY, "", rows.clone()).await.expect("vectors"));
    assert!(error(&together, &goldens) < 1e-4, "{}", error(&together, &goldens));

    let mut alone = Vec::new();
    for row in &rows {
        alone.extend(vectors(
            handle.encode(PHOTOMETRY, "", vec![row.clone()]).await.expect("a vector"),
        ));
    }
    assert!(error(&alone, &together) < 1e-5, "{}", error(&alone, &together));

    // 300 rows are several calls of the protocol, whose answers must come back in order.
    let many: Vec<_> = rows.iter().cycle().take(300).cloned().collect();
    let many = vectors(handle.encode(PHOTOMETRY, "", many).await.expect("vectors"));
    let expected: Vec<_> = together.iter().cycle().take(300).cloned().collect();
    assert!(error(&many, &expected) < 1e-5, "{}", error(&many, &expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_equal_the_golden_vectors_alone_and_together() {
    let models = Models::new();
    let handle = models.start();
    let file = goldens(&images_folder());
    let golden = floats(&file, "outputs.embedding");
    let together =
        vectors(handle.encode(IMAGES, "", vec![picture(0), picture(1)]).await.expect("vectors"));
    assert!(error(&together, &golden) < 1e-4, "{}", error(&together, &golden));
    let alone = vectors(handle.encode(IMAGES, "", vec![picture(1)]).await.expect("a vector"));
    assert!(error(&alone, &together[1..]) < 1e-5, "{}", error(&alone, &together[1..]));

    // This one is resized, and the golden vector comes from another library's resizing, which rounds differently.
    let resized = vectors(handle.encode(IMAGES, "", vec![picture(2)]).await.expect("a vector"));
    let golden = floats(&file, "reference.resized_embedding");
    let cosine = sidereus::vector::dot(&resized[0], &golden[0]);
    let lengths = sidereus::vector::norm(&resized[0]) * sidereus::vector::norm(&golden[0]);
    assert!(f64::from(cosine) / lengths > 0.999, "{}", f64::from(cosine) / lengths);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_input_does_not_spoil_the_others() {
    let models = Models::new();
    let handle = models.start();
    let Payload { content: Some(Content::Image(png)), .. } = picture(0) else { panic!("an image") };
    let payloads = vec![
        image_payload(b"SIMPLE  =                    T".to_vec()),
        picture(0),
        image_payload(png[..png.len() / 2].to_vec()),
        row_payload(HashMap::new()),
        Payload { modality: "image".to_owned(), content: None },
        picture(1),
    ];
    let results = handle.encode(IMAGES, "", payloads).await.expect("an answer").results;
    let length = |made: Made| made.into_vector().map(|vector| vector.len());
    let messages: Vec<_> = results.iter().map(|result| result.clone().and_then(length)).collect();
    assert_eq!(messages[0], Err("this is not an image: it is neither a PNG nor a JPEG".to_owned()));
    assert_eq!((&messages[1], &messages[5]), (&Ok(1_280), &Ok(1_280)));
    assert!(messages[2].clone().expect_err("damaged").starts_with("the PNG image is damaged"));
    assert!(messages[3].clone().expect_err("a row").contains("says `photometry`"));
    assert!(messages[4].clone().expect_err("empty").contains("the input is empty"));

    let misspelt = row_payload(HashMap::from([("flux_R".to_owned(), 1.0)]));
    let unmeasured =
        row_payload(HashMap::from([("flux_r".to_owned(), 1.0), ("ivar_r".to_owned(), 0.0)]));
    let good = rows().swap_remove(0);
    let results = handle
        .encode(PHOTOMETRY, "", vec![misspelt, unmeasured, good])
        .await
        .expect("an answer")
        .results;
    assert!(results[0].clone().expect_err("misspelt").contains("no input `flux_R`"));
    let nothing = "no band has a finite flux with a positive inverse variance";
    assert_eq!(results[1], Err(nothing.to_owned()));
    assert!(results[2].is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_served_is_said_with_those_that_are() {
    let models = Models::new();
    let broken = models.directory.path().join("broken");
    std::fs::create_dir(&broken).expect("a folder");
    std::fs::write(broken.join("model.toml"), "id = 1").expect("a file");
    let handle = models.start();
    for bad in ["nothing", "../photometry-mm", ""] {
        for error in [
            handle.encode(bad, "", rows()).await.expect_err("must fail"),
            handle.model(bad).await.expect_err("must fail"),
        ] {
            assert!(matches!(error, EncoderError::UnknownModel { .. }), "{error}");
            assert!(
                error.to_string().contains("serves `efficientnet-lite0`, `photometry-mm`"),
                "{error}"
            );
        }
    }
    let error = handle.encode("broken", "", rows()).await.expect_err("must fail");
    assert!(error.to_string().contains("model `broken` cannot be served"), "{error}");
    let list = handle.model_list().await.expect("models");
    assert_eq!((list.models.len(), list.broken.len()), (2, 1));
    assert!(
        list.broken[0].1.contains("model.toml is not a model description"),
        "{:?}",
        list.broken
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_encoder_comes_back_and_its_callers_may_try_again() {
    let models = Models::new();
    let handle = models.start();
    let golden = floats(&goldens(&photometry_folder()), "outputs.embedding");
    handle.health().await.expect("serves");
    for _ in 0..3 {
        let first = handle.pid().expect("serves");
        // A long request is under way when the process dies.
        let long: Vec<_> = (0..64).map(|_| picture(2)).collect();
        let working = tokio::spawn({
            let handle = handle.clone();
            async move { handle.encode(IMAGES, "", long).await }
        });
        tokio::time::sleep(Duration::from_millis(150)).await;
        kill(first);
        let error = working.await.expect("no panic").expect_err("the process is dead");
        assert!(matches!(error, EncoderError::Unavailable { .. }), "{error}");
        assert!(
            error.is_retryable() && error.to_string().contains("can be tried again"),
            "{error}"
        );
        let back = encode_when_back(&handle, PHOTOMETRY, &rows()).await;
        assert!(crate::encoder::error(&back, &golden) < 1e-4);
        assert_ne!(handle.pid().expect("serves"), first);
    }
    let last = handle.pid().expect("serves");
    handle.shutdown().await;
    assert!(!Path::new(&format!("/proc/{last}")).exists());
    let error = handle.encode(PHOTOMETRY, "", rows()).await.expect_err("stopped");
    assert!(error.to_string().contains("it has been stopped"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_said_at_once_or_waited_for() {
    let models = Models::new();
    for (wait, all_succeed) in [(Duration::ZERO, false), (Duration::from_mins(1), true)] {
        let mut options = models.options();
        options.batch.queue_rows_max = 64;
        options.overload_wait = wait;
        let handle = EncoderHandle::spawn(options);
        handle.health().await.expect("serves");
        let calls = (0..4).map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.encode(IMAGES, "", vec![picture(0); 40]).await })
        });
        let mut refused = 0;
        for call in futures::future::join_all(calls).await {
            match call.expect("no panic") {
                Ok(encoded) => assert_eq!(vectors(encoded).len(), 40),
                Err(error) => {
                    assert!(matches!(error, EncoderError::Overloaded { .. }), "{error}");
                    assert!(
                        error.is_retryable() && error.to_string().contains("no room for 40 more"),
                        "{error}"
                    );
                    refused += 1;
                }
            }
        }
        assert_eq!(refused == 0, all_succeed, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_at_its_deadline_and_the_next_one_is_served() {
    let models = Models::new();
    let mut options = models.options();
    options.call_timeout = Duration::from_millis(300);
    let handle = EncoderHandle::spawn(options);
    let error = handle.encode(IMAGES, "", vec![picture(2); 64]).await.expect_err("too little time");
    assert!(
        matches!(error, EncoderError::DeadlineExceeded { .. }) && error.is_retryable(),
        "{error}"
    );
    assert_eq!(encode_when_back(&handle, PHOTOMETRY, &rows()).await.len(), 16);
}
