use std::path::Path;

use super::*;

pub(in crate::encoder) const PHOTOMETRY: &str = r#"
id = "photometry-mm"
architecture = "photometry-mm"
modality = "photometry"
description = "fluxes"
weights = "weights.safetensors"
weights_blake3 = "0000000000000000000000000000000000000000000000000000000000000000"
preprocessing = "asinh-flux-v1"
pooling = "posterior-whiten"
dimension = 4
metric = "l2"
inputs = ["flux_g", "flux_r", "ivar_g", "ivar_r"]
optional_inputs = ["extinction_g", "extinction_r"]
goldens = "goldens.safetensors"
[config]
bands = ["g", "r"]
width = 8
depth = 1
heads = 2
hidden = 16
"#;

const IMAGE: &str = r#"
id = "efficientnet-lite0"
architecture = "efficientnet-lite0"
modality = "image"
description = "images"
weights = "weights.safetensors"
weights_blake3 = "0000000000000000000000000000000000000000000000000000000000000000"
preprocessing = "rgb224-catmullrom-127-128-v1"
pooling = "global-average"
dimension = 1280
metric = "cosine"
inputs = ["image"]
optional_inputs = []
goldens = "goldens.safetensors"
"#;

fn parse(text: &str) -> Result<ModelSpec, ModelError> {
    ModelSpec::parse(Path::new("DIR/model.toml"), text)
}

#[track_caller]
fn refused(text: &str, from: &str, to: &str, message: &str) {
    assert!(text.contains(from), "`{from}` is not in the text");
    let error = parse(&text.replace(from, to)).expect_err(to).to_string();
    assert!(error.contains(message), "{error}");
    assert!(error.contains("DIR/model.toml"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn both_models_are_read_and_say_where_their_vectors_come_from() {
    let spec = parse(PHOTOMETRY).expect("good");
    let provenance = spec.provenance();
    assert_eq!(provenance.encoder, "photometry-mm");
    assert_eq!(provenance.weights_hash, "0".repeat(64));
    assert_eq!(provenance.preprocessing, "asinh-flux-v1");
    assert_eq!(provenance.pooling, "posterior-whiten");
    assert_eq!(spec.metric, Metric::L2);
    assert_eq!(spec.all_inputs().count(), 6);
    let spec = parse(IMAGE).expect("good");
    assert_eq!(spec.provenance().preprocessing, "rgb224-catmullrom-127-128-v1");
    assert_eq!(spec.modality(), Modality(Modality::IMAGE.to_owned()));
}

#[test]
fn text_that_is_no_description_is_refused_with_its_line() {
    refused(PHOTOMETRY, "dimension = 4", "dimension = = 4", "line 10");
    refused(PHOTOMETRY, "dimension = 4", "dimension = \"4\"", "line 10");
    refused(
        PHOTOMETRY,
        "dimension = 4",
        "dimension = 4\ncommand = \"sh\"",
        "unknown field `command`",
    );
    refused(PHOTOMETRY, "heads = 2", "heads = 2\nheeds = 2", "unknown field `heeds`");
    refused(PHOTOMETRY, "dimension = 4\n", "", "missing field `dimension`");
    refused(
        PHOTOMETRY,
        "architecture = \"photometry-mm\"",
        "architecture = \"perceptron\"",
        "unknown variant",
    );
    refused(PHOTOMETRY, "metric = \"l2\"", "metric = \"euclid\"", "use cosine, l2 or ip");
}

#[test]
fn values_that_make_no_sense_are_refused_with_advice() {
    refused(PHOTOMETRY, "id = \"photometry-mm\"\na", "id = \"../x\"\na", "`id`");
    refused(PHOTOMETRY, "\"weights.safetensors\"", "\"../w.safetensors\"", "without a path");
    refused(PHOTOMETRY, "\"weights.safetensors\"", "\"/etc/passwd\"", "without a path");
    refused(PHOTOMETRY, "\"weights.safetensors\"", "\"w/\"", "without a path");
    refused(PHOTOMETRY, "\"goldens.safetensors\"", "\"\"", "without a path");
    refused(PHOTOMETRY, "blake3 = \"0", "blake3 = \"", "64 lower-case hexadecimal digits");
    refused(PHOTOMETRY, "blake3 = \"0", "blake3 = \"A", "64 lower-case hexadecimal digits");
    refused(PHOTOMETRY, "dimension = 4", "dimension = 0", "1 to 16384");
    refused(PHOTOMETRY, "heads = 2", "heads = 3", "3 heads do not divide");
    refused(PHOTOMETRY, "depth = 1", "depth = 0", "outside 1 to");
    refused(PHOTOMETRY, "\"ivar_g\"", "\"ivar_i\"", "`inputs` must be");
    refused(PHOTOMETRY, "\"ivar_g\"", "\"flux_g\"", "twice");
    refused(PHOTOMETRY, "\"extinction_g\"", "\"redshift\"", "`optional_inputs` must be");
    refused(PHOTOMETRY, "asinh-flux-v1", "rgb224-catmullrom-127-128-v1", "`preprocessing` must be");
    refused(PHOTOMETRY, "posterior-whiten", "global-average", "`pooling` must be");
    refused(IMAGE, "dimension = 1280", "dimension = 1000", "this architecture makes 1280");
    refused(IMAGE, "inputs = [\"image\"]", "inputs = [\"image\", \"z\"]", "[\"image\"]");
    refused(
        IMAGE,
        "architecture = \"efficientnet-lite0\"",
        "architecture = \"photometry-mm\"",
        "`preprocessing` must be",
    );
}

const PUBLISHED: &str = r#"
id = "astrodino"
architecture = "astrodino"
modality = "image"
description = "pictures"
weights = "weights.safetensors"
weights_blake3 = "0000000000000000000000000000000000000000000000000000000000000000"
preprocessing = "grz-rgb-astroclip-v1"
pooling = "cls"
dimension = 32
metric = "cosine"
[files]
"config.json" = "1111111111111111111111111111111111111111111111111111111111111111"
"#;

#[test]
fn published_models_pin_their_sizes_and_may_bring_files_within_their_folder() {
    let spec = parse(PUBLISHED).expect("good");
    // What else says what is computed goes into the hash.
    assert_ne!(spec.provenance().weights_hash, "0".repeat(64));
    let other = parse(&PUBLISHED.replace(&"1".repeat(64), &"2".repeat(64))).expect("good");
    assert_ne!(spec.provenance().weights_hash, other.provenance().weights_hash);
    parse(
        &PUBLISHED
            .replace("[files]", "[files]\n\"codecs/Z/model.safetensors\" = \"3\"")
            .replace("\"3\"", &format!("\"{}\"", "3".repeat(64))),
    )
    .expect("a file of a folder within");
    refused(PUBLISHED, "\"config.json\"", "\"../config.json\"", "within the model's folder");
    refused(PUBLISHED, "\"config.json\"", "\"/etc/passwd\"", "within the model's folder");
    refused(PUBLISHED, "\"config.json\"", "\"sizes.json\"", "must pin the model's config.json");
    refused(PUBLISHED, "\"config.json\"", "\"weights.safetensors\"", "weights_blake3 pins");
    refused(PUBLISHED, "pooling = \"cls\"", "pooling = \"tokens\"", "must give a vector");
    refused(PUBLISHED, "pooling = \"cls\"", "pooling = \"attentive\"", "`cls`, `mean`, `tokens`");
    refused(PUBLISHED, "metric", "inputs = [\"image\"]\nmetric", "must be left out");
    refused(PUBLISHED, "metric", "tokens_max = 3\nmetric", "`aion` only");
    refused(PUBLISHED, "[files]", "[script]\nmethod = \"f\"\n[files]", "`torchscript` only");
    refused(PUBLISHED, "\"1111", "\"111", "64 lower-case hexadecimal digits");
}

#[test]
fn archives_name_their_arguments() {
    let text = PUBLISHED
        .replace("\"astrodino\"\nmodality", "\"torchscript\"\nmodality")
        .replace("grz-rgb-astroclip-v1", "arrays-v1")
        .replace("\"cls\"", "\"own\"")
        .replace("metric", "inputs = [\"flux\", \"ivar\"]\nmetric");
    let spec = parse(&text).expect("good");
    assert_eq!(spec.all_inputs().collect::<Vec<_>>(), ["flux", "ivar"]);
    let turned =
        parse(&text.replace("[\"flux\", \"ivar\"]", "[\"ivar\", \"flux\"]")).expect("good");
    assert_ne!(spec.provenance(), turned.provenance());
    refused(&text, "inputs = [\"flux\", \"ivar\"]\n", "", "name the archive's arguments");
}
