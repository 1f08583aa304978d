//! The published networks as they are served: registered from their files, by the encoder program, through its queue,
//! against what the original modules made of the same observations.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use sidereus::encoder::{
    EncoderHandle, EncoderOptions, Inputs, Made, Pooling, RegisterOptions, register,
};
use sidereus::wire::v1::payload::Content;
use sidereus::wire::v1::{Array, NamedArrays, Payload, TokenSequence};

mod stored;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sidereus-encoder");

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published").join(name)
}

/// A tensor of a fixture's file: shape and numbers.
#[derive(Debug, Clone)]
struct Golden {
    shape: Vec<usize>,
    values: Vec<f32>,
}

fn golden(file: &str, name: &str) -> Golden {
    let bytes = std::fs::read(fixture(file)).expect(file);
    let parsed = SafeTensors::deserialize(&bytes).expect("parses");
    let tensor = parsed.tensor(name).expect(name);
    let values = match tensor.dtype() {
        safetensors::Dtype::F32 => {
            tensor.data().as_chunks::<4>().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect()
        }
        safetensors::Dtype::I32 => tensor
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|raw| i32::from_le_bytes(*raw) as f32)
            .collect(),
        safetensors::Dtype::I64 => tensor
            .data()
            .as_chunks::<8>()
            .0
            .iter()
            .map(|raw| i64::from_le_bytes(*raw) as f32)
            .collect(),
        safetensors::Dtype::U8 => tensor.data().iter().map(|byte| f32::from(*byte)).collect(),
        other => panic!("{name} is {other:?}"),
    };
    Golden { shape: tensor.shape().to_vec(), values }
}

impl Golden {
    /// One of the rows along the first axis.
    fn row(&self, row: usize) -> Self {
        let count = self.values.len() / self.shape[0];
        let values = self.values[row * count..(row + 1) * count].to_vec();
        Self { shape: self.shape[1..].to_vec(), values }
    }

    fn array(&self) -> Array {
        Array {
            shape: self.shape.iter().map(|size| *size as u32).collect(),
            float32: self.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            bands: Vec::new(),
        }
    }
}

fn arrays(modality: &str, parts: Vec<(&str, Array)>) -> Payload {
    let arrays: HashMap<String, Array> =
        parts.into_iter().map(|(name, array)| (name.to_owned(), array)).collect();
    let content = Some(Content::Arrays(NamedArrays { arrays }));
    Payload { modality: modality.to_owned(), content }
}

/// An operator's directory, made from fixtures as a user makes it from published files.
struct Models {
    directory: tempfile::TempDir,
}

impl Models {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a folder") }
    }

    fn copy(&self, from: &str, to: &str) {
        let to = self.directory.path().join(to);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        std::fs::copy(fixture(from), to).expect(from);
    }

    fn add(&self, id: &str, from: &str) {
        for file in ["config.json", "weights.safetensors"] {
            self.copy(&format!("{from}/{file}"), &format!("{id}/{file}"));
        }
        self.register(id, &RegisterOptions::default());
    }

    fn register(&self, id: &str, options: &RegisterOptions) {
        register(&self.directory.path().join(id), options).expect(id);
    }

    /// AION-1 in the layout of the published folder.
    fn add_aion(&self, id: &str, options: &RegisterOptions) {
        self.copy("aion_encoder/config.json", &format!("{id}/config.json"));
        self.copy("aion_encoder/weights.safetensors", &format!("{id}/model.safetensors"));
        for (codec, from) in [
            ("image", "aion_image_codec"),
            ("spectrum", "aion_spectrum_codec"),
            ("catalog", "aion_catalog_codec"),
        ] {
            let to = format!("{id}/codecs/{codec}");
            self.copy(&format!("{from}/config.json"), &format!("{to}/config.json"));
            self.copy(&format!("{from}/weights.safetensors"), &format!("{to}/model.safetensors"));
        }
        for codec in ["FLUX_G", "Z", "bp_coefficients"] {
            for file in ["config.json", "model.safetensors"] {
                let from = format!("aion_scalar_codecs/codecs/{codec}/{file}");
                self.copy(&from, &format!("{id}/codecs/{codec}/{file}"));
            }
        }
        self.register(id, options);
    }

    fn add_archive(&self, id: &str, file: &str, inputs: &str) {
        self.copy(&format!("torchscript_generic/{file}"), &format!("{id}/{file}"));
        let digest = sidereus::encoder::digest(&fixture("torchscript_generic").join(file));
        let text = format!(
            "id = \"{id}\"\narchitecture = \"torchscript\"\nmodality = \"image\"\n\
             description = \"an archive\"\nweights = \"{file}\"\nweights_blake3 = \"{}\"\n\
             preprocessing = \"arrays-v1\"\npooling = \"own\"\ndimension = 16\nmetric = \"l2\"\n\
             inputs = {inputs}\n",
            digest.expect("a digest")
        );
        std::fs::write(self.directory.path().join(id).join("model.toml"), text).expect("written");
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

async fn made(
    handle: &EncoderHandle,
    model: &str,
    pooling: &str,
    inputs: impl Into<Inputs>,
) -> Vec<Made> {
    let encoded = handle.encode(model, pooling, inputs).await.expect("an answer");
    encoded.results.into_iter().map(|result| result.expect(model)).collect()
}

async fn vectors(
    handle: &EncoderHandle,
    model: &str,
    pooling: &str,
    inputs: impl Into<Inputs>,
) -> Vec<Vec<f32>> {
    let made = made(handle, model, pooling, inputs).await;
    made.into_iter().map(|made| made.into_vector().expect("a vector")).collect()
}

async fn tokens(
    handle: &EncoderHandle,
    model: &str,
    pooling: &str,
    inputs: impl Into<Inputs>,
) -> Vec<TokenSequence> {
    let made = made(handle, model, pooling, inputs).await;
    let sequence = |made| match made {
        Made::Tokens(tokens) => tokens,
        Made::Vector(_) => panic!("a vector"),
    };
    made.into_iter().map(sequence).collect()
}

/// States of all runs, one after the other.
fn states(sequence: &TokenSequence) -> Vec<f32> {
    let halves = sequence.runs.iter().flat_map(|run| run.states.as_chunks::<2>().0);
    halves.map(|raw| half::f16::from_le_bytes(*raw).to_f32()).collect()
}

#[track_caller]
fn near(values: &[f32], golden: &[f32], tolerance: f32) {
    assert_eq!(values.len(), golden.len());
    for (value, golden) in values.iter().zip(golden) {
        assert!((value - golden).abs() <= tolerance, "{value} is not {golden}");
    }
}

#[tokio::test]
async fn spectra_are_embedded_as_the_original_modules_do() {
    let models = Models::new();
    models.add("specformer", "specformer_pooled");
    models.add("clip-spectrum", "astroclip_spectrum");
    let handle = models.start();
    let spectra = golden("specformer_pooled/inputs.safetensors", "spectrum");
    let payload = |row| arrays("spectrum", vec![("flux", spectra.row(row).array())]);
    for (pooling, name) in
        [("mean", "pooled_mean_all"), ("mean-without-statistics", "pooled_mean_excluding_token0")]
    {
        let golden = golden("specformer_pooled/outputs.safetensors", &format!("spectrum.{name}"));
        let both = vectors(&handle, "specformer", pooling, vec![payload(0), payload(1)]).await;
        near(&both.concat(), &golden.values, 1e-4);
        let one = vectors(&handle, "specformer", pooling, vec![payload(1)]).await;
        near(&one[0], &golden.row(1).values, 1e-4);
    }
    let all = tokens(&handle, "specformer", "tokens", vec![payload(0)]).await;
    let golden_tokens = golden("specformer_pooled/outputs.safetensors", "spectrum.embedding");
    assert_eq!((all[0].runs[0].count, all[0].runs[0].width), (778, 24));
    near(&states(&all[0]), &golden_tokens.row(0).values, 5e-3);

    let spectra = golden("astroclip_spectrum/inputs.safetensors", "spectrum");
    let short = golden("astroclip_spectrum/inputs.safetensors", "spectrum_short");
    let payload = |spectrum: &Golden| arrays("spectrum", vec![("flux", spectrum.array())]);
    // Spectra of two lengths in one call: they are computed in batches of their own and come back in order.
    let mixed = vec![
        payload(&spectra.row(2)),
        payload(&short.row(1)),
        payload(&spectra.row(0)),
        payload(&short.row(0)),
    ];
    let mixed = vectors(&handle, "clip-spectrum", "", mixed).await;
    let outputs = "astroclip_spectrum/outputs.safetensors";
    let (long, short) =
        (golden(outputs, "spectrum.embedding"), golden(outputs, "spectrum_short.embedding"));
    near(&mixed[0], &long.row(2).values, 1e-4);
    near(&mixed[1], &short.row(1).values, 1e-4);
    near(&mixed[2], &long.row(0).values, 1e-4);
    near(&mixed[3], &short.row(0).values, 1e-4);
}

#[tokio::test]
async fn cutouts_become_pictures_and_vectors_as_the_original_modules_make_them() {
    let models = Models::new();
    models.add("stein", "stein_resnet50");
    models.add("clip-image", "astroclip_image");
    models.add("dino", "astrodino");
    let handle = models.start();
    let cutouts = golden("stein_resnet50/inputs.safetensors", "b2.raw_grz");
    let payloads = || {
        let payload = |row| arrays("image", vec![("image", cutouts.row(row).array())]);
        vec![payload(0), payload(1)]
    };
    for (pooling, name) in
        [("global-average", "representation"), ("contrastive-head", "encoder_q_output_with_fc")]
    {
        let golden = golden("stein_resnet50/outputs.safetensors", &format!("b2.{name}"));
        let both = vectors(&handle, "stein", pooling, payloads()).await;
        let largest = golden.values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        near(&both.concat(), &golden.values, 1e-4 * largest);
    }
    for model in ["clip-image", "dino"] {
        let pooled = vectors(&handle, model, "mean", payloads()).await;
        let all = tokens(&handle, model, "tokens", payloads()).await;
        for (pooled, all) in pooled.iter().zip(&all) {
            assert_eq!((all.runs[0].count, all.runs[0].width), (16, 32), "{model}");
            let states = states(all);
            let mean: Vec<f32> =
                (0..32).map(|at| states[at..].iter().step_by(32).sum::<f32>() / 16.0).collect();
            near(pooled, &mean, 5e-3);
        }
        let first = vectors(&handle, model, "", payloads()).await;
        assert_eq!((first.len(), first[0].len()), (2, 32));
        assert_ne!(first[0], first[1]);
    }
    // Bands in another order under other names are the same cutout.
    let mut turned = cutouts.row(0);
    let plane = turned.values.len() / 3;
    turned.values.rotate_left(plane);
    let mut array = turned.array();
    array.bands = ["DECam_r", "DES-Z", "g"].map(str::to_owned).to_vec();
    let named = vectors(&handle, "dino", "", vec![arrays("image", vec![("image", array)])]).await;
    let plain = vectors(&handle, "dino", "", payloads()).await;
    near(&named[0], &plain[0], 1e-5);
}

/// The observation of the end-to-end fixture.
fn observation() -> Payload {
    let image = golden("aion_image_codec/inputs.safetensors", "ls_griz_111x120.flux").row(0);
    let mut image = image.array();
    image.bands = ["DES-G", "DES-R", "DES-I", "DES-Z"].map(str::to_owned).to_vec();
    let mut parts = vec![("image", image)];
    for part in ["flux", "ivar", "mask", "wavelength"] {
        let name = format!("desi.{part}");
        parts.push((part, golden("aion_spectrum_codec/inputs.safetensors", &name).row(0).array()));
    }
    let scalar = |name: &str| golden("aion_scalar_codecs/inputs.safetensors", name).row(0).array();
    parts.push(("flux_g", scalar("FLUX_G/random.value")));
    parts.push(("z", scalar("Z/random.value")));
    parts.push(("xp_bp", scalar("bp_coefficients/random_b3.value")));
    arrays("", parts)
}

const END_TO_END: &str = "aion_end_to_end/outputs.safetensors";

#[tokio::test]
async fn an_observation_of_many_modalities_goes_through_codecs_and_encoder() {
    let models = Models::new();
    models.add_aion("aion", &RegisterOptions::default());
    let handle = models.start();
    let ids = tokens(&handle, "aion", "token-ids", vec![observation()]).await.remove(0);
    assert_eq!(ids.runs.len(), 5);
    for run in &ids.runs {
        let golden = golden(END_TO_END, &format!("tokens.{}", run.modality)).values;
        let found: Vec<f32> = run
            .ids
            .as_chunks::<2>()
            .0
            .iter()
            .map(|raw| f32::from(u16::from_le_bytes(*raw)))
            .collect();
        assert_eq!(found, golden, "{}", run.modality);
    }
    let mean = vectors(&handle, "aion", "mean", vec![observation()]).await;
    near(&mean[0], &golden(END_TO_END, "mean_all_tokens").values, 1e-4);
    let all = tokens(&handle, "aion", "tokens", vec![observation()]).await.remove(0);
    for run in &all.runs {
        let one = TokenSequence { runs: vec![run.clone()] };
        let states = states(&one);
        let count = run.count as usize;
        let mean: Vec<f32> =
            (0..20).map(|at| states[at..].iter().step_by(20).sum::<f32>() / count as f32).collect();
        let golden = golden(END_TO_END, &format!("mean_per_modality.{}", run.modality));
        near(&mean, &golden.values, 5e-3);
    }

    // The ids are enough: neither pixels nor codecs are needed to come to the same vectors and states.
    let again = vectors(&handle, "aion", "mean", Inputs::Tokens(vec![ids.clone()])).await;
    near(&again[0], &mean[0], 1e-6);
    let states_again = tokens(&handle, "aion", "tokens", Inputs::Tokens(vec![ids.clone()])).await;
    near(&states(&states_again[0]), &states(&all), 2e-3);
    let mut image_only = ids;
    image_only.runs.retain(|run| run.modality == "tok_image");
    let image_only = vectors(&handle, "aion", "", Inputs::Tokens(vec![image_only])).await;
    near(&image_only[0], &golden(END_TO_END, "image_only.mean_all_tokens").values, 1e-4);
}

#[tokio::test]
async fn a_limit_of_tokens_refuses_what_is_longer_and_goes_into_the_provenance() {
    let models = Models::new();
    let options = RegisterOptions { tokens_max: Some(600), ..RegisterOptions::default() };
    models.add_aion("aion", &options);
    let handle = models.start();
    let z = golden("aion_scalar_codecs/inputs.safetensors", "Z/random.value").row(3).array();
    let far = Golden { shape: Vec::new(), values: vec![1.5] }.array();
    let payloads = vec![
        observation(),
        arrays("", vec![("z", z)]),
        arrays("", vec![("z", far)]),
        arrays("", vec![("tok_none", Golden { shape: vec![1], values: vec![1.0] }.array())]),
    ];
    let encoded = handle.encode("aion", "", payloads).await.expect("an answer");
    assert!(encoded.provenance.preprocessing.ends_with("tokens=600"), "{}", encoded.provenance);
    let messages: Vec<_> = encoded.results.iter().map(|result| result.as_ref().err()).collect();
    assert!(messages[0].expect("too long").contains("906 tokens"), "{messages:?}");
    assert!(messages[1].is_none(), "{messages:?}");
    assert!(messages[2].expect("too far").contains("redshifts from 0 to 1"), "{messages:?}");
    assert!(messages[3].expect("unknown").contains("no input `tok_none`"), "{messages:?}");
    let error = handle.encode("aion", "attentive", vec![observation()]).await.expect_err("none");
    assert!(error.to_string().contains("it has mean, tokens, token-ids"), "{error}");
}

#[tokio::test]
async fn archives_take_named_arrays_and_a_bad_shape_fails_alone() {
    let models = Models::new();
    models.add_archive("two", "model_two_inputs.pt", "[\"image\", \"ivar\"]");
    models.add_archive("spectra", "model_spectrum_1d.pt", "[\"flux\"]");
    let handle = models.start();
    let inputs = "torchscript_generic/inputs.safetensors";
    let (image, ivar) = (golden(inputs, "image"), golden(inputs, "ivar"));
    let payload = |row: usize| {
        arrays("", vec![("image", image.row(row).array()), ("ivar", ivar.row(row).array())])
    };
    let outputs = golden("torchscript_generic/outputs.safetensors", "two_inputs");
    let all = vectors(&handle, "two", "", (0..3).map(payload).collect::<Vec<_>>()).await;
    near(&all.concat(), &outputs.values, 1e-5);
    let wrong = || Golden { shape: vec![3, 4], values: vec![0.0; 12] }.array();
    let payloads = vec![
        payload(0),
        arrays("", vec![("image", wrong()), ("ivar", wrong())]),
        arrays("", vec![("image", image.row(0).array())]),
    ];
    let results = handle.encode("two", "", payloads).await.expect("an answer").results;
    assert!(results[0].is_ok());
    let refused = results[1].clone().expect_err("a wrong shape");
    assert!(refused.contains("refuses its input") && !refused.contains('\n'), "{refused}");
    assert!(results[2].clone().expect_err("one is missing").contains("`ivar` is missing"));
    let spectrum = golden(inputs, "spectrum");
    let flux = arrays("", vec![("flux", spectrum.row(1).array())]);
    let golden = golden("torchscript_generic/outputs.safetensors", "spectrum");
    near(&vectors(&handle, "spectra", "", vec![flux]).await[0], &golden.row(1).values, 1e-5);
}

#[tokio::test]
async fn models_share_a_budget_and_bad_ones_are_named() {
    let models = Models::new();
    models.add("stein", "stein_resnet50");
    models.add("specformer", "specformer_pooled");
    models.add("broken", "specformer_pooled");
    models.add("foreign", "astrodino");
    let folder = |id: &str| models.directory.path().join(id);
    // Another byte in the weights; and the weights of another network, properly pinned.
    let weights = folder("broken").join("weights.safetensors");
    let mut bytes = std::fs::read(&weights).expect("the weights");
    *bytes.last_mut().expect("bytes") ^= 1;
    std::fs::write(&weights, bytes).expect("written");
    models.copy("specformer_pooled/weights.safetensors", "foreign/weights.safetensors");
    let replace = RegisterOptions { replace: true, ..RegisterOptions::default() };
    models.register("foreign", &replace);
    let mut options = models.options();
    // Room for either of them, not for both.
    options.batch.memory_max = 1 << 20;
    options.batch.deterministic = true;
    let handle = EncoderHandle::spawn(options);
    let list = handle.model_list().await.expect("a list");
    assert_eq!(list.models.len(), 2);
    let reasons: HashMap<_, _> = list.broken.into_iter().collect();
    assert!(reasons["broken"].contains("BLAKE3"), "{reasons:?}");
    assert!(reasons["foreign"].contains("is missing"), "{reasons:?}");
    let spectra = golden("specformer_pooled/inputs.safetensors", "spectrum");
    let cutout = golden("stein_resnet50/inputs.safetensors", "b2.raw_grz").row(0).array();
    let spectrum = |row| arrays("spectrum", vec![("flux", spectra.row(row).array())]);
    let mut alone = Vec::new();
    for _ in 0..2 {
        alone = vectors(&handle, "specformer", "", vec![spectrum(1)]).await;
        let picture = arrays("image", vec![("image", cutout.clone())]);
        assert_eq!(vectors(&handle, "stein", "", vec![picture]).await[0].len(), 128);
    }
    // Deterministic: to the last bit the same, whatever comes beside it.
    let beside = vec![spectrum(0), spectrum(1), spectrum(0)];
    assert_eq!(vectors(&handle, "specformer", "", beside).await[1], alone[0]);
    let metrics = handle.model_list().await.expect("a list").metrics.remove(0);
    assert_eq!((metrics.encoded, metrics.failed, metrics.queued), (7, 0, 0), "{metrics:?}");
    assert!(metrics.loads > 0 && metrics.evictions > 0, "{metrics:?}");
    // Every batch of this mode has one row.
    assert_eq!((metrics.batches, metrics.batch_sizes[0]), (7, 7), "{metrics:?}");
    let pooling = Some(Pooling::ContrastiveHead);
    let options = RegisterOptions { replace: true, pooling, ..RegisterOptions::default() };
    models.register("stein", &options);
}
