//! Every golden output is reproduced, and networks with one mistake each are not taken for right.

use std::path::{Path, PathBuf};

use anyhow::Result;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use tch::{Device, Kind, Tensor};

use super::super::super::device::Computing;
use super::{CONFIG_FILE, Comparison, Tensors, check, file, tensors};

const ON_CPU: Computing = Computing { device: Device::Cpu, kind: Kind::Float };

const WEIGHTS: &str = "weights.safetensors";
const INPUTS: &str = "inputs.safetensors";
const OUTPUTS: &str = "outputs.safetensors";

const FOLDERS: [&str; 13] = [
    "aion_catalog_codec",
    "aion_encoder",
    "aion_end_to_end",
    "aion_image_codec",
    "aion_scalar_codecs",
    "aion_segmap_codec",
    "aion_spectrum_codec",
    "astroclip_image",
    "astroclip_spectrum",
    "astrodino",
    "specformer_pooled",
    "stein_resnet50",
    "torchscript_generic",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published").join(name)
}

fn config(name: &str) -> String {
    std::fs::read_to_string(folder(name).join(CONFIG_FILE)).expect("a config")
}

fn failed(compared: &[Comparison]) -> Vec<String> {
    let failed = compared.iter().filter(|tensor| !tensor.passes());
    failed.map(|tensor| format!("{} {:.1e}", tensor.name, tensor.error)).collect()
}

/// Tensors as a file.
fn written(tensors: &Tensors) -> Result<Vec<u8>> {
    let mut data = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let kind = match tensor.kind() {
            Kind::Float => Dtype::F32,
            Kind::Int64 => Dtype::I64,
            Kind::Int => Dtype::I32,
            Kind::Uint8 => Dtype::U8,
            other => anyhow::bail!("`{name}` is {other:?}"),
        };
        let tensor = tensor.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        let shape = tensor.size().iter().map(|&size| size as usize).collect::<Vec<_>>();
        data.push((name, kind, shape, bytes));
    }
    let views = data.iter().map(|(name, kind, shape, bytes)| {
        TensorView::new(*kind, shape.clone(), bytes).map(|view| (*name, view))
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    Ok(serialize(views, None)?)
}

/// Checks a folder with another configuration, and files that `change` has its hand in.
fn check_as(
    folder: &Path,
    config: &str,
    computing: Computing,
    change: &dyn Fn(&str, &mut Tensors),
) -> Result<Vec<Comparison>> {
    super::check_as(folder, config, computing, &|name| {
        let bytes = file(&folder.join(name))?;
        let mut tensors = tensors(&bytes, computing.device)?;
        change(name, &mut tensors);
        written(&tensors)
    })
}

#[test]
fn every_golden_output_is_reproduced() {
    for name in FOLDERS {
        let compared = check(&folder(name), ON_CPU).unwrap_or_else(|error| {
            panic!("{name}: {error:#}");
        });
        assert!(failed(&compared).is_empty(), "{name}: {:?}", failed(&compared));
    }
}

#[test]
fn half_precision_stays_close_to_the_golden_outputs() {
    for (kind, least) in [(Kind::BFloat16, 0.995), (Kind::Half, 0.9999)] {
        let computing = Computing { kind, ..ON_CPU };
        for name in FOLDERS {
            let compared = check(&folder(name), computing).unwrap_or_else(|error| {
                panic!("{name} in {kind:?}: {error:#}");
            });
            let (exact, halved): (Vec<_>, Vec<_>) =
                compared.into_iter().partition(|tensor| tensor.cosine.is_none());
            // Tokens are those of single precision.
            assert!(failed(&exact).is_empty(), "{name} in {kind:?}: {:?}", failed(&exact));
            for tensor in &halved {
                let cosine = tensor.cosine.expect("a cosine");
                assert!(cosine >= least, "{name} in {kind:?}: {} {cosine}", tensor.name);
            }
            // The precision has been taken: something is another number than in single precision.
            let differs = halved.iter().any(|tensor| tensor.error > 1e-4 * tensor.largest);
            assert_eq!(differs, !halved.is_empty(), "{name} in {kind:?}");
        }
    }
}

#[test]
fn half_precision_that_has_lost_its_way_does_not_pass() {
    let computing = Computing { kind: Kind::BFloat16, ..ON_CPU };
    let name = "astrodino";
    let without_positions = |file: &str, tensors: &mut Tensors| {
        let wanted = tensors.iter_mut().filter(|(name, _)| name.contains("pos_embed"));
        wanted.filter(|_| file == WEIGHTS).for_each(|(_, tensor)| *tensor = tensor.zeros_like());
    };
    let compared = check_as(&folder(name), &config(name), computing, &without_positions);
    assert!(!failed(&compared.expect("compares")).is_empty());
}

#[test]
fn one_object_alone_gives_what_it_gives_in_a_batch() {
    // Those whose tensors all have the objects along their first axis.
    for name in [
        "aion_encoder",
        "aion_image_codec",
        "aion_spectrum_codec",
        "astroclip_image",
        "astroclip_spectrum",
        "astrodino",
        "specformer_pooled",
        "stein_resnet50",
    ] {
        let alone = |file: &str, tensors: &mut Tensors| {
            if file == INPUTS || file == OUTPUTS {
                tensors.values_mut().for_each(|tensor| *tensor = tensor.narrow(0, 0, 1));
            }
        };
        let compared = check_as(&folder(name), &config(name), ON_CPU, &alone).expect(name);
        assert!(failed(&compared).is_empty(), "{name}: {:?}", failed(&compared));
    }
}

#[test]
fn the_picture_of_astroclip_is_the_published_one() {
    let read = |name: &str| tensors(&file(&folder("astroclip_image").join(name))?, Device::Cpu);
    let inputs = read("preprocess_inputs.safetensors").expect("inputs");
    let outputs = read("preprocess_outputs.safetensors").expect("outputs");
    let golden = &outputs["raw_grz.model_input"];
    let pictures = super::astroclip::preprocessed(&inputs).expect("pictures");
    let apart = (&pictures - golden).abs().max().double_value(&[]);
    assert!(apart <= 2e-6, "{apart:.1e}");
    // A picture with rows and columns exchanged is another one, and so is the one of Stein et al.
    let turned = &outputs["raw_grz.model_input_hw_transposed"];
    assert!((&pictures - turned).abs().max().double_value(&[]) > 0.01);
    let other =
        super::astroclip::pictures(&inputs["raw_grz"], sidereus::encoder::LegacyRgb::stein(96))
            .expect("pictures");
    let same_part = golden.narrow(2, 24, 96).narrow(3, 24, 96).transpose(2, 3);
    assert!((other - same_part).abs().max().double_value(&[]) > 0.01);
}

/// One mistake.
enum Mistake {
    /// A text of the configuration in place of another.
    Size(&'static str, &'static str),
    /// Other tensors of a file, where the name contains a text.
    Tensor(&'static str, &'static str, fn(&Tensor) -> Tensor),
}

use Mistake::{Size, Tensor as Changed};

fn zeroed(tensor: &Tensor) -> Tensor {
    tensor.zeros_like()
}

fn ones(tensor: &Tensor) -> Tensor {
    tensor.ones_like()
}

fn turned(tensor: &Tensor) -> Tensor {
    if tensor.dim() == 4 { tensor.transpose(2, 3).contiguous() } else { tensor.shallow_clone() }
}

fn reversed(tensor: &Tensor) -> Tensor {
    tensor.flip([0i64])
}

/// Positions of a square of tokens with rows and columns exchanged.
fn columns_first(tensor: &Tensor) -> Tensor {
    let (_, count, width) = tensor.size3().expect("positions");
    let side = (count as f64).sqrt() as i64;
    if side * side != count || side == 1 {
        return tensor.shallow_clone();
    }
    tensor.reshape([1, side, side, width]).transpose(1, 2).reshape([1, count, width])
}

fn in_reverse_order(tensor: &Tensor) -> Tensor {
    if tensor.kind() == Kind::Float && tensor.dim() == 2 {
        tensor.flip([1i64])
    } else {
        tensor.copy()
    }
}

const MISTAKES: [(&str, &str, Mistake); 30] = [
    ("astroclip_image", "epsilon of the backbone", Size("1e-06", "1e-05")),
    ("astroclip_image", "heads of the query", Size("\"n_head\": 4", "\"n_head\": 2")),
    ("astroclip_image", "layer scale ignored", Changed(WEIGHTS, ".gamma", ones)),
    ("astroclip_image", "rows and columns exchanged", Changed(INPUTS, "image", turned)),
    ("astroclip_image", "biases of attention ignored", Changed(WEIGHTS, "attn.qkv.bias", zeroed)),
    ("astroclip_image", "norm of the head ignored", Changed(WEIGHTS, "attention.layernorm", ones)),
    (
        "astroclip_spectrum",
        "deviation not clamped",
        Size("\"std_clip_min\": 0.2", "\"std_clip_min\": 0.0"),
    ),
    ("astroclip_spectrum", "epsilon", Size("1e-05", "1e-06")),
    ("astroclip_spectrum", "positions ignored", Changed(WEIGHTS, "position_embed", zeroed)),
    ("astroclip_spectrum", "biases of attention ignored", Changed(WEIGHTS, "in_proj_bias", zeroed)),
    ("astrodino", "positions ignored", Changed(WEIGHTS, "pos_embed", zeroed)),
    ("astrodino", "class token ignored", Changed(WEIGHTS, "cls_token", zeroed)),
    ("astrodino", "epsilon", Size("1e-06", "1e-05")),
    ("astrodino", "rows and columns exchanged", Changed(INPUTS, "image", turned)),
    ("specformer_pooled", "positions ignored", Changed(WEIGHTS, "position_embed", zeroed)),
    ("stein_resnet50", "rows and columns exchanged", Changed(INPUTS, "image", turned)),
    ("stein_resnet50", "statistics ignored", Changed(WEIGHTS, "running_var", ones)),
    ("aion_encoder", "masks ignored", Changed(INPUTS, ".mask", zeroed)),
    ("aion_encoder", "positions by columns", Changed(WEIGHTS, "pos_emb", columns_first)),
    ("aion_encoder", "bias of the context ignored", Changed(WEIGHTS, "context.bias", zeroed)),
    ("aion_encoder", "modality ignored", Changed(WEIGHTS, "mod_emb", zeroed)),
    ("aion_encoder", "heads", Size("\"num_heads\": 2,", "\"num_heads\": 4,")),
    (
        "aion_image_codec",
        "bias of the bands ignored",
        Changed(WEIGHTS, "subsample_in.bias", zeroed),
    ),
    ("aion_image_codec", "stretch", Size("\"mult_factor\": 10.0", "\"mult_factor\": 1.0")),
    ("aion_image_codec", "rows and columns exchanged", Changed(INPUTS, "flux", turned)),
    ("aion_spectrum_codec", "scaling", Size("\"input_scaling\": 0.2", "\"input_scaling\": 0.1")),
    (
        "aion_spectrum_codec",
        "inverse variance not clamped",
        Size("\"clip_ivar\": 100", "\"clip_ivar\": null"),
    ),
    ("aion_spectrum_codec", "pixels reversed", Changed(INPUTS, "flux", in_reverse_order)),
    (
        "aion_scalar_codecs",
        "quantiles reversed",
        Changed("codecs/FLUX_G/model.safetensors", "_index_to_val", reversed),
    ),
    (
        "aion_segmap_codec",
        "rows and columns exchanged",
        Changed(WEIGHTS, "encoder.net.0.weight", turned),
    ),
];

#[test]
fn a_network_with_one_mistake_is_not_taken_for_right() {
    for (name, what, mistake) in &MISTAKES {
        let mut described = config(name);
        let mut wanted = (WEIGHTS, "", None::<fn(&Tensor) -> Tensor>);
        match mistake {
            Size(from, to) => {
                assert!(described.contains(from), "{name}: {what}");
                described = described.replace(from, to);
            }
            Changed(file, part, change) => wanted = (file, part, Some(*change)),
        }
        let change = |file: &str, tensors: &mut Tensors| {
            let (wanted_file, part, Some(change)) = wanted else { return };
            let mut count = 0;
            let chosen = tensors.iter_mut().filter(|(tensor, _)| tensor.contains(part));
            for (_, tensor) in chosen.filter(|_| file == wanted_file) {
                *tensor = change(tensor);
                count += 1;
            }
            assert!(count > 0 || file != wanted_file, "{name}: {what} changes nothing");
        };
        let compared = check_as(&folder(name), &described, ON_CPU, &change);
        // A network that cannot even be made of it has been noticed, too.
        if let Ok(compared) = compared {
            assert!(!failed(&compared).is_empty(), "{name}: {what} is not noticed");
        }
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let refused = |name: &str, change: &dyn Fn(&str, &mut Tensors)| {
        let outcome = check_as(&folder(name), &config(name), ON_CPU, change);
        format!("{:#}", outcome.expect_err("must be refused"))
    };
    let key = "blocks.0.0.norm1.weight";
    let missing = refused("astrodino", &|file, tensors| {
        if file == WEIGHTS {
            tensors.remove(key);
        }
    });
    assert!(missing.ends_with(&format!("tensor `{key}` is missing")), "{missing}");
    let extra = refused("astrodino", &|file, tensors| {
        if file == WEIGHTS {
            tensors.insert(
                "register_tokens".to_owned(),
                Tensor::zeros([1], (Kind::Float, Device::Cpu)),
            );
        }
    });
    assert!(extra.contains("the network has no tensor `register_tokens`"), "{extra}");
    let misshapen = refused("astrodino", &|file, tensors| {
        if file == WEIGHTS {
            tensors.insert(key.to_owned(), Tensor::zeros([31], (Kind::Float, Device::Cpu)));
        }
    });
    assert!(misshapen.contains("F32 [31], expected F32 [32]"), "{misshapen}");
}

#[test]
fn an_archive_with_another_signature_is_refused() {
    let name = "torchscript_generic";
    let config = r#"{"kind": "torchscript", "calls": [{"output": "image", "file": "model_two_inputs.pt", "method": "forward", "args": ["image"]}]}"#;
    let error = check_as(&folder(name), config, ON_CPU, &|_, _| {}).expect_err("must fail");
    let error = format!("{error:#}");
    assert!(error.contains("model_two_inputs.pt refuses its arguments"), "{error}");
    assert!(error.contains("ivar"), "{error}");
    let outside = config.replace("model_two_inputs.pt", "../model.pt");
    let error = check_as(&folder(name), &outside, ON_CPU, &|_, _| {}).expect_err("must fail");
    assert!(error.to_string().contains("without a path"), "{error}");
}
